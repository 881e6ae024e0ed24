/*
 * check_token - one token against the providers whose keys have just been fetched: why it would be refused, in words.
 *
 * Nothing of the token's text is printed, only claims that decide; cut, and escaped as JSON, for they are a stranger's.
 */
#include "check_online.h"
#include "auth/pat.h"
#include "base/json.h"
#include "token_check.h"

#define SHOWN 200

static void add_json(struct tg_buf *out, const cJSON *node)
{
    struct tg_buf text = {0};

    if (node)
        tg_json_print(&text, node);
    else
        tg_buf_adds(&text, "none");
    tg_buf_add(out, text.data, text.len > SHOWN ? SHOWN : text.len);
    if (text.len > SHOWN)
        tg_buf_adds(out, "...");
    tg_buf_fini(&text);
}

static void add_list(struct tg_buf *out, const struct tg_slice *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tg_buf_adds(out, i ? ", " : "");
        tg_json_add_string(out, items[i]);
    }
}

/* "90061 s" says less than "1d1h1m1s". */
static void add_span(struct tg_buf *out, int64_t s)
{
    static const struct {
        int64_t s;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t begin = out->len;

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (s >= units[i].s || (units[i].s == 1 && out->len == begin))
            tg_buf_addf(out, "%lld%c", (long long)(s / units[i].s), units[i].unit);
        s %= units[i].s;
    }
}

/* ---- whose it is ---- */

/* Both spellings side by side, and the slash when that is all. */
static void tell_issuer(struct online_check *c, const cJSON *claims)
{
    const struct tg_providers *all = &c->settings->config->providers;
    const char *hint = "";
    struct tg_buf found = {0}, wanted = {0};
    struct tg_slice issuer = {0};

    tg_json_str(tg_json_get(claims, "iss"), &issuer);
    add_json(&found, tg_json_get(claims, "iss"));
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].pats)
            continue;
        tg_buf_adds(&wanted, wanted.len ? ", " : "");
        tg_json_add_string(&wanted, all->items[i].issuer);
        if (issuer.ptr && !*hint)
            hint = tg_issuer_slash_words(all->items[i].issuer, issuer);
    }
    online_say(c, FINDING_FAILED, "token", TG_S(""), "issuer found: %s; issuer configured: %s%s", tg_buf_cstr(&found),
               wanted.len ? tg_buf_cstr(&wanted) : "none", hint);
    c->token_refused = true;
    tg_buf_fini(&found);
    tg_buf_fini(&wanted);
}

static int provider_of(const struct online_check *c, const cJSON *claims)
{
    const struct tg_providers *all = &c->settings->config->providers;
    struct tg_slice issuer;

    if (!tg_json_str(tg_json_get(claims, "iss"), &issuer))
        return -1;
    for (size_t i = 0; i < all->count; i++)
        if (tg_slice_eq(all->items[i].issuer, issuer) && !all->items[i].pats)
            return (int)i;
    return -1;
}

/* ---- the rule it breaks ---- */

static void add_ago(struct tg_buf *out, const cJSON *claims, const char *claim, const struct tg_provider *p)
{
    const cJSON *node = tg_json_get(claims, claim);
    int64_t at_s = cJSON_IsNumber(node) && node->valuedouble < 1e12 ? (int64_t)node->valuedouble : 0;
    int64_t now_s = tg_clock_wall_ms() / 1000;

    if (at_s <= 0 || at_s > INT64_C(253402300799))       /* year 9999 */
        return;
    tg_buf_addf(out, "; %s is ", claim);
    tg_clock_add_s(out, at_s);
    tg_buf_adds(out, ", ");
    add_span(out, at_s < now_s ? now_s - at_s : at_s - now_s);
    tg_buf_addf(out, " %s; the leeway is %lld s", at_s < now_s ? "ago" : "from now", (long long)p->rules.leeway_s);
}

static void add_reason(struct tg_buf *out, const struct token_check *t, const struct tg_provider *p,
                       const struct tg_jwks *keys)
{
    tg_buf_adds(out, tg_err_text(&t->err));
    switch (t->broken) {
    case TOKEN_ALGORITHM:
        tg_buf_addf(out, "; it is signed with %s, supported_algs allows ", tg_alg_name(t->jws.alg));
        provider_add_algs(out, p->algs);
        break;
    case TOKEN_KEY:
        tg_buf_addf(out, "; the provider has %zu key%s now, for ", tg_jwks_count(keys),
                    tg_jwks_count(keys) == 1 ? "" : "s");
        provider_add_algs(out, tg_jwks_algs(keys));
        break;
    case TOKEN_AUDIENCE:
        tg_buf_adds(out, "; audience found: ");
        add_json(out, tg_json_get(t->claims, "aud"));
        tg_buf_adds(out, "; audience wanted: ");
        add_list(out, p->rules.audiences, p->rules.audience_count);
        break;
    case TOKEN_EXPIRES: add_ago(out, t->claims, "exp", p); break;
    case TOKEN_NOT_BEFORE: add_ago(out, t->claims, "nbf", p); break;
    case TOKEN_ISSUED: add_ago(out, t->claims, "iat", p); break;
    default: break;
    }
}

