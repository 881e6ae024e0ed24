/*
 * settings_print - the effective configuration as YAML: what was written, variables put in, defaults filled in.
 *
 * What could be a secret is masked, wherever its value came from: settings marked so in their tables, private members
 * of keys, values of request headers that a route sets, the user part of URLs, the query of the one that is fetched.
 * What is printed can be read again, apart from that.
 */
#include "base/json.h"
#include "settings_tables.h"
#include <stdio.h>

#define MASK "********"

struct printing {
    struct tg_buf *out;
    const struct tg_settings *settings;
};
enum masked {
    MASK_NONE,                                           /* but for the user part of a URL, which is never shown */
    MASK_VALUES,                                         /* every text below */
    MASK_KEY,                                            /* private members of JWKs, which may be one text */
    MASK_MEMBER,                                         /* of such a JWK: private ones, and what may hold another */
    MASK_QUERY,                                          /* of a URL: "?key=..." */
    MASK_USER,                                           /* of a URL, as far as it could reach: "u:p/w@host" */
};

static void indent(struct tg_buf *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        tg_buf_adds(out, "  ");
}

/* ---- scalars ---- */

/* Whether the text stands for itself without quotes, in any YAML reader. */
static bool is_plain(struct tg_slice s)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
    bool letter = false;

    if (s.len == 0 || !((s.ptr[0] >= 'a' && s.ptr[0] <= 'z') || (s.ptr[0] >= 'A' && s.ptr[0] <= 'Z') ||
                        s.ptr[0] == '/' ||
                        (s.ptr[0] >= '0' && s.ptr[0] <= '9')))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '/';

        /* Not 0x1f, 0o17 or 1e5, which some reader takes for a number. */
        letter = letter || (is_letter && i == 0) || (c >= 'g' && c <= 'z' && c != 'x' && c != 'o');
        if (!is_letter && !(c >= '0' && c <= '9') && !strchr("_.-@+", c) && !(c == ':' && i + 1 < s.len))
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (tg_slice_eq_nocase(s, tg_slice_str(words[i])))
            return false;
    return letter;
}

static void add_quoted(struct tg_buf *out, struct tg_slice s)
{
    struct tg_buf escaped = {0};

    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '$' && i + 1 < s.len && (s.ptr[i + 1] == '{' || s.ptr[i + 1] == '$'))
            tg_buf_addc(&escaped, '$');                  /* so that it is not looked up when read again */
        tg_buf_addc(&escaped, s.ptr[i]);
    }
    if (is_plain(tg_buf_slice(&escaped)))
        tg_buf_add_slice(out, tg_buf_slice(&escaped));
    else
        tg_json_add_string(out, tg_buf_slice(&escaped));
    tg_buf_fini(&escaped);
}

/* scheme://user:password@host: what is before the last "@" is masked, of the authority or of all that follows. */
static void mask_user(struct tg_buf *out, struct tg_slice s, bool all)
{
    const char *slashes = s.len ? memmem(s.ptr, s.len, "://", 3) : NULL;
    size_t scheme = slashes ? (size_t)(slashes - s.ptr) + 3 : 0, end = scheme;
    const char *at;

    while (end < s.len && (all || !strchr("/?#", s.ptr[end])))
        end++;
    at = slashes ? memrchr(s.ptr + scheme, '@', end - scheme) : NULL;
    if (!at) {
        tg_buf_add_slice(out, s);
        return;
    }
    tg_buf_add(out, s.ptr, scheme);
    tg_buf_adds(out, MASK);
    tg_buf_add(out, at, (size_t)(s.ptr + s.len - at));
}

static void add_text(struct tg_buf *out, struct tg_slice s, enum masked masked)
{
    struct tg_slice shown, query;
    struct tg_buf text = {0};

    if (masked == MASK_QUERY && tg_slice_cut(s, '?', &shown, &query)) {
        mask_user(&text, shown, false);
        tg_buf_adds(&text, "?" MASK);
    } else {
        mask_user(&text, s, masked == MASK_USER);
    }
    add_quoted(out, tg_buf_slice(&text));
    tg_buf_fini(&text);
}

/* RFC 7518 §6: what only the owner of a key may know. */
static bool is_private_member(const char *name)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool has_private_member(const cJSON *node)
{
    const cJSON *child;

    cJSON_ArrayForEach(child, node)
        if ((child->string && is_private_member(child->string)) || has_private_member(child))
            return true;
    return false;
}

/* A JWK set as a block of text; `member`: of a JWK, which is a plain word or a number in base64. */
static bool is_private_text(struct tg_slice text, bool member)
{
    cJSON *set = NULL;
    bool private;

    if (member && (text.len == 0 || !memchr(text.ptr, '{', text.len)))
        return false;
    private = tg_json_parse(text, NULL, &set, NULL) != TG_OK || has_private_member(set);
    cJSON_Delete(set);
    return private;
}

