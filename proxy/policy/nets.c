/*
 * nets - address blocks as a prefix tree: four bits of an address a step, runs that all blocks share in one.
 *
 * A node is where blocks part: one cache line of places, by the next four bits. A place leads to another node or to a
 * block. What lies between two nodes is not looked at on the way down; the block at the end is compared whole, which
 * finds every difference. Of nested blocks only those stay that have a lesser owner than the one around them, so the
 * innermost that holds an address has the least. Families never mix: each has a tree of its own.
 */
#include "internal.h"
#include <endian.h>
#include <stdlib.h>

struct address {
    uint64_t high, low;                                  /* of IPv4 the upper half of `high` */
};
struct block {
    struct address at;
    uint32_t owner;
    uint32_t around;                                     /* number + 1 of the block that holds this one; 0: none */
    uint8_t bits, family;
};
struct node {
    uint32_t places[16];                                 /* 0: nothing; odd: a block; even: a node. Numbers from 1 */
    uint32_t around;                                     /* the innermost block that holds all below; 0: none */
    uint32_t depth;                                      /* of the four bits, from 0 */
};
struct tg_nets {
    const struct node *nodes;
    const struct block *blocks;
    uint32_t roots[2];                                   /* IPv4, IPv6 */
};
struct growing {
    struct tg_buf nodes;                                 /* of struct node */
    struct block *blocks;                                /* sorted */
};

static uint32_t as_block(uint32_t number) { return number ? number << 1 | 1 : 0; }

static struct address address_of(const struct tg_ip *ip)
{
    struct address a = {0, 0};

    memcpy(&a.high, ip->bytes, 8);
    a.high = be64toh(a.high);
    if (ip->family == 4) {
        a.high &= UINT64_C(0xffffffff00000000);
        return a;
    }
    memcpy(&a.low, ip->bytes + 8, 8);
    a.low = be64toh(a.low);
    return a;
}

static inline uint64_t mask(unsigned bits) { return bits == 0 ? 0 : ~UINT64_C(0) << (64 - bits); }

static inline bool holds(const struct block *b, struct address a)
{
    if (b->bits <= 64)
        return ((b->at.high ^ a.high) & mask(b->bits)) == 0;
    return b->at.high == a.high && ((b->at.low ^ a.low) & mask(b->bits - 64u)) == 0;
}

static inline unsigned four_bits(struct address a, unsigned depth)
{
    return (unsigned)((depth < 16 ? a.high >> (60 - 4 * depth) : a.low >> (124 - 4 * depth)) & 15);
}

/* ---- building ---- */
static int by_address(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    if (x->family != y->family)
        return x->family < y->family ? -1 : 1;
    if (x->at.high != y->at.high)
        return x->at.high < y->at.high ? -1 : 1;
    if (x->at.low != y->at.low)
        return x->at.low < y->at.low ? -1 : 1;
    if (x->bits != y->bits)
        return x->bits < y->bits ? -1 : 1;
    return x->owner < y->owner ? -1 : x->owner > y->owner;
}

/* Drops blocks within one that has no greater owner; returns how many are left. Blocks nest or are apart. */
static uint32_t drop_nested(struct block *blocks, uint32_t count)
{
    uint32_t kept = 0, around = 0;

    for (uint32_t i = 0; i < count; i++) {
        while (around > 0 && (blocks[around - 1].family != blocks[i].family ||
                              !holds(&blocks[around - 1], blocks[i].at)))
            around = blocks[around - 1].around;
        if (around > 0 && blocks[around - 1].owner <= blocks[i].owner)
            continue;
        blocks[kept] = blocks[i];
        blocks[kept].around = around;
        around = ++kept;
    }
    return kept;
}

/* The first four bits in which the blocks, of which none holds all, are not alike. */
static unsigned parting(const struct block *first, const struct block *last)
{
    uint64_t high = first->at.high ^ last->at.high, low = first->at.low ^ last->at.low;
    unsigned bit = high ? (unsigned)__builtin_clzll(high) : low ? 64 + (unsigned)__builtin_clzll(low) : 128;

    return bit / 4;
}

