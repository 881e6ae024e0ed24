/*
 * why_all - every line of a log explained and compared with what was logged.
 *
 * That log and files together say what was decided is only worth something when it is so: with the files that decided,
 * a difference is an error of tollgate's, or the line was changed.
 */
#include "boot/commands.h"
#include "base/log.h"
#include "base/map.h"
#include "boot/options.h"
#include "why.h"
#include <stdio.h>

#define EXAMPLES 5                                       /* differences that are told in full */

struct tally {
    struct tg_slice name;
    size_t count;
};
struct all {
    const struct tg_config *config;
    bool json;
    struct tg_arena arena;                               /* of the sums */
    const struct tg_fact_set **reads;                    /* by route index: of what is applied and in shadow mode */
    size_t lines, foreign, too_long;
    size_t judged, equal, differ, differ_since, unknown; /* since: under other policies than those of the line */
    size_t early, unexplained;                           /* refused before a policy; with an unknown word */
    struct tg_map *refused, *lacking;                    /* names to tallies */
    struct tg_buf examples;
    size_t example_count;
};

static void count(struct all *a, struct tg_map *map, struct tg_slice name)
{
    struct tally *t = tg_map_get(map, name);

    if (!t) {
        t = TG_ARENA_NEW(&a->arena, struct tally);
        t->name = tg_arena_dup(&a->arena, name);
        tg_map_put(map, t->name, t);
    }
    t->count++;
}

/* ---- one line ---- */

static void count_lacking(struct all *a, const struct tg_trace_node *first)
{
    for (const struct tg_trace_node *n = first; n; n = n->next) {
        char name[160];

        if (n->kind != TG_TRACE_CRITERION) {
            count_lacking(a, n->children);
            continue;
        }
        if (!n->unknown)
            continue;
        snprintf(name, sizeof name, "%s%s" TG_S_FMT, n->name, n->sub_path.len ? "/" : "",
                 n->sub_path.len < 120 ? (int)n->sub_path.len : 120, n->sub_path.len ? n->sub_path.ptr : "");
        count(a, a->lacking, tg_slice_str(name));
    }
}

static void add_example(struct all *a, const struct explain_result *r, unsigned long number)
{
    if (a->example_count++ >= EXAMPLES)
        return;
    if (a->json) {
        tg_buf_adds(&a->examples, a->examples.len > 0 ? "," : "");
        explain_print_json(r, &a->examples);
        return;
    }
    tg_buf_addf(&a->examples, "\nline %lu\n", number);
    explain_print_text(r, false, &a->examples);
}

static bool asks_for_scopes(const struct all *a, const struct tg_route *route, const struct log_line *l)
{
    const struct tg_provider *p = l->facts.identity ? tg_providers_of_issuer(&a->config->providers, l->issuer) : NULL;

    return route->required_scopes.count > 0 || (p && p->required_scopes->count > 0);
}

/* The usual line, where all is known: the programs alone, without telling every step. */
static bool is_plainly_equal(struct all *a, struct log_line *l)
{
    struct explain_result counted = {.config = a->config, .logged = l, .issuer = l->issuer};
    struct tg_facts facts = l->facts;
    const struct tg_route *route;
    struct tg_verdict v;

    if (!l->request.canonical.ptr || tg_routes_find(a->config->routes, l->request.host, l->request.port,
                                                    l->request.canonical, &l->arena, &route) != TG_ROUTE_FOUND)
        return false;
    if (!explain_all_known(a->reads[route->index], &facts) ||
        (route->shadow != NULL) != (l->shadow_decision.ptr != NULL) || asks_for_scopes(a, route, l))
        return false;
    facts.known = NULL;
    tg_ppl_decide(route->policy, &facts, &v);
    if (why_compare(&v, l->decision, l->reasons) != EXPLAIN_EQUAL)
        return false;
    if (route->shadow)
        tg_ppl_decide(route->shadow, &facts, &v);
    if (route->shadow && why_compare(&v, l->shadow_decision, l->shadow_reasons) != EXPLAIN_EQUAL)
        return false;
    if (!l->tier.ptr)
        return true;
    counted.facts = &facts;
    counted.route = route;
    explain_find_tier(&counted, &l->arena);
    return !why_limits_differ(&counted);
}

