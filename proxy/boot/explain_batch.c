/*
 * explain_batch - one decision a line, for tests of policies and for comparing with other implementations.
 *
 * A line is {ppl | ppl_yaml | policies | route, request}. Each gives exactly one line, whatever it is; nothing of one
 * line is seen by the next. Of a route with `rate_limits` it tells the tier too.
 */
#include "base/json.h"
#include "base/log.h"
#include "boot/options.h"
#include "explain.h"
#include "request_read.h"
#include "store/route.h"
#include <stdio.h>

#define LINE_BYTES ((size_t)4 << 20)
#define FORMS "ppl, ppl_yaml, policies or route"

struct answer {
    const char *decision;                                /* NULL: parse_error */
    unsigned status;
    tg_reasons reasons;
    struct tg_buf error;                                 /* empty: none */
    struct tg_buf tier;                                  /* as in --json; empty: the line says nothing of limits */
};
struct line {
    struct tg_tree *tree, *yaml;
    struct tg_route *route;
    struct tg_arena arena;
    struct tg_problems problems;
    struct written_request written;
    struct tg_tiers general, tiers;                      /* of a route with rate_limits */
};

/* ---- the policy ---- */

static enum tg_status first_problem(const struct line *l, struct tg_err *err)
{
    for (size_t i = 0; i < l->problems.count; i++)
        if (!l->problems.items[i].warning)
            return tg_fail(err, TG_BAD_INPUT, "%s", l->problems.items[i].text);
    return tg_fail(err, TG_BAD_INPUT, "the policy is not usable");
}

static enum tg_status compile(struct line *l, const struct tg_tree *tree, const cJSON *const *docs, size_t count,
                              const struct tg_program **out, struct tg_err *err)
{
    struct tg_ppl_builder *builder = tg_ppl_builder_new(&l->arena);
    const char *where = "policy";
    bool ok = true;

    for (size_t i = 0; i < count; i++)
        ok = tg_ppl_add(builder, tree, docs[i], count > 1 ? tg_arena_printf(&l->arena, "policies[%zu]", i).ptr : where,
                        &l->problems) && ok;
    *out = tg_ppl_finish(builder);
    return ok ? TG_OK : first_problem(l, err);
}

static enum tg_status compile_list(struct line *l, const cJSON *list, const struct tg_program **out, struct tg_err *err)
{
    size_t count = 0;
    const cJSON *doc, **docs;

    if (!cJSON_IsArray(list))
        return tg_fail(err, TG_BAD_INPUT, "policies: must be a list of PPL documents");
    docs = TG_ARENA_ARRAY(&l->arena, const cJSON *, cJSON_GetArraySize(list));
    cJSON_ArrayForEach(doc, list)
        docs[count++] = doc;
    return compile(l, l->tree, docs, count, out, err);
}

static enum tg_status compile_yaml(struct line *l, const cJSON *node, const struct tg_program **out, struct tg_err *err)
{
    struct tg_slice text;
    const cJSON *doc;

    if (!tg_json_str(node, &text))
        return tg_fail(err, TG_BAD_INPUT, "ppl_yaml: must be text");
    if (tg_tree_parse("ppl_yaml", text, &l->yaml, err) != TG_OK)
        return TG_BAD_INPUT;
    doc = l->yaml->root;
    return compile(l, l->yaml, &doc, 1, out, err);
}

static enum tg_status compile_route(struct line *l, const cJSON *node, const struct tg_program **out,
                                    struct tg_err *err)
{
    static const struct tg_route_defaults defaults;

    if (!cJSON_IsObject(node))
        return tg_fail(err, TG_BAD_INPUT, "route: must be an object of route settings");
    l->route = tg_route_read_one(l->tree, node, &defaults, &l->arena, &l->problems);
    if (!l->route)
        return first_problem(l, err);
    *out = l->route->policy;
    if (!l->route->rate_limits)
        return TG_OK;
    tg_tiers_read(l->tree, NULL, &l->arena, &l->general, NULL, &l->problems);
    if (!tg_tiers_read_route(l->tree, l->route->rate_limits, "route.rate_limits", l->route->name, &l->general,
                             &l->arena, &l->tiers, &l->problems))
        return first_problem(l, err);
    return TG_OK;
}

static enum tg_status read_policy(struct line *l, const struct tg_program **out, struct tg_err *err)
{
    static const char *const names[] = {"ppl", "ppl_yaml", "policies", "route", "request"};
    const cJSON *root = l->tree->root, *doc = tg_json_get(root, "ppl");
    int forms = 0;

    if (refuse_unknown_members(l->tree, root, "the line", names, ARRAY_LEN(names), &l->problems) > 0)
        return first_problem(l, err);
    for (size_t i = 0; i < 4; i++)
        forms += tg_json_get(root, names[i]) != NULL;
    if (forms != 1)
        return tg_fail(err, TG_BAD_INPUT, "%s of " FORMS " is needed", forms ? "only one" : "one");
    if (doc)
        return compile(l, l->tree, &doc, 1, out, err);
    if ((doc = tg_json_get(root, "ppl_yaml")))
        return compile_yaml(l, doc, out, err);
    if ((doc = tg_json_get(root, "policies")))
        return compile_list(l, doc, out, err);
    return compile_route(l, tg_json_get(root, "route"), out, err);
}

/* ---- one line ---- */

