/* SPDX-License-Identifier: Apache-2.0
 *
 * Reader: where a build's rows come from. A file, the memory of an array as it lies, or a Python function that fills
 * strips, for arrays that have to be converted on the way. None of them copies the array as a whole.
 *
 * S1. A source's function is called on whatever thread of the pool is next, under the reader's turn, with the GIL taken
 *     for the call. Its exception is kept here and set again in the thread that asked for the work. */
#include "src/kithpy.h"

#include <string.h>

struct source {
    PyObject *read; /* function(first, array): fills the array with rows from `first` on */
    int type;       /* NumPy's number of an array of rows */
    size_t columns;
    const uint64_t *ids;
    const char *id_bytes, *name_bytes;
    const uint64_t *id_ends, *name_ends;
    uint32_t *batch_ends[2]; /* ends of the last batch: ids, names */
    size_t batch_capacity[2];
    PyObject *exception[3];
};

PyTypeObject *kpy_reader_type;

bool kpy_reader_take(kpy_reader *reader) {
    if (reader->busy) kpy_raise(KITH_E_BUSY, "another work reads from this reader");
    const bool taken = !reader->busy;
    reader->busy = true;
    return taken;
}

void kpy_reader_give(kpy_reader *reader) {
    if (reader) reader->busy = false;
}

bool kpy_reader_raised(kpy_reader *reader) {
    struct source *source = reader->source;
    if (!source) return false;
    if (!source->exception[0]) return false;
    PyErr_Restore(source->exception[0], source->exception[1], source->exception[2]);
    memset(source->exception, 0, sizeof(source->exception));
    return true;
}

/* ---- The function of a source ------------------------------------------------------------------------------------ */

/* Ends that count from the batch's first byte. */
static kith_status lend_strings(struct source *source, int which, const char *bytes, const uint64_t *ends,
                                uint64_t first, size_t count, const char **lent_bytes, const uint32_t **lent_ends) {
    const uint64_t start = first ? ends[first - 1] : 0;
    if (count > source->batch_capacity[which]) {
        uint32_t *larger = realloc(source->batch_ends[which], count * sizeof(*larger));
        if (!larger) return KITH_E_NOMEM;
        source->batch_ends[which] = larger;
        source->batch_capacity[which] = count;
    }
    for (size_t i = 0; i < count; i++) source->batch_ends[which][i] = (uint32_t)(ends[first + i] - start);
    *lent_bytes = bytes + start;
    *lent_ends = source->batch_ends[which];
    return KITH_OK;
}

static kith_status lend_labels(struct source *source, uint64_t first, size_t count, kith_rows *labels) {
    kith_status status = KITH_OK;
    if (source->ids) labels->ids = source->ids + first;
    if (source->id_ends)
        status = lend_strings(source, 0, source->id_bytes, source->id_ends, first, count, &labels->id_bytes,
                              &labels->id_ends);
    if (status == KITH_OK && source->name_ends)
        status = lend_strings(source, 1, source->name_bytes, source->name_ends, first, count, &labels->name_bytes,
                              &labels->name_ends);
    return status;
}

/* With the GIL: an array over the library's memory, filled by the user's. */
static kith_status call_read(struct source *source, uint64_t first, size_t count, void *data) {
    npy_intp shape[2] = {(npy_intp)count, (npy_intp)source->columns};
    PyObject *array = PyArray_SimpleNewFromData(2, shape, source->type, data);
    PyObject *at = array ? PyLong_FromUnsignedLongLong(first) : NULL;
    PyObject *done = at ? PyObject_CallFunctionObjArgs(source->read, at, array, NULL) : NULL;
    Py_XDECREF(at);
    Py_XDECREF(array);
    Py_XDECREF(done);
    if (done) return KITH_OK;
    PyErr_Fetch(&source->exception[0], &source->exception[1], &source->exception[2]);
    return KITH_E_CANCELLED;
}

static kith_status source_read(void *context, uint64_t first, size_t count, void *data, kith_rows *labels,
                               kith_error *error) {
    struct source *source = context;
    (void)error; /* the exception says it */
    const PyGILState_STATE gil = PyGILState_Ensure();
    const kith_status status = call_read(source, first, count, data);
    PyGILState_Release(gil);
    return status == KITH_OK ? lend_labels(source, first, count, labels) : status;
}

/* ---- Making readers ---------------------------------------------------------------------------------------------- */

static kpy_reader *new_reader(PyObject *keeps) {
    kpy_reader *made = (kpy_reader *)((allocfunc)PyType_GetSlot(kpy_reader_type, Py_tp_alloc))(kpy_reader_type, 0);
    if (!made) return NULL;
    Py_INCREF(keeps);
    made->keeps = keeps;
    return made;
}

