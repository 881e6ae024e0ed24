/*
 * bench - a folder with a key pair and a configuration, for commands that verify.
 */
#pragma once
#include "base/err.h"
#include "base/file.h"
#include "boot/commands.h"
#include "capture.h"
#include <assert.h>
#include <unistd.h>

#define BENCH_PATH 96
struct bench {
    char dir[32], key[BENCH_PATH], jwks[BENCH_PATH], config[BENCH_PATH];
    struct captured c;
};

static inline void bench_init(struct bench *b)
{
    static const char yaml[] =
        "policies:\n"
        "  - {name: staff, ppl: {allow: {and: [{domain: {is: example.com}}]}}, explanation: only staff, remediation: "
        "ask}\n"
        "identity_providers: {corp: {issuer: https://idp.test, audiences: [my-api], jwks_file: k.json, leeway: 0s,\n"
        "                            groups_claim: teams}, other: {issuer: https://o.test, audiences: [x], jwks_url: "
        "http://127.0.0.1:1/k}}\n"
        "routes:\n"
        "  - {name: open, from: https://open.test, to: 'http://127.0.0.1:1', allow_public_unauthenticated_access: "
        "true}\n"
        "  - {name: only, from: https://only.test, to: 'http://127.0.0.1:1', identity_providers: [other],\n"
        "     allow_any_authenticated_user: true}\n"
        "  - {name: api, prefix: /api, to: 'http://127.0.0.1:1', policies: [staff]}\n"
        "  - {name: teams, prefix: /teams, to: 'http://127.0.0.1:1', policy: {allow: {and: [{groups: {has: red}}]}}}\n";

    memset(b, 0, sizeof *b);
    snprintf(b->dir, sizeof b->dir, "/tmp/tollgate-test-XXXXXX");
    assert(mkdtemp(b->dir));
    snprintf(b->key, BENCH_PATH, "%s/k.pem", b->dir);
    snprintf(b->jwks, BENCH_PATH, "%s/k.json", b->dir);
    snprintf(b->config, BENCH_PATH, "%s/t.yaml", b->dir);
    assert(tg_file_replace(b->config, tg_slice(yaml, sizeof yaml - 1), 0600, NULL) == TG_OK);
    const char *const argv[] = {"mint", "--generate", "ES256", "--key", b->key, "--jwks", b->jwks, NULL};
    capture(&b->c, tg_cmd_mint, argv, TG_S(""));
    assert(b->c.code == 0);
}

static inline void bench_fini(struct bench *b)
{
    unlink(b->key);
    unlink(b->jwks);
    unlink(b->config);
    rmdir(b->dir);
    captured_fini(&b->c);
}

/* A token with these options of `mint` (NULL-terminated, at most 20); free it. */
static inline char *bench_mint(struct bench *b, const char *const *more)
{
    const char *argv[32] = {"mint", "--key", b->key, "--alg", "ES256"};
    size_t n = 5;

    for (; *more && n < 31; more++)
        argv[n++] = *more;
    capture(&b->c, tg_cmd_mint, argv, TG_S(""));
    assert(b->c.code == 0);
    return tg_slice_dup(tg_slice_str(b->c.out));
}
#define GOOD_CLAIMS "--issuer", "https://idp.test", "--audience", "my-api", "--subject", "u1"
