/*
 * err - a status to act on and a sentence for a human.
 *
 * Functions that can fail return enum tg_status and take a `struct tg_err *` last; it may be NULL. Outputs are written
 * on success only. The sentence has no trailing full stop or newline and never holds a token, key or password.
 * Threads: values only.
 */
#pragma once
#include <stddef.h>

enum tg_status {
    TG_OK = 0,
    TG_AGAIN,                                            /* not whole yet: more input is needed */
    TG_BAD_INPUT,                                        /* malformed or against a rule */
    TG_NOT_FOUND,
    TG_LIMIT,                                            /* larger or more than allowed */
    TG_UNSUPPORTED,                                      /* understood, not done */
    TG_DENIED,                                           /* no permission */
    TG_EXPIRED,
    TG_CRYPTO,                                           /* a signature, key or digest is wrong */
    TG_IO,                                               /* the system or a peer failed */
    TG_UNAVAILABLE,                                      /* something needed is away for now */
};

struct tg_err {
    enum tg_status status;
    char text[320];                                      /* cut, never overrun; always ends in NUL */
};

/* Writes the sentence (printf form) and returns `st`, so that `return tg_fail(...)` reads well. err: NULL is fine. */
enum tg_status tg_fail(struct tg_err *err, enum tg_status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The sentence of `err`, or "" for none. */
const char *tg_err_text(const struct tg_err *err);

/* States what only a bug can break; ends the process with file and line. Never reached by peer input. */
#define tg_assert(x) ((x) ? (void)0 : tg_panic(__FILE__, __LINE__, #x))
_Noreturn void tg_panic(const char *file, int line, const char *what);

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
