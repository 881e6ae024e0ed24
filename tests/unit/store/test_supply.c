/*
 * test_supply - which set is in force: offers, refusals, age, and what a start finds on disk.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/supply.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_MS INT64_C(1790000000000)

struct rig {
    char dir[64], file[96];
    struct tg_supply_settings settings;
    struct tg_supply *supply;
    unsigned woken;
};

static void woken(void *arg)
{
    struct rig *r = arg;

    r->woken++;
}

static int set_up(void **state)
{
    struct rig *r = TG_NEW(struct rig);

    tg_log_set_level(TG_LOG_OFF);
    tg_clock_set_wall_ms(NOW_MS);
    snprintf(r->dir, sizeof r->dir, "/tmp/tollgate-supply.XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->file, sizeof r->file, "%s/policies.set", r->dir);
    r->settings = (struct tg_supply_settings){.source = "sync", .origin = "here", .state_dir = r->dir};
    r->supply = tg_supply_new(&r->settings, woken, r);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;

    tg_supply_free(r->supply);
    unlink(r->file);
    rmdir(r->dir);
    tg_clock_set_wall_ms(-1);
    free(r);
    return 0;
}

/* As after a restart. */
static void restart(struct rig *r)
{
    tg_supply_free(r->supply);
    r->supply = tg_supply_new(&r->settings, woken, r);
}

static struct tg_set *make(const char *name)
{
    struct tg_buf text = {0};
    struct tg_set *set = NULL;
    struct tg_err err = {0};

    tg_buf_addf(&text, "{\"policies\":[{\"id\":\"%s\",\"name\":\"%s\",\"ppl\":{\"allow\":{\"and\":[{\"accept\":true}"
                "]}}}],\"routes\":[]}", name, name);
    if (tg_set_parse("test", tg_buf_slice(&text), &set, &err) != TG_OK)
        fail_msg("%s", err.text);
    tg_buf_fini(&text);
    return set;
}

static struct tg_supply_meta fresh(void)
{
    return (struct tg_supply_meta){.expires_ms = INT64_MAX};
}

static void offer(struct rig *r, const char *name)
{
    tg_supply_offer(r->supply, make(name), &(struct tg_supply_meta){.expires_ms = INT64_MAX});
}

/* Takes what waits and settles it. */
static void settle(struct rig *r, const char *why)
{
    struct tg_set *set = tg_supply_take(r->supply);

    assert_non_null(set);
    tg_supply_settle(r->supply, set, why);
    tg_set_unref(set);
}

static bool in_force(struct rig *r, const char *name)
{
    struct tg_set *current = tg_supply_current(r->supply), *wanted = make(name);
    bool same = current && strcmp(tg_set_digest(current), tg_set_digest(wanted)) == 0;

    tg_set_unref(current);
    tg_set_unref(wanted);
    return same;
}

static bool nothing_waits(struct rig *r)
{
    struct tg_set *set = tg_supply_take(r->supply);

    tg_set_unref(set);
    return !set;
}

static bool is_told(struct rig *r, const char *words)
{
    struct tg_buf out = {0};
    bool told;

    tg_supply_describe(r->supply, &out);
    told = strstr(tg_buf_cstr(&out), words) != NULL;
    tg_buf_fini(&out);
    return told;
}

/* ---- offers ---- */

static void an_offer_is_in_force_when_it_was_settled(void **state)
{
    struct rig *r = *state;

    assert_true(tg_supply_missing(r->supply));
    assert_true(nothing_waits(r));
    offer(r, "a");
    assert_int_equal(r->woken, 1);
    assert_true(tg_supply_missing(r->supply));           /* it only waits */
    settle(r, NULL);
    assert_false(tg_supply_missing(r->supply));
    assert_true(in_force(r, "a"));
    assert_true(nothing_waits(r));
}

