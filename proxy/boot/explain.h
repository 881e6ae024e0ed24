/*
 * explain - what the files behind `tollgate explain`, `why` and `replay` share: a request that is made up or was
 * logged, the facts a real one would give, and the decision told.
 */
#pragma once
#include "base/tree.h"
#include "gate/config.h"
#include "gate/refusal.h"
#include "http/message.h"
#include "policy/ppl.h"

#define EXPLAIN_FIELDS 128

struct explain_request {
    struct tg_slice method;                              /* "GET" when not said */
    struct tg_slice host;                                /* without port */
    int port;                                            /* -1: not said */
    struct tg_slice path, query;                         /* of the target, as sent; path "/" when not said */
    struct tg_slice canonical, decoded;                  /* explain_path fills them */
    struct tg_ip source_ip;                              /* family 0: not said */
    struct tg_field fields[EXPLAIN_FIELDS];
    struct tg_head head;                                 /* its fields */
    int64_t wall_ms;
    enum tg_client_cert client_cert;
    const struct tg_cert *certificate;                   /* NULL: none presented, or not known */
    struct tg_cert *own_certificate;                     /* owned: explain_set_certificate */
};

void explain_request_init(struct explain_request *r);
void explain_request_fini(struct explain_request *r);    /* a zeroed one is fine */
/* "host[:port]"; TG_BAD_INPUT otherwise. */
enum tg_status explain_set_host(struct explain_request *r, struct tg_slice authority, struct tg_err *err);
/* "/path?query". */
void explain_set_target(struct explain_request *r, struct tg_slice target);
enum tg_status explain_add_field(struct explain_request *r, struct tg_slice name, struct tg_slice value,
                                 struct tg_err *err);
/* The canonical path by the function that serves requests; TG_BAD_INPUT: such a request is answered 400. */
enum tg_status explain_path(struct explain_request *r, struct tg_arena *arena, struct tg_err *err);
/* What the client presents: PEM of one certificate. Whether it is valid is another member. */
enum tg_status explain_set_certificate(struct explain_request *r, struct tg_slice pem, struct tg_err *err);
/* All but the identity and the content. */
void explain_facts(const struct explain_request *r, struct tg_facts *out);
/* The identity these claims give: `sub` and `email`, each empty when it is no text. */
void explain_identity(const struct tg_claims *claims, struct tg_facts *out);
/* The call in the content. TG_BAD_INPUT: where a policy asks for it such content is answered 400. */
enum tg_status explain_body(struct tg_slice body, struct tg_arena *arena, struct tg_facts *out, struct tg_err *err);

unsigned explain_status(enum tg_decision decision);      /* 200, 403, 401 */
/* ["email-ok", ...] */
void explain_reasons_json(tg_reasons reasons, struct tg_buf *out);

/* ---- what was found ---- */
struct explain_window {                                  /* a limit for this caller */
    const struct tg_window *window;
    uint32_t limit;
    enum explain_limit_from {
        EXPLAIN_LIMIT_FIXED,                             /* no claim has a say */
        EXPLAIN_LIMIT_CLAIM, EXPLAIN_LIMIT_CEILING,      /* the claim's number; it says more than it may */
        EXPLAIN_LIMIT_ABSENT, EXPLAIN_LIMIT_UNUSABLE,    /* the window's own: there is no claim, or no whole number */
        EXPLAIN_LIMIT_UNKNOWN,                           /* the claim was not logged */
    } from;
    struct tg_slice said;                                /* the claim, as JSON; ptr NULL: there is none */
};
struct explain_key {                                     /* by what the tier counts this caller */
    enum tg_limit_by by;
    bool unknown;                                        /* the claim that says it was not logged */
    bool fell_back;                                      /* by subject, since the token has no such claim */
    struct tg_slice claim;                               /* its value; ptr NULL: none */
};
struct log_line;
struct explain_result {
    const struct explain_request *request;
    const struct tg_config *config;                      /* NULL: a policy alone */
    const struct tg_route *route;                        /* NULL: none */
    const struct tg_refusal_row *refusal;                /* NULL: it is allowed */
    const char *stopped;                                 /* why it is over before the policy; NULL: it is not */
    const char *advice;                                  /* what to do about that; NULL: it is said elsewhere */
    unsigned status;
    const struct tg_facts *facts;                        /* NULL: it was over before anybody was asked */
    const char *identity_from;                           /* "token", "claims", "log"; NULL: there is none */
    struct tg_slice issuer, provider, verified;          /* ptr NULL: not known */
    struct tg_slice token_problem;                       /* why the token is refused; ptr NULL: it is not */
    const char *unjudged;                                /* why nobody here can say what the token is, or NULL */
    bool dpop;                                           /* the token was sent, or has to be, under the scheme DPoP */
    struct tg_slice bound;                               /* how it is bound to a key, or has to be; ptr NULL: not */
    struct tg_slice scopes, scopes_lacking;              /* words: that are required, and that the token lacks of these;
                                                            ptr NULL: none */
    bool scopes_unknown;                                 /* what the token was granted was not logged */
    bool reads_body;                                     /* a policy asks what the content calls */
    const char *body_problem;                            /* why it cannot be told; NULL: it can */
    const struct tg_tiers *tiers, *general;              /* that count on this route, and where none of a route do;
                                                            NULL: nobody asked yet */
    const struct tg_tier *tier;                          /* NULL: not counted */
    bool tier_unknown;                                   /* it depends on what was not logged */
    struct explain_window windows[TG_TIER_WINDOWS];      /* of the tier, in its order */
    struct explain_key key;
    const struct tg_program *program;
    bool judged;
    struct tg_verdict verdict;
    const struct tg_trace_node *trace;
    bool shadowed;                                       /* something of the route is in shadow mode */
    struct tg_verdict shadow_verdict;
    const struct tg_trace_node *shadow_trace;
    struct tg_slice policy, explanation, remediation;    /* of the policy that explains a refusal */
    struct tg_slice shadow_policy;
    /* of `why`; then refusal and status are the logged ones */
    const struct log_line *logged;                       /* NULL: nobody asked yet */
    bool same_policies;                                  /* the line was decided by what the files say now */
    enum explain_comparison {
        EXPLAIN_NOT_COMPARED,                            /* no policy was asked then, or there is no route now */
        EXPLAIN_EQUAL,
        EXPLAIN_DIFFERS,
        EXPLAIN_UNKNOWN,                                 /* it hangs on what was not logged */
    } compared;
};

