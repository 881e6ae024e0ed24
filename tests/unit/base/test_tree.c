/*
 * tree: what YAML means here, what is refused and where, JSON with places, limits, ${…}.
 */
#include "base/json.h"
#include "base/tree.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct tg_tree *parse(const char *file, struct tg_slice text, struct tg_err *err)
{
    char *copy = malloc(text.len ? text.len : 1);        /* of the exact size: reading beyond is seen */
    struct tg_tree *tree = NULL;
    enum tg_status st;

    assert_non_null(copy);
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    st = tg_tree_parse(file, tg_slice(copy, text.len), &tree, err);
    assert_true((st == TG_OK) == (tree != NULL));
    free(copy);
    return tree;
}

static struct tg_tree *must(const char *file, const char *text)
{
    struct tg_err err = {0};
    struct tg_tree *tree = parse(file, tg_slice_str(text), &err);

    if (!tree)
        fail_msg("%s: %s", text, err.text);
    return tree;
}

static void expect_json(const cJSON *node, const char *want, const char *why)
{
    struct tg_buf out = {0};

    tg_json_print(&out, node);
    if (strcmp(tg_buf_cstr(&out), want) != 0)
        fail_msg("%s: %s instead of %s", why, tg_buf_cstr(&out), want);
    tg_buf_fini(&out);
}

static const struct {
    const char *why, *text, *want;
} meanings[] = {
    {"empty", "", "null"},
    {"only a comment", "# nothing\n", "null"},
    {"document start", "---\na: 1\n", "{\"a\":1}"},
    {"document start and end", "---\na: 1\n...\n", "{\"a\":1}"},
    {"BOM", "\xef\xbb\xbf" "a: 1", "{\"a\":1}"},
    {"CRLF", "a: 1\r\nb: 2\r\n", "{\"a\":1,\"b\":2}"},
    {"scalar at top", "text", "\"text\""},
    {"null forms", "[~, null, Null, NULL, nULL]", "[null,null,null,null,\"nULL\"]"},
    {"empty value", "a:\nb: ''", "{\"a\":null,\"b\":\"\"}"},
    {"booleans", "[true, True, TRUE, false, False, FALSE, tRUE]", "[true,true,true,false,false,false,\"tRUE\"]"},
    {"Norway", "[yes, no, on, off, Y, n]", "[\"yes\",\"no\",\"on\",\"off\",\"Y\",\"n\"]"},
    {"quoted is text", "['true', \"1\", '~']", "[\"true\",\"1\",\"~\"]"},
    {"block text", "a: |\n  1\n", "{\"a\":\"1\\n\"}"},
    {"integers", "[0, 12, -3, +4, -0]", "[0,12,-3,4,-0]"},
    {"floats", "[1.5, 1.5e3, -2E-2, .5, 5., +1.25]", "[1.5,1500,-0.02,0.5,5,1.25]"},
    {"leading zeros stay text", "[012, -007, 00, 01.5]", "[\"012\",\"-007\",\"00\",\"01.5\"]"},
    {"other bases stay text", "[0x10, 0o17, 0b1]", "[\"0x10\",\"0o17\",\"0b1\"]"},
    {"no infinities", "[.inf, -.inf, .nan]", "[\".inf\",\"-.inf\",\".nan\"]"},
    {"nearly numbers", "[1_000, 1e, ., '-', +, 1.2.3, 12e3x, e5]",
     "[\"1_000\",\"1e\",\".\",\"-\",\"+\",\"1.2.3\",\"12e3x\",\"e5\"]"},
    {"times and dates", "[2024-01-02, 12:30:00, 190:20:30]", "[\"2024-01-02\",\"12:30:00\",\"190:20:30\"]"},
    {"inexact numbers", "[9007199254740993, 0.12345678901234567890, +9007199254740993]",
     "[9007199254740993,0.12345678901234567890,9007199254740993]"},
    {"!!str", "[!!str 1, !!str true]", "[\"1\",\"true\"]"},
    {"keys are text", "1: a\ntrue: b\n~: c", "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"}"},
    {"quoted merge key", "'<<': 1", "{\"<<\":1}"},
    {"anchor and alias", "a: &x {k: [1, two]}\nb: *x\nc: [*x]",
     "{\"a\":{\"k\":[1,\"two\"]},\"b\":{\"k\":[1,\"two\"]},\"c\":[{\"k\":[1,\"two\"]}]}"},
    {"alias of a scalar", "a: &x 1\nb: *x", "{\"a\":1,\"b\":1}"},
    {"anchor set again", "[&x 1, *x, &x 2, *x]", "[1,1,2,2]"},
    {"JSON in a YAML file", "{\"a\": \"\\ud83d\\ude00\\/\", \"b\": [1, null]}",
     "{\"a\":\"\xf0\x9f\x98\x80/\",\"b\":[1,null]}"},
    {"flow YAML", "{a: 1, b: [x, y]}", "{\"a\":1,\"b\":[\"x\",\"y\"]}"},
};

