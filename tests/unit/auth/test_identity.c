/* identity: roles that are written as objects, what a token is bound to, scopes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/identity.h"
#include "base/hash.h"
#include "base/json.h"
#include <stdlib.h>

#define ROLES "urn:zitadel:iam:org:project:223281986649719041:roles"
#define WHO "\"iss\":\"i\",\"sub\":\"s\""
#define THUMB "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" /* RFC 9449 §6.1 */

static struct tg_provider provider = {.groups_claim = TG_S_INIT(ROLES)};
static const uint8_t digest[TG_SHA256_LEN] = {1, 2, 3, 4};

static const struct tg_identity *make(const char *json)
{
    cJSON *claims;

    if (tg_json_parse(tg_slice_str(json), NULL, &claims, NULL) != TG_OK)
        fail_msg("%s", json);
    return tg_identity_new(TG_IDENTITY_SIGNED, &provider, claims, 100, digest);
}

/* The groups as policies see them, joined. */
static void expect_groups(const char *why, const char *roles, const char *want)
{
    struct tg_buf text = {0}, joined = {0};
    const struct tg_identity *id;

    tg_buf_addf(&text, "{" WHO ",\"" ROLES "\":%s}", roles);
    id = make(tg_buf_cstr(&text));
    tg_claims_join(tg_claims_get(id->claims, provider.groups_claim, tg_hash_slice(provider.groups_claim)), &joined);
    if (strcmp(tg_buf_cstr(&joined), want) != 0)
        fail_msg("%s: %s", why, joined.data);
    tg_identity_unref(id);
    tg_buf_fini(&text);
    tg_buf_fini(&joined);
}

