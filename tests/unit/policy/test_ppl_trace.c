/* What explain shows. */
#include "support.h"

#define ALICE "{\"sub\":\"user-1\",\"email\":\"alice@example.com\",\"groups\":[\"eng\",5],\"plan\":\"pro\"}"

/* One line per node: "KIND name[/sub] [data] saw=... value {reasons}", indented. */
static void print(struct tg_buf *out, const struct tg_trace_node *node, int depth)
{
    char reasons[512];

    for (; node; node = node->next) {
        tg_buf_addf(out, "%*s%s", depth * 2, "", node->name);
        if (node->sub_path.len > 0)
            tg_buf_addf(out, "/" TG_S_FMT, TG_S_ARG(node->sub_path));
        if (node->kind == TG_TRACE_CRITERION) {
            tg_buf_addc(out, ' ');
            tg_json_print(out, node->data);
            tg_buf_addf(out, " saw " TG_S_FMT, TG_S_ARG(node->saw));
        }
        tg_buf_addf(out, " %s {%s}\n", node->value ? "true" : "false",
                    reasons_text(node->reasons, reasons, sizeof(reasons)));
        print(out, node->children, depth + 1);
    }
}

static const struct {
    const char *why, *policy;
    struct request request;
    const char *trace;
} cases[] = {
    {"no rules", "{}", {0}, " false {}\n"},
    {"criteria stay as written, although the program unites them",
     "{allow: {or: [{email: bob@x}, {email: {is: alice@example.com}}], and: []}}",
     {.claims = ALICE},
     " true {email-ok}\n"
     "  allow true {email-ok}\n"
     "    or true {email-ok}\n"
     "      email \"bob@x\" saw alice@example.com false {email-unauthorized}\n"
     "      email {\"is\":\"alice@example.com\"} saw alice@example.com true {email-ok}\n"},
    {"inversion is the operator's",
     "{allow: {not: [{claim/groups: ops}]}, deny: {nor: [{authenticated_user: true}, {http_path: /x}]}}",
     {.claims = ALICE},
     " false {http-path-unauthorized}\n"
     "  allow true {claim-unauthorized}\n"
     "    not true {claim-unauthorized}\n"
     "      claim/groups \"ops\" saw [\"eng\",5] false {claim-unauthorized}\n"
     "  deny true {http-path-unauthorized}\n"
     "    nor true {http-path-unauthorized}\n"
     "      authenticated_user true saw user-1 true {user-ok}\n"
     "      http_path \"/x\" saw / false {http-path-unauthorized}\n"},
    {"nobody there",
     "{allow: {and: [{domain: example.com}, {claim/plan: pro}, {source_ip: [10.0.0.0/8]}, "
     "{cors_preflight: 1}, {accept: 1}]}}",
     {0},
     " false {user-unauthenticated source-ip-unauthorized non-cors-request}\n"
     "  allow false {user-unauthenticated source-ip-unauthorized non-cors-request}\n"
     "    and false {user-unauthenticated source-ip-unauthorized non-cors-request}\n"
     "      domain \"example.com\" saw (none) false {user-unauthenticated}\n"
     "      claim/plan \"pro\" saw (none) false {user-unauthenticated}\n"
     "      source_ip [\"10.0.0.0/8\"] saw 192.0.2.10 false {source-ip-unauthorized}\n"
     "      cors_preflight 1 saw no CORS preflight false {non-cors-request}\n"
     "      accept 1 saw (none) true {accept}\n"},
    {"certificates",
     "{allow: {or: [{client_certificate: {}}, {client_certificate: {san_dns: a, spki_hash: " SPKI "}}]}}",
     {.shows = orders_certificate},
     " true {client-certificate-ok}\n"
     "  allow true {client-certificate-ok}\n"
     "    or true {client-certificate-ok}\n"
     "      client_certificate {} saw CN=orders true {client-certificate-ok}\n"
     "      client_certificate {\"san_dns\":\"a\",\"spki_hash\":\"" SPKI "\"} saw "
     "{\"san_dns\":[\"orders.example.com\",\"*.orders.example.com\"],\"spki_hash\":\"" SPKI "\"} false "
     "{client-certificate-unauthorized}\n"},
    {"a certificate without names",
     "{allow: {or: [{client_certificate: {}}, {client_certificate: {san_uri: a}}]}}",
     {.shows = bare_certificate},
     " true {client-certificate-ok}\n"
     "  allow true {client-certificate-ok}\n"
     "    or true {client-certificate-ok}\n"
     "      client_certificate {} saw " OTHER_FINGERPRINT " true {client-certificate-ok}\n"
     "      client_certificate {\"san_uri\":\"a\"} saw {\"san_uri\":[]} false {client-certificate-unauthorized}\n"},
    {"no certificate",
     "{allow: {and: [{client_certificate: {}}]}}",
     {0},
     " false {client-certificate-unauthorized}\n"
     "  allow false {client-certificate-unauthorized}\n"
     "    and false {client-certificate-unauthorized}\n"
     "      client_certificate {} saw (none) false {client-certificate-unauthorized}\n"},
    {"values of an identity",
     "{allow: {and: [{domain: example.com}, {claim/none: {exclude: 1}}, {groups: eng}]}}",
     {.claims = ALICE, .ip = "", .groups_claim = "plan"},
     " false {groups-unauthorized}\n"
     "  allow false {groups-unauthorized}\n"
     "    and false {groups-unauthorized}\n"
     "      domain \"example.com\" saw example.com true {domain-ok}\n"
     "      claim/none {\"exclude\":1} saw (none) true {claim-ok}\n"
     "      groups \"eng\" saw [\"pro\"] false {groups-unauthorized}\n"},
};

