/*
 * replay_count - how many requests and callers would gain or lose access, with an example of each.
 */
#include "base/clock.h"
#include "base/json.h"
#include "plain.h"
#include "replay.h"

#define ENTRIES_MAX 200000                               /* of one tally: a log may hold any number of callers */
#define TEXT_BYTES 200                                   /* of a name or a path */

/* ---- a number by name ---- */

static void add_one(struct tg_map *map, struct tg_slice name)
{
    size_t *count = tg_map_get(map, name);

    if (!count) {
        count = TG_NEW(size_t);
        tg_map_put(map, name, count);
    }
    ++*count;
}

/* ---- a tally ---- */

static void drop_example(struct replay_entry *e)
{
    free(e->request_id);
    free(e->ts);
    free(e->request);
    free(e->route);
}

static void free_entry(void *value)
{
    struct replay_entry *e = value;

    free(e->name);
    free(e->issuer);
    drop_example(e);
    free(e);
}

static char *text_of(struct tg_slice s)
{
    return tg_slice_dup(cut_text(s.ptr ? s : TG_S(""), TEXT_BYTES));
}

static void request_text(const struct log_line *l, struct tg_buf *out)
{
    tg_buf_add_slice(out, l->request.method);
    tg_buf_addc(out, ' ');
    tg_buf_add_slice(out, l->request.canonical);
}

/* The earliest request, in whatever order files were named and workers wrote. */
static void take_example(struct replay_entry *e, const struct log_line *l)
{
    struct tg_buf request = {0};
    char ts[TG_TIME_TEXT];

    if (e->ts && l->request.wall_ms >= e->wall_ms)
        return;
    drop_example(e);
    tg_clock_format(l->request.wall_ms, ts);
    request_text(l, &request);
    e->wall_ms = l->request.wall_ms;
    e->request_id = text_of(l->request_id);
    e->ts = tg_slice_dup(tg_slice_str(ts));
    e->request = text_of(tg_buf_slice(&request));
    e->route = text_of(l->route);
    tg_buf_fini(&request);
}

/* One more of that key; the entry when it is a new one, to be named. */
static struct replay_entry *tally(struct replay_tally *t, struct tg_slice key, const struct log_line *l)
{
    struct replay_entry *e;

    if (!t->entries)
        t->entries = tg_map_new(free_entry);
    e = tg_map_get(t->entries, key);
    if (e) {
        e->count++;
        take_example(e, l);
        return NULL;
    }
    if (tg_map_count(t->entries) >= ENTRIES_MAX) {
        t->full = true;
        return NULL;
    }
    e = TG_NEW(struct replay_entry);
    e->count = 1;
    take_example(e, l);
    tg_map_put(t->entries, key, e);
    return e;
}

static void tally_caller(struct replay_tally *t, const struct log_line *l)
{
    struct replay_entry *e;
    struct tg_buf key = {0};

    if (l->facts.identity) {
        tg_buf_add_slice(&key, l->issuer);
        tg_buf_addc(&key, '\n');
        tg_buf_add_slice(&key, l->facts.user);
    }
    e = tally(t, tg_buf_slice(&key), l);
    if (e) {
        e->name = l->facts.identity ? text_of(l->facts.user) : NULL;
        e->issuer = l->facts.identity ? text_of(l->issuer) : NULL;
    }
    tg_buf_fini(&key);
}

static void tally_path(struct replay_tally *t, const struct log_line *l)
{
    struct replay_entry *e;
    struct tg_buf key = {0};

    request_text(l, &key);
    e = tally(t, tg_buf_slice(&key), l);
    if (e)
        e->name = text_of(tg_buf_slice(&key));
    tg_buf_fini(&key);
}

static void tally_fini(struct replay_tally *t)
{
    tg_map_free(t->entries);
    *t = (struct replay_tally){0};
}

/* Sorted into a short list; of equals the one that came first. */
size_t replay_top(const struct replay_tally *t, size_t max, const struct replay_entry **out)
{
    struct tg_slice key;
    size_t count = 0;
    void *value;

    for (size_t i = 0; t->entries && tg_map_next(t->entries, &i, &key, &value);) {
        const struct replay_entry *e = value;
        size_t at = count;

        while (at > 0 && out[at - 1]->count < e->count)
            at--;
        if (at == max)
            continue;
        count += count < max;
        memmove(&out[at + 1], &out[at], (count - at - 1) * sizeof(*out));
        out[at] = e;
    }
    return count;
}

/* ---- all of it ---- */

void replay_counts_init(struct replay_counts *c)
{
    *c = (struct replay_counts){.not_judged = tg_map_new(free), .lacking = tg_map_new(free),
                                .claims = tg_map_new(free)};
}