static uint32_t build(struct growing *g, uint32_t first, uint32_t end, uint32_t around);

/* Fills the places of a node: by blocks that end in its four bits, which may take several, and by what is below. */
static void fill(struct growing *g, struct node *node, uint32_t first, uint32_t end)
{
    for (unsigned place = 0; place < 16; place++)
        node->places[place] = as_block(node->around);
    for (uint32_t i = first; i < end;) {
        const struct block *b = &g->blocks[i];
        unsigned place = four_bits(b->at, node->depth), wide = 4 * (node->depth + 1);
        uint32_t next = i + 1, inner = node->places[place] >> 1;

        if (b->bits <= wide) {
            for (unsigned k = 0; k < 1u << (wide - b->bits); k++)
                node->places[place + k] = as_block(next);
            i = next;
            continue;
        }
        while (next < end && g->blocks[next].bits > wide && four_bits(g->blocks[next].at, node->depth) == place)
            next++;
        node->places[place] = build(g, i, next, inner);
        i = next;
    }
}

/* Blocks [first, end), all within `around`; returns the place that leads to them. */
static uint32_t build(struct growing *g, uint32_t first, uint32_t end, uint32_t around)
{
    struct node node = {0};
    uint32_t number;

    while (end - first > 1 && holds(&g->blocks[first], g->blocks[end - 1].at))
        around = ++first;
    if (end - first == 1)
        return as_block(first + 1);
    node.around = around;
    node.depth = parting(&g->blocks[first], &g->blocks[end - 1]);
    tg_buf_add(&g->nodes, &node, sizeof(node));
    number = (uint32_t)(g->nodes.len / sizeof(node));
    fill(g, &node, first, end);
    memcpy(g->nodes.data + (number - 1) * sizeof(node), &node, sizeof(node));
    return number << 1;
}

const struct tg_nets *tg_nets_new(struct tg_arena *arena, const struct tg_cidr *cidrs, const uint32_t *owners,
                                  size_t count)
{
    struct tg_nets *nets = TG_ARENA_NEW(arena, struct tg_nets);
    struct growing g = {.blocks = TG_ARENA_ARRAY(arena, struct block, count)};
    uint32_t kept, v4 = 0;
    struct node *nodes;

    tg_assert(count < UINT32_MAX / 4);
    for (size_t i = 0; i < count; i++)
        g.blocks[i] = (struct block){.at = address_of(&cidrs[i].ip), .bits = cidrs[i].bits,
                                     .family = cidrs[i].ip.family, .owner = owners ? owners[i] : 0};
    qsort(g.blocks, count, sizeof(*g.blocks), by_address);
    kept = drop_nested(g.blocks, (uint32_t)count);
    while (v4 < kept && g.blocks[v4].family == 4)
        v4++;
    nets->roots[0] = v4 > 0 ? build(&g, 0, v4, 0) : 0;
    nets->roots[1] = v4 < kept ? build(&g, v4, kept, 0) : 0;
    nodes = tg_arena_raw(arena, g.nodes.len);
    if (g.nodes.len > 0)
        memcpy(nodes, g.nodes.data, g.nodes.len);
    nets->nodes = nodes;
    nets->blocks = g.blocks;
    tg_buf_fini(&g.nodes);
    return nets;
}

uint32_t tg_nets_find(const struct tg_nets *nets, const struct tg_ip *ip)
{
    uint32_t place = ip->family == 4 ? nets->roots[0] : ip->family == 6 ? nets->roots[1] : 0, number;
    struct address a;

    if (!place)
        return TG_NOBODY;
    a = address_of(ip);
    while (place && !(place & 1)) {
        const struct node *node = &nets->nodes[(place >> 1) - 1];

        place = node->places[four_bits(a, node->depth)];
    }
    number = place >> 1;
    while (number > 0 && !holds(&nets->blocks[number - 1], a))
        number = nets->blocks[number - 1].around;
    return number > 0 ? nets->blocks[number - 1].owner : TG_NOBODY;
}
