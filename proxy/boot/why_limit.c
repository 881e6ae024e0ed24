/*
 * why_limit - what a log line says of limits, against the files: whether they count like that, and why a request was
 * refused for one.
 */
#include "limit_words.h"
#include "why.h"

#define NAME_BYTES 80                                    /* of a name that stands in the log */

static bool is(const struct log_line *l, enum tg_refusal refusal)
{
    return tg_slice_eq(l->refused, tg_slice_str(tg_refusals[refusal].name));
}

/* ---- the same or not ---- */

/* The limit that the line tells of: the only one, or that which it names. */
static const struct explain_window *told_window(const struct explain_result *r)
{
    for (size_t i = 0; r->tier && i < r->tier->window_count; i++) {
        const struct explain_window *w = &r->windows[i];

        if (r->logged->window.ptr ? tg_slice_eq(w->window->name, r->logged->window) : r->tier->window_count == 1)
            return w;
    }
    return NULL;
}

bool why_limits_differ(const struct explain_result *r)
{
    const struct log_line *l = r->logged;
    const struct explain_window *w = told_window(r);

    if (!r->tier || !l->tier.ptr)
        return false;
    if (!tg_slice_eq(r->tier->name, l->tier))
        return true;
    if (l->limit_key.ptr && !r->key.unknown && !tg_slice_eq(l->limit_key, tg_slice_str(tg_limit_by_name(r->key.by))))
        return true;
    if (is(l, TG_REFUSE_NO_COUNTER))                     /* nothing was counted, so it says no limit */
        return false;
    if (!w)
        return l->window.ptr != NULL;
    return l->limit >= 0 && w->from != EXPLAIN_LIMIT_UNKNOWN && w->limit != l->limit;
}

/* ---- why it was refused ---- */

bool why_is_limit(const struct log_line *l) { return is(l, TG_REFUSE_LIMIT) || is(l, TG_REFUSE_NO_COUNTER); }

/* "by this subject"; empty: the line does not say. */
static const char *by_whom(const struct log_line *l)
{
    if (tg_slice_eq(l->limit_key, TG_S("subject")))
        return " by this subject";
    if (tg_slice_eq(l->limit_key, TG_S("claim")))
        return " by callers with the same claim";
    if (tg_slice_eq(l->limit_key, TG_S("address")))
        return " by this address";
    return tg_slice_eq(l->limit_key, TG_S("route")) ? " by all callers of the route" : "";
}

/* What may be wrong when the limit is right, by what it counts. */
static const char *whose_fault(const struct log_line *l)
{
    if (tg_slice_eq(l->limit_key, TG_S("claim")))
        return "; all callers with that claim share it";
    if (tg_slice_eq(l->limit_key, TG_S("address")))
        return "; all clients behind one address (NAT, an IPv6 /64) share it, and all behind a proxy that is not in "
               "trusted_proxies";
    return tg_slice_eq(l->limit_key, TG_S("route")) ? "; key: route makes all callers share it" : "";
}

static void advise(struct explain_result *r, const struct explain_window *w, struct tg_arena *arena)
{
    const struct log_line *l = r->logged;

    if (l->limit == 0 && w && w->window->claim.len > 0)
        r->advice = tg_arena_printf(arena, "a token without the claim " TG_S_FMT " has the tier's own limit of %u",
                                    TG_S_ARG(w->window->claim), w->window->limit).ptr;
    else
        r->advice = tg_arena_printf(arena, "the client waits as long as Retry-After says; if this happens too soon, "
                                    "raise the limit in %s, or %s%s",
                                    r->tier && explain_is_own_tier(r) ? "the route's rate_limits" : "rate_limits.tiers",
                                    l->facts.identity ? "give these callers a tier (when)"
                                                      : "let these callers bring a token", whose_fault(l)).ptr;
}

/* "all 50 requests of tier burst in 1s" */
static void add_limit(const struct log_line *l, const struct explain_window *w, struct tg_buf *out)
{
    if (l->limit == 0)
        tg_buf_adds(out, "a claim of the token admits no request of tier ");
    else if (l->limit == 1)
        tg_buf_adds(out, "the only request of tier ");
    else
        tg_buf_addf(out, "all %lld requests of tier ", (long long)l->limit);
    tg_trace_clean(out, l->tier, NAME_BYTES);
    if (w) {
        tg_buf_adds(out, " in ");
        tg_window_length_describe(w->window->length_s, out);
    } else if (l->window.len > 0) {
        tg_buf_adds(out, " in the window ");
        tg_trace_clean(out, l->window, NAME_BYTES);
    }
}

static const char *used_up(struct explain_result *r, struct tg_arena *arena)
{
    const struct log_line *l = r->logged;
    const struct explain_window *w = why_limits_differ(r) ? NULL : told_window(r);
    struct tg_buf text = {0};
    const char *out;

    if (l->tier.len == 0 || l->limit < 0)
        return NULL;
    add_limit(l, w, &text);
    if (l->limit > 0)
        tg_buf_addf(&text, " %s used up%s", l->limit == 1 ? "was" : "were", by_whom(l));
    if (tg_slice_eq(l->counter, TG_S("local")))
        tg_buf_adds(&text, ", counted by this process alone, as the store was away");
    tg_buf_adds(&text, "; no policy was asked");
    out = tg_arena_str(arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
    advise(r, w, arena);
    return out;
}

static const char *not_counted(struct explain_result *r, struct tg_arena *arena)
{
    struct tg_buf url = {0};

    if (limit_store_words(&r->config->limits, &url))
        r->advice = tg_arena_printf(arena, "see whether " TG_S_FMT " answers (`tollgate check --online`, the metric "
                                    "tollgate_ratelimit_store_up); with when_store_fails: local each process counts "
                                    "alone meanwhile", TG_S_ARG(tg_buf_slice(&url))).ptr;
    else
        r->advice = "the files name no store now: requests are counted in memory";
    tg_buf_fini(&url);
    return NULL;                                         /* the refusal's own words say it */
}

const char *why_limit(struct explain_result *r, struct tg_arena *arena)
{
    return is(r->logged, TG_REFUSE_LIMIT) ? used_up(r, arena) : not_counted(r, arena);
}
