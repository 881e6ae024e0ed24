/*
 * key_disk - the last good key set of an issuer in state_dir, so that a start does not need the provider.
 *
 * The file is as trusted as the configuration: it lies in a folder only tollgate writes to. Issuer and URL stand in it,
 * so that a changed configuration does not find the keys of another place.
 */
#include "internal.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"

#define FILE_BYTES ((size_t)2 << 20)
#define NAME_BYTES 16                                    /* of the digest */

char *tg_key_file_name(const char *state_dir, const char *issuer)
{
    uint8_t digest[TG_SHA256_LEN];
    char hex[2 * NAME_BYTES + 1];
    struct tg_buf path = {0};

    tg_sha256(tg_slice_str(issuer), digest);
    tg_hex(digest, NAME_BYTES, hex);
    tg_buf_addf(&path, "%s/keys-%s.json", state_dir, hex);
    tg_buf_cstr(&path);
    return path.data;
}

enum tg_status tg_key_file_save(const char *path, const struct tg_key_source *s, struct tg_slice jwks,
                                int64_t fetched_s,
                                struct tg_err *err)
{
    struct tg_buf text = {0};
    enum tg_status st;

    tg_buf_adds(&text, "{\"issuer\":");
    tg_json_add_string(&text, tg_slice_str(s->issuer));
    tg_buf_adds(&text, ",\"url\":");
    tg_json_add_string(&text, tg_slice_str(s->url));
    tg_buf_addf(&text, ",\"fetched_at\":%lld,\"jwks\":", (long long)fetched_s);
    tg_buf_add_slice(&text, jwks);                       /* parsed before, so it is one JSON text */
    tg_buf_adds(&text, "}\n");
    st = tg_file_replace(path, tg_buf_slice(&text), 0600, err);
    tg_buf_fini(&text);
    return st;
}

static bool says(const cJSON *root, const char *member, const char *want)
{
    struct tg_slice got;

    return tg_json_str(tg_json_get(root, member), &got) && tg_slice_eq(got, tg_slice_str(want));
}

enum tg_status tg_key_file_load(const char *path, const struct tg_key_source *s, struct tg_jwks **set,
                                int64_t *fetched_s,
                                struct tg_err *err)
{
    struct tg_json_limits limits = {.bytes = FILE_BYTES};
    struct tg_buf text = {0}, jwks = {0};
    cJSON *root = NULL;
    int64_t at_s = 0;
    enum tg_status st = tg_file_read(path, FILE_BYTES, &text, err);

    if (st != TG_OK)
        goto out;
    st = tg_json_parse(tg_buf_slice(&text), &limits, &root, err);
    if (st != TG_OK)
        goto out;
    if (!says(root, "issuer", s->issuer) || !says(root, "url", s->url)) {
        st = tg_fail(err, TG_NOT_FOUND, "%s: keys of another issuer or URL", path);
        goto out;
    }
    if (!tg_json_int(tg_json_get(root, "fetched_at"), &at_s) || at_s < 0 || !tg_json_get(root, "jwks")) {
        st = tg_fail(err, TG_BAD_INPUT, "%s: not a file of keys", path);
        goto out;
    }
    tg_json_print(&jwks, tg_json_get(root, "jwks"));
    st = tg_jwks_parse(tg_buf_slice(&jwks), false, set, err);
    if (st == TG_OK)
        *fetched_s = at_s;
out:
    cJSON_Delete(root);
    tg_buf_fini(&text);
    tg_buf_fini(&jwks);
    return st;
}
