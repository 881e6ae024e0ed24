/*
 * introspect_cache - what providers said of tokens, by the SHA-256 of the token.
 *
 * An entry is in one of three lists of its part, the most recently used first: LIVE (active, with its claims), PAST
 * (was active, the claims are gone), REFUSED (inactive, or asked about without an answer). Each has a bound of its own,
 * so that junk pushes out junk only. Time is wall time; an entry from ahead of it (the clock was set back) is not
 * believed.
 */
#include "introspect_internal.h"
#include "base/hash.h"

#define SHOWN_S 300u
#define JUNK_SALT UINT64_C(0x6a756e6b)

enum list { LIVE, PAST, REFUSED, LISTS };
struct entry {
    struct entry *chain;                                 /* of a bucket */
    struct entry *newer, *older;                         /* of a list */
    uint64_t hash, owner;
    uint8_t digest[TG_SHA256_LEN];
    enum list list;
    bool failed;                                         /* the last question was not answered */
    struct tg_introspection_answer *answer;              /* LIVE */
    int64_t known_ms, until_ms;                          /* what was said stands from .. until */
    int64_t told_ms;                                     /* when the last question ended */
    int64_t active_ms;                                   /* LIVE, PAST: when it was last said to be active */
};
struct lru {
    struct entry *newest, *oldest;
    size_t count, bytes;
};
struct part {
    _Alignas(64) pthread_mutex_t lock;
    struct lru lists[LISTS];
    struct entry **buckets;
};
struct tg_answers {
    atomic_uint refs;
    struct tg_answer_limits limits;                      /* of one part */
    size_t buckets;                                      /* of one part; a power of two */
    struct entry **table;
    struct part *parts;
    struct tg_shard *shown;
    atomic_size_t count;
    struct tg_series *entries;
};

const struct tg_answer_limits tg_answer_limits_usual = {
    .parts = 16, .active = 65536, .active_bytes = (size_t)64 << 20, .inactive = 65536, .remembered = 65536,
    .shown = (size_t)1 << 18,
};

/* ---- an answer ---- */

struct tg_introspection_answer *tg_answer_new(struct tg_slice claims, int64_t exp_s, int64_t until_ms)
{
    struct tg_introspection_answer *a = tg_alloc(sizeof(*a) + claims.len + 1);
    char *text = (char *)(a + 1);

    a->refs = 1;
    memcpy(text, claims.ptr, claims.len);
    a->claims = tg_slice(text, claims.len);
    a->exp_s = exp_s;
    a->until_ms = until_ms;
    return a;
}

void tg_introspection_answer_unref(struct tg_introspection_answer *answer)
{
    if (!answer || atomic_fetch_sub_explicit(&answer->refs, 1, memory_order_acq_rel) > 1)
        return;
    explicit_bzero(answer + 1, answer->claims.len);      /* what it said about a person */
    free(answer);
}

/* ---- the table ---- */

static size_t each(size_t all, unsigned parts)
{
    return all / parts ? all / parts : 1;
}

struct tg_answers *tg_answers_new(const struct tg_answer_limits *limits)
{
    struct tg_answers *t = TG_NEW(struct tg_answers);
    unsigned parts = limits->parts;

    t->refs = 1;
    t->limits = (struct tg_answer_limits){.parts = parts, .active = each(limits->active, parts),
                                          .active_bytes = each(limits->active_bytes, parts),
                                          .inactive = each(limits->inactive, parts),
                                          .remembered = each(limits->remembered, parts)};
    t->buckets = 1;
    while (t->buckets < t->limits.active)
        t->buckets *= 2;
    t->table = TG_NEW_ARRAY(struct entry *, t->buckets * parts);
    if (posix_memalign((void **)&t->parts, 64, parts * sizeof(struct part)) != 0)
        tg_panic(__FILE__, __LINE__, "out of memory");
    memset(t->parts, 0, parts * sizeof(struct part));
    for (unsigned i = 0; i < parts; i++) {
        pthread_mutex_init(&t->parts[i].lock, NULL);
        t->parts[i].buckets = t->table + t->buckets * i;
    }
    t->shown = tg_shard_new(limits->shown);
    t->entries = tg_metric_series(tg_metric_family(TG_GAUGE, "tollgate_introspection_cache_entries",
                                                   "Answers of providers about tokens, active and inactive ones.", ""),
                                  NULL);
    return t;
}

