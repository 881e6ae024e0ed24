/*
 * fuzz_mcp - any octets as the content of a request.
 *
 * Laws: nothing crashes; what is refused has a sentence; of what is taken a careless reader sees the same: one that
 * ignores the case of names and takes the last of several, and one that takes the first, find the same method and tool;
 * with an octet more behind it is refused.
 */
#include "base/json.h"
#include "policy/mcp.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As careless readers look: cJSON itself, which ignores case; the first of its kind, or the last. */
static const cJSON *careless(const cJSON *object, const char *name, bool last)
{
    const cJSON *member, *found = NULL;

    cJSON_ArrayForEach(member, object) {
        if (tg_slice_eq_nocase(tg_slice_str(member->string), tg_slice_str(name)) && (last || !found))
            found = member;
    }
    return found;
}

static void same_for(const cJSON *message, const struct tg_mcp_call *call, bool last)
{
    const char *method = cJSON_GetStringValue(careless(message, "method", last));
    const char *name = cJSON_GetStringValue(careless(careless(message, "params", last), "name", last));
    bool is_call = method && strcmp(method, "tools/call") == 0;

    if (is_call != call->tool_call)
        abort();
    if (is_call && (!name || !tg_slice_eq(call->tool, tg_slice_str(name))))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_slice content = tg_slice((const char *)data, size);
    struct tg_mcp_call call, again;
    struct tg_buf more = {0};
    struct tg_arena arena;
    struct tg_err err = {0};
    cJSON *message;

    tg_arena_init(&arena, NULL, 0);
    if (tg_mcp_read(content, &arena, &call, &err) != TG_OK) {
        if (!err.text[0])
            abort();
    } else if (size > 0) {
        message = cJSON_ParseWithLength(content.ptr, size);
        if (!cJSON_IsObject(message))
            abort();
        same_for(message, &call, true);
        same_for(message, &call, false);
        cJSON_Delete(message);
        tg_buf_add_slice(&more, content);
        tg_buf_addc(&more, 'x');
        if (tg_mcp_read(tg_buf_slice(&more), &arena, &again, NULL) != TG_BAD_INPUT)
            abort();
        tg_buf_fini(&more);
    }
    tg_arena_fini(&arena);
    return 0;
}