static void what_yaml_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        struct tg_tree *tree = must("t.yaml", meanings[i].text);

        expect_json(tree->root, meanings[i].want, meanings[i].why);
        tg_tree_free(tree);
    }
}

static const struct {
    const char *why, *file;
    struct tg_slice text;
    const char *start, *part;                            /* of the sentence; NULL: any */
} refused[] = {
    {"duplicate key", "t.yaml", TG_S_INIT("a: 1\nb: 2\na: 3\n"), "t.yaml:3:1: ", "first at 1:1"},
    {"quoted duplicate", "t.yaml", TG_S_INIT("a: 1\n'a': 3\n"), "t.yaml:2:1: ", "first at 1:1"},
    {"nested duplicate", "t.yaml", TG_S_INIT("x:\n  a: 1\n  a: 3\n"), "t.yaml:3:3: ", "the key a"},
    {"duplicate in JSON", "t.json", TG_S_INIT("{\"a\":1,\n\"a\":2}"), "t.json:2:1: ", "first at 1:2"},
    {"duplicate in flow", "t.yaml", TG_S_INIT("{\"a\":1,\n\"a\":2}"), "t.yaml:2:1: ", "first at 1:2"},
    {"merge key", "t.yaml", TG_S_INIT("a: &x {b: 1}\nc:\n  <<: *x\n"), "t.yaml:3:3: ", "merge"},
    {"key that is a list", "t.yaml", TG_S_INIT("? [a]\n: 1\n"), "t.yaml:1:3: ", "scalar"},
    {"key that is an alias", "t.yaml", TG_S_INIT("a: &x b\n*x : 1\n"), "t.yaml:2:1: ", "scalar"},
    {"no key", "t.yaml", TG_S_INIT(": 1\n"), "t.yaml:1:1: ", NULL},
    {"empty key", "t.yaml", TG_S_INIT("{ : 1}\n"), "t.yaml:1:", NULL},
    {"empty key on a line", "t.yaml", TG_S_INIT("?\n: 1\n"), "t.yaml:1:", "key is missing"},
    {"two documents", "t.yaml", TG_S_INIT("a: 1\n---\nb: 1\n"), "t.yaml:2:1: ", "second document"},
    {"unknown alias", "t.yaml", TG_S_INIT("a: *x"), "t.yaml:1:4: ", "*x"},
    {"alias within what it names", "t.yaml", TG_S_INIT("a: &x [*x]"), "t.yaml:1:8: ", "*x"},
    {"tag", "t.yaml", TG_S_INIT("a: !!int 1"), "t.yaml:1:4: ", "yaml.org,2002:int"},
    {"own tag", "t.yaml", TG_S_INIT("a: !env X"), "t.yaml:1:4: ", "!env"},
    {"tag on a mapping", "t.yaml", TG_S_INIT("a: !!map {}"), "t.yaml:1:4: ", "map"},
    {"!!str on a list", "t.yaml", TG_S_INIT("a: !!str []"), "t.yaml:1:4: ", NULL},
    {"overflow", "t.yaml", TG_S_INIT("a: 1e400"), "t.yaml:1:4: ", "too large"},
    {"endless number", "t.yaml", TG_S_INIT("1234567890123456789012345678901234567890123456789012345678901234"),
     "t.yaml:1:1: ", "63"},
    {"tab indentation", "t.yaml", TG_S_INIT("a:\n\tb: 1\n"), "t.yaml:2:1: ", NULL},
    {"broken flow", "t.yaml", TG_S_INIT("a: [1, 2\nb: 3\n"), "t.yaml:2:", NULL},
    {"NUL by escape", "t.yaml", TG_S_INIT("a: \"x\\0y\""), "t.yaml:1:4: ", "NUL"},
    {"NUL in a key", "t.yaml", TG_S_INIT("\"x\\0y\": 1"), "t.yaml:1:1: ", "NUL"},
    {"raw NUL", "t.yaml", TG_S_INIT("a: x\0y"), "t.yaml:1:5: ", NULL},
    {"invalid UTF-8", "t.yaml", TG_S_INIT("a: 1\nb: \xff\n"), "t.yaml:2:4: ", NULL},
    {"UTF-16", "t.yaml", TG_S_INIT("\xff\xfe" "a\0:\0"), "t.yaml:1:1: ", NULL},
    {"JSON file that is YAML", "t.json", TG_S_INIT("a: 1"), "t.json:1:1: ", NULL},
    {"JSON file with a comment", "t.json", TG_S_INIT("{} # x"), "t.json:1:4: ", NULL},
    {"JSON file with a trailing comma", "t.json", TG_S_INIT("[1,]"), "t.json:1:4: ", NULL},
    {"empty JSON file", "t.json", TG_S_INIT(""), "t.json:1:1: ", NULL},
    {"garbage", "t.yaml", TG_S_INIT("%\x01@`"), "t.yaml:1:", NULL},
};

