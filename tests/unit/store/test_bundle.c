/*
 * test_bundle - a signed set: what opens is what was signed, and nothing else opens.
 */
#include "bundle_support.h"
#include "base/digest.h"
#include "base/json.h"
#include <sys/mman.h>

static struct key key, other;

static enum tg_status open_with(struct tg_slice text, const struct tg_jwks *keys, int64_t now_s,
                                struct tg_bundle_facts *facts, struct tg_err *err)
{
    struct tg_bundle_facts mine = {0};
    struct tg_set *set = NULL;
    enum tg_status st = tg_bundle_open("b", text, keys, now_s, &set, facts ? facts : &mine, err);

    assert_true((st == TG_OK) == (set != NULL));
    tg_set_unref(set);
    return st;
}

static enum tg_status open_text(struct tg_slice text, struct tg_err *err)
{
    return open_with(text, key.jwks, NOW, NULL, err);
}

static void refuse(struct tg_slice text, const char *why)
{
    struct tg_err err = {0};

    if (open_text(text, &err) == TG_OK)
        fail_msg("%s: it opens", why);
    if (strncmp(err.text, "b: ", 3) != 0)
        fail_msg("%s: \"%s\" does not name the bundle", why, err.text);
}

static void good(struct tg_buf *out)
{
    make_bundle(&key, SET_OF("/"), 7, NOW, NOW + 100, out);
}

/* ---- what comes back ---- */

static void round_trip(void **state)
{
    struct tg_bundle_facts facts = {0};
    struct tg_buf text = {0};
    struct tg_set *made = NULL, *got = NULL;

    (void)state;
    good(&text);
    assert_int_equal(tg_set_parse("set", TG_S(SET_OF("/")), &made, NULL), TG_OK);
    assert_int_equal(tg_bundle_open("b", tg_buf_slice(&text), key.jwks, NOW, &got, &facts, NULL), TG_OK);
    assert_string_equal(tg_set_digest(got), tg_set_digest(made));
    assert_int_equal(tg_set_policies(got), 1);
    assert_int_equal(tg_set_routes(got), 1);
    assert_int_equal(facts.sequence, 7);
    assert_int_equal(facts.issued_s, NOW);
    assert_int_equal(facts.expires_s, NOW + 100);
    assert_true(tg_slice_eq(tg_slice_str(facts.kid), tg_signer_kid(key.signer)));
    tg_set_unref(made);
    tg_set_unref(got);
    tg_buf_fini(&text);
}

/* RFC 7515, 8037: other tools read it too. */
static void form(void **state)
{
    struct tg_buf text = {0};
    struct tg_slice head, rest;
    char want[256], got[256];
    size_t len;

    (void)state;
    good(&text);
    assert_true(tg_slice_cut(tg_buf_slice(&text), '.', &head, &rest));
    assert_true(tg_base64url_decode(head, (uint8_t *)got, &len));
    assert_true(tg_slice_eq(tg_slice(got, len), tg_slice_str(header_of(&key, want))));
    tg_buf_fini(&text);
}

/* ---- octets ---- */

static void flipped_bits(void **state)
{
    struct tg_buf text = {0};

    (void)state;
    good(&text);
    assert_int_equal(open_text(tg_buf_slice(&text), NULL), TG_OK);
    for (size_t i = 0; i < text.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
            if (open_text(tg_buf_slice(&text), NULL) == TG_OK)
                fail_msg("bit %u of octet %zu may be anything", bit, i);
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
        }
    assert_int_equal(open_text(tg_buf_slice(&text), NULL), TG_OK);
    tg_buf_fini(&text);
}

static void cut_anywhere(void **state)
{
    struct tg_buf text = {0};

    (void)state;
    good(&text);
    for (size_t len = 0; len < text.len; len++)
        refuse(tg_slice(text.data, len), "a part of it");
    for (size_t from = 1; from < text.len; from++)
        refuse(tg_slice(text.data + from, text.len - from), "without its beginning");
    tg_buf_fini(&text);
}

