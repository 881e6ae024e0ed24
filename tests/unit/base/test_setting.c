/*
 * setting: every kind, its range and its sentence; unknown names; defaults; the API's spelling.
 */
#include "base/setting.h"
#include "base/err.h"
#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct section {
    bool enabled;
    uint64_t workers, connections, body, head;
    int64_t leeway_ms, total_ms, delay_ms;
    struct tg_slice realm, issuer, ca_file;
    int error_format;
    struct tg_strings audiences, algs, addresses;
    struct tg_string_map headers;
    const cJSON *routes;
};

#define ROW(name, member, kind, dflt, min, max, choices, flags, help)                                                  \
    TG_SETTING(struct section, member, name, kind, dflt, min, max, choices, flags, help)
static const struct tg_setting table[] = {
    ROW("enabled", enabled, TG_SET_BOOL, "true", 0, 0, NULL, 0, "x"),
    ROW("workers", workers, TG_SET_COUNT, "0", 0, 256, NULL, 0, "x"),
    ROW("connections", connections, TG_SET_COUNT, "10", 1, 0, NULL, 0, "x"),
    ROW("body", body, TG_SET_SIZE, "none", 0, 0, NULL, 0, "x"),
    ROW("head", head, TG_SET_SIZE, "64KiB", 1024, 1 << 20, NULL, 0, "x"),
    ROW("leeway", leeway_ms, TG_SET_DURATION, "30s", 0, 300000, NULL, 0, "x"),
    ROW("total_timeout", total_ms, TG_SET_DURATION, "none", 1, 90000, NULL, 0, "x"),
    ROW("delay", delay_ms, TG_SET_DURATION, NULL, 1, 0, NULL, 0, "x"),
    ROW("realm", realm, TG_SET_STRING, "tollgate", 0, 0, NULL, 0, "x"),
    ROW("issuer", issuer, TG_SET_STRING, NULL, 0, 0, NULL, TG_SET_REQUIRED, "x"),
    ROW("ca_file", ca_file, TG_SET_FILE, NULL, 0, 0, NULL, 0, "x"),
    ROW("error_format", error_format, TG_SET_ENUM, "problem", 0, 0, "zero|problem|oauth", 0, "x"),
    ROW("audiences", audiences, TG_SET_STRINGS, NULL, 0, 0, NULL, 0, "x"),
    ROW("supported_algs", algs, TG_SET_STRINGS, "[RS256, ES256]", 0, 0, NULL, 0, "x"),
    ROW("address", addresses, TG_SET_STRINGS, "[::]:8080", 0, 0, NULL, 0, "x"),
    ROW("headers", headers, TG_SET_STRING_MAP, NULL, 0, 0, NULL, 0, "x"),
    ROW("routes", routes, TG_SET_NODE, NULL, 0, 0, NULL, 0, "x"),
    ROW("tracing", realm, TG_SET_LATER, NULL, 0, 0, NULL, 0, "export of traces"),
};

struct fixture {
    struct tg_tree *tree;
    struct tg_arena arena;
    struct tg_problems problems;
    struct section s;
    bool ok;
};

static void setup(struct fixture *f, const char *text, const char *where, bool camel)
{
    struct tg_err err = {0};

    *f = (struct fixture){0};
    tg_arena_init(&f->arena, NULL, 0);
    if (tg_tree_parse("etc/t.yaml", tg_slice_str(text), &f->tree, &err) != TG_OK)
        fail_msg("%s", err.text);
    f->ok =
        tg_settings_read(table, ARRAY_LEN(table), f->tree, f->tree->root, where, camel, &f->arena, &f->s, &f->problems);
    assert_true(f->ok == (f->problems.errors == 0));
}

static void teardown(struct fixture *f)
{
    tg_tree_free(f->tree);
    tg_arena_fini(&f->arena);
    tg_problems_fini(&f->problems);
}

static void expect_defaults(const struct section *s)
{
    assert_true(s->enabled);
    assert_int_equal(s->workers, 0);
    assert_int_equal(s->connections, 10);
    assert_int_equal(s->body, 0);
    assert_int_equal(s->head, 65536);
    assert_int_equal(s->leeway_ms, 30000);
    assert_int_equal(s->total_ms, 0);
    assert_int_equal(s->delay_ms, 0);
    assert_true(tg_slice_eq(s->realm, TG_S("tollgate")));
    assert_null(s->ca_file.ptr);
    assert_int_equal(s->error_format, 1);
    assert_false(s->audiences.set);
    assert_int_equal(s->audiences.count, 0);
    assert_int_equal(s->algs.count, 2);
    assert_false(s->algs.set);
    assert_true(tg_slice_eq(s->algs.items[1], TG_S("ES256")));
    assert_int_equal(s->addresses.count, 1);             /* brackets of an address are no list */
    assert_true(tg_slice_eq(s->addresses.items[0], TG_S("[::]:8080")));
    assert_null(s->routes);
}

