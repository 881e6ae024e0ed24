/*
 * management_hold - the settings copied, since their configuration may go while the API still answers under them.
 */
#include "management_hold.h"

struct tg_slice management_copy(struct tg_arena *arena, struct tg_slice s)
{
    return s.ptr ? tg_slice(tg_arena_str(arena, s), s.len) : s;
}

static void copy_list(struct tg_arena *arena, struct tg_strings *list)
{
    struct tg_slice *items = TG_ARENA_ARRAY(arena, struct tg_slice, list->count + 1);

    for (size_t i = 0; i < list->count; i++)
        items[i] = management_copy(arena, list->items[i]);
    list->items = items;
}

struct held_settings *management_hold(const struct tg_management_settings *from)
{
    struct held_settings *h = TG_NEW(struct held_settings);
    struct tg_management_settings *s = &h->settings;
    struct tg_operator *operators;

    tg_arena_init(&h->arena, NULL, 0);
    *s = *from;
    struct tg_slice *texts[] = {&s->address, &s->url, &s->certificate_file, &s->certificate_key_file,
                                &s->organization_id, &s->organization_name, &s->revocation_secret};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = management_copy(&h->arena, *texts[i]);
    copy_list(&h->arena, &s->clusters);
    copy_list(&h->arena, &s->rules.allowed_upstreams);
    copy_list(&h->arena, &s->webhook_networks);
    copy_list(&h->arena, &s->providers);
    copy_list(&h->arena, &s->opaque_providers);
    operators = TG_ARENA_ARRAY(&h->arena, struct tg_operator, s->operators.count + 1);
    for (size_t i = 0; i < s->operators.count; i++) {
        operators[i] = s->operators.items[i];
        operators[i].id = management_copy(&h->arena, operators[i].id);
        operators[i].public_key_file = management_copy(&h->arena, operators[i].public_key_file);
        operators[i].keys = operators[i].keys ? tg_jwks_ref(operators[i].keys) : NULL;
    }
    s->operators.items = operators;
    s->tls = s->tls ? tg_tls_server_ref(s->tls) : NULL;
    return h;
}

void management_let_go(struct held_settings *h)
{
    if (!h)
        return;
    tg_management_settings_fini(&h->settings);
    tg_arena_fini(&h->arena);
    free(h);
}
