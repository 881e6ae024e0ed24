/* assertion: what is signed and with which key, how long it is sent, what is published across a rotation. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/assertion.h"
#include "base/file.h"
#include "base/json.h"
#include "jose/jws.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_MS INT64_C(1795255200000)
#define MINUTE_MS INT64_C(60000)
#define ANN "{\"iss\":\"https://one\",\"sub\":\"ann\",\"email\":\"ann@example.com\"," \
            "\"groups\":[\"a\",\"b,c\",7,\"d\"]," \
            "\"name\":[\"Ann\",\"Other\"],\"sid\":\"s1\",\"tier\":[\"gold\",2],\"org\":{\"id\":\"o1\"},\"nbf\":1}"

static struct tg_provider provider = {.groups_claim = TG_S_INIT("groups")};

static const struct tg_identity *identity(const char *claims)
{
    uint8_t digest[TG_SHA256_LEN] = {1};
    const struct tg_identity *id;
    cJSON *json;

    assert_int_equal(tg_json_parse(tg_slice_str(claims), NULL, &json, NULL), TG_OK);
    id = tg_identity_new(TG_IDENTITY_SIGNED, &provider, json, NOW_MS / 1000 + 3600, digest);
    assert_non_null(id);
    return id;
}

static struct tg_assertion_subject subject_of(const struct tg_identity *id)
{
    return (struct tg_assertion_subject){.identity = id, .issuer = TG_S("api.example.com"),
                                         .audience = TG_S("api.example.com")};
}

static void pem_of(enum tg_alg alg, struct tg_buf *pem)
{
    struct tg_signer *s = NULL;

    assert_int_equal(tg_signer_generate(alg, &s, NULL), TG_OK);
    assert_int_equal(tg_signer_pem(s, pem, NULL), TG_OK);
    tg_signer_free(s);
}

static void bind(struct tg_signing *s, struct tg_slice pem, int64_t now_ms)
{
    struct tg_signing_keys *keys = NULL;
    struct tg_err err = {0};

    if (tg_signing_read(s, pem, true, &keys, &err) != TG_OK)
        fail_msg("%s", err.text);
    tg_signing_bind(s, keys, now_ms);
}

/* The claims, when a published key vouches for them; NULL when none does. */
static cJSON *judge(struct tg_signing *s, struct tg_slice token, int64_t now_ms)
{
    struct tg_jwks *keys = NULL;
    struct tg_arena arena;
    struct tg_buf set = {0};
    struct tg_jws jws;
    cJSON *claims = NULL;

    tg_arena_init(&arena, NULL, 0);
    tg_signing_jwks(s, now_ms, &set);
    assert_int_equal(tg_jwks_parse(tg_buf_slice(&set), false, &keys, NULL), TG_OK);
    assert_int_equal(tg_jwks_skipped(keys), 0);
    assert_int_equal(tg_jws_split(token, &arena, &jws, NULL), TG_OK);
    assert_true(tg_slice_eq(jws.typ, TG_S("JWT")) && jws.kid.len == 43);
    if (tg_jws_verify(&jws, keys, TG_ALG_BIT(TG_ALG_ES256) | TG_ALG_BIT(TG_ALG_EdDSA), NULL) == TG_OK)
        assert_int_equal(tg_json_parse(jws.payload, NULL, &claims, NULL), TG_OK);
    tg_jws_fini(&jws);
    tg_jwks_unref(keys);
    tg_buf_fini(&set);
    tg_arena_fini(&arena);
    return claims;
}

static size_t published(struct tg_signing *s, int64_t now_ms)
{
    struct tg_jwks *keys = NULL;
    struct tg_buf set = {0};
    size_t n;

    tg_signing_jwks(s, now_ms, &set);
    assert_null(strstr(tg_buf_cstr(&set), "\"d\""));
    assert_int_equal(tg_jwks_parse(tg_buf_slice(&set), false, &keys, NULL), TG_OK);
    n = tg_jwks_count(keys);
    tg_jwks_unref(keys);
    tg_buf_fini(&set);
    return n;
}

static char *get(struct tg_assertions *a, const struct tg_assertion_subject *subject, int64_t now_ms)
{
    return tg_slice_dup(tg_assertions_get(a, subject, now_ms));
}

