/*
 * container - is this a container, and can anybody outside it reach the addresses of the configuration?
 *
 * Loopback is the right default on a host and the usual mistake in a container: the port is published, and nobody
 * listens where its traffic arrives.
 */
#pragma once
#include "boot/settings.h"

enum tg_container {
    TG_CONTAINER_NONE,
    TG_CONTAINER_SOME,                                   /* Docker, Podman, systemd-nspawn */
    TG_CONTAINER_KUBERNETES,
};
struct tg_surroundings {
    const char *(*env)(const char *name);                /* as getenv; NULL: no variable is looked at */
    const char *root;                                    /* put before the absolute paths that are looked for */
};
/* `from` NULL: where this process runs. */
enum tg_container tg_container_detect(const struct tg_surroundings *from);
/* Warnings only: beside an app of the same pod, loopback may be meant. */
void tg_container_warn(enum tg_container where, const struct tg_settings *settings, struct tg_problems *problems);
