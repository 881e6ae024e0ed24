/*
 * fuzz_zone - any octets as a zone's file, and any octets as the rule at the end of one.
 *
 * Laws: nothing crashes, nothing is read behind the end; offsets are those of the file or of its rule, at all times.
 */
#include "base/zone.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct tg_slice content)
{
    static const int64_t times[] = {INT64_MIN, -10000000000, -1, 0, 1, 951782400, 1800000000, 4102444800, 1000000000000,
                                    INT64_MAX};
    const struct tg_zone *zone;
    struct tg_arena arena;
    struct tg_err err = {0};

    tg_arena_init(&arena, NULL, 0);
    if (tg_zone_read(content, &arena, &zone, &err) != TG_OK) {
        if (!err.text[0])
            abort();
    } else {
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
            int32_t offset_s = tg_zone_offset_s(zone, times[i]);

            if (offset_s < -100 * 3600 || offset_s > 100 * 3600)
                abort();
        }
    }
    tg_arena_fini(&arena);
}

static void put_part(struct tg_buf *b)
{
    static const char head[44] = {'T', 'Z', 'i', 'f', '2', [39] = 1, [43] = 4};

    tg_buf_add(b, head, sizeof(head));
    tg_buf_add(b, "\0\0\0\0\0\0LMT", 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_buf file = {0};

    ask(tg_slice((const char *)data, size));
    put_part(&file);
    put_part(&file);
    tg_buf_addc(&file, '\n');
    tg_buf_add(&file, data, size);
    tg_buf_addc(&file, '\n');
    ask(tg_buf_slice(&file));
    tg_buf_fini(&file);
    return 0;
}
