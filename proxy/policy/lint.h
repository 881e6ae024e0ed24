/*
 * lint - what the files of the linter share: what can be concluded from criteria, without knowing any request.
 *
 * Every conclusion is a sound one: "never" and "covered" are true of all requests, or not said. The time taken is
 * nearly linear in the document: what would take longer is given up.
 */
#pragma once
#include "internal.h"

/* ---- lint_hash.c: equal values and equal criteria have equal hashes; of others one in 2^64 has ---- */
uint64_t lint_hash_value(const cJSON *value);
uint64_t lint_hash_text(struct tg_slice text);           /* of a string of these bytes */
uint64_t lint_subject(const struct tg_criterion *row, struct tg_slice name); /* what is looked at */
uint64_t lint_hash_item(const struct tg_rule_item *item); /* {is: a} and {in: [a]} are one */

/* Of two hashes, which need no key of their own any more. */
static inline uint64_t lint_mix(uint64_t a, uint64_t b)
{
    uint64_t h = a ^ b * UINT64_C(0x9e3779b97f4a7c15);

    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

struct lint_keys {                                       /* a table from keys to numbers above 0 */
    struct {
        uint64_t key;
        uint32_t value;
    } *places;
    size_t count, cap;
};
/* The number of `key`; when it has none it gets `value`, and 0 is the answer. */
uint32_t lint_keys_put(struct lint_keys *keys, uint64_t key, uint32_t value);
uint32_t lint_keys_get(const struct lint_keys *keys, uint64_t key);
void lint_keys_fini(struct lint_keys *keys);

/* ---- lint_clash.c: criteria that no request meets ---- */
struct lint_clash {
    size_t item;                                         /* the first that makes it impossible, with those before it */
    bool alone;                                          /* it needs no other for that */
    bool identity;                                       /* concluded for callers with a token only */
};
/* Whether no request meets all of them or, `negated`, none of them. */
bool lint_clash(const struct tg_rule_item *items, size_t count, bool negated, struct lint_clash *out);
/* Whether `text` never is the value of that subject. */
bool lint_never_occurs(enum tg_subject subject, struct tg_slice text);

/* ---- lint_cover.c: rules that others say already ---- */
struct lint_cover {                                      /* one side, allow or deny: what was said so far */
    struct lint_keys terms, values;
};
#define LINT_LITERALS 4                                  /* of a term whose subsets are all looked at */
struct lint_literal {
    const struct tg_rule_item *item;                     /* NULL: authenticated_user, which the others imply */
    uint64_t hash;
};
struct lint_term {                                       /* criteria that must all hold, or must all not */
    struct lint_literal items[LINT_LITERALS + 1];
    size_t count;
    uint64_t sum;
    bool many;                                           /* more than `items` holds: `sum` is of all */
    bool negated, identity;                              /* identity: some criterion is about the caller */
};
struct lint_term lint_term_of(const struct tg_rule_item *items, size_t count, bool negated);
/* The number of one that holds whenever this one does; 0: none is known. */
uint32_t lint_covered(const struct lint_cover *cover, const struct lint_term *term);
void lint_cover_add(struct lint_cover *cover, const struct lint_term *term, uint32_t number);
void lint_cover_fini(struct lint_cover *cover);
