/* introspection: a scripted provider on one side, threads that ask on the other. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/introspect_internal.h"
#include "../io/http_peer.h"
#include "base/clock.h"
#include "base/log.h"
#include <signal.h>
#include <stdio.h>

#define THREADS 4

/* ---- the provider ---- */

static struct http_peer peer;
static char issuer[64], endpoint[80], secret_file[64];
static struct {                                          /* under peer.lock */
    char body[512], last[2048], said_issuer[80];
    unsigned status, asked, discoveries;
    const char *raw;
} provider;

static void script(struct http_peer *p, const char *head, struct tg_buf *out)
{
    struct tg_buf body = {0};

    (void)p;
    if (strncmp(head, "GET /.well-known/openid-configuration ", 38) == 0) {
        provider.discoveries++;
        tg_buf_addf(&body, "{\"issuer\":\"%s\",\"introspection_endpoint\":\"%s\"}", provider.said_issuer, endpoint);
        http_peer_answer(out, 200, "", tg_buf_slice(&body));
        tg_buf_fini(&body);
        return;
    }
    assert_int_equal(strncmp(head, "POST /introspect ", 17), 0);
    provider.asked++;
    snprintf(provider.last, sizeof(provider.last), "%s", head);
    if (provider.raw)
        tg_buf_adds(out, provider.raw);
    else
        http_peer_answer(out, provider.status, "", tg_slice_str(provider.body));
}

static void says(unsigned status, const char *body)
{
    pthread_mutex_lock(&peer.lock);
    provider.status = status;
    snprintf(provider.body, sizeof(provider.body), "%s", body);
    pthread_mutex_unlock(&peer.lock);
}

static unsigned asked(void)
{
    unsigned n;

    pthread_mutex_lock(&peer.lock);
    n = provider.asked;
    pthread_mutex_unlock(&peer.lock);
    return n;
}

static bool was_sent(const char *words)
{
    bool found;

    pthread_mutex_lock(&peer.lock);
    found = strstr(provider.last, words) != NULL;
    pthread_mutex_unlock(&peer.lock);
    return found;
}

/* ---- tollgate's side ---- */

static struct tg_worker *control, *workers[THREADS];
static struct tg_fetcher *fetcher;
static struct tg_introspector *introspector;
static struct tg_slice audience = TG_S_INIT("api");
static struct tg_introspection_settings settings;
static struct tg_provider item;
static struct tg_providers providers = {&item, 1};

static void make(struct tg_worker *w, void *arg)
{
    (void)arg;
    introspector = tg_introspector_new(w, fetcher);
    tg_introspector_bind(introspector, &providers);
}

static void bind_again(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_introspector_bind(introspector, arg);
}

static void destroy(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_introspector_free(introspector);
    introspector = NULL;
}

static void up(void)
{
    tg_worker_call(control, make, NULL);
}

static void release(struct tg_provider *p)
{
    p->release_asked(p->asked);
    p->asked = NULL;
}

static void down(void)
{
    tg_worker_call(control, destroy, NULL);
    release(&item);
}

struct asking {
    struct tg_introspection *i;
    struct tg_slice token;
    enum tg_vouched vouched;
    enum tg_introspect_asking asking;
    enum tg_introspect_state state;
    struct tg_introspection_answer *answer;
    bool waited, forget;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
};

static void end(struct asking *q)
{
    pthread_mutex_lock(&q->lock);
    q->over = true;
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->lock);
}

static void look(struct asking *q, bool again)
{
    uint8_t digest[TG_SHA256_LEN];

    tg_sha256(q->token, digest);
    q->state = tg_introspection_look(q->i, digest, tg_clock_wall_ms(), again, &q->answer);
}

static void told(struct tg_worker *w, void *arg)
{
    struct asking *q = arg;

    (void)w;
    assert_false(q->forget);
    q->waited = true;
    look(q, true);
    end(q);
}

static void begin(struct tg_worker *w, void *arg)
{
    struct asking *q = arg;
    uint8_t digest[TG_SHA256_LEN];

    look(q, false);
    if (q->state != TG_INTROSPECT_UNKNOWN) {
        end(q);
        return;
    }
    tg_sha256(q->token, digest);
    q->asking = tg_introspection_ask(q->i, q->token, digest, q->vouched, tg_clock_wall_ms(), w, told, q);
    if (q->asking != TG_INTROSPECT_ASKED || (q->forget && tg_introspection_forget(q->i, q)))
        end(q);
}

