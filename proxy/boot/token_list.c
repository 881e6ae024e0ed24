/*
 * token_list - `tollgate token list`: a table for people, JSON for programs.
 */
#include "token_store.h"
#include "base/clock.h"
#include "base/json.h"
#include "boot/options.h"
#include "plain.h"
#include <stdio.h>

enum { OPT_JSON = TG_OPT_FIRST_OWN, OPT_ALL, OPT_KIND };
static const struct tg_option list_options[] = {
    {OPT_KIND, 0, "kind", "KIND", "pat (when not said), or api-user: those of the management API"},
    {OPT_JSON, 0, "json", NULL, "a JSON array, with the claims"},
    {OPT_ALL, 'a', "all", NULL, "those, too, that were revoked or have expired in the last 90 days"},
    TG_OPTION_CONFIG,
};
static const struct tg_usage list_usage = {
    .command = "token list",
    .line = "[--kind pat | api-user] [--json] [--all] [-c FILE]",
    .about = "Lists the personal access tokens, or the API users. The tokens themselves are not kept, so nobody can\n"
             "list them. When one was last used is told to the minute, and up to five seconds late.",
    .options = list_options,
    .option_count = ARRAY_LEN(list_options),
};

struct listing {
    struct tg_buf out;
    bool json, all;
    int64_t now_s;
    size_t count, hidden;                                /* hidden: not live, and not asked for */
    enum token_kind kind;
};

static void json_time(struct listing *l, const char *name, int64_t seconds, bool is_set)
{
    tg_buf_addf(&l->out, ",\"%s\":", name);
    if (!is_set) {
        tg_buf_adds(&l->out, "null");
        return;
    }
    tg_buf_addc(&l->out, '"');
    tg_clock_add_s(&l->out, seconds);
    tg_buf_addc(&l->out, '"');
}

static const char *state_of(const struct listing *l, const struct tg_pat_row *row)
{
    return row->revoked_s >= 0 ? "revoked" : row->expires_s <= l->now_s ? "expired" : "live";
}

static void json_row(struct listing *l, const struct tg_pat_row *row)
{
    tg_buf_addf(&l->out, "%s{\"id\":\"" TG_S_FMT "\",\"name\":", l->count ? ",\n " : "[", TG_S_ARG(row->id));
    tg_json_add_string(&l->out, row->name);
    tg_buf_addf(&l->out, ",\"state\":\"%s\"", state_of(l, row));
    json_time(l, "created_at", row->created_s, true);
    json_time(l, "expires_at", row->expires_s, row->expires_s != INT64_MAX);
    json_time(l, "last_used_at", row->used_s, row->used_s >= 0);
    json_time(l, "revoked_at", row->revoked_s, row->revoked_s >= 0);
    tg_buf_adds(&l->out, ",\"sub\":");
    if (row->sub.len)
        tg_json_add_string(&l->out, row->sub);
    else
        tg_buf_addf(&l->out, "\"pat:" TG_S_FMT "\"", TG_S_ARG(row->id));
    tg_buf_addf(&l->out, ",\"claims\":" TG_S_FMT "}", TG_S_ARG(row->claims));
}

static void text_time(struct listing *l, int64_t seconds, const char *without)
{
    if (without)
        tg_buf_addf(&l->out, "%-20s  ", without);
    else
        tg_clock_add_s(&l->out, seconds);
    if (!without)
        tg_buf_adds(&l->out, "  ");
}

static void text_row(struct listing *l, const struct tg_pat_row *row)
{
    if (l->count == 0)
        tg_buf_addf(&l->out, "%-36s  %-20s  %-20s  %-20s  %s%s\n", "ID", "CREATED", "EXPIRES", "LAST USED",
                    l->all ? "STATE    " : "", "NAME");
    tg_buf_addf(&l->out, TG_S_FMT "  ", TG_S_ARG(row->id));
    text_time(l, row->created_s, NULL);
    text_time(l, row->expires_s, row->expires_s == INT64_MAX ? "never" : NULL);
    text_time(l, row->used_s, row->used_s < 0 ? "never" : NULL);
    if (l->all)
        tg_buf_addf(&l->out, "%-9s", state_of(l, row));
    size_t from = l->out.len;

    tg_buf_add_slice(&l->out, row->name);
    make_plain(&l->out, from);
    tg_buf_addc(&l->out, '\n');
}

static void list_row(void *arg, const struct tg_pat_row *row)
{
    struct listing *l = arg;

    if (!l->all && strcmp(state_of(l, row), "live") != 0) {
        l->hidden++;
        return;
    }
    if (l->json)
        json_row(l, row);
    else
        text_row(l, row);
    l->count++;
}

/* ---- API users ---- */

