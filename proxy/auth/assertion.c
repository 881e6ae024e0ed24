/*
 * assertion - a worker's assertions: a table of sets of four, from identity and audience to a token that still stands.
 *
 * A hit hashes the audience and looks at no more than four entries; nothing is allocated. In a full set what has run
 * out makes room, else what was longest unused. An entry holds a reference to its identity, so that the place of one is
 * never another's; all together are bounded in octets, too: a hand goes round the table and clears.
 */
#include "auth/assertion.h"
#include "assertion_parts.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"

#define WAYS 4
#define ENTRY_BYTES 4096                                 /* on average, over all entries */
#define RENEW_MS ((TG_ASSERTION_SECONDS - 60) * 1000)
#define RETRY_MS 1000                                    /* after a key that did not sign */
#define BACK_MS 1000                                     /* a clock may be set back so far */

struct entry {
    const struct tg_identity *identity;                  /* a reference; NULL: not in use */
    const struct tg_slice *groups;                       /* items of the filter */
    struct tg_buf text;                                  /* audience, issuer, token */
    size_t audience_len, issuer_len, token_len;          /* token_len 0: it cannot be made */
    int64_t made_ms, until_ms, used_ms;
    size_t bytes;
};
struct tg_assertions {
    struct tg_signing *signing;
    struct tg_signing_keys *keys;                        /* a reference to those of `version`; NULL: nobody signs */
    uint64_t version;
    struct entry *entries;
    size_t count, hand;                                  /* of entries: a power of two, at least WAYS */
    size_t bytes, max_bytes;
    size_t made;
    struct tg_buf claims;                                /* scratch */
    struct tg_series *done, *too_long, *failed;
    bool told_long, told_failed;
};

static struct tg_series *series(const char *result)
{
    struct tg_slice value = tg_slice_str(result);

    return tg_metric_series(tg_metric_family(TG_COUNTER, "tollgate_assertions_total",
                                             "Assertions made for the services; one is sent many times.", "result"),
                            &value);
}

struct tg_assertions *tg_assertions_new(struct tg_signing *s, size_t max_entries)
{
    struct tg_assertions *a = TG_NEW(struct tg_assertions);

    a->signing = s;
    a->version = UINT64_MAX;                             /* of no key yet */
    a->count = WAYS;
    while (a->count * 2 <= max_entries)
        a->count *= 2;
    a->max_bytes = a->count * ENTRY_BYTES;
    a->entries = TG_NEW_ARRAY(struct entry, a->count);
    a->done = series("signed");
    a->too_long = series("too_long");
    a->failed = series("failed");
    return a;
}

static void clear(struct tg_assertions *a, struct entry *e)
{
    if (!e->identity)
        return;
    tg_identity_unref(e->identity);
    tg_buf_fini(&e->text);
    a->bytes -= e->bytes;
    memset(e, 0, sizeof(*e));
}

void tg_assertions_free(struct tg_assertions *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++)
        clear(a, &a->entries[i]);
    tg_signing_keys_unref(a->keys);
    tg_buf_fini(&a->claims);
    free(a->entries);
    free(a);
}

/* Another key: what the old one signed is not sent any more, for it may have been replaced because it leaked. */
static void follow_keys(struct tg_assertions *a)
{
    for (size_t i = 0; i < a->count && a->bytes > 0; i++)
        clear(a, &a->entries[i]);
    tg_signing_keys_unref(a->keys);
    a->keys = tg_signing_keys(a->signing, &a->version);
}

static const struct tg_slice *filter_of(const struct tg_assertion_subject *subject)
{
    return subject->groups_filter && subject->groups_filter->count ? subject->groups_filter->items : NULL;
}

static struct entry *set_of(const struct tg_assertions *a, const struct tg_assertion_subject *subject)
{
    uint64_t hash = tg_hash2(tg_hash_slice(subject->audience), (uintptr_t)subject->identity);

    return &a->entries[(hash & (a->count / WAYS - 1)) * WAYS];
}

static bool is_for(const struct entry *e, const struct tg_assertion_subject *subject)
{
    const char *text = e->text.data;

    return e->identity == subject->identity && e->groups == filter_of(subject) &&
           tg_slice_eq(tg_slice(text, e->audience_len), subject->audience) &&
           tg_slice_eq(tg_slice(text + e->audience_len, e->issuer_len), subject->issuer);
}

static bool stands(const struct entry *e, int64_t now_ms)
{
    return now_ms < e->until_ms && now_ms >= e->made_ms - BACK_MS;
}

