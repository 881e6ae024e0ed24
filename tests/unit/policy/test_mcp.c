/* Tools: which content is a call of which, what is refused; the criterion on it. */
#include "support.h"
#include "policy/mcp.h"

#define CALL(more) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"," more "}"
#define NAMED(name) CALL("\"params\":{\"name\":" name ",\"arguments\":{}}")

static const struct {
    const char *why, *content, *tool;                    /* NULL: no call of a tool */
} taken[] = {
    {"a call", NAMED("\"search\""), "search"},
    {"without arguments", CALL("\"params\":{\"name\":\"search\"}"), "search"},
    {"arguments are anybody's", CALL("\"params\":{\"name\":\"a\",\"arguments\":{\"Name\":1,\"METHOD\":2}}"), "a"},
    {"a notification", "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{\"name\":\"a\"}}", "a"},
    {"space around", " \r\n\t" NAMED("\"a\"") "\n", "a"},
    {"escaped",
     "{\"jsonrpc\":\"2.0\",\"m\\u0065thod\":\"tools\\/c\\u0061ll\","
     "\"params\":{\"n\\u0061me\":\"\\u0061\\ud83d\\ude00\"}}",
     "a\xf0\x9f\x98\x80"},
    {"the empty name", NAMED("\"\""), ""},
    {"a name as a policy sees it: with case and space", NAMED("\" Delete\""), " Delete"},
    {"nothing", "", NULL},
    {"another method", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}", NULL},
    {"params of another method", "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"params\":[1]}", NULL},
    {"the result of a call", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"method\":\"tools/call\"}}", NULL},
    {"an error", "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1}}", NULL},
    {"a method that only begins so", "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call/x\"}", NULL},
    {"further members", "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"_meta\":1,\"x\":{\"__proto__\":1}}", NULL},
};

