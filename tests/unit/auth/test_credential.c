/* credential: settings, a token file, grants at a scripted server, renewal, one question at a time, trouble. */
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
#include "issuer.h"
#include "jose/jws.h"
#include <signal.h>
#include <sys/stat.h>

#define WAITERS 40

static const struct tg_credential_periods quick = {
    .look = 100, .retry_first = 50, .retry_last = 200, .retry_last_empty = 100, .retry_bad = 60000,
    .again = 60000, .hopeless = 0, .hopeless_bad = 60000, .life_unsaid = 60000, .life_most = 60000, .renew_least = 50,
    .log = 60000,
};

/* ---- the server ---- */

static struct http_peer peer;
static char issuer[64], token_url[80], dir[64], secret_path[96], token_path[96], key_path[96];
static struct {                                          /* under peer.lock */
    unsigned documents, asked, status;
    const char *life;                                    /* the member, with its comma */
    const char *body;                                    /* NULL: a token, numbered */
    char head[16384];                                    /* of the last question, content too */
} server;
static struct tg_signer *signer;

static void script(struct http_peer *p, const char *head, struct tg_buf *out)
{
    struct tg_buf body = {0};

    (void)p;
    if (strncmp(head, "GET ", 4) == 0) {
        server.documents++;
        tg_buf_addf(&body, "{\"issuer\":\"%s\",\"token_endpoint\":\"%s\"}", issuer, token_url);
        http_peer_answer(out, 200, "", tg_buf_slice(&body));
        tg_buf_fini(&body);
        return;
    }
    server.asked++;
    snprintf(server.head, sizeof(server.head), "%s", head);
    if (server.body)
        tg_buf_adds(&body, server.body);
    else
        tg_buf_addf(&body, "{\"access_token\":\"token-%u\",\"token_type\":\"Bearer\"%s}", server.asked, server.life);
    http_peer_answer(out, server.status, "", tg_buf_slice(&body));
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

static void write_file(const char *path, const char *text)
{
    assert_int_equal(tg_file_replace(path, tg_slice_str(text), 0600, NULL), TG_OK);
}

/* ---- tollgate's side ---- */

static struct tg_worker *control, *workers[2];
static struct tg_fetcher *fetcher;
static struct tg_credentials *credentials;
static struct tg_credential_periods periods;
static struct tg_credential_settings settings;
static struct tg_credential_source *source;
static struct tg_credential_view view;

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
    tg_credentials_set_periods(credentials, &periods);
    source = tg_credentials_bind(credentials, &settings);
}

static void unmake(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_credentials_free(credentials);
}

static void up(void) { tg_worker_call(control, make, NULL); }

static void down(void)
{
    tg_credential_view_fini(&view);
    tg_credential_source_unref(source);
    tg_worker_call(control, unmake, NULL);
}

static const char *current(void)
{
    static char text[128];
    struct tg_slice value;

    if (!tg_credential_view_update(source, &view, &value))
        return "";
    snprintf(text, sizeof(text), TG_S_FMT, TG_S_ARG(value));
    return text;
}

/* Waits at most 3 s. */
static void await(const char *want)
{
    for (int i = 0; i < 600 && strcmp(current(), want) != 0; i++)
        usleep(5000);
    assert_string_equal(current(), want);
}

static void await_asked(unsigned n)
{
    for (int i = 0; i < 600 && asked() < n; i++)
        usleep(5000);
    assert_int_equal(asked(), n);
}

static bool describes(const char *words)
{
    struct tg_buf text = {0};
    bool found;

    tg_credentials_describe(credentials, &text);
    found = strstr(tg_buf_cstr(&text), words) != NULL;
    if (!found)
        print_message("%s\n", text.data);
    tg_buf_fini(&text);
    return found;
}

static int64_t counted(const char *result)
{
    struct tg_metric *family = tg_metric_family(TG_COUNTER, "tollgate_credential_renewals_total", "",
                                                "credential,result");
    struct tg_slice labels[] = {tg_slice_str(source->name), tg_slice_str(result)};

    return tg_metric_value(tg_metric_series(family, labels));
}

