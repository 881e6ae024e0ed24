/*
 * tree - the events of libyaml made into a tree of our own kind.
 *
 * Why events and not libyaml's documents: limits must hold while reading (a few aliases make billions of nodes), a
 * duplicate key is an error, and only the core schema's types are wanted. An alias becomes a copy of what it names, and
 * every copied value and byte counts.
 */
#include "base/map.h"
#include "tree_internal.h"
#include <stdlib.h>
#include <yaml.h>

enum {
    MAX_EXPANDED = 32 << 20,                             /* bytes of all scalars, copies by aliases included */
    SHORT_MAPPING = 8,                                   /* with fewer entries the keys are compared one by one */
    BYTES_PER_VALUE = 20,                                /* of dense text; a guess that is wrong costs little */
};

struct reader {
    yaml_parser_t parser;
    struct tg_slice text;
    struct tg_tree *tree;
    const char *file;                                    /* as the places know it */
    struct tg_map *anchors;                              /* name to cJSON *, finished values only */
    size_t nodes, copies, bytes;
    struct tg_err *err;
};

static enum tg_status read_node(struct reader *r, const yaml_event_t *ev, unsigned depth, cJSON **out);

static enum tg_status fail_at(struct reader *r, enum tg_status st, size_t line, size_t column, const char *what)
{
    return tg_fail(r->err, st, "%s:%zu:%zu: %s", r->file, line, column, what);
}

static enum tg_status fail_event(struct reader *r, enum tg_status st, const yaml_event_t *ev, const char *what)
{
    return fail_at(r, st, ev->start_mark.line + 1, ev->start_mark.column + 1, what);
}

/* libyaml's sentences are constants: nothing of the text is in them. */
static enum tg_status fail_parser(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "this is not YAML";
    size_t line = p->problem_mark.line + 1, column = p->problem_mark.column + 1;

    if (p->error == YAML_READER_ERROR) {                 /* knows only the offset */
        line = column = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->text.len; i++) {
            column++;
            if (r->text.ptr[i] == '\n') {
                line++;
                column = 1;
            }
        }
    }
    if (p->context)
        return tg_fail(r->err, TG_BAD_INPUT, "%s:%zu:%zu: %s (%s)", r->file, line, column, problem, p->context);
    return fail_at(r, TG_BAD_INPUT, line, column, problem);
}

static enum tg_status next_event(struct reader *r, yaml_event_t *ev)
{
    return yaml_parser_parse(&r->parser, ev) ? TG_OK : fail_parser(r);
}

/* Counts a value and its bytes; both may come from copies. */
static enum tg_status account(struct reader *r, const yaml_event_t *ev, size_t bytes)
{
    r->bytes += bytes;
    if (++r->nodes > TG_TREE_MAX_NODES)
        return fail_event(r, TG_LIMIT, ev, "more than 2000000 values");
    if (r->bytes > MAX_EXPANDED)
        return fail_event(r, TG_LIMIT, ev, "more than 32 MiB of text, that of aliases counted");
    return TG_OK;
}

static enum tg_status new_node(struct reader *r, const yaml_event_t *ev, size_t bytes, bool plain, cJSON *fresh,
                               cJSON **out)
{
    struct tg_place *place;
    enum tg_status st = account(r, ev, bytes);

    tg_assert(fresh);
    if (st != TG_OK) {
        cJSON_Delete(fresh);
        return st;
    }
    place = tg_places_put(r->tree->places, fresh);
    free(place->source);                                 /* an address may be used again after a failure */
    *place = (struct tg_place){.node = fresh,
                               .file = r->file,
                               .line = (unsigned)ev->start_mark.line + 1,
                               .column = (unsigned)ev->start_mark.column + 1,
                               .plain = plain};
    *out = fresh;
    return TG_OK;
}

static enum tg_status check_tag(struct reader *r, const yaml_event_t *ev, const yaml_char_t *tag, bool scalar)
{
    if (!tag || (scalar && strcmp((const char *)tag, YAML_STR_TAG) == 0))
        return TG_OK;
    return tg_fail(r->err, TG_BAD_INPUT, "%s:%zu:%zu: the tag %.64s is not taken, only !!str on a scalar is", r->file,
                   ev->start_mark.line + 1, ev->start_mark.column + 1, (const char *)tag);
}

static struct tg_slice scalar_text(const yaml_event_t *ev)
{
    return tg_slice((const char *)ev->data.scalar.value, ev->data.scalar.length);
}

static bool has_nul(struct tg_slice s) { return s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL; }

