/*
 * internal - what the files of policy share: the table of criteria, parsed documents, sets, programs.
 *
 * The way of a document: ppl_parse.c (ppl_flags.c for route flags, ppl_warn.c for traps) makes lists of criteria
 * with their data as written; ppl_compile.c makes a unit of alternatives of those of one or several policies, with
 * tests (ppl_ops.c: sets.c, nets.c) and indexes (ppl_index.c); ppl_pool.c puts units together as programs, which share
 * them; ppl_eval.c runs those; ppl_trace.c walks the lists. What a matcher is: matchers.c and, of a certificate,
 * certificate.c, of the time, when.c.
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
    TG_SHAPE_TIME,                                       /* when it is: a date, a day, a time of day */
};
enum tg_subject {
    TG_SUBJECT_USER, TG_SUBJECT_EMAIL, TG_SUBJECT_DOMAIN, TG_SUBJECT_METHOD, TG_SUBJECT_PATH,
    TG_SUBJECT_TOOL, TG_SUBJECT_COUNT
};
enum tg_when_kind { TG_WHEN_DATE, TG_WHEN_DAY, TG_WHEN_CLOCK };

#define TG_REFUSED "is not supported: "
struct tg_criterion {
    const char *name;
    const char *refusal;                                 /* not NULL: known and not supported: TG_REFUSED, then why */
    bool prefix;                                         /* `name` is the start of a family of names */
    bool identity;                                       /* without one: (false, {user-unauthenticated}) */
    bool sub_path;                                       /* reads NAME of criterion/NAME */
    bool text_only;                                      /* TEXT: `is` and `not` demand a string */
    enum tg_shape shape;
    enum tg_when_kind when;                              /* TIME */
    enum tg_reason pass, fail;                           /* all shapes but NONE */
    bool has_undefined;                                  /* TEXT: `undefined` instead of `fail` when it is undefined */
    enum tg_reason undefined;
    struct tg_outcome (*fixed)(const struct tg_facts *facts);                /* NONE */
    bool (*text)(const struct tg_facts *facts, struct tg_slice *out);        /* TEXT; false: undefined, no test holds */
    enum tg_subject subject;                                                 /* TEXT: where an evaluation keeps it */
    struct tg_slice (*saw)(const struct tg_facts *facts);                    /* NONE: for explain; NULL: nothing */
    tg_reasons passes, fails;                            /* NONE: what `fixed` may give, for the reference */
    const char *help, *example;                          /* for the reference: "true when", a value */
};
/* The i-th row, refused ones too; NULL: behind the last. */
const struct tg_criterion *tg_criterion_at(size_t i);
/* The row of that name, refused ones too; NULL: unknown. */
const struct tg_criterion *tg_criterion_find(struct tg_slice name);
/* The row with the name nearest to a mistyped one, refused ones only when no other is near; NULL: none is. */
const struct tg_criterion *tg_criterion_nearest(const char *name);

/*
 * ---- sets.c: what `in`, `has`, `starts_with` and `ends_with` compare with ----
 * An owner is the number of the policy that a value comes from; a value of several has the least.
 */
#define TG_NOBODY UINT32_MAX
/* A text whose hash is made at the first need. */
struct tg_text {
    struct tg_slice s;
    uint64_t hash;
    bool defined, hashed;
};
#define TG_NOT_TEXT UINT32_MAX
struct tg_set_item {
    uint64_t hash;
    const void *value;                                   /* bytes of a text, else a cJSON; NULL: a free place */
    uint32_t len;                                        /* of a text, else TG_NOT_TEXT */
    uint32_t owner;
};
struct tg_set {
    struct tg_set_item *items;
    uint32_t count, mask;                                /* mask 0: a short list, else a table of mask + 1 places */
};
struct tg_set *tg_set_new(struct tg_arena *arena, size_t max);
/* At most `max` times; `value` is borrowed. */
void tg_set_add(struct tg_set *set, const cJSON *value, uint32_t owner);
/* The same of what another set holds; returns where it is kept. */
struct tg_set_item *tg_set_put(struct tg_set *set, const struct tg_set_item *item);
const struct tg_set_item *tg_set_find_text(const struct tg_set *set, struct tg_text *text);
const struct tg_set_item *tg_set_find_value(const struct tg_set *set, const struct tg_claim_value *value);
static inline bool tg_set_has_text(const struct tg_set *set, struct tg_text *text)
{
    return tg_set_find_text(set, text) != NULL;
}
static inline bool tg_set_has_value(const struct tg_set *set, const struct tg_claim_value *value)
{
    return tg_set_find_value(set, value) != NULL;
}
uint64_t tg_value_hash(const cJSON *value);              /* equal values have equal ones */

