/*
 * cluster - smooth weighted round robin over the endpoints of a route.
 *
 * Each turn every endpoint gains its weight; the richest is taken and pays the sum. So 3:1 gives a a b a, not a a a b.
 */
#include "upstream/cluster.h"

struct member {
    struct tg_endpoint *endpoint;
    int64_t weight, credit;
};
struct tg_cluster {
    struct member *members;
    int count;
};

struct tg_cluster *tg_cluster_new(void)
{
    return TG_NEW(struct tg_cluster);
}

void tg_cluster_free(struct tg_cluster *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->count; i++)
        tg_endpoint_unref(c->members[i].endpoint);
    free(c->members);
    free(c);
}

void tg_cluster_add(struct tg_cluster *c, struct tg_endpoint *ep, uint32_t weight)
{
    c->members = tg_realloc(c->members, (size_t)(c->count + 1) * sizeof(*c->members));
    c->members[c->count++] = (struct member){ep, weight, 0};
}

int tg_cluster_next(struct tg_cluster *c, uint64_t tried)
{
    int best = -1;
    int64_t sum = 0;

    if (c->count == 1)
        return tried & 1 ? -1 : 0;
    for (int i = 0; i < c->count; i++) {
        struct member *m = &c->members[i];

        if (i < 64 && (tried >> i & 1))
            continue;
        m->credit += m->weight;
        sum += m->weight;
        if (best < 0 || m->credit > c->members[best].credit)
            best = i;
    }
    if (best >= 0)
        c->members[best].credit -= sum;
    return best;
}

struct tg_endpoint *tg_cluster_at(struct tg_cluster *c, int i)
{
    return c->members[i].endpoint;
}