static void roles(void **state)
{
    static const struct { const char *why, *roles, *want; } cases[] = {
        {"as the vendor sends them",
         "{\"cfo\":{\"223\":\"corporate.example\"},\"corporate member\":{\"065\":\"a.example\",\"193\":\"b.example\"}}",
         "cfo,cfo@223,corporate member,corporate member@065,corporate member@193"},
        {"a list of objects", "[{\"user\":{\"1\":\"a\"}},{\"admin\":{\"2\":\"b\"}}]", "user,user@1,admin,admin@2"},
        {"nothing", "{}", ""},
        {"nothing, listed", "[{}]", ""},
        {"granted by nobody", "{\"admin\":{},\"user\":{\"1\":\"a\"}}", "user,user@1"},
        {"no object of organisations", "{\"admin\":true,\"root\":\"1\",\"x\":null,\"y\":[\"1\"],\"user\":{\"1\":0}}",
         "user,user@1"},
        {"that would pass for another organisation's", "{\"admin@2\":{\"1\":\"a\"},\"user\":{\"1\":\"a\"}}",
         "user,user@1"},
        {"without a name", "{\"\":{\"1\":\"a\"},\"user\":{\"1\":\"a\"}}", "user,user@1"},
        {"texts stay as they are", "[\"a\",\"b@c\"]", "a,b@c"},
        {"texts beside objects", "[\"a\",\"b@c\",7,{\"user\":{\"1\":\"x\"}}]", "a,user,user@1"},
        {"one text", "\"a@b\"", "a@b"},
        {"an organisation with an @", "{\"user\":{\"1@2\":\"a\"}}", "user,user@1@2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_groups(cases[i].why, cases[i].roles, cases[i].want);
}

/* Only the claim that is named, and the others stay as they were, in their order. */
static void the_named_claim_only(void **state)
{
    const struct tg_identity *id = make("{" WHO ",\"x\":{\"r\":{\"1\":\"a\"}},"
                                        "\"" ROLES "\":{\"r\":{\"1\":\"a\"}},\"z\":1}");
    struct tg_buf text = {0};

    (void)state;
    tg_json_print(&text, tg_claims_json(id->claims));
    assert_string_equal(tg_buf_cstr(&text),
                        "{" WHO ",\"x\":{\"r\":{\"1\":\"a\"}},\"" ROLES "\":[\"r\",\"r@1\"],\"z\":1}");
    assert_non_null(tg_claims_get(id->claims, TG_S("x.r.1"), tg_hash_slice(TG_S("x.r.1"))));
    assert_null(tg_claims_get(id->claims, TG_S(ROLES ".r.1"), tg_hash_slice(TG_S(ROLES ".r.1"))));
    tg_buf_fini(&text);
    tg_identity_unref(id);
}

/* A long name of many organisations: without a bound some KiB would become MiB. */
static void roles_that_grow(void **state)
{
    struct tg_buf text = {0};

    (void)state;
    tg_buf_adds(&text, "{" WHO ",\"" ROLES "\":{\"");
    for (int i = 0; i < 4000; i++)
        tg_buf_addc(&text, 'a');
    tg_buf_adds(&text, "\":{\"0\":0");
    for (int i = 1; i < 1000; i++)
        tg_buf_addf(&text, ",\"%d\":0", i);
    tg_buf_adds(&text, "}}}");
    assert_null(make(tg_buf_cstr(&text)));
    tg_buf_fini(&text);
}

static void bound_to_a_key(void **state)
{
    static const struct { const char *cnf; bool ok, jkt, x5t; } cases[] = {
        {"{\"jkt\":\"" THUMB "\"}", true, true, false},
        {"{\"x5t#S256\":\"" THUMB "\"}", true, false, true},
        {"{\"x5t#S256\":\"" THUMB "\",\"jkt\":\"" THUMB "\"}", true, true, true},
        {"{\"jkt\":\"" THUMB "\",\"kid\":\"x\"}", true, true, false}, /* RFC 7800 §3.1 */
        {"{}", false, false, false},
        {"null", false, false, false},
        {"true", false, false, false},
        {"[]", false, false, false},
        {"\"" THUMB "\"", false, false, false},
        {"{\"kid\":\"x\"}", false, false, false},
        {"{\"jwk\":{\"kty\":\"EC\"}}", false, false, false},
        {"{\"JKT\":\"" THUMB "\"}", false, false, false},
        {"{\"jkt\":\"\"}", false, false, false},
        {"{\"jkt\":null}", false, false, false},
        {"{\"jkt\":7,\"x5t#S256\":\"" THUMB "\"}", false, false, false},
        {"{\"jkt\":\"" THUMB "\",\"x5t#S256\":\"\"}", false, false, false},
        {"{\"jkt\":\"" THUMB "=\"}", false, false, false},
        {"{\"jkt\":\"" THUMB "A\"}", false, false, false},
        {"{\"jkt\":\"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xt\"}", false, false, false}, /* unused bits set */
        {"{\"jkt\":\"NzbLsXh8uDCcd+6MNwXF4W/7noWXFZAfHkxZsRGC9Xs\"}", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf text = {0};
        const struct tg_identity *id;

        tg_buf_addf(&text, "{" WHO ",\"cnf\":%s}", cases[i].cnf);
        id = make(tg_buf_cstr(&text));
        if ((id != NULL) != cases[i].ok)
            fail_msg("%s", cases[i].cnf);
        if (id)
            assert_true((id->jkt.len > 0) == cases[i].jkt && (id->x5t.len > 0) == cases[i].x5t);
        tg_identity_unref(id);
        tg_buf_fini(&text);
    }
}

static void what_it_holds(void **state)
{
    const struct tg_identity *id = make("{" WHO ",\"email\":\"e\",\"jti\":\"j\",\"iat\":99.9}");

    (void)state;
    assert_true(tg_slice_eq(id->issuer, TG_S("i")) && tg_slice_eq(id->subject, TG_S("s")));
    assert_true(tg_slice_eq(id->email, TG_S("e")) && tg_slice_eq(id->jti, TG_S("j")) && id->iat_s == 99);
    assert_true(tg_slice_eq(id->token_id, TG_S("01020304")) && memcmp(id->digest, digest, sizeof(digest)) == 0);
    assert_true(id->jkt.len == 0 && id->x5t.len == 0 && id->exp_s == 100 && id->kind == TG_IDENTITY_SIGNED);
    tg_identity_unref(id);
    id = make("{" WHO ",\"jti\":7}");
    assert_true(!id->jti.ptr && id->iat_s == -1 && id->email.len == 0);
    tg_identity_unref(id);
    assert_null(make("{\"iss\":\"i\"}"));
    assert_null(make("{\"iss\":\"i\",\"sub\":\"\"}"));
    assert_null(make("{\"sub\":\"s\"}"));
    assert_null(make("{" WHO ",\"iat\":\"1\"}"));
    assert_null(make("[]"));
    assert_null(tg_identity_new(TG_IDENTITY_PAT, &provider, NULL, 1, digest));
}

static void scopes(void **state)
{
    static const struct { const char *claims, *scope; bool granted; } cases[] = {
        {"\"scope\":\"read write\"", "read", true},
        {"\"scope\":\"read write\"", "write", true},
        {"\"scope\":\"read  write \"", "write", true},
        {"\"scope\":\"read write\"", "rea", false},
        {"\"scope\":\"read write\"", "read write", false},
        {"\"scope\":\"read write\"", "Read", false},
        {"\"scope\":\"read:all\"", "read", false},
        {"\"scope\":\"\"", "", false},
        {"\"scope\":\"a  b\"", "", false},
        {"\"scope\":[\"read\",\"write\"]", "write", true},
        {"\"scp\":\"read write\"", "write", true},
        {"\"scp\":[\"read\",\"write\"]", "read", true},
        {"\"scp\":[[\"read\"],{\"read\":1},null,7]", "read", false},
        {"\"scope\":\"a\",\"scp\":[\"b\"]", "b", true},
        {"\"Scope\":\"a\"", "a", false},
        {"\"scopes\":\"a\"", "a", false},
        {"\"scope\":{\"a\":\"a\"}", "a", false},
        {"\"scope\":true", "true", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf text = {0};
        const struct tg_identity *id;

        tg_buf_addf(&text, "{" WHO ",%s}", cases[i].claims);
        id = make(tg_buf_cstr(&text));
        if (tg_scope_is_granted(id->claims, tg_slice_str(cases[i].scope)) != cases[i].granted)
            fail_msg("%s in %s", cases[i].scope, cases[i].claims);
        tg_identity_unref(id);
        tg_buf_fini(&text);
    }
    assert_false(tg_scope_is_granted(NULL, TG_S("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles),          cmocka_unit_test(the_named_claim_only), cmocka_unit_test(roles_that_grow),
        cmocka_unit_test(bound_to_a_key), cmocka_unit_test(what_it_holds),        cmocka_unit_test(scopes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
