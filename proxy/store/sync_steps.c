/*
 * sync_steps - a round: is anything different? If so, or if that cannot be asked: organization, namespace, policies,
 * routes, then one by one the policies that routes refer to and the lists lack.
 *
 * What moves while it is read is read again, a few times. A reference that cannot be had is believed after a second
 * reading says the same: between two lists something may have been made or deleted.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "sync_internal.h"
#include <stdio.h>

#define ROUND_MS INT64_C(300000)                         /* all questions of one round together */
#define MOVES 3
#define REFERRED 1000                                    /* policies asked for one by one */

/* ---- paths ---- */

static void add_escaped(struct tg_buf *out, struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-._~", c));

        if (plain)
            tg_buf_addc(out, (char)c);
        else
            tg_buf_addf(out, "%%%02X", c);
    }
}

static void add_organization(struct tg_sync *s)
{
    if (s->v1)
        return;
    tg_buf_adds(&s->path, "/organizations/");
    add_escaped(&s->path, tg_slice_str(s->organization_id));
}

static void set_list_path(struct tg_sync *s, const char *name, const struct sync_list *list)
{
    add_organization(s);
    tg_buf_addf(&s->path, "/%s?", name);
    if (!s->v1) {
        tg_buf_adds(&s->path, "namespaceId=");
        add_escaped(&s->path, tg_slice_str(s->namespace_id));
        tg_buf_adds(&s->path, "&includeDescendants=true&");
    }
    sync_list_query(list, &s->path);
}

static void set_path(struct tg_sync *s)
{
    s->path.len = 0;
    switch (s->step) {
    case SYNC_LOOK:
        tg_buf_adds(&s->path, s->visits.items[s->at].path);
        break;
    case SYNC_ORGANIZATIONS:
        tg_buf_adds(&s->path, "/organizations");
        break;
    case SYNC_NAMESPACES:
    case SYNC_CLUSTERS:
        add_organization(s);
        tg_buf_adds(&s->path, s->step == SYNC_CLUSTERS ? "/clusters" : "/namespaces");
        break;
    case SYNC_POLICIES:
        set_list_path(s, "policies", &s->policy_list);
        break;
    case SYNC_ROUTES:
        set_list_path(s, "routes", &s->route_list);
        break;
    case SYNC_REFERRED:
        add_organization(s);
        tg_buf_adds(&s->path, "/policies/");
        add_escaped(&s->path, tg_slice_str(cJSON_GetArrayItem(s->referred, 0)->valuestring));
        break;
    case SYNC_IDLE:
        break;
    }
    tg_buf_cstr(&s->path);
}

static void ask_step(struct tg_sync *s)
{
    set_path(s);
    sync_ask(s);
}

/* ---- beginning ---- */

void sync_round_clear(struct tg_sync *s)
{
    sync_list_fini(&s->policy_list);
    sync_list_fini(&s->route_list);
    cJSON_Delete(s->namespaces);
    cJSON_Delete(s->referred);
    s->namespaces = s->referred = NULL;
    tg_buf_fini(&s->path);
}

static void read_all(struct tg_sync *s)
{
    sync_round_clear(s);
    sync_visits_fini(&s->visits);
    s->visits.lookable = true;
    s->bytes = 0;
    sync_list_init(&s->policy_list, s->v1);
    sync_list_init(&s->route_list, s->v1);
    s->step = s->v1 ? SYNC_POLICIES : SYNC_ORGANIZATIONS;
    ask_step(s);
}

void sync_round_begin(struct tg_sync *s)
{
    s->renewed = false;
    s->moves = 0;
    s->bytes = 0;
    s->at = 0;
    s->until_ms = tg_clock_mono_ms() + ROUND_MS;
    if (!s->visits.lookable || s->visits.count == 0) {
        read_all(s);
        return;
    }
    s->step = SYNC_LOOK;
    ask_step(s);
}

/* ---- trouble with an answer ---- */

static void fail_of(struct tg_sync *s, const char *why)
{
    char words[640];

    snprintf(words, sizeof(words), "%s%.*s: %s", s->base, (int)strcspn(s->path.data, "?"), s->path.data, why);
    sync_fail(s, SYNC_AWAY, words, 0);
}

