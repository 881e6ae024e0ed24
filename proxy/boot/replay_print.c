/*
 * replay_print - who would gain or lose access, for people and as JSON.
 */
#include "base/log.h"
#include "plain.h"
#include "replay.h"
#include "terminal.h"

static const char *plural(size_t count, const char *one, const char *many) { return count == 1 ? one : many; }

static size_t callers_of(const struct replay_tally *t) { return t->entries ? tg_map_count(t->entries) : 0; }

static struct replay_tally callers(const struct replay_report *r, bool gained)
{
    return gained ? r->counts->gainers : r->counts->losers;
}

/* ---- text ---- */

static void paint(const struct replay_report *r, struct tg_buf *out, const char *colour, const char *text)
{
    add_coloured(out, r->colour, colour, text);
}

static void text_total(const struct replay_report *r, bool gained, struct tg_buf *out)
{
    size_t requests = gained ? r->counts->gained : r->counts->lost;
    struct replay_tally who = callers(r, gained);
    size_t count = callers_of(&who);

    paint(r, out, requests == 0 ? BOLD : gained ? BOLD GREEN : BOLD RED,
          gained ? "would gain access" : "would lose access");
    if (requests == 0)
        tg_buf_adds(out, ": nobody\n");
    else
        tg_buf_addf(out, ": %zu %s of %s%zu %s\n", requests, plural(requests, "request", "requests"),
                    who.full ? "more than " : "", count, plural(count, "caller", "callers"));
}

/* "  120  alice of https://idp, first GET /x at 2026-11-21T10:00:00.000Z, request 4bf9" */
static void text_entry(const struct replay_entry *e, bool caller, struct tg_buf *out)
{
    size_t from = out->len;

    tg_buf_addf(out, "    %7zu  %s", e->count, e->name ? e->name : "(no token)");
    if (e->issuer)
        tg_buf_addf(out, " of %s", e->issuer);
    tg_buf_adds(out, ", first");
    if (caller)
        tg_buf_addf(out, " %s", e->request);
    tg_buf_addf(out, " at %s", e->ts);
    if (e->request_id[0])
        tg_buf_addf(out, ", request %s", e->request_id);
    make_plain(out, from);
    tg_buf_adds(out, "\n");
}

static void text_tally(const struct replay_report *r, const char *title, const struct replay_tally *t, bool caller,
                       struct tg_buf *out)
{
    const struct replay_entry **top = TG_NEW_ARRAY(const struct replay_entry *, r->top + 1);
    size_t count = replay_top(t, r->top, top), all = callers_of(t);

    tg_buf_addf(out, "  %s\n", title);
    for (size_t i = 0; i < count; i++)
        text_entry(top[i], caller, out);
    if (all > count)
        tg_buf_addf(out, "             and %zu more\n", all - count);
    free(top);
}

static void text_change(const struct replay_report *r, enum replay_access before, enum replay_access now,
                        struct tg_buf *out)
{
    const struct replay_change *c = &r->counts->changes[before][now];
    const char *colour = before == REPLAY_ALLOW ? RED : now == REPLAY_ALLOW ? GREEN : YELLOW;
    struct tg_buf title = {0};
    bool first = true;

    if (c->requests == 0)
        return;
    tg_buf_addf(&title, "%s -> %s", replay_access_name(before), replay_access_name(now));
    tg_buf_adds(out, "\n");
    paint(r, out, colour, tg_buf_cstr(&title));
    tg_buf_addf(out, ": %zu %s of %zu %s\n  because of ", c->requests, plural(c->requests, "request", "requests"),
                callers_of(&c->callers), plural(callers_of(&c->callers), "caller", "callers"));
    for (unsigned i = 0; i < TG_REASON_COUNT; i++) {
        if (c->reasons[i] == 0)
            continue;
        tg_buf_addf(out, "%s%s (%zu)", first ? "" : ", ", tg_reason_name((enum tg_reason)i), c->reasons[i]);
        first = false;
    }
    if (c->scopes > 0) {
        tg_buf_addf(out, "%srequired_scopes (%zu)", first ? "" : ", ", c->scopes);
        first = false;
    }
    tg_buf_adds(out, first ? "nothing that admits\n" : "\n");
    text_tally(r, "callers", &c->callers, true, out);
    text_tally(r, "requests", &c->paths, false, out);
    tg_buf_fini(&title);
}

