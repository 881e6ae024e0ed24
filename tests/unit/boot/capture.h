/*
 * capture - a command run with its standard streams in memory.
 *
 * glibc's stdin, stdout and stderr are variables: they are swapped while the command runs.
 */
#pragma once
#include "base/buf.h"
#include <stdio.h>

struct captured {
    int code;
    char *out, *err;                                     /* free both: captured_fini */
};

static inline void captured_fini(struct captured *c)
{
    free(c->out);
    free(c->err);
    *c = (struct captured){0};
}

/* argv ends in NULL; argv[0] is the command. `input`: what stands on standard input. */
static inline void capture(struct captured *c, int (*command)(int argc, char **argv), const char *const *argv,
                           struct tg_slice input)
{
    FILE *real_in = stdin, *real_out = stdout, *real_err = stderr;
    char *args[64], *text = TG_NEW_ARRAY(char, input.len + 1);
    size_t out_len, err_len;
    int argc = 0;

    captured_fini(c);
    for (; argv[argc] && argc < 63; argc++)
        args[argc] = tg_slice_dup(tg_slice_str(argv[argc]));
    args[argc] = NULL;
    if (input.len > 0)
        memcpy(text, input.ptr, input.len);
    stdin = input.len > 0 ? fmemopen(text, input.len, "r") : fopen("/dev/null", "r");
    stdout = open_memstream(&c->out, &out_len);
    stderr = open_memstream(&c->err, &err_len);
    char *given[64];
    memcpy(given, args, sizeof args);                    /* getopt changes the order */
    c->code = command(argc, args);
    fclose(stdin);
    fclose(stdout);
    fclose(stderr);
    stdin = real_in;
    stdout = real_out;
    stderr = real_err;
    for (int i = 0; i < argc; i++)
        free(given[i]);
    free(text);
}
