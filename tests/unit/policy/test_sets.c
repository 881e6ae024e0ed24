/* Sets and ranges against looking at every element. */
#include "support.h"
#include "../../../proxy/policy/internal.h"
#include "base/hash.h"

/* Values that are equal and values that nearly are. */
static const char values_text[] =
    "[\"\", \"5\", \"a\", \"A\", \"true\", \"null\", 5, 5.0, 50e-1, 0.5e1, 0, -0, 0.0, 6, -5, 1e2, 100, 0.1, 0.10,"
    " 9007199254740993, 9007199254740992, 9007199254740993.0, 0.1000000000000000055, 1e-400, 1e300, true, false, null,"
    " [], [1], [1.0], [1, 2], [2, 1], {}, {\"a\": 1}, {\"a\": 1.0}, {\"b\": 1},"
    " {\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1}, \"zz\", \"zzz\"]";

static struct tg_claim_value claim_value(const cJSON *json)
{
    struct tg_claim_value v = {.json = json};

    if (tg_json_str(json, &v.str))
        v.hash = tg_hash_slice(v.str);
    return v;
}

/* Of every size from 0: what is in the set is what equals one of its members. */
static void equal_values(void **state)
{
    struct tg_arena arena;
    cJSON *all = NULL;
    int total;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_json_parse(tg_slice_str(values_text), NULL, &all, NULL), TG_OK);
    total = cJSON_GetArraySize(all);
    for (int start = 0; start < total; start++) {
        for (int size = 0; start + size <= total; size++) {
            struct tg_set *set = tg_set_new(&arena, (size_t)size);
            const cJSON *probe;

            for (int i = start; i < start + size; i++)
                tg_set_add(set, cJSON_GetArrayItem(all, i));
            cJSON_ArrayForEach(probe, all) {
                struct tg_claim_value v = claim_value(probe);
                bool want = false;

                for (int i = start; i < start + size; i++)
                    want |= tg_json_eq(cJSON_GetArrayItem(all, i), probe);
                if (tg_set_has_value(set, &v) != want)
                    fail_msg("%d values from %d: %s", size, start, cJSON_PrintUnformatted(probe));
                if (cJSON_IsString(probe)) {
                    struct tg_text text = {.s = v.str};

                    assert_int_equal(tg_set_has_text(set, &text), want);
                }
            }
        }
        tg_arena_reset(&arena);
    }
    cJSON_Delete(all);
    tg_arena_fini(&arena);
}

static void many_texts(void **state)
{
    enum { COUNT = 10000 };
    static char names[2 * COUNT][32];
    static cJSON nodes[COUNT];
    struct tg_arena arena;
    struct tg_set *set;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    set = tg_set_new(&arena, 2 * COUNT);
    for (int i = 0; i < 2 * COUNT; i++)
        snprintf(names[i], sizeof(names[i]), "u%d@example.com", i);
    for (int twice = 0; twice < 2; twice++) {            /* duplicates take no second place */
        for (int i = 0; i < COUNT; i++) {
            nodes[i] = (cJSON){.type = cJSON_String, .valuestring = names[i]};
            tg_set_add(set, &nodes[i]);
        }
    }
    assert_int_equal(set->count, COUNT);
    for (int i = 0; i < 2 * COUNT; i++) {
        struct tg_text text = {.s = tg_slice_str(names[i])};

        assert_int_equal(tg_set_has_text(set, &text), i < COUNT);
    }
    tg_arena_fini(&arena);
}

static uint64_t random_u64(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Addresses from a small world, so that blocks nest and meet. */
static struct tg_ip random_ip(uint64_t *seed)
{
    struct tg_ip ip = {.family = random_u64(seed) % 2 ? 4 : 6};

    for (unsigned i = 0; i < (ip.family == 4 ? 4u : 16u); i++) {
        static const uint8_t few[] = {0, 1, 127, 128, 254, 255};
        ip.bytes[i] = i == 0 && ip.family == 6 ? 0x20 : few[random_u64(seed) % 6];
    }
    return ip;
}

static struct tg_cidr random_cidr(uint64_t *seed)
{
    struct tg_ip ip = random_ip(seed);
    char address[TG_IP_TEXT], text[TG_IP_TEXT + 8];
    struct tg_cidr cidr;

    tg_ip_format(&ip, address);
    snprintf(text, sizeof(text), "%s/%u", address, (unsigned)(random_u64(seed) % (ip.family == 4 ? 33 : 129)));
    assert_true(tg_cidr_parse(tg_slice_str(text), &cidr));
    return cidr;
}

static void ranges(void **state)
{
    uint64_t seed = 7;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    for (int round = 0; round < 2000; round++) {
        struct tg_cidr blocks[12];
        size_t count = random_u64(&seed) % ARRAY_LEN(blocks);
        struct tg_ranges *r;

        for (size_t i = 0; i < count; i++)
            blocks[i] = random_cidr(&seed);
        r = tg_ranges_new(&arena, blocks, count);
        for (int probe = 0; probe < 20; probe++) {
            struct tg_ip ip = random_ip(&seed);
            bool want = false;

            for (size_t i = 0; i < count; i++)
                want |= tg_cidr_contains(&blocks[i], &ip);
            assert_int_equal(tg_ranges_hold(r, &ip), want);
        }
        assert_false(tg_ranges_hold(r, &(struct tg_ip){0}));
        tg_arena_reset(&arena);
    }
    tg_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values),
        cmocka_unit_test(many_texts),
        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
