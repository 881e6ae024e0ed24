/*
 * fuzz_ppl - any text through the reader, the compiler, the evaluator and the trace.
 *
 * Laws: nothing crashes; a refused document leaves a program that denies; trace and decision agree; an anonymous
 * request is never allowed by a reason of an identity.
 */
#include "base/err.h"
#include "base/json.h"
#include "policy/ppl.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char claims_text[] =
    "{\"sub\":\"user-1\",\"email\":\"alice@example.com\",\"groups\":[\"eng\",5,null,[1],{\"a\":1}],"
    "\"plan\":{\"tier\":3},\"level\":5,\"ok\":true,\"\":\"x\"}";

enum { FACTS = 4 };

/* Made once: the last facts are anonymous, the one before has an identity without anything. */
static const struct tg_facts *make_facts(void)
{
    static struct tg_facts facts[FACTS];
    static struct tg_claims *claims;
    static struct tg_slice dns[] = {TG_S_INIT("a.example.com"), TG_S_INIT("*.example.com")};
    static struct tg_slice emails[] = {TG_S_INIT("a@example.com")};
    static const struct tg_cert certificate = {
        .fingerprint = "fd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e8a0d",
        .spki_hash = "h7shtelye6fVp99/9FkLrI3cWWG1FQr06DeaQ1tEqvY=",
        .dns = {dns, ARRAY_LEN(dns)},
        .emails = {emails, ARRAY_LEN(emails)},
    };
    cJSON *object = NULL;

    if (claims)
        return facts;
    if (tg_json_parse(tg_slice_str(claims_text), NULL, &object, NULL) != TG_OK)
        abort();
    claims = tg_claims_new(object);
    for (size_t i = 0; i < FACTS; i++) {
        facts[i] = (struct tg_facts){.method = TG_S("GET"), .path = TG_S("/api/items"), .identity = i < FACTS - 1};
        tg_ip_parse(i % 2 ? TG_S("2001:db8::1") : TG_S("192.0.2.10"), &facts[i].source_ip);
    }
    facts[0].user = tg_claims_text(claims, "sub");
    facts[0].email = tg_claims_text(claims, "email");
    facts[0].claims = claims;
    facts[1] = facts[0];
    facts[1].email = TG_S("a@b@c");
    facts[1].groups_claim = TG_S("plan.tier");
    facts[1].cors_preflight = true;
    facts[1].wall_ms = 1772366400000;                    /* a Sunday, noon */
    facts[1].mcp_tool_call = facts[3].mcp_tool_call = true;
    facts[1].mcp_tool = TG_S("search");
    facts[1].client_cert = TG_CLIENT_CERT_INVALID;
    facts[1].certificate = facts[3].certificate = &certificate;
    return facts;
}

/* The reasons of one action over all policies, as the trace tells them. */
static tg_reasons traced(const struct tg_trace_node *policies, bool deny, bool *value)
{
    tg_reasons of_true = 0, of_false = 0;

    *value = false;
    for (const struct tg_trace_node *p = policies; p; p = p->next) {
        for (const struct tg_trace_node *rule = p->children; rule; rule = rule->next) {
            if ((rule->name[0] == 'd') != deny)
                continue;
            *value |= rule->value;
            of_true |= rule->value ? rule->reasons : 0;
            of_false |= rule->value ? 0 : rule->reasons;
        }
    }
    return *value ? of_true : of_false;
}

static void check(const struct tg_program *program, const struct tg_facts *facts, bool refused)
{
    const tg_reasons identity = TG_REASON_BIT(TG_REASON_USER_OK) | TG_REASON_BIT(TG_REASON_EMAIL_OK) |
                                TG_REASON_BIT(TG_REASON_DOMAIN_OK) | TG_REASON_BIT(TG_REASON_CLAIM_OK) |
                                TG_REASON_BIT(TG_REASON_GROUPS_OK);
    struct tg_verdict decided, told;
    const struct tg_trace_node *root;
    struct tg_arena arena;
    bool allow, deny;

    tg_arena_init(&arena, NULL, 0);
    tg_ppl_decide(program, facts, &decided);
    root = tg_ppl_trace(program, facts, &arena, &told);
    if (traced(root, false, &allow) != decided.allow_reasons || traced(root, true, &deny) != decided.deny_reasons ||
        allow != decided.allow || deny != decided.deny || told.decision != decided.decision)
        abort();
    if (refused && decided.decision != TG_DENY)
        abort();
    if (!facts->identity && decided.decision == TG_ALLOW && (decided.reasons & identity))
        abort();
    tg_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_facts *facts = make_facts();
    struct tg_problems problems = {0};
    struct tg_tree *tree = NULL;
    struct tg_arena arena;
    const struct tg_program *program, *when;
    struct tg_ppl_builder *builder;
    bool ok;

    if (tg_tree_parse("fuzz.yaml", tg_slice((const char *)data, size), &tree, NULL) != TG_OK)
        return 0;
    tg_arena_init(&arena, NULL, 0);
    builder = tg_ppl_builder_new(&arena);
    ok = tg_ppl_add(builder, tree, tree->root, "fuzz", &problems);
    if (ok != (problems.errors == 0))
        abort();
    when = tg_ppl_compile_when(&arena, tree, tree->root, "when", &problems);
    if (cJSON_IsObject(tree->root)) {                    /* the same text as allowed_idp_claims, alone */
        struct tg_ppl_builder *flagged = tg_ppl_builder_new(&arena);
        bool flags_ok = tg_ppl_add_flags(flagged, tree, &(struct tg_ppl_flags){.idp_claims = tree->root}, &problems);
        const struct tg_program *of_flags = tg_ppl_finish(flagged);

        for (size_t i = 0; i < FACTS; i++)
            check(of_flags, &facts[i], !flags_ok);
    }
    tg_tree_free(tree);                                  /* nothing may need it from here */
    program = tg_ppl_finish(builder);
    for (size_t i = 0; i < FACTS; i++) {
        check(program, &facts[i], !ok);
        if (when)
            tg_ppl_holds(when, &facts[i]);
    }
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
    return 0;
}
