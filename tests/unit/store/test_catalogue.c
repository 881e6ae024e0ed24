/*
 * catalogue - what is taken and what is refused and in which words, versions and references, the set that comes of it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/json.h"
#include "store/catalogue.h"
#include "store/route.h"
#include <stdio.h>
#include <unistd.h>

#define NOW INT64_C(1780000000123456)
#define ALLOW "\"ppl\":{\"allow\":{\"and\":[{\"email\":{\"is\":\"user@example.com\"}}]}}"

static char folder[] = "/tmp/tg-catalogue-XXXXXX", path[80];
static struct tg_set_rules rules;

struct bench {
    struct tg_db *db;
    struct tg_catalogue *c;
};

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/tollgate.db", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static struct bench open_with(const char *id, const char *name, struct tg_slice *clusters, size_t count)
{
    struct tg_catalogue_settings settings = {
        .organization_id = tg_slice_str(id), .organization_name = tg_slice_str(name),
        .clusters = {.items = clusters, .count = count, .set = count > 0}, .rules = &rules,
    };
    struct bench b = {0};
    struct tg_err err;

    if (tg_db_open(path, &b.db, &err) != TG_OK || tg_catalogue_open(b.db, &settings, NOW, &b.c, &err) != TG_OK)
        fail_msg("%s", err.text);
    return b;
}

static void close_it(struct bench *b)
{
    tg_catalogue_free(b->c);
    tg_db_close(b->db);
}

static int remove_files(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[96];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
    return 0;
}

static struct bench open_it(void)
{
    static struct tg_slice clusters[] = {TG_S_INIT("east"), TG_S_INIT("west")};

    return open_with("org", "Example", clusters, 2);
}

static cJSON *json(const char *text)
{
    cJSON *node = NULL;
    struct tg_err err;

    if (tg_json_parse(tg_slice_str(text), NULL, &node, &err) != TG_OK)
        fail_msg("%s: %s", text, err.text);
    return node;
}

static enum tg_status create(struct bench *b, enum tg_kind kind, const char *text, struct tg_document *out,
                             struct tg_err *err)
{
    cJSON *body = json(text);
    enum tg_status st;

    err->text[0] = '\0';
    assert_int_equal(tg_db_begin(b->db, err), TG_OK);
    st = tg_catalogue_create(b->c, kind, body, NOW, out, err);
    cJSON_Delete(body);
    if (st == TG_OK)
        assert_int_equal(tg_db_commit(b->db, err), TG_OK);
    else
        tg_db_rollback(b->db);
    return st;
}

static enum tg_status replace(struct bench *b, enum tg_kind kind, const char *id, const char *text, int64_t version,
                              struct tg_document *out, struct tg_err *err)
{
    cJSON *body = json(text);
    enum tg_status st;

    err->text[0] = '\0';
    assert_int_equal(tg_db_begin(b->db, err), TG_OK);
    st = tg_catalogue_replace(b->c, kind, tg_slice_str(id), body, version, NOW, out, err);
    cJSON_Delete(body);
    if (st == TG_OK)
        assert_int_equal(tg_db_commit(b->db, err), TG_OK);
    else
        tg_db_rollback(b->db);
    return st;
}

static enum tg_status delete(struct bench *b, enum tg_kind kind, const char *id, int64_t version, struct tg_err *err)
{
    struct tg_document was;
    enum tg_status st;

    err->text[0] = '\0';
    assert_int_equal(tg_db_begin(b->db, err), TG_OK);
    st = tg_catalogue_delete(b->c, kind, tg_slice_str(id), version, &was, err);
    if (st == TG_OK) {
        tg_document_fini(&was);
        assert_int_equal(tg_db_commit(b->db, err), TG_OK);
    } else {
        tg_db_rollback(b->db);
    }
    return st;
}

static struct tg_document made(struct bench *b, enum tg_kind kind, const char *text)
{
    struct tg_document d;
    struct tg_err err;

    if (create(b, kind, text, &d, &err) != TG_OK)
        fail_msg("%s: %s", text, err.text);
    return d;
}

/* ---- the organisation ---- */

