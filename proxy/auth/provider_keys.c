/*
 * provider_keys - keys that stand in the configuration or in files beside it, checked so that a mistake is found at the
 * start.
 */
#include "internal.h"
#include "base/file.h"
#include "base/json.h"

#define SET_BYTES ((size_t)1 << 20)
#define REASONS_SHOWN 3

static void list_reasons(const struct tg_jwks *set, struct tg_buf *out)
{
    const char *reason;
    size_t i;

    for (i = 0; i < REASONS_SHOWN && (reason = tg_jwks_skip_reason(set, i)); i++)
        tg_buf_addf(out, "%s%s", i ? "; " : "", reason);
    if (tg_jwks_skipped(set) > i && i)
        tg_buf_addf(out, "; and %zu more", tg_jwks_skipped(set) - i);
    tg_buf_cstr(out);
}

/*
 * `set` is kept when something in it can verify. A set whose keys are all unusable is kept too, with a warning: like a
 * fetched one it is data that somebody else may mend, and one issuer's trouble must not keep the others from being
 * served. Its tokens are refused.
 */
static struct tg_jwks *judge(const struct tg_provider_reading *r, const cJSON *node, const char *setting,
                             struct tg_jwks *set,
                             tg_algs algs)
{
    struct tg_buf reasons = {0};
    struct tg_jwks *good = NULL;

    list_reasons(set, &reasons);
    if (tg_jwks_count(set) == 0 && tg_jwks_skipped(set) > 0) {
        tg_warning_at(r->problems, r->tree, node,
                      TG_S_FMT ".%s: no usable key in it, every token of this issuer will be refused: %s",
                      TG_S_ARG(r->where), setting, reasons.data);
        good = tg_jwks_ref(set);
    } else if (tg_jwks_count(set) == 0) {
        tg_problem_at(r->problems, r->tree, node, TG_S_FMT ".%s: no usable key in it%s%s", TG_S_ARG(r->where), setting,
                      reasons.len ? ": " : "", reasons.len ? reasons.data : "");
    } else if (!(tg_jwks_algs(set) & algs)) {             /* it would verify nothing and say so only in refusals */
        tg_problem_at(r->problems, r->tree, node, TG_S_FMT ".%s: no key in it fits supported_algs", TG_S_ARG(r->where),
                      setting);
    } else {
        if (reasons.len)
            tg_warning_at(r->problems, r->tree, node, TG_S_FMT ".%s: keys skipped: %s", TG_S_ARG(r->where), setting,
                          reasons.data);
        good = tg_jwks_ref(set);
    }
    tg_buf_fini(&reasons);
    return good;
}

/* The one setting given, its text, and how it is read. */
struct source {
    const char *setting;
    struct tg_slice path;                                /* ptr NULL: written inline */
    enum { JWK_SET, PEM, SECRET } form;
};

static enum tg_status read_text(const struct tg_provider_reading *r, const struct source *src, const cJSON *inline_set,
                                struct tg_buf *text, struct tg_err *err)
{
    struct tg_slice s;

    if (!src->path.ptr) {
        if (tg_json_str(inline_set, &s))                 /* a JWK set as a block of text */
            tg_buf_add_slice(text, s);
        else
            tg_json_print(text, inline_set);
        return TG_OK;
    }
    if (src->form == SECRET)
        return tg_file_read_secret(tg_arena_str(r->arena, src->path), text, err);
    return tg_file_read(tg_arena_str(r->arena, src->path), SET_BYTES, text, err);
}

static const char *hmac_trouble(const struct source *src, tg_algs algs)
{
    bool hmac = (algs & TG_ALGS_HMAC) != 0;

    if (src->form == SECRET && !hmac)
        return "a secret verifies HS* only: set supported_algs: [HS256]";
    if (src->form == PEM && hmac)
        return "a public key never verifies HS*: it is no secret";
    if (!src->path.ptr && hmac)
        return "HS* needs a secret_file or a jwks_file: secrets do not stand in the configuration";
    return NULL;
}

struct tg_jwks *tg_provider_local_keys(const struct tg_provider_reading *r, const struct tg_provider_section *s,
                                       tg_algs algs)
{
    struct source src = s->jwks_file.ptr         ? (struct source){"jwks_file", s->jwks_file, JWK_SET}
                        : s->public_key_file.ptr ? (struct source){"public_key_file", s->public_key_file, PEM}
                        : s->secret_file.ptr     ? (struct source){"secret_file", s->secret_file, SECRET}
                                                 : (struct source){"jwks", {NULL, 0}, JWK_SET};
    const cJSON *node = tg_json_get(r->node, src.setting);
    const char *trouble = hmac_trouble(&src, algs);
    struct tg_jwks *set = NULL, *good = NULL;
    struct tg_buf text = {0};
    struct tg_err err = {0};
    enum tg_status st;

    if (trouble) {
        tg_problem_at(r->problems, r->tree, node, TG_S_FMT ".%s: %s", TG_S_ARG(r->where), src.setting, trouble);
        return NULL;
    }
    st = read_text(r, &src, s->jwks, &text, &err);
    if (st == TG_OK && src.form == JWK_SET)
        st = tg_jwks_parse(tg_buf_slice(&text), (algs & TG_ALGS_HMAC) != 0, &set, &err);
    else if (st == TG_OK && src.form == PEM)
        st = tg_jwks_from_pem(tg_buf_slice(&text), &set, &err);
    else if (st == TG_OK)
        st = tg_jwks_from_secret(tg_buf_slice(&text), &set, &err);
    if (st == TG_OK)
        good = judge(r, node, src.setting, set, algs);
    else
        tg_problem_at(r->problems, r->tree, node, TG_S_FMT ".%s: %s", TG_S_ARG(r->where), src.setting,
                      tg_err_text(&err));
    tg_jwks_unref(set);
    tg_buf_wipe(&text);                                  /* it may have been a secret */
    return good;
}
