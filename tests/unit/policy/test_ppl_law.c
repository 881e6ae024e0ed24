/*
 * Two laws over random policies and facts: the program decides as a plain evaluator does that walks the document by the
 * words of the language, and the trace tells the same decision.
 */
#include "random_policy.h"
#include "support.h"

enum { POLICIES = 5000, FACTS_EACH = 20, FACTS = 400 };

/* ---- facts ---- */
struct world {
    struct tg_facts facts[FACTS];
    cJSON *objects[FACTS];                               /* claims as the plain evaluator reads them */
    struct tg_claims *claims[FACTS];
    char *texts[FACTS][4];
    struct tg_cert certs[FACTS];
    struct tg_slice names[FACTS][9];
};

static char *unquoted(const char *json) { return tg_slice_dup(tg_slice(json + 1, strlen(json) - 2)); }

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
        for (size_t i = 0; i < kinds[k]->count; i++) {
            const char *json = PICK(texts);

            kinds[k]->items[i] = tg_slice(json + 1, strlen(json) - 2);
        }
    }
}

static void make_facts(struct world *w, size_t i)
{
    struct tg_facts *f = &w->facts[i];
    struct tg_slice address = tg_slice_str(nets[draw(ARRAY_LEN(nets))]), head, rest;
    struct tg_buf b = {0};
    cJSON *object = NULL;

    w->texts[i][0] = unquoted(PICK(texts));
    w->texts[i][1] = unquoted(PICK(texts));
    f->method = draw(2) ? TG_S("GET") : tg_slice_str(w->texts[i][0]);
    f->path = draw(2) ? TG_S("/a/b") : tg_slice_str(w->texts[i][1]);
    tg_slice_cut(tg_slice(address.ptr + 1, address.len - 2), '/', &head, &rest);
    if (draw(5))
        assert_true(tg_ip_parse(head, &f->source_ip));
    f->cors_preflight = draw(4) == 0;
    f->client_cert = draw(4) ? TG_CLIENT_CERT_VALID : draw(2) ? TG_CLIENT_CERT_MISSING : TG_CLIENT_CERT_INVALID;
    f->certificate = draw(3) ? &w->certs[i] : NULL;
    make_certificate(&w->certs[i], w->names[i]);
    f->identity = draw(4) != 0;
    if (!f->identity)
        return;
    w->texts[i][2] = unquoted(PICK(texts));
    w->texts[i][3] = unquoted(PICK(texts));
    f->user = tg_slice_str(w->texts[i][2]);
    f->email = draw(2) ? TG_S("a@x") : tg_slice_str(w->texts[i][3]);
    f->groups_claim = draw(3) ? (struct tg_slice){NULL, 0} : TG_S("roles");
    if (draw(8) == 0)
        return;                                          /* an identity without claims */
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
    f->claims = w->claims[i] = tg_claims_new(object);
    tg_buf_fini(&b);
}

/* ---- the plain evaluator ---- */
struct plain {
    bool value;
    tg_reasons reasons;
};
#define BIT(name) TG_REASON_BIT(TG_REASON_##name)

static struct plain plain_of(bool value, tg_reasons pass, tg_reasons fail)
{
    return (struct plain){value, value ? pass : fail};
}

/* All (or any) of the members; of their reasons those of the members with the same value. */
static struct plain combine(const struct plain *members, size_t count, bool any)
{
    struct plain out = {!any, 0};

    for (size_t i = 0; i < count; i++)
        out.value = any ? out.value || members[i].value : out.value && members[i].value;
    for (size_t i = 0; i < count; i++)
        out.reasons |= members[i].value == out.value ? members[i].reasons : 0;
    return out;
}

static bool equals(const cJSON *value, struct tg_slice text)
{
    return cJSON_IsString(value) && tg_slice_eq(tg_slice_str(value->valuestring), text);
}

static bool one_of(const cJSON *list, struct tg_slice text)
{
    const cJSON *value;

    cJSON_ArrayForEach(value, list) {
        if (equals(value, text))
            return true;
    }
    return false;
}

static bool plain_operation(const cJSON *m, struct tg_slice text)
{
    struct tg_slice operand = tg_slice_str(m->valuestring);

    return strcmp(m->string, "is") == 0            ? equals(m, text)
           : strcmp(m->string, "not") == 0         ? !equals(m, text)
           : strcmp(m->string, "in") == 0          ? one_of(m, text)
           : strcmp(m->string, "not_in") == 0      ? !one_of(m, text)
           : strcmp(m->string, "contains") == 0    ? tg_slice_contains(text, operand)
           : strcmp(m->string, "starts_with") == 0 ? tg_slice_starts_with(text, operand)
                                                   : tg_slice_ends_with(text, operand);
}

