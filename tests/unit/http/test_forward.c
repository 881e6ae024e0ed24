/* What goes on to the upstream and back. Heads are written as text, forwarded, and compared as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "http/forward.h"
#include "http/h1_parse.h"

static const struct tg_h1_limits limits = {65536, 16384, 128};
static struct tg_arena arena;
static struct tg_field fields[128];
static struct tg_head in, out;
static char text[8192];

static const struct tg_slice identity_names[] = {TG_S_INIT("X-Email"), TG_S_INIT("Remote.Org")};
static const struct tg_slice removed[] = {TG_S_INIT("X-Internal"), TG_S_INIT("Cookie")};
static const struct tg_field set[] = {{TG_S_INIT("X-Env"), TG_S_INIT("prod"), 0},
{TG_S_INIT("User-Agent"), TG_S_INIT("t"), 0}};
static const struct tg_field set_back[] = {{TG_S_INIT("X-Frame-Options"), TG_S_INIT("DENY"), 0},
                                           {TG_S_INIT("Server"), TG_S_INIT("s"), 0}};
static const struct tg_field identity[] = {{TG_S_INIT("X-Email"), TG_S_INIT("u@example.com"), 0}};
static struct tg_forward_rules *plain, *full;

static void request(const char *head)
{
    size_t scanned = 0, used;
    unsigned refusal;

    in = (struct tg_head){.fields = fields, .field_cap = 128};
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", head);
    assert_int_equal(tg_h1_parse_request(tg_slice_str(text), &limits, &scanned, &in, &used, &refusal, NULL), TG_OK);
}

/* "Name: value|..." */
static const char *lines(const struct tg_head *h)
{
    static char all[8192];
    uint64_t seen = 0;

    all[0] = 0;
    for (unsigned i = 0; i < h->field_count; i++) {
        snprintf(all + strlen(all), sizeof all - strlen(all), TG_S_FMT ": " TG_S_FMT "|", TG_S_ARG(h->fields[i].name),
                 TG_S_ARG(h->fields[i].value));
        assert_int_equal(h->fields[i].id, tg_field_id(h->fields[i].name));
        seen |= UINT64_C(1) << h->fields[i].id;
    }
    assert_int_equal(h->seen, seen & ~UINT64_C(1));
    return all;
}

static struct tg_forward_request with(void)
{
    return (struct tg_forward_request){.host = TG_S("up:3000"), .client = {4, {10, 0, 200, 3}},
        .client_authority = TG_S("a")};
}

#define OURS "Via: 1.1 tollgate|X-Forwarded-For: 10.0.200.3|X-Forwarded-Proto: http|X-Forwarded-Host: a|"

