/*
 * settings_facts - what lines of the access log hold beside the request: which facts each route's decisions read, and a
 * digest that tells configurations apart which decide differently.
 */
#include "base/digest.h"
#include "base/json.h"
#include "settings_tables.h"

#define CLAIMS_MAX 64
#define CLAIM_BYTES 256
#define SCOPE_CLAIMS 2                                   /* `scope` and `scp` */

/* ---- what is read ---- */

static void check_claims(const struct tg_tree *tree, const cJSON *node, const struct tg_strings *claims,
                         struct tg_problems *problems)
{
    bool bad = false;

    for (size_t i = 0; i < claims->count; i++)
        bad = bad || claims->items[i].len == 0 || claims->items[i].len > CLAIM_BYTES;
    if (bad)
        tg_problem_at(problems, tree, node, "access_log.claims: the name of a claim has 1 to %d bytes", CLAIM_BYTES);
    if (claims->count > CLAIMS_MAX)
        tg_problem_at(problems, tree, node, "access_log.claims: at most %d claims are possible", CLAIMS_MAX);
}

/* Whether a request of this route is asked for a scope: then what its token was granted decides as well. */
static bool asks_for_scopes(const struct tg_config *c, const struct tg_route *route)
{
    for (size_t i = 0; i < c->providers.count && !route->public_access; i++)
        if (route->providers >> i & 1 && c->providers.items[i].required_scopes->count > 0)
            return true;
    return route->required_scopes.count > 0;
}

/* The claims of one route: those that the log is told to hold, those that hold scopes, those that tiers count by. */
static size_t name_claims(const struct tg_config *c, const struct tg_route *route, const struct tg_strings *claims,
                          const struct tg_tiers *tiers, struct tg_slice *out)
{
    size_t n = 0;

    for (size_t i = 0; i < claims->count; i++)
        out[n++] = claims->items[i];
    if (asks_for_scopes(c, route)) {
        out[n++] = TG_S("scope");
        out[n++] = TG_S("scp");
    }
    for (size_t i = 0; !tiers->off && i < tiers->count; i++) {
        const struct tg_tier *tier = &tiers->items[i];

        if (tier->by == TG_BY_CLAIM)
            out[n++] = tier->by_claim;
        for (size_t k = 0; k < tier->window_count; k++)
            if (tier->windows[k].claim.len)
                out[n++] = tier->windows[k].claim;
    }
    return n;
}

/* The tiers are asked before the route's policies. */
static void know_reads_of(struct tg_config *c, struct tg_route *route, const struct tg_strings *claims)
{
    const struct tg_tiers *tiers = tg_config_tiers(c, route);
    size_t count = tiers->off ? 0 : tiers->count, named;
    const struct tg_program **programs = TG_NEW_ARRAY(const struct tg_program *, count + 2);
    struct tg_slice *names =
        TG_NEW_ARRAY(struct tg_slice, claims->count + SCOPE_CLAIMS + count * (1 + TG_TIER_WINDOWS));

    programs[0] = route->policy;
    programs[1] = route->shadow;
    for (size_t i = 0; i < count; i++)
        programs[2 + i] = tiers->items[i].when;
    named = name_claims(c, route, claims, tiers, names);
    route->reads = tg_ppl_reads(programs, count + 2, names, named, &c->arena);
    free(programs);
    free(names);
}

/* ---- what decides ---- */

static void add_window(struct tg_buf *out, const struct tg_window *w)
{
    tg_buf_addf(out, " %u/%u %s %s", w->limit, w->length_s, w->sliding ? "sliding" : "fixed",
                w->shadow ? "shadow" : "enforce");
    if (w->claim.len) {
        tg_json_add_string(out, w->claim);
        tg_buf_addf(out, "<=%u", w->ceiling);
    }
}

static void add_tier(struct tg_buf *out, const struct tg_tier *tier)
{
    tg_json_add_string(out, tier->name);
    tg_buf_adds(out, tg_limit_by_name(tier->by));
    tg_json_add_string(out, tier->by_claim);
    for (size_t i = 0; i < tier->window_count; i++)
        add_window(out, &tier->windows[i]);
    tg_buf_addc(out, '\n');
}

/* By their values, since defaults are of no document, and as written, for what `when` asks. */
static void add_tiers(struct tg_buf *out, const struct tg_tiers *tiers, const cJSON *node)
{
    if (tiers->off) {
        tg_buf_adds(out, "off\n");
        return;
    }
    for (size_t i = 0; i < tiers->count; i++)
        add_tier(out, &tiers->items[i]);
    add_tier(out, &tiers->unauthenticated);
    if (tg_json_get(node, "tiers"))
        tg_json_print(out, tg_json_get(node, "tiers"));
}

static void add_all_tiers(struct tg_buf *out, const struct tg_config *c, const cJSON *node)
{
    tg_buf_adds(out, "tiers:");
    add_tiers(out, &c->tiers, node);
    for (size_t i = 0; c->route_tiers && i < tg_routes_count(c->routes); i++) {
        if (!c->route_tiers[i])
            continue;
        tg_buf_addf(out, "\ntiers of route %zu:", i);
        add_tiers(out, c->route_tiers[i], tg_routes_at(c->routes, i)->rate_limits);
    }
}

static void add_providers(struct tg_buf *out, const struct tg_providers *providers)
{
    tg_buf_adds(out, "\nproviders:\n");
    for (size_t i = 0; i < providers->count; i++) {
        const struct tg_provider *p = &providers->items[i];

        tg_json_add_string(out, p->name);
        tg_json_add_string(out, p->issuer);
        tg_json_add_string(out, p->groups_claim);
        for (size_t k = 0; k < p->required_scopes->count; k++)
            tg_json_add_string(out, p->required_scopes->items[k]);
        tg_buf_addc(out, '\n');
    }
}

static void make_policy_set(struct tg_config *c, const cJSON *rate_limits)
{
    const struct tg_route_defaults *d = &c->route_defaults;
    uint8_t digest[TG_SHA256_LEN];
    struct tg_buf text = {0};

    tg_buf_addf(&text, "routes:%s\n", tg_routes_digest(c->routes));
    add_all_tiers(&text, c, rate_limits);
    add_providers(&text, &c->providers);
    tg_buf_addf(&text, "client_ca:%d deny_invalid_certificate:%d\n", d->client_ca, d->deny_invalid_certificate);
    tg_sha256(tg_buf_slice(&text), digest);
    tg_hex(digest, (sizeof c->policy_set - 1) / 2, c->policy_set);
    tg_buf_fini(&text);
}

void settings_read_facts(const struct tg_tree *tree, const struct root_text *root, const struct access_log_text *text,
                         struct tg_config *config, struct tg_problems *problems)
{
    const cJSON *node = tg_json_get(root->access_log, "claims");

    config->log_facts = text->facts;
    config->log_claims = text->claims;
    check_claims(tree, node ? node : tree->root, &text->claims, problems);
}

void settings_know_facts(const cJSON *rate_limits, struct tg_config *config)
{
    if (!config->routes)                                 /* there were errors */
        return;
    for (size_t i = 0; i < tg_routes_count(config->routes); i++)
        know_reads_of(config, tg_routes_at(config->routes, i), &config->log_claims);
    make_policy_set(config, rate_limits);
}
