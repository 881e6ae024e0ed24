/*
 * options - around getopt_long; commands by name, help, version.
 */
#include "boot/options.h"
#include "base/setting.h"
#include "boot/settings.h"
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
    {"run", tg_cmd_run, "serve"},
    {"dev", tg_cmd_dev, "serve at once with a throw-away issuer, to try it out"},
    {"init", tg_cmd_init, "write a commented configuration for an issuer, an audience and a service"},
    {"check", tg_cmd_check, "find every error of a configuration"},
    {"explain", tg_cmd_explain, "show how one request would be decided, and why"},
    {"why", tg_cmd_why, "show why a logged request was decided as it was"},
    {"replay", tg_cmd_replay, "show whose access another policy would change, from access logs"},
    {"test", tg_cmd_test, "judge policies by the cases beside them"},
    {"verify", tg_cmd_verify, "check one token and name the rule it meets or breaks"},
    {"mint", tg_cmd_mint, "make a key, sign a test token"},
    {"token", tg_cmd_token, "make, list and revoke tollgate's own tokens: personal access tokens, API users"},
    {"audit", tg_cmd_audit, "print who changed what, and who was denied"},
    {"bundle", tg_cmd_bundle, "build, sign and verify a signed file of policies and routes"},
    {"healthcheck", tg_cmd_healthcheck, "ask a running tollgate whether it is ready"},
};

/* ---- saying something ---- */

int tg_complain(int code, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "tollgate: %s\n", tg_buf_cstr(&text));
    tg_buf_fini(&text);
    return code;
}

int tg_usage_error(const struct tg_usage *usage, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "tollgate %s: %s\nTry: tollgate %s --help\n", usage->command, tg_buf_cstr(&text), usage->command);
    tg_buf_fini(&text);
    return TG_EXIT_USAGE;
}

int tg_put_out(struct tg_buf *out)
{
    bool ok = (out->len == 0 || fwrite(out->data, 1, out->len, stdout) == out->len) && fflush(stdout) == 0;

    tg_buf_fini(out);
    return ok ? TG_EXIT_OK : tg_complain(TG_EXIT_FAILURE, "cannot write to standard output");
}

void tg_problems_print(const struct tg_problems *problems, bool quiet_warnings)
{
    for (size_t i = 0; i < problems->count; i++)
        if (!problems->items[i].warning || !quiet_warnings)
            fprintf(stderr, "%s%s\n", problems->items[i].warning ? "warning: " : "", problems->items[i].text);
}

int tg_settings_show(int option, const char *config)
{
    struct tg_problems problems = {0};
    struct tg_settings settings;
    struct tg_buf out = {0};
    bool ok = true;

    switch (option) {
    case TG_OPT_HELP_SETTINGS: tg_settings_help(&out); break;
    case TG_OPT_SCHEMA: tg_settings_schema(&out); break;
    case TG_OPT_SETTINGS_MARKDOWN: tg_settings_markdown(&out); break;
    default:
        ok = tg_settings_load(tg_settings_path(config), &settings, &problems);
        if (ok) {
            tg_settings_print(&settings, &out);
            tg_settings_fini(&settings);
        }
    }
    tg_problems_print(&problems, false);
    tg_problems_fini(&problems);
    if (!ok) {
        tg_buf_fini(&out);
        return TG_EXIT_CONFIG;
    }
    return tg_put_out(&out);
}

/* ---- options of one command ---- */

static void help_option(struct tg_buf *out, const struct tg_option *option)
{
    char left[64];

    snprintf(left, sizeof left, "%c%c%c --%s%s%s", option->letter ? '-' : ' ', option->letter ? option->letter : ' ',
             option->letter ? ',' : ' ', option->name, option->value ? " " : "", option->value ? option->value : "");
    if (strlen(left) > 30)
        tg_buf_addf(out, "  %s\n  %-30s %s\n", left, "", option->help);
    else
        tg_buf_addf(out, "  %-30s %s\n", left, option->help);
}

