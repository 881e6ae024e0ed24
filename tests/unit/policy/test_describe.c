/* The reference says what the parser knows: its example is a policy, its reasons are those given. */
#include "support.h"

static struct tg_buf reference;

static bool has(const char *part) { return strstr(tg_buf_cstr(&reference), part) != NULL; }

static void example_is_a_policy(void **state)
{
    const char *start = strstr(tg_buf_cstr(&reference), "```yaml\n"), *end;
    struct loaded l;
    char *text;

    (void)state;
    assert_non_null(start);
    end = strstr(start + 8, "```");
    text = tg_slice_dup(tg_slice(start + 8, (size_t)(end - start - 8)));
    loaded_init(&l);
    tg_ppl_set_client_ca(l.builder, true);
    if (!loaded_add(&l, text))
        fail_msg("%s\n%s", l.problems.items[0].text, text);
    loaded_fini(&l);
    free(text);
}

static void all_is_there(void **state)
{
    static const char *const parts[] = {
        "| `accept` |", "| `claim/NAME` †", "| `mcp_tool` |", "| `time_of_day` |", "| `not_in` |", "| `exclude` |",
        "| `spki_hash` |", "| `device` |", "| `ssh_…` | it is about SSH", "| `record` |", "| `pomerium_routes` |",
        "`mcp_tool` is false", "the answer is 404",
    };
    char part[96];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!has(parts[i]))
            fail_msg("%s", parts[i]);
    }
    for (int r = 0; r < TG_REASON_COUNT; r++) {
        snprintf(part, sizeof(part), "\n| `%s` | ", tg_reason_name((enum tg_reason)r));
        if (!has(part))
            fail_msg("%s", part);
        snprintf(part, sizeof(part), "\n| `%s` |  |", tg_reason_name((enum tg_reason)r));
        if (has(part))
            fail_msg("nothing gives %s", tg_reason_name((enum tg_reason)r));
        assert_int_equal(tg_reason_find(tg_slice_str(tg_reason_name((enum tg_reason)r))), r);
    }
    assert_int_equal(tg_reason_find(TG_S("user")), TG_REASON_COUNT);
    assert_int_equal(tg_reason_find(TG_S("")), TG_REASON_COUNT);
}

/* The line about a reason; free it. NULL: there is none. */
static char *line_of(const char *reason)
{
    const char *at = strstr(tg_buf_cstr(&reference), "## Reasons");
    char start[96];

    snprintf(start, sizeof(start), "\n| `%.80s` | ", reason);
    at = at ? strstr(at, start) : NULL;
    return at ? tg_slice_dup(tg_slice(at + 1, strcspn(at + 1, "\n"))) : NULL;
}

/* Of the criteria without a matcher the table says twice what they give. */
static void fixed_reasons(void **state)
{
    static const char *const names[] = {"accept", "reject", "authenticated_user", "cors_preflight",
                                        "invalid_client_certificate"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (unsigned bits = 0; bits < 12; bits++) {
            struct tg_facts facts = {.identity = true, .user = bits & 1 ? TG_S("u") : TG_S(""),
                                     .cors_preflight = bits & 2, .client_cert = (enum tg_client_cert)(bits / 4)};
            struct tg_verdict v;
            struct loaded l;
            char text[128], reasons[128], *line;

            loaded_init(&l);
            snprintf(text, sizeof(text), "{allow: {and: [{%s: true}]}}", names[i]);
            assert_true(loaded_add(&l, text));
            l.program = tg_ppl_finish(l.builder);
            tg_ppl_decide(l.program, &facts, &v);
            line = line_of(reasons_text(v.allow_reasons, reasons, sizeof(reasons)));
            snprintf(text, sizeof(text), "`%s` is %s", names[i], v.allow ? "true" : "false");
            if (!line || !strstr(line, text))
                fail_msg("%s: %s: %s", names[i], reasons, line ? line : "no such reason");
            free(line);
            loaded_fini(&l);
        }
    }
}

/* A line of a table has as many cells as its head. */
static void tables(void **state)
{
    struct tg_slice line, rest = tg_buf_slice(&reference);
    size_t bars = 0;

    (void)state;
    while (tg_slice_cut(rest, '\n', &line, &rest)) {
        size_t count = 0;

        for (size_t i = 0; i < line.len; i++)
            count += line.ptr[i] == '|';
        if (line.len == 0 || line.ptr[0] != '|') {
            bars = 0;
            continue;
        }
        if (bars && count != bars)
            fail_msg(TG_S_FMT, TG_S_ARG(line));
        bars = count;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_is_a_policy), cmocka_unit_test(all_is_there), cmocka_unit_test(fixed_reasons),
        cmocka_unit_test(tables),
    };
    int failed;

    tg_ppl_describe(&reference);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    tg_buf_fini(&reference);
    return failed;
}
