/*
 * setting - reading a section by its table.
 *
 * A default goes the same way as what a user writes, so a row cannot have a default that its own range refuses: that
 * is a bug of the table and ends the process at start.
 */
#include "base/setting.h"
#include "base/file.h"
#include "base/json.h"
#include "tree_internal.h"
#include <stdio.h>
#include <stdlib.h>

struct reading {
    const struct tg_tree *tree;
    const char *where;
    bool camel;
    struct tg_arena *arena;
    struct tg_problems *problems;
    const struct tg_setting *row;
    const char *shown;                                   /* the row's name as the user wrote it or would */
    const cJSON *node;                                   /* the value at hand */
    bool is_default;
};

static const char *dot(const struct reading *r) { return r->where[0] ? "." : ""; }

static bool complain(struct reading *r, const cJSON *node, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* "WHERE.NAME must be …"; always false. */
static bool complain(struct reading *r, const cJSON *node, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    tg_assert(!r->is_default);
    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    tg_problem_at(r->problems, r->tree, node, "%s%s%s %s", r->where, dot(r), r->shown, tg_buf_cstr(&text));
    tg_buf_fini(&text);
    return false;
}

const char *tg_camel_case(const char *snake, char out[static TG_CAMEL_MAX])
{
    size_t n = 0;

    for (; *snake && n + 1 < TG_CAMEL_MAX; snake++) {
        if (*snake == '_' && snake[1] >= 'a' && snake[1] <= 'z') {
            snake++;
            out[n++] = (char)(*snake - 'a' + 'A');
        } else {
            out[n++] = *snake;
        }
    }
    out[n] = '\0';
    return out;
}

static bool is_same(const char *a, const char *b) { return a[0] == b[0] && strcmp(a, b) == 0; }

/* Whether `name` is the API's spelling; without making it, as ten thousand objects may be read by one table. */
static bool is_camel_of(const char *snake, const char *name)
{
    if (snake[0] != name[0])
        return false;
    for (; *snake; snake++, name++) {
        char want = *snake;

        if (want == '_' && snake[1] >= 'a' && snake[1] <= 'z')
            want = (char)(*++snake - 'a' + 'A');
        if (*name != want)
            return false;
    }
    return *name == '\0';
}

const cJSON *tg_setting_member(const cJSON *node, const char *name, bool camel)
{
    const cJSON *member = tg_json_get(node, name);

    if (member || !camel || !cJSON_IsObject(node))
        return member;
    for (member = node->child; member && !is_camel_of(name, member->string);)
        member = member->next;
    return member;
}

/* ---- kinds ---- */

/* Text, or what was text in the environment before it was typed. */
static bool text_of(const struct reading *r, const cJSON *node, struct tg_slice *out)
{
    if (tg_json_str(node, out))
        return true;
    *out = r->is_default ? (struct tg_slice){0} : tg_tree_source(r->tree, node);
    return out->ptr != NULL;
}

static bool is_none(const struct reading *r)
{
    struct tg_slice text;

    return tg_json_str(r->node, &text) && tg_slice_eq(text, TG_S("none")) &&
           (r->row->min <= 0 || (r->row->dflt && strcmp(r->row->dflt, "none") == 0));
}

static bool in_range(const struct tg_setting *row, uint64_t value)
{
    return value >= (uint64_t)(row->min > 0 ? row->min : 0) && (row->max <= 0 || value <= (uint64_t)row->max);
}

static void show_count(uint64_t value, char *out, size_t size)
{
    snprintf(out, size, "%llu", (unsigned long long)value);
}

static void show_size(uint64_t value, char *out, size_t size)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    unsigned unit = 0;

    while (unit < 3 && value > 0 && value % 1024 == 0) {
        value /= 1024;
        unit++;
    }
    snprintf(out, size, "%llu%s", (unsigned long long)value, units[unit]);
}

static const struct {
    const char *name;
    int64_t ms;
} duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

static void show_duration(uint64_t value, char *out, size_t size)
{
    size_t n = 0;

    snprintf(out, size, "0s");
    for (size_t i = 0; i < ARRAY_LEN(duration_units) && n < size; i++) {
        uint64_t unit = (uint64_t)duration_units[i].ms;

        if (value >= unit)
            n += (size_t)snprintf(out + n, size - n, "%llu%s", (unsigned long long)(value / unit),
                                  duration_units[i].name);
        value %= unit;
    }
}

