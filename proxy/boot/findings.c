/*
 * findings - see findings.h.
 */
#include "findings.h"
#include "plain.h"

void online_say(struct online_check *c, enum finding finding, const char *what, struct tg_slice name, const char *fmt,
                ...)
{
    static const char *const marks[] = {"ok", "warning", "FAILED"};
    size_t line = c->out.len;
    va_list ap;

    tg_buf_addf(&c->out, "%-8s %s%s" TG_S_FMT ": ", marks[finding], what, name.len ? " " : "", TG_S_ARG(name));
    va_start(ap, fmt);
    tg_buf_vaddf(&c->out, fmt, ap);
    va_end(ap);
    make_plain(&c->out, line);
    tg_buf_addc(&c->out, '\n');
    c->failed += finding == FINDING_FAILED;
    c->warnings += finding == FINDING_WARNING;
}
