/*
 * claims: flattening as Pomerium does it, and what a hostile token could try with it.
 */
#include "base/claims.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct tg_claims *claims_of(const char *text)
{
    struct tg_err err = {0};
    cJSON *root = NULL;

    if (tg_json_parse(tg_slice_str(text), NULL, &root, &err) != TG_OK)
        fail_msg("%s: %s", text, err.text);
    return tg_claims_new(root);
}

static const struct tg_claim *get(const struct tg_claims *claims, const char *name)
{
    struct tg_slice s = tg_slice_str(name);

    return tg_claims_get(claims, s, tg_hash_slice(s));
}

/* The list of a claim as JSON, or "absent". */
static void show(const struct tg_claim *claim, struct tg_buf *out)
{
    if (!claim) {
        tg_buf_adds(out, "absent");
        return;
    }
    tg_buf_addc(out, '[');
    for (size_t i = 0; i < claim->count; i++) {
        tg_buf_adds(out, i ? "," : "");
        tg_json_print(out, claim->values[i].json);
    }
    tg_buf_addc(out, ']');
}

static const struct {
    const char *why, *claims, *name, *want;
} cases[] = {
    {"scalar", "{\"a\":1}", "a", "[1]"},
    {"null is a value", "{\"a\":null}", "a", "[null]"},
    {"list", "{\"a\":[1,\"x\",null]}", "a", "[1,\"x\",null]"},
    {"empty list", "{\"a\":[]}", "a", "[]"},
    {"nested", "{\"a\":{\"b\":{\"c\":1}}}", "a.b.c", "[1]"},
    {"the object itself is none", "{\"a\":{\"b\":1}}", "a", "absent"},
    {"empty object vanishes", "{\"a\":{}}", "a", "absent"},
    {"lists are not flattened", "{\"a\":[{\"b\":1}]}", "a.b", "absent"},
    {"their objects stay", "{\"a\":[{\"b\":1}]}", "a", "[{\"b\":1}]"},
    {"exact name before", "{\"a.b\":1,\"a\":{\"b\":2}}", "a.b", "[1]"},
    {"exact name behind", "{\"a\":{\"b\":2},\"a.b\":1}", "a.b", "[1]"},
    {"an empty object hides nothing", "{\"a.b\":{},\"a\":{\"b\":2}}", "a.b", "[2]"},
    {"flattened twice: the first", "{\"a.b\":{\"c\":1},\"a\":{\"b.c\":2}}", "a.b.c", "[1]"},
    {"case", "{\"Email\":1}", "email", "absent"},
    {"empty name", "{\"\":1}", "", "[1]"},
    {"below an empty name", "{\"\":{\"a\":1}}", ".a", "[1]"},
    {"URL as a name", "{\"https://a.example/roles\":[\"x\"]}", "https://a.example/roles", "[\"x\"]"},
    {"no claims", "{}", "a", "absent"},
};

static void flattening(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_claims *claims = claims_of(cases[i].claims);
        struct tg_buf out = {0};

        show(get(claims, cases[i].name), &out);
        if (strcmp(tg_buf_cstr(&out), cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].why, tg_buf_cstr(&out));
        tg_buf_fini(&out);
        tg_claims_free(claims);
    }
}

static void text_and_hashes(void **state)
{
    struct tg_claims *claims =
        claims_of("{\"sub\":\"u1\",\"one\":[\"x\"],\"two\":[\"x\",\"y\"],\"n\":5,\"o\":{\"s\":\"t\"}}");

    (void)state;
    assert_true(tg_slice_eq(tg_claims_text(claims, "sub"), TG_S("u1")));
    assert_true(tg_slice_eq(tg_claims_text(claims, "one"), TG_S("x")));
    assert_true(tg_slice_eq(tg_claims_text(claims, "o.s"), TG_S("t")));
    assert_null(tg_claims_text(claims, "two").ptr);
    assert_null(tg_claims_text(claims, "n").ptr);
    assert_null(tg_claims_text(claims, "absent").ptr);
    assert_true(get(claims, "sub")->values[0].hash == tg_hash_slice(TG_S("u1")));
    assert_true(get(claims, "n")->values[0].hash == 0);
    assert_null(get(claims, "n")->values[0].str.ptr);
    assert_true(cJSON_IsObject(tg_claims_json(claims)));
    tg_claims_free(claims);
    assert_null(get(NULL, "x"));
    tg_claims_free(NULL);
}

static void joining(void **state)
{
    struct tg_claims *claims = claims_of(
        "{\"a\":[\"x\",null,1.5,true,{\"b\":1},[2],\"\",\"y\",9007199254740993],\"e\":[],\"n\":null,\"s\":\"t\"}");
    static const struct {
        const char *name, *want;
    } rows[] = {{"a", "x,1.5,true,,y,9007199254740993"}, {"e", ""}, {"n", ""}, {"s", "t"}, {"absent", ""}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tg_buf out = {0};

        tg_claims_join(get(claims, rows[i].name), &out);
        assert_string_equal(tg_buf_cstr(&out), rows[i].want);
        tg_buf_fini(&out);
    }
    tg_claims_free(claims);
}

static void many(void **state)
{
    struct tg_buf text = {0};
    struct tg_claims *claims;

    (void)state;
    tg_buf_adds(&text, "{\"o\":{");
    for (unsigned i = 0; i < 5000; i++)
        tg_buf_addf(&text, "%s\"n%u\":%u", i ? "," : "", i, i);
    tg_buf_adds(&text, "}}");
    claims = claims_of(tg_buf_cstr(&text));
    for (unsigned i = 0; i < 5000; i++) {
        char name[16];

        snprintf(name, sizeof name, "o.n%u", i);
        assert_non_null(get(claims, name));
        assert_true(get(claims, name)->values[0].json->valuedouble == i);
    }
    assert_null(get(claims, "o.n5000"));
    tg_claims_free(claims);
    tg_buf_fini(&text);
}

/* A long name above many members would be copied for each of them. */
static void names_that_multiply_are_refused(void **state)
{
    struct tg_buf text = {0};

    (void)state;
    tg_buf_adds(&text, "{\"");
    for (unsigned i = 0; i < 8000; i++)
        tg_buf_addc(&text, 'x');
    tg_buf_adds(&text, "\":{");
    for (unsigned i = 0; i < 1000; i++)
        tg_buf_addf(&text, "%s\"%u\":1", i ? "," : "", i);
    tg_buf_adds(&text, "}}");
    assert_null(claims_of(tg_buf_cstr(&text)));
    tg_buf_fini(&text);
    assert_null(claims_of("[1]"));
    assert_null(tg_claims_new(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flattening),      cmocka_unit_test(text_and_hashes),
        cmocka_unit_test(joining),         cmocka_unit_test(many),
        cmocka_unit_test(names_that_multiply_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
