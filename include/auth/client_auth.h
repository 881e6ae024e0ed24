/*
 * client_auth - how tollgate shows an OAuth server who it is (RFC 6749 §2.3, RFC 7523 §2.2), for introspection and for
 * tokens of its own.
 *
 * client_secret_basic (each half form-encoded before base64), client_secret_post, private_key_jwt. A key file is PEM,
 * or a key file of ZITADEL (JSON: type, keyId, key, userId or clientId, appId; others ignored), which says its ids by
 * itself. A client secret is read at each use, so that a rotated one counts at once; a key file with the configuration
 * and again when it changes (TG_SET_FILE). Both are wiped. An RSA key signs RS256, others what their curve says.
 */
#pragma once
#include "base/setting.h"
#include "jose/mint.h"
#include <stdatomic.h>

enum tg_client_auth_method { TG_CLIENT_BASIC, TG_CLIENT_POST, TG_CLIENT_PRIVATE_KEY, TG_CLIENT_NONE };

struct tg_service_key {                                  /* of a key file; immutable, counted by atomics */
    atomic_uint refs;
    struct tg_slice id;                                  /* ZITADEL's userId or clientId; empty: PEM */
    struct tg_signer *signer;
};
struct tg_client_auth {
    enum tg_client_auth_method method;
    struct tg_slice client_id;
    struct tg_slice secret_file;                         /* with a NUL */
    struct tg_service_key *key;                          /* PRIVATE_KEY: a reference */
};
/*
 * The members client_id, client_secret_file, private_key_file, key_id, auth_method of `node` (checked against each
 * other: one of the two files; a key needs a client_id unless the file says it). Problems name `where`.
 */
struct tg_client_auth_text {
    struct tg_slice client_id, client_secret_file, private_key_file, key_id;
    int method;                                          /* basic|post */
};
bool tg_client_auth_read(const struct tg_client_auth_text *text, const struct tg_tree *tree, const cJSON *node,
                         const char *where, struct tg_arena *arena, struct tg_client_auth *out,
                         struct tg_problems *problems);
void tg_client_auth_fini(struct tg_client_auth *c);
/* A copy for whoever outlives the configuration: text in `arena`, a reference to the key. */
void tg_client_auth_copy(const struct tg_client_auth *from, struct tg_arena *arena, struct tg_client_auth *out);
/*
 * Adds what the request needs: members to the form body (after a `&` when it is not empty), or the line
 * "Authorization: Basic ..." with a NUL to `line`. `audience`: of an assertion: the server's issuer. Any thread. Wipe
 * both after use.
 */
enum tg_status tg_client_auth_apply(const struct tg_client_auth *c, struct tg_slice audience, int64_t now_s,
                                    struct tg_buf *form, struct tg_buf *line, struct tg_err *err);
/* A fresh assertion (RFC 7523 §3): iss = sub = `id`, iat 5 s ago, exp 5 minutes later, a random jti. */
enum tg_status tg_service_key_assert(const struct tg_service_key *key, struct tg_slice id, struct tg_slice audience,
                                     int64_t now_s, struct tg_buf *out, struct tg_err *err);
/* PEM or ZITADEL's JSON. `key_id`: empty: of the file, or for PEM a thumbprint. */
enum tg_status tg_service_key_load(const char *file, struct tg_slice key_id, struct tg_service_key **out,
                                   struct tg_err *err);
void tg_service_key_unref(struct tg_service_key *key);   /* NULL is fine */
/* Appends name=value as application/x-www-form-urlencoded. */
void tg_form_add(struct tg_buf *form, const char *name, struct tg_slice value);