/* Beginnings, or endings, of a text. */
struct tg_affix {
    struct tg_slice text;
    uint32_t owner;
    uint32_t outer;                                      /* number + 1 of the longest other that it has; 0: none */
};
struct tg_affixes {
    const struct tg_affix *items;
    uint32_t count;
    bool ends;
};
/* Takes over `items`, which are of the arena. Without `all` those stay that make a difference to the least owner. */
const struct tg_affixes *tg_affixes_new(struct tg_arena *arena, struct tg_affix *items, size_t count, bool ends,
                                        bool all);
/* Of those that the text has the longest, which has the least owner; NULL: it has none. Its outer ones it has too. */
const struct tg_affix *tg_affixes_find(const struct tg_affixes *set, struct tg_slice text);

/* ---- nets.c: what source_ip compares with ---- */
struct tg_nets;
/* `owners` as many as blocks; NULL: all 0. */
const struct tg_nets *tg_nets_new(struct tg_arena *arena, const struct tg_cidr *blocks, const uint32_t *owners,
                                  size_t count);
/* The least owner of the blocks that hold the address; TG_NOBODY: none does. */
uint32_t tg_nets_find(const struct tg_nets *nets, const struct tg_ip *ip);

/* ---- matchers.c: operators of a matcher ---- */
enum tg_op_kind {
    TG_OP_IN, TG_OP_NOT_IN, TG_OP_CONTAINS, TG_OP_STARTS, TG_OP_ENDS, /* of a text */
    TG_OP_HAS, TG_OP_ONLY, TG_OP_EXCLUDE,                             /* of a list */
    TG_OP_WITHIN,                                                     /* of an address */
    TG_OP_WHEN,                                                       /* of the time */
    TG_OP_AFFIX,                                                      /* several STARTS or ENDS, by the compiler */
};
enum tg_operand { TG_OPERAND_ANY, TG_OPERAND_STRING, TG_OPERAND_ARRAY };
struct tg_operator {
    const char *name;
    enum tg_op_kind kind;
    enum tg_operand operand;                             /* ARRAY: any of its elements */
    const char *help;                                    /* for the reference: "true when" */
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
        const struct tg_nets *nets;
        struct tg_slice text;
        const struct tg_affixes *affixes;
        const struct tg_when *when;
    };
};
bool tg_op_on_text(const struct tg_op *op, struct tg_text *text);
bool tg_op_on_list(const struct tg_op *op, const struct tg_claim *claim); /* NULL: an empty list */

/* ---- certificate.c: the matcher of client_certificate ---- */
struct tg_parse;
void tg_cert_matcher_check(struct tg_parse *p, const cJSON *data);
void tg_cert_matcher_warn(struct tg_parse *p, const cJSON *data);
size_t tg_cert_matcher_read(const cJSON *data, struct tg_raw_op out[static TG_OPS_MAX]);
const char *tg_cert_part_name(enum tg_cert_part part);   /* as a property is written; NULL: TG_PART_NONE */
/* In either of its two spellings; `out` is as tg_cert has it. */
#define TG_FINGERPRINT 65
bool tg_fingerprint_read(const char *text, char out[static TG_FINGERPRINT]);
bool tg_op_on_cert(const struct tg_op *op, const struct tg_cert *cert);
/* For explain: the properties that `data` asks about; the subject when it asks about none. */
void tg_cert_saw(const cJSON *data, const struct tg_cert *cert, struct tg_buf *out);
void tg_cert_describe(struct tg_buf *out);               /* its properties, rows of a Markdown table */

/* ---- when.c: date, day_of_week, time_of_day ---- */
struct tg_when;
void tg_when_check(struct tg_parse *p, const struct tg_criterion *row, const cJSON *data);
void tg_when_warn(struct tg_parse *p, const struct tg_criterion *row, const cJSON *data);
/* The parser looked at the data. Zones are the process's (tg_zone_get): 100,000 rules read a file once. */
const struct tg_when *tg_when_make(struct tg_arena *arena, const struct tg_criterion *row, const cJSON *data);
bool tg_when_holds(const struct tg_when *when, int64_t wall_ms);
bool tg_when_apart(const struct tg_when *a, const struct tg_when *b); /* of one kind, and never both true */
void tg_when_saw(const struct tg_when *when, int64_t wall_ms, struct tg_buf *out); /* for explain: local time */
void tg_when_describe(struct tg_buf *out);               /* what the three take, as Markdown */