static void begin_anew(struct tg_sync *s, const char *why)
{
    if (++s->moves > MOVES)
        fail_of(s, why);
    else
        read_all(s);
}

/* ---- the end: a set ---- */

static void make_set(struct tg_sync *s)
{
    struct tg_supply_meta meta = {.expires_ms = INT64_MAX, .heard_ms = tg_clock_wall_ms()};
    struct tg_set *set = NULL;
    struct tg_buf name = {0};
    struct tg_err err;
    enum tg_status st;

    if (s->v1)
        sync_from_v1(&s->policy_list, &s->route_list);
    tg_buf_addf(&name, "the set of %s", s->base);
    st = sync_spread_enforced(s->policy_list.items, s->route_list.items, s->namespaces,
                              tg_slice_str(s->organization_id), &err);
    if (st == TG_OK)
        st = tg_set_make(tg_buf_cstr(&name), s->policy_list.items, s->route_list.items, &set, &err);
    tg_buf_fini(&name);
    if (st != TG_OK) {
        sync_fail(s, SYNC_AWAY, tg_err_text(&err), s->interval_ms);
        return;
    }
    tg_supply_offer(s->supply, set, &meta);
    sync_succeed(s, "read");
}

static void take_references(struct tg_sync *s)
{
    bool news = s->lost_now && s->lost_now != s->lost_print;

    s->lost_print = s->lost_now;
    if (news)                                            /* perhaps something was deleted between two lists */
        begin_anew(s, "references to policies come and go while the lists are read");
    else
        make_set(s);
}

static void next_reference(struct tg_sync *s)
{
    if (s->referred->child) {
        s->step = SYNC_REFERRED;
        ask_step(s);
    } else {
        take_references(s);
    }
}

static void seek_references(struct tg_sync *s)
{
    char words[96];

    s->lost_now = 0;
    s->referred = sync_missing(s->policy_list.items, s->route_list.items);
    if (cJSON_GetArraySize(s->referred) > REFERRED) {
        snprintf(words, sizeof(words), "routes refer to more than %d policies that no list holds", REFERRED);
        fail_of(s, words);
        return;
    }
    next_reference(s);
}

static void take_referred(struct tg_sync *s, const struct tg_fetch_answer *answer)
{
    cJSON *wanted = cJSON_DetachItemFromArray(s->referred, 0), *policy = NULL;
    struct tg_slice id;
    struct tg_err err;
    enum tg_status st = TG_OK;

    if (answer->http_status != 200) {
        s->lost_now = tg_hash2(s->lost_now, tg_hash_slice(tg_slice_str(wanted->valuestring)));
    } else {
        st = sync_object_read(answer->body, &policy, &err);
    }
    if (policy && (!tg_json_str(tg_json_get(policy, "id"), &id) || !tg_slice_eq(id, tg_slice_str(wanted->valuestring))))
        st = tg_fail(&err, TG_BAD_INPUT, "another policy came than the one that was asked for");
    cJSON_Delete(wanted);
    if (st != TG_OK) {
        cJSON_Delete(policy);
        fail_of(s, tg_err_text(&err));
        return;
    }
    if (policy) {
        cJSON_AddItemToArray(s->policy_list.items, policy);
        s->policy_list.count++;
    }
    next_reference(s);
}

/* ---- the lists ---- */

static void take_list(struct tg_sync *s, const struct tg_fetch_answer *answer, struct sync_list *list)
{
    struct tg_err err;
    enum tg_status st = TG_OK;

    if (answer->http_status == 200)
        st = sync_list_take(list, answer->body, &err);
    else
        list->done = true;                               /* v1 need not have routes */
    if (st == TG_AGAIN) {
        begin_anew(s, tg_err_text(&err));
        return;
    }
    if (st != TG_OK) {
        fail_of(s, tg_err_text(&err));
        return;
    }
    if (list->done && s->step == SYNC_ROUTES) {
        seek_references(s);
        return;
    }
    if (list->done)
        s->step = SYNC_ROUTES;
    ask_step(s);
}

/* ---- organization and namespace ---- */

