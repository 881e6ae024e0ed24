/*
 * metric - sums over workers, the text format, and a scrape amid writers.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/metric.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static double answer(void *arg)
{
    return *(double *)arg;
}

static void expect_text(const char *want)
{
    struct tg_buf out = {0};

    tg_metric_render(&out);
    if (!strstr(tg_buf_cstr(&out), want))
        fail_msg("not there: %s\nin: %s", want, out.data);
    tg_buf_fini(&out);
}

static void sums_and_sorting(void **state)
{
    (void)state;
    struct tg_metric *m = tg_metric_family(TG_COUNTER, "t_requests_total", "Requests\nof \\all.", "route,code");
    struct tg_series *b = tg_metric_series(m, (struct tg_slice[]){TG_S("b"), TG_S("200")});
    struct tg_series *a = tg_metric_series(m, (struct tg_slice[]){TG_S("a\"\\\n"), TG_S("200")});

    assert_ptr_equal(tg_metric_family(TG_COUNTER, "t_requests_total", "ignored", "route,code"), m);
    assert_ptr_equal(tg_metric_series(m, (struct tg_slice[]){TG_S("b"), TG_S("200")}), b);
    for (unsigned cell = 0; cell < TG_METRIC_CELLS; cell++)
        tg_metric_add(b, cell, cell);
    tg_metric_add(a, 5, 1);
    assert_int_equal(tg_metric_value(b), 256 * 257 / 2);
    assert_int_equal(tg_metric_value(a), 1);
    expect_text("# HELP t_requests_total Requests\\nof \\\\all.\n# TYPE t_requests_total counter\n"
                "t_requests_total{route=\"a\\\"\\\\\\n\",code=\"200\"} 1\n"
                "t_requests_total{route=\"b\",code=\"200\"} 32896\n");
}

static void gauges(void **state)
{
    (void)state;
    static double value = 0.5;
    struct tg_metric *m = tg_metric_family(TG_GAUGE, "t_gauge", "A gauge", "");
    struct tg_series *s = tg_metric_series(m, NULL);
    struct tg_metric *asked = tg_metric_family(TG_GAUGE, "t_asked", "Asked", "");

    tg_metric_add(s, 3, 10);
    tg_metric_add(s, 4, -4);
    expect_text("\nt_gauge 6\n");
    tg_metric_set(s, -2);
    expect_text("\nt_gauge -2\n");
    tg_metric_set_float(s, 1.25);
    expect_text("\nt_gauge 1.25\n");
    tg_metric_set_float(s, __builtin_inf());
    expect_text("\nt_gauge +Inf\n");
    tg_metric_set(s, 7);
    expect_text("\nt_gauge 7\n");
    tg_metric_callback(asked, NULL, answer, &value);
    expect_text("# TYPE t_asked gauge\nt_asked 0.5\n");
    value = 3;
    expect_text("\nt_asked 3\n");
}

static void histograms(void **state)
{
    (void)state;
    struct tg_metric *m = tg_metric_family(TG_HISTOGRAM, "t_seconds", "Time", "route");
    struct tg_series *s = tg_metric_series(m, (struct tg_slice[]){TG_S("r")});
    struct tg_series *plain = tg_metric_series(tg_metric_family(TG_HISTOGRAM, "t_plain_seconds", "T", ""), NULL);

    tg_metric_observe_us(s, 1, 1000);                    /* on the bound: inside */
    tg_metric_observe_us(s, 2, 1001);
    tg_metric_observe_us(s, 3, 10000000);
    tg_metric_observe_us(s, 3, 10000001);
    tg_metric_observe_us(s, 0, -5);                      /* a clock's fault: as nothing */
    assert_int_equal(tg_metric_value(s), 5);
    expect_text("# TYPE t_seconds histogram\nt_seconds_bucket{route=\"r\",le=\"0.001\"} 2\n"
                "t_seconds_bucket{route=\"r\",le=\"0.0025\"} 3\n");
    expect_text("t_seconds_bucket{route=\"r\",le=\"10\"} 4\nt_seconds_bucket{route=\"r\",le=\"+Inf\"} 5\n"
                "t_seconds_sum{route=\"r\"} 20.002002\nt_seconds_count{route=\"r\"} 5\n");
    tg_metric_observe_us(plain, 0, 1);
    expect_text("t_plain_seconds_bucket{le=\"0.001\"} 1\n");
    expect_text("t_plain_seconds_sum 0.000001\nt_plain_seconds_count 1\n");
}

static struct tg_series *many[2000];
static _Atomic bool over;

static void *count(void *arg)
{
    unsigned cell = *(unsigned *)arg;

    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < 2000; i++)
            tg_metric_add(many[i], cell, 1);
    return NULL;
}

static void *scrape(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        struct tg_buf out = {0};

        tg_metric_render(&out);
        tg_buf_fini(&out);
    }
    return NULL;
}

