/*
 * settings - from a file to values.
 *
 * Order: the document is parsed, variables are put in, TOLLGATE_<KEY> overrides; then each section is read by the
 * module it configures. Reading goes on after an error, so that one run of `check` tells them all.
 */
#include "boot/settings.h"
#include "auth/pat.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "http/forward.h"
#include "http/h1_parse.h"
#include "io/listener.h"
#include "settings_tables.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_PATH "/etc/tollgate/tollgate.yaml"
#define FILE_BYTES ((size_t)16 << 20)
#define ENV_PREFIX "TOLLGATE_"
#define REALM_BYTES 128
#define MAX_WORKERS 256
#define MAX_NAMES 64

/* One line of YAML, to be pasted. */
static const char example[] = "{upstream: \"http://127.0.0.1:3000\", identity_providers: {corp: {issuer: "
                              "\"https://idp.example.com\", audiences: [my-api]}}}";

struct loading {
    struct tg_tree *tree;
    struct tg_config *config;
    struct tg_arena *arena;
    struct tg_settings *out;
    struct tg_problems *problems;
    struct root_text root;
    struct access_log_text access_log;
};

extern char **environ;

const char *tg_settings_path(const char *given)
{
    const char *from_env = getenv("TOLLGATE_CONFIG");

    if (given)
        return given;
    return from_env && *from_env ? from_env : DEFAULT_PATH;
}

/* The value of `name` at the top, for the place in a message; the document when it is absent. */
static const cJSON *at(const struct loading *l, const char *name)
{
    const cJSON *node = tg_json_get(l->tree->root, name);

    return node ? node : l->tree->root;
}

/* ---- the environment ---- */

