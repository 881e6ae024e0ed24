/*
 * commands - what `tollgate COMMAND` does. Each gets its own arguments (argv[0] is the command) and returns an exit
 * code.
 */
#pragma once

enum tg_exit {
    TG_EXIT_OK = 0,
    TG_EXIT_FAILURE = 1,                                 /* failure, denied */
    TG_EXIT_USAGE = 2,
    TG_EXIT_UNAVAILABLE = 69,                            /* EX_UNAVAILABLE: a listener or dependency */
    TG_EXIT_PERMISSION = 77,                             /* EX_NOPERM */
    TG_EXIT_CONFIG = 78,                                 /* EX_CONFIG */
};

int tg_cmd_run(int argc, char **argv);
int tg_cmd_dev(int argc, char **argv);
int tg_cmd_init(int argc, char **argv);
int tg_cmd_check(int argc, char **argv);
int tg_cmd_explain(int argc, char **argv);
int tg_cmd_why(int argc, char **argv);
int tg_cmd_replay(int argc, char **argv);
int tg_cmd_test(int argc, char **argv);
int tg_cmd_verify(int argc, char **argv);
int tg_cmd_mint(int argc, char **argv);
int tg_cmd_token(int argc, char **argv);
int tg_cmd_audit(int argc, char **argv);
int tg_cmd_bundle(int argc, char **argv);
int tg_cmd_healthcheck(int argc, char **argv);
/* Finds the command, or prints help, version or a usage error. */
int tg_main(int argc, char **argv);
