/*
 * pat_set - tokens by digest.
 *
 * An open table, at most half full; a digest is its own hash, for nobody can choose one. Sets that follow one another
 * share the entries that did not change, so that a change of one among many costs a walk over pointers.
 */
#include "pat_internal.h"
#include "base/json.h"

struct tg_pat_set {
    atomic_uint refs;
    size_t count, mask;
    struct tg_pat_entry *slots[];
};

struct tg_pat_set *tg_pat_set_new(size_t room)
{
    struct tg_pat_set *set;
    size_t size = 16;

    while (size < 2 * room)
        size *= 2;
    set = tg_alloc(sizeof *set + size * sizeof(struct tg_pat_entry *));
    atomic_init(&set->refs, 1);
    set->mask = size - 1;
    return set;
}

struct tg_pat_set *tg_pat_set_ref(struct tg_pat_set *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void tg_pat_set_unref(struct tg_pat_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i <= set->mask; i++) {
        struct tg_pat_entry *entry = set->slots[i];

        if (entry && atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) == 1)
            free(entry);
    }
    free(set);
}

static size_t first_slot(const struct tg_pat_set *set, const uint8_t digest[TG_SHA256_LEN])
{
    uint64_t word;

    memcpy(&word, digest, sizeof word);
    return word & set->mask;
}

void tg_pat_set_add(struct tg_pat_set *set, struct tg_pat_entry *entry)
{
    size_t i = first_slot(set, entry->digest);

    tg_assert(set->count <= set->mask / 2);
    while (set->slots[i])
        i = (i + 1) & set->mask;
    set->slots[i] = entry;
    set->count++;
}

struct tg_pat_entry *tg_pat_set_find(const struct tg_pat_set *set, const uint8_t digest[TG_SHA256_LEN])
{
    struct tg_slice wanted = tg_slice((const char *)digest, TG_SHA256_LEN);

    for (size_t i = first_slot(set, digest); set->slots[i]; i = (i + 1) & set->mask)
        if (tg_equal_ct(tg_slice((const char *)set->slots[i]->digest, TG_SHA256_LEN), wanted))
            return set->slots[i];
    return NULL;
}

size_t tg_pat_set_count(const struct tg_pat_set *set)
{
    return set->count;
}

struct tg_pat_entry *tg_pat_set_next(const struct tg_pat_set *set, size_t *i)
{
    while (*i <= set->mask) {
        struct tg_pat_entry *entry = set->slots[(*i)++];

        if (entry)
            return entry;
    }
    return NULL;
}

/* Two workers may both find it older: either value is right. */
void tg_pat_entry_used(struct tg_pat_entry *entry, int64_t now_ms)
{
    int64_t minute = now_ms / 60000;

    if (atomic_load_explicit(&entry->used_min, memory_order_relaxed) < minute)
        atomic_store_explicit(&entry->used_min, minute, memory_order_relaxed);
}

void tg_pat_entry_claims(const struct tg_pat_entry *entry, struct tg_buf *out)
{
    struct tg_slice sub = tg_slice(entry->text, entry->sub_len);

    tg_buf_addf(out, "{\"iss\":\"" TG_PAT_ISSUER "\",\"jti\":\"%.*s\",\"iat\":%lld,\"sub\":", TG_PAT_ID_LEN, entry->id,
                (long long)entry->created_s);
    if (sub.len)
        tg_json_add_string(out, sub);
    else
        tg_buf_addf(out, "\"pat:%.*s\"", TG_PAT_ID_LEN, entry->id);
    if (entry->exp_s != INT64_MAX)
        tg_buf_addf(out, ",\"exp\":%lld", (long long)entry->exp_s);
    if (entry->claims_len > 2) {                         /* more than {} */
        tg_buf_addc(out, ',');
        tg_buf_add(out, entry->text + entry->sub_len + 1, entry->claims_len - 1);
    } else {
        tg_buf_addc(out, '}');
    }
}