static void namespaces(void **state)
{
    struct tg_slice clusters[] = {TG_S_INIT("east"), TG_S_INIT("north")};
    struct bench b = open_it();
    char east[65], west[65], text[512];
    struct tg_document d;
    size_t count;
    const struct tg_namespace *ns = tg_catalogue_namespaces(b.c, &count);

    (void)state;
    assert_int_equal(count, 3);
    assert_true(ns[0].root && !ns[1].root && !ns[2].root);
    assert_string_equal(ns[0].id, "org");
    assert_true(tg_slice_eq(tg_catalogue_organization_name(b.c), TG_S("Example")));
    assert_true(tg_slice_eq(ns[1].name, TG_S("east")) && tg_slice_eq(ns[2].name, TG_S("west")));
    snprintf(east, sizeof east, "%s", ns[1].id);
    snprintf(west, sizeof west, "%s", ns[2].id);
    snprintf(text, sizeof text, "{\"name\":\"w\",\"namespaceId\":\"%s\"," ALLOW "}", west);
    d = made(&b, TG_KIND_POLICY, text);
    tg_document_fini(&d);
    d = made(&b, TG_KIND_POLICY, "{\"name\":\"r\"," ALLOW "}");
    tg_document_fini(&d);
    close_it(&b);

    /* another id and name, a cluster less (it has a policy: it stays) and one more; ids of the others stay */
    b = open_with("other", "New", clusters, 2);
    ns = tg_catalogue_namespaces(b.c, &count);
    assert_int_equal(count, 4);
    assert_string_equal(ns[0].id, "other");
    assert_string_equal(ns[1].id, east);
    assert_string_equal(ns[2].id, west);
    assert_true(tg_slice_eq(ns[3].name, TG_S("north")));
    close_it(&b);
    b = open_with("", "", clusters, 2);                  /* not said: as it was */
    ns = tg_catalogue_namespaces(b.c, &count);
    assert_string_equal(ns[0].id, "other");
    assert_true(tg_slice_eq(ns[0].name, TG_S("New")));
    close_it(&b);
}

static void made_id(void **state)
{
    struct bench b = open_with("", "", NULL, 0);
    size_t count;
    char id[65];

    (void)state;
    snprintf(id, sizeof id, "%s", tg_catalogue_namespaces(b.c, &count)->id);
    assert_int_equal(strlen(id), 36);
    assert_int_equal(count, 2);
    assert_true(tg_slice_eq(tg_catalogue_namespaces(b.c, &count)[1].name, TG_S("default")));
    close_it(&b);
    b = open_with("", "", NULL, 0);
    assert_string_equal(tg_catalogue_namespaces(b.c, &count)->id, id);
    close_it(&b);
}

/* ---- what is taken ---- */

static void policy_life(void **state)
{
    struct bench b = open_it();
    struct tg_document d, e;
    struct tg_err err;
    int64_t before, after;

    (void)state;
    assert_int_equal(tg_catalogue_revision(b.c, &before, &err), TG_OK);
    d = made(&b, TG_KIND_POLICY, "{\"name\":\"Allow\"," ALLOW "}");
    assert_int_equal(d.version, 1);
    assert_true(d.created_us == NOW && d.updated_us == NOW);
    assert_string_equal(d.namespace_id, "org");
    assert_true(cJSON_IsFalse(tg_json_get(d.doc, "enforced")) && cJSON_IsTrue(tg_json_get(d.doc, "active")));
    assert_string_equal(tg_json_get(d.doc, "description")->valuestring, "");
    assert_int_equal(tg_catalogue_revision(b.c, &after, &err), TG_OK);
    assert_true(after > before);

    assert_int_equal(replace(&b, TG_KIND_POLICY, d.id, "{\"name\":\"B\"," ALLOW "}", 2, &e, &err), TG_EXPIRED);
    assert_string_equal(err.text, "the policy is at version 1");
    assert_int_equal(replace(&b, TG_KIND_POLICY, d.id, "{\"name\":\"B\"," ALLOW "}", 1, &e, &err), TG_OK);
    assert_int_equal(e.version, 2);
    assert_true(e.created_us == NOW && e.updated_us > NOW); /* the clock stood still; updatedAt moves all the same */
    tg_document_fini(&e);
    assert_int_equal(tg_catalogue_get(b.c, TG_KIND_ROUTE, tg_slice_str(d.id), &e, &err), TG_NOT_FOUND);
    assert_int_equal(tg_catalogue_get(b.c, TG_KIND_POLICY, tg_slice_str(d.id), &e, &err), TG_OK);
    assert_string_equal(tg_json_get(e.doc, "name")->valuestring, "B");
    tg_document_fini(&e);
    assert_int_equal(delete(&b, TG_KIND_POLICY, d.id, 1, &err), TG_EXPIRED);
    assert_int_equal(delete(&b, TG_KIND_POLICY, d.id, 2, &err), TG_OK);
    assert_int_equal(delete(&b, TG_KIND_POLICY, d.id, 0, &err), TG_NOT_FOUND);
    assert_string_equal(err.text, "there is no such policy");
    tg_document_fini(&d);
    close_it(&b);
}