static const struct {
    const char *why, *content, *error;
} refused[] = {
    {"no JSON", "name=search", "not JSON"},
    {"space only", " ", "not JSON"},
    {"cut", "{\"jsonrpc\":\"2.0\"", "not JSON"},
    {"a scalar", "\"tools/call\"", "not a JSON-RPC message"},
    {"null", "null", "not a JSON-RPC message"},
    {"a batch", "[" NAMED("\"a\"") "]", "a batch of calls is not taken"},
    {"an empty batch", "[]", "a batch"},
    {"a second message behind", NAMED("\"a\"") NAMED("\"b\""), "more text follows"},
    {"octets behind", NAMED("\"a\"") "\xff", "more text follows"},
    {"a byte order mark", "\xef\xbb\xbf" NAMED("\"a\""), "byte order mark"},
    {"UTF-16", "{\0\"", "not JSON"},
    {"a comment", "/**/" NAMED("\"a\""), "not JSON"},
    {"a trailing comma", CALL("\"params\":{\"name\":\"a\",}"), "not JSON"},
    {"single quotes", "{'jsonrpc':'2.0'}", "not JSON"},
    {"NaN", CALL("\"params\":{\"name\":\"a\",\"arguments\":{\"x\":NaN}}"), "not JSON"},
    {"invalid UTF-8", NAMED("\"a\xff\""), "UTF-8"},
    {"an overlong a", NAMED("\"\xc1\xa1\""), "UTF-8"},
    {"half a character", NAMED("\"\\ud800\""), "surrogate"},
    {"NUL, where C ends a text", NAMED("\"delete\\u0000x\""), "not JSON"},
    {"two methods", "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"method\":\"tools/call\"}", "appears twice"},
    {"two methods, one escaped",
     "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"m\\u0065thod\":\"tools/call\"}", "appears twice"},
    {"two params", CALL("\"params\":{\"name\":\"a\"},\"params\":{\"name\":\"b\"}"), "appears twice"},
    {"two names", CALL("\"params\":{\"name\":\"a\",\"name\":\"b\"}"), "appears twice"},
    {"two of anything", CALL("\"params\":{\"name\":\"a\",\"arguments\":{\"x\":1,\"x\":2}}"), "appears twice"},
    {"a method for readers that ignore case", "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"Method\":\"tools/call\"}",
     "differs from \"method\" in case only"},
    {"alone, too",
     "{\"jsonrpc\":\"2.0\",\"METHOD\":\"tools/call\",\"params\":{\"name\":\"a\"}}", "differs from \"method\""},
    {"params in capitals", CALL("\"params\":{\"name\":\"a\"},\"PARAMS\":{\"name\":\"b\"}"), "differs from \"params\""},
    {"with the long s, which folds to s", CALL("\"params\":{\"name\":\"a\"},\"param\xc5\xbf\":{\"name\":\"b\"}"),
     "differs from \"params\""},
    {"escaped", CALL("\"params\":{\"name\":\"a\"},\"param\\u017f\":{\"name\":\"b\"}"), "differs from \"params\""},
    {"Name", CALL("\"params\":{\"name\":\"a\",\"Name\":\"b\"}"), "differs from \"name\""},
    {"ARGUMENTS", CALL("\"params\":{\"name\":\"a\",\"ARGUMENTS\":{}}"), "differs from \"arguments\""},
    {"JSONRPC", "{\"jsonrpc\":\"2.0\",\"JsonRpc\":\"1.0\",\"method\":\"ping\"}", "differs from \"jsonrpc\""},
    {"inherited method", "{\"jsonrpc\":\"2.0\",\"__proto__\":{\"method\":\"tools/call\"}}", "__proto__"},
    {"inherited name", CALL("\"params\":{\"name\":\"a\",\"__proto__\":{\"name\":\"b\"}}"), "__proto__"},
    {"no version", "{\"method\":\"tools/call\",\"params\":{\"name\":\"a\"}}", "\"jsonrpc\" must be \"2.0\""},
    {"another version", "{\"jsonrpc\":\"1.0\",\"method\":\"ping\"}", "\"jsonrpc\" must be \"2.0\""},
    {"a number for a version", "{\"jsonrpc\":2.0,\"method\":\"ping\"}", "\"jsonrpc\" must be \"2.0\""},
    {"no text for a method", "{\"jsonrpc\":\"2.0\",\"method\":[\"tools/call\"]}", "\"method\" must be a text"},
    {"null for a method", "{\"jsonrpc\":\"2.0\",\"method\":null}", "\"method\" must be a text"},
    {"a method in other case", "{\"jsonrpc\":\"2.0\",\"method\":\"Tools/Call\",\"params\":{\"name\":\"a\"}}", "nearly"},
    {"a method with space", "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call \",\"params\":{\"name\":\"a\"}}", "nearly"},
    {"request and response", CALL("\"params\":{\"name\":\"a\"},\"result\":1"), "either a request or a response"},
    {"no params", "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\"}", "needs \"params\""},
    {"params in a row", CALL("\"params\":[\"a\"]"), "needs \"params\""},
    {"null params", CALL("\"params\":null"), "needs \"params\""},
    {"no name", CALL("\"params\":{}"), "needs \"params.name\""},
    {"a number for a name", NAMED("5"), "needs \"params.name\""},
    {"a list for a name", NAMED("[\"a\"]"), "needs \"params.name\""},
    {"null for a name", NAMED("null"), "needs \"params.name\""},
    {"nested too deeply", "{\"jsonrpc\":\"2.0\",\"x\":"
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1", "nested"},
};

static enum tg_status read_exactly(const char *content, size_t len, struct tg_arena *arena, struct tg_mcp_call *out,
                                   struct tg_err *err)
{
    char *exact = malloc(len ? len : 1);                 /* so that a sanitizer sees a read behind the end */
    enum tg_status st;

    memcpy(exact, content, len);
    st = tg_mcp_read(tg_slice(exact, len), arena, out, err);
    free(exact);                                         /* the tool is a copy */
    return st;
}

static void contents(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        struct tg_mcp_call call = {.tool_call = true};
        struct tg_arena arena;
        struct tg_err err = {0};

        tg_arena_init(&arena, NULL, 0);
        if (read_exactly(taken[i].content, strlen(taken[i].content), &arena, &call, &err) != TG_OK)
            fail_msg("%s: %s", taken[i].why, err.text);
        if (call.tool_call != (taken[i].tool != NULL) ||
            (call.tool_call && !tg_slice_eq(call.tool, tg_slice_str(taken[i].tool))))
            fail_msg("%s: \"" TG_S_FMT "\"", taken[i].why, TG_S_ARG(call.tool));
        tg_arena_fini(&arena);
    }
}

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct tg_mcp_call call = {.tool_call = true};
        struct tg_arena arena;
        struct tg_err err = {0};

        tg_arena_init(&arena, NULL, 0);
        if (read_exactly(refused[i].content, strlen(refused[i].content), &arena, &call, &err) != TG_BAD_INPUT)
            fail_msg("%s: taken", refused[i].why);
        if (!strstr(err.text, refused[i].error))
            fail_msg("%s: \"%s\" lacks \"%s\"", refused[i].why, err.text, refused[i].error);
        assert_true(call.tool_call);                     /* untouched */
        tg_arena_fini(&arena);
    }
}

/* However it is cut, a message is not another one. */
static void cut(void **state)
{
    static const char whole[] = NAMED("\"search\"");
    struct tg_mcp_call call;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    for (size_t len = 1; len < strlen(whole); len++)
        assert_int_equal(read_exactly(whole, len, &arena, &call, NULL), TG_BAD_INPUT);
    tg_arena_fini(&arena);
}

