/*
 * log - a line put together and written to stderr at once.
 */
#include "base/log.h"
#include "base/clock.h"
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <unistd.h>

static _Atomic int log_level = TG_LOG_INFO;
static _Atomic bool log_text;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void tg_log_set_level(enum tg_log_level level)
{
    atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

void tg_log_set_text(bool text)
{
    atomic_store_explicit(&log_text, text, memory_order_relaxed);
}

bool tg_log_level_parse(struct tg_slice name, enum tg_log_level *out)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (tg_slice_eq(name, tg_slice_str(level_names[i]))) {
            *out = (enum tg_log_level)i;
            return true;
        }
    }
    return false;
}

/* Length of the UTF-8 sequence at the start of `s` (Unicode table 3-7), 0 when it is none. */
static size_t utf8_len(const unsigned char *s, size_t len)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t need;

    if (s[0] < 0x80)
        return 1;
    need = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (need == 0 || len < need)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0;                                      /* overlong */
    else if (s[0] == 0xed)
        high = 0x9f;                                     /* surrogates */
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;                                     /* beyond U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

static void add_escape(struct tg_buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        tg_buf_add(out, "\\\"", 2);
        break;
    case '\\':
        tg_buf_add(out, "\\\\", 2);
        break;
    case '\n':
        tg_buf_add(out, "\\n", 2);
        break;
    case '\r':
        tg_buf_add(out, "\\r", 2);
        break;
    case '\t':
        tg_buf_add(out, "\\t", 2);
        break;
    default:
        tg_buf_addf(out, "\\u%04x", c);
    }
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Whether some byte is zero: the lowest such, and only then, has its top bit set in the result. */
static uint64_t has_zero(uint64_t word) { return (word - EACH_BYTE(1)) & ~word & EACH_BYTE(0x80); }

static bool is_plain_word(const unsigned char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return !(((word | (word - EACH_BYTE(0x20))) & EACH_BYTE(0x80)) | has_zero(word ^ EACH_BYTE(0x7f)) |
             has_zero(word ^ EACH_BYTE('"')) | has_zero(word ^ EACH_BYTE('\\')));
}

/* How many bytes from the start are plain: eight at a time, since a line is long and mostly so. */
static size_t plain_run(const unsigned char *p, size_t len)
{
    size_t n = 0;

    while (n + 8 <= len && is_plain_word(p + n))
        n += 8;
    if (n > 0 && n + 8 > len && is_plain_word(p + len - 8)) /* the rest, and some bytes once more */
        return len;
    while (n < len && is_plain(p[n]))
        n++;
    return n;
}

void tg_log_json_string(struct tg_buf *out, struct tg_slice s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = plain_run(p, s.len);

    tg_buf_reserve(out, s.len + 2);
    out->data[out->len++] = '"';
    if (i > 0)
        memcpy(out->data + out->len, p, i);
    out->len += i;
    while (i < s.len) {
        size_t len = utf8_len(p + i, s.len - i), run;

        if (len == 0)
            tg_buf_add(out, "\xef\xbf\xbd", 3);
        else if (len == 1)
            add_escape(out, p[i]);
        else if (len == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0)
            add_escape(out, p[i + 1]);                   /* C1 controls drive terminals, too */
        else
            tg_buf_add(out, p + i, len);
        i += len ? len : 1;
        run = plain_run(p + i, s.len - i);
        tg_buf_add(out, p + i, run);
        i += run;
    }
    tg_buf_addc(out, '"');
}

static void add_json_line(struct tg_buf *out, enum tg_log_level level, const char *message,
                          const struct tg_log_field *fields)
{
    char now[TG_TIME_TEXT];

    tg_clock_format(tg_clock_wall_ms(), now);
    tg_buf_addf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", now, level_names[level]);
    tg_log_json_string(out, tg_slice_str(message));
    for (; fields->name; fields++) {
        tg_buf_addc(out, ',');
        tg_log_json_string(out, tg_slice_str(fields->name));
        tg_buf_addc(out, ':');
        if (fields->kind == TG_LOG_INT)
            tg_buf_addf(out, "%" PRId64, fields->num);
        else
            tg_log_json_string(out, fields->str);
    }
    tg_buf_adds(out, "}\n");
}

/* Quoted only when it would not read as one word. */
static void add_word(struct tg_buf *out, struct tg_slice s, bool spaces_too)
{
    bool plain = s.len > 0;

    for (size_t i = 0; i < s.len && plain; i++)
        plain = is_plain((unsigned char)s.ptr[i]) && (spaces_too || (s.ptr[i] != ' ' && s.ptr[i] != '='));
    if (plain)
        tg_buf_add_slice(out, s);
    else
        tg_log_json_string(out, s);
}

static void add_text_line(struct tg_buf *out, enum tg_log_level level, const char *message,
                          const struct tg_log_field *fields)
{
    tg_buf_addf(out, "%s ", level_names[level]);
    add_word(out, tg_slice_str(message), true);
    for (; fields->name; fields++) {
        tg_buf_addf(out, " %s=", fields->name);
        if (fields->kind == TG_LOG_INT)
            tg_buf_addf(out, "%" PRId64, fields->num);
        else
            add_word(out, fields->str, false);
    }
    tg_buf_addc(out, '\n');
}

void tg_log_fields(enum tg_log_level level, const char *message, const struct tg_log_field *fields)
{
    struct tg_buf line = {0};
    size_t done = 0;
    ssize_t n;

    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    if (atomic_load_explicit(&log_text, memory_order_relaxed))
        add_text_line(&line, level, message, fields);
    else
        add_json_line(&line, level, message, fields);
    while (done < line.len) {                            /* one write, as a rule: lines of threads do not mix */
        n = write(STDERR_FILENO, line.data + done, line.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;                                       /* nobody left to tell */
        done += (size_t)n;
    }
    tg_buf_fini(&line);
}
