/*
 * managers - callers of the management API: checked, given ID tokens, logged out.
 *
 * Nothing is remembered between two calls: each asks the table, so that what another process has deleted (a command,
 * say) is refused at the next call, on connections that are open too.
 */
#include "managers_internal.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "io/db.h"
#include <stdio.h>

/* ---- life ---- */

void tg_managers_bind(struct tg_managers *m, const struct tg_managers_settings *settings)
{
    struct tg_operators old = m->operators;
    char *url = m->url;

    m->url = tg_slice_dup(settings->url);
    m->id_token_s = settings->id_token_ms / 1000;
    m->accept_bare = settings->accept_bare_token;
    managers_copy_operators(settings->operators, &m->operators);
    managers_free_operators(&old);
    free(url);
}

enum tg_status tg_managers_open(struct tg_db *db, const struct tg_managers_settings *settings,
                                struct tg_managers **out, struct tg_err *err)
{
    struct tg_managers *m = TG_NEW(struct tg_managers);
    struct tg_buf path = {0};
    enum tg_status st;

    tg_buf_addf(&path, "%s/management-key.pem", settings->state_dir);
    tg_buf_cstr(&path);
    m->db = db;
    m->keys.path = path.data;
    tg_managers_bind(m, settings);
    st = tg_managers_prepare(db, err);
    if (st == TG_OK)
        st = managers_keys_look(&m->keys, err);
    if (st != TG_OK) {
        tg_managers_free(m);
        return st;
    }
    *out = m;
    return TG_OK;
}

void tg_managers_free(struct tg_managers *m)
{
    if (!m)
        return;
    tg_managers_flush(m, tg_clock_wall_ms());
    managers_keys_fini(&m->keys);
    managers_free_operators(&m->operators);
    free(m->url);
    free(m);
}

void tg_managers_flush(struct tg_managers *m, int64_t now_ms)
{
    if (m->used.count && tg_db_is_in_place(m->db))
        managers_write_used(&m->used, m->db, now_ms);
}

/* ---- API users' own tokens ---- */

static enum tg_manager_fault failed(struct tg_err *err, const struct tg_err *why)
{
    return managers_say(err, TG_MANAGER_FAILED, why->text);
}

static enum tg_manager_fault find_user(struct tg_managers *m, struct tg_slice token, int64_t now_ms,
                                       struct manager_row *row, struct tg_err *err)
{
    struct tg_err why = {0};
    enum tg_status st;

    if (!tg_api_token_is_wellformed(token))
        return managers_say(err, TG_MANAGER_INVALID, "it has not the form of an API user's token");
    st = managers_find_token(m->db, token, row, &why);
    if (st == TG_NOT_FOUND)
        return managers_say(err, TG_MANAGER_INVALID, "no API user has this token, or it was deleted");
    if (st != TG_OK)
        return failed(err, &why);
    if (row->expires_s <= now_ms / 1000)
        return managers_say(err, TG_MANAGER_EXPIRED, "the API user's token has expired");
    managers_note_used(&m->used, m->db, row, now_ms);
    return TG_MANAGER_OK;
}

static enum tg_manager_fault check_token(struct tg_managers *m, struct tg_slice token, int64_t now_ms,
                                         struct tg_manager *out, struct tg_err *err)
{
    struct manager_row row;
    enum tg_manager_fault fault = find_user(m, token, now_ms, &row, err);

    if (fault != TG_MANAGER_OK)
        return fault;
    out->how = TG_MANAGER_TOKEN;
    out->exp_s = row.expires_s;
    managers_fill(out, &row);
    return TG_MANAGER_OK;
}

/* ---- whoever asks ---- */

static bool is_in_place(const struct tg_managers *m, struct tg_err *err)
{
    if (tg_db_is_in_place(m->db))
        return true;
    tg_fail(err, TG_UNAVAILABLE, "the database of the management API was deleted or replaced under it");
    return false;
}

enum tg_manager_fault tg_managers_check(struct tg_managers *m, const struct tg_slice *fields, size_t count,
                                        int64_t now_ms, struct tg_manager *out, struct tg_err *err)
{
    struct manager_credential credential;
    struct tg_manager who = {0};
    enum tg_manager_fault fault = managers_read_credential(fields, count, m->accept_bare, &credential, err);

    if (fault != TG_MANAGER_OK)
        return fault;
    if (!is_in_place(m, err))
        return TG_MANAGER_FAILED;
    if (tg_api_token_has_prefix(credential.token))
        fault = check_token(m, credential.token, now_ms, &who, err);
    else
        fault = managers_check_signed(m, credential.token, now_ms / 1000, &who, err);
    if (fault != TG_MANAGER_OK)
        return fault;
    who.bare = credential.bare;
    *out = who;
    return TG_MANAGER_OK;
}

/* ---- a token for an ID token ---- */

static void write_claims(const struct tg_managers *m, const struct tg_manager *who, int64_t now_s, struct tg_buf *out)
{
    struct tg_slice url = tg_slice_str(m->url);

    tg_buf_adds(out, "{\"iss\":");
    tg_json_add_string(out, url);
    tg_buf_adds(out, ",\"aud\":");
    tg_json_add_string(out, url);
    tg_buf_addf(out, ",\"sub\":\"%s\",\"jti\":\"%s\",\"iat\":%lld,\"exp\":%lld}", who->id, who->jti, (long long)now_s,
                (long long)who->exp_s);
}

static enum tg_status sign(struct tg_managers *m, const struct tg_manager *who, int64_t now_s, struct tg_buf *out,
                           struct tg_err *err)
{
    struct tg_buf claims = {0};
    enum tg_status st = managers_keys_look(&m->keys, err);

    write_claims(m, who, now_s, &claims);
    if (st == TG_OK)
        st = tg_signer_sign_ours(m->keys.signer, tg_buf_slice(&claims), out, err);
    tg_buf_fini(&claims);
    return st;
}

enum tg_status tg_managers_exchange(struct tg_managers *m, struct tg_slice token, int64_t now_ms,
                                    struct tg_buf *id_token, int64_t *lifetime_s, struct tg_manager *who,
                                    struct tg_err *err)
{
    int64_t now_s = now_ms / 1000, life_s = m->id_token_s;
    struct tg_manager made = {.how = TG_MANAGER_ID_TOKEN};
    struct manager_row row;
    enum tg_manager_fault fault;
    enum tg_status st;

    if (!is_in_place(m, err))
        return TG_UNAVAILABLE;
    fault = find_user(m, token, now_ms, &row, err);
    if (fault != TG_MANAGER_OK)
        return fault == TG_MANAGER_FAILED ? TG_UNAVAILABLE : TG_DENIED;
    if (life_s > row.expires_s - now_s)                  /* it ends with its parent */
        life_s = row.expires_s - now_s;
    managers_fill(&made, &row);
    tg_uuid(made.jti);
    made.exp_s = now_s + life_s;
    st = sign(m, &made, now_s, id_token, err);
    if (st != TG_OK)
        return st;
    *lifetime_s = life_s;
    *who = made;
    return TG_OK;
}

enum tg_status tg_managers_logout(struct tg_managers *m, const struct tg_manager *who, int64_t now_ms,
                                  struct tg_err *err)
{
    if (!who->jti[0])
        return tg_fail(err, TG_UNSUPPORTED, "an API user's token has no session that could end; to revoke it, delete "
                       "it");
    return managers_end(m->db, who->jti, who->exp_s, now_ms / 1000, err);
}
