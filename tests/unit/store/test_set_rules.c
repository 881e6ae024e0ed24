/*
 * test_set_rules - which services a set may name: networks, addresses, names, ports, and what only looks like one.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/json.h"
#include "store/set.h"

enum { ITEMS = 4 };

static struct tg_set_rules rules_of(const char *const *items, struct tg_slice *room)
{
    struct tg_set_rules rules = {.allowed_upstreams = {.items = room, .set = true}};

    for (size_t i = 0; i < ITEMS && items[i]; i++)
        room[rules.allowed_upstreams.count++] = tg_slice_str(items[i]);
    return rules;
}

static void listed(void **state)
{
    static const struct { const char *items[ITEMS], *to; bool want; } cases[] = {
        {{NULL},                       "http://127.0.0.1:3000",        false},
        {{"10.0.0.0/8"},               "http://10.1.2.3:3000",         true},
        {{"10.0.0.0/8"},               "https://10.1.2.3/base,5",      true},
        {{"10.0.0.0/8"},               "http://11.1.2.3",              false},
        {{"10.0.0.0/8"},               "http://169.254.169.254",       false},
        {{"10.0.0.0/8"},               "http://[::ffff:10.1.2.3]",     true},
        {{"10.0.0.0/8"},               "http://10.1.2.3.example.com",  false},
        {{"10.0.0.0/8"},               "http://name",                  false},
        {{"0.0.0.0/0"},                "http://name",                  false},
        {{"0.0.0.0/0"},                "http://[2001:db8::1]",         false},
        {{"::/0"},                     "http://10.1.2.3",              false},
        {{"::/0"},                     "http://[::ffff:10.1.2.3]",     false},
        {{"::1"},                      "http://[0:0:0:0:0:0:0:1]:8",   true},
        {{"2001:db8::/32"},            "http://[2001:db8:1::2]",       true},
        {{"10.1.2.3"},                 "http://10.1.2.3:99",           true},
        {{"10.1.2.3:80"},              "http://10.1.2.3",              true},
        {{"10.1.2.3:80"},              "https://10.1.2.3",             false},
        {{"10.1.2.3:80"},              "http://10.1.2.4",              false},
        {{"[::1]:80"},                 "http://[::1]:80",              true},
        {{"[::1]:80"},                 "http://[::1]:81",              false},
        {{"orders.internal"},          "http://orders.internal:3000",  true},
        {{"orders.internal"},          "http://ORDERS.Internal.:3000", true},
        {{"orders.internal."},         "http://orders.internal",       true},
        {{"orders.internal"},          "http://x.orders.internal",     false},
        {{"orders.internal"},          "http://orders.internal.evil",  false},
        {{"orders.internal:3000"},     "http://orders.internal:3000",  true},
        {{"orders.internal:3000"},     "http://orders.internal",       false},
        {{"*.svc.local"},              "http://a.svc.local",           true},
        {{"*.svc.local"},              "http://b.a.SVC.local:81",      true},
        {{"*.svc.local"},              "http://svc.local",             false},
        {{"*.svc.local"},              "http://asvc.local",            false},
        {{"*.svc.local:443"},          "https://a.svc.local",          true},
        {{"*.svc.local:443"},          "http://a.svc.local",           false},
        {{"a", "b", "10.0.0.0/8"},     "http://10.0.0.1",              true},
        {{"127.0.0.0/8", "localhost"}, "http://127.1",                 false},
        {{"127.0.0.0/8", "localhost"}, "http://2130706433",            false},
        {{"127.0.0.0/8", "localhost"}, "http://0x7f.0.0.1",            false},
        {{"127.0.0.0/8", "localhost"}, "http://127.0.0.01",            false},
        {{"127.0.0.0/8", "localhost"}, "http://joe:pw@127.0.0.1",      false},
        {{"127.0.0.0/8", "localhost"}, "http://10.0.0.1@127.0.0.1",    false},
        {{"127.0.0.0/8", "localhost"}, "http://127.0.0.1@10.0.0.1",    false},
        {{"127.0.0.0/8", "localhost"}, "http://127.0.0.1\\@10.0.0.1",  false},
        {{"127.0.0.0/8", "localhost"}, "unix:/run/app.sock",           false},
        {{"127.0.0.0/8", "localhost"}, "HTTP://127.0.0.1",             true},
        {{"127.0.0.0/8", "localhost"}, "ftp://127.0.0.1",              false},
        {{"127.0.0.0/8", "localhost"}, "echo:",                        false},
        {{"127.0.0.0/8", "localhost"}, "",                             false},
        {{"echo:"},                    "echo:",                        true},
        {{"echo:"},                    "http://echo:80",               false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_slice room[ITEMS];
        struct tg_set_rules rules = rules_of(cases[i].items, room);
        struct tg_err err = {0};
        enum tg_status st = tg_set_rules_allow(&rules, tg_slice_str(cases[i].to), &err);

        if ((st == TG_OK) != cases[i].want || (st != TG_OK && err.text[0] == '\0') || strstr(err.text, "pw"))
            fail_msg("%s with %s: %d %s", cases[i].to, cases[i].items[0], st, err.text);
    }
}

/* Nothing said: this machine itself. */
static void absent(void **state)
{
    static const struct { const char *to; bool want; } cases[] = {
        {"http://127.0.0.1:3000", true},  {"http://127.9.9.9", true},    {"http://[::1]:1", true},
        {"https://localhost", true},      {"http://LOCALHOST.:8", true}, {"http://10.0.0.1", false},
        {"http://localhost.evil", false}, {"http://a.localhost", false}, {"http://0.0.0.0", false},
        {"http://[::]", false},           {"echo:", false},              {"http://[::ffff:127.0.0.1]", true},
    };
    static const struct tg_set_rules none = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if ((tg_set_rules_allow(&none, tg_slice_str(cases[i].to), NULL) == TG_OK) != cases[i].want)
            fail_msg("%s", cases[i].to);
}

