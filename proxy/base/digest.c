/*
 * digest - fetched once, a context per thread.
 *
 * Fetching an algorithm takes OpenSSL's locks and a context is an allocation; both would be paid for every request.
 */
#include "base/digest.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/random.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ctx_key;
static EVP_MD *sha256;
static EVP_MAC *hmac;
static __thread EVP_MD_CTX *thread_ctx;

static void free_ctx(void *ctx)
{
    thread_ctx = NULL;                                   /* a later destructor of this thread makes its own again */
    EVP_MD_CTX_free(ctx);
}

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (!sha256 || !hmac || pthread_key_create(&ctx_key, free_ctx) != 0)
        tg_panic(__FILE__, __LINE__, "OpenSSL has no SHA-256");
}

static EVP_MD_CTX *first_ctx(void)
{
    pthread_once(&once, fetch);
    thread_ctx = EVP_MD_CTX_new();
    if (!thread_ctx || pthread_setspecific(ctx_key, thread_ctx) != 0)
        tg_panic(__FILE__, __LINE__, "out of memory");
    return thread_ctx;
}

void tg_sha256(struct tg_slice data, uint8_t out[TG_SHA256_LEN])
{
    EVP_MD_CTX *ctx = thread_ctx ? thread_ctx : first_ctx();

    if (EVP_DigestInit_ex2(ctx, sha256, NULL) != 1 || EVP_DigestUpdate(ctx, data.ptr, data.len) != 1 ||
        EVP_DigestFinal_ex(ctx, out, NULL) != 1)
        tg_panic(__FILE__, __LINE__, "SHA-256 failed");
}

