/*
 * ppl - Pomerium Policy Language: a document becomes a program, a program and the facts of a request become a verdict.
 *
 * Semantics: two-valued with reasons, as Pomerium implements them, with one change: without an identity every identity
 * criterion (authenticated_user, user, email, domain, groups, claim) is (false, {user-unauthenticated}) whatever its
 * matcher, and the inversion of `not` and `nor` keeps that reason; user-unauthenticated in the allow or deny reasons
 * means unauthenticated, before allow is looked at. Evaluation neither allocates nor reads a clock; a time zone's file
 * is read when a document is. No socket, no log.
 * Threads: a program is immutable; any thread may run it.
 */
#pragma once
#include "base/arena.h"
#include "base/cert.h"
#include "base/claims.h"
#include "base/ip.h"
#include "base/tree.h"

/* Reasons, with their names in Pomerium's spelling. A set of them is a bit mask. */
#define TG_REASONS(X) \
    X(ACCEPT, "accept") X(REJECT, "reject") X(USER_OK, "user-ok") X(USER_UNAUTHORIZED, "user-unauthorized") \
    X(USER_UNAUTHENTICATED, "user-unauthenticated") X(EMAIL_OK, "email-ok") \
    X(EMAIL_UNAUTHORIZED, "email-unauthorized") \
    X(DOMAIN_OK, "domain-ok") X(DOMAIN_UNAUTHORIZED, "domain-unauthorized") X(CLAIM_OK, "claim-ok") \
    X(CLAIM_UNAUTHORIZED, "claim-unauthorized") X(GROUPS_OK, "groups-ok") \
    X(GROUPS_UNAUTHORIZED, "groups-unauthorized") \
    X(HTTP_METHOD_OK, "http-method-ok") X(HTTP_METHOD_UNAUTHORIZED, "http-method-unauthorized") \
    X(HTTP_PATH_OK, "http-path-ok") X(HTTP_PATH_UNAUTHORIZED, "http-path-unauthorized") \
    X(SOURCE_IP_OK, "source-ip-ok") X(SOURCE_IP_UNAUTHORIZED, "source-ip-unauthorized") \
    X(CORS_REQUEST, "cors-request") X(NON_CORS_REQUEST, "non-cors-request") \
    X(CLIENT_CERTIFICATE_OK, "client-certificate-ok") \
    X(CLIENT_CERTIFICATE_UNAUTHORIZED, "client-certificate-unauthorized") \
    X(CLIENT_CERTIFICATE_REQUIRED, "client-certificate-required") \
    X(INVALID_CLIENT_CERTIFICATE, "invalid-client-certificate") \
    X(VALID_CLIENT_CERTIFICATE, "valid-client-certificate") \
    X(DATE_OK, "date-ok") X(DATE_UNAUTHORIZED, "date-unauthorized") \
    X(DAY_OF_WEEK_OK, "day-of-week-ok") X(DAY_OF_WEEK_UNAUTHORIZED, "day-of-week-unauthorized") \
    X(TIME_OF_DAY_OK, "time-of-day-ok") X(TIME_OF_DAY_UNAUTHORIZED, "time-of-day-unauthorized") \
    X(MCP_TOOL_MATCH, "mcp-tool-match") X(MCP_TOOL_NO_MATCH, "mcp-tool-no-match") \
    X(MCP_NOT_A_TOOL_CALL, "mcp-not-a-tool-call") \
    X(ROUTE_NOT_FOUND, "route-not-found")
enum tg_reason {
#define X(id, name) TG_REASON_##id,
    TG_REASONS(X)
#undef X
    TG_REASON_COUNT
};
typedef uint64_t tg_reasons;
#define TG_REASON_BIT(r) ((tg_reasons)1 << (r))
const char *tg_reason_name(enum tg_reason r);
/* The reason of that name; TG_REASON_COUNT: none has it. */
enum tg_reason tg_reason_find(struct tg_slice name);

/*
 * Which facts: what a program reads, what a log line holds, what is known of a request that was logged. `claims` by
 * their dotted names; groups apart, since their claim's name is the provider's.
 */
enum tg_fact {
    TG_FACT_METHOD, TG_FACT_PATH, TG_FACT_SOURCE_IP, TG_FACT_PREFLIGHT, TG_FACT_TIME, TG_FACT_USER, TG_FACT_EMAIL,
    TG_FACT_GROUPS, TG_FACT_CLIENT_CERT,                 /* its state */
    TG_FACT_CERT_FINGERPRINT, TG_FACT_CERT_SPKI, TG_FACT_CERT_EMAILS, TG_FACT_CERT_DNS, TG_FACT_CERT_URIS,
    TG_FACT_CERT_SUBJECT, TG_FACT_MCP_TOOL, TG_FACT_COUNT
};
#define TG_FACT_BIT(f) (1u << (f))
struct tg_fact_set {
    unsigned facts;                                      /* TG_FACT_BIT of each */
    const struct tg_slice *claims;                       /* sorted, each once */
    const uint64_t *hashes;                              /* tg_hash_slice of each */
    size_t claim_count;
};

