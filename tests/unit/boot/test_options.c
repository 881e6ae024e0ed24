/*
 * test_options - the command line as people type it, and where it leads.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "boot/options.h"
#include "capture.h"

static const struct {
    const char *why;
    const char *argv[10];
    int code;
    const char *out, *err;                               /* parts; NULL: empty */
} cases[] = {
    {"nothing", {"tollgate"}, TG_EXIT_USAGE, NULL, "Commands:"},
    {"help", {"tollgate", "--help"}, TG_EXIT_OK, "Exit codes: 0 ok", NULL},
    {"help, short", {"tollgate", "-h"}, TG_EXIT_OK, "healthcheck", NULL},
    {"help of a command", {"tollgate", "help", "mint"}, TG_EXIT_OK, "Usage: tollgate mint", NULL},
    {"help after a command", {"tollgate", "verify", "--help"}, TG_EXIT_OK, "--signature-only", NULL},
    {"version", {"tollgate", "-V"}, TG_EXIT_OK, "tollgate ", NULL},
    {"version, long", {"tollgate", "--version"}, TG_EXIT_OK, "OpenSSL", NULL},
    {"unknown command", {"tollgate", "chekc"}, TG_EXIT_USAGE, NULL, "did you mean \"check\"?"},
    {"options first", {"tollgate", "-c", "x"}, TG_EXIT_USAGE, NULL, "a command comes first"},
    {"unknown option", {"tollgate", "check", "--confg", "x"}, TG_EXIT_USAGE, NULL, "did you mean --config?"},
    {"unknown option with value", {"tollgate", "check", "--confg=hidden"}, TG_EXIT_USAGE, NULL,
     "--confg; did you mean"},
    {"unknown letter", {"tollgate", "check", "-z"}, TG_EXIT_USAGE, NULL, "there is no option -z"},
    {"value missing", {"tollgate", "check", "-c"}, TG_EXIT_USAGE, NULL, "--config needs a value"},
    {"value missing, long", {"tollgate", "check", "--config"}, TG_EXIT_USAGE, NULL, "--config needs a value"},
    {"value too many", {"tollgate", "check", "--schema=1"}, TG_EXIT_USAGE, NULL, "--schema takes no value"},
    {"file without -c", {"tollgate", "check", "a.yaml"}, TG_EXIT_USAGE, NULL, "Write -c FILE"},
    {"no such file", {"tollgate", "check", "-c", "/nonexistent.yaml"}, TG_EXIT_CONFIG, NULL, "/nonexistent.yaml"},
    {"check as an option", {"tollgate", "-t", "-c", "/nonexistent.yaml"}, TG_EXIT_CONFIG, NULL, "/nonexistent.yaml"},
    {"online without a file", {"tollgate", "check", "--online", "-c", "/nonexistent.yaml"}, TG_EXIT_CONFIG, NULL,
     "/nonexistent.yaml"},
    {"a token offline", {"tollgate", "check", "--token", "hidden"}, TG_EXIT_USAGE, NULL, "--token goes with --online"},
    {"init without an audience", {"tollgate", "init", "-ihttps://a", "--upstream", "http://b"}, TG_EXIT_USAGE, NULL,
     "--audience is needed"},
    {"init by plain http", {"tollgate", "init", "-ihttp://idp.test", "-ab", "-uhttp://b", "-o-"}, TG_EXIT_USAGE,
     NULL, "--issuer: http is for loopback"},
    {"settings", {"tollgate", "--help-settings"}, TG_EXIT_OK, "jwt_claims_headers", NULL},
    {"settings of check", {"tollgate", "check", "--help-settings"}, TG_EXIT_OK, "jwt_claims_headers", NULL},
    {"schema", {"tollgate", "check", "--schema"}, TG_EXIT_OK, "json-schema.org", NULL},
    {"reference", {"tollgate", "--settings-markdown"}, TG_EXIT_OK, "| `address` |", NULL},
    {"print without a file", {"tollgate", "check", "--print-config", "-c", "/nonexistent"}, TG_EXIT_CONFIG, NULL,
     "/nonexistent"},
    {"mint without a key", {"tollgate", "mint", "--alg", "ES256"}, TG_EXIT_USAGE, NULL, "--key FILE is needed"},
    {"mint by an unknown algorithm", {"tollgate", "mint", "--key", "x", "--alg", "ES25"}, TG_EXIT_USAGE, NULL,
     "ES256?"},
    {"mint by none", {"tollgate", "mint", "--key", "x", "--alg", "none"}, TG_EXIT_USAGE, NULL, "no algorithm"},
    {"mint without a duration", {"tollgate", "mint", "--key", "x", "--alg", "ES256", "--expires", "5"}, TG_EXIT_USAGE,
     NULL,
     "--expires is a duration"},
    {"health over https", {"tollgate", "healthcheck", "--url", "https://127.0.0.1/"}, TG_EXIT_FAILURE, NULL, "https"},
    {"health of nobody", {"tollgate", "healthcheck", "-u", "http://127.0.0.1:1/"}, TG_EXIT_FAILURE, NULL,
     "no connection"},
    {"explain with two policies", {"tollgate", "explain", "-c", "a", "--policy", "b"}, TG_EXIT_USAGE, NULL, "--policy"},
    {"explain a bad address", {"tollgate", "explain", "--source-ip", "x"}, TG_EXIT_USAGE, NULL, "--source-ip"},
    {"batch with a token", {"tollgate", "explain", "--batch", "--token", "x"}, TG_EXIT_USAGE, NULL, "stands alone"},
};

static void command_lines(void **state)
{
    struct captured c = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        capture(&c, tg_main, cases[i].argv, TG_S(""));
        if (c.code != cases[i].code || (cases[i].out ? !strstr(c.out, cases[i].out) : c.out[0]) ||
            (cases[i].err ? !strstr(c.err, cases[i].err) : c.err[0]))
            fail_msg("%s: %d\n%s\n%s", cases[i].why, c.code, c.out, c.err);
        assert_null(strstr(c.err, "hidden"));            /* what was given is not repeated */
        captured_fini(&c);
    }
}

/* Operands and options mix, "--" ends the options, and a value may begin with "-". */
static void walking(void **state)
{
    static const struct tg_option options[] = {{TG_OPT_FIRST_OWN, 'a', "alpha", "X", ""},
                                               {TG_OPT_FIRST_OWN + 1, 0, "beta", NULL, ""}};
    static const struct tg_usage usage = {"x", "", "", options, ARRAY_LEN(options), NULL};
    char a0[] = "x", a1[] = "one", a2[] = "-a", a3[] = "-5m", a4[] = "--beta", a5[] = "--", a6[] = "-z";
    char *argv[] = {a0, a1, a2, a3, a4, a5, a6, NULL};
    struct tg_options o;
    const char *value;

    (void)state;
    for (int round = 0; round < 2; round++) {            /* getopt's state does not leak into the next command */
        char *args[8];

        memcpy(args, argv, sizeof args);
        tg_options_start(&o, &usage, 7, args);
        assert_int_equal(tg_options_next(&o, &value), TG_OPT_FIRST_OWN);
        assert_string_equal(value, "-5m");
        assert_int_equal(tg_options_next(&o, &value), TG_OPT_FIRST_OWN + 1);
        assert_int_equal(tg_options_next(&o, &value), TG_OPT_END);
        assert_int_equal(7 - o.operand, 2);
        assert_string_equal(args[o.operand], "one");
        assert_string_equal(args[o.operand + 1], "-z");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(command_lines), cmocka_unit_test(walking)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