static enum tg_status read_scalar(struct reader *r, const yaml_event_t *ev, cJSON **out)
{
    struct tg_slice text = scalar_text(ev);
    bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !ev->data.scalar.tag;
    struct tg_err err = {0};
    cJSON *node = NULL;
    enum tg_status st = check_tag(r, ev, ev->data.scalar.tag, true);

    if (st != TG_OK)
        return st;
    if (has_nul(text))
        return fail_event(r, TG_BAD_INPUT, ev, "a string may not hold a NUL character");
    st = new_node(r, ev, text.len, plain, cJSON_CreateNull(), &node);
    if (st != TG_OK)
        return st;
    if (!plain) {
        tg_scalar_string(node, text);
    } else if ((st = tg_scalar_type(node, text, &err)) != TG_OK) {
        cJSON_Delete(node);
        return fail_event(r, st, ev, err.text);
    }
    *out = node;
    return TG_OK;
}

static enum tg_status read_sequence(struct reader *r, const yaml_event_t *start, unsigned depth, cJSON **out)
{
    cJSON *list = NULL, *item;
    yaml_event_t ev;
    enum tg_status st = check_tag(r, start, start->data.sequence_start.tag, false);

    if (st == TG_OK)
        st = new_node(r, start, 0, false, cJSON_CreateArray(), &list);
    if (st != TG_OK)
        return st;
    for (;;) {
        st = next_event(r, &ev);
        if (st != TG_OK)
            break;
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            *out = list;
            return TG_OK;
        }
        st = read_node(r, &ev, depth, &item);
        yaml_event_delete(&ev);
        if (st != TG_OK)
            break;
        tg_assert(cJSON_AddItemToArray(list, item));
    }
    cJSON_Delete(list);
    return st;
}

/* The entry of that name; NULL: none yet. Without `seen` there are few. */
static const cJSON *find_key(const cJSON *mapping, const struct tg_map *seen, struct tg_slice name)
{
    const cJSON *entry;

    if (seen)
        return tg_map_get(seen, name);
    cJSON_ArrayForEach(entry, mapping) {
        if (tg_slice_eq(tg_slice_str(entry->string), name))
            return entry;
    }
    return NULL;
}

static enum tg_status check_key(struct reader *r, const yaml_event_t *key, const cJSON *mapping,
                                const struct tg_map *seen)
{
    struct tg_slice name;
    const struct tg_place *first;
    enum tg_status st;

    if (key->type != YAML_SCALAR_EVENT)
        return fail_event(r, TG_BAD_INPUT, key, "the key of a mapping must be a scalar");
    name = scalar_text(key);
    st = check_tag(r, key, key->data.scalar.tag, true);
    if (st != TG_OK)
        return st;
    if (has_nul(name))
        return fail_event(r, TG_BAD_INPUT, key, "a key may not hold a NUL character");
    if (key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (name.len == 0)
            return fail_event(r, TG_BAD_INPUT, key, "a key is missing before the colon");
        if (tg_slice_eq(name, TG_S("<<")))
            return fail_event(r, TG_UNSUPPORTED, key, "merge keys (<<) are not supported: write the entries out");
    }
    first = tg_places_get(r->tree->places, find_key(mapping, seen, name));
    if (first)
        return tg_fail(r->err, TG_BAD_INPUT, "%s:%zu:%zu: the key " TG_S_FMT " appears twice, first at %u:%u", r->file,
                       key->start_mark.line + 1, key->start_mark.column + 1, (int)(name.len < 64 ? name.len : 64),
                       name.ptr, first->key_line, first->key_column);
    return TG_OK;
}

/* From a key, already seen, to the end of its value. */
static enum tg_status read_entry(struct reader *r, const yaml_event_t *key, unsigned depth, struct tg_map *seen,
                                 cJSON *mapping)
{
    struct tg_place *place;
    yaml_event_t ev;
    cJSON *value;
    enum tg_status st = check_key(r, key, mapping, seen);

    if (st == TG_OK)
        st = next_event(r, &ev);
    if (st != TG_OK)
        return st;
    st = read_node(r, &ev, depth, &value);
    yaml_event_delete(&ev);
    if (st != TG_OK)
        return st;
    place = tg_places_get(r->tree->places, value);
    place->key_line = (unsigned)key->start_mark.line + 1;
    place->key_column = (unsigned)key->start_mark.column + 1;
    if (seen)
        tg_map_put(seen, scalar_text(key), value);
    r->bytes += key->data.scalar.length;
    tg_assert(cJSON_AddItemToObject(mapping, (const char *)key->data.scalar.value, value));
    return TG_OK;
}

/* A map of the entries so far. */
static struct tg_map *keys_of(const cJSON *mapping)
{
    struct tg_map *seen = tg_map_new(NULL);

