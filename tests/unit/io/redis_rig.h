/*
 * redis_rig - a link under test on a worker of its own, a real redis-server, and a server that follows a script.
 */
#pragma once
#include "base/clock.h"
#include "io/redis.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 10000

/* ---- a link, and what it told ---- */

struct told {                                            /* an answer, copied */
    bool ok, lost;
    size_t count;
    int64_t numbers[64];
    char error[512];
    int64_t sent_us, answered_us;
};

struct rig {
    struct tg_worker *worker;
    struct tg_resolver *resolver;
    struct tg_redis *link;
    struct tg_redis_options options;
    struct tg_arena arena;
    pthread_mutex_t lock;
    unsigned ups, downs, answers, lost, not_lost;
    bool up, free_when_changed, free_when_answered, eval_when_up;
    char why[512];
    struct told last;
    struct tg_redis_counts counts;
};

static inline void rig_free_link(struct rig *g)
{
    tg_redis_free(g->link);
    g->link = NULL;
}

static void rig_on_answer(void *arg, const struct tg_redis_answer *a)
{
    struct rig *g = arg;

    pthread_mutex_lock(&g->lock);
    g->last = (struct told){.ok = a->ok, .lost = a->lost, .count = a->count, .sent_us = a->sent_us,
                            .answered_us = a->answered_us};
    for (size_t i = 0; i < a->count && i < ARRAY_LEN(g->last.numbers); i++)
        g->last.numbers[i] = a->numbers[i];
    snprintf(g->last.error, sizeof(g->last.error), TG_S_FMT, TG_S_ARG(a->error));
    g->answers++;
    g->lost += a->lost;
    g->not_lost += !a->lost;
    pthread_mutex_unlock(&g->lock);
    if (g->free_when_answered)
        rig_free_link(g);
}

static void rig_on_changed(void *arg, bool up, const char *why)
{
    struct rig *g = arg;

    pthread_mutex_lock(&g->lock);
    g->up = up;
    *(up ? &g->ups : &g->downs) += 1;
    snprintf(g->why, sizeof(g->why), "%s", why);
    pthread_mutex_unlock(&g->lock);
    if (up && g->eval_when_up)
        tg_redis_eval(g->link, NULL, 0, NULL, 0, rig_on_answer, g);
    if (g->free_when_changed)
        rig_free_link(g);
}

static inline enum tg_status rig_init(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct rig *g = arg;
    enum tg_status st = tg_resolver_new(w, &g->resolver, err);

    if (st == TG_OK)
        g->link = tg_redis_new(w, g->resolver, &g->options);
    return st;
}

static inline void rig_fini(struct tg_worker *w, void *arg)
{
    struct rig *g = arg;

    (void)w;
    rig_free_link(g);
    tg_resolver_free(g->resolver);
}

/* Members of *g that are not of a rig's own making (free_when_..., options.dead_ms, ca_file) may be set before. */
static inline void rig_start(struct rig *g, const char *url, const char *script)
{
    struct tg_worker_hooks hooks = {rig_init, rig_fini, g};
    struct tg_err err = {0};

    pthread_mutex_init(&g->lock, NULL);
    tg_arena_init(&g->arena, NULL, 0);
    if (tg_redis_parse(tg_slice_str(url), &g->arena, &g->options.address, &err) != TG_OK)
        fail_msg("%s: %s", url, err.text);
    g->options.script = script;
    g->options.changed = rig_on_changed;
    g->options.arg = g;
    assert_int_equal(tg_worker_start(0, "redis", &hooks, &g->worker, &err), TG_OK);
}

static inline void rig_stop(struct rig *g)
{
    tg_worker_stop(g->worker);
    tg_arena_fini(&g->arena);
    pthread_mutex_destroy(&g->lock);
}

static inline unsigned rig_read(struct rig *g, const unsigned *counter)
{
    unsigned n;

    pthread_mutex_lock(&g->lock);
    n = *counter;
    pthread_mutex_unlock(&g->lock);
    return n;
}

static inline void rig_wait(struct rig *g, const unsigned *counter, unsigned at_least, const char *what)
{
    int64_t until_ms = tg_clock_mono_ms() + WAIT_MS;

    while (rig_read(g, counter) < at_least && tg_clock_mono_ms() < until_ms)
        usleep(1000);
    if (rig_read(g, counter) < at_least)
        fail_msg("%s: %u of %u; %s", what, rig_read(g, counter), at_least, g->why);
}

