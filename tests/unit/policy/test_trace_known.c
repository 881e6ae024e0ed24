/*
 * test_trace_known - a trace of a request of which not everything is known, as of one that was logged.
 */
#include "support.h"
#include "base/hash.h"
#include "random_policy.h"

#define FACT(f) TG_FACT_BIT(TG_FACT_##f)
#define ALWAYS (FACT(METHOD) | FACT(PATH) | FACT(SOURCE_IP) | FACT(USER) | FACT(TIME) | FACT(CLIENT_CERT) | \
                FACT(PREFLIGHT))
#define ALICE "{\"sub\":\"u1\",\"email\":\"a@x\",\"groups\":[\"g1\"],\"plan\":\"pro\"}"

static const struct tg_slice plan[] = {TG_S_INIT("plan")};

static const struct {
    const char *why, *policy;
    struct request request;
    struct tg_fact_set known;
    const char *verdict;                                 /* "decision reasons", or "?" with the decision when known */
    const char *reads;                                   /* part of the text; NULL: any */
} cases[] = {
    {"nothing is missing", "{allow: {and: [{email: a@x}]}}", {.claims = ALICE}, {.facts = FACT(EMAIL)},
     "allow email-ok", "saw a@x"},
    {"what is missing is told", "{allow: {and: [{email: a@x}]}}", {.claims = ALICE}, {.facts = ALWAYS}, "?",
     "?    email \"a@x\", saw (not logged)\n"},
    {"domain reads the e-mail", "{allow: {and: [{domain: x}]}}", {.claims = ALICE}, {.facts = ALWAYS}, "?", NULL},
    {"a false member makes `and` known", "{allow: {and: [{email: a@x}, {http_method: PUT}]}}", {.claims = ALICE},
     {.facts = ALWAYS}, "deny? http-method-unauthorized", "no   and"},
    {"a true member makes `or` known", "{allow: {or: [{email: a@x}, {http_method: GET}]}}", {.claims = ALICE},
     {.facts = ALWAYS}, "allow? http-method-ok", "yes* http_method"},
    {"the same reasons either way", "{allow: {or: [{claim/plan: x}, {claim/groups: g1}]}}", {.claims = ALICE},
     {.facts = ALWAYS, .claims = (const struct tg_slice[]){TG_S_INIT("groups")}, .claim_count = 1},
     "allow claim-ok", "?    claim/plan"},
    {"a true member makes `not` false", "{allow: {not: [{http_method: GET}, {email: a@x}]}}", {.claims = ALICE},
     {.facts = ALWAYS}, "deny? http-method-ok", "no   not"},
    {"a false member makes `nor` true", "{allow: {nor: [{http_method: PUT}, {email: a@x}]}}", {.claims = ALICE},
     {.facts = ALWAYS}, "allow? http-method-unauthorized", "yes  nor"},
    {"a claim that is known", "{allow: {and: [{claim/plan: pro}]}}", {.claims = ALICE},
     {.claims = plan, .claim_count = 1}, "allow claim-ok", NULL},
    {"another claim is not", "{allow: {and: [{claim/plans: pro}]}}", {.claims = ALICE},
     {.facts = ALWAYS, .claims = plan, .claim_count = 1}, "?", NULL},
    {"groups are a fact of their own", "{allow: {and: [{groups: g1}]}}", {.claims = ALICE}, {.facts = FACT(GROUPS)},
     "allow groups-ok", "saw [\"g1\"]"},
    {"groups unknown", "{allow: {and: [{groups: g1}]}}", {.claims = ALICE}, {.facts = ALWAYS}, "?", NULL},
    {"without an identity all of one is known", "{allow: {and: [{email: a@x}, {claim/plan: pro}, {groups: g1}]}}", {0},
     {.facts = 0}, "unauthenticated user-unauthenticated", "saw (none)"},
    {"a certain deny goes before an uncertain allow",
     "{allow: {and: [{email: a@x}]}, deny: {and: [{http_method: GET}]}}", {.claims = ALICE}, {.facts = ALWAYS},
     "deny http-method-ok", NULL},
    {"an uncertain deny", "{allow: {and: [{http_method: GET}]}, deny: {and: [{email: a@x}]}}", {.claims = ALICE},
     {.facts = ALWAYS}, "?", NULL},
    {"a deny that cannot be", "{allow: {and: [{http_method: GET}]}, deny: {and: [{email: a@x}, {http_method: PUT}]}}",
     {.claims = ALICE}, {.facts = ALWAYS}, "allow http-method-ok", NULL},
    {"a certificate goes first",
     "{deny: {or: [{invalid_client_certificate: true}]}, allow: {and: [{email: a@x}]}}",
     {.claims = ALICE, .cert = TG_CLIENT_CERT_MISSING}, {.facts = ALWAYS}, "deny client-certificate-required", NULL},
    {"whether there is a certificate", "{allow: {and: [{client_certificate: {}}]}}", {.shows = orders_certificate},
     {.facts = ALWAYS | FACT(CERT_FINGERPRINT)}, "allow client-certificate-ok", NULL},
    {"its names are another fact", "{allow: {and: [{client_certificate: {san_dns: a}}]}}",
     {.shows = orders_certificate}, {.facts = ALWAYS | FACT(CERT_FINGERPRINT)}, "?", NULL},
    {"an unknown tool may be none", "{allow: {and: [{http_method: GET}]}, deny: {and: [{mcp_tool: {not: read}}]}}",
     {0}, {.facts = ALWAYS}, "?", NULL},
    {"reject is never unknown", "{allow: {and: [{reject: true}]}}", {.claims = ALICE}, {.facts = 0}, "deny reject",
     NULL},
};