static void the_newest_of_many_is_taken(void **state)
{
    struct rig *r = *state;

    offer(r, "a");
    offer(r, "b");
    offer(r, "c");
    settle(r, NULL);
    assert_true(in_force(r, "c"));
    assert_true(nothing_waits(r));
}

static void the_same_again_costs_nothing_and_is_heard(void **state)
{
    struct rig *r = *state;
    struct tg_supply_meta meta;

    offer(r, "a");
    settle(r, NULL);
    tg_clock_set_wall_ms(NOW_MS + 5000);
    offer(r, "a");
    assert_int_equal(r->woken, 1);
    assert_true(nothing_waits(r));
    tg_supply_meta(r->supply, &meta);
    assert_int_equal(meta.heard_ms, NOW_MS + 5000);
}

/* It is waiting, or boot is just compiling it. */
static void the_same_as_what_is_on_its_way_is_no_news(void **state)
{
    struct rig *r = *state;
    struct tg_set *set;

    offer(r, "a");
    offer(r, "a");
    assert_int_equal(r->woken, 1);
    set = tg_supply_take(r->supply);
    offer(r, "a");
    assert_int_equal(r->woken, 1);
    offer(r, "b");                                       /* while "a" is compiled */
    assert_int_equal(r->woken, 2);
    tg_supply_settle(r->supply, set, NULL);
    tg_set_unref(set);
    assert_true(in_force(r, "a"));
    settle(r, NULL);
    assert_true(in_force(r, "b"));
}

/* ---- refusals ---- */

static void what_is_refused_leaves_the_last_good_one(void **state)
{
    struct rig *r = *state;

    offer(r, "a");
    settle(r, NULL);
    offer(r, "bad");
    settle(r, "line 3: no");
    assert_true(in_force(r, "a"));
    assert_true(is_told(r, "refused: line 3: no"));
    offer(r, "bad");                                     /* found again each interval: not compiled again */
    assert_int_equal(r->woken, 2);
    assert_true(nothing_waits(r));
    assert_true(is_told(r, "refused: line 3: no"));
    offer(r, "good");
    settle(r, NULL);
    assert_true(in_force(r, "good"));
    assert_false(is_told(r, "refused"));
}

static void going_back_to_what_is_in_force_ends_a_refusal(void **state)
{
    struct rig *r = *state;

    offer(r, "a");
    settle(r, NULL);
    offer(r, "bad");
    settle(r, "no");
    offer(r, "a");
    assert_false(is_told(r, "refused"));
    assert_true(nothing_waits(r));
    assert_null(tg_supply_take_again(r->supply));
}

/* The source says that nothing has changed: that is about what was refused, so what is in force grows old. */
static void while_the_newest_is_refused_the_old_one_grows_old(void **state)
{
    struct rig *r = *state;

    r->settings.max_stale_ms = 60000;
    r->settings.deny_stale = true;
    tg_supply_bind(r->supply, &r->settings);
    offer(r, "a");
    settle(r, NULL);
    offer(r, "bad");
    settle(r, "no");
    for (int i = 1; i <= 7; i++) {
        tg_clock_set_wall_ms(NOW_MS + i * 10000);
        tg_supply_confirm(r->supply);
        tg_supply_look(r->supply);
    }
    assert_true(tg_supply_stale(r->supply));
}

static void a_new_file_tries_what_was_refused_again(void **state)
{
    struct rig *r = *state;
    struct tg_set *set;

    assert_null(tg_supply_take_again(r->supply));
    offer(r, "a");
    settle(r, "the file knows no such provider");
    set = tg_supply_take_again(r->supply);
    assert_non_null(set);
    tg_supply_settle(r->supply, set, NULL);
    tg_set_unref(set);
    assert_true(in_force(r, "a"));
}

