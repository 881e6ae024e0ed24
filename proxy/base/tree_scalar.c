/*
 * tree_scalar - what a plain scalar means, and scalars filled in from the environment.
 */
#include "json_internal.h"
#include "tree_internal.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static bool one_of(struct tg_slice s, const char *const *words)
{
    for (; *words; words++)
        if (tg_slice_eq(s, tg_slice_str(*words)))
            return true;
    return false;
}

/* Drops what the node was, not its name nor its place among its siblings. */
static void clear(cJSON *node, int type)
{
    cJSON_Delete(node->child);
    node->child = NULL;
    cJSON_free(node->valuestring);
    node->valuestring = NULL;
    node->type = type;
    node->valueint = type == cJSON_True;
    node->valuedouble = 0;
}

void tg_scalar_string(cJSON *node, struct tg_slice text)
{
    char *copy = tg_json_dup(text);                      /* `text` may be the node's own */

    clear(node, cJSON_String);
    node->valuestring = copy;
}

static size_t digits_at(struct tg_slice s, size_t i)
{
    size_t n = 0;

    while (i + n < s.len && s.ptr[i + n] >= '0' && s.ptr[i + n] <= '9')
        n++;
    return n;
}

/* Whether this is a number of the core schema, and then how JSON writes it. 012 might be octal: text. */
static bool number_literal(struct tg_slice s, struct tg_buf *json)
{
    size_t i = 0, whole, fraction = 0, exponent;

    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        if (s.ptr[0] == '-')
            tg_buf_addc(json, '-');
        i++;
    }
    whole = digits_at(s, i);
    if (whole > 1 && s.ptr[i] == '0')
        return false;
    if (whole == 0)
        tg_buf_addc(json, '0');
    tg_buf_add(json, s.ptr + i, whole);
    i += whole;
    if (i < s.len && s.ptr[i] == '.') {
        fraction = digits_at(s, ++i);
        if (fraction > 0) {
            tg_buf_addc(json, '.');
            tg_buf_add(json, s.ptr + i, fraction);
        }
        i += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        tg_buf_addc(json, 'e');
        i++;
        if (i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+'))
            tg_buf_addc(json, s.ptr[i++]);
        exponent = digits_at(s, i);
        if (exponent == 0)
            return false;
        tg_buf_add(json, s.ptr + i, exponent);
        i += exponent;
    }
    return i == s.len;
}

static enum tg_status set_number(cJSON *node, struct tg_slice literal, struct tg_err *err)
{
    double value = 0;
    enum tg_number_fit fit;

    if (literal.len > TG_NUMBER_MAX_CHARS)
        return tg_fail(err, TG_LIMIT, "a number is longer than 63 characters; put quotes around it if it is text");
    fit = tg_number_fit(literal, &value);
    if (fit == TG_NUMBER_OVERFLOW)
        return tg_fail(err, TG_BAD_INPUT, "a number is too large; put quotes around it if it is text");
    clear(node, cJSON_Number);
    node->valuedouble = value;
    node->valueint = value >= INT_MAX ? INT_MAX : value <= INT_MIN ? INT_MIN : (int)value;
    if (fit == TG_NUMBER_INEXACT)
        node->valuestring = tg_json_dup(literal);
    return TG_OK;
}

enum tg_status tg_scalar_type(cJSON *node, struct tg_slice text, struct tg_err *err)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    struct tg_buf literal = {0};
    enum tg_status st = TG_OK;

    tg_scalar_string(node, text);
    text = tg_slice_str(node->valuestring);
    if (one_of(text, nulls))
        clear(node, cJSON_NULL);
    else if (one_of(text, trues))
        clear(node, cJSON_True);
    else if (one_of(text, falses))
        clear(node, cJSON_False);
    else if (number_literal(text, &literal))
        st = set_number(node, tg_buf_slice(&literal), err);
    tg_buf_fini(&literal);
    return st;
}

/* ---- ${…} ---- */

struct filler {
    struct tg_tree *tree;
    const char *(*get)(void *arg, const char *name);
    void *arg;
    struct tg_problems *problems;
};

static bool valid_utf8(const char *s)
{
    size_t left = strlen(s), n;

    for (; left > 0; s += n, left -= n) {
        n = tg_utf8_length(s, left);
        if (n == 0)
            return false;
    }
    return true;
}

static size_t name_length(struct tg_slice s)
{
    size_t n = 0;

    while (n < s.len && (s.ptr[n] == '_' || (s.ptr[n] >= 'A' && s.ptr[n] <= 'Z') ||
                         (s.ptr[n] >= 'a' && s.ptr[n] <= 'z') || (n > 0 && s.ptr[n] >= '0' && s.ptr[n] <= '9')))
        n++;
    return n;
}