static void start(struct asking *q, unsigned thread, const char *token)
{
    q->i = item.asked;
    q->token = tg_slice_str(token);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->cond, NULL);
    tg_worker_post(workers[thread % THREADS], begin, q);
}

static void wait(struct asking *q)
{
    pthread_mutex_lock(&q->lock);
    while (!q->over)
        pthread_cond_wait(&q->cond, &q->lock);
    pthread_mutex_unlock(&q->lock);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->cond);
}

/* The state in the end; UNKNOWN when it may not be asked. `claims`: what they must hold; NULL: any. */
static enum tg_introspect_state ask_as(enum tg_vouched vouched, const char *token, const char *claims)
{
    struct asking q = {.vouched = vouched};

    start(&q, 0, token);
    wait(&q);
    if (claims) {
        char *text = q.answer ? tg_slice_dup(q.answer->claims) : NULL;

        if (!text || !strstr(text, claims))
            fail_msg("%s: %s", token, text ? text : "no answer");
        free(text);
    }
    tg_introspection_answer_unref(q.answer);
    return q.state;
}

static enum tg_introspect_state ask(const char *token)
{
    return ask_as(TG_VOUCHED_ROOM, token, NULL);
}

static bool describes(const char *words)
{
    struct tg_buf text = {0};
    bool found;

    tg_introspector_describe(introspector, &text);
    found = strstr(tg_buf_cstr(&text), words) != NULL;
    if (!found)
        print_message("%s", text.data);
    tg_buf_fini(&text);
    return found;
}

static void write_secret(const char *text)
{
    FILE *f = fopen(secret_file, "w");

    fputs(text, f);
    fclose(f);
}

static int reset(void **state)
{
    (void)state;
    pthread_mutex_lock(&peer.lock);
    provider.asked = provider.discoveries = 0;
    provider.raw = NULL;
    snprintf(provider.said_issuer, sizeof(provider.said_issuer), "%s", issuer);
    pthread_mutex_unlock(&peer.lock);
    http_peer_delay(&peer, 0);
    says(200, "{\"active\":true,\"sub\":\"a\",\"exp\":99999999999}");
    write_secret("s3cret&\n");
    settings = (struct tg_introspection_settings){
        .url = tg_slice_str(endpoint), .client = {.method = TG_CLIENT_BASIC, .client_id = TG_S("me"),
                                                  .secret_file = tg_slice_str(secret_file)},
        .accept_opaque = true, .ttl_ms = 30000, .negative_ttl_ms = 5000, .timeout_ms = 1000, .rate = 1000};
    memset(&item, 0, sizeof(item));
    item.name = TG_S("corp");
    item.issuer = tg_slice_str(issuer);
    item.rules = (struct tg_jwt_rules){.issuer = item.issuer, .audiences = &audience, .audience_count = 1,
                                       .leeway_s = 30};
    item.introspection = &settings;
    return 0;
}

/* ---- tests ---- */

