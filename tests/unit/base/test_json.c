/*
 * json: what is refused (RFC 8259, and what claims need beyond it), what numbers keep, equality and printing.
 */
#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static enum tg_status parse(struct tg_slice text, struct tg_err *err)
{
    /* A copy of the exact size, so that reading beyond it is seen. */
    char *copy = malloc(text.len ? text.len : 1);
    cJSON *root = NULL;
    enum tg_status st, scanned;

    assert_non_null(copy);
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    st = tg_json_parse(tg_slice(copy, text.len), NULL, &root, err);
    scanned = tg_json_scan(tg_slice(copy, text.len), NULL, NULL);
    assert_int_equal(st, scanned);
    assert_true((st == TG_OK) == (root != NULL));
    cJSON_Delete(root);
    free(copy);
    return st;
}

static cJSON *must(const char *text)
{
    struct tg_err err = {0};
    cJSON *root = NULL;

    if (tg_json_parse(tg_slice_str(text), NULL, &root, &err) != TG_OK)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static const struct {
    const char *why;
    struct tg_slice text;
    enum tg_status want;
    const char *place;                                   /* how the sentence starts */
} cases[] = {
    {"object", TG_S_INIT("{\"a\":[1,true,false,null,\"x\"]}"), TG_OK, NULL},
    {"scalar at top", TG_S_INIT("\"x\""), TG_OK, NULL},
    {"number at the end of the text", TG_S_INIT("12"), TG_OK, NULL},
    {"space around", TG_S_INIT(" \t\r\n{ \"a\" : 1 , \"b\" : [ ] } \n"), TG_OK, NULL},
    {"surrogate pair", TG_S_INIT("\"\\ud83d\\ude00\""), TG_OK, NULL},
    {"all escapes", TG_S_INIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\""), TG_OK, NULL},
    {"UTF-8 of all lengths", TG_S_INIT("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""), TG_OK, NULL},
    {"case differs, so it is no duplicate", TG_S_INIT("{\"a\":1,\"A\":2}"), TG_OK, NULL},
    {"same name in different objects", TG_S_INIT("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"), TG_OK, NULL},
    {"empty name", TG_S_INIT("{\"\":1}"), TG_OK, NULL},

    {"empty", TG_S_INIT(""), TG_BAD_INPUT, "1:1:"},
    {"space only", TG_S_INIT(" \n "), TG_BAD_INPUT, "2:2:"},
    {"duplicate", TG_S_INIT("{\"a\":1,\n \"a\":2}"), TG_BAD_INPUT, "2:2:"},
    {"duplicate after unescaping", TG_S_INIT("{\"a\":1,\"\\u0061\":2}"), TG_BAD_INPUT, "1:8:"},
    {"both escaped, differently", TG_S_INIT("{\"\\u00e9\":1,\"\\u00E9\":2}"), TG_BAD_INPUT, "1:13:"},
    {"escaped slash is a slash", TG_S_INIT("{\"a/b\":1,\"a\\/b\":2}"), TG_BAD_INPUT, "1:10:"},
    {"pair and raw UTF-8", TG_S_INIT("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}"), TG_BAD_INPUT, NULL},
    {"duplicate around a nested object", TG_S_INIT("{\"a\":{\"b\":1},\"a\":2}"), TG_BAD_INPUT, "1:14:"},
    {"NUL by escape", TG_S_INIT("\"user@example.com\\u0000@evil.com\""), TG_BAD_INPUT, "1:18:"},
    {"NUL by escape in a name", TG_S_INIT("{\"a\\u0000b\":1}"), TG_BAD_INPUT, NULL},
    {"raw NUL in a string", TG_S_INIT("\"a\0b\""), TG_BAD_INPUT, NULL},
    {"raw NUL behind", TG_S_INIT("{}\0"), TG_BAD_INPUT, "1:3:"},
    {"raw control", TG_S_INIT("\"a\nb\""), TG_BAD_INPUT, NULL},
    {"raw tab", TG_S_INIT("\"a\tb\""), TG_BAD_INPUT, NULL},
    {"BOM", TG_S_INIT("\xef\xbb\xbf{}"), TG_BAD_INPUT, "1:1:"},
    {"overlong", TG_S_INIT("\"\xc0\xaf\""), TG_BAD_INPUT, NULL},
    {"overlong of three", TG_S_INIT("\"\xe0\x80\xaf\""), TG_BAD_INPUT, NULL},
    {"overlong of four", TG_S_INIT("\"\xf0\x80\x80\xaf\""), TG_BAD_INPUT, NULL},
    {"surrogate in UTF-8", TG_S_INIT("\"\xed\xa0\x80\""), TG_BAD_INPUT, NULL},
    {"beyond U+10FFFF", TG_S_INIT("\"\xf4\x90\x80\x80\""), TG_BAD_INPUT, NULL},
    {"UTF-8 cut by the quote", TG_S_INIT("\"\xe2\x82\""), TG_BAD_INPUT, NULL},
    {"lone continuation", TG_S_INIT("\"\x80\""), TG_BAD_INPUT, NULL},
    {"lone high surrogate", TG_S_INIT("\"\\ud83d\""), TG_BAD_INPUT, NULL},
    {"high, then no low", TG_S_INIT("\"\\ud83d\\u0041\""), TG_BAD_INPUT, NULL},
    {"lone low surrogate", TG_S_INIT("\"\\ude00\""), TG_BAD_INPUT, NULL},
    {"unknown escape", TG_S_INIT("\"\\x41\""), TG_BAD_INPUT, NULL},
    {"escaped NUL byte", TG_S_INIT("\"\\\0\""), TG_BAD_INPUT, NULL},
    {"short \\u", TG_S_INIT("\"\\u00g1\""), TG_BAD_INPUT, NULL},
    {"trailing comma", TG_S_INIT("[1,]"), TG_BAD_INPUT, "1:4:"},
    {"trailing comma in an object", TG_S_INIT("{\"a\":1,}"), TG_BAD_INPUT, NULL},
    {"no colon", TG_S_INIT("{\"a\" 1}"), TG_BAD_INPUT, NULL},
    {"name without quotes", TG_S_INIT("{a:1}"), TG_BAD_INPUT, NULL},
    {"single quotes", TG_S_INIT("{'a':1}"), TG_BAD_INPUT, NULL},
    {"comment", TG_S_INIT("{} // x"), TG_BAD_INPUT, NULL},
    {"second value", TG_S_INIT("{}{}"), TG_BAD_INPUT, "1:3:"},
    {"wrong bracket", TG_S_INIT("[1}"), TG_BAD_INPUT, NULL},
    {"capital", TG_S_INIT("True"), TG_BAD_INPUT, NULL},
    {"NaN", TG_S_INIT("NaN"), TG_BAD_INPUT, NULL},
    {"form feed is no space", TG_S_INIT("\f{}"), TG_BAD_INPUT, NULL},
    {"column in characters", TG_S_INIT("[\"\xc3\xa9\xc3\xa9\",x]"), TG_BAD_INPUT, "1:7:"},

    {"zero", TG_S_INIT("[0,-0,0.0,0e0]"), TG_OK, NULL},
    {"numbers", TG_S_INIT("[1.5e3,-1E+2,1e-2,123456789012345678901234567890]"), TG_OK, NULL},
    {"leading zero", TG_S_INIT("007"), TG_BAD_INPUT, NULL},
    {"leading zero, negative", TG_S_INIT("-01"), TG_BAD_INPUT, NULL},
    {"plus", TG_S_INIT("+1"), TG_BAD_INPUT, NULL},
    {"minus alone", TG_S_INIT("-"), TG_BAD_INPUT, NULL},
    {"no digit before the point", TG_S_INIT(".5"), TG_BAD_INPUT, NULL},
    {"no digit behind the point", TG_S_INIT("5."), TG_BAD_INPUT, NULL},
    {"no digit in the exponent", TG_S_INIT("5e"), TG_BAD_INPUT, NULL},
    {"hexadecimal", TG_S_INIT("0x10"), TG_BAD_INPUT, NULL},
    {"overflow", TG_S_INIT("1e400"), TG_BAD_INPUT, NULL},
    {"overflow, negative", TG_S_INIT("[-1e309]"), TG_BAD_INPUT, NULL},
    {"underflow is small, not wrong", TG_S_INIT("1e-400"), TG_OK, NULL},
    {"64 digits", TG_S_INIT("1234567890123456789012345678901234567890123456789012345678901234"), TG_LIMIT, NULL},
    {"63 digits", TG_S_INIT("123456789012345678901234567890123456789012345678901234567890123"), TG_OK, NULL},
};

static void texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_err err = {0};
        enum tg_status st = parse(cases[i].text, &err);

        if (st != cases[i].want)
            fail_msg("%s: %d instead of %d (%s)", cases[i].why, st, cases[i].want, err.text);
        if (cases[i].place && strncmp(err.text, cases[i].place, strlen(cases[i].place)) != 0)
            fail_msg("%s: \"%s\" is not at %s", cases[i].why, err.text, cases[i].place);
    }
}

