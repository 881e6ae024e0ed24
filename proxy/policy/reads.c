/*
 * reads - which facts of a request a program may look at: told to the log, so that a line holds what its decision used.
 *
 * From the rules as written, not from the program: an operator that is never reached at run time is read all the same.
 */
#include "base/hash.h"
#include "base/map.h"
#include "internal.h"
#include <stdlib.h>

struct gathering {
    unsigned facts;
    struct tg_map *claims;                               /* names; values are of no meaning */
};

static unsigned facts_of_certificate(const cJSON *data)
{
    static const unsigned of_part[] = {
        [TG_PART_FINGERPRINT] = TG_FACT_BIT(TG_FACT_CERT_FINGERPRINT),
        [TG_PART_SPKI] = TG_FACT_BIT(TG_FACT_CERT_SPKI),
        [TG_PART_EMAIL] = TG_FACT_BIT(TG_FACT_CERT_EMAILS),
        [TG_PART_DNS] = TG_FACT_BIT(TG_FACT_CERT_DNS),
        [TG_PART_URI] = TG_FACT_BIT(TG_FACT_CERT_URIS),
        [TG_PART_NONE] = 0,
    };
    struct tg_raw_op ops[TG_OPS_MAX];
    size_t count = tg_cert_matcher_read(data, ops);
    unsigned facts = 0;

    for (size_t i = 0; i < count; i++)
        facts |= of_part[ops[i].part];
    /* Of one that asks about no property explain shows the subject, else the fingerprint. */
    return count ? facts : TG_FACT_BIT(TG_FACT_CERT_SUBJECT) | TG_FACT_BIT(TG_FACT_CERT_FINGERPRINT);
}

static unsigned facts_of_text(enum tg_subject subject)
{
    switch (subject) {
    case TG_SUBJECT_USER: return TG_FACT_BIT(TG_FACT_USER);
    case TG_SUBJECT_EMAIL:
    case TG_SUBJECT_DOMAIN: return TG_FACT_BIT(TG_FACT_EMAIL);
    case TG_SUBJECT_METHOD: return TG_FACT_BIT(TG_FACT_METHOD);
    case TG_SUBJECT_PATH: return TG_FACT_BIT(TG_FACT_PATH);
    case TG_SUBJECT_TOOL: return TG_FACT_BIT(TG_FACT_MCP_TOOL);
    case TG_SUBJECT_COUNT: break;
    }
    return 0;
}

/* Of the few criteria without a matcher. */
static unsigned facts_of_name(const char *name)
{
    static const struct {
        const char *name;
        unsigned facts;
    } fixed[] = {
        {"accept", 0},
        {"reject", 0},
        {"authenticated_user", TG_FACT_BIT(TG_FACT_USER)},
        {"cors_preflight", TG_FACT_BIT(TG_FACT_PREFLIGHT)},
        {"invalid_client_certificate", TG_FACT_BIT(TG_FACT_CLIENT_CERT)},
    };
    size_t i = 0;

    while (i < ARRAY_LEN(fixed) && strcmp(fixed[i].name, name) != 0)
        i++;
    tg_assert(i < ARRAY_LEN(fixed));                     /* a new criterion says here what it reads */
    return fixed[i].facts;
}

unsigned tg_item_facts(const struct tg_rule_item *item)
{
    switch (item->row->shape) {
    case TG_SHAPE_NONE: return facts_of_name(item->row->name);
    case TG_SHAPE_TEXT: return facts_of_text(item->row->subject);
    case TG_SHAPE_LIST: return item->row->sub_path ? 0 : TG_FACT_BIT(TG_FACT_GROUPS);
    case TG_SHAPE_NETWORKS: return TG_FACT_BIT(TG_FACT_SOURCE_IP);
    case TG_SHAPE_CERTIFICATE: return facts_of_certificate(item->data);
    case TG_SHAPE_TIME: return TG_FACT_BIT(TG_FACT_TIME);
    }
    return 0;
}

static void gather_claim(struct gathering *g, struct tg_slice name)
{
    static char here;

    tg_map_put(g->claims, name.ptr ? name : TG_S(""), &here);
}

