/*
 * test_bundle_source - a bundle in a file, followed: what is taken, what is refused, what a restart remembers.
 */
#include "bundle_support.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/tollgate-source-XXXXXX", file[64], state_dir[64];
static struct tg_worker *control;
static struct key key, other;
static struct tg_supply *supply;
static struct tg_bundle_source *source;
static const char *refusal;                              /* what boot says of the next set; NULL: it compiles */
static unsigned taken;                                   /* sets that boot took */
static int64_t made_s;                                   /* iat of all bundles */

/* ---- the program around it ---- */

static void wake(void *arg) { (void)arg; }

static void start_source(struct tg_worker *w, void *arg)
{
    struct tg_bundle_settings s = {.file = tg_slice_str(file), .keys = arg, .interval_ms = 50, .timeout_ms = 1000};

    source = tg_bundle_source_new(w, NULL, &s, NULL, supply);
}

static void stop_source(struct tg_worker *w, void *arg)
{
    (void)w, (void)arg;
    tg_bundle_source_free(source);
    source = NULL;
}

static void describe_source(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_bundle_source_describe(source, arg);
}

static void begin_with(struct tg_jwks *keys)
{
    struct tg_supply_settings settings = {.source = "bundle", .state_dir = state_dir};

    supply = tg_supply_new(&settings, wake, NULL);
    tg_supply_restore(supply, NULL);
    refusal = NULL;
    taken = 0;
    tg_worker_call(control, start_source, keys);
}

static void begin(void) { begin_with(key.jwks); }

static void end(void)
{
    tg_worker_call(control, stop_source, NULL);
    tg_supply_free(supply);
}

static void forget(void)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/policies.set", state_dir);
    unlink(path);
    unlink(file);
}

static void turn(void)
{
    struct tg_set *set = tg_supply_take(supply);

    if (set) {
        taken++;
        tg_supply_settle(supply, set, refusal);
        tg_set_unref(set);
    }
    nanosleep(&(struct timespec){0, 5000000}, NULL);
}

static uint64_t in_force(void)
{
    struct tg_supply_meta meta = {0};

    tg_supply_meta(supply, &meta);
    return meta.sequence;
}

static bool says(const char *words)
{
    struct tg_buf text = {0};
    bool found;

    tg_worker_call(control, describe_source, &text);
    found = strstr(tg_buf_cstr(&text), words) != NULL;
    tg_buf_fini(&text);
    return found;
}

static void wait_for_sequence(uint64_t want)
{
    for (unsigned i = 0; i < 1000 && in_force() != want; i++)
        turn();
    turn();
    if (in_force() != want)
        fail_msg("sequence %llu, not %llu", (unsigned long long)in_force(), (unsigned long long)want);
}

static void wait_for_words(const char *words)
{
    for (unsigned i = 0; i < 1000 && !says(words); i++)
        turn();
    if (!says(words))
        fail_msg("never \"%s\"", words);
}

static void wait_for_peace(void)
{
    for (unsigned i = 0; i < 1000 && says("; "); i++)
        turn();
    assert_false(says("; "));
}

static void put(const struct key *k, const char *set, uint64_t sequence)
{
    struct tg_buf text = {0};

    make_bundle(k, set, sequence, made_s, made_s + 1000, &text);
    assert_int_equal(tg_file_replace(file, tg_buf_slice(&text), 0644, NULL), TG_OK);
    tg_buf_fini(&text);
}

static void put_text(const char *text)
{
    assert_int_equal(tg_file_replace(file, tg_slice_str(text), 0644, NULL), TG_OK);
}

/* ---- what it does ---- */

