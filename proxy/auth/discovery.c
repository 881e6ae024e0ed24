/*
 * discovery - see auth/discovery.h.
 */
#include "auth/discovery.h"
#include "base/file.h"
#include "base/json.h"
#include "io/fetch.h"

char *tg_discovery_url(struct tg_slice issuer)
{
    struct tg_buf url = {0};

    if (tg_slice_ends_with(issuer, TG_S("/")))
        issuer.len--;
    tg_buf_add_slice(&url, issuer);
    tg_buf_adds(&url, "/.well-known/openid-configuration");
    tg_buf_cstr(&url);
    return url.data;
}

static tg_algs read_algs(const cJSON *list)
{
    const cJSON *item;
    struct tg_slice name;
    enum tg_alg alg;
    tg_algs algs = 0;

    cJSON_ArrayForEach(item, list)
        if (tg_json_str(item, &name) && tg_alg_parse(name, &alg))
            algs |= TG_ALG_BIT(alg);
    return algs;
}

enum tg_status tg_discovery_read(struct tg_slice body, struct tg_discovery *out, struct tg_err *err)
{
    struct tg_slice issuer, uri;
    const cJSON *algs;
    cJSON *root = NULL;
    enum tg_status st = tg_json_parse(body, NULL, &root, err);

    if (st != TG_OK)
        return st;
    if (!tg_json_str(tg_json_get(root, "issuer"), &issuer) || !tg_json_str(tg_json_get(root, "jwks_uri"), &uri)) {
        st = tg_fail(err, TG_BAD_INPUT, "it has no `issuer` or no `jwks_uri`");
    } else {
        algs = tg_json_get(root, "id_token_signing_alg_values_supported");
        *out = (struct tg_discovery){.issuer = tg_slice_dup(issuer), .jwks_uri = tg_slice_dup(uri)};
        out->algs = cJSON_IsArray(algs) ? read_algs(algs) : 0;
    }
    cJSON_Delete(root);
    return st;
}

static struct tg_slice without_slashes(struct tg_slice s)
{
    while (tg_slice_ends_with(s, TG_S("/")))
        s.len--;
    return s;
}

const char *tg_issuer_slash_words(struct tg_slice configured, struct tg_slice found)
{
    if (configured.len == found.len || !tg_slice_eq(without_slashes(configured), without_slashes(found)))
        return "";
    return configured.len > found.len ? ": there is a slash too many at its end" : ": a slash is missing at its end";
}

/* §4.3: another issuer's document would let it answer for this one. */
static enum tg_status check_issuer(struct tg_slice said, struct tg_slice issuer, struct tg_err *err)
{
    if (tg_slice_eq(said, issuer))
        return TG_OK;
    return tg_fail(err, TG_BAD_INPUT,
                   "it is of issuer `%.*s`, configured is `%.*s`%s; they must be equal to the last byte",
                   said.len > 90 ? 90 : (int)said.len, said.ptr, issuer.len > 90 ? 90 : (int)issuer.len, issuer.ptr,
                   tg_issuer_slash_words(issuer, said));
}

enum tg_status tg_discovery_check(const struct tg_discovery *d, struct tg_slice issuer, bool allow_http,
                                  struct tg_err *err)
{
    enum tg_status st = check_issuer(tg_slice_str(d->issuer), issuer, err);

    return st == TG_OK ? tg_fetch_check_url(d->jwks_uri, allow_http, err) : st;
}

enum tg_status tg_discovery_endpoint(struct tg_slice body, struct tg_slice issuer, const char *member, bool allow_http,
                                     char **out, struct tg_err *err)
{
    struct tg_slice said, url;
    cJSON *root = NULL;
    char *text = NULL;
    enum tg_status st = tg_json_parse(body, NULL, &root, err);

    if (st != TG_OK)
        return st;
    if (!tg_json_str(tg_json_get(root, "issuer"), &said) || !tg_json_str(tg_json_get(root, member), &url))
        st = tg_fail(err, TG_BAD_INPUT, "it has no `issuer` or no `%s`", member);
    else if ((st = check_issuer(said, issuer, err)) == TG_OK)
        st = tg_fetch_check_url(text = tg_slice_dup(url), allow_http, err);
    if (st == TG_OK)
        *out = text;
    else
        free(text);
    cJSON_Delete(root);
    return st;
}

void tg_discovery_fini(struct tg_discovery *d)
{
    free(d->issuer);
    free(d->jwks_uri);
    *d = (struct tg_discovery){0};
}

enum tg_status tg_bearer_line(const char *token_file, struct tg_buf *out, struct tg_err *err)
{
    struct tg_buf token = {0};
    enum tg_status st = tg_file_read_secret(token_file, &token, err);

    for (size_t i = 0; st == TG_OK && i < token.len; i++)
        if (token.data[i] <= ' ' || token.data[i] > '~')
            st = tg_fail(err, TG_BAD_INPUT, "%s: not one line of visible ASCII", token_file);
    if (st == TG_OK) {
        tg_buf_adds(out, "Authorization: Bearer ");
        tg_buf_add_slice(out, tg_buf_slice(&token));
        tg_buf_cstr(out);
    }
    tg_buf_wipe(&token);
    return st;
}
