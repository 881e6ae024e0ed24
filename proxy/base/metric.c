/*
 * metric - numbered values, a row of blocks for each worker.
 *
 * A series is a number: the index of its first value. Each cell (worker) has a table of blocks of values, allocated
 * when the worker first adds there and never moved, so that adding needs no lock and no line is shared between workers.
 * The mutex guards making and rendering only. Numbers of series that are gone are given out again, with zeros.
 */
#include "base/metric.h"
#include "base/err.h"
#include "base/map.h"
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BLOCK_VALUES 512                                 /* 4 KiB */
#define BLOCKS 4096
#define SPARE_VALUES (64 * BLOCK_VALUES)                 /* kept for one series a family, when all others are taken */
#define BOUNDS 13
#define MAX_LABELS 8
#define HISTOGRAM_VALUES (BOUNDS + 2)                    /* the buckets, +Inf, and the sum in microseconds */

struct tg_series {
    struct tg_metric *family;
    struct tg_metric_group *group;                       /* NULL: it lasts */
    struct tg_series *next;                              /* of its group; or of those that are free */
    unsigned first;                                      /* number of its first value */
    char *labels;                                        /* a="1",b="2" */
    _Atomic bool is_float;                               /* bits holds a double that stands for the value */
    _Atomic uint64_t bits;
    double (*read)(void *arg);
    void *arg;
};
struct tg_metric {
    enum tg_metric_kind kind;
    char *name, *help, *labels;
    struct tg_map *series;                               /* by labels */
};
struct tg_metric_group {
    unsigned refs;
    char *name;
    struct tg_series *series;
};
struct block {
    _Alignas(64) _Atomic int64_t values[BLOCK_VALUES];
};

static const struct {
    int64_t us;
    const char *text;
} bounds[BOUNDS] = {
    {1000, "0.001"},   {2500, "0.0025"},  {5000, "0.005"},    {10000, "0.01"},    {25000, "0.025"},
    {50000, "0.05"},   {100000, "0.1"},   {250000, "0.25"},   {500000, "0.5"},    {1000000, "1"},
    {2500000, "2.5"},  {5000000, "5"},    {10000000, "10"},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tg_map *families;                          /* by name */
static struct tg_map *groups;                            /* by name */
static unsigned next_value;
static struct tg_series *free_values, *free_histograms;  /* they have their numbers */
static _Atomic unsigned cells_used;                      /* from 0; the others have no blocks */
static struct block *_Atomic cells[TG_METRIC_CELLS][BLOCKS];

static unsigned value_count(enum tg_metric_kind kind)
{
    return kind == TG_HISTOGRAM ? HISTOGRAM_VALUES : 1;
}

struct tg_metric *tg_metric_family(enum tg_metric_kind kind, const char *name, const char *help, const char *labels)
{
    struct tg_metric *m;

    pthread_mutex_lock(&lock);
    if (!families)
        families = tg_map_new(NULL);
    m = tg_map_get(families, tg_slice_str(name));
    if (!m) {
        m = TG_NEW(struct tg_metric);
        *m = (struct tg_metric){kind, tg_slice_dup(tg_slice_str(name)), tg_slice_dup(tg_slice_str(help)),
                                tg_slice_dup(tg_slice_str(labels)), tg_map_new(NULL)};
        tg_map_put(families, tg_slice_str(name), m);
    }
    tg_assert(m->kind == kind && strcmp(m->labels, labels) == 0);
    pthread_mutex_unlock(&lock);
    return m;
}

static void add_escaped(struct tg_buf *out, struct tg_slice s, bool quotes)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n')
            tg_buf_adds(out, "\\n");
        else if (s.ptr[i] == '\\' || (quotes && s.ptr[i] == '"'))
            tg_buf_addf(out, "\\%c", s.ptr[i]);
        else
            tg_buf_addc(out, s.ptr[i]);
    }
}

static void add_labels(struct tg_buf *out, const char *names, const struct tg_slice *values)
{
    struct tg_slice rest = tg_slice_str(names), name;

    for (size_t i = 0; rest.len; i++) {
        tg_slice_cut(rest, ',', &name, &rest);
        tg_buf_addf(out, "%s" TG_S_FMT "=\"", i ? "," : "", TG_S_ARG(name));
        add_escaped(out, values[i], true);
        tg_buf_addc(out, '"');
    }
}

