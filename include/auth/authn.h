/*
 * authn - from an Authorization field to an identity.
 *
 * First a credential is classified (none, malformed, bearer, dpop) without any work; after the gate has looked at the
 * address bucket it has the token verified: cache of verified tokens, then by the token's form: a personal access
 * token, a signed one (signature and claims), or an opaque one (its provider is asked). One tg_authn per worker and
 * snapshot. Whether a token that is bound to a key is shown with that key is checked by auth/bound.
 */
#pragma once
#include "auth/identity.h"
#include "auth/keys.h"
#include "auth/services.h"

enum tg_credential_kind { TG_CREDENTIAL_NONE, TG_CREDENTIAL_MALFORMED, TG_CREDENTIAL_BEARER, TG_CREDENTIAL_DPOP };
struct tg_credential {
    enum tg_credential_kind kind;
    struct tg_slice token;                               /* BEARER, DPOP: points into the head */
    const char *what;                                    /* MALFORMED: error_description, a fixed sentence */
};
/*
 * `values`: every Authorization field value of the request; `query`: of the target. None or another scheme (a bare
 * token too): NONE. `Bearer` or `DPoP` (RFC 9449 §7.1) without value, with characters outside b64token (RFC 6750 §2.1),
 * two Authorization fields, Authorization together with access_token in the query, or over `max_token` bytes:
 * MALFORMED. The scheme compares without case, one or more SP.
 */
void tg_credential_classify(const struct tg_slice *values, size_t count, struct tg_slice query, size_t max_token,
                            struct tg_credential *out);

enum tg_authn_result {
    TG_AUTHN_OK,
    TG_AUTHN_EXPIRED,                                    /* 401, "The access token expired" */
    TG_AUTHN_INVALID,                                    /* 401, one wording for everything else */
    TG_AUTHN_UNAVAILABLE,                                /* 503: no usable keys of that provider */
    TG_AUTHN_NO_ANSWER,                                  /* 503: the provider was asked about the token and failed, or
                                                            may not be asked so often */
    TG_AUTHN_LIMITED,                                    /* 429: the address bucket is empty, and the token unknown */
    TG_AUTHN_WAIT,                                       /* somebody was asked; `done` will be called: ask again */
};

struct tg_authn_request {
    struct tg_slice token;
    /* bit i for provider i (a route's identity_providers); all ones: any */
    uint64_t allowed;
    bool accept_opaque;                                  /* of the route; false: signed tokens and PATs only */
    int64_t now_ms;                                      /* wall */
    bool again;                                          /* the second asking, after `done` */
    /* Whether the address bucket has room: asked at most once, and only when the provider would have to be asked. */
    bool (*has_room)(void *arg);
    void (*done)(void *arg);
    void *arg;                                           /* of both */
};

struct tg_authn;
struct tg_authn *tg_authn_new(struct tg_worker *w, const struct tg_providers *providers,
                              const struct tg_auth_services *services, size_t cache_entries);
void tg_authn_free(struct tg_authn *a);                  /* nobody may be waiting; NULL is fine */
/*
 * On OK *out is a new reference. `reason` gets a fixed word for the log ("signature", "audience", "unknown-kid",
 * "inactive", "revoked", ...), never token text. On WAIT, done(arg) comes later from the loop, never from inside this
 * call.
 */
enum tg_authn_result tg_authn_verify(struct tg_authn *a, const struct tg_authn_request *request,
                                     const struct tg_identity **out, const char **reason);
/*
 * The digest (TG_JWKS_DIGEST octets) of the key set that the last call asked, whatever it said; "" when none was: the
 * token is of nobody known here, its provider has no keys, or it is none that keys verify. Good until the next call or
 * the loop is entered.
 */
const char *tg_authn_key_set(const struct tg_authn *a);
/* `done` of that arg will not be called (the client went away). */
void tg_authn_cancel(struct tg_authn *a, void *arg);