static void newer_ones_only(void **state)
{
    (void)state;
    put(&key, SET_OF("/7"), 7);
    begin();
    wait_for_sequence(7);
    assert_true(says("sequence 7, signed by "));
    assert_false(says("; "));
    put(&key, SET_OF("/6"), 6);
    wait_for_words("its sequence 6 is older than 7");
    put(&key, SET_OF("/other"), 7);
    wait_for_words("its sequence 7 was taken already, with other content or another end");
    assert_int_equal(in_force(), 7);
    assert_int_equal(taken, 1);
    put(&key, SET_OF("/8"), 8);
    wait_for_sequence(8);
    assert_false(says("; "));
    assert_int_equal(taken, 2);
    end();
    forget();
}

static void the_last_good_one_stays(void **state)
{
    (void)state;
    put(&key, SET_OF("/7"), 7);
    begin();
    wait_for_sequence(7);
    put(&other, SET_OF("/8"), 8);
    wait_for_words("not trusted");
    put_text("");
    wait_for_words("no bundle");
    put_text("{\"seq\":9}");
    wait_for_words("not signed");
    unlink(file);
    wait_for_words("No such file");
    assert_int_equal(mkdir(file, 0755), 0);
    wait_for_words("not a file");
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(mkfifo(file, 0644), 0);             /* nobody waits for its writer */
    wait_for_words("not a file");
    assert_int_equal(in_force(), 7);
    assert_int_equal(taken, 1);
    unlink(file);
    put(&key, SET_OF("/7"), 7);
    wait_for_peace();
    assert_int_equal(taken, 1);
    end();
    forget();
}

/* As a ConfigMap is mounted: the name leads through a link to a folder, and that link is renamed over. */
static void swapped_links(void **state)
{
    char a[96], b[96], link_path[96], next[96], was[64];

    (void)state;
    snprintf(was, sizeof(was), "%s", file);
    snprintf(a, sizeof(a), "%s/a", folder);
    snprintf(b, sizeof(b), "%s/b", folder);
    snprintf(link_path, sizeof(link_path), "%s/..data", folder);
    snprintf(next, sizeof(next), "%s/..tmp", folder);
    assert_int_equal(mkdir(a, 0755), 0);
    assert_int_equal(mkdir(b, 0755), 0);
    snprintf(file, sizeof(file), "%s/a/p", folder);
    put(&key, SET_OF("/1"), 1);
    snprintf(file, sizeof(file), "%s/b/p", folder);
    put(&key, SET_OF("/2"), 2);
    assert_int_equal(symlink("a", link_path), 0);
    snprintf(file, sizeof(file), "%s/..data/p", folder);
    begin();
    wait_for_sequence(1);
    assert_int_equal(symlink("b", next), 0);
    assert_int_equal(rename(next, link_path), 0);
    wait_for_sequence(2);
    end();
    unlink(file);
    assert_int_equal(unlink(link_path), 0);
    snprintf(file, sizeof(file), "%s/a/p", folder);
    unlink(file);
    rmdir(a);
    rmdir(b);
    snprintf(file, sizeof(file), "%s", was);
    forget();
}

static void a_restart_remembers(void **state)
{
    (void)state;
    put(&key, SET_OF("/7"), 7);
    begin();
    wait_for_sequence(7);
    end();
    put(&key, SET_OF("/6"), 6);                          /* rolled back while nobody looked */
    begin();
    wait_for_words("its sequence 6 is older than 7");
    wait_for_sequence(7);
    assert_int_equal(taken, 1);                          /* what was kept */
    put(&key, SET_OF("/other"), 7);
    wait_for_words("with other content");
    end();
    put(&key, SET_OF("/7"), 7);
    begin();
    wait_for_sequence(7);
    wait_for_words("sequence 7, signed by");
    assert_int_equal(taken, 1);
    end();
    forget();
}

/* What was kept does not compile any more: an older one is no way out. */
static void a_restart_that_refuses_it_does_not_go_back(void **state)
{
    (void)state;
    put(&key, SET_OF("/7"), 7);
    begin();
    wait_for_sequence(7);
    end();
    put(&key, SET_OF("/6"), 6);
    begin();
    refusal = "route r: to: not allowed here";
    turn();
    assert_int_equal(taken, 1);
    refusal = NULL;
    for (unsigned i = 0; i < 60; i++)
        turn();
    assert_int_equal(in_force(), 0);
    assert_true(says("its sequence 6 is older than 7"));
    put(&key, SET_OF("/8"), 8);
    wait_for_sequence(8);
    end();
    forget();
}

