/*
 * users - made, shown and deleted.
 *
 * Who makes or deletes one has that one's role or a higher one. The token is in the answer to its making, and nowhere
 * else: not in the audit log, nor in what webhooks send.
 */
#include "users.h"
#include "base/clock.h"
#include "base/setting.h"

static const struct form {
    const char *created, *used, *expires;
} forms[] = {
    [API_V0] = {"createdAt", "lastUsedAt", "expiresAt"},
    [API_V1] = {"created_at", "last_used_at", "expires_at"},
};

/* ---- one, as JSON ---- */

static void add_time(struct tg_buf *out, enum api_view view, const char *name, int64_t s, bool is_set)
{
    tg_buf_addf(out, ",\"%s\":", name);
    if (!is_set)
        tg_buf_adds(out, "null");
    else if (view == API_V0)
        api_add_time_us(out, s * 1000000);
    else
        api_add_time_s(out, s);
}

static void add_user(struct tg_buf *out, enum api_view view, const struct tg_api_user *user, struct tg_slice token)
{
    const struct form *f = &forms[view];

    tg_buf_adds(out, "{\"id\":");
    tg_json_add_string(out, user->id);
    tg_buf_adds(out, ",\"name\":");
    tg_json_add_string(out, user->name);
    tg_buf_addf(out, ",\"role\":\"%s\",\"prefix\":", tg_role_name(user->role));
    tg_json_add_string(out, user->prefix);
    if (token.len) {
        tg_buf_adds(out, ",\"token\":");
        tg_json_add_string(out, token);
    }
    add_time(out, view, f->created, user->created_s, true);
    add_time(out, view, f->used, user->used_s, user->used_s >= 0);
    add_time(out, view, f->expires, user->expires_s, user->expires_s != INT64_MAX);
    tg_buf_addc(out, '}');
}

/* What the audit log and webhooks know of it. */
static void add_facts(struct tg_buf *out, const struct tg_api_user *user, bool with_id)
{
    tg_buf_addc(out, '{');
    if (with_id) {
        tg_buf_adds(out, "\"id\":");
        tg_json_add_string(out, user->id);
        tg_buf_addc(out, ',');
    }
    tg_buf_adds(out, "\"name\":");
    tg_json_add_string(out, user->name);
    tg_buf_addf(out, ",\"role\":\"%s\"", tg_role_name(user->role));
    add_time(out, API_V1, "expires_at", user->expires_s, user->expires_s != INT64_MAX);
    tg_buf_addc(out, '}');
}

/* ---- lists ---- */

struct listing {
    struct tg_buf *items;
    enum api_view view;
};

static void list_one(void *arg, const struct tg_api_user *user)
{
    struct listing *l = arg;

    if (l->items->len)
        tg_buf_addc(l->items, ',');
    add_user(l->items, l->view, user, (struct tg_slice){0});
}

bool users_list(struct api *api, const struct api_request *req, uint64_t limit, uint64_t offset, struct tg_buf *items,
                uint64_t *total, struct api_answer *out)
{
    struct listing l = {items, req->view};
    struct tg_err err = {0};
    enum tg_status st;

    tg_managers_flush(api->managers, req->now_us / 1000); /* so that last uses are shown as they are */
    st = tg_api_user_list(api->db, (struct tg_slice){0}, limit, offset, list_one, &l, total, &err);
    if (st != TG_OK)
        api_fail_of(out, req->view, st, &err);
    return st == TG_OK;
}

void users_get(struct api *api, const struct api_request *req, struct tg_slice id, struct api_answer *out)
{
    struct listing l = {&out->body, req->view};
    struct tg_err err = {0};
    enum tg_status st = TG_NOT_FOUND;

    tg_managers_flush(api->managers, req->now_us / 1000);
    if (id.len)
        st = tg_api_user_list(api->db, id, 1, 0, list_one, &l, NULL, &err);
    if (st != TG_OK)
        api_fail_of(out, req->view, st, &err);
    else
        tg_buf_addc(&out->body, '\n');
}

/* ---- roles ---- */

