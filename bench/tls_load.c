/*
 * tls_load - a load of TLS connections for bench/tls: N threads, each one connection after the other, blocking.
 *
 *   tls_load PORT full | resumed | keep THREADS SECONDS CIPHER-VERSION(1.2 | 1.3) HEADER-FILE
 *
 * full: a new connection with a whole handshake for each request. resumed: the same by a session ticket. keep: one
 * connection, request after request. HEADER-FILE holds lines to add to each request (an Authorization field).
 * Prints: operations, resumed handshakes, failures. Loopback only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum mode { FULL, RESUMED, KEEP };
static enum mode mode;
static int port;
static double until;
static char request[8192];
static size_t request_len;
static SSL_CTX *ctx;
static atomic_ulong done, resumed, failed;
static int slot;                                         /* ex_data: where the thread keeps its session */

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION **mine = SSL_get_ex_data(ssl, slot);

    SSL_SESSION_free(*mine);
    *mine = session;
    return 1;
}

static SSL *begin(SSL_SESSION **session)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct linger now_closed = {1, 0};
    SSL *ssl;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_closed, sizeof(now_closed)); /* no TIME_WAIT: ports would run out */
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return NULL;
    }
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, "bench.test");
    SSL_set_ex_data(ssl, slot, session);
    if (mode == RESUMED && *session)
        SSL_set_session(ssl, *session);
    if (SSL_connect(ssl) != 1) {
        SSL_free(ssl);
        close(fd);
        return NULL;
    }
    if (SSL_session_reused(ssl))
        atomic_fetch_add(&resumed, 1);
    return ssl;
}

/* One request and its whole answer (with Content-Length): 1, or 0. */
static int ask(SSL *ssl)
{
    char in[65536];
    size_t have = 0;

    if (SSL_write(ssl, request, (int)request_len) != (int)request_len)
        return 0;
    for (;;) {
        int n = SSL_read(ssl, in + have, (int)(sizeof(in) - 1 - have));
        char *end, *length;

        if (n <= 0)
            return 0;
        have += (size_t)n;
        in[have] = '\0';
        end = strstr(in, "\r\n\r\n");
        if (!end)
            continue;
        length = strcasestr(in, "\r\nContent-Length:");
        if (memcmp(in, "HTTP/1.1 200", 12) != 0 || !length || length > end)
            return 0;
        if (have >= (size_t)(end + 4 - in) + strtoul(length + 17, NULL, 10))
            return 1;
    }
}

static void end(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* the session stays good */
    SSL_free(ssl);
    close(fd);
}

static void *run(void *arg)
{
    SSL_SESSION *session = NULL;
    SSL *ssl = NULL;

    (void)arg;
    while (now() < until) {
        if (!ssl)
            ssl = begin(&session);
        if (!ssl || !ask(ssl)) {
            atomic_fetch_add(&failed, 1);
            if (ssl)
                end(ssl);
            ssl = NULL;
            usleep(1000);
            continue;
        }
        atomic_fetch_add(&done, 1);
        if (mode != KEEP) {
            end(ssl);
            ssl = NULL;
        }
    }
    if (ssl)
        end(ssl);
    SSL_SESSION_free(session);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[256];
    char more[4096] = "";
    FILE *f;

    if (argc != 7)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    port = atoi(argv[1]);
    mode = strcmp(argv[2], "full") == 0 ? FULL : strcmp(argv[2], "resumed") == 0 ? RESUMED : KEEP;
    int count = atoi(argv[3]);
    ctx = SSL_CTX_new(TLS_client_method());
    int version = strcmp(argv[5], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    f = fopen(argv[6], "r");
    if (!f)
        return 2;
    more[fread(more, 1, sizeof(more) - 1, f)] = '\0';
    fclose(f);
    request_len = (size_t)snprintf(request, sizeof(request), "GET /b/128 HTTP/1.1\r\nHost: bench.test\r\n%s\r\n", more);
    until = now() + atof(argv[4]);
    if (count < 1 || count > 256)
        return 2;
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, run, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("%lu %lu %lu\n", done, resumed, failed);
    return 0;
}
