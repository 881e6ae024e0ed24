/* credential of a control plane: an API user's exchange, its settings, and how the control thread's calls use it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/credential_internal.h"
#include "../io/http_peer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include <signal.h>
#include <sys/stat.h>

#define YEAR_S (INT64_C(365) * 86400)

/* ---- what is said to an API user ---- */

static const struct {
    const char *why, *body;
    const char *value;                                   /* NULL: refused */
    int64_t life_s;
} answers[] = {
    {"as documented: text", "{\"expiresInSeconds\":\"3600\",\"idToken\":\"abc\"}", "Bearer abc", 3600},
    {"a number", "{\"idToken\":\"abc\",\"expiresInSeconds\":3600}", "Bearer abc", 3600},
    {"other members", "{\"idToken\":\"a\",\"expiresInSeconds\":\"1\",\"x\":[]}", "Bearer a", 1},
    {"not said", "{\"idToken\":\"a\"}", "Bearer a", -1},
    {"ten digits", "{\"idToken\":\"a\",\"expiresInSeconds\":\"9999999999\"}", "Bearer a", YEAR_S},
    {"eleven digits", "{\"idToken\":\"a\",\"expiresInSeconds\":\"10000000000\"}", NULL, 0},
    {"eleven digits of a number", "{\"idToken\":\"a\",\"expiresInSeconds\":10000000000}", NULL, 0},
    {"empty", "{\"idToken\":\"a\",\"expiresInSeconds\":\"\"}", NULL, 0},
    {"negative text", "{\"idToken\":\"a\",\"expiresInSeconds\":\"-1\"}", NULL, 0},
    {"negative", "{\"idToken\":\"a\",\"expiresInSeconds\":-1}", NULL, 0},
    {"over", "{\"idToken\":\"a\",\"expiresInSeconds\":0}", NULL, 0},
    {"a fraction", "{\"idToken\":\"a\",\"expiresInSeconds\":1.5}", NULL, 0},
    {"a word", "{\"idToken\":\"a\",\"expiresInSeconds\":\"1h\"}", NULL, 0},
    {"a truth", "{\"idToken\":\"a\",\"expiresInSeconds\":true}", NULL, 0},
    {"no token", "{\"expiresInSeconds\":\"3600\"}", NULL, 0},
    {"token no text", "{\"idToken\":7,\"expiresInSeconds\":\"3600\"}", NULL, 0},
    {"token ends the line", "{\"idToken\":\"a\\r\\nX: y\",\"expiresInSeconds\":\"3600\"}", NULL, 0},
    {"OAuth's answer", "{\"access_token\":\"a\",\"token_type\":\"bearer\"}", NULL, 0},
    {"a member twice", "{\"idToken\":\"a\",\"idToken\":\"b\"}", NULL, 0},
    {"nothing", "", NULL, 0},
};

static void id_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct tg_credential_answer got = {0};
        struct tg_err err = {0};
        enum tg_status st = tg_credential_id_token_read(tg_slice_str(answers[i].body), &got, &err);

        if ((st == TG_OK) != (answers[i].value != NULL))
            fail_msg("%s: %s", answers[i].why, tg_err_text(&err));
        if (st != TG_OK)
            continue;
        if (!tg_slice_eq(tg_slice(got.text->value, got.text->len), tg_slice_str(answers[i].value)) ||
            got.life_s != answers[i].life_s)
            fail_msg("%s: %lld", answers[i].why, (long long)got.life_s);
        tg_credential_text_unref(got.text);
    }
}

/* ---- the control plane ---- */

static const struct tg_credential_periods quick = {
    .look = 100, .retry_first = 50, .retry_last = 200, .retry_last_empty = 100, .retry_bad = 60000,
    .retry_final = 60000, .retry_after_most = 60000, .again = 60000, .hopeless = 0, .hopeless_bad = 60000,
    .life_unsaid = 60000, .life_most = 60000, .renew_least = 50, .log = 60000,
};

static struct http_peer peer;
static char url[64], token_url[80], dir[64], token_path[96];
static struct {                                          /* under peer.lock */
    unsigned asked, status;
    const char *fields;
    char head[16384];                                    /* of the last question, content too */
} server;

static void script(struct http_peer *p, const char *head, struct tg_buf *out)
{
    struct tg_buf body = {0};

    (void)p;
    server.asked++;
    snprintf(server.head, sizeof(server.head), "%s", head);
    if (server.status == 200)
        tg_buf_addf(&body, "{\"idToken\":\"id-%u\",\"expiresInSeconds\":\"3600\"}", server.asked);
    else
        tg_buf_adds(&body, "{\"error\":\"token lasting-1 is not known\"}");
    http_peer_answer(out, server.status, server.fields, tg_buf_slice(&body));
    tg_buf_fini(&body);
}

