/*
 * tiers_store - where the counters are: this process, or a Redis that several share.
 *
 * The URL is taken apart here so that a mistake is found at the start. A message never shows it, since it may hold a
 * password.
 */
#include "tiers_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "io/redis.h"
#include "io/tls.h"

#define SECRET_BYTES 16                                  /* fewer can be guessed */

struct store_reading {
    const struct tier_reading *r;
    const cJSON *node;
};

#define complain(s, name, ...) \
    tg_problem_at((s)->r->problems, (s)->r->tree, tiers_at((s)->node, name), __VA_ARGS__)
#define warn(s, name, ...) \
    tg_warning_at((s)->r->problems, (s)->r->tree, tiers_at((s)->node, name), __VA_ARGS__)

/* ---- secrets ---- */

static void read_secret_file(const struct store_reading *s, const char *name, struct tg_slice path,
                             struct tg_slice *out)
{
    struct tg_buf text = {0};
    struct tg_err err = {0};

    if (tg_file_read_secret(path.ptr, &text, &err) == TG_OK)
        *out = tg_arena_dup(s->r->arena, tg_buf_slice(&text));
    else
        complain(s, name, "%s.%s: %s", s->r->where, name, tg_err_text(&err));
    if (out->ptr && tg_file_is_open_to_all(path.ptr))
        warn(s, name, "%s.%s: everybody may read that file", s->r->where, name);
    tg_buf_wipe(&text);
}

/* Inline or from a file, not both. */
static struct tg_slice read_secret(const struct store_reading *s, const char *name, const char *file_name,
                                   struct tg_slice inlined, struct tg_slice path)
{
    struct tg_slice secret = inlined;

    if (inlined.ptr && path.ptr)
        complain(s, name, "%s.%s: cannot be together with %s", s->r->where, name, file_name);
    else if (path.ptr)
        read_secret_file(s, file_name, path, &secret);
    else if (inlined.ptr && inlined.len == 0)
        complain(s, name, "%s.%s: must not be empty", s->r->where, name);
    return secret;
}

/* ---- without a store ---- */

static void warn_unused(const struct store_reading *s)
{
    static const char *const names[] = {"store_password", "store_password_file", "store_secret", "store_secret_file",
                                        "store_ca_file",  "store_prefix",        "store_timeout", "when_store_fails"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (tiers_says(s->node, names[i]))
            warn(s, names[i], "%s.%s: means nothing without a store; the counters are in memory", s->r->where,
                 names[i]);
}

/* ---- with one ---- */

static void check_prefix(const struct store_reading *s, struct tg_slice prefix)
{
    bool good = prefix.len > 0 && prefix.len <= TG_STORE_PREFIX_MAX;

    for (size_t i = 0; i < prefix.len && good; i++) {
        char c = prefix.ptr[i];

        good = c > 0x20 && c < 0x7f && !strchr("{}[]*?\\", c); /* which mean something to a store */
    }
    if (!good)
        complain(s, "store_prefix", "%s.store_prefix: 1 to %d characters that can be seen are allowed, without spaces "
                 "and {}[]*?\\", s->r->where, TG_STORE_PREFIX_MAX);
}

static void check_ca_file(const struct store_reading *s, const struct tg_redis_address *address, struct tg_slice file)
{
    struct tg_err err = {0};

    if (!file.ptr)
        return;
    if (!address->tls)
        warn(s, "store_ca_file", "%s.store_ca_file: means nothing without TLS; that is rediss://", s->r->where);
    if (tg_tls_check_ca_file(file.ptr, &err) != TG_OK)
        complain(s, "store_ca_file", "%s.store_ca_file: %s", s->r->where, tg_err_text(&err));
}

static void check_secret(const struct store_reading *s, const struct tg_redis_address *address,
                         const struct tg_limit_settings *out)
{
    bool given = tiers_says(s->node, "store_secret") || tiers_says(s->node, "store_secret_file");
    const char *name = tiers_says(s->node, "store_secret") ? "store_secret" : "store_secret_file";

    if (given && out->store_secret.ptr && out->store_secret.len < SECRET_BYTES)
        warn(s, name, "%s.%s: is shorter than %d characters, so it may be guessed", s->r->where, name, SECRET_BYTES);
    else if (!given && !address->password.len && !out->store_password.len)
        warn(s, "store", "%s.store: without store_secret (or a password) whoever reads the store can try out which "
             "caller a counter is of; give every tollgate the same store_secret_file", s->r->where);
}

static void read_address(const struct store_reading *s, const struct store_text *text, struct tg_limit_settings *out)
{
    struct tg_redis_address address = {0};
    struct tg_err err = {0};

    out->store = text->store;
    if (tg_redis_parse(text->store, s->r->arena, &address, &err) != TG_OK) {
        complain(s, "store", "%s.store: %s", s->r->where, tg_err_text(&err));
        return;
    }
    if (address.password.len && out->store_password.len)
        complain(s, "store", "%s.store: there is a password in the URL and another in store_password; one of the two "
                 "only", s->r->where);
    check_ca_file(s, &address, text->ca_file);
    check_secret(s, &address, out);
}

void tiers_read_store(const struct tier_reading *r, const cJSON *node, const struct store_text *text,
                      struct tg_limit_settings *out)
{
    struct store_reading s = {r, node};

    out->store_timeout_ms = text->timeout_ms;
    out->store_fails_deny = text->fails == 1;
    out->store_prefix = text->prefix;
    out->store_ca_file = text->ca_file;
    if (node) {
        out->store_password =
            read_secret(&s, "store_password", "store_password_file", text->password, text->password_file);
        out->store_secret = read_secret(&s, "store_secret", "store_secret_file", text->secret, text->secret_file);
        check_prefix(&s, text->prefix);
    }
    if (tg_slice_eq(text->store, TG_S("memory")))
        warn_unused(&s);
    else if (!memmem(text->store.ptr, text->store.len, "://", 3))
        complain(&s, "store", "%s.store: must be memory, redis://HOST[:PORT][/DATABASE], rediss://... or unix:///PATH",
                 r->where);
    else
        read_address(&s, text, out);
}
