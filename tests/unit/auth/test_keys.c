/* keys: discovery, wrong and slow answers, rotation, unknown key ids: as a worker's verifier sees them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "keys_bench.h"

#define KIDS 1000

static void finds_keys(void **state)
{
    char path[] = "/tmp/tollgate-bearer-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, "sesame\n", 7), 7);
    close(fd);
    item.token_file = tg_slice_str(path);
    up();
    assert_true(wait_ready(true));
    expect(first, "a", TG_AUTHN_OK);
    expect(second, "a", TG_AUTHN_INVALID);
    assert_int_equal(provider.discoveries, 1);
    assert_int_equal(provider.bearers, 3);               /* discovery, keys, the refetch for the unknown kid */
    assert_true(describes(": 1 keys, 0 s old, next fetch in 0 s\n"));
    down();
    unlink(path);
}

static void url_without_discovery(void **state)
{
    (void)state;
    item.discovery = false;
    item.jwks_url = tg_slice_str(keys_url);
    up();
    assert_true(wait_ready(true));
    expect(first, "a", TG_AUTHN_OK);
    assert_int_equal(provider.discoveries, 0);
    down();
}

static void wrong_documents(void **state)
{
    static char with_slash[80];
    const struct {
        const char *said_issuer, *jwks_uri, *words;
    } cases[] = {
        {with_slash, keys_url, "equal to the last byte"},
        {"https://evil.example.com", keys_url, "equal to the last byte"},
        {issuer, "http://keys.example.com/", "discovery document: http is for loopback hosts only"},
        {issuer, "file:///etc/passwd", "discovery document: not an https URL"},
        {issuer, "", "not an https URL"},
        {issuer, "\x01", "discovery document: "},
    };

    (void)state;
    snprintf(with_slash, sizeof(with_slash), "%s/", issuer);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PROVIDER(said_issuer, cases[i].said_issuer);
        PROVIDER(jwks_uri, cases[i].jwks_uri);
        up();
        usleep(60000);
        expect(first, "a", TG_AUTHN_UNAVAILABLE);
        assert_true(describes(cases[i].words));
        assert_int_equal(fetches(), 0);
        if (i == 0) {                                    /* mended at the provider: recovers by itself */
            PROVIDER(said_issuer, issuer);
            assert_true(wait_ready(true));
            expect(first, "a", TG_AUTHN_OK);
            PROVIDER(fetches, 0);
        }
        down();
    }
}

static void bad_answers(void **state)
{
    struct tg_buf large = {0};
    const struct {
        const char *raw, *words;
    } cases[] = {
        {"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", "key set: the provider answers with status 500"},
        {"HTTP/1.1 302 x\r\nLocation: /keys2\r\nContent-Length: 0\r\n\r\n", "redirects are not followed"},
        {"HTTP/1.1 200 x\r\nContent-Length: 3\r\n\r\n{}x", "key set: "},
        {"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n", "key set: "},
        {"HTTP/1.1 200 x\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}", "key set: it holds no usable key"},
        {"HTTP/1.1 200 x\r\nContent-Length: 28\r\n\r\n{\"keys\":[{\"kty\":\"unknown\"}]}", "no usable key"},
        {"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n{\"keys", "cut short"},
        {NULL, "larger than 1048576 bytes"},
        {"", "closed without an answer"},
    };

    (void)state;
    tg_buf_adds(&large, "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 70000; i++)
        tg_buf_adds(&large, "                ");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PROVIDER(raw_keys, cases[i].raw ? cases[i].raw : tg_buf_cstr(&large));
        up();
        usleep(60000);
        for (int wait = 0; wait < 100 && fetches() < 1; wait++)
            usleep(5000);
        usleep(20000);
        expect(first, "a", TG_AUTHN_UNAVAILABLE);
        assert_true(describes(cases[i].words));
        down();
        PROVIDER(fetches, 0);
    }
    tg_buf_fini(&large);
}

static void slow_provider(void **state)
{
    (void)state;
    periods.timeout = 100;
    http_peer_delay(&peer, 250);
    up();
    usleep(200000);
    expect(first, "a", TG_AUTHN_UNAVAILABLE);            /* at once: a request does not wait for a first set */
    assert_true(describes("no whole answer within 100 ms"));
    down();
    http_peer_delay(&peer, 0);
}

static void rotation(void **state)
{
    struct tg_slice old = token_of(first, "a"), new = token_of(second, "a");

    (void)state;
    up();
    assert_true(wait_ready(true));
    assert_int_equal(ask(old), TG_AUTHN_OK);
    publish(first, second);                              /* usual: the new key beside the old one */
    assert_int_equal(ask(new), TG_AUTHN_OK);
    assert_int_equal(ask(old), TG_AUTHN_OK);
    assert_int_equal(fetches(), 2);
    down();
    publish(first, NULL);
    up();
    assert_true(wait_ready(true));
    assert_int_equal(ask(old), TG_AUTHN_OK);
    publish(second, NULL);                               /* without notice: the old key is gone */
    assert_int_equal(ask(new), TG_AUTHN_OK);
    assert_int_equal(ask(old), TG_AUTHN_INVALID);        /* though it was in the cache */
    down();
    drop(old);
    drop(new);
}

static void vanished_key_stops_cached_tokens(void **state)
{
    struct tg_slice gone = token_of(first, "a"), stays = token_of(second, "a");
    enum tg_authn_result result = TG_AUTHN_OK;

    (void)state;
    PROVIDER(fields, "Cache-Control: max-age=0\r\n");     /* clamped to age_least */
    publish(first, second);
    up();
    assert_true(wait_ready(true));
    assert_int_equal(ask(gone), TG_AUTHN_OK);
    assert_int_equal(ask(stays), TG_AUTHN_OK);
    publish(second, NULL);
    for (int i = 0; i < 100 && result == TG_AUTHN_OK; i++) {
        usleep(10000);
        result = ask(gone);
    }
    assert_int_equal(result, TG_AUTHN_INVALID);
    assert_int_equal(ask(stays), TG_AUTHN_OK);
    down();
    drop(gone);
    drop(stays);
}