/* What became of the client certificate. Zero is also "no client CA is configured". */
enum tg_client_cert { TG_CLIENT_CERT_VALID, TG_CLIENT_CERT_MISSING, TG_CLIENT_CERT_INVALID };

/* What a request looks like to a policy. Zero is a good value of every member: more may come. */
struct tg_facts {
    struct tg_slice method;                              /* case-sensitive */
    struct tg_slice path;                                /* canonical, decoded once, without query */
    struct tg_ip source_ip;                              /* family 0: unknown, matches nothing */
    bool cors_preflight;                                 /* OPTIONS with Origin and Access-Control-Request-Method */
    bool identity;                                       /* a verified identity; else the members below are ignored */
    struct tg_slice user;                                /* `sub`; not empty with an identity, except in explain */
    struct tg_slice email;                               /* `email` as text; absent: empty */
    const struct tg_claims *claims;                      /* NULL: none */
    struct tg_slice groups_claim;                        /* the claim that `groups` reads; empty: "groups" */
    enum tg_client_cert client_cert;
    const struct tg_cert *certificate;                   /* the client's, valid or not; NULL: none presented */
    int64_t wall_ms;                                     /* since 1970: what the criteria about time look at */
    bool mcp_tool_call;                                  /* the content is a JSON-RPC call of "tools/call" ... */
    struct tg_slice mcp_tool;                            /* ... of this tool, unescaped; may be empty */
    const struct tg_fact_set *known;                     /* for tg_ppl_trace: only these are; NULL: all are known */
};

struct tg_program;                                       /* everything one route (or one tier) asks */

enum tg_decision { TG_ALLOW, TG_DENY, TG_UNAUTHENTICATED };
struct tg_verdict {
    enum tg_decision decision;
    bool allow, deny;                                    /* combined booleans */
    tg_reasons allow_reasons, deny_reasons;
    tg_reasons reasons;                                  /* those that explain the decision */
    /* Which policy to explain by: the first that denied or, on default deny, the first whose allow failed. Calls of
     * tg_ppl_add are counted from 0; -1: none, or the route flags. */
    int policy;
    bool unknown;                                        /* by tg_ppl_trace alone: the decision, or a reason of it,
                                                            hangs on a fact that is not known */
    bool undecided;                                      /* with `unknown`: the decision does; it is TG_DENY then */
};

/*
 * What the programs of one configuration share: texts, policies that are read once for several routes, and what is
 * compiled of them. All memory is of `arena`, which must outlive the programs. Threads: one at a time.
 */
struct tg_ppl_pool;
struct tg_ppl_pool *tg_ppl_pool_new(struct tg_arena *arena);

/*
 * Collects documents of a route in order, then makes the program. Its memory is of `arena`, which must outlive it, and
 * of the pool: its own, or the one given.
 */
struct tg_ppl_builder;
struct tg_ppl_builder *tg_ppl_builder_new(struct tg_arena *arena);
struct tg_ppl_builder *tg_ppl_builder_in(struct tg_ppl_pool *pool, struct tg_arena *arena);
/*
 * Whether a client CA is configured. Without one (so it begins) no client is asked for a certificate, and criteria
 * about certificates are warned about in what is added later.
 */
void tg_ppl_set_client_ca(struct tg_ppl_builder *b, bool configured);
/*
 * Adds one policy: a PPL document (`doc`, a node of `tree`: a rule object or a list of them). Every error is added to
 * `problems` with its place, the path in the document and what was expected; then false, and the program must not be
 * made. Warnings about what is legal and probably not meant are added too. `where`: names the policy in messages; NULL
 * or "": nothing. The tree may be freed afterwards.
 */
bool tg_ppl_add(struct tg_ppl_builder *b, const struct tg_tree *tree, const cJSON *doc, const char *where,
                struct tg_problems *problems);
/* A policy for several builders of the pool, read once: its problems are told now. NULL: it has errors. */
struct tg_policy;
const struct tg_policy *tg_ppl_read(struct tg_ppl_pool *pool, const struct tg_tree *tree, const cJSON *doc,
                                    const char *where, bool client_ca, struct tg_problems *problems);
/* As tg_ppl_add of its document. The builder is of the policy's pool. */
void tg_ppl_add_policy(struct tg_ppl_builder *b, const struct tg_policy *policy);
/*
 * Route flags as one more allow rule with an `or` in the order given. Nothing set: adds nothing.
 * `domains` and `users` that are not NULL were set, even when they are empty.
 */
