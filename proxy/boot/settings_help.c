/*
 * settings_help - the tables as text: --help-settings, and the reference in docs/configuration.md.
 */
#include "settings_tables.h"
#include <stdio.h>

#define ROUTE_LIMITS "routes[].rate_limits"

static const char *const kind_names[] = {
    [TG_SET_BOOL] = "true|false", [TG_SET_COUNT] = "number",      [TG_SET_SIZE] = "size",
    [TG_SET_DURATION] = "duration", [TG_SET_STRING] = "text",     [TG_SET_ENUM] = "choice",
    [TG_SET_STRINGS] = "list",    [TG_SET_STRING_MAP] = "mapping", [TG_SET_FILE] = "path",
    [TG_SET_PATH] = "path",       [TG_SET_NODE] = "section",    [TG_SET_LATER] = "later",
};

const char *settings_kind_name(const struct tg_setting *row)
{
    static const struct {
        const char *name, *kind;
    } nodes[] = {                                        /* read by others, each with its own shapes */
        {"upstream", "URL or section"}, {"jwt_claims_headers", "mapping or list"}, {"policy", "PPL"}, {"ppl", "PPL"},
        {"when", "list of criteria"}, {"jwks", "JWK set"}, {"allowed_idp_claims", "mapping"},
        {"rate_limits", "section or off"}, {"resource_metadata", "true or section"},
        {"policies", "list"}, {"routes", "list"}, {"tiers", "list"}, {"windows", "list"},
        {"identity_providers", "mapping"}, {"certificates", "list"},
    };

    for (size_t i = 0; row->kind == TG_SET_NODE && i < ARRAY_LEN(nodes); i++)
        if (strcmp(nodes[i].name, row->name) == 0)
            return nodes[i].kind;
    return row->kind == TG_SET_ENUM ? row->choices : kind_names[row->kind];
}

const struct tg_settings_section *settings_section_of(const struct tg_settings_section *section,
                                                      const struct tg_setting *row)
{
    char plain[96], list[96], named[96];
    const char *at = strcmp(section->place, ROUTE_LIMITS) == 0 ? "rate_limits" : section->place; /* the same tiers */
    const char *dot = at[0] ? "." : "";

    snprintf(plain, sizeof plain, "%s%s%s", at, dot, row->name);
    snprintf(list, sizeof list, "%s%s%s[]", at, dot, row->name);
    snprintf(named, sizeof named, "%s%s%s.NAME", at, dot, row->name);
    for (size_t i = 0; row->kind == TG_SET_NODE && i < tg_settings_section_count; i++) {
        const char *place = tg_settings_sections[i].place;

        if (strcmp(place, plain) == 0 || strcmp(place, list) == 0 || strcmp(place, named) == 0)
            return &tg_settings_sections[i];
    }
    return NULL;
}

