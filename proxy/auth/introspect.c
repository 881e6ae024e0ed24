/*
 * introspect - the introspections of the process: which there are, made and kept as configurations come and go.
 *
 * One is kept, and with it what is known of its tokens, while everything an answer depends on is the same; what
 * tollgate shows of itself may change meanwhile.
 */
#include "introspect_internal.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include <stddef.h>

#define TICK_MS 10000

struct tg_introspector {
    struct tg_worker *control;
    struct tg_fetcher *fetcher;
    struct tg_answers *answers;                          /* NULL: no provider introspects yet */
    uint64_t owners;                                     /* given out */
    struct tg_deadline tick;
    pthread_mutex_t lock;                                /* of the list; the control thread alone changes it */
    struct tg_introspection *all;
};

/* ---- one introspection ---- */

struct tg_introspection *tg_introspection_ref(struct tg_introspection *i)
{
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
    return i;
}

void tg_introspection_unref(struct tg_introspection *i)
{
    if (!i || atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) > 1)
        return;
    tg_assert(i->open == 0 && !i->endpoint);
    tg_client_auth_fini(&i->client);
    tg_arena_fini(&i->client_arena);
    tg_arena_fini(&i->arena);
    tg_answers_unref(i->answers);
    pthread_mutex_destroy(&i->lock);
    free(i->fingerprint);
    free(i->ca_file);
    free(i->proxy);
    free(i);
}

static bool is_forsaken(struct tg_introspection *i)
{
    return atomic_load_explicit(&i->refs, memory_order_acquire) == 1;
}

static struct tg_slice *copy_list(struct tg_arena *arena, const struct tg_slice *items, size_t count)
{
    struct tg_slice *copy = TG_ARENA_ARRAY(arena, struct tg_slice, count);

    for (size_t n = 0; n < count; n++)
        copy[n] = tg_arena_dup(arena, items[n]);
    return copy;
}

/* The configuration goes before the last answer may come. */
static void copy_rules(struct tg_introspection *i, const struct tg_jwt_rules *rules)
{
    i->rules = *rules;
    i->rules.introspected = true;
    i->rules.issuer = i->issuer;
    i->rules.audiences = copy_list(&i->arena, rules->audiences, rules->audience_count);
    i->rules.required_claims = copy_list(&i->arena, rules->required_claims, rules->required_claim_count);
}

static void make_series(struct tg_introspection *i)
{
    struct tg_metric *asked = tg_metric_family(TG_COUNTER, "tollgate_introspection_requests_total",
                                               "Questions to a provider about tokens.", "provider,result");
    struct tg_metric *budget = tg_metric_family(TG_COUNTER, "tollgate_introspection_budget_refused_total",
                                                "Questions not asked because too many were.", "provider");
    const struct {
        struct tg_series **series;
        struct tg_slice result;
    } results[] = {{&i->series.active, TG_S_INIT("active")}, {&i->series.inactive, TG_S_INIT("inactive")},
                   {&i->series.failed, TG_S_INIT("failed")}, {&i->series.refused, TG_S_INIT("refused")}};

    for (size_t n = 0; n < ARRAY_LEN(results); n++)
        *results[n].series = tg_metric_series(asked, (struct tg_slice[]){i->name, results[n].result});
    i->series.budget = tg_metric_series(budget, &i->name);
}

/* ---- what its answers depend on, as a text ---- */

static void add_text(struct tg_buf *out, struct tg_slice text)
{
    tg_buf_addf(out, "%zu:", text.len);
    tg_buf_add_slice(out, text);
}

static void add_list(struct tg_buf *out, const struct tg_slice *items, size_t count)
{
    tg_buf_addf(out, "%zu[", count);
    for (size_t n = 0; n < count; n++)
        add_text(out, items[n]);
}

static char *fingerprint(const struct tg_provider *p)
{
    const struct tg_introspection_settings *s = p->introspection;
    const struct tg_jwt_rules *r = &p->rules;
    const struct tg_slice texts[] = {p->name, p->issuer, p->ca_file, p->token_file, p->proxy, s->url,
                                     s->client.client_id};
    struct tg_buf out = {0};

    add_list(&out, texts, ARRAY_LEN(texts));
    add_list(&out, r->audiences, r->audience_count);
    add_list(&out, r->required_claims, r->required_claim_count);
    tg_buf_addf(&out, "%d %d %d %lld %lld %lld ", p->allow_http, (int)r->token_use, r->rfc9068, (long long)r->leeway_s,
                (long long)r->max_lifetime_s, (long long)r->max_age_s);
    tg_buf_addf(&out, "%lld %lld %lld", (long long)s->ttl_ms, (long long)s->negative_ttl_ms, (long long)s->timeout_ms);
    tg_buf_cstr(&out);
    return out.data;
}

/* ---- coming and going, on the control thread ---- */

static struct tg_endpoint *endpoint_of(struct tg_introspector *x, const struct tg_provider *p)
{
    return tg_endpoint_new(x->fetcher, &(struct tg_endpoint_settings){
        .url = p->introspection->url, .issuer = p->issuer, .member = "introspection_endpoint", .ca_file = p->ca_file,
        .token_file = p->token_file, .proxy = p->proxy, .allow_http = p->allow_http,
        .timeout_ms = p->introspection->timeout_ms});
}

static void add(struct tg_introspector *x, struct tg_introspection *i)
{
    pthread_mutex_lock(&x->lock);
    i->next = x->all;
    x->all = i;
    pthread_mutex_unlock(&x->lock);
}