static void assert_member(const cJSON *claims, const char *name, const char *want)
{
    struct tg_buf text = {0};

    tg_json_print(&text, tg_json_get(claims, name));
    assert_string_equal(tg_buf_cstr(&text), want);
    tg_buf_fini(&text);
}

/* ---- what it says ---- */

static void pomeriums_claims(void **state)
{
    const enum tg_alg algs[] = {TG_ALG_ES256, TG_ALG_EdDSA};
    struct tg_slice names[] = {TG_S_INIT("X-Tier"), TG_S_INIT("X-Org"), TG_S_INIT("X-Mail"), TG_S_INIT("X-Again"),
                               TG_S_INIT("X-Not"), TG_S_INIT("X-Nbf"), TG_S_INIT("X-Groups")};
    struct tg_slice values[] = {TG_S_INIT("tier"), TG_S_INIT("org.id"), TG_S_INIT("email"), TG_S_INIT("tier"),
                                TG_S_INIT("missing"), TG_S_INIT("nbf"), TG_S_INIT("groups")};
    const struct tg_string_map headers = {names, values, ARRAY_LEN(names)};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        const struct tg_identity *id = identity(ANN);
        struct tg_assertion_subject subject = subject_of(id);
        struct tg_signing *s = tg_signing_new(NULL);
        struct tg_assertions *a = tg_assertions_new(s, 16);
        struct tg_buf pem = {0};

        assert_false(tg_signing_is_on(s));
        assert_int_equal(tg_assertions_get(a, &subject, NOW_MS).len, 0);
        pem_of(algs[i], &pem);
        bind(s, tg_buf_slice(&pem), NOW_MS);
        assert_true(tg_signing_is_on(s));
        subject.claims_headers = &headers;
        subject.issuer = TG_S("https://api.example.com/");
        char *token = get(a, &subject, NOW_MS + 999);
        cJSON *claims = judge(s, tg_slice_str(token), NOW_MS);

        assert_member(claims, "iss", "\"https://api.example.com/\"");
        assert_member(claims, "aud", "\"api.example.com\"");
        assert_member(claims, "iat", "1795255200");
        assert_member(claims, "exp", "1795255500");
        assert_member(claims, "sub", "\"ann\"");
        assert_member(claims, "user", "\"ann\"");
        assert_member(claims, "email", "\"ann@example.com\"");
        assert_member(claims, "groups", "[\"a\",\"b,c\",\"d\"]");
        assert_member(claims, "sid", "\"s1\"");
        assert_member(claims, "name", "\"Ann,Other\"");
        assert_member(claims, "tier", "\"gold,2\"");
        assert_member(claims, "org.id", "\"o1\"");
        assert_int_equal(cJSON_GetArraySize(claims), 13);  /* and jti: no nbf, nothing missing, nothing twice */
        assert_int_equal(strlen(tg_json_get(claims, "jti")->valuestring), 36);
        cJSON_Delete(claims);
        free(token);
        tg_assertions_free(a);
        tg_signing_free(s);
        tg_identity_unref(id);
        tg_buf_fini(&pem);
    }
}

static void groups_are_filtered(void **state)
{
    struct tg_slice items[] = {TG_S_INIT("d"), TG_S_INIT("none"), TG_S_INIT("c")};
    struct tg_strings filter = {items, ARRAY_LEN(items), true}, nothing = {items + 1, 1, true};
    const struct tg_identity *id = identity(ANN), *bare = identity("{\"iss\":\"i\",\"sub\":\"s\"}");
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_assertions *a = tg_assertions_new(s, 16);
    const struct {
        const struct tg_identity *id;
        const struct tg_strings *filter;
        const char *groups;
    } cases[] = {{id, &filter, "[\"d\"]"}, {id, &nothing, "[]"}, {id, NULL, "[\"a\",\"b,c\",\"d\"]"},
                 {bare, &filter, "[]"}};               /* no more than a set holds: none makes room for another */

    (void)state;
    bind(s, TG_S(""), NOW_MS);
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct tg_assertion_subject subject = subject_of(cases[i].id);

            subject.groups_filter = cases[i].filter;
            char *token = get(a, &subject, NOW_MS);
            cJSON *claims = judge(s, tg_slice_str(token), NOW_MS);

            assert_member(claims, "groups", cases[i].groups);
            assert_null(tg_json_get(claims, cases[i].id == bare ? "email" : "none"));
            cJSON_Delete(claims);
            free(token);
        }
    assert_int_equal(tg_assertions_signed(a), ARRAY_LEN(cases));
    tg_assertions_free(a);
    tg_signing_free(s);
    tg_identity_unref(id);
    tg_identity_unref(bare);
}

