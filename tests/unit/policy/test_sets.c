/* Sets, affixes and networks against looking at every element. */
#include "support.h"
#include "../../../proxy/policy/internal.h"
#include "base/hash.h"

/* Values that are equal and values that nearly are. */
static const char values_text[] =
    "[\"\", \"5\", \"a\", \"A\", \"true\", \"null\", 5, 5.0, 50e-1, 0.5e1, 0, -0, 0.0, 6, -5, 1e2, 100, 0.1, 0.10,"
    " 9007199254740993, 9007199254740992, 9007199254740993.0, 0.1000000000000000055, 1e-400, 1e300, true, false, null,"
    " [], [1], [1.0], [1, 2], [2, 1], {}, {\"a\": 1}, {\"a\": 1.0}, {\"b\": 1},"
    " {\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1}, {\"a\": {\"c\": 1, \"d\": [{}]}, \"b\": 2}, \"zz\","
    " {\"b\": 2, \"a\": {\"d\": [{}], \"c\": 1}}, {\"b\": 2, \"a\": {\"d\": [[]], \"c\": 1}}, [{}], [[]], \"zzz\"]";

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
                tg_set_add(set, cJSON_GetArrayItem(all, i), (uint32_t)i);
            cJSON_ArrayForEach(probe, all) {
                struct tg_claim_value v = claim_value(probe);
                const struct tg_set_item *found = tg_set_find_value(set, &v);
                uint32_t want = TG_NOBODY;

                for (int i = start + size - 1; i >= start; i--)
                    want = tg_json_eq(cJSON_GetArrayItem(all, i), probe) ? (uint32_t)i : want;
                if ((found ? found->owner : TG_NOBODY) != want)
                    fail_msg("%d values from %d: %s", size, start, cJSON_PrintUnformatted(probe));
                if (cJSON_IsString(probe)) {
                    struct tg_text text = {.s = v.str};

                    found = tg_set_find_text(set, &text);
                    assert_int_equal(found ? found->owner : TG_NOBODY, want);
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
            tg_set_add(set, &nodes[i], 0);
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

/* The least owner of the blocks that hold the address, however they nest. */
static void networks(void **state)
{
    uint64_t seed = 7;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    for (int round = 0; round < 4000; round++) {
        struct tg_cidr blocks[40];
        uint32_t owners[ARRAY_LEN(blocks)];
        size_t count = random_u64(&seed) % (round % 4 ? 12 : ARRAY_LEN(blocks));
        const struct tg_nets *nets;

        for (size_t i = 0; i < count; i++) {
            blocks[i] = random_cidr(&seed);
            owners[i] = (uint32_t)(random_u64(&seed) % 5);
        }
        nets = tg_nets_new(&arena, blocks, round % 3 ? owners : NULL, count);
        for (int probe = 0; probe < 40; probe++) {
            struct tg_ip ip = random_ip(&seed);
            uint32_t want = TG_NOBODY;

            for (size_t i = 0; i < count; i++) {
                uint32_t owner = round % 3 ? owners[i] : 0;

                if (tg_cidr_contains(&blocks[i], &ip) && owner < want)
                    want = owner;
            }
            if (tg_nets_find(nets, &ip) != want)
                fail_msg("round %d: %u instead of %u", round, tg_nets_find(nets, &ip), want);
        }
        assert_int_equal(tg_nets_find(nets, &(struct tg_ip){0}), TG_NOBODY);
        tg_arena_reset(&arena);
    }
    tg_arena_fini(&arena);
}

static struct tg_slice random_text(uint64_t *seed, struct tg_arena *arena)
{
    char text[8];
    size_t len = random_u64(seed) % sizeof(text);

    for (size_t i = 0; i < len; i++)
        text[i] = "ab\xff"[random_u64(seed) % 3];
    return tg_arena_dup(arena, tg_slice(text, len));
}

static void affixes(void **state)
{
    uint64_t seed = 11;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    for (int round = 0; round < 4000; round++) {
        size_t count = random_u64(&seed) % 20;
        struct tg_affix *items = TG_ARENA_ARRAY(&arena, struct tg_affix, count);
        struct tg_affix *copy = TG_ARENA_ARRAY(&arena, struct tg_affix, count);
        const struct tg_affixes *set;
        bool ends = round % 2;

        for (size_t i = 0; i < count; i++)
            items[i] = copy[i] = (struct tg_affix){.text = random_text(&seed, &arena),
                                                   .owner = (uint32_t)(random_u64(&seed) % 4)};
        set = tg_affixes_new(&arena, copy, count, ends, false);
        for (int probe = 0; probe < 40; probe++) {
            struct tg_slice text = random_text(&seed, &arena);
            const struct tg_affix *found = tg_affixes_find(set, text);
            uint32_t want = TG_NOBODY;

            for (size_t i = 0; i < count; i++) {
                bool has = items[i].text.len <= text.len &&
                           memcmp(text.ptr + (ends ? text.len - items[i].text.len : 0), items[i].text.ptr,
                                  items[i].text.len) == 0;

                if (has && items[i].owner < want)
                    want = items[i].owner;
            }
            if ((found ? found->owner : TG_NOBODY) != want)
                fail_msg("round %d: %u instead of %u", round, found ? found->owner : TG_NOBODY, want);
        }
        tg_arena_reset(&arena);
    }
    tg_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values),
        cmocka_unit_test(many_texts),
        cmocka_unit_test(networks),
        cmocka_unit_test(affixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
