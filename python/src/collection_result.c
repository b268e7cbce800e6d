/* SPDX-License-Identifier: Apache-2.0
 *
 * What reads of a collection found, copied out of a kith_result into arrays. A collection keeps a few results. */
#include "src/shop.h"

#include <string.h>

kith_result *kpy_result_take(kpy_shop *held) {
    kith_result *result = NULL;
    kith_error error = {0};
    if (held->idle) return held->idle_result[--held->idle];
    const kith_status status = kith_result_create(&result, &error);
    if (status != KITH_OK) kpy_fail(status, &error);
    return result;
}

void kpy_result_give(kpy_shop *held, kith_result *result) {
    if (result && held->idle < SHOP_IDLE)
        held->idle_result[held->idle++] = result;
    else
        kith_result_destroy(result);
}

PyObject *kpy_copy(const void *from, size_t count, int type, size_t size) {
    npy_intp length = (npy_intp)count;
    if (!from) return Py_NewRef(Py_None);
    PyObject *array = PyArray_SimpleNew(1, &length, type);
    if (array && count) memcpy(PyArray_DATA((PyArrayObject *)array), from, count * size);
    return array;
}

PyObject *kpy_texts_of(const char *bytes, const uint64_t *ends, size_t count) {
    if (!ends) return Py_NewRef(Py_None);
    PyObject *packed = PyBytes_FromStringAndSize(bytes, count ? (Py_ssize_t)ends[count - 1] : 0);
    PyObject *array = packed ? kpy_copy(ends, count, NPY_UINT64, sizeof(uint64_t)) : NULL;
    PyObject *pair = array ? PyTuple_Pack(2, packed, array) : NULL;
    Py_XDECREF(packed);
    Py_XDECREF(array);
    return pair;
}

PyObject *kpy_vectors_of(const kpy_shop *held, const kith_result *result, size_t count) {
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < held->vectors; i++) {
        const uint8_t *present = NULL;
        const void *rows = kith_result_vectors(result, held->names[i], &present);
        kith_vector_spec spec;
        if (!rows || kith_result_vector_spec(result, held->names[i], &spec) != KITH_OK) continue;
        const bool bits = spec.dtype == KITH_B1;
        npy_intp shape[2] = {(npy_intp)count, (npy_intp)(bits ? spec.dim / 8 : spec.dim)};
        PyObject *array = PyArray_SimpleNew(2, shape, bits ? NPY_UBYTE : NPY_FLOAT);
        PyObject *there = kpy_copy(present, count, NPY_UBYTE, 1), *pair = NULL;
        if (array && there) {
            memcpy(PyArray_DATA((PyArrayObject *)array), rows, (size_t)PyArray_NBYTES((PyArrayObject *)array));
            pair = PyTuple_Pack(2, array, there);
        }
        if (!pair || PyDict_SetItemString(dict, held->names[i], pair) < 0) Py_CLEAR(dict);
        Py_XDECREF(array);
        Py_XDECREF(there);
        Py_XDECREF(pair);
    }
    return dict;
}

PyObject *kpy_tuple_of(PyObject **parts, Py_ssize_t count) {
    bool whole = true;
    for (Py_ssize_t i = 0; i < count; i++) whole = whole && parts[i];
    PyObject *tuple = whole ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (tuple)
            PyTuple_SetItem(tuple, i, parts[i]);
        else
            Py_XDECREF(parts[i]);
    }
    return tuple;
}

PyObject *kpy_items_of(const kpy_shop *held, const kith_result *result, unsigned with) {
    kith_hits hits = KITH_HITS_INIT;
    kith_result_hits(result, &hits);
    PyObject *parts[] = {
        kpy_copy(hits.ids, hits.count, NPY_UINT64, sizeof(uint64_t)),
        kpy_texts_of(hits.id_bytes, hits.id_ends, hits.count),
        kpy_texts_of(hits.payload_bytes, hits.payload_ends, hits.count),
        kpy_copy(hits.versions, hits.count, NPY_UINT64, sizeof(uint64_t)),
        kpy_copy(hits.expires_ms, hits.count, NPY_UINT64, sizeof(uint64_t)),
        with & KITH_WITH_VECTORS ? kpy_vectors_of(held, result, hits.count) : Py_NewRef(Py_None),
    };
    return kpy_tuple_of(parts, sizeof(parts) / sizeof(*parts));
}
