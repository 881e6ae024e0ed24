/*
 * catalogue - the policies and routes that the management API holds, in SQLite: organisation, namespaces, documents.
 *
 * One organisation; a root namespace whose id is the organisation's, and one namespace for each configured cluster
 * below it. Documents are kept as the API's JSON (camelCase) in canonical form, without what is computed. Nothing is
 * written that does not compile: PPL, references, the route's settings, tg_set_rules. Every change is one transaction,
 * which the caller opens and commits (tg_db_begin), so that its audit entry and its webhooks are in it too.
 * Threads: the management thread only (it waits for disks).
 */
#pragma once
#include "io/db.h"
#include "store/set.h"

struct tg_catalogue;

struct tg_catalogue_settings {
    struct tg_slice organization_id, organization_name;  /* id empty: made at the first start and kept */
    struct tg_strings clusters;                          /* names of namespaces; none: one, "default" */
    const struct tg_set_rules *rules;
    /*
     * What identityProviders may name: the providers of the file, and of them those that opaque tokens are shown to, of
     * which a route takes one. Not set: anything.
     */
    struct tg_strings providers, opaque_providers;
};
/*
 * `db` is borrowed, and so is what the settings point to. Brings its tables up to date, and makes organisation and
 * namespaces that are missing.
 */
enum tg_status tg_catalogue_open(struct tg_db *db, const struct tg_catalogue_settings *settings, int64_t now_us,
                                 struct tg_catalogue **out, struct tg_err *err);
void tg_catalogue_free(struct tg_catalogue *c);          /* NULL is fine */

struct tg_namespace {
    char id[65];
    struct tg_slice name;
    bool root;
    int64_t created_us, updated_us;
};
const struct tg_namespace *tg_catalogue_namespaces(const struct tg_catalogue *c, size_t *count); /* the root is first */
struct tg_slice tg_catalogue_organization_name(const struct tg_catalogue *c);

enum tg_kind { TG_KIND_POLICY, TG_KIND_ROUTE };
struct tg_document {                                     /* strings and doc: the caller's to free by _fini */
    char id[37];
    char namespace_id[65];
    cJSON *doc;                                          /* the members a client wrote, defaults filled in */
    int64_t version;                                     /* 1, and one more with each change */
    int64_t created_us, updated_us;
};
void tg_document_fini(struct tg_document *d);

/*
 * The writers. `doc`: the body as sent, in the API's names, read only. TG_BAD_INPUT: the sentence names the member (or
 * the path in a PPL document) and what is wrong; TG_NOT_FOUND; TG_LIMIT: a conflict (409): a route with the same from,
 * path, prefix, regex; a policy that a route names; TG_EXPIRED: `if_version` (0: any) is not the current one (412).
 */
enum tg_status tg_catalogue_create(struct tg_catalogue *c, enum tg_kind kind, const cJSON *doc, int64_t now_us,
                                   struct tg_document *out, struct tg_err *err);
enum tg_status tg_catalogue_replace(struct tg_catalogue *c, enum tg_kind kind, struct tg_slice id, const cJSON *doc,
                                    int64_t if_version, int64_t now_us, struct tg_document *out, struct tg_err *err);
enum tg_status tg_catalogue_delete(struct tg_catalogue *c, enum tg_kind kind, struct tg_slice id, int64_t if_version,
                                   struct tg_document *was, struct tg_err *err);
enum tg_status tg_catalogue_get(struct tg_catalogue *c, enum tg_kind kind, struct tg_slice id, struct tg_document *out,
                                struct tg_err *err);
#define TG_CATALOGUE_ORDERS 3
struct tg_catalogue_query {
    struct tg_slice namespace_id;                        /* empty: any */
    bool descendants;                                    /* of the root: all */
    bool active_only;
    uint64_t limit, offset;                              /* limit 0: all */
    struct {
        enum { TG_BY_MAKING, TG_BY_ID, TG_BY_NAME, TG_BY_UPDATED } by;
        bool descending;
    } order[TG_CATALOGUE_ORDERS];                        /* none: in the order of their making, as are equal ones */
    size_t order_count;
};
/* *total (may be NULL): how many there are without limit and offset. */
enum tg_status tg_catalogue_list(struct tg_catalogue *c, enum tg_kind kind, const struct tg_catalogue_query *query,
                                 void (*each)(void *arg, const struct tg_document *d), void *arg, uint64_t *total,
                                 struct tg_err *err);
/* A number that moves with every change of a policy or a route: what an ETag of a list is made of. */
enum tg_status tg_catalogue_revision(struct tg_catalogue *c, int64_t *out, struct tg_err *err);

/* Relations, computed: each(id, name) of a document. */
enum tg_relation {
    TG_ROUTES_OF_POLICY, TG_ENFORCED_ROUTES_OF_POLICY,   /* in the order of their making */
    TG_POLICIES_OF_ROUTE,                                /* in the route's order, inactive ones too */
    TG_ENFORCED_POLICIES_OF_ROUTE,
};
enum tg_status tg_catalogue_relate(struct tg_catalogue *c, enum tg_relation relation, const struct tg_document *of,
                                   void (*each)(void *arg, const struct tg_document *d), void *arg, struct tg_err *err);
/* Everything that is active, as a set. */
enum tg_status tg_catalogue_set(struct tg_catalogue *c, struct tg_set **out, struct tg_err *err);
