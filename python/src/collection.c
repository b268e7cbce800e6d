/* SPDX-License-Identifier: Apache-2.0
 *
 * Collection: its life, and what it is. */
#include "src/shop.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct kpy_collection {
    PyObject_HEAD kpy_shop *shop; /* NULL: closed */
} kpy_collection;

static PyTypeObject *collection_type;
static unsigned forks; /* between this process and the one that loaded the extension */

/* ---- Life -------------------------------------------------------------------------------------------------------- */

void kpy_shop_drop(kpy_shop *shop) {
    if (!shop || --shop->refs || shop->forks != forks) return;
    for (size_t i = 0; i < shop->idle; i++) kith_result_destroy(shop->idle_result[i]);
    Py_BEGIN_ALLOW_THREADS; /* it may wait for a merge that is being stopped */
    kith_collection_close(shop->collection);
    Py_END_ALLOW_THREADS;
    for (size_t i = 0; shop->names && i < shop->vectors; i++) PyMem_Free(shop->names[i]);
    PyMem_Free(shop->names);
    PyMem_Free(shop);
}

static bool read_names(kpy_shop *shop) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (kith_collection_get_info(shop->collection, &info) != KITH_OK) return false;
    shop->strings = info.id_kind == KITH_ID_STRING;
    shop->names = PyMem_Calloc(info.vectors, sizeof(*shop->names));
    if (!shop->names) return false;
    for (; shop->vectors < info.vectors; shop->vectors++) {
        kith_vector_spec spec;
        if (kith_collection_vector(shop->collection, shop->vectors, &spec) != KITH_OK) return false;
        char *name = PyMem_Malloc(strlen(spec.name) + 1);
        if (!name) return false;
        strcpy(name, spec.name);
        shop->names[shop->vectors] = name;
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
    made->forks = forks;
    if (read_names(made)) return made;
    kpy_shop_drop(made);
    PyErr_NoMemory();
    return NULL;
}

kpy_shop *kpy_shop_hold(PyObject *self) {
    kpy_shop *held = ((kpy_collection *)self)->shop;
    if (!held) {
        kpy_raise(KITH_E_ARG, "the collection is closed");
        return NULL;
    }
    if (held->forks != forks) {
        kpy_raise(KITH_E_ARG, "the collection was opened before this process was forked: open it again here");
        return NULL;
    }
    held->refs++;
    return held;
}

bool kpy_take_text(PyObject *object, const char *what, const char **text) {
    Py_ssize_t bytes = 0;
    *text = NULL;
    if (object == Py_None) return true;
    if (!PyUnicode_Check(object)) return PyErr_Format(PyExc_TypeError, "%s must be a text, not %R", what, object);
    if (!(*text = PyUnicode_AsUTF8AndSize(object, &bytes))) return false;
    if (strlen(*text) == (size_t)bytes) return true;
    kpy_raise(KITH_E_ARG, "%s: has a null character, at byte %zu", what, strlen(*text));
    return false;
}

static const kpy_option open_options[] = {
    {"read_only", offsetof(kith_collection_open_options, read_only), KPY_NARROW},
    {"durability", offsetof(kith_collection_open_options, durability), KPY_NARROW},
    {"no_background", offsetof(kith_collection_open_options, no_background), KPY_NARROW},
    {"threads", offsetof(kith_collection_open_options, threads), KPY_NARROW},
    {"head_bytes", offsetof(kith_collection_open_options, head_bytes), KPY_WIDE},
    {"cache_bytes", offsetof(kith_collection_open_options, cache_bytes), KPY_WIDE},
    {"resident_bytes", offsetof(kith_collection_open_options, resident_bytes), KPY_WIDE},
};

/* Collection(path or None, options, made): made None opens what is there; else a tuple that kpy_made_of() takes, for a
 * collection in memory. */
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
    if (fine) fine = memory ? kpy_made_of(made_tuple, &made, &specs, &fields) : PyUnicode_FSConverter(path, &name) != 0;
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
        kpy_shop_drop(held);
    return (PyObject *)collection;
}

static void collection_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    kpy_shop_drop(((kpy_collection *)self)->shop);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *collection_close(PyObject *self, PyObject *none) {
    (void)none;
    kpy_shop *held = ((kpy_collection *)self)->shop;
    ((kpy_collection *)self)->shop = NULL;
    kpy_shop_drop(held);
    Py_RETURN_NONE;
}

static PyObject *collection_closed(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((kpy_collection *)self)->shop == NULL);
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

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

