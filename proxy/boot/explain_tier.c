/*
 * explain_tier - what counts a request: its tier, the limits of this caller, and whose counter it is.
 *
 * By the functions that count requests. Of a logged request a claim may be missing; then what hangs on it is said to be
 * unknown.
 */
#include "base/json.h"
#include "base/log.h"
#include "explain.h"
#include "limit/charge.h"
#include "limit_words.h"
#include "log_line.h"

#define SAID_BYTES 60                                    /* of a claim, shown */

/* ---- which tier ---- */

/* The first whose `when` holds; none that stands before it may hang on what is not known. */
static const struct tg_tier *pick(const struct tg_tiers *tiers, const struct tg_facts *facts, bool *unknown)
{
    const struct tg_tier *found = NULL;
    struct tg_arena scratch;

    if (!facts->known)
        return tg_tiers_pick(tiers, facts);
    tg_arena_init(&scratch, NULL, 0);
    for (size_t i = 0; i < tiers->count && !*unknown && !found; i++) {
        const struct tg_program *when = tiers->items[i].when;

        *unknown = when && !explain_all_known(tg_ppl_reads(&when, 1, NULL, 0, &scratch), facts);
        if (!*unknown && (!when || tg_ppl_holds(when, facts)))
            found = &tiers->items[i];
    }
    tg_arena_fini(&scratch);
    return found;
}

/* ---- claims that have a say ---- */

static bool is_known(const struct tg_facts *facts, struct tg_slice claim)
{
    return !facts->known || !facts->identity || tg_fact_set_has_claim(facts->known, claim);
}

static const struct tg_claim *claim_of(const struct tg_facts *facts, struct tg_slice name, uint64_t hash)
{
    return facts->identity && facts->claims ? tg_claims_get(facts->claims, name, hash) : NULL;
}

static void add_values(const struct tg_claim *claim, struct tg_buf *out)
{
    tg_buf_adds(out, claim->count == 1 ? "" : "[");
    for (size_t i = 0; i < claim->count; i++) {
        tg_buf_adds(out, i ? "," : "");
        tg_json_print(out, claim->values[i].json);
    }
    tg_buf_adds(out, claim->count == 1 ? "" : "]");
}

/* As JSON; of several values the list. An object counts for nothing, and is shown. */
static struct tg_slice claim_text(const struct tg_facts *facts, struct tg_slice name, const struct tg_claim *claim,
                                  struct tg_arena *arena)
{
    const cJSON *all = facts->identity && facts->claims ? tg_claims_json(facts->claims) : NULL;
    const cJSON *whole = all ? tg_json_get(all, tg_arena_str(arena, name)) : NULL;
    struct tg_buf text = {0};
    struct tg_slice out;

    if (claim)
        add_values(claim, &text);
    else if (whole)
        tg_json_print(&text, whole);
    else
        return (struct tg_slice){NULL, 0};
    out = tg_arena_dup(arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
    return out;
}

/* ---- this caller's limits ---- */

static void take_limit(const struct tg_window *w, const struct tg_facts *facts, struct tg_arena *arena,
                       struct explain_window *out)
{
    const struct tg_claim *claim = claim_of(facts, w->claim, w->claim_hash);
    bool from_claim = false;

