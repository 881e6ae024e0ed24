/*
 * test_trace_text - a trace as lines and as JSON: what a stranger put into a value stays a value.
 */
#include "support.h"

static void cleaned(void **state)
{
    static const struct {
        const char *why, *text;
        size_t max;
        const char *want;
    } table[] = {
        {"plain", "a b", 10, "a b"},
        {"no control character", "a\033[31m\r\nb\177", 99, "a\\x1b[31m\\x0d\\x0ab\\x7f"},
        {"nor those of Unicode", "a\xc2\x9b" "b", 99, "a\\xc2\\x9bb"},
        {"nor what turns the direction", "\xe2\x80\xae" "b\xe2\x81\xa6", 99, "\\xe2\\x80\\xaeb\\xe2\\x81\\xa6"},
        {"letters of any language", "\xc5\xbe\xe4\xb8\xad\xf0\x9f\x8e\x89", 99, "\xc5\xbe\xe4\xb8\xad\xf0\x9f\x8e\x89"},
        {"no UTF-8", "a\xff\xc3(\xc0\x80", 99, "a\\xff\\xc3(\\xc0\\x80"},
        {"surrogates are none", "\xed\xa0\x80", 99, "\\xed\\xa0\\x80"},
        {"a character cut off", "\xe4\xb8", 99, "\\xe4\\xb8"},
        {"long", "abcdef", 4, "abcd..."},
        {"just long enough", "abcd", 4, "abcd"},
        {"never half a character", "abc\xc5\xbe", 4, "abc..."},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tg_buf out = {0};

        tg_trace_clean(&out, tg_slice_str(table[i].text), table[i].max);
        if (strcmp(tg_buf_cstr(&out), table[i].want) != 0)
            fail_msg("%s: %s, want %s", table[i].why, tg_buf_cstr(&out), table[i].want);
        tg_buf_fini(&out);
    }
}

struct traced {
    struct loaded l;
    struct tg_claims *claims;
    struct tg_verdict verdict;
    const struct tg_trace_node *root;
};

static void trace(struct traced *t, const char *policy, const struct request *request)
{
    struct tg_facts facts;

    loaded_init(&t->l);
    assert_true(loaded_add(&t->l, policy));
    t->l.program = tg_ppl_finish(t->l.builder);
    t->claims = facts_of(request, &facts);
    t->root = tg_ppl_trace(t->l.program, &facts, &t->l.arena, &t->verdict);
}

static void traced_fini(struct traced *t)
{
    tg_claims_free(t->claims);
    loaded_fini(&t->l);
}

#define ALICE "{\"sub\":\"u1\",\"email\":\"a@x\"}"

static const struct {
    const char *why, *policy;
    struct request request;
    const char *text;
} cases[] = {
    {"a star marks what decided",
     "{allow: {and: [{email: b@x}, {http_method: GET}]}}", {.claims = ALICE},
     "no   \n"
     "  no   allow\n"
     "    no   and (all must hold)\n"
     "      no*  email \"b@x\", saw a@x [email-unauthorized]\n"
     "      yes  http_method \"GET\", saw GET [http-method-ok]\n"},
    {"a deny decides against an allow",
     "{allow: {and: [{email: a@x}]}, deny: {or: [{http_method: GET}, {http_method: PUT}]}}", {.claims = ALICE},
     "no   \n"
     "  yes  allow\n"
     "    yes  and (all must hold)\n"
     "      yes  email \"a@x\", saw a@x [email-ok]\n"
     "  yes  deny\n"
     "    yes  or (one is enough)\n"
     "      yes* http_method \"GET\", saw GET [http-method-ok]\n"
     "      no   http_method \"PUT\", saw GET [http-method-unauthorized]\n"},
    {"inverted", "{allow: {not: [{http_method: PUT}], nor: [{email: a@x}]}}", {.claims = ALICE},
     "yes  \n"
     "  yes  allow\n"
     "    yes  not (none may hold)\n"
     "      no*  http_method \"PUT\", saw GET [http-method-unauthorized]\n"
     "    no   nor (not all may hold)\n"
     "      yes  email \"a@x\", saw a@x [email-ok]\n"},
    {"who is missing decides on both sides",
     "{allow: {or: [{email: a@x}, {http_method: PUT}]}, deny: {and: [{user: x}]}}", {0},
     "no   \n"
     "  no   allow\n"
     "    no   or (one is enough)\n"
     "      no*  email \"a@x\", saw (none) [user-unauthenticated]\n"
     "      no   http_method \"PUT\", saw GET [http-method-unauthorized]\n"
     "  no   deny\n"
     "    no   and (all must hold)\n"
     "      no*  user \"x\", saw (none) [user-unauthenticated]\n"},
    {"a value cannot make a line", "{allow: {and: [{http_path: /a}]}}", {.path = "/\nyes* http_path"},
     "no   \n"
     "  no   allow\n"
     "    no   and (all must hold)\n"
     "      no*  http_path \"/a\", saw /\\x0ayes* http_path [http-path-unauthorized]\n"},
};

