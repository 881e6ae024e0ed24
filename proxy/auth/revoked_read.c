/*
 * revoked_read - a feed file, a block at a time: only one entry of it is ever in memory as JSON.
 *
 * Two forms, told apart by the first character that is no white space: "[" begins one JSON list, anything else is JSON
 * lines. In both an entry is cut out by its braces and then read by the strict parser. Blocks are as long as the file
 * gives them, so that the digest of a part does not depend on how it was read.
 */
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "revoked_set.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)1 << 16)
#define ENTRY_BYTES ((size_t)3 << 16)                    /* three texts and some */

enum form { UNKNOWN, LINES, LIST };
enum expects {                                           /* of a list */
    ENTRY_OR_END, ENTRY, COMMA_OR_END, NOTHING,
};

struct reading {
    const char *file;
    int64_t now_s;
    struct tg_revoked_set *set;
    struct tg_err *err;
    enum form form;
    enum expects expects;
    size_t line;                                         /* from 1 */
    size_t entry_line;                                   /* where the entry begins */
    struct tg_buf entry;                                 /* so far; of lines: the line */
    unsigned depth;                                      /* of brackets within an entry; 0: between two */
    bool in_string, escaped;
};

static enum tg_status mistake(struct reading *r, size_t line, enum tg_status st, const char *what)
{
    return tg_fail(r->err, st, "%s:%zu: %s", r->file, line, what);
}

/* ---- one entry ---- */

/* A NumericDate, rounded up, no later than 2106. False: none. */
static bool read_time(const cJSON *node, uint32_t *out)
{
    double value = cJSON_IsNumber(node) ? node->valuedouble : -1;

    if (!isfinite(value) || value < 0)
        return false;
    *out = value >= (double)UINT32_MAX ? UINT32_MAX : (uint32_t)ceil(value);
    return true;
}

static bool read_text(const cJSON *node, struct tg_slice *out)
{
    return tg_json_str(node, out) && out->len > 0 && out->len <= TG_REVOKED_TEXT;
}

const char *tg_revoked_entry_read(const cJSON *root, struct tg_revoked_entry *out)
{
    const cJSON *jti = tg_json_get(root, "jti"), *sub = tg_json_get(root, "sub");
    const cJSON *not_before = tg_json_get(root, "not_before"), *exp = tg_json_get(root, "exp");
    struct tg_revoked_entry e = {.not_before_s = UINT32_MAX, .until_s = UINT32_MAX,
                                 .kind = jti ? TG_REVOKED_JTI : TG_REVOKED_SUB};

    if (!cJSON_IsObject(root))
        return "an entry is a JSON object";
    if (!read_text(tg_json_get(root, "iss"), &e.issuer))
        return "an entry needs \"iss\", a text of 1 to 65535 bytes";
    if (!jti == !sub)
        return "an entry needs \"jti\" or \"sub\", and not both";
    if (!read_text(jti ? jti : sub, &e.text))
        return "\"jti\" and \"sub\" are texts of 1 to 65535 bytes";
    if ((not_before && !read_time(not_before, &e.not_before_s)) || (exp && !read_time(exp, &e.until_s)))
        return "\"not_before\" and \"exp\" are numbers of seconds since 1970";
    if (e.until_s < UINT32_MAX - TG_REVOKED_GRACE_S)
        e.until_s += TG_REVOKED_GRACE_S;
    *out = e;
    return NULL;
}

static enum tg_status take_members(struct reading *r, const cJSON *root)
{
    struct tg_revoked_entry e;
    const char *what = tg_revoked_entry_read(root, &e);

    if (what)
        return mistake(r, r->entry_line, TG_BAD_INPUT, what);
    if (e.until_s < r->now_s)                            /* no token of then is taken any more */
        return TG_OK;
    return tg_revoked_set_add(r->set, &e, r->err);
}

static enum tg_status read_entry(struct reading *r)
{
    static const struct tg_json_limits limits = {.bytes = ENTRY_BYTES, .depth = 8, .nodes = 1000};
    struct tg_slice text = tg_buf_slice(&r->entry);
    cJSON *root = NULL;
    struct tg_err why;
    enum tg_status st;

