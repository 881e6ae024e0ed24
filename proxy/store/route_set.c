/*
 * route_set - a route that came from a control plane: which settings it may have, and what the machine's own file
 * permits it.
 *
 * The settings are listed here one by one: a new setting of a route is not a set's until somebody has asked what a
 * stranger could do with it. None names a file, a key, or a credential of the machine.
 */
#include "internal.h"

static const char *const permitted[] = {
    "name", "description", "from", "prefix", "path", "to", "prefix_rewrite", "preserve_host_header", "host_rewrite",
    "allow_websockets", "timeout", "idle_timeout", "max_request_bytes", "load_balancing_policy", "set_request_headers",
    "remove_request_headers", "set_response_headers", "pass_identity_headers", "tls_upstream_server_name",
    "tls_skip_verify", "identity_providers", "required_scopes", "bearer_token_format", "policy", "policies",
    "allow_public_unauthenticated_access", "allow_any_authenticated_user", "cors_allow_preflight", "allowed_users",
    "allowed_domains", "allowed_idp_claims", "mode", "show_error_details", "error_format", "jwt_issuer_format",
    "jwt_groups_filter",
};

#define ROW(member, name, kind, help) TG_SETTING(struct route_text, member, name, kind, NULL, 0, 0, NULL, 0, help)
static const struct tg_setting own_rows[] = {
    ROW(id, "id", TG_SET_STRING, "what the control plane calls it"),
    ROW(namespace_id, "namespace_id", TG_SET_STRING, "where it belongs there"),
    ROW(policy_ids, "policy_ids", TG_SET_STRINGS, "its policies"),
    ROW(enforced_policy_ids, "enforced_policy_ids", TG_SET_STRINGS, "those it has because of where it belongs"),
};

static bool is_permitted(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(permitted); i++)
        if (strcmp(permitted[i], name) == 0)
            return true;
    return false;
}

static bool is_local(const struct tg_setting *row) { return row->kind != TG_SET_LATER && !is_permitted(row->name); }

/* What is the machine's own stays in the table, so that its name is known; it is refused when it is there. */
void route_set_rows(struct route_rows *out, struct tg_arena *arena)
{
    out->items = TG_ARENA_ARRAY(arena, struct tg_setting, tg_route_setting_count + ARRAY_LEN(own_rows));
    for (size_t i = 0; i < tg_route_setting_count; i++) {
        struct tg_setting *row = &out->items[out->count++];

        *row = tg_route_settings[i];
        if (is_local(row))
            *row = (struct tg_setting)ROW(refused, row->name, TG_SET_NODE, row->help);
    }
    memcpy(out->items + out->count, own_rows, sizeof(own_rows));
    out->count += ARRAY_LEN(own_rows);
}
#undef ROW

static void refuse_local(const struct route_reader *r)
{
    for (size_t i = 0; i < tg_route_setting_count; i++) {
        const struct tg_setting *row = &tg_route_settings[i];
        const cJSON *node = is_local(row) ? tg_setting_member(r->node, row->name, true) : NULL;

        if (node)
            tg_problem_at_key(r->problems, r->tree, node, "%s.%s may not come from a control plane: it is about this "
                              "machine, and belongs into its file", r->where, node->string);
    }
}

static void check_targets(const struct route_reader *r, const struct tg_strings *to)
{
    const cJSON *list = tg_json_get(r->node, "to"), *item = cJSON_IsArray(list) ? list->child : list;
    struct tg_err err;

    for (size_t i = 0; i < to->count; i++, item = item ? item->next : NULL)
        if (tg_set_rules_allow(r->rules, to->items[i], &err) != TG_OK)
            tg_problem_at(r->problems, r->tree, item ? item : r->node, "%s.to: %s", r->where, err.text);
}

void route_set_check(const struct route_reader *r, const struct route_text *text)
{
    if (text->refused)
        refuse_local(r);
    check_targets(r, &text->to);
    if (text->tls_skip_verify && !r->rules->allow_tls_skip_verify)
        route_problem(r, "tls_skip_verify", "is not permitted here; allow_tls_skip_verify of this machine's file "
                      "would");
}
