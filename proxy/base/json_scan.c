/*
 * json_scan - one linear scan that knows all the rules of JSON, in front of cJSON.
 *
 * Why a scan of our own: cJSON cuts strings at an escaped NUL, keeps both of two equal names, stops at the end of the
 * value, and takes bad UTF-8, raw controls, a BOM and 007. Members of an object are collected as hashes of their
 * unescaped names and compared when the object ends: pairwise while few, sorted when many, so that no text is
 * quadratic. The sentences never quote the text: it may be a token.
 */
#include "base/json.h"
#include "base/hash.h"
#include "json_internal.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    DEFAULT_BYTES = 1 << 20,
    DEFAULT_DEPTH = 32,
    DEFAULT_NODES = 100000,
    CJSON_DEPTH = CJSON_NESTING_LIMIT,                   /* beyond it cJSON refuses */
    FEW_NAMES = 16,                                      /* up to here pairwise comparison is the cheaper one */
};

struct name {
    uint64_t hash;                                       /* of the unescaped name */
    size_t at, len;                                      /* between the quotes */
    bool escaped;
};

struct scan {
    const char *text;
    size_t len, pos;
    struct tg_json_limits limits;
    unsigned nodes;
    struct name first_names[64], *names;                 /* of all objects that are open, innermost last */
    size_t name_count, name_cap;
    size_t numbers;
    struct tg_json_scanned found;
    struct tg_err *err;
};

/* Plain characters of a string: printable ASCII without quote and backslash. */
static const bool plain[256] = {[' '] = true, ['!'] = true, ['#' ... '['] = true, [']' ... 0x7f] = true};

static enum tg_status scan_value(struct scan *s, unsigned depth);