    if (tg_json_parse(text, &limits, &root, &why) != TG_OK) /* "1:5: ...": its place within the entry */
        return tg_fail(r->err, TG_BAD_INPUT, "%s:%zu: %s", r->file, r->entry_line, why.text);
    st = take_members(r, root);
    cJSON_Delete(root);
    r->entry.len = 0;
    return st;
}

static enum tg_status keep(struct reading *r, const char *p, size_t n)
{
    if (r->entry.len + n > ENTRY_BYTES)
        return mistake(r, r->entry_line, TG_LIMIT, "an entry is longer than any can be");
    tg_buf_add(&r->entry, p, n);
    return TG_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* ---- lines ---- */

static bool is_blank(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_space(s.ptr[i]))
            return false;
    return true;
}

static enum tg_status end_line(struct reading *r)
{
    r->entry_line = r->line;
    if (!is_blank(tg_buf_slice(&r->entry)))
        return read_entry(r);
    r->entry.len = 0;
    return TG_OK;
}

static enum tg_status take_lines(struct reading *r, const char *p, size_t n)
{
    const char *end = p + n, *newline;
    enum tg_status st = TG_OK;

    while (st == TG_OK && p < end) {
        newline = memchr(p, '\n', (size_t)(end - p));
        r->entry_line = r->line;
        st = keep(r, p, (size_t)((newline ? newline : end) - p));
        if (!newline)
            return st;
        if (st == TG_OK)
            st = end_line(r);
        r->line++;
        p = newline + 1;
    }
    return st;
}

/* ---- a list ---- */

/* Within an entry: whether `c` ends it. The parser judges what is between. */
static bool ends_entry(struct reading *r, char c)
{
    if (r->in_string) {
        r->in_string = r->escaped || c != '"';
        r->escaped = !r->escaped && c == '\\';
        return false;
    }
    r->in_string = c == '"';
    if (c == '{' || c == '[')
        r->depth++;
    else if (c == '}' || c == ']')
        r->depth--;
    return r->depth == 0;
}

static enum tg_status between_entries(struct reading *r, char c)
{
    if (is_space(c))
        return TG_OK;
    if (c == '{' && (r->expects == ENTRY || r->expects == ENTRY_OR_END)) {
        r->entry_line = r->line;
        r->depth = 1;
        return keep(r, &c, 1);
    }
    if (c == ',' && r->expects == COMMA_OR_END)
        r->expects = ENTRY;
    else if (c == ']' && (r->expects == COMMA_OR_END || r->expects == ENTRY_OR_END))
        r->expects = NOTHING;
    else
        return mistake(r, r->line, TG_BAD_INPUT, "not a JSON list of objects");
    return TG_OK;
}

static enum tg_status take_list(struct reading *r, const char *p, size_t n)
{
    enum tg_status st = TG_OK;
    size_t from = 0;                                     /* of what is not kept yet of the entry */

    for (size_t i = 0; i < n && st == TG_OK; i++) {
        if (r->depth == 0) {
            st = between_entries(r, p[i]);
            from = i + 1;
        } else if (ends_entry(r, p[i])) {
            st = keep(r, p + from, i + 1 - from);
            if (st == TG_OK)
                st = read_entry(r);
            r->expects = COMMA_OR_END;
        }
        r->line += p[i] == '\n';
    }
    return st == TG_OK && r->depth > 0 ? keep(r, p + from, n - from) : st;
}

/* ---- the whole ---- */

static enum tg_status take_block(struct reading *r, const char *p, size_t n)
{
    while (r->form == UNKNOWN && n > 0) {
        if (*p == '[')
            r->form = LIST;
        else if (!is_space(*p))
            r->form = LINES;
        if (r->form != LINES) {
            r->line += *p == '\n';
            p++, n--;
        }
    }
    return r->form == LIST ? take_list(r, p, n) : take_lines(r, p, n);
}

/* What is left of a last line that no newline ended: an entry that is whole is one, for no beginning of one is. */
static enum tg_status take_end(struct reading *r, struct tg_revoked_feed *out, size_t *rest)
{
    struct tg_err *err = r->err, why;

    if (r->form == LIST)
        return r->expects == NOTHING ? TG_OK : mistake(r, r->line, TG_BAD_INPUT, "the JSON list is not closed");
    *rest = r->entry.len;
    r->err = &why;
    out->ended = end_line(r) == TG_OK;
    r->err = err;
    if (out->ended)
        *rest = 0;
    else
        tg_fail(err, TG_AGAIN, "%s; the last line is not ended", why.text);
    return TG_OK;
}

