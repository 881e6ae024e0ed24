/*
 * certificates - when the listeners' certificates end, for whoever watches metrics.
 *
 * The value of a file that is no longer named becomes NaN, which no alert compares with.
 */
#include "certificates.h"
#include "base/metric.h"
#include <math.h>

static struct tg_series *series_of(struct tg_slice file)
{
    return tg_metric_series(tg_metric_family(TG_GAUGE, "tollgate_certificate_expiry_timestamp_seconds",
                                             "When a certificate of the listeners ends.", "certificate"), &file);
}

void tell_certificates(const struct tg_settings *old, const struct tg_settings *now)
{
    for (size_t i = 0; old && i < old->certificate_files.count; i++)
        tg_metric_set_float(series_of(old->certificate_files.items[i]), NAN);
    for (size_t i = 0; i < now->certificate_files.count; i++)
        tg_metric_set_float(series_of(now->certificate_files.items[i]),
                            (double)tg_tls_server_certificate(now->config->tls, i)->not_after_s);
}
