/*
 * authn - from an Authorization field to an identity.
 *
 * First a credential is classified (none, malformed, bearer) without any work; after the gate has looked at the address
 * bucket it has the token verified: cache of verified tokens, then signature and claims. One tg_authn per worker and
 * snapshot.
 */
#pragma once
#include "auth/identity.h"
#include "auth/keys.h"

enum tg_credential_kind { TG_CREDENTIAL_NONE, TG_CREDENTIAL_MALFORMED, TG_CREDENTIAL_BEARER };
struct tg_credential {
    enum tg_credential_kind kind;
    struct tg_slice token;                               /* BEARER: points into the head */
    const char *what;                                    /* MALFORMED: error_description, a fixed sentence */
};
/*
 * `values`: every Authorization field value of the request; `query`: of the target. None or another scheme (a bare
 * token too): NONE. `Bearer` without value, with characters outside b64token (RFC 6750 §2.1), two Authorization fields,
 * Authorization together with access_token in the query, or over `max_token` bytes: MALFORMED. The scheme compares
 * without case, one or more SP.
 */
void tg_credential_classify(const struct tg_slice *values, size_t count, struct tg_slice query, size_t max_token,
                            struct tg_credential *out);

enum tg_authn_result {
    TG_AUTHN_OK,
    TG_AUTHN_EXPIRED,                                    /* 401, "The access token expired" */
    TG_AUTHN_INVALID,                                    /* 401, one wording for everything else */
    TG_AUTHN_UNAVAILABLE,                                /* 503: no usable keys of that provider */
    TG_AUTHN_WAIT,                                       /* keys are being fetched; `done` will be called: ask again */
};

struct tg_authn;
struct tg_authn *tg_authn_new(struct tg_worker *w, const struct tg_providers *providers, size_t cache_entries);
void tg_authn_free(struct tg_authn *a);                  /* nobody may be waiting; NULL is fine */
/*
 * `allowed`: bit i for provider i (a route's identity_providers); all ones: any. On OK *out is a new reference.
 * `reason` gets a fixed word for the log ("signature", "audience", "unknown-kid", ...), never token text. On WAIT,
 * done(arg) comes later from the loop, never from inside this call; `again` is true on the second asking, which does
 * not wait again.
 */
enum tg_authn_result tg_authn_verify(struct tg_authn *a, struct tg_slice token, uint64_t allowed, int64_t now_ms,
                                     bool again,
                                     void (*done)(void *arg), void *arg, const struct tg_identity **out,
                                     const char **reason);
/*
 * The digest (TG_JWKS_DIGEST octets) of the key set that the last call asked, whatever it said; "" when none was: the
 * token is of nobody known here, or its provider has no keys. Good until the next call or the loop is entered.
 */
const char *tg_authn_key_set(const struct tg_authn *a);
/* `done` of that arg will not be called (the client went away). */
void tg_authn_cancel(struct tg_authn *a, void *arg);