static ssize_t fill(int fd, char *block)
{
    size_t n = 0;

    while (n < BLOCK) {
        ssize_t got = read(fd, block + n, BLOCK - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

/* Whether the file, of which blocks up to `at` gave `digest` and `block` comes next, begins with `before`. */
static bool reaches(const struct tg_revoked_extent *before, uint64_t at, uint64_t digest, const char *block, size_t n)
{
    return before->bytes >= at && before->bytes <= at + n &&
           tg_hash2(digest, tg_hash(block, (size_t)(before->bytes - at))) == before->digest;
}

struct place {
    uint64_t at, digest;                                 /* of the blocks so far */
};

static enum tg_status read_block(struct reading *r, const struct tg_revoked_extent *before, struct place *place,
                                 struct tg_slice block, struct tg_revoked_feed *out)
{
    bool last = block.len < BLOCK;
    size_t rest = 0;
    enum tg_status st;

    if (place->at + block.len > TG_REVOKED_FILE_BYTES)
        return tg_fail(r->err, TG_LIMIT, "%s: larger than %zu bytes", r->file, TG_REVOKED_FILE_BYTES);
    out->grown = out->grown || reaches(before, place->at, place->digest, block.ptr, block.len);
    st = take_block(r, block.ptr, block.len);
    if (st == TG_OK && last)
        st = take_end(r, out, &rest);
    /* An entry that counted has been written over: what was withdrawn is not to come back by that. */
    if (st == TG_OK && last && !out->ended && out->grown && before->bytes > place->at + block.len - rest)
        st = TG_BAD_INPUT;                               /* in the words of take_end */
    if (last && rest <= block.len)
        out->extent = (struct tg_revoked_extent){place->at + block.len - rest,
                                                 tg_hash2(place->digest, tg_hash(block.ptr, block.len - rest))};
    else if (last)                                       /* it begins in a block that is gone; that much is known */
        out->extent = *before;
    place->digest = tg_hash2(place->digest, tg_hash(block.ptr, block.len));
    place->at += block.len;
    return st;
}

static enum tg_status read_blocks(struct reading *r, int fd, const struct tg_revoked_extent *before,
                                  struct tg_revoked_feed *out)
{
    char *block = tg_alloc(BLOCK);
    struct place place = {0};
    enum tg_status st = TG_OK;
    ssize_t n;

    do {
        n = fill(fd, block);
        st = n < 0 ? tg_fail(r->err, TG_IO, "%s: cannot be read: %s", r->file, strerror(errno))
                   : read_block(r, before, &place, tg_slice(block, (size_t)n), out);
    } while (st == TG_OK && (size_t)n == BLOCK);
    free(block);
    return st;
}

static enum tg_status open_regular(const char *file, int *fd, struct tg_err *err)
{
    struct stat st;
    int e;

    *fd = tg_file_open(file);
    if (*fd < 0) {
        e = errno;
        return tg_fail(err, e == ENOENT ? TG_NOT_FOUND : e == EACCES ? TG_DENIED : TG_IO, "%s: cannot be opened: %s",
                       file, strerror(e));
    }
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
        return TG_OK;
    close(*fd);
    return tg_fail(err, TG_BAD_INPUT, "%s: not a regular file", file);
}

enum tg_status tg_revoked_read(const char *file, const struct tg_revoked_extent *before, int64_t now_s,
                               struct tg_revoked_feed *out, struct tg_err *err)
{
    struct reading r = {.file = file, .now_s = now_s, .err = err, .line = 1};
    enum tg_status st;
    int fd;

    if ((st = open_regular(file, &fd, err)) != TG_OK)
        return st;
    *out = (struct tg_revoked_feed){.ended = true, .grown = before->bytes == 0};
    r.set = tg_revoked_set_new();
    st = read_blocks(&r, fd, before, out);
    close(fd);
    tg_buf_fini(&r.entry);
    if (st == TG_OK) {
        tg_revoked_set_seal(r.set);
        out->set = r.set;
    } else {
        tg_revoked_set_unref(r.set);
    }
    return st;
}
