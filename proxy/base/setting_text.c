/*
 * setting_text - durations, sizes, and names that are nearly right.
 */
#include "base/err.h"
#include "base/setting.h"

/* Leading decimal digits, at least one, cut off *s. */
static bool take_number(struct tg_slice *s, uint64_t *out)
{
    size_t n = 0;

    while (n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9')
        n++;
    if (!tg_slice_to_u64(tg_slice(s->ptr, n), out))
        return false;
    *s = tg_slice(s->ptr + n, s->len - n);
    return true;
}

bool tg_duration_parse(struct tg_slice text, int64_t *ms)
{
    static const struct {
        struct tg_slice name;
        int64_t ms;
    } units[] = {                                        /* large to small */
        {TG_S_INIT("d"), 86400000}, {TG_S_INIT("h"), 3600000}, {TG_S_INIT("m"), 60000},
        {TG_S_INIT("s"), 1000},     {TG_S_INIT("ms"), 1},
    };
    size_t next = 0;
    int64_t sum = 0;

    if (text.len == 0)
        return false;
    while (text.len > 0) {
        uint64_t number;
        struct tg_slice name;
        int64_t part;

        if (!take_number(&text, &number) || number > INT64_MAX)
            return false;
        name = tg_slice(text.ptr, 0);
        while (name.len < text.len && (text.ptr[name.len] < '0' || text.ptr[name.len] > '9'))
            name.len++;
        while (next < ARRAY_LEN(units) && !tg_slice_eq(units[next].name, name))
            next++;
        if (next == ARRAY_LEN(units) || __builtin_mul_overflow((int64_t)number, units[next].ms, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return false;
        next++;
        text = tg_slice(text.ptr + name.len, text.len - name.len);
    }
    *ms = sum;
    return true;
}

bool tg_size_parse(struct tg_slice text, uint64_t *bytes)
{
    static const struct {
        struct tg_slice name;
        uint64_t bytes;
    } units[] = {
        {TG_S_INIT(""), 1},
        {TG_S_INIT("B"), 1},
        {TG_S_INIT("KiB"), UINT64_C(1) << 10},
        {TG_S_INIT("MiB"), UINT64_C(1) << 20},
        {TG_S_INIT("GiB"), UINT64_C(1) << 30},
    };
    uint64_t number, product;

    if (!take_number(&text, &number))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!tg_slice_eq(text, units[i].name))
            continue;
        if (__builtin_mul_overflow(number, units[i].bytes, &product))
            return false;
        *bytes = product;
        return true;
    }
    return false;
}

enum { MAX_WORD = 64 };

/* Letters in any case and - for _ are no errors worth counting. */
static char folded(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

/* Insertions, deletions, changes, and swaps of neighbours that make one of the other. */
static unsigned distance(const char *a, size_t len_a, const char *b, size_t len_b)
{
    unsigned rows[3][MAX_WORD + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2], *spare;

    for (size_t j = 0; j <= len_b; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= len_a; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= len_b; j++) {
            unsigned changed = folded(a[i - 1]) != folded(b[j - 1]);

            now[j] = least(last[j - 1] + changed, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[len_b];
}

const char *tg_nearest(const char *word, const char *const *names, size_t count)
{
    size_t len = strlen(word);
    /* A third of the word may be wrong, three characters at most. */
    unsigned best = len < 3 ? 1 : least((unsigned)(len / 3), 3);
    const char *found = NULL;

    if (len == 0 || len > MAX_WORD)
        return NULL;
    best++;
    for (size_t i = 0; i < count; i++) {
        size_t name_len = strlen(names[i]);
        unsigned d;

        if (name_len > MAX_WORD)
            continue;
        d = distance(word, len, names[i], name_len);
        if (d < best) {
            best = d;
            found = names[i];
        }
    }
    return found;
}