static void what_is_refused_and_where(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct tg_err err = {0};

        if (parse(refused[i].file, refused[i].text, &err))
            fail_msg("%s: taken", refused[i].why);
        if (strncmp(err.text, refused[i].start, strlen(refused[i].start)) != 0 ||
            (refused[i].part && !strstr(err.text, refused[i].part)))
            fail_msg("%s: \"%s\"", refused[i].why, err.text);
    }
}

static const cJSON *at(const struct tg_tree *tree, const char *path)
{
    const cJSON *node = tree->root;
    char copy[64], *save = NULL;

    snprintf(copy, sizeof copy, "%s", path);
    for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save))
        node = cJSON_IsArray(node) ? cJSON_GetArrayItem(node, atoi(name)) : tg_json_get(node, name);
    assert_non_null(node);
    return node;
}

static void expect_place(const struct tg_tree *tree, const char *path, const char *want)
{
    unsigned line, column, key_line, key_column;
    char is[64];

    tg_tree_place(tree, at(tree, path), &line, &column);
    tg_tree_key_place(tree, at(tree, path), &key_line, &key_column);
    snprintf(is, sizeof is, "%u:%u %u:%u", line, column, key_line, key_column);
    if (strcmp(is, want) != 0)
        fail_msg("%s: %s instead of %s", path, is, want);
}

