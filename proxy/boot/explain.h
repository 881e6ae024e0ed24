/*
 * explain - what the files behind `tollgate explain` share: a made-up request, and the facts a real one would give.
 */
#pragma once
#include "base/tree.h"
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
    struct tg_cert *certificate;                         /* owned; NULL: none presented, or not known */
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
/* All but the identity. */
void explain_facts(const struct explain_request *r, struct tg_facts *out);
/* The identity these claims give: `sub` and `email`, each empty when it is no text. */
void explain_identity(const struct tg_claims *claims, struct tg_facts *out);

const char *explain_decision_name(enum tg_decision decision);
unsigned explain_status(enum tg_decision decision);      /* 200, 403, 401 */
/* ["email-ok", ...] */
void explain_reasons_json(tg_reasons reasons, struct tg_buf *out);

/* ---- what was found, told ---- */
struct explain_result;
void explain_print_text(const struct explain_result *r, bool colour, struct tg_buf *out);
void explain_print_json(const struct explain_result *r, struct tg_buf *out);

struct explain_result {
    const struct explain_request *request;
    const char *stopped;                                 /* why it is over before the policy; NULL: it is not */
    struct tg_slice route, target;                       /* ptr NULL: none found; --policy: none */
    bool has_route;
    const char *identity_from;                           /* "token", "claims"; NULL: none */
    struct tg_slice provider, token_problem;             /* ptr NULL: none */
    const struct tg_facts *facts;
    bool judged;
    struct tg_verdict verdict;
    const struct tg_trace_node *trace;
    struct tg_slice policy, explanation, remediation;    /* of the policy that explains a refusal */
    struct tg_slice tier;                                /* "authenticated 1000/1m"; ptr NULL: not counted */
    unsigned status;
};

int explain_batch(void);                                 /* standard input to standard output; an exit code */
