/*
 * describe - the reference of the language as Markdown, from the tables that the parser uses.
 */
#include "internal.h"

static void add_reasons(struct tg_buf *out, tg_reasons set)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(set, names);

    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s`%s`", i ? ", " : "", names[i]);
    if (count == 0)
        tg_buf_adds(out, "–");
}

static tg_reasons reasons_of(const struct tg_criterion *row, bool value)
{
    if (row->shape == TG_SHAPE_NONE)
        return value ? row->passes : row->fails;
    if (value)
        return TG_REASON_BIT(row->pass);
    return TG_REASON_BIT(row->fail) | (row->has_undefined ? TG_REASON_BIT(row->undefined) : 0);
}

static const char *takes(enum tg_shape shape)
{
    switch (shape) {
    case TG_SHAPE_NONE: return "anything; it is not looked at, not even `false`";
    case TG_SHAPE_TEXT: return "[text matcher](#text-matcher)";
    case TG_SHAPE_LIST: return "[list matcher](#list-matcher)";
    case TG_SHAPE_NETWORKS: return "[addresses](#addresses)";
    case TG_SHAPE_CERTIFICATE: return "[certificate](#certificate)";
    case TG_SHAPE_TIME: return "[time](#time)";
    }
    return "";
}

static void add_criteria(struct tg_buf *out)
{
    const struct tg_criterion *row;

    tg_buf_adds(out, "## Criteria\n\n| criterion | takes | true when | reason when true | when false |\n"
                "|---|---|---|---|---|\n");
    for (size_t i = 0; (row = tg_criterion_at(i)); i++) {
        if (row->refusal)
            continue;
        tg_buf_addf(out, "| `%s%s`%s | %s | %s | ", row->name, row->sub_path ? "/NAME" : "",
                    row->identity ? " †" : "", takes(row->shape), row->help);
        add_reasons(out, reasons_of(row, true));
        tg_buf_adds(out, " | ");
        add_reasons(out, reasons_of(row, false));
        tg_buf_adds(out, " |\n");
    }
    tg_buf_addf(out,
                "\n† needs a token. Without one it is false whatever it takes, with the reason `%s`; `not` and\n"
                "`nor` turn that and still do not admit: the answer is 401.\n\n",
                tg_reason_name(TG_REASON_USER_UNAUTHENTICATED));
    tg_buf_adds(out, "One of each:\n\n```yaml\nallow:\n  and:\n");
    for (size_t i = 0; (row = tg_criterion_at(i)); i++) {
        if (!row->refusal)
            tg_buf_addf(out, "    - %s%s: %s\n", row->name, row->sub_path ? "/roles" : "", row->example);
    }
    tg_buf_adds(out, "```\n\n");
}

static const char *takes_operand(enum tg_operand operand)
{
    switch (operand) {
    case TG_OPERAND_ANY: return "a value";
    case TG_OPERAND_STRING: return "a text";
    case TG_OPERAND_ARRAY: return "a list of values";
    }
    return "";
}

static void add_operators(struct tg_buf *out, enum tg_shape shape)
{
    size_t count;
    const struct tg_operator *operators = tg_operators(shape, &count);

    tg_buf_adds(out, "| operator | takes | true when |\n|---|---|---|\n");
    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "| `%s` | %s | %s |\n", operators[i].name, takes_operand(operators[i].operand),
                    operators[i].help);
    tg_buf_adds(out, "\n");
}

static void add_names(struct tg_buf *out, bool text_only)
{
    const struct tg_criterion *row;
    bool more = false;

    for (size_t i = 0; (row = tg_criterion_at(i)); i++) {
        if (row->refusal || row->shape != TG_SHAPE_TEXT || row->text_only != text_only)
            continue;
        tg_buf_addf(out, "%s`%s`", more ? " and " : "", row->name);
        more = true;
    }
}