static void json_user(struct listing *l, const struct tg_api_user *user)
{
    tg_buf_addf(&l->out, "%s{\"id\":\"" TG_S_FMT "\",\"name\":", l->count ? ",\n " : "[", TG_S_ARG(user->id));
    tg_json_add_string(&l->out, user->name);
    tg_buf_addf(&l->out, ",\"state\":\"%s\",\"role\":\"%s\",\"prefix\":\"" TG_S_FMT "\"",
                user->expires_s <= l->now_s ? "expired" : "live", tg_role_name(user->role), TG_S_ARG(user->prefix));
    json_time(l, "created_at", user->created_s, true);
    json_time(l, "expires_at", user->expires_s, user->expires_s != INT64_MAX);
    json_time(l, "last_used_at", user->used_s, user->used_s >= 0);
    tg_buf_addc(&l->out, '}');
}

static void text_user(struct listing *l, const struct tg_api_user *user)
{
    if (l->count == 0)
        tg_buf_addf(&l->out, "%-36s  %-20s  %-20s  %-20s  %s%-8s %-12s  %s\n", "ID", "CREATED", "EXPIRES", "LAST USED",
                    l->all ? "STATE    " : "", "ROLE", "PREFIX", "NAME");
    tg_buf_addf(&l->out, TG_S_FMT "  ", TG_S_ARG(user->id));
    text_time(l, user->created_s, NULL);
    text_time(l, user->expires_s, user->expires_s == INT64_MAX ? "never" : NULL);
    text_time(l, user->used_s, user->used_s < 0 ? "never" : NULL);
    if (l->all)
        tg_buf_addf(&l->out, "%-9s", user->expires_s <= l->now_s ? "expired" : "live");
    tg_buf_addf(&l->out, "%-8s " TG_S_FMT "  ", tg_role_name(user->role), TG_S_ARG(user->prefix));
    size_t from = l->out.len;

    tg_buf_add_slice(&l->out, user->name);
    make_plain(&l->out, from);
    tg_buf_addc(&l->out, '\n');
}

static void list_user(void *arg, const struct tg_api_user *user)
{
    struct listing *l = arg;

    if (!l->all && user->expires_s <= l->now_s) {
        l->hidden++;
        return;
    }
    if (l->json)
        json_user(l, user);
    else
        text_user(l, user);
    l->count++;
}

/* ---- both ---- */

/* An empty table could be a mistake, too. */
static void tell_none(const struct listing *l)
{
    bool pats = l->kind == TOKEN_PAT;

    if (l->hidden)
        fprintf(stderr, "no %s is live; --all lists %zu that were %shave expired\n", pats ? "token" : "API user",
                l->hidden, pats ? "revoked or " : "made and ");
    else
        fprintf(stderr, "there are no %s\n", pats ? "tokens" : "API users");
}

static int list_pats(const char *config, struct listing *l, enum tg_status *st, struct tg_err *err)
{
    struct tg_pat_store *store = NULL;
    int code = token_store_open(config, false, &store);

    if (code == TG_EXIT_OK)
        *st = tg_pat_list(store, list_row, l, err);
    tg_pat_store_close(store);
    return code;
}

static int list_users(const char *config, struct listing *l, enum tg_status *st, struct tg_err *err)
{
    struct tg_db *db = NULL;
    int code = token_users_open(config, false, &db);

    if (code == TG_EXIT_OK)
        *st = tg_api_user_list(db, (struct tg_slice){0}, 0, 0, list_user, l, NULL, err);
    tg_db_close(db);
    return code;
}

static int list(const char *config, struct listing *l)
{
    struct tg_err err = {0};
    enum tg_status st = TG_OK;
    int code = l->kind == TOKEN_PAT ? list_pats(config, l, &st, &err) : list_users(config, l, &st, &err);

    if (code != TG_EXIT_OK)
        return code;
    if (l->json)
        tg_buf_adds(&l->out, l->count ? "]\n" : "[]\n");
    else if (st == TG_OK && l->count == 0)
        tell_none(l);
    if (st == TG_OK)
        return tg_put_out(&l->out);
    tg_buf_fini(&l->out);
    return token_store_fail(st, &err);
}

int token_list(int argc, char **argv)
{
    struct listing l = {.now_s = tg_clock_wall_ms() / 1000};
    const char *value, *config = NULL;
    struct tg_options o;
    int id;

    tg_options_start(&o, &list_usage, argc, argv);
    while ((id = tg_options_next(&o, &value)) != TG_OPT_END)
        switch (id) {
        case TG_OPT_EXIT: return o.code;
        case OPT_JSON: l.json = true; break;
        case OPT_ALL: l.all = true; break;
        case OPT_KIND:
            if (!token_kind_parse(value, &l.kind))
                return tg_usage_error(&list_usage, "--kind is pat or api-user");
            break;
        default: config = value;
        }
    return tg_options_extra(&o, 0) ? o.code : list(config, &l);
}
