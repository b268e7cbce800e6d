/* SPDX-License-Identifier: Apache-2.0
 *
 * Items of a collection: how they go in, and how they are read by their ids or in their order. */
#include "src/shop.h"

/* ---- Ids and texts on their way in ------------------------------------------------------------------------------- */

/* A view of an array of u64. */
static const uint64_t *u64_view(PyObject *object, const char *what, size_t count, PyArrayObject **holder) {
    *holder = kpy_ids_array(object, what);
    if (!*holder) return NULL;
    if ((size_t)PyArray_SIZE(*holder) == count || count == SIZE_MAX) return PyArray_DATA(*holder);
    kpy_raise(KITH_E_ARG, "%s: there are %zd of them for %zu items", what, (Py_ssize_t)PyArray_SIZE(*holder), count);
    return NULL;
}

/* Texts: (bytes, ends). */
static bool texts_view(PyObject *pair, const char **bytes, const uint64_t **ends, size_t *count,
                       PyArrayObject **holder) {
    PyObject *packed, *array;
    if (!PyArg_ParseTuple(pair, "SO", &packed, &array)) return false;
    *ends = u64_view(array, "ends", SIZE_MAX, holder);
    if (!*ends) return false;
    *count = (size_t)PyArray_SIZE(*holder);
    *bytes = PyBytes_AsString(packed);
    return true;
}