static void places(void **state)
{
    struct tg_tree *yaml = must("t.yaml", "a: 1\nb:\n  c: [x, {d: e}]\nf: &y {g: h}\ni: *y\n");
    struct tg_tree *json =
        must("t.json", " {\"a\" : -1.5e3,\n  \"b\\\"\": [true ,null,\n \"\xc3\xa9,\\\\\", {\"d\":[]}]\n}\n");
    unsigned line = 7, column = 7;

    (void)state;
    expect_place(yaml, "a", "1:4 1:1");
    expect_place(yaml, "b", "3:3 2:1");
    expect_place(yaml, "b/c", "3:6 3:3");
    expect_place(yaml, "b/c/0", "3:7 0:0");
    expect_place(yaml, "b/c/1/d", "3:14 3:11");
    expect_place(yaml, "i", "5:4 5:1");
    expect_place(yaml, "i/g", "4:11 4:8");
    expect_place(json, "", "1:2 0:0");
    expect_place(json, "a", "1:9 1:3");
    expect_place(json, "b\"", "2:10 2:3");
    expect_place(json, "b\"/0", "2:11 0:0");
    expect_place(json, "b\"/1", "2:17 0:0");
    expect_place(json, "b\"/2", "3:2 0:0");
    expect_place(json, "b\"/3", "3:10 0:0");
    expect_place(json, "b\"/3/d", "3:15 3:11");
    tg_tree_place(yaml, json->root, &line, &column);
    assert_int_equal(line + column, 0);
    tg_tree_free(yaml);
    tg_tree_free(json);
    tg_tree_free(NULL);
}

static void limits(void **state)
{
    struct tg_buf text = {0};
    struct tg_err err = {0};
    clock_t start = clock();

    (void)state;
    for (unsigned i = 0; i < 64; i++)
        tg_buf_addc(&text, '[');
    tg_buf_addc(&text, 'x');
    for (unsigned i = 0; i < 64; i++)
        tg_buf_addc(&text, ']');
    tg_tree_free(must("t.yaml", tg_buf_cstr(&text)));
    text.len = 0;
    for (unsigned i = 0; i < 100000; i++)
        tg_buf_addc(&text, '[');
    assert_null(parse("t.yaml", tg_buf_slice(&text), &err));
    assert_int_equal(err.status, TG_LIMIT);
    assert_null(parse("t.json", tg_buf_slice(&text), &err));
    assert_int_equal(err.status, TG_LIMIT);
    text.len = 0;
    tg_buf_adds(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"); /* ten times more with each line */
    for (unsigned i = 1; i < 12; i++)
        tg_buf_addf(&text, "a%u: &a%u [*a%u,*a%u,*a%u,*a%u,*a%u,*a%u,*a%u,*a%u,*a%u,*a%u]\n", i, i, i - 1, i - 1, i - 1,
                    i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    assert_null(parse("t.yaml", tg_buf_slice(&text), &err));
    assert_int_equal(err.status, TG_LIMIT);
    assert_non_null(strstr(err.text, "more than 200000 values by aliases"));
    text.len = 0;
    tg_buf_adds(&text, "a: &a ");                       /* few values, but long ones */
    for (unsigned i = 0; i < 1000000; i++)
        tg_buf_addc(&text, 'x');
    tg_buf_adds(&text, "\nb: [");
    for (unsigned i = 0; i < 1000; i++)
        tg_buf_adds(&text, "*a ,");
    tg_buf_adds(&text, "]\n");
    assert_null(parse("t.yaml", tg_buf_slice(&text), &err));
    assert_int_equal(err.status, TG_LIMIT);
    text.len = 0;
    for (unsigned i = 0; i < 70; i++)                    /* an alias of an alias adds a level each time */
        tg_buf_addf(&text, i ? "- &a%u [*a%u]\n" : "- &a%u [x]\n", i, i - 1);
    assert_null(parse("t.yaml", tg_buf_slice(&text), &err));
    assert_int_equal(err.status, TG_LIMIT);
    text.len = 0;
    tg_buf_reserve(&text, (16 << 20) + 1);
    memset(text.data, '#', (16 << 20) + 1);
    assert_null(parse("t.yaml", tg_slice(text.data, (16 << 20) + 1), &err));
    assert_int_equal(err.status, TG_LIMIT);
    assert_true(clock() - start < 20 * CLOCKS_PER_SEC);
    tg_buf_fini(&text);
}

/* Cuts and changed bytes are read or refused with a place, nothing else. */
static void every_cut_and_change(void **state)
{
    static const char text[] =
        "a: &x {k: [1, \"t\\u00e9\"]}\n? b\n: *x\n- c: |\n  z\nd: !!str 1 # e\n%F: '''\"\n--- >\n";

    (void)state;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        struct tg_err err = {0};
        struct tg_tree *tree = parse("t", tg_slice(text, cut), &err);

        if (!tree)
            assert_memory_equal(err.text, "t:", 2);
        tg_tree_free(tree);
        for (unsigned byte = 0; cut < sizeof text - 1 && byte < 256; byte += 3) {
            char changed[sizeof text];

            memcpy(changed, text, sizeof text);
            changed[cut] = (char)byte;
            tg_tree_free(parse("t", tg_slice(changed, sizeof text - 1), &err));
            tg_tree_free(parse("t", tg_slice(changed, cut + 1), &err));
        }
    }
}

static const char *lookup(void *arg, const char *name)
{
    static const char *const vars[][2] = {{"PORT", "8080"}, {"HOST", "example.com"}, {"EMPTY", ""}, {"YES", "true"},
                                          {"PW", "12345"},  {"LATIN", "\xe9"},       {"ODD", "${PORT}"}, {"_A1", "a"},
                                          {"BIG", "1e999"}};

    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(vars); i++)
        if (strcmp(vars[i][0], name) == 0)
            return vars[i][1];
    return NULL;
}