/* One ${…}: `inside` is what stands between the braces. False: it was a problem. Values are never quoted: secrets. */
static bool fill_one(struct filler *f, const cJSON *node, struct tg_slice inside, struct tg_buf *out)
{
    size_t len = name_length(inside);
    struct tg_slice rest = tg_slice(inside.ptr + len, inside.len - len);
    bool bare = rest.len == 0, dflt = tg_slice_starts_with(rest, TG_S(":-")),
         demand = tg_slice_starts_with(rest, TG_S(":?"));
    char *name;
    const char *value;
    bool ok = false;

    if (len == 0 || (!bare && !dflt && !demand)) {
        tg_problem_at(f->problems, f->tree, node,
                      "${" TG_S_FMT "} is not understood: write ${NAME}, ${NAME:-default}, ${NAME:?message}, or $${ "
                      "for the characters themselves", (int)(inside.len < 64 ? inside.len : 64), inside.ptr);
        return false;
    }
    name = tg_slice_dup(tg_slice(inside.ptr, len));
    value = f->get(f->arg, name);
    if (value && !valid_utf8(value)) {
        tg_problem_at(f->problems, f->tree, node, "the environment variable %s is not valid UTF-8", name);
    } else if (value && (bare || value[0] != '\0')) {
        tg_buf_adds(out, value);
        ok = true;
    } else if (dflt) {
        tg_buf_add(out, rest.ptr + 2, rest.len - 2);
        ok = true;
    } else if (demand && rest.len > 2) {
        tg_problem_at(f->problems, f->tree, node, "the environment variable %s is %s: " TG_S_FMT, name,
                      value ? "empty" : "not set", (int)(rest.len - 2), rest.ptr + 2);
    } else {
        tg_problem_at(f->problems, f->tree, node, "the environment variable %s is %s", name,
                      value ? "empty" : "not set");
    }
    free(name);
    return ok;
}

/* The text of one scalar. *changed: something stood in for something else. False: there was a problem. */
static bool fill_text(struct filler *f, const cJSON *node, struct tg_slice text, struct tg_buf *out, bool *changed)
{
    bool ok = true;

    for (size_t i = 0; i < text.len; i++) {
        char next = i + 1 < text.len ? text.ptr[i + 1] : '\0';
        const char *close;

        if (text.ptr[i] != '$' || (next != '$' && next != '{')) {
            tg_buf_addc(out, text.ptr[i]);
            continue;
        }
        *changed = true;
        if (next == '$') {
            tg_buf_addc(out, '$');
            i++;
            continue;
        }
        close = memchr(text.ptr + i, '}', text.len - i);
        if (!close) {
            tg_problem_at(f->problems, f->tree, node, "${ without its }; write $${ for the characters themselves");
            return false;
        }
        if (!fill_one(f, node, tg_slice(text.ptr + i + 2, (size_t)(close - text.ptr) - i - 2), out))
            ok = false;
        i = (size_t)(close - text.ptr);
    }
    return ok;
}

static void fill_scalar(struct filler *f, cJSON *node)
{
    struct tg_place *place = tg_places_get(f->tree->places, node);
    struct tg_buf text = {0};
    struct tg_err err = {0};
    bool changed = false;

    if (!strchr(node->valuestring, '$'))
        return;
    if (!fill_text(f, node, tg_slice_str(node->valuestring), &text, &changed) || !changed)
        goto out;
    if (!place || !place->plain) {
        tg_scalar_string(node, tg_buf_slice(&text));
        goto out;
    }
    if (tg_scalar_type(node, tg_buf_slice(&text), &err) != TG_OK)
        tg_problem_at(f->problems, f->tree, node, "%s", err.text);
    free(place->source);
    place->source = tg_slice_dup(tg_buf_slice(&text));
out:
    tg_buf_fini(&text);
}

static void fill_node(struct filler *f, cJSON *node)
{
    if (cJSON_IsString(node))
        fill_scalar(f, node);
    for (cJSON *child = node->child; child; child = child->next)
        fill_node(f, child);
}

void tg_tree_interpolate(struct tg_tree *tree, const char *(*get)(void *arg, const char *name), void *arg,
                         struct tg_problems *problems)
{
    struct filler f = {tree, get, arg, problems};

    fill_node(&f, tree->root);
}

void tg_tree_override(struct tg_tree *tree, const char *key, const char *text, const char *origin)
{
    cJSON *node;
    struct tg_place *place;

    if (cJSON_IsNull(tree->root))
        clear(tree->root, cJSON_Object);
    if (!cJSON_IsObject(tree->root))
        return;
    node = cJSON_GetObjectItemCaseSensitive(tree->root, key);
    if (!node) {
        node = cJSON_CreateNull();
        tg_assert(node);
        tg_assert(cJSON_AddItemToObject(tree->root, key, node));
    }
    tg_scalar_type(node, tg_slice_str(text), NULL);      /* a number that is none stays text, and its reader says so */
    place = tg_places_put(tree->places, node);
    free(place->source);
    *place = (struct tg_place){.node = node, .file = tg_places_name(tree->places, origin), .plain = true};
    place->source = tg_slice_dup(tg_slice_str(text));
}
