/*
 * check_online - see check_online.h.
 */
#include "check_online.h"
#include "boot/commands.h"
#include "boot/exposure.h"
#include "boot/options.h"
#include "io/listener.h"
#include "io/redis.h"
#include <stdio.h>

#define METRICS_BYTES ((size_t)8 << 20)
#define METRICS_MS 2000
#define STORE_MS 5000
#define FORWARDED "\ntollgate_untrusted_forwarded_total "

/* ---- the services behind ---- */

static const char *tls_hint(const char *error)
{
    if (strstr(error, "expired") || strstr(error, "not yet valid"))
        return "; the service must renew it, unless this machine's clock is wrong";
    if (strstr(error, "is not for"))
        return "; name whom it is for by tls_upstream_server_name";
    if (strstr(error, "not trusted"))
        return "; give the certificate of who signed it as tls_custom_ca_file";
    if (strstr(error, "refused") && strstr(error, "certificate"))
        return "; it wants to see a certificate: tls_client_cert_file and tls_client_key_file";
    return strstr(error, "no TLS") ? "; write http:// instead" : "";
}

static void check_target(struct online_check *c, const struct tg_route *route, const struct tg_target *target)
{
    struct inquiry_place place = {.host = target->url.host, .port = target->url.port,
                                  .timeout_ms = c->settings->config->timeouts.connect_ms};
    struct inquiry_contact contact;

    if (target->echo) {
        online_say(c, FINDING_OK, "upstream", target->text, "built in");
        return;
    }
    if (target->url.unix_socket)
        place.socket = target->url.path;
    if (target->url.tls) {
        place.tls = route->tls;
        place.name = target->tls_name;
    }
    inquiry_connect(c->q, &place, &contact);
    if (contact.status != TG_OK)
        online_say(c, FINDING_FAILED, "upstream", target->text, "%s%s", contact.error,
                   contact.handshake_failed ? tls_hint(contact.error) : "");
    else if (target->url.tls)
        online_say(c, route->tls_skip_verify ? FINDING_WARNING : FINDING_OK, "upstream", target->text,
                   "connects with %s%s", contact.tls_version,
                   route->tls_skip_verify ? ", and whoever answers is believed: tls_skip_verify" : "");
    else
        online_say(c, FINDING_OK, "upstream", target->text, "connects");
}

/* Whether an earlier target is the same one, spoken to in the same way. */
static bool was_checked(const struct tg_routes *routes, size_t at, size_t j)
{
    const struct tg_route *route = tg_routes_at(routes, at);
    const struct tg_target *target = &route->targets[j];

    for (size_t i = 0; i <= at; i++) {
        const struct tg_route *other = tg_routes_at(routes, i);

        for (size_t k = 0; k < (i == at ? j : other->target_count); k++)
            if (tg_slice_eq(other->targets[k].text, target->text) &&
                (!target->url.tls || (tg_slice_eq(other->targets[k].tls_name, target->tls_name) &&
                                      strcmp(tg_tls_client_fingerprint(other->tls),
                                             tg_tls_client_fingerprint(route->tls)) == 0)))
                return true;
    }
    return false;
}

static void check_upstreams(struct online_check *c)
{
    const struct tg_routes *routes = c->settings->config->routes;

    for (size_t i = 0; i < tg_routes_count(routes); i++) {
        const struct tg_route *route = tg_routes_at(routes, i);

        for (size_t j = 0; j < route->target_count; j++)
            if (!was_checked(routes, i, j))
                check_target(c, route, &route->targets[j]);
    }
}

/* ---- the store of rate limits ---- */

static const char *store_hint(const char *error)
{
    if (strstr(error, "NOAUTH"))
        return "; give its password as store_password_file";
    if (strstr(error, "NOPERM") || strstr(error, "executing the script can't"))
        return "; the user lacks rights: docs/limits.md has the ACL";
    if (strstr(error, "READONLY"))
        return "; that is a replica: give the address of the primary";
    if (strstr(error, "is not for"))
        return "; write the host as the certificate names it";
    if (strstr(error, "not trusted"))
        return "; give the certificate of who signed it as store_ca_file";
    return strstr(error, "no TLS") ? "; a server without TLS is redis://" : "";
}

/* As a worker would: whoever may not load a script, or write, counts nothing. */
static void check_store(struct online_check *c)
{
    const struct tg_limit_settings *limits = &c->settings->config->limits;
    struct tg_redis_address address;
    struct tg_arena arena;
    struct tg_buf url = {0}, probe = {0};
    struct tg_err err;

    if (limits->store.len == 0)
        return;
    tg_arena_init(&arena, NULL, 0);
    if (tg_redis_parse(limits->store, &arena, &address, &err) == TG_OK) {
        if (limits->store_password.len)
            address.password = limits->store_password;
        tg_redis_describe(&address, &url);
        tg_buf_addf(&probe, TG_S_FMT ":probe", TG_S_ARG(limits->store_prefix));
        if (tg_redis_try(&address, limits->store_ca_file, tg_buf_slice(&probe), STORE_MS, &err) == TG_OK)
            online_say(c, FINDING_OK, "store", tg_buf_slice(&url), "answers, runs scripts and may be written to");
        else
            online_say(c, FINDING_FAILED, "store", tg_buf_slice(&url), "%s%s; meanwhile %s", err.text,
                       store_hint(err.text), limits->store_fails_deny ? "nobody is admitted (when_store_fails: deny)"
                       : "each tollgate counts alone (when_store_fails: local)");
    }
    tg_buf_fini(&probe);
    tg_buf_fini(&url);
    tg_arena_fini(&arena);
}