/* More than a mebibyte is no matter of this module: who reads the content bounds it. */
static void large(void **state)
{
    struct tg_buf text = {0};
    struct tg_mcp_call call;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    tg_buf_adds(&text, "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{\"arguments\":\"");
    for (size_t i = 0; i < 3000000; i++)
        tg_buf_addc(&text, 'x');
    tg_buf_adds(&text, "\",\"name\":\"a\"}}");
    assert_int_equal(tg_mcp_read(tg_buf_slice(&text), &arena, &call, NULL), TG_OK);
    assert_true(tg_slice_eq(call.tool, TG_S("a")));
    tg_buf_fini(&text);
    tg_arena_fini(&arena);
}

/* ---- the criterion ---- */
static const struct {
    const char *criterion;
    bool call;
    const char *tool;
    bool holds;
} cases[] = {
    {"mcp_tool: search", true, "search", true},
    {"mcp_tool: search", true, "Search", false},
    {"mcp_tool: {is: search}", true, "searches", false},
    {"mcp_tool: {not: search}", true, "delete", true},
    {"mcp_tool: {not: search}", true, "search", false},
    {"mcp_tool: {in: [read, search]}", true, "search", true},
    {"mcp_tool: {not_in: [delete]}", true, "search", true},
    {"mcp_tool: {not_in: [delete]}", true, "delete", false},
    {"mcp_tool: {starts_with: read_}", true, "read_file", true},
    {"mcp_tool: {contains: file, ends_with: x}", true, "read_file", false},
    {"mcp_tool: {not: search}", true, "", true},
    {"mcp_tool: {}", true, "search", true},
    {"mcp_tool: search", false, "", false},
    {"mcp_tool: {not: search}", false, "", false},
    {"mcp_tool: {not_in: [search]}", false, "", false},
    {"mcp_tool: {not_in: []}", false, "", false},
    {"mcp_tool: {}", false, "", false},
    {"mcp_tool: {is: ''}", false, "", false},
};

static void criterion(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int inverted = 0; inverted < 2; inverted++) {
            struct tg_facts facts = {.mcp_tool_call = cases[i].call, .mcp_tool = tg_slice_str(cases[i].tool)};
            struct tg_verdict v;
            struct loaded l;
            char text[256];

            loaded_init(&l);
            snprintf(text, sizeof(text), "{allow: {%s: [{%s}]}}", inverted ? "nor" : "or", cases[i].criterion);
            assert_true(loaded_add(&l, text));
            l.program = tg_ppl_finish(l.builder);
            tg_ppl_decide(l.program, &facts, &v);
            if (v.allow != (cases[i].holds != inverted))
                fail_msg("%s of \"%s\"", text, cases[i].tool);
            assert_string_equal(reasons_text(v.allow_reasons, text, sizeof(text)),
                                !cases[i].call    ? "mcp-not-a-tool-call"
                                : cases[i].holds ? "mcp-tool-match"
                                                 : "mcp-tool-no-match");
            tg_ppl_trace(l.program, &facts, &l.arena, &v);
            loaded_fini(&l);
        }
    }
}

/* United criteria, where the compiler makes one of several, keep the reason of a request that calls none. */
static void united(void **state)
{
    static const struct {
        const char *text, *reasons;
        bool allow;
    } documents[] = {
        {"{allow: {or: [{mcp_tool: a}, {mcp_tool: b}, {mcp_tool: {in: [c]}}]}}", "mcp-not-a-tool-call", false},
        {"{allow: {and: [{mcp_tool: {not: a}}, {mcp_tool: {not_in: [b]}}]}}", "mcp-not-a-tool-call", false},
        {"{allow: {not: [{mcp_tool: a}, {mcp_tool: b}]}}", "mcp-not-a-tool-call", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        struct tg_facts facts = {.method = TG_S("POST")};
        struct tg_verdict v;
        struct loaded l;
        char text[256];

        loaded_init(&l);
        assert_true(loaded_add(&l, documents[i].text));
        l.program = tg_ppl_finish(l.builder);
        tg_ppl_decide(l.program, &facts, &v);
        assert_int_equal(v.allow, documents[i].allow);
        assert_string_equal(reasons_text(v.allow_reasons, text, sizeof(text)), documents[i].reasons);
        loaded_fini(&l);
    }
}

static void not_of_a_tier(void **state)
{
    struct tg_problems problems = {0};
    struct tg_tree *tree = NULL;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_tree_parse("t.yaml", TG_S("[{day_of_week: mon}, {mcp_tool: a}]"), &tree, NULL), TG_OK);
    assert_null(tg_ppl_compile_when(&arena, tree, tree->root, "tiers[0]", &problems));
    assert_int_equal(problems.count, 1);
    assert_non_null(strstr(problems.items[0].text, "t.yaml:1:23: tiers[0]: [1].mcp_tool: a tier is chosen before the "
                                                   "body is read"));
    tg_problems_fini(&problems);
    tg_tree_free(tree);
    tg_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents), cmocka_unit_test(refusals),  cmocka_unit_test(cut),
        cmocka_unit_test(large),    cmocka_unit_test(criterion), cmocka_unit_test(united),
        cmocka_unit_test(not_of_a_tier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