struct tg_answers *tg_answers_ref(struct tg_answers *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tg_answers_unref(struct tg_answers *t)
{
    struct entry *next;

    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < t->buckets * t->limits.parts; i++)
        for (struct entry *e = t->table[i]; e; e = next) {
            next = e->chain;
            tg_introspection_answer_unref(e->answer);
            free(e);
        }
    tg_metric_add(t->entries, 0, -(int64_t)atomic_load(&t->count));
    for (unsigned i = 0; i < t->limits.parts; i++)
        pthread_mutex_destroy(&t->parts[i].lock);
    tg_shard_free(t->shown);
    free(t->parts);
    free(t->table);
    free(t);
}

size_t tg_answers_count(const struct tg_answers *t)
{
    return atomic_load_explicit(&t->count, memory_order_relaxed);
}

/* ---- lists and buckets, under the part's lock ---- */

static uint64_t hash_of(uint64_t owner, const uint8_t digest[TG_SHA256_LEN])
{
    return tg_hash2(tg_hash(digest, TG_SHA256_LEN), owner);
}

static struct part *part_of(struct tg_answers *t, uint64_t hash)
{
    return &t->parts[(hash >> 32) & (t->limits.parts - 1)];
}

static struct entry **bucket_of(const struct tg_answers *t, const struct part *p, uint64_t hash)
{
    return &p->buckets[hash & (t->buckets - 1)];
}

static struct entry *find(const struct tg_answers *t, const struct part *p, uint64_t hash, uint64_t owner,
                          const uint8_t digest[TG_SHA256_LEN])
{
    struct entry *e = *bucket_of(t, p, hash);

    while (e && !(e->hash == hash && e->owner == owner && memcmp(e->digest, digest, TG_SHA256_LEN) == 0))
        e = e->chain;
    return e;
}

static size_t bytes_of(const struct entry *e)
{
    return sizeof(*e) + (e->answer ? sizeof(*e->answer) + e->answer->claims.len : 0);
}

static void counted(struct tg_answers *t, enum list list, int n)
{
    if (list == PAST)
        return;
    atomic_fetch_add_explicit(&t->count, (size_t)n, memory_order_relaxed);
    tg_metric_add(t->entries, 0, n);
}

static void unlist(struct tg_answers *t, struct part *p, struct entry *e)
{
    struct lru *l = &p->lists[e->list];

    *(e->newer ? &e->newer->older : &l->newest) = e->older;
    *(e->older ? &e->older->newer : &l->oldest) = e->newer;
    l->count--;
    l->bytes -= bytes_of(e);
    counted(t, e->list, -1);
}

static void enlist(struct tg_answers *t, struct part *p, struct entry *e, enum list list)
{
    struct lru *l = &p->lists[list];

    e->list = list;
    e->newer = NULL;
    e->older = l->newest;
    *(l->newest ? &l->newest->newer : &l->oldest) = e;
    l->newest = e;
    l->count++;
    l->bytes += bytes_of(e);
    counted(t, list, 1);
}

static void discard(struct tg_answers *t, struct part *p, struct entry *e)
{
    struct entry **link = bucket_of(t, p, e->hash);

    unlist(t, p, e);
    while (*link != e)
        link = &(*link)->chain;
    *link = e->chain;
    tg_introspection_answer_unref(e->answer);
    free(e);
}

/* Its claims go; that it was active stays known. */
static void demote(struct tg_answers *t, struct part *p, struct entry *e)
{
    unlist(t, p, e);
    tg_introspection_answer_unref(e->answer);
    e->answer = NULL;
    e->known_ms = e->until_ms = INT64_MIN;
    enlist(t, p, e, PAST);
}