#define ROUTE "\"name\":\"r\",\"from\":\"https://a.example.com\",\"to\":[\"http://127.0.0.1:80\"]"
static const struct {
    enum tg_kind kind;
    const char *body, *want;                             /* the beginning of the sentence; NULL: taken */
} bodies[] = {
    {TG_KIND_POLICY, "[]", "the body must be an object"},
    {TG_KIND_POLICY, "{" ALLOW "}", "name: must be given"},
    {TG_KIND_POLICY, "{\"name\":\"\"," ALLOW "}", "name: must be given"},
    {TG_KIND_POLICY, "{\"name\":7," ALLOW "}", "name: must be a string"},
    {TG_KIND_POLICY, "{\"name\":\" a\"," ALLOW "}", "name: must not begin or end with a space"},
    {TG_KIND_POLICY, "{\"name\":\"a\\u0007\"," ALLOW "}", "name: must not have control characters"},
    {TG_KIND_POLICY, "{\"name\":\"a\"}", "ppl: must be given"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"ppl\":null}", "ppl: must be given"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"ppl\":7}", "ppl: "},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"enforced\":\"no\"," ALLOW "}", "enforced: must be true or false"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"enforcd\":true," ALLOW "}",
     "enforcd: is no member of a policy; did you mean enforced?"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"zzzzzzzz\":true," ALLOW "}", "zzzzzzzz: is no member of a policy"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"namespaceId\":\"none\"," ALLOW "}",
     "namespaceId: there is no such namespace"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"id\":\"x\"," ALLOW "}", "id: is given by the API; leave it out"},
    {TG_KIND_POLICY,
     "{\"name\":\"a\",\"routes\":[],\"enforcedRoutes\":[],\"createdAt\":\"x\",\"updatedAt\":\"y\"," ALLOW "}", NULL},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"description\":null,\"namespaceId\":null," ALLOW "}", NULL},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"ppl\":{\"allow\":{\"and\":[{\"emial\":{\"is\":\"a\"}}]}}}",
     "ppl.allow.and[0]"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"ppl\":[{\"allow\":{\"or\":[{\"email\":{\"iss\":\"a\"}}]}}]}",
     "ppl[0].allow.or[0].email"},
    {TG_KIND_POLICY, "{\"name\":\"a\",\"ppl\":{\"allow\":{\"and\":[{\"emial\":7},{\"emial\":8}]}}}",
     "ppl.allow.and[0]: \"emial\" is not a criterion, did you mean \"email\"? (and 1 more)"},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"to\":[\"http://127.0.0.1\"]}", "from: must be given"},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"from\":\"https://a\"}", "to: must be given"},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"from\":\"https://a\",\"to\":[]}", "to: must not be empty"},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"from\":\"https://a\",\"to\":[7]}", "to: must be a list of strings"},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"from\":\"a.example.com\",\"to\":[\"http://127.0.0.1\"]}", "from: "},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"from\":\"https://a\",\"to\":[\"http://10.0.0.1\"]}", "to[0]: "},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"from\":\"https://a\",\"to\":[\"http://127.0.0.1\",\"unix:/run/x\"]}",
     "to[1]: "},
    {TG_KIND_ROUTE, "{\"name\":\"r\",\"from\":\"https://a\",\"to\":[\"http://169.254.169.254\"]}", "to[0]: "},
    {TG_KIND_ROUTE, "{" ROUTE ",\"tlsSkipVerify\":true}", "tlsSkipVerify: is not allowed here"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"prefix\":\"a\"}", "prefix: must start with"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"prefix\":\"/a\",\"prefixRewrite\":\"x\"}", "prefixRewrite: must start with"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"timeout\":\"soon\"}", "timeout: "},
    {TG_KIND_ROUTE, "{" ROUTE ",\"timeout\":30}", "timeout: must be a string"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"idleTimeout\":\"soon\"}", "idleTimeout: "},
    {TG_KIND_ROUTE, "{" ROUTE ",\"regex\":\"^/a\"}", "regex: is not supported: regular expressions"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"allowSpdy\":true}", "allowSpdy: is not supported"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"tlsCustomCaKeyPairId\":\"k\"}", "tlsCustomCaKeyPairId: is not supported"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"tlsCustomCaFile\":\"/etc/x\"}", "tlsCustomCaFile: is no member of a route"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"debugTrace\":\"0123456789abcdef\"}", "debugTrace: is no member of a route"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"policyids\":[]}", "policyids: is no member of a route; did you mean policyIds?"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"policyIds\":[\"none\"]}", "policyIds[0]: there is no policy with this id"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"policies\":[\"none\"]}", "policies: is given by the API"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"errorFormat\":\"html\"}", "errorFormat: "},
    {TG_KIND_ROUTE, "{" ROUTE ",\"setRequestHeaders\":{\"X-A\":7}}", "setRequestHeaders: must be an object of strings"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"setRequestHeaders\":{\"X A\":\"b\"}}", "setRequestHeaders"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"policy\":{\"allow\":{\"and\":[{\"emial\":7}]}}}", "policy.allow.and[0]"},
    {TG_KIND_ROUTE, "{" ROUTE ",\"allowSpdy\":false,\"regex\":\"\",\"redirect\":null,\"healthCheck\":{},"
     "\"allowUpgrades\":[],\"regexPriorityOrder\":0,\"tlsClientKeyPairId\":\"\",\"policies\":[{\"id\":\"a\"}],"
     "\"enforcedPolicyIds\":[\"x\"]}", NULL},
    {TG_KIND_ROUTE, "{\"name\":\"s\",\"from\":\"https://s\",\"to\":\"http://127.0.0.1:81\",\"timeout\":\"10s\","
     "\"prefix\":\"/a/\",\"prefixRewrite\":\"/\",\"hostRewrite\":\"h\",\"allowWebsockets\":true,"
     "\"setRequestHeaders\":{\"X-A\":\"b\"},\"removeRequestHeaders\":[\"X-B\"],\"setResponseHeaders\":{\"X-C\":\"d\"},"
     "\"passIdentityHeaders\":true,\"jwtIssuerFormat\":\"uri\",\"bearerTokenFormat\":\"jwt\","
     "\"requiredScopes\":[\"a\"],\"errorFormat\":\"oauth\",\"allowedUsers\":[\"u\"],\"maxRequestBytes\":\"1MiB\","
     "\"mode\":\"shadow\",\"logoUrl\":\"https://l\",\"showErrorDetails\":true,\"description\":\"d\"}", NULL},
};

