/*
 * settings_tables - the tables of the sections that boot itself reads, and the structs they fill.
 */
#pragma once
#include "boot/settings.h"

struct root_text {                                       /* the top of the file, as written */
    struct tg_strings addresses, trusted_proxies;
    struct tg_slice health_address, realm, state_dir, policies_dir;
    uint64_t workers;
    bool pass_identity_headers;
    int forward_authorization, error_format;
    const cJSON *upstream, *providers, *policies, *routes, *rate_limits, *claims_headers;
    const cJSON *timeouts, *limits, *drain, *access_log, *log;
};
struct drain_text {
    int64_t delay_ms, timeout_ms;
};
struct access_log_text {
    struct tg_slice output;
    int format;
};
struct log_text {
    int level;                                           /* index into settings_log_levels */
};
extern const char *const settings_log_levels[];

extern const struct tg_setting settings_root[], settings_timeouts[], settings_limits[], settings_drain[],
    settings_access_log[], settings_log[];
extern const size_t settings_root_count, settings_timeouts_count, settings_limits_count, settings_drain_count,
    settings_access_log_count, settings_log_count;

/* ---- for printing: which section a row opens ---- */
/* The section that `row` of `section` holds ("timeouts"), or each element of it ("routes[]"); NULL: none. */
const struct tg_settings_section *settings_section_of(const struct tg_settings_section *section,
                                                      const struct tg_setting *row);
/* "text", "duration", ...: what a user writes for a row of this kind. */
const char *settings_kind_name(const struct tg_setting *row);
/* "1 to 256", "1s or more"; false when nothing is to be said. */
bool settings_range_text(const struct tg_setting *row, struct tg_buf *out);
