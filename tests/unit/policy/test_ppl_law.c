/*
 * Laws over random policies and facts: the program decides as a plain evaluator does that walks the documents by the
 * words of the language, it asks for no memory while it does, and the trace tells the same decision.
 *
 *     test_policy_ppl_law            as many sets of policies as LAW_SETS says, 51 requests each
 *     LAW_SEED=N LAW_SETS=1          the one set that a failure named
 *
 * Every set has a seed of its own. Without LAW_SETS it is a number that a sanitizer's build has time for; `bench/ppl
 * --law`, a stage of the tests, runs 20,000 with the release build's libraries, which makes a million pairs.
 */
#include "plain_policy.h"
#include "allocations.h"

#define SETS (SANITIZED ? 1000 : 4000)
enum { FACTS = 400, DOCUMENTS = 40, PROGRAMS = 3, ASKED = 17 };

/* ---- facts ---- */
struct world {
    struct tg_facts facts[FACTS];
    cJSON *objects[FACTS];                               /* claims as the plain evaluator reads them */
    struct tg_claims *claims[FACTS];
    struct tg_cert certs[FACTS];
    struct tg_slice names[FACTS][9];
};

static struct tg_slice unquoted(const char *json) { return tg_slice(json + 1, strlen(json) - 2); }

/* Up to three names of each kind, out of the texts. */
static void make_certificate(struct tg_cert *cert, struct tg_slice names[9])
{
    struct tg_cert_names *kinds[] = {&cert->dns, &cert->emails, &cert->uris};
    size_t which = draw(ARRAY_LEN(fingerprints));

    memcpy(cert->fingerprint, fingerprints[which], sizeof(cert->fingerprint));
    memcpy(cert->spki_hash, spki_hashes[draw(ARRAY_LEN(spki_hashes))], sizeof(cert->spki_hash));
    for (size_t k = 0; k < 3; k++) {
        kinds[k]->items = names + 3 * k;
        kinds[k]->count = draw(4);
        for (size_t i = 0; i < kinds[k]->count; i++)
            kinds[k]->items[i] = unquoted(PICK(texts));
    }
}

static void make_claims(struct world *w, size_t i)
{
    struct tg_buf b = {0};
    cJSON *object = NULL;

    tg_buf_adds(&b, "{\"groups\":");
    add_values(&b);
    tg_buf_adds(&b, ",\"level\":");
    add_value(&b, false);
    tg_buf_adds(&b, ",\"plan\":{\"tier\":");
    add_values(&b);
    tg_buf_adds(&b, "},\"deep\":{\"er\":{\"name\":");
    add_value(&b, false);
    tg_buf_adds(&b, "}}");
    if (draw(2)) {
        tg_buf_adds(&b, ",\"roles\":");
        add_values(&b);
    }
    tg_buf_addc(&b, '}');
    assert_int_equal(tg_json_parse(tg_buf_slice(&b), NULL, &object, NULL), TG_OK);
    assert_int_equal(tg_json_parse(tg_buf_slice(&b), NULL, &w->objects[i], NULL), TG_OK);
    w->facts[i].claims = w->claims[i] = tg_claims_new(object);
    tg_buf_fini(&b);
}

/* On a bound, or beside it. */
static int64_t some_time(void)
{
    const int64_t day = 86400000;
    int64_t beside = (int64_t)draw(3) - 1;

    if (draw(2))
        return PICK(instants).ms + beside;
    return (int64_t)(20513 + draw(9)) * day - (draw(8) ? 0 : 20600 * day) + PICK(clocks).ms + beside;
}

static void make_facts(struct world *w, size_t i)
{
    struct tg_facts *f = &w->facts[i];
    struct tg_slice head, rest;

    f->method = draw(2) ? TG_S("GET") : unquoted(PICK(texts));
    f->path = draw(2) ? TG_S("/a/b") : unquoted(PICK(texts));
    tg_slice_cut(unquoted(PICK(nets)), '/', &head, &rest);
    if (draw(5))
        assert_true(tg_ip_parse(head, &f->source_ip));
    if (draw(3) == 0)
        f->source_ip.bytes[f->source_ip.family == 4 ? 3 : 15] ^= (uint8_t)draw(256);
    f->cors_preflight = draw(4) == 0;
    f->client_cert = draw(4) ? TG_CLIENT_CERT_VALID : draw(2) ? TG_CLIENT_CERT_MISSING : TG_CLIENT_CERT_INVALID;
    f->certificate = draw(3) ? &w->certs[i] : NULL;
    make_certificate(&w->certs[i], w->names[i]);
    f->wall_ms = some_time();
    f->mcp_tool_call = draw(2);
    if (f->mcp_tool_call)
        f->mcp_tool = unquoted(PICK(texts));
    f->identity = draw(4) != 0;
    if (!f->identity)
        return;
    f->user = unquoted(PICK(texts));
    f->email = draw(2) ? TG_S("a@x") : draw(6) ? unquoted(PICK(texts)) : (struct tg_slice){NULL, 0};
    f->groups_claim = draw(3) ? (struct tg_slice){NULL, 0} : TG_S("roles");
    if (draw(8))
        make_claims(w, i);
}