    *out = (struct explain_window){.window = w, .limit = w->limit};
    if (w->claim.len == 0)
        return;
    if (!is_known(facts, w->claim)) {
        out->from = EXPLAIN_LIMIT_UNKNOWN;
        return;
    }
    out->limit = tg_window_limit(w, facts->identity ? facts->claims : NULL, &from_claim);
    out->said = claim_text(facts, w->claim, claim, arena);
    if (from_claim)
        out->from = claim->values[0].json->valuedouble > w->ceiling ? EXPLAIN_LIMIT_CEILING : EXPLAIN_LIMIT_CLAIM;
    else
        out->from = out->said.ptr ? EXPLAIN_LIMIT_UNUSABLE : EXPLAIN_LIMIT_ABSENT;
}

/* ---- whose counter ---- */

static void take_key(struct explain_result *r, struct tg_arena *arena)
{
    const struct tg_facts *f = r->facts;
    const struct tg_tier *tier = r->tier;
    struct tg_limit_caller caller = {.identity_key = f->identity, .ip = f->source_ip};
    struct tg_limit_key key;

    if (f->identity) {
        caller.issuer = r->issuer;
        caller.subject = f->user;
        caller.claims = f->claims;
    }
    if (r->route)
        caller.route = r->route->name;
    tg_limit_key_of(tier, &caller, &key);
    r->key = (struct explain_key){.by = key.by};
    if (tier->by != TG_BY_CLAIM)
        return;
    r->key.unknown = !is_known(f, tier->by_claim);
    r->key.fell_back = !r->key.unknown && key.by != TG_BY_CLAIM;
    r->key.claim = claim_text(f, tier->by_claim, claim_of(f, tier->by_claim, tier->by_claim_hash), arena);
}

void explain_find_limits(struct explain_result *r, struct tg_arena *arena)
{
    if (r->tiers->off)
        return;
    r->tier = r->facts->identity ? pick(r->tiers, r->facts, &r->tier_unknown) : &r->tiers->unauthenticated;
    if (!r->tier)
        return;
    for (size_t i = 0; i < r->tier->window_count; i++)
        take_limit(&r->tier->windows[i], r->facts, arena, &r->windows[i]);
    take_key(r, arena);
}

void explain_find_tier(struct explain_result *r, struct tg_arena *arena)
{
    r->tiers = tg_config_tiers(r->config, r->route);
    r->general = &r->config->tiers;
    explain_find_limits(r, arena);
}

bool explain_admits_nobody(const struct explain_result *r)
{
    for (size_t i = 0; r->tier && i < r->tier->window_count; i++)
        if (r->windows[i].limit == 0 && !r->windows[i].window->shadow)
            return true;
    return false;
}

static bool has_counter(const struct tg_tier *tier, uint64_t salt)
{
    for (size_t i = 0; i < tier->window_count; i++)
        if (tier->windows[i].salt == salt)
            return true;
    return false;
}

bool explain_is_own_tier(const struct explain_result *r)
{
    const struct tg_tiers *general = r->general;
    uint64_t salt = r->tier->windows[0].salt;

    if (r->tiers == general)
        return false;
    if (general->off)
        return true;
    for (size_t i = 0; i < general->count; i++)
        if (has_counter(&general->items[i], salt))
            return false;
    return !has_counter(&general->unauthenticated, salt);
}

/* ---- in words ---- */

static void add_claim(const struct explain_window *w, struct tg_buf *out)
{
    tg_buf_adds(out, "claim ");
    tg_trace_clean(out, w->window->claim, SAID_BYTES);
}

static void add_source(const struct explain_window *w, struct tg_buf *out)
{
    switch (w->from) {
    case EXPLAIN_LIMIT_FIXED:
        return;
    case EXPLAIN_LIMIT_CLAIM:
        tg_buf_adds(out, ", as ");
        add_claim(w, out);
        tg_buf_adds(out, w->limit ? " says" : " says: nobody is admitted");
        return;
    case EXPLAIN_LIMIT_CEILING:
        tg_buf_adds(out, ", the ceiling: ");
        add_claim(w, out);
        tg_buf_adds(out, " says ");
        tg_trace_clean(out, w->said, SAID_BYTES);
        return;
    case EXPLAIN_LIMIT_ABSENT:
        tg_buf_adds(out, ": the token has no ");
        add_claim(w, out);
        return;
    case EXPLAIN_LIMIT_UNUSABLE:
        tg_buf_adds(out, ": ");
        add_claim(w, out);
        tg_buf_adds(out, " is no whole number from 0 up, but ");
        tg_trace_clean(out, w->said, SAID_BYTES);
        return;
    case EXPLAIN_LIMIT_UNKNOWN:
        tg_buf_adds(out, ", or what ");
        add_claim(w, out);
        tg_buf_addf(out, " said, at most %u: it was not logged", w->window->ceiling);
        return;
    }
}

void explain_limit(const struct explain_window *w, struct tg_buf *out)
{
    tg_buf_addf(out, "%u request%s in ", w->limit, w->limit == 1 ? "" : "s");
    tg_window_length_describe(w->window->length_s, out);
    if (w->window->sliding)
        tg_buf_adds(out, ", sliding");
    if (w->window->shadow)
        tg_buf_adds(out, ", counted and not enforced");
    add_source(w, out);
}

/* IPv6 addresses are counted by their first 64 bits. */
static void add_address(const struct tg_ip *ip, struct tg_buf *out)
{
    struct tg_ip shown = *ip;
    char text[TG_IP_TEXT];

    if (ip->family == 0) {
        tg_buf_adds(out, "the client's address");
        return;
    }
    if (ip->family == 6)
        memset(shown.bytes + 8, 0, 8);
    tg_ip_format(&shown, text);
    tg_buf_addf(out, "address %s%s", text, ip->family == 6 ? "/64" : "");
}

static void add_subject(const struct explain_result *r, struct tg_buf *out)
{
    tg_buf_adds(out, "subject ");
    tg_trace_clean(out, r->facts->user, 200);
    if (r->issuer.len > 0) {
        tg_buf_adds(out, " of ");
        tg_trace_clean(out, r->issuer, 200);
    }
}

static void add_by_claim(const struct explain_result *r, struct tg_buf *out)
{
    tg_buf_adds(out, "claim ");
    tg_trace_clean(out, r->tier->by_claim, SAID_BYTES);
    tg_buf_adds(out, " ");
    tg_trace_clean(out, r->key.claim, 200);
    if (r->issuer.len > 0) {
        tg_buf_adds(out, " of ");
        tg_trace_clean(out, r->issuer, 200);
    }
}

/* By subject, although the tier counts by a claim. */
static void add_fallback(const struct explain_result *r, struct tg_buf *out)
{
    tg_buf_adds(out, r->key.claim.ptr ? ": claim " : ": the token has no claim ");
    tg_trace_clean(out, r->tier->by_claim, SAID_BYTES);
    tg_buf_adds(out, r->key.claim.ptr ? " is no single value" : "");
}

/* The files cannot tell, but the line has a word for it. */
static void add_logged_key(const struct explain_result *r, struct tg_buf *out)
{
    struct tg_slice word = r->logged ? r->logged->limit_key : (struct tg_slice){NULL, 0};

    if (tg_slice_eq(word, TG_S("subject")) || (!word.ptr && !r->tier)) {
        add_subject(r, out);
    } else if (tg_slice_eq(word, TG_S("address"))) {
        add_address(&r->facts->source_ip, out);
    } else if (r->key.unknown) {
        tg_buf_adds(out, "claim ");
        tg_trace_clean(out, r->tier->by_claim, SAID_BYTES);
        tg_buf_adds(out, ", which was not logged");
    } else {
        tg_trace_clean(out, word, SAID_BYTES);
    }
}

void explain_counter(const struct explain_result *r, struct tg_buf *out)
{
    if (!r->tier || r->key.unknown) {
        add_logged_key(r, out);
        return;
    }
    switch (r->key.by) {
    case TG_BY_SUBJECT: add_subject(r, out); break;
    case TG_BY_CLAIM: add_by_claim(r, out); break;
    case TG_BY_ADDRESS: add_address(&r->facts->source_ip, out); break;
    case TG_BY_ROUTE:
        tg_buf_adds(out, "route ");
        tg_trace_clean(out, r->route ? r->route->name : TG_S("(none)"), 200);
        tg_buf_adds(out, ", all callers together");
        break;
    }
    if (r->key.fell_back)
        add_fallback(r, out);
}
