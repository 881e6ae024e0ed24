/*
 * bundle_source - what a file or a URL holds, followed: never an older sequence, never two contents of one.
 *
 * Whatever is refused leaves the last good set in force, and is looked at again every interval: an `iat` that is ahead
 * comes nearer.
 */
#include "bundle_internal.h"
#include <stdio.h>

/* ---- is it newer ---- */

static bool is_in_force(const struct tg_bundle_source *s, const struct tg_supply_meta *meta)
{
    return s->facts.sequence > 0 && meta->sequence == s->facts.sequence &&
           meta->expires_ms == s->facts.expires_s * 1000;
}

/*
 * Whether `set` is the one that was taken under its sequence. After a start that is what was kept on disk, and TG_AGAIN
 * as long as it is not in force.
 */
static enum tg_status compare(struct tg_bundle_source *s, const struct tg_set *set,
                              const struct tg_bundle_facts *facts, const struct tg_supply_meta *meta)
{
    bool same = meta->expires_ms == facts->expires_s * 1000;
    struct tg_set *current;

    if (is_in_force(s, meta))
        return same && strcmp(s->digest, tg_set_digest(set)) == 0 ? TG_OK : TG_DENIED;
    if (!(current = tg_supply_current(s->supply)))
        return TG_AGAIN;
    same = same && strcmp(tg_set_digest(current), tg_set_digest(set)) == 0;
    tg_set_unref(current);
    return same ? TG_OK : TG_DENIED;
}

/* Against what is in force, about to be, or was. */
static enum tg_status check_sequence(struct tg_bundle_source *s, const char *name, const struct tg_set *set,
                                     const struct tg_bundle_facts *facts, bool *known, struct tg_err *err)
{
    struct tg_supply_meta meta = {0};
    enum tg_status st = TG_OK;
    uint64_t least;

    tg_supply_meta(s->supply, &meta);
    least = tg_supply_reached(s->supply);
    if (least < meta.sequence)
        least = meta.sequence;
    *known = facts->sequence == meta.sequence;
    if (facts->sequence < least)
        return tg_fail(err, TG_DENIED, "%s: its sequence %llu is older than %llu, which was taken already", name,
                       (unsigned long long)facts->sequence, (unsigned long long)least);
    if (*known && (st = compare(s, set, facts, &meta)) == TG_DENIED)
        tg_fail(err, st, "%s: its sequence %llu was taken already, with other content or another end", name,
                (unsigned long long)facts->sequence);
    return st;
}

static void tell(const char *name, const struct tg_bundle_facts *facts, const struct tg_set *set)
{
    char until[TG_TIME_TEXT];

    tg_clock_format(facts->expires_s * 1000, until);
    tg_log(TG_LOG_INFO, "policy bundle verified", TG_F_STR("bundle", name), TG_F_INT("sequence", facts->sequence),
           TG_F_STR("key", facts->kid), TG_F_STR("expires", until), TG_F_INT("policies", tg_set_policies(set)),
           TG_F_INT("routes", tg_set_routes(set)));
}

/* Takes over the reference to `set`. The supply knows what it has already. */
static void adopt(struct tg_bundle_source *s, struct tg_set *set, const struct tg_bundle_facts *facts)
{
    s->facts = *facts;
    snprintf(s->digest, sizeof(s->digest), "%s", tg_set_digest(set));
    s->trouble[0] = '\0';
    tg_supply_offer(s->supply, set, &(struct tg_supply_meta){.sequence = facts->sequence,
                                                             .expires_ms = facts->expires_s * 1000,
                                                             .heard_ms = tg_clock_wall_ms()});
}

enum tg_status bundle_take(struct tg_bundle_source *s, const char *name, struct tg_slice text, struct tg_err *err)
{
    struct tg_bundle_facts facts = {0};
    struct tg_set *set = NULL;
    bool known = false;
    enum tg_status st = tg_bundle_open(name, text, s->keys, tg_clock_wall_ms() / 1000, &set, &facts, err);

