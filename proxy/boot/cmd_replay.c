/*
 * cmd_replay - another policy on the decisions that were logged: who would gain or lose access.
 *
 * Only lines of requests that a policy was asked about are judged again: a token that was refused or a limit that was
 * reached is no matter of policies. Nothing is guessed: a decision that hangs on what was not logged is counted apart.
 */
#include "boot/commands.h"
#include "boot/options.h"
#include "compose.h"
#include "replay.h"
#include "terminal.h"
#include <stdio.h>

#define TOP_MAX 1000

enum { OPT_POLICY = TG_OPT_FIRST_OWN, OPT_ROUTE, OPT_JSON, OPT_TOP, OPT_FAIL };
static const struct tg_option options[] = {
    {OPT_POLICY, 'p', "policy", "FILE", "judge by this policy alone, in the place of all that the route has"},
    {TG_OPT_CONFIG, 'c', "config", "FILE", "judge by the routes of this configuration instead"},
    {OPT_ROUTE, 'r', "route", "NAME", "only lines of this route; several times"},
    {OPT_TOP, 'n', "top", "N", "how many callers and requests to show of each change, 5 when not said"},
    {OPT_JSON, 'j', "json", NULL, "answer as JSON"},
    {OPT_FAIL, 0, "fail-on-change", NULL, "end with 1 when somebody gains or loses access"},
};
static const struct tg_usage usage = {
    .command = "replay",
    .line = "(--policy FILE | -c CONFIG) [--route NAME] [--json] LOG ... | -",
    .about =
        "Judges the requests of access logs by another policy or configuration, and shows whose access\n"
        "would change: how many requests and callers, by which reasons, with an example of each. What a\n"
        "decision used is in its line (access_log.facts). A policy that reads other claims needs them\n"
        "logged before (access_log.claims): requests that cannot be told without them are counted apart.\n"
        "Tokens, certificates and limits are not checked again. A policy in shadow mode is judged as if\n"
        "it were enforced with --policy, and is left out with -c, as on a request.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate replay --policy new.yaml --route orders /var/log/tollgate/access.log\n"
                "  tollgate replay -c new/tollgate.yaml --fail-on-change access.log\n"
                "  zcat access.log.*.gz | tollgate replay --policy new.yaml --json -",
};

#define ROUTES_MAX 64
struct replaying {
    struct tg_options o;
    const char *policy, *config, *routes[ROUTES_MAX];
    size_t route_count, top;
    bool json, fail;
    struct tg_settings settings;
    struct tg_arena arena;
    struct replay_judge judge;
    struct replay_counts counts;
    const char *file;                                    /* being read */
    struct tg_buf first_unreadable;
};

/* ---- the command line ---- */

static bool wrong(struct replaying *r, const char *why)
{
    r->o.code = tg_usage_error(&usage, "%s", why);
    return false;
}

static bool take_option(struct replaying *r, int id, const char *value)
{
    uint64_t top;

    switch (id) {
    case TG_OPT_CONFIG: r->config = value; break;
    case OPT_POLICY: r->policy = value; break;
    case OPT_JSON: r->json = true; break;
    case OPT_FAIL: r->fail = true; break;
    case OPT_ROUTE:
        if (r->route_count == ROUTES_MAX)
            return wrong(r, "--route: too many of them");
        r->routes[r->route_count++] = value;
        break;
    case OPT_TOP:
        if (!tg_slice_to_u64(tg_slice_str(value), &top) || top > TOP_MAX)
            return wrong(r, "--top: must be a number up to 1000");
        r->top = (size_t)top;
    }
    return true;
}

static bool read_options(struct replaying *r, int argc, char **argv)
{
    const char *value;
    int id;

    r->top = 5;
    tg_options_start(&r->o, &usage, argc, argv);
    while ((id = tg_options_next(&r->o, &value)) != TG_OPT_END)
        if (id == TG_OPT_EXIT || !take_option(r, id, value))
            return false;
    if (r->policy && r->config)
        return wrong(r, "--policy: stands instead of a configuration");
    if (!r->policy && !r->config)
        return wrong(r, "by what? Give --policy FILE, or the new configuration with -c FILE");
    if (r->o.operand == r->o.argc)
        return wrong(r, "which log? Name access logs, or - for standard input");
    return true;
}

/* ---- the new policy ---- */