/* ---- a parsed document ---- */
enum tg_combine { TG_AND, TG_OR, TG_NOT, TG_NOR };
extern const char *const tg_combine_names[4];
struct tg_rule_item {
    const struct tg_criterion *row;
    struct tg_slice name;                                /* of claim/NAME; else empty */
    const cJSON *data;                                   /* a copy in the arena; never NULL */
};
/* trace_item.c: asked as it was written, and the value it saw, as a trace tells it. */
struct tg_outcome tg_item_ask(const struct tg_rule_item *item, const struct tg_facts *facts, struct tg_arena *arena);
struct tg_slice tg_item_saw(const struct tg_rule_item *item, const struct tg_facts *facts, struct tg_arena *arena);
unsigned tg_item_facts(const struct tg_rule_item *item); /* reads.c: TG_FACT_BITs; a claim's name is not among them */
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
const struct tg_fact_set *tg_rules_read(const struct tg_rule *rules, struct tg_arena *arena); /* reads.c */
struct tg_source {                                       /* one policy */
    const char *where;
    int index;                                           /* of the tg_ppl_add call; -1: route flags */
    struct tg_rule *rules;
    const struct tg_policy *shared;                      /* read for several programs; NULL: for this one */
    struct tg_source *next;
};
struct tg_ppl_builder {
    struct tg_arena *arena;
    struct tg_ppl_pool *pool;
    struct tg_source *sources, **tail;
    int added;
    bool failed;
    bool client_ca;
};

/* ---- ppl_pool.c: what the policies of one configuration share ---- */
#define TG_SLOTS 32                                      /* claims that an evaluation looks up once only */
struct tg_interned {
    const char *text;                                    /* NULL: a free place */
    uint32_t len, hash;
};
struct tg_policy {
    struct tg_source source;
    size_t weight;                                       /* about how many values its criteria have */
    const struct tg_fact_set *reads;
    const struct tg_unit *unit;                          /* of this policy alone; NULL: not made yet */
};
struct tg_unit_of {                                      /* a unit made of several shared policies */
    const struct tg_policy **policies;
    size_t count;
    uint64_t hash;                                       /* of which they are */
    const struct tg_unit *unit;
};
struct tg_ppl_pool {
    struct tg_arena *arena;
    struct tg_interned *strings;
    size_t string_count, string_places;                  /* places: a power of two, or 0 */
    struct tg_slice claims[TG_SLOTS];                    /* by the number of their slot; 0 is for `groups` */
    uint32_t claim_count;
    struct tg_unit_of **units;                           /* an open table by hash */
    size_t unit_count, unit_places;                      /* places: a power of two, or 0 */
    struct tg_rule *certificate_deny;                    /* NULL: not made yet */
};
struct tg_policy *tg_policy_new(struct tg_ppl_pool *pool, const struct tg_source *source);
/* The one copy of that text. */
const char *tg_intern(struct tg_ppl_pool *pool, struct tg_slice s);
cJSON *tg_json_copy(struct tg_ppl_pool *pool, const cJSON *node);
/* Where an evaluation keeps the claim of that name; TG_SLOTS: nowhere. */
uint32_t tg_claim_slot(struct tg_ppl_pool *pool, struct tg_slice name);

