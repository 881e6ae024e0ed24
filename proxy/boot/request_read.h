/*
 * request_read - a request as people write it down for a policy: in test files and in the lines of `explain --batch`.
 */
#pragma once
#include "explain.h"

struct written_request {
    struct explain_request request;                      /* slices point into the tree */
    struct tg_claims *claims;                            /* owned; NULL: no token */
    struct tg_slice body;                                /* ptr NULL: none was written */
};
/*
 * Reads {method, path, host, source_ip, time, headers, claims, client_cert, body}, all of which may be absent. `body`:
 * text, or any other JSON value, which stands for its JSON text. Every mistake becomes a problem with its place,
 * "request.NAME: sentence"; then false. End it with written_request_fini in any case.
 */
bool written_request_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                          struct written_request *out, struct tg_problems *problems);
void written_request_fini(struct written_request *w);

/* A problem at the key of each member of `object` that is none of `names`, with the nearest name; returns how many. */
size_t refuse_unknown_members(const struct tg_tree *tree, const cJSON *object, const char *what,
                              const char *const *names, size_t count, struct tg_problems *problems);
