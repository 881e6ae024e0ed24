/*
 * pat_format - what a personal access token looks like: "tgp_", 43 characters of secret, 6 of checksum.
 *
 * The secret is 256 random bits as base64url; the checksum is the CRC-32 of everything before it in base 62, six
 * digits, so that a typing error and a secret scanner need nothing but the text.
 */
#include "pat_internal.h"
#include "base/digest.h"

#define SECRET_BYTES 32
#define SECRET_CHARS 43
#define CHECKSUM_CHARS 6

static const struct tg_slice prefix = TG_S_INIT("tgp_");

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

bool tg_pat_has_prefix(struct tg_slice token)
{
    return tg_slice_starts_with(token, prefix);
}

bool tg_pat_is_wellformed(struct tg_slice token)
{
    uint8_t secret[SECRET_CHARS * 3 / 4 + 1];
    char sum[CHECKSUM_CHARS];
    size_t len = 0;
    bool ok;

    if (token.len != TG_PAT_LEN || !tg_pat_has_prefix(token))
        return false;
    ok = tg_base64url_decode(tg_slice(token.ptr + prefix.len, SECRET_CHARS), secret, &len) && len == SECRET_BYTES;
    explicit_bzero(secret, sizeof secret);
    checksum(tg_slice(token.ptr, prefix.len + SECRET_CHARS), sum);
    return ok && memcmp(sum, token.ptr + prefix.len + SECRET_CHARS, CHECKSUM_CHARS) == 0;
}

void tg_pat_make(struct tg_buf *out)
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
