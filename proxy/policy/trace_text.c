/*
 * trace_text - a trace as lines for people and as JSON for programs.
 *
 * A line: yes, no or "?", a "*" when it made the decision, what was asked, what was seen, the reasons. Of an operator
 * with many members only the first are written out, and first of all those that decided.
 */
#include "base/json.h"
#include "internal.h"

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"
#define SHOWN_BYTES 120                                  /* of a value */
#define MANY 16                                          /* members of an operator; of more ... */
#define SHOWN_OF_MANY 8                                  /* ... this many are written out */

/* ---- text from outside ---- */

/* The length of the well-formed UTF-8 sequence at `s`, and its character; 0: there is none. */
static size_t sequence(const unsigned char *s, size_t left, uint32_t *out)
{
    static const uint32_t first[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80             ? 1
                 : (s[0] & 0xe0) == 0xc0 ? 2
                 : (s[0] & 0xf0) == 0xe0 ? 3
                 : (s[0] & 0xf8) == 0xf0 ? 4
                                         : 0;
    uint32_t c = len == 1 ? s[0] : len ? s[0] & (0x7fu >> len) : 0;

    if (len == 0 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    *out = c;
    return c < first[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

/* Control characters, and what turns the direction of writing or ends a line. */
static bool is_printable(uint32_t c)
{
    return c >= ' ' && (c < 0x7f || c >= 0xa0) && c != 0x061c && c != 0x200e && c != 0x200f &&
           !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069) && c != 0xfeff;
}

void tg_trace_clean(struct tg_buf *out, struct tg_slice s, size_t max)
{
    size_t i = 0;

    while (i < s.len) {
        const unsigned char *at = (const unsigned char *)s.ptr + i;
        uint32_t c = 0;
        size_t len = sequence(at, s.len - i, &c);
        bool plain = len > 0 && is_printable(c);

        len += !len;
        if (i + len > max) {
            tg_buf_adds(out, "...");
            return;
        }
        for (size_t k = 0; k < len; k++)
            tg_buf_addf(out, plain ? "%c" : "\\x%02x", at[k]);
        i += len;
    }
}

/* ---- lines ---- */

struct painter {
    struct tg_buf *out;
    bool colour;
};

static void paint(const struct painter *p, const char *colour, bool bold, const char *text)
{
    tg_buf_addf(p->out, "%s%s%s%s", p->colour && bold ? BOLD : "", p->colour ? colour : "", text,
                p->colour ? PLAIN : "");
}

static void start_line(const struct painter *p, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        tg_buf_adds(p->out, "  ");
}

/* `good`: for whoever asks to get in. */
static void text_answer(const struct painter *p, const struct tg_trace_node *n)
{
    bool deny = n->kind == TG_TRACE_RULE && strcmp(n->name, "deny") == 0;
    bool star = n->decisive && n->kind == TG_TRACE_CRITERION;

    if (n->unknown)
        paint(p, YELLOW, false, "?    ");
    else if (n->value)
        paint(p, deny ? RED : GREEN, star, star ? "yes* " : "yes  ");
    else
        paint(p, deny ? GREEN : RED, star, star ? "no*  " : "no   ");
}

static void text_reasons(struct tg_buf *out, tg_reasons reasons)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(reasons, names);

    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s%s", i ? ", " : "", names[i]);
}

static void text_criterion(const struct painter *p, const struct tg_trace_node *n)
{
    struct tg_buf data = {0};

    tg_buf_adds(p->out, n->name);
    if (n->sub_path.len > 0) {
        tg_buf_addc(p->out, '/');
        tg_trace_clean(p->out, n->sub_path, SHOWN_BYTES);
    }
    tg_json_print(&data, n->data);
    tg_buf_addc(p->out, ' ');
    tg_trace_clean(p->out, tg_buf_slice(&data), SHOWN_BYTES);
    tg_buf_fini(&data);
    tg_buf_adds(p->out, ", saw ");
    tg_trace_clean(p->out, n->saw, SHOWN_BYTES);
    if (n->reasons) {
        tg_buf_adds(p->out, " [");
        text_reasons(p->out, n->reasons);
        tg_buf_adds(p->out, "]");
    }
}

static void text_operator(const struct painter *p, const struct tg_trace_node *n)
{
    static const struct {
        const char *name, *meaning;
    } words[] = {{"and", "all must hold"}, {"or", "one is enough"}, {"not", "none may hold"},
                 {"nor", "not all may hold"}};

    tg_buf_adds(p->out, n->name);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].name, n->name) == 0)
            tg_buf_addf(p->out, " (%s)", words[i].meaning);
    }
}

static void text_node(const struct painter *p, const struct tg_trace_node *n, unsigned depth);

