/*
 * ppl_bench - what a decision costs by the size of the policies, and what loading 100,000 rules costs.
 *
 *     ppl_bench decide ROUNDS [PART]  name, ns a decision (the least of the rounds, the middle one), admitted
 *     ppl_bench load ROUNDS [PART]    name, MB of text, ms of the best round: text to tree, tree to rules with the
 *                                     linter's warnings, rules to program, together
 *
 * Separated by tabs; PART: only cases with it in their name. Every case asks 1,024 requests in turn, each with claims
 * of its own, so that neither the processor's caches nor its guesses are as good as with one. CPU time of this thread.
 */
#include "base/arena.h"
#include "base/json.h"
#include "policy/ppl.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ASKED = 1024, ROUNDS_MAX = 101 };

/* ---- requests ---- */
struct asked {
    struct tg_facts facts[ASKED];
    struct tg_claims *claims[ASKED];
    char emails[ASKED][48];
    size_t count;
};

/* `members`: e-mails and addresses go round among so many that are listed, and every other one is not. */
static void make_asked(struct asked *a, size_t members, bool identity)
{
    *a = (struct asked){.count = ASKED};
    for (size_t i = 0; i < a->count; i++) {
        struct tg_facts *f = &a->facts[i];
        size_t which = (i * UINT64_C(2654435761)) % members;
        struct tg_buf json = {0};
        cJSON *object = NULL;

        f->method = i % 4 == 3 ? TG_S("POST") : TG_S("GET");
        f->path = TG_S("/api/orders/4711");
        f->source_ip = (struct tg_ip){.family = 4};
        f->source_ip.bytes[0] = i % 2 ? 11 : 10;
        f->source_ip.bytes[1] = (uint8_t)(which >> 8);
        f->source_ip.bytes[2] = (uint8_t)which;
        f->source_ip.bytes[3] = (uint8_t)i;
        f->identity = identity;
        f->wall_ms = INT64_C(1700000000000);
        if (!identity)
            continue;
        snprintf(a->emails[i], sizeof(a->emails[i]), "user%zu@%s.example", which, i % 2 ? "other" : "corp");
        tg_buf_addf(&json, "{\"sub\":\"u%zu\",\"email\":\"%s\",\"iss\":\"https://idp.example.com\",\"aud\":\"orders\","
                    "\"exp\":1,\"iat\":1,\"plan\":\"p%zu\",\"groups\":[\"g1\",\"g2\",\"staff%zu\"],\"realm_access\":"
                    "{\"roles\":[\"viewer\",\"%s\"]}}", which, a->emails[i], which, which, i % 2 ? "none" : "editor");
        if (tg_json_parse(tg_buf_slice(&json), NULL, &object, NULL) != TG_OK)
            exit(1);
        tg_buf_fini(&json);
        a->claims[i] = tg_claims_new(object);
        f->claims = a->claims[i];
        f->user = tg_claims_text(a->claims[i], "sub");
        f->email = tg_slice_str(a->emails[i]);
    }
}

static void free_asked(struct asked *a)
{
    for (size_t i = 0; i < a->count; i++)
        tg_claims_free(a->claims[i]);
}

/* ---- policies ---- */
struct text {
    struct tg_buf *documents;                            /* one a policy */
    size_t count;
    const char *file;
};

static struct tg_buf *next_document(struct text *t)
{
    t->documents = tg_realloc(t->documents, (t->count + 1) * sizeof(*t->documents));
    t->documents[t->count] = (struct tg_buf){0};
    return &t->documents[t->count++];
}

static void typical(struct text *t, size_t n)
{
    (void)n;
    tg_buf_adds(next_document(t),
                "- allow: {and: [{domain: {is: corp.example}}, {http_method: {in: [GET, HEAD]}}, "
                "{http_path: {starts_with: /api/}}]}\n"
                "- allow: {and: [{claim/realm_access.roles: editor}, {http_path: {starts_with: /api/}}]}\n"
                "- deny: {or: [{email: {in: [mallory@corp.example, eve@corp.example]}}, {source_ip: 192.0.2.0/24}]}\n");
}

static void one_list(struct text *t, size_t n)
{
    struct tg_buf *b = next_document(t);

    tg_buf_adds(b, "allow:\n  and:\n    - email:\n        in:\n");
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "          - user%zu@corp.example\n", i);
}

static void one_or(struct text *t, size_t n)
{
    struct tg_buf *b = next_document(t);

    tg_buf_adds(b, "allow:\n  or:\n");
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "    - email: {is: user%zu@corp.example}\n", i);
}

static void or_policies(struct text *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(next_document(t), "allow: {or: [{email: {is: user%zu@corp.example}}]}\n", i);
}

static void and_policies(struct text *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(next_document(t), "allow: {and: [{claim/groups: staff%zu}, {http_path: {starts_with: /api/}}, "
                    "{http_method: {in: [GET, HEAD]}}, {domain: {is: corp.example}}]}\n", i);
}