static bool plain_text(const cJSON *matcher, struct tg_slice text)
{
    const cJSON *m;

    if (!cJSON_IsObject(matcher))
        return equals(matcher, text);
    cJSON_ArrayForEach(m, matcher) {
        if (!plain_operation(m, text))
            return false;
    }
    return true;
}

/* Each operator of a name's matcher is content with any of the names. */
static bool plain_names(const cJSON *matcher, const struct tg_cert_names *names)
{
    bool all = true;
    const cJSON *m;

    for (size_t i = 0; i < names->count && !cJSON_IsObject(matcher); i++) {
        if (equals(matcher, names->items[i]))
            return true;
    }
    if (!cJSON_IsObject(matcher))
        return false;
    cJSON_ArrayForEach(m, matcher) {
        bool some = false;

        for (size_t i = 0; i < names->count; i++)
            some |= plain_operation(m, names->items[i]);
        all &= some;
    }
    return all;
}

/* In pairs with colons or without. */
static bool is_fingerprint(const cJSON *value, const char *fingerprint)
{
    char text[65];
    size_t len = 0;

    for (const char *c = value->valuestring; *c && len < 64; c++) {
        if (*c != ':')
            text[len++] = *c >= 'A' && *c <= 'F' ? (char)(*c - 'A' + 'a') : *c;
    }
    text[len] = '\0';
    return strcmp(text, fingerprint) == 0;
}

static bool plain_certificate(const cJSON *matcher, const struct tg_cert *cert)
{
    const cJSON *m, *value;

    if (!cert)
        return false;
    cJSON_ArrayForEach(m, matcher) {
        bool ok = false;

        if (strcmp(m->string, "fingerprint") == 0) {
            ok = cJSON_IsString(m) && is_fingerprint(m, cert->fingerprint);
            for (value = m->child; value; value = value->next)
                ok |= is_fingerprint(value, cert->fingerprint);
        } else if (strcmp(m->string, "spki_hash") == 0) {
            ok = equals(m, tg_slice_str(cert->spki_hash)) || one_of(m, tg_slice_str(cert->spki_hash));
        } else {
            ok = plain_names(m, strcmp(m->string, "san_dns") == 0     ? &cert->dns
                                : strcmp(m->string, "san_email") == 0 ? &cert->emails
                                                                      : &cert->uris);
        }
        if (!ok)
            return false;
    }
    return true;
}

/* The claim of a dotted name; NULL: none. */
static const cJSON *plain_claim(const cJSON *object, const char *name)
{
    const char *dot = strchr(name, '.');
    const cJSON *found = tg_json_get(object, name);
    char first[32];

    if (found || !dot)
        return cJSON_IsObject(found) ? NULL : found;
    snprintf(first, sizeof(first), "%.*s", (int)(dot - name), name);
    found = tg_json_get(object, first);
    return cJSON_IsObject(found) ? plain_claim(found, dot + 1) : NULL;
}

static size_t elements(const cJSON *claim)
{
    return !claim ? 0 : cJSON_IsArray(claim) ? (size_t)cJSON_GetArraySize(claim) : 1;
}

static bool has(const cJSON *claim, const cJSON *value)
{
    const cJSON *element;

    if (!cJSON_IsArray(claim))
        return claim && tg_json_eq(claim, value);
    cJSON_ArrayForEach(element, claim) {
        if (tg_json_eq(element, value))
            return true;
    }
    return false;
}

static bool plain_list(const cJSON *matcher, const cJSON *claim)
{
    const cJSON *m;

    if (!cJSON_IsObject(matcher))
        return has(claim, matcher);
    cJSON_ArrayForEach(m, matcher) {
        bool ok = strcmp(m->string, "has") == 0       ? has(claim, m)
                  : strcmp(m->string, "exclude") == 0 ? !has(claim, m)
                                                      : elements(claim) == 1 && has(claim, m);
        if (!ok)
            return false;
    }
    return true;
}

static bool within(const cJSON *block, const struct tg_ip *ip)
{
    struct tg_cidr cidr;

    assert_true(tg_cidr_parse(tg_slice_str(block->valuestring), &cidr));
    return tg_cidr_contains(&cidr, ip);
}

static struct plain plain_network(const cJSON *data, const struct tg_ip *ip)
{
    const cJSON *block;
    bool value = false;

    if (cJSON_IsString(data))
        value = within(data, ip);
    cJSON_ArrayForEach(block, data)
        value |= within(block, ip);
    return plain_of(value, BIT(SOURCE_IP_OK), BIT(SOURCE_IP_UNAUTHORIZED));
}

static struct plain plain_public(const cJSON *c, const struct tg_facts *f)
{
    const char *name = c->string;