static void keeps_answers(void **state)
{
    (void)state;
    up();
    assert_int_equal(ask_as(TG_VOUCHED_ROOM, "t+1&", "\"sub\":\"a\""), TG_INTROSPECT_ACTIVE);
    assert_true(was_sent("\r\n\r\ntoken=t%2B1%26"));
    assert_true(was_sent("\r\nAuthorization: Basic bWU6czNjcmV0JTI2\r\n"));
    assert_true(was_sent("\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
    assert_int_equal(ask("t+1&"), TG_INTROSPECT_ACTIVE);
    says(200, "{\"active\":false}");
    assert_int_equal(ask("other"), TG_INTROSPECT_INACTIVE);
    assert_int_equal(ask("other"), TG_INTROSPECT_INACTIVE);
    assert_int_equal(ask("t+1&"), TG_INTROSPECT_ACTIVE);
    assert_int_equal(asked(), 2);
    assert_true(describes("corp: tokens are asked about\n"));
    down();
}

static void times_of_answers(void **state)
{
    int64_t now_ms = tg_clock_wall_ms() / 1000 * 1000;
    struct asking q = {0};
    char body[128];

    (void)state;
    up();
    tg_clock_set_wall_ms(now_ms);
    snprintf(body, sizeof(body), "{\"active\":true,\"sub\":\"a\",\"exp\":%lld}", (long long)now_ms / 1000 + 10);
    says(200, body);
    start(&q, 0, "short");                               /* min(ttl, exp - now) */
    wait(&q);
    assert_int_equal(q.state, TG_INTROSPECT_ACTIVE);
    assert_int_equal(q.answer->until_ms, now_ms + 10000);
    assert_int_equal(q.answer->exp_s, now_ms / 1000 + 10);
    tg_introspection_answer_unref(q.answer);
    says(200, "{\"active\":true,\"sub\":\"a\"}");
    memset(&q, 0, sizeof(q));
    start(&q, 0, "no exp");
    wait(&q);
    assert_int_equal(q.answer->until_ms, now_ms + 30000);
    assert_int_equal(q.answer->exp_s, INT64_MAX);
    tg_introspection_answer_unref(q.answer);
    tg_clock_set_wall_ms(now_ms + 10000);
    says(200, "{\"active\":false}");
    assert_int_equal(ask("no exp"), TG_INTROSPECT_ACTIVE);
    assert_int_equal(ask("short"), TG_INTROSPECT_INACTIVE);
    assert_int_equal(asked(), 3);
    tg_clock_set_wall_ms(-1);
    down();
}

static void ttl_of_nought(void **state)
{
    (void)state;
    settings.ttl_ms = settings.negative_ttl_ms = 0;
    up();
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask("a"), TG_INTROSPECT_ACTIVE);
    says(200, "{\"active\":false}");
    assert_int_equal(ask("a"), TG_INTROSPECT_INACTIVE);
    assert_int_equal(ask("a"), TG_INTROSPECT_INACTIVE);
    assert_int_equal(asked(), 5);
    down();
}

static void answers(void **state)
{
    static const struct { const char *why, *body; enum tg_introspect_state want; const char *claims; } cases[] = {
        {"iss is added", "{\"active\":true,\"sub\":\"a\"}", TG_INTROSPECT_ACTIVE, "\"iss\":\"http://127.0.0.1:"},
        {"and `active` is no claim", "{\"sub\":\"a\",\"active\":true,\"n\":1.50}", TG_INTROSPECT_ACTIVE, "{\"sub\""},
        {"aud", "{\"active\":true,\"sub\":\"a\",\"aud\":[\"x\",\"api\"]}", TG_INTROSPECT_ACTIVE, NULL},
        {"another aud", "{\"active\":true,\"sub\":\"a\",\"aud\":[\"x\"]}", TG_INTROSPECT_INACTIVE, NULL},
        {"another iss", "{\"active\":true,\"sub\":\"a\",\"iss\":\"https://evil\"}", TG_INTROSPECT_INACTIVE, NULL},
        {"sub is no text", "{\"active\":true,\"sub\":1}", TG_INTROSPECT_INACTIVE, NULL},
        {"empty sub", "{\"active\":true,\"sub\":\"\"}", TG_INTROSPECT_INACTIVE, NULL},
        {"exp is past", "{\"active\":true,\"sub\":\"a\",\"exp\":1}", TG_INTROSPECT_INACTIVE, NULL},
        {"nbf ahead", "{\"active\":true,\"sub\":\"a\",\"nbf\":99999999999}", TG_INTROSPECT_INACTIVE, NULL},
        {"exp is text", "{\"active\":true,\"sub\":\"a\",\"exp\":\"9\"}", TG_INTROSPECT_INACTIVE, NULL},
        {"bearer", "{\"active\":true,\"sub\":\"a\",\"token_type\":\"bearer\"}", TG_INTROSPECT_ACTIVE, NULL},
        {"DPoP", "{\"active\":true,\"sub\":\"a\",\"token_type\":\"DPoP\"}", TG_INTROSPECT_ACTIVE, NULL},
        {"another kind", "{\"active\":true,\"sub\":\"a\",\"token_type\":\"N_A\"}", TG_INTROSPECT_INACTIVE, NULL},
        {"a refresh token", "{\"active\":true,\"sub\":\"a\",\"typ\":\"Refresh\"}", TG_INTROSPECT_INACTIVE, NULL},
        {"Hydra's", "{\"active\":true,\"sub\":\"a\",\"token_use\":\"refresh_token\"}", TG_INTROSPECT_INACTIVE, NULL},
        {"active is text", "{\"active\":\"true\",\"sub\":\"a\"}", TG_INTROSPECT_FAILED, NULL},
        {"active is a number", "{\"active\":1,\"sub\":\"a\"}", TG_INTROSPECT_FAILED, NULL},
        {"no active", "{\"sub\":\"a\"}", TG_INTROSPECT_FAILED, NULL},
        {"active twice", "{\"active\":false,\"active\":true,\"sub\":\"a\"}", TG_INTROSPECT_FAILED, NULL},
        {"a list", "[true]", TG_INTROSPECT_FAILED, NULL},
        {"no JSON", "active=true", TG_INTROSPECT_FAILED, NULL},
        {"empty", "", TG_INTROSPECT_FAILED, NULL},
        {"trailing bytes", "{\"active\":true,\"sub\":\"a\"}}", TG_INTROSPECT_FAILED, NULL},
    };
    char token[16];

    (void)state;
    up();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum tg_introspect_state got;

        snprintf(token, sizeof(token), "t%zu", i);
        says(200, cases[i].body);
        got = ask_as(TG_VOUCHED_ROOM, token, cases[i].claims);
        if (got != cases[i].want)
            fail_msg("%s: %d", cases[i].why, got);
    }
    down();
}