static inline void rig_wait_up(struct rig *g, unsigned times) { rig_wait(g, &g->ups, times, "up"); }
static inline void rig_wait_down(struct rig *g, unsigned times) { rig_wait(g, &g->downs, times, "down"); }

struct rig_ask {
    struct rig *rig;
    const struct tg_slice *keys, *args;
    size_t key_count, arg_count, times, taken;
};

static inline void rig_do_ask(struct tg_worker *w, void *arg)
{
    struct rig_ask *a = arg;

    (void)w;
    for (size_t i = 0; i < a->times && a->rig->link; i++)
        a->taken += tg_redis_eval(a->rig->link, a->keys, a->key_count, a->args, a->arg_count, rig_on_answer, a->rig);
}

/* How many of `times` were taken. */
static inline size_t rig_ask(struct rig *g, const char *key, struct tg_slice arg, size_t times)
{
    struct tg_slice keys[] = {tg_slice_str(key)}, args[] = {arg};
    struct rig_ask a = {g, keys, args, key != NULL, arg.ptr != NULL, times, 0};

    tg_worker_call(g->worker, rig_do_ask, &a);
    return a.taken;
}

/* Asks once and waits. */
static inline struct told rig_eval(struct rig *g, const char *key, const char *arg)
{
    unsigned before = rig_read(g, &g->answers);

    assert_int_equal(rig_ask(g, key, tg_slice_str(arg), 1), 1);
    rig_wait(g, &g->answers, before + 1, "answers");
    return g->last;
}

static inline void rig_read_counts(struct tg_worker *w, void *arg)
{
    struct rig *g = arg;

    (void)w;
    tg_redis_counts(g->link, &g->counts);
}

static inline void rig_drop(struct tg_worker *w, void *arg)
{
    (void)w;
    rig_free_link(arg);
}

/* ---- sockets ---- */

static inline struct sockaddr_in loopback_address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
}