static void defaults(void **state)
{
    struct fixture f;
    struct section alone = {0};

    (void)state;
    setup(&f, "issuer: i\nrealm: null\nworkers:\nroutes: ~\ntracing:\n", "", false);
    assert_true(f.ok);
    expect_defaults(&f.s);
    /* Without a node; what is required is missing then. */
    assert_false(tg_settings_read(table, ARRAY_LEN(table), NULL, NULL, "x", false, &f.arena, &alone, &f.problems));
    expect_defaults(&alone);
    assert_string_equal(f.problems.items[0].text, "x.issuer is required");
    teardown(&f);
}

static void all_kinds(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f,
          "enabled: false\nworkers: 256\nconnections: 5e3\nbody: 10\nhead: 1MiB\nleeway: 1m30s\ntotal_timeout: none\n"
          "delay: 7d\nrealm: ''\nissuer: https://i\nca_file: ca.pem\nerror_format: oauth\naudiences: one\n"
          "supported_algs: [PS256]\nheaders: {X-Email: email, X-Y: ''}\nroutes: [1]\n", "", false);
    if (!f.ok)
        fail_msg("%s", f.problems.items[0].text);
    assert_false(f.s.enabled);
    assert_int_equal(f.s.workers, 256);
    assert_int_equal(f.s.connections, 5000);
    assert_int_equal(f.s.body, 10);
    assert_int_equal(f.s.head, 1 << 20);
    assert_int_equal(f.s.leeway_ms, 90000);
    assert_int_equal(f.s.total_ms, 0);
    assert_int_equal(f.s.delay_ms, INT64_C(7) * 86400000);
    assert_true(f.s.realm.ptr && f.s.realm.len == 0);
    assert_true(tg_slice_eq(f.s.ca_file, TG_S("etc/ca.pem")));
    assert_int_equal(f.s.error_format, 2);
    assert_true(f.s.audiences.set && f.s.audiences.count == 1);
    assert_true(tg_slice_eq(f.s.audiences.items[0], TG_S("one")));
    assert_true(f.s.algs.set && f.s.algs.count == 1);
    assert_int_equal(f.s.headers.count, 2);
    assert_true(tg_slice_eq(f.s.headers.names[0], TG_S("X-Email")) &&
                tg_slice_eq(f.s.headers.values[0], TG_S("email")));
    assert_true(cJSON_IsArray(f.s.routes));
    teardown(&f);
}