static void trouble(void **state)
{
    struct tg_buf large = {0};
    const struct { unsigned status; const char *raw, *words; } cases[] = {
        {500, NULL, "status 500"},
        {503, NULL, "status 503"},
        {204, NULL, "status 204"},
        {302, NULL, "redirects are not followed"},
        {400, NULL, "tollgate's own credential (status 400)"},
        {401, NULL, "tollgate's own credential (status 401)"},
        {0, "", "closed without an answer"},
        {0, "HTTP/1.1 200 x\r\nContent-Length: 99\r\n\r\n{\"active\":true,\"sub\":\"a\"}", "cut short"},
        {0, NULL, "larger than 65536 bytes"},
    };

    (void)state;
    tg_buf_adds(&large, "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n{\"active\":true,\"sub\":\"a\"");
    for (int i = 0; i < 70000; i++)
        tg_buf_addc(&large, ' ');
    tg_buf_addc(&large, '}');
    up();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        says(cases[i].status, "{\"active\":true,\"sub\":\"a\"}");
        pthread_mutex_lock(&peer.lock);
        provider.raw = cases[i].status ? NULL : cases[i].raw ? cases[i].raw : tg_buf_cstr(&large);
        pthread_mutex_unlock(&peer.lock);
        assert_int_equal(ask("a"), TG_INTROSPECT_FAILED);
        assert_true(describes(cases[i].words));
    }
    assert_int_equal(asked(), ARRAY_LEN(cases));         /* none of it is kept */
    pthread_mutex_lock(&peer.lock);
    provider.raw = NULL;
    pthread_mutex_unlock(&peer.lock);
    says(200, "{\"active\":true,\"sub\":\"a\"}");
    assert_int_equal(ask("a"), TG_INTROSPECT_ACTIVE);
    assert_true(describes("corp: tokens are asked about\n"));
    down();
    tg_buf_fini(&large);
}

static void slow_provider(void **state)
{
    int64_t begin_ms = tg_clock_mono_ms();

    (void)state;
    settings.timeout_ms = 100;
    up();
    http_peer_delay(&peer, 300);
    assert_int_equal(ask("a"), TG_INTROSPECT_FAILED);
    assert_in_range(tg_clock_mono_ms() - begin_ms, 90, 290);
    assert_true(describes("no whole answer within 100 ms"));
    down();
}