/* ---- ways around the gate ---- */

static void on_exposed(void *arg, const struct tg_exposure_finding *f)
{
    struct online_check *c = arg;
    enum finding finding = c->settings->refuse_exposed_upstream ? FINDING_FAILED : FINDING_WARNING;

    online_say(c, finding, "exposure", TG_S(""), "%s", f->text);
}

static void check_exposure(struct online_check *c)
{
    if (tg_exposure_check(c->settings, on_exposed, NULL, c) == 0)
        online_say(c, FINDING_OK, "exposure", TG_S(""),
                   "no service of this host answers on another of its addresses, around tollgate");
}

/* ---- what a running process has seen ---- */

/* The URL of its metrics as seen from here: "all addresses" is loopback. False: it has none that can be asked. */
static bool metrics_url(struct tg_slice health_address, char *out, size_t room)
{
    struct tg_listen_address at;
    struct tg_ip ip;
    uint16_t port;
    char text[TG_IP_TEXT];
    bool all = true;

    if (!health_address.ptr || tg_listen_parse(health_address, &at, NULL) != TG_OK || at.local)
        return false;
    tg_ip_from_sockaddr(&at.address.sa.any, &ip, &port);
    for (size_t i = 0; i < sizeof(ip.bytes); i++)
        all = all && ip.bytes[i] == 0;
    if (all)
        ip.bytes[ip.family == 4 ? 0 : 15] = ip.family == 4 ? 127 : 1;
    if (all && ip.family == 4)
        ip.bytes[3] = 1;
    tg_ip_format(&ip, text);
    snprintf(out, room, ip.family == 6 ? "http://[%s]:%u/metrics" : "http://%s:%u/metrics", text, (unsigned)port);
    return true;
}

static void tell_forwarded(struct online_check *c, unsigned long long count)
{
    if (count == 0)
        online_say(c, FINDING_OK, "running", TG_S(""), "no X-Forwarded-For came from outside of trusted_proxies");
    else
        online_say(c, FINDING_WARNING, "running", TG_S(""),
                   "%llu requests came with X-Forwarded-For or Forwarded from an address that is not in "
                   "trusted_proxies: all callers behind it share one rate-limit bucket. If it is your ingress or load "
                   "balancer, add its network to trusted_proxies (the log names the first such address)", count);
}

static void check_running(struct online_check *c)
{
    char url[TG_IP_TEXT + 32];
    struct tg_fetch_request request = {.url = url, .timeout_ms = METRICS_MS, .max_bytes = METRICS_BYTES};
    struct inquiry_answer answer;
    const char *found;

    if (!metrics_url(c->settings->health_address, url, sizeof(url)))
        return;
    inquiry_fetch(c->q, &request, &answer);
    if (answer.status == TG_OK && answer.http_status == 200 &&
        (found = strstr(tg_buf_cstr(&answer.body), FORWARDED)) != NULL)
        tell_forwarded(c, strtoull(found + strlen(FORWARDED), NULL, 10));
    inquiry_answer_fini(&answer);
}

/* ---- all of it ---- */

static int exit_of(const struct online_check *c)
{
    return c->token_refused ? TG_EXIT_FAILURE : c->failed ? TG_EXIT_UNAVAILABLE : TG_EXIT_OK;
}

int check_online(const struct tg_settings *settings, const char *token)
{
    struct online_check c = {.settings = settings};
    struct tg_err err;
    int code;

    if (inquiry_start(&c.q, &err) != TG_OK)
        return tg_complain(TG_EXIT_FAILURE, "%s", err.text);
    check_providers(&c);
    check_identity(&c);
    check_upstreams(&c);
    check_store(&c);
    check_exposure(&c);
    check_running(&c);
    if (token)
        check_token(&c, tg_slice_str(token));
    inquiry_end(c.q);
    for (size_t i = 0; i < TG_PROVIDERS_MAX; i++)
        tg_jwks_unref(c.keys[i]);
    if (c.failed || c.warnings)
        tg_buf_addf(&c.out, "%u failed, %u warning%s\n", c.failed, c.warnings, c.warnings == 1 ? "" : "s");
    else
        tg_buf_adds(&c.out, "all is well\n");
    code = tg_put_out(&c.out);
    return code == TG_EXIT_OK ? exit_of(&c) : code;
}
