/*
 * hash - SipHash (Aumasson, Bernstein) with one compression and three finalisation rounds.
 */
#include "base/hash.h"
#include "base/digest.h"
#include <endian.h>
#include <pthread.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;
static uint64_t seed[2];

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline struct sip sip_start(uint64_t k0, uint64_t k1)
{
    return (struct sip){k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                        k1 ^ 0x7465646279746573u};
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static inline uint64_t sip_end(struct sip *s)
{
    s->v2 ^= 0xff;
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static inline uint64_t sip13(uint64_t k0, uint64_t k1, const void *p, size_t n)
{
    const unsigned char *at = p;
    struct sip s = sip_start(k0, k1);
    uint64_t word, tail = 0;

    for (size_t left = n / 8; left; left--, at += 8) {
        memcpy(&word, at, 8);
        sip_word(&s, le64toh(word));
    }
    if (n & 7)
        memcpy(&tail, at, n & 7);
    sip_word(&s, le64toh(tail) | (uint64_t)n << 56);
    return sip_end(&s);
}

uint64_t tg_siphash13(uint64_t k0, uint64_t k1, const void *p, size_t n)
{
    return sip13(k0, k1, p, n);
}

static void draw_seed(void)
{
    tg_random(seed, sizeof(seed));
    __atomic_store_n(&ready, true, __ATOMIC_RELEASE);
}

void tg_hash_init(void)
{
    pthread_once(&once, draw_seed);
}

static inline void need_seed(void)
{
    if (__builtin_expect(!__atomic_load_n(&ready, __ATOMIC_ACQUIRE), 0))
        tg_hash_init();
}

uint64_t tg_hash(const void *p, size_t n)
{
    need_seed();
    return sip13(seed[0], seed[1], p, n);
}

uint64_t tg_hash2(uint64_t a, uint64_t b)
{
    struct sip s;

    need_seed();
    s = sip_start(seed[0], seed[1]);
    sip_word(&s, a);
    sip_word(&s, b);
    sip_word(&s, (uint64_t)16 << 56);                    /* as the sixteen bytes of a and b would give */
    return sip_end(&s);
}