/* No two alike, and nothing that a table could look up. */
static void part_policies(struct text *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(next_document(t), "allow: {and: [{http_path: {contains: /t%zu/}}, {http_method: {in: [GET, HEAD]}}"
                    "]}\n", i);
}

static void path_policies(struct text *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(next_document(t), "allow: {and: [{http_path: {starts_with: /t%zu/}}, {http_path: {ends_with: "
                    "/x%zu}}, {http_method: {in: [GET, HEAD]}}]}\n", i, i);
}

static void deny_policies(struct text *t, size_t n)
{
    tg_buf_adds(next_document(t), "allow: {and: [{authenticated_user: true}]}\n");
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(next_document(t), "deny: {or: [{email: {is: user%zu@other.example}}]}\n", i);
}

static void cidrs(struct text *t, size_t n)
{
    struct tg_buf *b = next_document(t);

    tg_buf_adds(b, "allow:\n  or:\n    - source_ip:\n");
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 3)
            tg_buf_addf(b, "      - 2001:db8:%zx:%zx::/64\n", i >> 8, i & 255);
        else
            tg_buf_addf(b, "      - 10.%zu.%zu.0/2%zu\n", i >> 8, i & 255, 3 + i % 3);
    }
}

static void claim_or(struct text *t, size_t n)
{
    struct tg_buf *b = next_document(t);

    tg_buf_adds(b, "allow:\n  or:\n");
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "    - claim/plan: p%zu\n", i);
}

static void prefixes(struct text *t, size_t n)
{
    struct tg_buf *b = next_document(t);

    tg_buf_adds(b, "allow:\n  or:\n");
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "    - http_path: {starts_with: /t%zu/}\n", i);
}

/* As people write them: rules of several criteria of several kinds. */
static void mixed(struct text *t, size_t n)
{
    struct tg_buf *b = next_document(t);

    for (size_t i = 0; i < n; i++) {
        switch (i % 4) {
        case 0:
            tg_buf_addf(b, "- allow: {or: [{email: {is: user%zu@corp.example}}]}\n", i);
            break;
        case 1:
            tg_buf_addf(b, "- allow: {and: [{claim/groups: staff%zu}, {http_method: GET}]}\n", i);
            break;
        case 2:
            tg_buf_addf(b, "- deny: {or: [{source_ip: 10.%zu.%zu.0/24}]}\n", i >> 8 & 255, i & 255);
            break;
        default:
            tg_buf_addf(b, "- allow: {and: [{http_path: {starts_with: /t%zu/}}]}\n", i);
        }
    }
}

static void json_mixed(struct text *t, size_t n)
{
    struct tg_buf *b = next_document(t);

    t->file = "policy.json";
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "%s{\"allow\":{\"or\":[{\"email\":{\"is\":\"user%zu@corp.example\"}}]}}", i ? ",\n" : "[", i);
    tg_buf_adds(b, "]");
}

static void documents(struct text *t, size_t n)
{
    for (size_t d = 0; d < 1000; d++) {
        struct tg_buf *b = next_document(t);

        for (size_t i = d * (n / 1000); i < (d + 1) * (n / 1000); i++)
            tg_buf_addf(b, "- allow: {and: [{claim/groups: staff%zu}, {http_method: GET}]}\n", i);
    }
}

static void free_text(struct text *t)
{
    for (size_t i = 0; i < t->count; i++)
        tg_buf_fini(&t->documents[i]);
    free(t->documents);
}

