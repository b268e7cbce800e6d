/* SPDX-License-Identifier: Apache-2.0
 *
 * AVL trees [Adelson-Velsky, Landis 1962] with path copying, which is left out where nobody else looks (T1). */
#include "catalog/tree.h"

#include "base/checked.h"

#include <string.h>

static int compare(ki_bytes a, ki_bytes b) {
    const size_t shorter = ki_min_size(a.bytes, b.bytes);
    const int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static size_t entry_size(const ki_tree_entry *entry) {
    return sizeof *entry + entry->key_bytes + entry->bytes;
}

static void take_memory(ki_tree_heap *heap, size_t bytes) {
    atomic_fetch_add_explicit(&heap->bytes, bytes, memory_order_relaxed);
}

static void give_memory(ki_tree_heap *heap, void *memory, size_t bytes) {
    atomic_fetch_sub_explicit(&heap->bytes, bytes, memory_order_relaxed);
    free(memory);
}

/* malloc and not ki_alloc_array: nodes are small, and whole cache lines would double them. */
static ki_tree_entry *make_entry(ki_tree_heap *heap, ki_bytes key, const ki_bytes *parts, size_t part_count) {
    uint64_t value = 0, size;
    for (size_t i = 0; i < part_count; i++)
        if (!ki_add(value, parts[i].bytes, &value)) return NULL;
    if (!ki_add(value, (uint64_t)key.bytes + sizeof(ki_tree_entry), &size) || size > PTRDIFF_MAX) return NULL;
    ki_tree_entry *entry = malloc((size_t)size);
    if (!entry) return NULL;
    atomic_init(&entry->references, 1);
    entry->key_bytes = key.bytes;
    entry->bytes = (size_t)value;
    unsigned char *to = entry->data;
    memcpy(to, key.data, key.bytes);
    to += key.bytes;
    for (size_t i = 0; i < part_count; to += parts[i++].bytes)
        if (parts[i].bytes) memcpy(to, parts[i].data, parts[i].bytes);
    take_memory(heap, (size_t)size);
    return entry;
}

static ki_tree_entry *hold_entry(ki_tree_entry *entry) {
    atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
    return entry;
}

static void release_entry(ki_tree_heap *heap, ki_tree_entry *entry) {
    if (atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1)
        give_memory(heap, entry, entry_size(entry));
}

ki_tree *ki_tree_hold(ki_tree *root) {
    if (root) atomic_fetch_add_explicit(&root->references, 1, memory_order_relaxed);
    return root;
}

/* As deep as the tree is high. */
void ki_tree_release(ki_tree_heap *heap, ki_tree *root) {
    while (root && atomic_fetch_sub_explicit(&root->references, 1, memory_order_acq_rel) == 1) {
        ki_tree *right = root->right;
        ki_tree_release(heap, root->left);
        release_entry(heap, root->entry);
        give_memory(heap, root, sizeof *root);
        root = right;
    }
}

/* A node with these parts, which it takes over. */
static ki_tree *make_node(ki_tree_heap *heap, ki_tree *left, ki_tree *right, ki_tree_entry *entry, int height) {
    ki_tree *node = malloc(sizeof *node);
    if (!node) return NULL;
    atomic_init(&node->references, 1);
    node->left = left;
    node->right = right;
    node->entry = entry;
    node->height = height;
    take_memory(heap, sizeof *node);
    return node;
}

/* Make the node at *place this map's alone; those above it are. */
static int own(ki_tree_heap *heap, ki_tree **place) {
    ki_tree *node = *place;
    if (atomic_load_explicit(&node->references, memory_order_acquire) == 1) return 1;
    ki_tree *copy = make_node(heap, node->left, node->right, node->entry, node->height);
    if (!copy) return 0;
    ki_tree_hold(copy->left);
    ki_tree_hold(copy->right);
    hold_entry(copy->entry);
    *place = copy;
    ki_tree_release(heap, node);
    return 1;
}

/* ---- Balance ----------------------------------------------------------------------------------------------------- */

static int height(const ki_tree *node) {
    return node ? node->height : 0;
}

static void measure(ki_tree *node) {
    const int left = height(node->left), right = height(node->right);
    node->height = 1 + (left > right ? left : right);
}

/* Both nodes are owned. */
static void rotate_right(ki_tree **place) {
    ki_tree *node = *place, *up = node->left;
    node->left = up->right;
    up->right = node;
    measure(node);
    measure(up);
    *place = up;
}

static void rotate_left(ki_tree **place) {
    ki_tree *node = *place, *up = node->right;
    node->right = up->left;
    up->left = node;
    measure(node);
    measure(up);
    *place = up;
}

/* *place is owned; its subtrees are balanced, and their heights differ by two at most. */
static int balance(ki_tree_heap *heap, ki_tree **place) {
    ki_tree *node = *place;
    const int lean = height(node->left) - height(node->right);
    if (lean > 1) {
        if (!own(heap, &node->left)) return 0;
        if (height(node->left->left) < height(node->left->right)) {
            if (!own(heap, &node->left->right)) return 0;
            rotate_left(&node->left);
        }
        rotate_right(place);
    } else if (lean < -1) {
        if (!own(heap, &node->right)) return 0;
        if (height(node->right->right) < height(node->right->left)) {
            if (!own(heap, &node->right->left)) return 0;
            rotate_right(&node->right);
        }
        rotate_left(place);
    } else {
        measure(node);
    }
    return 1;
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

static int put(ki_tree_heap *heap, ki_tree **place, ki_tree_entry *entry) {
    if (!*place) {
        ki_tree *node = make_node(heap, NULL, NULL, entry, 1);
        if (!node) return 0;
        hold_entry(entry);
        *place = node;
        return 1;
    }
    if (!own(heap, place)) return 0;
    ki_tree *node = *place;
    const int order = compare(ki_tree_key(entry), ki_tree_key(node->entry));
    if (order == 0) {
        release_entry(heap, node->entry);
        node->entry = hold_entry(entry);
        return 1;
    }
    return put(heap, order < 0 ? &node->left : &node->right, entry) && balance(heap, place);
}

int ki_tree_put(ki_tree_heap *heap, ki_tree **root, ki_bytes key, const ki_bytes *parts, size_t part_count) {
    ki_tree_entry *entry = make_entry(heap, key, parts, part_count);
    if (!entry) return 0;
    const int done = put(heap, root, entry);
    release_entry(heap, entry);
    return done;
}

/* Put the only subtree that *place may have in its place. The node is owned, its entry taken out or released by the
 * caller. */
static void lift(ki_tree_heap *heap, ki_tree **place) {
    ki_tree *node = *place;
    *place = node->left ? node->left : node->right;
    give_memory(heap, node, sizeof *node);
}

/* Take the least entry out of a tree that is not empty. */
static int take_least(ki_tree_heap *heap, ki_tree **place, ki_tree_entry **least) {
    if (!own(heap, place)) return 0;
    ki_tree *node = *place;
    if (!node->left) {
        *least = node->entry;
        lift(heap, place);
        return 1;
    }
    return take_least(heap, &node->left, least) && balance(heap, place);
}

/* The key is there. */
static int take_out(ki_tree_heap *heap, ki_tree **place, ki_bytes key) {
    if (!own(heap, place)) return 0;
    ki_tree *node = *place;
    const int order = compare(key, ki_tree_key(node->entry));
    if (order) return take_out(heap, order < 0 ? &node->left : &node->right, key) && balance(heap, place);
    if (!node->left || !node->right) {
        release_entry(heap, node->entry);
        lift(heap, place);
        return 1;
    }
    ki_tree_entry *least = NULL;
    const int done = take_least(heap, &node->right, &least);
    if (least) {
        release_entry(heap, node->entry);
        node->entry = least;
    }
    return done && balance(heap, place);
}

int ki_tree_remove(ki_tree_heap *heap, ki_tree **root, ki_bytes key) {
    return ki_tree_find(*root, key) ? take_out(heap, root, key) : 1;
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

const ki_tree_entry *ki_tree_find(const ki_tree *root, ki_bytes key) {
    while (root) {
        const int order = compare(key, ki_tree_key(root->entry));
        if (order == 0) return root->entry;
        root = order < 0 ? root->left : root->right;
    }
    return NULL;
}

void ki_tree_walk_from(ki_tree_walk *walk, const ki_tree *root, ki_bytes first) {
    walk->depth = 0;
    while (root) {
        if (compare(ki_tree_key(root->entry), first) < 0) {
            root = root->right;
        } else {
            walk->above[walk->depth++] = root;
            root = root->left;
        }
    }
}

const ki_tree_entry *ki_tree_next(ki_tree_walk *walk) {
    if (!walk->depth) return NULL;
    const ki_tree *node = walk->above[--walk->depth];
    for (const ki_tree *next = node->right; next; next = next->left) walk->above[walk->depth++] = next;
    return node->entry;
}