static void hash_claims(struct tg_fact_set *set, struct tg_arena *arena)
{
    uint64_t *hashes = TG_ARENA_ARRAY(arena, uint64_t, set->claim_count);

    for (size_t i = 0; i < set->claim_count; i++)
        hashes[i] = tg_hash_slice(set->claims[i]);
    set->hashes = hashes;
}

static const char *told(const struct tg_verdict *v, char out[static 600])
{
    static const char *const names[] = {[TG_ALLOW] = "allow", [TG_DENY] = "deny",
                                        [TG_UNAUTHENTICATED] = "unauthenticated"};
    char reasons[500];

    if (v->undecided) {
        assert_true(v->unknown);
        assert_int_equal(v->decision, TG_DENY);
        return "?";
    }
    snprintf(out, 600, "%s%s %s", names[v->decision], v->unknown ? "?" : "",
             reasons_text(v->reasons, reasons, sizeof reasons));
    return out;
}

static void missing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_fact_set known = cases[i].known;
        const struct tg_trace_node *root;
        struct tg_buf text = {0};
        struct tg_claims *claims;
        struct tg_verdict v;
        struct tg_facts facts;
        struct loaded l;
        char got[600];

        loaded_init(&l);
        if (!loaded_add(&l, cases[i].policy))
            fail_msg("%s: %s", cases[i].why, l.problems.items[0].text);
        l.program = tg_ppl_finish(l.builder);
        claims = facts_of(&cases[i].request, &facts);
        hash_claims(&known, &l.arena);
        facts.known = &known;
        root = tg_ppl_trace(l.program, &facts, &l.arena, &v);
        tg_trace_text(root, 0, false, &text);
        if (strcmp(told(&v, got), cases[i].verdict) != 0)
            fail_msg("%s: %s, want %s\n%s", cases[i].why, told(&v, got), cases[i].verdict, tg_buf_cstr(&text));
        if (cases[i].reads && !strstr(tg_buf_cstr(&text), cases[i].reads))
            fail_msg("%s: %s in\n%s", cases[i].why, cases[i].reads, tg_buf_cstr(&text));
        tg_buf_fini(&text);
        tg_claims_free(claims);
        loaded_fini(&l);
    }
}

/* ---- the laws, over random policies ---- */

static const struct tg_slice all_claims[] = {
    TG_S_INIT(""), TG_S_INIT("deep.er.name"), TG_S_INIT("groups"), TG_S_INIT("level"), TG_S_INIT("none"),
    TG_S_INIT("plan.tier"), TG_S_INIT("plan/tier"), TG_S_INIT("roles")};

static const struct request callers[] = {
    {.claims = "{\"sub\":\"u1\",\"email\":\"a@x\",\"groups\":[\"g1\",5],\"level\":5,\"plan\":{\"tier\":\"x\"}}"},
    {.claims = "{\"sub\":\"u2\",\"email\":\"c@y\",\"roles\":[\"g2\"],\"deep\":{\"er\":{\"name\":true}}}",
     .groups_claim = "roles", .method = "PUT", .path = "/a/b"},
    {.claims = "{\"sub\":\"g1\"}", .path = "/a", .ip = "10.0.0.1", .preflight = true,
     .cert = TG_CLIENT_CERT_INVALID, .shows = orders_certificate},
    {.ip = "2001:db8:1::9", .cert = TG_CLIENT_CERT_MISSING},
    {.shows = bare_certificate, .path = "/a/b"},
};

