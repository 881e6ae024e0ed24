/*
 * forward_names - which field names matter on the way, compiled once per route.
 */
#pragma once
#include "http/forward.h"
#include "internal.h"

#define FILTER_WORDS 64

struct tg_forward_rules {
    uint64_t drop_always;                                /* ids of client fields that never go on */
    uint64_t drop_untrusted;                             /* and those that only a trusted peer may send */
    uint64_t not_ours;                                   /* ids a route sets or removes: not added by the proxy */
    uint64_t filter[FILTER_WORDS];                       /* unknown names that may be among `names` */
    const struct tg_slice *names;                        /* folded */
    size_t name_count;
    struct tg_field_set set_request, set_response;
    uint64_t set_response_ids;
};

/* Whether a client's field with no known id must not go on. */
bool tg_forward_drops(const struct tg_forward_rules *rules, struct tg_slice name, bool peer_trusted);
/* Whether a folded or plain `name` carries an identity by custom (X-Pomerium-*, X-Auth-Request-*, ...). */
bool tg_forward_is_identity(struct tg_slice name);
