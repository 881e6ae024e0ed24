/*
 * key - whose counter a request goes to: its subject's, a claim's, its address', its route's.
 *
 * In this process a key is a hash under the process' seed; for a store it is the names themselves, each with its length
 * before it, so that no two callers can be spelled the same. A claim is a word of its issuer: two issuers that say
 * org 7 do not speak of the same one, and neither can use up what is the other's.
 */
#include "base/claims.h"
#include "base/hash.h"
#include "base/json.h"
#include "limit/charge.h"

/* Hashes of kinds that could be spelled alike are kept apart by these. */
#define CLAIM_SALT UINT64_C(0x636c61696d)
#define ROUTE_SALT UINT64_C(0x726f757465)

/* The claim's value when it is one text, number or boolean; else NULL. */
static const struct tg_claim_value *claim_value(const struct tg_tier *tier, const struct tg_limit_caller *caller)
{
    const struct tg_claim *claim;

    if (tier->by != TG_BY_CLAIM || !caller->claims)
        return NULL;
    claim = tg_claims_get(caller->claims, tier->by_claim, tier->by_claim_hash);
    if (!claim || claim->count != 1)
        return NULL;
    return cJSON_IsString(claim->values[0].json) || cJSON_IsNumber(claim->values[0].json) ||
                   cJSON_IsBool(claim->values[0].json) ? &claim->values[0] : NULL;
}

/* What the caller is counted by in fact. Without any identity there is the address, which everybody has. */
static enum tg_limit_by counted_by(const struct tg_tier *tier, const struct tg_limit_caller *caller,
                                   const struct tg_claim_value **value)
{
    *value = claim_value(tier, caller);
    if (tier->by == TG_BY_ROUTE || tier->by == TG_BY_ADDRESS)
        return tier->by;
    if (*value)
        return TG_BY_CLAIM;
    return caller->identity_key ? TG_BY_SUBJECT : TG_BY_ADDRESS;
}

/* One IPv6 host commonly owns a whole /64: counting single addresses would be no limit at all. */
static size_t address_octets(const struct tg_ip *ip, uint8_t out[9])
{
    size_t n = ip->family == 4 ? 4 : ip->family == 6 ? 8 : 0;

    memset(out, 0, 9);
    out[0] = ip->family;
    memcpy(out + 1, ip->bytes, n);
    return n + 1;
}

static uint64_t address_hash(const struct tg_ip *ip)
{
    uint8_t octets[9];

    address_octets(ip, octets);
    return tg_hash(octets, sizeof(octets));
}

static uint64_t claim_hash(const struct tg_limit_caller *caller, const struct tg_claim_value *value)
{
    uint64_t issuer = tg_hash2(CLAIM_SALT, tg_hash_slice(caller->issuer));
    struct tg_buf text = {0};
    uint64_t hash;

    if (value->str.ptr)
        return tg_hash2(issuer, value->hash);
    tg_json_print(&text, value->json);
    hash = tg_hash2(issuer + 1, tg_hash_slice(tg_buf_slice(&text))); /* 7 is not "7" */
    tg_buf_fini(&text);
    return hash;
}

void tg_limit_key_of(const struct tg_tier *tier, const struct tg_limit_caller *caller, struct tg_limit_key *out)
{
    const struct tg_claim_value *value;
    uint64_t hash;

    out->by = TG_BY_SUBJECT;
    out->hash = caller->identity_key;
    if (tier->by == TG_BY_SUBJECT && caller->identity_key) /* the usual one */
        return;
    out->by = counted_by(tier, caller, &value);
    if (out->by == TG_BY_SUBJECT)
        return;
    hash = out->by == TG_BY_CLAIM ? claim_hash(caller, value) : out->by == TG_BY_ADDRESS ? address_hash(&caller->ip)
                                  : tg_hash2(ROUTE_SALT, tg_hash_slice(caller->route));
    out->hash = hash ? hash : 1;
}

static void add_part(struct tg_buf *out, struct tg_slice part)
{
    const uint8_t length[4] = {(uint8_t)(part.len >> 24), (uint8_t)(part.len >> 16), (uint8_t)(part.len >> 8),
                               (uint8_t)part.len};

    tg_buf_add(out, length, sizeof(length));
    tg_buf_add_slice(out, part);
}

static void add_claim(const struct tg_tier *tier, const struct tg_limit_caller *caller,
                      const struct tg_claim_value *value, struct tg_buf *out)
{
    struct tg_buf text = {0};

    tg_json_print(&text, value->json);                   /* as JSON, so that 7 is not "7" */
    add_part(out, tier->by_claim);
    add_part(out, caller->issuer);
    add_part(out, tg_buf_slice(&text));
    tg_buf_wipe(&text);
}

void tg_limit_key_text(const struct tg_tier *tier, const struct tg_limit_caller *caller, struct tg_buf *out)
{
    const struct tg_claim_value *value;
    enum tg_limit_by by = counted_by(tier, caller, &value);
    uint8_t octets[9];

    add_part(out, tg_slice_str(tg_limit_by_name(by)));
    if (by == TG_BY_SUBJECT) {
        add_part(out, caller->issuer);
        add_part(out, caller->subject);
    } else if (by == TG_BY_CLAIM) {
        add_claim(tier, caller, value, out);
    } else if (by == TG_BY_ROUTE) {
        add_part(out, caller->route);
    } else {
        size_t n = address_octets(&caller->ip, octets);

        add_part(out, tg_slice((const char *)octets, n));
    }
}