struct tg_ppl_flags {
    bool public_access, cors_preflight, any_authenticated;
    const struct tg_slice *domains, *users;
    size_t domain_count, user_count;
    const cJSON *idp_claims;                             /* {name: value | [values] | object}; NULL: none */
    const cJSON *node;                                   /* the route, for the place in messages; NULL: no place */
};
bool tg_ppl_add_flags(struct tg_ppl_builder *b, const struct tg_tree *tree, const struct tg_ppl_flags *flags,
                      struct tg_problems *problems);
/* One more rule, `deny: or: [invalid_client_certificate]`: of every route, when enforcement asks for it. */
void tg_ppl_add_certificate_deny(struct tg_ppl_builder *b);
/* Warnings about what the policies added so far are together, at `node`, a route named by `where`. */
struct tg_together {
    bool unverified;                                     /* clients show certificates that nothing else verifies */
    bool compare;                                        /* tell policies that add nothing to the others */
    int chosen;                                          /* the first so many, counted as in tg_verdict; no others */
};
void tg_ppl_warn_together(const struct tg_ppl_builder *b, const struct tg_together *how, const struct tg_tree *tree,
                          const cJSON *node, const char *where, struct tg_problems *problems);
/* Frees nothing but ends the builder. A program without documents denies, so does one whose documents had errors. */
const struct tg_program *tg_ppl_finish(struct tg_ppl_builder *b);

/* A bare list of criteria, all of which must hold: the `when` of a tier ([{claim/plan: enterprise}]). NULL: errors. */
const struct tg_program *tg_ppl_compile_when(struct tg_arena *arena, const struct tg_tree *tree, const cJSON *list,
                                             const char *where, struct tg_problems *problems);
bool tg_ppl_holds(const struct tg_program *when, const struct tg_facts *facts);

/*
 * What these programs read, together (NULLs are passed over), and the claims named besides: "email" and "groups" stand
 * there for what the criteria of these names read as well. In `arena`.
 */
const struct tg_fact_set *tg_ppl_reads(const struct tg_program *const *programs, size_t count,
                                       const struct tg_slice *claims, size_t claim_count, struct tg_arena *arena);
bool tg_ppl_reads_fact(const struct tg_program *program, enum tg_fact fact); /* NULL reads nothing */
bool tg_fact_set_has_claim(const struct tg_fact_set *set, struct tg_slice name);

void tg_ppl_decide(const struct tg_program *program, const struct tg_facts *facts, struct tg_verdict *out);

/* ---- the same decision with every step told, for explain ---- */
struct tg_trace_node {
    enum { TG_TRACE_POLICY, TG_TRACE_RULE, TG_TRACE_OPERATOR, TG_TRACE_CRITERION } kind;
    const char *name;                                    /* "allow", "and", "email", policy `where` */
    struct tg_slice sub_path;                            /* of claim/NAME */
    const cJSON *data;                                   /* criterion: its matcher as written */
    struct tg_slice saw;                                 /* criterion: the value it saw, as text or JSON; "(none)" */
    bool value;
    bool unknown;                                        /* what it reads, or part of it, is not known: no value */
    bool decisive;                                       /* it, or a criterion below it, made the decision */
    tg_reasons reasons;                                  /* empty when unknown */
    const struct tg_trace_node *children, *next;
};
/*
 * The policies in order, each with its rules, their operators and criteria. Empty operators are left out. A policy's
 * value: it would admit (allow and not deny); a criterion's: before `not` or `nor` inverts it. NULL: no policies. A
 * node's `data` is the same for every run of a program. With facts->known an operator may be known although one of its
 * members is not (a true `or`, a false `and`); out->unknown says that the verdict hangs on something unknown.
 */
const struct tg_trace_node *tg_ppl_trace(const struct tg_program *program, const struct tg_facts *facts,
                                         struct tg_arena *arena, struct tg_verdict *out);
/*
 * The trace for people, one line a node, each ending in "\n", indented by `depth` and its own depth; no control
 * character of a value gets through, long values are cut. `colour`: with the escapes of a terminal.
 */
void tg_trace_text(const struct tg_trace_node *first, unsigned depth, bool colour, struct tg_buf *out);
void tg_trace_json(const struct tg_trace_node *first, struct tg_buf *out); /* an array */
/* Text from outside, at most `max` bytes of it: what is no printable character of UTF-8 becomes \xNN. */
void tg_trace_clean(struct tg_buf *out, struct tg_slice s, size_t max);

const char *tg_decision_name(enum tg_decision decision); /* "allow", "deny", "unauthenticated" */
/* Names of the reasons in a set, in the enum's order; returns how many. */
size_t tg_reasons_list(tg_reasons set, const char *names[static TG_REASON_COUNT]);

/*
 * The criteria, their matchers and reasons as Markdown, from the table that the parser uses: the reference part of
 * docs/ppl.md.
 */
void tg_ppl_describe(struct tg_buf *out);
