/*
 * claims - the claims of a token, flattened as Pomerium does: dotted names, values always lists.
 *
 * {a:{b:{c:1}}} is "a.b.c": [1]; a scalar (null too) is a list of one; an array is the list, its elements not
 * flattened; an empty object vanishes; a name that flattening makes twice keeps the exact top-level one. Names are
 * case-sensitive. Immutable after parsing; holds its own memory.
 */
#pragma once
#include "base/buf.h"
#include <cjson/cJSON.h>

struct tg_claim_value {
    const cJSON *json;                                   /* any JSON value, owned by the set */
    struct tg_slice str;                                 /* its text when it is a string, else ptr NULL */
    uint64_t hash;                                       /* of str; 0 for other kinds */
};
struct tg_claim {
    struct tg_slice name;
    uint64_t hash;                                       /* tg_hash_slice(name) */
    const struct tg_claim_value *values;
    size_t count;
};
struct tg_claims;

/*
 * Takes over `object` (from tg_json_parse). NULL, and `object` freed, when it is no object or when its flattened names
 * together exceed 1 MiB: whoever brought such claims is refused.
 */
struct tg_claims *tg_claims_new(cJSON *object);
void tg_claims_free(struct tg_claims *claims);
/* The list of that name, or NULL. `hash`: tg_hash_slice(name), so that a compiled policy need not compute it. */
const struct tg_claim *tg_claims_get(const struct tg_claims *claims, struct tg_slice name, uint64_t hash);
/* The text of a claim that is one string or a list of one string, else empty (ptr NULL). */
struct tg_slice tg_claims_text(const struct tg_claims *claims, const char *name);
size_t tg_claims_bytes(const struct tg_claims *claims);  /* of memory */
const cJSON *tg_claims_json(const struct tg_claims *claims); /* the object itself */
/* Elements joined by ","; strings as they are, numbers and booleans as JSON text; null, objects and arrays dropped. */
void tg_claims_join(const struct tg_claim *claim, struct tg_buf *out);
