/*
 * internal - what the files of policy share: the table of criteria, parsed documents, sets, programs.
 *
 * The way of a document: ppl_parse.c (ppl_flags.c for route flags, ppl_warn.c for traps) makes lists of criteria
 * with their data as written; ppl_compile.c makes groups of tests of them; ppl_eval.c runs those; ppl_trace.c walks
 * the lists. What a matcher is: matchers.c and, of a certificate, certificate.c.
 */
#pragma once
#include "policy/ppl.h"

/* A bool and why. */
struct tg_outcome {
    bool value;
    tg_reasons reasons;
};

/* ---- criteria.c: one row per criterion ---- */
enum tg_shape {
    TG_SHAPE_NONE,                                       /* the data is not looked at */
    TG_SHAPE_TEXT,                                       /* string matcher on a text */
    TG_SHAPE_LIST,                                       /* string-list matcher on a claim */
    TG_SHAPE_NETWORKS,                                   /* an address or CIDR block, or an array of them */
    TG_SHAPE_CERTIFICATE,                                /* properties of the client's certificate */
};
enum tg_subject {
    TG_SUBJECT_USER, TG_SUBJECT_EMAIL, TG_SUBJECT_DOMAIN, TG_SUBJECT_METHOD, TG_SUBJECT_PATH, TG_SUBJECT_COUNT
};

struct tg_criterion {
    const char *name;
    const char *refusal;                                 /* not NULL: known, not supported, and why */
    bool prefix;                                         /* `name` is the start of a family of names */
    bool identity;                                       /* without one: (false, {user-unauthenticated}) */
    bool sub_path;                                       /* reads NAME of criterion/NAME */
    bool text_only;                                      /* TEXT: `is` and `not` demand a string */
    enum tg_shape shape;
    enum tg_reason pass, fail;                           /* all shapes but NONE */
    struct tg_outcome (*fixed)(const struct tg_facts *facts);                /* NONE */
    bool (*text)(const struct tg_facts *facts, struct tg_slice *out);        /* TEXT; false: undefined, no test holds */
    enum tg_subject subject;                                                 /* TEXT: where an evaluation keeps it */
    struct tg_slice (*saw)(const struct tg_facts *facts);                    /* NONE: for explain; NULL: nothing */
};
/* The row of that name, refused ones too; NULL: unknown. */
const struct tg_criterion *tg_criterion_find(struct tg_slice name);
/* The supported name nearest to a mistyped one, or NULL. */
const char *tg_criterion_nearest(const char *name);

/* ---- sets.c: what `in`, `has` and source_ip compare with ---- */
/* A text whose hash is made at the first need. */
struct tg_text {
    struct tg_slice s;
    uint64_t hash;
    bool looked, defined, hashed;
};
struct tg_set_item {
    uint64_t hash;
    struct tg_slice str;                                 /* ptr NULL: not a string, compare `json` */
    const cJSON *json;                                   /* NULL: a free place of the table */
};
struct tg_set {
    struct tg_set_item *items;
    size_t count, mask;                                  /* mask 0: a short list, else a table of mask + 1 places */
};
struct tg_range4 {
    uint32_t first, last;
};
struct tg_range6 {
    uint8_t first[16], last[16];
};
struct tg_ranges {                                       /* each sorted and disjoint */
    struct tg_range4 *v4;
    struct tg_range6 *v6;
    size_t count4, count6;
};
struct tg_set *tg_set_new(struct tg_arena *arena, size_t max);
void tg_set_add(struct tg_set *set, const cJSON *value); /* at most `max` times; `value` is borrowed */
bool tg_set_has_text(const struct tg_set *set, struct tg_text *text);
bool tg_set_has_value(const struct tg_set *set, const struct tg_claim_value *value);
struct tg_ranges *tg_ranges_new(struct tg_arena *arena, const struct tg_cidr *blocks, size_t count);
bool tg_ranges_hold(const struct tg_ranges *r, const struct tg_ip *ip);

/* ---- matchers.c: operators of a matcher ---- */
enum tg_op_kind {
    TG_OP_IN, TG_OP_NOT_IN, TG_OP_CONTAINS, TG_OP_STARTS, TG_OP_ENDS, /* of a text */
    TG_OP_HAS, TG_OP_ONLY, TG_OP_EXCLUDE,                             /* of a list */
    TG_OP_WITHIN,                                                     /* of an address */
};
enum tg_operand { TG_OPERAND_ANY, TG_OPERAND_STRING, TG_OPERAND_ARRAY };
struct tg_operator {
    const char *name;
    enum tg_op_kind kind;
    enum tg_operand operand;                             /* ARRAY: any of its elements */
};
/* The operators of a shape that has a matcher. */
const struct tg_operator *tg_operators(enum tg_shape shape, size_t *count);
#define TG_TEXT_OPS 7
#define TG_OPS_MAX (5 * TG_TEXT_OPS)                     /* of one matcher, as names are unique: a certificate's */

/* What an operator of a certificate's matcher looks at. */
enum tg_cert_part { TG_PART_NONE, TG_PART_FINGERPRINT, TG_PART_SPKI, TG_PART_EMAIL, TG_PART_DNS, TG_PART_URI };
/* An operator as read: `values` itself, or each of its elements. */
struct tg_raw_op {
    enum tg_op_kind kind;
    const cJSON *values;
    bool each;
    enum tg_cert_part part;
};
size_t tg_matcher_read(enum tg_shape shape, const cJSON *data, struct tg_raw_op out[static TG_OPS_MAX]);

