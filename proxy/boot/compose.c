/*
 * compose - from a set and a file to what is in force.
 *
 * Nothing is fetched and no file is opened but those of policies_dir, so it is quick enough for every change of a
 * policy. Main thread: the tree of the file notes the files that are read with it.
 */
#include "compose.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "settings_tables.h"
#include "sources.h"

struct tg_config *tg_config_compose(struct tg_config *base, struct tg_set *set, const struct tg_set_rules *rules,
                                    struct tg_problems *problems)
{
    struct tg_config *c = tg_config_over(base);
    struct tg_set_use use = {set, rules};
    size_t errors = problems->errors;

    c->set = set ? tg_set_ref(set) : NULL;
    settings_read_routes(c->tree, rules ? &use : NULL, c, problems);
    settings_know_signs(c->tree, c, problems);
    settings_read_route_limits(c->tree, c, problems);
    settings_know_facts(tg_json_get(c->tree->root, "rate_limits"), c);
    if (problems->errors == errors && c->routes)
        return c;
    tg_config_unref(c);
    return NULL;
}

const char *compose_trouble(const struct tg_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        if (!problems->items[i].warning)
            return problems->items[i].text;
    return "it cannot be read";
}

bool compose_kept(struct tg_settings *s, struct tg_problems *problems)
{
    struct tg_set *set = NULL;
    struct tg_config *config;
    struct tg_err err;
    enum tg_status st = sources_read_kept(s, &set, &err);

    if (st == TG_BAD_INPUT)
        tg_problem_add(problems, true, "%s", err.text);
    if (st != TG_OK)
        return true;
    config = tg_config_compose(s->config, set, tg_settings_rules(s), problems);
    tg_set_unref(set);
    if (!config)
        return false;
    tg_config_unref(s->config);                          /* what lies over it holds it */
    s->config = config;
    return true;
}

/* ---- the log ---- */

/* What was told of the last set: it is not told again of the next one. */
static struct told {
    uint64_t *items;
    size_t count;
} told;

static void tell(struct told *now, uint64_t words, const char *message, struct tg_log_field a, struct tg_log_field b)
{
    bool known = false;

    for (size_t i = 0; i < told.count && !known; i++)
        known = told.items[i] == words;
    now->items[now->count++] = words;
    if (!known)
        tg_log(TG_LOG_WARN, message, a, b);
}

/* What is wrong with the file was told when it was read. */
static bool is_of_set(const struct tg_config *config, const char *text)
{
    const char *name = config->set ? tg_set_tree(config->set)->file : NULL;

    return name && strncmp(text, name, strlen(name)) == 0;
}

/* Without its place: what stands before it in the set moves it. */
static uint64_t key_of(const char *text)
{
    const char *sentence = strstr(text, ": ");

    return tg_hash_slice(tg_slice_str(sentence ? sentence : text));
}

void compose_tell(const struct tg_config *config, const char *source, const struct tg_problems *problems)
{
    size_t routes = tg_routes_count(config->routes);
    struct told now = {.items = TG_NEW_ARRAY(uint64_t, problems->count + routes + 1)};

    for (size_t i = 0; i < problems->count; i++) {
        const char *text = problems->items[i].text;

        if (is_of_set(config, text))
            tell(&now, key_of(text), "policies", TG_F_STR("problem", text),
                 TG_F_STR("source", source));
    }
    for (size_t i = 0; i < routes; i++) {
        const struct tg_route *route = tg_routes_at(config->routes, i);

        if (route->unresolved)
            tell(&now, tg_hash2(1, tg_hash_slice(route->name)),
                 "a route names a policy that is not loaded: it answers 503", TG_F_SLICE("route", route->name),
                 TG_F_STR("source", source));
    }
    free(told.items);
    told = now;
}