static const struct {
    const char *text, *want, *problem;                   /* problem: part of the only one */
} fills[] = {
    {"a: ${PORT}", "{\"a\":8080}", NULL},
    {"a: '${PORT}'", "{\"a\":\"8080\"}", NULL},
    {"a: !!str ${PORT}", "{\"a\":\"8080\"}", NULL},
    {"a: ${YES}", "{\"a\":true}", NULL},
    {"a: ${EMPTY}", "{\"a\":null}", NULL},
    {"a: x${EMPTY}", "{\"a\":\"x\"}", NULL},
    {"a: https://${HOST}:${PORT}/", "{\"a\":\"https://example.com:8080/\"}", NULL},
    {"a: ${NOPE:-7}", "{\"a\":7}", NULL},
    {"a: ${EMPTY:-7}", "{\"a\":7}", NULL},
    {"a: '${NOPE:-}'", "{\"a\":\"\"}", NULL},
    {"a: ${PORT:-7}", "{\"a\":8080}", NULL},
    {"a: ${PORT:?needed}", "{\"a\":8080}", NULL},
    {"a: ${_A1}", "{\"a\":\"a\"}", NULL},
    {"a: ${ODD}", "{\"a\":\"${PORT}\"}", NULL},
    {"a: $${PORT}", "{\"a\":\"${PORT}\"}", NULL},
    {"a: $$5", "{\"a\":\"$5\"}", NULL},
    {"a: ^/x$", "{\"a\":\"^/x$\"}", NULL},
    {"a: $1/$PORT", "{\"a\":\"$1/$PORT\"}", NULL},
    {"a: ['${HOST}', [\"${PORT}\"]]", "{\"a\":[\"example.com\",[\"8080\"]]}", NULL},
    {"${HOST}: 1", "{\"${HOST}\":1}", NULL},
    {"{\"a\": \"${PORT}\"}", "{\"a\":\"8080\"}", NULL},
    {"a: ${NOPE}", NULL, "t.yaml:1:4: the environment variable NOPE is not set"},
    {"a: ${NOPE:?say what}", NULL, "NOPE is not set: say what"},
    {"a: ${EMPTY:?say what}", NULL, "EMPTY is empty: say what"},
    {"a: ${NOPE:?}", NULL, "NOPE is not set"},
    {"a: ${}", NULL, "not understood"},
    {"a: ${1A}", NULL, "not understood"},
    {"a: ${PORT:+x}", NULL, "not understood"},
    {"a: '${PORT'", NULL, "without its }"},
    {"a: ${LATIN}", NULL, "not valid UTF-8"},
    {"a: ${BIG}", NULL, "too large"},
};