/* Nobody gives or takes what is above himself. */
static bool may_touch(struct api *api, const struct api_request *req, const char *action, enum tg_role role)
{
    struct tg_buf details = {0};

    if (role <= req->caller->role)
        return true;
    tg_buf_addf(&details, "{\"reason\":\"the role %s is above the caller's own\"}", tg_role_name(role));
    api_note(api, req, action, "denied", tg_buf_slice(&details));
    tg_buf_fini(&details);
    return false;
}

static void refuse_role(const struct api_request *req, enum tg_role role, struct api_answer *out)
{
    struct tg_buf text = {0};

    tg_buf_addf(&text, "the role %s is above your own, which is %s", tg_role_name(role),
                tg_role_name(req->caller->role));
    api_fail(out, req->view, 403, tg_buf_cstr(&text));
    out->scope = tg_role_name(role);
    tg_buf_fini(&text);
}

/* ---- the body ---- */

static void add_word(struct tg_buf *out, const char *word)
{
    tg_buf_addf(out, "%.64s", word);
}

bool users_check_members(const struct api_request *req, const char *const *names, struct api_answer *out)
{
    struct tg_buf text = {0};
    const cJSON *member;
    size_t count = 0;

    if (!cJSON_IsObject(req->body)) {
        api_fail(out, req->view, 400, "the body must be a JSON object");
        return false;
    }
    while (names[count])
        count++;
    cJSON_ArrayForEach(member, req->body) {
        const char *near;
        size_t i = 0;

        while (i < count && strcmp(member->string, names[i]) != 0)
            i++;
        if (i < count)
            continue;
        near = tg_nearest(member->string, names, count);
        add_word(&text, member->string);
        tg_buf_addf(&text, " is no member of this body%s%s%s", near ? "; did you mean " : "", near ? near : "",
                    near ? "?" : "");
        api_fail(out, req->view, 400, tg_buf_cstr(&text));
        tg_buf_fini(&text);
        return false;
    }
    return true;
}

static const cJSON *said(const struct api_request *req, const char *name)
{
    const cJSON *member = tg_json_get(req->body, name);

    return member && !cJSON_IsNull(member) ? member : NULL;
}

static bool read_role(const struct api_request *req, enum tg_role *role, struct api_answer *out)
{
    const cJSON *member = said(req, "role");
    struct tg_slice text;

    *role = TG_ROLE_AUDITOR;
    if (!member || (tg_json_str(member, &text) && tg_role_parse(text, role)))
        return true;
    api_fail(out, req->view, 400, "role: is one of owner, admin, member and auditor (or viewer)");
    return false;
}

static bool read_end(const struct api_request *req, int64_t *expires_s, struct api_answer *out)
{
    const char *name = forms[req->view].expires;
    const cJSON *member = said(req, name);
    struct tg_slice text;
    struct tg_buf why = {0};
    int64_t ms = 0;
    bool ok;

    *expires_s = INT64_MAX;
    if (!member)
        return true;
    ok = tg_json_str(member, &text) && tg_clock_parse(text, &ms) && ms / 1000 > req->now_us / 1000000;
    if (ok) {
        *expires_s = ms / 1000;
    } else {
        tg_buf_addf(&why, "%s: is a time ahead, as in 2030-01-31T00:00:00Z", name);
        api_fail(out, req->view, 400, tg_buf_cstr(&why));
    }
    tg_buf_fini(&why);
    return ok;
}

static bool read_order(const struct api_request *req, struct tg_api_user_order *order, struct api_answer *out)
{
    const char *const names[] = {"name", "role", forms[req->view].expires, NULL};

    *order = (struct tg_api_user_order){.now_s = req->now_us / 1000000};
    if (!users_check_members(req, names, out))
        return false;
    if (!tg_json_str(said(req, "name"), &order->name)) {
        api_fail(out, req->view, 400, "name: is needed, a text: what the token is for");
        return false;
    }
    return read_role(req, &order->role, out) && read_end(req, &order->expires_s, out);
}

/* ---- changes ---- */

static bool commit(struct api *api, const struct api_request *req, bool made, const struct tg_api_user *user,
                   struct api_answer *out)
{
    struct tg_buf resource = {0}, details = {0}, data = {0};
    bool ok;

