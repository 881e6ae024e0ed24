/* client_auth: form encoding, the three ways to show a credential, key files. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/client_auth.h"
#include "base/digest.h"
#include "base/file.h"
#include "issuer.h"
#include "jose/jws.h"
#include <stdio.h>
#include <unistd.h>

#define NOW INT64_C(1800000000)

static char file[64];

static const char *write_file(struct tg_slice text)
{
    int fd;

    strcpy(file, "/tmp/tollgate-client-XXXXXX");
    fd = mkstemp(file);
    assert_int_equal(write(fd, text.ptr, text.len), text.len);
    close(fd);
    return file;
}

static void forms(void **state)
{
    static const struct { const char *value, *want; } cases[] = {
        {"", "n="}, {"azAZ09-._*", "n=azAZ09-._*"}, {"a b", "n=a+b"}, {"&=+%", "n=%26%3D%2B%25"},
        {"\xc3\xa9\n~", "n=%C3%A9%0A%7E"},
    };
    struct tg_buf form = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        form.len = 0;
        tg_form_add(&form, "n", tg_slice_str(cases[i].value));
        assert_string_equal(tg_buf_cstr(&form), cases[i].want);
    }
    tg_form_add(&form, "m", TG_S("1"));
    assert_string_equal(tg_buf_cstr(&form), "n=%C3%A9%0A%7E&m=1");
    tg_buf_fini(&form);
}

static void secrets(void **state)
{
    struct tg_client_auth c = {.method = TG_CLIENT_BASIC, .client_id = TG_S("78366401571920522@amce")};
    struct tg_buf form = {0}, line = {0};
    struct tg_err err;

    (void)state;
    c.secret_file = tg_slice_str(write_file(TG_S("veryweaksecret!\n")));
    tg_form_add(&form, "token", TG_S("t"));
    assert_int_equal(tg_client_auth_apply(&c, TG_S("https://i"), NOW, &form, &line, &err), TG_OK);
    assert_string_equal(line.data,
                        "Authorization: Basic NzgzNjY0MDE1NzE5MjA1MjIlNDBhbWNlOnZlcnl3ZWFrc2VjcmV0JTIx");
    assert_string_equal(tg_buf_cstr(&form), "token=t");
    line.len = 0;
    c.method = TG_CLIENT_POST;
    assert_int_equal(tg_client_auth_apply(&c, TG_S("https://i"), NOW, &form, &line, &err), TG_OK);
    assert_string_equal(tg_buf_cstr(&form), "token=t&client_id=78366401571920522%40amce&"
                                            "client_secret=veryweaksecret%21");
    assert_int_equal(line.len, 0);                       /* never both at once */
    assert_int_equal(tg_file_replace(file, TG_S("rotated"), 0600, &err), TG_OK);
    form.len = 0;
    assert_int_equal(tg_client_auth_apply(&c, TG_S("https://i"), NOW, &form, &line, &err), TG_OK);
    assert_non_null(strstr(tg_buf_cstr(&form), "client_secret=rotated"));
    unlink(file);
    form.len = 0;
    assert_int_not_equal(tg_client_auth_apply(&c, TG_S("https://i"), NOW, &form, &line, &err), TG_OK);
    assert_int_equal(form.len + line.len, 0);
    assert_null(strstr(err.text, "rotated"));
    tg_buf_fini(&form);
    tg_buf_fini(&line);
}

/* ---- key files ---- */

static char *key_file(const char *members, const struct tg_signer *signer)
{
    struct tg_buf text = {0}, pem = {0};

    assert_int_equal(tg_signer_pem(signer, &pem, NULL), TG_OK);
    tg_buf_addf(&text, "{%s,\"expirationDate\":\"9999\",\"key\":", members);
    tg_json_add_string(&text, tg_buf_slice(&pem));
    tg_buf_addc(&text, '}');
    tg_buf_cstr(&text);
    tg_buf_fini(&pem);
    return text.data;
}

static struct tg_service_key *load(const char *members, const struct tg_signer *signer, struct tg_err *err)
{
    char *text = key_file(members, signer);
    struct tg_service_key *key = NULL;
    enum tg_status st = tg_service_key_load(write_file(tg_slice_str(text)), tg_slice(NULL, 0), &key, err);

    assert_int_equal(st == TG_OK, key != NULL);
    unlink(file);
    free(text);
    return key;
}

