/*
 * check_provider - are the keys there, do they fit, and what time is it over there?
 */
#include "check_online.h"

#define SKEW_LEAST_S 2                                   /* Date has whole seconds and an answer takes its time */

static void tell_clock(struct online_check *c, const struct tg_provider *p, const struct provider_visit *v)
{
    int64_t apart = v->ahead_s < 0 ? -v->ahead_s : v->ahead_s, leeway = p->rules.leeway_s;
    int64_t most = leeway / 2 > SKEW_LEAST_S ? leeway / 2 : SKEW_LEAST_S;

    if (!v->dated)
        return;
    if (apart <= most)
        online_say(c, FINDING_OK, "provider", p->name, "its clock and this machine's are %lld s apart",
                   (long long)apart);
    else if (v->ahead_s > 0)
        online_say(c, FINDING_WARNING, "provider", p->name,
                   "its clock is %lld s ahead of this machine's: fresh tokens look as if issued in the future, which "
                   "is refused above the leeway of %lld s; set the clocks right", (long long)apart, (long long)leeway);
    else
        online_say(c, FINDING_WARNING, "provider", p->name,
                   "this machine's clock is %lld s ahead of the provider's: tokens end that much too early, with a "
                   "leeway of %lld s; set the clocks right", (long long)apart, (long long)leeway);
}

static void tell_keys(struct online_check *c, const struct tg_provider *p, const struct provider_visit *v)
{
    size_t count = tg_jwks_count(v->keys), skipped = tg_jwks_skipped(v->keys);
    const char *many = count == 1 ? "" : "s";
    tg_algs fit = tg_jwks_algs(v->keys) & p->algs;
    struct tg_buf found = {0}, wanted = {0};

    provider_add_algs(&found, fit ? fit : tg_jwks_algs(v->keys));
    provider_add_algs(&wanted, p->algs);
    if (!fit)
        online_say(c, FINDING_FAILED, "provider", p->name,
                   "none of its %zu key%s is for supported_algs: they can verify %s, allowed is %s", count, many,
                   tg_buf_cstr(&found), tg_buf_cstr(&wanted));
    else if (p->local)
        online_say(c, count ? FINDING_OK : FINDING_FAILED, "provider", p->name,
                   "%zu usable key%s at hand, nothing is fetched", count, many);
    else
        online_say(c, FINDING_OK, "provider", p->name, "%zu usable key%s at %.*s, for %s", count, many,
                   (int)strcspn(v->jwks_url, "?"), v->jwks_url, tg_buf_cstr(&found));
    if (skipped && !p->local)
        online_say(c, FINDING_WARNING, "provider", p->name, "%zu of its keys cannot be used: %s", skipped,
                   tg_jwks_skip_reason(v->keys, 0));
    tg_buf_fini(&found);
    tg_buf_fini(&wanted);
}

static void check_provider(struct online_check *c, size_t i)
{
    const struct tg_provider *p = &c->settings->config->providers.items[i];
    struct provider_visit v;
    struct tg_buf words = {0};

    if (provider_visit(c->q, p, &v, &words)) {
        c->keys[i] = tg_jwks_ref(v.keys);
        if (v.found)
            online_say(c, FINDING_OK, "provider", p->name, "its discovery document is there and is of this issuer");
        tell_keys(c, p, &v);
    } else {
        online_say(c, FINDING_FAILED, "provider", p->name, "%s", tg_buf_cstr(&words));
    }
    tell_clock(c, p, &v);
    provider_visit_fini(&v);
    tg_buf_fini(&words);
}

void check_providers(struct online_check *c)
{
    for (size_t i = 0; i < c->settings->config->providers.count; i++)
        if (!c->settings->config->providers.items[i].pats)
            check_provider(c, i);
}