static void judge(struct online_check *c, struct token_check *t, const struct tg_provider *p,
                  const struct tg_jwks *keys)
{
    struct tg_buf words = {0};

    if (token_check_signature(t, keys, p->algs) &&
        token_check_claims(t, &p->rules, tg_clock_wall_ms() / 1000)) {
        online_say(c, FINDING_OK, "token", TG_S(""),
                   "good for provider " TG_S_FMT "; what a route's policy says of it tells `tollgate explain`",
                   TG_S_ARG(p->name));
        return;
    }
    add_reason(&words, t, p, keys);
    online_say(c, FINDING_FAILED, "token", TG_S(""), "%s (%s, %s)", tg_buf_cstr(&words), token_step_name(t->broken),
               token_step_rule(t->broken));
    c->token_refused = true;
    tg_buf_fini(&words);
}

/* What a server refuses before it looks at the token. False: told. */
static bool is_sendable(struct online_check *c, struct tg_slice token)
{
    uint64_t most = c->settings->config->bounds.token;

    if (token.len > 0 && token.len <= most)
        return true;
    if (token.len == 0)
        online_say(c, FINDING_FAILED, "token", TG_S(""), "there is none: what was given is empty");
    else
        online_say(c, FINDING_FAILED, "token", TG_S(""),
                   "it has %zu bytes, limits.token allows %llu: the answer is 400", token.len,
                   (unsigned long long)most);
    c->token_refused = true;
    return false;
}

/* ---- tokens that keys do not settle ---- */

static void ask_provider(struct online_check *c, const struct tg_provider *p, struct tg_slice token)
{
    struct tg_buf trouble = {0};

    switch (check_ask(c, p, token, &trouble)) {
    case TG_INTROSPECT_ACTIVE:
        online_say(c, FINDING_OK, "token", TG_S(""),
                   "an opaque token, and provider " TG_S_FMT " says that it is active", TG_S_ARG(p->name));
        break;
    case TG_INTROSPECT_INACTIVE:
        online_say(c, FINDING_FAILED, "token", TG_S(""),
                   "an opaque token, and provider " TG_S_FMT " says that it is not active, or what it says of it "
                   "breaks a rule (audiences, required_claims)", TG_S_ARG(p->name));
        c->token_refused = true;
        break;
    default:
        online_say(c, FINDING_FAILED, "token", TG_S(""), "not judged: provider " TG_S_FMT ": %s", TG_S_ARG(p->name),
                   tg_buf_cstr(&trouble));
        break;
    }
    tg_buf_fini(&trouble);
}

static void tell_malformed(struct online_check *c, struct tg_slice token, const struct token_check *t)
{
    const struct tg_provider *p;

    if (t->opaque && tg_providers_of_opaque(&c->settings->config->providers, UINT64_MAX, &p) == 1) {
        ask_provider(c, p, token);
        return;
    }
    online_say(c, FINDING_FAILED, "token", TG_S(""), "%s (%s, %s)", tg_err_text(&t->err), token_step_name(t->broken),
               token_step_rule(t->broken));
    c->token_refused = true;
}

static void tell_pat(struct online_check *c, struct tg_slice token)
{
    if (tg_pat_is_wellformed(token)) {
        online_say(c, FINDING_WARNING, "token", TG_S(""),
                   "not judged: a personal access token is known to the running process alone; `tollgate token list` "
                   "tells which there are");
        return;
    }
    online_say(c, FINDING_FAILED, "token", TG_S(""),
               "it begins like a personal access token, and its length or checksum is wrong: mistyped or cut");
    c->token_refused = true;
}

void check_token(struct online_check *c, struct tg_slice token)
{
    struct token_check t = {0};
    struct tg_arena arena;
    int i;

    if (!is_sendable(c, token))
        return;
    tg_arena_init(&arena, NULL, 0);
    if (c->settings->config->pats && tg_pat_has_prefix(token)) {
        tell_pat(c, token);
    } else if (!token_check_open(&t, token, false, &arena)) {
        tell_malformed(c, token, &t);
    } else if ((i = provider_of(c, t.claims)) < 0) {
        tell_issuer(c, t.claims);
    } else if (!c->keys[i]) {
        online_say(c, FINDING_FAILED, "token", TG_S(""), "not judged: the keys of provider " TG_S_FMT " are not there",
                   TG_S_ARG(c->settings->config->providers.items[i].name));
    } else {
        judge(c, &t, &c->settings->config->providers.items[i], c->keys[i]);
    }
    token_check_fini(&t);
    tg_arena_fini(&arena);
}
