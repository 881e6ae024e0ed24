/*
 * http_peer - a scripted HTTP server on a loopback port, on a thread of its own, for the tests of io and auth.
 *
 * One connection at a time, one request each; the script sees the head and writes the answer's raw bytes, so that it
 * can be as wrong as a test needs.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct http_peer {
    uint16_t port;                                       /* 0 before the first start; kept over a stop */
    /* Under `lock`. `head` ends in NUL. Nothing written: the connection is closed without an answer. */
    void (*script)(struct http_peer *peer, const char *head, struct tg_buf *out);
    void *arg;
    unsigned delay_ms;                                   /* before answering */
    pthread_mutex_t lock;
    int fd;
    pthread_t thread;
};

static inline void http_peer_serve(struct http_peer *peer, int fd)
{
    char head[16384];
    size_t len = 0;
    struct tg_buf out = {0};
    unsigned delay_ms;

    while (len < sizeof(head) - 1) {
        ssize_t n = read(fd, head + len, sizeof(head) - 1 - len);
        const char *end, *length;

        if (n <= 0)
            return;
        len += (size_t)n;
        head[len] = '\0';
        end = strstr(head, "\r\n\r\n");
        length = strstr(head, "Content-Length: ");
        if (end && (!length || strlen(end + 4) >= strtoul(length + 16, NULL, 10)))
            break;
    }
    pthread_mutex_lock(&peer->lock);
    peer->script(peer, head, &out);
    delay_ms = peer->delay_ms;
    pthread_mutex_unlock(&peer->lock);
    usleep(delay_ms * 1000);
    for (size_t sent = 0; sent < out.len;) {
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    tg_buf_fini(&out);
}

static inline void *http_peer_run(void *arg)
{
    struct http_peer *peer = arg;
    int fd;

    while ((fd = accept(peer->fd, NULL, NULL)) >= 0) {
        http_peer_serve(peer, fd);
        close(fd);
    }
    return NULL;
}

static inline void http_peer_start(struct http_peer *peer)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(peer->port)};
    socklen_t len = sizeof(sa);
    int one = 1;

    if (peer->port == 0)
        pthread_mutex_init(&peer->lock, NULL);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    tg_assert(bind(peer->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(peer->fd, 128) == 0);
    getsockname(peer->fd, (struct sockaddr *)&sa, &len);
    peer->port = ntohs(sa.sin_port);
    pthread_create(&peer->thread, NULL, http_peer_run, peer);
}

static inline void http_peer_stop(struct http_peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR);                       /* wakes accept */
    pthread_join(peer->thread, NULL);
    close(peer->fd);
}

/* From now on so long before answering. */
static inline void http_peer_delay(struct http_peer *peer, unsigned ms)
{
    pthread_mutex_lock(&peer->lock);
    peer->delay_ms = ms;
    pthread_mutex_unlock(&peer->lock);
}

/* An ordinary answer; `fields` as "Name: value\r\n" lines. */
static inline void http_peer_answer(struct tg_buf *out, unsigned status, const char *fields, struct tg_slice body)
{
    tg_buf_addf(out, "HTTP/1.1 %u x\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n", status, body.len, fields);
    tg_buf_add_slice(out, body);
}
