/* SPDX-License-Identifier: Apache-2.0
 *
 * Index, as far as it is C: opening, searching, and reading what is stored. kith/_index.py derives the public class. */
#include "src/kithpy.h"

#include <string.h>

static PyObject *index_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *path = NULL;
    int populate = 0, copy_hot = 0, resident = KITH_RESIDENT_NONE, device = KITH_DEVICE_CPU;
    unsigned long long device_bytes = 0;
    if (keywords && PyDict_Size(keywords)) {
        PyErr_SetString(PyExc_TypeError, "use kith.open() or kith.Index.build()");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O&|ppiiK:Index", PyUnicode_FSConverter, &path, &populate, &copy_hot, &resident,
                          &device, &device_bytes))
        return NULL;
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    options.populate = populate;
    options.copy_hot = copy_hot;
    options.resident = (kith_resident)resident;
    options.device = (kith_device_use)device;
    options.device_bytes = device_bytes;
    kith_index *opened = NULL;
    kith_error error = {0};
    kith_status status;
    const char *name = PyBytes_AsString(path);
    Py_BEGIN_ALLOW_THREADS;
    status = kith_index_open(name, &options, &opened, &error);
    Py_END_ALLOW_THREADS;
    Py_DECREF(path);
    if (status != KITH_OK) return kpy_fail(status, &error);
    kpy_handle *handle = kpy_handle_make(opened);
    if (!handle) return NULL;
    kpy_index *index = (kpy_index *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (index)
        index->handle = handle;
    else
        kpy_handle_drop(handle);
    return (PyObject *)index;
}

static void index_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    kpy_handle_drop(((kpy_index *)self)->handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *index_close(PyObject *self, PyObject *none) {
    (void)none;
    kpy_index *index = (kpy_index *)self;
    kpy_handle *handle = index->handle;
    index->handle = NULL;
    kpy_handle_drop(handle);
    Py_RETURN_NONE;
}

/* _become(other): take over the other's open file. Searches that run go on with the old one; the other is closed. */
static PyObject *index_become(PyObject *self, PyObject *other) {
    kpy_index *index = (kpy_index *)self;
    if (!PyObject_TypeCheck(other, kpy_index_type)) return PyErr_Format(PyExc_TypeError, "_become takes an Index");
    if (!kpy_index_handle(index) || !kpy_index_handle((kpy_index *)other)) return NULL;
    kpy_handle *old = index->handle;
    index->handle = ((kpy_index *)other)->handle;
    ((kpy_index *)other)->handle = NULL;
    kpy_handle_drop(old);
    Py_RETURN_NONE;
}

static PyObject *index_wide(PyObject *self, void *unused) {
    (void)unused;
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    return handle ? PyBool_FromLong(handle->wide) : NULL;
}

static PyObject *index_names_ids(PyObject *self, void *unused) {
    (void)unused;
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    return handle ? PyBool_FromLong(handle->id_kind == KITH_ID_STRING) : NULL;
}

static PyObject *index_closed(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((kpy_index *)self)->handle == NULL);
}

static Py_ssize_t index_length(PyObject *self) {
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    return handle ? (Py_ssize_t)handle->rows : -1;
}

static PyObject *section_dict(const kith_index *index) {
    kith_section section = KITH_SECTION_INIT;
    PyObject *sections = PyDict_New();
    for (size_t i = 0; sections && kith_index_section(index, i, &section) == KITH_OK; i++) {
        PyObject *bytes = kpy_u64(section.bytes);
        if (!bytes || PyDict_SetItemString(sections, section.name, bytes) < 0) Py_CLEAR(sections);
        Py_XDECREF(bytes);
    }
    return sections;
}