/* ---- series: the caller holds the lock ---- */

static struct tg_series **free_list(enum tg_metric_kind kind)
{
    return kind == TG_HISTOGRAM ? &free_histograms : &free_values;
}

/* With numbers of its own; NULL: none are left below `end`. */
static struct tg_series *new_series(struct tg_metric *family, unsigned end)
{
    struct tg_series **spare = free_list(family->kind), *s = *spare;
    unsigned n = value_count(family->kind);

    if (s) {
        *spare = s->next;
        *s = (struct tg_series){.family = family, .first = s->first};
        return s;
    }
    if (next_value % BLOCK_VALUES + n > BLOCK_VALUES)
        next_value += BLOCK_VALUES - next_value % BLOCK_VALUES; /* a series does not cross a block */
    if (next_value + n > end)
        return NULL;
    s = TG_NEW(struct tg_series);
    s->family = family;
    s->first = next_value;
    next_value += n;
    return s;
}

static void name_series(struct tg_series *s, struct tg_slice labels)
{
    s->labels = tg_slice_dup(labels);
    tg_map_put(s->family->series, labels, s);
}

static struct tg_series *overflow_of(struct tg_metric *family)
{
    struct tg_slice all[MAX_LABELS];
    struct tg_buf text = {0};
    struct tg_series *s;

    for (size_t i = 0; i < MAX_LABELS; i++)
        all[i] = TG_S("overflow");
    add_labels(&text, family->labels, all);
    s = tg_map_get(family->series, tg_buf_slice(&text));
    if (!s) {
        s = new_series(family, BLOCK_VALUES * BLOCKS);
        if (!s)
            tg_panic(__FILE__, __LINE__, "more metric families than there is room for");
        name_series(s, tg_buf_slice(&text));
    }
    tg_buf_fini(&text);
    return s;
}

static void join(struct tg_series *s, struct tg_metric_group *group)
{
    s->group = group;
    s->next = group->series;
    group->series = s;
}

static void leave(struct tg_series *s)
{
    struct tg_series **at = &s->group->series;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->group = NULL;
    s->next = NULL;
}

static struct tg_series *series_of(struct tg_metric_group *group, struct tg_metric *family,
                                   const struct tg_slice *values)
{
    struct tg_buf text = {0};
    struct tg_series *s;

    add_labels(&text, family->labels, values);
    s = tg_map_get(family->series, tg_buf_slice(&text));
    if (s && s->group && s->group != group) {
        leave(s);
    } else if (!s && (s = new_series(family, BLOCK_VALUES * BLOCKS - SPARE_VALUES))) {
        name_series(s, tg_buf_slice(&text));
        if (group)
            join(s, group);
    }
    tg_buf_fini(&text);
    return s ? s : overflow_of(family);
}

struct tg_series *tg_metric_series(struct tg_metric *family, const struct tg_slice *values)
{
    struct tg_series *s;

    pthread_mutex_lock(&lock);
    s = series_of(NULL, family, values);
    pthread_mutex_unlock(&lock);
    return s;
}

struct tg_series *tg_metric_series_in(struct tg_metric_group *group, struct tg_metric *family,
                                      const struct tg_slice *values)
{
    struct tg_series *s;

    pthread_mutex_lock(&lock);
    s = series_of(group, family, values);
    pthread_mutex_unlock(&lock);
    return s;
}

void tg_metric_callback(struct tg_metric *family, const struct tg_slice *values, double (*read)(void *arg), void *arg)
{
    struct tg_series *s;

    tg_assert(family->kind != TG_HISTOGRAM);
    pthread_mutex_lock(&lock);
    s = series_of(NULL, family, values);
    s->read = read;
    s->arg = arg;
    pthread_mutex_unlock(&lock);
}

static void note_cell(unsigned cell)
{
    unsigned used = atomic_load_explicit(&cells_used, memory_order_relaxed);

    while (used <= cell && !atomic_compare_exchange_weak_explicit(&cells_used, &used, cell + 1, memory_order_release,
                                                                  memory_order_relaxed))
        ;
}