static int print_help(const struct tg_usage *usage)
{
    struct tg_buf out = {0};

    tg_buf_addf(&out, "Usage: tollgate %s %s\n\n%s\n\nOptions:\n", usage->command, usage->line, usage->about);
    for (size_t i = 0; i < usage->option_count; i++)
        if (usage->options[i].help)
            help_option(&out, &usage->options[i]);
    help_option(&out, &(struct tg_option){TG_OPT_HELP, 'h', "help", NULL, "print this"});
    if (usage->examples)
        tg_buf_addf(&out, "\nExamples:\n%s\n", usage->examples);
    return tg_put_out(&out);
}

void tg_options_start(struct tg_options *o, const struct tg_usage *usage, int argc, char **argv)
{
    *o = (struct tg_options){.usage = usage, .argc = argc, .argv = argv};
    tg_assert(usage->option_count < TG_OPTIONS_MAX);
    optind = 0;                                          /* glibc: from the start, also when asked before */
    opterr = 0;
}

/* An option nobody knows, its value aside: the nearest one is told. */
static int unknown(const struct tg_options *o, const char *word)
{
    const char *names[TG_OPTIONS_MAX], *near;
    size_t count = 0, len = strcspn(word, "=");
    char text[64];

    for (size_t i = 0; i < o->usage->option_count; i++)
        names[count++] = o->usage->options[i].name;
    names[count++] = "help";
    snprintf(text, sizeof text, "%.*s", len > 60 ? 60 : (int)len, word);
    near = strncmp(text, "--", 2) == 0 ? tg_nearest(text + 2, names, count) : NULL;
    return tg_usage_error(o->usage, "there is no option %s%s%s%s", text, near ? "; did you mean --" : "",
                          near ? near : "", near ? "?" : "");
}

static int bad_option(const struct tg_options *o, bool missing)
{
    const char *word = optind > 0 && optind <= o->argc ? o->argv[optind - 1] : "";
    char letter[3] = {'-', (char)optopt, '\0'};
    const struct tg_option *known = NULL;

    for (size_t i = 0; i < o->usage->option_count; i++)
        if (optopt && (o->usage->options[i].id == optopt || o->usage->options[i].letter == optopt))
            known = &o->usage->options[i];
    if (missing && known)
        return tg_usage_error(o->usage, "--%s needs a value: --%s %s", known->name, known->name, known->value);
    if (known && !known->value)
        return tg_usage_error(o->usage, "--%s takes no value", known->name);
    if (optopt > 0 && optopt < 256)
        return unknown(o, letter);
    return unknown(o, word);
}

int tg_options_next(struct tg_options *o, const char **value)
{
    struct option longs[TG_OPTIONS_MAX + 2];
    char shorts[2 * TG_OPTIONS_MAX + 4];
    const struct tg_usage *usage = o->usage;
    size_t n = 0, s = 0;
    int got;

    shorts[s++] = ':';
    shorts[s++] = 'h';
    for (; n < usage->option_count; n++) {
        const struct tg_option *option = &usage->options[n];

        longs[n] = (struct option){option->name, option->value ? required_argument : no_argument, NULL, option->id};
        if (!option->letter)
            continue;
        shorts[s++] = option->letter;
        if (option->value)
            shorts[s++] = ':';
    }
    shorts[s] = '\0';
    longs[n++] = (struct option){"help", no_argument, NULL, TG_OPT_HELP};
    longs[n] = (struct option){0};

    got = getopt_long(o->argc, o->argv, shorts, longs, NULL);
    *value = optarg;
    o->operand = optind;
    if (got == -1)
        return TG_OPT_END;
    if (got == 'h' || got == TG_OPT_HELP)
        o->code = print_help(usage);
    else if (got == '?' || got == ':')
        o->code = bad_option(o, got == ':');
    else {
        for (size_t i = 0; i < usage->option_count; i++)
            if (usage->options[i].id == got || usage->options[i].letter == got)
                return usage->options[i].id;
        tg_panic(__FILE__, __LINE__, "an option without a row");
    }
    return TG_OPT_EXIT;
}