/* ---- time ---- */
static double now_ns(void)
{
    struct timespec ts;                                  /* who else uses the machine counts as little as can be */

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

struct spent {
    double tree, rules, program;
};

static const struct tg_program *load(struct text *t, struct tg_arena *arena, struct spent *spent)
{
    struct tg_tree **trees = TG_NEW_ARRAY(struct tg_tree *, t->count);
    struct tg_ppl_builder *builder = tg_ppl_builder_new(arena);
    struct tg_problems problems = {0};
    const struct tg_program *program;
    double at = now_ns();
    struct tg_err err;

    for (size_t i = 0; i < t->count; i++) {
        if (tg_tree_parse(t->file ? t->file : "policy.yaml", tg_buf_slice(&t->documents[i]), &trees[i], &err) !=
            TG_OK) {
            fprintf(stderr, "%s\n", tg_err_text(&err));
            exit(1);
        }
    }
    spent->tree = now_ns() - at;
    at = now_ns();
    for (size_t i = 0; i < t->count; i++) {
        if (!tg_ppl_add(builder, trees[i], trees[i]->root, NULL, &problems)) {
            fprintf(stderr, "%s\n", problems.items[0].text);
            exit(1);
        }
    }
    spent->rules = now_ns() - at;
    at = now_ns();
    program = tg_ppl_finish(builder);
    spent->program = now_ns() - at;
    for (size_t i = 0; i < t->count; i++)
        tg_tree_free(trees[i]);
    free(trees);
    tg_problems_fini(&problems);
    return program;
}

static void bench_decide(const char *name, void (*make)(struct text *t, size_t n), size_t n, bool identity,
                         int rounds)
{
    static struct asked asked;
    double least[ROUNDS_MAX];
    struct text text = {0};
    struct tg_arena arena;
    struct spent spent;
    const struct tg_program *program;
    size_t allowed = 0, repeat = 1;

    tg_arena_init(&arena, NULL, 0);
    make(&text, n);
    make_asked(&asked, n, identity);
    program = load(&text, &arena, &spent);
    for (int r = -1; r < rounds; r++) {                  /* the first finds out how often a round repeats */
        double start = now_ns(), took;

        allowed = 0;
        for (size_t k = 0; k < repeat; k++) {
            for (size_t i = 0; i < asked.count; i++) {
                struct tg_verdict v;

                tg_ppl_decide(program, &asked.facts[i], &v);
                allowed += v.decision == TG_ALLOW;
            }
        }
        took = now_ns() - start;
        if (r < 0)
            repeat = took < 2e7 ? (size_t)(2e7 / took) + 1 : 1;
        else
            least[r] = took / (double)(repeat * asked.count);
    }
    qsort(least, (size_t)rounds, sizeof(*least), by_size);
    printf("%s\t%.0f\t%.0f\t%.0f%%\n", name, least[0], least[rounds / 2],
           100.0 * (double)allowed / (double)(repeat * asked.count));
    fflush(stdout);
    free_asked(&asked);
    free_text(&text);
    tg_arena_fini(&arena);
}

static void bench_load(const char *name, void (*make)(struct text *t, size_t n), size_t n, int rounds)
{
    struct spent best = {0}, spent;
    double least = 0;
    struct text text = {0};
    size_t bytes = 0;

    make(&text, n);
    for (size_t i = 0; i < text.count; i++)
        bytes += text.documents[i].len;
    for (int r = 0; r < rounds; r++) {
        struct tg_arena arena;
        double all;

        tg_arena_init(&arena, NULL, 0);
        load(&text, &arena, &spent);
        all = spent.tree + spent.rules + spent.program;
        if (r == 0 || all < least) {
            least = all;
            best = spent;
        }
        tg_arena_fini(&arena);
    }
    printf("%s\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\n", name, (double)bytes / 1e6, best.tree / 1e6, best.rules / 1e6,
           best.program / 1e6, least / 1e6);
    fflush(stdout);
    free_text(&text);
}

static const struct {
    const char *name;
    void (*make)(struct text *t, size_t n);
    size_t n;
    bool anonymous;
} decisions[] = {
    {"a typical policy", typical, 1, false},
    {"a typical policy, no token", typical, 1, true},
    {"1 policy, an e-mail each", or_policies, 1, false},
    {"1,000 policies, an e-mail each", or_policies, 1000, false},
    {"1 policy, four criteria", and_policies, 1, false},
    {"1,000 policies, four criteria each", and_policies, 1000, false},
    {"1,000 policies, four criteria each, no token", and_policies, 1000, true},
    {"1 policy, two ends of a path and a method", path_policies, 1, false},
    {"1,000 policies, two ends of a path and a method each", path_policies, 1000, false},
    {"1,000 policies, a part of a path and a method each", part_policies, 1000, false},
    {"1,000 denying policies, an e-mail each", deny_policies, 1000, false},
    {"allow-list of 10 e-mails", one_list, 10, false},
    {"allow-list of 1,000 e-mails", one_list, 1000, false},
    {"allow-list of 100,000 e-mails", one_list, 100000, false},
    {"10 e-mails under `or`", one_or, 10, false},
    {"100,000 e-mails under `or`", one_or, 100000, false},
    {"10 CIDR blocks", cidrs, 10, false},
    {"10,000 CIDR blocks", cidrs, 10000, false},
    {"10 values of a claim under `or`", claim_or, 10, false},
    {"10,000 values of a claim under `or`", claim_or, 10000, false},
    {"10 starts of a path under `or`", prefixes, 10, false},
    {"10,000 starts of a path under `or`", prefixes, 10000, false},
};
static const struct {
    const char *name;
    void (*make)(struct text *t, size_t n);
} loads[] = {
    {"100,000 rules of four kinds, one document", mixed},
    {"100,000 rules, one JSON document", json_mixed},
    {"100,000 rules in 1,000 documents", documents},
    {"100,000 criteria under one `or`", one_or},
    {"an allow-list of 100,000 e-mails", one_list},
};

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 5;

    if (rounds < 1 || rounds > ROUNDS_MAX || argc < 2)
        return 2;
    if (strcmp(argv[1], "decide") == 0) {
        for (size_t i = 0; i < ARRAY_LEN(decisions); i++) {
            if (argc < 4 || strstr(decisions[i].name, argv[3]))
                bench_decide(decisions[i].name, decisions[i].make, decisions[i].n, !decisions[i].anonymous, rounds);
        }
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
        if (argc < 4 || strstr(loads[i].name, argv[3]))
            bench_load(loads[i].name, loads[i].make, 100000, rounds);
    }
    return 0;
}
