/*
 * catalogue_relate - which policies a route has, and which routes a policy.
 */
#include "catalogue_internal.h"

#define BRIEF "d.id, d.namespace_id, json_object('name', d.name), d.version, d.created_us, d.updated_us"

/* An enforced policy holds for the routes of its namespace; the root's for all. */
static const char *const queries[] = {
    [TG_ROUTES_OF_POLICY] =
        "SELECT " BRIEF " FROM documents p JOIN uses u ON u.policy = p.n JOIN documents d ON d.n = u.route"
        " WHERE p.id = ?1 ORDER BY d.n",
    [TG_ENFORCED_ROUTES_OF_POLICY] =
        "SELECT " BRIEF " FROM documents p JOIN documents d"
        " ON d.kind = 1 AND (p.namespace_id = '' OR p.namespace_id = d.namespace_id)"
        " WHERE p.id = ?1 AND p.enforced = 1 AND p.active = 1 ORDER BY d.n",
    [TG_POLICIES_OF_ROUTE] =
        "SELECT " BRIEF " FROM documents r JOIN uses u ON u.route = r.n JOIN documents d ON d.n = u.policy"
        " WHERE r.id = ?1 ORDER BY u.place",
    [TG_ENFORCED_POLICIES_OF_ROUTE] =
        "SELECT " BRIEF " FROM documents r JOIN documents d"
        " ON d.enforced = 1 AND d.active = 1 AND (d.namespace_id = '' OR d.namespace_id = r.namespace_id)"
        " WHERE r.id = ?1 ORDER BY d.n",
};
_Static_assert(TG_KIND_ROUTE == 1, "as in the statements");

enum tg_status tg_catalogue_relate(struct tg_catalogue *c, enum tg_relation relation, const struct tg_document *of,
                                   void (*each)(void *arg, const struct tg_document *d), void *arg, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, queries[relation]);

    tg_query_bind_text(q, 1, tg_slice_str(of->id));
    return catalogue_rows(c, q, each, arg, err);
}