static void add_scalar(struct tg_buf *out, const cJSON *node, enum masked masked)
{
    bool key = masked == MASK_KEY || masked == MASK_MEMBER;
    struct tg_slice text;

    if (masked == MASK_VALUES || (key && tg_json_str(node, &text) && is_private_text(text, masked == MASK_MEMBER)))
        tg_buf_adds(out, "\"" MASK "\"");
    else if (tg_json_str(node, &text))
        add_text(out, text, masked);
    else
        tg_json_print(out, node);
}

/* ---- whatever was written ---- */

/* Also where a row is not at hand: in the short form of the one route. */
static bool is_secret(const char *name)
{
    for (size_t i = 0; i < tg_settings_section_count; i++) {
        const struct tg_settings_section *section = &tg_settings_sections[i];

        for (size_t j = 0; j < *section->count; j++)
            if ((section->rows[j].flags & TG_SET_SECRET) && strcmp(section->rows[j].name, name) == 0)
                return true;
    }
    return false;
}

static enum masked mask_below(const char *name, enum masked masked)
{
    static const struct {
        const char *name;
        enum masked masked;
    } rows[] = {{"set_request_headers", MASK_VALUES}, {"jwks", MASK_KEY}, {"jwks_url", MASK_QUERY},
                {"proxy", MASK_USER}, {"store", MASK_USER}};

    for (size_t i = 0; masked == MASK_NONE && i < ARRAY_LEN(rows); i++)
        if (strcmp(name, rows[i].name) == 0)
            return rows[i].masked;
    if (masked == MASK_KEY)
        return MASK_MEMBER;
    return masked == MASK_NONE && is_secret(name) ? MASK_VALUES : masked;
}

static void add_node(struct tg_buf *out, const cJSON *node, unsigned depth, enum masked masked);

static void add_member(struct tg_buf *out, const cJSON *member, unsigned depth, enum masked masked)
{
    add_quoted(out, tg_slice_str(member->string));
    tg_buf_adds(out, ":");
    if ((masked == MASK_KEY || masked == MASK_MEMBER) && is_private_member(member->string))
        tg_buf_adds(out, " \"" MASK "\"\n");
    else
        add_node(out, member, depth, mask_below(member->string, masked));
}

static bool is_nested(const cJSON *node)
{
    return (cJSON_IsObject(node) || cJSON_IsArray(node)) && node->child;
}

/* Behind "name:" or "-": a scalar in the same line, anything else below. */
static void add_node(struct tg_buf *out, const cJSON *node, unsigned depth, enum masked masked)
{
    const cJSON *child;

    if (!is_nested(node)) {
        tg_buf_adds(out, " ");
        if (cJSON_IsObject(node) || cJSON_IsArray(node))
            tg_buf_adds(out, cJSON_IsObject(node) ? "{}" : "[]");
        else
            add_scalar(out, node, masked);
        tg_buf_adds(out, "\n");
        return;
    }
    tg_buf_adds(out, "\n");
    cJSON_ArrayForEach(child, node) {
        indent(out, depth + 1);
        if (cJSON_IsObject(node)) {
            add_member(out, child, depth + 1, masked);
        } else {
            tg_buf_adds(out, "-");
            add_node(out, child, depth + 1, masked);
        }
    }
}

/* ---- sections by their tables ---- */

static void print_section(struct printing *p, const struct tg_settings_section *section, const cJSON *node,
                          unsigned depth);

/* A default is written as a user would, which is YAML but for a text that needs quotes. */
static void add_default(struct tg_buf *out, const struct tg_setting *row)
{
    if (row->kind == TG_SET_STRING || row->kind == TG_SET_FILE || row->kind == TG_SET_PATH ||
        row->kind == TG_SET_ENUM ||
        (row->kind == TG_SET_STRINGS && !tg_setting_default_is_list(row)))
        add_quoted(out, tg_slice_str(row->dflt));
    else
        tg_buf_adds(out, row->dflt);
}

/* Each route, each provider: the table of the section for every element. */
static void print_elements(struct printing *p, const struct tg_settings_section *inner, const cJSON *node,
                           unsigned depth)
{
    const cJSON *child;

    tg_buf_adds(p->out, "\n");
    cJSON_ArrayForEach(child, node) {
        indent(p->out, depth);
        if (cJSON_IsObject(node)) {
            add_quoted(p->out, tg_slice_str(child->string));
            tg_buf_adds(p->out, ":\n");
        } else {
            tg_buf_adds(p->out, "-\n");
        }
        print_section(p, inner, child, depth + 1);
    }
}

static bool is_list_section(const struct tg_settings_section *section)
{
    size_t len = strlen(section->place);

    return strcmp(section->place + len - 2, "[]") == 0 || (len > 5 && strcmp(section->place + len - 5, ".NAME") == 0);
}

/*
 * Whether a section means nothing by itself: unsaid it is not in force, and its defaults are nobody's. So are those of
 * a route or a provider.
 */
static bool needs_saying(const struct tg_settings_section *section)
{
    if (strchr(section->place, '.'))
        return true;
    for (size_t i = 0; i < *section->count; i++)
        if (section->rows[i].flags & TG_SET_REQUIRED)
            return true;
    return false;
}

