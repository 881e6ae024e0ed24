/*
 * step_authn - the credential: its syntax (400 at once), then its verification.
 *
 * A failed verification is not answered here: it waits in ex->pending until step_limit has looked at the address
 * bucket. A locally verifiable token is verified even when that bucket is empty.
 */
#include "base/clock.h"
#include "internal.h"

#define MAX_AUTHORIZATION 4

static void on_told(void *arg)
{
    struct tg_exchange *ex = arg;

    ex->authn_waits = false;
    ex->authn_told = true;
    tg_exchange_run(ex);
}

void tg_step_authn_cancel(struct tg_exchange *ex)
{
    if (ex->authn_waits)
        tg_authn_cancel(ex->rt->authn, ex);
    ex->authn_waits = false;
}

/* Of the address bucket: whether the provider may be asked about a token that nobody knows. */
static bool has_room(void *arg)
{
    return tg_address_has_room(arg);
}

static void classify(struct tg_exchange *ex)
{
    struct tg_slice values[MAX_AUTHORIZATION];
    size_t count = 0;

    if (ex->head.seen & (1ull << TG_FIELD_AUTHORIZATION)) {
        for (unsigned i = 0; i < ex->head.field_count && count < MAX_AUTHORIZATION; i++) {
            if (ex->head.fields[i].id == TG_FIELD_AUTHORIZATION)
                values[count++] = ex->head.fields[i].value;
        }
    }
    tg_credential_classify(values, count, ex->head.query, ex->rt->config->bounds.token, &ex->credential);
}

/* What policies and tiers may look at, from now on complete. */
static void gather_facts(struct tg_exchange *ex)
{
    struct tg_facts *f = &ex->facts;
    const struct tg_identity *id = ex->identity;
    const struct tg_tls_facts *tls = tg_stream_tls(&ex->conn->stream);
    const char *why;

    f->client_cert = tg_conn_tls_certificate(ex, &why);
    f->certificate = tls ? tls->certificate : NULL;
    f->method = ex->head.method;
    f->path = ex->path_decoded;
    f->source_ip = ex->client_ip;
    f->wall_ms = ex->wall_ms;
    f->cors_preflight = ex->head.method_id == TG_METHOD_OPTIONS &&
                        tg_head_value(&ex->head, TG_FIELD_ORIGIN).len > 0 &&
                        tg_head_value(&ex->head, TG_FIELD_ACCESS_CONTROL_REQUEST_METHOD).len > 0;
    if (!id)
        return;
    f->identity = true;
    f->user = id->subject;
    f->email = id->email;
    f->claims = id->claims;
    f->groups_claim = id->provider->groups_claim;
}

/* An answer that was waited for is from after the request began, and is not to seem to come from ahead of the clock. */
static int64_t now_ms(const struct tg_exchange *ex)
{
    return ex->authn_told ? tg_worker_wall_ms(ex->gate->worker) : ex->wall_ms;
}

enum tg_next tg_step_authn(struct tg_exchange *ex)
{
    enum tg_authn_result result = TG_AUTHN_OK;

    if (ex->authn_waits)
        return TG_NEXT_WAIT;
    if (!ex->authn_told)
        classify(ex);
    if (ex->credential.kind == TG_CREDENTIAL_MALFORMED)
        return tg_exchange_refuse(ex, TG_REFUSE_CREDENTIAL);
    if (ex->credential.kind != TG_CREDENTIAL_NONE) {
        struct tg_authn_request request = {
            .token = ex->credential.token, .allowed = ex->route->providers, .accept_opaque = ex->route->accept_opaque,
            .now_ms = now_ms(ex), .again = ex->authn_told, .has_room = has_room, .done = on_told, .arg = ex,
        };

        result = tg_authn_verify(ex->rt->authn, &request, &ex->identity, &ex->auth_reason);
        memcpy(ex->key_set, tg_authn_key_set(ex->rt->authn), sizeof(ex->key_set));
    }
    switch (result) {
    case TG_AUTHN_WAIT:
        ex->authn_waits = true;
        return TG_NEXT_WAIT;
    case TG_AUTHN_UNAVAILABLE:
        return tg_exchange_refuse(ex, TG_REFUSE_NO_KEYS);
    case TG_AUTHN_NO_ANSWER:
        return tg_exchange_refuse(ex, TG_REFUSE_NO_ANSWER);
    case TG_AUTHN_LIMITED:
        ex->pending = TG_REFUSE_LIMIT;
        break;
    case TG_AUTHN_EXPIRED:
        ex->pending = TG_REFUSE_EXPIRED;
        break;
    case TG_AUTHN_INVALID:
        ex->pending = TG_REFUSE_INVALID;
        break;
    case TG_AUTHN_OK:
        if (ex->identity)
            tg_check_bound(ex);
        break;
    }
    gather_facts(ex);
    ex->state = EX_LIMIT;
    return TG_NEXT_GO;
}
