/*
 * routes_digest - one number over what decides: the routes and policies as written, each policy of policies_dir by its
 * name and content.
 *
 * It stands in every line of the access log, where a secret of few letters could be guessed from it: so no secret is
 * in it, and of set_request_headers only the names. Settings count in the order they are written.
 */
#include "base/digest.h"
#include "internal.h"

static bool is_secret(const char *name)
{
    for (size_t i = 0; i < tg_route_setting_count; i++)
        if ((tg_route_settings[i].flags & TG_SET_SECRET) && strcmp(tg_route_settings[i].name, name) == 0)
            return true;
    return false;
}

static bool holds_secrets(const char *name)
{
    return strcmp(name, "set_request_headers") == 0 || strcmp(name, "setRequestHeaders") == 0;
}

static void add_names(struct tg_buf *out, const cJSON *map)
{
    const cJSON *member;

    tg_buf_addc(out, '[');
    cJSON_ArrayForEach(member, map) {
        tg_json_add_string(out, tg_slice_str(member->string ? member->string : ""));
        tg_buf_addc(out, ',');
    }
    tg_buf_addc(out, ']');
}

static void add_route(struct tg_buf *out, const cJSON *route)
{
    const cJSON *member;

    if (!cJSON_IsObject(route)) {                        /* upstream: URL */
        tg_json_print(out, route);
        return;
    }
    tg_buf_addc(out, '{');
    cJSON_ArrayForEach(member, route) {
        if (is_secret(member->string))
            continue;
        tg_json_add_string(out, tg_slice_str(member->string));
        tg_buf_addc(out, ':');
        if (holds_secrets(member->string))
            add_names(out, member);
        else
            tg_json_print(out, member);
        tg_buf_addc(out, ',');
    }
    tg_buf_addc(out, '}');
}

static void add_routes(struct tg_buf *out, const cJSON *root)
{
    const cJSON *list = tg_json_get(root, "routes"), *upstream = tg_json_get(root, "upstream"), *route;

    tg_buf_adds(out, "routes:[");
    cJSON_ArrayForEach(route, list) {
        add_route(out, route);
        tg_buf_addc(out, ',');
    }
    tg_buf_adds(out, "]upstream:");
    if (upstream)
        add_route(out, upstream);
}

/* Its own digest would not do: the values of its setRequestHeaders are in that. */
static void add_set(struct tg_buf *out, const struct tg_set *set)
{
    const cJSON *root = tg_set_tree(set)->root;

    tg_buf_adds(out, "set:");
    add_routes(out, root);
    tg_json_print(out, tg_json_get(root, "policies"));
}

void routes_digest(const struct tg_tree *tree, const cJSON *root, const struct policy_set *policies,
                   const struct tg_set *set, char out[static 65])
{
    const cJSON *list = tg_json_get(root, "policies");
    uint8_t digest[TG_SHA256_LEN];
    struct tg_buf text = {0};

    add_routes(&text, root);
    tg_buf_adds(&text, "policies:");
    if (list)
        tg_json_print(&text, list);
    for (size_t i = 0; i < policies->count; i++) {
        const struct named_policy *policy = &policies->items[i];

        if (policy->tree == tree)
            continue;
        tg_buf_adds(&text, "file:");
        tg_json_add_string(&text, policy->text.name);
        tg_json_print(&text, policy->tree->root);
    }
    if (set)
        add_set(&text, set);
    tg_sha256(tg_buf_slice(&text), digest);
    tg_hex(digest, sizeof(digest), out);
    tg_buf_wipe(&text);
}
