/*
 * cmd_check - every error of a configuration, or that there is none.
 */
#include "boot/commands.h"
#include "base/err.h"
#include "boot/options.h"
#include "boot/settings.h"

static const struct tg_option options[] = {
    TG_OPTION_CONFIG,
    TG_OPTIONS_SETTINGS,
};
static const struct tg_usage usage = {
    .command = "check",
    .line = "[-c FILE]",
    .about =
        "Reads the configuration as `run` would, with key files and policies, and tells every error and warning\n"
        "as FILE:LINE:COLUMN. Nothing is connected to. Prints `configuration ok` and ends with 0, or ends with 78.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate check -c tollgate.yaml\n"
                "  tollgate check -c tollgate.yaml --print-config",
};

int tg_cmd_check(int argc, char **argv)
{
    struct tg_problems problems = {0};
    struct tg_settings settings;
    struct tg_buf out = {0};
    struct tg_options o;
    const char *value, *config = NULL;
    int id, show = 0, code = TG_EXIT_CONFIG;

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
    if (tg_settings_load(tg_settings_path(config), &settings, &problems)) {
        tg_settings_fini(&settings);
        tg_buf_adds(&out, "configuration ok\n");
        code = TG_EXIT_OK;
    }
    tg_problems_print(&problems, false);
    tg_problems_fini(&problems);
    if (code == TG_EXIT_OK)
        code = tg_put_out(&out);
    return code;
}
