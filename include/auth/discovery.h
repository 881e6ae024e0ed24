/*
 * discovery - finding a provider's keys and endpoints: where its discovery document is, what it must say, and with
 * which bearer both are asked for (OpenID Connect Discovery 1.0).
 *
 * No socket: whoever asks (key_refresh in a server, init and check as commands) has a fetcher. Threads: any.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "jose/alg.h"

struct tg_discovery {
    char *issuer, *jwks_uri;
    tg_algs algs;                                        /* id_token_signing_alg_values_supported; 0: not said */
};

/* Where the document of `issuer` is (§4.1). free() it. */
char *tg_discovery_url(struct tg_slice issuer);
/* Takes a document apart; nothing is believed yet. */
enum tg_status tg_discovery_read(struct tg_slice body, struct tg_discovery *out, struct tg_err *err);
/* §4.3: exactly the issuer that was asked for, and a jwks_uri that may be asked (tg_fetch_check_url). */
enum tg_status tg_discovery_check(const struct tg_discovery *d, struct tg_slice issuer, bool allow_http,
                                  struct tg_err *err);
void tg_discovery_fini(struct tg_discovery *d);
/*
 * The URL that a member of the document ("token_endpoint", "introspection_endpoint") says, checked likewise; the keys
 * may be missing. free() it.
 */
enum tg_status tg_discovery_endpoint(struct tg_slice body, struct tg_slice issuer, const char *member, bool allow_http,
                                     char **out, struct tg_err *err);

/* "" or, when the two differ by slashes at the end alone, words for a sentence: ": one slash too many at the end". */
const char *tg_issuer_slash_words(struct tg_slice configured, struct tg_slice found);

/*
 * Appends "Authorization: Bearer ..." from token_file, and a NUL. Read at each use: such tokens are rotated in place.
 * A byte that ends a header line must not come from a file: TG_BAD_INPUT. Wipe the buffer after use.
 */
enum tg_status tg_bearer_line(const char *token_file, struct tg_buf *out, struct tg_err *err);