static const struct { const char *why, *client,
    *upstream; } from_strangers[] = { /* what goes on between Host and ours */
    {"end-to-end fields in order", "Accept: x\r\nX-A: 1\r\nx-a: 2\r\nCookie: c\r\n",
        "Accept: x|X-A: 1|x-a: 2|Cookie: c|"},
    {"the token goes on", "Authorization: Bearer t\r\n", "Authorization: Bearer t|"},
    {"§7.6.1 hop-by-hop",
        "Connection: x-hop, close\r\nX-Hop: 1\r\nX_Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: k\r\nTE: gzip\r\n"
     "Trailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authorization: x\r\nProxy-Foo: 1\r\nProxy: p\r\n", ""},
    {"Connection named twice", "Connection: a\r\nConnection: ,b ,\r\nA: 1\r\nB: 2\r\nC: 3\r\n", "C: 3|"},
    {"Connection does not take Host or framing", "Connection: Host, Content-Length\r\nContent-Length: 5\r\n", ""},
    {"Connection takes known fields", "Connection: Cookie, Accept\r\nCookie: x\r\nAccept: x\r\n", ""},
    {"Connection does not take ours", "Connection: X-Forwarded-For, Via\r\n", ""},
    {"Expect is ours", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""},
    {"identity", "X-Pomerium-Jwt-Assertion: a\r\nX-Tollgate-User: a\r\nX-Forwarded-User: a\r\nX-Forwarded-Email: a\r\n"
     "X-Forwarded-Groups: a\r\nX-Forwarded-Preferred-Username: a\r\nX-Forwarded-Access-Token: a\r\n"
     "X-Auth-Request-User: a\r\n"
     "X-Remote-User: a\r\nRemote-User: a\r\nRemote-Email: a\r\nRemote-Groups: a\r\nRemote-Name: a\r\n"
     "Cf-Access-Jwt-Assertion: a\r\n"
     "X-Goog-Iap-Jwt-Assertion: a\r\nX-Goog-Authenticated-User-Email: a\r\nX-Amzn-Oidc-Data: a\r\n", ""},
    {"identity in any case and spelling",
        "x-tollgate-user: a\r\nX_TOLLGATE_USER: a\r\nX.Tollgate.User: a\r\nx-Tollgate_user: a\r\n"
     "REMOTE_USER: a\r\nremote.user: a\r\nCF_Access_X: a\r\nX_Forwarded.User: a\r\n", ""},
    {"what CGI takes for \"_\"",
        "X~Tollgate!User: a\r\nX#Forwarded$User: a\r\nRemote%User: a\r\nCf&Access'X: a\r\nX*Pomerium+A: a\r\n"
     "X^Auth`Request|User: a\r\nX~Request~Id: 1\r\nX!Foo: 1\r\n", "X!Foo: 1|"},
    {"what only looks like it",
        "X-Remot: 1\r\nX-Tollgat: 1\r\nRemote: 1\r\nCf-Acces: 1\r\nX-Foo_Bar: 1\r\nX-Auth: 1\r\nX: 1\r\nProx: 1\r\n",
     "X-Remot: 1|X-Tollgat: 1|Remote: 1|Cf-Acces: 1|X-Foo_Bar: 1|X-Auth: 1|X: 1|Prox: 1|"},
    {"known names misspelt",
        "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 6.6.6.6\r\nX.Request.Id: 1\r\n", ""},
    {"where it comes from",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 1\r\n"
     "X-Forwarded-Prefix: /x\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: 1\r\n", ""},
    {"trace", "traceparent: x\r\ntracestate: y\r\n", ""},
    {"Via is appended to", "Via: 1.1 other\r\n", "Via: 1.1 other|"},
};

static void strangers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(from_strangers); i++) {
        struct tg_forward_request r = with();
        char want[4096];

        request(from_strangers[i].client);
        tg_forward_request(plain, &in, &r, &arena, &out);
        snprintf(want, sizeof want, "Host: up:3000|%s%s", from_strangers[i].upstream, OURS);
        if (strcmp(lines(&out), want) != 0)
            fail_msg("%s:\n%s\nwanted\n%s", from_strangers[i].why, lines(&out), want);
        assert_false(out.expect_continue);
    }
}

static void sent(const struct tg_forward_rules *rules, const char *client, const struct tg_forward_request *r,
                 const char *want)
{
    request(client);
    tg_forward_request(rules, &in, r, &arena, &out);
    assert_string_equal(lines(&out), want);
}

static void trusted_peers(void **state)
{
    struct tg_forward_request r = with();

    (void)state;
    r.peer_trusted = true;
    sent(plain,
        "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n"
         "Forwarded: x\r\n", &r,
         "Host: up:3000|X-Forwarded-Proto: https|Forwarded: x|Via: 1.1 tollgate|"
         "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.200.3|X-Forwarded-Host: a|");
    sent(plain, "X-Forwarded-User: a\r\nX_Forwarded_Proto: https\r\nX-Forwarded-For:\r\n", &r, "Host: up:3000|" OURS);
    r.client.family = 0;                                 /* a unix socket */
    sent(plain, "X-Forwarded-For: 1.1.1.1\r\n", &r,
         "Host: up:3000|Via: 1.1 tollgate|X-Forwarded-For: 1.1.1.1|X-Forwarded-Proto: http|X-Forwarded-Host: a|");
    sent(plain, "", &r, "Host: up:3000|Via: 1.1 tollgate|X-Forwarded-Proto: http|X-Forwarded-Host: a|");
}