/* Behind "name:". */
static void print_mapping(struct printing *p, const struct tg_settings_section *section, const cJSON *node,
                          unsigned depth)
{
    struct tg_buf inner = {0};
    struct printing inside = {&inner, p->settings};

    print_section(&inside, section, node, depth + 1);
    tg_buf_adds(p->out, inner.len ? "\n" : " {}\n");
    tg_buf_add_slice(p->out, tg_buf_slice(&inner));
    tg_buf_fini(&inner);
}

static void print_row(struct printing *p, const struct tg_settings_section *section, const struct tg_setting *row,
                      const cJSON *node, unsigned depth)
{
    const struct tg_settings_section *inner = settings_section_of(section, row);
    const cJSON *value = tg_json_get(node, row->name);
    bool said = value && !cJSON_IsNull(value);

    if (row->kind == TG_SET_LATER || (!said && !row->dflt && (!inner || is_list_section(inner) || needs_saying(inner))))
        return;
    indent(p->out, depth);
    tg_buf_addf(p->out, "%s:", row->name);
    if (section->place[0] == '\0' && strcmp(row->name, "workers") == 0) {
        tg_buf_addf(p->out, " %llu\n", (unsigned long long)p->settings->workers);
    } else if (inner && !is_list_section(inner) && (!said || cJSON_IsObject(value))) {
        print_mapping(p, inner, value, depth);
    } else if (inner && is_list_section(inner) && is_nested(value)) {
        print_elements(p, inner, value, depth + 1);
    } else if (row->flags & TG_SET_SECRET) {
        tg_buf_adds(p->out, " \"" MASK "\"\n");
    } else if (said) {
        add_node(p->out, value, depth, mask_below(row->name, MASK_NONE));
    } else {
        tg_buf_adds(p->out, " ");
        add_default(p->out, row);
        tg_buf_adds(p->out, "\n");
    }
}

/* The tiers in force when none are written. Of the built-in ones only `enterprise` has a `when`. */
static void print_default_tiers(struct printing *p, unsigned depth)
{
    const struct tg_tiers *tiers = &p->settings->config->tiers;

    indent(p->out, depth);
    tg_buf_adds(p->out, "tiers:\n");
    for (size_t i = 0; i <= tiers->count; i++) {
        const struct tg_tier *t = i < tiers->count ? &tiers->items[i] : &tiers->unauthenticated;

        indent(p->out, depth + 1);
        tg_buf_addf(p->out, "- {name: " TG_S_FMT ", limit: %u, window: %us%s}\n", TG_S_ARG(t->name),
                    t->windows[0].limit, t->windows[0].length_s,
                    t->when ? ", when: [{claim/plan: enterprise}]" : "");
    }
}

/* What is said of a store means nothing where the counters are in memory. */
static bool is_idle(const struct tg_settings_section *section, const struct tg_setting *row, const cJSON *node)
{
    struct tg_slice store;

    if (strcmp(section->place, "rate_limits") != 0 ||
        (strncmp(row->name, "store_", 6) != 0 && strcmp(row->name, "when_store_fails") != 0))
        return false;
    return !tg_json_str(tg_json_get(node, "store"), &store) || tg_slice_eq(store, TG_S("memory"));
}

/*
 * A route says for itself only what it was given: what it does not say may come from the top. A provider whose keys
 * are at hand has no settings of fetching, and a tier with `windows` no window beside them.
 */
static bool says_default(const struct tg_settings_section *section, const struct tg_setting *row, const cJSON *node)
{
    if (strcmp(section->place, "routes[]") == 0 || is_idle(section, row, node))
        return false;
    if (strcmp(section->place, "rate_limits.tiers[]") == 0)
        return !tg_json_get(node, "windows") || cJSON_IsNull(tg_json_get(node, "windows"));
    if (strcmp(section->place, "identity_providers.NAME") != 0 ||
        (strcmp(row->name, "max_stale") != 0 && strcmp(row->name, "allow_http") != 0 &&
         strcmp(row->name, "timeout") != 0))
        return true;
    return !tg_json_get(node, "jwks_file") && !tg_json_get(node, "jwks") && !tg_json_get(node, "public_key_file") &&
           !tg_json_get(node, "secret_file");
}

static void print_section(struct printing *p, const struct tg_settings_section *section, const cJSON *node,
                          unsigned depth)
{
    const cJSON *tiers = tg_json_get(node, "tiers");

    if (strcmp(section->place, "rate_limits") == 0 && (!tiers || cJSON_IsNull(tiers)))
        print_default_tiers(p, depth);
    for (size_t i = 0; i < *section->count; i++) {
        const cJSON *value = tg_json_get(node, section->rows[i].name);

        if (says_default(section, &section->rows[i], node) || (value && !cJSON_IsNull(value)))
            print_row(p, section, &section->rows[i], node, depth);
    }
}

void tg_settings_print(const struct tg_settings *s, struct tg_buf *out)
{
    struct printing p = {.out = out, .settings = s};

    print_section(&p, &tg_settings_sections[0], s->config->tree->root, 0);
}
