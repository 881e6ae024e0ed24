/*
 * bundle_settings - the section `bundle`: where the signed file is, and whose signature counts.
 */
#include "base/file.h"
#include "base/json.h"
#include "io/tls.h"
#include "store/bundle.h"

#define PEM_BYTES ((size_t)64 << 10)

#define ROW(name, kind, member, dflt, min, max, choices, flags, help) \
    TG_SETTING(struct tg_bundle_settings, member, name, TG_SET_##kind, dflt, min, max, choices, flags, help)
const struct tg_setting tg_bundle_rows[] = {
    ROW("file", PATH, file, NULL, 0, 0, NULL, 0,
        "the bundle, looked at each second, also behind symbolic links (a mounted ConfigMap)"),
    ROW("url", STRING, url, NULL, 0, 0, NULL, 0, "the bundle instead, asked for every interval with its ETag"),
    ROW("public_key_file", FILE, public_key_file, NULL, 0, 0, NULL, TG_SET_REQUIRED,
        "Ed25519 keys in PEM, one of which has signed it; two stand side by side in a rotation"),
    ROW("credential", NODE, credential, NULL, 0, 0, NULL, 0, "what `url` is asked with; as of `sync`"),
    ROW("ca_file", FILE, ca_file, NULL, 0, 0, NULL, 0,
        "certificates that sign the TLS certificate of `url`; absent: $SSL_CERT_FILE, else the system's"),
    ROW("proxy", STRING, proxy, NULL, 0, 0, NULL, 0, "proxy URL for asking; the environment is not looked at"),
    ROW("allow_http", BOOL, allow_http, "false", 0, 0, NULL, 0, "ask over plain http at other hosts than loopback"),
    ROW("interval", DURATION, interval_ms, "30s", 1000, 3600000, NULL, 0,
        "how often `url` is asked, and what was refused is looked at again"),
    ROW("timeout", DURATION, timeout_ms, "10s", 100, 300000, NULL, 0, "for one answer, connecting included"),
    ROW("max_stale", DURATION, max_stale_ms, "none", 0, 0, NULL, 0,
        "how long a set is fresh after the bundle was last seen; its own end counts in any case"),
    ROW("when_stale", ENUM, when_stale, "keep", 0, 0, "keep|deny", 0,
        "what then becomes of its routes: they serve on, or answer 503"),
    ROW("allowed_upstreams", STRINGS, rules.allowed_upstreams, NULL, 0, 0, NULL, 0,
        "where `to` of its routes may lead: networks, host names, *.suffix, with :port when only that; absent: "
        "loopback"),
    ROW("allow_tls_skip_verify", BOOL, rules.allow_tls_skip_verify, "false", 0, 0, NULL, 0,
        "its routes may switch off the verification of upstream certificates"),
};
const size_t tg_bundle_row_count = ARRAY_LEN(tg_bundle_rows);
#undef ROW

struct reading {
    const struct tg_tree *tree;
    const cJSON *node;
    struct tg_arena *arena;
    struct tg_problems *problems;
};

static void complain(const struct reading *r, const char *setting, const char *sentence)
{
    const cJSON *node = tg_json_get(r->node, setting);

    tg_problem_at(r->problems, r->tree, node ? node : r->node, "bundle.%s: %s", setting, sentence);
}

/* With a NUL behind it. */
static void end_text(const struct reading *r, struct tg_slice *s)
{
    if (s->len)
        *s = tg_slice_str(tg_arena_str(r->arena, *s));
}

/* ---- the keys ---- */

static bool are_usable(const struct reading *r, const struct tg_jwks *keys, struct tg_slice pem)
{
    if (tg_jwks_skipped(keys) > 0)
        complain(r, "public_key_file", tg_jwks_skip_reason(keys, 0));
    else if (tg_jwks_count(keys) == 0)
        complain(r, "public_key_file", "it holds no key");
    else if (tg_jwks_algs(keys) != TG_ALG_BIT(TG_ALG_EdDSA))
        complain(r, "public_key_file", "a bundle is verified with Ed25519 keys, and one of these is none");
    else {
        if (tg_slice_contains(pem, TG_S("PRIVATE KEY-----")))
            tg_warning_at(r->problems, r->tree, tg_json_get(r->node, "public_key_file"),
                          "bundle.public_key_file: it holds a private key: who reads it can sign bundles; only the "
                          "public half is needed here");
        return true;
    }
    return false;
}

static void read_keys(const struct reading *r, struct tg_bundle_settings *out)
{
    struct tg_jwks *keys = NULL;
    struct tg_buf pem = {0};
    struct tg_err err = {0};

    if (tg_file_read(out->public_key_file.ptr, PEM_BYTES, &pem, &err) != TG_OK ||
        tg_jwks_from_pem(tg_buf_slice(&pem), &keys, &err) != TG_OK)
        complain(r, "public_key_file", err.text);
    else if (are_usable(r, keys, tg_buf_slice(&pem)))
        out->keys = tg_jwks_ref(keys);
    tg_jwks_unref(keys);
    tg_buf_wipe(&pem);
}

/* ---- where it is ---- */

static void check_url(const struct reading *r, const struct tg_bundle_settings *s)
{
    struct tg_err err;

    if (tg_fetch_check_url(s->url.ptr, s->allow_http, &err) != TG_OK)
        complain(r, "url", err.text);
    if (s->proxy.len && !tg_slice_starts_with(s->proxy, TG_S("http://")) &&
        !tg_slice_starts_with(s->proxy, TG_S("https://")))
        complain(r, "proxy", "not an http or https URL");
    if (tg_tls_check_ca_file(s->ca_file.ptr, &err) != TG_OK)
        complain(r, "ca_file", err.text);
}

static void check_place(const struct reading *r, const struct tg_bundle_settings *s)
{
    static const char *const of_url[] = {"credential", "ca_file", "proxy", "allow_http", "timeout"};
    const cJSON *node;

    if (!s->file.len == !s->url.len)
        complain(r, "file", s->file.len ? "with `url`: one of them" : "needed, or `url`");
    else if (s->url.len)
        check_url(r, s);
    for (size_t i = 0; i < ARRAY_LEN(of_url) && s->file.len && !s->url.len; i++)
        if ((node = tg_json_get(r->node, of_url[i])) && !cJSON_IsNull(node))
            complain(r, of_url[i], "is for `url`; a file is only read");
}

bool tg_bundle_settings_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                             struct tg_bundle_settings *out, struct tg_problems *problems)
{
    struct reading r = {tree, node, arena, problems};
    struct tg_bundle_settings s = {0};
    size_t errors = problems->errors;

    *out = s;
    if (!cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node, "bundle: a mapping of settings is needed");
        return false;
    }
    if (!tg_settings_read(tg_bundle_rows, tg_bundle_row_count, tree, node, "bundle", false, arena, &s, problems))
        return false;
    end_text(&r, &s.file);
    end_text(&r, &s.url);
    end_text(&r, &s.public_key_file);
    end_text(&r, &s.ca_file);
    end_text(&r, &s.proxy);
    check_place(&r, &s);
    tg_set_rules_check(tree, node, "bundle", &s.rules, problems);
    read_keys(&r, &s);
    *out = s;
    return problems->errors == errors;
}

void tg_bundle_settings_fini(struct tg_bundle_settings *s)
{
    if (!s)
        return;
    tg_jwks_unref(s->keys);
    s->keys = NULL;
}
