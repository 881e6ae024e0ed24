/* RFC 9112 heads: what passes, what is refused and how, and that a part of a head is never whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "http/h1_parse.h"

static const struct tg_h1_limits limits = {.head_bytes = 4096, .target_bytes = 1024, .fields = 16};
static struct tg_field fields[64];
static struct tg_head head;
static size_t used;
static unsigned refusal;

/* In a block of its own size, so that a read past the end is seen. */
static enum tg_status parse_from(const char *text, size_t len, size_t *scanned)
{
    char *copy = malloc(len + 1);
    enum tg_status st;

    memcpy(copy + 1, text, len);
    head = (struct tg_head){.fields = fields, .field_cap = 64};
    refusal = 0;
    st = tg_h1_parse_request(tg_slice(copy + 1, len), &limits, scanned, &head, &used, &refusal, NULL);
    free(copy);
    return st;
}

static enum tg_status parse(const char *text, size_t len)
{
    size_t scanned = 0;

    return parse_from(text, len, &scanned);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define LINE(l) l " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HOSTED(h) "GET / HTTP/1.1\r\nHost: " h "\r\n\r\n"

static const struct { const char *why, *head; unsigned want; } cases[] = { /* want: 0 accepted, else the answer */
    {"plain", GET "\r\n", 0},
    {"§2.2 one empty line before", "\r\n" GET "\r\n", 0},
    {"§2.2 two empty lines before", "\r\n\r\n" GET "\r\n", 400},
    {"LF before", "\n" GET "\r\n", 400},
    {"§2.3 HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 0},
    {"§3.2 HTTP/1.1 without Host", "GET / HTTP/1.1\r\n\r\n", 400},
    {"§3.2 two Hosts", GET "Host: a\r\n\r\n", 400},
    {"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nhOST: b\r\n\r\n", 400},
    {"an empty Host is legal", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"methods are any token", LINE("FOO /"), 0},
    {"a method is a token", LINE("G\x01T /"), 400},
    {"a method in quotes", LINE("\"GET\" /"), 400},
    {"no method", LINE(" /"), 400},
    {"an endless method", LINE("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /"), 501},
    {"two spaces", LINE("GET  /"), 400},
    {"tabs", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"a space before", LINE(" GET /"), 400},
    {"a space behind", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
    {"no version", "GET /\r\nHost: a\r\n\r\n", 400},
    {"only a method", "GET\r\nHost: a\r\n\r\n", 400},
    {"a space in the target", LINE("GET /x y"), 400},
    {"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
    {"HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400},
    {"HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
    {"HTTP/01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400},
    {"HTTP/11", "GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
    {"HTTP/1", "GET / HTTP/1\r\nHost: a\r\n\r\n", 400},
    {"HTTP/1.9", "GET / HTTP/1.9\r\nHost: a\r\n\r\n", 505},
    {"HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    {"HTTP/3.1 then more", "GET / HTTP/3.1x\r\nHost: a\r\n\r\n", 400},
    {"twice a version", "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"all that RFC 3986 allows", LINE("GET /aZ09-._~!$&'()*+,;=:@%20/?/?"), 0},
    {"what browsers send raw", LINE("GET /[|]?q=[]{}|^`\\\"<>"), 0},
    {"a fragment", LINE("GET /a#b"), 400},
    {"a fragment in the query", LINE("GET /a?b#c"), 400},
    {"> in the path", LINE("GET /a>b"), 400},
    {"` in the path", LINE("GET /a`b"), 400},
    {"\\ in the path", LINE("GET /a\\b"), 400},
    {"{ in the path", LINE("GET /a{b}"), 400},
    {"^ in the path", LINE("GET /a^b"), 400},
    {"\" in the path", LINE("GET /a\"b"), 400},
    {"a control in the target", LINE("GET /a\x01"), 400},
    {"DEL in the query", LINE("GET /a?\x7f"), 400},
    {"UTF-8 in the path", LINE("GET /\xc3\xa4"), 400},
    {"UTF-8 in the query", LINE("GET /?\xc3\xa4"), 400},
    {"no slash", LINE("GET x"), 400},
    {"an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"only a query", LINE("GET ?x"), 400},
    {"§3.2.4 asterisk", LINE("OPTIONS *"), 0},
    {"asterisk with GET", LINE("GET *"), 400},
    {"asterisk and more", LINE("OPTIONS *x"), 400},
    {"§3.2.3 authority", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 0},
    {"authority without port", LINE("CONNECT a"), 400},
    {"CONNECT with a path", LINE("CONNECT /x"), 400},
    {"authority with GET", LINE("GET a:80"), 400},
    {"§3.2.2 absolute form", LINE("GET http://a/x"), 0},
    {"absolute form, case", "GET HTTP://EX.Test/x HTTP/1.1\r\nHost: ex.test\r\n\r\n", 0},
    {"absolute form, default port", LINE("GET http://a:80/x"), 0},
    {"absolute form, default port of https", "GET https://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n", 0},
    {"absolute form, other port", LINE("GET http://a:81/x"), 400},
    {"absolute form, other host", LINE("GET http://b/x"), 400},
    {"absolute form, HTTP/1.0 without Host", "GET http://b/x HTTP/1.0\r\n\r\n", 0},
    {"absolute form, no Host", "GET http://b/x HTTP/1.1\r\n\r\n", 400},
    {"absolute form, empty Host", "GET http://b/x HTTP/1.1\r\nHost:\r\n\r\n", 400},
    {"absolute form, userinfo", LINE("GET http://u@a/x"), 400},
    {"absolute form, no host", LINE("GET http:///x"), 400},
    {"absolute form, other scheme", LINE("GET ftp://a/x"), 400},
    {"host and port", HOSTED("example.com:8080"), 0},
    {"an empty port", HOSTED("a:"), 0},
    {"IPv4", HOSTED("10.0.0.1:80"), 0},
    {"IPv6", HOSTED("[2001:db8::1]:80"), 0},
    {"underscore", HOSTED("my_service"), 0},
    {"trailing dot", HOSTED("a.example."), 0},
    {"bad IPv6", HOSTED("[::g]"), 400},
    {"IPv4 in brackets", HOSTED("[1.2.3.4]"), 400},
    {"no end of brackets", HOSTED("[::1"), 400},
    {"text behind brackets", HOSTED("[::1]a"), 400},
    {"zone", HOSTED("[fe80::1%25eth0]"), 400},
    {"list", HOSTED("a,b"), 400},
    {"userinfo", HOSTED("a@b"), 400},
    {"escape", HOSTED("a%2eb"), 400},
    {"path", HOSTED("a/b"), 400},
    {"two ports", HOSTED("a:80:80"), 400},
    {"port too large", HOSTED("a:65536"), 400},
    {"port no number", HOSTED("a:8x"), 400},
    {"empty label", HOSTED("a..b"), 400},
    {"only a port", HOSTED(":80"), 400},
    {"UTF-8", HOSTED("\xc3\xa4"), 400},
    {"§5.1 space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
    {"tab before colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 400},
    {"§5.2 folding", GET "X: a\r\n b\r\n\r\n", 400},
    {"folding with tab", GET "X: a\r\n\tb\r\n\r\n", 400},
    {"a space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
    {"no colon", GET "X\r\n\r\n", 400},
    {"no name", GET ": x\r\n\r\n", 400},
    {"name with (", GET "X(: a\r\n\r\n", 400},
    {"name in UTF-8", GET "X\xc3\xa4: a\r\n\r\n", 400},
    {"all of token", GET "!#$%&'*+-.^_`|~09azAZ: a\r\n\r\n", 0},
    {"all of field value", GET "X: \t!\"#~ \x80\xff\t\r\n\r\n", 0},
    {"an empty value", GET "X:\r\n\r\n", 0},
    {"a value of white space", GET "X: \t \r\n\r\n", 0},
    {"bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
    {"bare LF in a field", GET "X: a\nY: b\r\n\r\n", 400},
    {"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\n\n", 400},
    {"bare CR in a value", GET "X: a\rY: b\r\n\r\n", 400},
    {"bare CR at the end", GET "\rX", 400},
    {"CR CR LF", GET "X: a\r\r\n\r\n", 400},
    {"bell in a value", GET "X: a\x07\r\n\r\n", 400},
    {"DEL in a value", GET "X: a\x7f\r\n\r\n", 400},
    {"DEL far in a long value", GET "X: 0123456789abcdef0123456789abcdef0123456789abcdef\x7f\r\n\r\n", 400},
    {"§6.2 Content-Length", POST "Content-Length: 5\r\n\r\n", 0},
    {"leading zeros", POST "Content-Length: 0000000000000000000000000000005\r\n\r\n", 0},
    {"2^63-1", POST "Content-Length: 9223372036854775807\r\n\r\n", 0},
    {"2^63", POST "Content-Length: 9223372036854775808\r\n\r\n", 400},
    {"2^64+5", POST "Content-Length: 18446744073709551621\r\n\r\n", 400},
    {"sign", POST "Content-Length: +5\r\n\r\n", 400},
    {"minus", POST "Content-Length: -0\r\n\r\n", 400},
    {"hex", POST "Content-Length: 0x5\r\n\r\n", 400},
    {"empty", POST "Content-Length:\r\n\r\n", 400},
    {"list", POST "Content-Length: 5, 5\r\n\r\n", 400},
    {"two numbers", POST "Content-Length: 5 5\r\n\r\n", 400},
    {"repeated", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
    {"repeated in other case", POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", 400},
    {"§6.1 chunked", POST "Transfer-Encoding: chunked\r\n\r\n", 0},
    {"any case, white space", POST "transfer-encoding:\t ChUnKeD \t\r\n\r\n", 0},
    {"both framings", POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"both framings, other order", POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400},
    {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
    {"two fields", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"a field that hides the other", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400},
    {"a coding more", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"chunked not last", POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
    {"identity", POST "Transfer-Encoding: identity\r\n\r\n", 400},
    {"a comma", POST "Transfer-Encoding: chunked,\r\n\r\n", 400},
    {"parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n", 400},
    {"quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
    {"empty coding", POST "Transfer-Encoding:\r\n\r\n", 400},
    {"vertical tab", POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n", 400},
    {"underscore is another field", POST "Transfer_Encoding: chunked\r\n\r\n", 0},
};

static void heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].head);
        enum tg_status st = parse(cases[i].head, len);

        if ((st == TG_OK) != (cases[i].want == 0) || refusal != cases[i].want)
            fail_msg("%s: status %d, answer %u, wanted %u", cases[i].why, st, refusal, cases[i].want);
        if (st == TG_OK)
            assert_int_equal(used, len);
        for (size_t cut = 0; cut < len; cut++) {         /* wherever the network cuts, a part is never whole */
            st = parse(cases[i].head, cut);
            if (st == TG_OK || (st != TG_AGAIN && cases[i].want == 0))
                fail_msg("%s: cut at %zu gives %d", cases[i].why, cut, st);
        }
    }
}

/* However a head arrives, octet by octet or in two parts, the outcome is that of the whole. */
static void arrival_in_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].head);

        for (size_t cut = 0; cut <= len; cut++) {
            size_t scanned = 0;
            enum tg_status st = parse_from(cases[i].head, cut, &scanned);

            if (st == TG_AGAIN)
                st = parse_from(cases[i].head, len, &scanned);
            if ((st == TG_OK) != (cases[i].want == 0) || (cases[i].want != 0 && refusal == 0 && st != TG_AGAIN))
                fail_msg("%s: in two parts at %zu: %d", cases[i].why, cut, st);
        }
        size_t scanned = 0, n = 0;
        enum tg_status st = TG_AGAIN;

        while (st == TG_AGAIN && n < len)
            st = parse_from(cases[i].head, ++n, &scanned);
        if ((st == TG_OK) != (cases[i].want == 0))
            fail_msg("%s: octet by octet: %d", cases[i].why, st);
    }
}

static void nul_is_refused_everywhere(void **state)
{
    static const char text[] = "GET /a?b HTTP/1.1\r\nHost: a\r\nX-Name: value of more than sixteen octets\r\n\r\n";
    char copy[sizeof text];

    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        memcpy(copy, text, sizeof text);
        copy[i] = 0;
        if (parse(copy, sizeof text - 1) == TG_OK)
            fail_msg("NUL at %zu passes", i);
    }
}

#define SLICE_IS(s, text) assert_true(tg_slice_eq((s), TG_S(text)))

static void keep(const char *text)                       /* parses text that stays where it is */
{
    size_t scanned = 0;

    head = (struct tg_head){.fields = fields, .field_cap = 64};
    assert_int_equal(tg_h1_parse_request(tg_slice_str(text), &limits, &scanned, &head, &used, &refusal, NULL), TG_OK);
}

static void parts_of_a_request(void **state)
{
    (void)state;
    keep("POST /a/b?c=d? HTTP/1.1\r\nhOsT: Ex.test:80\r\nContent-Length: 007\r\nX-A:  b c \t\r\n"
         "Expect: 100-Continue\r\n\r\nrest");
    SLICE_IS(head.method, "POST");
    SLICE_IS(head.target, "/a/b?c=d?");
    SLICE_IS(head.path, "/a/b");
    SLICE_IS(head.query, "c=d?");
    SLICE_IS(head.authority, "Ex.test:80");
    assert_int_equal(head.method_id, TG_METHOD_POST);
    assert_int_equal(head.framing, TG_BODY_LENGTH);
    assert_int_equal(head.content_length, 7);
    assert_int_equal(head.field_count, 4);
    SLICE_IS(fields[2].name, "X-A");
    SLICE_IS(fields[2].value, "b c");
    assert_int_equal(fields[0].id, TG_FIELD_HOST);
    assert_int_equal(fields[2].id, TG_FIELD_OTHER);
    assert_true(head.expect_continue && head.keep_alive);
    assert_int_equal(head.seen, UINT64_C(1) << TG_FIELD_HOST | UINT64_C(1) << TG_FIELD_CONTENT_LENGTH |
                                    UINT64_C(1) << TG_FIELD_EXPECT);

    keep("GET http://a:80?x HTTP/1.1\r\nHost: A\r\n\r\n");
    SLICE_IS(head.path, "/");
    SLICE_IS(head.query, "x");
    SLICE_IS(head.authority, "a:80");
    keep("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n");
    SLICE_IS(head.path, "*");
    assert_null(head.query.ptr);
    keep("GET /? HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(head.query.ptr);
    assert_int_equal(head.query.len, 0);
    keep("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n");
    assert_int_equal(head.path.len, 0);
    SLICE_IS(head.authority, "b:443");
    keep("GET / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_false(head.expect_continue);                  /* RFC 9110 §10.1.1 */
    assert_int_equal(head.authority.len, 0);
    assert_int_equal(head.minor, 0);
}

static void persistence(void **state)                    /* RFC 9112 §9.3 */
{
    static const struct { const char *head; bool keep; } rows[] = {
        {GET "\r\n", true}, {GET "Connection: close\r\n\r\n", false},
        {GET "Connection: Keep-Alive, CLOSE\r\n\r\n", false},
        {GET "Connection: x\r\nConnection: close\r\n\r\n", false}, {GET "Connection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false}, {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        keep(rows[i].head);
        assert_int_equal(head.keep_alive, rows[i].keep);
    }
}

static void limits_hold(void **state)
{
    static char big[8192];
    size_t scanned = 0, n;

    (void)state;
    memset(big, 'a', sizeof big);
    memcpy(big, "GET /", 5);
    assert_int_equal(parse(big, 5 + 1023), TG_AGAIN);
    assert_int_equal(parse(big, 5 + 1024), TG_LIMIT);
    assert_int_equal(refusal, 414);
    for (n = 1; n < sizeof big && parse_from(big, n, &scanned) == TG_AGAIN; n++) /* also when it drips */
        ;
    assert_int_equal(refusal, 414);
    assert_true(n < 1200);

    n = (size_t)snprintf(big, sizeof big, GET "X: ");
    memset(big + n, 'x', sizeof big - n);
    assert_int_equal(parse(big, 4095), TG_AGAIN);
    assert_int_equal(parse(big, 4096), TG_LIMIT);
    assert_int_equal(refusal, 431);
    memcpy(big + 4092, "\r\n\r\n", 4);                   /* exactly the limit */
    assert_int_equal(parse(big, 4096), TG_OK);
    assert_int_equal(parse(big, sizeof big), TG_OK);
    memset(big + 4092, 'x', 4);
    memcpy(big + 4093, "\r\n\r\n", 4);
    assert_int_equal(parse(big, 4097), TG_LIMIT);

    n = (size_t)snprintf(big, sizeof big, GET);
    for (int i = 0; i < 15; i++)
        n += (size_t)snprintf(big + n, sizeof big - n, "X: y\r\n");
    assert_int_equal(parse(strcat(big, "\r\n"), n + 2), TG_OK);
    memcpy(big + n, "X: y\r\n\r\n", 8);
    assert_int_equal(parse(big, n + 8), TG_LIMIT);
    assert_int_equal(refusal, 431);

    n = (size_t)snprintf(big, sizeof big, GET "Connection: ");
    for (int i = 0; i < 65; i++)
        n += (size_t)snprintf(big + n, sizeof big - n, "a,");
    memcpy(big + n, "\r\n\r\n", 4);
    assert_int_equal(parse(big, n + 4), TG_LIMIT);
    assert_int_equal(refusal, 431);
}

#define OK200 "HTTP/1.1 200 OK\r\n"
static const struct { const char *why,
    *head; unsigned method; int framing; bool keep; } responses[] = { /* -1: refused */
    {"plain", OK200 "Content-Length: 5\r\n\r\n", TG_METHOD_GET, TG_BODY_LENGTH, true},
    {"until close", OK200 "\r\n", TG_METHOD_GET, TG_BODY_CLOSE, false},
    {"chunked", OK200 "Transfer-Encoding: chunked\r\n\r\n", TG_METHOD_GET, TG_BODY_CHUNKED, true},
    {"no reason", "HTTP/1.1 200\r\n\r\n", TG_METHOD_GET, TG_BODY_CLOSE, false},
    {"empty reason", "HTTP/1.1 200 \r\n\r\n", TG_METHOD_GET, TG_BODY_CLOSE, false},
    {"reason in obs-text", "HTTP/1.1 200 \xe9t\xe9\r\n\r\n", TG_METHOD_GET, TG_BODY_CLOSE, false},
    {"HEAD", OK200 "Content-Length: 5\r\n\r\n", TG_METHOD_HEAD, TG_BODY_NONE, true},
    {"HEAD, chunked", OK200 "Transfer-Encoding: chunked\r\n\r\n", TG_METHOD_HEAD, TG_BODY_NONE, true},
    {"204", "HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n", TG_METHOD_GET, TG_BODY_NONE, true},
    {"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n", TG_METHOD_GET, TG_BODY_NONE, true},
    {"100", "HTTP/1.1 100 Continue\r\n\r\n", TG_METHOD_GET, TG_BODY_NONE, true},
    {"101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", TG_METHOD_GET, TG_BODY_NONE, true},
    {"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", TG_METHOD_GET, TG_BODY_LENGTH, false},
    {"close", OK200 "Connection: close\r\nContent-Length: 1\r\n\r\n", TG_METHOD_GET, TG_BODY_LENGTH, false},
    {"two lengths", OK200 "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", TG_METHOD_GET, -1, false},
    {"list of lengths", OK200 "Content-Length: 5, 6\r\n\r\n", TG_METHOD_GET, -1, false},
    {"negative", OK200 "Content-Length: -5\r\n\r\n", TG_METHOD_GET, -1, false},
    {"too large", OK200 "Content-Length: 18446744073709551621\r\n\r\n", TG_METHOD_GET, -1, false},
    {"both framings", OK200 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", TG_METHOD_GET, -1, false},
    {"unknown coding", OK200 "Transfer-Encoding: xchunked\r\n\r\n", TG_METHOD_GET, -1, false},
    {"coding more", OK200 "Transfer-Encoding: gzip, chunked\r\n\r\n", TG_METHOD_GET, -1, false},
    {"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", TG_METHOD_GET, -1, false},
    {"bad framing of HEAD", OK200 "Content-Length: x\r\n\r\n", TG_METHOD_HEAD, -1, false},
    {"status 000", "HTTP/1.1 000 X\r\n\r\n", TG_METHOD_GET, -1, false},
    {"status 099", "HTTP/1.1 099 X\r\n\r\n", TG_METHOD_GET, -1, false},
    {"status 600", "HTTP/1.1 600 X\r\n\r\n", TG_METHOD_GET, -1, false},
    {"status 2000", "HTTP/1.1 2000 OK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"status 20", "HTTP/1.1 20 OK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"status -200", "HTTP/1.1 -200 OK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"two spaces", "HTTP/1.1  200 OK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"other version", "HTTP/1.2 200 OK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"HTTP/2", "HTTP/2 200 OK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"another protocol", "ICY 200 OK\r\n\r\n", TG_METHOD_GET, -1, false},
    {"empty line before", "\r\n" OK200 "\r\n", TG_METHOD_GET, -1, false},
    {"folding", OK200 "X: a\r\n b\r\n\r\n", TG_METHOD_GET, -1, false},
    {"space before colon", OK200 "Transfer-Encoding : chunked\r\n\r\n", TG_METHOD_GET, -1, false},
    {"bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", TG_METHOD_GET, -1, false},
};

static void responses_are_framed(void **state)           /* RFC 9112 §6.3 */
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        size_t len = strlen(responses[i].head);

        for (size_t n = 0; n <= len; n++) {
            size_t scanned = 0;
            enum tg_status st;

            head = (struct tg_head){.fields = fields, .field_cap = 64};
            st = tg_h1_parse_response(tg_slice(responses[i].head, n), &limits, &scanned, responses[i].method, &head,
                                      &used, NULL);
            if (n < len ? st == TG_OK : (st == TG_OK) != (responses[i].framing >= 0))
                fail_msg("%s: %d at %zu of %zu", responses[i].why, st, n, len);
            if (n < len || st != TG_OK)
                continue;
            if (head.framing != responses[i].framing || head.keep_alive != responses[i].keep || used != len)
                fail_msg("%s: framing %d, keep %d", responses[i].why, head.framing, head.keep_alive);
        }
    }
    assert_int_equal(head.status / 100, 2);
}

static void trailers(void **state)
{
    static const char text[] = "X-Sum: 1\r\nY:\r\n\r\n";

    (void)state;
    head = (struct tg_head){.fields = fields, .field_cap = 2};
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(tg_h1_parse_trailers(tg_slice(text, n), &head, &used, NULL), TG_AGAIN);
    assert_int_equal(tg_h1_parse_trailers(tg_slice(text, sizeof text - 1), &head, &used, NULL), TG_OK);
    assert_int_equal(head.field_count, 2);
    head.field_cap = 1;
    assert_int_equal(tg_h1_parse_trailers(tg_slice(text, sizeof text - 1), &head, &used, NULL), TG_LIMIT);
    assert_int_equal(tg_h1_parse_trailers(TG_S("X : 1\r\n\r\n"), &head, &used, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_h1_parse_trailers(TG_S("\r\n"), &head, &used, NULL), TG_OK);
    assert_int_equal(head.field_count, 0);
}

static void tokens_and_values(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[20] = "aaaaaaaaaaaaaaaaaaa";           /* where it is scanned sixteen at a time, and behind that */
        bool token = c > 0x20 && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
        bool value = (c >= 0x20 && c != 0x7f) || c == '\t';

        for (size_t i = 1; i < 19; i += 8) {
            memset(text, 'a', sizeof text);
            text[i] = (char)c;
            assert_int_equal(tg_is_token(tg_slice(text, 20)), token);
            assert_int_equal(tg_is_field_value(tg_slice(text, 20)), value);
        }
    }
    assert_false(tg_is_token(TG_S("")));
    assert_true(tg_is_field_value(TG_S("")));
    assert_false(tg_is_field_value(TG_S(" a")));
    assert_false(tg_is_field_value(TG_S("a\t")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads), cmocka_unit_test(arrival_in_parts), cmocka_unit_test(nul_is_refused_everywhere),
        cmocka_unit_test(parts_of_a_request), cmocka_unit_test(persistence), cmocka_unit_test(limits_hold),
        cmocka_unit_test(responses_are_framed), cmocka_unit_test(trailers), cmocka_unit_test(tokens_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