static PyObject *finish(kpy_reader *made, kith_status status, const kith_error *error) {
    if (status == KITH_OK) return (PyObject *)made;
    kpy_fail(status, error);
    Py_DECREF(made);
    return NULL;
}

/* open(path, *, format, dtype, id_column, name_column): the words are kith's, or None. */
static PyObject *reader_open(PyObject *class, PyObject *args, PyObject *keywords) {
    (void)class;
    static char *names[] = {"path", "format", "dtype", "id_column", "name_column", NULL};
    static const char *const formats[] = {"auto", "npy", "vecs", "bin", "csv", "jsonl"};
    PyObject *path;
    const char *format = NULL, *dtype = NULL;
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&|$zzzz:open", names, PyUnicode_FSConverter, &path, &format,
                                     &dtype, &options.id_column, &options.name_column))
        return NULL;
    for (size_t i = 0; format && i < sizeof(formats) / sizeof(*formats); i++)
        if (strcmp(format, formats[i]) == 0) options.format = (kith_format)i;
    if (dtype) options.dtype = kith_dtype_parse(dtype);
    kpy_reader *made = new_reader(Py_None);
    kith_error error = {0};
    kith_status status = KITH_E_NOMEM;
    const char *name = PyBytes_AsString(path);
    if (made) {
        Py_BEGIN_ALLOW_THREADS;
        status = kith_reader_open(name, &options, &made->reader, &error);
        Py_END_ALLOW_THREADS;
    }
    Py_DECREF(path);
    return made ? finish(made, status, &error) : NULL;
}

/* The element type that a word names, if an array can hold it. */
static kith_dtype fitting_dtype(PyArrayObject *array, const char *word) {
    const kith_dtype dtype = kith_dtype_parse(word);
    const size_t eight = kith_row_bytes(dtype, 8);
    const size_t item = dtype == KITH_B1 ? eight : eight / 8;
    if (item && PyArray_NDIM(array) == 2 && PyArray_ITEMSIZE(array) == (npy_intp)item && !PyArray_ISBYTESWAPPED(array))
        return dtype;
    PyErr_Format(PyExc_ValueError, "the array does not hold rows of type %s", word);
    return KITH_DTYPE_NONE;
}

static bool lies_in_rows(PyArrayObject *array) {
    const npy_intp item = PyArray_ITEMSIZE(array), columns = PyArray_DIM(array, 1);
    if ((columns <= 1 || PyArray_STRIDE(array, 1) == item) &&
        (PyArray_DIM(array, 0) <= 1 || PyArray_STRIDE(array, 0) >= item * columns))
        return true;
    PyErr_SetString(PyExc_ValueError, "the array's rows cannot be read as they lie");
    return false;
}

/* memory(array, dtype, ids or None): rows of an array that lie one after another. */
static PyObject *reader_memory(PyObject *class, PyObject *args) {
    (void)class;
    PyObject *object, *ids;
    const char *word;
    if (!PyArg_ParseTuple(args, "O!sO:memory", &PyArray_Type, &object, &word, &ids)) return NULL;
    PyArrayObject *array = (PyArrayObject *)object, *numbers = NULL;
    const kith_dtype dtype = fitting_dtype(array, word);
    if (dtype == KITH_DTYPE_NONE || !lies_in_rows(array)) return NULL;
    if (ids != Py_None && !(numbers = kpy_ids_array(ids, "ids"))) return NULL;
    if (numbers && PyArray_SIZE(numbers) != PyArray_DIM(array, 0)) {
        Py_DECREF(numbers);
        return PyErr_Format(PyExc_ValueError, "ids for other rows");
    }
    PyObject *keeps = PyTuple_Pack(2, object, numbers ? (PyObject *)numbers : Py_None);
    Py_XDECREF(numbers);
    kpy_reader *made = keeps ? new_reader(keeps) : NULL;
    Py_XDECREF(keeps);
    if (!made) return NULL;
    kith_error error = {0};
    const npy_intp rows = PyArray_DIM(array, 0);
    const kith_status status = kith_reader_from_memory(
        PyArray_DATA(array), dtype, (uint64_t)rows, (size_t)PyArray_DIM(array, 1) * (dtype == KITH_B1 ? 8 : 1),
        rows > 1 ? (size_t)PyArray_STRIDE(array, 0) : 0, numbers ? PyArray_DATA(numbers) : NULL, &made->reader, &error);
    return finish(made, status, &error);
}

