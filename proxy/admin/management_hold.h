/*
 * management_hold - a copy of the section `management` with memory of its own.
 */
#pragma once
#include "admin/management.h"

struct held_settings {
    struct tg_arena arena;
    struct tg_management_settings settings;
};
struct held_settings *management_hold(const struct tg_management_settings *from);
void management_let_go(struct held_settings *h);         /* NULL is fine */
struct tg_slice management_copy(struct tg_arena *arena, struct tg_slice s); /* with a NUL behind it; NULL stays NULL */