static const struct {
    const char *text, *problem;                          /* the whole sentence */
} wrong[] = {
    {"enabled: yes", "1:10: enabled must be true or false"},
    {"workers: 257", "1:10: workers must be a whole number from 0 to 256"},
    {"workers: -1", "1:10: workers must be a whole number from 0 to 256"},
    {"workers: 1.5", "1:10: workers must be a whole number from 0 to 256"},
    {"workers: '1'", "1:10: workers must be a whole number from 0 to 256"},
    {"workers: 99999999999999999999", "1:10: workers must be a whole number from 0 to 256"},
    {"workers: [1]", "1:10: workers must be a whole number from 0 to 256"},
    {"connections: 0", "1:14: connections must be a whole number of 1 or more"},
    {"connections: none", "1:14: connections must be a whole number of 1 or more"},
    {"head: 1", "1:7: head must be a size from 1KiB to 1MiB"},
    {"head: 2MiB", "1:7: head must be a size from 1KiB to 1MiB"},
    {"head: none", "1:7: head must be a size (64KiB, 1MiB) from 1KiB to 1MiB"},
    {"head: 64kb", "1:7: head must be a size (64KiB, 1MiB) from 1KiB to 1MiB"},
    {"body: -1", "1:7: body must be a size (64KiB, 1MiB)"},
    {"leeway: 30", "1:9: leeway needs a unit, as in 500ms, 30s or 1m30s"},
    {"leeway: 0", "1:9: leeway needs a unit, as in 500ms, 30s or 1m30s"},
    {"leeway: 6m", "1:9: leeway must be a duration from 0s to 5m"},
    {"leeway: soon", "1:9: leeway must be a duration (500ms, 30s, 1m30s) from 0s to 5m"},
    {"total_timeout: 2m", "1:16: total_timeout must be a duration from 1ms to 1m30s"},
    {"delay: none", "1:8: delay must be a duration (500ms, 30s, 1m30s) of 1ms or more"},
    {"realm: 5", "1:8: realm must be text: put quotes around it"},
    {"realm: []", "1:8: realm must be text"},
    {"ca_file: ''", "1:10: ca_file must be a path"},
    {"error_format: probelm", "1:15: error_format must be zero, problem or oauth; did you mean problem?"},
    {"error_format: 7", "1:15: error_format must be zero, problem or oauth"},
    {"audiences: 5", "1:12: audiences must be a list of text, or one text"},
    {"audiences: [a, 5]", "1:16: audiences may hold only text: put quotes around this"},
    {"audiences: [[a]]", "1:13: audiences may hold only text"},
    {"headers: []", "1:10: headers must be a mapping of names to text"},
    {"headers: {a: 1}", "1:14: headers must give text for a: put quotes around it"},
    {"tracing: {a: 1}", "1:1: tracing is not supported yet: export of traces"},
    {"leway: 1s", "1:1: leway is not a setting; did you mean leeway?"},
    {"Error-Format: zero", "1:1: Error-Format is not a setting; did you mean error_format?"},
    {"errorFormat: zero", "1:1: errorFormat is not a setting; did you mean error_format?"},
    {"colour: red", "1:1: colour is not a setting"},
};

static void sentences(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct fixture f;
        char text[256], want[256];

        snprintf(text, sizeof text, "%s\nissuer: i\n", wrong[i].text);
        snprintf(want, sizeof want, "etc/t.yaml:%s", wrong[i].problem);
        setup(&f, text, "", false);
        if (f.problems.count != 1 || strcmp(f.problems.items[0].text, want) != 0)
            fail_msg("%s: %zu problems, %s", wrong[i].text, f.problems.count,
                     f.problems.count ? f.problems.items[0].text : "");
        expect_defaults(&f.s);
        teardown(&f);
    }
}

static void all_problems_at_once(void **state)
{
    struct fixture f;
    static const char *const want[] = {
        "etc/t.yaml:1:1: auth.leway is not a setting; did you mean auth.leeway?",
        "etc/t.yaml:3:1: auth.zzzzzzzzz is not a setting",
        "etc/t.yaml:2:10: auth.workers must be a whole number from 0 to 256",
        "etc/t.yaml:4:9: auth.issuer must not be empty",
    };

    (void)state;
    setup(&f, "leway: 1s\nworkers: x\nzzzzzzzzz: 1\nissuer: ''\n", "auth", false);
    assert_int_equal(f.problems.count, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(f.problems.items[i].text, want[i]);
    teardown(&f);
    setup(&f, "a: 1", "auth", false);
    assert_string_equal(f.problems.items[1].text, "etc/t.yaml:1:1: auth.issuer is required");
    teardown(&f);
    setup(&f, "[1]", "auth", false);
    assert_string_equal(f.problems.items[0].text, "etc/t.yaml:1:1: auth must be a mapping of settings");
    teardown(&f);
    setup(&f, "issuer: null", "", false);
    assert_string_equal(f.problems.items[0].text, "etc/t.yaml:1:9: issuer is required");
    teardown(&f);
}

static void the_spelling_of_the_api(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, "{\"issuer\":\"i\",\"errorFormat\":\"zero\",\"total_timeout\":\"1s\",\"caFile\":\"/ca\"}", "", true);
    assert_true(f.ok);
    assert_int_equal(f.s.error_format, 0);
    assert_int_equal(f.s.total_ms, 1000);
    assert_true(tg_slice_eq(f.s.ca_file, TG_S("/ca")));
    teardown(&f);
    setup(&f, "{\"issuer\":\"i\",\"errorFormat\":\"x\"}", "", true);
    assert_string_equal(f.problems.items[0].text, "etc/t.yaml:1:29: errorFormat must be zero, problem or oauth");
    teardown(&f);
    setup(&f, "{\"issuer\":\"i\",\"errorFormta\":\"zero\"}", "", true);
    assert_string_equal(f.problems.items[0].text,
                        "etc/t.yaml:1:15: errorFormta is not a setting; did you mean errorFormat?");
    teardown(&f);
    setup(&f, "{\"issuer\":\"i\",\"errorFormat\":\"zero\",\"error_format\":\"zero\"}", "", true);
    assert_string_equal(f.problems.items[0].text, "etc/t.yaml:1:15: error_format and errorFormat are the same setting");
    teardown(&f);
}