static bool take_strings(PyObject *pair, const char **bytes, const uint64_t **ends) {
    PyObject *text, *object;
    if (pair == Py_None) return true;
    if (!PyArg_ParseTuple(pair, "SO!", &text, &PyArray_Type, &object)) return false;
    PyArrayObject *array = (PyArrayObject *)object;
    const npy_intp count = PyArray_SIZE(array);
    if (PyArray_TYPE(array) != NPY_UINT64 || !PyArray_ISCARRAY_RO(array)) {
        PyErr_SetString(PyExc_TypeError, "ends must be a contiguous array of uint64");
        return false;
    }
    *bytes = PyBytes_AsString(text);
    *ends = PyArray_DATA(array);
    uint64_t last = 0;
    for (npy_intp i = 0; i < count; last = (*ends)[i++])
        if ((*ends)[i] < last || (*ends)[i] > (uint64_t)PyBytes_Size(text)) {
            PyErr_SetString(PyExc_ValueError, "ends must ascend within the bytes");
            return false;
        }
    return true;
}

static bool check_counts(PyObject *ids, PyObject *strings, PyObject *names, uint64_t rows) {
    PyObject *const arrays[] = {ids == Py_None ? NULL : ids, strings == Py_None ? NULL : PyTuple_GetItem(strings, 1),
                                names == Py_None ? NULL : PyTuple_GetItem(names, 1)};
    for (size_t i = 0; i < 3; i++)
        if (arrays[i] && (uint64_t)PyArray_SIZE((PyArrayObject *)arrays[i]) != rows) {
            PyErr_Format(PyExc_ValueError, "labels for %zd rows where there are %llu",
                         (Py_ssize_t)PyArray_SIZE((PyArrayObject *)arrays[i]), (unsigned long long)rows);
            return false;
        }
    return true;
}

/* The labels of a source: ids, (bytes, ends) of ids, (bytes, ends) of names; each may be None. `args` keeps them. */
static bool take_labels(struct source *source, PyObject *ids, PyObject *strings, PyObject *names, uint64_t rows) {
    if (ids != Py_None) {
        PyArrayObject *numbers = kpy_ids_array(ids, "ids");
        if (!numbers) return false;
        const bool same = (PyObject *)numbers == ids;
        source->ids = PyArray_DATA(numbers);
        Py_DECREF(numbers);
        if (!same) {
            PyErr_SetString(PyExc_ValueError, "ids must be contiguous");
            return false;
        }
    }
    return take_strings(strings, &source->id_bytes, &source->id_ends) &&
           take_strings(names, &source->name_bytes, &source->name_ends) && check_counts(ids, strings, names, rows);
}

/* source(read, sample, dtype, rows, ids, strings, names): sample is an empty array of such rows. */
static PyObject *reader_source(PyObject *class, PyObject *args) {
    (void)class;
    PyObject *read, *sample, *ids, *strings, *names;
    const char *word;
    unsigned long long rows;
    if (!PyArg_ParseTuple(args, "OO!sKOOO:source", &read, &PyArray_Type, &sample, &word, &rows, &ids, &strings, &names))
        return NULL;
    const kith_dtype dtype = fitting_dtype((PyArrayObject *)sample, word);
    if (dtype == KITH_DTYPE_NONE) return NULL;
    kpy_reader *made = new_reader(args);
    struct source *source = made ? PyMem_Calloc(1, sizeof(*source)) : NULL;
    if (!source) {
        Py_XDECREF(made);
        return PyErr_NoMemory();
    }
    made->source = source;
    source->read = read;
    source->type = PyArray_TYPE((PyArrayObject *)sample);
    source->columns = (size_t)PyArray_DIM((PyArrayObject *)sample, 1);
    if (!take_labels(source, ids, strings, names, rows)) {
        Py_DECREF(made);
        return NULL;
    }
    kith_source spec = KITH_SOURCE_INIT;
    spec.name = "(memory)";
    spec.dtype = dtype;
    spec.dim = source->columns * (dtype == KITH_B1 ? 8 : 1);
    spec.rows = rows;
    spec.id_kind = source->ids ? KITH_ID_U64 : source->id_ends ? KITH_ID_STRING : KITH_ID_ROW;
    spec.has_names = source->name_ends != NULL;
    spec.read = source_read;
    spec.context = source;
    kith_error error = {0};
    return finish(made, kith_reader_from_source(&spec, &made->reader, &error), &error);
}

/* ---- Reading all of a file --------------------------------------------------------------------------------------- */

static bool append_strings(PyObject *list, const char *bytes, const uint32_t *ends, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint32_t start = i ? ends[i - 1] : 0;
        PyObject *text = PyUnicode_DecodeUTF8(bytes + start, (Py_ssize_t)(ends[i] - start), "replace");
        const int failed = text ? PyList_Append(list, text) : -1;
        Py_XDECREF(text);
        if (failed) return false;
    }
    return true;
}

struct loaded {
    PyObject *array, *ids, *names; /* ids: an array of uint64, a list of str, or None */
};