/* What a form said of `name`, as it was sent. */
static struct tg_slice form(const char *name)
{
    struct tg_slice rest = tg_slice_str(strstr(server.head, "\r\n\r\n") + 4), pair, key, value = {NULL, 0};

    for (bool more = true; more;) {
        more = tg_slice_cut(rest, '&', &pair, &rest);
        tg_slice_cut(pair, '=', &key, &value);
        if (tg_slice_eq(key, tg_slice_str(name)))
            return value;
    }
    return tg_slice(NULL, 0);
}

static void form_is(const char *name, const char *want)
{
    struct tg_slice value = form(name);

    if (!tg_slice_eq(value, tg_slice_str(want)))
        fail_msg("%s is " TG_S_FMT, name, TG_S_ARG(value));
}

/* ---- before each ---- */

static int reset(void **state)
{
    (void)state;
    periods = quick;
    settings = (struct tg_credential_settings){
        .kind = TG_CREDENTIAL_CLIENT, .token_url = tg_slice_str(token_url), .timeout_ms = 1000,
        .client = {.method = TG_CLIENT_BASIC, .client_id = TG_S_INIT("78366401571920522@amce"),
                   .secret_file = tg_slice_str(secret_path)},
    };
    write_file(secret_path, "veryweaksecret!\n");
    http_peer_delay(&peer, 0);
    SERVER(asked, 0);
    SERVER(documents, 0);
    SERVER(status, 200);
    SERVER(life, ",\"expires_in\":3600");
    SERVER(body, NULL);
    return 0;
}

