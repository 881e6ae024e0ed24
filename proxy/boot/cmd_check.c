/*
 * cmd_check - every error of a configuration, or that there is none; with --online also whether the world is as the
 * configuration says.
 */
#include "boot/commands.h"
#include "auth/revoked.h"
#include "base/err.h"
#include "boot/container.h"
#include "boot/options.h"
#include "boot/settings.h"
#include "check_online.h"
#include "compose.h"
#include "limit_words.h"
#include "token_check.h"
#include <stdio.h>

enum { OPT_ONLINE = TG_OPT_FIRST_OWN, OPT_TOKEN };
static const struct tg_option options[] = {
    TG_OPTION_CONFIG,
    {OPT_ONLINE, 0, "online", NULL, "then ask the providers for keys and tokens, and connect to the services"},
    {OPT_TOKEN, 0, "token", "T | -", "with --online: also tell why this token would be refused; -: standard input"},
    TG_OPTIONS_SETTINGS,
};
static const struct tg_usage usage = {
    .command = "check",
    .line = "[-c FILE] [--online [--token T | -]]",
    .about =
        "Reads the configuration as `run` would, with key files and policies, and tells every error and warning\n"
        "as FILE:LINE:COLUMN. Nothing is connected to. Prints `configuration ok` and ends with 0, or ends with 78.\n"
        "Before that it tells which tiers count where, when routes have rate_limits of their own. With sync, bundle\n"
        "or management what was kept of them in state_dir is checked too.\n"
        "With --online, one line a finding: keys, certificates, issuer and clock of each provider, whether it takes\n"
        "the credential of `introspection` (one question about a random token), a token for each `upstream_auth`,\n"
        "the services behind, ways around tollgate; 69 when something failed, 1 when the token would be refused.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate check -c tollgate.yaml\n"
                "  tollgate check -c tollgate.yaml --online --token - < token\n"
                "  tollgate check -c tollgate.yaml --print-config",
};

struct checking {
    struct tg_options o;
    const char *config, *token;
    bool online;
    int show;                                            /* of tg_settings_show; 0: none */
};

static bool read_options(struct checking *c, int argc, char **argv)
{
    const char *value;
    int id;

    tg_options_start(&c->o, &usage, argc, argv);
    while ((id = tg_options_next(&c->o, &value)) != TG_OPT_END)
        switch (id) {
        case TG_OPT_EXIT: return false;
        case TG_OPT_CONFIG: c->config = value; break;
        case OPT_ONLINE: c->online = true; break;
        case OPT_TOKEN: c->token = value; break;
        default: c->show = id;
        }
    if (tg_options_extra(&c->o, 0))
        return false;
    if (c->token && !c->online)
        c->o.code = tg_usage_error(&usage, "--token goes with --online; `tollgate verify` judges one without asking");
    return !c->token || c->online;
}

static int go_online(const struct tg_settings *settings, const char *token)
{
    struct tg_buf text = {0};
    struct tg_err err;
    int code;

    if (token && token_read(token, &text, &err) != TG_OK)
        code = tg_complain(TG_EXIT_USAGE, "%s", err.text);
    else
        code = check_online(settings, token ? token_trim(&text) : NULL);
    tg_buf_wipe(&text);
    return code;
}

/* The feed is not read with the configuration, but a start needs it. */
static bool check_revoked(const struct tg_settings *settings, struct tg_problems *problems)
{
    struct tg_slice file = settings->config->revoked_tokens_file;
    struct tg_err err;
    size_t entries;

    if (file.len == 0 || tg_revocations_check(file.ptr, &entries, &err) == TG_OK)
        return true;
    tg_problem_add(problems, false, "revoked_tokens_file: %s", err.text);
    return false;
}

/* Only where a route has its own: which tiers count where. */
static void tell_limits(const struct tg_config *config, struct tg_buf *out)
{
    if (limit_routes_count(config) == 0)
        return;
    tg_buf_adds(out, "rate limits: ");
    tg_tiers_describe(&config->tiers, out);
    tg_buf_adds(out, "\n");
    limit_routes_words(config, out);
}

/* What a running process has kept is judged with the file: a reload would be refused for it. */
static void tell_set(const struct tg_settings *settings, struct tg_buf *out)
{
    const struct tg_set *set = settings->config->set;

    if (set)
        tg_buf_addf(out, "policies kept of their source: %zu, with %zu routes\n", tg_set_policies(set),
                    tg_set_routes(set));
}

int tg_cmd_check(int argc, char **argv)
{
    struct tg_problems problems = {0};
    struct checking c = {0};
    struct tg_settings settings;
    struct tg_buf out = {0};
    bool loaded, ok;
    int code = TG_EXIT_CONFIG;

    if (!read_options(&c, argc, argv))
        return c.o.code;
    if (c.show)
        return tg_settings_show(c.show, c.config);
    loaded = tg_settings_load(tg_settings_path(c.config), &settings, &problems);
    ok = loaded && compose_kept(&settings, &problems) && check_revoked(&settings, &problems);
    if (ok)
        tg_container_warn(tg_container_detect(NULL), &settings, &problems);
    tg_problems_print(&problems, false);
    tg_problems_fini(&problems);
    if (ok) {
        tell_set(&settings, &out);
        tell_limits(settings.config, &out);
        tg_buf_adds(&out, "configuration ok\n");
        code = tg_put_out(&out);
    }
    if (code == TG_EXIT_OK && c.online)
        code = go_online(&settings, c.token);
    if (loaded)
        tg_settings_fini(&settings);
    return code;
}