    if (st == TG_OK && (st = check_sequence(s, name, set, &facts, &known, err)) == TG_OK) {
        if (!known && (facts.sequence != s->facts.sequence || strcmp(s->digest, tg_set_digest(set)) != 0))
            tell(name, &facts, set);
        adopt(s, set, &facts);
    } else {
        tg_set_unref(set);
    }
    return st;
}

void bundle_confirm(struct tg_bundle_source *s)
{
    s->trouble[0] = '\0';
    tg_supply_confirm(s->supply);
}

void bundle_fail(struct tg_bundle_source *s, const char *why)
{
    snprintf(s->trouble, sizeof(s->trouble), "%s", why);
    tg_supply_fail(s->supply, why);
}

/* ---- its life ---- */

void bundle_plan(struct tg_bundle_source *s, int64_t delay_ms)
{
    tg_deadline_set(&s->control->wheel, &s->due, tg_clock_mono_ms() + delay_ms);
}

static void turn(struct tg_deadline *due)
{
    struct tg_bundle_source *s = (struct tg_bundle_source *)((char *)due - offsetof(struct tg_bundle_source, due));

    if (s->file)
        bundle_file_look(s);
    else
        bundle_url_ask(s);
}

/* Without its query: a presigned URL has its secret there. */
static char *name_of(const struct tg_bundle_settings *settings)
{
    struct tg_slice url = settings->url;
    const char *query = url.len ? memchr(url.ptr, '?', url.len) : NULL;

    if (settings->file.len)
        return tg_slice_dup(settings->file);
    return tg_slice_dup(tg_slice(url.ptr, query ? (size_t)(query - url.ptr) : url.len));
}

struct tg_bundle_source *tg_bundle_source_new(struct tg_worker *control, struct tg_fetcher *fetcher,
                                              const struct tg_bundle_settings *settings,
                                              const struct tg_bearer *bearer, struct tg_supply *supply)
{
    struct tg_bundle_source *s = TG_NEW(struct tg_bundle_source);

    *s = (struct tg_bundle_source){
        .control = control, .fetcher = fetcher, .supply = supply, .keys = tg_jwks_ref(settings->keys),
        .file = tg_slice_dup_or_null(settings->file), .url = tg_slice_dup_or_null(settings->url),
        .name = name_of(settings), .ca_file = tg_slice_dup_or_null(settings->ca_file),
        .proxy = tg_slice_dup_or_null(settings->proxy), .interval_ms = settings->interval_ms,
        .timeout_ms = settings->timeout_ms,
        .due = {.expired = turn}};
    if (bearer)
        s->bearer = *bearer;
    /* Whoever has not looked for longer than max_stale would make a good set stale. */
    if (settings->max_stale_ms > 0 && s->interval_ms > settings->max_stale_ms / 2)
        s->interval_ms = settings->max_stale_ms / 2;
    bundle_plan(s, 0);
    return s;
}

void tg_bundle_source_free(struct tg_bundle_source *s)
{
    if (!s)
        return;
    tg_deadline_clear(&s->control->wheel, &s->due);
    bundle_url_end(s);
    tg_jwks_unref(s->keys);
    free(s->file);
    free(s->url);
    free(s->name);
    free(s->ca_file);
    free(s->proxy);
    free(s->etag);
    free(s);
}

void tg_bundle_source_describe(struct tg_bundle_source *s, struct tg_buf *out)
{
    char until[TG_TIME_TEXT];

    tg_buf_addf(out, "bundle %s: ", s->name);
    if (s->facts.sequence > 0) {
        tg_clock_format(s->facts.expires_s * 1000, until);
        tg_buf_addf(out, "sequence %llu, signed by %s, expires %s", (unsigned long long)s->facts.sequence, s->facts.kid,
                    until);
    } else {
        tg_buf_adds(out, "none was good yet");
    }
    if (s->trouble[0])
        tg_buf_addf(out, "; %s", s->trouble);
    tg_buf_addc(out, '\n');
}
