/*
 * test_bundle_settings - the section `bundle`: one place, and keys that can verify.
 */
#include "bundle_support.h"
#include "base/file.h"
#include <unistd.h>

static char folder[] = "/tmp/tollgate-bundle-XXXXXX";
static struct key ed, second, ec;

static void write_file(const char *name, const struct tg_buf *a, const struct tg_buf *b)
{
    struct tg_buf text = {0};
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    tg_buf_add_slice(&text, tg_buf_slice(a));
    if (b)
        tg_buf_add_slice(&text, tg_buf_slice(b));
    assert_int_equal(tg_file_replace(path, tg_buf_slice(&text), 0600, NULL), TG_OK);
    tg_buf_fini(&text);
}

struct reading {
    struct tg_tree *tree;
    struct tg_arena arena;
    struct tg_problems problems;
    struct tg_bundle_settings settings;
    bool ok;
};

static void read_text(struct reading *r, const char *yaml)
{
    char path[160];

    *r = (struct reading){0};
    tg_arena_init(&r->arena, NULL, 0);
    snprintf(path, sizeof(path), "%s/c.yaml", folder);
    assert_int_equal(tg_tree_parse(path, tg_slice_str(yaml), &r->tree, NULL), TG_OK);
    r->ok = tg_bundle_settings_read(r->tree, r->tree->root, &r->arena, &r->settings, &r->problems);
}

static void done(struct reading *r)
{
    tg_bundle_settings_fini(&r->settings);
    tg_problems_fini(&r->problems);
    tg_tree_free(r->tree);
    tg_arena_fini(&r->arena);
}

static void taken(void **state)
{
    struct reading r;
    char want[160];

    (void)state;
    read_text(&r, "{file: sub/b.bundle, public_key_file: one.pem}");
    if (!r.ok)
        fail_msg("%s", r.problems.items[0].text);
    snprintf(want, sizeof(want), "%s/sub/b.bundle", folder); /* which need not be there yet */
    assert_string_equal(r.settings.file.ptr, want);
    assert_int_equal(tg_jwks_count(r.settings.keys), 1);
    assert_int_equal(r.settings.interval_ms, 30000);
    assert_int_equal(r.settings.max_stale_ms, 0);
    assert_int_equal(r.settings.when_stale, 0);
    assert_false(r.settings.rules.allow_tls_skip_verify);
    assert_false(r.settings.rules.allowed_upstreams.set);
    done(&r);
    read_text(&r, "{url: 'https://b.test/x', public_key_file: two.pem, interval: 5s, max_stale: 1h, when_stale: deny,"
                  " allowed_upstreams: [10.0.0.0/8], credential: {token_file: t}}");
    if (!r.ok)
        fail_msg("%s", r.problems.items[0].text);
    assert_int_equal(tg_jwks_count(r.settings.keys), 2);
    assert_int_equal(r.settings.max_stale_ms, 3600000);
    assert_int_equal(r.settings.when_stale, 1);
    assert_int_equal(r.settings.rules.allowed_upstreams.count, 1);
    assert_non_null(r.settings.credential);
    done(&r);
}

static void refused(void **state)
{
    static const struct { const char *text, *says; } cases[] = {
        {"{public_key_file: one.pem}", "bundle.file: needed, or `url`"},
        {"{file: b, url: 'https://b.test/', public_key_file: one.pem}", "bundle.file: with `url`"},
        {"{file: b}", "public_key_file"},
        {"{file: b, public_key_file: none.pem}", "No such file"},
        {"{file: b, public_key_file: mixed.pem}", "Ed25519"},
        {"{file: b, public_key_file: ec.pem}", "Ed25519"},
        {"{file: b, public_key_file: c.yaml}", "public_key_file"},
        {"{url: 'http://b.test/', public_key_file: one.pem}", "bundle.url: "},
        {"{url: 'ftp://b.test/', public_key_file: one.pem}", "bundle.url: "},
        {"{url: 'https://u:p@b.test/', public_key_file: one.pem}", "bundle.url: "},
        {"{url: 'https://b.test/', proxy: 'b:1', public_key_file: one.pem}", "bundle.proxy: "},
        {"{url: 'https://b.test/', ca_file: one.pem, public_key_file: one.pem}", "bundle.ca_file: "},
        {"{file: b, public_key_file: one.pem, ca_file: one.pem}", "bundle.ca_file: is for `url`"},
        {"{file: b, public_key_file: one.pem, credential: {token_file: t}}", "bundle.credential: is for `url`"},
        {"{file: b, public_key_file: one.pem, interval: 10ms}", "interval"},
        {"{file: b, public_key_file: one.pem, when_stale: drop}", "when_stale"},
        {"{file: b, public_key_file: one.pem, publickey: x}", "publickey"},
        {"[file]", "a mapping"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        bool told = false;

        read_text(&r, cases[i].text);
        assert_false(r.ok);
        for (size_t j = 0; j < r.problems.count; j++)
            told = told || strstr(r.problems.items[j].text, cases[i].says);
        if (!told)
            fail_msg("%s: %s", cases[i].text, r.problems.items[0].text);
        done(&r);
    }
}

/* Whoever can read it could sign. */
static void private_key(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "{file: b, public_key_file: one.pem}");
    assert_true(r.ok);
    assert_int_equal(r.problems.count, 1);
    assert_non_null(strstr(r.problems.items[0].text, "private key"));
    done(&r);
}

static int start(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    ed = make_key(TG_ALG_EdDSA);
    second = make_key(TG_ALG_EdDSA);
    ec = make_key(TG_ALG_ES256);
    write_file("one.pem", &ed.pem, NULL);
    write_file("two.pem", &ed.pem, &second.pem);
    write_file("mixed.pem", &ed.pem, &ec.pem);
    write_file("ec.pem", &ec.pem, NULL);
    write_file("c.yaml", &(struct tg_buf){0}, NULL);
    return 0;
}

static int stop(void **state)
{
    static const char *const names[] = {"one.pem", "two.pem", "mixed.pem", "ec.pem", "c.yaml"};
    char path[160];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    free_key(&ed);
    free_key(&second);
    free_key(&ec);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(taken), cmocka_unit_test(refused),
                                       cmocka_unit_test(private_key)};

    return cmocka_run_group_tests_name("store/bundle_settings", tests, start, stop);
}