/* "rate-limited 12, no-route 3" */
static void text_map(const struct tg_map *map, bool counts, struct tg_buf *out)
{
    struct tg_slice key;
    bool first = true;
    void *value;

    for (size_t i = 0; tg_map_next(map, &i, &key, &value); first = false) {
        tg_buf_adds(out, first ? "" : ", ");
        tg_buf_add_slice(out, key);
        if (counts)
            tg_buf_addf(out, " (%zu)", *(const size_t *)value);
    }
}

static void text_unknown(const struct replay_report *r, struct tg_buf *out)
{
    const struct replay_counts *c = r->counts;
    size_t from;

    if (c->unknown == 0)
        return;
    tg_buf_adds(out, "\n");
    paint(r, out, YELLOW, "could not be told");
    tg_buf_addf(out, ": %zu %s, for what these criteria look at was not logged:\n  ", c->unknown,
                plural(c->unknown, "request", "requests"));
    from = out->len;
    text_map(c->lacking, true, out);
    make_plain(out, from);
    tg_buf_adds(out, "\n");
    if (c->without_facts > 0)
        tg_buf_addf(out, "  %zu of them were logged without facts: access_log: {facts: true}\n", c->without_facts);
    if (tg_map_count(c->claims) > 0) {
        tg_buf_adds(out, "  to have it in new lines: access_log: {claims: [");
        from = out->len;
        text_map(c->claims, false, out);
        make_plain(out, from);
        tg_buf_adds(out, "]}\n");
    }
}

static void text_rest(const struct replay_report *r, struct tg_buf *out)
{
    const struct replay_counts *c = r->counts;
    size_t judged = c->replayed + c->unknown, from;

    tg_buf_addf(out, "\nunchanged: %zu of %zu %s\n", c->unchanged, judged, plural(judged, "request", "requests"));
    if (tg_map_count(c->not_judged) > 0) {
        tg_buf_adds(out, "no policy was asked: ");
        from = out->len;
        text_map(c->not_judged, true, out);
        make_plain(out, from);
        tg_buf_adds(out, "\n");
    }
    if (c->other_routes > 0)
        tg_buf_addf(out, "of other routes: %zu\n", c->other_routes);
    if (c->unreadable == 0)
        return;
    tg_buf_addf(out, "no lines of the access log: %zu, the first is ", c->unreadable);
    from = out->len;
    tg_buf_adds(out, r->first_unreadable);
    make_plain(out, from);
    tg_buf_adds(out, "\n");
}

void replay_print_text(const struct replay_report *r, struct tg_buf *out)
{
    tg_buf_addf(out, "By %s, of %zu %s:\n", r->by, r->counts->lines, plural(r->counts->lines, "line", "lines"));
    text_total(r, false, out);
    text_total(r, true, out);
    for (unsigned before = 0; before < REPLAY_ACCESS_COUNT; before++)
        for (unsigned now = 0; now < REPLAY_ACCESS_COUNT; now++)
            if (before != now)
                text_change(r, (enum replay_access)before, (enum replay_access)now, out);
    text_unknown(r, out);
    text_rest(r, out);
}

/* ---- JSON ---- */

static void json_text(struct tg_buf *out, const char *name, const char *value)
{
    tg_buf_addf(out, ",\"%s\":", name);
    if (value)
        tg_log_json_string(out, tg_slice_str(value));
    else
        tg_buf_adds(out, "null");
}

static void json_entry(const struct replay_entry *e, bool caller, struct tg_buf *out)
{
    tg_buf_addf(out, "{\"requests\":%zu", e->count);
    if (caller) {
        json_text(out, "sub", e->name);
        json_text(out, "issuer", e->issuer);
    } else {
        json_text(out, "request", e->name);
    }
    tg_buf_adds(out, ",\"example\":{\"ts\":");
    tg_log_json_string(out, tg_slice_str(e->ts));
    json_text(out, "request_id", e->request_id);
    json_text(out, "request", e->request);
    json_text(out, "route", e->route);
    tg_buf_adds(out, "}}");
}