static void what_is_put_back_waits_again_unless_a_newer_one_does(void **state)
{
    struct rig *r = *state;
    struct tg_set *set;

    offer(r, "a");
    set = tg_supply_take_again(r->supply);
    tg_supply_put_back(r->supply, set);
    tg_set_unref(set);
    assert_int_equal(r->woken, 2);
    set = tg_supply_take(r->supply);
    offer(r, "b");
    tg_supply_put_back(r->supply, set);
    tg_set_unref(set);
    settle(r, NULL);
    assert_true(in_force(r, "b"));
    assert_true(nothing_waits(r));
}

static void trouble_is_told_until_it_is_over(void **state)
{
    struct rig *r = *state;

    tg_supply_fail(r->supply, "connection refused");
    assert_true(is_told(r, "none yet; failed: connection refused"));
    offer(r, "a");
    settle(r, NULL);
    assert_false(is_told(r, "failed"));
    tg_supply_fail(r->supply, "connection refused");
    assert_true(in_force(r, "a"));
    assert_true(is_told(r, "failed: connection refused"));
    tg_supply_confirm(r->supply);
    assert_false(is_told(r, "failed"));
}

/* ---- age ---- */

static void a_set_is_stale_after_max_stale(void **state)
{
    struct rig *r = *state;

    r->settings.max_stale_ms = 60000;
    tg_supply_bind(r->supply, &r->settings);
    offer(r, "a");
    settle(r, NULL);
    tg_clock_set_wall_ms(NOW_MS + 60000);
    tg_supply_look(r->supply);
    assert_false(is_told(r, "stale"));
    tg_clock_set_wall_ms(NOW_MS + 60001);
    tg_supply_look(r->supply);
    assert_true(is_told(r, "stale"));
    assert_false(tg_supply_stale(r->supply));            /* when_stale: keep */
    r->settings.deny_stale = true;
    tg_supply_bind(r->supply, &r->settings);
    assert_true(tg_supply_stale(r->supply));
    tg_supply_confirm(r->supply);
    assert_false(tg_supply_stale(r->supply));            /* at once, not at the next look */
}

/* What was heard in a future that the clock was set back from is heard now. */
static void a_clock_that_is_set_back_does_not_keep_a_set_young(void **state)
{
    struct rig *r = *state;

    r->settings.max_stale_ms = 60000;
    r->settings.deny_stale = true;
    restart(r);
    tg_clock_set_wall_ms(NOW_MS + 86400000);
    offer(r, "a");
    settle(r, NULL);
    tg_clock_set_wall_ms(NOW_MS);
    tg_supply_look(r->supply);
    assert_false(tg_supply_stale(r->supply));
    tg_clock_set_wall_ms(NOW_MS + 60001);
    tg_supply_look(r->supply);
    assert_true(tg_supply_stale(r->supply));
}

static void a_set_is_stale_after_its_own_end(void **state)
{
    struct rig *r = *state;

    r->settings.deny_stale = true;
    tg_supply_bind(r->supply, &r->settings);
    tg_supply_offer(r->supply, make("a"), &(struct tg_supply_meta){.sequence = 4, .expires_ms = NOW_MS + 1000});
    settle(r, NULL);
    assert_false(tg_supply_stale(r->supply));
    tg_clock_set_wall_ms(NOW_MS + 1000);
    tg_supply_confirm(r->supply);
    assert_true(tg_supply_stale(r->supply));             /* hearing the same again does not make it last longer */
    tg_supply_offer(r->supply, make("a"), &(struct tg_supply_meta){.sequence = 5, .expires_ms = NOW_MS + 9000});
    assert_false(tg_supply_stale(r->supply));            /* the same content under a later end */
    assert_true(is_told(r, "sequence 5"));
}

/* ---- kept ---- */

