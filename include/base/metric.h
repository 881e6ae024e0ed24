/*
 * metric - counters, gauges and histograms, one cell per worker, summed when read (Prometheus text format 0.0.4).
 *
 * Families and series are made when the process starts or a snapshot is bound, under a lock; adding to a series is one
 * relaxed store to the worker's own cache line. Label values come from the configuration or a fixed set, never from a
 * request. A series lives until the process ends, but for those of a group: they end with it. Room is bounded; when
 * there is none left, what is new of a family is counted in one series of it, whose label values are all "overflow".
 */
#pragma once
#include "base/buf.h"

#define TG_METRIC_CELLS 257                              /* cell 0: any thread that is no worker (atomic add) */

enum tg_metric_kind { TG_COUNTER, TG_GAUGE, TG_HISTOGRAM };
struct tg_metric;                                        /* a family */
struct tg_series;
struct tg_metric_group;

/* `name` without suffix rules applied by us: counters end in _total. `labels`: comma list, "route,code", or "". Same
 * name twice gives the same family. Histograms use the buckets .001 .0025 .005 .01 .025 .05 .1 .25 .5 1 2.5 5 10 s. */
struct tg_metric *tg_metric_family(enum tg_metric_kind kind, const char *name, const char *help, const char *labels);
/* The series with these label values, in the order of the family's labels; made when new. */
struct tg_series *tg_metric_series(struct tg_metric *family, const struct tg_slice *values);
/*
 * A group is what comes and goes as one, as a route does with sets of policies. Asked for by its name and counted: its
 * series are there until the last of its owners has let it go. A series that two groups ask for, or somebody without a
 * group, lasts.
 */
struct tg_metric_group *tg_metric_group_ref(struct tg_slice name);
void tg_metric_group_unref(struct tg_metric_group *group); /* NULL is fine; nobody adds to its series any more */
struct tg_series *tg_metric_series_in(struct tg_metric_group *group, struct tg_metric *family,
                                      const struct tg_slice *values);
void tg_metric_add(struct tg_series *s, unsigned cell, int64_t n);
void tg_metric_set(struct tg_series *s, int64_t value);  /* gauges: replaces */
void tg_metric_set_float(struct tg_series *s, double value);
void tg_metric_observe_us(struct tg_series *s, unsigned cell, int64_t us);
int64_t tg_metric_value(const struct tg_series *s);      /* summed; of a histogram: how many were observed */
/* A gauge or counter whose value is asked for at render time. `read` must not call this module. Again: replaces. */
void tg_metric_callback(struct tg_metric *family, const struct tg_slice *values, double (*read)(void *arg), void *arg);
void tg_metric_render(struct tg_buf *out);               /* every family, HELP and TYPE once, series sorted */
