/*
 * bundle - a set as one signed file: built, signed, verified, and followed as a source.
 *
 * A bundle is a compact JWS (RFC 7515), alg EdDSA (Ed25519, RFC 8037), typ "tollgate-bundle", kid the RFC 7638
 * thumbprint of the key, over {"seq": whole number from 1, "iat", "exp": NumericDates, "set": {"policies","routes"}}.
 * It is taken when one of the configured public keys verifies it, exp is ahead, and seq is above that of the set in
 * force (the same seq with the same octets confirms it; with others it is refused). What is refused leaves the last
 * good set in force.
 */
#pragma once
#include "io/credential.h"
#include "io/fetch.h"
#include "jose/jwk.h"
#include "store/supply.h"

#define TG_BUNDLE_BYTES ((size_t)96 << 20)

struct tg_bundle_facts {
    uint64_t sequence;
    int64_t issued_s, expires_s;
    char kid[64];
};
/* The payload that is to be signed. */
enum tg_status tg_bundle_build(const struct tg_set *set, const struct tg_bundle_facts *facts, struct tg_buf *out,
                               struct tg_err *err);
/* `pem`: an Ed25519 private key. */
enum tg_status tg_bundle_sign(struct tg_slice payload, struct tg_slice pem, struct tg_buf *out, struct tg_err *err);
/*
 * TG_CRYPTO: no key verifies it; TG_EXPIRED; TG_LIMIT; TG_BAD_INPUT: no bundle, or one of the future. One newline may
 * follow it. The sequence is the caller's to judge. `name` stands for it in messages.
 */
enum tg_status tg_bundle_open(const char *name, struct tg_slice bundle, const struct tg_jwks *keys, int64_t now_s,
                              struct tg_set **set, struct tg_bundle_facts *facts, struct tg_err *err);

struct tg_bundle_settings {                              /* in the arena of the configuration */
    struct tg_slice file, url;                           /* one of them */
    struct tg_slice public_key_file;                     /* PEM; several keys stand side by side in a rotation */
    struct tg_slice ca_file, proxy;
    bool allow_http;
    int64_t interval_ms, timeout_ms, max_stale_ms;
    int when_stale;                                      /* keep | deny */
    struct tg_set_rules rules;
    struct tg_jwks *keys;                                /* a reference: tg_bundle_settings_fini */
    const cJSON *credential;                             /* of the URL; read by auth/credential; NULL: none */
};
extern const struct tg_setting tg_bundle_rows[];
extern const size_t tg_bundle_row_count;
bool tg_bundle_settings_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                             struct tg_bundle_settings *out, struct tg_problems *problems);
void tg_bundle_settings_fini(struct tg_bundle_settings *s);

/* ---- what it is built from ---- */
/*
 * The set of a document in the form of the configuration (policies, policies_dir, routes) or of the API, compiled to
 * see that it can be; where its routes lead is the enforcing machine's to judge. Every error and warning becomes a
 * problem at its place in the document. NULL: there were errors.
 */
struct tg_set *tg_bundle_gather(struct tg_tree *tree, struct tg_problems *problems);
/* Whether a set compiles, here; places are those of its text. */
bool tg_bundle_compiles(const struct tg_set *set, struct tg_problems *problems);

/* ---- the source: a file looked at each second, or a URL asked every interval with its ETag. Control thread. ---- */
struct tg_bundle_source;
/* Strings and `bearer` are copied; its arg, fetcher and supply outlive it. `bearer` NULL: none. Asks at once. */
struct tg_bundle_source *tg_bundle_source_new(struct tg_worker *control, struct tg_fetcher *fetcher,
                                              const struct tg_bundle_settings *s, const struct tg_bearer *bearer,
                                              struct tg_supply *supply);
void tg_bundle_source_free(struct tg_bundle_source *s);  /* NULL is fine */
void tg_bundle_source_describe(struct tg_bundle_source *s, struct tg_buf *out);