/* ---- how long it is sent, and to whom ---- */

static void sent_again_until_a_minute_before_its_end(void **state)
{
    const struct tg_identity *id = identity(ANN);
    struct tg_assertion_subject subject = subject_of(id);
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_assertions *a = tg_assertions_new(s, 16);

    (void)state;
    bind(s, TG_S(""), NOW_MS);
    char *first = get(a, &subject, NOW_MS), *last = get(a, &subject, NOW_MS + 4 * MINUTE_MS - 1);

    assert_string_equal(first, last);
    assert_int_equal(tg_assertions_signed(a), 1);
    char *next = get(a, &subject, NOW_MS + 4 * MINUTE_MS);

    assert_string_not_equal(first, next);
    assert_int_equal(tg_assertions_signed(a), 2);
    free(get(a, &subject, NOW_MS + 4 * MINUTE_MS - 500));
    assert_int_equal(tg_assertions_signed(a), 2);        /* a clock that was set back a little ... */
    free(get(a, &subject, NOW_MS));
    assert_int_equal(tg_assertions_signed(a), 3);        /* ... and one that went back much: not from the future */
    free(first);
    free(last);
    free(next);
    tg_assertions_free(a);
    tg_signing_free(s);
    tg_identity_unref(id);
}

/* Two tokens of one subject, one subject at two audiences: nobody is told what belongs to another. */
static void never_anothers(void **state)
{
    const struct tg_identity *ids[] = {identity("{\"iss\":\"i\",\"sub\":\"s\",\"groups\":[\"admin\"]}"),
                                       identity("{\"iss\":\"i\",\"sub\":\"s\",\"groups\":[\"guest\"]}")};
    const struct tg_slice audiences[] = {TG_S_INIT("a"), TG_S_INIT("ab"), TG_S_INIT("b")};
    const struct tg_slice issuers[] = {TG_S_INIT("ba"), TG_S_INIT("a"), TG_S_INIT("ba")};
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_assertions *a = tg_assertions_new(s, 4096);

    (void)state;
    bind(s, TG_S(""), NOW_MS);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < ARRAY_LEN(ids); i++)
            for (size_t k = 0; k < ARRAY_LEN(audiences); k++) {
                struct tg_assertion_subject subject = {.identity = ids[i], .audience = audiences[k],
                                                       .issuer = issuers[k]};
                char *token = get(a, &subject, NOW_MS);
                cJSON *claims = judge(s, tg_slice_str(token), NOW_MS);

                assert_member(claims, "groups", i == 0 ? "[\"admin\"]" : "[\"guest\"]");
                assert_string_equal(tg_json_get(claims, "aud")->valuestring, audiences[k].ptr);
                assert_string_equal(tg_json_get(claims, "iss")->valuestring, issuers[k].ptr);
                cJSON_Delete(claims);
                free(token);
            }
    assert_int_equal(tg_assertions_signed(a), 6);
    tg_assertions_free(a);
    tg_signing_free(s);
    tg_identity_unref(ids[0]);
    tg_identity_unref(ids[1]);
}

/* Far more callers than entries, each let go after its request: the last ones are right, and nothing is lost. */
static void bounded(void **state)
{
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_assertions *a = tg_assertions_new(s, 16);

    (void)state;
    bind(s, TG_S(""), NOW_MS);
    for (int i = 0; i < 200; i++) {
        char text[2600], want[24];

        snprintf(text, sizeof(text), "{\"iss\":\"i\",\"sub\":\"s%d\",\"pad\":\"%02000d\"}", i, i);
        snprintf(want, sizeof(want), "\"s%d\"", i);
        const struct tg_identity *id = identity(text);
        struct tg_assertion_subject subject = subject_of(id);
        char *token = get(a, &subject, NOW_MS + i);
        cJSON *claims = judge(s, tg_slice_str(token), NOW_MS);

        assert_member(claims, "sub", want);
        free(get(a, &subject, NOW_MS + i));
        assert_int_equal(tg_assertions_signed(a), i + 1);
        cJSON_Delete(claims);
        free(token);
        tg_identity_unref(id);
    }
    tg_assertions_free(a);
    tg_signing_free(s);
}

