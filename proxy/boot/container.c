/*
 * container - what container engines leave behind, and the two mistakes it lets us name.
 */
#include "boot/container.h"
#include "base/json.h"
#include "io/listener.h"
#include <stdio.h>
#include <unistd.h>

static const char *real_env(const char *name)
{
    return getenv(name);
}

static bool has_variable(const struct tg_surroundings *from, const char *name)
{
    const char *value = from->env ? from->env(name) : NULL;

    return value && *value;
}

static bool has_file(const struct tg_surroundings *from, const char *path)
{
    char whole[512];
    int n = snprintf(whole, sizeof(whole), "%s%s", from->root, path);

    return n > 0 && (size_t)n < sizeof(whole) && access(whole, F_OK) == 0;
}

enum tg_container tg_container_detect(const struct tg_surroundings *from)
{
    static const struct tg_surroundings here = {real_env, ""};

    if (!from)
        from = &here;
    if (has_variable(from, "KUBERNETES_SERVICE_HOST"))
        return TG_CONTAINER_KUBERNETES;
    if (has_variable(from, "container") || has_file(from, "/.dockerenv") || has_file(from, "/run/.containerenv"))
        return TG_CONTAINER_SOME;
    return TG_CONTAINER_NONE;
}

/* A unix socket may stand in a folder that is shared with others. */
static bool is_loopback(struct tg_slice text)
{
    struct tg_listen_address at;

    return tg_listen_parse(text, &at, NULL) == TG_OK && !at.local && tg_listen_is_loopback(&at);
}

/* "8080" of "127.0.0.1:8080" */
static struct tg_slice port_of(struct tg_slice text)
{
    const char *colon = memrchr(text.ptr, ':', text.len);

    return colon ? tg_slice(colon + 1, (size_t)(text.ptr + text.len - colon) - 1) : text;
}

static void warn(const struct tg_settings *s, struct tg_problems *problems, const char *name, struct tg_slice address,
                 const char *why)
{
    const struct tg_tree *tree = s->config->tree;
    const cJSON *node = tg_json_get(tree->root, name);

    tg_warning_at(problems, tree, node ? node : tree->root,
                  "%s: " TG_S_FMT " is loopback, and this is a container: %s; set %s: \"[::]:" TG_S_FMT "\"", name,
                  TG_S_ARG(address), why, name, TG_S_ARG(port_of(address)));
}

void tg_container_warn(enum tg_container where, const struct tg_settings *s, struct tg_problems *problems)
{
    bool kubernetes = where == TG_CONTAINER_KUBERNETES, all = true;

    if (where == TG_CONTAINER_NONE)
        return;
    for (size_t i = 0; i < s->addresses.count; i++)
        all = all && is_loopback(s->addresses.items[i]);
    if (all)
        warn(s, problems, "address", s->addresses.items[0],
             kubernetes ? "nobody outside this pod can connect" : "nobody outside it can connect");
    if (kubernetes && s->health_address.ptr && is_loopback(s->health_address))
        warn(s, problems, "health_address", s->health_address,
             "the kubelet's probes come to the pod's address and are refused");
}
