/*
 * management - the thread that has the store, and the way of a request there and back.
 *
 * The gate on the control thread hands over a whole request; a copy of it goes to the management thread, is answered
 * there, and comes back. Invariants: each call is answered once, also while the process stops; no more than MAX_WAITING
 * wait, and none is answered late by a store that is locked: what waited QUEUE_MS is 503 without asking it.
 */
#include "admin/management.h"
#include "base/clock.h"
#include "base/log.h"
#include "dispatch.h"
#include "management_hold.h"
#include <pthread.h>
#include <stdio.h>

#define MAX_CONNECTIONS 256
#define MAX_CONNECTIONS_PER_ADDRESS 64
#define MAX_WAITING 128
#define QUEUE_MS 2000                                    /* and API_PATIENCE_MS for the one that is tried */
#define LOOK_MS 1000
#define LOOKS_A_FLUSH 20
#define RETRY_MS 1000

struct waiting {                                         /* calls that are out; control thread, may outlive it all */
    unsigned count;
    bool last;                                           /* nobody asks any more: who takes it to 0 frees it */
};
struct tg_management {
    struct tg_worker *control, *worker;
    struct tg_service service;                           /* control thread */
    struct tg_tls_server *tls;                           /* a reference; control thread */
    struct waiting *waiting;
    struct api_limits *limits;
    /* management thread */
    struct api api;
    struct held_settings *held;
    struct tg_deadline look;
    unsigned looks;
    int64_t try_ms;                                      /* a store that cannot be opened is not tried before */
    int64_t version, revision;                           /* of the store, when its set was last offered */
    pthread_mutex_t lock;
    char trouble[sizeof(((struct tg_err *)0)->text)];    /* why the store is not in use; "": it is */
};

/* ---- the store ---- */

static struct tg_catalogue_settings catalogue_settings(const struct tg_management_settings *s)
{
    return (struct tg_catalogue_settings){.organization_id = s->organization_id,
                                          .organization_name = s->organization_name,
                                          .clusters = s->clusters, .rules = &s->rules,
                                          .providers = s->providers, .opaque_providers = s->opaque_providers};
}

static struct tg_managers_settings managers_settings(const struct api *api, const struct tg_management_settings *s)
{
    return (struct tg_managers_settings){.state_dir = api->state_dir, .url = s->url, .operators = &s->operators,
                                         .id_token_ms = s->id_token_ms, .accept_bare_token = s->accept_bare_token};
}

static void close_store(struct api *api)
{
    webhooks_free(api->webhooks);
    tg_managers_free(api->managers);
    tg_catalogue_free(api->catalogue);
    tg_db_close(api->db);
    api->webhooks = NULL;
    api->managers = NULL;
    api->catalogue = NULL;
    api->db = NULL;
}

static void note_trouble(struct tg_management *m, const char *trouble)
{
    pthread_mutex_lock(&m->lock);
    snprintf(m->trouble, sizeof(m->trouble), "%s", trouble);
    pthread_mutex_unlock(&m->lock);
}

static enum tg_status open_store(struct tg_management *m, struct tg_err *err)
{
    struct api *api = &m->api;
    struct tg_catalogue_settings catalogue = catalogue_settings(&api->settings);
    struct tg_managers_settings managers = managers_settings(api, &api->settings);
    struct tg_buf path = {0};
    enum tg_status st;

    tg_buf_addf(&path, "%s/tollgate.db", api->state_dir);
    st = tg_db_open(tg_buf_cstr(&path), &api->db, err);
    tg_buf_fini(&path);
    if (st == TG_OK)
        st = tg_audit_prepare(api->db, err);
    if (st == TG_OK)
        st = tg_catalogue_open(api->db, &catalogue, tg_clock_wall_us(), &api->catalogue, err);
    if (st == TG_OK)
        st = tg_managers_open(api->db, &managers, &api->managers, err);
    if (st == TG_OK)
        st = webhooks_open(api, err);
    if (st != TG_OK) {
        close_store(api);
        return st;
    }
    tg_db_set_patience(api->db, API_PATIENCE_MS);
    return TG_OK;
}

