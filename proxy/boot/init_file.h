/*
 * init_file - the text of the configuration that `init` writes: short, commented, with a rule to begin with.
 */
#pragma once
#include "base/buf.h"
#include "jose/alg.h"

struct init_choice {
    const char *name, *issuer, *audience, *upstream;
    const char *ca_file, *token_file, *proxy;            /* NULL: none */
    bool allow_http;
    tg_algs algs;                                        /* 0: not known, so the line is a comment */
};
void init_write(struct tg_buf *out, const struct init_choice *c);
