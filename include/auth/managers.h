/*
 * managers - who may use the management API: operators by a key in the file, API users by tokens that are kept as
 * digests, and short ID tokens for those.
 *
 * An API user is one row: id, name, role, the SHA-256 of its token ("tga_", as a PAT is "tgp_": random, with a
 * checksum), times. The token is seen once. POST /api/v0/token exchanges it for an ID token: a JWT, ES256, under a key
 * of its own (state_dir/management-key.pem, 0600), iss and aud the URL of the management API, sub the API user's id,
 * jti, one hour at most. An ID token is good only while its row is: every check asks the table, so deletion counts at
 * once; logout writes the jti down until exp. An operator signs a JWT himself: iss = sub = his id, aud the URL, iat
 * within the hour; the public key is found by iss, `kid` does not matter. Nothing of this is taken on the data plane,
 * and no token of the data plane here.
 * Threads: the management thread only (it waits for disks).
 */
#pragma once
#include "base/setting.h"
#include "io/db.h"
#include "jose/jwk.h"

enum tg_role { TG_ROLE_AUDITOR, TG_ROLE_MEMBER, TG_ROLE_ADMIN, TG_ROLE_OWNER };
bool tg_role_parse(struct tg_slice text, enum tg_role *out); /* "viewer" is auditor */
const char *tg_role_name(enum tg_role role);

struct tg_operator {                                     /* `management.operators[]`, in the configuration's arena */
    struct tg_slice id, public_key_file;
    int role;                                            /* enum tg_role */
    struct tg_jwks *keys;                                /* a reference: tg_operators_fini */
};
struct tg_operators {
    struct tg_operator *items;
    size_t count;
};
extern const struct tg_setting tg_operator_rows[];
extern const size_t tg_operator_row_count;
bool tg_operators_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_operators *out,
                       struct tg_problems *problems);
void tg_operators_fini(struct tg_operators *operators);

struct tg_managers_settings {
    const char *state_dir;
    struct tg_slice url;                                 /* of the API as its clients name it, no slash at the end */
    const struct tg_operators *operators;
    int64_t id_token_ms;
    bool accept_bare_token;
};
struct tg_managers;
/* `db` is borrowed. Makes key and tables that are missing. */
enum tg_status tg_managers_open(struct tg_db *db, const struct tg_managers_settings *settings,
                                struct tg_managers **out, struct tg_err *err);
void tg_managers_free(struct tg_managers *m);            /* writes what was used last; NULL is fine */
void tg_managers_bind(struct tg_managers *m, const struct tg_managers_settings *settings); /* all but state_dir */
/* Writes when tokens were last used: from time to time, and before they are listed. Outside of any transaction. */
void tg_managers_flush(struct tg_managers *m, int64_t now_ms);

#define TG_MANAGER_ID 65
struct tg_manager {                                      /* who is asking, checked */
    enum { TG_MANAGER_OPERATOR, TG_MANAGER_ID_TOKEN, TG_MANAGER_TOKEN } how;
    enum tg_role role;
    char id[TG_MANAGER_ID];                              /* the operator's, or the API user's */
    char name[129];
    char jti[TG_MANAGER_ID];                             /* of an ID token; SHA-256 of an operator's; else empty */
    int64_t exp_s;
    bool bare;                                           /* Authorization without a scheme: see contracts */
};
enum tg_manager_fault { TG_MANAGER_OK, TG_MANAGER_NONE, TG_MANAGER_MALFORMED, TG_MANAGER_INVALID, TG_MANAGER_EXPIRED,
                        TG_MANAGER_FAILED };
/*
 * `fields`: the values of all Authorization fields. Schemes Bearer and Pomerium, in any case; with accept_bare_token
 * one field that is a JWT by its form. NONE: no credential (401 without error); MALFORMED: 400; FAILED: the store
 * cannot be read (503). The sentence is for the audit log and shows nothing of the token. Outside of any transaction.
 */
enum tg_manager_fault tg_managers_check(struct tg_managers *m, const struct tg_slice *fields, size_t count,
                                        int64_t now_ms, struct tg_manager *out, struct tg_err *err);
/* An API user's token for an ID token. TG_DENIED: unknown, revoked or expired (all the same to a client: 400). */
enum tg_status tg_managers_exchange(struct tg_managers *m, struct tg_slice token, int64_t now_ms,
                                    struct tg_buf *id_token, int64_t *lifetime_s, struct tg_manager *who,
                                    struct tg_err *err);
/* In the caller's transaction. TG_UNSUPPORTED: it came with an API user's own token, which only deletion ends. */
enum tg_status tg_managers_logout(struct tg_managers *m, const struct tg_manager *who, int64_t now_ms,
                                  struct tg_err *err);

struct tg_api_user {
    struct tg_slice id, name, prefix;                    /* prefix: the first characters of the token, to tell it by */
    enum tg_role role;
    int64_t created_s, used_s, expires_s;                /* used -1: never; expires INT64_MAX: never */
};
struct tg_api_user_order {
    struct tg_slice name;
    enum tg_role role;
    int64_t now_s, expires_s;
};
/* In the caller's transaction. The token is appended: the only time it is seen. TG_LIMIT: the name is taken. */
enum tg_status tg_api_user_create(struct tg_db *db, const struct tg_api_user_order *order, struct tg_buf *token,
                                  char id[37], struct tg_err *err);
enum tg_status tg_api_user_delete(struct tg_db *db, struct tg_slice id, struct tg_err *err);
/* By id, or all (id empty) in the order of their making. TG_NOT_FOUND. */
enum tg_status tg_api_user_list(struct tg_db *db, struct tg_slice id, uint64_t limit, uint64_t offset,
                                void (*each)(void *arg, const struct tg_api_user *user), void *arg, uint64_t *total,
                                struct tg_err *err);
enum tg_status tg_managers_prepare(struct tg_db *db, struct tg_err *err); /* its tables, for commands */
bool tg_api_token_is_wellformed(struct tg_slice token);   /* prefix, length, characters, checksum: no store is asked */
bool tg_api_token_has_prefix(struct tg_slice token);     /* meant to be one, whatever else is wrong */
struct tg_slice tg_api_token_prefix(struct tg_slice token); /* what of it is shown, to tell it by */