bool tg_options_extra(struct tg_options *o, int allowed)
{
    if (o->argc - o->operand <= allowed)
        return false;
    for (size_t i = 0; i < o->usage->option_count && allowed == 0; i++)
        if (o->usage->options[i].id == TG_OPT_CONFIG) {
            o->code = tg_usage_error(o->usage, "takes no argument \"%.40s\"; is it the configuration? Write -c FILE",
                                     o->argv[o->operand]);
            return true;
        }
    if (allowed == 0)
        o->code = tg_usage_error(o->usage, "takes no argument \"%.40s\"", o->argv[o->operand]);
    else
        o->code = tg_usage_error(o->usage, "takes %s, not %d", allowed == 1 ? "one argument" : "fewer arguments",
                                 o->argc - o->operand);
    return true;
}

/* ---- the program ---- */

static int print_version(void)
{
    struct tg_buf out = {0};

    tg_buf_adds(&out, "tollgate " TG_VERSION " (" TG_LIBRARIES ")\n");
    return tg_put_out(&out);
}

static void add_overview(struct tg_buf *out)
{
    tg_buf_adds(out, "Usage: tollgate COMMAND [OPTIONS]\n\n"
                     "An authenticating reverse proxy beside one HTTP service: it checks the bearer token of every\n"
                     "request, counts it against the caller's tier, decides by policy, and forwards.\n\nCommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        tg_buf_addf(out, "  %-14s %s\n", commands[i].name, commands[i].about);
    tg_buf_adds(out, "\nOptions:\n"
                     "  -h, --help          print this; tollgate COMMAND --help tells more\n"
                     "  -V, --version       print the version and those of the libraries\n"
                     "  -t, --check         the same as the command check\n"
                     "      --help-settings print every setting of the configuration\n"
                     "      --schema        print the JSON Schema of the configuration\n\n"
                     "Exit codes: 0 ok, 1 failure or denied, 2 usage, 69 an address or a dependency is unavailable,\n"
                     "77 no permission, 78 configuration.\n\n"
                     "First steps:\n"
                     "  tollgate dev        serves at once, and prints requests to paste\n"
                     "  tollgate init --issuer URL --audience A --upstream URL\n"
                     "  tollgate check -c tollgate.yaml && tollgate run -c tollgate.yaml\n");
}

static int print_overview(void)
{
    struct tg_buf out = {0};

    add_overview(&out);
    return tg_put_out(&out);
}

static int run_command(const char *name, int argc, char **argv)
{
    const char *names[ARRAY_LEN(commands)], *near;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc, argv);
        names[i] = commands[i].name;
    }
    near = tg_nearest(name, names, ARRAY_LEN(names));
    return tg_complain(TG_EXIT_USAGE, "there is no command \"%.40s\"%s%s%s; tollgate --help lists them", name,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

int tg_main(int argc, char **argv)
{
    static const struct {
        const char *letter, *name;
        int option;                                      /* of tg_settings_show; 0: see below */
    } settings[] = {{"", "--help-settings", TG_OPT_HELP_SETTINGS}, {"", "--schema", TG_OPT_SCHEMA},
                    {"", "--settings-markdown", TG_OPT_SETTINGS_MARKDOWN}};
    struct tg_buf out = {0};
    const char *first = argc > 1 ? argv[1] : NULL;

    if (!first) {
        add_overview(&out);
        fwrite(out.data, 1, out.len, stderr);
        tg_buf_fini(&out);
        return TG_EXIT_USAGE;
    }
    if (strcmp(first, "-h") == 0 || strcmp(first, "--help") == 0 || (strcmp(first, "help") == 0 && argc == 2))
        return print_overview();
    if (strcmp(first, "-V") == 0 || strcmp(first, "--version") == 0)
        return print_version();
    if (strcmp(first, "-t") == 0 || strcmp(first, "--check") == 0)
        return tg_cmd_check(argc - 1, argv + 1);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strcmp(first, settings[i].name) == 0)
            return tg_settings_show(settings[i].option, NULL);
    if (strcmp(first, "help") == 0) {
        char help[] = "--help", *args[] = {argv[2], help, NULL};

        return run_command(argv[2], 2, args);
    }
    if (first[0] == '-')
        return tg_complain(TG_EXIT_USAGE,
                           "a command comes first, as in: tollgate run %.40s; tollgate --help lists them",
                           first);
    return run_command(first, argc - 1, argv + 1);
}