static void place(const struct scan *s, size_t at, unsigned *line, unsigned *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < at; i++) {
        if (s->text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)s->text[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

static enum tg_status refuse(struct scan *s, enum tg_status st, size_t at, const char *what)
{
    unsigned line, column;

    place(s, at, &line, &column);
    return tg_fail(s->err, st, "%u:%u: %s", line, column, what);
}

static void skip_space(struct scan *s)
{
    while (s->pos < s->len && (s->text[s->pos] == ' ' || s->text[s->pos] == '\t' || s->text[s->pos] == '\n' ||
                               s->text[s->pos] == '\r'))
        s->pos++;
}

static bool at_char(const struct scan *s, char c) { return s->pos < s->len && s->text[s->pos] == c; }

static bool at_digit(const struct scan *s)
{
    return s->pos < s->len && s->text[s->pos] >= '0' && s->text[s->pos] <= '9';
}

/* From the backslash on. */
static enum tg_status scan_escape(struct scan *s)
{
    size_t start = s->pos++;
    int unit, low;

    if (s->pos == s->len)
        return refuse(s, TG_BAD_INPUT, start, "a string is not closed");
    if (s->text[s->pos] != 'u') {
        if (!s->text[s->pos] || !strchr("\"\\/bfnrt", s->text[s->pos]))
            return refuse(s, TG_BAD_INPUT, start, "unknown escape in a string");
        s->pos++;
        return TG_OK;
    }
    s->pos++;
    unit = tg_json_hex4(s->text + s->pos, s->len - s->pos);
    if (unit < 0)
        return refuse(s, TG_BAD_INPUT, start, "\\u needs four hexadecimal digits");
    if (unit == 0)
        return refuse(s, TG_BAD_INPUT, start, "a string may not hold a NUL character");
    s->pos += 4;
    if (tg_is_low_surrogate(unit))
        return refuse(s, TG_BAD_INPUT, start, "half of a surrogate pair in a string");
    if (tg_is_high_surrogate(unit)) {
        if (s->len - s->pos < 6 || s->text[s->pos] != '\\' || s->text[s->pos + 1] != 'u')
            return refuse(s, TG_BAD_INPUT, start, "half of a surrogate pair in a string");
        low = tg_json_hex4(s->text + s->pos + 2, 4);
        if (!tg_is_low_surrogate(low))
            return refuse(s, TG_BAD_INPUT, start, "half of a surrogate pair in a string");
        s->pos += 6;
    }
    return TG_OK;
}

/* From the opening quote to behind the closing one. */
static enum tg_status scan_string(struct scan *s, bool *escaped)
{
    size_t start = s->pos++;
    enum tg_status st;

    *escaped = false;
    for (;;) {
        while (s->pos < s->len && plain[(unsigned char)s->text[s->pos]])
            s->pos++;
        if (s->pos == s->len)
            return refuse(s, TG_BAD_INPUT, start, "a string is not closed");
        unsigned char c = (unsigned char)s->text[s->pos];

        if (c == '"') {
            s->pos++;
            return TG_OK;
        }
        if (c == '\\') {
            *escaped = true;
            st = scan_escape(s);
            if (st != TG_OK)
                return st;
        } else if (c < 0x20) {
            return refuse(s, TG_BAD_INPUT, s->pos, "a control character in a string must be escaped");
        } else {
            size_t n = tg_utf8_length(s->text + s->pos, s->len - s->pos);

            if (n == 0)
                return refuse(s, TG_BAD_INPUT, s->pos, "a string is not valid UTF-8");
            s->pos += n;
        }
    }
}

static struct name *add_name(struct scan *s)
{
    if (s->name_count == s->name_cap) {
        size_t cap = s->name_cap * 2;

        if (s->names == s->first_names) {
            s->names = TG_NEW_ARRAY(struct name, cap);
            memcpy(s->names, s->first_names, sizeof s->first_names);
        } else {
            s->names = tg_realloc(s->names, cap * sizeof *s->names);
        }
        s->name_cap = cap;
    }
    return &s->names[s->name_count++];
}

static enum tg_status scan_name(struct scan *s)
{
    struct name name = {.at = s->pos + 1};
    struct tg_slice raw;
    enum tg_status st;

    if (!at_char(s, '"'))
        return refuse(s, TG_BAD_INPUT, s->pos, "a name in quotes is expected here");
    st = scan_string(s, &name.escaped);
    if (st != TG_OK)
        return st;
    name.len = s->pos - 1 - name.at;
    raw = tg_slice(s->text + name.at, name.len);
    if (name.escaped) {
        struct tg_buf text = {0};

        tg_json_unescape(raw, &text);
        name.hash = tg_hash(text.data, text.len);
        tg_buf_fini(&text);
    } else {
        name.hash = tg_hash_slice(raw);
    }
    *add_name(s) = name;
    return TG_OK;
}

static bool same_name(const struct scan *s, const struct name *a, const struct name *b)
{
    struct tg_slice raw_a = tg_slice(s->text + a->at, a->len), raw_b = tg_slice(s->text + b->at, b->len);
    struct tg_buf text_a = {0}, text_b = {0};
    bool same;

    if (a->hash != b->hash)
        return false;
    if (!a->escaped && !b->escaped)
        return tg_slice_eq(raw_a, raw_b);
    if (a->escaped)
        tg_json_unescape(raw_a, &text_a);
    if (b->escaped)
        tg_json_unescape(raw_b, &text_b);
    same = tg_slice_eq(a->escaped ? tg_buf_slice(&text_a) : raw_a, b->escaped ? tg_buf_slice(&text_b) : raw_b);
    tg_buf_fini(&text_a);
    tg_buf_fini(&text_b);
    return same;
}

static int by_hash(const void *x, const void *y)
{
    const struct name *a = x, *b = y;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

/* The names of the object that just ended: all those from `first` on. */
static enum tg_status check_names(struct scan *s, size_t first)
{
    struct name *names = s->names + first;
    size_t count = s->name_count - first;
    bool sorted = count > FEW_NAMES;
    unsigned line, column;

    if (sorted)
        qsort(names, count, sizeof *names, by_hash);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count && (!sorted || names[j].hash == names[i].hash); j++) {
            char what[96];

            if (!same_name(s, &names[i], &names[j]))
                continue;
            place(s, names[i].at - 1, &line, &column);
            snprintf(what, sizeof what, "the same name appears twice in one object, first at %u:%u", line, column);
            return refuse(s, TG_BAD_INPUT, names[j].at - 1, what);
        }
    }
    s->name_count = first;
    return TG_OK;
}

/* From the opening brace to behind the closing one. */
static enum tg_status scan_object(struct scan *s, unsigned depth)
{
    size_t first = s->name_count;
    enum tg_status st;

    s->pos++;
    skip_space(s);
    if (at_char(s, '}')) {
        s->pos++;
        return TG_OK;
    }
    for (;;) {
        st = scan_name(s);
        if (st != TG_OK)
            return st;
        skip_space(s);
        if (!at_char(s, ':'))
            return refuse(s, TG_BAD_INPUT, s->pos, "a colon is expected here");
        s->pos++;
        skip_space(s);
        st = scan_value(s, depth);
        if (st != TG_OK)
            return st;
        skip_space(s);
        if (at_char(s, '}')) {
            s->pos++;
            return check_names(s, first);
        }
        if (!at_char(s, ','))
            return refuse(s, TG_BAD_INPUT, s->pos, "a comma or } is expected here");
        s->pos++;
        skip_space(s);
    }
}

static enum tg_status scan_array(struct scan *s, unsigned depth)
{
    enum tg_status st;

    s->pos++;
    skip_space(s);
    if (at_char(s, ']')) {
        s->pos++;
        return TG_OK;
    }
    for (;;) {
        st = scan_value(s, depth);
        if (st != TG_OK)
            return st;
        skip_space(s);
        if (at_char(s, ']')) {
            s->pos++;
            return TG_OK;
        }
        if (!at_char(s, ','))
            return refuse(s, TG_BAD_INPUT, s->pos, "a comma or ] is expected here");
        s->pos++;
        skip_space(s);
    }
}

static enum tg_status scan_word(struct scan *s, struct tg_slice word)
{
    if (!tg_slice_starts_with(tg_slice(s->text + s->pos, s->len - s->pos), word))
        return refuse(s, TG_BAD_INPUT, s->pos, "a value is expected here");
    s->pos += word.len;
    return TG_OK;
}

static void keep_literal(struct scan *s, struct tg_slice literal)
{
    struct tg_json_scanned *f = &s->found;
    size_t n = f->literal_count;

    if (n == 0 || (n >= 8 && (n & (n - 1)) == 0))        /* full at 0, 8, 16, 32, … */
        f->literals = tg_realloc(f->literals, (n == 0 ? 8 : 2 * n) * sizeof *f->literals);
    f->literals[f->literal_count++] = (struct tg_json_literal){s->numbers, literal};
}

static bool skip_digits(struct scan *s)
{
    size_t start = s->pos;

    while (at_digit(s))
        s->pos++;
    return s->pos > start;
}

static enum tg_status scan_number(struct scan *s)
{
    size_t start = s->pos;
    struct tg_slice literal;
    double value;

    if (at_char(s, '-'))
        s->pos++;
    if (!at_digit(s))
        return refuse(s, TG_BAD_INPUT, start,
                      s->pos > start ? "a digit is missing behind -" : "a value is expected here");
    if (at_char(s, '0')) {
        s->pos++;
        if (at_digit(s))
            return refuse(s, TG_BAD_INPUT, start, "a number may not start with a zero");
    }
    skip_digits(s);
    if (at_char(s, '.')) {
        s->pos++;
        if (!skip_digits(s))
            return refuse(s, TG_BAD_INPUT, start, "a number needs a digit behind its point");
    }
    if (at_char(s, 'e') || at_char(s, 'E')) {
        s->pos++;
        if (at_char(s, '-') || at_char(s, '+'))
            s->pos++;
        if (!skip_digits(s))
            return refuse(s, TG_BAD_INPUT, start, "a number needs digits in its exponent");
    }
    literal = tg_slice(s->text + start, s->pos - start);
    if (literal.len > TG_NUMBER_MAX_CHARS)
        return refuse(s, TG_LIMIT, start, "a number is longer than 63 characters");
    /* Up to 15 characters without an exponent need no closer look. */
    if (literal.len > 15 || memchr(literal.ptr, 'e', literal.len) || memchr(literal.ptr, 'E', literal.len)) {
        switch (tg_number_fit(literal, &value)) {
        case TG_NUMBER_OVERFLOW:
            return refuse(s, TG_BAD_INPUT, start, "a number is too large");
        case TG_NUMBER_INEXACT:
            keep_literal(s, literal);
            break;
        case TG_NUMBER_EXACT:
            break;
        }
    }
    s->numbers++;
    return TG_OK;
}

static enum tg_status scan_value(struct scan *s, unsigned depth)
{
    bool escaped;

    if (s->pos == s->len)
        return refuse(s, TG_BAD_INPUT, s->pos, "the text ends where a value is expected");
    if (++s->nodes > s->limits.nodes)
        return refuse(s, TG_LIMIT, s->pos, "more values than allowed");
    switch (s->text[s->pos]) {
    case '{':
    case '[':
        if (depth >= s->limits.depth)
            return refuse(s, TG_LIMIT, s->pos, "nested more deeply than allowed");
        return s->text[s->pos] == '{' ? scan_object(s, depth + 1) : scan_array(s, depth + 1);
    case '"':
        return scan_string(s, &escaped);
    case 't':
        return scan_word(s, TG_S("true"));
    case 'f':
        return scan_word(s, TG_S("false"));
    case 'n':
        return scan_word(s, TG_S("null"));
    default:
        return scan_number(s);
    }
}

static enum tg_status scan_text(struct scan *s)
{
    enum tg_status st;

    if (s->len > s->limits.bytes)
        return tg_fail(s->err, TG_LIMIT, "1:1: the text is longer than %zu bytes", s->limits.bytes);
    if (s->len >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0)
        return refuse(s, TG_BAD_INPUT, 0, "a byte order mark is not allowed");
    skip_space(s);
    st = scan_value(s, 0);
    if (st != TG_OK)
        return st;
    s->found.value_end = s->pos;
    skip_space(s);
    if (s->pos < s->len)
        return refuse(s, TG_BAD_INPUT, s->pos, "more text follows the value");
    return TG_OK;
}

static void scan_init(struct scan *s, struct tg_slice text, const struct tg_json_limits *limits, struct tg_err *err)
{
    s->text = text.len > 0 ? text.ptr : "";
    s->len = text.len;
    s->pos = 0;
    s->limits = limits ? *limits : (struct tg_json_limits){0};
    if (s->limits.bytes == 0)
        s->limits.bytes = DEFAULT_BYTES;
    if (s->limits.depth == 0)
        s->limits.depth = DEFAULT_DEPTH;
    if (s->limits.depth > CJSON_DEPTH)
        s->limits.depth = CJSON_DEPTH;
    if (s->limits.nodes == 0)
        s->limits.nodes = DEFAULT_NODES;
    s->nodes = 0;
    s->names = s->first_names;
    s->name_count = 0;
    s->name_cap = sizeof s->first_names / sizeof s->first_names[0];
    s->numbers = 0;
    s->found = (struct tg_json_scanned){0};
    s->err = err;
}

enum tg_status tg_json_scan_text(struct tg_slice text, const struct tg_json_limits *limits, struct tg_json_scanned *out,
                                 struct tg_err *err)
{
    struct scan s;
    enum tg_status st;

    scan_init(&s, text, limits, err);
    st = scan_text(&s);
    if (s.names != s.first_names)
        free(s.names);
    if (st == TG_OK)
        *out = s.found;
    else
        free(s.found.literals);
    return st;
}
