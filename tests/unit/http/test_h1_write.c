/* What is written must be read back as what it was written from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "http/h1_parse.h"
#include "http/h1_write.h"

static const struct tg_h1_limits limits = {65536, 16384, 64};
static struct tg_field fields[64];
static struct tg_head head;
static struct tg_buf out;

static void request(const char *text)
{
    size_t scanned = 0, used;
    unsigned refusal;

    head = (struct tg_head){.fields = fields, .field_cap = 64};
    assert_int_equal(tg_h1_parse_request(tg_slice_str(text), &limits, &scanned, &head, &used, &refusal, NULL), TG_OK);
}

static void response(const char *text)
{
    size_t scanned = 0, used;

    head = (struct tg_head){.fields = fields, .field_cap = 64};
    assert_int_equal(tg_h1_parse_response(tg_slice_str(text), &limits, &scanned, TG_METHOD_GET, &head, &used, NULL),
        TG_OK);
}

static void is(const char *want)
{
    assert_string_equal(tg_buf_cstr(&out), want);
    tg_buf_fini(&out);
}

static void requests(void **state)
{
    (void)state;
    request("GET http://a/x?y HTTP/1.0\r\nHost:a\r\nX-Y:\t z \r\n\r\n");
    tg_h1_write_request(&out, &head, TG_S("/x?y"));
    is("GET /x?y HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n");
    request("POST / HTTP/1.1\r\nContent-Length: 0007\r\nHost: a\r\n\r\n");
    tg_h1_write_request(&out, &head, TG_S("/"));
    is("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n");
    request("POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\nHost: a\r\n\r\n");
    tg_h1_write_request(&out, &head, TG_S("/"));
    is("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void every_length_of_name_and_value(void **state)
{
    static char text[256];

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t n = 1; n < 100; n++) {
        struct tg_field two[2], back[2];
        struct tg_head h = {.fields = two, .field_cap = 2, .method = TG_S("M"), .framing = TG_BODY_NONE}, b = {0};
        size_t scanned = 0, used;
        unsigned refusal;

        tg_head_add_id(&h, TG_FIELD_HOST, TG_S("a"));
        tg_head_add(&h, TG_FIELD_OTHER, tg_slice(text, n), tg_slice(text, 2 * n));
        tg_h1_write_request(&out, &h, TG_S("/"));
        b.fields = back;
        b.field_cap = 2;
        assert_int_equal(tg_h1_parse_request(tg_buf_slice(&out), &limits, &scanned, &b, &used, &refusal, NULL), TG_OK);
        assert_int_equal(used, out.len);
        assert_true(tg_slice_eq(back[1].name, two[1].name) && tg_slice_eq(back[1].value, two[1].value));
        tg_buf_fini(&out);
    }
}

static void responses(void **state)
{
    static const struct {
        const char *why, *in;
        unsigned minor;
        enum tg_h1_connection connection;
        bool to_head, has_length;
        const char *want;
    } rows[] = {
        {"keep", "HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\n", 1, TG_H1_KEEP, false, true,
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
        {"close", "HTTP/1.1 200 OK\r\nConnection: x\r\nKeep-Alive: 1\r\nContent-Length: 5\r\n\r\n", 1, TG_H1_CLOSE,
            false, true,
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
        {"1.0 keeps by saying so", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 0, TG_H1_KEEP, false, true,
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"},
        {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n", 1, TG_H1_KEEP, false, false,
         "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"1.0 never gets chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, TG_H1_CLOSE, false,
            false,
         "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
        {"until close", "HTTP/1.1 200 \r\n\r\n", 1, TG_H1_CLOSE, false, false,
            "HTTP/1.1 200 \r\nConnection: close\r\n\r\n"},
        {"204", "HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n", 1, TG_H1_KEEP, false, true,
         "HTTP/1.1 204 No Content\r\n\r\n"},
        {"304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n", 1, TG_H1_KEEP, false, true,
         "HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n"},
        {"304", "HTTP/1.1 304 Not Modified\r\n\r\n", 1, TG_H1_KEEP, false, false, "HTTP/1.1 304 Not Modified\r\n\r\n"},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", 1, TG_H1_KEEP, true, true,
         "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"},
        {"103", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0, TG_H1_CLOSE, false, false,
         "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"},
        {"101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: y\r\n\r\n", 1,
            TG_H1_UPGRADE,
         false, false, "HTTP/1.1 101 Switching Protocols\r\nX: y\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        response(rows[i].in);
        tg_h1_write_response(&out, &head, rows[i].minor, rows[i].connection, rows[i].to_head, rows[i].has_length);
        if (strcmp(tg_buf_cstr(&out), rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].why, tg_buf_cstr(&out));
        tg_buf_fini(&out);
    }
    head = (struct tg_head){.status = 200, .reason = TG_S("OK"), .framing = TG_BODY_NONE};
    tg_h1_write_response(&out, &head, 1, TG_H1_KEEP, false, false);
    is("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");   /* else it would last until the close */
}

static void last_chunk(void **state)
{
    struct tg_field two[2];
    struct tg_head trailers = {.fields = two, .field_cap = 2};

    (void)state;
    tg_h1_write_last_chunk(&out, NULL);
    is("0\r\n\r\n");
    tg_head_add(&trailers, TG_FIELD_OTHER, TG_S("Grpc-Status"), TG_S("0"));
    tg_head_add_id(&trailers, TG_FIELD_CONTENT_LENGTH, TG_S("5"));
    tg_h1_write_last_chunk(&out, &trailers);
    is("0\r\nGrpc-Status: 0\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests), cmocka_unit_test(every_length_of_name_and_value), cmocka_unit_test(responses),
        cmocka_unit_test(last_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
