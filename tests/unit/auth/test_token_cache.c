/* token_cache: when an entry ends, what makes room for it, and a law against a simple model. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/token_cache.h"
#include "base/json.h"
#include <stdlib.h>

static struct tg_provider provider;
static uint64_t generation, *stamp;

static uint64_t generation_of(void *arg, const struct tg_identity *id)
{
    assert_ptr_equal(arg, &generation);
    assert_ptr_equal(id->provider, &provider);
    return generation;
}

static struct tg_token_cache *make(size_t entries, size_t bytes)
{
    generation = 1;
    return tg_token_cache_new(entries, bytes, generation_of, &generation);
}

static void digest_of(unsigned n, uint8_t digest[TG_SHA256_LEN])
{
    tg_sha256(tg_slice((const char *)&n, sizeof(n)), digest);
}

static void put(struct tg_token_cache *c, unsigned n, int64_t until_s, size_t bytes)
{
    uint8_t digest[TG_SHA256_LEN];
    const struct tg_identity *id;
    cJSON *claims;

    assert_int_equal(tg_json_parse(TG_S("{\"iss\":\"i\",\"sub\":\"s\",\"email\":7}"), NULL, &claims, NULL), TG_OK);
    digest_of(n, digest);
    id = tg_identity_new(TG_IDENTITY_SIGNED, &provider, claims, until_s, digest);
    assert_true(tg_slice_eq(id->subject, TG_S("s")) && id->email.len == 0 && id->token_id.len == 8);
    assert_true(tg_identity_bytes(id) > 100);
    tg_token_cache_put(c, digest, id, generation, until_s, bytes);
    tg_identity_unref(id);
}

static bool has(struct tg_token_cache *c, unsigned n, int64_t now_s)
{
    uint8_t digest[TG_SHA256_LEN];
    const struct tg_identity *id;

    digest_of(n, digest);
    id = tg_token_cache_get(c, digest, now_s, &stamp);
    assert_true(!id || id->exp_s > now_s);
    return id != NULL;
}

static void ends_with_its_token(void **state)
{
    struct tg_token_cache *c = make(4, 1000);

    (void)state;
    put(c, 1, 100, 1);
    assert_true(has(c, 1, 0));
    assert_true(has(c, 1, 99));
    assert_false(has(c, 1, 100));
    assert_int_equal(tg_token_cache_count(c), 0);
    assert_false(has(c, 1, 0));                          /* gone for good, also when the clock goes back */
    tg_token_cache_free(c);
    tg_token_cache_free(NULL);
}

static void ends_with_its_keys(void **state)
{
    struct tg_token_cache *c = make(4, 1000);

    (void)state;
    put(c, 1, 100, 1);
    generation++;
    put(c, 2, 100, 1);
    assert_false(has(c, 1, 0));
    assert_true(has(c, 2, 0));
    tg_token_cache_free(c);
}

static void oldest_use_goes_first(void **state)
{
    struct tg_token_cache *c = make(3, 1000);

    (void)state;
    put(c, 1, 100, 1);
    put(c, 2, 100, 1);
    put(c, 3, 100, 1);
    assert_true(has(c, 1, 0));
    put(c, 4, 100, 1);
    assert_false(has(c, 2, 0));
    assert_true(has(c, 1, 0) && has(c, 3, 0) && has(c, 4, 0));
    put(c, 3, 100, 1);                                   /* again: one entry, not two */
    assert_int_equal(tg_token_cache_count(c), 3);
    tg_token_cache_free(c);
}

static void bytes_are_bounded(void **state)
{
    struct tg_token_cache *c = make(100, 10);

    (void)state;
    for (unsigned n = 0; n < 5; n++)
        put(c, n, 100, 2);
    assert_int_equal(tg_token_cache_count(c), 5);
    put(c, 5, 100, 5);
    assert_int_equal(tg_token_cache_count(c), 3);
    assert_true(has(c, 3, 0) && has(c, 4, 0) && has(c, 5, 0));
    put(c, 6, 100, 11);                                  /* alone too large: not kept, and pushes nobody out */
    assert_false(has(c, 6, 0));
    assert_int_equal(tg_token_cache_count(c), 3);
    put(c, 7, 100, 10);
    assert_int_equal(tg_token_cache_count(c), 1);
    tg_token_cache_free(c);
}

/* The caller's number stays with the entry, and a new entry for the same token begins anew. */
static void stamps(void **state)
{
    struct tg_token_cache *c = make(4, 1000);

    (void)state;
    put(c, 1, 100, 1);
    put(c, 2, 100, 1);
    assert_true(has(c, 1, 0));
    assert_true(*stamp == TG_TOKEN_CACHE_NEW);
    *stamp = 7;
    assert_true(has(c, 2, 0));
    assert_true(*stamp == TG_TOKEN_CACHE_NEW);
    assert_true(has(c, 1, 0));
    assert_true(*stamp == 7);
    put(c, 1, 100, 1);
    assert_true(has(c, 1, 0));
    assert_true(*stamp == TG_TOKEN_CACHE_NEW);
    tg_token_cache_free(c);
}

/* A held identity outlives its entry. */
static void references_hold(void **state)
{
    struct tg_token_cache *c = make(1, 1000);
    uint8_t digest[TG_SHA256_LEN];
    const struct tg_identity *id;

    (void)state;
    put(c, 1, 100, 1);
    digest_of(1, digest);
    id = tg_identity_ref(tg_token_cache_get(c, digest, 0, &stamp));
    put(c, 2, 100, 1);
    tg_token_cache_free(c);
    assert_true(tg_slice_eq(id->issuer, TG_S("i")));
    tg_identity_unref(id);
}

/* A list of at most 8 names, newest use first, says the same after every step. */
static void agrees_with_a_model(void **state)
{
    struct tg_token_cache *c = make(8, 1000);
    unsigned model[9], count = 0, dice = 1;

    (void)state;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned n, i;
        bool known;

        dice = dice * 1103515245 + 12345;
        n = dice >> 16 & 15;
        for (i = 0; i < count && model[i] != n; i++)
            ;
        known = i < count;
        if (dice >> 20 & 1) {
            put(c, n, 100, 1);
            if (!known)
                i = count < 8 ? count++ : 7;
        } else {
            assert_int_equal(has(c, n, 0), known);
            if (!known)
                continue;
        }
        memmove(model + 1, model, i * sizeof(*model));
        model[0] = n;
        assert_int_equal(tg_token_cache_count(c), count);
    }
    tg_token_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_with_its_token),   cmocka_unit_test(ends_with_its_keys),
        cmocka_unit_test(oldest_use_goes_first), cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(stamps), cmocka_unit_test(references_hold),       cmocka_unit_test(agrees_with_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
