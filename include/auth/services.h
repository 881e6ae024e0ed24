/*
 * services - what the verifiers of all workers share, made once in a process by boot; each may be NULL: not in use.
 */
#pragma once

struct tg_introspector;                                  /* auth/introspect.h */
struct tg_pats;                                          /* auth/pat.h */
struct tg_revocations;                                   /* auth/revoked.h */
struct tg_dpop;                                          /* auth/dpop.h */
struct tg_credentials;                                   /* auth/credential.h */
struct tg_signing;                                       /* auth/assertion.h */

struct tg_auth_services {
    struct tg_introspector *introspector;
    struct tg_pats *pats;
    struct tg_revocations *revocations;
    struct tg_dpop *dpop;
    struct tg_credentials *credentials;
    struct tg_signing *signing;
};