static PyObject *index_info(PyObject *self, PyObject *none) {
    (void)none;
    static const char *const kinds[] = {"row", "number", "string"};
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    kith_index_info info = KITH_INDEX_INFO_INIT;
    const kith_tuned *tuned;
    if (!handle) return NULL;
    kith_index_get_info(handle->index, &info);
    const kpy_entry entries[] = {
        {"rows", kpy_u64(info.rows)},
        {"dim", kpy_u64(info.dim)},
        {"dtype", PyUnicode_FromString(kith_dtype_name(info.dtype))},
        {"metric", PyUnicode_FromString(kith_metric_name(info.metric))},
        {"ids", PyUnicode_FromString(kinds[info.id_kind])},
        {"names", PyBool_FromLong(info.has_names)},
        {"originals", PyBool_FromLong(info.has_originals)},
        {"integer_codes", PyBool_FromLong(info.integer_codes)},
        {"lists", kpy_u64(info.lists)},
        {"list_rows_max", kpy_u64(info.list_rows_max)},
        {"first_level_dim", kpy_u64(info.first_level_dim)},
        {"spilled_rows", kpy_u64(info.spilled_rows)},
        {"format_version", kpy_u64(info.format_version)},
        {"file_bytes", kpy_u64(info.file_bytes)},
        {"code_error", PyFloat_FromDouble(info.code_error)},
        {"first_level_error", PyFloat_FromDouble(info.first_level_error)},
        {"second_code", info.second_code[0] ? PyUnicode_FromString(info.second_code) : Py_NewRef(Py_None)},
        {"second_code_error", PyFloat_FromDouble(info.second_code_error)},
        {"second_code_bytes", kpy_u64(info.second_code_bytes)},
        {"near_duplicates", PyFloat_FromDouble(info.near_duplicates)},
        {"graph_degree", kpy_u64(info.graph_degree)},
        {"graph_bits", kpy_u64(info.graph_bits)},
        {"hnsw_m", kpy_u64(info.hnsw_m)},
        {"lsh_tables", kpy_u64(info.lsh_tables)},
        {"hot_bytes", kpy_u64(info.hot_bytes)},
        {"calibration", kpy_u64(kith_index_tuned(handle->index, &tuned))},
        {"file_hash", kpy_u64(info.file_hash)},
        {"sections", section_dict(handle->index)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

static PyObject *index_dim(PyObject *self, void *unused) {
    (void)unused;
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    return handle ? PyLong_FromSize_t(handle->dim) : NULL;
}

static PyObject *index_dtype(PyObject *self, void *unused) {
    (void)unused;
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    return handle ? PyUnicode_FromString(kith_dtype_name(handle->dtype)) : NULL;
}

static PyObject *index_metric(PyObject *self, void *unused) {
    (void)unused;
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    return handle ? PyUnicode_FromString(kith_metric_name(handle->metric)) : NULL;
}

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

/* All ids, ascending: int64, or uint64 where one needs it. */
static PyObject *index_rows(PyObject *self, PyObject *none) {
    (void)none;
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    if (!handle) return NULL;
    npy_intp count = (npy_intp)handle->rows;
    PyObject *ids = PyArray_SimpleNew(1, &count, handle->wide ? NPY_UINT64 : NPY_INT64);
    kith_error error = {0};
    if (!ids) return NULL;
    const kith_status status =
        kith_index_ids(handle->index, 0, handle->rows, PyArray_DATA((PyArrayObject *)ids), &error);
    if (status == KITH_OK) return ids;
    Py_DECREF(ids);
    return kpy_fail(status, &error);
}

static PyObject *index_strings(PyObject *self, PyObject *rows) {
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    if (!handle) return NULL;
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_OTF(rows, NPY_INT64, NPY_ARRAY_IN_ARRAY);
    PyObject *strings = array ? kpy_string_ids(handle, array) : NULL;
    Py_XDECREF(array);
    return strings;
}

/* A handle that stays open while Python code runs that might close the index. */
static kpy_handle *hold(PyObject *self) {
    kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    if (handle) handle->refs++;
    return handle;
}

static bool missing(void) {
    if (!PyErr_ExceptionMatches(kpy_hooks.missing_id)) return false;
    PyErr_Clear();
    return true;
}

/* _lookup(list of str): (array of the numbers that stand for them, how many are known, how many are not) */
static PyObject *index_lookup(PyObject *self, PyObject *list) {
    kpy_handle *handle = hold(self);
    if (!handle) return NULL;
    npy_intp count = (npy_intp)PyList_Size(list), found = 0;
    PyObject *ids = count < 0 ? NULL : PyArray_SimpleNew(1, &count, NPY_UINT64);
    uint64_t *to = ids ? PyArray_DATA((PyArrayObject *)ids) : NULL;
    for (npy_intp i = 0; ids && i < count; i++) {
        if (kpy_parse_id(handle, PyList_GetItem(list, i), &to[found]))
            found++;
        else if (!missing())
            Py_CLEAR(ids);
    }
    kpy_handle_drop(handle);
    return ids ? Py_BuildValue("Nnn", ids, (Py_ssize_t)found, (Py_ssize_t)(count - found)) : NULL;
}

/* 1, 0, or -1 with an exception. */
static int holds_number(const kpy_handle *handle, uint64_t id) {
    uint64_t low = 0, high = handle->rows, there;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        kith_error error = {0};
        const kith_status status = kith_index_ids(handle->index, middle, 1, &there, &error);
        if (status != KITH_OK) {
            kpy_fail(status, &error);
            return -1;
        }
        if (there == id) return 1;
        if (there < id)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static int index_contains(PyObject *self, PyObject *object) {
    kpy_handle *handle = hold(self);
    uint64_t id;
    if (!handle) return -1;
    const bool parsed = kpy_parse_id(handle, object, &id);
    const int found = parsed ? (PyUnicode_Check(object) ? 1 : holds_number(handle, id)) : missing() ? 0 : -1;
    kpy_handle_drop(handle);
    return found;
}

/* ---- Stored vectors and names ------------------------------------------------------------------------------------ */

/* An array for `count` vectors: float32 in rows of dim, or uint8 in rows of dim / 8 for bits. */
static PyObject *blank_vectors(const kpy_handle *handle, npy_intp count, bool single) {
    const bool bits = handle->dtype == KITH_B1;
    npy_intp shape[2] = {count, (npy_intp)(bits ? handle->dim / 8 : handle->dim)};
    return PyArray_SimpleNew(single ? 1 : 2, single ? shape + 1 : shape, bits ? NPY_UBYTE : NPY_FLOAT);
}

/* The place of the first id that is unknown; `to`: room for a vector. */
static size_t first_missing(const kith_index *index, const uint64_t *ids, size_t count, void *to) {
    size_t place = 0;
    while (place < count && kith_index_vector(index, ids[place], to, NULL) != KITH_E_NOTFOUND) place++;
    return place;
}

static PyObject *index_vector(PyObject *self, PyObject *object) {
    kpy_handle *handle = hold(self);
    if (!handle) return NULL;
    uint64_t id;
    kith_error error = {0};
    PyObject *array = kpy_parse_id(handle, object, &id) ? blank_vectors(handle, 1, true) : NULL;
    if (array) {
        const kith_status status = kith_index_vector(handle->index, id, PyArray_DATA((PyArrayObject *)array), &error);
        if (status == KITH_E_NOTFOUND)
            PyErr_Format(kpy_hooks.missing_id, "the index has no id %S", object);
        else if (status != KITH_OK)
            kpy_fail(status, &error);
        if (status != KITH_OK) Py_CLEAR(array);
    }
    kpy_handle_drop(handle);
    return array;
}

/* The numbers that stand for a list of strings, and numbers among them: an array of uint64. MissingIdError names the
 * place of an unknown one. */
static PyObject *numbers_of(const kpy_handle *handle, PyObject *list) {
    npy_intp count = (npy_intp)PyList_Size(list);
    PyObject *ids = PyArray_SimpleNew(1, &count, NPY_UINT64);
    uint64_t *to = ids ? PyArray_DATA((PyArrayObject *)ids) : NULL;
    for (npy_intp i = 0; ids && i < count; i++) {
        if (kpy_parse_id(handle, PyList_GetItem(list, i), &to[i])) continue;
        if (missing())
            PyErr_Format(kpy_hooks.missing_id, "ids: row %zd: the index has no id %R", (Py_ssize_t)i,
                         PyList_GetItem(list, i));
        Py_CLEAR(ids);
    }
    return ids;
}

/* _vectors(ids): the vectors of an array of uint64, or of a list with strings, in their order. */
static PyObject *index_vectors(PyObject *self, PyObject *object) {
    kpy_handle *handle = hold(self);
    if (!handle) return NULL;
    PyObject *numbers = PyList_Check(object) ? numbers_of(handle, object) : Py_NewRef(object);
    PyArrayObject *ids = numbers ? kpy_ids_array(numbers, "ids") : NULL;
    PyObject *array = ids ? blank_vectors(handle, PyArray_SIZE(ids), false) : NULL;
    if (array) {
        const uint64_t *number = PyArray_DATA(ids);
        size_t failed = 0;
        kith_error error = {0};
        kith_status status;
        char *to = PyArray_DATA((PyArrayObject *)array);
        Py_BEGIN_ALLOW_THREADS;
        status = kith_index_vectors(handle->index, number, (size_t)PyArray_SIZE(ids), to, &error);
        if (status == KITH_E_NOTFOUND) failed = first_missing(handle->index, number, (size_t)PyArray_SIZE(ids), to);
        Py_END_ALLOW_THREADS;
        if (status == KITH_E_NOTFOUND)
            PyErr_Format(kpy_hooks.missing_id, "ids: row %zu: the index has no id %llu", failed,
                         (unsigned long long)number[failed]);
        else if (status != KITH_OK)
            kpy_fail(status, &error);
        if (status != KITH_OK) Py_CLEAR(array);
    }
    Py_XDECREF(ids);
    Py_XDECREF(numbers);
    kpy_handle_drop(handle);
    return array;
}

static PyObject *index_name(PyObject *self, PyObject *object) {
    kpy_handle *handle = hold(self);
    uint64_t id;
    const char *text = NULL;
    size_t bytes = 0;
    PyObject *name = NULL;
    if (!handle) return NULL;
    if (kpy_parse_id(handle, object, &id)) {
        const kith_status status = kith_index_name(handle->index, id, &text, &bytes);
        if (status == KITH_OK)
            name = PyUnicode_DecodeUTF8(text, (Py_ssize_t)bytes, "replace");
        else if (status == KITH_E_NOTFOUND)
            PyErr_Format(kpy_hooks.missing_id, "the index has no id %S", object);
        else if (status == KITH_E_UNSUPPORTED)
            kpy_raise(status, "the index was built without names");
        else
            kpy_fail(status, NULL);
    }
    kpy_handle_drop(handle);
    return name;
}

/* ---- The type ---------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    search_doc, /* the first line is the signature that Python shows */
    "search($self, /, Q, k=10, *, exact=None, target_recall=None, allow=None, deny=None, plan=None,\n"
    "       nprobe=None, rerank=None, scan_code=None, effort=None, threads=None, radius=None,\n"
    "       timeout=None)\n--\n\n"
    "Find the k nearest stored vectors of each query: exactly, unless less is asked for.\n\n"
    "Parameters\n----------\n"
    "Q\n"
    "    (q, d) queries, or one of (d,): float32, float16, bfloat16, int8 or uint8 in rows of any stride are\n"
    "    read as they lie; others become float32. For bits (q, d/8) uint8, or (q, d) bool.\n"
    "k\n    1 to 10,000.\n"
    "exact\n"
    "    True: ArgumentError beside an argument that asks for less, and UnsupportedError from an index without\n"
    "    originals, which gives estimates. None, False: as the other arguments say.\n"
    "target_recall\n"
    "    Above 0, at most 1: the mean share of true neighbours that is enough. The fastest plan that reaches\n"
    "    it in the index's calibration is taken; without one, and at 1, answers are exact. UnsupportedError\n"
    "    without originals.\n"
    "allow\n"
    "    Ids that may be returned: an array, a list (of strings, with string ids), or a Filter of\n"
    "    Index.filter(), which is worth making when it is used again. Unknown ids are ignored.\n"
    "deny\n"
    "    Ids that may not be returned, or a Filter of them; beside allow, what is left of that.\n"
    "plan\n"
    "    'auto'; 'plain', 'scan', 'levels' or 'gather', to compare them: answers are the same. Approximate\n"
    "    are 'ivf' (the nearest lists only), 'graph', 'hnsw', 'lsh' and 'pq', each of an index that has it.\n"
    "nprobe, rerank, scan_code\n"
    "    Parameters of plan 'ivf', which they imply. nprobe: lists of each query, from 1 (None: by\n"
    "    target_recall, or 16; not both). rerank, of the other approximate plans too: best candidates that\n"
    "    get their true distance, at least k (None: as calibrated, or as the plan has it). scan_code:\n"
    "    'int8'; 'second' (the code that the index was built with); 'levels' (what the lists hold is found\n"
    "    exactly); 'first' (the first level's estimates); None, 'auto': int8, or as calibrated.\n"
    "effort\n"
    "    How much the plans 'graph', 'hnsw' and 'lsh' look at. graph: a walk goes on while a vector in sight\n"
    "    is less than 1 + effort/1000 times as far, squared, as the k-th best; hnsw: candidates at once (ef);\n"
    "    lsh: buckets of each table. None: by target_recall, or a middling one.\n"
    "threads\n"
    "    None: one query runs on the calling thread, a batch on kith.get_threads(). At most 256.\n"
    "radius\n"
    "    Only results with distance <= radius; fewer than k rows are padded.\n"
    "timeout\n    Seconds, more than 0.\n\n"
    "Returns\n-------\n"
    "Result\n"
    "    .ids and .distances of shape (q, k), or (k,) for one query of (d,); ascending by distance, ties by\n"
    "    id; rows with fewer than k results end in -1 and inf. Unpacks as ids, distances.\n\n"
    "Raises\n------\n"
    "ArgumentError\n"
    "    A value out of range, arguments that contradict each other, a wrong dimension, a closed index,\n"
    "    another index's filter.\n"
    "DataError\n    A query with NaN, infinity, a norm beyond 2**62, or zero under cosine: names the query.\n"
    "UnsupportedError\n    A plan that this index does not offer; types that are no numbers.\n"
    "DeadlineError, KeyboardInterrupt\n    The time was up; somebody pressed Ctrl-C.\n"
    "CorruptError\n    The file was truncated while it was open.\n\n"
    ">>> index = kith.Index.build([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])\n"
    ">>> ids, distances = index.search([3.0, 4.0], k=2)\n"
    ">>> ids.tolist(), distances.tolist()\n"
    "([1, 0], [0.0, 25.0])\n"
    ">>> index.search([[3.0, 4.0]], k=3, radius=10.0).ids.tolist()\n"
    "[[1, -1, -1]]\n"
    ">>> X = np.random.default_rng(5).standard_normal((3000, 16), dtype=np.float32)\n"
    ">>> explain = kith.Index.build(X, lists=20).search(X[:100], k=10, target_recall=0.9).explain\n"
    ">>> explain.considered[0]['why'].startswith('chosen')\n"
    "True\n");

static PyMethodDef methods[] = {
    {"search", (PyCFunction)(void (*)(void))kpy_index_search, METH_FASTCALL | METH_KEYWORDS, search_doc},
    {"_range", (PyCFunction)(void (*)(void))kpy_index_range, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_close", index_close, METH_NOARGS, NULL}, /* the others are Python's to document: kith/_index.py */
    {"_become", index_become, METH_O, NULL},
    {"_info", index_info, METH_NOARGS, NULL},
    {"_join", kpy_index_join, METH_VARARGS, NULL},
    {"_tuned", kpy_index_tuned, METH_NOARGS, NULL},
    {"_rows", index_rows, METH_NOARGS, NULL},
    {"_strings", index_strings, METH_O, NULL},
    {"_lookup", index_lookup, METH_O, NULL},
    {"_vector", index_vector, METH_O, NULL},
    {"_vectors", index_vectors, METH_O, NULL},
    {"_name", index_name, METH_O, NULL},
    {0},
};
static PyGetSetDef getters[] = {
    {"dim", index_dim, NULL, NULL, NULL},
    {"dtype", index_dtype, NULL, NULL, NULL},
    {"metric", index_metric, NULL, NULL, NULL},
    {"closed", index_closed, NULL, NULL, NULL},
    {"_wide", index_wide, NULL, NULL, NULL},           /* some id is beyond int64 */
    {"_names_ids", index_names_ids, NULL, NULL, NULL}, /* ids are strings */
    {0},
};
static PyType_Slot slots[] = {
    {Py_tp_new, index_new},
    {Py_tp_dealloc, index_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {Py_sq_length, index_length},
    {Py_sq_contains, index_contains},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "kith._kith.Index",
    .basicsize = sizeof(kpy_index),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

bool kpy_index_init(PyObject *module) {
    kpy_index_type = kpy_add_type(module, &spec);
    return kpy_index_type != NULL;
}
