/*
 * fuzz_json - what the reader takes, printed and read again, is equal; and a scan says the same as a parse.
 */
#include "base/json.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_slice text = {(const char *)data, size};
    struct tg_buf once = {0}, twice = {0};
    cJSON *first = NULL, *second = NULL;
    struct tg_err err = {0};
    enum tg_status st = tg_json_parse(text, NULL, &first, &err);

    if ((st == TG_OK) != (tg_json_scan(text, NULL, NULL) == TG_OK))
        abort();
    if (st != TG_OK) {
        if (!err.text[0])
            abort();
        return 0;
    }
    if (!tg_json_eq(first, first))
        abort();
    tg_json_print(&once, first);
    if (tg_json_parse(tg_buf_slice(&once), NULL, &second, NULL) != TG_OK || !tg_json_eq(first, second) ||
        !tg_json_eq(second, first))
        abort();
    tg_json_print(&twice, second);
    if (!tg_slice_eq(tg_buf_slice(&once), tg_buf_slice(&twice)))
        abort();                                         /* printing has settled */
    cJSON_Delete(first);
    cJSON_Delete(second);
    tg_buf_fini(&once);
    tg_buf_fini(&twice);
    return 0;
}
