/* test_content - whether the octets of a content are UTF-8 text for whoever reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/err.h"
#include "http/content.h"

static const struct {
    const char *why, *name, *value;
    bool plain;
} cases[] = {
    {"another field", "X-Encoding", "gzip", true},
    {"a coding", "Content-Encoding", "gzip", false},
    {"none", "content-encoding", "Identity", true},
    {"an empty list", "Content-Encoding", "", true},
    {"one of several", "Content-Encoding", "identity, br", false},
    {"as a variable is called", "Content_Encoding", "gzip", false},
    {"or a PHP one", "content.type", "text/plain; charset=utf-7", false},
    {"no charset", "Content-Type", "application/json", true},
    {"the right one", "Content-Type", "application/json; Charset=\"UTF-8\"", true},
    {"a part of it", "Content-Type", "application/json;charset=us-ascii; a=b", true},
    {"another", "Content-Type", "application/json; charset=gbk", false},
    {"two", "Content-Type", "application/json;charset=utf-8;charset=ibm037", false},
    {"with blanks", "Content-Type", "application/json; charset = \"utf-16\"", false},
    {"an empty one", "Content-Type", "application/json; charset", false},
};

static void fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_field field[2];
        struct tg_head head = {.fields = field, .field_cap = ARRAY_LEN(field)};
        struct tg_slice name = tg_slice_str(cases[i].name);

        tg_head_add(&head, TG_FIELD_OTHER, TG_S("Accept"), TG_S("a"));
        tg_head_add(&head, tg_field_id(name), name, tg_slice_str(cases[i].value));
        if (tg_content_is_plain(&head) != cases[i].plain)
            fail_msg("%s: %s: %s", cases[i].why, cases[i].name, cases[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