/* It is good, but does not compile on this machine. */
static void refused_by_boot(void **state)
{
    (void)state;
    put(&key, SET_OF("/7"), 7);
    begin();
    wait_for_sequence(7);
    refusal = "route r: to: not allowed here";
    put(&key, SET_OF("/8"), 8);
    for (unsigned i = 0; i < 1000 && taken < 2; i++)
        turn();
    assert_int_equal(taken, 2);
    assert_int_equal(in_force(), 7);
    for (unsigned i = 0; i < 60; i++)
        turn();
    assert_int_equal(taken, 2);                          /* not tried again and again */
    put(&key, SET_OF("/7"), 7);                          /* its publisher goes back */
    for (unsigned i = 0; i < 60; i++)
        turn();
    assert_int_equal(in_force(), 7);
    wait_for_peace();
    refusal = NULL;
    put(&key, SET_OF("/8b"), 8);                         /* 8 was never in force */
    wait_for_sequence(8);
    end();
    forget();
}

static void keys_in_rotation(void **state)
{
    struct tg_buf both = {0};
    struct tg_jwks *two = NULL;

    (void)state;
    tg_buf_add_slice(&both, tg_buf_slice(&key.pem));
    tg_buf_add_slice(&both, tg_buf_slice(&other.pem));
    assert_int_equal(tg_jwks_from_pem(tg_buf_slice(&both), &two, NULL), TG_OK);
    put(&key, SET_OF("/1"), 1);
    begin_with(two);
    wait_for_sequence(1);
    put(&other, SET_OF("/1"), 1);                        /* the same, signed with the new key */
    for (unsigned i = 0; i < 40; i++)
        turn();
    assert_false(says("; "));
    put(&other, SET_OF("/2"), 2);
    wait_for_sequence(2);
    end();
    tg_jwks_unref(two);
    tg_buf_fini(&both);
    forget();
}

/* What was made ahead of our clock is taken when its time comes. */
static void time_comes(void **state)
{
    int64_t now_ms = tg_clock_wall_ms();

    (void)state;
    put(&key, SET_OF("/1"), 1);
    tg_clock_set_wall_ms(now_ms - 3600000);
    begin();
    wait_for_words("still to come");
    tg_clock_set_wall_ms(now_ms);
    wait_for_sequence(1);
    end();
    forget();
    put(&key, SET_OF("/1"), 1);
    tg_clock_set_wall_ms(now_ms + 1000000);
    begin();
    wait_for_words("it expired at");
    assert_int_equal(in_force(), 0);
    end();
    tg_clock_set_wall_ms(-1);
    forget();
}

static int start(void **state)
{
    static const struct tg_worker_hooks hooks;

    (void)state;
    tg_log_set_level(TG_LOG_OFF);
    made_s = tg_clock_wall_ms() / 1000 - 1;
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof(file), "%s/bundle", folder);
    snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
    key = make_key(TG_ALG_EdDSA);
    other = make_key(TG_ALG_EdDSA);
    return mkdir(state_dir, 0700) == 0 && tg_worker_start(256, "control", &hooks, &control, NULL) == TG_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    tg_worker_stop(control);
    free_key(&key);
    free_key(&other);
    rmdir(state_dir);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_ones_only), cmocka_unit_test(the_last_good_one_stays), cmocka_unit_test(swapped_links),
        cmocka_unit_test(a_restart_remembers), cmocka_unit_test(refused_by_boot), cmocka_unit_test(keys_in_rotation),
        cmocka_unit_test(time_comes),      cmocka_unit_test(a_restart_that_refuses_it_does_not_go_back),
    };

    return cmocka_run_group_tests_name("store/bundle_source", tests, start, stop);
}
