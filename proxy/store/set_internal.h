/*
 * set_internal - what the files of a set share: its elements while the canonical text is made.
 */
#pragma once
#include "base/json.h"
#include "base/map.h"
#include "store/set.h"
#include <stdio.h>

struct set_element {                                     /* a policy or a route, as it came */
    const cJSON *node;
    struct tg_slice key;                                 /* its id, else its name; empty: a route without both */
    struct tg_slice name, namespace_id;
    bool enforced, inactive;                             /* of a policy */
    char shown[96];                                      /* for messages */
    struct set_place {                                   /* of a route: where it stands, see set_order.c */
        int kind;
        struct tg_slice from, host, port, path, prefix;
    } place;
};
struct set_ids {
    struct tg_slice *items;
    size_t count, cap;
};
struct set_enforced {
    const struct set_element **items;
    size_t count;
};

/* ---- set_text.c ---- */
/* `what`: "policy" or "route"; `number` counts from 0. */
enum tg_status set_element_read(struct set_element *e, const char *what, size_t number, const cJSON *node,
                                struct tg_err *err);
/* One line of the text, without its end. */
enum tg_status set_policy_write(const struct set_element *e, struct tg_buf *out, struct tg_err *err);
enum tg_status set_route_write(const struct set_element *e, const struct set_enforced *enforced,
                               const struct tg_map *inactive, struct tg_buf *out, struct tg_err *err);
/* A member by the API's name, in whatever spelling. */
const cJSON *set_member(const cJSON *element, const char *name);
bool set_says_nothing(const cJSON *node);                /* absent, null, false, "", [], {}, 0 */

/* ---- set_order.c ---- */
enum tg_status set_place_read(struct set_element *route, struct tg_err *err);
int set_compare_policies(const void *a, const void *b);  /* struct set_element */
int set_compare_routes(const void *a, const void *b);
bool set_same_place(const struct set_element *a, const struct set_element *b);