static void trailing_octets(void **state)
{
    static const char *const tails[] = {"\n\n", "\r\n", " ", "\t\n", "=", "A", ".", ".e30", "\n.", "\n "};
    struct tg_buf text = {0};

    (void)state;
    good(&text);
    tg_buf_addc(&text, '\n');
    assert_int_equal(open_text(tg_buf_slice(&text), NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        good(&text);
        tg_buf_adds(&text, tails[i]);
        refuse(tg_buf_slice(&text), tails[i]);
    }
    good(&text);
    tg_buf_addc(&text, '\0');
    refuse(tg_buf_slice(&text), "NUL");
    tg_buf_fini(&text);
}

static void huge(void **state)
{
    size_t len = TG_BUNDLE_BYTES + 1;
    char *text = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct tg_err err = {0};

    (void)state;
    assert_ptr_not_equal(text, MAP_FAILED);
    assert_int_equal(open_text(tg_slice(text, len), &err), TG_LIMIT);
    munmap(text, len);
}

/* ---- signatures ---- */

static struct tg_slice part(const struct tg_buf *text, unsigned number)
{
    struct tg_slice one = {0}, rest = tg_buf_slice(text);

    for (unsigned i = 0; i <= number; i++)
        tg_slice_cut(rest, '.', &one, &rest);
    return one;
}

static void join(struct tg_buf *out, struct tg_slice head, struct tg_slice payload, struct tg_slice signature)
{
    out->len = 0;
    tg_buf_add_slice(out, head);
    tg_buf_addc(out, '.');
    tg_buf_add_slice(out, payload);
    tg_buf_addc(out, '.');
    tg_buf_add_slice(out, signature);
}

static void swapped_parts(void **state)
{
    struct tg_buf a = {0}, b = {0}, c = {0}, text = {0};

    (void)state;
    good(&a);
    make_bundle(&key, SET_OF("/b"), 8, NOW, NOW + 100, &b);
    make_bundle(&other, SET_OF("/"), 7, NOW, NOW + 100, &c);
    join(&text, part(&a, 0), part(&a, 1), TG_S(""));
    refuse(tg_buf_slice(&text), "stripped signature");
    refuse(tg_slice(a.data, part(&a, 0).len + 1 + part(&a, 1).len), "no signature at all");
    join(&text, part(&a, 0), part(&a, 1), part(&b, 2));
    refuse(tg_buf_slice(&text), "another bundle's signature");
    join(&text, part(&a, 0), part(&b, 1), part(&a, 2));
    refuse(tg_buf_slice(&text), "another bundle's payload");
    join(&text, part(&c, 0), part(&a, 1), part(&a, 2));
    refuse(tg_buf_slice(&text), "another key's header");
    join(&text, part(&a, 0), part(&c, 1), part(&c, 2));
    refuse(tg_buf_slice(&text), "another key's signature under our kid");
    join(&text, part(&a, 0), part(&a, 1), part(&a, 2));
    assert_int_equal(open_text(tg_buf_slice(&text), NULL), TG_OK);
    tg_buf_fini(&a);
    tg_buf_fini(&b);
    tg_buf_fini(&c);
    tg_buf_fini(&text);
}

static void wrong_key(void **state)
{
    struct tg_buf text = {0}, both = {0};
    struct tg_bundle_facts facts;
    struct tg_jwks *two = NULL;
    struct tg_err err = {0};

    (void)state;
    make_bundle(&other, SET_OF("/"), 7, NOW, NOW + 100, &text);
    assert_int_equal(open_text(tg_buf_slice(&text), &err), TG_CRYPTO);
    assert_non_null(strstr(err.text, "not trusted"));
    tg_buf_add_slice(&both, tg_buf_slice(&key.pem));     /* a rotation */
    tg_buf_add_slice(&both, tg_buf_slice(&other.pem));
    assert_int_equal(tg_jwks_from_pem(tg_buf_slice(&both), &two, NULL), TG_OK);
    assert_int_equal(open_with(tg_buf_slice(&text), two, NOW, &facts, NULL), TG_OK);
    assert_true(tg_slice_eq(tg_slice_str(facts.kid), tg_signer_kid(other.signer)));
    good(&text);
    assert_int_equal(open_with(tg_buf_slice(&text), two, NOW, &facts, NULL), TG_OK);
    assert_true(tg_slice_eq(tg_slice_str(facts.kid), tg_signer_kid(key.signer)));
    tg_jwks_unref(two);
    tg_buf_fini(&text);
    tg_buf_fini(&both);
}

/* RFC 8725 §3.1: what a bundle says of its algorithm changes nothing. */
static void other_algorithms(void **state)
{
    static const char *const heads[] = {
        "{\"alg\":\"none\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\"}",
        "{\"alg\":\"HS256\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\"}",
        "{\"alg\":\"RS256\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\"}",
        "{\"alg\":\"eddsa\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\"}",
        "{\"typ\":\"tollgate-bundle\",\"kid\":\"%s\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":\"\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":\"x%s\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":7}",
        "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\",\"b64\":false}",
        "{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":\"%s\"}",
    };
    struct tg_buf text = {0}, payload = {0};
    char head[512], kid[64];
    size_t len;

    (void)state;
    good(&text);
    tg_buf_reserve(&payload, text.len);
    assert_true(tg_base64url_decode(part(&text, 1), (uint8_t *)payload.data, &len));
    payload.len = len;
    sign_raw(&key, header_of(&key, head), tg_buf_slice(&payload), &text);
    assert_int_equal(open_text(tg_buf_slice(&text), NULL), TG_OK);
    snprintf(kid, sizeof(kid), TG_S_FMT, TG_S_ARG(tg_signer_kid(key.signer)));
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(head, sizeof(head), heads[i], kid);
#pragma GCC diagnostic pop
        sign_raw(&key, head, tg_buf_slice(&payload), &text);
        refuse(tg_buf_slice(&text), heads[i]);
    }
    tg_buf_fini(&text);
    tg_buf_fini(&payload);
}