static void what_a_request_adds(void **state)
{
    struct tg_forward_request r = with();

    (void)state;
    r.tls = true;
    r.client = (struct tg_ip){6, {[0] = 0x20, [1] = 0x01, [15] = 1}};
    r.request_id = TG_S("id");
    r.traceparent = TG_S("00-x");
    r.trace_continued = true;
    r.upgrade_websocket = true;
    sent(plain, "tracestate: y\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: k\r\n", &r,
         "Host: up:3000|tracestate: y|Sec-WebSocket-Key: k|Via: 1.1 tollgate|X-Forwarded-For: 2001::1|"
         "X-Forwarded-Proto: https|"
         "X-Forwarded-Host: a|X-Request-Id: id|traceparent: 00-x|Connection: Upgrade|Upgrade: websocket|");
    r = with();
    sent(plain, "TE: deflate, Trailers\r\nConnection: TE\r\n", &r, "Host: up:3000|" OURS
        "TE: trailers|Connection: TE|");
    in.minor = 0;
    tg_forward_request(plain, &in, &r, &arena, &out);
    assert_non_null(strstr(lines(&out), "Via: 1.0 tollgate"));
}

static void what_a_route_says(void **state)
{
    struct tg_forward_request r = with();

    (void)state;
    r.identity = identity;
    r.identity_count = 1;
    sent(full,
        "X-EMAIL: a\r\nX_Email: a\r\nremote-org: a\r\nx-internal: 1\r\nX_Internal: 1\r\nCookie: c\r\nx_env: 1\r\n"
         "Authorization: t\r\nUser-Agent: c\r\nAccept: x\r\n", &r,
         "Host: up:3000|Accept: x|X-Env: prod|User-Agent: t|X-Email: u@example.com|" OURS);
}

static void ours_can_be_set_or_removed(void **state)
{
    static const struct tg_slice gone[] = {TG_S_INIT("via"), TG_S_INIT("x-forwarded-for")};
    static const struct tg_field own[] = {{TG_S_INIT("X-Forwarded-Proto"), TG_S_INIT("https"), 0},
                                          {TG_S_INIT("X-Email"), TG_S_INIT("static"), 0}};
    struct tg_forward_options o = {.remove_request = gone, .remove_request_count = 2, .set_request = {own, 2}};
    struct tg_forward_rules *rules = tg_forward_compile(&o, &arena);
    struct tg_forward_request r = with();

    (void)state;
    sent(rules, "", &r, "Host: up:3000|X-Forwarded-Proto: https|X-Email: static|X-Forwarded-Host: a|");
    r.identity = identity;                               /* who it is wins over what is set */
    r.identity_count = 1;
    sent(rules, "", &r, "Host: up:3000|X-Forwarded-Proto: https|X-Email: u@example.com|X-Forwarded-Host: a|");
}

