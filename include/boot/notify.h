/*
 * notify - telling systemd (or whoever gave NOTIFY_SOCKET) what the process is doing: sd_notify(3) by its protocol.
 *
 * One datagram a message, lines of NAME=value. Nothing is waited for and a message that cannot be sent is lost: the
 * process serves either way. Without NOTIFY_SOCKET nothing is sent. Threads: one at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct tg_notify {
    int fd;                                              /* -1: nobody listens */
    struct sockaddr_un to;
    socklen_t to_len;
    int64_t watchdog_ms;                                 /* WATCHDOG=1 is awaited this often; 0: not awaited */
    bool failing;                                        /* the last message was lost; logged once */
};

/*
 * Reads NOTIFY_SOCKET (a path, or @name in the abstract namespace), WATCHDOG_USEC and WATCHDOG_PID by `env`, as getenv.
 * Always succeeds; another kind of socket address is logged and left alone.
 */
void tg_notify_init(struct tg_notify *n, const char *(*env)(const char *name));
void tg_notify_fini(struct tg_notify *n);
void tg_notify_send(struct tg_notify *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