/* The public key, which all know, as the secret of an HMAC. */
static void public_key_as_secret(void **state)
{
    struct tg_signer *hmac = NULL;
    struct tg_buf text = {0}, pub = {0}, payload = {0};
    struct tg_set *set = NULL;
    char head[256];

    (void)state;
    assert_int_equal(tg_set_parse("set", TG_S(SET_OF("/")), &set, NULL), TG_OK);
    assert_int_equal(tg_bundle_build(set, &(struct tg_bundle_facts){.sequence = 1, .issued_s = NOW,
                                                                    .expires_s = NOW + 9}, &payload, NULL), TG_OK);
    tg_buf_add_slice(&pub, tg_signer_jwk(key.signer));
    assert_int_equal(tg_signer_load(TG_ALG_HS256, tg_buf_slice(&pub), TG_S(""), &hmac, NULL), TG_OK);
    snprintf(head, sizeof(head), "{\"alg\":\"HS256\",\"typ\":\"tollgate-bundle\",\"kid\":\"" TG_S_FMT "\"}",
             TG_S_ARG(tg_signer_kid(key.signer)));
    assert_int_equal(tg_signer_sign_octets(hmac, tg_slice_str(head), tg_buf_slice(&payload), &text, NULL), TG_OK);
    refuse(tg_buf_slice(&text), "HS256 with the public key");
    tg_signer_free(hmac);
    tg_set_unref(set);
    tg_buf_fini(&text);
    tg_buf_fini(&pub);
    tg_buf_fini(&payload);
}

/* ---- time ---- */