static void every_cut_of_an_object_is_refused(void **state)
{
    static const char text[] =
        "{\"iss\":\"https://\\u00e9\xc3\xa9\\ud83d\\ude00\",\"aud\":[\"a\",{\"n\":-1.5e+3}],\"x\":null}";

    (void)state;
    for (size_t cut = 0; cut < sizeof text - 1; cut++)
        assert_int_not_equal(parse(tg_slice(text, cut), NULL), TG_OK);
    assert_int_equal(parse(tg_slice(text, sizeof text - 1), NULL), TG_OK);
}

/* Every byte replaced by every other: whatever is taken must come back from printing as the same value. */
static void every_change_of_a_byte(void **state)
{
    static const char text[] = "{\"a\":[1.5e3,\"\\u0041\xc3\xa9\"],\"b\":{\"c\":null,\"d\":-0.25}}";

    (void)state;
    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char changed[sizeof text];
            cJSON *root = NULL, *again = NULL;
            struct tg_buf printed = {0};

            memcpy(changed, text, sizeof text);
            changed[at] = (char)byte;
            if (tg_json_parse(tg_slice(changed, sizeof text - 1), NULL, &root, NULL) != TG_OK)
                continue;
            tg_json_print(&printed, root);
            assert_int_equal(tg_json_parse(tg_buf_slice(&printed), NULL, &again, NULL), TG_OK);
            assert_true(tg_json_eq(root, again));
            tg_buf_fini(&printed);
            cJSON_Delete(root);
            cJSON_Delete(again);
        }
    }
}

