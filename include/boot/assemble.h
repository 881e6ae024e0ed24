/*
 * assemble - the whole server built bottom up and taken down in reverse.
 *
 * Order up: limiter and log, what was kept of policies, sockets, control thread (keys, health, their source), workers,
 * listeners. The main thread waits for signals and calls these functions; nobody else does.
 */
#pragma once
#include "admin/health.h"
#include "boot/exposure.h"
#include "boot/settings.h"
#include "io/listener.h"

struct tg_server {
    struct tg_settings settings;                         /* in force */
    struct tg_config *config;                            /* likewise: the file's own, or a set over it; a reference */
    struct sources *sources;                             /* NULL: policies and routes are all in the file */
    struct tg_gate_shared shared;
    struct tg_health health;
    struct tg_listen_socket *sockets;                    /* one an address */
    size_t socket_count;
    struct tg_listen_socket health_socket;
    struct tg_worker *control;
    struct tg_fetcher *fetcher;
    struct tg_keys *keys;
    struct tg_exposure *exposure;
    struct tg_gate *health_gate;
    struct tg_listener *health_listener;
    struct tg_serving *serving;                          /* one a worker */
    unsigned worker_count;
    bool (*meanwhile)(void *arg);                        /* while a reload waits; false: it shall not; NULL: it may */
    void *meanwhile_arg;
};

/*
 * Takes over `settings`. TG_UNAVAILABLE and TG_DENIED concern a listener or a file, TG_UNSUPPORTED an exposed upstream
 * that is to be refused. On failure everything is undone.
 */
enum tg_status tg_server_start(struct tg_server *server, struct tg_settings *settings, struct tg_err *err);
/* Takes over `settings` when it returns TG_OK; else the old ones stay in force. */
enum tg_status tg_server_reload(struct tg_server *server, struct tg_settings *settings, struct tg_err *err);
/* Puts policies in force that wait, or says why not. SIGUSR2 tells that some do. */
void tg_server_adopt(struct tg_server *server);
void tg_server_stop_accepting(struct tg_server *server); /* and tells connections to end */
size_t tg_server_connections(struct tg_server *server);
/* The i-th thread with a loop: the workers, and behind them (worker_count) the control thread. */
struct tg_worker *tg_server_thread(const struct tg_server *server, unsigned i);
void tg_server_look_around(struct tg_server *server);    /* for upstreams that have become exposed; does not wait */
void tg_server_stop(struct tg_server *server);           /* closes what is left; frees everything */