static void traced(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf out = {0};
        struct tg_claims *claims;
        struct tg_facts facts;
        struct tg_verdict told, decided;
        struct loaded l;

        loaded_init(&l);
        if (!loaded_add(&l, cases[i].policy))
            fail_msg("%s: %s", cases[i].why, l.problems.items[0].text);
        l.program = tg_ppl_finish(l.builder);
        claims = facts_of(&cases[i].request, &facts);
        print(&out, tg_ppl_trace(l.program, &facts, &l.arena, &told), 0);
        tg_ppl_decide(l.program, &facts, &decided);
        if (strcmp(tg_buf_cstr(&out), cases[i].trace) != 0)
            fail_msg("%s:\n%swant\n%s", cases[i].why, tg_buf_cstr(&out), cases[i].trace);
        assert_memory_equal(&told.reasons, &decided.reasons, sizeof(told.reasons));
        assert_int_equal(told.decision, decided.decision);
        tg_buf_fini(&out);
        tg_claims_free(claims);
        loaded_fini(&l);
    }
}

static void no_policies(void **state)
{
    struct tg_verdict v;
    struct tg_facts facts;
    struct loaded l;

    (void)state;
    loaded_init(&l);
    facts_of(&(struct request){0}, &facts);
    assert_null(tg_ppl_trace(tg_ppl_finish(l.builder), &facts, &l.arena, &v));
    assert_int_equal(v.decision, TG_DENY);
    loaded_fini(&l);
}

static void names_of_reasons(void **state)
{
    const char *names[TG_REASON_COUNT];

    (void)state;
    assert_string_equal(tg_reason_name(TG_REASON_ACCEPT), "accept");
    assert_string_equal(tg_reason_name(TG_REASON_ROUTE_NOT_FOUND), "route-not-found");
    assert_string_equal(tg_reason_name(TG_REASON_COUNT), "unknown");
    assert_int_equal(tg_reasons_list(0, names), 0);
    assert_int_equal(tg_reasons_list(~(tg_reasons)0, names), TG_REASON_COUNT);
}

/* Ten thousand criteria about a long value do not make ten thousand copies of it. */
static void values_are_kept_once(void **state)
{
    struct tg_buf text = {0};
    const struct tg_trace_node *node;
    struct tg_claims *claims;
    struct tg_verdict verdict;
    struct tg_facts facts;
    struct loaded l;
    size_t same = 0;

    (void)state;
    tg_buf_adds(&text, "allow: {or: [");
    for (int i = 0; i < 100; i++)
        tg_buf_addf(&text, "{email: u%d@x}, {claim/groups: g%d}, {claim/plan: p%d}, ", i, i, i);
    tg_buf_adds(&text, "{reject: 1}]}");
    loaded_init(&l);
    assert_true(loaded_add(&l, tg_buf_cstr(&text)));
    l.program = tg_ppl_finish(l.builder);
    claims = facts_of(&(struct request){.claims = ALICE}, &facts);
    node = tg_ppl_trace(l.program, &facts, &l.arena, &verdict)->children->children->children;
    for (const struct tg_trace_node *n = node->next->next->next; n; n = n->next) {
        const struct tg_trace_node *first = node;

        while (first != n && (strcmp(first->name, n->name) != 0 || !tg_slice_eq(first->sub_path, n->sub_path)))
            first = first->next;
        assert_true(tg_slice_eq(n->saw, first->saw));
        same += first != n && n->saw.ptr == first->saw.ptr;
    }
    assert_int_equal(same, 297);
    tg_claims_free(claims);
    loaded_fini(&l);
    tg_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traced),
        cmocka_unit_test(no_policies),
        cmocka_unit_test(values_are_kept_once),
        cmocka_unit_test(names_of_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