/* A list that comes whole. NULL: told. */
static cJSON *read_whole(struct tg_sync *s, struct tg_slice body)
{
    struct sync_list list;
    cJSON *items = NULL;
    struct tg_err err;

    sync_list_init(&list, false);
    if (sync_list_take(&list, body, &err) != TG_OK) {
        fail_of(s, tg_err_text(&err));
    } else if (list.page && !list.done) {
        fail_of(s, "the list comes in several pages, and this one is asked for whole");
    } else {
        items = list.items;
        list.items = NULL;
    }
    sync_list_fini(&list);
    return items;
}

static bool keep_id(struct tg_slice id, char out[static SYNC_ID + 1])
{
    if (id.len > SYNC_ID)
        return false;
    memcpy(out, id.ptr, id.len);
    out[id.len] = '\0';
    return true;
}

static void take_organizations(struct tg_sync *s, struct tg_slice body)
{
    cJSON *items = read_whole(s, body);
    const cJSON *found = NULL;
    struct tg_slice id;
    struct tg_err err;

    if (!items)
        return;
    if (sync_pick_organization(items, tg_slice_str(s->organization), &found, &err) != TG_OK) {
        sync_fail(s, SYNC_REFUSED, tg_err_text(&err), 0);
    } else if (!tg_json_str(tg_json_get(found, "id"), &id) || !keep_id(id, s->organization_id)) {
        fail_of(s, "the id of the organization is too long");
    } else {
        s->step = SYNC_NAMESPACES;
        ask_step(s);
    }
    cJSON_Delete(items);
}

static void take_namespaces(struct tg_sync *s, const struct tg_fetch_answer *answer)
{
    struct tg_slice id;
    struct tg_err err;
    cJSON *items;

    if (answer->http_status == 404 && s->step == SYNC_NAMESPACES) {
        s->step = SYNC_CLUSTERS;
        ask_step(s);
        return;
    }
    items = read_whole(s, answer->body);
    if (!items)
        return;
    s->namespaces = items;
    if (s->step == SYNC_CLUSTERS) {
        s->namespaces = sync_namespaces_of_clusters(items, s->organization_id);
        cJSON_Delete(items);
    }
    if (sync_pick_namespace(s->namespaces, tg_slice_str(s->namespace), tg_slice_str(s->organization_id), &id, &err) !=
        TG_OK) {
        sync_fail(s, SYNC_REFUSED, tg_err_text(&err), 0);
    } else if (!keep_id(id, s->namespace_id)) {
        fail_of(s, "the id of the namespace is too long");
    } else {
        s->step = SYNC_POLICIES;
        ask_step(s);
    }
}

/* ---- is anything different? ---- */

/* 304 where there was an ETag, else the same failure as before. */
static bool is_as_before(const struct tg_sync *s, unsigned status)
{
    const struct sync_visit *v = &s->visits.items[s->at];

    return v->etag ? status == 304 : status == v->status;
}

static void take_look(struct tg_sync *s, const struct tg_fetch_answer *answer)
{
    if (!is_as_before(s, answer->http_status)) {
        read_all(s);
    } else if (++s->at < s->visits.count) {
        ask_step(s);
    } else {
        tg_supply_confirm(s->supply);
        sync_succeed(s, "unchanged");
    }
}

/* ---- steps ---- */

bool sync_steps_expect(const struct tg_sync *s, unsigned status)
{
    switch (s->step) {
    case SYNC_LOOK:                                      /* gone, or not ours any more: all is looked for anew */
        return status == 304 || status == 403 || status == 404;
    case SYNC_NAMESPACES:
        return status == 404;
    case SYNC_ROUTES:
        return s->v1 && status == 404;
    case SYNC_REFERRED:                                  /* 403: what is deleted, or of others, looks like that too */
        return status == 403 || status == 404;
    default:
        return false;
    }
}

void sync_steps_take(struct tg_sync *s, const struct tg_fetch_answer *answer)
{
    switch (s->step) {
    case SYNC_LOOK:
        take_look(s, answer);
        break;
    case SYNC_ORGANIZATIONS:
        take_organizations(s, answer->body);
        break;
    case SYNC_NAMESPACES:
    case SYNC_CLUSTERS:
        take_namespaces(s, answer);
        break;
    case SYNC_POLICIES:
        take_list(s, answer, &s->policy_list);
        break;
    case SYNC_ROUTES:
        take_list(s, answer, &s->route_list);
        break;
    case SYNC_REFERRED:
        take_referred(s, answer);
        break;
    case SYNC_IDLE:
        break;
    }
}
