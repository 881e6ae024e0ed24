/*
 * cmd_token - tokens of tollgate's own made and revoked (token_list lists them), beside running processes or without
 * any: personal access tokens for the data plane, and here by their options API users, whom token_users knows.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/setting.h"
#include "boot/commands.h"
#include "boot/options.h"
#include "plain.h"
#include "token_store.h"
#include <stdio.h>

#define DEFAULT_LIFE_S (90 * INT64_C(86400))
#define LIFE_MAX_MS (INT64_C(100) * 365 * 86400000)

enum { OPT_NAME = TG_OPT_FIRST_OWN, OPT_CLAIM, OPT_EMAIL, OPT_GROUPS, OPT_EXPIRES, OPT_KIND, OPT_ROLE };
static const struct tg_option create_options[] = {
    {OPT_NAME, 'n', "name", "NAME", "what it is for; no two live tokens have the same"},
    {OPT_EMAIL, 'e', "email", "EMAIL", "of its owner: claim email"},
    {OPT_GROUPS, 'g', "groups", "A,B", "of its owner: claim groups"},
    {OPT_CLAIM, 0, "claim", "K=TEXT", "any claim of its owner; K:=JSON for another value than text"},
    {OPT_EXPIRES, 0, "expires", "DURATION", "from now: 90d (when not said), 12h; or none"},
    {OPT_KIND, 0, "kind", "KIND", "pat: for the data plane (when not said); api-user: for the management API"},
    {OPT_ROLE, 0, "role", "ROLE", "of an API user: owner, admin, member or auditor (when not said)"},
    TG_OPTION_CONFIG,
};
static const struct tg_usage create_usage = {
    .command = "token create",
    .line = "--name NAME [--email EMAIL] [--groups A,B] [--claim K=TEXT]... [--expires DURATION | none]\n"
            "       tollgate token create --name NAME --kind api-user [--role ROLE] [--expires DURATION | none]",
    .about = "Makes a personal access token and prints it, alone, on standard output: the only time it is seen. Its\n"
             "id and its end go to standard error. A process that serves takes it from the next request on. Policies\n"
             "see the claims as those of any token; sub is \"pat:\" and the id when it is not given. An API user's is\n"
             "for the management API alone, and its role says what it may do there.",
    .options = create_options,
    .option_count = ARRAY_LEN(create_options),
    .examples = "  tollgate token create --name deploy --email ci@example.com --groups ci,deployers --expires 30d\n"
                "  tollgate token create --name report --claim sub=reporter --claim 'limits:={\"rows\":100}'\n"
                "  tollgate token create --kind api-user --name terraform --role admin",
};
static const struct tg_option revoke_options[] = {TG_OPTION_CONFIG};
static const struct tg_usage revoke_usage = {
    .command = "token revoke",
    .line = "ID [-c FILE]",
    .about = "Withdraws a personal access token, or deletes an API user. Once this has returned every request with it\n"
             "is answered 401, on connections that are open too, and so is every ID token that was given for it. To\n"
             "revoke a personal access token that was revoked before is no error.",
    .options = revoke_options,
    .option_count = ARRAY_LEN(revoke_options),
    .examples = "  tollgate token revoke 0b8f1a52-6f0e-4d7e-9f4b-0a51c9d1a3b7",
};
static const struct tg_usage usage = {
    .command = "token",
    .line = "create | list | revoke [OPTIONS]",
    .about = "Tokens of tollgate itself, kept in state_dir: personal access tokens for the data plane, which\n"
             "personal_access_tokens: {enabled: true} in the configuration makes tollgate take, and API users of the\n"
             "management API (--kind api-user). Each command has a --help of its own:\n"
             "  create  makes one and prints it, once\n"
             "  list    shows which there are, by id, name, end and last use\n"
             "  revoke  withdraws one, from the next request on",
    .examples = "  tollgate token create --name deploy --email ci@example.com --expires 30d\n"
                "  tollgate token list\n"
                "  tollgate token revoke ID",
};

static int64_t now_s(void)
{
    return tg_clock_wall_ms() / 1000;
}

/* ---- create ---- */

struct creating {
    struct tg_options o;
    const char *config;
    struct tg_pat_order order;
    cJSON *claims;
    int64_t life_s;                                      /* INT64_MAX: no end */
    enum token_kind kind;
    enum tg_role role;
    bool role_given;
};

static bool set_claim(struct creating *c, const char *name, cJSON *value)
{
    tg_assert(value);
    if (tg_pat_is_reserved_claim(tg_slice_str(name))) {
        cJSON_Delete(value);
        c->o.code = tg_usage_error(&create_usage, "the claim %s is tollgate's to say", name);
        return false;
    }
    if (tg_json_get(c->claims, name)) {
        cJSON_Delete(value);
        c->o.code = tg_usage_error(&create_usage, "the claim %.64s is given twice", name);
        return false;
    }
    tg_assert(cJSON_AddItemToObject(c->claims, name, value));
    return true;
}