static void free_world(struct world *w)
{
    for (size_t i = 0; i < FACTS; i++) {
        tg_claims_free(w->claims[i]);
        cJSON_Delete(w->objects[i]);
    }
}

/* ---- sets of policies ---- */
/* A document in both forms: as text for the parser, and as a plain evaluator walks it. */
struct document {
    struct tg_buf text;
    cJSON *json;
    const struct tg_policy *shared;                      /* NULL: each program reads it for itself */
};
struct policies {
    uint64_t seed;
    struct tg_arena arena;
    struct tg_ppl_pool *pool;
    struct tg_problems problems;
    struct document documents[DOCUMENTS];
    size_t count;
};
/* What a program was made of. */
struct made {
    const struct tg_program *program;
    const cJSON *documents[DOCUMENTS + 2];
    int index[DOCUMENTS + 2];
    size_t count;
};

static void read_json(struct document *d)
{
    assert_int_equal(tg_json_parse(tg_buf_slice(&d->text), NULL, &d->json, NULL), TG_OK);
}

static struct tg_tree *tree_of(const struct document *d)
{
    struct tg_tree *tree = NULL;
    struct tg_err err = {0};

    if (tg_tree_parse("policy.json", tg_buf_slice(&d->text), &tree, &err) != TG_OK)
        fail_msg("%s: %s", d->text.data, tg_err_text(&err));
    return tree;
}

/* A few as people write them, or many short ones, or some with long lists. */
static void draw_documents(struct policies *p)
{
    uint64_t style = draw(10);

    p->count = style < 6 ? 1 + draw(3) : style < 9 ? 4 + draw(DOCUMENTS - 4) : 1 + draw(4);
    for (size_t i = 0; i < p->count; i++) {
        struct document *d = &p->documents[i];

        if (style < 6) {
            add_document(&d->text);
        } else {
            tg_buf_addc(&d->text, '[');
            if (style < 9)
                add_short_rule(&d->text);
            else
                add_long_rule(&d->text, 90);
            tg_buf_addc(&d->text, ']');
        }
        read_json(d);
        if (draw(2)) {
            struct tg_tree *tree = tree_of(d);

            d->shared = tg_ppl_read(p->pool, tree, tree->root, "shared", true, &p->problems);
            assert_non_null(d->shared);
            tg_tree_free(tree);
        }
    }
}

static void add_one(struct policies *p, struct tg_ppl_builder *b, const struct document *d, int index, struct made *out)
{
    struct tg_tree *tree;

    out->documents[out->count] = d->json;
    out->index[out->count++] = index;
    if (d->shared) {
        tg_ppl_add_policy(b, d->shared);
        return;
    }
    tree = tree_of(d);
    if (!tg_ppl_add(b, tree, tree->root, "own", &p->problems))
        fail_msg("%s: %s", d->text.data, p->problems.items[p->problems.count - 1].text);
    tg_tree_free(tree);
}

/* All documents or some of them, and what the settings of a route may add. */
static void make_program(struct policies *p, bool all, struct made *out)
{
    static const struct tg_slice domains[] = {TG_S_INIT("x"), TG_S_INIT("y")}, users[] = {TG_S_INIT("a@x")};
    static const char *const flag_text = "[{\"allow\":{\"or\":[{\"domain\":\"x\"},{\"domain\":\"y\"},"
                                         "{\"user\":\"a@x\"},{\"email\":\"a@x\"}]}}]";
    static const char *const deny_text = "[{\"deny\":{\"or\":[{\"invalid_client_certificate\":true}]}}]";
    static cJSON *flag_json, *deny_json;
    struct tg_ppl_flags flags = {.domains = domains, .domain_count = 2, .users = users, .user_count = 1};
    struct tg_ppl_builder *b = tg_ppl_builder_in(p->pool, &p->arena);
    size_t first = draw(p->count);
    int index = 0;

    if (!flag_json) {
        flag_json = cJSON_Parse(flag_text);
        deny_json = cJSON_Parse(deny_text);
    }
    *out = (struct made){0};
    for (size_t i = 0; i < p->count; i++) {
        if (all || draw(2))
            add_one(p, b, &p->documents[(first + i) % p->count], index++, out);
    }
    if (draw(6) == 0) {
        assert_true(tg_ppl_add_flags(b, NULL, &flags, &p->problems));
        out->documents[out->count] = flag_json;
        out->index[out->count++] = -1;
    }
    if (draw(6) == 0) {
        tg_ppl_add_certificate_deny(b);
        out->documents[out->count] = deny_json;
        out->index[out->count++] = -1;
    }
    out->program = tg_ppl_finish(b);
}

static void policies_fini(struct policies *p)
{
    for (size_t i = 0; i < p->count; i++) {
        tg_buf_fini(&p->documents[i].text);
        cJSON_Delete(p->documents[i].json);
    }
    tg_problems_fini(&p->problems);
    tg_arena_fini(&p->arena);
}

