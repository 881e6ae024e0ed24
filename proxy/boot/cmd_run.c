/*
 * cmd_run - `tollgate run`: read the configuration, start, serve until told to stop.
 */
#include "base/log.h"
#include "boot/commands.h"
#include "boot/container.h"
#include "boot/options.h"
#include "boot/reload.h"
#include "limit_words.h"

static int exit_of(enum tg_status st)
{
    switch (st) {
    case TG_DENIED: return TG_EXIT_PERMISSION;
    case TG_UNAVAILABLE: return TG_EXIT_UNAVAILABLE;
    case TG_UNSUPPORTED: return TG_EXIT_CONFIG;          /* refuse_exposed_upstream */
    default: return TG_EXIT_FAILURE;
    }
}

static void announce(const struct tg_server *server)
{
    const struct tg_settings *s = &server->settings;
    struct tg_buf addresses = {0}, tiers = {0}, store = {0};

    for (size_t i = 0; i < s->addresses.count; i++)
        tg_buf_addf(&addresses, "%s" TG_S_FMT, i ? " " : "", TG_S_ARG(s->addresses.items[i]));
    tg_tiers_describe(&s->config->tiers, &tiers);
    if (!limit_store_words(&s->config->limits, &store))
        tg_buf_adds(&store, "memory");
    tg_log(TG_LOG_INFO, "tollgate " TG_VERSION " serves", TG_F_SLICE("address", tg_buf_slice(&addresses)),
           TG_F_SLICE("health_address", s->health_address.ptr ? s->health_address : TG_S("none")),
           TG_F_INT("workers", server->worker_count), TG_F_INT("certificates", s->certificate_files.count),
           TG_F_INT("routes", tg_routes_count(server->config->routes)),
           TG_F_SLICE("tiers", tg_buf_slice(&tiers)),
           TG_F_INT("routes_with_own_tiers", limit_routes_count(server->config)),
           TG_F_SLICE("limits_in", tg_buf_slice(&store)));
    tg_buf_fini(&addresses);
    tg_buf_fini(&tiers);
    tg_buf_fini(&store);
}

static const struct tg_option options[] = {
    TG_OPTION_CONFIG,
    TG_OPTIONS_SETTINGS,
};
static const struct tg_usage usage = {
    .command = "run",
    .line = "[-c FILE]",
    .about = "Serves until SIGTERM or SIGINT, which drain; a second one stops at once. SIGHUP reads the file again\n"
             "and swaps policies, routes, keys and tiers without dropping a request, or keeps the old and says why.\n"
             "SIGUSR1 opens the access log anew.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate run -c tollgate.yaml\n"
                "  TOLLGATE_ADDRESS='[::]:8080' tollgate run\n",
};

/* Reads the file, telling every problem. */
static bool load(const char *path, struct tg_settings *out)
{
    struct tg_problems problems = {0};
    bool ok = tg_settings_load(path, out, &problems);

    if (ok)
        tg_container_warn(tg_container_detect(NULL), out, &problems);
    for (size_t i = 0; ok && i < problems.count; i++)    /* from here on standard error is a log */
        tg_log(TG_LOG_WARN, "configuration", TG_F_STR("problem", problems.items[i].text));
    if (!ok)
        tg_problems_print(&problems, false);
    tg_problems_fini(&problems);
    return ok;
}

static int serve(const char *path)
{
    struct tg_settings settings = {0};
    struct tg_server server;
    struct tg_err err = {0};
    enum tg_log_level level;

    tg_signals_block();
    if (!load(path, &settings)) {
        tg_settings_fini(&settings);
        return TG_EXIT_CONFIG;
    }
    if (tg_log_level_parse(settings.log_level, &level))
        tg_log_set_level(level);
    enum tg_status st = tg_server_start(&server, &settings, &err);
    if (st != TG_OK) {
        tg_log(TG_LOG_ERROR, "cannot start", TG_F_STR("error", tg_err_text(&err)));
        return exit_of(st);
    }
    announce(&server);
    return tg_serve(&server, path);
}

int tg_cmd_run(int argc, char **argv)
{
    struct tg_options o;
    const char *value, *config = NULL;
    int id, show = 0;

    tg_options_start(&o, &usage, argc, argv);
    while ((id = tg_options_next(&o, &value)) != TG_OPT_END) {
        if (id == TG_OPT_EXIT)
            return o.code;
        if (id == TG_OPT_CONFIG)
            config = value;
        else
            show = id;
    }
    if (tg_options_extra(&o, 0))
        return o.code;
    if (show)
        return tg_settings_show(show, config);
    return serve(tg_settings_path(config));
}