static void zitadel_key_files(void **state)
{
    static const struct { const char *members, *id, *words; } cases[] = {
        {"\"type\":\"serviceaccount\",\"keyId\":\"7\",\"userId\":\"u1\"", "u1", NULL},
        {"\"type\":\"application\",\"keyId\":\"7\",\"appId\":\"a\",\"clientId\":\"c1\"", "c1", NULL},
        {"\"keyId\":\"7\",\"clientId\":\"c1\",\"userId\":\"u1\"", "c1", NULL},
        {"\"type\":\"application\",\"keyId\":\"7\",\"userId\":\"u1\"", NULL, "no `clientId`"},
        {"\"type\":\"serviceaccount\",\"keyId\":\"7\",\"clientId\":\"c1\"", NULL, "no `userId`"},
        {"\"type\":\"serviceaccount\",\"userId\":\"u1\"", NULL, "no `key` or no `keyId`"},
        {"\"type\":\"serviceaccount\",\"keyId\":7,\"userId\":\"u1\"", NULL, "no `key` or no `keyId`"},
        {"\"type\":\"other\",\"keyId\":\"7\",\"userId\":\"u1\"", NULL, "`type` is neither"},
    };
    struct tg_signer *signer = issuer_key(TG_ALG_RS256);
    struct tg_err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_service_key *key = load(cases[i].members, signer, &err);

        if (cases[i].words) {
            assert_null(key);
            assert_non_null(strstr(err.text, cases[i].words));
            assert_null(strstr(err.text, "PRIVATE"));
        } else {
            assert_non_null(key);
            assert_true(tg_slice_eq(key->id, tg_slice_str(cases[i].id)));
        }
        tg_service_key_unref(key);
    }
    tg_signer_free(signer);
}

static int64_t number(const cJSON *claims, const char *name)
{
    int64_t n = -1;

    tg_json_int(tg_json_get(claims, name), &n);
    return n;
}

static void assertions(void **state)
{
    static const enum tg_alg algs[] = {TG_ALG_RS256, TG_ALG_ES256, TG_ALG_ES384, TG_ALG_EdDSA};
    struct tg_err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        struct tg_signer *signer = issuer_key(algs[i]);
        struct tg_service_key *key = load("\"type\":\"application\",\"keyId\":\"kid 7\",\"clientId\":\"c1\"", signer,
                                          &err);
        struct tg_buf token = {0}, second = {0}, set = {0};
        struct tg_jwks *keys = NULL;
        struct tg_jws jws = {0};
        struct tg_arena arena;
        struct tg_slice text;
        cJSON *claims;

        assert_non_null(key);
        tg_arena_init(&arena, NULL, 0);
        assert_int_equal(tg_service_key_assert(key, key->id, TG_S("https://i"), NOW, &token, &err), TG_OK);
        assert_int_equal(tg_service_key_assert(key, key->id, TG_S("https://i"), NOW, &second, &err), TG_OK);
        assert_false(tg_slice_eq(tg_buf_slice(&token), tg_buf_slice(&second)));
        tg_signer_jwks(key->signer, &set);
        assert_int_equal(tg_jwks_parse(tg_buf_slice(&set), false, &keys, &err), TG_OK);
        assert_int_equal(tg_jws_split(tg_buf_slice(&token), &arena, &jws, &err), TG_OK);
        assert_true(tg_slice_eq(jws.kid, TG_S("kid 7")));
        assert_int_equal(tg_jws_verify(&jws, keys, TG_ALG_BIT(algs[i]), &err), TG_OK);
        assert_int_equal(tg_json_parse(jws.payload, NULL, &claims, &err), TG_OK);
        assert_true(tg_json_str(tg_json_get(claims, "iss"), &text) && tg_slice_eq(text, TG_S("c1")));
        assert_true(tg_json_str(tg_json_get(claims, "sub"), &text) && tg_slice_eq(text, TG_S("c1")));
        assert_true(tg_json_str(tg_json_get(claims, "aud"), &text) && tg_slice_eq(text, TG_S("https://i")));
        assert_int_equal(number(claims, "iat"), NOW - 5);
        assert_int_equal(number(claims, "exp"), NOW + 295);
        cJSON_Delete(claims);
        tg_jws_fini(&jws);
        tg_jwks_unref(keys);
        tg_arena_fini(&arena);
        tg_buf_fini(&token);
        tg_buf_fini(&second);
        tg_buf_fini(&set);
        tg_service_key_unref(key);
        tg_signer_free(signer);
    }
}

static void key_in_a_form(void **state)
{
    struct tg_signer *signer = issuer_key(TG_ALG_ES256);
    struct tg_client_auth c = {.method = TG_CLIENT_PRIVATE_KEY, .client_id = TG_S("c1")};
    struct tg_buf form = {0}, line = {0};
    struct tg_err err;

    (void)state;
    c.key = load("\"type\":\"application\",\"keyId\":\"7\",\"clientId\":\"c1\"", signer, &err);
    assert_int_equal(tg_client_auth_apply(&c, TG_S("https://i"), NOW, &form, &line, &err), TG_OK);
    assert_int_equal(line.len, 0);
    assert_non_null(strstr(tg_buf_cstr(&form), "client_id=c1&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A"
                                               "client-assertion-type%3Ajwt-bearer&client_assertion=ey"));
    tg_client_auth_fini(&c);
    tg_client_auth_fini(&c);
    tg_signer_free(signer);
    tg_buf_fini(&form);
    tg_buf_fini(&line);
}