/* "… must be WHAT from MIN to MAX". */
static bool out_of_range(struct reading *r, const char *what, void (*show)(uint64_t value, char *out, size_t size))
{
    char low[64], high[64];

    show((uint64_t)(r->row->min > 0 ? r->row->min : 0), low, sizeof low);
    show((uint64_t)(r->row->max > 0 ? r->row->max : 0), high, sizeof high);
    if (r->row->max > 0)
        return complain(r, r->node, "must be %s from %s to %s", what, low, high);
    if (r->row->min > 0)
        return complain(r, r->node, "must be %s of %s or more", what, low);
    return complain(r, r->node, "must be %s", what);
}

static bool read_bool(struct reading *r, void *member)
{
    if (!cJSON_IsBool(r->node))
        return complain(r, r->node, "must be true or false");
    *(bool *)member = cJSON_IsTrue(r->node);
    return true;
}

static bool read_count(struct reading *r, void *member)
{
    int64_t value = 0;

    if (!is_none(r)) {
        if (!tg_json_int(r->node, &value) || value < 0 || !in_range(r->row, (uint64_t)value))
            return out_of_range(r, "a whole number", show_count);
    }
    *(uint64_t *)member = (uint64_t)value;
    return true;
}

static bool read_size(struct reading *r, void *member)
{
    uint64_t value = 0;
    int64_t bytes;
    struct tg_slice text;

    if (!is_none(r)) {
        if (tg_json_int(r->node, &bytes) && bytes >= 0)
            value = (uint64_t)bytes;
        else if (!tg_json_str(r->node, &text) || !tg_size_parse(text, &value))
            return out_of_range(r, "a size (64KiB, 1MiB)", show_size);
        if (!in_range(r->row, value))
            return out_of_range(r, "a size", show_size);
    }
    *(uint64_t *)member = value;
    return true;
}

static bool read_duration(struct reading *r, void *member)
{
    int64_t value = 0;
    struct tg_slice text;

    if (cJSON_IsNumber(r->node))
        return complain(r, r->node, "needs a unit, as in 500ms, 30s or 1m30s");
    if (!is_none(r)) {
        if (!tg_json_str(r->node, &text) || !tg_duration_parse(text, &value))
            return out_of_range(r, "a duration (500ms, 30s, 1m30s)", show_duration);
        if (!in_range(r->row, (uint64_t)value))
            return out_of_range(r, "a duration", show_duration);
    }
    *(int64_t *)member = value;
    return true;
}

static bool read_string(struct reading *r, void *member)
{
    struct tg_slice text;

    if (!text_of(r, r->node, &text)) {
        if (cJSON_IsNumber(r->node) || cJSON_IsBool(r->node))
            return complain(r, r->node, "must be text: put quotes around it");
        return complain(r, r->node, "must be text");
    }
    if (text.len == 0 && (r->row->flags & TG_SET_REQUIRED))
        return complain(r, r->node, "must not be empty");
    *(struct tg_slice *)member = tg_slice(tg_arena_str(r->arena, text), text.len);
    return true;
}

static bool read_path(struct reading *r, void *member)
{
    struct tg_slice text;
    char *path;

    if (!text_of(r, r->node, &text) || text.len == 0)
        return complain(r, r->node, "must be a path");
    text = tg_slice(tg_arena_str(r->arena, text), text.len);
    if (r->tree) {
        path = tg_file_beside(tg_tree_file(r->tree, r->node), text.ptr);
        text = tg_slice_str(path);
        text = tg_slice(tg_arena_str(r->arena, text), text.len);
        free(path);
        if (r->row->kind == TG_SET_FILE)
            tg_tree_note_file(r->tree, text.ptr);
    }
    *(struct tg_slice *)member = text;
    return true;
}