/* ---- parsing: where we are, for messages ---- */
struct tg_parse {
    struct tg_arena *arena;
    struct tg_ppl_pool *pool;
    const struct tg_tree *tree;
    const char *where;
    struct tg_problems *problems;
    bool failed;
    bool client_ca;                                      /* clients are asked for a certificate */
    long document;                                       /* index in a list of rule objects; -1: no list */
    const char *action, *combine;                        /* NULL: not there yet */
    long item;                                           /* -1 */
    const char *criterion, *part, *operator;             /* part: a property of a certificate */
    size_t element;                                      /* of a list of values: its index + 1; 0: not in one */
    bool tier;                                           /* asked before the body is read */
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

/*
 * ---- a program ----
 * Per action one `or` of alternatives, whatever policies and rules they come from: an `or` of `or`s is an `or`, in its
 * value and in its reasons. `or` and `nor` give an alternative for each criterion, `and` and `not` one together.
 */
struct tg_test {                                         /* a criterion: all of its operators must hold */
    enum tg_shape shape;                                 /* as the row has it, which a run need not touch then */
    bool identity;
    unsigned char signs;                                 /* 1: as it is, 2: inverted; for the indexing */
    uint32_t memo;                                       /* where a run keeps its value; TG_MEMO: nowhere */
    uint32_t slot;                                       /* LIST: see tg_claim_slot */
    uint32_t op_count;
    const struct tg_op *ops;
    tg_reasons pass, fail, undefined;                    /* bits; of NONE none of them, undefined 0: as `fail` */
    const struct tg_criterion *row;
    uint64_t hash;                                       /* of name */
    struct tg_slice name;
    uint32_t uses;                                       /* by how many alternatives */
};
#define TG_MEMO 256                                      /* tests whose value a run remembers */
struct tg_choice {                                       /* an alternative of one test, perhaps of many criteria */
    const struct tg_test *test;
    uint32_t owner;                                      /* the least of theirs */
    bool inverted;
};
struct tg_clause {                                       /* an alternative of tests that must all be so */
    const struct tg_test **tests;
    uint32_t count, owner;
    bool inverted;                                       /* all of them must be false */
    tg_reasons may;                                      /* its reasons when it is true are among these */
};
#define TG_MANY 8                                        /* clauses; of fewer each is asked, without what follows */
/* Leads from a value of one subject to the clauses that only such a value can make true. */
struct tg_index {
    const struct tg_test *by;                            /* one that reads the subject */
    const struct tg_set *values;                         /* an owner is the number of a list; NULL: by affixes */
    const struct tg_affixes *affixes;
    const uint32_t *starts, *clauses;                    /* list i is clauses[starts[i]] up to starts[i + 1] */
};
struct tg_doubts {                                       /* the tests of clauses by what they can say when not so */
    const struct tg_criterion *row;
    bool inverted;
    const struct tg_test **tests;
    uint32_t count;
};
struct tg_action {
    const struct tg_choice *choices;
    const struct tg_clause *clauses;                     /* those that no index leads to are first */
    const struct tg_index *indexes;
    const struct tg_doubts *doubts;
    uint32_t choice_count, clause_count, index_count, doubt_count;
    uint32_t unindexed;                                  /* of the clauses */
};
struct tg_unit {                                         /* compiled together */
    struct tg_action actions[2];                         /* allow, deny */
    uint32_t memo_count;
};
struct tg_unit_use {
    const struct tg_unit *unit;
    const int *owners;                                   /* the index of each of the unit's policies in this program */
};
struct tg_part {                                         /* one policy */
    const struct tg_source *source;
};
struct tg_program {
    const struct tg_part *parts;
    size_t part_count;
    const struct tg_unit_use *units;
    size_t unit_count;
    int refuser;                                         /* the first policy that has an allow rule; -1: none */
};
const struct tg_program *tg_compile(struct tg_arena *arena, struct tg_ppl_pool *pool, const struct tg_source *sources);
/* ppl_compile.c: of policies that are compiled together; a policy's owner is its place among them. */
const struct tg_unit *tg_unit_new(struct tg_arena *arena, struct tg_ppl_pool *pool,
                                  const struct tg_source *const *sources, size_t count);
/* ppl_index.c: sorts the clauses, makes indexes and doubts. `tests`: those that clauses use, each once. */
void tg_index_clauses(struct tg_arena *arena, struct tg_action *action, struct tg_clause *clauses,
                      struct tg_test *const *tests, size_t test_count);

/* ---- ppl_ops.c: operators of a test, made of the values of one criterion or of several ---- */
struct tg_values {
    struct tg_raw_op op;
    uint32_t owner;
    const struct tg_values *next;
};
struct tg_op tg_op_make(struct tg_arena *arena, const struct tg_criterion *row, const struct tg_values *values);
/*
 * Whether criteria with this only operator are one with the values of all: of positive ones any must hold, of negative
 * ones (`any` false) all must.
 */
bool tg_op_unites(const struct tg_raw_op *op, bool any);

/* The claim a LIST criterion reads; NULL: none. `hash`: of name. */
const struct tg_claim *tg_list_of(const struct tg_criterion *row, struct tg_slice name, uint64_t hash,
                                  const struct tg_facts *facts);
