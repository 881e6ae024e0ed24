/*
 * dispatch - one request of the management API as octets, to its endpoint, and back.
 *
 * Between management.c, which carries requests to the management thread, and api.c. The order of what is looked at:
 * path (404), method (405), query (400), credential (401, 400, 429), role (403), type of the body (415), its size
 * (413), its form (400).
 */
#pragma once
#include "api.h"
#include "api_limit.h"

#define API_BODY_BYTES (UINT64_C(1) << 20)
#define API_AUTHORIZATIONS 4                             /* more of these fields are as bad as two */

struct api_call {                                        /* slices: the caller's, as long as the answer is made */
    unsigned method_id;
    struct tg_slice path, query, body;
    bool body_too_large;
    struct tg_slice authorization[API_AUTHORIZATIONS];
    size_t authorization_count;
    struct tg_slice content_type, content_encoding, accept, if_match, if_none_match, signature; /* ptr NULL: absent */
    struct tg_slice client_ip, request_id;
    struct tg_ip ip;
};
struct api_reply {
    unsigned status;
    const char *content_type;                            /* NULL: no body */
    struct tg_slice allow;                               /* empty: none */
    struct tg_buf body;
    struct tg_field fields[8];                           /* in the arena */
    size_t field_count;
};
struct api_found {
    const struct api_endpoint *endpoint;                 /* NULL: none with this method */
    struct tg_slice params[API_PARAMS];                  /* as sent */
    unsigned methods;                                    /* bits of those there are; 0: no such path */
};
/* Where two patterns fit a path, the one that leaves less open is meant. Any thread. */
void api_find(struct tg_slice path, unsigned method, struct api_found *out);
struct tg_slice api_allow(unsigned methods, struct tg_arena *arena); /* "GET, HEAD, POST" */

/* Answers on the management thread. `busy`: the store is not to be asked: 503, with the fields that belong to it. */
void api_dispatch(struct api *api, struct api_limits *limits, const struct api_call *call, bool busy,
                  struct tg_arena *arena, struct api_reply *out);
/*
 * Whether a body is worth reading: false when the request will be refused whatever is in it, by what is known without
 * the store. Any thread.
 */
bool api_wants_body(const struct api_call *call);