    for (cJSON *entry = mapping->child; entry; entry = entry->next)
        tg_map_put(seen, tg_slice_str(entry->string), entry);
    return seen;
}

static enum tg_status read_mapping(struct reader *r, const yaml_event_t *start, unsigned depth, cJSON **out)
{
    cJSON *mapping = NULL;
    struct tg_map *seen = NULL;                          /* of a mapping that is not short */
    unsigned entries = 0;
    yaml_event_t ev;
    bool end;
    enum tg_status st = check_tag(r, start, start->data.mapping_start.tag, false);

    if (st == TG_OK)
        st = new_node(r, start, 0, false, cJSON_CreateObject(), &mapping);
    if (st != TG_OK)
        return st;
    do {
        st = next_event(r, &ev);
        if (st != TG_OK)
            break;
        end = ev.type == YAML_MAPPING_END_EVENT;
        if (!end && ++entries == SHORT_MAPPING)
            seen = keys_of(mapping);
        if (!end)
            st = read_entry(r, &ev, depth, seen, mapping);
        yaml_event_delete(&ev);
    } while (st == TG_OK && !end);
    tg_map_free(seen);
    if (st != TG_OK) {
        cJSON_Delete(mapping);
        return st;
    }
    *out = mapping;
    return TG_OK;
}

/* A deep copy; inner values keep the place where they stand in the text. */
static enum tg_status copy_node(struct reader *r, const yaml_event_t *alias, const cJSON *from, unsigned depth,
                                cJSON **out)
{
    struct tg_place place;
    cJSON *copy, *child = NULL;
    enum tg_status st;

    if (depth > TG_TREE_MAX_DEPTH)
        return fail_event(r, TG_LIMIT, alias, "nested more deeply than 64 levels");
    if (++r->copies > TG_TREE_MAX_COPIES)
        return fail_event(r, TG_LIMIT, alias, "more than 200000 values by aliases");
    copy = cJSON_Duplicate(from, false);
    st = new_node(r, alias, (from->valuestring ? strlen(from->valuestring) : 0) +
                  (from->string ? strlen(from->string) : 0), false, copy, &copy);
    if (st != TG_OK)
        return st;
    cJSON_free(copy->string);                            /* it may be an item of a list here */
    copy->string = NULL;
    place = *tg_places_get(r->tree->places, from);
    place.node = copy;
    *tg_places_get(r->tree->places, copy) = place;
    for (const cJSON *c = from->child; c; c = c->next) {
        st = copy_node(r, alias, c, depth + (c->child ? 1 : 0), &child);
        if (st != TG_OK) {
            cJSON_Delete(copy);
            return st;
        }
        if (cJSON_IsObject(from))
            tg_assert(cJSON_AddItemToObject(copy, c->string, child));
        else
            tg_assert(cJSON_AddItemToArray(copy, child));
    }
    *out = copy;
    return TG_OK;
}

static enum tg_status read_alias(struct reader *r, const yaml_event_t *ev, unsigned depth, cJSON **out)
{
    const char *name = (const char *)ev->data.alias.anchor;
    const cJSON *named = tg_map_get(r->anchors, tg_slice_str(name));
    struct tg_place *place;
    enum tg_status st;

    if (!named)
        return tg_fail(r->err, TG_BAD_INPUT, "%s:%zu:%zu: *%.64s names no &%.64s that ends before it", r->file,
                       ev->start_mark.line + 1, ev->start_mark.column + 1, name, name);
    st = copy_node(r, ev, named, depth + (named->child ? 1 : 0), out);
    if (st != TG_OK)
        return st;
    place = tg_places_get(r->tree->places, *out);
    place->line = (unsigned)ev->start_mark.line + 1;
    place->column = (unsigned)ev->start_mark.column + 1;
    place->key_line = place->key_column = 0;
    return TG_OK;
}

/* The value that starts with `ev`, which stays the caller's. `depth`: collections around it. */
static enum tg_status read_node(struct reader *r, const yaml_event_t *ev, unsigned depth, cJSON **out)
{
    const yaml_char_t *anchor;
    enum tg_status st;

    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return read_alias(r, ev, depth, out);
    case YAML_SCALAR_EVENT:
        anchor = ev->data.scalar.anchor;
        st = read_scalar(r, ev, out);
        break;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (depth >= TG_TREE_MAX_DEPTH)
            return fail_event(r, TG_LIMIT, ev, "nested more deeply than 64 levels");
        if (ev->type == YAML_SEQUENCE_START_EVENT) {
            anchor = ev->data.sequence_start.anchor;
            st = read_sequence(r, ev, depth + 1, out);
        } else {
            anchor = ev->data.mapping_start.anchor;
            st = read_mapping(r, ev, depth + 1, out);
        }
        break;
    default:
        return fail_event(r, TG_BAD_INPUT, ev, "a value is expected here");
    }
    if (st == TG_OK && anchor)
        tg_map_put(r->anchors, tg_slice_str((const char *)anchor), *out);
    return st;
}