static void make_room(struct tg_answers *t, struct part *p)
{
    const struct tg_answer_limits *m = &t->limits;
    struct lru *live = &p->lists[LIVE], *past = &p->lists[PAST], *refused = &p->lists[REFUSED];

    while (live->count > m->active || (live->bytes > m->active_bytes && live->count > 1))
        demote(t, p, live->oldest);
    while (past->count > m->remembered)
        discard(t, p, past->oldest);
    while (refused->count > m->inactive)
        discard(t, p, refused->oldest);
}

/* ---- what is known ---- */

static bool is_near(int64_t then_ms, int64_t now_ms, int64_t span_ms)
{
    return then_ms != INT64_MIN && now_ms > then_ms - TG_ANSWER_GRACE_MS && now_ms < then_ms + span_ms;
}

static bool stands(const struct entry *e, int64_t now_ms)
{
    return e->list != PAST && e->until_ms > e->known_ms && now_ms < e->until_ms &&
           now_ms > e->known_ms - TG_ANSWER_GRACE_MS;
}

static enum tg_introspect_state state_of(const struct entry *e, int64_t now_ms, bool asked)
{
    if (!stands(e, now_ms)) {
        if (!asked || !is_near(e->told_ms, now_ms, TG_ANSWER_GRACE_MS))
            return TG_INTROSPECT_UNKNOWN;
        if (e->failed)
            return TG_INTROSPECT_FAILED;
    }
    return e->answer ? TG_INTROSPECT_ACTIVE : e->list == REFUSED ? TG_INTROSPECT_INACTIVE : TG_INTROSPECT_UNKNOWN;
}

enum tg_introspect_state tg_answers_look(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN],
                                         int64_t now_ms, bool asked, struct tg_introspection_answer **out)
{
    enum tg_introspect_state state = TG_INTROSPECT_UNKNOWN;
    uint64_t hash = hash_of(owner, digest);
    struct part *p = part_of(t, hash);
    struct entry *e;

    pthread_mutex_lock(&p->lock);
    e = find(t, p, hash, owner, digest);
    if (e)
        state = state_of(e, now_ms, asked);
    if (state == TG_INTROSPECT_ACTIVE || state == TG_INTROSPECT_INACTIVE) {
        unlist(t, p, e);                                 /* to the front */
        enlist(t, p, e, e->list);
    }
    if (state == TG_INTROSPECT_ACTIVE) {
        atomic_fetch_add_explicit(&e->answer->refs, 1, memory_order_relaxed);
        *out = e->answer;
    }
    pthread_mutex_unlock(&p->lock);
    return state;
}

bool tg_answers_was_active(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms)
{
    uint64_t hash = hash_of(owner, digest);
    struct part *p = part_of(t, hash);
    const struct entry *e;
    bool was;

    pthread_mutex_lock(&p->lock);
    e = find(t, p, hash, owner, digest);
    was = e && e->list != REFUSED && is_near(e->active_ms, now_ms, TG_ANSWER_REMEMBERED_MS);
    pthread_mutex_unlock(&p->lock);
    return was;
}

/* ---- what is learned ---- */

/* The entry, off its list; a new one when there is none. */
static struct entry *take_entry(struct tg_answers *t, struct part *p, uint64_t hash, uint64_t owner,
                                const uint8_t digest[TG_SHA256_LEN])
{
    struct entry *e = find(t, p, hash, owner, digest), **bucket = bucket_of(t, p, hash);

    if (e) {
        unlist(t, p, e);
        return e;
    }
    e = TG_NEW(struct entry);
    e->list = REFUSED;
    e->hash = hash;
    e->owner = owner;
    e->known_ms = e->until_ms = e->active_ms = INT64_MIN;
    memcpy(e->digest, digest, TG_SHA256_LEN);
    e->chain = *bucket;
    *bucket = e;
    return e;
}

static void replace_answer(struct entry *e, struct tg_introspection_answer *answer)
{
    tg_introspection_answer_unref(e->answer);
    e->answer = answer;
}

