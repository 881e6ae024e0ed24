/* RFC 9112 §6, §7: every body is read whole, octet by octet and cut in two, and must give the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "http/h1_body.h"
#include "http/h1_parse.h"

struct outcome {
    enum tg_status st;                                   /* TG_OK: done */
    char content[256];
    size_t content_len, rest;
    struct tg_h1_body body;
};

/* Feeds one part; false when no further part may follow. */
static bool feed(struct outcome *o, const char *text, size_t len)
{
    char *copy = malloc(len + 1);
    struct tg_slice in = tg_slice(memcpy(copy + 1, text, len), len), content;

    do {
        o->st = tg_h1_body_read(&o->body, &in, &content, NULL);
        if (o->st == TG_OK) {
            assert_true(o->content_len + content.len <= sizeof o->content);
            memcpy(o->content + o->content_len, content.ptr, content.len);
            o->content_len += content.len;
        }
        if (o->st == TG_AGAIN)
            assert_int_equal(in.len, 0);
    } while (o->st == TG_OK && in.len > 0 && !o->body.done);
    o->rest = in.len;
    free(copy);
    return o->st != TG_BAD_INPUT && !o->body.done;
}

static void read_in_parts(struct outcome *o, enum tg_framing framing, uint64_t length, struct tg_slice text,
    size_t first,
                          size_t step)
{
    size_t at = 0;

    *o = (struct outcome){.st = TG_AGAIN};
    tg_h1_body_init(&o->body, framing, length);
    while (at < text.len) {
        size_t n = at == 0 && first ? first : step;

        n = n < text.len - at ? n : text.len - at;
        at += n;
        if (!feed(o, text.ptr + at - n, n))
            break;
    }
    o->rest += text.len - at;
}

static const struct { const char *why, *text, *content; } good[] = { /* "REST" is what follows */
    {"empty", "0\r\n\r\nREST", ""},
    {"one", "5\r\nhello\r\n0\r\n\r\nREST", "hello"},
    {"two, upper-case hex, zeros before", "000000A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\nREST", "0123456789x"},
    {"content that looks like the end", "6\r\n0\r\n\r\n\n\r\n0\r\n\r\nREST", "0\r\n\r\n\n"},
    {"extension", "5;a\r\nhello\r\n0;b\r\n\r\nREST", "hello"},
    {"extension with value", "5;a=b;c=\"d;\\\"\r\"\r\nhello\r\n0\r\n\r\nREST", NULL},
    {"quoted", "5;a=b;c=\"d;\\\" \t\"\r\nhello\r\n0\r\n\r\nREST", "hello"},
    {"blanks where the grammar has them", "5 \t; a = b ;c\r\nhello\r\n0\r\n\r\nREST", "hello"},
    {"trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\nREST", "x"},
};

static const struct { const char *why, *text; } bad[] = {
    {"plus", "+5\r\nhello\r\n0\r\n\r\n"}, {"minus", "-0\r\n\r\n"}, {"no size", "\r\nhello\r\n"},
    {"tab before", "\t5\r\n"},
    {"space before", " 5\r\n"}, {"0x", "0x5\r\nhello\r\n"}, {"g", "g\r\n"}, {"obs-text", "5\xa0\r\n"},
    {"comma", "5,5\r\n"},
    {"2^63", "8000000000000000\r\n"}, {"2^64", "10000000000000000\r\n"}, {"2^64+5", "10000000000000005\r\n"},
    {"LF ends the size", "5\nhello\r\n0\r\n\r\n"}, {"CR without LF", "5\rX\nhello\r\n"},
    {"CR twice", "5\r\r\nhello\r\n"},
    {"blank without extension", "5 \r\nhello\r\n"}, {"LF ends the data", "5\r\nhello\n0\r\n\r\n"},
    {"data too long", "5\r\nhellox\r\n0\r\n\r\n"}, {"CR only behind data", "5\r\nhello\r0\r\n\r\n"},
    {"extension without name", "5;\r\nhello\r\n"}, {"value without name", "5;=a\r\n"},
    {"name without value", "5;a=\r\n"},
    {"LF in an extension", "5;a\nb\r\nhello\r\n"}, {"NUL in an extension", "5;a=\x01\r\n"},
    {"open quote", "5;a=\"b\r\n"},
    {"two values", "5;a=b c\r\n"}, {"text behind a quote", "5;a=\"b\"c\r\n"}, {"semicolon behind CR", "5\r;a\r\n"},
    {"end in LF", "0\r\n\nG"}, {"end in CR CR", "0\r\n\r\r\n"}, {"no colon", "0\r\nXX\r\n\r\n"},
    {"folding", "0\r\nA: b\r\n c\r\n\r\n"},
    {"folding at once", "0\r\n A: b\r\n\r\n"}, {"LF in trailers", "0\r\nA: b\nC: d\r\n\r\n"},
    {"space before colon", "0\r\nA : b\r\n\r\n"},
    {"control in a trailer", "0\r\nA: \x07\r\n\r\n"},
};

static void good_bodies(void **state)
{
    struct outcome o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct tg_slice text = tg_slice_str(good[i].text);

        for (size_t first = 0; first <= text.len; first++) { /* 0: octet by octet; len: at once */
            read_in_parts(&o, TG_BODY_CHUNKED, 0, text, first, first ? text.len : 1);
            if (!good[i].content) {
                assert_int_equal(o.st, TG_BAD_INPUT);
            } else if (o.st != TG_OK || !o.body.done || o.rest != 4 || o.content_len != strlen(good[i].content) ||
                       memcmp(o.content, good[i].content, o.content_len) != 0) {
                fail_msg("%s, first part %zu: status %d, rest %zu", good[i].why, first, o.st, o.rest);
            }
            tg_h1_body_fini(&o.body);
        }
        for (size_t cut = 0; good[i].content && cut < text.len - 4; cut++) {
            read_in_parts(&o, TG_BODY_CHUNKED, 0, tg_slice(text.ptr, cut), 0, text.len);
            if (o.body.done || o.st == TG_BAD_INPUT)
                fail_msg("%s: whole when cut at %zu", good[i].why, cut);
            tg_h1_body_fini(&o.body);
        }
    }
}