    if (strcmp(name, "accept") == 0)
        return (struct plain){true, BIT(ACCEPT)};
    if (strcmp(name, "reject") == 0)
        return (struct plain){false, BIT(REJECT)};
    if (strcmp(name, "cors_preflight") == 0)
        return plain_of(f->cors_preflight, BIT(CORS_REQUEST), BIT(NON_CORS_REQUEST));
    if (strcmp(name, "invalid_client_certificate") == 0) {
        if (f->client_cert == TG_CLIENT_CERT_VALID)
            return (struct plain){false, BIT(VALID_CLIENT_CERTIFICATE)};
        return (struct plain){true, f->client_cert == TG_CLIENT_CERT_MISSING ? BIT(CLIENT_CERTIFICATE_REQUIRED)
                                                                             : BIT(INVALID_CLIENT_CERTIFICATE)};
    }
    if (strcmp(name, "client_certificate") == 0)
        return plain_of(plain_certificate(c, f->certificate), BIT(CLIENT_CERTIFICATE_OK),
                        BIT(CLIENT_CERTIFICATE_UNAUTHORIZED));
    if (strcmp(name, "http_method") == 0)
        return plain_of(plain_text(c, f->method), BIT(HTTP_METHOD_OK), BIT(HTTP_METHOD_UNAUTHORIZED));
    if (strcmp(name, "http_path") == 0)
        return plain_of(plain_text(c, f->path), BIT(HTTP_PATH_OK), BIT(HTTP_PATH_UNAUTHORIZED));
    assert_string_equal(name, "source_ip");
    return plain_network(c, &f->source_ip);
}

static struct plain plain_criterion(const cJSON *c, const struct tg_facts *f, const cJSON *claims)
{
    static const char *const who[] = {"authenticated_user", "user", "email", "domain", "groups"};
    bool identity = strncmp(c->string, "claim/", 6) == 0;
    struct tg_slice local, domain = {NULL, 0}, rest;
    bool defined;

    for (size_t i = 0; i < ARRAY_LEN(who); i++)
        identity |= strcmp(c->string, who[i]) == 0;
    if (!identity)
        return plain_public(c, f);
    if (!f->identity)
        return (struct plain){false, BIT(USER_UNAUTHENTICATED)};
    if (strcmp(c->string, "authenticated_user") == 0)
        return plain_of(f->user.len > 0, BIT(USER_OK), BIT(USER_UNAUTHORIZED));
    if (strcmp(c->string, "user") == 0)
        return plain_of(plain_text(c, f->user), BIT(USER_OK), BIT(USER_UNAUTHORIZED));
    if (strcmp(c->string, "email") == 0)
        return plain_of(plain_text(c, f->email), BIT(EMAIL_OK), BIT(EMAIL_UNAUTHORIZED));
    if (strcmp(c->string, "domain") == 0) {
        defined = tg_slice_cut(f->email, '@', &local, &domain);
        tg_slice_cut(domain, '@', &domain, &rest);
        return plain_of(defined && plain_text(c, domain), BIT(DOMAIN_OK), BIT(DOMAIN_UNAUTHORIZED));
    }
    if (strcmp(c->string, "groups") == 0)
        return plain_of(plain_list(c, plain_claim(claims, f->groups_claim.len ? "roles" : "groups")), BIT(GROUPS_OK),
                        BIT(GROUPS_UNAUTHORIZED));
    return plain_of(plain_list(c, plain_claim(claims, c->string + 6)), BIT(CLAIM_OK), BIT(CLAIM_UNAUTHORIZED));
}

/* One list of criteria. */
static struct plain plain_operator(const cJSON *list, const struct tg_facts *f, const cJSON *claims)
{
    bool inverted = list->string[0] == 'n';
    struct plain members[16];
    const cJSON *item;
    size_t count = 0;

    cJSON_ArrayForEach(item, list) {
        assert_true(count < ARRAY_LEN(members));
        members[count] = plain_criterion(item->child, f, claims);
        members[count].value ^= inverted;
        count++;
    }
    /* not: all inverted ones hold; nor: one of them does */
    return combine(members, count, strcmp(list->string, "or") == 0 || strcmp(list->string, "nor") == 0);
}

static struct plain plain_action(cJSON *const *docs, size_t count, const char *action, const struct tg_facts *f,
                                 const cJSON *claims)
{
    struct plain members[64];
    const cJSON *rule, *list;
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        cJSON_ArrayForEach(rule, docs[i]) {
            cJSON_ArrayForEach(list, tg_json_get(rule, action)) {
                assert_true(used < ARRAY_LEN(members));
                if (list->child)
                    members[used++] = plain_operator(list, f, claims);
            }
        }
    }
    return combine(members, used, true);
}

