/*
 * managers_internal - what the files about the callers of the management API share.
 */
#pragma once
#include "auth/managers.h"
#include "jose/mint.h"
#include <sys/stat.h>

/* ---- managers_credential.c ---- */
#define MANAGERS_TOKEN_MAX ((size_t)16384)
struct manager_credential {
    struct tg_slice token;                               /* borrowed of the field */
    bool bare;                                           /* without a scheme */
};
enum tg_manager_fault managers_read_credential(const struct tg_slice *fields, size_t count, bool accept_bare,
                                               struct manager_credential *out, struct tg_err *err);

/* ---- managers_keys.c: state_dir/management-key.pem, which signs ID tokens ---- */
struct manager_keys {
    char *path;
    struct stat file;                                    /* as it was when it was read */
    struct tg_signer *signer;                            /* the first that may sign */
    struct tg_jwks *known;                               /* all of them */
    bool told;                                           /* that it cannot be read */
};
/* Made when missing, read again when it has changed. What is wrong with a changed one is told: the old one stays. */
enum tg_status managers_keys_look(struct manager_keys *k, struct tg_err *err);
void managers_keys_fini(struct manager_keys *k);

/* ---- managers_table.c ---- */
struct manager_row {
    char id[37];
    char name[129];
    enum tg_role role;
    int64_t expires_s, used_s;                           /* INT64_MAX: never; -1: not yet */
};
enum tg_status managers_find_token(struct tg_db *db, struct tg_slice token, struct manager_row *out,
                                   struct tg_err *err);
enum tg_status managers_find_id(struct tg_db *db, struct tg_slice id, struct manager_row *out, struct tg_err *err);
enum tg_status managers_is_ended(struct tg_db *db, const char *jti, bool *out, struct tg_err *err);
enum tg_status managers_end(struct tg_db *db, const char *jti, int64_t exp_s, int64_t now_s, struct tg_err *err);

/* ---- managers_used.c: when tokens were last used, to the minute, written a few at a time ---- */
#define MANAGERS_USED_MAX 64
struct manager_used {
    struct {
        char id[37];
        int64_t used_s;
    } items[MANAGERS_USED_MAX];
    size_t count;
    int64_t write_ms;                                    /* not before */
    bool told;                                           /* that it cannot be written */
};
void managers_note_used(struct manager_used *used, struct tg_db *db, const struct manager_row *row, int64_t now_ms);
void managers_write_used(struct manager_used *used, struct tg_db *db, int64_t now_ms);

/* ---- managers_operators.c ---- */
void managers_copy_operators(const struct tg_operators *from, struct tg_operators *to); /* ids too */
void managers_free_operators(struct tg_operators *operators);

/* ---- managers_signed.c: JWTs, of operators and our own ---- */
struct tg_managers {
    struct tg_db *db;
    char *url;
    struct tg_operators operators;
    int64_t id_token_s;
    bool accept_bare;
    struct manager_keys keys;
    struct manager_used used;
};
enum tg_manager_fault managers_check_signed(struct tg_managers *m, struct tg_slice token, int64_t now_s,
                                            struct tg_manager *out, struct tg_err *err);
enum tg_manager_fault managers_say(struct tg_err *err, enum tg_manager_fault fault, const char *sentence);
void managers_fill(struct tg_manager *out, const struct manager_row *row);
