/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of probing: sets of other values by ascending sums of their costs, those of all tables in one heap [Lv,
 * Josephson, Wang, Charikar, Li 2007]. A set is made once: by moving its last member on to the next in order (shift),
 * or by adding that one (expand). Sets that take two values of one function are passed over, and only shifted. */
#include "base/checked.h"
#include "lsh/inner.h"

static int before(const ki_lsh_node *a, const ki_lsh_node *b) {
    if (a->cost != b->cost) return a->cost < b->cost;
    if (a->last != b->last) return a->last < b->last;
    return a->table < b->table;
}

static int push(ki_lsh_order *order, ki_lsh_node node) {
    const size_t per = order->counts[node.table];
    if (node.last >= per) return 1;
    node.cost = node.before + order->others[node.table * order->per_table + node.last].cost;
    ki_lsh_node *heap = ki_area_grow(order->heap, order->used + 1, sizeof(*heap));
    if (!heap) return 0;
    size_t at = order->used++;
    for (; at && before(&node, &heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = node;
    return 1;
}

static ki_lsh_node pop(ki_lsh_order *order) {
    ki_lsh_node *heap = order->heap->data;
    const ki_lsh_node top = heap[0], last = heap[--order->used];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= order->used) break;
        if (child + 1 < order->used && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &last)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

int ki_lsh_order_next(ki_lsh_order *order, ki_lsh_probe *probe) {
    if (order->given < order->lsh->tables) {
        const uint32_t table = order->given++;
        *probe = (ki_lsh_probe){table, ki_lsh_bucket(order->lsh, order->keys[table])};
        return push(order, (ki_lsh_node){.table = table, .key = order->keys[table]}) ? 1 : -1;
    }
    while (order->used) {
        const ki_lsh_node node = pop(order);
        const ki_lsh_other *last = &order->others[node.table * order->per_table + node.last];
        const uint64_t bit = UINT64_C(1) << last->function, key = node.key + last->change;
        ki_lsh_node shifted = node;
        shifted.last++;
        if (!push(order, shifted)) return -1;
        if (node.used & bit) continue;
        const ki_lsh_node expanded = {
            .before = node.cost, .table = node.table, .last = node.last + 1, .used = node.used | bit, .key = key};
        if (!push(order, expanded)) return -1;
        *probe = (ki_lsh_probe){node.table, ki_lsh_bucket(order->lsh, key)};
        return 1;
    }
    return 0;
}
