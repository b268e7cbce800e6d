/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of Collection share (collection*.c). kith/_collection.py derives the public class; kith/_items.py and
 * kith/_hits.py turn what people give into arrays and packed texts, and what comes back into items.
 *
 * S1. Every call holds the open collection, so that close() in another thread waits for nobody: the last call closes
 *     it.
 * S2. Calls run without the GIL. Results are copied out of a kith_result, of which a few are kept.
 * S3. In a child of fork() a collection of the parent's is refused, and never closed: its threads and locks are the
 *     parent's. */
#ifndef KITHPY_SHOP_H
#define KITHPY_SHOP_H

#include "src/kithpy.h"

enum { SHOP_IDLE = 8 };

/* An open collection, shared by the object and calls that run. */
typedef struct kpy_shop {
    kith_collection *collection;
    size_t refs;
    unsigned forks; /* how many there had been when it was opened: S3 */
    bool strings;
    size_t vectors;
    char **names; /* of the vectors: the same in all generations */
    size_t idle;
    kith_result *idle_result[SHOP_IDLE];
} kpy_shop;

kpy_shop *kpy_shop_hold(PyObject *self); /* NULL with an exception when it is closed */
void kpy_shop_drop(kpy_shop *shop);      /* NULL is fine */

/* What a vector is like in a generation, 0: the one that is current now, which another thread or process may change at
 * any time. False with an exception. */
bool kpy_spec(const kpy_shop *held, uint32_t generation, size_t number, kith_vector_spec *spec);
/* Whether it is one of bits. */
bool kpy_spec_bits(const kpy_shop *held, uint32_t generation, size_t number, bool *bits);
/* [(name, dim, dtype, metric)] */
PyObject *kpy_spec_list(const kpy_shop *held, uint32_t generation);

/* None or a text without null characters, which the library would take for its end. what: names it. */
bool kpy_take_text(PyObject *object, const char *what, const char **text);

/* Ids on their way in: an array of numbers, or texts as (bytes, ends). The holder is to be let go of, also on
 * failure. */
typedef struct kpy_ids {
    kith_ids ids;
    PyArrayObject *holder;
} kpy_ids;
bool kpy_ids_view(const kpy_shop *held, PyObject *object, kpy_ids *ids);

/* ---- Making one (collection_make.c) ------------------------------------------------------------------------------ */

/* From (name, dim, dtype, metric); the name is borrowed. */
bool kpy_take_spec(PyObject *tuple, kith_vector_spec *spec);
/* From (strings, [(name, dim, dtype, metric)], [(name, type)], segment field or None, model or None); texts are
 * borrowed. Specs and fields are to be freed, also on failure. */
bool kpy_made_of(PyObject *tuple, kith_collection_options *made, kith_vector_spec **specs, kith_field **fields);

/* ---- Results (collection_result.c) ------------------------------------------------------------------------------- */

kith_result *kpy_result_take(kpy_shop *held);
void kpy_result_give(kpy_shop *held, kith_result *result); /* NULL is fine */
/* An array of `count` elements that are copied; None for NULL. */
PyObject *kpy_copy(const void *from, size_t count, int type, size_t size);
/* Texts back to back as (bytes, ends), or None. */
PyObject *kpy_texts_of(const char *bytes, const uint64_t *ends, size_t count);
/* {name: (rows, present)} of the generation that was read. */
PyObject *kpy_vectors_of(const kpy_shop *held, const kith_result *result, size_t count);
/* A tuple that takes the references; NULL when one of them is. */
PyObject *kpy_tuple_of(PyObject **parts, Py_ssize_t count);
/* (ids, texts or None, payloads or None, versions or None, expiries or None, vectors or None) */
PyObject *kpy_items_of(const kpy_shop *held, const kith_result *result, unsigned with);

/* ---- Items that are told of without the GIL (collection_keep.c) ------------------------------------------------- */

/* Kept as C memory: zeros at first. */
typedef struct kpy_told {
    char *bytes;
    size_t used, room;
    bool full; /* no memory */
} kpy_told;
/* A kith_lost_fn and a kith_lacking_fn. */
void kpy_on_told(void *told, uint64_t id, const char *text, size_t text_bytes, const char *about);
/* [(id, about)] */
PyObject *kpy_told_list(const kpy_told *told);
void kpy_told_drop(kpy_told *told);

/* ---- Methods ----------------------------------------------------------------------------------------------------- */

PyObject *kpy_collection_write(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *kpy_collection_delete(PyObject *self, PyObject *args);
PyObject *kpy_collection_get(PyObject *self, PyObject *args);
PyObject *kpy_collection_exists(PyObject *self, PyObject *what);
PyObject *kpy_collection_count(PyObject *self, PyObject *filter);
PyObject *kpy_collection_scroll(PyObject *self, PyObject *args);
PyObject *kpy_collection_search(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *kpy_collection_event(PyObject *self, PyObject *args);
PyObject *kpy_collection_profile(PyObject *self, PyObject *name);
PyObject *kpy_collection_rebuild_profile(PyObject *self, PyObject *args);
PyObject *kpy_collection_forget(PyObject *self, PyObject *name);
PyObject *kpy_collection_generations(PyObject *self, PyObject *none);
PyObject *kpy_collection_specs(PyObject *self, PyObject *generation);
PyObject *kpy_collection_generation_of(PyObject *self, PyObject *user);
PyObject *kpy_collection_begin(PyObject *self, PyObject *args);
PyObject *kpy_collection_check(PyObject *self, PyObject *args);
PyObject *kpy_collection_flip(PyObject *self, PyObject *args);
PyObject *kpy_collection_canary(PyObject *self, PyObject *args);
PyObject *kpy_collection_drop(PyObject *self, PyObject *args);
PyObject *kpy_collection_compact(PyObject *self, PyObject *function);
PyObject *kpy_collection_load(PyObject *self, PyObject *args);
PyObject *kpy_collection_snapshot(PyObject *self, PyObject *path);
#endif