static void bodies_taken(void **state)
{
    struct bench b = open_it();
    struct tg_document d;
    struct tg_err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        enum tg_status st = create(&b, bodies[i].kind, bodies[i].body, &d, &err);

        if (st == TG_OK)
            tg_document_fini(&d);
        if (bodies[i].want && (st != TG_BAD_INPUT || strncmp(err.text, bodies[i].want, strlen(bodies[i].want)) != 0))
            fail_msg("%s\n  wanted \"%s\", got %d \"%s\"", bodies[i].body, bodies[i].want, (int)st, err.text);
        if (!bodies[i].want && st != TG_OK)
            fail_msg("%s\n  refused: %s", bodies[i].body, err.text);
    }
    close_it(&b);
}

/* Whatever is taken compiles when everything that is there is put in force. */
static void set_of_all(void **state)
{
    struct bench b = open_it();
    struct tg_document d;
    struct tg_err err;
    struct tg_set *set;
    struct tg_problems problems = {0};
    struct tg_route_defaults defaults = {0};
    struct tg_set_use use = {.rules = &rules};
    struct tg_routes *routes = NULL;
    struct tg_tree *tree;
    struct tg_arena arena;
    size_t taken = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        if (!bodies[i].want) {
            d = made(&b, bodies[i].kind, bodies[i].body);
            tg_document_fini(&d);
            taken++;
        }
    assert_int_equal(tg_catalogue_set(b.c, &set, &err), TG_OK);
    assert_int_equal(tg_set_policies(set) + tg_set_routes(set), taken);
    assert_int_equal(tg_tree_parse("empty.json", TG_S("{}"), &tree, &err), TG_OK);
    tg_arena_init(&arena, NULL, 0);
    use.set = set;
    if (!tg_routes_read(tree, tree->root, &defaults, &use, &arena, &routes, &problems))
        fail_msg("%s", problems.items[0].text);
    tg_routes_fini(routes);
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
    tg_tree_free(tree);
    tg_set_unref(set);
    close_it(&b);
}