static void add_matchers(struct tg_buf *out)
{
    tg_buf_adds(out, "## Matchers\n\n### Text matcher\n\nA mapping of operators, all of which must hold; a bare value\n"
                "`v` stands for `{is: v}`.\n\n");
    add_operators(out, TG_SHAPE_TEXT);
    tg_buf_adds(out,
        "Everything is compared with case and as it is: nothing is trimmed, there are no patterns and no regular\n"
        "expressions. A value is compared by type, too: the number 5 never equals a text. An empty mapping states no\n"
        "condition. A bare list means \"equals that list\", which a text never does: write `in`. Of ");
    add_names(out, true);
    tg_buf_adds(out, ",\n`is` and `not` take a text only.\n\n### List matcher\n\n"
                "A mapping of operators, all of which must hold; a bare value `v` stands for `{has: v}`.\n\n");
    add_operators(out, TG_SHAPE_LIST);
    tg_buf_adds(out,
        "Values are compared by type: 5 equals 5.0 and never \"5\". A list as a value is compared as a whole,\n"
        "never as \"any of\": for that write several criteria under `or`.\n\n### Addresses\n\n"
        "An address or a CIDR block, or a list of them; an empty list holds for nobody. An IPv4-mapped IPv6\n"
        "address is the IPv4 address; otherwise `0.0.0.0/0` is no IPv6 client's and `::/0` no IPv4 client's.\n\n"
        "### Certificate\n\n"
        "A mapping of properties, all of which must hold; an empty one holds for any certificate. Without one shown\n"
        "none holds. `not_in` is refused on names: a certificate may have several, so write `in` under `not`.\n\n"
        "| property | takes |\n|---|---|\n");
    tg_cert_describe(out);
    tg_buf_adds(out, "\n### Time\n\n");
    tg_when_describe(out);
    tg_buf_adds(out, "\n");
}

static void add_refused(struct tg_buf *out)
{
    const struct tg_criterion *row;

    tg_buf_adds(out, "## Criteria that are refused\n\n"
                "A policy that names one of these is not loaded. In Pomerium they\n"
                "mean something, and reading them as something else would be worse.\n\n"
                "| criterion | why |\n|---|---|\n");
    for (size_t i = 0; (row = tg_criterion_at(i)); i++) {
        if (row->refusal)
            tg_buf_addf(out, "| `%s%s` | %s |\n", row->name, row->prefix ? "…" : "",
                        row->refusal + strlen(TG_REFUSED));
    }
    tg_buf_adds(out, "\n");
}

/* The criteria that give it, in words. */
static void add_givers(struct tg_buf *out, enum tg_reason reason)
{
    const struct tg_criterion *row;
    bool more = false;

    for (size_t i = 0; (row = tg_criterion_at(i)); i++) {
        for (int value = 1; value >= 0 && !row->refusal; value--) {
            if (!(reasons_of(row, value) & TG_REASON_BIT(reason)))
                continue;
            tg_buf_addf(out, "%s`%s` is %s%s", more ? "; " : "", row->name, value ? "true" : "false",
                        row->has_undefined && reason == row->undefined ? ", since there is nothing to match" : "");
            more = true;
        }
    }
    if (reason == TG_REASON_USER_UNAUTHENTICATED)
        tg_buf_adds(out, "a criterion that needs a token, without one: the answer is 401");
    else if (reason == TG_REASON_ROUTE_NOT_FOUND)
        tg_buf_adds(out, "no route is for this host and path: the answer is 404");
}

static void add_all_reasons(struct tg_buf *out)
{
    tg_buf_adds(out, "## Reasons\n\nThe log, `explain`, `why` and the tests of policies name them.\n\n"
                "| reason | given when |\n|---|---|\n");
    for (int r = 0; r < TG_REASON_COUNT; r++) {
        tg_buf_addf(out, "| `%s` | ", tg_reason_name((enum tg_reason)r));
        add_givers(out, (enum tg_reason)r);
        tg_buf_adds(out, " |\n");
    }
}

void tg_ppl_describe(struct tg_buf *out)
{
    add_criteria(out);
    add_matchers(out);
    add_refused(out);
    add_all_reasons(out);
}