static void gather_list(struct gathering *g, const struct tg_rule_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct tg_rule_item *item = &list->items[i];

        g->facts |= tg_item_facts(item);
        if (item->row->shape == TG_SHAPE_LIST && item->row->sub_path)
            gather_claim(g, item->name);
    }
}

static void gather_rules(struct gathering *g, const struct tg_rule *rules)
{
    for (const struct tg_rule *rule = rules; rule; rule = rule->next) {
        for (const struct tg_rule_list *list = rule->lists; list; list = list->next)
            gather_list(g, list);
    }
}

/* Of a policy that several programs share it is known already. */
static void gather_program(struct gathering *g, const struct tg_program *program)
{
    for (size_t i = 0; i < program->part_count; i++) {
        const struct tg_source *source = program->parts[i].source;

        if (!source->shared) {
            gather_rules(g, source->rules);
            continue;
        }
        g->facts |= source->shared->reads->facts;
        for (size_t k = 0; k < source->shared->reads->claim_count; k++)
            gather_claim(g, source->shared->reads->claims[k]);
    }
}

static int by_name(const void *a, const void *b)
{
    return tg_slice_cmp(*(const struct tg_slice *)a, *(const struct tg_slice *)b);
}

static void keep_claims(const struct tg_map *names, struct tg_arena *arena, struct tg_fact_set *out)
{
    size_t count = tg_map_count(names);
    struct tg_slice *claims = TG_ARENA_ARRAY(arena, struct tg_slice, count), name;
    uint64_t *hashes = TG_ARENA_ARRAY(arena, uint64_t, count);
    void *ignored;

    for (size_t i = 0, n = 0; tg_map_next(names, &i, &name, &ignored);)
        claims[n++] = tg_arena_dup(arena, name);
    qsort(claims, count, sizeof(*claims), by_name);
    for (size_t i = 0; i < count; i++)
        hashes[i] = tg_hash_slice(claims[i]);
    out->claims = claims;
    out->hashes = hashes;
    out->claim_count = count;
}

const struct tg_fact_set *tg_rules_read(const struct tg_rule *rules, struct tg_arena *arena)
{
    struct tg_fact_set *set = TG_ARENA_NEW(arena, struct tg_fact_set);
    struct gathering g = {.claims = tg_map_new(NULL)};

    gather_rules(&g, rules);
    set->facts = g.facts;
    keep_claims(g.claims, arena, set);
    tg_map_free(g.claims);
    return set;
}

const struct tg_fact_set *tg_ppl_reads(const struct tg_program *const *programs, size_t count,
                                       const struct tg_slice *claims, size_t claim_count, struct tg_arena *arena)
{
    struct tg_fact_set *set = TG_ARENA_NEW(arena, struct tg_fact_set);
    struct gathering g = {.claims = tg_map_new(NULL)};

    for (size_t i = 0; i < count; i++) {
        if (programs[i])
            gather_program(&g, programs[i]);
    }
    for (size_t i = 0; i < claim_count; i++) {           /* what the criteria of these names would read, too */
        gather_claim(&g, claims[i]);
        if (tg_slice_eq(claims[i], TG_S("email")))
            g.facts |= TG_FACT_BIT(TG_FACT_EMAIL);
        else if (tg_slice_eq(claims[i], TG_S("groups")))
            g.facts |= TG_FACT_BIT(TG_FACT_GROUPS);
    }
    set->facts = g.facts;
    keep_claims(g.claims, arena, set);
    tg_map_free(g.claims);
    return set;
}

bool tg_ppl_reads_fact(const struct tg_program *program, enum tg_fact fact)
{
    struct tg_arena arena;
    bool reads;

    tg_arena_init(&arena, NULL, 0);
    reads = tg_ppl_reads(&program, 1, NULL, 0, &arena)->facts & TG_FACT_BIT(fact);
    tg_arena_fini(&arena);
    return reads;
}

bool tg_fact_set_has_claim(const struct tg_fact_set *set, struct tg_slice name)
{
    return set->claim_count > 0 && bsearch(&name, set->claims, set->claim_count, sizeof(*set->claims), by_name);
}