static void writers_amid_a_scrape(void **state)          /* many blocks; workers 0 (shared), 1 and 256 */
{
    (void)state;
    struct tg_metric *m = tg_metric_family(TG_COUNTER, "t_many_total", "Many", "n");
    unsigned cells[] = {0, 0, 1, 256};
    pthread_t ids[4], reader;

    for (size_t i = 0; i < 2000; i++) {
        char text[8];
        struct tg_slice name = tg_slice(text, (size_t)snprintf(text, sizeof(text), "%zu", i));

        many[i] = tg_metric_series(m, &name);
    }
    assert_int_equal(pthread_create(&reader, NULL, scrape, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, count, &cells[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(ids[i], NULL);
    atomic_store(&over, true);
    pthread_join(reader, NULL);
    for (size_t i = 0; i < 2000; i++)
        assert_int_equal(tg_metric_value(many[i]), 80);
}

static bool is_shown(const char *text)
{
    struct tg_buf out = {0};
    bool found;

    tg_metric_render(&out);
    found = strstr(tg_buf_cstr(&out), text) != NULL;
    tg_buf_fini(&out);
    return found;
}

static void a_group_ends_with_its_last_owner(void **state)
{
    (void)state;
    struct tg_metric *times = tg_metric_family(TG_HISTOGRAM, "t_group_seconds", "Times", "route");
    struct tg_metric *counts = tg_metric_family(TG_COUNTER, "t_group_total", "Counts", "route");
    struct tg_slice name = TG_S("gone");
    struct tg_metric_group *one = tg_metric_group_ref(name), *other = tg_metric_group_ref(name);
    struct tg_series *s = tg_metric_series_in(one, counts, &name), *t = tg_metric_series_in(one, times, &name);

    assert_ptr_equal(one, other);
    assert_ptr_equal(tg_metric_series_in(other, counts, &name), s);
    tg_metric_add(s, 3, 7);
    tg_metric_observe_us(t, 200, 1500);
    tg_metric_group_unref(one);
    expect_text("t_group_total{route=\"gone\"} 7\n");   /* the other one still counts */
    tg_metric_group_unref(other);
    assert_false(is_shown("route=\"gone\""));
    name = TG_S("new");                                  /* what takes their places begins with nothing */
    one = tg_metric_group_ref(name);
    tg_metric_series_in(one, counts, &name);
    tg_metric_series_in(one, times, &name);
    expect_text("t_group_total{route=\"new\"} 0\n");
    expect_text("t_group_seconds_count{route=\"new\"} 0\n");
    expect_text("t_group_seconds_sum{route=\"new\"} 0.000000\n");
    tg_metric_group_unref(one);
    tg_metric_group_unref(NULL);
}

static void what_two_groups_share_or_none_has_lasts(void **state)
{
    (void)state;
    struct tg_metric *m = tg_metric_family(TG_COUNTER, "t_shared_total", "Counts", "of");
    struct tg_metric_group *a = tg_metric_group_ref(TG_S("a")), *b = tg_metric_group_ref(TG_S("b"));
    struct tg_series *alone, *both, *lasting;

    both = tg_metric_series_in(a, m, &TG_S("both"));
    alone = tg_metric_series_in(a, m, &TG_S("alone"));
    lasting = tg_metric_series_in(a, m, &TG_S("lasting"));
    assert_ptr_equal(tg_metric_series_in(b, m, &TG_S("both")), both);
    assert_ptr_equal(tg_metric_series(m, &TG_S("lasting")), lasting);
    tg_metric_add(alone, 0, 1);
    tg_metric_group_unref(a);
    tg_metric_add(both, 0, 2);
    tg_metric_add(lasting, 0, 3);
    tg_metric_group_unref(b);
    assert_false(is_shown("{of=\"alone\"}"));
    expect_text("{of=\"both\"} 2\n");
    expect_text("{of=\"lasting\"} 3\n");
}

enum { MANY = 150000 };                                  /* there is room for somewhat fewer */

static struct tg_series *make_many(struct tg_metric *m, struct tg_metric_group **groups, int count, int round)
{
    struct tg_series *s = NULL;

    for (int i = 0; i < count; i++) {
        char text[32];
        struct tg_slice name = {text, (size_t)snprintf(text, sizeof(text), "r%d-%d", round, i)};

        groups[i] = tg_metric_group_ref(name);
        s = tg_metric_series_in(groups[i], m, &name);
    }
    return s;
}

static void end_many(struct tg_metric_group **groups, int count)
{
    for (int i = 0; i < count; i++)
        tg_metric_group_unref(groups[i]);
}

/* New names for the same number of routes, again and again; then too many at once. */
static void room_is_bounded(void **state)
{
    (void)state;
    struct tg_metric *m = tg_metric_family(TG_HISTOGRAM, "t_many_seconds", "Times", "route");
    struct tg_metric_group **groups = TG_NEW_ARRAY(struct tg_metric_group *, MANY);
    struct tg_series *overflow, *last;

    for (int round = 0; round < 3; round++) {
        last = make_many(m, groups, MANY / 2, round);
        tg_metric_observe_us(last, 1, 1);
        end_many(groups, MANY / 2);
    }
    last = make_many(m, groups, MANY, 5);
    overflow = tg_metric_series(m, &TG_S("overflow"));
    assert_ptr_equal(last, overflow);
    assert_int_equal(tg_metric_value(overflow), 0);
    assert_ptr_not_equal(tg_metric_series(m, &TG_S("r5-1")), overflow);
    assert_ptr_equal(tg_metric_series(m, &TG_S("r6-1")), overflow);
    tg_metric_observe_us(last, 1, 1);
    end_many(groups, MANY);
    free(groups);
    assert_int_equal(tg_metric_value(overflow), 1);
    assert_ptr_not_equal(tg_metric_series(m, &TG_S("r6-1")), overflow); /* there is room again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_and_sorting), cmocka_unit_test(gauges),
                                       cmocka_unit_test(histograms), cmocka_unit_test(writers_amid_a_scrape),
                                       cmocka_unit_test(a_group_ends_with_its_last_owner),
                                       cmocka_unit_test(what_two_groups_share_or_none_has_lasts),
                                       cmocka_unit_test(room_is_bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