/* The text of trouble lives until the next one asks. */
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

static PyObject *collection_info(PyObject *self, PyObject *none) {
    (void)none;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    char trouble[KITH_ERROR_TEXT_BYTES];
    Py_BEGIN_ALLOW_THREADS;
    pthread_mutex_lock(&telling);
    (void)!kith_collection_get_info(held->collection, &info);
    snprintf(trouble, sizeof(trouble), "%s", info.trouble);
    pthread_mutex_unlock(&telling);
    Py_END_ALLOW_THREADS;
    const kpy_entry entries[] = {
        {"items", kpy_u64(info.items)},
        {"version", kpy_u64(info.version)},
        {"ids", PyUnicode_FromString(held->strings ? "string" : "number")},
        {"vectors", kpy_spec_list(held, info.generation)},
        {"fields", field_dict(held)},
        {"segment_field", *info.segment_field ? PyUnicode_FromString(info.segment_field) : Py_NewRef(Py_None)},
        {"model", PyUnicode_FromString(info.model)},
        {"generation", PyLong_FromUnsignedLong(info.generation)},
        {"generations", PyLong_FromUnsignedLong(info.generations)},
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
        {"profile_cache_bytes", kpy_u64(info.profile_cache_bytes)},
        {"profile_cache_hits", kpy_u64(info.profile_cache_hits)},
        {"profile_cache_misses", kpy_u64(info.profile_cache_misses)},
        {"resident_bytes", kpy_u64(info.resident_bytes)},
        {"own_segments", kpy_u64(info.own_segments)},
        {"work", PyUnicode_FromString(info.work)},
        {"work_done", kpy_u64(info.work_done)},
        {"work_total", kpy_u64(info.work_total)},
        {"trouble", PyUnicode_DecodeUTF8(trouble, (Py_ssize_t)strlen(trouble), "replace")},
    };
    kpy_shop_drop(held);
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
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_declare(held->collection, &field, &error);
    Py_END_ALLOW_THREADS;
    kpy_shop_drop(held);
    if (status != KITH_OK) return kpy_fail(status, &error);
    Py_RETURN_NONE;
}

/* ---- The type ---------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"_begin", kpy_collection_begin, METH_VARARGS, NULL},
    {"_canary", kpy_collection_canary, METH_VARARGS, NULL},
    {"_check", kpy_collection_check, METH_VARARGS, NULL},
    {"_close", collection_close, METH_NOARGS, NULL},
    {"_compact", kpy_collection_compact, METH_O, NULL},
    {"_load", kpy_collection_load, METH_VARARGS, NULL},
    {"_count", kpy_collection_count, METH_O, NULL},
    {"_declare", collection_declare, METH_VARARGS, NULL},
    {"_delete", kpy_collection_delete, METH_VARARGS, NULL},
    {"_drop", kpy_collection_drop, METH_VARARGS, NULL},
    {"_event", kpy_collection_event, METH_VARARGS, NULL},
    {"_exists", kpy_collection_exists, METH_O, NULL},
    {"_flip", kpy_collection_flip, METH_VARARGS, NULL},
    {"_forget", kpy_collection_forget, METH_O, NULL},
    {"_generation_of", kpy_collection_generation_of, METH_O, NULL},
    {"_generations", kpy_collection_generations, METH_NOARGS, NULL},
    {"_get", kpy_collection_get, METH_VARARGS, NULL},
    {"_info", collection_info, METH_NOARGS, NULL},
    {"_profile", kpy_collection_profile, METH_O, NULL},
    {"_rebuild_profile", kpy_collection_rebuild_profile, METH_VARARGS, NULL},
    {"_scroll", kpy_collection_scroll, METH_VARARGS, NULL},
    {"_search", (PyCFunction)(void (*)(void))kpy_collection_search, METH_FASTCALL, NULL},
    {"_snapshot", kpy_collection_snapshot, METH_O, NULL},
    {"_specs", kpy_collection_specs, METH_O, NULL},
    {"_write", (PyCFunction)(void (*)(void))kpy_collection_write, METH_FASTCALL, NULL},
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

static void in_child(void) {
    forks++;
}

bool kpy_collection_init(PyObject *module) {
    static PyType_Spec spec = {.name = "kith._kith.Collection",
                               .basicsize = sizeof(kpy_collection),
                               .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                               .slots = slots};
    collection_type = kpy_add_type(module, &spec);
    return collection_type && (pthread_atfork(NULL, NULL, in_child) == 0 || PyErr_NoMemory());
}