#define SERVER(member, value) \
    do { \
        pthread_mutex_lock(&peer.lock); \
        server.member = (value); \
        pthread_mutex_unlock(&peer.lock); \
    } while (0)

static unsigned asked(void)
{
    unsigned n;

    pthread_mutex_lock(&peer.lock);
    n = server.asked;
    pthread_mutex_unlock(&peer.lock);
    return n;
}

static void write_file(const char *text)
{
    assert_int_equal(tg_file_replace(token_path, tg_slice_str(text), 0600, NULL), TG_OK);
}

/* ---- tollgate's side, all on the control thread ---- */

static struct tg_worker *control;
static struct tg_fetcher *fetcher;
static struct tg_credentials *credentials;
static struct tg_credential_settings settings;
static struct tg_credential_source *source;
static struct tg_credential_bearer *bearer;
static char now[128];
static atomic_uint done, gone;
static bool hope;

static enum tg_status init_control(struct tg_worker *w, void *arg, struct tg_err *err)
{
    (void)arg;
    return tg_fetcher_new(w, &fetcher, err);
}

static void fini_control(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_fetcher_free(fetcher);
}

static void make(struct tg_worker *w, void *arg)
{
    (void)arg;
    credentials = tg_credentials_new(w, fetcher);
    tg_credentials_set_periods(credentials, &quick);
    source = tg_credentials_bind(credentials, &settings);
    bearer = tg_credential_bearer_new(source, w);
}

static void unmake(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_credential_bearer_free(bearer);
    tg_credential_source_unref(source);
    tg_credentials_free(credentials);
}

static void read_now(struct tg_worker *w, void *arg)
{
    const struct tg_bearer *b = tg_credential_bearer_of(bearer);
    struct tg_slice value = b->value(b->arg);

    (void)w;
    (void)arg;
    snprintf(now, sizeof(now), TG_S_FMT, TG_S_ARG(value));
}

static const char *current(void)
{
    tg_worker_call(control, read_now, NULL);
    return now;
}

static void await(const char *want)
{
    for (int i = 0; i < 600 && strcmp(current(), want) != 0; i++)
        usleep(5000);
    assert_string_equal(current(), want);
}

static void await_count(atomic_uint *n, unsigned want)
{
    for (int i = 0; i < 600 && atomic_load(n) < want; i++)
        usleep(5000);
    assert_int_equal(atomic_load(n), want);
}

static void tick(void *arg) { atomic_fetch_add((atomic_uint *)arg, 1); }

static void renew(struct tg_worker *w, void *arg)
{
    const struct tg_bearer *b = tg_credential_bearer_of(bearer);
    unsigned before = atomic_load((atomic_uint *)arg);

    (void)w;
    hope = b->renew(b->arg, tick, arg);
    assert_int_equal(atomic_load((atomic_uint *)arg), before); /* never from inside */
}

static void take_back(struct tg_worker *w, void *arg)
{
    const struct tg_bearer *b = tg_credential_bearer_of(bearer);

    (void)w;
    b->cancel(b->arg, arg);
}

/* Before the loop turns: the call is posted already. */
static void renew_and_take_back(struct tg_worker *w, void *arg)
{
    renew(w, arg);
    assert_true(hope);
    take_back(w, arg);
}

static bool describes(const char *words)
{
    struct tg_buf text = {0};
    bool found = false;

    for (int i = 0; i < 300 && !found; i++) {
        tg_credentials_describe(credentials, &text);
        found = strstr(tg_buf_cstr(&text), words) != NULL;
        usleep(found ? 0 : 5000);
        if (!found && i == 299)
            print_message("%s\n", text.data);
        tg_buf_fini(&text);
    }
    return found;
}

static int reset(void **state)
{
    (void)state;
    settings = (struct tg_credential_settings){
        .kind = TG_CREDENTIAL_API_USER, .control_plane = true, .token_url = tg_slice_str(token_url), .timeout_ms = 1000,
        .token_file = tg_slice_str(token_path), .client = {.method = TG_CLIENT_NONE},
    };
    write_file("lasting-1\n");
    http_peer_delay(&peer, 0);
    SERVER(asked, 0);
    SERVER(status, 200);
    SERVER(fields, "");
    atomic_store(&done, 0);
    atomic_store(&gone, 0);
    return 0;
}