static void what_was_in_force_is_found_after_a_restart(void **state)
{
    struct rig *r = *state;
    struct tg_supply_meta meta;
    struct stat st;

    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_NOT_FOUND);
    tg_supply_offer(r->supply, make("a"), &(struct tg_supply_meta){.sequence = 7, .expires_ms = NOW_MS + 86400000});
    settle(r, NULL);
    offer(r, "bad");
    settle(r, "no");                                     /* is not kept */
    assert_int_equal(stat(r->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    tg_clock_set_wall_ms(NOW_MS + 1000);
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_OK);
    tg_supply_meta(r->supply, &meta);
    assert_int_equal(meta.sequence, 7);                  /* known before it is in force: a bundle must not go back */
    settle(r, NULL);
    assert_true(in_force(r, "a"));
    tg_supply_meta(r->supply, &meta);
    assert_int_equal(meta.expires_ms, NOW_MS + 86400000);
    assert_int_equal(meta.heard_ms, NOW_MS);             /* a restart does not make it young */
}

static void a_restart_does_not_make_a_stale_set_fresh(void **state)
{
    struct rig *r = *state;

    r->settings.max_stale_ms = 60000;
    r->settings.deny_stale = true;
    restart(r);
    offer(r, "a");
    settle(r, NULL);
    tg_clock_set_wall_ms(NOW_MS + 60001);
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_OK);
    settle(r, NULL);
    assert_true(tg_supply_stale(r->supply));
    tg_clock_set_wall_ms(NOW_MS - 3600000);              /* nor does a clock that was set back */
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_OK);
    settle(r, NULL);
    tg_clock_set_wall_ms(NOW_MS - 3600000 + 60001);
    tg_supply_look(r->supply);
    assert_true(tg_supply_stale(r->supply));
}

/* The source is heard every interval; that is written down, but not each time. */
static void when_the_source_was_heard_is_kept_too(void **state)
{
    struct rig *r = *state;
    struct tg_supply_meta meta;

    r->settings.max_stale_ms = 10000;                    /* written a second apart */
    restart(r);
    offer(r, "a");
    settle(r, NULL);
    tg_clock_set_wall_ms(NOW_MS + 4000);
    tg_supply_confirm(r->supply);
    tg_supply_look(r->supply);                           /* too soon */
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_OK);
    tg_supply_meta(r->supply, &meta);
    assert_int_equal(meta.heard_ms, NOW_MS);
    settle(r, NULL);
    tg_supply_confirm(r->supply);
    usleep(1050 * 1000);
    tg_supply_look(r->supply);
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_OK);
    tg_supply_meta(r->supply, &meta);
    assert_int_equal(meta.heard_ms, NOW_MS + 4000);
}

static void a_later_end_of_the_same_content_is_kept_at_the_next_look(void **state)
{
    struct rig *r = *state;
    struct tg_supply_meta meta;

    tg_supply_offer(r->supply, make("a"), &(struct tg_supply_meta){.sequence = 1, .expires_ms = NOW_MS + 1000});
    settle(r, NULL);
    tg_supply_offer(r->supply, make("a"), &(struct tg_supply_meta){.sequence = 2, .expires_ms = NOW_MS + 2000});
    tg_supply_look(r->supply);
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_OK);
    tg_supply_meta(r->supply, &meta);
    assert_int_equal(meta.sequence, 2);
    assert_int_equal(meta.expires_ms, NOW_MS + 2000);
}

static void what_another_source_left_is_passed_over(void **state)
{
    struct rig *r = *state;

    offer(r, "a");
    settle(r, NULL);
    r->settings.origin = "there";
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_NOT_FOUND);
    r->settings.origin = "here";
    r->settings.source = "bundle";
    restart(r);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_NOT_FOUND);
    assert_true(nothing_waits(r));
}