static const char *get_env(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

/* Settings that are one text can come from the environment; sections cannot. */
static bool may_override(const struct tg_setting *row)
{
    return (row->kind != TG_SET_NODE && row->kind != TG_SET_LATER) || strcmp(row->name, "upstream") == 0 ||
           strcmp(row->name, "rate_limits") == 0;
}

static void key_of(const char *variable, size_t len, struct tg_buf *out)
{
    for (size_t i = strlen(ENV_PREFIX); i < len; i++)
        tg_buf_addc(out, variable[i] >= 'A' && variable[i] <= 'Z' ? (char)(variable[i] - 'A' + 'a') : variable[i]);
    tg_buf_cstr(out);
}

/* TOLLGATE_PORT and the like are Kubernetes' own for a service of that name, so an unknown one is no error. */
static void warn_unknown(const struct loading *l, struct tg_slice variable, const char *key)
{
    const char *names[MAX_NAMES], *near;
    size_t count = 0;
    char upper[MAX_NAMES];

    for (size_t i = 0; i < settings_root_count && count < ARRAY_LEN(names); i++)
        if (may_override(&settings_root[i]))
            names[count++] = settings_root[i].name;
    near = tg_nearest(key, names, count);
    if (!near)
        return;
    snprintf(upper, sizeof upper, "%s", near);
    for (char *c = upper; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    tg_problem_add(l->problems, true, "%.*s in the environment overrides nothing; did you mean " ENV_PREFIX "%s?",
                   variable.len > 64 ? 64 : (int)variable.len, variable.ptr, upper);
}

static void apply_environment(const struct loading *l)
{
    for (char **e = environ; e && *e; e++) {
        const char *equals = strchr(*e, '=');
        struct tg_buf key = {0};
        bool known = false;

        if (!equals || strncmp(*e, ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
            continue;
        key_of(*e, (size_t)(equals - *e), &key);
        for (size_t i = 0; i < settings_root_count && !known; i++) {
            if (!may_override(&settings_root[i]) || strcmp(settings_root[i].name, key.data) != 0)
                continue;
            char *origin = tg_slice_dup(tg_slice(*e, (size_t)(equals - *e)));

            tg_tree_override(l->tree, key.data, equals + 1, origin);
            free(origin);
            known = true;
        }
        if (!known && strcmp(key.data, "config") != 0)
            warn_unknown(l, tg_slice(*e, (size_t)(equals - *e)), key.data);
        tg_buf_fini(&key);
    }
}

/* ---- addresses and workers ---- */

static void check_address(const struct loading *l, const char *name, struct tg_slice text)
{
    struct tg_listen_address parsed;
    struct tg_err err;

    if (tg_listen_parse(text, &parsed, &err) != TG_OK)
        tg_problem_at(l->problems, l->tree, at(l, name), "%s: %s", name, err.text);
}

static void read_addresses(struct loading *l)
{
    const struct tg_strings *list = &l->root.addresses;
    struct tg_slice health = l->root.health_address;

    if (list->count == 0)
        tg_problem_at(l->problems, l->tree, at(l, "address"), "address: at least one is needed");
    for (size_t i = 0; i < list->count; i++) {
        check_address(l, "address", list->items[i]);
        for (size_t j = 0; j < i; j++)
            if (tg_slice_eq(list->items[i], list->items[j]))
                tg_problem_at(l->problems, l->tree, at(l, "address"), "address: \"" TG_S_FMT "\" is there twice",
                              TG_S_ARG(list->items[i]));
        if (tg_slice_eq(list->items[i], health))
            tg_problem_at(l->problems, l->tree, at(l, "health_address"),
                          "health_address: \"" TG_S_FMT "\" is an address for requests already", TG_S_ARG(health));
    }
    if (tg_slice_eq(health, TG_S("none")))
        health = (struct tg_slice){0};
    else
        check_address(l, "health_address", health);
    l->out->addresses = *list;
    l->out->health_address = health;
}

static uint64_t usable_cpus(void)
{
    cpu_set_t set;
    int count;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;                                        /* more CPUs than the mask holds, or no such call here */
    count = CPU_COUNT(&set);
    return count < 1 ? 1 : count > MAX_WORKERS ? MAX_WORKERS : (uint64_t)count;
}

/* ---- headers that tell who calls ---- */

static void add_claims_header(struct loading *l, struct tg_string_map *map, const cJSON *node, struct tg_slice name,
                              struct tg_slice claim)
{
    if (claim.len == 0)
        tg_problem_at(l->problems, l->tree, node, "jwt_claims_headers: the name of a claim is needed");
    else if (!tg_forward_may_set(name))
        tg_problem_at(l->problems, l->tree, node, "jwt_claims_headers: \"%.*s\" is no header that can be set",
                      name.len > 64 ? 64 : (int)name.len, name.ptr);
    else if (tg_forward_same_name(name, TG_S("X-Pomerium-Jwt-Assertion")))
        tg_problem_at(l->problems, l->tree, node, "jwt_claims_headers: \"%.*s\" holds what tollgate signs, no claim",
                      (int)name.len, name.ptr);
    else {
        for (size_t i = 0; i < map->count; i++)
            if (tg_forward_same_name(map->names[i], name))
                tg_problem_at(l->problems, l->tree, node, "jwt_claims_headers: \"" TG_S_FMT "\" is there twice",
                              TG_S_ARG(name));
        map->names[map->count] = tg_arena_dup(l->arena, name);
        map->values[map->count++] = tg_arena_dup(l->arena, claim);
    }
}

/* {header: claim}, or [claim, ...] for X-Pomerium-Claim-<claim>. */
static void read_claims_headers(struct loading *l, struct tg_string_map *map)
{
    const cJSON *list = l->root.claims_headers, *node;
    struct tg_slice claim;
    bool mapping = cJSON_IsObject(list);

    if (!list)
        return;
    if (!mapping && !cJSON_IsArray(list)) {
        tg_problem_at(l->problems, l->tree, list,
                      "jwt_claims_headers: must be a mapping of header: claim, or a list of claims");
        return;
    }
    map->names = TG_ARENA_ARRAY(l->arena, struct tg_slice, cJSON_GetArraySize(list));
    map->values = TG_ARENA_ARRAY(l->arena, struct tg_slice, cJSON_GetArraySize(list));
    cJSON_ArrayForEach(node, list) {
        if (!tg_json_str(node, &claim)) {
            tg_problem_at(l->problems, l->tree, node, "jwt_claims_headers: the name of a claim is needed, as text");
            continue;
        }
        add_claims_header(l, map, node, mapping ? tg_slice_str(node->string)
                          : tg_arena_printf(l->arena, "X-Pomerium-Claim-" TG_S_FMT, TG_S_ARG(claim)), claim);
    }
}

/* ---- the small sections ---- */

/* It goes between quotes in WWW-Authenticate (RFC 9110 §5.6.4). */
static void read_realm(struct loading *l)
{
    struct tg_slice realm = l->root.realm;
    bool bad = realm.len == 0 || realm.len > REALM_BYTES;

    for (size_t i = 0; i < realm.len && !bad; i++)
        bad = realm.ptr[i] < ' ' || realm.ptr[i] > '~' || realm.ptr[i] == '"' || realm.ptr[i] == '\\';
    if (bad)
        tg_problem_at(l->problems, l->tree, at(l, "realm"),
                      "realm: must be 1 to %d printable ASCII characters without \" and \\", REALM_BYTES);
    l->config->realm = realm;
}

static void read_trusted_proxies(struct loading *l)
{
    const struct tg_strings *list = &l->root.trusted_proxies;
    struct tg_cidr *blocks = TG_ARENA_ARRAY(l->arena, struct tg_cidr, list->count);

    for (size_t i = 0; i < list->count; i++) {
        if (!tg_cidr_parse(list->items[i], &blocks[i]))
            tg_problem_at(l->problems, l->tree, at(l, "trusted_proxies"),
                          "trusted_proxies: \"%.*s\" is no network; write 10.0.0.0/8 or ::1",
                          list->items[i].len > 64 ? 64 : (int)list->items[i].len, list->items[i].ptr);
        else if (blocks[i].bits == 0)
            tg_warning_at(l->problems, l->tree, at(l, "trusted_proxies"), "trusted_proxies: \"" TG_S_FMT
                          "\" lets every client say what its address is", TG_S_ARG(list->items[i]));
    }
    l->config->trusted_proxies = blocks;
    l->config->trusted_count = list->count;
}

static void read_section(struct loading *l, const struct tg_setting *rows, size_t count, const cJSON *node,
                         const char *where, void *out)
{
    tg_settings_read(rows, count, l->tree, node, where, false, l->arena, out, l->problems);
}

static void read_access_log(struct loading *l)
{
    const struct access_log_text *text = &l->access_log;
    const cJSON *node = l->root.access_log;
    char *path;

    if (cJSON_IsString(node)) {
        tg_problem_at(l->problems, l->tree, node,
                      "access_log: must be a mapping: write access_log: {output: \"%.64s\"}",
                      node->valuestring);
        node = NULL;
    }
    read_section(l, settings_access_log, settings_access_log_count, node, "access_log", &l->access_log);
    l->out->access_log_output = text->output;
    if (text->output.len == 0) {
        tg_problem_at(l->problems, l->tree, at(l, "access_log"), "access_log.output: must not be empty");
    } else if (!tg_slice_eq(text->output, TG_S("stdout")) && !tg_slice_eq(text->output, TG_S("stderr")) &&
               !tg_slice_eq(text->output, TG_S("off"))) {
        path = tg_file_beside(l->tree->file, text->output.ptr);
        l->out->access_log_output = tg_slice(tg_arena_str(l->arena, tg_slice_str(path)), strlen(path));
        free(path);
    }
}

static void read_limits(struct loading *l)
{
    struct tg_bounds *b = &l->config->bounds;

    read_section(l, settings_limits, settings_limits_count, l->root.limits, "limits", b);
    if (b->uri > b->head)
        tg_problem_at(l->problems, l->tree, at(l, "limits"), "limits.uri is above limits.head, of which it is a part");
    if (b->token > b->head && tg_json_get(l->root.limits, "token"))
        tg_warning_at(l->problems, l->tree, at(l, "limits"),
                      "limits.token is above limits.head, which is refused first");
    if (b->token > b->head)
        b->token = b->head;
}

static void read_small_sections(struct loading *l)
{
    struct drain_text drain = {0};
    struct log_text log = {0};

    read_section(l, settings_timeouts, settings_timeouts_count, l->root.timeouts, "timeouts", &l->config->timeouts);
    read_section(l, settings_drain, settings_drain_count, l->root.drain, "drain", &drain);
    read_section(l, settings_log, settings_log_count, l->root.log, "log", &log);
    read_limits(l);
    read_access_log(l);
    l->out->drain_delay_ms = drain.delay_ms;
    l->out->drain_timeout_ms = drain.timeout_ms;
    l->out->log_level = tg_slice_str(settings_log_levels[log.level]);
}

/* ---- personal access tokens ---- */

/* Behind the providers, before the routes that name them. */
static void read_pats(struct loading *l)
{
    struct pats_text text = {0};

    read_section(l, settings_pats, settings_pats_count, l->root.pats, TG_PAT_PROVIDER, &text);
    if (tg_providers_find(&l->config->providers, TG_S(TG_PAT_PROVIDER)) >= 0)
        tg_problem_at(l->problems, l->tree, at(l, "identity_providers"),
                      "identity_providers: \"" TG_PAT_PROVIDER
                      "\" means tollgate's own tokens; name this one otherwise");
    else if (text.enabled)
        tg_providers_add_pats(&l->config->providers, l->arena);
    if (text.enabled && !l->root.state_dir.ptr)
        tg_warning_at(l->problems, l->tree, at(l, TG_PAT_PROVIDER), TG_PAT_PROVIDER
                      ": they are kept in state_dir, and none is set; it will not start (exit 77)");
    l->config->pats = text.enabled;
}

/* ---- routes, and where more of them come from ---- */

static bool is_given(const cJSON *node) { return node && !cJSON_IsNull(node); }

static void read_routes(struct loading *l)
{
    struct tg_set_use use = {.rules = tg_settings_rules(l->out)};

    if (!is_given(l->root.routes) && !is_given(l->root.upstream) && !use.rules) {
        tg_problem_at(
            l->problems, l->tree, l->tree->root,
            "there is nothing to forward to: neither `upstream` nor `routes` is given; the shortest that works: %s",
            example);
        return;
    }
    settings_read_routes(l->tree, use.rules ? &use : NULL, l->config, l->problems);
}

static void read_all(struct loading *l)
{
    struct tg_config *c = l->config;
    struct root_text *root = &l->root;

    read_section(l, settings_root, settings_root_count, l->tree->root, "", root);
    read_addresses(l);
    l->out->workers = root->workers ? root->workers : usable_cpus();
    l->out->state_dir = root->state_dir;
    l->out->refuse_exposed_upstream = root->refuse_exposed_upstream;
    read_realm(l);
    read_trusted_proxies(l);
    read_small_sections(l);
    c->route_defaults.pass_identity_headers = root->pass_identity_headers;
    c->route_defaults.pass_user_headers = root->pass_user_headers;
    c->route_defaults.groups_filter = root->groups_filter;
    c->route_defaults.strip_authorization = root->forward_authorization == 1;
    c->route_defaults.error_format = root->error_format;
    settings_read_tls(l->tree, root, l->out, l->problems);
    tg_dpop_read(l->tree, root->dpop, l->arena, &c->dpop, l->problems);
    c->revoked_tokens_file = root->revoked_tokens_file;
    read_claims_headers(l, &c->route_defaults.claims_headers);
    tg_providers_read(l->tree, root->providers, l->arena, &c->providers, l->problems);
    read_pats(l);
    settings_read_sources(l->tree, root, l->out, l->problems);
    read_routes(l);
    settings_read_signing(l->tree, root, c, l->problems);
    settings_know_signs(l->tree, c, l->problems);
    settings_read_limits(l->tree, root->rate_limits, c, l->problems);
    settings_read_route_limits(l->tree, c, l->problems);
    settings_read_facts(l->tree, root, &l->access_log, c, l->problems);
    settings_know_facts(root->rate_limits, c);
}

bool tg_settings_parse(const char *name, struct tg_slice text, struct tg_settings *out, struct tg_problems *problems)
{
    struct loading l = {.out = out, .problems = problems};
    size_t errors = problems->errors;
    struct tg_err err;

    *out = (struct tg_settings){0};
    if (tg_tree_parse(name, text, &l.tree, &err) != TG_OK) {
        tg_problem_add(problems, false, "%s", err.text); /* it starts with the file and the line */
        return false;
    }
    l.config = out->config = tg_config_new();
    l.config->tree = l.tree;
    l.arena = &l.config->arena;
    tg_tree_interpolate(l.tree, get_env, NULL, problems);
    apply_environment(&l);
    read_all(&l);
    if (problems->errors == errors)
        return true;
    tg_settings_fini(out);
    return false;
}

bool tg_settings_load(const char *path, struct tg_settings *out, struct tg_problems *problems)
{
    struct tg_buf text = {0};
    struct tg_err err;
    enum tg_status st = tg_file_read(path, FILE_BYTES, &text, &err);
    bool ok = false;

    *out = (struct tg_settings){0};
    if (st == TG_OK)
        ok = tg_settings_parse(path, tg_buf_slice(&text), out, problems);
    else
        tg_problem_add(
            problems, false, "%s%s", err.text,
            st == TG_NOT_FOUND ? "; name a configuration by -c FILE or TOLLGATE_CONFIG, or try `tollgate dev`" : "");
    tg_buf_fini(&text);
    return ok;
}

void tg_settings_health_address(const char *path, struct tg_buf *out)
{
    struct tg_problems problems = {0};                   /* of nobody's concern here */
    struct tg_arena arena;
    struct loading l = {.arena = &arena, .problems = &problems};
    struct tg_buf text = {0};
    struct tg_err err;

    tg_arena_init(&arena, NULL, 0);
    if (tg_file_read(path, FILE_BYTES, &text, &err) != TG_OK ||
        tg_tree_parse(path, tg_buf_slice(&text), &l.tree, &err) != TG_OK)
        tg_assert(tg_tree_parse("environment", TG_S("{}"), &l.tree, &err) == TG_OK);
    tg_tree_interpolate(l.tree, get_env, NULL, &problems);
    apply_environment(&l);
    read_section(&l, settings_root, settings_root_count, l.tree->root, "", &l.root);
    if (!tg_slice_eq(l.root.health_address, TG_S("none")))
        tg_buf_add_slice(out, l.root.health_address);
    tg_tree_free(l.tree);
    tg_arena_fini(&arena);
    tg_buf_fini(&text);
    tg_problems_fini(&problems);
}

enum tg_status tg_settings_read_store(const char *path, struct tg_settings_store *out, struct tg_err *err)
{
    struct tg_problems problems = {0};                   /* of nobody's concern here */
    struct pats_text pats = {0};
    struct tg_arena arena;
    struct loading l = {.arena = &arena, .problems = &problems};
    struct tg_buf text = {0};
    enum tg_status st = tg_file_read(path, FILE_BYTES, &text, err);

    if (st == TG_OK)
        st = tg_tree_parse(path, tg_buf_slice(&text), &l.tree, err);
    tg_buf_fini(&text);
    if (st != TG_OK)
        return st;
    tg_arena_init(&arena, NULL, 0);
    tg_tree_interpolate(l.tree, get_env, NULL, &problems);
    apply_environment(&l);
    read_section(&l, settings_root, settings_root_count, l.tree->root, "", &l.root);
    read_section(&l, settings_pats, settings_pats_count, l.root.pats, TG_PAT_PROVIDER, &pats);
    out->state_dir = l.root.state_dir.ptr ? tg_slice_dup(l.root.state_dir) : NULL;
    out->pats = pats.enabled;
    out->management = is_given(l.root.management);
    tg_tree_free(l.tree);
    tg_arena_fini(&arena);
    tg_problems_fini(&problems);
    return TG_OK;
}

void tg_settings_fini(struct tg_settings *s)
{
    settings_sources_fini(s);
    tg_config_unref(s->config);
    *s = (struct tg_settings){0};
}

/* What is off says nothing of the counters: they stay as they are. */
static bool same_counters(const struct tg_config *old, const struct tg_config *now)
{
    return now->tiers.off || old->limits.max_keys == now->limits.max_keys;
}

const char *tg_settings_differs(const struct tg_settings *old, const struct tg_settings *now)
{
    bool same = old->addresses.count == now->addresses.count;

    for (size_t i = 0; same && i < now->addresses.count; i++)
        same = tg_slice_eq(old->addresses.items[i], now->addresses.items[i]);
    if (!same)
        return "address";
    if (!tg_slice_eq(old->health_address, now->health_address))
        return "health_address";
    if (old->workers != now->workers)
        return "workers";
    if (!same_counters(old->config, now->config))
        return "rate_limits.max_keys";
    if (!tg_slice_eq(old->state_dir, now->state_dir))
        return "state_dir";
    if (!tg_slice_eq(old->access_log_output, now->access_log_output))
        return "access_log.output";
    return settings_sources_differ(old, now);
}
