/*
 * settings - one configuration file as values: what only a start may change, and the tg_config that a reload swaps.
 *
 * The root table (and the tables of the sections, which live with the modules they configure) makes the parser,
 * --help-settings, the reference in docs/configuration.md and the JSON Schema.
 */
#pragma once
#include "base/setting.h"
#include "admin/management.h"
#include "gate/config.h"
#include "store/audit.h"
#include "store/bundle.h"
#include "store/sync.h"

enum tg_set_source { TG_SOURCE_NONE, TG_SOURCE_SYNC, TG_SOURCE_BUNDLE, TG_SOURCE_MANAGEMENT }; /* at most one is set */

struct tg_settings {
    struct tg_config *config;                            /* one reference: tg_settings_fini */
    struct tg_strings addresses;                         /* at least one */
    struct tg_slice health_address;                      /* ptr NULL: none */
    uint64_t workers;                                    /* resolved: at least 1 */
    struct tg_slice state_dir;                           /* ptr NULL: memory only */
    struct tg_strings certificate_files;                 /* of config->tls, in its order */
    bool refuse_exposed_upstream;
    int64_t drain_delay_ms, drain_timeout_ms;
    struct tg_slice access_log_output;                   /* "stdout", "stderr", "off" or a path */
    struct tg_slice log_level;
    enum tg_set_source source;                           /* where policies and routes come from besides the file */
    struct tg_sync_settings sync;
    struct tg_bundle_settings bundle;
    struct tg_management_settings management;
    struct tg_audit_settings audit;
    struct tg_credential_settings *credential;           /* of sync or bundle; NULL: none */
};
const struct tg_set_rules *tg_settings_rules(const struct tg_settings *s); /* of the source; NULL: there is none */

/*
 * Reads FILE, interpolates, applies TOLLGATE_<KEY> overrides (getenv), reads every section. All errors and warnings go
 * to `problems`; true when there was no error, else *out is empty. A file that cannot be read is a problem too.
 */
bool tg_settings_load(const char *path, struct tg_settings *out, struct tg_problems *problems);
/* The same from text, for `dev` and tests; `name` stands for the file in messages. */
bool tg_settings_parse(const char *name, struct tg_slice text, struct tg_settings *out, struct tg_problems *problems);
void tg_settings_fini(struct tg_settings *s);
/* What a reload may not change: the name of the first setting that differs, or NULL. */
const char *tg_settings_differs(const struct tg_settings *old, const struct tg_settings *now);
/* health_address of a file whatever else is wrong with it, for healthcheck; empty: none. The default without a file. */
void tg_settings_health_address(const char *path, struct tg_buf *out);
/*
 * Where the store is, of a file whatever else is wrong with it: for commands that must work all the same. It fails when
 * the file cannot be read or is no YAML. free(state_dir); NULL: none is set.
 */
struct tg_settings_store {
    char *state_dir;
    bool pats;                                           /* personal access tokens are taken */
    bool management;                                     /* there is a management API */
};
enum tg_status tg_settings_read_store(const char *path, struct tg_settings_store *out, struct tg_err *err);
/* Where the configuration is: -c, else $TOLLGATE_CONFIG, else /etc/tollgate/tollgate.yaml. */
const char *tg_settings_path(const char *given);

/* Every table with the dotted place of its section ("", "timeouts", "identity_providers.NAME", "routes[]", ...). */
struct tg_settings_section {
    const char *place, *about;
    const struct tg_setting *rows;
    const size_t *count;
};
extern const struct tg_settings_section tg_settings_sections[];
extern const size_t tg_settings_section_count;

void tg_settings_help(struct tg_buf *out);               /* --help-settings */
void tg_settings_markdown(struct tg_buf *out);           /* docs/configuration.md's reference */
void tg_settings_schema(struct tg_buf *out);             /* JSON Schema */
/* The effective configuration as YAML, defaults filled in, secrets masked. */
void tg_settings_print(const struct tg_settings *s, struct tg_buf *out);