static struct block *make_block(struct block *_Atomic *place)
{
    struct block *fresh = aligned_alloc(_Alignof(struct block), sizeof(struct block)), *there = NULL;

    if (!fresh)
        tg_panic(__FILE__, __LINE__, "out of memory");
    memset(fresh, 0, sizeof(*fresh));
    if (atomic_compare_exchange_strong_explicit(place, &there, fresh, memory_order_acq_rel, memory_order_acquire))
        return fresh;
    free(fresh);                                         /* cell 0: another thread was first */
    return there;
}

static void add(unsigned number, unsigned cell, int64_t n)
{
    struct block *_Atomic *place = &cells[cell][number / BLOCK_VALUES];
    struct block *block = atomic_load_explicit(place, memory_order_acquire);
    _Atomic int64_t *value;

    if (__builtin_expect(!block, 0)) {
        block = make_block(place);
        note_cell(cell);
    }
    value = &block->values[number % BLOCK_VALUES];
    if (cell == 0)
        atomic_fetch_add_explicit(value, n, memory_order_relaxed);
    else                                                 /* one writer: no need for a locked instruction */
        atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n, memory_order_relaxed);
}

static int64_t sum(unsigned number)
{
    unsigned end = atomic_load_explicit(&cells_used, memory_order_acquire);
    int64_t total = 0;

    for (unsigned cell = 0; cell < end; cell++) {
        struct block *block = atomic_load_explicit(&cells[cell][number / BLOCK_VALUES], memory_order_acquire);

        if (block)
            total += atomic_load_explicit(&block->values[number % BLOCK_VALUES], memory_order_relaxed);
    }
    return total;
}

void tg_metric_add(struct tg_series *s, unsigned cell, int64_t n)
{
    tg_assert(cell < TG_METRIC_CELLS);
    add(s->first, cell, n);
}

void tg_metric_set(struct tg_series *s, int64_t value)
{
    pthread_mutex_lock(&lock);                           /* two setters must not both add their difference */
    atomic_store_explicit(&s->is_float, false, memory_order_relaxed);
    add(s->first, 0, value - sum(s->first));
    pthread_mutex_unlock(&lock);
}

void tg_metric_set_float(struct tg_series *s, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    atomic_store_explicit(&s->bits, bits, memory_order_relaxed);
    atomic_store_explicit(&s->is_float, true, memory_order_release);
}

void tg_metric_observe_us(struct tg_series *s, unsigned cell, int64_t us)
{
    unsigned bucket = 0;

    tg_assert(cell < TG_METRIC_CELLS && s->family->kind == TG_HISTOGRAM);
    us = us < 0 ? 0 : us;
    while (bucket < BOUNDS && us > bounds[bucket].us)
        bucket++;
    add(s->first + bucket, cell, 1);
    add(s->first + BOUNDS + 1, cell, us);
}

int64_t tg_metric_value(const struct tg_series *s)
{
    int64_t total = 0;

    if (s->family->kind != TG_HISTOGRAM)
        return sum(s->first);
    for (unsigned i = 0; i <= BOUNDS; i++)
        total += sum(s->first + i);
    return total;
}

/* ---- groups ---- */

struct tg_metric_group *tg_metric_group_ref(struct tg_slice name)
{
    struct tg_metric_group *g;

    pthread_mutex_lock(&lock);
    if (!groups)
        groups = tg_map_new(NULL);
    g = tg_map_get(groups, name);
    if (!g) {
        g = TG_NEW(struct tg_metric_group);
        g->name = tg_slice_dup(name);
        tg_map_put(groups, name, g);
    }
    g->refs++;
    pthread_mutex_unlock(&lock);
    return g;
}

/* Nobody adds to it any more, so its values can be set by anybody. The caller holds the lock. */
static void end_series(struct tg_series *s)
{
    struct tg_series **spare = free_list(s->family->kind);
    unsigned end = atomic_load_explicit(&cells_used, memory_order_acquire);

    for (unsigned cell = 0; cell < end; cell++) {
        struct block *block = atomic_load_explicit(&cells[cell][s->first / BLOCK_VALUES], memory_order_acquire);

        for (unsigned i = 0; block && i < value_count(s->family->kind); i++)
            atomic_store_explicit(&block->values[s->first % BLOCK_VALUES + i], 0, memory_order_relaxed);
    }
    tg_map_del(s->family->series, tg_slice_str(s->labels));
    free(s->labels);
    s->labels = NULL;
    s->group = NULL;
    s->next = *spare;
    *spare = s;
}