struct tg_op {
    enum tg_op_kind kind;
    enum tg_cert_part part;
    union {
        const struct tg_set *set;
        const struct tg_ranges *ranges;
        struct tg_slice text;
    };
};
bool tg_op_on_text(const struct tg_op *op, struct tg_text *text);
bool tg_op_on_list(const struct tg_op *op, const struct tg_claim *claim); /* NULL: an empty list */

/* ---- certificate.c: the matcher of client_certificate ---- */
struct tg_parse;
void tg_cert_matcher_check(struct tg_parse *p, const cJSON *data);
void tg_cert_matcher_warn(struct tg_parse *p, const cJSON *data);
size_t tg_cert_matcher_read(const cJSON *data, struct tg_raw_op out[static TG_OPS_MAX]);
/* In either of its two spellings; `out` is as tg_cert has it. */
#define TG_FINGERPRINT 65
bool tg_fingerprint_read(const char *text, char out[static TG_FINGERPRINT]);
bool tg_op_on_cert(const struct tg_op *op, const struct tg_cert *cert);
/* For explain: the properties that `data` asks about; the subject when it asks about none. */
void tg_cert_saw(const cJSON *data, const struct tg_cert *cert, struct tg_buf *out);

/* ---- a parsed document ---- */
enum tg_combine { TG_AND, TG_OR, TG_NOT, TG_NOR };
extern const char *const tg_combine_names[4];
struct tg_rule_item {
    const struct tg_criterion *row;
    struct tg_slice name;                                /* of claim/NAME; else empty */
    const cJSON *data;                                   /* a copy in the arena; never NULL */
};
struct tg_rule_list {                                    /* never empty */
    enum tg_combine combine;
    struct tg_rule_item *items;
    size_t count;
    struct tg_rule_list *next;
};
struct tg_rule {
    bool deny;
    struct tg_rule_list *lists;
    struct tg_rule *next;
};
struct tg_source {                                       /* one policy */
    const char *where;
    int index;                                           /* of the tg_ppl_add call; -1: route flags */
    struct tg_rule *rules;
    struct tg_source *next;
};
struct tg_ppl_builder {
    struct tg_arena *arena;
    struct tg_source *sources, **tail;
    int added;
    bool failed;
    bool client_ca;
};
cJSON *tg_json_copy(struct tg_arena *arena, const cJSON *node);

/* ---- parsing: where we are, for messages ---- */
struct tg_parse {
    struct tg_arena *arena;
    const struct tg_tree *tree;
    const char *where;
    struct tg_problems *problems;
    bool failed;
    bool client_ca;                                      /* clients are asked for a certificate */
    long document;                                       /* index in a list of rule objects; -1: no list */
    const char *action, *combine;                        /* NULL: not there yet */
    long item;                                           /* -1 */
    const char *criterion, *part, *operator;             /* part: a property of a certificate */
};
/* At `node`, or with `at_key` at the key of `node`. The sentence follows the place and the path. */
void tg_parse_problem(struct tg_parse *p, const cJSON *node, bool at_key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void tg_parse_warning(struct tg_parse *p, const cJSON *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A name from a document for a message: cut, without control characters. */
#define TG_SHOWN 64
const char *tg_shown(const char *name, char out[static TG_SHOWN]);
/* `node` is an entry whose key is none of `names`. */
void tg_parse_unknown_key(struct tg_parse *p, const cJSON *node, const char *what, const char *const *names,
                          size_t count, const char *expected);
const char *tg_kind_of(const cJSON *node);               /* "a list" */
/* The operators of a TEXT or LIST matcher and their operands. */
void tg_parse_matcher(struct tg_parse *p, enum tg_shape shape, bool text_only, const cJSON *data);
/* An array of criteria; NULL when it was empty or wrong. */
struct tg_rule_list *tg_parse_list(struct tg_parse *p, const cJSON *list, enum tg_combine combine);
/* The traps: of one criterion as written, and of the rules of a document. */
void tg_warn_item(struct tg_parse *p, const struct tg_rule_item *item, const cJSON *node);
/* Of a string matcher. `subject`: TG_SUBJECT_COUNT: none of the known ones. */
void tg_warn_text(struct tg_parse *p, enum tg_subject subject, const cJSON *node);
void tg_warn_rules(struct tg_parse *p, const struct tg_rule *rules, const cJSON *doc);

/* ---- a program ---- */
struct tg_test {                                         /* all of its operators must hold */
    const struct tg_criterion *row;
    struct tg_slice name;
    uint64_t hash;                                       /* of name */
    uint32_t first_op, op_count;
};
struct tg_group {                                        /* not is or inverted, nor is and inverted */
    bool any, inverted;
    uint32_t first_test, test_count;                     /* at least one */
};
struct tg_part {                                         /* one policy: its groups, allow first */
    uint32_t first_group, allow_count, deny_count;
    const struct tg_source *source;
};
struct tg_program {
    const struct tg_part *parts;
    const struct tg_group *groups;
    const struct tg_test *tests;
    const struct tg_op *ops;
    size_t part_count;
};
const struct tg_program *tg_compile(struct tg_arena *arena, const struct tg_source *sources);

/* What an evaluation has looked up so far. */
struct tg_view {
    const struct tg_facts *facts;
    struct tg_text texts[TG_SUBJECT_COUNT];
};
struct tg_outcome tg_run_group(const struct tg_program *program, const struct tg_group *group, struct tg_view *view);
/* The claim a LIST criterion reads; NULL: none. `hash`: of name. */
const struct tg_claim *tg_list_of(const struct tg_criterion *row, struct tg_slice name, uint64_t hash,
                                  const struct tg_facts *facts);
