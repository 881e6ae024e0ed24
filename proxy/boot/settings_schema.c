/*
 * settings_schema - the tables as a JSON Schema (draft 2020-12), for editors and checks before a deployment.
 *
 * Every value may also be text with ${VAR}, so types other than text allow such a text.
 */
#include "base/json.h"
#include "settings_tables.h"
#include <stdio.h>

static void add(cJSON *object, const char *name, cJSON *value)
{
    tg_assert(value && cJSON_AddItemToObject(object, name, value));
}

static void add_text(cJSON *object, const char *name, const char *text)
{
    add(object, name, cJSON_CreateString(text));
}

static cJSON *typed(const char *type)
{
    cJSON *schema = cJSON_CreateObject();

    tg_assert(schema);
    add_text(schema, "type", type);
    return schema;
}

static cJSON *variable(void)
{
    cJSON *schema = typed("string");

    add_text(schema, "pattern", "\\$\\{");
    return schema;
}

/* {anyOf: [a, b]}; b may be NULL. */
static cJSON *either(cJSON *a, cJSON *b)
{
    cJSON *schema = cJSON_CreateObject(), *list = cJSON_CreateArray();

    tg_assert(schema && list && cJSON_AddItemToArray(list, a));
    if (b)
        tg_assert(cJSON_AddItemToArray(list, b));
    add(schema, "anyOf", list);
    return schema;
}

static cJSON *pattern(const char *text)
{
    cJSON *schema = typed("string");

    add_text(schema, "pattern", text);
    return schema;
}

static cJSON *list_of_text(void)
{
    cJSON *schema = typed("array");

    add(schema, "items", typed("string"));
    return schema;
}

/* A text that is a variable, none where that is possible (see base/setting), or as `how` says. */
static cJSON *written(const struct tg_setting *row, const char *how)
{
    bool none = row->min <= 0 || (row->dflt && strcmp(row->dflt, "none") == 0);
    char text[128];

    snprintf(text, sizeof text, "\\$\\{%s%s", none ? "|^none$" : "", how);
    return pattern(text);
}

static cJSON *whole_number(const struct tg_setting *row)
{
    cJSON *schema = typed("integer");

    add(schema, "minimum", cJSON_CreateNumber(row->min > 0 ? (double)row->min : 0));
    if (row->max > 0)
        add(schema, "maximum", cJSON_CreateNumber((double)row->max));
    return schema;
}

static cJSON *choice(const struct tg_setting *row)
{
    struct tg_slice rest = tg_slice_str(row->choices), name;
    cJSON *schema = cJSON_CreateObject(), *list = cJSON_CreateArray();
    bool more = true;

    tg_assert(schema && list);
    while (more) {
        more = tg_slice_cut(rest, '|', &name, &rest);
        char *text = tg_slice_dup(name);

        tg_assert(cJSON_AddItemToArray(list, cJSON_CreateString(text)));
        free(text);
    }
    add(schema, "enum", list);
    return schema;
}

static cJSON *section_schema(const struct tg_settings_section *section);

/* A section, or what stands for it in short. */
static cJSON *nested(const struct tg_settings_section *section, const struct tg_setting *row)
{
    const struct tg_settings_section *inner = settings_section_of(section, row);
    cJSON *schema;
    size_t len;

    if (strcmp(row->name, "upstream") == 0 && section->place[0] == '\0')
        return either(typed("string"), typed("object"));
    if (!inner)
        return cJSON_CreateObject();                     /* read by others: anything */
    len = strlen(inner->place);
    if (strcmp(inner->place + len - 2, "[]") == 0) {
        schema = typed("array");
        add(schema, "items", section_schema(inner));
        if (strcmp(row->name, "windows") == 0) {
            add(schema, "minItems", cJSON_CreateNumber(1));
            add(schema, "maxItems", cJSON_CreateNumber(TG_TIER_WINDOWS));
        }
        return schema;
    }
    if (len > 5 && strcmp(inner->place + len - 5, ".NAME") == 0) {
        schema = typed("object");
        add(schema, "additionalProperties", section_schema(inner));
        return schema;
    }
    if (strcmp(row->name, "rate_limits") == 0) {
        cJSON *off = cJSON_CreateObject(), *words = cJSON_CreateArray();

        tg_assert(off && words && cJSON_AddItemToArray(words, cJSON_CreateString("off")) &&
                  cJSON_AddItemToArray(words, cJSON_CreateFalse()));
        add(off, "enum", words);
        return either(section_schema(inner), off);
    }
    if (strcmp(row->name, "resource_metadata") == 0)
        return either(section_schema(inner), typed("boolean"));
    return section_schema(inner);
}

