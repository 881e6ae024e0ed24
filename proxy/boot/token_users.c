/*
 * token_users - API users of the management API, made and deleted by command: how the first one comes about.
 *
 * Written beside a process that serves, which asks the table at every call, so it takes and refuses at once. The audit
 * log has it as any other change.
 */
#include "base/clock.h"
#include "base/json.h"
#include "boot/options.h"
#include "plain.h"
#include "store/audit.h"
#include "token_store.h"
#include <stdio.h>
#include <unistd.h>

/* ---- what both kinds of tokens print ---- */

bool token_print(struct tg_buf *token)
{
    tg_buf_addc(token, '\n');
    if (fwrite(token->data, 1, token->len, stdout) == token->len && fflush(stdout) == 0)
        return true;
    tg_complain(TG_EXIT_FAILURE, "cannot write to standard output");
    return false;
}

void token_tell_made(const char *what, const char *id, int64_t expires_s)
{
    struct tg_buf text = {0};

    tg_buf_addf(&text, "%s %s ", what, id);
    if (expires_s == INT64_MAX) {
        tg_buf_adds(&text, "never expires");
    } else {
        tg_buf_adds(&text, "expires ");
        tg_clock_add_s(&text, expires_s);
    }
    fprintf(stderr, "%s; it is not shown again\n", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

/* ---- the audit log ---- */

struct fact {                                            /* of an API user */
    const char *action, *id;
    struct tg_slice name;
    enum tg_role role;
};

static enum tg_status put_entry(struct tg_db *db, const struct fact *f, struct tg_err *err)
{
    struct tg_buf actor = {0}, resource = {0}, details = {0};
    enum tg_status st;

    tg_buf_addf(&actor, "command:uid %u", (unsigned)getuid());
    tg_buf_addf(&resource, "token:%s", f->id);
    tg_buf_adds(&details, "{\"name\":");
    tg_json_add_string(&details, f->name);
    tg_buf_addf(&details, ",\"role\":\"%s\"}", tg_role_name(f->role));
    st = tg_audit_put(db, &(struct tg_audit_entry){
                          .time_us = tg_clock_wall_us(),
                          .actor = tg_buf_slice(&actor),
                          .action = tg_slice_str(f->action),
                          .resource = tg_buf_slice(&resource),
                          .result = TG_S("success"),
                          .details = tg_buf_slice(&details),
                      }, err);
    tg_buf_fini(&actor);
    tg_buf_fini(&resource);
    tg_buf_fini(&details);
    return st;
}

/* ---- create ---- */

static enum tg_status make(struct tg_db *db, const struct tg_api_user_order *order, struct tg_buf *token, char id[37],
                           struct tg_err *err)
{
    enum tg_status st = tg_db_begin(db, err);

    if (st == TG_OK)
        st = tg_api_user_create(db, order, token, id, err);
    if (st == TG_OK)
        st = put_entry(db, &(struct fact){"token.create", id, order->name, order->role}, err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

/* A token that nobody has seen is of no use, and would only live on. */
static int take_back(struct tg_db *db, const char *id)
{
    struct tg_err err = {0};

    if (tg_api_user_delete(db, tg_slice_str(id), &err) != TG_OK)
        tg_complain(TG_EXIT_FAILURE, "the API user %s, whose token could not be printed, could not be deleted either: "
                    "%s", id, err.text);
    return TG_EXIT_FAILURE;
}

int token_users_create(const char *config, const struct tg_api_user_order *order)
{
    struct tg_db *db = NULL;
    struct tg_buf token = {0};
    struct tg_err err = {0};
    char id[37];
    enum tg_status st;
    int code = token_users_open(config, true, &db);

    if (code != TG_EXIT_OK)
        return code;
    st = make(db, order, &token, id, &err);
    if (st != TG_OK)
        code = token_store_fail(st, &err);
    else if (!token_print(&token))
        code = take_back(db, id);
    else
        token_tell_made("API user", id, order->expires_s);
    tg_buf_wipe(&token);
    tg_db_close(db);
    return code;
}

/* ---- revoke ---- */

struct found {
    struct tg_buf name;
    enum tg_role role;
    bool is;
};

static void keep(void *arg, const struct tg_api_user *user)
{
    struct found *f = arg;

    tg_buf_add_slice(&f->name, user->name);
    f->role = user->role;
    f->is = true;
}

static enum tg_status find_and_delete(struct tg_db *db, const char *id, struct found *f, struct tg_err *err)
{
    enum tg_status st = tg_api_user_list(db, tg_slice_str(id), 1, 0, keep, f, NULL, err);

    if (st == TG_OK)
        st = tg_api_user_delete(db, tg_slice_str(id), err);
    if (st == TG_OK)
        st = put_entry(db, &(struct fact){"token.delete", id, tg_buf_slice(&f->name), f->role}, err);
    return st;
}

static enum tg_status delete_it(struct tg_db *db, const char *id, struct found *f, struct tg_err *err)
{
    enum tg_status st = tg_db_begin(db, err);

    if (st == TG_OK)
        st = find_and_delete(db, id, f, err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

int token_users_revoke(const char *config, const char *id, bool *found)
{
    struct tg_db *db = NULL;
    struct found f = {0};
    struct tg_err err = {0};
    enum tg_status st;
    int code = token_users_open(config, false, &db);

    if (code != TG_EXIT_OK || !id[0])
        goto out;
    st = delete_it(db, id, &f, &err);
    *found = f.is && st == TG_OK;
    if (*found) {
        make_plain(&f.name, 0);
        fprintf(stderr, "the API user %s (%s) is deleted\n", id, tg_buf_cstr(&f.name));
    } else if (st != TG_OK && st != TG_NOT_FOUND) {
        code = token_store_fail(st, &err);
    }
out:
    tg_buf_fini(&f.name);
    tg_db_close(db);
    return code;
}