static void interpolation(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fills); i++) {
        struct tg_tree *tree = must("t.yaml", fills[i].text);
        struct tg_problems problems = {0};

        tg_tree_interpolate(tree, lookup, NULL, &problems);
        if (fills[i].problem) {
            if (problems.errors != 1 || !strstr(problems.items[0].text, fills[i].problem))
                fail_msg("%s: %s", fills[i].text, problems.count ? problems.items[0].text : "no problem");
        } else {
            if (problems.count > 0)
                fail_msg("%s: %s", fills[i].text, problems.items[0].text);
            expect_json(tree->root, fills[i].want, fills[i].text);
        }
        tg_problems_fini(&problems);
        tg_tree_free(tree);
    }
    /* All problems, not the first. */
    struct tg_tree *tree = must("t.yaml", "a: ${X}\nb: [\"${Y}${Z}\"]\n");
    struct tg_problems problems = {0};

    tg_tree_interpolate(tree, lookup, NULL, &problems);
    assert_int_equal(problems.errors, 3);
    tg_problems_fini(&problems);
    tg_tree_free(tree);
}

static void overriding(void **state)
{
    struct tg_tree *tree = must("t.yaml", "a: [1, 2]\nb: x\npw: ${PW}\n"), *empty = must("e.yaml", ""),
                   *list = must("l.yaml", "[1]");
    struct tg_problems problems = {0};

    (void)state;
    tg_tree_interpolate(tree, lookup, NULL, &problems);
    assert_true(tg_slice_eq(tg_tree_source(tree, at(tree, "pw")), TG_S("12345")));
    assert_null(tg_tree_source(tree, at(tree, "b")).ptr);
    tg_tree_override(tree, "a", "5", "TOLLGATE_A");
    tg_tree_override(tree, "a", "7", "TOLLGATE_A");
    tg_tree_override(tree, "new", "1e999", "TOLLGATE_NEW");
    expect_json(tree->root, "{\"a\":7,\"b\":\"x\",\"pw\":12345,\"new\":\"1e999\"}", "override");
    assert_true(tg_slice_eq(tg_tree_source(tree, at(tree, "a")), TG_S("7")));
    tg_problem_at(&problems, tree, at(tree, "a"), "no");
    tg_problem_at_key(&problems, tree, at(tree, "a"), "no");
    assert_string_equal(problems.items[0].text, "TOLLGATE_A: no");
    assert_string_equal(problems.items[1].text, "TOLLGATE_A: no");
    assert_string_equal(tg_tree_file(tree, at(tree, "a")), "t.yaml");
    tg_tree_override(empty, "k", "true", "K");
    expect_json(empty->root, "{\"k\":true}", "empty document");
    tg_tree_override(list, "k", "true", "K");
    expect_json(list->root, "[1]", "list");
    tg_problems_fini(&problems);
    tg_tree_free(tree);
    tg_tree_free(empty);
    tg_tree_free(list);
}

