/*
 * tls_tickets - a ticket is good for the hour of its key and the next, wherever in the process it comes back, and not
 * beyond.
 */
#include "tls_bench.h"
#include <pthread.h>
#include <stdatomic.h>

#define MINUTE_MS ((int64_t)60000)
#define THREADS 4

static struct made leaf;
static int64_t start_ms;
static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct tg_tls_server *new_server(void)
{
    struct tg_tls_server *s = tg_tls_server_new();

    add(s, &leaf, NULL);
    return s;
}

/* Every test has keys of its own: those of the last are more than two hours old. */
static void at_minute(int minute)
{
    tg_clock_set_wall_ms(start_ms + minute * MINUTE_MS);
}

static int fresh_keys(void **state)
{
    (void)state;
    start_ms += 1000 * MINUTE_MS;
    at_minute(0);
    return 0;
}

static SSL_CTX *client_of(int version)
{
    SSL_CTX *ctx = plain_client(NULL, NULL);

    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    return ctx;
}

static struct tg_slice ticket_of(const SSL_SESSION *session)
{
    const unsigned char *ticket;
    size_t len;

    SSL_SESSION_get0_ticket(session, &ticket, &len);
    assert_true(len > 64);
    return tg_slice((const char *)ticket, len);
}

static bool tried(SSL_CTX *client, struct tg_tls_server *s, SSL_SESSION *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);        /* what it gets instead is not kept */
    bool resumed = resumes(client, s, &copy);

    SSL_SESSION_free(copy);
    return resumed;
}

static void two_hours(void **state)
{
    (void)state;
    struct tg_tls_server *s = new_server();

    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX *client = client_of(versions[v]);
        SSL_SESSION *first = NULL, *second = NULL;

        fresh_keys(NULL);
        assert_false(resumes(client, s, &first));        /* the key is born */
        at_minute(59);
        assert_true(tried(client, s, first));
        assert_false(resumes(client, s, &second));       /* under the same key, close to its end */
        assert_memory_equal(ticket_of(first).ptr, ticket_of(second).ptr, 16);
        at_minute(61);
        assert_true(tried(client, s, first));
        assert_true(tried(client, s, second));
        at_minute(119);
        assert_true(tried(client, s, first));
        assert_true(tried(client, s, second));
        at_minute(121);
        assert_false(tried(client, s, first));
        assert_false(tried(client, s, second));
        at_minute(61);
        assert_false(tried(client, s, first));           /* the key is not there any more, whatever the clock says */
        SSL_SESSION_free(first);
        SSL_SESSION_free(second);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

/* Nothing happened for long: what turns the keys is the ticket that comes then. */
static void a_quiet_server(void **state)
{
    (void)state;
    struct tg_tls_server *s = new_server();
    static const struct { int minute; bool want; } cases[] = {{59, true}, {61, true}, {119, true}, {121, false},
                                                              {600, false}, {-10, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases) * 2; i++) {
        SSL_CTX *client = client_of(versions[i % 2]);
        SSL_SESSION *session = NULL;

        fresh_keys(NULL);
        assert_false(resumes(client, s, &session));
        at_minute(cases[i / 2].minute);
        if (tried(client, s, session) != cases[i / 2].want)
            fail_msg("after %d minutes", cases[i / 2].minute);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

/* Who comes back in the second hour gets a ticket of the new key, and so never has to start again. */
static void renewed(void **state)
{
    (void)state;
    struct tg_tls_server *s = new_server();

    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX *client = client_of(versions[v]);
        SSL_SESSION *session = NULL;

        fresh_keys(NULL);
        assert_false(resumes(client, s, &session));
        for (int minute = 50; minute < 600; minute += 50) {
            at_minute(minute);
            if (!resumes(client, s, &session))
                fail_msg("%d minutes after the first handshake", minute);
        }
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

static unsigned tickets;

static int count_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    tickets += SSL_SESSION_has_ticket(session) ? 1 : 0;
    assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
    assert_in_range(SSL_SESSION_get_ticket_lifetime_hint(session), 3600, 7200);
    return 0;
}

/* One a handshake; of TLS 1.2 no new one while the key is current. */
static void how_many(void **state)
{
    (void)state;
    struct tg_tls_server *s = new_server();

    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX *client = client_of(versions[v]);
        SSL_SESSION *session = NULL;

        SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(client, count_ticket);
        tickets = 0;
        assert_false(resumes(client, s, &session));
        assert_int_equal(tickets, 1);
        assert_true(resumes(client, s, &session));
        assert_int_equal(tickets, versions[v] == TLS1_3_VERSION ? 2 : 1);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

/* Any octet of a ticket changed: a full handshake, not a failure and not a resumption. */
static void forged(void **state)
{
    (void)state;
    struct tg_tls_server *s = new_server();

    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX *client = client_of(versions[v]);
        SSL_SESSION *session = NULL;
        struct tg_slice ticket;

        assert_false(resumes(client, s, &session));
        ticket = ticket_of(session);
        for (size_t i = 0; i < ticket.len; i += 7) {
            char *octet = (char *)(uintptr_t)ticket.ptr + i;

            *octet ^= 1;
            if (tried(client, s, session))
                fail_msg("octet %zu of %zu is not looked at", i, ticket.len);
            *octet ^= 1;
        }
        assert_true(tried(client, s, session));
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    tg_tls_server_unref(s);
}

/* ---- workers share the keys while these turn ---- */

static atomic_uint resumed, refused;
static atomic_bool stop;

static void *worker(void *arg)
{
    struct tg_tls_server *s = arg;
    SSL_CTX *client = client_of(TLS1_3_VERSION);
    SSL_SESSION *session = NULL;

    resumes(client, s, &session);
    while (!atomic_load(&stop))
        atomic_fetch_add(resumes(client, s, &session) ? &resumed : &refused, 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    return NULL;
}

static void shared(void **state)
{
    (void)state;
    struct tg_tls_server *s = new_server();
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, worker, s), 0);
    for (int minute = 0; minute < 60 * 50; minute += 10) {
        at_minute(minute);
        usleep(5000);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(resumed > THREADS);
    if (refused > resumed / 10 + THREADS)
        fail_msg("%u resumed, %u refused", resumed, refused);
    tg_tls_server_unref(s);
}

static int set_up(void **state)
{
    (void)state;
    bench_init();
    start_ms = tg_clock_wall_ms();
    leaf = make((struct spec){.cn = "a.test", .san = "DNS:a.test"}, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_clock_set_wall_ms(-1);
    unmake(&leaf);
    bench_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(two_hours, fresh_keys),
        cmocka_unit_test_setup(a_quiet_server, fresh_keys),
        cmocka_unit_test_setup(renewed, fresh_keys),
        cmocka_unit_test_setup(how_many, fresh_keys),
        cmocka_unit_test_setup(forged, fresh_keys),
        cmocka_unit_test_setup(shared, fresh_keys),
    };

    return cmocka_run_group_tests_name("tls_tickets", tests, set_up, tear_down);
}