static void times(void **state)
{
    static const struct { const char *why; int64_t issued, expires; enum tg_status want; } cases[] = {
        {"now", NOW, NOW + 1, TG_OK},
        {"ends now", NOW - 10, NOW, TG_EXPIRED},
        {"ended", NOW - 10, NOW - 1, TG_EXPIRED},
        {"clocks differ", NOW + 60, NOW + 1000, TG_OK},
        {"of the future", NOW + 61, NOW + 1000, TG_BAD_INPUT},
        {"a year ahead", NOW + 31536000, NOW + 31537000, TG_BAD_INPUT},
        {"for long", 0, INT64_C(253402300799), TG_OK},
    };
    struct tg_buf text = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_err err = {0};

        make_bundle(&key, SET_OF("/"), 1, cases[i].issued, cases[i].expires, &text);
        if (open_text(tg_buf_slice(&text), &err) != cases[i].want)
            fail_msg("%s: %s", cases[i].why, err.text);
    }
    tg_buf_fini(&text);
}

static void what_is_not_built(void **state)
{
    static const struct tg_bundle_facts cases[] = {
        {.sequence = 0, .issued_s = NOW, .expires_s = NOW + 1},
        {.sequence = ((uint64_t)1 << 53) + 1, .issued_s = NOW, .expires_s = NOW + 1},
        {.sequence = 1, .issued_s = NOW, .expires_s = NOW},
        {.sequence = 1, .issued_s = -1, .expires_s = NOW},
        {.sequence = 1, .issued_s = NOW, .expires_s = INT64_C(253402300800)},
    };
    struct tg_buf out = {0};
    struct tg_set *set = NULL;

    (void)state;
    assert_int_equal(tg_set_parse("set", TG_S(SET_OF("/")), &set, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(tg_bundle_build(set, &cases[i], &out, NULL), TG_BAD_INPUT);
    assert_int_equal(out.len, 0);
    tg_set_unref(set);
}

/* ---- payloads that a trusted key signed, and that are none ---- */

#define TIMES "\"iat\":1800000000,\"exp\":1800000100"
#define EMPTY "\"set\":{\"policies\":[],\"routes\":[]}"
static const struct { const char *why, *text; } payloads[] = {
    {"nothing", ""},
    {"no JSON", "seq"},
    {"a list", "[]"},
    {"seq lacks", "{" TIMES "," EMPTY "}"},
    {"seq 0", "{\"seq\":0," TIMES "," EMPTY "}"},
    {"seq below 0", "{\"seq\":-1," TIMES "," EMPTY "}"},
    {"seq broken", "{\"seq\":1.5," TIMES "," EMPTY "}"},
    {"seq as text", "{\"seq\":\"1\"," TIMES "," EMPTY "}"},
    {"seq beyond 2^53", "{\"seq\":9007199254740993," TIMES "," EMPTY "}"},
    {"seq twice", "{\"seq\":1,\"seq\":2," TIMES "," EMPTY "}"},
    {"seq twice, once escaped", "{\"seq\":1,\"s\\u0065q\":2," TIMES "," EMPTY "}"},
    {"iat lacks", "{\"seq\":1,\"exp\":1800000100," EMPTY "}"},
    {"exp lacks", "{\"seq\":1,\"iat\":1800000000," EMPTY "}"},
    {"exp null", "{\"seq\":1,\"iat\":1800000000,\"exp\":null," EMPTY "}"},
    {"exp for ever", "{\"seq\":1,\"iat\":1800000000,\"exp\":9007199254740991," EMPTY "}"},
    {"exp before iat", "{\"seq\":1,\"iat\":1800000000,\"exp\":1799999999," EMPTY "}"},
    {"set lacks", "{\"seq\":1," TIMES "}"},
    {"set is a list", "{\"seq\":1," TIMES ",\"set\":[]}"},
    {"routes lack", "{\"seq\":1," TIMES ",\"set\":{\"policies\":[]}}"},
    {"policies no list", "{\"seq\":1," TIMES ",\"set\":{\"policies\":{},\"routes\":[]}}"},
    {"more in the set", "{\"seq\":1," TIMES ",\"set\":{\"policies\":[],\"routes\":[],\"settings\":{}}}"},
    {"a member nobody knows", "{\"seq\":1,\"nbf\":1900000000," TIMES "," EMPTY "}"},
    {"an element that is none", "{\"seq\":1," TIMES ",\"set\":{\"policies\":[7],\"routes\":[]}}"},
    {"octets behind it", "{\"seq\":1," TIMES "," EMPTY "} x"},
};

static void bad_payloads(void **state)
{
    struct tg_buf text = {0};
    struct tg_err err = {0};
    char head[256];

    (void)state;
    sign_raw(&key, header_of(&key, head), TG_S("{\"seq\":1," TIMES "," EMPTY "}"), &text);
    if (open_text(tg_buf_slice(&text), &err) != TG_OK)
        fail_msg("a good one: %s", err.text);
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        sign_raw(&key, header_of(&key, head), tg_slice_str(payloads[i].text), &text);
        refuse(tg_buf_slice(&text), payloads[i].why);
    }
    text.len = 0;
    tg_buf_adds(&text, "{\"seq\":1," TIMES ",\"set\":");
    for (unsigned i = 0; i < 100000; i++)
        tg_buf_addc(&text, '[');
    struct tg_buf deep = {0};

    sign_raw(&key, header_of(&key, head), tg_buf_slice(&text), &deep);
    refuse(tg_buf_slice(&deep), "100,000 brackets");
    tg_buf_fini(&deep);
    tg_buf_fini(&text);
}

/* ---- signing ---- */

static void what_is_not_signed(void **state)
{
    struct key ec = make_key(TG_ALG_ES256), rsa = make_key(TG_ALG_RS256);
    struct tg_slice payload = TG_S("{\"seq\":1," TIMES "," EMPTY "}");
    struct tg_buf out = {0};

    (void)state;
    assert_int_not_equal(tg_bundle_sign(payload, tg_buf_slice(&ec.pem), &out, NULL), TG_OK);
    assert_int_not_equal(tg_bundle_sign(payload, tg_buf_slice(&rsa.pem), &out, NULL), TG_OK);
    assert_int_not_equal(tg_bundle_sign(payload, TG_S("-----BEGIN PRIVATE KEY-----\n"), &out, NULL), TG_OK);
    assert_int_not_equal(tg_bundle_sign(payload, TG_S(""), &out, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++)
        if (strcmp(payloads[i].why, "an element that is none") != 0 &&
            tg_bundle_sign(tg_slice_str(payloads[i].text), tg_buf_slice(&key.pem), &out, NULL) == TG_OK)
            fail_msg("%s: it was signed", payloads[i].why);
    assert_int_equal(out.len, 0);
    assert_int_equal(tg_bundle_sign(payload, tg_buf_slice(&key.pem), &out, NULL), TG_OK);
    tg_buf_fini(&out);
    free_key(&ec);
    free_key(&rsa);
}

static int start(void **state)
{
    (void)state;
    key = make_key(TG_ALG_EdDSA);
    other = make_key(TG_ALG_EdDSA);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    free_key(&key);
    free_key(&other);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(form), cmocka_unit_test(flipped_bits),
        cmocka_unit_test(cut_anywhere), cmocka_unit_test(trailing_octets), cmocka_unit_test(huge),
        cmocka_unit_test(swapped_parts), cmocka_unit_test(wrong_key), cmocka_unit_test(other_algorithms),
        cmocka_unit_test(public_key_as_secret), cmocka_unit_test(times), cmocka_unit_test(what_is_not_built),
        cmocka_unit_test(bad_payloads), cmocka_unit_test(what_is_not_signed),
    };

    return cmocka_run_group_tests_name("store/bundle", tests, start, stop);
}
