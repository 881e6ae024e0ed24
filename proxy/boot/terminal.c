/*
 * terminal - see terminal.h.
 */
#include "terminal.h"
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool terminal_has_colour(void)
{
    const char *no_colour = getenv("NO_COLOR");

    return isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
}

unsigned terminal_width(void)
{
    struct winsize size;

    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void add_coloured(struct tg_buf *out, bool colours, const char *colour, const char *text)
{
    tg_buf_addf(out, "%s%s%s", colours ? colour : "", text, colours ? PLAIN : "");
}