static void settings(void **state)
{
    static const struct { const char *item; bool want; } cases[] = {
        {"10.0.0.0/8", true},   {"10.0.0.0/33", false},    {"10.0.0.1", true},        {"10.0.0.1:80", true},
        {"10.0.0.0/8:80", false}, {"::1", true},           {"[::1]:80", true},        {"a", true},
        {"a.b:80", true},       {"a.b:99999", false},      {"*.a.b", true},           {"*.a.b:80", true},
        {"*", false},           {"*.", false},             {"a.*.b", false},          {"*a.b", false},
        {"", false},            {"http://a", false},       {"a/b", false},            {"127.1", false},
        {"0x7f.1", false},      {"a..b", false},           {".a", false},             {"echo:", true},
        {"unix:/a", false},     {"a b", false},            {"a@b", false},            {"*.1", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *items[ITEMS] = {"a", cases[i].item};
        struct tg_slice room[ITEMS];
        struct tg_set_rules rules = rules_of(items, room);
        struct tg_problems problems = {0};
        struct tg_tree *tree = NULL;
        struct tg_buf text = {0};

        tg_buf_addf(&text, "allowed_upstreams:\n  - a\n  - '%s'\n", cases[i].item);
        assert_int_equal(tg_tree_parse("t.yaml", tg_buf_slice(&text), &tree, NULL), TG_OK);
        bool ok = tg_set_rules_check(tree, tree->root, "sync", &rules, &problems);

        if (ok != cases[i].want || (!ok && !strstr(problems.items[0].text, "t.yaml:3:5: sync.allowed_upstreams: must")))
            fail_msg("%s: %d %s", cases[i].item, ok, problems.count ? problems.items[0].text : "");
        tg_problems_fini(&problems);
        tg_tree_free(tree);
        tg_buf_fini(&text);
    }
}

static void empty_list(void **state)
{
    struct tg_set_rules rules = {.allowed_upstreams = {.set = true}};
    struct tg_problems problems = {0};

    (void)state;
    assert_true(tg_set_rules_check(NULL, NULL, "sync", &rules, &problems));
    assert_int_equal(problems.count, 1);
    assert_true(problems.items[0].warning);
    tg_problems_fini(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listed),
        cmocka_unit_test(absent),
        cmocka_unit_test(settings),
        cmocka_unit_test(empty_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
