/*
 * limit_fields - what an answer says of the rate limit: from our counters, or an upstream's own words where they
 * promise less.
 *
 * A family (X-RateLimit-*; RateLimit with RateLimit-Policy) is ours or the upstream's as a whole, never a mix.
 */
#include "internal.h"

#define B(id) (UINT64_C(1) << TG_FIELD_##id)
#define TOLD (B(RATELIMIT) | B(X_RATELIMIT_REMAINING))   /* without these nothing can be stricter */

static const struct tg_field names[TG_LIMIT_FIELD_COUNT] = {
    [TG_LIMIT_FIELD_X_LIMIT] = {TG_S_INIT("X-RateLimit-Limit"), {0}, TG_FIELD_X_RATELIMIT_LIMIT},
    [TG_LIMIT_FIELD_X_REMAINING] = {TG_S_INIT("X-RateLimit-Remaining"), {0}, TG_FIELD_X_RATELIMIT_REMAINING},
    [TG_LIMIT_FIELD_X_RESET] = {TG_S_INIT("X-RateLimit-Reset"), {0}, TG_FIELD_X_RATELIMIT_RESET},
    [TG_LIMIT_FIELD_RATELIMIT] = {TG_S_INIT("RateLimit"), {0}, TG_FIELD_RATELIMIT},
    [TG_LIMIT_FIELD_POLICY] = {TG_S_INIT("RateLimit-Policy"), {0}, TG_FIELD_RATELIMIT_POLICY},
};

/* The value of the one field with that id; ptr NULL: there is none, or there are two. */
static struct tg_slice only_value(const struct tg_head *head, unsigned id)
{
    const struct tg_field *found = NULL;

    for (unsigned i = 0; i < head->field_count; i++) {
        if (head->fields[i].id != id)
            continue;
        if (found)
            return tg_slice(NULL, 0);
        found = &head->fields[i];
    }
    return found ? found->value : tg_slice(NULL, 0);
}

/* RFC 9110 §5.3: all lines with that id as one list. ptr NULL: there are none. */
static struct tg_slice joined_value(const struct tg_head *head, unsigned id, struct tg_arena *arena)
{
    struct tg_slice all = {NULL, 0};

    for (unsigned i = 0; i < head->field_count; i++) {
        struct tg_slice value = head->fields[i].value;

        if (head->fields[i].id == id)
            all = all.ptr ? tg_arena_printf(arena, TG_S_FMT ", " TG_S_FMT, TG_S_ARG(all), TG_S_ARG(value)) : value;
    }
    return all;
}

static void prefer_stricter(struct tg_exchange *ex, const struct tg_head *theirs,
                            struct tg_slice values[static TG_LIMIT_FIELD_COUNT], int64_t wall_ms)
{
    if (ex->rt->config->limits.upstream_stricter && values[TG_LIMIT_FIELD_X_LIMIT].ptr) {
        struct tg_slice x[3];

        for (size_t i = 0; i < ARRAY_LEN(x); i++)
            x[i] = only_value(theirs, names[TG_LIMIT_FIELD_X_LIMIT + i].id);
        if (tg_limit_upstream_x_stricter(&ex->charge, x[0], x[1], x[2], wall_ms))
            memcpy(&values[TG_LIMIT_FIELD_X_LIMIT], x, sizeof(x));
    }
    if (values[TG_LIMIT_FIELD_RATELIMIT].ptr) {
        struct tg_slice list = joined_value(theirs, TG_FIELD_RATELIMIT, &ex->arena);

        if (!tg_limit_upstream_ratelimit_stricter(&ex->charge, list))
            return;
        values[TG_LIMIT_FIELD_RATELIMIT] = list;
        values[TG_LIMIT_FIELD_POLICY] = joined_value(theirs, TG_FIELD_RATELIMIT_POLICY, &ex->arena);
    }
}

size_t tg_answer_limit_fields(struct tg_exchange *ex, const struct tg_head *theirs,
                              struct tg_field out[static TG_LIMIT_FIELD_COUNT])
{
    bool refused = ex->refusal == TG_REFUSE_LIMIT || ex->refusal == TG_REFUSE_NO_COUNTER;
    struct tg_slice values[TG_LIMIT_FIELD_COUNT];
    int64_t wall_ms;
    size_t n = 0;

    if (!ex->charge.tier)
        return 0;
    /* The seconds of a refusal are those of its Retry-After; an answer that took its time tells what is left by now. */
    wall_ms = refused ? ex->charge.at_ms : tg_worker_wall_ms(ex->gate->worker);
    tg_limit_fields(&ex->charge, &ex->rt->config->limits, wall_ms, &ex->arena, values);
    if (theirs && (theirs->seen & TOLD))
        prefer_stricter(ex, theirs, values, wall_ms);
    for (size_t i = 0; i < TG_LIMIT_FIELD_COUNT; i++) {
        if (values[i].ptr)
            out[n++] = (struct tg_field){names[i].name, values[i], names[i].id};
    }
    return n;
}

/* Whether a field of that name, however it is spelled, is of a family that we tell. */
static bool is_ours(const struct tg_limit_settings *s, struct tg_slice name)
{
    for (unsigned i = 0; i < TG_LIMIT_FIELD_COUNT; i++)
        if ((i >= TG_LIMIT_FIELD_RATELIMIT ? s->ratelimit_fields : s->x_ratelimit != TG_X_RATELIMIT_OFF) &&
            tg_forward_same_name(name, names[i].name))
            return true;
    return false;
}

/* The upstream's in a family that is ours; whichever it is, whoever is told waits for the final answer. */
void tg_drop_limit_fields(const struct tg_exchange *ex, struct tg_head *interim)
{
    const struct tg_limit_settings *s;
    unsigned kept = 0;

    if (!ex->charge.tier)
        return;
    s = &ex->rt->config->limits;
    for (unsigned i = 0; i < interim->field_count; i++)
        if (!is_ours(s, interim->fields[i].name))
            interim->fields[kept++] = interim->fields[i];
    interim->field_count = kept;
}