    tg_buf_addf(&resource, "token:" TG_S_FMT, TG_S_ARG(user->id));
    add_facts(&details, user, false);
    add_facts(&data, user, true);
    ok = api_change_commit(api, req, &(struct api_change){
                               .action = made ? "token.create" : "token.delete",
                               .event = made ? "token.created" : "token.deleted",
                               .resource = tg_buf_slice(&resource),
                               .details = tg_buf_slice(&details),
                               .data = tg_buf_slice(&data),
                           }, out);
    tg_buf_fini(&resource);
    tg_buf_fini(&details);
    tg_buf_fini(&data);
    return ok;
}

static void answer_made(const struct api_request *req, const struct tg_api_user *user, struct tg_slice token,
                        struct api_answer *out)
{
    out->status = 201;
    tg_buf_add_slice(&out->location, req->path);
    tg_buf_addc(&out->location, '/');
    tg_buf_add_slice(&out->location, user->id);
    add_user(&out->body, req->view, user, token);
    tg_buf_addc(&out->body, '\n');
}

static void create(struct api *api, const struct api_request *req, const struct tg_api_user_order *order,
                   struct api_answer *out)
{
    struct tg_buf token = {0};
    struct tg_err err = {0};
    char id[37];
    enum tg_status st;

    if (!api_change_begin(api, req, out))
        return;
    st = tg_api_user_create(api->db, order, &token, id, &err);
    if (st == TG_OK) {
        struct tg_api_user user = {
            .id = tg_slice_str(id), .name = order->name, .prefix = tg_api_token_prefix(tg_buf_slice(&token)),
            .role = order->role, .created_s = order->now_s, .used_s = -1, .expires_s = order->expires_s,
        };

        if (commit(api, req, true, &user, out))
            answer_made(req, &user, tg_buf_slice(&token), out);
    } else {
        api_change_abort(api);
        api_fail_of(out, req->view, st, &err);
    }
    tg_buf_wipe(&token);
}

void users_create(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct tg_api_user_order order;

    if (!read_order(req, &order, out))
        return;
    if (may_touch(api, req, "token.create", order.role))
        create(api, req, &order, out);
    else
        refuse_role(req, order.role, out);
}

struct found_user {                                      /* what is told of it once its row is gone */
    struct tg_buf id, name;
    struct tg_api_user user;
};

static void keep(void *arg, const struct tg_api_user *user)
{
    struct found_user *f = arg;

    f->user = *user;
    tg_buf_add_slice(&f->id, user->id);
    tg_buf_add_slice(&f->name, user->name);
    f->user.id = tg_buf_slice(&f->id);
    f->user.name = tg_buf_slice(&f->name);
}

static void delete_found(struct api *api, const struct api_request *req, const struct tg_api_user *user,
                         struct api_answer *out)
{
    struct tg_err err = {0};
    enum tg_status st = tg_api_user_delete(api->db, user->id, &err);

    if (st != TG_OK) {
        api_change_abort(api);
        api_fail_of(out, req->view, st, &err);
    } else if (commit(api, req, false, user, out)) {
        out->status = 204;
    }
}

void users_delete(struct api *api, const struct api_request *req, struct tg_slice id, struct api_answer *out)
{
    struct found_user found = {0};
    struct tg_err err = {0};
    enum tg_status st = TG_NOT_FOUND;

    if (!api_change_begin(api, req, out))
        return;
    if (id.len)
        st = tg_api_user_list(api->db, id, 1, 0, keep, &found, NULL, &err);
    if (st != TG_OK) {
        api_change_abort(api);
        api_fail_of(out, req->view, st, &err);
    } else if (found.user.role <= req->caller->role) {
        delete_found(api, req, &found.user, out);
    } else {
        api_change_abort(api);                           /* an entry of its own, outside of it */
        may_touch(api, req, "token.delete", found.user.role);
        refuse_role(req, found.user.role, out);
    }
    tg_buf_fini(&found.id);
    tg_buf_fini(&found.name);
}