static bool load_rows(kith_reader *reader, const kith_reader_info *info, struct loaded *to) {
    const size_t row_bytes = kith_row_bytes(info->dtype, info->dim);
    char *data = PyArray_DATA((PyArrayObject *)to->array);
    uint64_t *numbers = info->id_kind == KITH_ID_U64 ? PyArray_DATA((PyArrayObject *)to->ids) : NULL;
    kith_error error = {0};
    kith_status status = kith_reader_seek(reader, 0, &error);
    for (uint64_t row = 0; row < info->rows && status == KITH_OK;) {
        kith_rows got = {0};
        Py_BEGIN_ALLOW_THREADS;
        status = kith_reader_next(reader, 1u << 16, &got, &error);
        if (status == KITH_OK) memcpy(data + row * row_bytes, got.data, got.count * row_bytes);
        Py_END_ALLOW_THREADS;
        if (status != KITH_OK) break;
        if (got.count == 0 || PyErr_CheckSignals()) break;
        if (numbers) memcpy(numbers + row, got.ids, got.count * sizeof(*numbers));
        if (info->id_kind == KITH_ID_STRING && !append_strings(to->ids, got.id_bytes, got.id_ends, got.count)) break;
        if (info->has_names && !append_strings(to->names, got.name_bytes, got.name_ends, got.count)) break;
        row += got.count;
    }
    if (status != KITH_OK) kpy_fail(status, &error);
    return !PyErr_Occurred();
}

/* read(): (array, ids, names) of all rows. bf16 rows are uint16, bits uint8. */
static PyObject *reader_read(PyObject *self, PyObject *none) {
    (void)none;
    static const int types[] = {NPY_VOID, NPY_FLOAT, NPY_HALF, NPY_USHORT, NPY_BYTE, NPY_UBYTE, NPY_UBYTE};
    kith_reader *reader = ((kpy_reader *)self)->reader;
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_reader_get_info(reader, &info);
    npy_intp shape[2] = {(npy_intp)info.rows, (npy_intp)(info.dtype == KITH_B1 ? info.dim / 8 : info.dim)};
    struct loaded all = {.array = PyArray_SimpleNew(2, shape, types[info.dtype])};
    PyObject *found = NULL;
    all.ids = info.id_kind == KITH_ID_U64      ? PyArray_SimpleNew(1, shape, NPY_UINT64)
              : info.id_kind == KITH_ID_STRING ? PyList_New(0)
                                               : Py_BuildValue("");
    all.names = info.has_names ? PyList_New(0) : Py_BuildValue("");
    if (all.array && all.ids && all.names && load_rows(reader, &info, &all))
        found = PyTuple_Pack(3, all.array, all.ids, all.names);
    Py_XDECREF(all.array);
    Py_XDECREF(all.ids);
    Py_XDECREF(all.names);
    return found;
}

/* ---- The type ---------------------------------------------------------------------------------------------------- */

static PyObject *reader_info(PyObject *self, void *unused) {
    (void)unused;
    kith_reader_info info = KITH_READER_INFO_INIT;
    static const char *const kinds[] = {"row", "number", "string"};
    kith_reader_get_info(((kpy_reader *)self)->reader, &info);
    const kpy_entry entries[] = {
        {"rows", kpy_u64(info.rows)},
        {"dim", kpy_u64(info.dim)},
        {"dtype", PyUnicode_FromString(kith_dtype_name(info.dtype))},
        {"ids", PyUnicode_FromString(kinds[info.id_kind])},
        {"names", PyBool_FromLong(info.has_names)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

static void reader_dealloc(PyObject *self) {
    kpy_reader *reader = (kpy_reader *)self;
    struct source *source = reader->source;
    PyTypeObject *type = Py_TYPE(self);
    kith_reader_close(reader->reader);
    if (source) {
        for (int i = 0; i < 3; i++) Py_XDECREF(source->exception[i]);
        free(source->batch_ends[0]);
        free(source->batch_ends[1]);
        PyMem_Free(source);
    }
    Py_XDECREF(reader->keeps);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"open", (PyCFunction)(void (*)(void))reader_open, METH_VARARGS | METH_KEYWORDS | METH_STATIC, NULL},
    {"memory", reader_memory, METH_VARARGS | METH_STATIC, NULL},
    {"source", reader_source, METH_VARARGS | METH_STATIC, NULL},
    {"read", reader_read, METH_NOARGS, NULL},
    {0},
};
static PyGetSetDef getters[] = {
    {"info", reader_info, NULL, NULL, NULL},
    {0},
};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, reader_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "kith._kith.Reader",
    .basicsize = sizeof(kpy_reader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

bool kpy_reader_init(PyObject *module) {
    kpy_reader_type = kpy_add_type(module, &spec);
    return kpy_reader_type != NULL;
}