static void show(const struct tg_setting *row, int64_t value, struct tg_buf *out)
{
    static const struct {
        int64_t of;
        const char *unit;
    } sizes[] = {{INT64_C(1) << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, ""}},
      times[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    bool size = row->kind == TG_SET_SIZE;

    if (row->kind == TG_SET_COUNT) {
        tg_buf_addf(out, "%lld", (long long)value);
        return;
    }
    for (size_t i = 0; i < (size ? ARRAY_LEN(sizes) : ARRAY_LEN(times)); i++) {
        int64_t of = size ? sizes[i].of : times[i].of;

        if (value % of == 0 && (value >= of || of == 1)) {
            tg_buf_addf(out, "%lld%s", (long long)(value / of), size ? sizes[i].unit : times[i].unit);
            return;
        }
    }
}

bool settings_range_text(const struct tg_setting *row, struct tg_buf *out)
{
    if (row->kind != TG_SET_COUNT && row->kind != TG_SET_SIZE && row->kind != TG_SET_DURATION)
        return false;
    if (row->min <= 0 && row->max <= 0)
        return false;
    if (row->min > 0)
        show(row, row->min, out);
    if (row->max <= 0) {
        tg_buf_adds(out, " or more");
        return true;
    }
    tg_buf_adds(out, row->min > 0 ? " to " : "at most ");
    show(row, row->max, out);
    return true;
}

static size_t honoured(const struct tg_settings_section *section)
{
    size_t count = 0;

    for (size_t i = 0; i < *section->count; i++)
        count += section->rows[i].kind != TG_SET_LATER;
    return count;
}

/* Names of the settings that are known and refused, broken into lines. */
static void add_later(const struct tg_settings_section *section, const char *indent, struct tg_buf *out)
{
    size_t column = 0;

    for (size_t i = 0; i < *section->count; i++) {
        const char *name = section->rows[i].name;

        if (section->rows[i].kind != TG_SET_LATER)
            continue;
        if (column == 0 || column + strlen(name) + 2 > 100) {
            tg_buf_addf(out, "%s%s", column ? "\n" : "", indent);
            column = strlen(indent);
        } else {
            tg_buf_addc(out, ' ');
        }
        tg_buf_adds(out, name);
        column += strlen(name) + 1;
    }
    if (column)
        tg_buf_adds(out, "\n");
}

static void help_row(const struct tg_setting *row, struct tg_buf *out)
{
    struct tg_buf range = {0};

    tg_buf_addf(out, "  %-36s %s", row->name, row->help);
    tg_buf_addf(out, "\n  %-36s   %s", "", settings_kind_name(row));
    if (settings_range_text(row, &range))
        tg_buf_addf(out, ", %s", tg_buf_cstr(&range));
    if (row->flags & TG_SET_REQUIRED)
        tg_buf_adds(out, "; required");
    else if (row->dflt)
        tg_buf_addf(out, "; default %s", row->dflt);
    tg_buf_adds(out, "\n");
    tg_buf_fini(&range);
}

void tg_settings_help(struct tg_buf *out)
{
    tg_buf_adds(
        out, "Settings of the configuration file (YAML or JSON). A size is 64KiB or 1MiB, a duration 500ms, 10s or\n"
             "1m30s. ${VAR}, ${VAR:-default} and ${VAR:?message} stand for environment variables; TOLLGATE_<KEY>\n"
             "overrides a setting of the top that is one text (TOLLGATE_ADDRESS). Paths are relative to the file.\n");
    for (size_t i = 0; i < tg_settings_section_count; i++) {
        const struct tg_settings_section *section = &tg_settings_sections[i];

        tg_buf_addf(out, "\n%s%s%s\n", section->place, section->place[0] ? ": " : "", section->about);
        for (size_t j = 0; j < *section->count; j++)
            if (section->rows[j].kind != TG_SET_LATER)
                help_row(&section->rows[j], out);
        if (honoured(section) < *section->count) {
            tg_buf_adds(out, "  known, refused by name with the reason:\n");
            add_later(section, "    ", out);
        }
    }
}

/* "|" ends a cell of a table. */
static void add_cell(struct tg_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            tg_buf_addc(out, '\\');
        tg_buf_addc(out, *text);
    }
}

static void markdown_row(const struct tg_setting *row, struct tg_buf *out)
{
    struct tg_buf range = {0};

    tg_buf_addf(out, "| `%s` | ", row->name);
    add_cell(out, settings_kind_name(row));
    if (settings_range_text(row, &range))
        tg_buf_addf(out, ", %s", tg_buf_cstr(&range));
    if (row->flags & TG_SET_REQUIRED)
        tg_buf_adds(out, " | *required*");
    else if (row->dflt)
        tg_buf_addf(out, " | `%s`", row->dflt);
    else
        tg_buf_adds(out, " |");
    tg_buf_adds(out, " | ");
    add_cell(out, row->help);
    tg_buf_adds(out, " |\n");
    tg_buf_fini(&range);
}

void tg_settings_markdown(struct tg_buf *out)
{
    for (size_t i = 0; i < tg_settings_section_count; i++) {
        const struct tg_settings_section *section = &tg_settings_sections[i];

        if (section->place[0])
            tg_buf_addf(out, "%s### `%s`\n\n%c%s.\n", i ? "\n" : "", section->place,
                        section->about[0] >= 'a' && section->about[0] <= 'z' ? section->about[0] - 'a' + 'A'
                                                                           : section->about[0], section->about + 1);
        else
            tg_buf_adds(out, "### The top of the file\n");
        tg_buf_adds(out, "\n| setting | value | default | |\n|---|---|---|---|\n");
        for (size_t j = 0; j < *section->count; j++)
            if (section->rows[j].kind != TG_SET_LATER)
                markdown_row(&section->rows[j], out);
        if (honoured(section) == *section->count)
            continue;
        tg_buf_adds(out, "\nKnown, and refused by name until they are honoured:\n");
        for (size_t j = 0; j < *section->count; j++)
            if (section->rows[j].kind == TG_SET_LATER)
                tg_buf_addf(out, "- `%s`: %s\n", section->rows[j].name, section->rows[j].help);
    }
}
