/*
 * sync_settings - the section `sync`: which control plane, what of it, how often, and how far it is trusted.
 */
#include "base/json.h"
#include "io/tls.h"
#include "store/sync.h"

#define ROW(name, kind, member, dflt, min, max, choices, flags, help) \
    TG_SETTING(struct tg_sync_settings, member, name, TG_SET_##kind, dflt, min, max, choices, flags, help)
const struct tg_setting tg_sync_rows[] = {
    ROW("url", STRING, url, NULL, 0, 0, NULL, TG_SET_REQUIRED,
        "the control plane's API, up to /api/v0 or /api/v1; without either /api/v0 is added"),
    ROW("organization", STRING, organization, NULL, 0, 0, NULL, 0,
        "id or name of the organization (v0); absent: the only one the credential may see"),
    ROW("namespace", STRING, namespace, NULL, 0, 0, NULL, 0,
        "id or name of the namespace whose policies and routes are taken, with those below it (v0); absent: the root"),
    ROW("credential", NODE, credential, NULL, 0, 0, NULL, TG_SET_REQUIRED,
        "how tollgate proves itself there: as upstream_auth of a route, or an API user"),
    ROW("ca_file", FILE, ca_file, NULL, 0, 0, NULL, 0,
        "certificates that sign the TLS certificate of `url`; absent: $SSL_CERT_FILE, else the system's"),
    ROW("proxy", STRING, proxy, NULL, 0, 0, NULL, 0, "proxy URL for asking; the environment is not looked at"),
    ROW("allow_http", BOOL, allow_http, "false", 0, 0, NULL, 0, "ask over plain http at other hosts than loopback"),
    ROW("interval", DURATION, interval_ms, "30s", 1000, 3600000, NULL, 0,
        "how often it is asked whether anything has changed; up to a tenth sooner"),
    ROW("timeout", DURATION, timeout_ms, "10s", 100, 300000, NULL, 0, "for one answer, connecting included"),
    ROW("max_stale", DURATION, max_stale_ms, "none", 0, 0, NULL, 0,
        "how long a set is fresh after the control plane was last heard"),
    ROW("when_stale", ENUM, when_stale, "keep", 0, 0, "keep|deny", 0,
        "what then becomes of its routes: they serve on, or answer 503"),
    ROW("allowed_upstreams", STRINGS, rules.allowed_upstreams, NULL, 0, 0, NULL, 0,
        "where `to` of its routes may lead: networks, host names, *.suffix, with :port when only that; absent: "
        "loopback"),
    ROW("allow_tls_skip_verify", BOOL, rules.allow_tls_skip_verify, "false", 0, 0, NULL, 0,
        "its routes may switch off the verification of upstream certificates"),
};
const size_t tg_sync_row_count = ARRAY_LEN(tg_sync_rows);
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

    tg_problem_at(r->problems, r->tree, node ? node : r->node, "sync.%s: %s", setting, sentence);
}

/* With a NUL behind it. */
static void end_text(const struct reading *r, struct tg_slice *s)
{
    if (s->len)
        *s = tg_slice_str(tg_arena_str(r->arena, *s));
}

/* Without slashes at its end, and with the version of the API. */
static void complete_url(const struct reading *r, struct tg_slice *url)
{
    while (url->len && url->ptr[url->len - 1] == '/')
        url->len--;
    if (tg_slice_ends_with(*url, TG_S("/api/v0")) || tg_slice_ends_with(*url, TG_S("/api/v1")))
        end_text(r, url);
    else
        *url = tg_arena_printf(r->arena, TG_S_FMT "/api/v0", TG_S_ARG(*url));
}

static void check_url(const struct reading *r, struct tg_sync_settings *out)
{
    struct tg_err err;

    end_text(r, &out->url);
    if (tg_fetch_check_url(out->url.ptr, out->allow_http, &err) != TG_OK)
        complain(r, "url", tg_err_text(&err));
    else if (memchr(out->url.ptr, '?', out->url.len))
        complain(r, "url", "a URL with a query is refused");
    complete_url(r, &out->url);
}

static void check_place(const struct reading *r, const struct tg_sync_settings *s)
{
    if (!tg_slice_ends_with(s->url, TG_S("/api/v1")))
        return;
    if (s->organization.len)
        complain(r, "organization", "/api/v1 has no organizations");
    if (s->namespace.len)
        complain(r, "namespace", "/api/v1 has no namespaces");
}

bool tg_sync_settings_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                           struct tg_sync_settings *out, struct tg_problems *problems)
{
    struct reading r = {tree, node, arena, problems};
    size_t errors = problems->errors;
    struct tg_err err;

    *out = (struct tg_sync_settings){0};
    if (!cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node, "sync: a mapping of settings is needed");
        return false;
    }
    if (!tg_settings_read(tg_sync_rows, tg_sync_row_count, tree, node, "sync", false, arena, out, problems))
        return false;
    end_text(&r, &out->organization);
    end_text(&r, &out->namespace);
    end_text(&r, &out->ca_file);
    end_text(&r, &out->proxy);
    check_url(&r, out);
    check_place(&r, out);
    if (tg_tls_check_ca_file(out->ca_file.ptr, &err) != TG_OK)
        complain(&r, "ca_file", tg_err_text(&err));
    tg_set_rules_check(tree, node, "sync", &out->rules, problems);
    return problems->errors == errors;
}
