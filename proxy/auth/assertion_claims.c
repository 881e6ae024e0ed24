/*
 * assertion_claims - what an assertion says: Pomerium's claims, then those that jwt_claims_headers name.
 */
#include "assertion_parts.h"
#include "base/hash.h"
#include "base/json.h"

/* Pomerium's own, which no configured claim overrides; nbf, for as a text it would be none. */
static bool is_built_in(struct tg_slice name)
{
    static const struct tg_slice names[] = {
        TG_S_INIT("iss"), TG_S_INIT("aud"), TG_S_INIT("jti"), TG_S_INIT("iat"), TG_S_INIT("exp"), TG_S_INIT("nbf"),
        TG_S_INIT("sub"), TG_S_INIT("user"), TG_S_INIT("email"), TG_S_INIT("groups"), TG_S_INIT("sid"),
        TG_S_INIT("name"),
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (tg_slice_eq(names[i], name))
            return true;
    return false;
}

const struct tg_claim *tg_identity_groups(const struct tg_identity *id)
{
    struct tg_slice name = id->provider ? id->provider->groups_claim : tg_slice(NULL, 0);

    if (name.len == 0)
        name = TG_S("groups");
    return tg_claims_get(id->claims, name, tg_hash_slice(name));
}

bool tg_groups_filter_passes(const struct tg_strings *filter, struct tg_slice group)
{
    bool passes = !filter || filter->count == 0;

    for (size_t i = 0; !passes && i < filter->count; i++)
        passes = tg_slice_eq(filter->items[i], group);
    return passes;
}

static void add_text(struct tg_buf *out, const char *name, struct tg_slice value)
{
    tg_buf_addf(out, ",\"%s\":", name);
    tg_json_add_string(out, value);
}

static void add_groups(const struct tg_assertion_subject *subject, struct tg_buf *out)
{
    const struct tg_claim *groups = tg_identity_groups(subject->identity);
    const char *comma = "";

    tg_buf_adds(out, ",\"groups\":[");
    for (size_t i = 0; groups && i < groups->count; i++) {
        struct tg_slice group = groups->values[i].str;

        if (!group.ptr || !tg_groups_filter_passes(subject->groups_filter, group))
            continue;
        tg_buf_adds(out, comma);
        tg_json_add_string(out, group);
        comma = ",";
    }
    tg_buf_addc(out, ']');
}

static void add_joined(struct tg_buf *out, struct tg_slice name, const struct tg_claim *claim)
{
    struct tg_buf value = {0};

    tg_claims_join(claim, &value);
    tg_buf_addc(out, ',');
    tg_json_add_string(out, name);
    tg_buf_addc(out, ':');
    tg_json_add_string(out, tg_buf_slice(&value));
    tg_buf_fini(&value);
}

/* The provider's groups under their own name, filtered as everywhere. */
static void add_filtered(struct tg_buf *out, const struct tg_claim *groups, const struct tg_strings *filter)
{
    struct tg_buf value = {0};

    for (size_t i = 0; i < groups->count; i++) {
        if (!groups->values[i].str.ptr || !tg_groups_filter_passes(filter, groups->values[i].str))
            continue;
        if (value.len)
            tg_buf_addc(&value, ',');
        tg_buf_add_slice(&value, groups->values[i].str);
    }
    tg_buf_addc(out, ',');
    tg_json_add_string(out, groups->name);
    tg_buf_addc(out, ':');
    tg_json_add_string(out, tg_buf_slice(&value));
    tg_buf_fini(&value);
}

static void add_configured(const struct tg_assertion_subject *subject, struct tg_buf *out)
{
    const struct tg_string_map *map = subject->claims_headers;
    const struct tg_claim *groups = tg_identity_groups(subject->identity);

    for (size_t i = 0; map && i < map->count; i++) {
        struct tg_slice name = map->values[i];
        const struct tg_claim *claim = tg_claims_get(subject->identity->claims, name, tg_hash_slice(name));
        bool before = is_built_in(name);

        for (size_t j = 0; j < i && !before; j++)
            before = tg_slice_eq(map->values[j], name);
        if (!claim || before)
            continue;
        if (claim == groups)
            add_filtered(out, claim, subject->groups_filter);
        else
            add_joined(out, name, claim);
    }
}

void tg_assertion_claims(const struct tg_assertion_subject *subject, int64_t now_s, struct tg_buf *out)
{
    const struct tg_identity *id = subject->identity;
    const struct tg_claim *name = tg_claims_get(id->claims, TG_S("name"), tg_hash_slice(TG_S("name")));
    struct tg_slice sid = tg_claims_text(id->claims, "sid");
    char jti[37];

    tg_uuid(jti);
    tg_buf_adds(out, "{\"iss\":");
    tg_json_add_string(out, subject->issuer);
    add_text(out, "aud", subject->audience);
    tg_buf_addf(out, ",\"jti\":\"%s\",\"iat\":%lld,\"exp\":%lld", jti, (long long)now_s,
                (long long)now_s + TG_ASSERTION_SECONDS);
    add_text(out, "sub", id->subject);
    add_text(out, "user", id->subject);
    if (id->email.len)
        add_text(out, "email", id->email);
    add_groups(subject, out);
    if (sid.len)
        add_text(out, "sid", sid);
    if (name)
        add_joined(out, name->name, name);
    add_configured(subject, out);
    tg_buf_addc(out, '}');
}