static void lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf out = {0};
        struct traced t;

        trace(&t, cases[i].policy, &cases[i].request);
        tg_trace_text(t.root, 0, false, &out);
        if (strcmp(tg_buf_cstr(&out), cases[i].text) != 0)
            fail_msg("%s:\n%swant\n%s", cases[i].why, tg_buf_cstr(&out), cases[i].text);
        out.len = 0;
        tg_trace_text(t.root, 1, true, &out);
        assert_true(strncmp(tg_buf_cstr(&out), "  \033[", 4) == 0);
        tg_buf_fini(&out);
        traced_fini(&t);
    }
}

/* Of 1,000 members a page shows some: the one that decided, wherever it stands. */
static void very_many(void **state)
{
    struct tg_buf policy = {0}, out = {0};
    struct traced t;
    size_t count = 0;

    (void)state;
    tg_buf_adds(&policy, "{allow: {or: [");
    for (int i = 0; i < 1000; i++)
        tg_buf_addf(&policy, "{email: %s@x}, ", i == 900 ? "a" : "b");
    tg_buf_adds(&policy, "]}}");
    trace(&t, tg_buf_cstr(&policy), &(struct request){.claims = ALICE});
    tg_trace_text(t.root, 0, false, &out);
    assert_non_null(strstr(tg_buf_cstr(&out), "yes* email \"a@x\""));
    assert_non_null(strstr(tg_buf_cstr(&out), "      ...  992 more: 992 no\n"));
    for (const char *at = out.data; (at = strchr(at, '\n')); at++)
        count++;
    assert_int_equal(count, 3 + 8 + 1);
    out.len = 0;
    tg_trace_json(t.root, &out);                         /* programs get all */
    count = 0;
    for (const char *at = tg_buf_cstr(&out); (at = strstr(at, "\"kind\":\"criterion\"")); at++)
        count++;
    assert_int_equal(count, 1000);
    tg_buf_fini(&policy);
    tg_buf_fini(&out);
    traced_fini(&t);
}

static void as_json(void **state)
{
    struct tg_buf out = {0};
    struct traced t;

    (void)state;
    trace(&t, "{allow: {and: [{http_path: /a}]}}", &(struct request){.path = "/\xff\"\n"});
    tg_trace_json(t.root, &out);
    assert_string_equal(tg_buf_cstr(&out),
                        "[{\"kind\":\"policy\",\"name\":\"\",\"value\":false,\"decisive\":true,\"reasons\":["
                        "\"http-path-unauthorized\"],\"children\":[{\"kind\":\"rule\",\"name\":\"allow\",\"value"
                         "\":false,"
                        "\"decisive\":true,\"reasons\":[\"http-path-unauthorized\"],\"children\":[{\"kind\":"
                        "\"operator\",\"name\":\"and\",\"value\":false,\"decisive\":true,\"reasons\":["
                        "\"http-path-unauthorized\"],\"children\":[{\"kind\":\"criterion\",\"name\":\"http_path\","
                        "\"value\":false,\"decisive\":true,\"reasons\":[\"http-path-unauthorized\"],\"sub_path\":null,"
                        "\"data\":\"/a\",\"saw\":\"/\xef\xbf\xbd\\\"\\n\"}]}]}]}]");
    tg_buf_fini(&out);
    traced_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleaned),
        cmocka_unit_test(lines),
        cmocka_unit_test(very_many),
        cmocka_unit_test(as_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