static void limits(void **state)
{
    struct tg_json_limits three = {.depth = 3}, five_nodes = {.nodes = 5}, ten_bytes = {.bytes = 10},
                          huge = {.depth = 100000, .nodes = 1000000, .bytes = 1 << 24};
    struct tg_buf deep = {0};

    (void)state;
    assert_int_equal(tg_json_scan(TG_S("[[[1]]]"), &three, NULL), TG_OK);
    assert_int_equal(tg_json_scan(TG_S("[[{\"a\":[1]}]]"), &three, NULL), TG_LIMIT);
    assert_int_equal(tg_json_scan(TG_S("[1,2,3,4]"), &five_nodes, NULL), TG_OK);
    assert_int_equal(tg_json_scan(TG_S("[1,2,3,4,5]"), &five_nodes, NULL), TG_LIMIT);
    assert_int_equal(tg_json_scan(TG_S("[1,2,3,45]"), &ten_bytes, NULL), TG_OK);
    assert_int_equal(tg_json_scan(TG_S("[1,2,3,456]"), &ten_bytes, NULL), TG_LIMIT);
    for (int i = 0; i < 500000; i++)
        tg_buf_addc(&deep, '[');
    assert_int_equal(tg_json_scan(tg_buf_slice(&deep), NULL, NULL), TG_LIMIT);
    assert_int_equal(tg_json_scan(tg_buf_slice(&deep), &huge, NULL), TG_LIMIT);
    tg_buf_fini(&deep);
}