static int setup(void **state)
{
    struct tg_worker_hooks hooks = {init_control, fini_control, NULL};
    struct tg_err err;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    tg_log_set_level(TG_LOG_OFF);
    strcpy(dir, "/tmp/tollgate-credential-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(secret_path, sizeof(secret_path), "%s/secret", dir);
    snprintf(token_path, sizeof(token_path), "%s/service.token", dir);
    snprintf(key_path, sizeof(key_path), "%s/key.json", dir);
    peer.script = script;
    http_peer_start(&peer);
    snprintf(issuer, sizeof(issuer), "http://127.0.0.1:%u", peer.port);
    snprintf(token_url, sizeof(token_url), "%s/oauth/v2/token", issuer);
    signer = issuer_key(TG_ALG_RS256);
    assert_int_equal(tg_worker_start(256, "control", &hooks, &control, &err), TG_OK);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(tg_worker_start(i, "worker", &(struct tg_worker_hooks){0}, &workers[i], &err), TG_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++)
        tg_worker_stop(workers[i]);
    tg_worker_stop(control);
    http_peer_stop(&peer);
    tg_signer_free(signer);
    unlink(secret_path);
    unlink(token_path);
    unlink(key_path);
    rmdir(dir);
    return 0;
}

/* ---- a token file ---- */

static void token_file(void **state)
{
    (void)state;
    settings = (struct tg_credential_settings){.kind = TG_CREDENTIAL_FILE, .token_file = tg_slice_str(token_path)};
    write_file(token_path, "pat-1\n");
    up();
    await("Bearer pat-1");
    assert_true(describes("service.token: a token\n"));
    write_file(token_path, "pat-2");                     /* replaced */
    await("Bearer pat-2");
    write_file(token_path, "two words\n");
    usleep(400000);
    assert_string_equal(current(), "Bearer pat-2");      /* the last good one */
    assert_true(describes("not one word of visible ASCII"));
    unlink(token_path);
    usleep(300000);
    assert_string_equal(current(), "Bearer pat-2");
    write_file(token_path, "pat-3\r\n");
    await("Bearer pat-3");
    assert_true(describes("service.token: a token\n"));
    down();
}

static void ran(struct tg_worker *w, void *arg)
{
    (void)w;
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void await_count(atomic_uint *n, unsigned want)
{
    for (int i = 0; i < 600 && atomic_load(n) < want; i++)
        usleep(5000);
    assert_int_equal(atomic_load(n), want);
}

/* A service that says 401 has the file read at once, and then not for a while. */
static void token_file_read_because_of_a_401(void **state)
{
    atomic_uint done = 0;

    (void)state;
    periods.look = 60000;
    settings = (struct tg_credential_settings){.kind = TG_CREDENTIAL_FILE, .token_file = tg_slice_str(token_path)};
    write_file(token_path, "pat-1\n");
    up();
    await("Bearer pat-1");
    write_file(token_path, "pat-2\n");
    assert_true(tg_credential_renew(source, view.version, workers[0], ran, &done));
    await_count(&done, 1);
    assert_string_equal(current(), "Bearer pat-2");
    assert_false(tg_credential_renew(source, view.version, workers[0], ran, &done));
    assert_true(tg_credential_renew(source, view.version - 1, workers[0], ran, &done)); /* there is a newer one */
    await_count(&done, 2);
    down();
}

/* ---- grants ---- */

static void basic(void **state)
{
    (void)state;
    settings.scope = TG_S("openid urn:zitadel:iam:org:project:id:zitadel:aud");
    settings.resource = TG_S("https://api.example/");
    settings.audience = TG_S("api");
    up();
    await("Bearer token-1");
    assert_non_null(strstr(server.head, "POST /oauth/v2/token HTTP/1.1\r\n"));
    assert_non_null(strstr(server.head, "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
    assert_non_null(strstr(server.head, "\r\nAuthorization: Basic "
                                        "NzgzNjY0MDE1NzE5MjA1MjIlNDBhbWNlOnZlcnl3ZWFrc2VjcmV0JTIx\r\n"));
    assert_non_null(strstr(server.head, "\r\n\r\ngrant_type=client_credentials&scope=openid+urn%3Azitadel%3Aiam%3Aorg"
                                        "%3Aproject%3Aid%3Azitadel%3Aaud&resource=https%3A%2F%2Fapi.example%2F&"
                                        "audience=api"));
    assert_null(strstr(server.head, "client_secret"));
    assert_true(describes(" (78366401571920522@amce): a token for 3"));
    assert_int_equal(server.documents, 0);
    down();
}

static void post(void **state)
{
    (void)state;
    settings.client.method = TG_CLIENT_POST;
    up();
    await("Bearer token-1");
    assert_null(strstr(server.head, "Authorization"));
    form_is("client_id", "78366401571920522%40amce");
    form_is("client_secret", "veryweaksecret%21");
    down();
}

static void write_key_file(void)
{
    struct tg_buf pem = {0}, text = {0};

    assert_int_equal(tg_signer_pem(signer, &pem, NULL), TG_OK);
    tg_buf_adds(&text, "{\"type\":\"serviceaccount\",\"keyId\":\"100509901696068329\",\"key\":");
    tg_json_add_string(&text, tg_buf_slice(&pem));
    tg_buf_adds(&text, ",\"userId\":\"100507859606888466\",\"expirationDate\":\"9999\"}");
    write_file(key_path, tg_buf_cstr(&text));
    tg_buf_fini(&pem);
    tg_buf_fini(&text);
}

static int64_t number(const cJSON *claims, const char *name)
{
    int64_t n = 0;

    assert_true(tg_json_int(tg_json_get(claims, name), &n));
    return n;
}

static void text_is(const cJSON *claims, const char *name, const char *want)
{
    struct tg_slice got = {NULL, 0};

    assert_true(tg_json_str(tg_json_get(claims, name), &got));
    if (!tg_slice_eq(got, tg_slice_str(want)))
        fail_msg("%s: " TG_S_FMT, name, TG_S_ARG(got));
}

/* The claims of a compact token whose signature is left to others; cJSON_Delete. */
static cJSON *part(struct tg_slice token, int n)
{
    struct tg_slice head, rest = token;
    uint8_t *text;
    size_t len;
    cJSON *root = NULL;

    for (int i = 0; i <= n; i++)
        tg_slice_cut(rest, '.', &head, &rest);
    text = tg_alloc(head.len);
    assert_true(tg_base64url_decode(head, text, &len));
    assert_int_equal(tg_json_parse(tg_slice((char *)text, len), NULL, &root, NULL), TG_OK);
    free(text);
    return root;
}

/* ZITADEL's service users: the assertion alone says who asks. */
static void jwt_grant(void **state)
{
    struct tg_service_key *key = NULL;
    struct tg_slice jti;
    char first_jti[64];
    atomic_uint done = 0;

    (void)state;
    write_key_file();
    assert_int_equal(tg_service_key_load(key_path, (struct tg_slice){NULL, 0}, &key, NULL), TG_OK);
    settings.kind = TG_CREDENTIAL_JWT_GRANT;
    settings.client = (struct tg_client_auth){.method = TG_CLIENT_NONE, .client_id = key->id};
    settings.key = key;
    settings.scope = TG_S("openid");
    settings.token_url = (struct tg_slice){NULL, 0};
    settings.issuer = tg_slice_str(issuer);
    up();
    for (int round = 0; round < 2; round++) {
        cJSON *head, *claims;
        int64_t now_s = tg_clock_wall_ms() / 1000;

        await(round ? "Bearer token-2" : "Bearer token-1");
        assert_null(strstr(server.head, "Authorization"));
        form_is("grant_type", "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer");
        form_is("scope", "openid");
        form_is("client_id", "");
        head = part(form("assertion"), 0);
        claims = part(form("assertion"), 1);
        text_is(head, "alg", "RS256");
        text_is(head, "kid", "100509901696068329");
        text_is(claims, "iss", "100507859606888466");
        text_is(claims, "sub", "100507859606888466");
        text_is(claims, "aud", issuer);
        assert_true(number(claims, "iat") <= now_s - 4 && number(claims, "iat") >= now_s - 7);
        assert_int_equal(number(claims, "exp") - number(claims, "iat"), 300);
        assert_true(tg_json_str(tg_json_get(claims, "jti"), &jti));
        if (round)
            assert_false(tg_slice_eq(jti, tg_slice_str(first_jti)));
        snprintf(first_jti, sizeof(first_jti), TG_S_FMT, TG_S_ARG(jti));
        cJSON_Delete(head);
        cJSON_Delete(claims);
        if (!round) {
            assert_true(tg_credential_renew(source, view.version, workers[0], ran, &done));
            await_count(&done, 1);
        }
    }
    assert_int_equal(server.documents, 1);
    down();
    tg_service_key_unref(key);
}

/* Without an issuer the origin of the URL is whom an assertion is for. */
static void private_key_jwt(void **state)
{
    struct tg_service_key *key = NULL;
    cJSON *claims;

    (void)state;
    write_key_file();
    assert_int_equal(tg_service_key_load(key_path, (struct tg_slice){NULL, 0}, &key, NULL), TG_OK);
    settings.client = (struct tg_client_auth){.method = TG_CLIENT_PRIVATE_KEY, .client_id = TG_S("robot"), .key = key};
    up();
    await("Bearer token-1");
    form_is("grant_type", "client_credentials");
    form_is("client_assertion_type", "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer");
    claims = part(form("client_assertion"), 1);
    text_is(claims, "aud", issuer);
    text_is(claims, "iss", "robot");
    cJSON_Delete(claims);
    down();
    tg_service_key_unref(key);
}

/* ---- renewal ---- */

static void renewed_ahead_of_the_end(void **state)
{
    int64_t end_ms = tg_clock_mono_ms() + 3500;

    (void)state;
    SERVER(life, ",\"expires_in\":1");
    up();
    await("Bearer token-1");
    while (tg_clock_mono_ms() < end_ms) {
        assert_string_not_equal(current(), "");          /* never a moment without */
        usleep(2000);
    }
    assert_in_range(asked(), 6, 9);                      /* 0.5 s, less up to a tenth, plus the wheel's granularity */
    down();
}

static void unsaid_and_endless_lives(void **state)
{
    static const char *const lives[] = {"", ",\"expires_in\":1e12"};

    (void)state;
    periods.life_unsaid = periods.life_most = 200;
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        SERVER(asked, 0);
        SERVER(life, lives[i]);
        up();
        await("Bearer token-3");                         /* renewed now and then all the same */
        assert_true(describes(": a token for 3153"));
        down();
    }
}

static void withdrawn_at_its_end(void **state)
{
    (void)state;
    SERVER(life, ",\"expires_in\":1");
    up();
    await("Bearer token-1");
    SERVER(status, 503);
    usleep(600000);
    assert_string_equal(current(), "Bearer token-1");
    usleep(700000);
    assert_string_equal(current(), "");
    assert_true(describes(": no token; the token endpoint answers with status 503\n"));
    assert_true(counted("error") > 0);
    SERVER(status, 200);                                 /* and comes back by itself */
    for (int i = 0; i < 400 && !*current(); i++)
        usleep(5000);
    assert_string_not_equal(current(), "");
    down();
}

static void one_question_for_all(void **state)
{
    atomic_uint done = 0;

    (void)state;
    http_peer_delay(&peer, 200);
    up();
    for (unsigned i = 0; i < WAITERS; i++)               /* the first is on its way already */
        assert_true(tg_credential_renew(source, 0, workers[i % 2], ran, &done));
    assert_string_equal(current(), "");
    await_count(&done, WAITERS);
    assert_string_equal(current(), "Bearer token-1");
    assert_int_equal(asked(), 1);
    for (unsigned i = 0; i < WAITERS; i++)               /* refused by the service */
        assert_true(tg_credential_renew(source, view.version, workers[i % 2], ran, &done));
    await_count(&done, 2 * WAITERS);
    assert_string_equal(current(), "Bearer token-2");
    assert_int_equal(asked(), 2);
    assert_false(tg_credential_renew(source, view.version, workers[0], ran, &done)); /* that one too: then no more */
    assert_false(tg_credential_renew(source, view.version, workers[0], NULL, NULL));
    down();
    assert_int_equal(atomic_load(&done), 2 * WAITERS);
}

static void taken_back(void **state)
{
    atomic_uint done = 0, gone = 0;

    (void)state;
    http_peer_delay(&peer, 100);
    up();
    assert_true(tg_credential_renew(source, 0, workers[0], ran, &done));
    assert_true(tg_credential_renew(source, 0, workers[1], ran, &gone));
    assert_true(tg_credential_forget(source, &gone));
    assert_false(tg_credential_forget(source, &gone));
    await_count(&done, 1);
    assert_false(tg_credential_forget(source, &done));
    down();
    assert_int_equal(atomic_load(&gone), 0);
}

/* ---- trouble ---- */

static void bad_credential(void **state)
{
    atomic_uint done = 0;
    int64_t before;

    (void)state;
    SERVER(status, 401);
    SERVER(body, "{\"error\":\"invalid_client\",\"error_description\":\"secret veryweaksecret! is wrong\"}");
    up();
    before = counted("refused");
    await_asked(1);
    for (int i = 0; i < 200 && counted("refused") == before; i++)
        usleep(5000);
    assert_true(describes(": no token; the token endpoint answers with status 401, invalid_client\n"));
    assert_false(tg_credential_renew(source, 0, workers[0], ran, &done)); /* nobody waits for that */
    usleep(300000);
    assert_int_equal(asked(), 1);                        /* nor is it asked again soon */
    SERVER(status, 200);
    SERVER(body, NULL);
    tg_credential_source_unref(source);
    tg_worker_call(control, unmake, NULL);
    up();
    await("Bearer token-2");
    down();
}

static void wrong_answers(void **state)
{
    static const struct { unsigned status; const char *body, *words; } cases[] = {
        {200, "{}", "no token; the answer has no `access_token`\n"},
        {200, "{\"access_token\":\"a\\r\\nb\",\"token_type\":\"Bearer\"}", "not one word of visible ASCII\n"},
        {200, "{\"access_token\":\"a\",\"token_type\":\"mac\"}", "is not Bearer\n"},
        {302, "", "status 302; redirects are not followed\n"},
        {400, "{\"error\":\"invalid_scope\"}", "status 400, invalid_scope\n"},
        {429, "<html>", "status 429\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SERVER(status, cases[i].status);
        SERVER(body, cases[i].body);
        up();
        for (int n = 0; n < 400; n++) {
            struct tg_buf text = {0};
            bool found;

            tg_credentials_describe(credentials, &text);
            found = strstr(tg_buf_cstr(&text), ";") != NULL;
            tg_buf_fini(&text);
            if (found)
                break;
            usleep(5000);
        }
        assert_true(describes(cases[i].words));
        assert_string_equal(current(), "");
        down();
    }
}

/* The server is away at the start and comes. */
static void comes_later(void **state)
{
    (void)state;
    SERVER(status, 500);
    up();
    await_asked(1);
    usleep(100000);
    SERVER(status, 200);
    for (int i = 0; i < 400 && !*current(); i++)
        usleep(5000);
    assert_string_not_equal(current(), "");
    down();
}

/* ---- several ---- */

struct binding {
    struct tg_credential_settings settings;
    struct tg_credential_source *got;
};

static void bind_another(struct tg_worker *w, void *arg)
{
    struct binding *b = arg;

    (void)w;
    b->got = tg_credentials_bind(credentials, &b->settings);
}

static void equal_settings_share_one(void **state)
{
    struct binding same = {0}, other = {0}, back = {0};

    (void)state;
    up();
    await("Bearer token-1");
    same.settings = other.settings = settings;
    other.settings.scope = TG_S("openid");
    tg_worker_call(control, bind_another, &same);
    tg_worker_call(control, bind_another, &other);
    assert_ptr_equal(same.got, source);
    assert_ptr_not_equal(other.got, source);
    await_asked(2);
    tg_credential_source_unref(other.got);
    tg_worker_call(control, bind_another, &same);        /* which sweeps what nobody needs */
    tg_credential_source_unref(same.got);
    tg_credential_source_unref(same.got);
    back.settings = settings;
    back.settings.scope = TG_S("openid");
    tg_worker_call(control, bind_another, &back);
    await_asked(3);
    tg_credential_source_unref(back.got);
    down();
}

/* The control thread goes first: who waits is told. */
static void freed_while_somebody_waits(void **state)
{
    atomic_uint done = 0;

    (void)state;
    http_peer_delay(&peer, 200);
    up();
    assert_true(tg_credential_renew(source, 0, workers[0], ran, &done));
    tg_worker_call(control, unmake, NULL);
    await_count(&done, 1);
    assert_string_equal(current(), "");
    assert_false(tg_credential_renew(source, 0, workers[0], ran, &done));
    tg_credential_view_fini(&view);
    tg_credential_source_unref(source);
}

/* ---- settings ---- */

static const struct { const char *why, *text, *problem; } texts[] = {
    {"a token file", "{token_file: %t}", NULL},
    {"basic", "{grant: client_credentials, issuer: 'https://i.example', client_id: a, client_secret_file: %s}", NULL},
    {"post", "{grant: client_credentials, token_url: 'https://i.example/t', client_id: a, client_secret_file: %s, "
             "auth_method: post, scopes: [a, 'b:c'], resource: x, audience: y, timeout: 1s}", NULL},
    {"ZITADEL", "{grant: jwt_bearer, issuer: 'https://i.example', private_key_file: %k, scopes: openid}", NULL},
    {"private_key_jwt", "{grant: client_credentials, issuer: 'https://i.example', private_key_file: %k}", NULL},
    {"http to a loopback host", "{grant: jwt_bearer, token_url: 'http://127.0.0.1/t', private_key_file: %k}", NULL},
    {"no mapping", "[a]", "u: a mapping of settings is needed"},
    {"nothing", "{}", "u.grant: it or token_file is needed"},
    {"both", "{token_file: %t, grant: jwt_bearer}", "u.grant: with token_file nobody is asked"},
    {"no such file", "{token_file: /nonexistent}", "u.token_file: /nonexistent: "},
    {"a pipe", "{token_file: /dev/null}", "u.token_file: /dev/null: not a file"},
    {"no place", "{grant: client_credentials, client_id: a, client_secret_file: %s}", "u.issuer: it or token_url"},
    {"http", "{grant: client_credentials, token_url: 'http://i.example/t', client_id: a, client_secret_file: %s}",
     "u.token_url: http is for loopback hosts only"},
    {"http allowed", "{grant: client_credentials, token_url: 'http://i.example/t', client_id: a, "
                     "client_secret_file: %s, allow_http: true}", NULL},
    {"a user name", "{grant: client_credentials, issuer: 'https://u@i.example', client_id: a, client_secret_file: %s}",
     "u.issuer: "},
    {"no secret", "{grant: client_credentials, issuer: 'https://i.example', client_id: a}", "u.client_secret_file: "},
    {"no key", "{grant: jwt_bearer, issuer: 'https://i.example', client_id: a, client_secret_file: %s}",
     "u.private_key_file: needed: jwt_bearer"},
    {"two words", "{grant: client_credentials, issuer: 'https://i.example', client_id: a, client_secret_file: %s, "
                  "scopes: 'a b'}", "u.scopes: each is one word"},
    {"no CA", "{grant: client_credentials, issuer: 'https://i.example', client_id: a, client_secret_file: %s, "
              "ca_file: %s}", "u.ca_file: "},
    {"no such grant", "{grant: password}", "u.grant"},
    {"no such setting", "{grnat: jwt_bearer}", "did you mean"},
};

static void fill(const char *text, struct tg_buf *out)
{
    tg_buf_adds(out, "u: ");
    for (; *text; text++) {
        const char *path = *text != '%' ? NULL : text[1] == 't' ? token_path : text[1] == 's' ? secret_path : key_path;

        if (path)
            tg_buf_adds(out, path);
        else
            tg_buf_addc(out, *text);
        text += path != NULL;
    }
}

static void settings_texts(void **state)
{
    (void)state;
    write_file(token_path, "pat-1\n");
    write_key_file();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct tg_buf text = {0};
        struct tg_problems problems = {0};
        struct tg_credential_settings got;
        struct tg_tree *tree;
        struct tg_arena arena;
        bool ok;

        tg_arena_init(&arena, NULL, 0);
        fill(texts[i].text, &text);
        assert_int_equal(tg_tree_parse("x.yaml", tg_buf_slice(&text), &tree, NULL), TG_OK);
        ok = tg_credential_settings_read(tree, tg_json_get(tree->root, "u"), "u", &arena, &got, &problems);
        if (ok != !texts[i].problem || (problems.errors == 0) != ok)
            fail_msg("%s: %s", texts[i].why, problems.count ? problems.items[0].text : "taken");
        if (!ok && !strstr(problems.items[0].text, texts[i].problem))
            fail_msg("%s: %s", texts[i].why, problems.items[0].text);
        tg_credential_settings_fini(&got);
        tg_problems_fini(&problems);
        tg_tree_free(tree);
        tg_arena_fini(&arena);
        tg_buf_fini(&text);
    }
}

static void files_that_others_may_read(void **state)
{
    (void)state;
    write_file(token_path, "pat-1\n");
    for (int open = 0; open < 2; open++) {
        struct tg_buf text = {0};
        struct tg_problems problems = {0};
        struct tg_credential_settings got;
        struct tg_tree *tree;
        struct tg_arena arena;

        assert_int_equal(chmod(token_path, open ? 0644 : 0640), 0);
        tg_arena_init(&arena, NULL, 0);
        fill("{token_file: %t}", &text);
        assert_int_equal(tg_tree_parse("x.yaml", tg_buf_slice(&text), &tree, NULL), TG_OK);
        assert_true(tg_credential_settings_read(tree, tg_json_get(tree->root, "u"), "u", &arena, &got, &problems));
        assert_int_equal(problems.count, open);
        if (open)
            assert_non_null(strstr(problems.items[0].text, "u.token_file: everybody may read that file"));
        tg_problems_fini(&problems);
        tg_tree_free(tree);
        tg_arena_fini(&arena);
        tg_buf_fini(&text);
    }
}

#define TEST(f) cmocka_unit_test_setup(f, reset)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(token_file), TEST(token_file_read_because_of_a_401), TEST(basic), TEST(post), TEST(jwt_grant),
        TEST(private_key_jwt), TEST(renewed_ahead_of_the_end), TEST(unsaid_and_endless_lives),
        TEST(withdrawn_at_its_end), TEST(one_question_for_all), TEST(taken_back), TEST(bad_credential),
        TEST(wrong_answers), TEST(comes_later), TEST(equal_settings_share_one), TEST(freed_while_somebody_waits),
        TEST(settings_texts), TEST(files_that_others_may_read),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
