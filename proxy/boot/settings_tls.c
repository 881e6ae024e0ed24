/*
 * settings_tls - the listeners' certificates and what is asked of clients: from the sections to config->tls.
 *
 * Every file is opened here, so that `check` tells what a start would refuse. Messages name paths, never what is in a
 * file. Dates only warn: a certificate that ran out must not keep a process from starting that serves others too.
 */
#include "base/clock.h"
#include "base/json.h"
#include "settings_tables.h"
#include <stdio.h>

#define SOON_S (14 * INT64_C(86400))

struct tls_reading {
    const struct tg_tree *tree;
    struct tg_config *config;
    struct tg_arena *arena;
    struct tg_problems *problems;
    struct tg_strings *files;                            /* of the certificates that were added */
};

/* "certificates[1].", or nothing at the top. */
struct pair_place {
    const cJSON *node;                                   /* the mapping that holds both settings */
    const char *where;
};

static const cJSON *at(const struct tls_reading *r, const cJSON *node, const char *name)
{
    const cJSON *member = tg_json_get(node, name);

    return member ? member : node ? node : r->tree->root;
}

/* ---- one certificate ---- */

static void warn_of_dates(const struct tls_reading *r, const struct pair_place *place, const struct tg_cert *cert)
{
    int64_t now_s = tg_clock_wall_ms() / 1000;
    const cJSON *node = at(r, place->node, "certificate_file");
    char from[TG_TIME_TEXT], until[TG_TIME_TEXT];

    tg_clock_format(cert->not_before_s * 1000, from);
    tg_clock_format(cert->not_after_s * 1000, until);
    if (cert->not_after_s <= now_s)
        tg_warning_at(r->problems, r->tree, node,
                      "%scertificate_file: this certificate expired at %s: clients refuse it", place->where, until);
    else if (cert->not_before_s > now_s)
        tg_warning_at(r->problems, r->tree, node, "%scertificate_file: this certificate is not valid before %s",
                      place->where, from);
    else if (cert->not_after_s - now_s <= SOON_S)
        tg_warning_at(r->problems, r->tree, node, "%scertificate_file: this certificate ends in %lld days, at %s",
                      place->where, (long long)((cert->not_after_s - now_s) / 86400), until);
}

static void add_pair(struct tls_reading *r, const struct pair_place *place, const struct certificate_text *text)
{
    struct tg_tls_server *tls = r->config->tls;
    struct tg_err err = {0};
    enum tg_status st = tg_tls_server_add(tls, text->certificate_file.ptr, text->certificate_key_file.ptr, &err);
    bool key = st == TG_DENIED || (strstr(err.text, text->certificate_key_file.ptr) &&
                                   !strstr(err.text, text->certificate_file.ptr));
    const char *name = key ? "certificate_key_file" : "certificate_file";

    if (st != TG_OK) {
        tg_problem_at(r->problems, r->tree, at(r, place->node, name), "%s%s: %s", place->where, name, err.text);
        return;
    }
    r->files->items[r->files->count++] = text->certificate_file;
    warn_of_dates(r, place, tg_tls_server_certificate(tls, tg_tls_server_count(tls) - 1));
}

/* The pair at the top of the file. */
static void read_single(struct tls_reading *r, const struct root_text *root)
{
    struct certificate_text text = {root->certificate_file, root->certificate_key_file};
    struct pair_place place = {r->tree->root, ""};

    if (text.certificate_file.ptr && text.certificate_key_file.ptr)
        add_pair(r, &place, &text);
    else if (text.certificate_file.ptr)
        tg_problem_at(r->problems, r->tree, at(r, place.node, "certificate_file"),
                      "certificate_file needs certificate_key_file beside it");
    else if (text.certificate_key_file.ptr)
        tg_problem_at(r->problems, r->tree, at(r, place.node, "certificate_key_file"),
                      "certificate_key_file needs certificate_file beside it");
}

static void read_list(struct tls_reading *r, const cJSON *list)
{
    const cJSON *node;
    size_t i = 0;

    if (!cJSON_IsArray(list)) {
        tg_problem_at(r->problems, r->tree, list,
                      "certificates: must be a list of {certificate_file, certificate_key_file}");
        return;
    }
    if (!list->child)                                    /* plain HTTP is had by leaving it out, not by accident */
        tg_problem_at(r->problems, r->tree, list, "certificates: must not be empty");
    cJSON_ArrayForEach(node, list) {
        const char *where = tg_arena_printf(r->arena, "certificates[%zu]", i++).ptr;
        struct pair_place place = {node, tg_arena_printf(r->arena, "%s.", where).ptr};
        struct certificate_text text = {0};

        if (!cJSON_IsObject(node)) {
            tg_problem_at(r->problems, r->tree, node, "%s: must be {certificate_file, certificate_key_file}", where);
            continue;
        }
        if (tg_settings_read(settings_certificate, settings_certificate_count, r->tree, node, where, false, r->arena,
                             &text, r->problems))
            add_pair(r, &place, &text);
    }
}

