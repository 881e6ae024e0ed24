/*
 * json - the scan that knows the rules, then cJSON, which only has to agree.
 */
#include "base/json.h"
#include "json_internal.h"
#include <stdlib.h>

/* Numbers come in the order of the text; *number and *next count them and the literals used up. */
static void attach_literals(const struct tg_json_scanned *found, cJSON *node, size_t *number, size_t *next)
{
    if (cJSON_IsNumber(node)) {
        if (*next < found->literal_count && found->literals[*next].ordinal == *number)
            node->valuestring = tg_json_dup(found->literals[(*next)++].text);
        ++*number;
    }
    for (cJSON *child = node->child; child; child = child->next)
        attach_literals(found, child, number, next);
}

char *tg_json_dup(struct tg_slice s)
{
    char *copy = cJSON_malloc(s.len + 1);

    tg_assert(copy);
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

enum tg_status tg_json_scan(struct tg_slice text, const struct tg_json_limits *limits, struct tg_err *err)
{
    struct tg_json_scanned found;
    enum tg_status st = tg_json_scan_text(text, limits, &found, err);

    if (st == TG_OK)
        free(found.literals);
    return st;
}

enum tg_status tg_json_parse(struct tg_slice text, const struct tg_json_limits *limits, cJSON **out, struct tg_err *err)
{
    struct tg_json_scanned found;
    size_t number = 0, next = 0;
    const char *parse_end = NULL;
    cJSON *root;
    enum tg_status st = tg_json_scan_text(text, limits, &found, err);

    if (st != TG_OK)
        return st;
    root = cJSON_ParseWithLengthOpts(text.ptr, text.len, &parse_end, false);
    if (!root || parse_end != text.ptr + found.value_end) {
        st = tg_fail(err, TG_BAD_INPUT, "1:1: the text cannot be read as JSON");
        cJSON_Delete(root);
        goto out;
    }
    if (found.literal_count > 0)
        attach_literals(&found, root, &number, &next);
    *out = root;
out:
    free(found.literals);
    return st;
}
