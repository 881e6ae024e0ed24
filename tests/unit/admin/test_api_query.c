/*
 * api_query - what a query says, pages, times, entity-tags.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "../../../proxy/admin/api.h"
#include "base/clock.h"

static struct api_request query(const char *text)
{
    return (struct api_request){.view = API_V1, .query = tg_slice_str(text)};
}

static void fini(struct api_answer *a)
{
    tg_buf_fini(&a->body);
    tg_buf_fini(&a->etag);
    tg_buf_fini(&a->location);
}

static void members(void **state)
{
    static const struct {
        const char *why, *query, *name, *want;           /* want NULL: absent */
    } cases[] = {
        {"no query", NULL, "a", NULL},
        {"an empty one", "", "a", NULL},
        {"another name", "b=1", "a", NULL},
        {"a name that begins alike", "ab=1", "a", NULL},
        {"names have a case", "A=1", "a", NULL},
        {"alone", "a=1", "a", "1"},
        {"without a value", "a", "a", ""},
        {"with an empty one", "a=", "a", ""},
        {"behind another", "b=2&a=1", "a", "1"},
        {"behind nothing", "&&a=1&", "a", "1"},
        {"the first of two", "a=1&a=2", "a", "1"},
        {"a = in the value", "a=b=c", "a", "b=c"},
        {"escapes", "a=%41%2f%C3%A4", "a", "A/\xc3\xa4"},
        {"a blank", "a=x+y%2Bz", "a", "x y+z"},
        {"an escaped name", "%61=1", "a", "1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_request req = query(cases[i].query);
        struct tg_buf out = {0};
        bool found = api_query_get(&req, cases[i].name, &out);

        if (found != (cases[i].want != NULL) || (found && strcmp(tg_buf_cstr(&out), cases[i].want) != 0))
            fail_msg("%s: %d \"%s\"", cases[i].why, found, tg_buf_cstr(&out));
        if (!api_query_is_valid(req.query))
            fail_msg("%s: not valid", cases[i].why);
        tg_buf_fini(&out);
    }
}