/* Every octet of the file counts. */
static void a_damaged_file_is_never_taken(void **state)
{
    struct rig *r = *state;
    struct tg_buf whole = {0};
    struct tg_err err = {0};
    struct tg_set *set = NULL;
    struct tg_supply_meta meta = fresh();

    offer(r, "a");
    settle(r, NULL);
    assert_int_equal(tg_file_read(r->file, 1 << 20, &whole, &err), TG_OK);
    for (size_t i = 0; i < whole.len; i++) {
        whole.data[i] ^= 0x01;
        assert_int_equal(tg_file_replace(r->file, tg_buf_slice(&whole), 0600, &err), TG_OK);
        whole.data[i] ^= 0x01;
        if (tg_supply_read(&r->settings, &set, &meta, &err) != TG_BAD_INPUT)
            fail_msg("taken with octet %zu changed: %s", i, err.text);
    }
    for (size_t cut = 0; cut < whole.len; cut += 7) {
        assert_int_equal(tg_file_replace(r->file, tg_slice(whole.data, cut), 0600, &err), TG_OK);
        if (tg_supply_read(&r->settings, &set, &meta, &err) != TG_BAD_INPUT)
            fail_msg("taken when cut at %zu", cut);
    }
    assert_int_equal(tg_file_replace(r->file, tg_buf_slice(&whole), 0600, &err), TG_OK);
    assert_int_equal(tg_supply_read(&r->settings, &set, &meta, &err), TG_OK);
    tg_set_unref(set);
    tg_buf_fini(&whole);
}

static void without_a_folder_nothing_is_kept(void **state)
{
    struct rig *r = *state;

    r->settings.state_dir = NULL;
    restart(r);
    offer(r, "a");
    settle(r, NULL);
    assert_true(in_force(r, "a"));
    assert_int_not_equal(access(r->file, F_OK), 0);
    assert_int_equal(tg_supply_restore(r->supply, NULL), TG_NOT_FOUND);
}

static void a_folder_that_cannot_be_written_does_not_keep_a_set_out(void **state)
{
    struct rig *r = *state;

    r->settings.state_dir = "/proc/none";
    restart(r);
    offer(r, "a");
    settle(r, NULL);
    assert_true(in_force(r, "a"));
}

/* ---- waiting ---- */

static void whoever_waits_goes_on_when_the_source_has_spoken_or_time_is_up(void **state)
{
    struct rig *r = *state;
    int64_t began_ms = tg_clock_mono_ms();

    tg_supply_await(r->supply, 50);
    assert_true(tg_clock_mono_ms() - began_ms >= 45);
    tg_supply_fail(r->supply, "no such file");
    began_ms = tg_clock_mono_ms();
    tg_supply_await(r->supply, 5000);
    assert_true(tg_clock_mono_ms() - began_ms < 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_offer_is_in_force_when_it_was_settled),
        TEST(the_newest_of_many_is_taken),
        TEST(the_same_again_costs_nothing_and_is_heard),
        TEST(the_same_as_what_is_on_its_way_is_no_news),
        TEST(what_is_refused_leaves_the_last_good_one),
        TEST(going_back_to_what_is_in_force_ends_a_refusal),
        TEST(while_the_newest_is_refused_the_old_one_grows_old),
        TEST(a_new_file_tries_what_was_refused_again),
        TEST(what_is_put_back_waits_again_unless_a_newer_one_does),
        TEST(trouble_is_told_until_it_is_over),
        TEST(a_set_is_stale_after_max_stale),
        TEST(a_set_is_stale_after_its_own_end),
        TEST(a_clock_that_is_set_back_does_not_keep_a_set_young),
        TEST(what_was_in_force_is_found_after_a_restart),
        TEST(a_restart_does_not_make_a_stale_set_fresh),
        TEST(when_the_source_was_heard_is_kept_too),
        TEST(a_later_end_of_the_same_content_is_kept_at_the_next_look),
        TEST(what_another_source_left_is_passed_over),
        TEST(a_damaged_file_is_never_taken),
        TEST(without_a_folder_nothing_is_kept),
        TEST(a_folder_that_cannot_be_written_does_not_keep_a_set_out),
        TEST(whoever_waits_goes_on_when_the_source_has_spoken_or_time_is_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