/* What no server takes is not sent, and not cut; nor is it made again for every request. */
static void too_long(void **state)
{
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_assertions *a = tg_assertions_new(s, 16);
    size_t longest = 0, shortest_refused = SIZE_MAX;

    (void)state;
    bind(s, TG_S(""), NOW_MS);
    for (int n = 5000; n < 6100; n += 50) {
        struct tg_buf text = {0};

        tg_buf_addf(&text, "{\"iss\":\"i\",\"sub\":\"s\",\"groups\":[\"%0*d\"]}", n, 7);
        const struct tg_identity *id = identity(tg_buf_cstr(&text));
        struct tg_assertion_subject subject = subject_of(id);
        struct tg_slice token = tg_assertions_get(a, &subject, NOW_MS);
        size_t made = tg_assertions_signed(a);

        assert_in_range(token.len, 0, TG_IDENTITY_VALUE_BYTES);
        if (token.len)
            longest = (size_t)n;
        else if (shortest_refused == SIZE_MAX)
            shortest_refused = (size_t)n;
        assert_int_equal(tg_assertions_get(a, &subject, NOW_MS).len, token.len);
        assert_int_equal(tg_assertions_signed(a), made);
        tg_identity_unref(id);
        tg_buf_fini(&text);
    }
    assert_true(longest > 5400 && longest < shortest_refused && shortest_refused < 6000);
    tg_assertions_free(a);
    tg_signing_free(s);
}

/* ---- keys ---- */

static void a_replaced_key_is_published_for_an_hour(void **state)
{
    const struct tg_identity *id = identity(ANN);
    struct tg_assertion_subject subject = subject_of(id);
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_assertions *a = tg_assertions_new(s, 16);
    struct tg_buf one = {0}, two = {0};

    (void)state;
    pem_of(TG_ALG_ES256, &one);
    pem_of(TG_ALG_EdDSA, &two);
    bind(s, tg_buf_slice(&one), NOW_MS);
    char *before = get(a, &subject, NOW_MS);

    bind(s, tg_buf_slice(&one), NOW_MS);                 /* a reload that changes nothing: it is sent on */
    char *same = get(a, &subject, NOW_MS);

    assert_string_equal(before, same);
    assert_int_equal(published(s, NOW_MS), 1);
    bind(s, tg_buf_slice(&two), NOW_MS);
    char *after = get(a, &subject, NOW_MS);

    assert_string_not_equal(before, after);
    assert_int_equal(published(s, NOW_MS), 2);
    for (int minutes = 0; minutes < 60; minutes += 59) {
        cJSON *old = judge(s, tg_slice_str(before), NOW_MS + minutes * MINUTE_MS);
        cJSON *new = judge(s, tg_slice_str(after), NOW_MS + minutes * MINUTE_MS);

        assert_true(old && new);
        cJSON_Delete(old);
        cJSON_Delete(new);
    }
    assert_int_equal(published(s, NOW_MS + 60 * MINUTE_MS), 1);
    assert_null(judge(s, tg_slice_str(before), NOW_MS + 60 * MINUTE_MS));
    bind(s, tg_buf_slice(&one), NOW_MS);                 /* and back: each is there once */
    assert_int_equal(published(s, NOW_MS), 2);
    bind(s, tg_buf_slice(&two), NOW_MS + MINUTE_MS);
    assert_int_equal(published(s, NOW_MS + MINUTE_MS), 2);
    struct tg_signing_keys *none = NULL;
    assert_int_equal(tg_signing_read(s, TG_S(""), false, &none, NULL), TG_OK);
    assert_null(none);
    tg_signing_bind(s, none, NOW_MS + 2 * MINUTE_MS);
    assert_int_equal(tg_assertions_get(a, &subject, NOW_MS).len, 0); /* nobody signs, what was signed still stands */
    assert_true(tg_signing_is_on(s));
    assert_int_equal(published(s, NOW_MS + 2 * MINUTE_MS), 2);
    assert_int_equal(published(s, NOW_MS + 62 * MINUTE_MS), 0);
    assert_false(tg_signing_is_on(s));
    free(before);
    free(same);
    free(after);
    tg_buf_fini(&one);
    tg_buf_fini(&two);
    tg_assertions_free(a);
    tg_signing_free(s);
    tg_identity_unref(id);
}

