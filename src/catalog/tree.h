/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorted maps whose states can be kept (inner): persistent AVL trees with counted references. Keys and values are
 * bytes, keys ascend as memcmp has it.
 *
 * T1. Who holds a root sees that state for ever: a change copies what others can reach, and changes in place what it
 *     alone can. A node is its holder's alone when each node from the root down to it has one reference.
 * T2. Holding and releasing are for any thread; changes of one root are for one thread at a time.
 * T3. A change that is refused memory leaves a map that may be out of balance or lack an entry: give the root up. */
#ifndef KI_CATALOG_TREE_H
#define KI_CATALOG_TREE_H

#include "catalog/catalog.h"

#include <stdatomic.h>

typedef struct ki_tree_entry {
    _Atomic uint64_t references;
    size_t key_bytes, bytes;
    unsigned char data[]; /* key, value */
} ki_tree_entry;

typedef struct ki_tree {
    _Atomic uint64_t references;
    struct ki_tree *left, *right;
    ki_tree_entry *entry;
    int height;
} ki_tree;

/* Bytes that the trees of one keeper take. */
typedef struct ki_tree_heap {
    _Atomic uint64_t bytes;
} ki_tree_heap;

static inline ki_bytes ki_tree_key(const ki_tree_entry *entry) {
    return (ki_bytes){entry->data, entry->key_bytes};
}
static inline ki_bytes ki_tree_value(const ki_tree_entry *entry) {
    return (ki_bytes){entry->data + entry->key_bytes, entry->bytes};
}

ki_tree *ki_tree_hold(ki_tree *root); /* NULL, the empty map, is fine */
void ki_tree_release(ki_tree_heap *heap, ki_tree *root);
const ki_tree_entry *ki_tree_find(const ki_tree *root, ki_bytes key);
/* Insert or replace; the value is that of the parts, one behind the other. 0: no memory. */
int ki_tree_put(ki_tree_heap *heap, ki_tree **root, ki_bytes key, const ki_bytes *parts, size_t part_count);
/* Fine when it is not there. 0: no memory. */
int ki_tree_remove(ki_tree_heap *heap, ki_tree **root, ki_bytes key);

/* Entries from a key on, ascending. The root is held by the caller meanwhile. */
enum { KI_TREE_HEIGHT_MAX = 93 }; /* an AVL tree of 2^64 nodes has less */
typedef struct ki_tree_walk {
    const ki_tree *above[KI_TREE_HEIGHT_MAX]; /* whose entries are still to come */
    int depth;
} ki_tree_walk;
void ki_tree_walk_from(ki_tree_walk *walk, const ki_tree *root, ki_bytes first);
const ki_tree_entry *ki_tree_next(ki_tree_walk *walk); /* NULL: no more */

#endif