void replay_counts_fini(struct replay_counts *c)
{
    for (size_t i = 0; i < REPLAY_ACCESS_COUNT; i++)
        for (size_t k = 0; k < REPLAY_ACCESS_COUNT; k++) {
            tally_fini(&c->changes[i][k].callers);
            tally_fini(&c->changes[i][k].paths);
        }
    tally_fini(&c->losers);
    tally_fini(&c->gainers);
    tg_map_free(c->not_judged);
    tg_map_free(c->lacking);
    tg_map_free(c->claims);
}

void replay_count_not_judged(struct replay_counts *c, const struct log_line *l)
{
    struct tg_slice why = l->refused.ptr ? l->refused : l->error.ptr ? l->error : l->decision;

    add_one(c->not_judged, tg_slice(why.ptr, why.len < 64 ? why.len : 64));
}

/* The claim that `access_log.claims` would have to name for this criterion; ptr NULL: none would help. */
static struct tg_slice claim_for(const struct tg_trace_node *node)
{
    if (strcmp(node->name, "claim") == 0)
        return node->sub_path;
    if (strcmp(node->name, "groups") == 0)
        return TG_S("groups");
    if (strcmp(node->name, "email") == 0 || strcmp(node->name, "domain") == 0)
        return TG_S("email");
    return (struct tg_slice){NULL, 0};
}

/* Asked to be logged, and too large for the line: to name it would change nothing. "...": there were too many names. */
static bool is_omitted(const struct log_line *l, struct tg_slice claim)
{
    struct tg_slice name, real = claim;
    const cJSON *item;

    if (tg_slice_eq(claim, TG_S("groups")) && l->facts.groups_claim.len > 0)
        real = l->facts.groups_claim;
    cJSON_ArrayForEach(item, tg_json_get(tg_json_get(l->json, "facts"), "omitted")) {
        if (!tg_json_str(item, &name))
            continue;
        if (tg_slice_eq(name, TG_S("...")) || tg_slice_eq(name, claim))
            return true;
        if (tg_slice_starts_with(name, TG_S("claims.")) && tg_slice_eq(tg_slice(name.ptr + 7, name.len - 7), real))
            return true;
    }
    return false;
}

/* Every criterion once a request, though it may stand in the policy several times. */
static void count_lacking(struct replay_counts *c, const struct log_line *l, const struct tg_trace_node *node,
                          struct tg_map *seen)
{
    for (; node; node = node->next) {
        struct tg_slice claim;
        struct tg_buf name = {0};

        count_lacking(c, l, node->children, seen);
        if (node->kind != TG_TRACE_CRITERION || !node->unknown)
            continue;
        tg_buf_adds(&name, node->name);
        if (node->sub_path.len > 0) {
            tg_buf_addc(&name, '/');
            tg_buf_add_slice(&name, node->sub_path);
        }
        if (tg_map_put(seen, tg_buf_slice(&name), seen)) {
            add_one(c->lacking, tg_buf_slice(&name));
            claim = claim_for(node);
            if (claim.ptr && !is_omitted(l, claim))
                add_one(c->claims, claim);
        }
        tg_buf_fini(&name);
    }
}

static void count_unknown(struct replay_counts *c, const struct log_line *l, const struct replay_decision *d)
{
    struct tg_map *seen = tg_map_new(NULL);

    c->unknown++;
    c->without_facts += !l->has_facts;
    count_lacking(c, l, d->trace, seen);
    if (d->scopes == EXPLAIN_SCOPES_UNKNOWN) {
        add_one(c->lacking, TG_S("required_scopes"));
        add_one(c->claims, TG_S("scope"));
        add_one(c->claims, TG_S("scp"));
    }
    tg_map_free(seen);
}

void replay_count(struct replay_counts *c, const struct log_line *l, const struct replay_decision *d)
{
    struct replay_change *change = &c->changes[d->before][d->now];

    if (d->unknown) {
        count_unknown(c, l, d);
        return;
    }
    c->replayed++;
    if (d->before == d->now) {
        c->unchanged++;
        return;
    }
    change->requests++;
    for (unsigned i = 0; i < TG_REASON_COUNT; i++)
        change->reasons[i] += (d->reasons & TG_REASON_BIT(i)) != 0;
    change->scopes += d->scopes == EXPLAIN_SCOPES_LACKING || d->scopes == EXPLAIN_SCOPES_NO_TOKEN;
    tally_caller(&change->callers, l);
    tally_path(&change->paths, l);
    if (d->before == REPLAY_ALLOW) {
        c->lost++;
        tally_caller(&c->losers, l);
    } else if (d->now == REPLAY_ALLOW) {
        c->gained++;
        tally_caller(&c->gainers, l);
    }
}
