/*
 * json_value - looking into a tree of JSON, comparing and printing it.
 */
#include "base/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const cJSON *tg_json_get(const cJSON *obj, const char *name)
{
    return cJSON_IsObject(obj) ? cJSON_GetObjectItemCaseSensitive(obj, name) : NULL;
}

bool tg_json_str(const cJSON *node, struct tg_slice *out)
{
    if (!cJSON_IsString(node) || !node->valuestring)
        return false;
    *out = tg_slice_str(node->valuestring);
    return true;
}

static size_t child_count(const cJSON *node)
{
    size_t n = 0;

    for (const cJSON *child = node->child; child; child = child->next)
        n++;
    return n;
}

static int by_name(const void *x, const void *y)
{
    const cJSON *const *a = x, *const *b = y;

    return strcmp((*a)->string, (*b)->string);
}

static const cJSON **sorted_members(const cJSON *object, size_t count)
{
    const cJSON **members = TG_NEW_ARRAY(const cJSON *, count);
    size_t i = 0;

    for (const cJSON *child = object->child; child; child = child->next)
        members[i++] = child;
    qsort(members, count, sizeof *members, by_name);
    return members;
}

static bool objects_eq(const cJSON *a, const cJSON *b)
{
    size_t count = child_count(a);
    const cJSON *x, *y, **sorted_a, **sorted_b;
    bool same = true;

    if (count != child_count(b))
        return false;
    /* Mostly the order is the same; only otherwise sort, so that many members cost no quadratic search. */
    for (x = a->child, y = b->child; x && strcmp(x->string, y->string) == 0; x = x->next, y = y->next)
        if (!tg_json_eq(x, y))
            return false;
    if (!x)
        return true;
    sorted_a = sorted_members(a, count);
    sorted_b = sorted_members(b, count);
    for (size_t i = 0; i < count && same; i++)
        same = strcmp(sorted_a[i]->string, sorted_b[i]->string) == 0 && tg_json_eq(sorted_a[i], sorted_b[i]);
    free(sorted_a);
    free(sorted_b);
    return same;
}

bool tg_json_eq(const cJSON *a, const cJSON *b)
{
    const cJSON *x, *y;

    if (!a || !b || (a->type & 0xff) != (b->type & 0xff))
        return false;
    switch (a->type & 0xff) {
    case cJSON_False:
    case cJSON_True:
    case cJSON_NULL:
        return true;
    case cJSON_Number:
        return tg_json_number_eq(a, b);
    case cJSON_String:
        return strcmp(a->valuestring, b->valuestring) == 0;
    case cJSON_Array:
        for (x = a->child, y = b->child; x && y; x = x->next, y = y->next)
            if (!tg_json_eq(x, y))
                return false;
        return !x && !y;
    case cJSON_Object:
        return objects_eq(a, b);
    default:
        return false;
    }
}

static void print_number(struct tg_buf *out, const cJSON *node)
{
    char text[40];

    if (node->valuestring) {
        tg_buf_adds(out, node->valuestring);
        return;
    }
    if (!isfinite(node->valuedouble)) {
        tg_buf_adds(out, "null");
        return;
    }
    /* Whole numbers up to 2^53 without an exponent; others as short as they come back unchanged. */
    if (fabs(node->valuedouble) <= 9007199254740992.0 && trunc(node->valuedouble) == node->valuedouble) {
        snprintf(text, sizeof text, "%.0f", node->valuedouble);
    } else {
        snprintf(text, sizeof text, "%.15g", node->valuedouble);
        if (strtod(text, NULL) != node->valuedouble)
            snprintf(text, sizeof text, "%.17g", node->valuedouble);
    }
    tg_buf_adds(out, text);
}

static void print_children(struct tg_buf *out, const cJSON *node, char open, char close)
{
    tg_buf_addc(out, open);
    for (const cJSON *child = node->child; child; child = child->next) {
        if (child != node->child)
            tg_buf_addc(out, ',');
        if (open == '{') {
            tg_json_add_string(out, tg_slice_str(child->string));
            tg_buf_addc(out, ':');
        }
        tg_json_print(out, child);
    }
    tg_buf_addc(out, close);
}

void tg_json_print(struct tg_buf *out, const cJSON *node)
{
    switch (node ? node->type & 0xff : cJSON_NULL) {
    case cJSON_False:
        tg_buf_adds(out, "false");
        break;
    case cJSON_True:
        tg_buf_adds(out, "true");
        break;
    case cJSON_Number:
        print_number(out, node);
        break;
    case cJSON_String:
        tg_json_add_string(out, tg_slice_str(node->valuestring));
        break;
    case cJSON_Array:
        print_children(out, node, '[', ']');
        break;
    case cJSON_Object:
        print_children(out, node, '{', '}');
        break;
    case cJSON_Raw:
        tg_buf_adds(out, node->valuestring ? node->valuestring : "null");
        break;
    default:
        tg_buf_adds(out, "null");
        break;
    }
}
