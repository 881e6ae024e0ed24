/*
 * terminal - what standard output is: colours for people, none for files and pipes.
 */
#pragma once
#include "base/buf.h"

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

/* A terminal, and NO_COLOR is not set or empty. */
bool terminal_has_colour(void);
unsigned terminal_width(void);                           /* columns; 0: no terminal, or not known */
/* Adds `text` between `colour` and PLAIN, or alone when `colours` are not wanted. */
void add_coloured(struct tg_buf *out, bool colours, const char *colour, const char *text);
