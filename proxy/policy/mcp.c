/*
 * mcp - the tool that a request calls, from the JSON-RPC message that is its content.
 *
 * Whoever writes the content wants the policy to see one tool and the service behind it another. What readers are known
 * to differ in is refused: duplicate members (the first, the last), names in another case (some readers fold it, with
 * the two letters outside ASCII that fold into it), __proto__ (some readers inherit from it), a byte order mark, octets
 * after the value, batches, numbers and texts out of the ordinary. The strict reader of base/json sees to most.
 */
#include "policy/mcp.h"
#include "base/json.h"

#define DEPTH 64

/* A character of a name as readers that ignore case see it; *s moves behind it. */
static char folded(struct tg_slice *s)
{
    char c = s->ptr[0];
    size_t len = 1;

    if (tg_slice_starts_with(*s, TG_S("\xc5\xbf"))) {        /* U+017F, the long s */
        c = 's';
        len = 2;
    } else if (tg_slice_starts_with(*s, TG_S("\xe2\x84\xaa"))) { /* U+212A, the Kelvin sign */
        c = 'k';
        len = 3;
    } else if (c >= 'A' && c <= 'Z') {
        c = (char)(c + 32);
    }
    *s = tg_slice(s->ptr + len, s->len - len);
    return c;
}

/* Whether `text` is `word` (in lower case) but for case. */
static bool is_variant(struct tg_slice text, const char *word)
{
    while (text.len > 0 && *word) {
        if (folded(&text) != *word++)
            return false;
    }
    return text.len == 0 && !*word;
}

/* No member may be nearly one of `names`, or pretend to be where others inherit from. */
static enum tg_status check_names(const cJSON *object, const char *const *names, size_t count, struct tg_err *err)
{
    const cJSON *member;

    cJSON_ArrayForEach(member, object) {
        if (strcmp(member->string, "__proto__") == 0)
            return tg_fail(err, TG_BAD_INPUT, "a member may not be called __proto__");
        for (size_t i = 0; i < count; i++) {
            if (strcmp(member->string, names[i]) != 0 && is_variant(tg_slice_str(member->string), names[i]))
                return tg_fail(err, TG_BAD_INPUT, "a member differs from \"%s\" in case only", names[i]);
        }
    }
    return TG_OK;
}

/* Its params are a mapping with the tool's name. */
static enum tg_status read_tool(const cJSON *params, struct tg_arena *arena, struct tg_slice *tool, struct tg_err *err)
{
    static const char *const names[] = {"name", "arguments"};
    enum tg_status st;

    if (!cJSON_IsObject(params))
        return tg_fail(err, TG_BAD_INPUT, "a call of a tool needs \"params\", an object");
    st = check_names(params, names, ARRAY_LEN(names), err);
    if (st != TG_OK)
        return st;
    if (!tg_json_str(tg_json_get(params, "name"), tool))
        return tg_fail(err, TG_BAD_INPUT, "a call of a tool needs \"params.name\", a text");
    *tool = tg_arena_dup(arena, *tool);
    return TG_OK;
}

static enum tg_status read_message(const cJSON *message, struct tg_arena *arena, struct tg_mcp_call *out,
                                   struct tg_err *err)
{
    static const char *const names[] = {"jsonrpc", "method", "params", "id", "result", "error"};
    struct tg_mcp_call call = {.tool_call = false};
    const cJSON *method_node;
    struct tg_slice method, version;
    enum tg_status st;

    if (cJSON_IsArray(message))
        return tg_fail(err, TG_BAD_INPUT, "a batch of calls is not taken: send them one by one");
    if (!cJSON_IsObject(message))
        return tg_fail(err, TG_BAD_INPUT, "not a JSON-RPC message, which is an object");
    st = check_names(message, names, ARRAY_LEN(names), err);
    if (st != TG_OK)
        return st;
    if (!tg_json_str(tg_json_get(message, "jsonrpc"), &version) || !tg_slice_eq(version, TG_S("2.0")))
        return tg_fail(err, TG_BAD_INPUT, "not a JSON-RPC message: \"jsonrpc\" must be \"2.0\"");
    method_node = tg_json_get(message, "method");
    if (method_node) {
        if (!tg_json_str(method_node, &method))
            return tg_fail(err, TG_BAD_INPUT, "\"method\" must be a text");
        if (tg_json_get(message, "result") || tg_json_get(message, "error"))
            return tg_fail(err, TG_BAD_INPUT, "a message is either a request or a response");
        call.tool_call = tg_slice_eq(method, TG_S("tools/call"));
        if (!call.tool_call && is_variant(tg_slice_trim(method), "tools/call"))
            return tg_fail(err, TG_BAD_INPUT, "the method is nearly \"tools/call\"");
    }
    if (call.tool_call)
        st = read_tool(tg_json_get(message, "params"), arena, &call.tool, err);
    if (st == TG_OK)
        *out = call;
    return st;
}

enum tg_status tg_mcp_read(struct tg_slice content, struct tg_arena *arena, struct tg_mcp_call *out, struct tg_err *err)
{
    struct tg_json_limits limits = {.bytes = content.len, .depth = DEPTH};
    struct tg_err why = {0};
    cJSON *message = NULL;
    enum tg_status st;

    if (content.len == 0) {
        *out = (struct tg_mcp_call){.tool_call = false};
        return TG_OK;
    }
    if (tg_json_parse(content, &limits, &message, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "not JSON that all read alike: %s", why.text);
    st = read_message(message, arena, out, err);
    cJSON_Delete(message);
    return st;
}
