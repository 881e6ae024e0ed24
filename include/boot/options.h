/*
 * options - the command line: one table a command gives parsing, errors with "did you mean", and its --help.
 *
 * A command walks its options with tg_options_next until TG_OPT_END; then argv[o.operand] and on are what is left.
 */
#pragma once
#include "base/buf.h"
#include "boot/commands.h"

enum {
    TG_OPT_END = -1,                                     /* operands follow */
    TG_OPT_EXIT = -2,                                    /* help was printed or a complaint made: return o.code */
    TG_OPT_CONFIG = 256,                                 /* -c, --config FILE */
    TG_OPT_HELP_SETTINGS, TG_OPT_PRINT_CONFIG, TG_OPT_SCHEMA, TG_OPT_SETTINGS_MARKDOWN, /* for tg_settings_show */
    TG_OPT_HELP, TG_OPT_FIRST_OWN,                       /* a command's own ids start here */
};

struct tg_option {
    int id;                                              /* what tg_options_next returns */
    char letter;                                         /* '\0': long form only */
    const char *name;                                    /* without "--" */
    const char *value;                                   /* "FILE"; NULL: takes none */
    const char *help;                                    /* NULL: not shown in --help */
};
#define TG_OPTION_CONFIG \
    {TG_OPT_CONFIG, 'c', "config", "FILE", "configuration; else $TOLLGATE_CONFIG, else /etc/tollgate/tollgate.yaml"}
#define TG_OPTIONS_SETTINGS \
    {TG_OPT_PRINT_CONFIG, 0, "print-config", NULL, "print the effective configuration, secrets masked, and end"}, \
    {TG_OPT_HELP_SETTINGS, 0, "help-settings", NULL, "print every setting of the configuration and end"}, \
    {TG_OPT_SCHEMA, 0, "schema", NULL, "print the JSON Schema of the configuration and end"}, \
    {TG_OPT_SETTINGS_MARKDOWN, 0, "settings-markdown", NULL, NULL}

struct tg_usage {
    const char *command;                                 /* "verify" */
    const char *line;                                    /* "[OPTIONS] TOKEN | -" */
    const char *about;                                   /* whole sentences, lines of at most 100 characters */
    const struct tg_option *options;                     /* without -h, which every command has */
    size_t option_count;
    const char *examples;                                /* one a line, indented by two; NULL: none */
};

#define TG_OPTIONS_MAX 40
struct tg_options {
    const struct tg_usage *usage;
    int argc;
    char **argv;
    int operand;                                         /* after TG_OPT_END */
    int code;                                            /* after TG_OPT_EXIT */
};

/* argv[0] is the command. Operands and options may be mixed; "--" ends the options. */
void tg_options_start(struct tg_options *o, const struct tg_usage *usage, int argc, char **argv);
/* The id of the next option, with *value when it takes one. */
int tg_options_next(struct tg_options *o, const char **value);
/* "tollgate COMMAND: sentence" and where to find help, to standard error; returns TG_EXIT_USAGE. */
int tg_usage_error(const struct tg_usage *usage, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Complains about operands a command does not take: true when there are some, with o->code. */
bool tg_options_extra(struct tg_options *o, int allowed);

/* One sentence to standard error: "tollgate: sentence"; returns `code`. */
int tg_complain(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writes `out` to standard output, all of it, and frees it: TG_EXIT_OK, or TG_EXIT_FAILURE with a complaint. */
int tg_put_out(struct tg_buf *out);

/* What --help-settings, --schema, --settings-markdown and --print-config print; `config`: of -c, may be NULL. */
int tg_settings_show(int option, const char *config);
struct tg_problems;
/* Every problem to standard error, one a line, warnings marked; with `quiet_warnings` errors only. */
void tg_problems_print(const struct tg_problems *problems, bool quiet_warnings);