/* However often it is replaced within the hour. */
static void many_rotations(void **state)
{
    struct tg_signing *s = tg_signing_new(NULL);

    (void)state;
    for (int i = 0; i < 40; i++) {
        struct tg_buf pem = {0};

        pem_of(TG_ALG_EdDSA, &pem);
        bind(s, tg_buf_slice(&pem), NOW_MS + i);
        tg_buf_fini(&pem);
    }
    assert_int_equal(published(s, NOW_MS), 17);
    tg_signing_free(s);
}

static void two_keys_in_a_file(void **state)
{
    const struct tg_identity *id = identity(ANN);
    struct tg_assertion_subject subject = subject_of(id);
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_assertions *a = tg_assertions_new(s, 16);
    struct tg_buf old = {0}, new = {0}, both = {0};

    (void)state;
    pem_of(TG_ALG_ES256, &old);
    pem_of(TG_ALG_ES256, &new);
    tg_buf_add_slice(&both, tg_buf_slice(&old));
    tg_buf_add_slice(&both, tg_buf_slice(&new));
    bind(s, tg_buf_slice(&both), NOW_MS);                /* the new one is published first ... */
    char *before = get(a, &subject, NOW_MS);

    assert_int_equal(published(s, NOW_MS), 2);
    both.len = 0;
    tg_buf_add_slice(&both, tg_buf_slice(&new));
    tg_buf_add_slice(&both, tg_buf_slice(&old));
    bind(s, tg_buf_slice(&both), NOW_MS);                /* ... and then signs */
    char *after = get(a, &subject, NOW_MS);

    assert_int_equal(published(s, NOW_MS), 2);
    assert_string_not_equal(before, after);
    bind(s, tg_buf_slice(&new), NOW_MS);
    assert_int_equal(published(s, NOW_MS), 2);           /* it signed a moment ago */
    assert_int_equal(published(s, NOW_MS + 61 * MINUTE_MS), 1);
    cJSON *claims = judge(s, tg_slice_str(after), NOW_MS + 61 * MINUTE_MS);

    assert_non_null(claims);
    cJSON_Delete(claims);
    free(before);
    free(after);
    tg_buf_fini(&old);
    tg_buf_fini(&new);
    tg_buf_fini(&both);
    tg_assertions_free(a);
    tg_signing_free(s);
    tg_identity_unref(id);
}

static void keys_refused(void **state)
{
    struct tg_signing *s = tg_signing_new(NULL);
    struct tg_buf good = {0}, p384 = {0}, cut = {0};
    struct tg_signing_keys *keys = NULL;
    struct tg_err err = {0};

    (void)state;
    pem_of(TG_ALG_ES256, &good);
    pem_of(TG_ALG_ES384, &p384);
    bind(s, tg_buf_slice(&good), NOW_MS);
    assert_int_equal(tg_signing_check(tg_buf_slice(&good), &err), TG_OK);
    assert_int_equal(tg_signing_check(tg_buf_slice(&p384), &err), TG_UNSUPPORTED);
    assert_non_null(strstr(err.text, "P-256"));
    assert_int_equal(tg_signing_read(s, tg_buf_slice(&p384), true, &keys, &err), TG_UNSUPPORTED);
    assert_null(keys);
    assert_int_equal(tg_signing_check(TG_S("no key"), &err), TG_BAD_INPUT);
    tg_buf_add(&cut, good.data, good.len - 40);
    assert_int_equal(tg_signing_check(tg_buf_slice(&cut), &err), TG_BAD_INPUT);
    cut.len = 0;
    tg_buf_add_slice(&cut, tg_buf_slice(&good));
    tg_buf_add_slice(&cut, tg_buf_slice(&p384));         /* a good one first does not hide a bad one */
    assert_int_equal(tg_signing_check(tg_buf_slice(&cut), &err), TG_UNSUPPORTED);
    assert_int_equal(published(s, NOW_MS), 1);           /* what was refused has changed nothing */
    tg_buf_fini(&good);
    tg_buf_fini(&p384);
    tg_buf_fini(&cut);
    tg_signing_free(s);
    tg_signing_free(NULL);
    tg_assertions_free(NULL);
}

