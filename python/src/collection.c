/* SPDX-License-Identifier: Apache-2.0
 *
 * Collection, as far as it is C. kith/_collection.py derives the public class, and turns what people give into arrays and
 * packed texts, and what comes back into items.
 *
 * S1. Every call holds the open collection, so that close() in another thread waits for nobody: the last call closes it.
 * S2. Long calls run without the GIL. Results are copied out of a kith_result, of which a few are kept. */
#include "src/kithpy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOP_IDLE = 8 };

/* An open collection, shared by the object and calls that run. */
typedef struct kpy_shop {
    kith_collection *collection;
    size_t refs;
    bool strings;
    size_t vectors;
    kpy_handle *shape; /* one a named vector: its dim and dtype, for views of rows */
    char **names;
    size_t idle;
    kith_result *idle_result[SHOP_IDLE];
} kpy_shop;

typedef struct kpy_collection {
    PyObject_HEAD kpy_shop *shop; /* NULL: closed */
} kpy_collection;

static PyTypeObject *collection_type;

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void shop_drop(kpy_shop *shop) {
    if (!shop || --shop->refs) return;
    for (size_t i = 0; i < shop->idle; i++) kith_result_destroy(shop->idle_result[i]);
    Py_BEGIN_ALLOW_THREADS; /* it may wait for a merge that is being stopped */
    kith_collection_close(shop->collection);
    Py_END_ALLOW_THREADS;
    for (size_t i = 0; shop->names && i < shop->vectors; i++) PyMem_Free(shop->names[i]);
    PyMem_Free(shop->names);
    PyMem_Free(shop->shape);
    PyMem_Free(shop);
}

static bool read_specs(kpy_shop *shop) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (kith_collection_get_info(shop->collection, &info) != KITH_OK) return false;
    shop->strings = info.id_kind == KITH_ID_STRING;
    shop->shape = PyMem_Calloc(info.vectors, sizeof(*shop->shape));
    shop->names = PyMem_Calloc(info.vectors, sizeof(*shop->names));
    if (!shop->shape || !shop->names) return false;
    for (; shop->vectors < info.vectors; shop->vectors++) {
        kith_vector_spec spec;
        if (kith_collection_vector(shop->collection, shop->vectors, &spec) != KITH_OK) return false;
        char *name = PyMem_Malloc(strlen(spec.name) + 1);
        if (!name) return false;
        strcpy(name, spec.name);
        shop->names[shop->vectors] = name;
        shop->shape[shop->vectors].dim = spec.dim;
        shop->shape[shop->vectors].dtype = spec.dtype;
        shop->shape[shop->vectors].metric = spec.metric;
    }
    return true;
}

/* Takes over the collection, also on failure. */
static kpy_shop *shop_make(kith_collection *collection) {
    kpy_shop *made = PyMem_Calloc(1, sizeof(*made));
    if (!made) {
        kith_collection_close(collection);
        PyErr_NoMemory();
        return NULL;
    }
    made->collection = collection;
    made->refs = 1;
    if (read_specs(made)) return made;
    shop_drop(made);
    PyErr_NoMemory();
    return NULL;
}

static kpy_shop *shop_hold(PyObject *self) {
    kpy_shop *held = ((kpy_collection *)self)->shop;
    if (!held) {
        kpy_raise(KITH_E_ARG, "the collection is closed");
        return NULL;
    }
    held->refs++;
    return held;
}

static const kpy_option open_options[] = {
    {"read_only", offsetof(kith_collection_open_options, read_only), KPY_NARROW},
    {"durability", offsetof(kith_collection_open_options, durability), KPY_NARROW},
    {"no_background", offsetof(kith_collection_open_options, no_background), KPY_NARROW},
    {"threads", offsetof(kith_collection_open_options, threads), KPY_NARROW},
    {"head_bytes", offsetof(kith_collection_open_options, head_bytes), KPY_WIDE},
    {"cache_bytes", offsetof(kith_collection_open_options, cache_bytes), KPY_WIDE},
};

/* Collection(path or None, options, made): made None opens what is there; else a tuple that made_of() takes, for a
 * collection in memory. */
static bool made_of(PyObject *tuple, kith_collection_options *made, kith_vector_spec **specs, kith_field **fields);

