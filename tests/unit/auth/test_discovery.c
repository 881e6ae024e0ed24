/* discovery: where the document is, what it must say, and how an issuer that differs by a slash is told. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/discovery.h"
#include "base/file.h"
#include <stdio.h>
#include <unistd.h>

static void where(void **state)
{
    static const struct { const char *issuer, *url; } cases[] = {
        {"https://a", "https://a/.well-known/openid-configuration"},
        {"https://a/", "https://a/.well-known/openid-configuration"},
        {"https://a/realms/x", "https://a/realms/x/.well-known/openid-configuration"},
        {"https://a/realms/x/", "https://a/realms/x/.well-known/openid-configuration"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *url = tg_discovery_url(tg_slice_str(cases[i].issuer));

        assert_string_equal(url, cases[i].url);
        free(url);
    }
}

static void documents(void **state)
{
    static const struct { const char *why, *text; enum tg_status want; tg_algs algs; } cases[] = {
        {"least", "{\"issuer\":\"i\",\"jwks_uri\":\"u\"}", TG_OK, 0},
        {"algorithms, known ones",
         "{\"issuer\":\"i\",\"jwks_uri\":\"u\","
         "\"id_token_signing_alg_values_supported\":[\"RS256\",\"none\",7,\"ES256\"]}",
         TG_OK, TG_ALG_BIT(TG_ALG_RS256) | TG_ALG_BIT(TG_ALG_ES256)},
        {"algorithms are no list",
         "{\"issuer\":\"i\",\"jwks_uri\":\"u\",\"id_token_signing_alg_values_supported\":{\"a\":\"RS256\"}}", TG_OK, 0},
        {"no jwks_uri", "{\"issuer\":\"i\"}", TG_BAD_INPUT, 0},
        {"issuer is no text", "{\"issuer\":1,\"jwks_uri\":\"u\"}", TG_BAD_INPUT, 0},
        {"issuer twice", "{\"issuer\":\"i\",\"issuer\":\"j\",\"jwks_uri\":\"u\"}", TG_BAD_INPUT, 0},
        {"HTML", "<html>", TG_BAD_INPUT, 0},
        {"a list", "[]", TG_BAD_INPUT, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_discovery d = {0};
        struct tg_err err = {0};

        if (tg_discovery_read(tg_slice_str(cases[i].text), &d, &err) != cases[i].want || d.algs != cases[i].algs)
            fail_msg("%s: %s", cases[i].why, err.text);
        tg_discovery_fini(&d);
    }
}

static void issuers(void **state)
{
    static const struct { const char *configured, *found, *words; } cases[] = {
        {"https://a", "https://a", NULL},
        {"https://a", "https://a/", "`https://a`: a slash is missing at its end"},
        {"https://a/", "https://a", "`https://a/`: there is a slash too many at its end"},
        {"https://a/x//", "https://a/x", "a slash too many"},
        {"https://a", "https://b", "`https://b`, configured is `https://a`; they"},
        {"https://a", "https://a/x", "configured is `https://a`; they"},
        {"https://A", "https://a", "configured is `https://A`; they"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char uri[] = "https://a/keys", *found = tg_slice_dup(tg_slice_str(cases[i].found));
        struct tg_discovery d = {.issuer = found, .jwks_uri = uri};
        struct tg_err err = {0};
        enum tg_status st = tg_discovery_check(&d, tg_slice_str(cases[i].configured), false, &err);

        if ((st == TG_OK) != !cases[i].words || (cases[i].words && !strstr(err.text, cases[i].words)))
            fail_msg("%s, %s: %s", cases[i].configured, cases[i].found, err.text);
        free(found);
    }
}

/* A token file that could end the header line is refused, without its text. */
static void bearers(void **state)
{
    static const struct { const char *text; enum tg_status want; } cases[] = {
        {"sesame\n", TG_OK}, {"sesame", TG_OK}, {"se\nsame\n", TG_BAD_INPUT}, {"se same", TG_BAD_INPUT},
        {"sesam\xc3\xa9", TG_BAD_INPUT}, {"", TG_BAD_INPUT}, {"sesame\r\nX-Y: z\n", TG_BAD_INPUT},
    };
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "/tmp/tollgate-bearer-%d", getpid());
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf line = {0};
        struct tg_err err = {0};

        assert_int_equal(tg_file_replace(path, tg_slice_str(cases[i].text), 0600, NULL), TG_OK);
        assert_int_equal(tg_bearer_line(path, &line, &err), cases[i].want);
        assert_string_equal(tg_buf_cstr(&line), cases[i].want == TG_OK ? "Authorization: Bearer sesame" : "");
        assert_null(strstr(err.text, "sesam"));
        tg_buf_fini(&line);
    }
    unlink(path);
    assert_int_equal(tg_bearer_line(path, &(struct tg_buf){0}, NULL), TG_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where),
        cmocka_unit_test(documents),
        cmocka_unit_test(issuers),
        cmocka_unit_test(bearers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
