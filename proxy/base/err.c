/*
 * err - how a sentence is written down.
 */
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum tg_status tg_fail(struct tg_err *err, enum tg_status st, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return st;
    err->status = st;
    va_start(ap, fmt);
    if (vsnprintf(err->text, sizeof(err->text), fmt, ap) < 0)
        err->text[0] = '\0';
    va_end(ap);
    return st;
}

const char *tg_err_text(const struct tg_err *err)
{
    return err ? err->text : "";
}

_Noreturn void tg_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "tollgate: %s:%d: %s\n", file, line, what);
    abort();
}