bool kpy_ids_view(const kpy_shop *held, PyObject *object, kpy_ids *ids) {
    if (PyTuple_Check(object)) {
        if (!held->strings) {
            PyErr_SetString(PyExc_TypeError, "the ids of this collection are numbers");
            return false;
        }
        return texts_view(object, &ids->ids.id_bytes, &ids->ids.id_ends, &ids->ids.count, &ids->holder);
    }
    if (held->strings) {
        PyErr_SetString(PyExc_TypeError, "the ids of this collection are strings");
        return false;
    }
    ids->ids.ids = u64_view(object, "ids", SIZE_MAX, &ids->holder);
    if (ids->ids.ids) ids->ids.count = (size_t)PyArray_SIZE(ids->holder);
    return ids->ids.ids != NULL;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

struct write {
    kpy_ids ids;
    kith_items items;
    kith_item_vectors *vectors;
    kpy_rows *rows;
    PyArrayObject **present;
    Py_ssize_t columns;
    PyArrayObject *payload_ends, *expires, *versions;
};

static bool take_column(const kpy_shop *held, struct write *write, Py_ssize_t at, PyObject *tuple) {
    PyObject *array, *present;
    Py_ssize_t number;
    unsigned generation;
    bool bits;
    if (!PyArg_ParseTuple(tuple, "nIOO", &number, &generation, &array, &present)) return false;
    if (number < 0 || (size_t)number >= held->vectors) return kpy_raise(KITH_E_ARG, "no such vector") != NULL;
    if (!kpy_spec_bits(held, generation, (size_t)number, &bits) || !kpy_rows_view(array, bits, &write->rows[at]))
        return false;
    const kith_queries *q = &write->rows[at].q;
    if (q->count != write->ids.ids.count)
        return kpy_raise(KITH_E_ARG, "there are %zu vectors for %zu items", q->count, write->ids.ids.count) != NULL;
    write->vectors[at] = (kith_item_vectors){.name = held->names[number],
                                             .data = q->data,
                                             .dtype = q->dtype,
                                             .generation = generation,
                                             .dim = q->dim,
                                             .stride_bytes = q->stride_bytes};
    if (present == Py_None) return true;
    write->present[at] = (PyArrayObject *)PyArray_FROMANY(present, NPY_UBYTE, 1, 1, NPY_ARRAY_IN_ARRAY);
    if (!write->present[at]) return false;
    write->vectors[at].present = PyArray_DATA(write->present[at]);
    return (size_t)PyArray_SIZE(write->present[at]) == q->count ||
           kpy_raise(KITH_E_ARG, "present: one for each item is needed") != NULL;
}

static bool take_write(const kpy_shop *held, struct write *write, PyObject *const *args) {
    size_t payloads = 0;
    if (!kpy_ids_view(held, args[0], &write->ids)) return false;
    const size_t count = write->ids.ids.count;
    write->items = (kith_items)KITH_ITEMS_INIT;
    write->items.ids = write->ids.ids;
    const Py_ssize_t columns = PyList_Size(args[1]);
    if (columns < 0) return false;
    write->vectors = PyMem_Calloc((size_t)columns + 1, sizeof(*write->vectors));
    write->rows = PyMem_Calloc((size_t)columns + 1, sizeof(*write->rows));
    write->present = PyMem_Calloc((size_t)columns + 1, sizeof(*write->present));
    if (!write->vectors || !write->rows || !write->present) return PyErr_NoMemory() != NULL;
    write->columns = columns;
    for (Py_ssize_t i = 0; i < columns; i++)
        if (!take_column(held, write, i, PyList_GetItem(args[1], i))) return false;
    write->items.vectors = write->vectors;
    write->items.vector_count = (size_t)columns;
    if (args[2] != Py_None &&
        !texts_view(args[2], &write->items.payload_bytes, &write->items.payload_ends, &payloads, &write->payload_ends))
        return false;
    if (args[2] != Py_None && payloads != count)
        return kpy_raise(KITH_E_ARG, "there are %zu payloads for %zu items", payloads, count) != NULL;
    if (args[3] != Py_None && !(write->items.expires_ms = u64_view(args[3], "expires", count, &write->expires)))
        return false;
    return args[4] == Py_None ||
           (write->items.if_version = u64_view(args[4], "if_version", count, &write->versions)) != NULL;
}

static void drop_write(struct write *write) {
    for (Py_ssize_t i = 0; i < write->columns; i++) {
        Py_XDECREF(write->rows[i].owner);
        Py_XDECREF(write->present[i]);
    }
    PyMem_Free(write->vectors);
    PyMem_Free(write->rows);
    PyMem_Free(write->present);
    Py_XDECREF(write->ids.holder);
    Py_XDECREF(write->payload_ends);
    Py_XDECREF(write->expires);
    Py_XDECREF(write->versions);
}

/* (version, inserted, replaced, removed, unmet) */
static PyObject *report_tuple(kith_status status, const kith_error *error, const kith_write_report *report) {
    if (status != KITH_OK) return kpy_fail(status, error);
    return Py_BuildValue("KKKKK", (unsigned long long)report->version, (unsigned long long)report->inserted,
                         (unsigned long long)report->replaced, (unsigned long long)report->removed,
                         (unsigned long long)report->unmet);
}

static bool arguments_are(Py_ssize_t count, Py_ssize_t wanted, const char *function) {
    if (count == wanted) return true;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", function, wanted, count);
    return false;
}

/* _write(ids, [(number, generation, array, present or None)], payloads or None, expires or None, if_version or None,
 * mode) */
PyObject *kpy_collection_write(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct write write = {0};
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_error error = {0};
    PyObject *done = NULL;
    kpy_shop *held = arguments_are(count, 6, "_write") ? kpy_shop_hold(self) : NULL;
    if (!held) return NULL;
    const long mode = PyLong_AsLong(args[5]);
    if (!PyErr_Occurred() && take_write(held, &write, args)) {
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_write(held->collection, &write.items, (kith_write_mode)mode, &report, &error);
        Py_END_ALLOW_THREADS;
        done = report_tuple(status, &error, &report);
    }
    drop_write(&write);
    kpy_shop_drop(held);
    return done;
}

/* _delete(ids or a filter's text, if_version or None) */
PyObject *kpy_collection_delete(PyObject *self, PyObject *args) {
    PyObject *what, *versions;
    kpy_ids ids = {0};
    PyArrayObject *holder = NULL;
    const uint64_t *if_version = NULL;
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_error error = {0};
    PyObject *done = NULL;
    if (!PyArg_ParseTuple(args, "OO:_delete", &what, &versions)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    const char *filter = NULL;
    bool fine = PyUnicode_Check(what) ? kpy_take_text(what, "where", &filter) : kpy_ids_view(held, what, &ids);
    if (fine && versions != Py_None)
        fine = (if_version = u64_view(versions, "if_version", ids.ids.count, &holder)) != NULL;
    if (fine) {
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = filter ? kith_collection_delete_where(held->collection, filter, &report, &error)
                        : kith_collection_delete(held->collection, &ids.ids, if_version, &report, &error);
        Py_END_ALLOW_THREADS;
        done = report_tuple(status, &error, &report);
    }
    Py_XDECREF(ids.holder);
    Py_XDECREF(holder);
    kpy_shop_drop(held);
    return done;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* _get(ids, with, generation): kpy_items_of() */
PyObject *kpy_collection_get(PyObject *self, PyObject *args) {
    PyObject *what, *items = NULL;
    unsigned with, generation;
    kpy_ids ids = {0};
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "OII:_get", &what, &with, &generation)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    kith_result *result = kpy_ids_view(held, what, &ids) ? kpy_result_take(held) : NULL;
    if (result) {
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_generation_get(held->collection, generation, &ids.ids, with, result, &error);
        Py_END_ALLOW_THREADS;
        items = status == KITH_OK ? kpy_items_of(held, result, with) : kpy_fail(status, &error);
        kpy_result_give(held, result);
    }
    Py_XDECREF(ids.holder);
    kpy_shop_drop(held);
    return items;
}

/* _exists(ids): uint8 array */
PyObject *kpy_collection_exists(PyObject *self, PyObject *what) {
    kpy_ids ids = {0};
    kith_error error = {0};
    PyObject *array = NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    if (kpy_ids_view(held, what, &ids)) {
        npy_intp length = (npy_intp)ids.ids.count;
        array = PyArray_SimpleNew(1, &length, NPY_UBYTE);
    }
    if (array) {
        kith_status status;
        uint8_t *to = PyArray_DATA((PyArrayObject *)array);
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_exists(held->collection, &ids.ids, to, &error);
        Py_END_ALLOW_THREADS;
        if (status != KITH_OK) {
            Py_CLEAR(array);
            kpy_fail(status, &error);
        }
    }
    Py_XDECREF(ids.holder);
    kpy_shop_drop(held);
    return array;
}

/* _count(filter or None) */
PyObject *kpy_collection_count(PyObject *self, PyObject *object) {
    const char *filter;
    uint64_t count = 0;
    kith_error error = {0};
    kith_status status;
    if (!kpy_take_text(object, "where", &filter)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_count(held->collection, filter, &count, &error);
    Py_END_ALLOW_THREADS;
    kpy_shop_drop(held);
    return status == KITH_OK ? kpy_u64(count) : kpy_fail(status, &error);
}

/* _scroll(filter or None, after or None, limit, with, generation): kpy_items_of() */
PyObject *kpy_collection_scroll(PyObject *self, PyObject *args) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    PyObject *filter, *after, *items = NULL;
    Py_ssize_t limit;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "OOnII:_scroll", &filter, &after, &limit, &scroll.with, &scroll.generation))
        return NULL;
    if (!kpy_take_text(filter, "where", &scroll.filter)) return NULL;
    scroll.limit = (size_t)limit;
    scroll.from_start = after == Py_None;
    if (!scroll.from_start) scroll.after = PyLong_AsUnsignedLongLong(after);
    if (PyErr_Occurred()) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    kith_result *result = kpy_result_take(held);
    if (result) {
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_scroll(held->collection, &scroll, result, &error);
        Py_END_ALLOW_THREADS;
        items = status == KITH_OK ? kpy_items_of(held, result, scroll.with) : kpy_fail(status, &error);
        kpy_result_give(held, result);
    }
    kpy_shop_drop(held);
    return items;
}