static void malformed(void **state)
{
    static const char *const queries[] = {"a=%", "a=%4", "a=%zz", "a=%4z", "%=1", "b=1&a=%e4", "a=\xff", "a=%00",
                                          "a=%ed%a0%80", "a=%c0%af", "x%"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        if (api_query_is_valid(tg_slice_str(queries[i])))
            fail_msg("%s is taken", queries[i]);
}

/* Each character that JSON would take for its own, and each control but NUL. */
static void any_octet(void **state)
{
    (void)state;
    for (unsigned c = 1; c < 0x80; c++) {
        char text[8];
        struct tg_buf out = {0};

        snprintf(text, sizeof(text), "%%%02X", c);
        assert_true(api_decode(tg_slice_str(text), false, &out));
        assert_int_equal(out.len, 1);
        assert_int_equal(out.data[0], c);
        tg_buf_fini(&out);
    }
}

static void pages(void **state)
{
    static const struct {
        const char *query;
        uint64_t page, size;                             /* page 0: 400 */
    } cases[] = {
        {"", 1, 20},           {"page=3", 3, 20},        {"page_size=1", 1, 1},    {"page_size=100", 1, 100},
        {"page=2&page_size=5&x=y", 2, 5},                {"page=9999", 9999, 20},  {"page=0", 0, 0},
        {"page_size=101", 0, 0}, {"page_size=0", 0, 0},  {"page=-1", 0, 0},        {"page=", 0, 0},
        {"page=1.5", 0, 0},    {"page=1%20", 0, 0},      {"page=99999999999999999999999", 0, 0},
        {"page=1000000001", 0, 0}, {"page=x&page_size=5", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_request req = query(cases[i].query);
        struct api_answer out = {0};
        uint64_t page = 7, size = 7;
        bool ok = api_query_page(&req, &page, &size, &out);

        if (ok != (cases[i].page != 0) || (ok && (page != cases[i].page || size != cases[i].size)))
            fail_msg("%s: %d %d %d", cases[i].query, ok, (int)page, (int)size);
        assert_int_equal(out.status, ok ? 0 : 400);
        fini(&out);
    }
}

static void windows(void **state)
{
    static const struct {
        const char *query;
        bool ok;
        uint64_t limit, offset;
    } cases[] = {
        {"", true, 0, 0}, {"limit=1", true, 1, 0}, {"limit=10000&offset=3", true, 10000, 3}, {"offset=0", true, 0, 0},
        {"limit=0", false, 0, 0}, {"limit=10001", false, 0, 0}, {"offset=-1", false, 0, 0}, {"offset=a", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_request req = query(cases[i].query);
        struct api_answer out = {0};
        uint64_t limit, offset;
        bool ok = api_query_window(&req, &limit, &offset, &out);

        if (ok != cases[i].ok || (ok && (limit != cases[i].limit || offset != cases[i].offset)))
            fail_msg("%s", cases[i].query);
        fini(&out);
    }
}

static void envelope(void **state)
{
    static const struct {
        uint64_t total, size;
        const char *want;
    } cases[] = {
        {0, 20, "{\"data\":[],\"total\":0,\"page\":1,\"page_size\":20,\"total_pages\":0}\n"},
        {1, 20, "{\"data\":[],\"total\":1,\"page\":1,\"page_size\":20,\"total_pages\":1}\n"},
        {150, 20, "{\"data\":[],\"total\":150,\"page\":1,\"page_size\":20,\"total_pages\":8}\n"},
        {40, 20, "{\"data\":[],\"total\":40,\"page\":1,\"page_size\":20,\"total_pages\":2}\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_answer out = {0};

        api_page_write(&out, tg_slice(NULL, 0), cases[i].total, 1, cases[i].size);
        assert_string_equal(tg_buf_cstr(&out.body), cases[i].want);
        fini(&out);
    }
}

static void times(void **state)
{
    struct tg_buf out = {0};

    (void)state;
    api_add_time_us(&out, INT64_C(1770892200123456));
    api_add_time_us(&out, INT64_C(1770892200000007));
    api_add_time_s(&out, INT64_C(1770892200));
    assert_string_equal(tg_buf_cstr(&out), "\"2026-02-12T10:30:00.123456Z\"\"2026-02-12T10:30:00.000007Z\""
                                           "\"2026-02-12T10:30:00Z\"");
    tg_buf_fini(&out);
}

static void none_match(void **state)
{
    static const struct {
        const char *field;
        bool same;
    } cases[] = {
        {NULL, false}, {"", false}, {"\"v3\"", true}, {"\"v2\"", false}, {"W/\"v3\"", true}, {"*", true},
        {"\"v1\", \"v3\"", true}, {"\"v1\",\"v2\"", false}, {"v3", false}, {"\"V3\"", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_request req = {.if_none_match = tg_slice_str(cases[i].field)};
        struct api_answer out = {0};

        tg_buf_adds(&out.body, "{}");
        if (api_not_modified(&req, TG_S("\"v3\""), &out) != cases[i].same)
            fail_msg("%s", cases[i].field);
        assert_int_equal(out.status, cases[i].same ? 304 : 0);
        assert_int_equal(out.body.len, cases[i].same ? 0 : 2);
        fini(&out);
    }
}

static void match(void **state)
{
    static const struct {
        const char *field;
        unsigned status;                                 /* 0: goes on */
        int64_t version;
    } cases[] = {
        {NULL, 0, 0}, {"*", 0, 0}, {"\"v3\"", 0, 3}, {"\"v9223372036854775807\"", 0, INT64_MAX},
        {"\"v9223372036854775808\"", 412, 0}, {"\"v0\"", 412, 0}, {"\"v\"", 412, 0}, {"v3", 412, 0}, {"\"3\"", 412, 0},
        {"W/\"v3\"", 412, 0}, {"\"", 412, 0}, {"", 400, 0}, {",", 400, 0}, {"\"v1\", \"v2\"", 400, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_request req = {.if_match = tg_slice_str(cases[i].field)};
        struct api_answer out = {0};
        int64_t version = 7;
        bool ok = api_if_match(&req, &version, &out);

        if (ok != (cases[i].status == 0) || out.status != cases[i].status || (ok && version != cases[i].version))
            fail_msg("%s: %u", cases[i].field, out.status);
        fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members), cmocka_unit_test(malformed), cmocka_unit_test(any_octet),
        cmocka_unit_test(pages),   cmocka_unit_test(windows),   cmocka_unit_test(envelope),
        cmocka_unit_test(times),   cmocka_unit_test(none_match), cmocka_unit_test(match),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