static void conflicts(void **state)
{
    struct bench b = open_it();
    struct tg_document policy = made(&b, TG_KIND_POLICY, "{\"name\":\"p\"," ALLOW "}"), route, d;
    struct tg_err err;
    char text[512];

    (void)state;
    snprintf(text, sizeof text, "{" ROUTE ",\"policyIds\":[\"%s\"]}", policy.id);
    route = made(&b, TG_KIND_ROUTE, text);
    assert_int_equal(create(&b, TG_KIND_ROUTE, text, &d, &err), TG_LIMIT);
    assert_string_equal(err.text, "from: the route r has the same from, path and prefix");
    assert_int_equal(create(&b, TG_KIND_ROUTE, "{\"name\":\"q\",\"from\":\"https://A.example.com\","
                            "\"to\":[\"http://127.0.0.1\"]}", &d, &err), TG_LIMIT);
    assert_int_equal(create(&b, TG_KIND_ROUTE, "{" ROUTE ",\"prefix\":\"/a\"}", &d, &err), TG_OK);
    snprintf(text, sizeof text, "{" ROUTE "}");
    assert_int_equal(replace(&b, TG_KIND_ROUTE, d.id, text, 0, &d, &err), TG_LIMIT);
    tg_document_fini(&d);
    assert_int_equal(delete(&b, TG_KIND_POLICY, policy.id, 0, &err), TG_LIMIT);
    assert_string_equal(err.text, "the policy is in use: 1 route names it, among them r");
    assert_int_equal(replace(&b, TG_KIND_ROUTE, route.id, "{" ROUTE ",\"policyIds\":[]}", 0, &d, &err), TG_OK);
    tg_document_fini(&d);
    assert_int_equal(delete(&b, TG_KIND_POLICY, policy.id, 0, &err), TG_OK);
    snprintf(text, sizeof text, "{\"id\":\"%s\"," ROUTE "}", route.id);
    assert_int_equal(replace(&b, TG_KIND_ROUTE, route.id, text, 0, &d, &err), TG_OK);
    tg_document_fini(&d);
    assert_int_equal(replace(&b, TG_KIND_ROUTE, route.id, "{\"id\":\"x\"," ROUTE "}", 0, &d, &err), TG_BAD_INPUT);
    assert_string_equal(err.text, "id: is another one than the path's");
    assert_int_equal(delete(&b, TG_KIND_ROUTE, route.id, 0, &err), TG_OK);
    tg_document_fini(&route);
    tg_document_fini(&policy);
    close_it(&b);
}