static PyObject *collection_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *path, *dict, *made_tuple;
    if (keywords && PyDict_Size(keywords)) {
        PyErr_SetString(PyExc_TypeError, "use kith.Collection(path) or kith.Collection.create()");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OO!O:Collection", &path, &PyDict_Type, &dict, &made_tuple)) return NULL;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_vector_spec *specs = NULL;
    kith_field *fields = NULL;
    kith_collection *opened = NULL;
    kith_error error = {0};
    kith_status status = KITH_OK;
    PyObject *name = NULL;
    const bool memory = path == Py_None;
    bool fine = kpy_set_options(&options, open_options, sizeof(open_options) / sizeof(*open_options), dict);
    if (fine) fine = memory ? made_of(made_tuple, &made, &specs, &fields) : PyUnicode_FSConverter(path, &name) != 0;
    if (fine) {
        const char *folder = memory ? NULL : PyBytes_AsString(name);
        Py_BEGIN_ALLOW_THREADS;
        status = memory ? kith_collection_open_memory(&made, &options, &opened, &error)
                        : kith_collection_open(folder, &options, &opened, &error);
        Py_END_ALLOW_THREADS;
        if (status != KITH_OK) kpy_fail(status, &error);
    }
    Py_XDECREF(name);
    PyMem_Free(specs);
    PyMem_Free(fields);
    kpy_shop *held = opened ? shop_make(opened) : NULL;
    if (!held) return NULL;
    kpy_collection *collection = (kpy_collection *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (collection)
        collection->shop = held;
    else
        shop_drop(held);
    return (PyObject *)collection;
}

static void collection_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    shop_drop(((kpy_collection *)self)->shop);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *collection_close(PyObject *self, PyObject *none) {
    (void)none;
    kpy_shop *held = ((kpy_collection *)self)->shop;
    ((kpy_collection *)self)->shop = NULL;
    shop_drop(held);
    Py_RETURN_NONE;
}

static PyObject *collection_closed(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((kpy_collection *)self)->shop == NULL);
}

/* ---- Making one -------------------------------------------------------------------------------------------------- */

/* (strings, [(name, dim, dtype, metric)], [(name, type)], segment field or None, model or None); texts are borrowed. */
static bool made_of(PyObject *tuple, kith_collection_options *made, kith_vector_spec **specs, kith_field **fields) {
    PyObject *vectors, *names;
    int strings;
    if (!PyArg_ParseTuple(tuple, "pO!O!zz", &strings, &PyList_Type, &vectors, &PyList_Type, &names,
                          &made->segment_field, &made->model))
        return false;
    const Py_ssize_t vector_count = PyList_Size(vectors), field_count = PyList_Size(names);
    *specs = PyMem_Calloc((size_t)vector_count + 1, sizeof(**specs));
    *fields = PyMem_Calloc((size_t)field_count + 1, sizeof(**fields));
    if (!*specs || !*fields) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < vector_count; i++) {
        Py_ssize_t dim;
        int dtype, metric;
        if (!PyArg_ParseTuple(PyList_GetItem(vectors, i), "snii", &(*specs)[i].name, &dim, &dtype, &metric))
            return false;
        (*specs)[i].dim = (size_t)dim;
        (*specs)[i].dtype = (kith_dtype)dtype;
        (*specs)[i].metric = (kith_metric)metric;
    }
    for (Py_ssize_t i = 0; i < field_count; i++) {
        const char *type;
        if (!PyArg_ParseTuple(PyList_GetItem(names, i), "ss", &(*fields)[i].name, &type)) return false;
        if (!kith_field_type_parse(type, &(*fields)[i].type)) {
            kpy_raise(KITH_E_ARG, "fields: '%s' is no type: tag, tags, int, float, bool and time are", type);
            return false;
        }
    }
    made->id_kind = strings ? KITH_ID_STRING : KITH_ID_U64;
    made->vectors = *specs;
    made->vector_count = (size_t)vector_count;
    made->fields = *fields;
    made->field_count = (size_t)field_count;
    return true;
}

/* create_collection(path, made) */
PyObject *kpy_create_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *tuple;
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_vector_spec *specs = NULL;
    kith_field *fields = NULL;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O!:create_collection", PyUnicode_FSConverter, &path, &PyTuple_Type, &tuple))
        return NULL;
    bool fine = made_of(tuple, &made, &specs, &fields);
    if (fine) {
        const char *name = PyBytes_AsString(path);
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_create(name, &made, &error);
        Py_END_ALLOW_THREADS;
        if (status != KITH_OK) kpy_fail(status, &error);
        fine = status == KITH_OK;
    }
    Py_DECREF(path);
    PyMem_Free(specs);
    PyMem_Free(fields);
    if (!fine) return NULL;
    Py_RETURN_NONE;
}

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

