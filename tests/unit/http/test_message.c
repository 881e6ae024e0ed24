/* test_message - field ids, methods, look-ups and comma lists of heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <string.h>
#include "base/err.h"
#include "http/message.h"

static void every_known_name_is_found(void **state)
{
    (void)state;
    for (unsigned id = 1; id < TG_FIELD_COUNT; id++) {
        struct tg_slice name = tg_field_name(id);
        char upper[64], spoilt[64];

        for (size_t i = 0; i < name.len; i++)
            upper[i] = (char)toupper((unsigned char)name.ptr[i]);
        assert_int_equal(tg_field_id(name), id);
        assert_int_equal(tg_field_id(tg_slice(upper, name.len)), id);
        for (size_t i = 0; i < name.len; i++) {          /* no other octet stands for one of a name */
            for (unsigned c = 0; c < 256; c++) {
                memcpy(spoilt, name.ptr, name.len);
                spoilt[i] = (char)c;
                if (tolower((int)c) != name.ptr[i] || c > 127)
                    assert_int_not_equal(tg_field_id(tg_slice(spoilt, name.len)), id);
            }
        }
    }
    assert_int_equal(tg_field_id(TG_S("")), TG_FIELD_OTHER);
    assert_int_equal(tg_field_id(TG_S("x-unknown")), TG_FIELD_OTHER);
    assert_int_equal(tg_field_id(TG_S("content_length")), TG_FIELD_OTHER);
    assert_int_equal(tg_field_id(TG_S("access-control-request-methods-and-more")), TG_FIELD_OTHER);
    assert_int_equal(tg_field_name(TG_FIELD_OTHER).len, 0);
    assert_int_equal(tg_field_name(TG_FIELD_COUNT).len, 0);
}

static void methods_are_case_sensitive(void **state)
{
    (void)state;
    for (unsigned id = 1; id < TG_METHOD_COUNT; id++)
        assert_int_equal(tg_method_id(tg_slice_str(tg_method_name(id))), id);
    assert_int_equal(tg_method_id(TG_S("get")), TG_METHOD_OTHER);
    assert_int_equal(tg_method_id(TG_S("GETT")), TG_METHOD_OTHER);
    assert_int_equal(tg_method_id(TG_S("")), TG_METHOD_OTHER);
    assert_string_equal(tg_method_name(TG_METHOD_OTHER), "other");
    assert_string_equal(tg_method_name(99), "other");
}

static void heads_are_filled_and_searched(void **state)
{
    struct tg_field fields[TG_FIELD_COUNT];
    struct tg_head h = {.fields = fields, .field_cap = TG_FIELD_COUNT};

    (void)state;
    for (unsigned id = 1; id < TG_FIELD_COUNT; id++) {
        assert_null(tg_head_find(&h, id));
        assert_true(tg_head_add_id(&h, id, TG_S("v")));
        assert_true(tg_slice_eq_nocase(fields[id - 1].name, tg_field_name(id))); /* the spelling is of that name */
        assert_ptr_equal(tg_head_find(&h, id), &fields[id - 1]);
    }
    assert_true(tg_head_add(&h, TG_FIELD_OTHER, TG_S("X-A"), TG_S("1")));
    assert_false(tg_head_add(&h, TG_FIELD_OTHER, TG_S("X-B"), TG_S("2")));
    assert_ptr_equal(tg_head_find_name(&h, TG_S("x-a")), &fields[TG_FIELD_COUNT - 1]);
    assert_ptr_equal(tg_head_find_name(&h, TG_S("HOST")), tg_head_find(&h, TG_FIELD_HOST));
    assert_null(tg_head_find_name(&h, TG_S("x-b")));
    assert_null(tg_head_find(&h, TG_FIELD_OTHER));
    assert_true(tg_slice_eq(tg_head_value(&h, TG_FIELD_VIA), TG_S("v")));
    assert_int_equal(h.seen & 1, 0);
}

static void lists_are_walked(void **state)
{
    static const struct { const char *list, *joined; } cases[] = {
        {"", ""}, {",", ""}, {" , ,\t", ""}, {"a", "a;"}, {"a,b", "a;b;"}, {" a , b\t,,c ", "a;b;c;"},
        {",a b,", "a b;"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_slice rest = tg_slice_str(cases[i].list), element;
        char joined[64] = "";

        while (tg_list_next(&rest, &element)) {
            strncat(joined, element.ptr, element.len);
            strcat(joined, ";");
        }
        assert_string_equal(joined, cases[i].joined);
    }
}

static void reasons(void **state)
{
    (void)state;
    assert_string_equal(tg_status_reason(404), "Not Found");
    assert_string_equal(tg_status_reason(200), "OK");
    assert_string_equal(tg_status_reason(299), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_name_is_found), cmocka_unit_test(methods_are_case_sensitive),
        cmocka_unit_test(heads_are_filled_and_searched), cmocka_unit_test(lists_are_walked), cmocka_unit_test(reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
