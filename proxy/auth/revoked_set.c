/*
 * revoked_set - records of 24 bytes, their texts side by side in one pool, and an open table of record numbers.
 *
 * The table is at most half full and probed in a line. Records of one token (its jti, or its subject) are found one
 * behind another; one that says less than another is replaced by it, so there are rarely two.
 */
#include "revoked_set.h"
#include "base/hash.h"
#include "base/map.h"
#include <stdatomic.h>

#define CHAIN_MAX 1024                                   /* records of one token */
#define TABLE_MIN 64

struct record {
    uint32_t hash;                                       /* upper half; the lower one is its place */
    uint32_t issuer;                                     /* index */
    uint32_t text;                                       /* where it begins in the pool */
    uint32_t not_before_s, until_s;
    uint16_t len;
    uint16_t kind;
};

struct tg_revoked_set {
    atomic_uint refs;
    struct record *records;
    size_t count, cap;
    uint32_t *table;                                     /* number of a record and 1; 0: free */
    size_t table_size;                                   /* power of two */
    struct tg_buf pool;
    struct tg_slice *issuers;
    size_t issuer_count, issuer_cap;
    struct tg_map *by_issuer;                            /* index and 1, as a pointer; NULL: sealed */
};

struct tg_revoked_set *tg_revoked_set_new(void)
{
    struct tg_revoked_set *set = TG_NEW(struct tg_revoked_set);

    set->refs = 1;
    set->table_size = TABLE_MIN;
    set->table = TG_NEW_ARRAY(uint32_t, set->table_size);
    set->by_issuer = tg_map_new(NULL);
    return set;
}

struct tg_revoked_set *tg_revoked_set_ref(struct tg_revoked_set *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void tg_revoked_set_unref(struct tg_revoked_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < set->issuer_count; i++)
        free((char *)(uintptr_t)set->issuers[i].ptr);
    tg_map_free(set->by_issuer);
    tg_buf_fini(&set->pool);
    free(set->issuers);
    free(set->records);
    free(set->table);
    free(set);
}

size_t tg_revoked_set_count(const struct tg_revoked_set *set)
{
    return set->count;
}

size_t tg_revoked_set_bytes(const struct tg_revoked_set *set)
{
    size_t bytes = sizeof(*set) + set->cap * sizeof(struct record) + set->table_size * sizeof(uint32_t) +
                   set->pool.cap + set->issuer_cap * sizeof(struct tg_slice);

    for (size_t i = 0; i < set->issuer_count; i++)
        bytes += set->issuers[i].len + 1;
    return bytes;
}

/* ---- looking up ---- */

static uint64_t hash_of(struct tg_slice issuer, enum tg_revoked_kind kind, struct tg_slice text)
{
    return tg_hash2(tg_hash_slice(issuer) + (uint64_t)kind, tg_hash_slice(text));
}

static bool is_record_of(const struct tg_revoked_set *set, const struct record *r, uint64_t hash,
                         enum tg_revoked_kind kind, struct tg_slice issuer, struct tg_slice text)
{
    return r->hash == (uint32_t)(hash >> 32) && r->kind == kind &&
           tg_slice_eq(tg_slice(set->pool.data + r->text, r->len), text) &&
           tg_slice_eq(set->issuers[r->issuer], issuer);
}

bool tg_revoked_set_has(const struct tg_revoked_set *set, enum tg_revoked_kind kind, struct tg_slice issuer,
                        struct tg_slice text, int64_t iat_s, int64_t now_s)
{
    uint64_t hash = hash_of(issuer, kind, text);
    size_t mask = set->table_size - 1;

    for (size_t i = (size_t)hash & mask; set->table[i]; i = (i + 1) & mask) {
        const struct record *r = &set->records[set->table[i] - 1];

        if (is_record_of(set, r, hash, kind, issuer, text) && (r->until_s == UINT32_MAX || now_s <= r->until_s) &&
            (r->not_before_s == UINT32_MAX || iat_s < (int64_t)r->not_before_s))
            return true;
    }
    return false;
}

static bool is_in(const struct tg_revoked_set *set, const struct tg_identity *id, int64_t now_s)
{
    if (!set || set->count == 0)
        return false;
    return (id->jti.ptr && tg_revoked_set_has(set, TG_REVOKED_JTI, id->issuer, id->jti, id->iat_s, now_s)) ||
           tg_revoked_set_has(set, TG_REVOKED_SUB, id->issuer, id->subject, id->iat_s, now_s);
}

bool tg_is_revoked(const struct tg_revoked_view *view, const struct tg_identity *id, int64_t now_s)
{
    return is_in(view->set, id, now_s) || is_in(view->told, id, now_s);
}

/* ---- adding ---- */

static uint32_t index_of_issuer(struct tg_revoked_set *set, struct tg_slice issuer)
{
    uintptr_t known = (uintptr_t)tg_map_get(set->by_issuer, issuer);

    if (known)
        return (uint32_t)(known - 1);
    if (set->issuer_count == set->issuer_cap) {
        set->issuer_cap = set->issuer_cap ? 2 * set->issuer_cap : 8;
        set->issuers = tg_realloc(set->issuers, set->issuer_cap * sizeof(*set->issuers));
    }
    set->issuers[set->issuer_count] = tg_slice(tg_slice_dup(issuer), issuer.len);
    tg_map_put(set->by_issuer, issuer, (void *)(uintptr_t)++set->issuer_count);
    return (uint32_t)(set->issuer_count - 1);
}

/* The record's full hash once more: only half of it is kept. */
static uint64_t hash_of_record(const struct tg_revoked_set *set, const struct record *r)
{
    return hash_of(set->issuers[r->issuer], (enum tg_revoked_kind)r->kind,
                   tg_slice(set->pool.data + r->text, r->len));
}

