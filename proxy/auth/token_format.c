/*
 * token_format - what tollgate's own opaque tokens look like: a prefix that says for what, 43 characters of secret, 6
 * of checksum. "tgp_": a personal access token, for the data plane; "tga_": an API user's, for the management API.
 *
 * The secret is 256 random bits as base64url; the checksum is the CRC-32 of everything before it in base 62, six
 * digits, so that a typing error and a secret scanner need nothing but the text.
 */
#include "token_format.h"
#include "auth/managers.h"
#include "auth/pat.h"
#include "base/digest.h"
#include "base/json.h"

#define SECRET_BYTES 32
#define SECRET_CHARS 43
#define CHECKSUM_CHARS 6

static const struct tg_slice pat_prefix = TG_S_INIT("tgp_"), api_prefix = TG_S_INIT("tga_"); /* of one length */

/* The CRC-32 of zlib and PNG; not for speed: a token is looked at once. */
static uint32_t crc32_of(struct tg_slice s)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < s.len; i++) {
        crc ^= (uint8_t)s.ptr[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void checksum(struct tg_slice s, char out[CHECKSUM_CHARS])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint32_t crc = crc32_of(s);

    for (int i = CHECKSUM_CHARS - 1; i >= 0; i--, crc /= 62)
        out[i] = digits[crc % 62];
}

static bool is_wellformed(struct tg_slice token, struct tg_slice prefix)
{
    uint8_t secret[SECRET_CHARS * 3 / 4 + 1];
    char sum[CHECKSUM_CHARS];
    size_t len = 0;
    bool ok;

    if (token.len != TG_PAT_LEN || !tg_slice_starts_with(token, prefix))
        return false;
    ok = tg_base64url_decode(tg_slice(token.ptr + prefix.len, SECRET_CHARS), secret, &len) && len == SECRET_BYTES;
    explicit_bzero(secret, sizeof secret);
    checksum(tg_slice(token.ptr, prefix.len + SECRET_CHARS), sum);
    return ok && memcmp(sum, token.ptr + prefix.len + SECRET_CHARS, CHECKSUM_CHARS) == 0;
}

static void make(struct tg_slice prefix, struct tg_buf *out)
{
    uint8_t secret[SECRET_BYTES];
    char sum[CHECKSUM_CHARS];
    size_t start = out->len;

    tg_random(secret, sizeof secret);
    tg_buf_reserve(out, TG_PAT_LEN + 1);                 /* so that no copy of it is left in freed memory */
    tg_buf_add_slice(out, prefix);
    tg_base64url_encode(tg_slice((const char *)secret, sizeof secret), out);
    explicit_bzero(secret, sizeof secret);
    checksum(tg_slice(out->data + start, out->len - start), sum);
    tg_buf_add(out, sum, sizeof sum);
    tg_assert(out->len - start == TG_PAT_LEN);
}

bool tg_pat_has_prefix(struct tg_slice token)
{
    return tg_slice_starts_with(token, pat_prefix);
}

bool tg_pat_is_wellformed(struct tg_slice token)
{
    return is_wellformed(token, pat_prefix);
}

void tg_pat_make(struct tg_buf *out)
{
    make(pat_prefix, out);
}

bool tg_api_token_has_prefix(struct tg_slice token)
{
    return tg_slice_starts_with(token, api_prefix);
}

bool tg_api_token_is_wellformed(struct tg_slice token)
{
    return is_wellformed(token, api_prefix);
}

struct tg_slice tg_api_token_prefix(struct tg_slice token)
{
    return tg_slice(token.ptr, token.len < TG_TOKEN_SHOWN ? token.len : TG_TOKEN_SHOWN);
}

void tg_api_token_make(struct tg_buf *out)
{
    make(api_prefix, out);
}

/* ---- the name ---- */

bool tg_token_is_utf8(struct tg_slice text)
{
    struct tg_buf quoted = {0};
    bool ok;

    tg_buf_addc(&quoted, '"');
    for (size_t i = 0; i < text.len; i++)
        tg_buf_addc(&quoted, (unsigned char)text.ptr[i] < 0x80 ? '.' : text.ptr[i]);
    tg_buf_addc(&quoted, '"');
    ok = tg_json_scan(tg_buf_slice(&quoted), NULL, NULL) == TG_OK;
    tg_buf_fini(&quoted);
    return ok;
}

enum tg_status tg_token_check_name(struct tg_slice name, struct tg_err *err)
{
    bool ok = name.len > 0 && name.len <= TG_PAT_NAME_MAX && tg_slice_eq(name, tg_slice_trim(name)) &&
              tg_token_is_utf8(name);

    for (size_t i = 0; i < name.len && ok; i++)
        ok = (unsigned char)name.ptr[i] >= ' ' && name.ptr[i] != 0x7f;
    return ok ? TG_OK : tg_fail(err, TG_BAD_INPUT, "the name of a token is 1 to %d characters of UTF-8, without "
                                "control characters and white space around it", TG_PAT_NAME_MAX);
}
