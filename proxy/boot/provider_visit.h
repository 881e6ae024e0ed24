/*
 * provider_visit - a provider asked once for its discovery document and its keys, and what came of it in words a
 * newcomer can act on: for `init` and `check --online`.
 *
 * The rules are a server's own (auth/discovery, jose/jwk). Nothing secret is told: no token, no query of a URL.
 */
#pragma once
#include "auth/discovery.h"
#include "auth/providers.h"
#include "inquiry.h"

struct provider_visit {
    bool answered;                                       /* an HTTP answer came, whatever it was */
    bool found;                                          /* discovery was asked, and is this issuer's */
    struct tg_discovery discovery;                       /* when an issuer's document could be read at all */
    char *jwks_url;                                      /* NULL: not that far */
    struct tg_jwks *keys;                                /* a reference; NULL: not that far */
    bool dated;                                          /* a Date came over a connection without a cache of ours */
    int64_t ahead_s;                                     /* with it: the provider's clock minus ours */
};

/* True: the provider's keys are in `v` and there is one at least. Else `words` gets a sentence that says why not. */
bool provider_visit(struct inquiry *q, const struct tg_provider *p, struct provider_visit *v, struct tg_buf *words);
void provider_visit_fini(struct provider_visit *v);

/* "RS256, ES256" */
void provider_add_algs(struct tg_buf *out, tg_algs algs);