static bool load(struct replaying *r)
{
    struct tg_problems problems = {0};
    bool ok;

    if (r->policy) {
        lone_policy_read(r->policy, 0, &r->arena, &r->judge.policy, &problems);
        ok = r->judge.policy.program != NULL;
    } else {
        ok = tg_settings_load(r->config, &r->settings, &problems) && compose_kept(&r->settings, &problems);
        r->judge.config = ok ? r->settings.config : NULL;
    }
    r->judge.arena = &r->arena;
    if (r->judge.config)
        replay_judge_prepare(&r->judge);
    tg_problems_print(&problems, true);
    tg_problems_fini(&problems);
    return ok;
}

/* ---- the lines ---- */

static bool is_wanted(const struct replaying *r, const struct log_line *l)
{
    for (size_t i = 0; i < r->route_count; i++)
        if (tg_slice_eq(l->route, tg_slice_str(r->routes[i])))
            return true;
    return r->route_count == 0;
}

static void count_unreadable(struct replaying *r, unsigned long number, const char *why)
{
    if (r->counts.unreadable++ == 0)
        tg_buf_addf(&r->first_unreadable, "%s:%lu: %s", r->file, number, why);
}

static void replay_line(struct replaying *r, struct log_line *l)
{
    struct replay_decision decision;

    if (!is_wanted(r, l)) {
        r->counts.other_routes++;
    } else if (!l->judged) {
        replay_count_not_judged(&r->counts, l);
    } else {
        replay_decide(&r->judge, l, &decision);
        replay_count(&r->counts, l, &decision);
    }
}

static bool take_line(void *arg, unsigned long number, struct tg_slice text)
{
    struct replaying *r = arg;
    struct log_line *l;
    struct tg_err err = {0};

    if (text.ptr && tg_slice_trim(text).len == 0)
        return true;
    r->counts.lines++;
    if (!text.ptr) {
        count_unreadable(r, number, "the line is too long");
        return true;
    }
    l = TG_NEW(struct log_line);
    if (log_line_read(text, l, &err) == TG_OK)
        replay_line(r, l);
    else
        count_unreadable(r, number, err.text);
    log_line_fini(l);
    free(l);
    return true;
}

static int read_logs(struct replaying *r)
{
    struct tg_err err;

    for (int i = r->o.operand; i < r->o.argc; i++) {
        r->file = strcmp(r->o.argv[i], "-") == 0 ? "standard input" : r->o.argv[i];
        if (log_lines(r->o.argv[i], take_line, r, &err) != TG_OK)
            return tg_complain(TG_EXIT_FAILURE, "%s", err.text);
    }
    if (r->counts.lines > 0 && r->counts.unreadable == r->counts.lines)
        return tg_complain(TG_EXIT_FAILURE, "there is no line of tollgate's access log: %s",
                           tg_buf_cstr(&r->first_unreadable));
    return TG_EXIT_OK;
}

/* ---- the answer ---- */

static int print(struct replaying *r)
{
    struct replay_report report = {.counts = &r->counts, .top = r->top};
    struct tg_buf out = {0}, by = {0};
    int code;

    tg_buf_addf(&by, "%s %s", r->policy ? "policy" : "configuration", r->policy ? r->policy : r->config);
    report.by = tg_buf_cstr(&by);
    report.first_unreadable = r->counts.unreadable > 0 ? tg_buf_cstr(&r->first_unreadable) : NULL;
    report.colour = terminal_has_colour();
    if (r->json)
        replay_print_json(&report, &out);
    else
        replay_print_text(&report, &out);
    code = tg_put_out(&out);
    tg_buf_fini(&by);
    return code == TG_EXIT_OK && r->fail && r->counts.lost + r->counts.gained > 0 ? TG_EXIT_FAILURE : code;
}

static int replay(struct replaying *r)
{
    int code;

    if (!load(r))
        return TG_EXIT_CONFIG;
    code = read_logs(r);
    return code == TG_EXIT_OK ? print(r) : code;
}

int tg_cmd_replay(int argc, char **argv)
{
    struct replaying *r = TG_NEW(struct replaying);
    int code;

    tg_arena_init(&r->arena, NULL, 0);
    replay_counts_init(&r->counts);
    code = read_options(r, argc, argv) ? replay(r) : r->o.code;
    lone_policy_fini(&r->judge.policy);
    tg_settings_fini(&r->settings);
    replay_counts_fini(&r->counts);
    tg_buf_fini(&r->first_unreadable);
    tg_arena_fini(&r->arena);
    free(r);
    return code;
}
