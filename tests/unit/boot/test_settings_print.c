/*
 * test_settings_print - the tables as help, reference and schema; a configuration printed, masked, and read again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/json.h"
#include "boot/settings.h"

#define IDP "identity_providers: {corp: {issuer: https://idp.test, audiences: [a]}}\n"

static void print(const char *yaml, struct tg_buf *out)
{
    struct tg_problems problems = {0};
    struct tg_settings s;

    if (!tg_settings_parse("t.yaml", tg_slice_str(yaml), &s, &problems))
        fail_msg("%s\n%s", problems.items[0].text, yaml);
    tg_settings_print(&s, out);
    tg_settings_fini(&s);
    tg_problems_fini(&problems);
}

static const struct {
    const char *why, *yaml, *there, *absent;
} cases[] = {
    {"defaults are filled in", "upstream: http://127.0.0.1:1\n" IDP, "upstream_idle: 4s", NULL},
    {"tiers too", "upstream: http://127.0.0.1:1\n" IDP, "name: enterprise, limit: 10000", NULL},
    {"limits that are off", "upstream: http://127.0.0.1:1\nrate_limits: off\n" IDP, "rate_limits: \"off\"", "tiers"},
    {"windows have no window beside them",
     "upstream: http://127.0.0.1:1\nrate_limits: {tiers: [{name: a, windows: [{limit: 5}, {limit: 9, window: 1h}]}]}\n"
     IDP, "windows:\n        -\n          limit: 5\n          window: 1m\n", "name: a\n      window:"},
    {"a tier without them has one", "upstream: http://127.0.0.1:1\nrate_limits: {tiers: [{name: a, limit: 5}]}\n" IDP,
     "limit: 5\n      window: 1m\n", NULL},
    {"limits of a route",
     "routes: [{to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, rate_limits: {mode: shadow, tiers: "
     "[{name: a, windows: [{limit: 5}]}]}}]\n" IDP, "rate_limits:\n      tiers:\n        -\n          name: a\n", NULL},
    {"a route without", "routes: [{to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, rate_limits: off}]\n"
     IDP, "    rate_limits: \"off\"", NULL},
    {"a store", "upstream: http://127.0.0.1:1\nrate_limits: {store: 'unix:///run/redis.sock?db=2'}\n" IDP,
     "store: \"unix:///run/redis.sock?db=2\"", NULL},
    {"its password", "upstream: http://127.0.0.1:1\nrate_limits: {store: 'redis://u:hid%40den@h:1/2'}\n" IDP,
     "store: \"redis://********@h:1/2\"", "hid"},
    {"apart from it", "upstream: http://127.0.0.1:1\nrate_limits: {store: 'redis://h', store_password: hidden}\n" IDP,
     "store_password: \"********\"", "hidden"},
    {"its secret", "upstream: http://127.0.0.1:1\nrate_limits: {store: 'redis://h', store_secret: hidden}\n" IDP,
     "store_secret: \"********\"", "hidden"},
    {"no secret, none printed", "upstream: http://127.0.0.1:1\nrate_limits: {store: 'redis://h'}\n" IDP,
     "when_store_fails: local\n  store_timeout: 25ms\n  store_prefix: tollgate\n", "store_secret"},
    {"no store, nothing said of it", "upstream: http://127.0.0.1:1\n" IDP, "store: memory\n", "store_"},
    {"quotes where needed", "upstream: http://127.0.0.1:1\nrealm: \"yes\"\n" IDP, "realm: \"yes\"", NULL},
    {"a number as text", "upstream: http://127.0.0.1:1\nrealm: \"0x1e\"\n" IDP, "realm: \"0x1e\"", NULL},
    {"a dollar that is none", "upstream: http://127.0.0.1:1\nrealm: $${x}\n" IDP, "realm: \"$${x}\"", NULL},
    {"request headers are masked",
     "routes: [{to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, set_request_headers: {Authorization: "
     "hidden}}]\n" IDP,
     "Authorization: \"********\"", "hidden"},
    {"in the short form too",
     "upstream: {to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, set_request_headers: {X-Key: "
     "hidden}}\n" IDP,
     "X-Key: \"********\"", "hidden"},
    {"the user part of a URL",
     "upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], proxy: "
     "\"http://u:hidden@p.test:1\"}}\n",
     "********@p.test:1", "hidden"},
    {"to the last @ of it",
     "upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], proxy: "
     "\"http://u:hid@den@p.test:1\"}}\n",
     "********@p.test:1", "den@"},
    {"even when its password breaks the URL",
     "upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], proxy: "
     "\"http://u:hid/den@p.test:1\"}}\n",
     "********@p.test:1", "hid"},
    {"a path with an @ stays",
     "upstream: http://127.0.0.1:1/u@v\n" IDP, "upstream: http://127.0.0.1:1/u@v\n", "***"},
    {"the query of the URL of the keys",
     "upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], jwks_url: "
     "\"https://i.test/k?key=hidden\"}}\n",
     "https://i.test/k?********", "hidden"},
    {"a public key in a block of text is shown",
     "upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], supported_algs: "
     "[EdDSA], jwks: '{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
     "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}'}}\n",
     "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "***"},
    {"the private part of a key",
     "upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], supported_algs: "
     "[EdDSA],"
     " jwks: {keys: [{kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, d: hidden}]}}}\n",
     "d: \"********\"", "hidden"},
    {"the others of it are shown",
     "upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], supported_algs: "
     "[EdDSA], jwks: {keys: [{kty: OKP, kid: one, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}]}}}\n",
     "kid: one", "***"},
    {"an empty mapping stays one",
     "routes: [{prefix: /, to: \"http://127.0.0.1:1\", rate_limits: {}}]\n" IDP, "rate_limits: {}\n", NULL},
};

/* A block of text is masked whole: what is printed of it cannot be read again. */
static void block_of_text(void **state)
{
    struct tg_buf out = {0};

    (void)state;
    print("upstream: http://127.0.0.1:1\nidentity_providers: {c: {issuer: https://i.test, audiences: [a], "
          "supported_algs: [EdDSA], jwks: '{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
          "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"d\":\"hidden\"}]}'}}\n",
          &out);
    assert_non_null(strstr(tg_buf_cstr(&out), "jwks: \"********\""));
    assert_null(strstr(out.data, "hidden"));
    tg_buf_fini(&out);
}