/* Some of the facts, each by chance. */
static struct tg_fact_set some_facts(struct tg_slice names[static ARRAY_LEN(all_claims)],
                                     uint64_t hashes[static ARRAY_LEN(all_claims)], uint64_t one_in)
{
    struct tg_fact_set set = {.claims = names, .hashes = hashes};

    for (unsigned f = 0; f < TG_FACT_COUNT; f++)
        set.facts |= draw(one_in) ? TG_FACT_BIT(f) : 0;
    for (size_t i = 0; i < ARRAY_LEN(all_claims); i++) {
        if (!draw(one_in))
            continue;
        hashes[set.claim_count] = tg_hash_slice(all_claims[i]);
        names[set.claim_count++] = all_claims[i];
    }
    return set;
}

static void same(const struct tg_verdict *got, const struct tg_verdict *want, const char *policy)
{
    if (got->decision != want->decision || got->reasons != want->reasons || got->allow != want->allow ||
        got->deny != want->deny || got->allow_reasons != want->allow_reasons ||
        got->deny_reasons != want->deny_reasons || got->policy != want->policy || got->unknown)
        fail_msg("seed %llu: %s", (unsigned long long)seed, policy);
}

static size_t certain, uncertain, without_reasons;

static void check_one(struct loaded *l, const struct tg_facts *facts, const char *policy)
{
    uint64_t hashes[ARRAY_LEN(all_claims)], all_hashes[ARRAY_LEN(all_claims)];
    struct tg_slice names[ARRAY_LEN(all_claims)], all_names[ARRAY_LEN(all_claims)];
    struct tg_fact_set part = some_facts(names, hashes, 3), all = some_facts(all_names, all_hashes, 1);
    const struct tg_fact_set *reads = tg_ppl_reads(&l->program, 1, NULL, 0, &l->arena);
    struct tg_facts asked = *facts;
    struct tg_verdict want, got;

    for (unsigned f = 0; f < TG_FACT_COUNT; f++)
        all.facts |= TG_FACT_BIT(f);
    memcpy(all_names, all_claims, sizeof all_claims);
    all.claim_count = ARRAY_LEN(all_claims);
    tg_ppl_decide(l->program, facts, &want);
    tg_ppl_trace(l->program, facts, &l->arena, &got);
    same(&got, &want, policy);
    asked.known = &all;
    tg_ppl_trace(l->program, &asked, &l->arena, &got);
    same(&got, &want, policy);
    asked.known = reads;                                 /* what it reads is enough */
    tg_ppl_trace(l->program, &asked, &l->arena, &got);
    same(&got, &want, policy);
    asked.known = &part;
    tg_ppl_trace(l->program, &asked, &l->arena, &got);
    if ((!got.undecided && got.decision != want.decision) || (!got.unknown && got.reasons != want.reasons) ||
        (!got.undecided && (got.reasons & ~want.reasons)))
        fail_msg("seed %llu: told more than is known: %s", (unsigned long long)seed, policy);
    certain += !got.unknown;
    uncertain += got.undecided;
    without_reasons += got.unknown && !got.undecided;
}

static void what_is_known_is_true(void **state)
{
    (void)state;
    seed = 7;
    for (int n = 0; n < 1500; n++) {
        const struct request *caller = &callers[n % (int)ARRAY_LEN(callers)];
        struct tg_buf text = {0};
        struct tg_claims *claims;
        struct tg_facts facts;
        struct loaded l;

        loaded_init(&l);
        for (int docs = 1 + n % 3; docs > 0; docs--) {
            text.len = 0;
            add_document(&text);
            if (!loaded_add(&l, tg_buf_cstr(&text)))
                fail_msg("%s: %s", tg_buf_cstr(&text), l.problems.items[0].text);
        }
        l.program = tg_ppl_finish(l.builder);
        claims = facts_of(caller, &facts);
        facts.wall_ms = INT64_C(1772352000000);
        facts.mcp_tool_call = n % 2;
        facts.mcp_tool = n % 2 ? TG_S("x") : TG_S("");
        check_one(&l, &facts, tg_buf_cstr(&text));
        tg_claims_free(claims);
        tg_buf_fini(&text);
        loaded_fini(&l);
    }
    assert_true(certain > 150 && uncertain > 150 && without_reasons > 30); /* all three were met */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(missing), cmocka_unit_test(what_is_known_is_true)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