static void bad_bodies(void **state)
{
    struct outcome o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tg_slice text = tg_slice_str(bad[i].text), content;

        for (size_t first = 0; first <= text.len; first++) {
            read_in_parts(&o, TG_BODY_CHUNKED, 0, text, first, first ? text.len : 1);
            if (o.st != TG_BAD_INPUT || o.body.done)
                fail_msg("%s, first part %zu: status %d", bad[i].why, first, o.st);
            assert_int_equal(tg_h1_body_read(&o.body, &text, &content, NULL), TG_BAD_INPUT); /* and stays so */
            text = tg_slice_str(bad[i].text);
            tg_h1_body_fini(&o.body);
        }
    }
}

static void other_framings(void **state)
{
    struct outcome o;

    (void)state;
    for (size_t first = 0; first < 6; first++) {
        read_in_parts(&o, TG_BODY_LENGTH, 5, TG_S("helloREST"), first, first ? 9 : 1);
        assert_true(o.body.done && o.rest == 4 && o.content_len == 5);
    }
    read_in_parts(&o, TG_BODY_LENGTH, INT64_MAX, TG_S("hello"), 0, 5);
    assert_true(!o.body.done && o.content_len == 5 && o.body.left == INT64_MAX - 5);
    read_in_parts(&o, TG_BODY_CLOSE, 0, TG_S("hello"), 0, 2);
    assert_true(!o.body.done && o.content_len == 5);
    tg_h1_body_init(&o.body, TG_BODY_NONE, 0);
    assert_true(o.body.done);
    tg_h1_body_init(&o.body, TG_BODY_LENGTH, 0);
    assert_true(o.body.done);
    tg_h1_body_fini(NULL);
}

static void bounds(void **state)
{
    struct tg_buf text = {0};
    struct outcome o;

    (void)state;
    for (int i = 0; i < 1024; i++)                       /* one line without end */
        tg_buf_adds(&text, "0");
    read_in_parts(&o, TG_BODY_CHUNKED, 0, tg_buf_slice(&text), 0, 100);
    assert_int_equal(o.st, TG_AGAIN);
    tg_buf_adds(&text, "0");
    read_in_parts(&o, TG_BODY_CHUNKED, 0, tg_buf_slice(&text), 0, 100);
    assert_int_equal(o.st, TG_BAD_INPUT);
    text.len = 0;
    for (int i = 0; i < 20; i++) {                       /* short lines, but for ever */
        tg_buf_adds(&text, "1;");
        for (int k = 0; k < 1000; k++)
            tg_buf_adds(&text, "a");
        tg_buf_adds(&text, "\r\nx\r\n");
    }
    read_in_parts(&o, TG_BODY_CHUNKED, 0, tg_buf_slice(&text), 0, 1000);
    assert_int_equal(o.st, TG_BAD_INPUT);
    text.len = 0;
    tg_buf_adds(&text, "0\r\n");
    for (int i = 0; i < 1000; i++)
        tg_buf_adds(&text, "X-Trailer: value\r\n");
    read_in_parts(&o, TG_BODY_CHUNKED, 0, tg_buf_slice(&text), 0, 1000);
    assert_int_equal(o.st, TG_BAD_INPUT);
    assert_true(o.body.trailer.len <= 16384);
    tg_h1_body_fini(&o.body);
    tg_buf_fini(&text);
}

static void trailers_are_handed_out(void **state)
{
    struct tg_field fields[8];
    struct tg_head head = {.fields = fields, .field_cap = 8};
    struct outcome o;

    (void)state;
    read_in_parts(&o, TG_BODY_CHUNKED, 0, TG_S("0\r\nGrpc-Status: 0\r\nHost: x\r\n\r\n"), 0, 1);
    assert_int_equal(tg_h1_body_trailers(&o.body, &head, NULL), TG_OK);
    assert_int_equal(head.field_count, 2);
    assert_true(tg_slice_eq(fields[0].name, TG_S("Grpc-Status")) && tg_slice_eq(fields[0].value, TG_S("0")));
    assert_int_equal(fields[1].id, TG_FIELD_HOST);
    tg_h1_body_fini(&o.body);
    read_in_parts(&o, TG_BODY_CHUNKED, 0, TG_S("0\r\n\r\n"), 0, 1);
    assert_null(o.body.trailer.data);                    /* the usual end costs no memory */
    assert_int_equal(tg_h1_body_trailers(&o.body, &head, NULL), TG_OK);
    assert_int_equal(head.field_count, 0);
}

static void chunk_lines(void **state)
{
    static const struct { uint64_t n; const char *line; } rows[] = {
        {0, "0\r\n"}, {1, "1\r\n"}, {15, "f\r\n"}, {16, "10\r\n"}, {255, "ff\r\n"}, {4096, "1000\r\n"},
        {INT64_MAX, "7fffffffffffffff\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    char out[TG_CHUNK_LINE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = tg_h1_chunk_line(rows[i].n, out);

        assert_int_equal(n, strlen(rows[i].line));
        assert_memory_equal(out, rows[i].line, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies), cmocka_unit_test(bad_bodies), cmocka_unit_test(other_framings),
        cmocka_unit_test(bounds), cmocka_unit_test(trailers_are_handed_out), cmocka_unit_test(chunk_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
