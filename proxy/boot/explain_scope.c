/*
 * explain_scope - the scopes that a route and the token's provider require, as gate/step_limit asks for them.
 */
#include "auth/identity.h"
#include "explain.h"

static bool has_word(const struct tg_buf *words, struct tg_slice word)
{
    struct tg_slice rest = tg_buf_slice(words), next;

    while (rest.len > 0) {
        tg_slice_cut(rest, ' ', &next, &rest);
        if (tg_slice_eq(next, word))
            return true;
    }
    return false;
}

static void add_word(struct tg_buf *words, struct tg_slice word)
{
    if (has_word(words, word))
        return;
    tg_buf_adds(words, words->len > 0 ? " " : "");
    tg_buf_add_slice(words, word);
}

static void add_lacking(const struct tg_strings *scopes, const struct tg_facts *facts, struct tg_buf *required,
                        struct tg_buf *lacking)
{
    for (size_t i = 0; scopes && i < scopes->count; i++) {
        add_word(required, scopes->items[i]);
        if (!facts->identity || !facts->claims || !tg_scope_is_granted(facts->claims, scopes->items[i]))
            add_word(lacking, scopes->items[i]);
    }
}

/* A token has its scopes in either claim: that one lacks is known when both are. */
static bool knows_scopes(const struct tg_fact_set *known)
{
    return !known || (tg_fact_set_has_claim(known, TG_S("scope")) && tg_fact_set_has_claim(known, TG_S("scp")));
}

static enum explain_scopes without_identity(const struct tg_route *route, const struct tg_facts *facts)
{
    if (route->required_scopes.count == 0)
        return EXPLAIN_SCOPES_NOT_ASKED;
    if (facts->known && !(facts->known->facts & TG_FACT_BIT(TG_FACT_PREFLIGHT)))
        return EXPLAIN_SCOPES_UNKNOWN;
    return facts->cors_preflight ? EXPLAIN_SCOPES_NOT_ASKED : EXPLAIN_SCOPES_NO_TOKEN;
}

enum explain_scopes explain_scopes(const struct tg_route *route, const struct tg_provider *provider,
                                   const struct tg_facts *facts, struct tg_buf *required, struct tg_buf *lacking)
{
    if (provider && !route->public_access)
        add_lacking(provider->required_scopes, facts, required, lacking);
    add_lacking(&route->required_scopes, facts, required, lacking);
    if (!facts->identity)
        return without_identity(route, facts);
    if (required->len == 0)
        return EXPLAIN_SCOPES_NOT_ASKED;
    if (lacking->len == 0)
        return EXPLAIN_SCOPES_GRANTED;
    return knows_scopes(facts->known) ? EXPLAIN_SCOPES_LACKING : EXPLAIN_SCOPES_UNKNOWN;
}

enum explain_scopes explain_find_scopes(struct explain_result *r, struct tg_arena *arena)
{
    struct tg_buf required = {0}, lacking = {0};
    const struct tg_provider *provider = NULL;
    enum explain_scopes found;

    if (!r->route || !r->config || !r->facts)
        return EXPLAIN_SCOPES_NOT_ASKED;
    if (r->facts->identity)
        provider = tg_providers_of_issuer(&r->config->providers, r->issuer);
    found = explain_scopes(r->route, provider, r->facts, &required, &lacking);
    if (required.len > 0)
        r->scopes = tg_arena_dup(arena, tg_buf_slice(&required));
    if (found == EXPLAIN_SCOPES_LACKING)
        r->scopes_lacking = tg_arena_dup(arena, tg_buf_slice(&lacking));
    r->scopes_unknown = found == EXPLAIN_SCOPES_UNKNOWN;
    tg_buf_fini(&required);
    tg_buf_fini(&lacking);
    return found;
}

const char *explain_scope_sentence(const struct explain_result *r, enum explain_scopes found, struct tg_arena *arena)
{
    if (found == EXPLAIN_SCOPES_NO_TOKEN)
        return tg_arena_printf(arena, "the route requires the scope " TG_S_FMT ", and there is no token",
                               TG_S_ARG(r->scopes)).ptr;
    if (found == EXPLAIN_SCOPES_LACKING)
        return tg_arena_printf(arena, "the token was not granted the scope " TG_S_FMT ", which the route or its "
                               "provider requires (required_scopes)", TG_S_ARG(r->scopes_lacking)).ptr;
    return NULL;
}