/* ---- the laws ---- */
static bool same_verdict(const struct tg_verdict *a, const struct tg_verdict *b)
{
    return a->decision == b->decision && a->allow == b->allow && a->deny == b->deny &&
           a->allow_reasons == b->allow_reasons && a->deny_reasons == b->deny_reasons && a->reasons == b->reasons &&
           a->policy == b->policy;
}

static const char *verdict_text(const struct tg_verdict *v, char out[static 1500])
{
    static const char *const names[] = {[TG_ALLOW] = "allow", [TG_DENY] = "deny", [TG_UNAUTHENTICATED] = "login"};
    char allow[600], deny[600];

    snprintf(out, 1500, "%s by %d; allow %d {%s}, deny %d {%s}", names[v->decision], v->policy, v->allow,
             reasons_text(v->allow_reasons, allow, sizeof(allow)), v->deny,
             reasons_text(v->deny_reasons, deny, sizeof(deny)));
    return out;
}

static void fail_at(const struct policies *p, const struct made *made, size_t i, const char *what,
                    const struct tg_verdict *got, const struct tg_verdict *want)
{
    char a[1500], b[1500];

    for (size_t k = 0; k < made->count; k++) {
        char *text = cJSON_PrintUnformatted(made->documents[k]);

        print_error("%d: %s\n", made->index[k], text);
        cJSON_free(text);
    }
    fail_msg("LAW_SEED=%llu LAW_SETS=1: facts %zu: %s: %s; instead of: %s", (unsigned long long)p->seed, i, what,
             verdict_text(got, a), verdict_text(want, b));
}

/* The rules of all policies, as the trace has them. */
static struct plain traced_action(const struct tg_trace_node *policies, const char *action)
{
    struct plain_sum sum = {.any = true};

    for (const struct tg_trace_node *p = policies; p; p = p->next) {
        for (const struct tg_trace_node *rule = p->children; rule; rule = rule->next) {
            assert_int_equal(rule->kind, TG_TRACE_RULE);
            for (const struct tg_trace_node *op = rule->children; op; op = op->next)
                assert_true(op->kind == TG_TRACE_OPERATOR && op->children && op->children->saw.len > 0);
            if (is(rule->name, action) && rule->children)
                plain_add(&sum, (struct plain){rule->value, rule->reasons});
        }
    }
    return plain_result(&sum);
}

static void check_trace(const struct policies *p, const struct made *made, const struct tg_facts *facts, size_t i,
                        const struct tg_verdict *want)
{
    struct tg_verdict got;
    struct tg_arena arena;
    const struct tg_trace_node *root;
    struct plain allow, deny;

    tg_arena_init(&arena, NULL, 0);
    root = tg_ppl_trace(made->program, facts, &arena, &got);
    if (got.unknown || !same_verdict(&got, want))
        fail_at(p, made, i, "the trace's verdict", &got, want);
    allow = traced_action(root, "allow");
    deny = traced_action(root, "deny");
    got = *want;
    got.allow = allow.value;
    got.allow_reasons = allow.reasons;
    got.deny = deny.value;
    got.deny_reasons = deny.reasons;
    if (!same_verdict(&got, want))
        fail_at(p, made, i, "the trace", &got, want);
    tg_arena_fini(&arena);
}

static void check(const struct policies *p, const struct made *made, const struct world *w)
{
    for (int k = 0; k < ASKED; k++) {
        size_t i = draw(FACTS);
        struct plain_request r = {&w->facts[i], w->objects[i]};
        struct tg_verdict got, want;
        size_t before = allocation_count;

        tg_ppl_decide(made->program, &w->facts[i], &got);
        if (allocation_count != before)
            fail_at(p, made, i, "a decision asks for memory", &got, &got);
        plain_decide(made->documents, made->index, made->count, &r, &want);
        if (!same_verdict(&got, &want))
            fail_at(p, made, i, "the program", &got, &want);
        if (k == 0)
            check_trace(p, made, &w->facts[i], i, &want);
    }
}

static void check_set(uint64_t set_seed, const struct world *w)
{
    struct policies p = {.seed = set_seed};
    struct made made;

    seed = set_seed;
    tg_arena_init(&p.arena, NULL, 0);
    p.pool = tg_ppl_pool_new(&p.arena);
    draw_documents(&p);
    for (int i = 0; i < PROGRAMS; i++) {
        make_program(&p, i == 0, &made);
        check(&p, &made, w);
    }
    policies_fini(&p);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void decides_as_the_words_say(void **state)
{
    static struct world w;
    uint64_t first = number("LAW_SEED", 20240229), sets = number("LAW_SETS", SETS);

    (void)state;
    allocations_start();
    free(tg_slice_dup(unquoted(texts[0])));
    assert_int_not_equal(allocation_count, 0);           /* they are counted */
    seed = 1;                                            /* the facts are always the same */
    for (size_t i = 0; i < FACTS; i++)
        make_facts(&w, i);
    for (uint64_t i = 0; i < sets; i++)
        check_set(first + i, &w);
    print_message("%llu pairs of a program and a request, seeds from %llu\n",
                  (unsigned long long)(sets * PROGRAMS * ASKED), (unsigned long long)first);
    free_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decides_as_the_words_say)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