static inline int listen_on_loopback(uint16_t *port)
{
    struct sockaddr_in at = loopback_address(*port);
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(listen(fd, 8), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static inline int connect_to_loopback(uint16_t port)
{
    struct sockaddr_in at = loopback_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* ---- a real server ---- */

struct server {
    pid_t pid;
    uint16_t port;
    char dir[64], socket[96];
    const char *more[32];                                /* options, before the start; NULL ends them */
};

/* A command written in one line, on a connection of its own; the answer's first line (or as much as fits). */
static inline bool server_says(struct server *s, const char *command, char *answer, size_t room)
{
    int fd = connect_to_loopback(s->port);
    struct timeval limit = {.tv_sec = 5};
    ssize_t n;

    answer[0] = '\0';
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    dprintf(fd, "%s\r\n", command);
    n = read(fd, answer, room - 1);
    close(fd);
    answer[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static inline void server_do(struct server *s, const char *command)
{
    char answer[512];

    if (!server_says(s, command, answer, sizeof(answer)) || answer[0] == '-')
        fail_msg("%s: %s", command, answer);
}

static inline void server_run(struct server *s)
{
    char port[8], answer[64];
    const char *argv[52] = {"redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", s->socket, "--dir",
                            s->dir, "--save", "", "--appendonly", "no", "--logfile", "log", "--daemonize", "no"};
    size_t count = 17;
    int64_t until_ms = tg_clock_mono_ms() + WAIT_MS;

    snprintf(port, sizeof(port), "%u", (unsigned)s->port);
    for (size_t i = 0; s->more[i]; i++)
        argv[count++] = s->more[i];
    s->pid = fork();
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);                /* not to outlive a test that fails */
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (!server_says(s, "PING", answer, sizeof(answer)) && tg_clock_mono_ms() < until_ms)
        usleep(5000);
    if (!answer[0])
        fail_msg("redis-server does not start (scripts/deps test installs it)");
}

/* On a port that was free a moment ago: of two that wanted the same one, the other tries again. */
static inline void server_start(struct server *s)
{
    snprintf(s->dir, sizeof(s->dir), "/tmp/tollgate-redis-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->socket, sizeof(s->socket), "%s/redis.sock", s->dir);
    s->port = 0;
    close(listen_on_loopback(&s->port));
    server_run(s);
}

static inline void server_kill(struct server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static inline void server_stop(struct server *s)
{
    char path[128];

    if (s->pid)
        server_kill(s);
    unlink(s->socket);
    snprintf(path, sizeof(path), "%s/log", s->dir);
    unlink(path);
    rmdir(s->dir);
}

static inline const char *server_url(const struct server *s, const char *login, const char *rest)
{
    static char url[256];

    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%u%s", login, (unsigned)s->port, rest);
    return url;
}

/* ---- a scripted one ---- */

#define SHA "da39a3ee5e6b4b0d3255bfef95601890afd80709"
#define LOADED "$40\r\n" SHA "\r\n"

struct fake {                                            /* one connection at a time */
    uint16_t port;
    const char *hello;                                   /* said when somebody connects; NULL: nothing */
    const char *greeting;                                /* to AUTH, SELECT, SCRIPT LOAD in one */
    struct tg_slice answer;                              /* to each EVALSHA; under `lock` */
    size_t cut;                                          /* so many octets first, the rest a moment later; 0: all */
    bool octet_by_octet, close_after_greeting;
    unsigned delay_ms;                                   /* before each answer to EVALSHA */
    pthread_mutex_t lock;
    unsigned connections;
    size_t sent;                                         /* of the last answer */
    int fd;
    pthread_t thread;
};

static inline size_t fake_send(int fd, const char *bytes, size_t n)
{
    size_t sent = 0;

    while (sent < n) {
        ssize_t k = send(fd, bytes + sent, n - sent, MSG_NOSIGNAL);

        if (k <= 0)
            break;
        sent += (size_t)k;
    }
    return sent;
}

static inline void fake_answer(struct fake *f, int fd, struct tg_slice answer)
{
    size_t cut = f->cut < answer.len ? f->cut : answer.len;

    for (size_t i = 0; f->octet_by_octet && i < answer.len; i++) {
        fake_send(fd, answer.ptr + i, 1);
        usleep(50);
    }
    if (f->octet_by_octet)
        return;
    fake_send(fd, answer.ptr, cut);
    if (cut > 0)
        usleep(1000);
    f->sent = cut + fake_send(fd, answer.ptr + cut, answer.len - cut);
}

static inline void fake_serve(struct fake *f, int fd)
{
    char got[8192];
    ssize_t n;
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (f->hello)
        fake_send(fd, f->hello, strlen(f->hello));
    while ((n = read(fd, got, sizeof(got) - 1)) > 0) {
        got[n] = '\0';
        pthread_mutex_lock(&f->lock);
        for (const char *at = got; (at = strpbrk(at, "ES")) != NULL; at++) {
            if (strncmp(at, "EVALSHA\r", 8) == 0) {
                usleep(f->delay_ms * 1000);
                fake_answer(f, fd, f->answer);
            } else if (strncmp(at, "SCRIPT\r", 7) == 0) {
                fake_answer(f, fd, tg_slice_str(f->greeting));
            }
        }
        pthread_mutex_unlock(&f->lock);
        if (f->close_after_greeting)
            return;
    }
}

static inline void *fake_run(void *arg)
{
    struct fake *f = arg;
    int fd;

    while ((fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_mutex_lock(&f->lock);
        f->connections++;
        pthread_mutex_unlock(&f->lock);
        fake_serve(f, fd);
        close(fd);
    }
    return NULL;
}

static inline void fake_start(struct fake *f)
{
    f->port = 0;
    f->fd = listen_on_loopback(&f->port);
    if (!f->greeting)
        f->greeting = LOADED;
    pthread_mutex_init(&f->lock, NULL);
    pthread_create(&f->thread, NULL, fake_run, f);
}

static inline void fake_stop(struct fake *f)
{
    shutdown(f->fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->fd);
    pthread_mutex_destroy(&f->lock);
}

static inline void fake_set(struct fake *f, struct tg_slice answer, size_t cut)
{
    pthread_mutex_lock(&f->lock);
    f->answer = answer;
    f->cut = cut;
    pthread_mutex_unlock(&f->lock);
}