/* Those of the file; where several would be shown an opaque token, one of them is named. */
static void providers(void **state)
{
    static struct tg_slice names[] = {TG_S_INIT("corp"), TG_S_INIT("partner"), TG_S_INIT("other")};
    static const struct {
        const char *list, *want;
    } cases[] = {
        {"\"corp\"", NULL}, {"\"other\",\"corp\"", NULL},
        {"\"corp\",\"partnr\"", "identityProviders[1]: this machine's file has no provider \"partnr\"; did you mean "
         "\"partner\"?"},
        {"\"corp\",\"partner\"", "identityProviders: several providers"},
        {"", "identityProviders: several providers"},
    };
    struct tg_catalogue_settings settings = {
        .rules = &rules, .providers = {names, 3, true}, .opaque_providers = {names, 2, true},
    };
    struct bench b = open_it();
    struct tg_document d;
    struct tg_err err;
    char text[256];

    (void)state;
    tg_catalogue_free(b.c);
    assert_int_equal(tg_catalogue_open(b.db, &settings, NOW, &b.c, &err), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof text, "{" ROUTE ",\"prefix\":\"/%zu\",\"identityProviders\":[%s]}", i, cases[i].list);
        if (cases[i].want) {
            assert_int_equal(create(&b, TG_KIND_ROUTE, text, &d, &err), TG_BAD_INPUT);
            assert_memory_equal(err.text, cases[i].want, strlen(cases[i].want));
        } else {
            d = made(&b, TG_KIND_ROUTE, text);
            tg_document_fini(&d);
        }
    }
    close_it(&b);
}

/* ---- relations ---- */

static void add_name(void *arg, const struct tg_document *d)
{
    struct tg_buf *out = arg;

    tg_buf_addf(out, "%s%s", out->len > 0 ? " " : "", tg_json_get(d->doc, "name")->valuestring);
}

static void expect_related(struct bench *b, enum tg_relation relation, const struct tg_document *of, const char *want)
{
    struct tg_buf names = {0};
    struct tg_err err;

    assert_int_equal(tg_catalogue_relate(b->c, relation, of, add_name, &names, &err), TG_OK);
    assert_string_equal(tg_buf_cstr(&names), want);
    tg_buf_fini(&names);
}

static void expect_list(struct bench *b, enum tg_kind kind, const struct tg_catalogue_query *query, uint64_t total,
                        const char *want)
{
    struct tg_buf names = {0};
    uint64_t n = 0;
    struct tg_err err;

    assert_int_equal(tg_catalogue_list(b->c, kind, query, add_name, &names, &n, &err), TG_OK);
    assert_string_equal(tg_buf_cstr(&names), want);
    assert_int_equal(n, total);
    tg_buf_fini(&names);
}

static struct tg_document policy_in(struct bench *b, const char *name, const char *ns, const char *more)
{
    char text[512];

    snprintf(text, sizeof text, "{\"name\":\"%s\",\"namespaceId\":\"%s\"%s," ALLOW "}", name, ns, more);
    return made(b, TG_KIND_POLICY, text);
}

static struct tg_document route_in(struct bench *b, const char *name, const char *ns, const char *ids)
{
    char text[512];

    snprintf(text, sizeof text, "{\"name\":\"%s\",\"namespaceId\":\"%s\",\"from\":\"https://%s\","
             "\"to\":[\"http://127.0.0.1\"],\"policyIds\":[%s]}", name, ns, name, ids);
    return made(b, TG_KIND_ROUTE, text);
}