static const char *digits(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return "12345";
}

/* A password of digits from the environment is still text where text is wanted. */
static void text_from_the_environment(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, "issuer: ${PW}\naudiences: \nworkers: 1", "", false);
    tg_tree_interpolate(f.tree, digits, NULL, &f.problems);
    tg_tree_override(f.tree, "audiences", "7", "TOLLGATE_AUDIENCES");
    tg_tree_override(f.tree, "workers", "x", "TOLLGATE_WORKERS");
    assert_false(
        tg_settings_read(table, ARRAY_LEN(table), f.tree, f.tree->root, "", false, &f.arena, &f.s, &f.problems));
    assert_true(tg_slice_eq(f.s.issuer, TG_S("12345")));
    assert_true(tg_slice_eq(f.s.audiences.items[0], TG_S("7")));
    assert_int_equal(f.problems.count, 1);
    assert_string_equal(f.problems.items[0].text, "TOLLGATE_WORKERS: workers must be a whole number from 0 to 256");
    teardown(&f);
}

static void durations_and_sizes(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;                                      /* -1: refused */
    } durations[] = {
        {"0s", 0},
        {"500ms", 500},
        {"10s", 10000},
        {"1m30s", 90000},
        {"2h", 7200000},
        {"1d2h3m4s5ms", 93784005},
        {"", -1},
        {"10", -1},
        {"s", -1},
        {"10 s", -1},
        {" 10s", -1},
        {"-1s", -1},
        {"+1s", -1},
        {"1.5s", -1},
        {"1s1m", -1},
        {"1s1s", -1},
        {"1S", -1},
        {"1w", -1},
        {"none", -1},
        {"1m30", -1},
        {"99999999999999999999s", -1},
        {"9223372036854775807ms", INT64_MAX},
        {"9223372036854775808ms", -1},
        {"9223372036854775s900ms", -1},
        {"106751991168d", -1},
    };
    static const struct {
        const char *text;
        uint64_t bytes;
        bool ok;
    } sizes[] = {
        {"10", 10, true}, {"10B", 10, true}, {"64KiB", 65536, true}, {"1MiB", 1 << 20, true},
        {"2GiB", UINT64_C(2) << 30, true}, {"0", 0, true}, {"", 0, false}, {"KiB", 0, false}, {"1KB", 0, false},
        {"1 KiB", 0, false}, {"1.5MiB", 0, false}, {"-1", 0, false}, {"18446744073709551615GiB", 0, false},
        {"18446744073709551616", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        int64_t ms = -1;

        if (tg_duration_parse(tg_slice_str(durations[i].text), &ms) != (durations[i].ms >= 0) || ms != durations[i].ms)
            fail_msg("%s: %lld", durations[i].text, (long long)ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t bytes = 0;

        if (tg_size_parse(tg_slice_str(sizes[i].text), &bytes) != sizes[i].ok || bytes != sizes[i].bytes)
            fail_msg("%s: %llu", sizes[i].text, (unsigned long long)bytes);
    }
}

static void nearest(void **state)
{
    static const char *const names[] = {"leeway", "audiences", "issuer", "to", "health_address"};
    static const struct {
        const char *word, *want;
    } rows[] = {
        {"leway", "leeway"},
        {"leewya", "leeway"},
        {"LEEWAY", "leeway"},
        {"audience", "audiences"},
        {"isuer", "issuer"},
        {"ti", "to"},
        {"healthAddress", "health_address"},
        {"health-address", "health_address"},
        {"xyz", NULL},
        {"", NULL},
        {"completely_different", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *found = tg_nearest(rows[i].word, names, ARRAY_LEN(names));

        if ((found == NULL) != (rows[i].want == NULL) || (found && strcmp(found, rows[i].want) != 0))
            fail_msg("%s: %s", rows[i].word, found ? found : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(all_kinds),
        cmocka_unit_test(sentences),
        cmocka_unit_test(all_problems_at_once),
        cmocka_unit_test(the_spelling_of_the_api),
        cmocka_unit_test(text_from_the_environment),
        cmocka_unit_test(durations_and_sizes),
        cmocka_unit_test(nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
