/*
 * token_store - the store of the token commands: which it is, as whom it is opened, and what went wrong with it.
 *
 * Only what names it is read of the configuration: a token must be revocable when a line of a route is wrong. Root
 * takes on the owner of state_dir (or of the database in it) before any file in it is touched, so that the processes
 * that serve, which are not root, can still read and write what was made, and a link put there by them leads no further
 * than they could go.
 */
#include "token_store.h"
#include "auth/managers.h"
#include "boot/options.h"
#include "boot/settings.h"
#include "store/audit.h"
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

bool token_kind_parse(const char *text, enum token_kind *out)
{
    *out = strcmp(text, "api-user") == 0 ? TOKEN_API_USER : TOKEN_PAT;
    return *out == TOKEN_API_USER || strcmp(text, "pat") == 0;
}

static int exit_of(enum tg_status st)
{
    switch (st) {
    case TG_DENIED: return TG_EXIT_PERMISSION;
    case TG_UNAVAILABLE: return TG_EXIT_UNAVAILABLE;
    default: return TG_EXIT_FAILURE;
    }
}

int token_store_fail(enum tg_status st, const struct tg_err *err)
{
    return tg_complain(exit_of(st), "%s", tg_err_text(err));
}

/* Of the folder; where that is root's (a volume that belongs to a group), of the database in it. */
static bool find_owner(const char *state_dir, struct stat *owner, gid_t *group)
{
    char path[PATH_MAX];

    if (stat(state_dir, owner) != 0)
        return false;
    *group = owner->st_gid;
    if (owner->st_uid != 0)
        return true;
    return snprintf(path, sizeof path, "%s/tollgate.db", state_dir) < (int)sizeof path && lstat(path, owner) == 0 &&
           S_ISREG(owner->st_mode) && owner->st_uid != 0;
}

static bool take_on_owner(const char *state_dir)
{
    struct stat st;
    gid_t group;

    if (geteuid() != 0 || !find_owner(state_dir, &st, &group))
        return true;                                     /* when it is not there, opening says so */
    if (setgroups(1, &group) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0)
        return true;
    tg_complain(TG_EXIT_PERMISSION, "state_dir %s: its owner cannot be taken on: %s", state_dir, strerror(errno));
    return false;
}

/* Somebody else's folder is no mistake of the configuration, but of who runs the command. */
static void tell_owner(const char *state_dir)
{
    struct stat st;

    if (stat(state_dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid != geteuid() && geteuid() != 0)
        fprintf(stderr, "It belongs to the user with the id %u: run this as that user, or as root\n",
                (unsigned)st.st_uid);
}

/* Whoever serves with this configuration takes tokens of that kind, or says how it would. */
static int check_use(const char *path, const struct tg_settings_store *where, enum token_kind kind, bool making)
{
    static const char *const kept[] = {"personal access tokens are", "API users are", "the audit log is"};

    if (!where->state_dir)
        return tg_complain(TG_EXIT_PERMISSION, "%s: %s kept in state_dir, and none is set", path, kept[kind]);
    if (making && kind == TOKEN_PAT && !where->pats)
        return tg_complain(TG_EXIT_CONFIG, "%s: nobody would take the token; set personal_access_tokens: "
                           "{enabled: true}", path);
    if (making && kind == TOKEN_API_USER && !where->management)
        return tg_complain(TG_EXIT_CONFIG, "%s: nobody would take the token; set management: {} to have a management "
                           "API", path);
    return take_on_owner(where->state_dir) ? TG_EXIT_OK : TG_EXIT_PERMISSION;
}

/* The folder; free() it. A complaint was made when it is not TG_EXIT_OK. */
static int find_store(const char *config, enum token_kind kind, bool making, char **state_dir)
{
    const char *path = tg_settings_path(config);
    struct tg_settings_store where;
    struct tg_err err = {0};
    enum tg_status st = tg_settings_read_store(path, &where, &err);
    int code;

    if (st != TG_OK)
        return tg_complain(st == TG_DENIED ? TG_EXIT_PERMISSION : TG_EXIT_CONFIG, "%s", err.text);
    code = check_use(path, &where, kind, making);
    if (code != TG_EXIT_OK) {
        free(where.state_dir);
        return code;
    }
    signal(SIGXFSZ, SIG_IGN);                            /* a limit on files is told as what it is, a failed write */
    *state_dir = where.state_dir;
    return TG_EXIT_OK;
}

static int fail_open(const char *state_dir, enum tg_status st, const struct tg_err *err)
{
    int code = token_store_fail(st, err);

    if (st == TG_DENIED)
        tell_owner(state_dir);
    return code;
}

int token_store_open(const char *config, bool making, struct tg_pat_store **store)
{
    char *state_dir = NULL;
    struct tg_err err = {0};
    int code = find_store(config, TOKEN_PAT, making, &state_dir);
    enum tg_status st;

    if (code == TG_EXIT_OK && (st = tg_pat_store_open(state_dir, store, &err)) != TG_OK)
        code = fail_open(state_dir, st, &err);
    free(state_dir);
    return code;
}

static enum tg_status open_users(const char *state_dir, struct tg_db **db, struct tg_err *err)
{
    struct tg_buf path = {0};
    enum tg_status st;

    tg_buf_addf(&path, "%s/tollgate.db", state_dir);
    st = tg_db_open(tg_buf_cstr(&path), db, err);
    if (st == TG_NOT_FOUND)
        st = tg_fail(err, TG_DENIED, "state_dir %s: there is no such folder", state_dir);
    if (st == TG_OK && ((st = tg_managers_prepare(*db, err)) != TG_OK || (st = tg_audit_prepare(*db, err)) != TG_OK)) {
        tg_db_close(*db);
        *db = NULL;
    }
    tg_buf_fini(&path);
    return st;
}

static int open_for(const char *config, enum token_kind kind, bool making, struct tg_db **db)
{
    char *state_dir = NULL;
    struct tg_err err = {0};
    int code = find_store(config, kind, making, &state_dir);
    enum tg_status st;

    if (code == TG_EXIT_OK && (st = open_users(state_dir, db, &err)) != TG_OK)
        code = fail_open(state_dir, st, &err);
    free(state_dir);
    return code;
}

int token_users_open(const char *config, bool making, struct tg_db **db)
{
    return open_for(config, TOKEN_API_USER, making, db);
}

int token_audit_open(const char *config, struct tg_db **db)
{
    return open_for(config, TOKEN_NONE, false, db);
}
