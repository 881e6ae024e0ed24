/*
 * bundle_places - what is wrong with a set, told at its place in the document that the set was made of.
 */
#pragma once
#include "store/set.h"

struct bundle_places {
    const struct tg_set *set;
    const struct tg_tree *tree;                          /* the document */
    const cJSON *policies, *routes;                      /* its elements, in any order */
};
/* Adds the problems of the set's text to `to`. */
void bundle_places_tell(const struct bundle_places *p, const struct tg_problems *found, struct tg_problems *to);