static void count_rest(const struct painter *p, const size_t rest[3], unsigned depth)
{
    static const char *const names[] = {"no", "yes", "not logged"};
    bool more = false;

    start_line(p, depth);
    tg_buf_addf(p->out, "...  %zu more: ", rest[0] + rest[1] + rest[2]);
    for (size_t i = 0; i < 3; i++) {
        if (rest[i] > 0)
            tg_buf_addf(p->out, "%s%zu %s", more ? ", " : "", rest[i], names[i]);
        more |= rest[i] > 0;
    }
    tg_buf_adds(p->out, "\n");
}

/* Of very many those that decided go first; the others in the order of the policy. */
static void text_members(const struct painter *p, const struct tg_trace_node *first, unsigned depth)
{
    size_t count = 0, decisive = 0, rest[3] = {0}, left[2];

    for (const struct tg_trace_node *n = first; n; n = n->next) {
        count++;
        decisive += n->decisive;
    }
    left[1] = count > MANY && decisive > SHOWN_OF_MANY ? SHOWN_OF_MANY : decisive;
    left[0] = count > MANY ? SHOWN_OF_MANY - left[1] : count;
    for (const struct tg_trace_node *n = first; n; n = n->next) {
        if (left[n->decisive] > 0) {
            left[n->decisive]--;
            text_node(p, n, depth);
        } else {
            rest[n->unknown ? 2 : n->value]++;
        }
    }
    if (rest[0] + rest[1] + rest[2] > 0)
        count_rest(p, rest, depth);
}

static void text_node(const struct painter *p, const struct tg_trace_node *n, unsigned depth)
{
    start_line(p, depth);
    text_answer(p, n);
    if (n->kind == TG_TRACE_CRITERION)
        text_criterion(p, n);
    else if (n->kind == TG_TRACE_OPERATOR)
        text_operator(p, n);
    else
        tg_trace_clean(p->out, tg_slice_str(n->name), SHOWN_BYTES);
    tg_buf_adds(p->out, "\n");
    text_members(p, n->children, depth + 1);
}

void tg_trace_text(const struct tg_trace_node *first, unsigned depth, bool colour, struct tg_buf *out)
{
    struct painter p = {out, colour};

    for (const struct tg_trace_node *n = first; n; n = n->next)
        text_node(&p, n, depth);
}

/* ---- JSON ---- */

/* A path may hold any octets once its escapes are decoded; JSON is UTF-8. */
static void json_text(struct tg_buf *out, struct tg_slice s)
{
    struct tg_buf text = {0};
    uint32_t c;

    for (size_t i = 0, len; i < s.len; i += len + !len) {
        len = sequence((const unsigned char *)s.ptr + i, s.len - i, &c);
        tg_buf_add(&text, len ? s.ptr + i : "\xef\xbf\xbd", len ? len : 3);
    }
    tg_json_add_string(out, tg_buf_slice(&text));
    tg_buf_fini(&text);
}

static void json_reasons(struct tg_buf *out, tg_reasons reasons)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(reasons, names);

    tg_buf_adds(out, "[");
    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s\"%s\"", i ? "," : "", names[i]);
    tg_buf_adds(out, "]");
}

static void json_node(const struct tg_trace_node *n, struct tg_buf *out)
{
    static const char *const kinds[] = {[TG_TRACE_POLICY] = "policy", [TG_TRACE_RULE] = "rule",
                                        [TG_TRACE_OPERATOR] = "operator", [TG_TRACE_CRITERION] = "criterion"};

    tg_buf_addf(out, "{\"kind\":\"%s\",\"name\":", kinds[n->kind]);
    json_text(out, tg_slice_str(n->name));
    tg_buf_addf(out, ",\"value\":%s,\"decisive\":%s,\"reasons\":", n->unknown ? "null" : n->value ? "true" : "false",
                n->decisive ? "true" : "false");
    json_reasons(out, n->reasons);
    if (n->kind == TG_TRACE_CRITERION) {
        tg_buf_adds(out, ",\"sub_path\":");
        if (n->sub_path.ptr)
            json_text(out, n->sub_path);
        else
            tg_buf_adds(out, "null");
        tg_buf_adds(out, ",\"data\":");
        tg_json_print(out, n->data);
        tg_buf_adds(out, ",\"saw\":");
        json_text(out, n->saw);
    } else {
        tg_buf_adds(out, ",\"children\":");
        tg_trace_json(n->children, out);
    }
    tg_buf_adds(out, "}");
}

void tg_trace_json(const struct tg_trace_node *first, struct tg_buf *out)
{
    tg_buf_adds(out, "[");
    for (const struct tg_trace_node *n = first; n; n = n->next) {
        if (n != first)
            tg_buf_adds(out, ",");
        json_node(n, out);
    }
    tg_buf_adds(out, "]");
}
