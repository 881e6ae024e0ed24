/*
 * map - against a plain array as the model, and iteration in order while deleting.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/map.h"
#include <stdio.h>
#include <stdlib.h>

#define KEYS 700

static struct tg_slice key_of(int i, char buf[16])
{
    return tg_slice(buf, (size_t)snprintf(buf, 16, "k%d", i));
}

static void like_a_model(void **state)
{
    (void)state;
    struct tg_map *map = tg_map_new(NULL);
    static int values[KEYS];
    bool there[KEYS] = {false};
    size_t count = 0;
    uint32_t random = 1;
    char buf[16];

    assert_null(tg_map_get(map, TG_S("none")));
    assert_false(tg_map_del(map, TG_S("none")));
    for (int step = 0; step < 60000; step++) {
        int i;

        random = random * 1664525 + 1013904223;
        i = (int)(random >> 8) % KEYS;
        if (random >> 31) {
            assert_int_equal(tg_map_put(map, key_of(i, buf), &values[i]), !there[i]);
            count += !there[i];
            there[i] = true;
        } else {
            assert_int_equal(tg_map_del(map, key_of(i, buf)), there[i]);
            count -= there[i];
            there[i] = false;
        }
        assert_int_equal(tg_map_count(map), count);
        i = (i + 1) % KEYS;
        assert_ptr_equal(tg_map_get(map, key_of(i, buf)), there[i] ? &values[i] : NULL);
    }
    tg_map_free(map);
    tg_map_free(NULL);
}

static void order_survives(void **state)
{
    (void)state;
    struct tg_map *map = tg_map_new(NULL);
    static int values[KEYS];
    struct tg_slice key;
    void *value;
    char buf[16];
    int n = 0;

    for (int i = 0; i < KEYS; i++)
        tg_map_put(map, key_of(i, buf), &values[i]);
    for (size_t at = 0; tg_map_next(map, &at, &key, &value); n++) {
        assert_ptr_equal(value, &values[n]);
        assert_true(tg_slice_eq(key, key_of(n, buf)));
        if (n % 3)
            assert_true(tg_map_del(map, key_of(n, buf))); /* the one just seen */
    }
    assert_int_equal(n, KEYS);
    for (int i = KEYS; i < 2 * KEYS; i++)
        tg_map_put(map, key_of(i, buf), &values[0]);     /* closes the holes */
    n = 0;
    for (size_t at = 0; n < KEYS && tg_map_next(map, &at, &key, &value); n += 3)
        assert_ptr_equal(value, &values[n]);
    tg_map_free(map);
}

static int freed;
static void count_free(void *value)
{
    freed++;
    free(value);
}

static void values_are_freed_once(void **state)
{
    (void)state;
    struct tg_map *map = tg_map_new(count_free);
    void *same = malloc(1);

    tg_map_put(map, TG_S("a"), malloc(1));
    tg_map_put(map, TG_S("a"), malloc(1));
    assert_int_equal(freed, 1);
    tg_map_put(map, TG_S("b"), same);
    tg_map_put(map, TG_S("b"), same);                    /* put again: still ours */
    assert_int_equal(freed, 1);
    tg_map_del(map, TG_S("a"));
    assert_int_equal(freed, 2);
    tg_map_put(map, tg_slice(NULL, 0), malloc(1));       /* the empty key is a key */
    tg_map_put(map, TG_S("\0"), malloc(1));
    assert_int_equal(tg_map_count(map), 3);
    tg_map_free(map);
    assert_int_equal(freed, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_a_model), cmocka_unit_test(order_survives),
                                       cmocka_unit_test(values_are_freed_once)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