static struct tg_slice token_of(const struct entry *e)
{
    return tg_slice(e->text.data + e->audience_len + e->issuer_len, e->token_len);
}

/* ---- one that is not there ---- */

static void tell_long(struct tg_assertions *a, const struct tg_assertion_subject *subject)
{
    tg_metric_add(a->too_long, 0, 1);
    if (a->told_long)
        return;
    a->told_long = true;
    tg_log(TG_LOG_WARN, "a caller's claims do not fit into an assertion: the service is not told who calls; name the "
           "groups it needs in jwt_groups_filter", TG_F_SLICE("audience", subject->audience),
           TG_F_SLICE("token_id", subject->identity->token_id), TG_F_INT("limit", TG_IDENTITY_VALUE_BYTES));
}

static void tell_failed(struct tg_assertions *a, const char *why)
{
    tg_metric_add(a->failed, 0, 1);
    if (a->told_failed)
        return;
    a->told_failed = true;
    tg_log(TG_LOG_ERROR, "an assertion is not signed: the service is not told who calls", TG_F_STR("reason", why));
}

/* Header and signature need 250 octets and more; the exact length is looked at when it is there. */
static bool is_too_long(size_t claims_len)
{
    return claims_len > TG_IDENTITY_VALUE_BYTES / 4 * 3;
}

static void sign_into(struct tg_assertions *a, const struct tg_assertion_subject *subject, int64_t now_ms,
                      struct entry *e)
{
    size_t before = e->text.len;
    struct tg_err why = {0};

    e->made_ms = now_ms;
    e->until_ms = now_ms + RENEW_MS;
    a->claims.len = 0;
    tg_assertion_claims(subject, now_ms / 1000, &a->claims);
    if (is_too_long(a->claims.len)) {
        tell_long(a, subject);
        return;
    }
    if (tg_signer_sign_ours(a->keys->signing, tg_buf_slice(&a->claims), &e->text, &why) != TG_OK) {
        e->until_ms = now_ms + RETRY_MS;
        tell_failed(a, why.text);
        return;
    }
    a->made++;
    if (e->text.len - before > TG_IDENTITY_VALUE_BYTES) {
        e->text.len = before;
        tell_long(a, subject);
        return;
    }
    e->token_len = e->text.len - before;
    tg_metric_add(a->done, 0, 1);
}

static struct entry *make_room(struct entry *set, int64_t now_ms)
{
    struct entry *e = &set[0];

    for (size_t i = 0; i < WAYS; i++) {
        if (!set[i].identity || !stands(&set[i], now_ms))
            return &set[i];
        if (set[i].used_ms < e->used_ms)
            e = &set[i];
    }
    return e;
}

static void stay_within(struct tg_assertions *a, const struct entry *keep)
{
    for (size_t i = 0; i < a->count && a->bytes > a->max_bytes; i++) {
        struct entry *e = &a->entries[a->hand++ & (a->count - 1)];

        if (e != keep)
            clear(a, e);
    }
}

static void fill(struct tg_assertions *a, const struct tg_assertion_subject *subject, int64_t now_ms, struct entry *e)
{
    const struct tg_identity *id = tg_identity_ref(subject->identity);

    clear(a, e);
    e->identity = id;
    e->groups = filter_of(subject);
    tg_buf_reserve(&e->text, subject->audience.len + subject->issuer.len + 1);
    tg_buf_add_slice(&e->text, subject->audience);
    tg_buf_add_slice(&e->text, subject->issuer);
    e->audience_len = subject->audience.len;
    e->issuer_len = subject->issuer.len;
    sign_into(a, subject, now_ms, e);
    e->bytes = e->text.cap + tg_identity_bytes(id);
    a->bytes += e->bytes;
    stay_within(a, e);
}

struct tg_slice tg_assertions_get(struct tg_assertions *a, const struct tg_assertion_subject *subject, int64_t now_ms)
{
    struct entry *set, *e = NULL;

    if (a->version != tg_signing_version(a->signing))
        follow_keys(a);
    if (!a->keys)
        return tg_slice(NULL, 0);
    set = set_of(a, subject);
    for (size_t i = 0; i < WAYS && !e; i++)
        if (set[i].identity && is_for(&set[i], subject))
            e = &set[i];
    if (!e || !stands(e, now_ms)) {
        if (!e)
            e = make_room(set, now_ms);
        fill(a, subject, now_ms, e);
    }
    e->used_ms = now_ms;
    return token_of(e);
}

size_t tg_assertions_signed(const struct tg_assertions *a)
{
    return a->made;
}