static void problems_and_adopted_places(void **state)
{
    struct tg_tree *tree = must("t.yaml", "a: 1\n"), *other = must("dir/o.yaml", "\nb:\n  c: ${PW}\n");
    struct tg_problems problems = {0};
    cJSON stranger = {0};

    (void)state;
    tg_tree_interpolate(other, lookup, NULL, &problems);
    tg_tree_adopt(tree, other);
    tg_tree_adopt(tree, tree);
    tg_problem_at(&problems, tree, at(tree, "a"), "x %d", 5);
    tg_problem_at_key(&problems, tree, at(tree, "a"), "x");
    tg_warning_at(&problems, tree, at(other, "b/c"), "x");
    tg_problem_at_key(&problems, tree, tree->root, "x");
    tg_problem_at(&problems, tree, &stranger, "x");
    tg_problem_at(&problems, NULL, NULL, "x\033[2J\n");
    tg_problem_add(&problems, true, "y");
    static const char *const want[] = {"t.yaml:1:4: x 5", "t.yaml:1:1: x", "dir/o.yaml:3:6: x", "t.yaml:1:1: x",
                                       "t.yaml: x",       "x?[2J?",        "y"};

    assert_int_equal(problems.count, ARRAY_LEN(want));
    assert_int_equal(problems.errors, 5);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(problems.items[i].text, want[i]);
    assert_true(problems.items[2].warning);
    assert_string_equal(tg_tree_file(tree, at(other, "b/c")), "dir/o.yaml");
    assert_string_equal(tg_tree_file(tree, &stranger), "t.yaml");
    assert_true(tg_slice_eq(tg_tree_source(tree, at(other, "b/c")), TG_S("12345")));
    tg_problems_fini(&problems);
    assert_int_equal(problems.count, 0);
    tg_tree_free(tree);
    tg_tree_free(other);
}

static void many_keys(void **state)
{
    struct tg_buf text = {0};
    struct tg_tree *tree;

    (void)state;
    for (unsigned i = 0; i < 20000; i++)
        tg_buf_addf(&text, "k%u: %u\n", i, i);
    tree = must("t.yaml", tg_buf_cstr(&text));
    expect_place(tree, "k19999", "20000:9 20000:1");
    tg_tree_free(tree);
    tg_buf_fini(&text);
}

/* Short mappings and long ones look for a key in different ways. */
static void key_twice(void **state)
{
    (void)state;
    for (unsigned count = 1; count < 20; count++) {
        for (unsigned twice = 0; twice < count; twice++) {
            struct tg_buf text = {0};
            struct tg_err err = {0};
            char where[80];

            for (unsigned i = 0; i < count; i++)
                tg_buf_addf(&text, "k%u: %u\n", i, i);
            tg_buf_addf(&text, "k%u: again\nlater: 1\n", twice);
            assert_null(parse("t.yaml", tg_buf_slice(&text), &err));
            snprintf(where, sizeof(where), "t.yaml:%u:1: the key k%u appears twice, first at %u:1", count + 1, twice,
                     twice + 1);
            assert_string_equal(err.text, where);
            tg_buf_fini(&text);
        }
    }
}

/* 100,000 rules have more values than that. */
static void many_values(void **state)
{
    static const char *const files[] = {"t.yaml", "t.json"};
    struct tg_buf text = {0};
    struct tg_err err = {0};
    struct tg_tree *tree;

    (void)state;
    tg_buf_addc(&text, '[');
    for (unsigned i = 0; i < 250000; i++)
        tg_buf_adds(&text, "1 ,");
    tg_buf_adds(&text, "1]");
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        tree = must(files[i], tg_buf_cstr(&text));
        assert_int_equal(cJSON_GetArraySize(tree->root), 250001);
        tg_tree_free(tree);
    }
    text.len--;
    for (unsigned i = 0; i < 1750000; i++)
        tg_buf_adds(&text, ",1");
    tg_buf_adds(&text, "]");
    assert_null(parse("t.json", tg_buf_slice(&text), &err));
    assert_int_equal(err.status, TG_LIMIT);
    tg_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_yaml_means),
        cmocka_unit_test(what_is_refused_and_where),
        cmocka_unit_test(places),
        cmocka_unit_test(limits),
        cmocka_unit_test(every_cut_and_change),
        cmocka_unit_test(interpolation),
        cmocka_unit_test(overriding),
        cmocka_unit_test(problems_and_adopted_places),
        cmocka_unit_test(many_keys),
        cmocka_unit_test(key_twice),
        cmocka_unit_test(many_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
