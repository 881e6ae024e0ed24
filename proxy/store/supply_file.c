/*
 * supply_file - state_dir/policies.set, there and back.
 */
#include "supply_file.h"
#include "base/digest.h"
#include "base/file.h"

#define FIRST_LINE "tollgate-policies 1"
#define HEAD_BYTES ((size_t)4096)
#define NO_END "-"

void supply_write(const struct supply_kept *kept, struct tg_buf *out)
{
    uint8_t digest[TG_SHA256_LEN];
    char hex[2 * TG_SHA256_LEN + 1];
    struct tg_buf body = {0};

    tg_buf_addf(&body, "source %s\norigin %s\nsequence %llu\nheard_ms %llu\nexpires_ms ", kept->source, kept->origin,
                (unsigned long long)kept->meta.sequence, (unsigned long long)kept->meta.heard_ms);
    if (kept->meta.expires_ms == INT64_MAX)
        tg_buf_adds(&body, NO_END);
    else
        tg_buf_addf(&body, "%llu", (unsigned long long)kept->meta.expires_ms);
    tg_buf_adds(&body, "\n\n");
    tg_buf_add_slice(&body, tg_set_text(kept->set));
    tg_sha256(tg_buf_slice(&body), digest);
    tg_hex(digest, sizeof digest, hex);
    tg_buf_addf(out, FIRST_LINE "\nsha256 %s\n", hex);
    tg_buf_add_slice(out, tg_buf_slice(&body));
    tg_buf_fini(&body);
}

/* ---- reading ---- */

/* "name value" of the next line, which must be called so. */
static bool next(struct tg_slice *rest, const char *name, struct tg_slice *value)
{
    struct tg_slice line, found;

    return tg_slice_cut(*rest, '\n', &line, rest) && tg_slice_cut(line, ' ', &found, value) &&
           tg_slice_eq(found, tg_slice_str(name));
}

static bool time_of(struct tg_slice text, int64_t *out)
{
    uint64_t n;

    if (!tg_slice_to_u64(text, &n) || n > INT64_MAX)
        return false;
    *out = (int64_t)n;
    return true;
}

static bool check_digest(struct tg_slice *rest)
{
    uint8_t digest[TG_SHA256_LEN];
    char hex[2 * TG_SHA256_LEN + 1];
    struct tg_slice said;

    if (!next(rest, "sha256", &said))
        return false;
    tg_sha256(*rest, digest);
    tg_hex(digest, sizeof digest, hex);
    return tg_slice_eq(said, tg_slice_str(hex));
}

struct head {
    struct tg_slice source, origin;
    struct tg_supply_meta meta;
};

static bool read_head(struct tg_slice *rest, struct head *h)
{
    struct tg_slice sequence, heard, expires, blank;

    if (!next(rest, "source", &h->source) || !next(rest, "origin", &h->origin) || !next(rest, "sequence", &sequence) ||
        !next(rest, "heard_ms", &heard) || !next(rest, "expires_ms", &expires) ||
        !tg_slice_cut(*rest, '\n', &blank, rest) || blank.len)
        return false;
    h->meta.expires_ms = INT64_MAX;
    return tg_slice_to_u64(sequence, &h->meta.sequence) && time_of(heard, &h->meta.heard_ms) &&
           (tg_slice_eq(expires, TG_S(NO_END)) || time_of(expires, &h->meta.expires_ms));
}

static enum tg_status read_text(const char *path, struct tg_slice text, struct supply_kept *kept, struct tg_err *err)
{
    struct head head = {0};
    struct tg_slice first;
    struct tg_err why;

    if (!tg_slice_cut(text, '\n', &first, &text) || !tg_slice_eq(first, TG_S(FIRST_LINE)))
        return tg_fail(err, TG_BAD_INPUT, "%s: not written by this version of tollgate", path);
    if (!check_digest(&text) || !read_head(&text, &head))
        return tg_fail(err, TG_BAD_INPUT, "%s: damaged: it is not what its digest says", path);
    if (!tg_slice_eq(head.source, tg_slice_str(kept->source)) ||
        !tg_slice_eq(head.origin, tg_slice_str(kept->origin)))
        return tg_fail(err, TG_NOT_FOUND, "%s holds the policies of another source", path);
    if (tg_set_parse(path, text, &kept->set, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "%s", why.text);
    kept->meta = head.meta;
    return TG_OK;
}

enum tg_status supply_read(const char *path, struct supply_kept *kept, struct tg_err *err)
{
    struct tg_buf text = {0};
    enum tg_status st = tg_file_read(path, TG_SET_BYTES + HEAD_BYTES, &text, err);

    if (st == TG_OK)
        st = read_text(path, tg_buf_slice(&text), kept, err);
    else if (st != TG_NOT_FOUND)
        st = TG_BAD_INPUT;
    tg_buf_fini(&text);
    return st;
}
