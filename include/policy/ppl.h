/*
 * ppl - Pomerium Policy Language: a document becomes a program, a program and the facts of a request become a verdict.
 *
 * Semantics: two-valued with reasons, as Pomerium implements them, with one change: without an identity every identity
 * criterion (authenticated_user, user, email, domain, groups, claim) is (false, {user-unauthenticated}) whatever its
 * matcher, and the inversion of `not` and `nor` keeps that reason; user-unauthenticated in the allow or deny reasons
 * means unauthenticated, before allow is looked at. Evaluation neither allocates nor reads a clock. No socket, no log.
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
    int64_t wall_ms;                                     /* for the time criteria of a later version */
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
};

/* Collects documents of a route in order, then makes the program. All memory is of `arena`, which must outlive it. */
struct tg_ppl_builder;
struct tg_ppl_builder *tg_ppl_builder_new(struct tg_arena *arena);
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
/* Frees nothing but ends the builder. A program without documents denies, so does one whose documents had errors. */
const struct tg_program *tg_ppl_finish(struct tg_ppl_builder *b);

/* A bare list of criteria, all of which must hold: the `when` of a tier ([{claim/plan: enterprise}]). NULL: errors. */
const struct tg_program *tg_ppl_compile_when(struct tg_arena *arena, const struct tg_tree *tree, const cJSON *list,
                                             const char *where, struct tg_problems *problems);
bool tg_ppl_holds(const struct tg_program *when, const struct tg_facts *facts);

void tg_ppl_decide(const struct tg_program *program, const struct tg_facts *facts, struct tg_verdict *out);

/* ---- the same decision with every step told, for explain ---- */
struct tg_trace_node {
    enum { TG_TRACE_POLICY, TG_TRACE_RULE, TG_TRACE_OPERATOR, TG_TRACE_CRITERION } kind;
    const char *name;                                    /* "allow", "and", "email", policy `where` */
    struct tg_slice sub_path;                            /* of claim/NAME */
    const cJSON *data;                                   /* criterion: its matcher as written */
    struct tg_slice saw;                                 /* criterion: the value it saw, as text or JSON; "(none)" */
    bool value;
    tg_reasons reasons;
    const struct tg_trace_node *children, *next;
};
/*
 * The policies in order, each with its rules, their operators and criteria. Empty operators are left out. A policy's
 * value: it would admit (allow and not deny); a criterion's: before `not` or `nor` inverts it. NULL: no policies.
 */
const struct tg_trace_node *tg_ppl_trace(const struct tg_program *program, const struct tg_facts *facts,
                                         struct tg_arena *arena, struct tg_verdict *out);
/* Names of the reasons in a set, in the enum's order; returns how many. */
size_t tg_reasons_list(tg_reasons set, const char *names[static TG_REASON_COUNT]);
