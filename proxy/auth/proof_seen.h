/*
 * proof_seen - which proofs were accepted already: a bounded table for the whole process.
 *
 * Sets of 16 slots, each a key and the time until which it is remembered. Nobody is ever put out before that time: a
 * newcomer to a set without room is refused. Memory is mapped at once and touched when used. Threads: any.
 */
#pragma once
#include "base/buf.h"

struct tg_proofs_seen;
enum tg_proof_seen { TG_PROOF_NEW, TG_PROOF_SEEN, TG_PROOF_NO_ROOM };

struct tg_proofs_seen *tg_proofs_seen_new(size_t slots); /* rounded up to a power of two, at least 16; 16 bytes each */
void tg_proofs_seen_free(struct tg_proofs_seen *t);
/* NEW: it is remembered until `until_s` (seconds since 1970) has passed; of several who ask at once one hears it. */
enum tg_proof_seen tg_proofs_seen_take(struct tg_proofs_seen *t, uint64_t key, uint32_t until_s, uint32_t now_s);
