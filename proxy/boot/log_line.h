/*
 * log_line - a line of the access log read back: the request, who asked, what was known, what was decided.
 *
 * The members are those that gate/access_log.c writes; docs/explain.md lists them. Nothing is guessed: what a line does
 * not say is not in `known`.
 */
#pragma once
#include "base/claims.h"
#include "explain.h"

#define LOG_LINE_BYTES ((size_t)1 << 20)                 /* a longer line is none of ours */

struct log_line {
    struct tg_arena arena;
    cJSON *json;                                         /* owned; slices point into it */
    struct explain_request request;                      /* path canonical and decoded */
    struct tg_claims *claims;                            /* owned; those that were logged; NULL: no identity */
    struct tg_facts facts;                               /* facts.known: `known` */
    struct tg_fact_set known;
    bool has_facts;                                      /* access_log.facts was on */
    bool tls;                                            /* the client spoke TLS with tollgate */
    struct tg_slice request_id, route, provider, issuer, token_refused, refused, error, policy, tier, policy_set,
                    key_set, bound, limit_key, window, counter; /* ptr NULL: not said */
    const cJSON *shadow_limited;                         /* names of limits that would have refused it; NULL: none */
    struct tg_slice client_cert;                         /* "valid", "missing", "invalid: why"; ptr NULL: not asked */
    struct tg_slice decision;                            /* allow | deny | unauthenticated | limit | none */
    bool judged;                                         /* policies were asked: allow, deny, or unauthenticated by
                                                            them */
    tg_reasons reasons;
    struct tg_slice shadow_decision, shadow_policy;      /* ptr NULL: nothing was in shadow mode */
    tg_reasons shadow_reasons;
    int64_t limit, remaining;                            /* -1: not said */
    unsigned status;                                     /* 0: the client was gone before there was one */
    const char *omitted;                                 /* facts too large to be logged, in words; NULL: none */
};
/*
 * What stands before the first "{" (a time, the name of a container) is passed over. TG_BAD_INPUT: no line of
 * tollgate's access log. End it with log_line_fini in any case.
 */
enum tg_status log_line_read(struct tg_slice text, struct log_line *out, struct tg_err *err);
void log_line_fini(struct log_line *l);
/* Its groups are what the files at hand say: the claim of that name; empty: "groups". */
void log_line_take_groups(struct log_line *l, struct tg_slice claim);
/*
 * Calls `each` for every line of FILE ("-": standard input) with its number, until it returns false. Lines that are too
 * long (over 1 MiB) come with text.ptr NULL. `text` ends with the call.
 */
enum tg_status log_lines(const char *file, bool (*each)(void *arg, unsigned long number, struct tg_slice text),
                         void *arg, struct tg_err *err);