static void judge(struct all *a, struct log_line *l, unsigned long number)
{
    struct explain_result r;

    a->judged++;
    why_take_groups(l, a->config);
    if (is_plainly_equal(a, l)) {
        a->equal++;
        return;
    }
    why_line(&r, a->config, l, &l->arena);
    switch (r.compared) {
    case EXPLAIN_EQUAL: a->equal++; break;
    case EXPLAIN_UNKNOWN:
        a->unknown++;
        if (r.scopes_unknown)
            count(a, a->lacking, TG_S("required_scopes"));
        count_lacking(a, r.verdict.unknown ? r.trace : r.shadow_trace);
        break;
    case EXPLAIN_NOT_COMPARED:
    case EXPLAIN_DIFFERS:
        if (!r.same_policies) {
            a->differ_since++;
        } else {
            a->differ++;
            add_example(a, &r, number);
        }
        break;
    }
}

/* A scope that was lacking is lacking by the files that said so; what counted is theirs. */
static bool is_told(struct all *a, struct log_line *l, struct explain_result *r)
{
    bool scope = tg_slice_eq(l->refused, tg_slice_str(tg_refusals[TG_REFUSE_SCOPE].name));

    if (!scope && !why_is_limit(l))
        return true;
    why_line(r, a->config, l, &l->arena);
    if (!r->same_policies)
        return true;
    return scope ? r->scopes_lacking.ptr || r->scopes_unknown : !why_limits_differ(r);
}

/* Over before a policy was asked. */
static void judge_early(struct all *a, struct log_line *l, unsigned long number)
{
    struct explain_result r;

    a->early++;
    a->unexplained += l->refused.ptr && !tg_refusal_find(l->refused);
    count(a, a->refused, l->refused.ptr ? l->refused : l->error.ptr ? TG_S("client-gone") : TG_S("published"));
    if (is_told(a, l, &r))
        return;
    a->differ++;
    add_example(a, &r, number);
}

static bool each(void *arg, unsigned long number, struct tg_slice text)
{
    struct all *a = arg;
    struct log_line l;

    if (!text.ptr) {
        a->too_long++;
        return true;
    }
    if (text.len == 0)
        return true;
    a->lines++;
    if (log_line_read(text, &l, NULL) != TG_OK) {
        a->foreign++;
    } else if (l.judged) {
        judge(a, &l, number);
    } else {
        judge_early(a, &l, number);
    }
    log_line_fini(&l);
    return true;
}

/* ---- the sum ---- */

static int by_count(const void *a, const void *b)
{
    const struct tally *x = *(const struct tally *const *)a, *y = *(const struct tally *const *)b;

    return x->count != y->count ? (x->count < y->count ? 1 : -1) : tg_slice_cmp(x->name, y->name);
}

/* The most frequent first. */
static struct tally **sorted(const struct tg_map *map, size_t *count)
{
    struct tally **out = TG_NEW_ARRAY(struct tally *, tg_map_count(map) + 1);
    struct tg_slice name;
    void *value;

    *count = 0;
    for (size_t i = 0; tg_map_next(map, &i, &name, &value);)
        out[(*count)++] = value;
    qsort(out, *count, sizeof(*out), by_count);
    return out;
}

static void text_names(const struct tg_map *map, struct tg_buf *out)
{
    size_t count;
    struct tally **list = sorted(map, &count);

    for (size_t i = 0; i < count; i++) {
        tg_buf_adds(out, i ? ", " : "");
        tg_trace_clean(out, list[i]->name, 160);
        tg_buf_addf(out, " %zu", list[i]->count);
    }
    free(list);
}

static void text_count(struct tg_buf *out, const char *indent, size_t n, const char *what)
{
    tg_buf_addf(out, "%s%8zu  %s", indent, n, what);
}