/* ---- certificates of clients ---- */

/* A criterion about them, or a route that takes tokens bound to them. */
static bool is_about_certificates(const cJSON *member)
{
    struct tg_slice demanded;

    if (strcmp(member->string, "proof_of_possession") == 0)
        return tg_json_str(member, &demanded) &&
               (tg_slice_eq(demanded, TG_S("any")) || tg_slice_eq(demanded, TG_S("mtls")));
    return strcmp(member->string, "client_certificate") == 0 ||
           strcmp(member->string, "invalid_client_certificate") == 0;
}

/* Whether a policy or a route of this file asks for them. */
static bool mentions_certificates(const cJSON *node)
{
    const cJSON *child;

    cJSON_ArrayForEach(child, node) {
        if (child->string && is_about_certificates(child))
            return true;
        if (mentions_certificates(child))                /* as deep as tree lets it be */
            return true;
    }
    return false;
}

static void warn_of_nobody_asking(const struct tls_reading *r, const struct root_text *root)
{
    if (!root->policies_dir.ptr && !mentions_certificates(root->routes) && !mentions_certificates(root->policies) &&
        !mentions_certificates(root->upstream))
        tg_warning_at(r->problems, r->tree, at(r, root->downstream_mtls, "enforcement"),
                      "downstream_mtls.enforcement: \"policy\" leaves it to policies, and none looks at certificates: "
                      "clients without one are served as well");
}

static void read_mtls(struct tls_reading *r, const struct root_text *root, bool certificates)
{
    const cJSON *node = root->downstream_mtls;
    struct mtls_text text = {0};
    struct tg_err err = {0};

    if (!node || cJSON_IsNull(node))
        return;
    if (!cJSON_IsObject(node)) {
        tg_problem_at(r->problems, r->tree, node, "downstream_mtls: must be a mapping: {ca_file: ...}");
        return;
    }
    if (!certificates)
        tg_problem_at_key(r->problems, r->tree, node, "downstream_mtls needs TLS: certificate_file and "
                          "certificate_key_file, or certificates");
    if (!tg_settings_read(settings_mtls, settings_mtls_count, r->tree, node, "downstream_mtls", false, r->arena, &text,
                          r->problems) ||
        !certificates || tg_tls_server_count(r->config->tls) == 0)
        return;

    struct tg_tls_client_auth auth = {
        .ca_file = text.ca_file.ptr,
        .crl_file = text.crl_file.ptr,
        .reject = text.enforcement == MTLS_REJECT_CONNECTION,
        .max_depth = (unsigned)text.max_verify_depth,
    };
    if (tg_tls_server_verify_clients(r->config->tls, &auth, &err) != TG_OK) {
        bool crl = auth.crl_file && strstr(err.text, auth.crl_file);
        const char *name = crl ? "crl_file" : "ca_file";

        tg_problem_at(r->problems, r->tree, at(r, node, name), "downstream_mtls.%s: %s", name, err.text);
    }
    r->config->route_defaults.client_ca = true;
    r->config->route_defaults.deny_invalid_certificate = text.enforcement != MTLS_POLICY;
    if (text.enforcement == MTLS_POLICY)
        warn_of_nobody_asking(r, root);
}

void settings_read_tls(const struct tg_tree *tree, const struct root_text *root, struct tg_settings *out,
                       struct tg_problems *problems)
{
    struct tls_reading r = {.tree = tree, .config = out->config, .arena = &out->config->arena, .problems = problems,
                            .files = &out->certificate_files};
    const cJSON *list = cJSON_IsNull(root->certificates) ? NULL : root->certificates;
    bool certificates = root->certificate_file.ptr || root->certificate_key_file.ptr || list;

    if (certificates) {
        r.config->tls = tg_tls_server_new();
        r.files->items = TG_ARENA_ARRAY(r.arena, struct tg_slice, (size_t)cJSON_GetArraySize(list) + 1);
        read_single(&r, root);
        if (list)
            read_list(&r, list);
    }
    read_mtls(&r, root, certificates);
}
