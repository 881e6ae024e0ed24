/*
 * check_identity - what tollgate shows others of itself, and what it needs to know of tokens beside keys:
 * introspection, its own tokens for the services, the feed of withdrawn tokens, the key that signs for the services.
 *
 * Asked by what a server asks with (auth/introspect, auth/credential), so that a command finds what a server would.
 */
#include "check_online.h"
#include "auth/assertion.h"
#include "auth/introspect.h"
#include "auth/pat.h"
#include "auth/revoked.h"
#include "base/clock.h"
#include <stdio.h>
#include <unistd.h>

#define PUBLISHED "/.well-known/pomerium/jwks.json"
#define RANDOM_BYTES 16

/* ---- introspection ---- */

struct question {
    struct inquiry *q;
    struct tg_provider provider;                         /* a copy: the configuration's own stays unbound */
    struct tg_introspector *introspector;
    struct tg_slice token;
    uint8_t digest[TG_SHA256_LEN];
    enum tg_introspect_state state;
    struct tg_buf *trouble;
};

/* "NAME: tokens are asked about; trouble": what is behind it. */
static void take_trouble(struct question *x)
{
    static const char before[] = "tokens are asked about; ";
    struct tg_buf text = {0};
    const char *at;

    tg_introspector_describe(x->introspector, &text);
    at = strstr(tg_buf_cstr(&text), before);
    if (at)
        tg_buf_add(x->trouble, at + strlen(before), strcspn(at + strlen(before), "\n"));
    else
        tg_buf_adds(x->trouble, "there was no answer");
    tg_buf_fini(&text);
}

static void on_answered(struct tg_worker *w, void *arg)
{
    struct question *x = arg;
    struct tg_introspection_answer *answer = NULL;

    (void)w;
    x->state = tg_introspection_look(x->provider.asked, x->digest, tg_clock_wall_ms(), true, &answer);
    tg_introspection_answer_unref(answer);
    take_trouble(x);
    tg_introspector_free(x->introspector);
    x->provider.release_asked(x->provider.asked);
    inquiry_done(x->q);
}

static void start_question(struct tg_worker *w, void *arg)
{
    struct question *x = arg;
    struct tg_providers one = {&x->provider, 1};

    x->introspector = tg_introspector_new(w, inquiry_fetcher(x->q));
    tg_introspector_bind(x->introspector, &one);
    if (tg_introspection_ask(x->provider.asked, x->token, x->digest, TG_VOUCHED_SIGNED, tg_clock_wall_ms(), w,
                             on_answered, x) != TG_INTROSPECT_ASKED)
        on_answered(w, x);
}

enum tg_introspect_state check_ask(struct online_check *c, const struct tg_provider *p, struct tg_slice token,
                                   struct tg_buf *trouble)
{
    struct question x = {.q = c->q, .provider = *p, .token = token, .trouble = trouble};

    tg_sha256(token, x.digest);
    inquiry_run(c->q, start_question, &x);
    return x.state;
}

/* A token that nobody gave out: what is said of it tells whether our own credential is taken. */
static void check_introspection(struct online_check *c, const struct tg_provider *p)
{
    uint8_t dice[RANDOM_BYTES];
    char token[sizeof("tollgate-check-") + 2 * RANDOM_BYTES] = "tollgate-check-";
    struct tg_buf trouble = {0};

    tg_random(dice, sizeof dice);
    tg_hex(dice, sizeof dice, token + strlen(token));
    switch (check_ask(c, p, tg_slice_str(token), &trouble)) {
    case TG_INTROSPECT_INACTIVE:
        online_say(c, FINDING_OK, "introspection", p->name,
                   "the provider takes tollgate's credential, and says of a random token that it is not active");
        break;
    case TG_INTROSPECT_ACTIVE:
        online_say(c, FINDING_FAILED, "introspection", p->name,
                   "it says of a random token that it is active, which would admit everybody; is the URL right?");
        break;
    default:
        online_say(c, FINDING_FAILED, "introspection", p->name, "%s", tg_buf_cstr(&trouble));
        break;
    }
    tg_buf_fini(&trouble);
}

/* ---- tollgate's own tokens ---- */

struct own_tokens {
    struct inquiry *q;
    struct tg_credentials *all;
    const struct tg_credential_settings *settings;
    struct tg_credential_source *source;                 /* a reference */
    bool found;
    struct tg_buf words;
};

/* The newest stands first. */
static void on_token(struct tg_worker *w, void *arg)
{
    struct own_tokens *o = arg;
    struct tg_credential_view view = {0};
    struct tg_slice value;
    struct tg_buf text = {0};

    (void)w;
    o->found = tg_credential_view_update(o->source, &view, &value);
    tg_credential_view_fini(&view);
    tg_credentials_describe(o->all, &text);
    tg_buf_add(&o->words, tg_buf_cstr(&text), strcspn(tg_buf_cstr(&text), "\n"));
    tg_buf_fini(&text);
    inquiry_done(o->q);
}

static void start_token(struct tg_worker *w, void *arg)
{
    struct own_tokens *o = arg;
    struct tg_credential_view view = {0};
    struct tg_slice value;
    bool there;

    if (!o->all)
        o->all = tg_credentials_new(w, inquiry_fetcher(o->q));
    o->source = tg_credentials_bind(o->all, o->settings);
    there = tg_credential_view_update(o->source, &view, &value);
    if (there || !tg_credential_renew(o->source, view.version, w, on_token, o))
        on_token(w, o);
    tg_credential_view_fini(&view);
}

