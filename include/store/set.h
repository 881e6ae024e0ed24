/*
 * set - policies and routes that come from a control plane, as one immutable, counted document.
 *
 * Its text is JSON in one canonical form, {"policies":[...],"routes":[...]}, one element a line, so that a message
 * about a set has a line. Elements have the Zero API's names, sorted (policies: id, name, namespaceId, enforced, ppl,
 * explanation, remediation; routes: id, name, from, to, prefix, path, policyIds, enforcedPolicyIds, ...); snake_case is
 * taken too. Left out is what says nothing (null, false, "", [], {}, 0; but not `passIdentityHeaders: false`, which is
 * not the same as its absence, nor an empty `ppl`), what changes by itself (createdAt, updatedAt, names of what is
 * referred to), and policies with `active: false` together with the references to them. Policies are in the order of
 * their ids. Routes are as Pomerium matches them: exact hosts, then wildcards, the longer ones first, then any host; of
 * one host those with a port first; then path and prefix descending, then from and id. The same content has the same
 * octets, and so the same digest.
 *
 * What a set may say of a machine is bounded by that machine's own file: tg_set_rules. A set names no files.
 * Threads: any; the count is atomic.
 */
#pragma once
#include "base/ip.h"
#include "base/setting.h"
#include "base/tree.h"

struct tg_set;

#define TG_SET_BYTES ((size_t)64 << 20)                  /* of one text */

/*
 * From two lists of the API's objects, which are read only (NULL: an empty one). `name` stands for the set in messages
 * ("the policies of https://cp.example.com"). An element without an id is named by its name. Enforced policies are put
 * into enforcedPolicyIds of the routes of their namespace, or of all when they say none (they are the root's): what a
 * route says of that is kept. More of namespaces is not known here: a route names what is enforced from above. Lists of
 * {id, name} stand in for policyIds and enforcedPolicyIds that are missing, and `policy_data: {ppl}` for ppl.
 * TG_BAD_INPUT: not objects, two elements with one id, two routes with the same from, path and prefix; the sentence
 * starts with `name` and names the element. TG_LIMIT. Whether the content compiles is found out by tg_routes_read.
 */
enum tg_status tg_set_make(const char *name, const cJSON *policies, const cJSON *routes, struct tg_set **out,
                           struct tg_err *err);
/* From text: an object with those two lists, as above; any JSON form. */
enum tg_status tg_set_parse(const char *name, struct tg_slice text, struct tg_set **out, struct tg_err *err);
struct tg_set *tg_set_ref(struct tg_set *set);
void tg_set_unref(struct tg_set *set);                   /* NULL is fine */

struct tg_slice tg_set_text(const struct tg_set *set);   /* canonical */
/* SHA-256 of it, 64 lower-case hex digits. Not for logs: values of setRequestHeaders are in it; tg_routes_digest is. */
const char *tg_set_digest(const struct tg_set *set);
size_t tg_set_policies(const struct tg_set *set);        /* how many, those that are left out not counted */
size_t tg_set_routes(const struct tg_set *set);
const struct tg_tree *tg_set_tree(const struct tg_set *set);

/* ---- what a machine lets a set say: allowed_upstreams, allow_tls_skip_verify of its section ---- */
struct tg_set_rules {
    /*
     * Networks that a literal address in `to` must lie in; names, exact or "*.suffix", with ":port" when only that port
     * is meant; "echo:". Absent: loopback addresses and localhost. A name is never resolved to be compared with a
     * network.
     */
    struct tg_strings allowed_upstreams;
    bool allow_tls_skip_verify;
    bool any_upstream;                                   /* no setting: of whoever builds a set for other machines */
};
bool tg_set_rules_check(const struct tg_tree *tree, const cJSON *node, const char *where,
                        const struct tg_set_rules *rules, struct tg_problems *problems); /* the settings themselves */
/* Whether `to`, one element as written ("URL" or "URL,weight"), is allowed; the sentence says why not. */
enum tg_status tg_set_rules_allow(const struct tg_set_rules *rules, struct tg_slice to, struct tg_err *err);