/* Both sides of the pairwise comparison, and no quadratic time: 90000 names would need minutes. */
static void many_names(void **state)
{
    static const size_t counts[] = {2, 15, 16, 17, 18, 64, 65, 66, 1000, 90000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct tg_buf text = {0};
        clock_t start = clock();
        cJSON *root = NULL;

        tg_buf_adds(&text, "{\"outer\":{");
        for (size_t n = 0; n < counts[i]; n++)
            tg_buf_addf(&text, "%s\"n%zu\":1", n ? "," : "", n);
        size_t len = text.len;
        tg_buf_adds(&text, "},\"n0\":1}");
        assert_int_equal(tg_json_parse(tg_buf_slice(&text), NULL, &root, NULL), TG_OK);
        cJSON_Delete(root);
        text.len = len;
        tg_buf_addf(&text, ",\"\\u006e%zu\":1},\"n0\":1}", counts[i] / 2);
        assert_int_equal(tg_json_scan(tg_buf_slice(&text), NULL, NULL), TG_BAD_INPUT);
        assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
        tg_buf_fini(&text);
    }
}

static void numbers_keep_what_a_double_loses(void **state)
{
    static const struct {
        const char *text;
        bool kept, is_int;
        int64_t value;
    } rows[] = {
        {"0", false, true, 0},
        {"-0", false, true, 0},
        {"1e3", false, true, 1000},
        {"5.0", false, true, 5},
        {"0.1", false, false, 0},
        {"123456789012345", false, true, 123456789012345},
        {"9007199254740992", false, true, INT64_C(9007199254740992)},
        {"-9007199254740992", false, true, INT64_C(-9007199254740992)},
        {"9007199254740993", true, false, 0},
        {"-9007199254740993", true, false, 0},
        {"9007199254740991.0", true, true, INT64_C(9007199254740991)},
        {"1.0000000000000000", false, true, 1},
        {"1.0000000000000001", true, false, 0},
        {"1234567890.0000000001", true, false, 0},
        {"12345678901234567890", true, false, 0},
        {"10000000000000000000", false, false, 0},
        {"1e-400", true, false, 0},
        {"0e-400", false, true, 0},
        {"0.1234567890123456", true, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cJSON *node = must(rows[i].text);
        int64_t value = 77;

        if ((node->valuestring != NULL) != rows[i].kept || tg_json_int(node, &value) != rows[i].is_int)
            fail_msg("%s: kept %s", rows[i].text, node->valuestring ? node->valuestring : "nothing");
        assert_int_equal(value, rows[i].is_int ? rows[i].value : 77);
        if (rows[i].kept) {
            struct tg_buf out = {0};

            tg_json_print(&out, node);
            assert_string_equal(tg_buf_cstr(&out), rows[i].text);
            tg_buf_fini(&out);
        }
        cJSON_Delete(node);
    }
    /* The literal belongs to its own number, wherever that stands. */
    cJSON *list = must("[1,{\"a\":[2,9007199254740993],\"b\":\"3\"},4,0.12345678901234567890,5]");
    struct tg_buf out = {0};

    tg_json_print(&out, list);
    assert_string_equal(tg_buf_cstr(&out), "[1,{\"a\":[2,9007199254740993],\"b\":\"3\"},4,0.12345678901234567890,5]");
    tg_buf_fini(&out);
    cJSON_Delete(list);
}

static void many_literals(void **state)
{
    struct tg_buf text = {0}, out = {0};

    (void)state;
    tg_buf_addc(&text, '[');
    for (unsigned i = 0; i < 100; i++)
        tg_buf_addf(&text, "%s%u,90071992547409930%02u", i ? "," : "", i, i);
    tg_buf_addc(&text, ']');
    cJSON *list = must(tg_buf_cstr(&text));

    tg_json_print(&out, list);
    assert_string_equal(tg_buf_cstr(&out), tg_buf_cstr(&text));
    tg_buf_fini(&text);
    tg_buf_fini(&out);
    cJSON_Delete(list);
}

static void equality(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"5", "5.0", true},
        {"5", "5e0", true},
        {"500", "5e2", true},
        {"0", "-0", true},
        {"5", "\"5\"", false},
        {"5", "6", false},
        {"9007199254740993", "9007199254740992", false},
        {"9007199254740993", "9007199254740993.00", true},
        {"9007199254740993", "9.007199254740993e15", true},
        {"9007199254740991", "9007199254740991.0", true},
        {"-9007199254740993", "9007199254740993", false},
        {"12345678901234567890", "12345678901234567891", false},
        {"1e-400", "0", false},
        {"0.1", "0.10", true},
        {"true", "false", false},
        {"null", "false", false},
        {"[1,2]", "[1,2]", true},
        {"[1,2]", "[2,1]", false},
        {"[1,2]", "[1]", false},
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}", true},
        {"{\"a\":1,\"b\":2}", "{\"a\":1}", false},
        {"{\"a\":1}", "{\"A\":1}", false},
        {"{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"c\":3,\"b\":4}", false},
        {"{}", "[]", false},
        {"\"a\"", "\"\\u0061\"", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cJSON *a = must(rows[i].a), *b = must(rows[i].b);

        if (tg_json_eq(a, b) != rows[i].same || tg_json_eq(b, a) != rows[i].same)
            fail_msg("%s and %s", rows[i].a, rows[i].b);
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
    assert_false(tg_json_eq(NULL, NULL));
}