/* A token nobody signed, with a key id of its own. */
static struct tg_slice unknown_kid(unsigned n)
{
    struct tg_buf token = {0};
    char text[128];

    snprintf(text, sizeof(text), "{\"alg\":\"ES256\",\"kid\":\"k%u\"}", n);
    tg_base64url_encode(tg_slice_str(text), &token);
    tg_buf_addc(&token, '.');
    snprintf(text, sizeof(text), "{\"iss\":\"%s\",\"sub\":\"a\",\"aud\":\"api\",\"exp\":99999999999}", issuer);
    tg_base64url_encode(tg_slice_str(text), &token);
    tg_buf_addc(&token, '.');
    for (int i = 0; i < 86; i++)
        tg_buf_addc(&token, 'A');
    return tg_buf_slice(&token);
}

static void a_thousand_kids_ask_once(void **state)
{
    struct asking *all = TG_NEW_ARRAY(struct asking, KIDS);
    unsigned waited = 0;

    (void)state;
    up();
    assert_true(wait_ready(true));
    http_peer_delay(&peer, 50);
    for (unsigned i = 0; i < KIDS; i++)
        begin_asking(&all[i], unknown_kid(i));
    for (unsigned i = 0; i < KIDS; i++) {
        end_asking(&all[i]);
        assert_int_equal(all[i].result, TG_AUTHN_INVALID);
        assert_string_equal(all[i].reason, "unknown-kid");
        waited += all[i].waited;
        drop(all[i].token);
    }
    assert_true(waited > 0);
    assert_int_equal(fetches(), 2);
    expect(first, "a", TG_AUTHN_OK);
    free(all);
    down();
}

static void refetch_again_after_a_while(void **state)
{
    (void)state;
    periods.refetch = 100;
    up();
    assert_true(wait_ready(true));
    expect(second, "a", TG_AUTHN_INVALID);
    expect(second, "a", TG_AUTHN_INVALID);
    assert_int_equal(fetches(), 2);
    publish(second, NULL);
    usleep(120000);
    expect(second, "a", TG_AUTHN_OK);
    assert_int_equal(fetches(), 3);
    down();
}

/* A client that repeats one old kid has one fetch, however long it goes on, and does not keep others from theirs. */
static void absent_kid_asks_once(void **state)
{
    struct tg_slice other = unknown_kid(7);

    (void)state;
    periods.refetch = 100;
    periods.age_most = 60000;
    periods.absent = 600;
    up();
    assert_true(wait_ready(true));
    for (int i = 0; i < 3; i++) {
        expect(second, "a", TG_AUTHN_INVALID);
        assert_int_equal(fetches(), 2);
        usleep(120000);
    }
    assert_int_equal(ask(other), TG_AUTHN_INVALID);
    assert_int_equal(fetches(), 3);
    drop(other);
    publish(first, second);
    usleep(400000);
    expect(second, "a", TG_AUTHN_OK);
    assert_int_equal(fetches(), 4);
    down();
}

/* A fetch that failed tells nothing about a kid. */
static void failed_refetch_is_no_absence(void **state)
{
    (void)state;
    periods.refetch = 100;
    periods.retry_first = periods.retry_last = 60000;
    periods.absent = 60000;
    up();
    assert_true(wait_ready(true));
    PROVIDER(raw_keys, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n");
    expect(second, "a", TG_AUTHN_INVALID);
    assert_true(describes("failed 1 times: "));
    PROVIDER(raw_keys, NULL);
    publish(first, second);
    usleep(120000);
    expect(second, "a", TG_AUTHN_OK);
    down();
}

static void cancelled_while_waiting(void **state)
{
    struct asking gone = {.cancel = true}, there = {0};
    struct tg_slice token = token_of(second, "a");

    (void)state;
    up();
    assert_true(wait_ready(true));
    http_peer_delay(&peer, 100);
    begin_asking(&gone, token);
    begin_asking(&there, token);
    end_asking(&gone);
    end_asking(&there);
    assert_int_equal(gone.result, TG_AUTHN_WAIT);
    assert_int_equal(there.result, TG_AUTHN_INVALID);
    assert_true(there.waited);
    down();
    drop(token);
}

/* The control thread goes first: who waits for keys is told. */
static void freed_while_somebody_waits(void **state)
{
    struct asking q = {0};
    struct tg_slice token = token_of(second, "a");

    (void)state;
    up();
    assert_true(wait_ready(true));
    http_peer_delay(&peer, 200);
    begin_asking(&q, token);
    usleep(50000);
    tg_worker_call(control, free_keys, NULL);
    end_asking(&q);
    assert_true(q.waited);
    assert_int_equal(q.result, TG_AUTHN_INVALID);
    expect(second, "a", TG_AUTHN_INVALID);               /* nobody is left to fetch: no waiting */
    expect(first, "a", TG_AUTHN_OK);
    tg_worker_call(worker, free_authn, NULL);
    tg_providers_fini(&providers);
    drop(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(finds_keys), TEST(url_without_discovery), TEST(wrong_documents), TEST(bad_answers),
        TEST(slow_provider), TEST(rotation), TEST(vanished_key_stops_cached_tokens),
        TEST(a_thousand_kids_ask_once), TEST(refetch_again_after_a_while), TEST(absent_kid_asks_once),
        TEST(failed_refetch_is_no_absence), TEST(cancelled_while_waiting),
        TEST(freed_while_somebody_waits),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