static void no_secret(void **state)
{
    (void)state;
    up();
    unlink(secret_file);
    assert_int_equal(ask("a"), TG_INTROSPECT_FAILED);
    assert_int_equal(asked(), 0);
    write_secret("new one");                             /* counts at once */
    assert_int_equal(ask("a"), TG_INTROSPECT_ACTIVE);
    assert_true(was_sent("\r\nAuthorization: Basic bWU6bmV3K29uZQ==\r\n"));
    down();
}

static void discovers(void **state)
{
    (void)state;
    settings.url = tg_slice(NULL, 0);
    pthread_mutex_lock(&peer.lock);
    snprintf(provider.said_issuer, sizeof(provider.said_issuer), "https://evil");
    pthread_mutex_unlock(&peer.lock);
    up();
    assert_int_equal(ask("a"), TG_INTROSPECT_FAILED);
    assert_true(describes("equal to the last byte"));
    assert_int_equal(ask("a"), TG_INTROSPECT_FAILED);    /* not asked for again within a second */
    assert_int_equal(provider.discoveries, 1);
    pthread_mutex_lock(&peer.lock);
    snprintf(provider.said_issuer, sizeof(provider.said_issuer), "%s", issuer);
    pthread_mutex_unlock(&peer.lock);
    usleep(1050000);
    for (int i = 0; i < 3; i++) {
        char token[8];

        snprintf(token, sizeof(token), "t%d", i);
        assert_int_equal(ask(token), TG_INTROSPECT_ACTIVE);
    }
    assert_int_equal(provider.discoveries, 2);
    says(404, "");                                       /* perhaps it moved */
    assert_int_equal(ask("b"), TG_INTROSPECT_FAILED);
    says(200, "{\"active\":true,\"sub\":\"a\"}");
    assert_int_equal(ask("b"), TG_INTROSPECT_ACTIVE);
    assert_int_equal(provider.discoveries, 3);
    down();
}

static void one_question_at_a_time(void **state)
{
    struct asking all[64] = {0};

    (void)state;
    up();
    http_peer_delay(&peer, 60);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        all[i].vouched = i % 2 ? TG_VOUCHED_ROOM : TG_VOUCHED_NO_ROOM;
        if (i == 0)
            all[i].vouched = TG_VOUCHED_ROOM;
        start(&all[i], i, "same");
        if (i == 0)
            usleep(20000);                               /* whoever has no room may still wait with others */
    }
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        wait(&all[i]);
        assert_int_equal(all[i].state, TG_INTROSPECT_ACTIVE);
        tg_introspection_answer_unref(all[i].answer);
    }
    assert_int_equal(asked(), 1);
    down();
}

static void forgets(void **state)
{
    struct asking all[32] = {0};
    unsigned taken_back = 0;

    (void)state;
    up();
    http_peer_delay(&peer, 30);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        all[i].forget = i % 2;
        start(&all[i], i, i % 3 ? "one" : "two");
    }
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        wait(&all[i]);
        taken_back += !all[i].waited;
        tg_introspection_answer_unref(all[i].answer);
    }
    assert_int_equal(taken_back, ARRAY_LEN(all) / 2);
    assert_false(tg_introspection_forget(item.asked, all));
    down();
}