static enum tg_decision plain_decision(struct plain allow, struct plain deny)
{
    if (deny.reasons & (BIT(CLIENT_CERTIFICATE_REQUIRED) | BIT(INVALID_CLIENT_CERTIFICATE)))
        return TG_DENY;
    if ((allow.reasons | deny.reasons) & BIT(USER_UNAUTHENTICATED))
        return TG_UNAUTHENTICATED;
    return deny.value || !allow.value ? TG_DENY : TG_ALLOW;
}

/* ---- the trace ---- */
static struct plain traced_action(const struct tg_trace_node *policies, const char *action)
{
    struct plain members[64];
    size_t used = 0;

    for (const struct tg_trace_node *p = policies; p; p = p->next) {
        for (const struct tg_trace_node *rule = p->children; rule; rule = rule->next) {
            assert_int_equal(rule->kind, TG_TRACE_RULE);
            for (const struct tg_trace_node *op = rule->children; op; op = op->next)
                assert_true(op->kind == TG_TRACE_OPERATOR && op->children && op->children->saw.len > 0);
            assert_true(used < ARRAY_LEN(members));
            if (strcmp(rule->name, action) == 0)
                members[used++] = (struct plain){rule->value, rule->reasons};
        }
    }
    return combine(members, used, true);
}

static void check_trace(const struct tg_program *program, const struct tg_facts *facts, const struct tg_verdict *v,
                        const char *text)
{
    struct tg_verdict traced;
    struct tg_arena arena;
    const struct tg_trace_node *root;
    struct plain allow, deny;

    tg_arena_init(&arena, NULL, 0);
    root = tg_ppl_trace(program, facts, &arena, &traced);
    allow = traced_action(root, "allow");
    deny = traced_action(root, "deny");
    if (traced.decision != v->decision || allow.value != v->allow || deny.value != v->deny ||
        allow.reasons != v->allow_reasons || deny.reasons != v->deny_reasons)
        fail_msg("the trace differs: %s", text);
    tg_arena_fini(&arena);
}

static void check(const struct loaded *l, const struct world *w, cJSON *const *docs, size_t count, const char *text)
{
    for (int k = 0; k < FACTS_EACH; k++) {
        size_t i = draw(FACTS);
        const struct tg_facts *f = &w->facts[i];
        struct plain allow = plain_action(docs, count, "allow", f, w->objects[i]);
        struct plain deny = plain_action(docs, count, "deny", f, w->objects[i]);
        struct tg_verdict v;

        tg_ppl_decide(l->program, f, &v);
        if (v.allow != allow.value || v.deny != deny.value || v.allow_reasons != allow.reasons ||
            v.deny_reasons != deny.reasons || v.decision != plain_decision(allow, deny))
            fail_msg("facts %zu: allow %d %llx, want %d %llx; deny %d %llx, want %d %llx: %s", i, v.allow,
                     (unsigned long long)v.allow_reasons, allow.value, (unsigned long long)allow.reasons, v.deny,
                     (unsigned long long)v.deny_reasons, deny.value, (unsigned long long)deny.reasons, text);
        if (k == 0)
            check_trace(l->program, f, &v, text);
    }
}

static void decides_as_the_words_say(void **state)
{
    static struct world w;

    (void)state;
    seed = 20240229;
    for (size_t i = 0; i < FACTS; i++)
        make_facts(&w, i);
    for (int round = 0; round < POLICIES; round++) {
        size_t count = 1 + draw(3);
        cJSON *docs[3] = {NULL, NULL, NULL};
        struct tg_buf all = {0};
        struct loaded l;

        loaded_init(&l);
        for (size_t i = 0; i < count; i++) {
            struct tg_buf b = {0};

            add_document(&b);
            if (!loaded_add(&l, tg_buf_cstr(&b)))
                fail_msg("%s: %s", tg_buf_cstr(&b), l.problems.items[0].text);
            assert_int_equal(tg_json_parse(tg_buf_slice(&b), NULL, &docs[i], NULL), TG_OK);
            tg_buf_addf(&all, "%s\n", tg_buf_cstr(&b));
            tg_buf_fini(&b);
        }
        l.program = tg_ppl_finish(l.builder);
        check(&l, &w, docs, count, tg_buf_cstr(&all));
        tg_buf_fini(&all);
        for (size_t i = 0; i < count; i++)
            cJSON_Delete(docs[i]);
        loaded_fini(&l);
    }
    for (size_t i = 0; i < FACTS; i++) {
        tg_claims_free(w.claims[i]);
        cJSON_Delete(w.objects[i]);
        for (int k = 0; k < 4; k++)
            free(w.texts[i][k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decides_as_the_words_say)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
