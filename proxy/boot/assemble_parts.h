/*
 * assemble_parts - what the files of the assembly share: one brings up and down, one opens what is kept and signs, one
 * puts new configurations and policies in force.
 */
#pragma once
#include "boot/assemble.h"
#include "auth/revoked.h"
#include "sources.h"

struct tg_signing_keys;

struct tg_serving {                                      /* one worker and what it serves with */
    struct tg_server *server;
    struct tg_worker *worker;                            /* NULL: not started yet */
    struct tg_gate *gate;
    struct tg_listener **listeners;                      /* one an address */
    size_t connections;                                  /* answer of a question */
};

/* ---- assemble.c ---- */
/* The settings with all routes, wherever they come from, for those who look at upstreams. Borrows. */
struct tg_settings server_view(const struct tg_server *server, struct tg_config *config);
struct sources_home server_home(struct tg_server *server, struct tg_worker *control);

/* ---- assemble_services.c: each fails with a sentence for the log ---- */
enum tg_status server_start_signing(struct tg_server *server, struct tg_err *err);
enum tg_status server_start_possession(struct tg_server *server, struct tg_err *err);
enum tg_status server_start_audit(struct tg_server *server, struct tg_err *err);
/*
 * Opened when a configuration first takes them, and then kept to the end. Workers see it when they bind that
 * configuration, which is after this.
 */
enum tg_status server_open_pats(struct tg_server *server, const struct tg_settings *s, struct tg_err *err);
enum tg_status server_read_signing(struct tg_server *server, const struct tg_config *config,
                                   struct tg_signing_keys **keys, struct tg_err *err);
enum tg_status server_read_revocations(struct tg_server *server, const struct tg_config *config,
                                       struct tg_revocations_next **next, struct tg_err *err);
/* refuse_exposed_upstream, where it is set: looks, and waits for that. */
enum tg_status server_refuse_exposed(struct tg_server *server, const struct tg_settings *s, struct tg_err *err);
bool server_may_wait(struct tg_server *server);

/* tollgate's own credentials for the services, on the control thread: by route index; the configuration keeps them. */
struct credential_binding {
    struct tg_credentials *credentials;
    struct tg_config *config;
};
void server_bind_credentials(struct tg_worker *w, void *arg);