static void end_tokens(struct tg_worker *w, void *arg)
{
    struct own_tokens *o = arg;

    (void)w;
    tg_credentials_free(o->all);
    inquiry_done(o->q);
}

/* `seen`: those of the routes before it. */
static void check_own_token(struct online_check *c, struct own_tokens *o, const struct tg_route *route,
                            struct tg_credential_source *const *seen)
{
    bool is_told = false;

    o->words.len = 0;
    inquiry_run(c->q, start_token, o);
    for (size_t i = 0; i < route->index && !is_told; i++)
        is_told = seen[i] == o->source;
    if (!is_told)
        online_say(c, o->found ? FINDING_OK : FINDING_FAILED, "upstream_auth", route->name, "%s",
                   tg_buf_cstr(&o->words));
}

/* Routes with equal settings share one. */
static void check_own_tokens(struct online_check *c)
{
    const struct tg_config *config = c->settings->config;
    size_t count = tg_routes_count(config->routes);
    struct tg_credential_source **seen = TG_NEW_ARRAY(struct tg_credential_source *, count + 1);
    struct own_tokens o = {.q = c->q};

    for (size_t i = 0; config->upstream_auth && i < count; i++) {
        if (!config->has_upstream_auth[i])
            continue;
        o.settings = &config->upstream_auth[i];
        check_own_token(c, &o, tg_routes_at(config->routes, i), seen);
        seen[i] = o.source;
    }
    for (size_t i = 0; i < count; i++)
        tg_credential_source_unref(seen[i]);
    if (o.all)
        inquiry_run(c->q, end_tokens, &o);
    tg_buf_fini(&o.words);
    free(seen);
}

/* ---- files and keys at hand ---- */

static void check_revoked_file(struct online_check *c)
{
    struct tg_slice file = c->settings->config->revoked_tokens_file;
    struct tg_err err;
    size_t entries;

    if (file.len == 0)
        return;
    if (tg_revocations_check(file.ptr, &entries, &err) == TG_OK)
        online_say(c, FINDING_OK, "revoked_tokens_file", TG_S(""), "%zu %s", entries,
                   entries == 1 ? "entry" : "entries");
    else
        online_say(c, FINDING_FAILED, "revoked_tokens_file", TG_S(""), "%s", err.text);
}

static void tell_published(struct online_check *c, struct tg_signing *signing)
{
    struct tg_jwks *set = NULL;
    struct tg_buf text = {0}, algs = {0};

    tg_signing_jwks(signing, tg_clock_wall_ms(), &text);
    if (tg_jwks_parse(tg_buf_slice(&text), false, &set, NULL) == TG_OK) {
        provider_add_algs(&algs, tg_jwks_algs(set));
        online_say(c, FINDING_OK, "signing_key", TG_S(""), "%zu key%s published at " PUBLISHED ", for %s",
                   tg_jwks_count(set), tg_jwks_count(set) == 1 ? " is" : "s are", tg_buf_cstr(&algs));
    }
    tg_jwks_unref(set);
    tg_buf_fini(&algs);
    tg_buf_fini(&text);
}

static void check_signing(struct online_check *c)
{
    const struct tg_config *config = c->settings->config;
    struct tg_signing_keys *keys;
    struct tg_signing *signing;
    struct tg_err err;

    if (config->signing_pem.len > 0) {
        signing = tg_signing_new(NULL);
        if (tg_signing_read(signing, config->signing_pem, false, &keys, &err) == TG_OK) {
            tg_signing_bind(signing, keys, tg_clock_wall_ms());
            tell_published(c, signing);
        } else {
            online_say(c, FINDING_FAILED, "signing_key", TG_S(""), "%s", err.text);
        }
        tg_signing_free(signing);
    } else if (config->signs && c->settings->state_dir.len > 0) {
        online_say(c, FINDING_OK, "signing_key", TG_S(""),
                   "none is given: one is made at the first start and kept in state_dir");
    } else if (config->signs) {
        online_say(c, FINDING_WARNING, "signing_key", TG_S(""),
                   "none is given, and there is no state_dir to keep one: each start makes another, and services that "
                   "have fetched " PUBLISHED " before refuse its assertions");
    }
}

static void check_pats(struct online_check *c)
{
    struct tg_slice dir = c->settings->state_dir;
    struct tg_buf file = {0};

    if (!c->settings->config->pats)
        return;
    tg_buf_addf(&file, TG_S_FMT "/tollgate.db", TG_S_ARG(dir));
    if (dir.len == 0)
        online_say(c, FINDING_FAILED, TG_PAT_PROVIDER, TG_S(""), "they are kept in state_dir, and none is set");
    else if (access(tg_buf_cstr(&file), F_OK) == 0)
        online_say(c, FINDING_OK, TG_PAT_PROVIDER, TG_S(""), "kept in %s", tg_buf_cstr(&file));
    else
        online_say(c, FINDING_OK, TG_PAT_PROVIDER, TG_S(""), "none was made yet: `tollgate token create`");
    tg_buf_fini(&file);
}

void check_identity(struct online_check *c)
{
    const struct tg_providers *providers = &c->settings->config->providers;

    for (size_t i = 0; i < providers->count; i++)
        if (providers->items[i].introspection)
            check_introspection(c, &providers->items[i]);
    check_own_tokens(c);
    check_revoked_file(c);
    check_pats(c);
    check_signing(c);
}
