/*
 * token_store - the store of the token commands: which it is, as whom it is opened, and what went wrong with it.
 *
 * Only what names it is read of the configuration: a token must be revocable when a line of a route is wrong. Root
 * takes on the owner of state_dir (or of the database in it) before any file in it is touched, so that the processes
 * that serve, which are not root, can still read and write what was made, and a link put there by them leads no further
 * than they could go.
 */
#include "token_store.h"
#include "base/clock.h"
#include "boot/options.h"
#include "boot/settings.h"
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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

int token_store_open(const char *config, bool making, struct tg_pat_store **store)
{
    const char *path = tg_settings_path(config);
    struct tg_settings_store where;
    struct tg_err err = {0};
    enum tg_status st = tg_settings_read_store(path, &where, &err);
    int code = TG_EXIT_OK;

    if (st != TG_OK)
        return tg_complain(st == TG_DENIED ? TG_EXIT_PERMISSION : TG_EXIT_CONFIG, "%s", err.text);
    if (!where.state_dir)
        code = tg_complain(TG_EXIT_PERMISSION, "%s: personal access tokens are kept in state_dir, and none is set",
                           path);
    else if (making && !where.pats)
        code = tg_complain(TG_EXIT_CONFIG, "%s: nobody would take the token; set personal_access_tokens: "
                           "{enabled: true}", path);
    else if (!take_on_owner(where.state_dir))
        code = TG_EXIT_PERMISSION;
    signal(SIGXFSZ, SIG_IGN);                            /* a limit on files is told as what it is, a failed write */
    if (code == TG_EXIT_OK && (st = tg_pat_store_open(where.state_dir, store, &err)) != TG_OK) {
        code = token_store_fail(st, &err);
        if (st == TG_DENIED)
            tell_owner(where.state_dir);
    }
    free(where.state_dir);
    return code;
}

void token_add_time(struct tg_buf *out, int64_t seconds)
{
    char text[TG_TIME_TEXT];

    tg_clock_format(seconds * 1000, text);
    tg_buf_addf(out, "%.19sZ", text);                    /* without .000 */
}