void tg_answers_put_active(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN],
                           struct tg_introspection_answer *answer, int64_t known_ms, int64_t now_ms)
{
    uint64_t hash = hash_of(owner, digest);
    struct part *p = part_of(t, hash);
    struct entry *e;

    pthread_mutex_lock(&p->lock);
    e = take_entry(t, p, hash, owner, digest);
    replace_answer(e, answer);
    e->failed = false;
    e->known_ms = known_ms;
    e->until_ms = answer->until_ms;
    e->told_ms = e->active_ms = now_ms;
    enlist(t, p, e, LIVE);
    make_room(t, p);
    pthread_mutex_unlock(&p->lock);
}

void tg_answers_put_inactive(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN],
                             int64_t known_ms, int64_t until_ms, int64_t now_ms)
{
    uint64_t hash = hash_of(owner, digest);
    struct part *p = part_of(t, hash);
    struct entry *e;

    pthread_mutex_lock(&p->lock);
    e = take_entry(t, p, hash, owner, digest);
    replace_answer(e, NULL);
    e->failed = false;
    e->known_ms = known_ms;
    e->until_ms = until_ms;
    e->told_ms = now_ms;
    e->active_ms = INT64_MIN;
    enlist(t, p, e, REFUSED);
    make_room(t, p);
    pthread_mutex_unlock(&p->lock);
}

void tg_answers_put_failed(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms)
{
    uint64_t hash = hash_of(owner, digest);
    struct part *p = part_of(t, hash);
    struct entry *e;

    pthread_mutex_lock(&p->lock);
    e = take_entry(t, p, hash, owner, digest);           /* what it was before stays: trouble says nothing about it */
    e->failed = true;
    e->told_ms = now_ms;
    enlist(t, p, e, e->list);
    make_room(t, p);
    pthread_mutex_unlock(&p->lock);
}

/* ---- time ---- */

static void sweep_entry(struct tg_answers *t, struct part *p, struct entry *e, int64_t now_ms)
{
    bool needed = stands(e, now_ms) || is_near(e->told_ms, now_ms, TG_ANSWER_GRACE_MS);

    if (e->list == LIVE && !needed)
        demote(t, p, e);
    else if (e->list == REFUSED && !needed)
        discard(t, p, e);
    else if (e->list == PAST && !needed && !is_near(e->active_ms, now_ms, TG_ANSWER_REMEMBERED_MS))
        discard(t, p, e);
}

void tg_answers_sweep(struct tg_answers *t, int64_t now_ms)
{
    for (unsigned i = 0; i < t->limits.parts; i++) {
        struct part *p = &t->parts[i];

        pthread_mutex_lock(&p->lock);
        for (enum list list = LIVE; list < LISTS; list++)
            for (struct entry *e = p->lists[list].oldest, *newer; e; e = newer) {
                newer = e->newer;
                sweep_entry(t, p, e, now_ms);
            }
        make_room(t, p);
        pthread_mutex_unlock(&p->lock);
    }
}

/* ---- shown without being asked about ---- */

static uint32_t count_shown(struct tg_answers *t, uint64_t key, uint32_t cost, int64_t mono_s)
{
    uint32_t now_s = (uint32_t)mono_s + 1;
    struct tg_shard_window window = {(now_s / SHOWN_S + 1) * SHOWN_S, SHOWN_S, now_s};
    struct tg_shard_count count;

    tg_shard_take(t->shown, key ? key : 1, &window, UINT32_MAX, cost, &count);
    return count.used;
}

unsigned tg_answers_shown(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t mono_s)
{
    uint64_t key = hash_of(owner, digest);
    unsigned times = count_shown(t, key, 1, mono_s);

    return times > 1 && count_shown(t, tg_hash2(key, JUNK_SALT), 0, mono_s) == 0 ? times : 1;
}

void tg_answers_shown_junk(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t mono_s)
{
    count_shown(t, tg_hash2(hash_of(owner, digest), JUNK_SALT), 1, mono_s);
}
