/*
 * cluster - the endpoints of a route and whose turn it is: round robin by weight, smooth, per worker.
 */
#pragma once
#include "upstream/pool.h"

struct tg_cluster;

struct tg_cluster *tg_cluster_new(void);
void tg_cluster_free(struct tg_cluster *c);              /* NULL is fine */
void tg_cluster_add(struct tg_cluster *c, struct tg_endpoint *ep, uint32_t weight); /* takes over the reference */
/* Index of the next endpoint, in the order added. `tried`: bits of those not to take (already failed); -1: none left.
 */
int tg_cluster_next(struct tg_cluster *c, uint64_t tried);
struct tg_endpoint *tg_cluster_at(struct tg_cluster *c, int i);
