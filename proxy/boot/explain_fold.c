/*
 * explain_fold - a page broken to the width of a terminal, and put out.
 *
 * What goes on in the next line begins under what it belongs to, not at the margin.
 */
#include "boot/options.h"
#include "explain.h"
#include "terminal.h"

#define NARROW 50                                        /* fewer columns: the terminal breaks lines itself */
#define LABEL 10
#define DEEPEST 24

/* One character, or an escape of a terminal, which takes no column. */
static size_t step(struct tg_slice s, size_t i, unsigned *columns)
{
    size_t n = 1;

    if (s.ptr[i] == '\033') {
        while (i + n < s.len && s.ptr[i + n] != 'm')
            n++;
        return i + n < s.len ? n + 1 : n;
    }
    while (i + n < s.len && ((unsigned char)s.ptr[i + n] & 0xc0) == 0x80)
        n++;
    *columns += 1;
    return n;
}

/* A line of the tree begins with blanks and an answer of five columns; any other with a label. */
static unsigned indent_of(struct tg_slice line)
{
    unsigned blanks = 0;

    while (blanks < line.len && line.ptr[blanks] == ' ')
        blanks++;
    blanks = blanks ? blanks + 7 : LABEL;
    return blanks < DEEPEST ? blanks : DEEPEST;
}

static void fold_line(struct tg_slice line, unsigned width, struct tg_buf *out)
{
    unsigned columns = 0, indent = indent_of(line);
    size_t start = 0, blank = 0, i = 0;

    while (i < line.len) {
        if (line.ptr[i] == ' ' && columns > indent)
            blank = i;
        i += step(line, i, &columns);
        if (columns <= width || blank <= start)
            continue;
        tg_buf_add(out, line.ptr + start, blank - start);
        tg_buf_addf(out, "\n%*s", (int)indent, "");
        i = start = blank + 1;
        columns = indent;
    }
    tg_buf_add(out, line.ptr + start, line.len - start);
    tg_buf_addc(out, '\n');
}

void explain_fold(struct tg_slice text, unsigned width, struct tg_buf *out)
{
    struct tg_slice line;

    if (width < NARROW) {
        tg_buf_add_slice(out, text);
        return;
    }
    while (text.len > 0) {
        tg_slice_cut(text, '\n', &line, &text);
        fold_line(line, width, out);
    }
}

int explain_put(const struct explain_result *r, bool json)
{
    struct tg_buf text = {0}, out = {0};

    if (json) {
        explain_print_json(r, &out);
        tg_buf_addc(&out, '\n');
        return tg_put_out(&out);
    }
    explain_print_text(r, terminal_has_colour(), &text);
    explain_fold(tg_buf_slice(&text), terminal_width(), &out);
    tg_buf_fini(&text);
    return tg_put_out(&out);
}
