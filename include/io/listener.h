/*
 * listener - sockets that accept: addresses parsed, bound once for the process or once per worker, connections handed
 * over.
 *
 * TCP: each worker has its own socket with SO_REUSEPORT; a plain probe bind comes first, so that a second instance
 * fails instead of sharing the port. A unix socket is one descriptor that all workers watch. Threads: see each
 * function.
 */
#pragma once
#include "io/stream.h"

struct tg_listen_address {
    struct tg_address address;
    bool local;                                          /* a unix socket */
    struct tg_slice text;                                /* as configured */
};
/* "127.0.0.1:8080", "[::]:8080", ":8080" (all addresses), "unix:/run/tollgate.sock". No names: an address is exact. */
enum tg_status tg_listen_parse(struct tg_slice text, struct tg_listen_address *out, struct tg_err *err);

bool tg_listen_is_loopback(const struct tg_listen_address *at); /* only this host can connect; a unix socket too */

struct tg_listen_socket {                                /* one bound address of the process */
    struct tg_listen_address at;
    unsigned count;
    int *fds;                                            /* one a worker; the same one for unix sockets */
};
/* Binds and listens for `workers` workers. TG_UNAVAILABLE: in use; TG_DENIED: no permission. Before the workers start.
 */
enum tg_status tg_listen_bind(const struct tg_listen_address *at, unsigned workers, struct tg_listen_socket *out,
                              struct tg_err *err);
void tg_listen_close(struct tg_listen_socket *l); /* closes what no listener took; removes a unix socket's file */

struct tg_listener;
/* Accepts on `fd` in this worker's loop until freed. `accepted` owns the new descriptor (non-blocking, TCP_NODELAY). */
struct tg_listener *tg_listener_new(struct tg_worker *w, int fd,
                                    void (*accepted)(void *arg, int fd, const struct sockaddr *peer), void *arg);
/* Takes what has connected already: closing would reset it. */
void tg_listener_sweep(struct tg_listener *l);
/* Stops accepting and closes the descriptor unless it is shared (`close_fd`). NULL is fine. */
void tg_listener_free(struct tg_listener *l, bool close_fd);