/* Offers what is in the store now. */
static void publish(struct tg_management *m)
{
    m->version = tg_db_version(m->api.db);
    tg_catalogue_revision(m->api.catalogue, &m->revision, NULL);
    api_publish(&m->api);
}

/* The file was replaced, or could not be opened a moment ago. */
static bool has_store(struct tg_management *m)
{
    struct tg_err err = {0};

    if (m->api.db && tg_db_is_in_place(m->api.db))
        return true;
    if (!m->api.db && m->worker->now_ms < m->try_ms)
        return false;
    if (m->api.db)
        tg_log(TG_LOG_WARN, "the store of the management API was replaced; it is opened again");
    close_store(&m->api);
    if (open_store(m, &err) != TG_OK) {
        m->try_ms = tg_clock_mono_ms() + RETRY_MS;
        note_trouble(m, err.text);
        tg_log(TG_LOG_ERROR, "the management API has no store", TG_F_STR("error", err.text));
        return false;
    }
    note_trouble(m, "");
    publish(m);
    return true;
}

/* Another process may have the store open too, and change it. */
static void look(struct tg_deadline *d)
{
    struct tg_management *m = (struct tg_management *)((char *)d - offsetof(struct tg_management, look));
    int64_t revision = m->revision;

    tg_deadline_set(&m->worker->wheel, d, m->worker->now_ms + LOOK_MS);
    if (!has_store(m))
        return;
    int64_t version = tg_db_version(m->api.db);
    if (version != m->version && tg_catalogue_revision(m->api.catalogue, &revision, NULL) == TG_OK) {
        m->version = version;
        if (revision != m->revision)
            publish(m);
    }
    tg_supply_confirm(m->api.supply);
    if (++m->looks % LOOKS_A_FLUSH == 0)
        tg_managers_flush(m->api.managers, tg_clock_wall_ms());
}

/* ---- a request ---- */

struct job {
    struct tg_management *m;                             /* not to be looked at when it comes back */
    struct waiting *waiting;
    struct tg_service_call *call;
    struct tg_arena arena;
    struct api_call request;
    struct api_reply reply;
    int64_t at_ms;                                       /* monotonic, when it came */
};

static struct tg_slice field_of(const struct tg_head *head, struct tg_slice name)
{
    const struct tg_field *f = tg_head_find_name(head, name);

    return f ? tg_slice(f->value.ptr ? f->value.ptr : "", f->value.len) : tg_slice(NULL, 0);
}

/* Borrows from `request`. */
static void read_call(const struct tg_service_request *request, struct api_call *out)
{
    const struct tg_head *head = request->head;

    *out = (struct api_call){
        .method_id = request->method_id, .path = request->path, .query = request->query, .body = request->body,
        .body_too_large = request->body_too_large, .client_ip = request->client_ip, .request_id = request->request_id,
        .content_type = field_of(head, TG_S("Content-Type")),
        .content_encoding = field_of(head, TG_S("Content-Encoding")),
        .accept = field_of(head, TG_S("Accept")), .if_match = field_of(head, TG_S("If-Match")),
        .if_none_match = field_of(head, TG_S("If-None-Match")), .signature = field_of(head, TG_S("X-Zero-Signature"))};
    tg_ip_parse(request->client_ip, &out->ip);
    for (unsigned i = 0; i < head->field_count && out->authorization_count < API_AUTHORIZATIONS; i++)
        if (head->fields[i].id == TG_FIELD_AUTHORIZATION)
            out->authorization[out->authorization_count++] = head->fields[i].value;
}

