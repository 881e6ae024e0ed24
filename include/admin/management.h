/*
 * management - the management API on a listener of its own: /api/v0 as Pomerium's, /api/v1 as XalTrax', one store.
 *
 * The gate on the control thread reads requests; each goes as a whole to the management thread, which has the database
 * (state_dir/tollgate.db) and answers it; webhooks are delivered from there as well. What changes is offered to the
 * supply before the change is answered. Nothing here waits on a worker or on the control thread.
 */
#pragma once
#include "auth/managers.h"
#include "gate/gate.h"
#include "store/catalogue.h"
#include "store/supply.h"

struct tg_revocations;

struct tg_management_settings {                          /* in the arena of the configuration */
    bool set;
    struct tg_slice address, url;
    struct tg_slice certificate_file, certificate_key_file;
    struct tg_tls_server *tls;                           /* a reference; NULL: plain */
    struct tg_slice organization_id, organization_name;
    struct tg_strings clusters;
    struct tg_operators operators;
    struct tg_set_rules rules;
    struct tg_strings providers, opaque_providers;       /* as tg_catalogue_settings; set by whoever knows them */
    int64_t id_token_ms;
    bool accept_bare_token;
    uint64_t authenticated_limit, unauthenticated_limit; /* requests a minute: by caller, by address */
    struct tg_strings webhook_networks;                  /* private networks that webhooks may go to; names too */
    struct tg_slice revocation_secret;                   /* of the revocation hook; empty: off */
};
extern const struct tg_setting tg_management_rows[], tg_management_organization_rows[], tg_management_limit_rows[],
    tg_management_webhook_rows[], tg_management_hook_rows[];
extern const size_t tg_management_row_count, tg_management_organization_row_count, tg_management_limit_row_count,
    tg_management_webhook_row_count, tg_management_hook_row_count;
bool tg_management_settings_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                                 struct tg_management_settings *out, struct tg_problems *problems);
void tg_management_settings_fini(struct tg_management_settings *s);

struct tg_management;
/*
 * Starts the management thread, opens the store, offers what is in it. The settings are copied. TG_DENIED: state_dir or
 * what is in it may not be used; else as of tg_db_open.
 */
enum tg_status tg_management_new(struct tg_worker *control, const char *state_dir,
                                 const struct tg_management_settings *s, struct tg_supply *supply,
                                 struct tg_revocations *revocations, struct tg_management **out, struct tg_err *err);
/*
 * On the control thread (as its loop ends, at the latest), after the gate: what is still asked is answered to nobody.
 * NULL is fine.
 */
void tg_management_free(struct tg_management *m);
/* A new configuration; the address stays. From any thread; takes effect soon, or is logged when it cannot. */
void tg_management_bind(struct tg_management *m, const struct tg_management_settings *s);
const struct tg_service *tg_management_service(struct tg_management *m); /* for tg_gate_new on the control worker */
void tg_management_describe(struct tg_management *m, struct tg_buf *out); /* one line, for readiness; any thread */