static void text_sum(const struct all *a, struct tg_buf *out)
{
    text_count(out, "", a->lines, "lines\n");
    text_count(out, "  ", a->judged, "decided by policies\n");
    text_count(out, "    ", a->equal, "the files decide the same, for the same reasons\n");
    text_count(out, "    ", a->differ, "the files decide otherwise, although the line has their policy_set\n");
    text_count(out, "    ", a->differ_since, "the files decide otherwise: they were changed since\n");
    text_count(out, "    ", a->unknown, "it hangs on what was not logged");
    if (a->unknown > 0) {
        tg_buf_adds(out, ": ");
        text_names(a->lacking, out);
    }
    tg_buf_adds(out, "\n");
    text_count(out, "  ", a->early, "over before a policy was asked");
    if (a->early > 0) {
        tg_buf_adds(out, ": ");
        text_names(a->refused, out);
    }
    tg_buf_adds(out, "\n");
    text_count(out, "  ", a->foreign + a->too_long, "no lines of the access log\n");
    tg_buf_addf(out, "policy_set %s\n", a->config->policy_set);
    tg_buf_add_slice(out, tg_buf_slice(&a->examples));
    if (a->example_count > EXAMPLES)
        tg_buf_addf(out, "\n... and %zu more\n", a->example_count - EXAMPLES);
}

static void json_names(const struct tg_map *map, struct tg_buf *out)
{
    size_t count;
    struct tally **list = sorted(map, &count);

    tg_buf_adds(out, "{");
    for (size_t i = 0; i < count; i++) {
        tg_buf_adds(out, i ? "," : "");
        tg_log_json_string(out, list[i]->name);
        tg_buf_addf(out, ":%zu", list[i]->count);
    }
    tg_buf_adds(out, "}");
    free(list);
}

static void json_sum(const struct all *a, struct tg_buf *out)
{
    tg_buf_addf(out, "{\"policy_set\":\"%s\",\"lines\":%zu,\"judged\":%zu,\"equal\":%zu,\"differ\":%zu,"
                     "\"differ_since\":%zu,\"unknown\":%zu,\"lacking\":",
                a->config->policy_set, a->lines, a->judged, a->equal, a->differ, a->differ_since, a->unknown);
    json_names(a->lacking, out);
    tg_buf_addf(out, ",\"early\":%zu,\"unexplained\":%zu,\"refused\":", a->early, a->unexplained);
    json_names(a->refused, out);
    tg_buf_addf(out, ",\"foreign\":%zu,\"examples\":[", a->foreign + a->too_long);
    tg_buf_add_slice(out, tg_buf_slice(&a->examples));
    tg_buf_adds(out, "]}\n");
}

/* Its policies, and the tiers that count on it. */
static const struct tg_fact_set *reads_of(struct all *a, const struct tg_route *route)
{
    const struct tg_tiers *tiers = tg_config_tiers(a->config, route);
    size_t count = tiers->off ? 0 : tiers->count;
    const struct tg_program **asked = TG_ARENA_ARRAY(&a->arena, const struct tg_program *, count + 2);

    asked[0] = route->policy;
    asked[1] = route->shadow;
    for (size_t i = 0; i < count; i++)
        asked[2 + i] = tiers->items[i].when;
    return tg_ppl_reads(asked, count + 2, NULL, 0, &a->arena);
}

static void prepare(struct all *a)
{
    const struct tg_routes *routes = a->config->routes;
    size_t count = tg_routes_count(routes);

    a->reads = TG_ARENA_ARRAY(&a->arena, const struct tg_fact_set *, count);
    for (size_t i = 0; i < count; i++) {
        const struct tg_route *route = tg_routes_at(routes, i);

        a->reads[route->index] = reads_of(a, route);
    }
    a->refused = tg_map_new(NULL);
    a->lacking = tg_map_new(NULL);
}

static int conclude(struct all *a)
{
    struct tg_buf out = {0};
    int code;

    if (a->json)
        json_sum(a, &out);
    else
        text_sum(a, &out);
    code = tg_put_out(&out);
    if (a->judged + a->early == 0)
        return tg_complain(TG_EXIT_FAILURE, "there is no line of tollgate's access log in it");
    return a->differ > 0 ? TG_EXIT_FAILURE : code;
}

int why_all(const char *file, const struct tg_config *config, bool json)
{
    struct all a = {.config = config, .json = json};
    struct tg_err err;
    int code;

    tg_arena_init(&a.arena, NULL, 0);
    prepare(&a);
    if (log_lines(file, each, &a, &err) == TG_OK)
        code = conclude(&a);
    else
        code = tg_complain(TG_EXIT_FAILURE, "%s", err.text);
    tg_map_free(a.refused);
    tg_map_free(a.lacking);
    tg_buf_fini(&a.examples);
    tg_arena_fini(&a.arena);
    return code;
}