/* ---- settings ---- */

static void settings(void **state)
{
    static const struct { const char *why, *text, *words; enum tg_client_auth_method want; } cases[] = {
        {"basic", "{client_id: a, client_secret_file: SECRET}", NULL, TG_CLIENT_BASIC},
        {"post", "{client_id: a, client_secret_file: SECRET, auth_method: post}", NULL, TG_CLIENT_POST},
        {"a key", "{client_id: a, private_key_file: KEY}", NULL, TG_CLIENT_PRIVATE_KEY},
        {"none", "{client_id: a}", "x.client_secret_file: needed", 0},
        {"both", "{client_id: a, client_secret_file: SECRET, private_key_file: KEY}", "one of the two", 0},
        {"no id", "{client_secret_file: SECRET}", "x.client_id: needed with", 0},
        {"PEM says no id", "{private_key_file: KEY}", "x.client_id: needed, for the key file", 0},
        {"a key is not sent", "{client_id: a, private_key_file: KEY, auth_method: post}", "x.auth_method: ", 0},
        {"kid of a secret", "{client_id: a, client_secret_file: SECRET, key_id: k}", "x.key_id: ", 0},
        {"no such file", "{client_id: a, client_secret_file: /nonexistent}", "/nonexistent", 0},
        {"no such key", "{client_id: a, private_key_file: /nonexistent}", "/nonexistent", 0},
        {"a secret as key", "{client_id: a, private_key_file: SECRET}", "x.private_key_file: ", 0},
    };
    struct tg_signer *signer = issuer_key(TG_ALG_EdDSA);
    struct tg_buf pem = {0};
    char key[64], secret[64];

    (void)state;
    assert_int_equal(tg_signer_pem(signer, &pem, NULL), TG_OK);
    strcpy(key, write_file(tg_buf_slice(&pem)));
    strcpy(secret, write_file(TG_S("hush-hush\n")));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_client_auth_text text = {0};
        struct tg_client_auth c, copy;
        struct tg_problems problems = {0};
        struct tg_arena arena;
        struct tg_tree *tree;
        struct tg_slice method;
        bool ok;

        tg_arena_init(&arena, NULL, 0);
        assert_int_equal(tg_tree_parse("f", tg_slice_str(cases[i].text), &tree, NULL), TG_OK);
        tg_json_str(tg_json_get(tree->root, "client_id"), &text.client_id);
        tg_json_str(tg_json_get(tree->root, "key_id"), &text.key_id);
        tg_json_str(tg_json_get(tree->root, "client_secret_file"), &text.client_secret_file);
        tg_json_str(tg_json_get(tree->root, "private_key_file"), &text.private_key_file);
        if (tg_slice_eq(text.client_secret_file, TG_S("SECRET")))
            text.client_secret_file = tg_slice_str(secret);
        if (text.private_key_file.len)
            text.private_key_file = tg_slice_eq(text.private_key_file, TG_S("KEY")) ? tg_slice_str(key)
                                    : tg_slice_eq(text.private_key_file, TG_S("SECRET")) ? tg_slice_str(secret)
                                                                                          : text.private_key_file;
        text.method = tg_json_str(tg_json_get(tree->root, "auth_method"), &method) &&
                      tg_slice_eq(method, TG_S("post"));
        ok = tg_client_auth_read(&text, tree, tree->root, "x", &arena, &c, &problems);
        if (ok != !cases[i].words || (ok && c.method != cases[i].want) || ok != (problems.errors == 0))
            fail_msg("%s: %s", cases[i].why, problems.count ? problems.items[0].text : "no problem");
        if (!ok && !strstr(problems.items[0].text, cases[i].words))
            fail_msg("%s: %s", cases[i].why, problems.items[0].text);
        assert_true(ok || !strstr(problems.items[0].text, "hush"));
        if (ok) {
            tg_client_auth_copy(&c, &arena, &copy);
            assert_true(tg_slice_eq(copy.client_id, TG_S("a")) && copy.method == c.method && copy.key == c.key);
            tg_client_auth_fini(&copy);
        }
        tg_client_auth_fini(&c);
        tg_problems_fini(&problems);
        tg_tree_free(tree);
        tg_arena_fini(&arena);
    }
    unlink(key);
    unlink(secret);
    tg_buf_fini(&pem);
    tg_signer_free(signer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms), cmocka_unit_test(secrets), cmocka_unit_test(zitadel_key_files),
        cmocka_unit_test(assertions), cmocka_unit_test(key_in_a_form), cmocka_unit_test(settings),
    };

    return cmocka_run_group_tests_name("client_auth", tests, NULL, NULL);
}