static void relations(void **state)
{
    struct bench b = open_it();
    size_t count;
    const struct tg_namespace *ns = tg_catalogue_namespaces(b.c, &count);
    struct tg_document a = policy_in(&b, "a", "org", ""), east = policy_in(&b, "e", ns[1].id, ",\"enforced\":true");
    struct tg_document all = policy_in(&b, "all", "org", ",\"enforced\":true");
    struct tg_document off = policy_in(&b, "off", "org", ",\"enforced\":true,\"active\":false");
    struct tg_document r1, r2, d;
    struct tg_err err;
    char ids[160];

    (void)state;
    snprintf(ids, sizeof ids, "\"%s\",\"%s\"", off.id, a.id);
    r1 = route_in(&b, "r1", ns[1].id, ids);
    snprintf(ids, sizeof ids, "\"%s\"", a.id);
    r2 = route_in(&b, "r2", ns[2].id, ids);
    expect_related(&b, TG_ROUTES_OF_POLICY, &a, "r1 r2");
    expect_related(&b, TG_ENFORCED_ROUTES_OF_POLICY, &a, "");
    expect_related(&b, TG_ENFORCED_ROUTES_OF_POLICY, &all, "r1 r2");
    expect_related(&b, TG_ENFORCED_ROUTES_OF_POLICY, &east, "r1");
    expect_related(&b, TG_ENFORCED_ROUTES_OF_POLICY, &off, "");
    expect_related(&b, TG_POLICIES_OF_ROUTE, &r1, "off a");
    expect_related(&b, TG_ENFORCED_POLICIES_OF_ROUTE, &r1, "e all");
    expect_related(&b, TG_ENFORCED_POLICIES_OF_ROUTE, &r2, "all");

    snprintf(ids, sizeof ids, "{\"name\":\"x\",\"from\":\"https://x\",\"to\":[\"http://127.0.0.1\"],"
             "\"policyIds\":[\"%s\"]}", east.id);
    assert_int_equal(create(&b, TG_KIND_ROUTE, ids, &d, &err), TG_BAD_INPUT);
    assert_string_equal(err.text, "policyIds[0]: the policy is of another namespace");
    snprintf(ids, sizeof ids, "{\"name\":\"a\",\"namespaceId\":\"%s\"," ALLOW "}", ns[1].id);
    assert_int_equal(replace(&b, TG_KIND_POLICY, a.id, ids, 0, &d, &err), TG_LIMIT);
    assert_string_equal(err.text, "namespaceId: the route r2 of another namespace names this policy");

    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){0}, 4, "a e all off");
    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){.active_only = true}, 3, "a e all");
    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){.limit = 2, .offset = 1}, 4, "e all");
    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){.offset = 9}, 4, "");
    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){.namespace_id = TG_S("org")}, 3, "a all off");
    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){.namespace_id = tg_slice_str(ns[1].id)}, 1, "e");
    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){.namespace_id = TG_S("org"), .descendants = true}, 4,
                "a e all off");
    expect_list(&b, TG_KIND_POLICY, &(struct tg_catalogue_query){.order = {{TG_BY_NAME, true}}, .order_count = 1}, 4,
                "off e all a");
    expect_list(&b, TG_KIND_ROUTE, &(struct tg_catalogue_query){0}, 2, "r1 r2");
    for (struct tg_document *each[] = {&a, &east, &all, &off, &r1, &r2}, **p = each; p < each + 6; p++)
        tg_document_fini(*p);
    close_it(&b);
}

/* Kept elements are those that are in the table. */
static void expect_same_from_disk(struct bench *b, const struct tg_set *set)
{
    struct tg_catalogue_settings settings = {.rules = &rules};
    struct tg_catalogue *other;
    struct tg_set *fresh;
    struct tg_err err;

    assert_int_equal(tg_catalogue_open(b->db, &settings, NOW, &other, &err), TG_OK);
    assert_int_equal(tg_catalogue_set(other, &fresh, &err), TG_OK);
    assert_string_equal(tg_set_digest(set), tg_set_digest(fresh));
    tg_set_unref(fresh);
    tg_catalogue_free(other);
}