/* Tokens come and are taken back from several threads while answers arrive. */
static void many_threads(void **state)
{
    enum { N = 600 };
    struct asking *all = TG_NEW_ARRAY(struct asking, N);
    char token[N][12];

    (void)state;
    settings.ttl_ms = 0;
    settings.rate = 10000;
    up();
    for (unsigned i = 0; i < N; i++) {
        snprintf(token[i], sizeof(token[i]), "t%u", i % 37);
        all[i].vouched = i % 5 ? TG_VOUCHED_ROOM : TG_VOUCHED_SIGNED;
        start(&all[i], i, token[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        wait(&all[i]);
        assert_int_equal(all[i].state, TG_INTROSPECT_ACTIVE);
        tg_introspection_answer_unref(all[i].answer);
    }
    down();
    free(all);
}

static void budget(void **state)
{
    char token[16];
    struct asking q;

    (void)state;
    settings.rate = 4;
    settings.ttl_ms = settings.negative_ttl_ms = 0;
    up();
    assert_int_equal(ask("good"), TG_INTROSPECT_ACTIVE);
    says(200, "{\"active\":false}");
    for (unsigned i = 0; i < 50; i++) {                  /* junk, each new, from an address with room and without */
        snprintf(token, sizeof(token), "junk%u", i);
        memset(&q, 0, sizeof(q));
        q.vouched = i % 2 ? TG_VOUCHED_ROOM : TG_VOUCHED_NO_ROOM;
        start(&q, i, token);
        wait(&q);
        if (i % 2 == 0)
            assert_int_equal(q.asking, TG_INTROSPECT_NO_ROOM);
    }
    assert_in_range(asked(), 4, 6);                      /* `good`, and what newcomers have */
    says(200, "{\"active\":true,\"sub\":\"a\"}");
    for (int i = 0; i < 10; i++)                         /* was active: always, and without room */
        assert_int_equal(ask_as(TG_VOUCHED_NO_ROOM, "good", NULL), TG_INTROSPECT_ACTIVE);
    for (int i = 0; i < 10; i++) {                       /* signed: always */
        snprintf(token, sizeof(token), "signed%d", i);
        assert_int_equal(ask_as(TG_VOUCHED_SIGNED, token, NULL), TG_INTROSPECT_ACTIVE);
    }
    memset(&q, 0, sizeof(q));
    q.vouched = TG_VOUCHED_NO_ROOM;
    start(&q, 0, "newcomer");
    wait(&q);
    assert_int_equal(q.asking, TG_INTROSPECT_NO_ROOM);
    assert_int_equal(ask_as(TG_VOUCHED_NO_ROOM, "newcomer", NULL), TG_INTROSPECT_ACTIVE); /* shown again */
    down();
}

static void reloads(void **state)
{
    struct tg_introspection_settings changed;
    struct tg_provider second = item;
    struct tg_providers newer = {&second, 1};
    struct tg_introspection *before;

    (void)state;
    up();
    before = item.asked;
    assert_int_equal(ask("a"), TG_INTROSPECT_ACTIVE);
    changed = settings;                                  /* another secret and rate: the same answers */
    changed.client.method = TG_CLIENT_POST;
    changed.rate = 7;
    second.introspection = &changed;
    second.rules.audiences = &(struct tg_slice){"api", 3};
    tg_worker_call(control, bind_again, &newer);
    assert_ptr_equal(second.asked, before);
    release(&item);
    item.asked = second.asked;
    assert_int_equal(ask("a"), TG_INTROSPECT_ACTIVE);
    assert_int_equal(asked(), 1);
    assert_int_equal(ask("b"), TG_INTROSPECT_ACTIVE);
    assert_true(was_sent("&client_id=me&client_secret=s3cret%26"));
    assert_false(was_sent("Authorization"));
    second.asked = NULL;
    second.rules.audiences = &(struct tg_slice){"other", 5}; /* what it answers would be judged otherwise */
    tg_worker_call(control, bind_again, &newer);
    assert_ptr_not_equal(second.asked, before);
    release(&item);
    item.asked = second.asked;
    assert_int_equal(ask("a"), TG_INTROSPECT_ACTIVE);
    assert_int_equal(asked(), 3);
    second.asked = NULL;
    second.introspection = NULL;                         /* none introspects any more */
    tg_worker_call(control, bind_again, &newer);
    assert_null(second.asked);
    down();
}

/* The introspector goes while questions are open: who waits is told, and nobody is left behind. */
static void gives_up(void **state)
{
    struct asking all[16] = {0};
    char token[16][8];

    (void)state;
    up();
    http_peer_delay(&peer, 200);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        snprintf(token[i], sizeof(token[i]), "t%u", i);
        start(&all[i], i, token[i]);
    }
    usleep(20000);
    tg_worker_call(control, destroy, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        wait(&all[i]);
        assert_int_equal(all[i].state, TG_INTROSPECT_FAILED);
    }
    assert_int_equal(ask("later"), TG_INTROSPECT_FAILED);
    release(&item);
}

static void reads_settings(void **state)
{
    static const struct { const char *why, *text, *words; } cases[] = {
        {"least", "{client_id: a, client_secret_file: SECRET}", NULL},
        {"all", "{url: 'https://i/x', client_id: a, client_secret_file: SECRET, for: always, accept_opaque: false, "
                "ttl: 0s, negative_ttl: 10s, timeout: 1s, rate: 1, auth_method: post}", NULL},
        {"ttl", "{client_id: a, client_secret_file: SECRET, ttl: 6m}", "p.ttl"},
        {"negative_ttl", "{client_id: a, client_secret_file: SECRET, negative_ttl: 11s}", "p.negative_ttl"},
        {"rate", "{client_id: a, client_secret_file: SECRET, rate: 0}", "p.rate"},
        {"http", "{url: 'http://i/x', client_id: a, client_secret_file: SECRET}", "p.url: http is for loopback"},
        {"asks nothing", "{client_id: a, client_secret_file: SECRET, accept_opaque: false}", "p.accept_opaque"},
        {"no credential", "{client_id: a}", "p.client_secret_file"},
        {"typing error", "{client_id: a, client_secret: x}", "client_secret"},
        {"no mapping", "[1]", "a mapping of settings is needed"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_introspection_settings s;
        struct tg_problems problems = {0};
        struct tg_arena arena;
        struct tg_tree *tree;
        char text[512];
        const char *at = strstr(cases[i].text, "SECRET");

        tg_arena_init(&arena, NULL, 0);
        if (at)
            snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - cases[i].text), cases[i].text, secret_file, at + 6);
        else
            snprintf(text, sizeof(text), "%s", cases[i].text);
        assert_int_equal(tg_tree_parse("/f", tg_slice_str(text), &tree, NULL), TG_OK);
        item.issuer = TG_S("https://i");
        if (tg_introspection_settings_read(tree, tree->root, "p", &item, &arena, &s, &problems) != !cases[i].words)
            fail_msg("%s: %s", cases[i].why, problems.count ? problems.items[0].text : "taken");
        if (cases[i].words && !strstr(problems.items[0].text, cases[i].words))
            fail_msg("%s: %s", cases[i].why, problems.items[0].text);
        if (i == 0)
            assert_true(!s.always && s.accept_opaque && s.ttl_ms == 30000 && s.negative_ttl_ms == 5000 &&
                        s.timeout_ms == 5000 && s.rate == 20 && s.client.method == TG_CLIENT_BASIC && !s.url.len);
        if (i == 1)
            assert_true(s.always && !s.accept_opaque && s.ttl_ms == 0 && s.rate == 1 &&
                        s.client.method == TG_CLIENT_POST && s.url.len);
        tg_introspection_settings_fini(&s);
        tg_problems_fini(&problems);
        tg_tree_free(tree);
        tg_arena_fini(&arena);
    }
}

