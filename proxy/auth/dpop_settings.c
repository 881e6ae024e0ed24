/*
 * dpop_settings - the section `dpop`.
 */
#include "auth/dpop.h"
#include "base/json.h"

struct section {
    int64_t lifetime_ms;
    bool require_nonce;
    struct tg_strings algs;
};

#define ROW(member, name, kind, dflt, min, max, help) \
    TG_SETTING(struct section, member, name, TG_SET_##kind, dflt, min, max, NULL, 0, help)
const struct tg_setting tg_dpop_rows[] = {
    ROW(lifetime_ms, "proof_lifetime", DURATION, "60s", 1000, 5 * 60000,
        "how far the `iat` of a proof may be from now, before or behind it"),
    ROW(require_nonce, "require_nonce", BOOL, "false",
        0, 0, "a proof needs the nonce of the last answer; then it is of use to this process alone"),
    ROW(algs, "algs", STRINGS, "[ES256, ES384, EdDSA, RS256, PS256]", 0, 0, "what a proof may be signed with"),
};
const size_t tg_dpop_row_count = ARRAY_LEN(tg_dpop_rows);

static const cJSON *at(const cJSON *node, const char *name)
{
    const cJSON *member = tg_json_get(node, name);

    return member ? member : node;
}

static void read_algs(const struct tg_tree *tree, const cJSON *node, const struct tg_strings *list, tg_algs *out,
                      struct tg_problems *problems)
{
    enum tg_alg alg;

    *out = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct tg_slice name = list->items[i];

        if (!tg_alg_parse(name, &alg))
            tg_problem_at(problems, tree, at(node, "algs"), "dpop.algs: `%.*s` is no known algorithm",
                          name.len > 64 ? 64 : (int)name.len, name.ptr);
        else if (TG_ALG_BIT(alg) & TG_ALGS_HMAC)
            tg_problem_at(problems, tree, at(node, "algs"),
                          "dpop.algs: %s has no public key; a proof shows its key to everybody", tg_alg_name(alg));
        else
            *out |= TG_ALG_BIT(alg);
    }
    if (list->count == 0)
        tg_problem_at(problems, tree, at(node, "algs"), "dpop.algs: the list is empty, so no proof could be verified");
}

bool tg_dpop_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_dpop_settings *out,
                  struct tg_problems *problems)
{
    size_t errors = problems->errors;
    struct section s = {0};

    *out = (struct tg_dpop_settings){0};
    if (node && !cJSON_IsNull(node) && !cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node, "dpop: must be a mapping: {proof_lifetime: 60s}");
        return false;
    }
    if (!tg_settings_read(tg_dpop_rows, tg_dpop_row_count, tree, cJSON_IsObject(node) ? node : NULL, "dpop", false,
                          arena, &s, problems))
        return false;
    read_algs(tree, node, &s.algs, &out->algs, problems);
    out->lifetime_ms = s.lifetime_ms;
    out->require_nonce = s.require_nonce;
    return problems->errors == errors;
}