/* One document, or none: then the value is null. */
static enum tg_status read_stream(struct reader *r, cJSON **out)
{
    cJSON *root = NULL;
    yaml_event_t ev;
    bool end = false;
    enum tg_status st;

    while (!end) {
        st = next_event(r, &ev);
        if (st != TG_OK)
            goto fail;
        switch (ev.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (root)
                st = fail_event(r, TG_BAD_INPUT, &ev, "a second document starts here; one is expected");
            break;
        case YAML_STREAM_END_EVENT:
            end = true;
            if (!root)
                st = new_node(r, &ev, 0, false, cJSON_CreateNull(), &root);
            break;
        default:
            st = read_node(r, &ev, 0, &root);
            break;
        }
        yaml_event_delete(&ev);
        if (st != TG_OK)
            goto fail;
    }
    *out = root;
    return TG_OK;
fail:
    cJSON_Delete(root);
    return st;
}

static enum tg_status read_yaml(struct tg_tree *tree, const char *file, struct tg_slice text, struct tg_err *err)
{
    struct reader r = {.text = text, .tree = tree, .file = file, .err = err};
    enum tg_status st;

    if (tg_slice_starts_with(text, TG_S("\xef\xbb\xbf")))
        r.text = tg_slice(text.ptr + 3, text.len - 3);   /* some editors write it */
    if (!yaml_parser_initialize(&r.parser))
        return tg_fail(err, TG_UNAVAILABLE, "%s: out of memory", file);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(r.text.len > 0 ? r.text.ptr : ""), r.text.len);
    r.anchors = tg_map_new(NULL);
    st = read_stream(&r, &tree->root);
    tg_map_free(r.anchors);
    yaml_parser_delete(&r.parser);
    return st;
}

static struct tg_tree *new_tree(const char *file, struct tg_slice text)
{
    struct tg_tree *tree = TG_NEW(struct tg_tree);

    tree->file = tg_slice_dup(tg_slice_str(file));
    tree->places = tg_places_new(text.len / BYTES_PER_VALUE);
    tree->files = TG_NEW(struct tg_tree_files);
    return tree;
}

static enum tg_status give(enum tg_status st, struct tg_tree *tree, struct tg_tree **out)
{
    if (st == TG_OK)
        *out = tree;
    else
        tg_tree_free(tree);
    return st;
}

enum tg_status tg_tree_parse(const char *file, struct tg_slice text, struct tg_tree **out, struct tg_err *err)
{
    struct tg_tree *tree;
    const char *name;

    if (text.len > TG_TREE_MAX_BYTES)
        return tg_fail(err, TG_LIMIT, "%s:1:1: the text is longer than 16 MiB", file);
    tree = new_tree(file, text);
    name = tg_places_name(tree->places, file);
    if (tg_tree_is_json(file, text))
        return give(tg_tree_read_json(tree, name, text, NULL, err), tree, out);
    return give(read_yaml(tree, name, text, err), tree, out);
}

enum tg_status tg_tree_parse_json(const char *file, struct tg_slice text, const struct tg_json_limits *limits,
                                  struct tg_tree **out, struct tg_err *err)
{
    struct tg_tree *tree;

    if (text.len > limits->bytes)                        /* before a table of its size is made */
        return tg_fail(err, TG_LIMIT, "%s:1:1: the text is longer than %zu MiB", file, limits->bytes >> 20);
    tree = new_tree(file, text);
    return give(tg_tree_read_json(tree, tg_places_name(tree->places, file), text, limits, err), tree, out);
}

void tg_tree_note_file(const struct tg_tree *tree, const char *path)
{
    struct tg_tree_files *f = tree->files;

    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->paths[i], path) == 0)
            return;
    f->paths = tg_realloc(f->paths, (f->count + 1) * sizeof(*f->paths));
    f->paths[f->count++] = tg_slice_dup(tg_slice_str(path));
}

const char *tg_tree_noted_file(const struct tg_tree *tree, size_t i)
{
    return i < tree->files->count ? tree->files->paths[i] : NULL;
}

void tg_tree_free(struct tg_tree *tree)
{
    if (!tree)
        return;
    cJSON_Delete(tree->root);
    tg_places_free(tree->places);
    if (tree->files) {
        for (size_t i = 0; i < tree->files->count; i++)
            free(tree->files->paths[i]);
        free(tree->files->paths);
        free(tree->files);
    }
    free(tree->file);
    free(tree);
}