static bool read_enum(struct reading *r, void *member)
{
    const char *names[32];
    char list[512], *save = NULL;
    struct tg_slice text = {0};
    size_t count = 0;
    struct tg_buf said = {0};
    const char *near;

    snprintf(list, sizeof list, "%s", r->row->choices);
    for (char *name = strtok_r(list, "|", &save); name && count < ARRAY_LEN(names); name = strtok_r(NULL, "|", &save))
        names[count++] = name;
    if (text_of(r, r->node, &text)) {
        for (size_t i = 0; i < count; i++) {
            if (tg_slice_eq(text, tg_slice_str(names[i]))) {
                *(int *)member = (int)i;
                return true;
            }
        }
    }
    for (size_t i = 0; i < count; i++)
        tg_buf_addf(&said, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
    near = text.ptr ? tg_nearest(text.ptr, names, count) : NULL;
    complain(r, r->node, "must be %s%s%s%s", tg_buf_cstr(&said), near ? "; did you mean " : "", near ? near : "",
             near ? "?" : "");
    tg_buf_fini(&said);
    return false;
}

static bool read_strings(struct reading *r, void *member)
{
    struct tg_strings list = {.set = !r->is_default};
    struct tg_slice text;
    bool ok = true;

    if (!cJSON_IsArray(r->node)) {
        if (!text_of(r, r->node, &text))
            return complain(r, r->node, "must be a list of text, or one text");
        list.items = TG_ARENA_NEW(r->arena, struct tg_slice);
        list.items[list.count++] = tg_slice(tg_arena_str(r->arena, text), text.len);
        *(struct tg_strings *)member = list;
        return true;
    }
    list.items = TG_ARENA_ARRAY(r->arena, struct tg_slice, cJSON_GetArraySize(r->node));
    for (const cJSON *item = r->node->child; item; item = item->next) {
        if (text_of(r, item, &text))
            list.items[list.count++] = tg_slice(tg_arena_str(r->arena, text), text.len);
        else
            ok = complain(r, item, "may hold only text%s",
                          cJSON_IsNumber(item) || cJSON_IsBool(item) ? ": put quotes around this" : "");
    }
    if (ok && list.count == 0 && (r->row->flags & TG_SET_REQUIRED))
        ok = complain(r, r->node, "must not be empty");
    if (ok)
        *(struct tg_strings *)member = list;
    return ok;
}

static bool read_string_map(struct reading *r, void *member)
{
    struct tg_string_map map = {0};
    struct tg_slice text;
    bool ok = true;
    int count;

    if (!cJSON_IsObject(r->node))
        return complain(r, r->node, "must be a mapping of names to text");
    count = cJSON_GetArraySize(r->node);
    map.names = TG_ARENA_ARRAY(r->arena, struct tg_slice, count);
    map.values = TG_ARENA_ARRAY(r->arena, struct tg_slice, count);
    for (const cJSON *item = r->node->child; item; item = item->next) {
        struct tg_slice name = tg_slice_str(item->string);

        if (!text_of(r, item, &text)) {
            ok = complain(r, item, "must give text for %.64s%s", item->string,
                          cJSON_IsNumber(item) || cJSON_IsBool(item) ? ": put quotes around it" : "");
            continue;
        }
        map.names[map.count] = tg_slice(tg_arena_str(r->arena, name), name.len);
        map.values[map.count++] = tg_slice(tg_arena_str(r->arena, text), text.len);
    }
    if (ok)
        *(struct tg_string_map *)member = map;
    return ok;
}

static bool read_node(struct reading *r, void *member)
{
    *(const cJSON **)member = r->node;
    return true;
}

static bool read_later(struct reading *r, void *member)
{
    (void)member;
    tg_problem_at_key(r->problems, r->tree, r->node, "%s%s%s is not supported yet: %s", r->where, dot(r), r->shown,
                      r->row->help);
    return false;
}

static bool (*const readers[])(struct reading *r, void *member) = {
    [TG_SET_BOOL] = read_bool,
    [TG_SET_COUNT] = read_count,
    [TG_SET_SIZE] = read_size,
    [TG_SET_DURATION] = read_duration,
    [TG_SET_STRING] = read_string,
    [TG_SET_ENUM] = read_enum,
    [TG_SET_STRINGS] = read_strings,
    [TG_SET_STRING_MAP] = read_string_map,
    [TG_SET_FILE] = read_path,
    [TG_SET_PATH] = read_path,
    [TG_SET_NODE] = read_node,
    [TG_SET_LATER] = read_later,
};

/* ---- tables ---- */

bool tg_setting_default_is_list(const struct tg_setting *row)
{
    size_t len = row->dflt ? strlen(row->dflt) : 0;

    return row->kind == TG_SET_STRINGS && len >= 2 && row->dflt[0] == '[' && row->dflt[len - 1] == ']';
}

/* The default as a node. */
static cJSON *default_node(const struct tg_setting *row)
{
    struct tg_slice text = tg_slice_str(row->dflt), item;
    cJSON *node = tg_setting_default_is_list(row) ? cJSON_CreateArray() : cJSON_CreateNull();

    tg_assert(node);
    if (cJSON_IsArray(node)) {
        text = tg_slice(text.ptr + 1, text.len - 2);
        while (text.len > 0) {
            cJSON *element = cJSON_CreateNull();

            tg_assert(element);
            if (!tg_slice_cut(text, ',', &item, &text))
                text = (struct tg_slice){0};
            tg_scalar_string(element, tg_slice_trim(item));
            tg_assert(cJSON_AddItemToArray(node, element));
        }
    } else if (row->kind == TG_SET_BOOL || row->kind == TG_SET_COUNT || row->kind == TG_SET_SIZE) {
        tg_assert(tg_scalar_type(node, text, NULL) == TG_OK);
    } else {
        tg_scalar_string(node, text);
    }
    return node;
}

static void read_default(struct reading *r, void *out)
{
    cJSON *node;

    if (!r->row->dflt || r->row->kind == TG_SET_LATER || r->row->kind == TG_SET_NODE ||
        r->row->kind == TG_SET_STRING_MAP)
        return;
    node = default_node(r->row);
    r->node = node;
    r->is_default = true;
    readers[r->row->kind](r, (char *)out + r->row->offset);
    r->is_default = false;
    r->node = NULL;
    cJSON_Delete(node);
}

/* The member by either spelling; both at once is a problem. */
static const cJSON *find(struct reading *r, const cJSON *node, char camel[static TG_CAMEL_MAX])
{
    const cJSON *snake_member = NULL, *camel_member = NULL;

    for (const cJSON *member = node ? node->child : NULL; member; member = member->next) {
        if (is_same(r->row->name, member->string))
            snake_member = member;
        else if (r->camel && is_camel_of(r->row->name, member->string))
            camel_member = member;
    }
    r->shown = r->row->name;
    if (r->camel && !snake_member)
        r->shown = tg_camel_case(r->row->name, camel);
    if (snake_member && camel_member)
        tg_problem_at_key(r->problems, r->tree, camel_member, "%s%s%s and %s are the same setting", r->where, dot(r),
                          snake_member->string, camel_member->string);
    return snake_member ? snake_member : camel_member;
}

static void read_row(struct reading *r, const cJSON *node, void *out)
{
    char camel[TG_CAMEL_MAX];
    const cJSON *value = find(r, node, camel);

    if (r->row->kind != TG_SET_NODE || !value || cJSON_IsNull(value))
        read_default(r, out);
    if (value && !cJSON_IsNull(value)) {
        r->node = value;
        readers[r->row->kind](r, (char *)out + r->row->offset);
    } else if (r->row->flags & TG_SET_REQUIRED) {
        tg_problem_at(r->problems, r->tree, value ? value : node, "%s%s%s is required", r->where, dot(r), r->shown);
    }
    r->node = NULL;
}

static bool is_known(const struct reading *r, const struct tg_setting *table, size_t rows, const char *name)
{
    for (size_t i = 0; i < rows; i++)
        if (is_same(table[i].name, name) || (r->camel && is_camel_of(table[i].name, name)))
            return true;
    return false;
}

static void refuse(struct reading *r, const struct tg_setting *table, size_t rows, const cJSON *member)
{
    const char **names = TG_NEW_ARRAY(const char *, rows * 2 + 1), *near;
    char *camels = TG_NEW_ARRAY(char, (rows + 1) * TG_CAMEL_MAX);
    size_t count = 0;

    /* The form of the API comes first there: it is the one to propose. */
    for (size_t i = 0; i < rows && r->camel; i++)
        names[count++] = tg_camel_case(table[i].name, camels + i * TG_CAMEL_MAX);
    for (size_t i = 0; i < rows; i++)
        names[count++] = table[i].name;
    near = tg_nearest(member->string, names, count);
    if (near)
        tg_problem_at_key(r->problems, r->tree, member, "%s%s%.64s is not a setting; did you mean %s%s%s?", r->where,
                          dot(r), member->string, r->where, dot(r), near);
    else
        tg_problem_at_key(r->problems, r->tree, member, "%s%s%.64s is not a setting", r->where, dot(r),
                          member->string);
    free(camels);
    free(names);
}

static void refuse_unknown(struct reading *r, const struct tg_setting *table, size_t rows, const cJSON *node)
{
    for (const cJSON *member = node->child; member; member = member->next)
        if (!is_known(r, table, rows, member->string))
            refuse(r, table, rows, member);
}

bool tg_settings_read(const struct tg_setting *table, size_t rows, const struct tg_tree *tree, const cJSON *node,
                      const char *where, bool camel, struct tg_arena *arena, void *out, struct tg_problems *problems)
{
    struct reading r = {.tree = tree, .where = where, .camel = camel, .arena = arena, .problems = problems};
    size_t errors = problems->errors;

    if (node && !cJSON_IsObject(node) && !cJSON_IsNull(node)) {
        tg_problem_at(problems, tree, node, "%s must be a mapping of settings", where[0] ? where : "the document");
        node = NULL;
    } else if (cJSON_IsObject(node)) {
        refuse_unknown(&r, table, rows, node);
    }
    for (size_t i = 0; i < rows; i++) {
        r.row = &table[i];
        read_row(&r, node, out);
    }
    return problems->errors == errors;
}
