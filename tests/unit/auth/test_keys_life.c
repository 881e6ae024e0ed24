/* keys: outages, max_stale, reloads, and the last good set on disk. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "keys_bench.h"
#include "base/file.h"
#include <sys/stat.h>

static void down_then_up(void **state)
{
    (void)state;
    http_peer_stop(&peer);
    up();
    expect(first, "a", TG_AUTHN_UNAVAILABLE);
    usleep(250000);
    assert_true(describes("discovery document: connection refused"));
    http_peer_start(&peer);
    assert_true(wait_ready(true));
    expect(first, "a", TG_AUTHN_OK);
    down();
}

/* The last good set serves on, for max_stale and no longer; and then comes back. */
static void outage(void **state)
{
    struct tg_slice cached = token_of(first, "cached");

    (void)state;
    item.max_stale_ms = 700;
    PROVIDER(fields, "Cache-Control: max-age=0\r\n");
    up();
    assert_true(wait_ready(true));
    assert_int_equal(ask(cached), TG_AUTHN_OK);
    PROVIDER(raw_keys, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n");
    usleep(350000);
    assert_true(describes("status 503"));
    expect(first, "fresh", TG_AUTHN_OK);
    assert_int_equal(ask(cached), TG_AUTHN_OK);
    assert_true(wait_ready(false));
    expect(first, "fresh", TG_AUTHN_UNAVAILABLE);
    assert_int_equal(ask(cached), TG_AUTHN_UNAVAILABLE); /* the bound holds for the cache too */
    PROVIDER(raw_keys, NULL);
    assert_true(wait_ready(true));
    assert_int_equal(ask(cached), TG_AUTHN_OK);
    down();
    drop(cached);
}

static void withdrawn_set_is_obeyed(void **state)
{
    (void)state;
    PROVIDER(fields, "Cache-Control: max-age=0\r\n");
    up();
    assert_true(wait_ready(true));
    PROVIDER(raw_keys, "HTTP/1.1 200 x\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}");
    assert_true(wait_ready(false));
    expect(first, "a", TG_AUTHN_UNAVAILABLE);
    PROVIDER(raw_keys, NULL);
    assert_true(wait_ready(true));
    down();
}

static void sources_outlive_reloads(void **state)
{
    struct tg_provider same, other;
    struct tg_providers reload = {&same, 1}, changed = {&other, 1};

    (void)state;
    up();
    assert_true(wait_ready(true));
    make_provider(&same);
    tg_worker_call(control, bind_on_control, &reload);
    assert_ptr_equal(same.source, item.source);
    make_provider(&other);
    other.discovery = false;
    other.jwks_url = tg_slice_str(keys_url);
    tg_worker_call(control, bind_on_control, &changed);
    assert_ptr_not_equal(other.source, item.source);
    assert_true(wait_ready(true));
    assert_int_equal(fetches(), 2);
    tg_providers_fini(&changed);
    tg_worker_call(control, bind_on_control, &reload);   /* bound already: only sweeps */
    tg_providers_fini(&reload);
    expect(first, "a", TG_AUTHN_OK);
    down();
}

static void start_without_provider(enum tg_authn_result want)
{
    http_peer_stop(&peer);
    up();
    expect(first, "a", want);
    down();
    http_peer_start(&peer);
}

static void kept_on_disk(void **state)
{
    char folder[] = "/tmp/tollgate-keys-XXXXXX", *path;
    struct tg_buf text = {0};
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(folder));
    path = tg_key_file_name(folder, issuer);
    state_dir = folder;
    start_without_provider(TG_AUTHN_UNAVAILABLE);
    up();
    assert_true(wait_ready(true));
    down();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    start_without_provider(TG_AUTHN_OK);
    item.discovery = false;                              /* the same issuer, keys from elsewhere: not these */
    item.jwks_url = tg_slice_str(keys_url);
    start_without_provider(TG_AUTHN_UNAVAILABLE);
    make_provider(&item);
    tg_clock_set_wall_ms(tg_clock_wall_ms() + 61000);
    start_without_provider(TG_AUTHN_UNAVAILABLE);        /* older than max_stale */
    tg_clock_set_wall_ms(tg_clock_wall_ms() - 3600000);
    start_without_provider(TG_AUTHN_UNAVAILABLE);        /* from the future */
    tg_clock_set_wall_ms(-1);
    assert_int_equal(tg_file_read(path, 1 << 20, &text, NULL), TG_OK);
    for (size_t cut = 0; cut + 1 < text.len; cut += 7) { /* a broken file is no file */
        struct tg_jwks *set = NULL;
        struct tg_key_source *s = tg_key_source_new(issuer, "x", true, NULL);
        int64_t fetched_s;

        assert_int_equal(tg_file_replace(path, tg_slice(text.data, cut), 0600, NULL), TG_OK);
        assert_int_not_equal(tg_key_file_load(path, s, &set, &fetched_s, NULL), TG_OK);
        assert_null(set);
        tg_key_source_unref(s);
    }
    start_without_provider(TG_AUTHN_UNAVAILABLE);
    tg_buf_fini(&text);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
    free(path);
}

static void unwritable_state_dir(void **state)
{
    (void)state;
    state_dir = "/proc/nowhere";
    up();
    assert_true(wait_ready(true));
    expect(first, "a", TG_AUTHN_OK);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(down_then_up), TEST(outage), TEST(withdrawn_set_is_obeyed), TEST(sources_outlive_reloads),
        TEST(kept_on_disk), TEST(unwritable_state_dir),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