static void names_that_may_be_set(void **state)
{
    static const char *const no[] = {"Host", "connection", "Content-Length", "content_length", "Transfer-Encoding",
        "TE", "Trailer",
                                     "Upgrade", "Keep-Alive", "Proxy-Connection", "Proxy-X", "Proxy", "Expect", "",
                                         "a b", "X:"};
    static const char *const yes[] = {"X-A", "Authorization", "Server", "X-Forwarded-Proto", "Via", "Date"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(tg_forward_may_set(tg_slice_str(no[i])));
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_true(tg_forward_may_set(tg_slice_str(yes[i])));
}

static void got(const struct tg_forward_rules *rules, const char *upstream, const struct tg_field *extra, size_t count,
                const char *want)
{
    size_t scanned = 0, used;

    in = (struct tg_head){.fields = fields, .field_cap = 128};
    snprintf(text, sizeof text, "HTTP/1.1 %s\r\n\r\n", upstream);
    assert_int_equal(tg_h1_parse_response(tg_slice_str(text), &limits, &scanned, TG_METHOD_GET, &in, &used, NULL),
        TG_OK);
    tg_forward_response(rules, &in, extra, count, TG_S("now"), &arena, &out);
    assert_string_equal(lines(&out), want);
}

static void answers(void **state)
{
    static const struct tg_field extra[] = {
        {TG_S_INIT("X-RateLimit-Limit"), TG_S_INIT("5"), TG_FIELD_X_RATELIMIT_LIMIT},
        {TG_S_INIT("X-Frame-Options"), TG_S_INIT("e"), 0},
    };
    static const struct tg_field ratelimit[] = {{TG_S_INIT("RateLimit"), TG_S_INIT("c"), 0}};

    (void)state;
    got(plain, "200 OK\r\nServer: up\r\nDate: then\r\nX-A: 1\r\nProxy-Status: x", NULL, 0,
        "Server: up|Date: then|X-A: 1|Proxy-Status: x|");
    got(plain,
        "200 OK\r\nConnection: close, X-Hop\r\nX-Hop: s\r\nKeep-Alive: 5\r\nTrailer: X\r\nUpgrade: h2\r\n"
        "Proxy-Authenticate: x\r\n"
        "Content-Length: 5", NULL, 0, "Date: now|");
    got(plain, "200 OK\r\nX-RateLimit-Limit: 9\r\nx-ratelimit-remaining: 9\r\nX-A: 1", extra, 1,
        "X-A: 1|X-RateLimit-Limit: 5|Date: now|");
    got(plain, "200 OK\r\nX-RateLimit-Limit: 9", NULL, 0, "X-RateLimit-Limit: 9|Date: now|");
    got(plain, "200 OK\r\nRateLimit: a\r\nratelimit-policy: b\r\nX-RateLimit-Limit: 9", ratelimit, 1,
        "X-RateLimit-Limit: 9|RateLimit: c|Date: now|");
    got(plain, "200 OK\r\nRateLimit: a\r\nRateLimit-Policy: b", extra, 1,
        "RateLimit: a|RateLimit-Policy: b|X-RateLimit-Limit: 5|Date: now|");
    got(full, "200 OK\r\nServer: up\r\nx-frame-options: y", NULL, 0, "X-Frame-Options: DENY|Server: s|Date: now|");
    got(full, "200 OK\r\nx-frame-options: y", extra, 2, "Server: s|X-RateLimit-Limit: 5|X-Frame-Options: e|Date: now|");
    got(full, "103 Early Hints\r\nLink: x", NULL, 0, "Link: x|");
}

static void trailers(void **state)
{
    struct tg_field some[] = {
        {TG_S("Grpc-Status"), TG_S("0"), 0}, {TG_S("Content-Length"), TG_S("5"), TG_FIELD_CONTENT_LENGTH},
        {TG_S("Host"), TG_S("x"), TG_FIELD_HOST}, {TG_S("Authorization"), TG_S("x"), TG_FIELD_AUTHORIZATION},
        {TG_S("X_Tollgate_User"), TG_S("x"), 0}, {TG_S("Set-Cookie"), TG_S("x"), 0},
        {TG_S("Content-Encoding"), TG_S("x"), 0},
        {TG_S("X-Sum"), TG_S("1"), 0}, {TG_S("X-Email"), TG_S("x"), 0},
        {TG_S("X-Forwarded-For"), TG_S("x"), TG_FIELD_X_FORWARDED_FOR},
        {TG_S("Transfer_Encoding"), TG_S("x"), 0}, {TG_S("If-Match"), TG_S("x"), 0}, {TG_S("X-Env"), TG_S("x"), 0},
        {TG_S("x-frame-options"), TG_S("x"), 0},
    };
    struct tg_head h = {.fields = some, .field_count = ARRAY_LEN(some), .field_cap = ARRAY_LEN(some)};

    (void)state;
    tg_forward_trailers(full, &h);
    assert_string_equal(lines(&h), "Grpc-Status: 0|X-Sum: 1|");
}

static void client_addresses(void **state)
{
    static const struct { const char *peer, *lists, *want; } rows[] = {
        {"9.9.9.9", "X-Forwarded-For: 1.1.1.1\r\n", "9.9.9.9"}, {"10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", "X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"},
        {"10.0.0.1", "X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.2\r\n", "1.1.1.1"},
        {"10.0.0.1", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 10.0.0.2\r\n", "1.1.1.1"},
        {"10.0.0.1", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.1.1.1,\r\n", "1.1.1.1"},
        {"10.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"},
        {"10.0.0.1", "X-Forwarded-For: unknown\r\n", "10.0.0.1"},
        {"10.0.0.1", "X-Forwarded-For: 1.1.1.1, x, 10.0.0.2\r\n", "10.0.0.2"},
        {"10.0.0.1", "X-Forwarded-For: 1.1.1.1:80\r\n", "1.1.1.1"},
        {"10.0.0.1", "X-Forwarded-For: [2001:db8::1]:80\r\n", "2001:db8::1"},
        {"10.0.0.1", "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"},
        {"10.0.0.1", "X-Forwarded-For: ,,\r\n", "10.0.0.1"}, {"10.0.0.1", "X_Forwarded_For: 1.1.1.1\r\n", "10.0.0.1"},
    };
    struct tg_cidr trusted;

    (void)state;
    assert_true(tg_cidr_parse(TG_S("10.0.0.0/8"), &trusted));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tg_ip peer, client;
        char address[TG_IP_TEXT];

        assert_true(tg_ip_parse(tg_slice_str(rows[i].peer), &peer));
        request(rows[i].lists);
        client = tg_forward_client_ip(&in, &peer, &trusted, 1);
        tg_ip_format(&client, address);
        if (strcmp(address, rows[i].want) != 0)
            fail_msg("%s from %s: %s", rows[i].lists, rows[i].peer, address);
    }
}

static void ids_and_traces(void **state)
{
    static const struct { const char *value; bool valid; } traces[] = {
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
        {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
        {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true},
        {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false},
        {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
        {"00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01", false}, {"", false},
    };
    static const char long_id[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefX";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(traces); i++)
        assert_int_equal(tg_traceparent_valid(tg_slice_str(traces[i].value)), traces[i].valid);
    assert_true(tg_request_id_valid(TG_S("aZ09.-_")));
    assert_false(tg_request_id_valid(TG_S("")));
    assert_false(tg_request_id_valid(TG_S("a b")));
    assert_false(tg_request_id_valid(TG_S("a~")));
    assert_true(tg_request_id_valid(tg_slice(long_id, 128)));
    assert_false(tg_request_id_valid(tg_slice(long_id, 129)));
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define UPG "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"

static void websockets(void **state)                     /* RFC 6455 §4.1 */
{
    static const struct { const char *why, *head; bool yes; } rows[] = {
        {"as it should be", UPG KEY V13, true},
        {"any case", "upgrade: WebSocket\r\nconnection: upgrade\r\n" KEY V13, true},
        {"no Connection", "Upgrade: websocket\r\n" KEY V13, false},
        {"no Upgrade", "Connection: Upgrade\r\n" KEY V13, false},
        {"another protocol", "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13, false},
        {"a choice", "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n" KEY V13, false},
        {"two fields", "Upgrade: h2c\r\n" UPG KEY V13, false},
        {"version 8", UPG KEY "Sec-WebSocket-Version: 8\r\n", false},
        {"no version", UPG KEY, false}, {"no key", UPG V13, false}, {"two keys", UPG KEY KEY V13, false},
        {"short key", UPG "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n" V13, false},
        {"key with stray bits", UPG "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n" V13, false},
        {"a body", UPG KEY V13 "Content-Length: 5\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        request(rows[i].head);
        if (tg_is_websocket(&in) != rows[i].yes)
            fail_msg("%s", rows[i].why);
    }
    request(UPG KEY V13);
    in.method_id = TG_METHOD_POST;
    assert_false(tg_is_websocket(&in));
    got(plain, "101 X\r\n" "Upgrade: WebSocket\r\nConnection: upgrade", NULL, 0, "Date: now|");
    assert_true(tg_is_websocket_accept(&in));
    got(plain, "101 X\r\n" "Upgrade: foo\r\nConnection: upgrade", NULL, 0, "Date: now|");
    assert_false(tg_is_websocket_accept(&in));
    got(plain, "200 OK\r\n" "Upgrade: websocket\r\nConnection: upgrade", NULL, 0, "Date: now|");
    assert_false(tg_is_websocket_accept(&in));
}

static void dates(void **state)                          /* RFC 9110 §5.6.7 */
{
    static const struct { int64_t wall_s; const char *text; } rows[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-5, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951827696, "Tue, 29 Feb 2000 12:34:56 GMT"}, {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    char date[30];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tg_http_date(rows[i].wall_s, date);
        assert_string_equal(date, rows[i].text);
    }
}

static int setup(void **state)
{
    struct tg_forward_options o = {0};

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    plain = tg_forward_compile(&o, &arena);
    o = (struct tg_forward_options){identity_names, 2, removed, 2, {set, 2}, {set_back, 2}, true};
    full = tg_forward_compile(&o, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers), cmocka_unit_test(trusted_peers), cmocka_unit_test(what_a_request_adds),
        cmocka_unit_test(what_a_route_says), cmocka_unit_test(ours_can_be_set_or_removed),
        cmocka_unit_test(names_that_may_be_set), cmocka_unit_test(answers), cmocka_unit_test(trailers),
        cmocka_unit_test(client_addresses), cmocka_unit_test(ids_and_traces), cmocka_unit_test(websockets),
            cmocka_unit_test(dates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