static void json_tally(const struct replay_report *r, const char *name, const struct replay_tally *t, bool caller,
                       struct tg_buf *out)
{
    const struct replay_entry **top = TG_NEW_ARRAY(const struct replay_entry *, r->top + 1);
    size_t count = replay_top(t, r->top, top);

    tg_buf_addf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        tg_buf_adds(out, i ? "," : "");
        json_entry(top[i], caller, out);
    }
    tg_buf_adds(out, "]");
    free(top);
}

static void json_change(const struct replay_report *r, enum replay_access before, enum replay_access now, bool *first,
                        struct tg_buf *out)
{
    const struct replay_change *c = &r->counts->changes[before][now];
    bool comma = false;

    if (c->requests == 0)
        return;
    tg_buf_addf(out, "%s{\"from\":\"%s\",\"to\":\"%s\",\"requests\":%zu,\"callers\":%zu,\"reasons\":{",
                *first ? "" : ",", replay_access_name(before), replay_access_name(now), c->requests,
                callers_of(&c->callers));
    *first = false;
    for (unsigned i = 0; i < TG_REASON_COUNT; i++) {
        if (c->reasons[i] == 0)
            continue;
        tg_buf_addf(out, "%s\"%s\":%zu", comma ? "," : "", tg_reason_name((enum tg_reason)i), c->reasons[i]);
        comma = true;
    }
    if (c->scopes > 0)
        tg_buf_addf(out, "%s\"required_scopes\":%zu", comma ? "," : "", c->scopes);
    tg_buf_adds(out, "}");
    json_tally(r, "top_callers", &c->callers, true, out);
    json_tally(r, "top_requests", &c->paths, false, out);
    tg_buf_adds(out, "}");
}

static void json_map(struct tg_buf *out, const char *name, const struct tg_map *map)
{
    struct tg_slice key;
    bool first = true;
    void *value;

    tg_buf_addf(out, ",\"%s\":{", name);
    for (size_t i = 0; tg_map_next(map, &i, &key, &value); first = false) {
        tg_buf_adds(out, first ? "" : ",");
        tg_log_json_string(out, key);
        tg_buf_addf(out, ":%zu", *(const size_t *)value);
    }
    tg_buf_adds(out, "}");
}

static void json_keys(struct tg_buf *out, const char *name, const struct tg_map *map)
{
    struct tg_slice key;
    bool first = true;
    void *value;

    tg_buf_addf(out, ",\"%s\":[", name);
    for (size_t i = 0; tg_map_next(map, &i, &key, &value); first = false) {
        tg_buf_adds(out, first ? "" : ",");
        tg_log_json_string(out, key);
    }
    tg_buf_adds(out, "]");
}

void replay_print_json(const struct replay_report *r, struct tg_buf *out)
{
    const struct replay_counts *c = r->counts;
    bool first = true;

    tg_buf_adds(out, "{\"by\":");
    tg_log_json_string(out, tg_slice_str(r->by));
    tg_buf_addf(out, ",\"lines\":%zu,\"replayed\":%zu,\"unchanged\":%zu,\"lost\":{\"requests\":%zu,\"callers\":%zu},"
                     "\"gained\":{\"requests\":%zu,\"callers\":%zu},\"changes\":[", c->lines, c->replayed, c->unchanged,
                c->lost, callers_of(&c->losers), c->gained, callers_of(&c->gainers));
    for (unsigned before = 0; before < REPLAY_ACCESS_COUNT; before++)
        for (unsigned now = 0; now < REPLAY_ACCESS_COUNT; now++)
            if (before != now)
                json_change(r, (enum replay_access)before, (enum replay_access)now, &first, out);
    tg_buf_addf(out, "],\"unknown\":{\"requests\":%zu,\"without_facts\":%zu", c->unknown, c->without_facts);
    json_map(out, "criteria", c->lacking);
    json_keys(out, "log_claims", c->claims);
    tg_buf_adds(out, "}");
    json_map(out, "not_judged", c->not_judged);
    tg_buf_addf(out, ",\"other_routes\":%zu,\"unreadable\":%zu", c->other_routes, c->unreadable);
    json_text(out, "first_unreadable", r->first_unreadable);
    tg_buf_adds(out, "}\n");
}
