/*
 * redis_parse - every form of a store's URL, and that an error never shows what may be a password.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "io/redis.h"
#include <stdio.h>

static const struct {
    const char *url, *host;
    unsigned port;
    const char *path, *username, *password;
    unsigned database;
    bool tls;
    const char *told;
} good[] = {
    {"redis://localhost", "localhost", 6379, "", "", "", 0, false, "redis://localhost:6379"},
    {"REDIS://localhost/", "localhost", 6379, "", "", "", 0, false, "redis://localhost:6379"},
    {"redis://10.0.0.1:7000/3", "10.0.0.1", 7000, "", "", "", 3, false, "redis://10.0.0.1:7000/3"},
    {"redis://[::1]:7000", "::1", 7000, "", "", "", 0, false, "redis://[::1]:7000"},
    {"redis://[::1]", "::1", 6379, "", "", "", 0, false, "redis://[::1]:6379"},
    {"redis://:hunter2@cache", "cache", 6379, "", "", "hunter2", 0, false, "redis://cache:6379"},
    {"redis://gate:hunter2@cache:1/2", "cache", 1, "", "gate", "hunter2", 2, false, "redis://cache:1/2"},
    {"redis://gate@cache", "cache", 6379, "", "gate", "", 0, false, "redis://cache:6379"},
    {"redis://g%40te:a%2Fb%3a%40%25c@cache", "cache", 6379, "", "g@te", "a/b:@%c", 0, false, "redis://cache:6379"},
    {"redis://:a@b@cache", "cache", 6379, "", "", "a@b", 0, false, "redis://cache:6379"},
    {"redis://:a:b@cache", "cache", 6379, "", "", "a:b", 0, false, "redis://cache:6379"},
    {"rediss://cache.example:6380/0", "cache.example", 6380, "", "", "", 0, true, "rediss://cache.example:6380"},
    {"unix:///run/redis.sock", "", 0, "/run/redis.sock", "", "", 0, false, "unix:///run/redis.sock"},
    {"unix:///run/redis.sock?db=7", "", 0, "/run/redis.sock", "", "", 7, false, "unix:///run/redis.sock?db=7"},
    {"redis+unix:///a%20b", "", 0, "/a b", "", "", 0, false, "unix:///a b"},
};

static void expect_slice(struct tg_slice got, const char *want, const char *url)
{
    if (!tg_slice_eq(got, tg_slice_str(want)))
        fail_msg("%s: \"" TG_S_FMT "\" is not \"%s\"", url, TG_S_ARG(got), want);
}

static void right_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct tg_arena arena;
        struct tg_redis_address a;
        struct tg_err err = {0};
        struct tg_buf told = {0};

        tg_arena_init(&arena, NULL, 0);
        if (tg_redis_parse(tg_slice_str(good[i].url), &arena, &a, &err) != TG_OK)
            fail_msg("%s: %s", good[i].url, err.text);
        expect_slice(a.host, good[i].host, good[i].url);
        expect_slice(a.path, good[i].path, good[i].url);
        expect_slice(a.username, good[i].username, good[i].url);
        expect_slice(a.password, good[i].password, good[i].url);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(a.database, good[i].database);
        assert_int_equal(a.tls, good[i].tls);
        tg_redis_describe(&a, &told);
        assert_string_equal(tg_buf_cstr(&told), good[i].told);
        tg_buf_fini(&told);
        tg_arena_fini(&arena);
    }
}

static const struct { const char *url, *part; } bad[] = {
    {"", "begins with"},
    {"redis:/hunter2@cache", "begins with"},
    {"http://:hunter2@cache", "begins with"},
    {"hunter2", "begins with"},
    {"redis://", "host"},
    {"redis://:hunter2@", "host"},
    {"redis://:hunter2@:6379", "host"},
    {"redis://:hunter2@ca che", "host"},
    {"redis://[::1", "host"},
    {"redis://[hunter2]", "host"},
    {"redis://[::1]6379", "host"},
    {"redis://::1:6379", "host"},
    {"redis://gate:hunter2/x@cache", "port"},
    {"redis://gate:hunter2?x@cache", "port"},
    {"redis://gate:hunter2#x@cache", "port"},
    {"redis://cache:0", "port"},
    {"redis://cache:65536", "port"},
    {"redis://cache:+1", "port"},
    {"redis://cache:1:2", "port"},
    {"redis://cache/hunter2", "database"},
    {"redis://cache/-1", "database"},
    {"redis://cache/1/2", "database"},
    {"redis://cache/2147483648", "database"},
    {"redis://cache/99999999999999999999", "database"},
    {"redis://cache/1?password=hunter2", "/DATABASE"},
    {"redis://cache?db=1", "/DATABASE"},
    {"redis://cache/1#hunter2", "/DATABASE"},
    {"redis://:hunter2%@cache", "password"},
    {"redis://:hunter2%4@cache", "password"},
    {"redis://:hunter2%zz@cache", "password"},
    {"redis://:hunter2%00@cache", "password holds a NUL"},
    {"redis://hunter2%g0:x@cache", "user name"},
    {"unix://hunter2", "absolute"},
    {"unix:///", "absolute"},
    {"unix://gate:hunter2@/run/redis.sock", "absolute"},
    {"unix:///run/%zz", "path"},
    {"unix:///run/a%00b", "path"},
    {"unix:///run/redis.sock?db=x", "database"},
    {"unix:///run/redis.sock?password=hunter2", "?db="},
    {"unix:///0123456789/0123456789/0123456789/0123456789/"
     "0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/hunter2",
     "path"},
};

static void wrong_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tg_arena arena;
        struct tg_redis_address a = {.port = 77};
        struct tg_err err = {0};

        tg_arena_init(&arena, NULL, 0);
        if (tg_redis_parse(tg_slice_str(bad[i].url), &arena, &a, &err) != TG_BAD_INPUT)
            fail_msg("%s is taken", bad[i].url);
        if (!strstr(err.text, bad[i].part))
            fail_msg("%s: \"%s\" does not name \"%s\"", bad[i].url, err.text, bad[i].part);
        assert_null(strstr(err.text, "hunter2"));
        assert_int_equal(a.port, 77);                    /* written on success only */
        tg_arena_fini(&arena);
    }
}

/* Whatever the cut: no crash, no password in a sentence; and the whole is read from the whole. */
static void every_prefix(void **state)
{
    static const char url[] = "rediss://gate:hunter2%2F@[2001:db8::1]:6380/12";

    (void)state;
    for (size_t len = 0; len < sizeof(url); len++) {
        struct tg_arena arena;
        struct tg_redis_address a;
        struct tg_err err = {0};
        char *copy = tg_slice_dup(tg_slice(url, len));   /* so that reading beyond it shows */

        tg_arena_init(&arena, NULL, 0);
        if (tg_redis_parse(tg_slice(copy, len), &arena, &a, &err) != TG_OK)
            assert_null(strstr(err.text, "hunter"));
        else
            assert_true(len > strlen("rediss://"));
        tg_arena_fini(&arena);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_ones),
        cmocka_unit_test(wrong_ones),
        cmocka_unit_test(every_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