/* ---- around ---- */

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

static int setup(void **state)
{
    struct tg_worker_hooks hooks = {init_control, fini_control, NULL}, none = {0};
    bool ok;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    tg_log_set_level(getenv("TOLLGATE_TEST_LOG") ? TG_LOG_INFO : TG_LOG_OFF);
    strcpy(secret_file, "/tmp/tollgate-secret-XXXXXX");
    close(mkstemp(secret_file));
    peer.script = script;
    http_peer_start(&peer);
    snprintf(issuer, sizeof(issuer), "http://127.0.0.1:%u", peer.port);
    snprintf(endpoint, sizeof(endpoint), "%s/introspect", issuer);
    ok = tg_worker_start(200, "control", &hooks, &control, NULL) == TG_OK;
    for (unsigned i = 0; i < THREADS; i++)
        ok = ok && tg_worker_start(i, "worker", &none, &workers[i], NULL) == TG_OK;
    return !ok;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        tg_worker_stop(workers[i]);
    tg_worker_stop(control);
    http_peer_stop(&peer);
    unlink(secret_file);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_answers), TEST(times_of_answers), TEST(ttl_of_nought), TEST(answers), TEST(trouble),
        TEST(slow_provider), TEST(no_secret), TEST(discovers), TEST(one_question_at_a_time), TEST(forgets),
        TEST(many_threads), TEST(budget), TEST(reloads), TEST(gives_up), TEST(reads_settings),
    };

    return cmocka_run_group_tests_name("introspect", tests, setup, teardown);
}
