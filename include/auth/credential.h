/*
 * credential - tollgate's own tokens for the services behind it (`upstream_auth` of a route) and for its control plane
 * (`credential` of sync and bundle): got, renewed ahead of time, known to every worker.
 *
 * A static token file; client credentials (RFC 6749 §4.4); a private-key JWT as grant (RFC 7523 §2.1; ZITADEL's service
 * users); of a control plane also an API user, whose lasting token is exchanged for short ID tokens (POST /token of the
 * Zero API). One tg_credentials per process, asking from the control thread; one question at a time for a credential. A
 * token is renewed when four fifths of its life are over, with jitter, and over a second before its end (of a very
 * short life: half way). Trouble is retried with back-off (1 s to 60 s, to 4 s without any token) while the old token
 * still lives; 400 and 401 of the server mean that our credential is bad: told as an error, asked again after 30 s. A
 * file that is missing or holds no token leaves the last good one in force. Routes with equal settings share one. Never
 * logged, wiped when freed.
 *
 * Of an API user 400 alone is final: it is asked again after ten minutes, or when its file changes. Retry-After is
 * obeyed.
 */
#pragma once
#include "auth/client_auth.h"
#include "io/credential.h"
#include "io/fetch.h"

struct tg_credential_settings {                          /* in the arena of the configuration */
    enum { TG_CREDENTIAL_FILE, TG_CREDENTIAL_CLIENT, TG_CREDENTIAL_JWT_GRANT, TG_CREDENTIAL_API_USER } kind;
    bool control_plane;                                  /* not of a route: for words */
    struct tg_slice token_file;                          /* API_USER: of its lasting token; empty: api_user_token */
    struct tg_slice api_user_token;
    struct tg_slice token_url, issuer;                   /* token_url empty: token_endpoint of the issuer's discovery */
    struct tg_client_auth client;
    struct tg_service_key *key;                          /* JWT_GRANT: a reference */
    struct tg_slice scope;                               /* scopes joined by spaces */
    struct tg_slice resource, audience;                  /* RFC 8707; others' own parameter */
    struct tg_slice ca_file, proxy;
    bool allow_http;
    int64_t timeout_ms;
};
extern const struct tg_setting tg_credential_rows[];     /* `upstream_auth` of a route */
extern const size_t tg_credential_row_count;
bool tg_credential_settings_read(const struct tg_tree *tree, const cJSON *node, const char *where,
                                 struct tg_arena *arena, struct tg_credential_settings *out,
                                 struct tg_problems *problems);
void tg_credential_settings_fini(struct tg_credential_settings *s);

/* `credential` of sync or bundle: the same, and an API user of the control plane that is asked. */
struct tg_credential_home {
    struct tg_slice url;                                 /* API: URL/token is asked; empty: token_url is needed */
    struct tg_slice ca_file, proxy;                      /* of the section: an API user's, unless it has its own */
    bool allow_http;
};
extern const struct tg_setting tg_home_credential_rows[];
extern const size_t tg_home_credential_row_count;
bool tg_home_credential_read(const struct tg_tree *tree, const cJSON *node, const char *where,
                             const struct tg_credential_home *home, struct tg_arena *arena,
                             struct tg_credential_settings *out, struct tg_problems *problems);

struct tg_credentials;
struct tg_credential_source;                             /* counted by atomics */
struct tg_credentials *tg_credentials_new(struct tg_worker *control, struct tg_fetcher *fetcher);
void tg_credentials_free(struct tg_credentials *c);      /* on the control thread; NULL is fine */
/* The source of these settings, an old one when they are the same: a new reference. Control thread. */
struct tg_credential_source *tg_credentials_bind(struct tg_credentials *c, const struct tg_credential_settings *s);
/* Wipes those that no configuration names any more. Control thread. */
void tg_credentials_sweep(struct tg_credentials *c);
void tg_credential_source_unref(struct tg_credential_source *s); /* any thread; NULL is fine */
void tg_credentials_describe(struct tg_credentials *c, struct tg_buf *out); /* one line each, for readiness */

/* ---- any worker ---- */
struct tg_credential_view {                              /* zeroed: first time */
    struct tg_credential_text *text;                     /* the token; NULL: none is usable now */
    uint64_t version;
};
/* Brings it up to date; one atomic load when nothing changed. The value of Authorization is *value ("Bearer ..."). */
bool tg_credential_view_update(struct tg_credential_source *s, struct tg_credential_view *view,
                               struct tg_slice *value);
void tg_credential_view_fini(struct tg_credential_view *view);
/*
 * Asks for another token because the service refused this one (401), or because there is none yet. False: it was asked
 * for a moment ago and there is no hope. True: done(arg) will be posted to `w` when it ended, well or not, once. `done`
 * NULL: nobody waits.
 */
bool tg_credential_renew(struct tg_credential_source *s, uint64_t version, struct tg_worker *w,
                         void (*done)(struct tg_worker *w, void *arg), void *arg);
bool tg_credential_forget(struct tg_credential_source *s, const void *arg); /* as tg_key_source_forget */

/* ---- the control thread's outgoing calls ---- */
/* A tg_bearer over a source. It takes a reference of its own; `control` is the thread that calls. */
struct tg_credential_bearer;
struct tg_credential_bearer *tg_credential_bearer_new(struct tg_credential_source *s, struct tg_worker *control);
const struct tg_bearer *tg_credential_bearer_of(struct tg_credential_bearer *b); /* good until it is freed */
/* On the control thread, after those who use it. NULL is fine. */
void tg_credential_bearer_free(struct tg_credential_bearer *b);
