/*
 * init_file - see init_file.h. What was given is quoted as JSON, which YAML reads alike; "$" would be a variable's,
 * but not in a key.
 */
#include "init_file.h"
#include "base/json.h"
#include "provider_visit.h"

static void add_key(struct tg_buf *out, const char *text) { tg_json_add_string(out, tg_slice_str(text)); }

static void add_quoted(struct tg_buf *out, const char *text)
{
    struct tg_buf json = {0};

    tg_json_add_string(&json, tg_slice_str(text));
    for (size_t i = 0; i < json.len; i++) {
        if (json.data[i] == '$')
            tg_buf_addc(out, '$');
        tg_buf_addc(out, json.data[i]);
    }
    tg_buf_fini(&json);
}

static void add_line(struct tg_buf *out, const char *before, const char *text, const char *after)
{
    tg_buf_adds(out, before);
    add_quoted(out, text);
    tg_buf_adds(out, after);
}

/* The line with what was given, else the same as a comment with an example. */
static void add_optional(struct tg_buf *out, const char *setting, const char *text, const char *example,
                         const char *about)
{
    tg_buf_addf(out, text ? "    %s: " : "    # %s: ", setting);
    if (text)
        add_quoted(out, text);
    else
        tg_buf_adds(out, example);
    tg_buf_addf(out, "  # %s\n", about);
}

static void add_provider(struct tg_buf *out, const struct init_choice *c)
{
    tg_buf_adds(out, "# Who may sign tokens. Its keys are found by OpenID discovery and fetched again as they change.\n"
                     "identity_providers:\n  ");
    add_key(out, c->name);
    tg_buf_adds(out, ":\n");
    add_line(out, "    issuer: ", c->issuer, "  # the `iss` of its tokens, equal to the last byte\n");
    add_line(out, "    audiences: [", c->audience, "]  # a token must be meant for one of these: its `aud`\n");
    tg_buf_adds(out, c->algs ? "    supported_algs: [" : "    # supported_algs: [");
    provider_add_algs(out, c->algs ? c->algs : TG_ALGS_DEFAULT);
    tg_buf_adds(out, c->algs ? "]  # what its keys are for\n" : "]  # the default\n");
    add_optional(out, "ca_file", c->ca_file, "idp-ca.pem",
                 "who signs its TLS certificate, when the system does not know");
    if (c->token_file)
        add_optional(out, "token_file", c->token_file, "", "sent as bearer when asking for keys, read each time");
    if (c->proxy)
        add_optional(out, "proxy", c->proxy, "", "for asking the provider");
    if (c->allow_http)
        tg_buf_adds(out, "    allow_http: true  # for trying out: who is on the way to the issuer can forge tokens\n");
    tg_buf_adds(out, "    # leeway: 30s  # how far the clocks may be apart\n"
                     "    # groups_claim: groups  # the claim that lists the caller's groups\n\n");
}

static void add_routes(struct tg_buf *out, const struct init_choice *c)
{
    tg_buf_adds(out, "# What goes where, and who may: the first route that matches. A route without a policy denies.\n"
                     "routes:\n"
                     "  # A rule to begin with: only the group admins may go below /admin. Change or delete it.\n"
                     "  - name: admin\n"
                     "    prefix: /admin\n");
    add_line(out, "    to: ", c->upstream, "\n");
    tg_buf_adds(out, "    policy:\n"
                     "      allow:\n"
                     "        and:\n"
                     "          - groups: {has: admins}\n"
                     "  # Everything else: whoever shows a good token.\n"
                     "  - name: app\n"
                     "    prefix: /\n");
    add_line(out, "    to: ", c->upstream, "\n");
    tg_buf_adds(out, "    allow_any_authenticated_user: true\n"
                     "    # policy: {allow: {and: [{domain: {is: example.com}}]}}  # instead: by domain, claim, ...\n"
                     "    # allow_public_unauthenticated_access: true              # instead: everybody\n\n");
}

void init_write(struct tg_buf *out, const struct init_choice *c)
{
    tg_buf_adds(out, "# tollgate.yaml - who may pass to the service behind, and how often.\n"
                     "# Every setting: `tollgate run --help-settings`. Check: `tollgate check -c FILE --online`.\n\n"
                     "# Where to listen: loopback unless said, in the container image all addresses.\n"
                     "# address: \"[::]:8080\"\n"
                     "# /livez /readyz /metrics, likewise.\n"
                     "# health_address: \"[::]:9090\"\n\n");
    add_provider(out, c);
    add_routes(out, c);
    tg_buf_adds(out, "# How many requests whom; these are the defaults. Without an identity they count by address.\n"
                     "# rate_limits:\n"
                     "#   tiers:\n"
                     "#     - {name: enterprise, limit: 10000, window: 1m, when: [{claim/plan: enterprise}]}\n"
                     "#     - {name: authenticated, limit: 1000, window: 1m}\n"
                     "#     - {name: unauthenticated, limit: 100, window: 1m}\n"
                     "# Counted by each tollgate alone; together: `store: redis://HOST:6379` beside tiers, and\n"
                     "# the same store_secret_file for all.\n\n"
                     "# Behind an ingress or load balancer: its network, so that X-Forwarded-For is believed.\n"
                     "# trusted_proxies: [10.0.0.0/8]\n\n"
                     "# Keys last fetched are kept here, for a start while the provider is away.\n"
                     "# state_dir: /var/lib/tollgate\n");
}
