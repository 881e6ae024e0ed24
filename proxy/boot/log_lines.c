/*
 * log_lines - a log from a file or a pipe, cut into lines, by blocks: a log of a day may have millions.
 */
#include "log_line.h"
#include <errno.h>
#include <stdio.h>

#define BLOCK_BYTES ((size_t)64 << 10)

struct reader {
    FILE *from;
    struct tg_buf rest;                                  /* the beginning of a line whose end has not come */
    bool too_long;                                       /* that line: its rest is passed over */
    unsigned long number;
    bool (*each)(void *arg, unsigned long number, struct tg_slice text);
    void *arg;
};

/* Rotated logs are often compressed; reading those would find nothing and say so of the wrong thing. */
static bool is_compressed(struct tg_slice begin)
{
    return tg_slice_starts_with(begin, TG_S("\x1f\x8b")) || tg_slice_starts_with(begin, TG_S("\x28\xb5\x2f\xfd")) ||
           tg_slice_starts_with(begin, TG_S("\xfd" "7zXZ")) || tg_slice_starts_with(begin, TG_S("BZh"));
}

static bool give(struct reader *r, struct tg_slice line)
{
    struct tg_slice whole = line;

    if (r->rest.len > 0 || r->too_long) {
        tg_buf_add_slice(&r->rest, line);
        whole = tg_buf_slice(&r->rest);
    }
    if (whole.len > 0 && whole.ptr[whole.len - 1] == '\r')
        whole.len--;
    if (whole.len > LOG_LINE_BYTES || r->too_long)
        whole = (struct tg_slice){NULL, 0};
    else if (whole.len == 0)
        whole.ptr = "";
    r->too_long = false;
    bool more = r->each(r->arg, ++r->number, whole);

    r->rest.len = 0;
    return more;
}

/* The lines of a block; what is left of it waits. False: `each` has had enough. */
static bool take_block(struct reader *r, struct tg_slice block)
{
    const char *end;

    while (block.len > 0 && (end = memchr(block.ptr, '\n', block.len))) {
        size_t len = (size_t)(end - block.ptr);

        if (!give(r, tg_slice(block.ptr, len)))
            return false;
        block = tg_slice(end + 1, block.len - len - 1);
    }
    if (r->rest.len + block.len > LOG_LINE_BYTES) {
        r->too_long = true;
        r->rest.len = 0;
    } else if (!r->too_long) {
        tg_buf_add_slice(&r->rest, block);
    }
    return true;
}

static enum tg_status read_lines(struct reader *r, const char *name, struct tg_err *err)
{
    char *block = tg_alloc(BLOCK_BYTES);
    enum tg_status st = TG_OK;
    bool first = true, more = true;
    size_t n;

    errno = 0;
    while (more && (n = fread(block, 1, BLOCK_BYTES, r->from)) > 0) {
        if (first && is_compressed(tg_slice(block, n))) {
            st = tg_fail(err, TG_UNSUPPORTED, "%s is compressed: unpack it into a pipe, as in `zcat FILE | tollgate "
                         "... -`", name);
            break;
        }
        first = false;
        more = take_block(r, tg_slice(block, n));
    }
    if (st == TG_OK && ferror(r->from))
        st = tg_fail(err, TG_IO, "cannot read %s: %s", name, strerror(errno));
    if (st == TG_OK && more && (r->rest.len > 0 || r->too_long))
        give(r, TG_S(""));
    free(block);
    return st;
}

enum tg_status log_lines(const char *file, bool (*each)(void *arg, unsigned long number, struct tg_slice text),
                         void *arg, struct tg_err *err)
{
    bool piped = strcmp(file, "-") == 0;
    struct reader r = {.from = piped ? stdin : fopen(file, "re"), .each = each, .arg = arg};
    enum tg_status st;

    if (!r.from)
        return tg_fail(err, TG_IO, "cannot read %s: %s", file, strerror(errno));
    st = read_lines(&r, piped ? "standard input" : file, err);
    if (!piped)
        fclose(r.from);
    tg_buf_fini(&r.rest);
    return st;
}