static struct tg_introspection *make(struct tg_introspector *x, const struct tg_provider *p, char *print)
{
    struct tg_introspection *i = TG_NEW(struct tg_introspection);

    i->refs = 1;
    i->answers = tg_answers_ref(x->answers);
    i->owner = ++x->owners;
    pthread_mutex_init(&i->lock, NULL);
    i->control = x->control;
    i->fetcher = x->fetcher;
    tg_budget_init(&i->budget, p->introspection->rate, tg_clock_mono_ms());
    tg_arena_init(&i->arena, NULL, 0);
    tg_arena_init(&i->client_arena, NULL, 0);
    i->fingerprint = print;
    i->name = tg_arena_dup(&i->arena, p->name);
    i->issuer = tg_arena_dup(&i->arena, p->issuer);
    copy_rules(i, &p->rules);
    i->ttl_ms = p->introspection->ttl_ms;
    i->negative_ttl_ms = p->introspection->negative_ttl_ms;
    i->timeout_ms = p->introspection->timeout_ms;
    i->endpoint = endpoint_of(x, p);
    i->ca_file = tg_slice_dup_or_null(p->ca_file);
    i->proxy = tg_slice_dup_or_null(p->proxy);
    i->queue_last = &i->queue;
    i->logged_ms = i->rejected_ms = INT64_MIN;
    make_series(i);
    add(x, i);
    return i;
}

static void adopt(struct tg_introspection *i, const struct tg_introspection_settings *s)
{
    tg_client_auth_fini(&i->client);
    tg_arena_fini(&i->client_arena);
    tg_arena_init(&i->client_arena, NULL, 0);
    tg_client_auth_copy(&s->client, &i->client_arena, &i->client);
    pthread_mutex_lock(&i->lock);
    tg_budget_set_rate(&i->budget, s->rate);
    pthread_mutex_unlock(&i->lock);
}

static void retire(struct tg_introspection *i)
{
    tg_questions_give_up(i);
    tg_endpoint_free(i->endpoint);
    i->endpoint = NULL;
    tg_introspection_unref(i);
}

static void sweep(struct tg_introspector *x)
{
    struct tg_introspection **link = &x->all, *gone = NULL, *next;

    pthread_mutex_lock(&x->lock);
    while (*link) {
        if (!is_forsaken(*link)) {
            link = &(*link)->next;
            continue;
        }
        next = (*link)->next;
        (*link)->next = gone;
        gone = *link;
        *link = next;
    }
    pthread_mutex_unlock(&x->lock);
    for (; gone; gone = next) {
        next = gone->next;
        retire(gone);
    }
}

static void on_tick(struct tg_deadline *d)
{
    struct tg_introspector *x = (struct tg_introspector *)(void *)((char *)d - offsetof(struct tg_introspector, tick));

    tg_answers_sweep(x->answers, tg_clock_wall_ms());
    sweep(x);
    tg_deadline_set(&x->control->wheel, &x->tick, tg_clock_mono_ms() + TICK_MS);
}

/* ---- the introspector ---- */

struct tg_introspector *tg_introspector_new(struct tg_worker *control, struct tg_fetcher *fetcher)
{
    struct tg_introspector *x = TG_NEW(struct tg_introspector);

    x->control = control;
    x->fetcher = fetcher;
    x->tick.expired = on_tick;
    pthread_mutex_init(&x->lock, NULL);
    return x;
}

void tg_introspector_free(struct tg_introspector *x)
{
    struct tg_introspection *next;

    if (!x)
        return;
    tg_deadline_clear(&x->control->wheel, &x->tick);
    for (struct tg_introspection *i = x->all; i; i = next) {
        next = i->next;
        retire(i);
    }
    tg_answers_unref(x->answers);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

static void bind_one(struct tg_introspector *x, struct tg_provider *p)
{
    char *print = fingerprint(p);
    struct tg_introspection *i = x->all;

    if (!x->answers) {
        x->answers = tg_answers_new(&tg_answer_limits_usual);
        tg_deadline_set(&x->control->wheel, &x->tick, tg_clock_mono_ms() + TICK_MS);
    }
    while (i && strcmp(i->fingerprint, print) != 0)
        i = i->next;
    if (i)
        free(print);
    else
        i = make(x, p, print);
    adopt(i, p->introspection);
    p->asked = tg_introspection_ref(i);
    p->release_asked = tg_introspection_unref;
}

void tg_introspector_bind(struct tg_introspector *x, struct tg_providers *providers)
{
    for (size_t n = 0; n < providers->count; n++)
        if (providers->items[n].introspection && !providers->items[n].asked)
            bind_one(x, &providers->items[n]);
    sweep(x);
}

static void describe(struct tg_introspection *i, struct tg_buf *out)
{
    pthread_mutex_lock(&i->lock);
    tg_buf_addf(out, TG_S_FMT ": tokens are asked about", TG_S_ARG(i->name));
    if (i->trouble[0])
        tg_buf_addf(out, "; %s", i->trouble);
    tg_buf_addc(out, '\n');
    pthread_mutex_unlock(&i->lock);
}

void tg_introspector_describe(struct tg_introspector *x, struct tg_buf *out)
{
    pthread_mutex_lock(&x->lock);
    for (struct tg_introspection *i = x->all; i; i = i->next)
        if (!is_forsaken(i))
            describe(i, out);
    pthread_mutex_unlock(&x->lock);
}