/* K=TEXT or K:=JSON */
static bool parse_claim(struct creating *c, const char *text)
{
    const char *equals = strchr(text, '=');
    bool json = equals && equals > text && equals[-1] == ':';
    size_t len = equals ? (size_t)(equals - text) - json : 0;
    cJSON *value = NULL;
    struct tg_err err;
    bool ok;

    if (len == 0) {
        c->o.code = tg_usage_error(&create_usage, "--claim is K=TEXT or K:=JSON, as in --claim plan=enterprise");
        return false;
    }
    char *name = tg_slice_dup(tg_slice(text, len));

    if (json && tg_json_parse(tg_slice_str(equals + 1), NULL, &value, &err) != TG_OK) {
        c->o.code = tg_usage_error(&create_usage, "--claim %.64s is no JSON: %s", name, err.text);
        ok = false;
    } else {
        ok = set_claim(c, name, json ? value : cJSON_CreateString(equals + 1));
    }
    free(name);
    return ok;
}

static bool parse_groups(struct creating *c, const char *text)
{
    struct tg_slice rest = tg_slice_str(text), one;
    cJSON *groups = cJSON_CreateArray();
    bool more = true;

    tg_assert(groups);
    while (more) {
        more = tg_slice_cut(rest, ',', &one, &rest);
        one = tg_slice_trim(one);
        char *copy = tg_slice_dup(one);

        if (one.len)
            tg_assert(cJSON_AddItemToArray(groups, cJSON_CreateString(copy)));
        free(copy);
    }
    return set_claim(c, "groups", groups);
}

static bool parse_life(struct creating *c, const char *text)
{
    int64_t ms;

    if (strcmp(text, "none") == 0) {
        c->life_s = INT64_MAX;
        return true;
    }
    if (!tg_duration_parse(tg_slice_str(text), &ms) || ms < 1000 || ms > LIFE_MAX_MS) {
        c->o.code = tg_usage_error(&create_usage, "--expires is a duration from now, as in 12h or 90d, or none");
        return false;
    }
    c->life_s = ms / 1000;
    return true;
}

static bool parse_kind(struct creating *c, const char *text)
{
    if (token_kind_parse(text, &c->kind))
        return true;
    c->o.code = tg_usage_error(&create_usage, "--kind is pat or api-user");
    return false;
}

static bool parse_role(struct creating *c, const char *text)
{
    c->role_given = true;
    if (tg_role_parse(tg_slice_str(text), &c->role))
        return true;
    c->o.code = tg_usage_error(&create_usage, "--role is owner, admin, member or auditor (also called viewer)");
    return false;
}

/* What is no UTF-8 would become something else in JSON. */
static bool is_text(const char *value)
{
    struct tg_slice rest = tg_slice_str(value);
    size_t n = 1;

    for (; rest.len > 0 && n > 0; rest = tg_slice(rest.ptr + n, rest.len - n))
        n = character_length(rest);
    return n > 0;
}

static bool take_option(struct creating *c, int id, const char *value)
{
    if (id != TG_OPT_CONFIG && !is_text(value)) {
        c->o.code = tg_usage_error(&create_usage, "what is said of a token must be UTF-8");
        return false;
    }
    switch (id) {
    case TG_OPT_CONFIG: c->config = value; return true;
    case OPT_NAME: c->order.name = tg_slice_str(value); return true;
    case OPT_EMAIL: return set_claim(c, "email", cJSON_CreateString(value));
    case OPT_GROUPS: return parse_groups(c, value);
    case OPT_CLAIM: return parse_claim(c, value);
    case OPT_EXPIRES: return parse_life(c, value);
    case OPT_KIND: return parse_kind(c, value);
    case OPT_ROLE: return parse_role(c, value);
    default: return false;
    }
}

static bool check_options(struct creating *c)
{
    if (!c->order.name.ptr)
        c->o.code = tg_usage_error(&create_usage, "--name is needed: what the token is for");
    else if (c->kind == TOKEN_PAT && c->role_given)
        c->o.code = tg_usage_error(&create_usage, "--role goes with --kind api-user");
    else if (c->kind == TOKEN_API_USER && c->claims->child)
        c->o.code = tg_usage_error(&create_usage, "an API user has a role and no claims");
    else
        return true;
    return false;
}

static bool read_options(struct creating *c, int argc, char **argv)
{
    const char *value;
    int id;

    tg_options_start(&c->o, &create_usage, argc, argv);
    while ((id = tg_options_next(&c->o, &value)) != TG_OPT_END)
        if (id == TG_OPT_EXIT || !take_option(c, id, value))
            return false;
    return !tg_options_extra(&c->o, 0) && check_options(c);
}