static void keep_call(struct tg_arena *arena, struct api_call *c)
{
    struct tg_slice *texts[] = {&c->path, &c->query, &c->body, &c->content_type, &c->content_encoding, &c->accept,
                                &c->if_match, &c->if_none_match, &c->signature, &c->client_ip, &c->request_id};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = management_copy(arena, *texts[i]);
    for (size_t i = 0; i < c->authorization_count; i++)
        c->authorization[i] = management_copy(arena, c->authorization[i]);
}

static void give_back(struct tg_worker *w, void *arg)
{
    struct job *job = arg;
    struct api_reply *r = &job->reply;
    struct tg_service_answer answer = {.status = r->status, .content_type = r->content_type, .fields = r->fields,
                                       .field_count = r->field_count, .body = r->body,
                                       .allow = r->allow.len ? tg_arena_str(&job->arena, r->allow) : NULL};

    (void)w;
    if (--job->waiting->count == 0 && job->waiting->last)
        free(job->waiting);
    tg_service_done(job->call, &answer);
    tg_arena_fini(&job->arena);
    free(job);
}

static void answer(struct tg_worker *w, void *arg)
{
    struct job *job = arg;
    struct tg_management *m = job->m;
    bool busy = tg_clock_mono_ms() - job->at_ms > QUEUE_MS || !has_store(m);

    (void)w;
    api_dispatch(&m->api, m->limits, &job->request, busy, &job->arena, &job->reply);
    tg_worker_post(m->control, give_back, job);
}

static void begin(void *arg, struct tg_service_call *call, const struct tg_service_request *request)
{
    struct tg_management *m = arg;
    struct job *job = TG_NEW(struct job);

    job->m = m;
    job->waiting = m->waiting;
    job->call = call;
    job->at_ms = tg_clock_mono_ms();
    tg_arena_init(&job->arena, NULL, 0);
    read_call(request, &job->request);
    if (job->waiting->count++ >= MAX_WAITING) {
        api_dispatch(&m->api, m->limits, &job->request, true, &job->arena, &job->reply);
        give_back(m->control, job);
        return;
    }
    keep_call(&job->arena, &job->request);
    tg_worker_post(m->worker, answer, job);
}

static bool wants_body(void *arg, const struct tg_service_request *request)
{
    struct api_call call;

    (void)arg;
    read_call(request, &call);
    return api_wants_body(&call);
}

static size_t refusal_fields(void *arg, const struct tg_ip *ip, struct tg_arena *arena, struct tg_field *out)
{
    struct tg_management *m = arg;
    struct api_quota quota;

    api_limit_address(m->limits, ip, tg_clock_wall_ms(), false, &quota);
    return api_limit_fields(&quota, arena, out);
}

/* ---- a new configuration ---- */

struct binding {
    struct tg_management *m;
    struct held_settings *held;
    struct tg_tls_server *tls;                           /* a reference */
};

static void bind_service(struct tg_worker *w, void *arg)
{
    struct binding *b = arg;
    struct tg_management *m = b->m;

    (void)w;
    tg_tls_server_unref(m->tls);
    m->tls = b->tls;
    m->service.tls = m->tls;
    free(b);
}

static void bind_store(struct tg_worker *w, void *arg)
{
    struct binding *b = arg;
    struct tg_management *m = b->m;
    struct held_settings *before = m->held;
    struct tg_catalogue_settings catalogue = catalogue_settings(&b->held->settings);
    struct tg_managers_settings managers = managers_settings(&m->api, &b->held->settings);
    struct tg_catalogue *fresh = NULL;
    struct tg_err err = {0};

    (void)w;
    if (m->api.db && tg_catalogue_open(m->api.db, &catalogue, tg_clock_wall_us(), &fresh, &err) != TG_OK) {
        tg_log(TG_LOG_ERROR, "the management API goes on under its old settings", TG_F_STR("error", err.text));
        management_let_go(b->held);
        free(b);
        return;
    }
    m->held = b->held;
    m->api.settings = b->held->settings;
    api_limits_bind(m->limits, m->api.settings.authenticated_limit, m->api.settings.unauthenticated_limit);
    if (m->api.db) {
        tg_catalogue_free(m->api.catalogue);
        m->api.catalogue = fresh;
        tg_managers_bind(m->api.managers, &managers);
        publish(m);
    }
    management_let_go(before);
    free(b);
}