/* A set has what is active, and of routes what names it. */
static void set_content(void **state)
{
    struct bench b = open_it();
    size_t count;
    const struct tg_namespace *ns = tg_catalogue_namespaces(b.c, &count);
    struct tg_document on = policy_in(&b, "on", "org", ""), off = policy_in(&b, "off", "org", ",\"active\":false");
    struct tg_document held = policy_in(&b, "held", ns[1].id, ",\"enforced\":true"), route, d;
    struct tg_set *set, *again;
    struct tg_err err;
    char ids[160];
    cJSON *root;
    const cJSON *element;

    (void)state;
    snprintf(ids, sizeof ids, "\"%s\",\"%s\"", off.id, on.id);
    route = route_in(&b, "r", ns[1].id, ids);
    assert_int_equal(tg_catalogue_set(b.c, &set, &err), TG_OK);
    assert_int_equal(tg_catalogue_set(b.c, &again, &err), TG_OK);
    assert_string_equal(tg_set_digest(set), tg_set_digest(again));
    expect_same_from_disk(&b, set);
    tg_set_unref(again);
    assert_int_equal(replace(&b, TG_KIND_POLICY, on.id, "{\"name\":\"on2\"," ALLOW "}", 0, &d, &err), TG_OK);
    tg_document_fini(&d);
    assert_int_equal(tg_catalogue_set(b.c, &again, &err), TG_OK);
    assert_string_not_equal(tg_set_digest(set), tg_set_digest(again));
    expect_same_from_disk(&b, again);
    assert_int_equal(tg_set_policies(set), 2);
    assert_int_equal(tg_set_routes(set), 1);
    assert_int_equal(tg_json_parse(tg_set_text(set), NULL, &root, &err), TG_OK);
    element = tg_json_get(root, "routes")->child;
    assert_int_equal(cJSON_GetArraySize(tg_json_get(element, "policyIds")), 1);
    assert_string_equal(tg_json_get(element, "policyIds")->child->valuestring, on.id);
    assert_string_equal(tg_json_get(element, "enforcedPolicyIds")->child->valuestring, held.id);
    assert_string_equal(tg_json_get(element, "id")->valuestring, route.id);
    cJSON_Delete(root);
    tg_set_unref(set);
    tg_set_unref(again);
    for (struct tg_document *each[] = {&on, &off, &held, &route}, **p = each; p < each + 4; p++)
        tg_document_fini(*p);
    close_it(&b);
}

/* More than a set may hold is refused here, not when it is put in force. */
static void room(void **state)
{
    struct bench b = open_it();
    struct tg_document p = made(&b, TG_KIND_POLICY, "{\"name\":\"a\",\"enforced\":true," ALLOW "}"), d;
    struct tg_err err;

    (void)state;
    assert_int_equal(tg_db_run(b.db, "UPDATE documents SET nodes = 1799999", &err), TG_OK);
    assert_int_equal(create(&b, TG_KIND_POLICY, "{\"name\":\"b\"," ALLOW "}", &d, &err), TG_LIMIT);
    assert_non_null(strstr(err.text, "there is no more room"));
    assert_int_equal(tg_db_run(b.db, "UPDATE documents SET nodes = 9, size = 48 << 20", &err), TG_OK);
    assert_int_equal(create(&b, TG_KIND_POLICY, "{\"name\":\"b\"," ALLOW "}", &d, &err), TG_LIMIT);
    assert_int_equal(replace(&b, TG_KIND_POLICY, p.id, "{\"name\":\"b\"," ALLOW "}", 0, &d, &err), TG_OK);
    tg_document_fini(&d);
    tg_document_fini(&p);
    close_it(&b);
}

static void a_newer_tollgate(void **state)
{
    struct tg_catalogue_settings settings = {.rules = &rules};
    struct tg_catalogue *c = NULL;
    struct bench b = open_it();
    struct tg_err err;

    (void)state;
    close_it(&b);
    assert_int_equal(tg_db_open(path, &b.db, &err), TG_OK);
    assert_int_equal(tg_db_run(b.db, "UPDATE parts SET version = version + 1 WHERE name = 'catalogue'", &err), TG_OK);
    assert_int_equal(tg_catalogue_open(b.db, &settings, NOW, &c, &err), TG_UNSUPPORTED);
    assert_null(c);
    tg_db_close(b.db);
}

#define TEST(name) cmocka_unit_test_teardown(name, remove_files)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(namespaces), TEST(made_id), TEST(policy_life), TEST(bodies_taken), TEST(set_of_all), TEST(conflicts),
        TEST(providers), TEST(relations), TEST(set_content), TEST(room),
        TEST(a_newer_tollgate),
    };
    return cmocka_run_group_tests_name("catalogue", tests, make_folder, drop_folder);
}
