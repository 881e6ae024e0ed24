/* process - the standard process_* metrics and tollgate_build_info. */
#pragma once

void tg_process_metrics_init(void);