struct ids {
    kith_ids ids;
    PyArrayObject *holder;
};

static bool ids_view(const kpy_shop *held, PyObject *object, struct ids *ids) {
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
    struct ids ids;
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
    if (!PyArg_ParseTuple(tuple, "nOO", &number, &array, &present)) return false;
    if (number < 0 || (size_t)number >= held->vectors) return kpy_raise(KITH_E_ARG, "no such vector") != NULL;
    if (!kpy_rows_view(array, &held->shape[number], &write->rows[at])) return false;
    const kith_queries *q = &write->rows[at].q;
    if (q->count != write->ids.ids.count)
        return kpy_raise(KITH_E_ARG, "there are %zu vectors for %zu items", q->count, write->ids.ids.count) != NULL;
    write->vectors[at] = (kith_item_vectors){.name = held->names[number],
                                             .data = q->data,
                                             .dtype = q->dtype,
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
    if (!ids_view(held, args[0], &write->ids)) return false;
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

/* _write(ids, [(number, array, present or None)], payloads or None, expires or None, if_version or None, mode) */
static PyObject *collection_write(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct write write = {0};
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_error error = {0};
    PyObject *done = NULL;
    kpy_shop *held = arguments_are(count, 6, "_write") ? shop_hold(self) : NULL;
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
    shop_drop(held);
    return done;
}

/* _delete(ids or a filter's text, if_version or None) */
static PyObject *collection_delete(PyObject *self, PyObject *args) {
    PyObject *what, *versions;
    struct ids ids = {0};
    PyArrayObject *holder = NULL;
    const uint64_t *if_version = NULL;
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_error error = {0};
    PyObject *done = NULL;
    if (!PyArg_ParseTuple(args, "OO:_delete", &what, &versions)) return NULL;
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    const char *filter = PyUnicode_Check(what) ? PyUnicode_AsUTF8AndSize(what, NULL) : NULL;
    bool fine = filter || (!PyErr_Occurred() && ids_view(held, what, &ids));
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
    shop_drop(held);
    return done;
}

/* ---- Results on their way out ------------------------------------------------------------------------------------ */

static kith_result *take_result(kpy_shop *held) {
    kith_result *result = NULL;
    kith_error error = {0};
    if (held->idle) return held->idle_result[--held->idle];
    const kith_status status = kith_result_create(&result, &error);
    if (status != KITH_OK) kpy_fail(status, &error);
    return result;
}

static void give_result(kpy_shop *held, kith_result *result) {
    if (result && held->idle < SHOP_IDLE)
        held->idle_result[held->idle++] = result;
    else
        kith_result_destroy(result);
}

static PyObject *array_of(const void *from, size_t count, int type, size_t size) {
    npy_intp length = (npy_intp)count;
    if (!from) return Py_NewRef(Py_None);
    PyObject *array = PyArray_SimpleNew(1, &length, type);
    if (array && count) memcpy(PyArray_DATA((PyArrayObject *)array), from, count * size);
    return array;
}

/* Texts back to back as (bytes, ends), or None. */
static PyObject *texts_of(const char *bytes, const uint64_t *ends, size_t count) {
    if (!ends) return Py_NewRef(Py_None);
    PyObject *packed = PyBytes_FromStringAndSize(bytes, count ? (Py_ssize_t)ends[count - 1] : 0);
    PyObject *array = packed ? array_of(ends, count, NPY_UINT64, sizeof(uint64_t)) : NULL;
    PyObject *pair = array ? PyTuple_Pack(2, packed, array) : NULL;
    Py_XDECREF(packed);
    Py_XDECREF(array);
    return pair;
}

/* {name: (rows, present)} */
static PyObject *vectors_of(const kpy_shop *held, const kith_result *result, size_t count) {
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < held->vectors; i++) {
        const uint8_t *present = NULL;
        const void *rows = kith_result_vectors(result, held->names[i], &present);
        const bool bits = held->shape[i].dtype == KITH_B1;
        npy_intp shape[2] = {(npy_intp)count, (npy_intp)(bits ? held->shape[i].dim / 8 : held->shape[i].dim)};
        if (!rows) continue;
        PyObject *array = PyArray_SimpleNew(2, shape, bits ? NPY_UBYTE : NPY_FLOAT);
        PyObject *there = array_of(present, count, NPY_UBYTE, 1), *pair = NULL;
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

/* A tuple that takes the references; NULL when one of them is. */
static PyObject *tuple_of(PyObject **parts, Py_ssize_t count) {
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

/* (ids, texts or None, payloads or None, versions or None, expiries or None, vectors or None) */
static PyObject *items_of(const kpy_shop *held, const kith_result *result, unsigned with) {
    kith_hits hits = KITH_HITS_INIT;
    kith_result_hits(result, &hits);
    PyObject *parts[] = {
        array_of(hits.ids, hits.count, NPY_UINT64, sizeof(uint64_t)),
        texts_of(hits.id_bytes, hits.id_ends, hits.count),
        texts_of(hits.payload_bytes, hits.payload_ends, hits.count),
        array_of(hits.versions, hits.count, NPY_UINT64, sizeof(uint64_t)),
        array_of(hits.expires_ms, hits.count, NPY_UINT64, sizeof(uint64_t)),
        with & KITH_WITH_VECTORS ? vectors_of(held, result, hits.count) : Py_NewRef(Py_None),
    };
    return tuple_of(parts, sizeof(parts) / sizeof(*parts));
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* _get(ids, with): items_of() */
static PyObject *collection_get(PyObject *self, PyObject *args) {
    PyObject *what, *items = NULL;
    unsigned with;
    struct ids ids = {0};
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "OI:_get", &what, &with)) return NULL;
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    kith_result *result = ids_view(held, what, &ids) ? take_result(held) : NULL;
    if (result) {
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_get(held->collection, &ids.ids, with, result, &error);
        Py_END_ALLOW_THREADS;
        items = status == KITH_OK ? items_of(held, result, with) : kpy_fail(status, &error);
        give_result(held, result);
    }
    Py_XDECREF(ids.holder);
    shop_drop(held);
    return items;
}

/* _exists(ids): uint8 array */
static PyObject *collection_exists(PyObject *self, PyObject *what) {
    struct ids ids = {0};
    kith_error error = {0};
    PyObject *array = NULL;
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    if (ids_view(held, what, &ids)) {
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
    shop_drop(held);
    return array;
}

/* _count(filter or None) */
static PyObject *collection_count(PyObject *self, PyObject *args) {
    const char *filter;
    uint64_t count = 0;
    kith_error error = {0};
    kith_status status;
    if (!PyArg_ParseTuple(args, "z:_count", &filter)) return NULL;
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_count(held->collection, filter, &count, &error);
    Py_END_ALLOW_THREADS;
    shop_drop(held);
    return status == KITH_OK ? kpy_u64(count) : kpy_fail(status, &error);
}

/* _scroll(filter or None, after or None, limit, with): items_of() */
static PyObject *collection_scroll(PyObject *self, PyObject *args) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    PyObject *after, *items = NULL;
    Py_ssize_t limit;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "zOnI:_scroll", &scroll.filter, &after, &limit, &scroll.with)) return NULL;
    scroll.limit = (size_t)limit;
    scroll.from_start = after == Py_None;
    if (!scroll.from_start) scroll.after = PyLong_AsUnsignedLongLong(after);
    if (PyErr_Occurred()) return NULL;
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    kith_result *result = take_result(held);
    if (result) {
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_scroll(held->collection, &scroll, result, &error);
        Py_END_ALLOW_THREADS;
        items = status == KITH_OK ? items_of(held, result, scroll.with) : kpy_fail(status, &error);
        give_result(held, result);
    }
    shop_drop(held);
    return items;
}

/* ---- Searching --------------------------------------------------------------------------------------------------- */

struct asking {
    kpy_shop *held;
    kith_ask ask;
    kith_leg *legs, one;
    kpy_rows *rows, one_rows;
    Py_ssize_t leg_count;
    kith_ask_report report;
    kpy_poll poll;
    kith_result *result;
    kith_error error;
};

static bool take_leg(struct asking *asking, Py_ssize_t at, PyObject *tuple) {
    PyObject *array, *weight;
    Py_ssize_t number;
    if (!PyArg_ParseTuple(tuple, "nOO", &number, &array, &weight)) return false;
    if (number < 0 || (size_t)number >= asking->held->vectors) return kpy_raise(KITH_E_ARG, "no such vector") != NULL;
    if (!kpy_rows_view(array, &asking->held->shape[number], &asking->rows[at])) return false;
    asking->legs[at] = (kith_leg){.vector = asking->held->names[number], .queries = &asking->rows[at].q};
    if (weight != Py_None) asking->legs[at].weight = PyFloat_AsDouble(weight);
    return !PyErr_Occurred();
}

static bool take_legs(struct asking *asking, PyObject *list) {
    asking->leg_count = PyList_Size(list);
    if (asking->leg_count < 0) return false;
    asking->legs = &asking->one;
    asking->rows = &asking->one_rows;
    if (asking->leg_count > 1) {
        asking->legs = PyMem_Calloc((size_t)asking->leg_count, sizeof(*asking->legs));
        asking->rows = PyMem_Calloc((size_t)asking->leg_count, sizeof(*asking->rows));
        if (!asking->legs || !asking->rows) return PyErr_NoMemory() != NULL;
    }
    for (Py_ssize_t i = 0; i < asking->leg_count; i++)
        if (!take_leg(asking, i, PyList_GetItem(list, i))) return false;
    asking->ask.legs = asking->legs;
    asking->ask.leg_count = (size_t)asking->leg_count;
    return true;
}

/* A text, or NULL for None. */
static bool take_text(PyObject *object, const char **text) {
    *text = object == Py_None ? NULL : PyUnicode_AsUTF8AndSize(object, NULL);
    return !PyErr_Occurred();
}

/* legs, k, filter, segment, target recall, plan, with, least version, timeout in ns, model, explain */
enum { A_LEGS, A_K, A_FILTER, A_SEGMENT, A_TARGET, A_PLAN, A_WITH, A_VERSION, A_TIMEOUT, A_MODEL, A_EXPLAIN, A_COUNT };

static bool take_ask(struct asking *asking, PyObject *const *args) {
    kith_ask *ask = &asking->ask;
    *ask = (kith_ask)KITH_ASK_INIT;
    asking->report = (kith_ask_report)KITH_ASK_REPORT_INIT;
    if (!kpy_parse_k(args[A_K], &ask->k) || !take_text(args[A_FILTER], &ask->filter) ||
        !take_text(args[A_SEGMENT], &ask->segment) || !take_text(args[A_MODEL], &ask->model))
        return false;
    ask->target_recall = PyFloat_AsDouble(args[A_TARGET]);
    if (args[A_PLAN] != Py_None && !kpy_parse_plan(args[A_PLAN], &ask->plan)) return false;
    ask->with = (unsigned)PyLong_AsUnsignedLong(args[A_WITH]);
    ask->min_version = PyLong_AsUnsignedLongLong(args[A_VERSION]);
    ask->timeout_ns = PyLong_AsUnsignedLongLong(args[A_TIMEOUT]);
    ask->cancelled = kpy_poll_signals;
    ask->cancelled_context = &asking->poll;
    ask->report = args[A_EXPLAIN] == Py_True ? &asking->report : NULL;
    return !PyErr_Occurred() && take_legs(asking, args[A_LEGS]);
}

static PyObject *ask_report_dict(const kith_ask_report *report) {
    const kpy_entry entries[] = {
        {"version", kpy_u64(report->version)},
        {"items", kpy_u64(report->items)},
        {"matched", kpy_u64(report->matched)},
        {"segments", kpy_u64(report->segments)},
        {"heads", kpy_u64(report->heads)},
        {"head_rows", kpy_u64(report->head_rows)},
        {"exact", PyBool_FromLong(report->exact)},
        {"read_payloads", PyBool_FromLong(report->read_payloads)},
        {"filter", PyUnicode_FromString(report->filter_how)},
        {"filter_seconds", PyFloat_FromDouble((double)report->filter_ns * 1e-9)},
        {"segments_seconds", PyFloat_FromDouble((double)report->segments_ns * 1e-9)},
        {"head_seconds", PyFloat_FromDouble((double)report->head_ns * 1e-9)},
        {"read_seconds", PyFloat_FromDouble((double)report->read_ns * 1e-9)},
        {"seconds", PyFloat_FromDouble((double)report->total_ns * 1e-9)},
        {"search", kpy_explain_dict(&report->search)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* Ids and distances as arrays of (queries, k), or (k,) for a single query; what is missing is filled up. */
static bool shaped(const struct asking *asking, const kith_hits *hits, PyObject **ids, PyObject **distances) {
    const size_t k = asking->ask.k;
    npy_intp shape[2] = {(npy_intp)hits->queries, (npy_intp)k};
    const int axes = asking->rows[0].single ? 1 : 2;
    int type = NPY_INT64;
    for (size_t i = 0; i < hits->count; i++)
        if (hits->ids[i] > (uint64_t)INT64_MAX) type = NPY_UINT64;
    *ids = PyArray_SimpleNew(axes, shape + 2 - axes, type);
    *distances = *ids ? PyArray_SimpleNew(axes, shape + 2 - axes, NPY_FLOAT) : NULL;
    if (!*distances) return false;
    uint64_t *id = PyArray_DATA((PyArrayObject *)*ids), from = 0;
    float *distance = PyArray_DATA((PyArrayObject *)*distances);
    for (size_t q = 0; q < hits->queries; q++, id += k, distance += k) {
        const size_t found = (size_t)(hits->ends[q] - from);
        if (found) memcpy(id, hits->ids + from, found * sizeof(*id));
        if (found) memcpy(distance, hits->distances + from, found * sizeof(*distance));
        for (size_t i = found; i < k; i++) {
            id[i] = KITH_ID_NONE;
            distance[i] = INFINITY;
        }
        from = hits->ends[q];
    }
    return true;
}

/* (ids, distances, ends, texts or None, payloads or None, versions or None, expiries or None, vectors or None, report or
 * None): the arrays beyond the second one have an entry a hit. */
static PyObject *answer_of(const struct asking *asking) {
    kith_hits hits = KITH_HITS_INIT;
    PyObject *ids = NULL, *distances = NULL;
    kith_result_hits(asking->result, &hits);
    if (!shaped(asking, &hits, &ids, &distances)) {
        Py_XDECREF(ids);
        return NULL;
    }
    PyObject *parts[] = {
        ids,
        distances,
        array_of(hits.ends, hits.queries, NPY_UINT64, sizeof(uint64_t)),
        texts_of(hits.id_bytes, hits.id_ends, hits.count),
        texts_of(hits.payload_bytes, hits.payload_ends, hits.count),
        array_of(hits.versions, hits.count, NPY_UINT64, sizeof(uint64_t)),
        array_of(hits.expires_ms, hits.count, NPY_UINT64, sizeof(uint64_t)),
        asking->ask.with & KITH_WITH_VECTORS ? vectors_of(asking->held, asking->result, hits.count)
                                             : Py_NewRef(Py_None),
        asking->ask.report ? ask_report_dict(&asking->report) : Py_NewRef(Py_None),
    };
    return tuple_of(parts, sizeof(parts) / sizeof(*parts));
}

static PyObject *collection_search(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct asking asking = {0};
    PyObject *answer = NULL;
    if (!arguments_are(count, A_COUNT, "_search") || !(asking.held = shop_hold(self))) return NULL;
    if (take_ask(&asking, args) && (asking.result = take_result(asking.held))) {
        asking.poll.saved = PyEval_SaveThread();
        const kith_status status =
            kith_collection_search(asking.held->collection, &asking.ask, asking.result, &asking.error);
        PyEval_RestoreThread(asking.poll.saved);
        if (!asking.poll.raised) answer = status == KITH_OK ? answer_of(&asking) : kpy_fail(status, &asking.error);
    }
    if (asking.result) give_result(asking.held, asking.result);
    for (Py_ssize_t i = 0; asking.rows && i < asking.leg_count; i++) Py_XDECREF(asking.rows[i].owner);
    if (asking.leg_count > 1) {
        PyMem_Free(asking.legs);
        PyMem_Free(asking.rows);
    }
    shop_drop(asking.held);
    return answer;
}

/* ---- Looking and keeping ----------------------------------------------------------------------------------------- */

static PyObject *vector_list(const kpy_shop *held) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < held->vectors; i++) {
        PyObject *one = Py_BuildValue("(snss)", held->names[i], (Py_ssize_t)held->shape[i].dim,
                                      kith_dtype_name(held->shape[i].dtype), kith_metric_name(held->shape[i].metric));
        if (!one || PyList_Append(list, one) < 0) Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

static PyObject *field_dict(kpy_shop *held) {
    kith_field field;
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && kith_collection_field(held->collection, i, &field) == KITH_OK; i++) {
        PyObject *type = PyUnicode_FromString(kith_field_type_name(field.type));
        if (!type || PyDict_SetItemString(dict, field.name, type) < 0) Py_CLEAR(dict);
        Py_XDECREF(type);
    }
    return dict;
}

static PyObject *collection_info(PyObject *self, PyObject *none) {
    (void)none;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    (void)!kith_collection_get_info(held->collection, &info);
    const kpy_entry entries[] = {
        {"items", kpy_u64(info.items)},
        {"version", kpy_u64(info.version)},
        {"ids", PyUnicode_FromString(held->strings ? "string" : "number")},
        {"vectors", vector_list(held)},
        {"fields", field_dict(held)},
        {"segment_field", *info.segment_field ? PyUnicode_FromString(info.segment_field) : Py_NewRef(Py_None)},
        {"model", PyUnicode_FromString(info.model)},
        {"read_only", PyBool_FromLong(info.read_only)},
        {"segments", kpy_u64(info.segments)},
        {"segment_rows", kpy_u64(info.segment_rows)},
        {"dead_rows", kpy_u64(info.dead_rows)},
        {"head_rows", kpy_u64(info.head_rows)},
        {"disk_bytes", kpy_u64(info.disk_bytes)},
        {"catalog_bytes", kpy_u64(info.catalog_bytes)},
        {"segment_bytes", kpy_u64(info.segment_bytes)},
        {"memory_bytes", kpy_u64(info.memory_bytes)},
        {"head_memory_bytes", kpy_u64(info.head_memory_bytes)},
        {"cache_bytes", kpy_u64(info.cache_bytes)},
        {"cache_hits", kpy_u64(info.cache_hits)},
        {"cache_misses", kpy_u64(info.cache_misses)},
        {"cache_evictions", kpy_u64(info.cache_evictions)},
        {"work", PyUnicode_FromString(info.work)},
        {"work_done", kpy_u64(info.work_done)},
        {"work_total", kpy_u64(info.work_total)},
        {"trouble", PyUnicode_FromString(info.trouble)},
    };
    shop_drop(held);
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* _declare(name, type) */
static PyObject *collection_declare(PyObject *self, PyObject *args) {
    kith_field field = {0};
    const char *type;
    kith_error error = {0};
    kith_status status;
    if (!PyArg_ParseTuple(args, "ss:_declare", &field.name, &type)) return NULL;
    if (!kith_field_type_parse(type, &field.type))
        return kpy_raise(KITH_E_ARG, "'%s' is no type: tag, tags, int, float, bool and time are", type);
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_declare(held->collection, &field, &error);
    Py_END_ALLOW_THREADS;
    shop_drop(held);
    if (status != KITH_OK) return kpy_fail(status, &error);
    Py_RETURN_NONE;
}

/* _compact(report or None) */
static PyObject *collection_compact(PyObject *self, PyObject *function) {
    kpy_watch watch = kpy_watch_make(function);
    kith_error error = {0};
    kpy_shop *held = shop_hold(self);
    if (!held) return NULL;
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_compact(held->collection, kpy_on_progress, &watch, &error);
    PyEval_RestoreThread(watch.poll.saved);
    shop_drop(held);
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    Py_RETURN_NONE;
}

/* _snapshot(path) */
static PyObject *collection_snapshot(PyObject *self, PyObject *object) {
    PyObject *path = NULL;
    kith_error error = {0};
    kith_status status;
    if (!PyUnicode_FSConverter(object, &path)) return NULL;
    const char *name = PyBytes_AsString(path);
    kpy_shop *held = shop_hold(self);
    if (!held) {
        Py_DECREF(path);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_snapshot(held->collection, name, &error);
    Py_END_ALLOW_THREADS;
    shop_drop(held);
    Py_DECREF(path);
    if (status != KITH_OK) return kpy_fail(status, &error);
    Py_RETURN_NONE;
}

/* restore_collection(from, to, report or None) */
PyObject *kpy_restore_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *from, *to, *function;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O&O:restore_collection", PyUnicode_FSConverter, &from, PyUnicode_FSConverter, &to,
                          &function))
        return NULL;
    kpy_watch watch = kpy_watch_make(function);
    const char *source = PyBytes_AsString(from), *target = PyBytes_AsString(to);
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_restore(source, target, kpy_on_progress, &watch, &error);
    PyEval_RestoreThread(watch.poll.saved);
    Py_DECREF(from);
    Py_DECREF(to);
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    Py_RETURN_NONE;
}

/* verify_collection(path, report or None) */
PyObject *kpy_verify_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *function;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O:verify_collection", PyUnicode_FSConverter, &path, &function)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    const char *name = PyBytes_AsString(path);
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_verify(name, NULL, kpy_on_progress, &watch, &error);
    PyEval_RestoreThread(watch.poll.saved);
    Py_DECREF(path);
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    Py_RETURN_NONE;
}

/* What kith_collection_repair() tells of is kept as C memory, since it comes without the GIL. */
struct lost {
    char *bytes;
    size_t used, room;
    bool full;
};

static void add_lost(struct lost *lost, const void *data, size_t bytes) {
    if (lost->used + bytes > lost->room) {
        const size_t room = (lost->used + bytes) * 2;
        char *grown = realloc(lost->bytes, room);
        if (!grown) {
            lost->full = true;
            return;
        }
        lost->bytes = grown;
        lost->room = room;
    }
    memcpy(lost->bytes + lost->used, data, bytes);
    lost->used += bytes;
}

static void on_lost(void *context, uint64_t id, const char *text, size_t text_bytes, const char *why) {
    struct lost *lost = context;
    const size_t sizes[2] = {text_bytes, strlen(why)};
    if (lost->full) return;
    add_lost(lost, &id, sizeof(id));
    add_lost(lost, sizes, sizeof(sizes));
    add_lost(lost, text_bytes ? text : "", text_bytes);
    add_lost(lost, why, sizes[1]);
}

/* [(id, why)] */
static PyObject *lost_list(const struct lost *lost) {
    PyObject *list = PyList_New(0);
    for (size_t at = 0; list && at < lost->used;) {
        uint64_t id;
        size_t sizes[2];
        memcpy(&id, lost->bytes + at, sizeof(id));
        memcpy(sizes, lost->bytes + at + sizeof(id), sizeof(sizes));
        const char *text = lost->bytes + at + sizeof(id) + sizeof(sizes);
        PyObject *name = sizes[0] ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)sizes[0], "replace") : kpy_u64(id);
        PyObject *why = PyUnicode_DecodeUTF8(text + sizes[0], (Py_ssize_t)sizes[1], "replace");
        PyObject *pair = name && why ? PyTuple_Pack(2, name, why) : NULL;
        if (!pair || PyList_Append(list, pair) < 0) Py_CLEAR(list);
        Py_XDECREF(name);
        Py_XDECREF(why);
        Py_XDECREF(pair);
        at += sizeof(id) + sizeof(sizes) + sizes[0] + sizes[1];
    }
    return list;
}