/* A token that nobody has seen is of no use, and would only live on. */
static int take_back(struct tg_pat_store *store, const char *id)
{
    struct tg_err err;
    bool already;

    if (tg_pat_revoke(store, tg_slice_str(id), now_s(), NULL, &already, &err) != TG_OK)
        tg_complain(TG_EXIT_FAILURE, "the token %s, which could not be printed, could not be revoked either: %s", id,
                    err.text);
    return TG_EXIT_FAILURE;
}

static int create_pat(struct creating *c)
{
    struct tg_pat_store *store = NULL;
    struct tg_buf token = {0};
    struct tg_err err = {0};
    char id[TG_PAT_ID];
    enum tg_status st;
    int code = token_store_open(c->config, true, &store);

    if (code != TG_EXIT_OK)
        return code;
    c->order.claims = c->claims;
    st = tg_pat_create(store, &c->order, &token, id, &err);
    if (st != TG_OK)
        code = token_store_fail(st, &err);
    else if (!token_print(&token))
        code = take_back(store, id);
    else
        token_tell_made("token", id, c->order.expires_s);
    tg_buf_wipe(&token);
    tg_pat_store_close(store);
    return code;
}

static int create(struct creating *c)
{
    c->order.now_s = now_s();
    c->order.expires_s = c->life_s == INT64_MAX ? INT64_MAX : c->order.now_s + c->life_s;
    if (c->kind == TOKEN_PAT)
        return create_pat(c);
    return token_users_create(c->config, &(struct tg_api_user_order){.name = c->order.name, .role = c->role,
                                                                    .now_s = c->order.now_s,
                                                                    .expires_s = c->order.expires_s});
}

static int cmd_create(int argc, char **argv)
{
    struct creating c = {.life_s = DEFAULT_LIFE_S, .claims = cJSON_CreateObject()};
    int code;

    tg_assert(c.claims);
    code = read_options(&c, argc, argv) ? create(&c) : c.o.code;
    cJSON_Delete(c.claims);
    return code;
}

/* ---- revoke ---- */

static int withdraw_pat(const char *config, const char *id)
{
    struct tg_pat_store *store = NULL;
    struct tg_buf name = {0};
    struct tg_err err = {0};
    bool already = false;
    enum tg_status st;
    int code = token_store_open(config, false, &store);

    if (code != TG_EXIT_OK)
        return code;
    st = tg_pat_revoke(store, tg_slice_str(id), now_s(), &name, &already, &err);
    if (st == TG_OK) {
        make_plain(&name, 0);
        fprintf(stderr, "token %s (%s) %s\n", id, tg_buf_cstr(&name),
                already ? "had been revoked before" : "is revoked");
    } else {
        code = token_store_fail(st, &err);
    }
    tg_buf_fini(&name);
    tg_pat_store_close(store);
    return code;
}

/* An id is of one kind only. */
static int withdraw(const char *config, const char *id)
{
    bool found = false;
    int code = token_users_revoke(config, id, &found);

    return code != TG_EXIT_OK || found ? code : withdraw_pat(config, id);
}

static int cmd_revoke(int argc, char **argv)
{
    const char *value, *config = NULL;
    struct tg_options o;
    int id;

    tg_options_start(&o, &revoke_usage, argc, argv);
    while ((id = tg_options_next(&o, &value)) != TG_OPT_END) {
        if (id == TG_OPT_EXIT)
            return o.code;
        config = value;
    }
    if (tg_options_extra(&o, 1))
        return o.code;
    if (o.operand >= argc)
        return tg_usage_error(&revoke_usage, "the id of a token is needed; `tollgate token list` shows them");
    return withdraw(config, argv[o.operand]);
}

/* ---- which of them ---- */

int tg_cmd_token(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } verbs[] = {{"create", cmd_create}, {"list", token_list}, {"revoke", cmd_revoke}};
    const char *names[ARRAY_LEN(verbs)], *near;
    struct tg_options o;
    const char *value;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (argc > 1 && strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
        names[i] = verbs[i].name;
    }
    if (argc > 1 && argv[1][0] != '-') {
        near = tg_nearest(argv[1], names, ARRAY_LEN(names));
        return tg_usage_error(&usage, "\"%.20s\" is none of create, list and revoke%s%s%s", argv[1],
                              near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    tg_options_start(&o, &usage, argc, argv);
    while (tg_options_next(&o, &value) != TG_OPT_END)
        return o.code;                                   /* there are none but --help */
    return tg_usage_error(&usage, "one of create, list and revoke is needed");
}
