/*
 * assertion - who calls, signed by tollgate for the service behind it (X-Pomerium-Jwt-Assertion).
 *
 * tg_signing: the process's keys: the first private one of `signing_key_file` (PEM, ES256 or EdDSA by its kind) signs;
 * others in it, and those that signed until a reload within the last hour, are only published, so that a service that
 * cached the set never meets an unknown key. Without a file a P-256 key is made: kept as state_dir/signing-key.pem
 * (0600), else of this process alone.
 * tg_assertions: a worker's assertions, one for each identity and audience, kept until a minute before they expire. Two
 * tokens of one subject are two identities: neither is ever told what the other's claims are.
 */
#pragma once
#include "auth/identity.h"
#include "jose/mint.h"

struct tg_signing;
struct tg_signing *tg_signing_new(const char *state_dir); /* NULL: memory only */
void tg_signing_free(struct tg_signing *s);              /* NULL is fine */
/*
 * The keys of a configuration: PEM text, empty: none given (then one is made when `needed`, else *out is NULL). TG_OK
 * or why: a key that is neither P-256 nor Ed25519, no private key at all, a file in state_dir that is none. Nobody
 * signs with them before tg_signing_bind, which takes them over. One thread at a time, both; the workers go on.
 * `now_ms`: wall time, here and below.
 */
struct tg_signing_keys;
enum tg_status tg_signing_read(struct tg_signing *s, struct tg_slice pem, bool needed, struct tg_signing_keys **out,
                               struct tg_err *err);
void tg_signing_bind(struct tg_signing *s, struct tg_signing_keys *keys, int64_t now_ms);
void tg_signing_keys_unref(struct tg_signing_keys *keys); /* NULL is fine */
enum tg_status tg_signing_check(struct tg_slice pem, struct tg_err *err); /* as read would say */
bool tg_signing_is_on(struct tg_signing *s);             /* there is a key, or one of the last hour. Any thread */
/* The JWK set to publish, as text. Any thread. */
void tg_signing_jwks(struct tg_signing *s, int64_t now_ms, struct tg_buf *out);

/*
 * The longest value of a field that tells a service who calls: a line of 8 KiB is what nginx, Apache and gunicorn take.
 * What would be longer is not cut, for half of somebody's groups is another caller: it is not sent.
 */
#define TG_IDENTITY_VALUE_BYTES 8000

struct tg_assertions;                                    /* one a worker and configuration */
struct tg_assertion_subject {
    const struct tg_identity *identity;
    struct tg_slice issuer, audience;                    /* by the route: jwt_issuer_format, the host */
    const struct tg_string_map *claims_headers;          /* the claims they name are in the assertion too; NULL: none */
    const struct tg_strings *groups_filter;              /* jwt_groups_filter; NULL or count 0: all. Its items are told
                                                            from others' by where they are: they outlive the cache */
};
/* `claims_headers` is always the same one. References to identities are held: freed before what they point into. */
struct tg_assertions *tg_assertions_new(struct tg_signing *s, size_t max_entries);
void tg_assertions_free(struct tg_assertions *a);        /* NULL is fine */
/* The compact token; borrowed until the next call. Empty: it cannot be made, or is too long (logged once). */
struct tg_slice tg_assertions_get(struct tg_assertions *a, const struct tg_assertion_subject *subject, int64_t now_ms);
size_t tg_assertions_signed(const struct tg_assertions *a); /* how many were signed, for tests */

/* The claim that lists the caller's groups (groups_claim); NULL: there is none. */
const struct tg_claim *tg_identity_groups(const struct tg_identity *id);
/* Whether the service is told of this group. */
bool tg_groups_filter_passes(const struct tg_strings *filter, struct tg_slice group);