static void tell_tier(struct line *l, const struct tg_facts *facts, struct tg_buf *out)
{
    struct explain_result r = {.request = &l->written.request, .facts = facts, .route = l->route,
                               .tiers = &l->tiers, .general = &l->general};

    if (!l->route || !l->route->rate_limits)
        return;
    if (l->written.claims)
        tg_json_str(tg_json_get(tg_claims_json(l->written.claims), "iss"), &r.issuer);
    explain_find_limits(&r, &l->arena);
    explain_tier_json(&r, out);
}

/* Before any policy is asked. */
static void refuse(struct answer *answer, unsigned status, const struct tg_err *err)
{
    answer->decision = "deny";
    answer->status = status;
    tg_buf_adds(&answer->error, err->text);
}

static enum tg_status judge(struct line *l, struct tg_slice text, unsigned number, struct answer *answer,
                            struct tg_err *err)
{
    static const struct tg_json_limits limits = {.bytes = LINE_BYTES, .depth = 64, .nodes = 200000};
    const struct tg_program *program = NULL;
    struct tg_verdict verdict;
    struct tg_facts facts;
    char name[32];

    snprintf(name, sizeof name, "line %u", number);
    /* The tree would take YAML too; a line is JSON. */
    if (tg_json_scan(text, &limits, err) != TG_OK || tg_tree_parse(name, text, &l->tree, err) != TG_OK)
        return err->status;
    if (!cJSON_IsObject(l->tree->root))
        return tg_fail(err, TG_BAD_INPUT, "a line must be one JSON object");
    if (read_policy(l, &program, err) != TG_OK)
        return err->status;
    if (!written_request_read(l->tree, tg_json_get(l->tree->root, "request"), &l->arena, &l->written, &l->problems))
        return first_problem(l, err);
    if (explain_path(&l->written.request, &l->arena, err) != TG_OK) {
        refuse(answer, 400, err);
        return TG_OK;
    }
    explain_facts(&l->written.request, &facts);
    if (l->written.claims)
        explain_identity(l->written.claims, &facts);
    tell_tier(l, &facts, &answer->tier);
    if (tg_ppl_reads_fact(program, TG_FACT_MCP_TOOL) &&
        explain_body(l->written.body, &l->arena, &facts, err) != TG_OK) {
        refuse(answer, 400, err);
        return TG_OK;
    }
    tg_ppl_decide(program, &facts, &verdict);
    answer->decision = tg_decision_name(verdict.decision);
    answer->status = explain_status(verdict.decision);
    answer->reasons = verdict.reasons;
    return TG_OK;
}

static void write_answer(const struct answer *answer, struct tg_buf *out)
{
    tg_buf_addf(out, "{\"decision\":\"%s\",\"status\":", answer->decision ? answer->decision : "parse_error");
    if (answer->decision)
        tg_buf_addf(out, "%u", answer->status);
    else
        tg_buf_adds(out, "null");
    tg_buf_adds(out, ",\"reasons\":");
    explain_reasons_json(answer->reasons, out);
    tg_buf_adds(out, ",\"error\":");
    if (answer->error.len > 0)
        tg_log_json_string(out, tg_buf_slice(&answer->error));
    else
        tg_buf_adds(out, "null");
    if (answer->tier.len > 0) {
        tg_buf_adds(out, ",\"tier\":");
        tg_buf_add_slice(out, tg_buf_slice(&answer->tier));
    }
    tg_buf_adds(out, "}\n");
}

static void answer_line(struct tg_slice text, bool too_long, unsigned number, struct tg_buf *out)
{
    struct line *l = TG_NEW(struct line);
    struct answer answer = {0};
    struct tg_err err = {0};

    tg_arena_init(&l->arena, NULL, 0);
    if (too_long)
        tg_buf_addf(&answer.error, "a line has at most %zu bytes", LINE_BYTES);
    else if (judge(l, text, number, &answer, &err) != TG_OK)
        tg_buf_adds(&answer.error, err.text[0] ? err.text : "the line cannot be read");
    write_answer(&answer, out);
    tg_buf_fini(&answer.error);
    tg_buf_fini(&answer.tier);
    written_request_fini(&l->written);
    tg_problems_fini(&l->problems);
    tg_route_fini(l->route);
    tg_arena_fini(&l->arena);
    tg_tree_free(l->yaml);
    tg_tree_free(l->tree);
    free(l);
}

/* The next line without its end. False at the end of input. Of a line that is too long only the beginning is kept. */
static bool read_line(struct tg_buf *line, bool *too_long)
{
    int c;

    line->len = 0;
    *too_long = false;
    while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
        if (line->len < LINE_BYTES)
            tg_buf_addc(line, (char)c);
        else
            *too_long = true;
    }
    if (line->len > 0 && line->data[line->len - 1] == '\r')
        line->len--;
    return c != EOF || line->len > 0;
}

int explain_batch(void)
{
    struct tg_buf line = {0}, out = {0};
    bool too_long;
    int code = TG_EXIT_OK;

    for (unsigned number = 1; code == TG_EXIT_OK && read_line(&line, &too_long); number++) {
        if (line.len == 0)
            continue;
        answer_line(tg_buf_slice(&line), too_long, number, &out);
        code = tg_put_out(&out);
    }
    if (ferror(stdin))
        code = tg_complain(TG_EXIT_FAILURE, "cannot read standard input");
    tg_buf_fini(&line);
    return code;
}