/* repair_collection(path, report or None): (items, lost, segments, [(id, why)]) */
PyObject *kpy_repair_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *function, *done = NULL;
    struct lost lost = {0};
    kith_repair_report report = KITH_REPAIR_REPORT_INIT;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O:repair_collection", PyUnicode_FSConverter, &path, &function)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    const char *name = PyBytes_AsString(path);
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_repair(name, on_lost, &lost, kpy_on_progress, &watch, &report, &error);
    PyEval_RestoreThread(watch.poll.saved);
    Py_DECREF(path);
    if (kpy_work_done(&watch, status, &error, NULL)) {
        PyObject *list = lost.full ? PyErr_NoMemory() : lost_list(&lost);
        if (list)
            done = Py_BuildValue("KKKN", (unsigned long long)report.items, (unsigned long long)report.lost,
                                 (unsigned long long)report.segments, list);
    }
    free(lost.bytes);
    return done;
}

/* ---- The type ---------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"_close", collection_close, METH_NOARGS, NULL},
    {"_compact", collection_compact, METH_O, NULL},
    {"_count", collection_count, METH_VARARGS, NULL},
    {"_declare", collection_declare, METH_VARARGS, NULL},
    {"_delete", collection_delete, METH_VARARGS, NULL},
    {"_exists", collection_exists, METH_O, NULL},
    {"_get", collection_get, METH_VARARGS, NULL},
    {"_info", collection_info, METH_NOARGS, NULL},
    {"_scroll", collection_scroll, METH_VARARGS, NULL},
    {"_search", (PyCFunction)(void (*)(void))collection_search, METH_FASTCALL, NULL},
    {"_snapshot", collection_snapshot, METH_O, NULL},
    {"_write", (PyCFunction)(void (*)(void))collection_write, METH_FASTCALL, NULL},
    {0},
};

static PyGetSetDef members[] = {{"closed", collection_closed, NULL, "Whether it was closed.", NULL}, {0}};

static PyType_Slot slots[] = {
    {Py_tp_new, collection_new},
    {Py_tp_dealloc, collection_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, members},
    {0, NULL},
};

bool kpy_collection_init(PyObject *module) {
    static PyType_Spec spec = {.name = "kith._kith.Collection",
                               .basicsize = sizeof(kpy_collection),
                               .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                               .slots = slots};
    collection_type = kpy_add_type(module, &spec);
    return collection_type != NULL;
}