static int setup(void **state)
{
    struct tg_worker_hooks hooks = {init_control, fini_control, NULL};
    struct tg_err err;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    tg_log_set_level(TG_LOG_OFF);
    strcpy(dir, "/tmp/tollgate-home-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(token_path, sizeof(token_path), "%s/api-user", dir);
    peer.script = script;
    http_peer_start(&peer);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/api/v0", peer.port);
    snprintf(token_url, sizeof(token_url), "%s/token", url);
    assert_int_equal(tg_worker_start(256, "control", &hooks, &control, &err), TG_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_worker_stop(control);
    http_peer_stop(&peer);
    unlink(token_path);
    rmdir(dir);
    return 0;
}

/* ---- the exchange ---- */

static void exchange(void **state)
{
    (void)state;
    tg_worker_call(control, make, NULL);
    await("Bearer id-1");
    assert_non_null(strstr(server.head, "POST /api/v0/token HTTP/1.1\r\n"));
    assert_non_null(strstr(server.head, "\r\nContent-Type: application/json\r\n"));
    assert_null(strstr(server.head, "Authorization"));
    assert_non_null(strstr(server.head, "\r\n\r\n{\"refreshToken\":\"lasting-1\"}"));
    assert_true(describes("/api/v0/token (API user): a token for 3"));
    tg_worker_call(control, unmake, NULL);
}

static void token_of_the_configuration(void **state)
{
    (void)state;
    settings.token_file = (struct tg_slice){NULL, 0};
    settings.api_user_token = TG_S("from-the-environment");
    tg_worker_call(control, make, NULL);
    await("Bearer id-1");
    assert_non_null(strstr(server.head, "{\"refreshToken\":\"from-the-environment\"}"));
    tg_worker_call(control, unmake, NULL);
}

/* 400 is final: not asked again until the file holds another token. */
static void refused_for_good(void **state)
{
    (void)state;
    SERVER(status, 400);
    tg_worker_call(control, make, NULL);
    assert_true(describes("no token; the token endpoint answers with status 400\n"));
    tg_worker_call(control, renew, &done);
    assert_false(hope);
    usleep(500000);
    assert_int_equal(asked(), 1);
    SERVER(status, 200);
    write_file("lasting-2\n");
    await("Bearer id-2");
    assert_non_null(strstr(server.head, "lasting-2"));
    tg_worker_call(control, unmake, NULL);
}

static void other_trouble_passes(void **state)
{
    static const unsigned statuses[] = {401, 403, 429, 500, 503};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        SERVER(asked, 0);
        SERVER(status, statuses[i]);
        tg_worker_call(control, make, NULL);
        for (int n = 0; n < 600 && asked() < 3; n++)
            usleep(5000);
        assert_true(asked() >= 3);
        SERVER(status, 200);
        for (int n = 0; n < 600 && !*current(); n++)
            usleep(5000);
        assert_string_not_equal(current(), "");
        tg_worker_call(control, unmake, NULL);
    }
}

static void waits_as_long_as_it_is_told(void **state)
{
    (void)state;
    SERVER(status, 429);
    SERVER(fields, "Retry-After: 1\r\n");
    tg_worker_call(control, make, NULL);
    assert_true(describes("status 429"));
    usleep(700000);
    assert_int_equal(asked(), 1);
    for (int n = 0; n < 200 && asked() < 2; n++)
        usleep(5000);
    assert_int_equal(asked(), 2);
    tg_worker_call(control, unmake, NULL);
}

/* ---- as calls use it ---- */

static void one_exchange_for_all_who_wait(void **state)
{
    (void)state;
    http_peer_delay(&peer, 150);
    tg_worker_call(control, make, NULL);
    for (int i = 0; i < 20; i++) {
        tg_worker_call(control, renew, &done);
        assert_true(hope);
    }
    await_count(&done, 20);
    assert_string_equal(current(), "Bearer id-1");
    assert_int_equal(asked(), 1);
    tg_worker_call(control, renew, &done);               /* the control plane said 401 */
    assert_true(hope);
    await_count(&done, 21);
    assert_string_equal(current(), "Bearer id-2");
    tg_worker_call(control, renew, &done);               /* and again: not before a while has passed */
    assert_false(hope);
    assert_int_equal(asked(), 2);
    tg_worker_call(control, unmake, NULL);
}

static void taken_back(void **state)
{
    (void)state;
    http_peer_delay(&peer, 100);
    tg_worker_call(control, make, NULL);
    tg_worker_call(control, renew, &done);
    tg_worker_call(control, renew, &gone);
    tg_worker_call(control, renew, &gone);
    tg_worker_call(control, take_back, &gone);
    await_count(&done, 1);
    tg_worker_call(control, renew_and_take_back, &gone); /* there is a newer one than it knows */
    usleep(50000);
    assert_int_equal(atomic_load(&gone), 0);
    assert_string_equal(current(), "Bearer id-1");
    tg_worker_call(control, renew, &gone);
    tg_worker_call(control, unmake, NULL);               /* freed while somebody waits */
    usleep(200000);
    assert_int_equal(atomic_load(&gone), 0);
}

/* ---- settings ---- */

static struct tg_arena arena;
static struct tg_tree *tree;
static struct tg_problems problems;

static bool reads(const char *text, const char *base)
{
    struct tg_credential_home home = {.url = tg_slice_str(base), .ca_file = TG_S_INIT("/of/sync.pem"),
                                      .proxy = TG_S_INIT("http://127.0.0.1:3128"), .allow_http = true};
    char document[512];

    tg_tree_free(tree);
    tg_problems_fini(&problems);
    snprintf(document, sizeof(document), "credential: %s", text);
    assert_int_equal(tg_tree_parse("t", tg_slice_str(document), &tree, NULL), TG_OK);
    return tg_home_credential_read(tree, tg_json_get(tree->root, "credential"), "sync.credential", &home, &arena,
                                   &settings, &problems);
}

static void names(const char *text, const char *words)
{
    if (reads(text, "https://cp.example/api/v0"))
        fail_msg("taken: %s", text);
    for (size_t i = 0; i < problems.count; i++)
        if (strstr(problems.items[i].text, words))
            return;
    fail_msg("%s: %s", text, problems.items[0].text);
}

static void sections(void **state)
{
    char text[256];

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    snprintf(text, sizeof(text), "{api_user_token_file: %s}", token_path);
    assert_true(reads(text, "https://cp.example/api/v0/"));
    assert_int_equal(settings.kind, TG_CREDENTIAL_API_USER);
    assert_string_equal(settings.token_url.ptr, "https://cp.example/api/v0/token");
    assert_string_equal(settings.ca_file.ptr, "/of/sync.pem"); /* the section's, as it is the same server */
    assert_string_equal(settings.proxy.ptr, "http://127.0.0.1:3128");
    assert_true(settings.allow_http);
    assert_true(reads("{api_user_token: abc, allow_http: false, token_url: https://other.example/t}", ""));
    assert_string_equal(settings.token_url.ptr, "https://other.example/t");
    assert_string_equal(settings.api_user_token.ptr, "abc");
    assert_false(settings.allow_http);
    snprintf(text, sizeof(text), "{token_file: %s}", token_path);
    assert_true(reads(text, "https://cp.example/api/v0"));
    assert_int_equal(settings.kind, TG_CREDENTIAL_FILE);
    assert_false(reads("{api_user_token: abc}", ""));    /* of a bundle: there is no API that is known */
    names("{}", "api_user_token_file is needed");
    names("[]", "a mapping of settings");
    names("{api_user_token: \"a b\"}", "not one word");
    names("{api_user_token: abc, grant: jwt_bearer}", "sync.credential.grant: an API user has no use for it");
    names("{api_user_token: abc, token_file: /x}", "sync.credential.token_file: an API user has no use");
    names("{api_user_token_file: /nonexistent}", "/nonexistent");
    names("{api_user_token: abc, token_url: \"ftp://x\"}", "sync.credential.token_url: not an https URL");
    names("{api_user_tokens: abc}", "did you mean");
    snprintf(text, sizeof(text), "{api_user_token_file: %s, api_user_token: abc}", token_path);
    names(text, "not both");
    chmod(token_path, 0644);
    snprintf(text, sizeof(text), "{api_user_token_file: %s}", token_path);
    assert_true(reads(text, "https://cp.example/api/v0"));
    assert_int_equal(problems.count, 1);                 /* a warning */
    assert_non_null(strstr(problems.items[0].text, "everybody may read"));
    tg_tree_free(tree);
    tree = NULL;
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
}

/* An API user is a control plane's: a route does not take one. */
static void not_of_a_route(void **state)
{
    struct tg_credential_settings out;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_tree_parse("t", TG_S("a: {api_user_token: x}"), &tree, NULL), TG_OK);
    assert_false(tg_credential_settings_read(tree, tg_json_get(tree->root, "a"), "a", &arena, &out, &problems));
    assert_non_null(strstr(problems.items[0].text, "api_user_token"));
    tg_tree_free(tree);
    tree = NULL;
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_tokens),
        cmocka_unit_test_setup(exchange, reset),
        cmocka_unit_test_setup(token_of_the_configuration, reset),
        cmocka_unit_test_setup(refused_for_good, reset),
        cmocka_unit_test_setup(other_trouble_passes, reset),
        cmocka_unit_test_setup(waits_as_long_as_it_is_told, reset),
        cmocka_unit_test_setup(one_exchange_for_all_who_wait, reset),
        cmocka_unit_test_setup(taken_back, reset),
        cmocka_unit_test_setup(sections, reset),
        cmocka_unit_test_setup(not_of_a_route, reset),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
