/*
 * settings_signing - the keys that sign for the services, and whether anybody needs one.
 *
 * The keys are read here, so that `check` tells what a start would refuse. Messages never show what is in them.
 */
#include "auth/assertion.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "settings_tables.h"
#include <sys/stat.h>

struct signing_reading {
    const struct tg_tree *tree;
    struct tg_config *config;
    struct tg_problems *problems;
};

static void complain(const struct signing_reading *r, const char *name, const char *why)
{
    tg_problem_at(r->problems, r->tree, tg_json_get(r->tree->root, name), "%s: %s", name, why);
}

static void take(const struct signing_reading *r, const char *name, struct tg_slice pem)
{
    struct tg_err err = {0};

    if (tg_signing_check(pem, &err) == TG_OK)
        r->config->signing_pem = tg_arena_dup(&r->config->arena, pem);
    else
        complain(r, name, err.text);
}

/* Base64 of PEM, as Pomerium has it; wrapped by whoever made it, perhaps. */
static void read_inline(const struct signing_reading *r, struct tg_slice text)
{
    struct tg_buf packed = {0}, pem = {0};

    tg_buf_reserve(&packed, text.len + 1);
    for (size_t i = 0; i < text.len; i++)
        if (!strchr(" \t\r\n", text.ptr[i]))
            tg_buf_addc(&packed, text.ptr[i]);
    tg_buf_reserve(&pem, packed.len + 1);
    if (packed.len && tg_base64_decode(tg_buf_slice(&packed), (uint8_t *)pem.data, &pem.len))
        take(r, "signing_key", tg_buf_slice(&pem));
    else
        complain(r, "signing_key", "must be the base64 of a key in PEM: base64 -w0 key.pem; or name the file in "
                                   "signing_key_file");
    tg_buf_wipe(&packed);
    tg_buf_wipe(&pem);
}

static void read_file(const struct signing_reading *r, const char *path)
{
    struct tg_buf pem = {0};
    struct tg_err err = {0};
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & S_IROTH))
        complain(r, "signing_key_file", "a private key that everybody may read: chmod 640 and a group for tollgate, or "
                                        "in Kubernetes defaultMode: 0400 or 0440 of the volume");
    else if (tg_file_read_secret(path, &pem, &err) == TG_OK)
        take(r, "signing_key_file", tg_buf_slice(&pem));
    else
        complain(r, "signing_key_file", err.text);
    tg_buf_wipe(&pem);
}

/* Its assertions are for "route-3", and for "route-4" when a route is put before it: no service can check that. */
static void warn_of_no_name(const struct signing_reading *r, const struct tg_route *route)
{
    if (route->from_host.len == 0 && !tg_json_get(route->node, "name"))
        tg_warning_at(r->problems, r->tree, route->node,
                      "route " TG_S_FMT ": neither `from` nor `name` says for whom its assertions are: their audience "
                      "is \"" TG_S_FMT "\", which changes with the order of the routes",
                      TG_S_ARG(route->name), TG_S_ARG(route->name));
}

void settings_read_signing(const struct tg_tree *tree, const struct root_text *root, struct tg_config *config,
                           struct tg_problems *problems)
{
    struct signing_reading r = {tree, config, problems};

    if (root->signing_key.ptr && root->signing_key_file.ptr)
        complain(&r, "signing_key", "cannot be together with signing_key_file");
    else if (root->signing_key.ptr)
        read_inline(&r, root->signing_key);
    else if (root->signing_key_file.ptr)
        read_file(&r, root->signing_key_file.ptr);
}

void settings_know_signs(const struct tg_tree *tree, struct tg_config *config, struct tg_problems *problems)
{
    struct signing_reading r = {tree, config, problems};

    for (size_t i = 0, count = config->routes ? tg_routes_count(config->routes) : 0; i < count; i++) {
        const struct tg_route *route = tg_routes_at(config->routes, i);

        if (!route->pass_identity_headers)
            continue;
        config->signs = true;
        if (count > 1)
            warn_of_no_name(&r, route);
    }
}