static void strings_out(void **state)
{
    static const struct {
        struct tg_slice text;
        const char *want;
    } rows[] = {
        {TG_S_INIT(""), "\"\""},
        {TG_S_INIT("a\"b\\c/d"), "\"a\\\"b\\\\c/d\""},
        {TG_S_INIT("\n\r\t\b\x01\x1f"), "\"\\n\\r\\t\\u0008\\u0001\\u001f\""},
        {TG_S_INIT("a\0b"), "\"a\\u0000b\""},
        {TG_S_INIT("\xc3\xa9"), "\"\xc3\xa9\""},
        {TG_S_INIT("x\xff\xc3"), "\"x\xef\xbf\xbd\xef\xbf\xbd\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tg_buf out = {0};

        tg_json_add_string(&out, rows[i].text);
        assert_string_equal(tg_buf_cstr(&out), rows[i].want);
        tg_buf_fini(&out);
    }
}

static void looking_up(void **state)
{
    cJSON *object = must("{\"email\":\"a@example.com\",\"EMAIL\":1,\"list\":[1]}");
    struct tg_slice text = {0};
    int64_t number = 0;

    (void)state;
    assert_true(tg_json_str(tg_json_get(object, "email"), &text));
    assert_true(tg_slice_eq(text, TG_S("a@example.com")));
    assert_false(tg_json_str(tg_json_get(object, "EMAIL"), &text));
    assert_true(tg_json_int(tg_json_get(object, "EMAIL"), &number));
    assert_null(tg_json_get(object, "Email"));
    assert_null(tg_json_get(tg_json_get(object, "list"), "x"));
    assert_null(tg_json_get(NULL, "x"));
    assert_false(tg_json_str(NULL, &text));
    assert_false(tg_json_int(NULL, &number));
    cJSON_Delete(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(every_cut_of_an_object_is_refused),
        cmocka_unit_test(every_change_of_a_byte),
        cmocka_unit_test(limits),
        cmocka_unit_test(many_names),
        cmocka_unit_test(numbers_keep_what_a_double_loses),
        cmocka_unit_test(many_literals),
        cmocka_unit_test(equality),
        cmocka_unit_test(strings_out),
        cmocka_unit_test(looking_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
