/*
 * managers_operators - `management.operators`: people and programs known by a public key in the file, so that the first
 * API user needs no secret that somebody else made up.
 */
#include "managers_internal.h"
#include "base/file.h"
#include "base/json.h"

#define KEY_BYTES ((size_t)65536)
#define ID_MAX (TG_MANAGER_ID - 1)

/* In the order of enum tg_role, then the other name of the first. */
#define ROLES "auditor|member|admin|owner|viewer"
static const char *const role_names[] = {"auditor", "member", "admin", "owner"};

bool tg_role_parse(struct tg_slice text, enum tg_role *out)
{
    for (size_t i = 0; i < ARRAY_LEN(role_names); i++)
        if (tg_slice_eq(text, tg_slice_str(role_names[i]))) {
            *out = (enum tg_role)i;
            return true;
        }
    if (!tg_slice_eq(text, TG_S("viewer")))
        return false;
    *out = TG_ROLE_AUDITOR;
    return true;
}

const char *tg_role_name(enum tg_role role)
{
    return role_names[role];
}

#define ROW(member, name, kind, dflt, choices, flags, help) \
    TG_SETTING(struct tg_operator, member, name, TG_SET_##kind, dflt, 0, 0, choices, flags, help)
const struct tg_setting tg_operator_rows[] = {
    ROW(id, "id", STRING, NULL, NULL, TG_SET_REQUIRED, "what `iss` and `sub` of the operator's tokens say"),
    ROW(public_key_file, "public_key_file", FILE, NULL, NULL, TG_SET_REQUIRED,
        "PEM; several keys stand side by side in a rotation; the operator signs RS256, ES256 or EdDSA"),
    ROW(role, "role", ENUM, "owner", ROLES, 0, "what the operator may do; viewer is auditor"),
};
const size_t tg_operator_row_count = ARRAY_LEN(tg_operator_rows);

/* ---- reading ---- */

struct reading {
    const struct tg_tree *tree;
    struct tg_arena *arena;
    struct tg_problems *problems;
};

static bool is_id(struct tg_slice id)
{
    for (size_t i = 0; i < id.len; i++)
        if ((unsigned char)id.ptr[i] <= ' ' || (unsigned char)id.ptr[i] > '~')
            return false;
    return id.len > 0 && id.len <= ID_MAX;
}

static const cJSON *at(const cJSON *node, const char *name)
{
    const cJSON *member = tg_json_get(node, name);

    return member ? member : node;
}

static void judge_keys(const struct reading *r, const cJSON *node, const char *where, const struct tg_jwks *keys)
{
    const char *reason = tg_jwks_skip_reason(keys, 0);

    if (!(tg_jwks_algs(keys) & TG_ALGS_DEFAULT))
        tg_problem_at(r->problems, r->tree, at(node, "public_key_file"),
                      "%s.public_key_file: no key in it that verifies RS256, ES256 or EdDSA%s%s", where,
                      reason ? ": " : "", reason ? reason : "");
}

static void read_keys(const struct reading *r, const cJSON *node, const char *where, struct tg_operator *out)
{
    struct tg_buf pem = {0};
    struct tg_err err = {0};
    enum tg_status st = tg_file_read(tg_arena_str(r->arena, out->public_key_file), KEY_BYTES, &pem, &err);

    if (st == TG_OK && tg_slice_contains(tg_buf_slice(&pem), TG_S("PRIVATE KEY-----")))
        st = tg_fail(&err, TG_BAD_INPUT, "holds a private key; only the operator should have that one");
    if (st == TG_OK)
        st = tg_jwks_from_pem(tg_buf_slice(&pem), &out->keys, &err);
    if (st == TG_OK)
        judge_keys(r, node, where, out->keys);
    else
        tg_problem_at(r->problems, r->tree, at(node, "public_key_file"), "%s.public_key_file: %s", where,
                      tg_err_text(&err));
    tg_buf_wipe(&pem);
}

static void read_one(const struct reading *r, const cJSON *node, size_t i, struct tg_operator *out)
{
    char *where = tg_arena_str(r->arena, tg_arena_printf(r->arena, "management.operators[%zu]", i));

    if (!cJSON_IsObject(node)) {
        tg_problem_at(r->problems, r->tree, node, "%s: is a mapping of id, public_key_file and role", where);
        return;
    }
    if (!tg_settings_read(tg_operator_rows, tg_operator_row_count, r->tree, node, where, false, r->arena, out,
                          r->problems))
        return;
    if (out->role >= (int)ARRAY_LEN(role_names))
        out->role = TG_ROLE_AUDITOR;
    if (!is_id(out->id))
        tg_problem_at(r->problems, r->tree, at(node, "id"), "%s.id: is 1 to %d visible ASCII characters", where,
                      ID_MAX);
    read_keys(r, node, where, out);
}

static void refuse_same_id(const struct reading *r, const cJSON *node, const struct tg_operators *operators)
{
    for (size_t i = 1; i < operators->count; i++)
        for (size_t j = 0; j < i; j++)
            if (operators->items[i].id.len && tg_slice_eq(operators->items[i].id, operators->items[j].id))
                tg_problem_at(r->problems, r->tree, at(cJSON_GetArrayItem(node, (int)i), "id"),
                              "management.operators[%zu].id: is that of management.operators[%zu]; several keys of one "
                              "operator stand in one file", i, j);
}

bool tg_operators_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_operators *out,
                       struct tg_problems *problems)
{
    struct reading r = {tree, arena, problems};
    size_t errors = problems->errors, i = 0;
    const cJSON *each;

    *out = (struct tg_operators){0};
    if (!node || cJSON_IsNull(node))
        return true;
    if (!cJSON_IsArray(node)) {
        tg_problem_at(problems, tree, node, "management.operators: is a list");
        return false;
    }
    out->count = (size_t)cJSON_GetArraySize(node);
    out->items = TG_ARENA_ARRAY(arena, struct tg_operator, out->count);
    cJSON_ArrayForEach(each, node) {
        read_one(&r, each, i, &out->items[i]);
        i++;
    }
    refuse_same_id(&r, node, out);
    return problems->errors == errors;
}

void tg_operators_fini(struct tg_operators *operators)
{
    for (size_t i = 0; i < operators->count; i++)
        tg_jwks_unref(operators->items[i].keys);
    *operators = (struct tg_operators){0};
}

/* ---- a copy that outlives its configuration ---- */

void managers_copy_operators(const struct tg_operators *from, struct tg_operators *to)
{
    *to = (struct tg_operators){.items = TG_NEW_ARRAY(struct tg_operator, from->count + 1), .count = from->count};
    for (size_t i = 0; i < from->count; i++)
        to->items[i] = (struct tg_operator){
            .id = tg_slice_str(tg_slice_dup(from->items[i].id)),
            .role = from->items[i].role,
            .keys = tg_jwks_ref(from->items[i].keys),
        };
}

void managers_free_operators(struct tg_operators *operators)
{
    struct tg_operator *items = operators->items;

    for (size_t i = 0; i < operators->count; i++)
        free((char *)items[i].id.ptr);
    tg_operators_fini(operators);
    free(items);
}