/* ---- the key that is made here ---- */

static char *jwks_of(struct tg_signing *s)
{
    struct tg_buf set = {0};

    tg_signing_jwks(s, NOW_MS, &set);
    tg_buf_cstr(&set);
    return set.data;
}

static void *start(void *dir)
{
    struct tg_signing *s = tg_signing_new(dir);

    bind(s, TG_S(""), NOW_MS);
    char *set = jwks_of(s);

    tg_signing_free(s);
    return set;
}

static void kept_in_state_dir(void **state)
{
    char dir[] = "/tmp/tollgate-signing-XXXXXX", path[80];
    char *sets[4], *again;
    pthread_t threads[4];
    struct tg_err err = {0};
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/signing-key.pem", dir);
    for (int i = 0; i < 4; i++)                          /* as processes that start at once */
        assert_int_equal(pthread_create(&threads[i], NULL, start, dir), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], (void **)&sets[i]), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    again = start(dir);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(sets[i], again);
        free(sets[i]);
    }
    free(again);
    assert_int_equal(tg_file_replace(path, TG_S("garbage"), 0600, NULL), TG_OK);
    struct tg_signing *s = tg_signing_new(dir);
    struct tg_signing_keys *keys = NULL;

    assert_int_equal(tg_signing_read(s, TG_S(""), true, &keys, &err), TG_BAD_INPUT); /* not written over */
    assert_non_null(strstr(err.text, path));
    assert_int_equal(tg_signing_read(s, TG_S(""), false, &keys, &err), TG_OK); /* not needed, not looked at */
    assert_false(tg_signing_is_on(s));
    tg_signing_free(s);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);                     /* and no other file is left behind */
    s = tg_signing_new(dir);
    bind(s, TG_S(""), NOW_MS);                           /* a folder that is away: in memory, with a warning */
    assert_int_equal(published(s, NOW_MS), 1);
    bind(s, TG_S(""), NOW_MS);
    assert_int_equal(published(s, NOW_MS), 1);
    tg_signing_free(s);
}

/* Workers sign and publish while reloads replace the key. */
static atomic_bool over;

static void *work(void *arg)
{
    struct tg_signing *s = arg;
    const struct tg_identity *id = identity(ANN);
    struct tg_assertion_subject subject = subject_of(id);
    struct tg_assertions *a = tg_assertions_new(s, 16);

    while (!atomic_load(&over)) {
        char *token = get(a, &subject, NOW_MS);
        cJSON *claims = judge(s, tg_slice_str(token), NOW_MS);

        tg_assert(claims);
        cJSON_Delete(claims);
        free(token);
    }
    tg_assertions_free(a);
    tg_identity_unref(id);
    return NULL;
}

static void reloads_beside_workers(void **state)
{
    struct tg_signing *s = tg_signing_new(NULL);
    pthread_t threads[3];
    struct tg_buf pems[2] = {{0}, {0}};

    (void)state;
    pem_of(TG_ALG_ES256, &pems[0]);
    pem_of(TG_ALG_EdDSA, &pems[1]);
    bind(s, tg_buf_slice(&pems[0]), NOW_MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, s), 0);
    for (int i = 0; i < 100; i++)
        bind(s, tg_buf_slice(&pems[i & 1]), NOW_MS);
    atomic_store(&over, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    tg_buf_fini(&pems[0]);
    tg_buf_fini(&pems[1]);
    tg_signing_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pomeriums_claims), cmocka_unit_test(groups_are_filtered),
        cmocka_unit_test(sent_again_until_a_minute_before_its_end), cmocka_unit_test(never_anothers),
        cmocka_unit_test(bounded), cmocka_unit_test(too_long),
        cmocka_unit_test(a_replaced_key_is_published_for_an_hour), cmocka_unit_test(many_rotations),
        cmocka_unit_test(two_keys_in_a_file), cmocka_unit_test(keys_refused), cmocka_unit_test(kept_in_state_dir),
        cmocka_unit_test(reloads_beside_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