static void printed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf out = {0};

        print(cases[i].yaml, &out);
        if (!strstr(tg_buf_cstr(&out), cases[i].there) || (cases[i].absent && strstr(out.data, cases[i].absent)))
            fail_msg("%s:\n%s", cases[i].why, out.data);
        tg_buf_fini(&out);
    }
}

/* A setting that reads like a secret is one, or says here why not. */
static void secrets_are_marked(void **state)
{
    static const char *const words[] = {"secret", "password", "passphrase", "_key", "token", "credential", "private"};
    static const char *const harmless[] = {"bearer_token_format", "token_url"};

    (void)state;
    for (size_t i = 0; i < tg_settings_section_count; i++)
        for (size_t j = 0; j < *tg_settings_sections[i].count; j++) {
            const struct tg_setting *row = &tg_settings_sections[i].rows[j];
            bool text = row->kind == TG_SET_STRING || row->kind == TG_SET_STRINGS || row->kind == TG_SET_STRING_MAP;
            bool named = false;

            for (size_t k = 0; k < ARRAY_LEN(words); k++)
                named = named || strstr(row->name, words[k]);
            for (size_t k = 0; k < ARRAY_LEN(harmless); k++)
                named = named && strcmp(row->name, harmless[k]) != 0;
            if (text && named && !(row->flags & TG_SET_SECRET))
                fail_msg("%s.%s is no secret by its table", tg_settings_sections[i].place, row->name);
        }
}

/* What is printed says the same when it is read. */
static void read_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf once = {0}, twice = {0}, thrice = {0};

        print(cases[i].yaml, &once);
        print(tg_buf_cstr(&once), &twice);               /* the form of lists may change once */
        print(tg_buf_cstr(&twice), &thrice);
        assert_string_equal(tg_buf_cstr(&twice), tg_buf_cstr(&thrice));
        tg_buf_fini(&once);
        tg_buf_fini(&twice);
        tg_buf_fini(&thrice);
    }
}

static void every_setting_is_told(void **state)
{
    struct tg_buf help = {0}, markdown = {0};

    (void)state;
    tg_settings_help(&help);
    tg_settings_markdown(&markdown);
    for (size_t i = 0; i < tg_settings_section_count; i++)
        for (size_t j = 0; j < *tg_settings_sections[i].count; j++) {
            const char *name = tg_settings_sections[i].rows[j].name;

            if (!strstr(tg_buf_cstr(&help), name) || !strstr(tg_buf_cstr(&markdown), name))
                fail_msg("%s is not told", name);
            assert_non_null(tg_settings_sections[i].rows[j].help);
        }
    tg_buf_fini(&help);
    tg_buf_fini(&markdown);
}

