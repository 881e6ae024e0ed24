/*
 * route_mtls - the rule against clients without a valid certificate: on every route or on none, and the warnings about
 * policies that look at certificates nobody is asked for.
 */
#include "support.h"

#define ROUTES \
    "policies:\n" \
    "  - {name: all, enforced: true, explanation: 'not you', ppl: {deny: {or: [{http_path: {is: /eve}}]}}}\n" \
    "routes:\n" \
    "  - {name: public, prefix: /p, to: 'http://u', allow_public_unauthenticated_access: true}\n" \
    "  - {name: members, prefix: /m, to: 'http://u', allow_any_authenticated_user: true}\n" \
    "  - {name: written, prefix: /w, to: 'http://u', policy: {allow: {and: [{accept: true}]}}}\n" \
    "  - {name: nothing, prefix: /n, to: 'http://u'}\n"

static struct tg_verdict judge_path(const struct tg_route *route, enum tg_client_cert state, const char *user,
                                    const char *path)
{
    struct tg_facts facts = {.method = TG_S("GET"), .path = tg_slice_str(path), .identity = user != NULL,
                             .user = tg_slice_str(user), .client_cert = state};
    struct tg_verdict verdict;

    tg_ppl_decide(route->policy, &facts, &verdict);
    return verdict;
}

static struct tg_verdict judge(const struct tg_route *route, enum tg_client_cert state, const char *user)
{
    return judge_path(route, state, user, "/");
}

static void every_route(void **state)
{
    static const struct tg_route_defaults deny = {.client_ca = true, .deny_invalid_certificate = true};
    struct reading r;

    (void)state;
    read_defaults(&r, "t.yaml", ROUTES, &deny);
    assert_true(r.ok);
    for (size_t i = 0; i < tg_routes_count(r.routes); i++) {
        const struct tg_route *route = tg_routes_at(r.routes, i);
        struct tg_verdict missing = judge(route, TG_CLIENT_CERT_MISSING, "bob");
        struct tg_verdict invalid = judge(route, TG_CLIENT_CERT_INVALID, NULL);

        assert_int_equal(missing.decision, TG_DENY);
        assert_int_equal(missing.reasons, TG_REASON_BIT(TG_REASON_CLIENT_CERTIFICATE_REQUIRED));
        assert_int_equal(missing.policy, -1);            /* no policy of somebody's: none explains it */
        assert_int_equal(invalid.decision, TG_DENY);     /* and not unauthenticated: it goes before */
        assert_int_equal(invalid.reasons, TG_REASON_BIT(TG_REASON_INVALID_CLIENT_CERTIFICATE));
    }
    assert_int_equal(judge(tg_routes_at(r.routes, 0), TG_CLIENT_CERT_VALID, NULL).decision, TG_ALLOW);
    assert_int_equal(judge(tg_routes_at(r.routes, 1), TG_CLIENT_CERT_VALID, "bob").decision, TG_ALLOW);
    assert_int_equal(judge(tg_routes_at(r.routes, 1), TG_CLIENT_CERT_VALID, NULL).decision, TG_UNAUTHENTICATED);
    assert_int_equal(judge(tg_routes_at(r.routes, 3), TG_CLIENT_CERT_VALID, "bob").decision, TG_DENY);
    struct tg_verdict eve = judge_path(tg_routes_at(r.routes, 2), TG_CLIENT_CERT_VALID, "bob", "/eve");

    assert_int_equal(eve.decision, TG_DENY);             /* the texts are still found by the index of their policy */
    assert_string_equal(tg_routes_at(r.routes, 2)->policy_texts[eve.policy].explanation.ptr, "not you");
    done(&r);
}

static void short_form(void **state)
{
    static const struct tg_route_defaults deny = {.client_ca = true, .deny_invalid_certificate = true};
    struct reading r;

    (void)state;
    read_defaults(&r, "t.yaml", "upstream: 'http://u'", &deny);
    assert_true(r.ok);
    assert_int_equal(judge(tg_routes_at(r.routes, 0), TG_CLIENT_CERT_MISSING, "bob").decision, TG_DENY);
    assert_int_equal(judge(tg_routes_at(r.routes, 0), TG_CLIENT_CERT_VALID, "bob").decision, TG_ALLOW);
    done(&r);
}

/* The rule admits nobody: a route that has nothing else is still told to have no policy. */
static void no_policy(void **state)
{
    static const struct tg_route_defaults deny = {.client_ca = true, .deny_invalid_certificate = true};
    struct reading r;

    (void)state;
    read_defaults(&r, "t.yaml", "routes: [{to: 'http://u'}]", &deny);
    assert_true(r.ok);
    assert_true(is_told(&r, true, "has no policy"));
    assert_int_equal(judge(tg_routes_at(r.routes, 0), TG_CLIENT_CERT_VALID, "bob").decision, TG_DENY);
    done(&r);
}

static void policies_alone(void **state)
{
    static const struct tg_route_defaults leave = {.client_ca = true};
    struct reading r;

    (void)state;
    read_defaults(&r, "t.yaml", ROUTES, &leave);
    assert_true(r.ok);
    assert_int_equal(judge(tg_routes_at(r.routes, 0), TG_CLIENT_CERT_MISSING, NULL).decision, TG_ALLOW);
    assert_int_equal(judge(tg_routes_at(r.routes, 1), TG_CLIENT_CERT_INVALID, "bob").decision, TG_ALLOW);
    done(&r);
}

/* Inline, by name: told once each without a client CA, and not at all with one. */
static void nobody_is_asked(void **state)
{
    static const char yaml[] =
        "policies: [{name: by-name, ppl: {allow: {and: [{client_certificate: {san_dns: a}}]}}}]\n"
        "routes:\n"
        "  - {prefix: /a, to: 'http://u', policies: [by-name]}\n"
        "  - {prefix: /b, to: 'http://u', policy: {deny: {or: [{invalid_client_certificate: true}]}}}\n";
    static const struct tg_route_defaults asked = {.client_ca = true, .deny_invalid_certificate = true};
    struct reading r;

    (void)state;
    read_text(&r, yaml);
    assert_true(r.ok);
    assert_int_equal(r.problems.count, 2);
    assert_true(is_told(&r, true, "by-name"));
    done(&r);
    read_defaults(&r, "t.yaml", yaml, &asked);
    assert_true(r.ok);
    assert_int_equal(r.problems.count, 0);
    done(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route),
        cmocka_unit_test(short_form),
        cmocka_unit_test(no_policy),
        cmocka_unit_test(policies_alone),
        cmocka_unit_test(nobody_is_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