static cJSON *row_schema(const struct tg_settings_section *section, const struct tg_setting *row)
{
    cJSON *map;

    switch (row->kind) {
    case TG_SET_BOOL: return either(typed("boolean"), variable());
    case TG_SET_COUNT: return either(whole_number(row), written(row, ""));
    case TG_SET_SIZE: return either(whole_number(row), written(row, "|^[0-9]+(B|KiB|MiB|GiB)?$"));
    case TG_SET_DURATION: return written(row, "|^([0-9]+(d|h|m|s|ms))+$");
    case TG_SET_ENUM: return either(choice(row), variable());
    case TG_SET_STRINGS: return either(list_of_text(), typed("string"));
    case TG_SET_STRING_MAP:
        map = typed("object");
        add(map, "additionalProperties", typed("string"));
        return map;
    case TG_SET_NODE: return nested(section, row);
    case TG_SET_STRING:
    case TG_SET_FILE:
    case TG_SET_PATH:
    case TG_SET_LATER: break;
    }
    return typed("string");
}

static cJSON *default_value(const struct tg_setting *row)
{
    if (row->kind == TG_SET_BOOL)
        return cJSON_CreateBool(strcmp(row->dflt, "true") == 0);
    if (row->kind == TG_SET_COUNT && strcmp(row->dflt, "none") != 0)
        return cJSON_CreateRaw(row->dflt);
    if (tg_setting_default_is_list(row))
        return cJSON_CreateArray();                      /* the only such default is the empty list */
    return cJSON_CreateString(row->dflt);
}

static cJSON *parsed(const char *text)
{
    cJSON *schema = cJSON_Parse(text);

    tg_assert(schema);
    return schema;
}

/* What holds between the settings of a tier or a window, and no row can say. */
static void add_rules_of_limits(cJSON *schema, const struct tg_settings_section *section)
{
    bool tier = strcmp(section->place, "rate_limits.tiers[]") == 0;

    if (tier)
        add(schema, "oneOf", parsed("[{\"required\": [\"limit\"]}, {\"required\": [\"windows\"], \"properties\": "
                                    "{\"window\": false, \"limit_claim\": false, \"limit_ceiling\": false}}]"));
    if (tier || strcmp(section->place, "rate_limits.tiers[].windows[]") == 0)
        add(schema, "dependentRequired",
            parsed("{\"limit_claim\": [\"limit_ceiling\"], \"limit_ceiling\": [\"limit_claim\"]}"));
}

static cJSON *section_schema(const struct tg_settings_section *section)
{
    cJSON *schema = typed("object"), *properties = cJSON_CreateObject(), *required = cJSON_CreateArray();

    tg_assert(properties && required);
    add_text(schema, "description", section->about);
    for (size_t i = 0; i < *section->count; i++) {
        const struct tg_setting *row = &section->rows[i];
        cJSON *property;

        if (row->kind == TG_SET_LATER)
            continue;
        property = row_schema(section, row);
        if (!cJSON_GetObjectItemCaseSensitive(property, "description"))
            add_text(property, "description", row->help);
        if (row->dflt)
            add(property, "default", default_value(row));
        if (row->flags & TG_SET_REQUIRED)
            tg_assert(cJSON_AddItemToArray(required, cJSON_CreateString(row->name)));
        add(properties, row->name, property);
    }
    add(schema, "properties", properties);
    if (required->child)
        add(schema, "required", required);
    else
        cJSON_Delete(required);
    add(schema, "additionalProperties", cJSON_CreateFalse());
    add_rules_of_limits(schema, section);
    return schema;
}

void tg_settings_schema(struct tg_buf *out)
{
    cJSON *schema = section_schema(&tg_settings_sections[0]);
    char *text;

    add_text(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    add_text(schema, "title", "configuration of tollgate");
    text = cJSON_Print(schema);
    tg_assert(text);
    tg_buf_adds(out, text);
    tg_buf_adds(out, "\n");
    cJSON_free(text);
    cJSON_Delete(schema);
}
