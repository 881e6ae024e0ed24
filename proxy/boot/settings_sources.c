/*
 * settings_sources - where policies and routes come from besides the file: sync, bundle or management, one at most; and
 * the audit log.
 */
#include "base/json.h"
#include "settings_tables.h"

struct sources {
    const struct tg_tree *tree;
    const struct root_text *root;
    struct tg_settings *out;
    struct tg_problems *problems;
};

static const char *const names[] = {[TG_SOURCE_SYNC] = "sync", [TG_SOURCE_BUNDLE] = "bundle",
                                    [TG_SOURCE_MANAGEMENT] = "management"};

const char *settings_source_name(enum tg_set_source source)
{
    return names[source];
}

static const cJSON *section_of(const struct root_text *root, size_t i)
{
    const cJSON *const sections[] = {NULL, root->sync, root->bundle, root->management};

    return cJSON_IsNull(sections[i]) ? NULL : sections[i];
}

static bool is_mapping(const struct sources *s, const cJSON *node, const char *name)
{
    if (cJSON_IsObject(node))
        return true;
    tg_problem_at(s->problems, s->tree, node, "%s: must be a mapping", name);
    return false;
}

/* Which one; two would be two truths. */
static enum tg_set_source choose(const struct sources *s)
{
    enum tg_set_source found = TG_SOURCE_NONE;

    for (size_t i = TG_SOURCE_SYNC; i < ARRAY_LEN(names); i++) {
        const cJSON *node = section_of(s->root, i);

        if (!node)
            continue;
        if (found != TG_SOURCE_NONE)
            tg_problem_at_key(s->problems, s->tree, node, "%s cannot be together with %s: policies and routes come "
                              "from one place besides this file", names[i], names[found]);
        else if (is_mapping(s, node, names[i]))
            found = (enum tg_set_source)i;
    }
    return found;
}

static void read_credential(const struct sources *s, const cJSON *node, const char *where,
                            const struct tg_credential_home *home)
{
    struct tg_arena *arena = &s->out->config->arena;

    if (!node || cJSON_IsNull(node))
        return;
    s->out->credential = TG_ARENA_NEW(arena, struct tg_credential_settings);
    tg_home_credential_read(s->tree, node, where, home, arena, s->out->credential, s->problems);
}

static void read_sync(const struct sources *s)
{
    struct tg_sync_settings *o = &s->out->sync;

    tg_sync_settings_read(s->tree, s->root->sync, &s->out->config->arena, o, s->problems);
    read_credential(s, o->credential, "sync.credential",
                    &(struct tg_credential_home){o->url, o->ca_file, o->proxy, o->allow_http});
}

static void read_bundle(const struct sources *s)
{
    struct tg_bundle_settings *o = &s->out->bundle;

    tg_bundle_settings_read(s->tree, s->root->bundle, &s->out->config->arena, o, s->problems);
    read_credential(s, o->credential, "bundle.credential",
                    &(struct tg_credential_home){{0}, o->ca_file, o->proxy, o->allow_http});
}

/* `name` is kept in state_dir, and there must be one to start. */
static void warn_of_no_folder(const struct sources *s, const cJSON *node, const char *name)
{
    if (!s->root->state_dir.ptr)
        tg_warning_at(s->problems, s->tree, node,
                      "%s: it is kept in state_dir, and none is set; it will not start (exit 77)", name);
}

/* Its routes may name them; what they may not is refused when it is written, not when it is put in force. */
static void name_providers(const struct tg_config *c, struct tg_management_settings *out, struct tg_arena *arena)
{
    const struct tg_providers *p = &c->providers;
    const struct tg_provider *first;

    out->providers = (struct tg_strings){.items = TG_ARENA_ARRAY(arena, struct tg_slice, p->count + 1), .set = true};
    out->opaque_providers = (struct tg_strings){.items = TG_ARENA_ARRAY(arena, struct tg_slice, p->count + 1),
                                                .set = true};
    for (size_t i = 0; i < p->count; i++) {
        out->providers.items[out->providers.count++] = p->items[i].name;
        if (tg_providers_of_opaque(p, UINT64_C(1) << i, &first) == 1)
            out->opaque_providers.items[out->opaque_providers.count++] = p->items[i].name;
    }
}

static void read_management(const struct sources *s)
{
    const cJSON *node = s->root->management;
    struct tg_management_settings *o = &s->out->management;

    tg_management_settings_read(s->tree, node, &s->out->config->arena, o, s->problems);
    name_providers(s->out->config, o, &s->out->config->arena);
    warn_of_no_folder(s, node, "management");
    if (tg_slice_eq(o->address, s->out->health_address))
        tg_problem_at(s->problems, s->tree, node, "management.address is that of health_address");
    for (size_t i = 0; i < s->out->addresses.count; i++)
        if (tg_slice_eq(o->address, s->out->addresses.items[i]))
            tg_problem_at(s->problems, s->tree, node, "management.address is an address for requests already");
}

static void read_audit(const struct sources *s)
{
    const cJSON *node = cJSON_IsNull(s->root->audit) ? NULL : s->root->audit;
    struct tg_audit_settings *o = &s->out->audit;

    if (node && !is_mapping(s, node, "audit"))
        return;
    tg_settings_read(tg_audit_rows, tg_audit_row_count, s->tree, node, "audit", false, &s->out->config->arena, o,
                     s->problems);
    o->set = node || s->out->source == TG_SOURCE_MANAGEMENT;
    if (node && s->out->source != TG_SOURCE_MANAGEMENT)
        warn_of_no_folder(s, node, "audit");
}

void settings_read_sources(const struct tg_tree *tree, const struct root_text *root, struct tg_settings *out,
                           struct tg_problems *problems)
{
    struct sources s = {tree, root, out, problems};

    out->source = choose(&s);
    out->config->has_source = out->source != TG_SOURCE_NONE;
    switch (out->source) {
    case TG_SOURCE_SYNC: read_sync(&s); break;
    case TG_SOURCE_BUNDLE: read_bundle(&s); break;
    case TG_SOURCE_MANAGEMENT: read_management(&s); break;
    case TG_SOURCE_NONE: break;
    }
    read_audit(&s);
}

const struct tg_set_rules *tg_settings_rules(const struct tg_settings *s)
{
    const struct tg_set_rules *rules[] = {NULL, &s->sync.rules, &s->bundle.rules, &s->management.rules};

    return rules[s->source];
}

void settings_sources_fini(struct tg_settings *s)
{
    if (s->credential)
        tg_credential_settings_fini(s->credential);
    tg_bundle_settings_fini(&s->bundle);
    tg_management_settings_fini(&s->management);
}

const char *settings_sources_differ(const struct tg_settings *old, const struct tg_settings *now)
{
    const struct {
        struct tg_slice old, now;
        const char *name;
    } rows[] = {
        {old->sync.url, now->sync.url, "sync.url"},
        {old->sync.organization, now->sync.organization, "sync.organization"},
        {old->sync.namespace, now->sync.namespace, "sync.namespace"},
        {old->bundle.file, now->bundle.file, "bundle.file"},
        {old->bundle.url, now->bundle.url, "bundle.url"},
        {old->management.address, now->management.address, "management.address"},
    };

    if (old->source != now->source)
        return now->source ? names[now->source] : names[old->source];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!tg_slice_eq(rows[i].old, rows[i].now))
            return rows[i].name;
    return old->audit.set != now->audit.set ? "audit" : NULL;
}