/* The route of `host`, `port` and the canonical path; as on a request. False: the result says why there is none. */
bool explain_find_route(struct explain_result *r, int port, struct tg_arena *arena);
/*
 * Who calls, by the Authorization fields of r->request and one more bearer `token` (ptr NULL: none), as on a request to
 * r->route. *out: the claims that were verified, for the caller to free; NULL: nobody, or the result is stopped.
 */
void explain_token(struct explain_result *r, struct tg_slice token, struct tg_arena *arena, struct tg_claims **out);
/* The tier of r->facts on r->route, with its limits and whose counter it is. */
void explain_find_tier(struct explain_result *r, struct tg_arena *arena);
/* The same by r->tiers and r->general, without a configuration. */
void explain_find_limits(struct explain_result *r, struct tg_arena *arena);

enum explain_scopes {
    EXPLAIN_SCOPES_NOT_ASKED, EXPLAIN_SCOPES_GRANTED,
    EXPLAIN_SCOPES_LACKING,                              /* 403 before a policy is asked */
    EXPLAIN_SCOPES_NO_TOKEN,                             /* 401 before a policy is asked */
    EXPLAIN_SCOPES_UNKNOWN,                              /* it was not logged */
};
/* `provider` of the identity, NULL: none or unknown. Adds the words that are required, and those that are lacking. */
enum explain_scopes explain_scopes(const struct tg_route *route, const struct tg_provider *provider,
                                   const struct tg_facts *facts, struct tg_buf *required, struct tg_buf *lacking);
/* The same of r->facts, told in `r`. */
enum explain_scopes explain_find_scopes(struct explain_result *r, struct tg_arena *arena);
/* Why it is over; NULL: it is not. */
const char *explain_scope_sentence(const struct explain_result *r, enum explain_scopes found, struct tg_arena *arena);
/* The values of WWW-Authenticate, one a scheme; returns how many. */
size_t explain_challenges(const struct explain_result *r, struct tg_buf out[static 2]);
/* Verdict and trace of r->program, with those of what is in shadow mode. */
void explain_judge(struct explain_result *r, struct tg_arena *arena);
/* What a route says of the tokens it takes (proof_of_possession), when it says anything. */
struct tg_slice explain_possession(const struct tg_route *route);
/* It is over, and this is why; `why` NULL: the refusal's own words. */
void explain_stop(struct explain_result *r, enum tg_refusal refusal, const char *why);
/* Whether all of what `reads` names is known. */
bool explain_all_known(const struct tg_fact_set *reads, const struct tg_facts *facts);

/* ---- told ---- */
void explain_print_text(const struct explain_result *r, bool colour, struct tg_buf *out);
void explain_print_json(const struct explain_result *r, struct tg_buf *out); /* an object, without a newline */
/* Lines longer than `width` are broken between words; escapes of a terminal take no room. 0: no line is too long. */
void explain_fold(struct tg_slice text, unsigned width, struct tg_buf *out);
/* As text to a terminal or a pipe, or as one line of JSON; returns an exit code. */
int explain_put(const struct explain_result *r, bool json);
/* "subject u1 of https://idp.example.com", "address 192.0.2.1", "claim org acme", "route api, all callers together" */
void explain_counter(const struct explain_result *r, struct tg_buf *out);
/* "1000 requests in 1m, sliding, as claim quota says" */
void explain_limit(const struct explain_window *w, struct tg_buf *out);
/* Whether a claim that is known says 0: then every request is one too many. */
bool explain_admits_nobody(const struct explain_result *r);
/* Whether the counter is another than on routes without `rate_limits`. */
bool explain_is_own_tier(const struct explain_result *r);
/* r->tier as an object, or null. */
void explain_tier_json(const struct explain_result *r, struct tg_buf *out);
/* One sentence without an end: why the verdict is what it is. */
void explain_because(const struct tg_verdict *verdict, const struct tg_trace_node *trace, struct tg_buf *out);

int explain_batch(void);                                 /* standard input to standard output; an exit code */