void tg_metric_group_unref(struct tg_metric_group *group)
{
    if (!group)
        return;
    pthread_mutex_lock(&lock);
    if (--group->refs == 0) {
        while (group->series) {
            struct tg_series *s = group->series;

            group->series = s->next;
            end_series(s);
        }
        tg_map_del(groups, tg_slice_str(group->name));
        free(group->name);
        free(group);
    }
    pthread_mutex_unlock(&lock);
}

static void add_double(struct tg_buf *out, double v)
{
    if (isnan(v))
        tg_buf_adds(out, "NaN");
    else if (isinf(v))
        tg_buf_adds(out, v > 0 ? "+Inf" : "-Inf");
    else
        tg_buf_addf(out, "%.15g", v);
}

static void render_histogram(struct tg_buf *out, const struct tg_metric *m, const struct tg_series *s)
{
    const char *comma = s->labels[0] ? "," : "", *open = s->labels[0] ? "{" : "", *close = s->labels[0] ? "}" : "";
    int64_t count = 0, sum_us = sum(s->first + BOUNDS + 1);

    for (unsigned i = 0; i <= BOUNDS; i++) {
        count += sum(s->first + i);
        tg_buf_addf(out, "%s_bucket{%s%sle=\"%s\"} %" PRId64 "\n", m->name, s->labels, comma,
                    i < BOUNDS ? bounds[i].text : "+Inf", count);
    }
    tg_buf_addf(out, "%s_sum%s%s%s %" PRId64 ".%06" PRId64 "\n", m->name, open, s->labels, close, sum_us / 1000000,
                sum_us % 1000000);
    tg_buf_addf(out, "%s_count%s%s%s %" PRId64 "\n", m->name, open, s->labels, close, count);
}

static void render_series(struct tg_buf *out, const struct tg_metric *m, const struct tg_series *s)
{
    if (m->kind == TG_HISTOGRAM) {
        render_histogram(out, m, s);
        return;
    }
    tg_buf_adds(out, m->name);
    if (s->labels[0])
        tg_buf_addf(out, "{%s}", s->labels);
    tg_buf_addc(out, ' ');
    if (s->read) {
        add_double(out, s->read(s->arg));
    } else if (atomic_load_explicit(&s->is_float, memory_order_acquire)) {
        uint64_t bits = atomic_load_explicit(&s->bits, memory_order_relaxed);
        double v;

        memcpy(&v, &bits, sizeof(v));
        add_double(out, v);
    } else {
        tg_buf_addf(out, "%" PRId64, sum(s->first));
    }
    tg_buf_addc(out, '\n');
}

static int by_labels(const void *a, const void *b)
{
    return strcmp((*(struct tg_series *const *)a)->labels, (*(struct tg_series *const *)b)->labels);
}

static void render_family(struct tg_buf *out, const struct tg_metric *m)
{
    static const char *const kinds[] = {[TG_COUNTER] = "counter", [TG_GAUGE] = "gauge", [TG_HISTOGRAM] = "histogram"};
    struct tg_series **sorted = TG_NEW_ARRAY(struct tg_series *, tg_map_count(m->series));
    struct tg_slice key;
    void *value;
    size_t n = 0;

    tg_buf_addf(out, "# HELP %s ", m->name);
    add_escaped(out, tg_slice_str(m->help), false);
    tg_buf_addf(out, "\n# TYPE %s %s\n", m->name, kinds[m->kind]);
    for (size_t i = 0; tg_map_next(m->series, &i, &key, &value);)
        sorted[n++] = value;
    qsort(sorted, n, sizeof(struct tg_series *), by_labels);
    for (size_t i = 0; i < n; i++)
        render_series(out, m, sorted[i]);
    free(sorted);
}

void tg_metric_render(struct tg_buf *out)
{
    struct tg_slice key;
    void *family;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; families && tg_map_next(families, &i, &key, &family);)
        render_family(out, family);
    pthread_mutex_unlock(&lock);
}
