/*
 * cmd_why - why a request that was logged got the answer it got: its id is in the answer the user has.
 *
 * The line of the access log holds what the decision used; the rest is in the configuration. No token is needed, and
 * none is in the log.
 */
#include "boot/commands.h"
#include "boot/options.h"
#include "compose.h"
#include "why.h"
#include <stdio.h>
#include <unistd.h>

#define SHOWN 20                                         /* lines with one id: a client may choose it */

enum { OPT_ALL = TG_OPT_FIRST_OWN, OPT_JSON };
static const struct tg_option options[] = {
    TG_OPTION_CONFIG,
    {OPT_ALL, 0, "all", NULL, "explain every line, compare with what was logged, print the sum"},
    {OPT_JSON, 'j', "json", NULL, "answer as JSON, one object a line"},
};
static const struct tg_usage usage = {
    .command = "why",
    .line = "REQUEST_ID [FILE | -] [-c FILE] [--json]  |  --all [FILE | -] [-c FILE] [--json]",
    .about =
        "Explains a request from its line of the access log and the configuration: the same tree as `explain`, with\n"
        "what was logged beside what the files decide. REQUEST_ID is the X-Request-Id of the answer. FILE is the log;\n"
        "without it, access_log.output when that is a file. What stands before a line's \"{\" is passed over. Ends\n"
        "with 0, with 1 when no line has that id (with --all: when a line differs under its own policies), with 78\n"
        "when the configuration has errors.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate why 9f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506 /var/log/tollgate/access.log\n"
                "  journalctl -o cat -u tollgate | tollgate why 9f1c2a34-5b6d-4e7f-8a90-b1c2d3e4f506 -\n"
                "  kubectl logs deploy/orders -c tollgate | tollgate why ID - -c tollgate.yaml\n"
                "  tollgate why --all access.log -c tollgate.yaml",
};

struct why {
    struct tg_options o;
    const char *config, *id, *file;
    bool all, json;
    struct tg_settings settings;
    struct tg_arena arena;
    size_t found, logged;                                /* lines with the id; of the access log */
    int code;
};

/* ---- the command line ---- */

static bool take_operands(struct why *w)
{
    char **operands = w->o.argv + w->o.operand;
    int count = w->o.argc - w->o.operand;

    if (!w->all && count == 0) {
        w->o.code = tg_usage_error(&usage, "which request? Give its id, the X-Request-Id of the answer; or --all");
        return false;
    }
    if (!w->all) {
        w->id = *operands++;
        count--;
    }
    if (w->id && !*w->id) {
        w->o.code = tg_usage_error(&usage, "the id is empty; give the X-Request-Id of the answer");
        return false;
    }
    if (count > 1) {
        w->o.code = tg_usage_error(&usage, "takes one log, not %d; `cat FILES | tollgate why ... -` reads several",
                                   count);
        return false;
    }
    if (count == 1)
        w->file = *operands;
    return true;
}

static bool read_options(struct why *w, int argc, char **argv)
{
    const char *value;
    int id;

    tg_options_start(&w->o, &usage, argc, argv);
    while ((id = tg_options_next(&w->o, &value)) != TG_OPT_END) {
        switch (id) {
        case TG_OPT_EXIT: return false;
        case TG_OPT_CONFIG: w->config = value; break;
        case OPT_ALL: w->all = true; break;
        case OPT_JSON: w->json = true; break;
        }
    }
    return take_operands(w);
}

/* ---- the configuration, and where its log is ---- */

static bool load(struct why *w)
{
    const char *path = tg_settings_path(w->config);
    struct tg_problems problems = {0};
    bool ok = tg_settings_load(path, &w->settings, &problems) && compose_kept(&w->settings, &problems);

    tg_problems_print(&problems, true);
    tg_problems_fini(&problems);
    if (!ok)
        tg_complain(TG_EXIT_CONFIG, "the configuration %s must be usable as a whole, with the files it names (keys, "
                    "policies, secrets): run why where tollgate runs, or beside a copy of them, with -c FILE", path);
    return ok;
}

static bool is_file(struct tg_slice output)
{
    return !tg_slice_eq(output, TG_S("stdout")) && !tg_slice_eq(output, TG_S("stderr")) &&
           !tg_slice_eq(output, TG_S("off"));
}

static bool find_log(struct why *w)
{
    struct tg_slice output = w->settings.access_log_output;

    if (w->file)
        return true;
    if (is_file(output)) {
        w->file = tg_arena_str(&w->arena, output);
        return true;
    }
    w->code = tg_usage_error(&usage, "which log? access_log.output is " TG_S_FMT ", so give the lines: "
                             "`journalctl -o cat -u tollgate | tollgate why %s -`, or `kubectl logs POD -c tollgate | "
                             "...`, or a FILE", TG_S_ARG(output), w->id ? w->id : "--all");
    return false;
}

/* ---- one request ---- */

static void tell(struct why *w, struct log_line *l)
{
    struct explain_result r;

    why_line(&r, w->settings.config, l, &l->arena);
    if (w->found++ > 0 && !w->json)
        fputs("\n", stdout);
    w->code = explain_put(&r, w->json);
}

/* Whoever has the id in a line's other members gets a look, and no more. */
static bool each(void *arg, unsigned long number, struct tg_slice text)
{
    struct why *w = arg;
    struct log_line l;

    (void)number;
    if (!w->logged && text.ptr)
        w->logged = tg_slice_contains(text, TG_S("\"decision\":\""));
    if (!text.ptr || !tg_slice_contains(text, tg_slice_str(w->id)))
        return true;
    if (log_line_read(text, &l, NULL) == TG_OK && tg_slice_eq(l.request_id, tg_slice_str(w->id)))
        tell(w, &l);
    log_line_fini(&l);
    return w->found < SHOWN && w->code == TG_EXIT_OK;
}

static int find(struct why *w)
{
    const char *name = strcmp(w->file, "-") == 0 ? "standard input" : w->file;
    struct tg_err err;

    if (log_lines(w->file, each, w, &err) != TG_OK)
        return tg_complain(TG_EXIT_FAILURE, "%s", err.text);
    if (w->found == SHOWN)
        return tg_complain(w->code, "more lines may have this id; the first %d are shown", SHOWN);
    if (w->found > 0)
        return w->code;
    if (!w->logged)
        return tg_complain(TG_EXIT_FAILURE, "there is no line of tollgate's access log in %s", name);
    return tg_complain(TG_EXIT_FAILURE, "no line in %s has the id %.80s; look into the logs that were rotated, and of "
                       "the other instances", name, w->id);
}

int tg_cmd_why(int argc, char **argv)
{
    struct why *w = TG_NEW(struct why);
    int code;

    tg_arena_init(&w->arena, NULL, 0);
    if (!read_options(w, argc, argv))
        code = w->o.code;
    else if (!load(w))
        code = TG_EXIT_CONFIG;
    else if (!find_log(w))
        code = w->code;
    else
        code = w->all ? why_all(w->file, w->settings.config, w->json) : find(w);
    tg_arena_fini(&w->arena);
    tg_settings_fini(&w->settings);
    free(w);
    return code;
}