static void grow_table(struct tg_revoked_set *set)
{
    size_t size = set->table_size * 2, mask = size - 1;
    uint32_t *table = TG_NEW_ARRAY(uint32_t, size);

    for (size_t k = 0; k < set->count; k++) {
        size_t i = (size_t)hash_of_record(set, &set->records[k]) & mask;

        while (table[i])
            i = (i + 1) & mask;
        table[i] = (uint32_t)(k + 1);
    }
    free(set->table);
    set->table = table;
    set->table_size = size;
}

static bool covers(const struct record *r, const struct tg_revoked_entry *e)
{
    return r->not_before_s >= e->not_before_s && r->until_s >= e->until_s;
}

static bool is_covered(const struct record *r, const struct tg_revoked_entry *e)
{
    return r->not_before_s <= e->not_before_s && r->until_s <= e->until_s;
}

/* Where a new record of that hash goes; NULL: there is nothing to add any more, or (`st`) too much. */
static uint32_t *place_for(struct tg_revoked_set *set, const struct tg_revoked_entry *e, uint64_t hash,
                           enum tg_status *st, struct tg_err *err)
{
    size_t mask = set->table_size - 1, i, chain = 0;

    for (i = (size_t)hash & mask; set->table[i]; i = (i + 1) & mask) {
        struct record *r = &set->records[set->table[i] - 1];

        if (!is_record_of(set, r, hash, e->kind, e->issuer, e->text))
            continue;
        if (covers(r, e))
            return NULL;
        if (is_covered(r, e)) {
            r->not_before_s = e->not_before_s;
            r->until_s = e->until_s;
            return NULL;
        }
        if (++chain == CHAIN_MAX) {
            *st = tg_fail(err, TG_LIMIT, "more than %d entries of one token or subject", CHAIN_MAX);
            return NULL;
        }
    }
    return &set->table[i];
}

static void add_record(struct tg_revoked_set *set, const struct tg_revoked_entry *e, uint64_t hash)
{
    if (set->count == set->cap) {
        set->cap = set->cap ? set->cap + set->cap / 2 : 32;
        set->records = tg_realloc(set->records, set->cap * sizeof(*set->records));
    }
    set->records[set->count++] = (struct record){
        .hash = (uint32_t)(hash >> 32), .issuer = index_of_issuer(set, e->issuer), .text = (uint32_t)set->pool.len,
        .not_before_s = e->not_before_s, .until_s = e->until_s, .len = (uint16_t)e->text.len, .kind = (uint16_t)e->kind,
    };
    tg_buf_add_slice(&set->pool, e->text);
}

enum tg_status tg_revoked_set_add(struct tg_revoked_set *set, const struct tg_revoked_entry *e, struct tg_err *err)
{
    uint64_t hash = hash_of(e->issuer, e->kind, e->text);
    enum tg_status st = TG_OK;
    uint32_t *place;

    if ((set->count + 1) * 2 > set->table_size)
        grow_table(set);
    place = place_for(set, e, hash, &st, err);
    if (!place)
        return st;
    if (set->count == TG_REVOKED_ENTRIES)
        return tg_fail(err, TG_LIMIT, "more than %d entries", TG_REVOKED_ENTRIES);
    add_record(set, e, hash);
    *place = (uint32_t)set->count;
    return TG_OK;
}

void tg_revoked_set_seal(struct tg_revoked_set *set)
{
    tg_map_free(set->by_issuer);
    set->by_issuer = NULL;
    if (set->count && set->count < set->cap) {
        set->records = tg_realloc(set->records, set->count * sizeof(*set->records));
        set->cap = set->count;
    }
    if (set->pool.len && set->pool.len < set->pool.cap) {
        set->pool.data = tg_realloc(set->pool.data, set->pool.len);
        set->pool.cap = set->pool.len;
    }
}

static void *copy_of(const void *from, size_t used, size_t room)
{
    void *to = tg_alloc(room);

    if (used)
        memcpy(to, from, used);
    return to;
}

static struct tg_revoked_entry entry_of(const struct tg_revoked_set *set, const struct record *r)
{
    return (struct tg_revoked_entry){.issuer = set->issuers[r->issuer], .kind = (enum tg_revoked_kind)r->kind,
                                     .text = tg_slice(set->pool.data + r->text, r->len),
                                     .not_before_s = r->not_before_s, .until_s = r->until_s};
}

static size_t count_past(const struct tg_revoked_set *set, int64_t now_s)
{
    size_t n = 0;

    for (size_t i = 0; i < set->count; i++)
        n += set->records[i].until_s < now_s;
    return n;
}

struct tg_revoked_set *tg_revoked_set_copy(const struct tg_revoked_set *set, int64_t now_s)
{
    struct tg_revoked_set *copy = tg_revoked_set_new();

    if (!set)
        return copy;
    if (count_past(set, now_s) > set->count / 4) {
        for (size_t i = 0; i < set->count; i++) {
            struct tg_revoked_entry e = entry_of(set, &set->records[i]);

            if (e.until_s >= now_s)
                tg_revoked_set_add(copy, &e, NULL);      /* there was room for it before */
        }
        return copy;
    }
    free(copy->table);
    copy->table_size = set->table_size;
    copy->table = copy_of(set->table, set->table_size * sizeof(*set->table), set->table_size * sizeof(*set->table));
    copy->count = set->count;
    copy->cap = set->count + 32;
    copy->records = copy_of(set->records, set->count * sizeof(*set->records), copy->cap * sizeof(*set->records));
    tg_buf_add(&copy->pool, set->pool.data, set->pool.len);
    for (size_t i = 0; i < set->issuer_count; i++)
        index_of_issuer(copy, set->issuers[i]);
    return copy;
}