void tg_management_bind(struct tg_management *m, const struct tg_management_settings *s)
{
    struct binding *service = TG_NEW(struct binding), *store = TG_NEW(struct binding);

    *service = (struct binding){.m = m, .tls = s->tls ? tg_tls_server_ref(s->tls) : NULL};
    *store = (struct binding){.m = m, .held = management_hold(s)};
    tg_worker_post(m->control, bind_service, service);
    tg_worker_post(m->worker, bind_store, store);
}

/* ---- life ---- */

static enum tg_status start(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct tg_management *m = arg;
    enum tg_status st;

    m->api.worker = w;
    m->worker = w;
    st = open_store(m, err);
    if (st != TG_OK)
        return st;
    publish(m);
    m->look.expired = look;
    tg_deadline_set(&w->wheel, &m->look, w->now_ms + LOOK_MS);
    return TG_OK;
}

static void stop(struct tg_worker *w, void *arg)
{
    struct tg_management *m = arg;

    tg_deadline_clear(&w->wheel, &m->look);
    close_store(&m->api);
}

enum tg_status tg_management_new(struct tg_worker *control, const char *state_dir,
                                 const struct tg_management_settings *s, struct tg_supply *supply,
                                 struct tg_revocations *revocations, struct tg_management **out, struct tg_err *err)
{
    struct tg_management *m = TG_NEW(struct tg_management);
    struct tg_worker_hooks hooks = {start, stop, m};
    struct tg_worker *worker = NULL;
    enum tg_status st;

    pthread_mutex_init(&m->lock, NULL);
    m->control = control;
    m->waiting = TG_NEW(struct waiting);
    m->held = management_hold(s);
    m->api.settings = m->held->settings;
    m->api.state_dir = tg_slice_dup(tg_slice_str(state_dir));
    m->api.supply = supply;
    m->api.revocations = revocations;
    m->limits = api_limits_new();
    api_limits_bind(m->limits, s->authenticated_limit, s->unauthenticated_limit);
    m->tls = s->tls ? tg_tls_server_ref(s->tls) : NULL;
    m->service = (struct tg_service){
        .begin = begin, .arg = m, .body_max = API_BODY_BYTES, .wants_body = wants_body, .tls = m->tls,
        .max_connections = MAX_CONNECTIONS,
        .max_connections_per_address = MAX_CONNECTIONS_PER_ADDRESS,
        .error_format = TG_FORMAT_ZERO, .refusal_fields = refusal_fields};
    st = tg_worker_start(0, "management", &hooks, &worker, err);
    if (st != TG_OK) {
        m->worker = NULL;
        tg_management_free(m);
        return st;
    }
    *out = m;
    return TG_OK;
}

void tg_management_free(struct tg_management *m)
{
    if (!m)
        return;
    tg_worker_stop(m->worker);
    m->waiting->last = true;
    if (m->waiting->count == 0)
        free(m->waiting);
    api_limits_free(m->limits);
    tg_tls_server_unref(m->tls);
    management_let_go(m->held);
    pthread_mutex_destroy(&m->lock);
    free(m->api.state_dir);
    free(m);
}

const struct tg_service *tg_management_service(struct tg_management *m)
{
    return &m->service;
}

void tg_management_describe(struct tg_management *m, struct tg_buf *out)
{
    pthread_mutex_lock(&m->lock);
    tg_buf_addf(out, "management API: %s%s\n", m->trouble[0] ? "503, the store cannot be used: " : "ok", m->trouble);
    pthread_mutex_unlock(&m->lock);
}