void tg_hmac_sha256(struct tg_slice key, struct tg_slice data, uint8_t out[TG_SHA256_LEN])
{
    char name[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx;
    size_t len;

    pthread_once(&once, fetch);
    ctx = EVP_MAC_CTX_new(hmac);
    if (!ctx || EVP_MAC_init(ctx, (const uint8_t *)(key.len ? key.ptr : ""), key.len, params) != 1 ||
        EVP_MAC_update(ctx, (const uint8_t *)data.ptr, data.len) != 1 ||
        EVP_MAC_final(ctx, out, &len, TG_SHA256_LEN) != 1 || len != TG_SHA256_LEN)
        tg_panic(__FILE__, __LINE__, "HMAC failed");
    EVP_MAC_CTX_free(ctx);
}

void tg_random(void *out, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = getrandom((char *)out + done, len - done, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            tg_panic(__FILE__, __LINE__, "the system has no random bytes");
        done += (size_t)n;
    }
}

int64_t tg_with_jitter(int64_t ms)
{
    uint32_t dice;

    tg_random(&dice, sizeof(dice));
    return ms - (ms / 10) * (int64_t)(dice % 1024) / 1024;
}

void tg_uuid(char out[37])
{
    static const char hex[] = "0123456789abcdef";
    static __thread uint8_t pool[4096];
    static __thread size_t left;
    const uint8_t *random;

    if (left < 16) {
        tg_random(pool, sizeof(pool));
        left = sizeof(pool);
    }
    left -= 16;
    random = pool + left;
    for (size_t i = 0, at = 0; i < 16; i++) {
        uint8_t byte = random[i];

        if (i == 6)
            byte = (uint8_t)((byte & 0x0f) | 0x40);      /* RFC 9562 §5.4: version 4 */
        else if (i == 8)
            byte = (uint8_t)((byte & 0x3f) | 0x80);      /* §4.1: the variant */
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        out[at++] = hex[byte >> 4];
        out[at++] = hex[byte & 15];
    }
    out[36] = '\0';
}

bool tg_equal_ct(struct tg_slice a, struct tg_slice b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char std_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value of a character, 0x80 for one outside the alphabet; row 0 base64url, row 1 base64. */
static uint8_t sextets[2][256];

static __attribute__((constructor)) void fill_sextets(void)
{
    memset(sextets, 0x80, sizeof(sextets));
    for (unsigned i = 0; i < 64; i++) {
        sextets[0][(unsigned char)url_alphabet[i]] = (uint8_t)i;
        sextets[1][(unsigned char)std_alphabet[i]] = (uint8_t)i;
    }
}

/* Without padding; unused bits must be zero, so that one value has one spelling. Four characters at a time. */
static bool decode(struct tg_slice in, const uint8_t value[256], uint8_t *out, size_t *out_len)
{
    const uint8_t *p = (const uint8_t *)in.ptr;
    uint8_t *to = out;
    size_t tail = in.len % 4, i = 0;
    uint8_t bad = 0;

    if (tail == 1)
        return false;
    for (; i < in.len - tail; i += 4, to += 3) {
        uint8_t a = value[p[i]], b = value[p[i + 1]], c = value[p[i + 2]], d = value[p[i + 3]];

        bad |= (uint8_t)(a | b | c | d);
        to[0] = (uint8_t)(a << 2 | b >> 4);
        to[1] = (uint8_t)(b << 4 | c >> 2);
        to[2] = (uint8_t)(c << 6 | d);
    }
    if (tail) {
        uint8_t a = value[p[i]], b = value[p[i + 1]], c = tail == 3 ? value[p[i + 2]] : 0;

        bad |= (uint8_t)(a | b | c);
        if (tail == 2 ? b & 15 : c & 3)
            return false;
        *to++ = (uint8_t)(a << 2 | b >> 4);
        if (tail == 3)
            *to++ = (uint8_t)(b << 4 | c >> 2);
    }
    if (bad & 0x80)
        return false;
    *out_len = (size_t)(to - out);
    return true;
}

static void encode(struct tg_slice in, const char *alphabet, bool pad, struct tg_buf *out)
{
    size_t i = 0;

    tg_buf_reserve(out, in.len / 3 * 4 + 4);
    for (; i + 3 <= in.len; i += 3) {
        const uint8_t *p = (const uint8_t *)in.ptr + i;
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        char *to = out->data + out->len;

        to[0] = alphabet[v >> 18];
        to[1] = alphabet[v >> 12 & 63];
        to[2] = alphabet[v >> 6 & 63];
        to[3] = alphabet[v & 63];
        out->len += 4;
    }
    if (i < in.len) {
        bool two = in.len - i == 2;
        uint32_t v = (uint32_t)(uint8_t)in.ptr[i] << 16 | (two ? (uint32_t)(uint8_t)in.ptr[i + 1] << 8 : 0);

        tg_buf_addc(out, alphabet[v >> 18]);
        tg_buf_addc(out, alphabet[v >> 12 & 63]);
        if (two)
            tg_buf_addc(out, alphabet[v >> 6 & 63]);
        if (pad)
            tg_buf_adds(out, two ? "=" : "==");
    }
}

bool tg_base64url_decode(struct tg_slice in, uint8_t *out, size_t *out_len)
{
    return decode(in, sextets[0], out, out_len);
}

void tg_base64url_encode(struct tg_slice in, struct tg_buf *out)
{
    encode(in, url_alphabet, false, out);
}

bool tg_base64_decode(struct tg_slice in, uint8_t *out, size_t *out_len)
{
    if (in.len % 4 != 0)
        return false;
    for (int pads = 0; pads < 2 && in.len && in.ptr[in.len - 1] == '='; pads++)
        in.len--;
    return decode(in, sextets[1], out, out_len);
}

void tg_base64_encode(struct tg_slice in, struct tg_buf *out)
{
    encode(in, std_alphabet, true, out);
}

void tg_hex(const uint8_t *in, size_t len, char *out)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *out++ = hex[in[i] >> 4];
        *out++ = hex[in[i] & 15];
    }
    *out = '\0';
}

int tg_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
