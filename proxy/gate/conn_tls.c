/*
 * conn_tls - the TLS side of a client connection: how its handshake ended, and what of it later requests look at.
 *
 * Invariant: conn->tls lives as long as the connection's memory, not only as long as its stream, since a request may be
 * logged after the stream was closed under it.
 */
#include "internal.h"
#include <stdlib.h>
#include <unistd.h>

#define TELL_MS 60000                                    /* between two warnings about failed handshakes */

static const char plain_answer[] = "HTTP/1.1 400 Bad Request\r\n"
                                   "Content-Type: text/plain; charset=utf-8\r\n"
                                   "Content-Length: 49\r\n"
                                   "Connection: close\r\n"
                                   "\r\n"
                                   "This port speaks TLS: the address is https://...\n";

static void count(struct tg_conn *conn, enum tg_handshake how)
{
    if (!conn->gate->service)                            /* whose handshakes are no traffic */
        tg_metric_add(conn->gate->metrics.handshakes[how], conn->gate->cell, 1);
}

/* Each at debug; now and then a warning, so that a client who cannot get in is noticed, and a scan is no flood. */
static void tell(struct tg_conn *conn, const char *why, bool trouble)
{
    struct tg_gate *gate = conn->gate;
    char ip[TG_IP_TEXT];
    struct tg_slice peer = tg_slice(ip, conn->peer.family ? tg_ip_format(&conn->peer, ip) : 0);

    tg_log(TG_LOG_DEBUG, "TLS handshake failed", TG_F_SLICE("client_ip", peer), TG_F_STR("error", why));
    if (!trouble)
        return;
    gate->handshakes_failed++;
    if (gate->worker->now_ms < gate->tell_handshakes_ms)
        return;
    tg_log(TG_LOG_WARN, "TLS handshakes fail; each is told at log level debug",
           TG_F_INT("failed", gate->handshakes_failed), TG_F_SLICE("last_client_ip", peer),
           TG_F_STR("last_error", why));
    gate->handshakes_failed = 0;
    gate->tell_handshakes_ms = gate->worker->now_ms + TELL_MS;
}

void tg_conn_tls_done(struct tg_conn *conn)
{
    const struct tg_tls_facts *facts = tg_stream_tls(&conn->stream);
    struct tg_conn_tls *tls = TG_NEW(struct tg_conn_tls);

    tg_assert(facts);
    count(conn, facts->resumed ? TG_HANDSHAKE_RESUMED : TG_HANDSHAKE_OK);
    tls->peer = (uint8_t)facts->peer;
    if (facts->peer_error)
        tls->peer_error = tg_slice_dup(tg_slice_str(facts->peer_error));
    if (facts->certificate) {
        tls->peer_until_s = facts->certificate->not_after_s;
        tg_access_facts_certificate(facts->certificate, tls);
    }
    tg_access_log_tls(facts, &tls->log);
    conn->tls = tls;
}

/* A client that leaves in the middle, as a health check of a load balancer does, is nobody's trouble. */
static bool has_gone(const struct tg_conn *conn)
{
    const char *why = tg_stream_tls_error(&conn->stream);

    return !why[0] || strncmp(why, "the peer closed", strlen("the peer closed")) == 0;
}

bool tg_conn_tls_failed(struct tg_conn *conn, const struct tg_stream_events *events)
{
    bool http = tg_stream_tls_met_http(&conn->stream);

    if (!http && has_gone(conn)) {
        count(conn, TG_HANDSHAKE_GONE);
        tell(conn, "the client went away", false);
        return false;
    }
    count(conn, http ? TG_HANDSHAKE_PLAIN_HTTP : TG_HANDSHAKE_FAILED);
    tell(conn, http ? "the client speaks HTTP without TLS" : tg_stream_tls_error(&conn->stream), !http);

    /* A plain stream on the same socket: what is said last must not be lost to a reset (RFC 9112 §9.6). */
    int fd = dup(conn->stream.fd);

    if (fd < 0)
        return false;
    tg_stream_close(&conn->stream, false);
    tg_stream_open(&conn->stream, conn->gate->worker, fd, events);
    if (http)
        tg_stream_put(&conn->stream, plain_answer, sizeof(plain_answer) - 1);
    tg_stream_flush(&conn->stream);
    return true;
}

void tg_conn_tls_slow(struct tg_conn *conn)
{
    count(conn, TG_HANDSHAKE_TIMEOUT);
    tell(conn, "it was not finished in time", true);
}

void tg_conn_tls_free(struct tg_conn_tls *tls)
{
    if (!tls)
        return;
    tg_buf_fini(&tls->log);
    tg_buf_fini(&tls->cert);
    free(tls->peer_error);
    free(tls);
}

enum tg_client_cert tg_conn_tls_certificate(const struct tg_exchange *ex, const char **why)
{
    const struct tg_conn_tls *tls = ex->conn->tls;

    *why = NULL;
    if (!ex->rt || !ex->rt->config->route_defaults.client_ca)
        return TG_CLIENT_CERT_VALID;                     /* also: nobody asks for one */
    if (!tls || tls->peer == TG_TLS_PEER_UNASKED || tls->peer == TG_TLS_PEER_MISSING)
        return TG_CLIENT_CERT_MISSING;
    if (tls->peer == TG_TLS_PEER_INVALID)
        *why = tls->peer_error ? tls->peer_error : "not valid";
    else if (tls->peer_until_s < ex->wall_ms / 1000)
        *why = "certificate has expired";
    return *why ? TG_CLIENT_CERT_INVALID : TG_CLIENT_CERT_VALID;
}