static bool lists(const cJSON *list, const char *name)
{
    return cJSON_GetArraySize(list) == 1 && strcmp(list->child->valuestring, name) == 0;
}

/* A tier has a limit or windows, and nothing of one window beside these; a claim has a ceiling. */
static void check_rules_of_tier(const cJSON *tier)
{
    const cJSON *either = tg_json_get(tier, "oneOf");
    const cJSON *windows = tg_json_get(tg_json_get(tier, "properties"), "windows");
    const cJSON *beside = tg_json_get(cJSON_GetArrayItem(either, 1), "properties");

    assert_true(lists(tg_json_get(cJSON_GetArrayItem(either, 0), "required"), "limit"));
    assert_true(lists(tg_json_get(cJSON_GetArrayItem(either, 1), "required"), "windows"));
    assert_true(cJSON_IsFalse(tg_json_get(beside, "window")) && cJSON_IsFalse(tg_json_get(beside, "limit_claim")));
    assert_int_equal(cJSON_GetNumberValue(tg_json_get(windows, "minItems")), 1);
    assert_int_equal(cJSON_GetNumberValue(tg_json_get(windows, "maxItems")), 4);
    for (unsigned i = 0; i < 2; i++) {
        const cJSON *together = tg_json_get(i ? tg_json_get(windows, "items") : tier, "dependentRequired");

        assert_true(lists(tg_json_get(together, "limit_claim"), "limit_ceiling"));
        assert_true(lists(tg_json_get(together, "limit_ceiling"), "limit_claim"));
    }
}

/* "none" is offered where it can be read, and nowhere else. */
static void check_none(const cJSON *tier, const cJSON *properties)
{
    const cJSON *limit = tg_json_get(tg_json_get(tg_json_get(tier, "properties"), "limit"), "anyOf");
    const cJSON *timeouts = tg_json_get(tg_json_get(properties, "timeouts"), "properties");

    assert_null(strstr(cJSON_GetStringValue(tg_json_get(cJSON_GetArrayItem(limit, 1), "pattern")), "none"));
    assert_null(strstr(cJSON_GetStringValue(tg_json_get(tg_json_get(tg_json_get(tier, "properties"), "window"),
                                                        "pattern")), "none"));
    assert_non_null(strstr(cJSON_GetStringValue(tg_json_get(tg_json_get(timeouts, "total"), "pattern")), "none"));
}

static void schema(void **state)
{
    struct tg_buf out = {0};
    const cJSON *properties, *route;
    cJSON *root = NULL;
    struct tg_err err;

    (void)state;
    tg_settings_schema(&out);
    if (tg_json_parse(tg_buf_slice(&out), NULL, &root, &err) != TG_OK)
        fail_msg("%s", err.text);
    properties = tg_json_get(root, "properties");
    assert_true(cJSON_IsFalse(tg_json_get(root, "additionalProperties")));
    assert_non_null(tg_json_get(properties, "address"));
    assert_non_null(tg_json_get(properties, "signing_key_file"));
    assert_non_null(tg_json_get(properties, "management"));
    assert_null(tg_json_get(properties, "autocert"));
    route = tg_json_get(tg_json_get(tg_json_get(properties, "routes"), "items"), "properties");
    assert_non_null(tg_json_get(route, "prefix"));
    for (unsigned i = 0; i < 2; i++) {                   /* the same tiers in both places */
        const cJSON *limits = tg_json_get(i ? route : properties, "rate_limits");
        const cJSON *section = tg_json_get(cJSON_GetArrayItem(tg_json_get(limits, "anyOf"), 0), "properties");
        const cJSON *whole = tg_json_get(tg_json_get(section, "tiers"), "items");
        const cJSON *tier = tg_json_get(whole, "properties");

        check_rules_of_tier(whole);
        check_none(whole, properties);
        assert_int_equal(tg_json_get(section, "max_keys") != NULL, i == 0);
        assert_non_null(tg_json_get(tier, "limit_claim"));
        assert_non_null(tg_json_get(tg_json_get(tg_json_get(tg_json_get(tier, "windows"), "items"), "properties"),
                                    "window"));
    }
    assert_non_null(tg_json_get(tg_json_get(tg_json_get(properties, "identity_providers"), "additionalProperties"),
                                "required"));
    cJSON_Delete(root);
    tg_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed), cmocka_unit_test(block_of_text), cmocka_unit_test(secrets_are_marked),
        cmocka_unit_test(read_again), cmocka_unit_test(every_setting_is_told), cmocka_unit_test(schema),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
