/* SPDX-License-Identifier: Apache-2.0
 *
 * Generations of a collection: which there are, how one is begun, checked, made current, tried and dropped. */
#include "src/shop.h"

/* ---- What vectors are like --------------------------------------------------------------------------------------- */

bool kpy_spec(const kpy_shop *held, uint32_t generation, size_t number, kith_vector_spec *spec) {
    kith_error error = {0};
    const kith_status status =
        generation ? kith_collection_generation_vector(held->collection, generation, number, spec, &error)
                   : kith_collection_vector(held->collection, number, spec);
    return status == KITH_OK || kpy_fail(status, &error);
}

bool kpy_spec_bits(const kpy_shop *held, uint32_t generation, size_t number, bool *bits) {
    kith_vector_spec spec;
    if (!kpy_spec(held, generation, number, &spec)) return false;
    *bits = spec.dtype == KITH_B1;
    return true;
}

PyObject *kpy_spec_list(const kpy_shop *held, uint32_t generation) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < held->vectors; i++) {
        kith_vector_spec spec;
        PyObject *one = NULL;
        if (kpy_spec(held, generation, i, &spec))
            one = Py_BuildValue("(snss)", held->names[i], (Py_ssize_t)spec.dim, kith_dtype_name(spec.dtype),
                                kith_metric_name(spec.metric));
        if (!one || PyList_Append(list, one) < 0) Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

/* _specs(generation, 0: the current one): [(name, dim, dtype, metric)] */
PyObject *kpy_collection_specs(PyObject *self, PyObject *object) {
    const unsigned long generation = PyLong_AsUnsignedLong(object);
    if (PyErr_Occurred()) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    PyObject *list = held ? kpy_spec_list(held, (uint32_t)generation) : NULL;
    kpy_shop_drop(held);
    return list;
}

/* ---- Which there are --------------------------------------------------------------------------------------------- */

static PyObject *generation_dict(const kpy_shop *held, const kith_generation_info *info) {
    const kpy_entry entries[] = {
        {"number", PyLong_FromUnsignedLong(info->number)},
        {"state", PyUnicode_FromString(kith_generation_state_name(info->state))},
        {"model", PyUnicode_FromString(info->model)},
        {"share", PyFloat_FromDouble(info->share)},
        {"own", PyLong_FromSize_t(info->own)},
        {"created", kpy_u64(info->created_ms)},
        {"vectors", kpy_spec_list(held, info->number)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* _generations(): a list of dicts; "created" in ms, 0: not known. */
PyObject *kpy_collection_generations(PyObject *self, PyObject *none) {
    (void)none;
    kith_generation_info info = KITH_GENERATION_INFO_INIT;
    kith_error error = {0};
    kith_status status = KITH_OK;
    kpy_shop *held = kpy_shop_hold(self);
    PyObject *list = held ? PyList_New(0) : NULL;
    for (size_t place = 0; list; place++) {
        status = kith_collection_generation(held->collection, place, &info, &error);
        if (status != KITH_OK) break;
        PyObject *one = generation_dict(held, &info);
        if (!one || PyList_Append(list, one) < 0) Py_CLEAR(list);
        Py_XDECREF(one);
    }
    kpy_shop_drop(held);
    if (!list || status == KITH_E_NOTFOUND) return list;
    Py_DECREF(list);
    return kpy_fail(status, &error);
}

/* _generation_of(user) */
PyObject *kpy_collection_generation_of(PyObject *self, PyObject *object) {
    const char *user;
    uint32_t number = 0;
    kith_error error = {0};
    if (!kpy_take_text(object, "user", &user)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    const kith_status status = kith_collection_generation_of(held->collection, user, &number, &error);
    kpy_shop_drop(held);
    return status == KITH_OK ? PyLong_FromUnsignedLong(number) : kpy_fail(status, &error);
}

/* ---- Beginning, trying and dropping ------------------------------------------------------------------------------ */

/* _begin(model or None, [(name, dim, dtype, metric)]): its number */
PyObject *kpy_collection_begin(PyObject *self, PyObject *args) {
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    PyObject *model, *list;
    kith_error error = {0};
    kith_status status = KITH_OK;
    uint32_t number = 0;
    if (!PyArg_ParseTuple(args, "OO!:_begin", &model, &PyList_Type, &list)) return NULL;
    if (!kpy_take_text(model, "model", &options.model)) return NULL;
    const Py_ssize_t count = PyList_Size(list);
    kith_vector_spec *specs = PyMem_Calloc((size_t)count + 1, sizeof(*specs));
    if (!specs) return PyErr_NoMemory();
    bool fine = true;
    for (Py_ssize_t i = 0; i < count && fine; i++) fine = kpy_take_spec(PyList_GetItem(list, i), &specs[i]);
    options.vectors = specs;
    options.vector_count = (size_t)count;
    kpy_shop *held = fine ? kpy_shop_hold(self) : NULL;
    if (held) {
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_generation_begin(held->collection, &options, &number, &error);
        Py_END_ALLOW_THREADS;
        if (status != KITH_OK) kpy_fail(status, &error);
    }
    PyMem_Free(specs);
    fine = held && status == KITH_OK;
    kpy_shop_drop(held);
    return fine ? PyLong_FromUnsignedLong(number) : NULL;
}

/* _canary(number, share) */
PyObject *kpy_collection_canary(PyObject *self, PyObject *args) {
    unsigned number;
    double share;
    kith_error error = {0};
    kith_status status;
    if (!PyArg_ParseTuple(args, "Id:_canary", &number, &share)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_generation_canary(held->collection, number, share, &error);
    Py_END_ALLOW_THREADS;
    kpy_shop_drop(held);
    return status == KITH_OK ? Py_NewRef(Py_None) : kpy_fail(status, &error);
}

/* _drop(number) */
PyObject *kpy_collection_drop(PyObject *self, PyObject *args) {
    unsigned number;
    kith_error error = {0};
    kith_status status;
    if (!PyArg_ParseTuple(args, "I:_drop", &number)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_generation_drop(held->collection, number, &error);
    Py_END_ALLOW_THREADS;
    kpy_shop_drop(held);
    return status == KITH_OK ? Py_NewRef(Py_None) : kpy_fail(status, &error);
}

/* ---- Checking and flipping --------------------------------------------------------------------------------------- */

static bool take_check(PyObject *dict, kith_generation_check_options *options) {
    static const kpy_option table[] = {
        {"sample", offsetof(kith_generation_check_options, sample), KPY_WIDE},
        {"k", offsetof(kith_generation_check_options, k), KPY_WIDE},
        {"target_recall", offsetof(kith_generation_check_options, target_recall), KPY_REAL},
        {"seed", offsetof(kith_generation_check_options, seed), KPY_WIDE},
    };
    *options = (kith_generation_check_options)KITH_GENERATION_CHECK_OPTIONS_INIT;
    return kpy_set_options(options, table, sizeof(table) / sizeof(*table), dict);
}

/* lacking: a reference that is taken. */
static PyObject *check_dict(const kith_generation_report *report, PyObject *lacking) {
    const kpy_entry entries[] = {
        {"number", PyLong_FromUnsignedLong(report->number)},
        {"current", PyLong_FromUnsignedLong(report->current)},
        {"version", kpy_u64(report->version)},
        {"items", kpy_u64(report->items)},
        {"with_vectors", kpy_u64(report->with_vectors)},
        {"lacking", kpy_u64(report->lacking)},
        {"sampled", PyLong_FromSize_t(report->sampled)},
        {"recall", PyFloat_FromDouble(report->recall)},
        {"overlap", PyFloat_FromDouble(report->overlap)},
        {"lacks", lacking},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* _check(number, options, whether to tell what is lacking, report or None): a dict; "lacks": [(id, name)] or None */
PyObject *kpy_collection_check(PyObject *self, PyObject *args) {
    unsigned number;
    PyObject *dict, *function, *done = NULL;
    int tells;
    kith_generation_check_options options;
    kith_generation_report report = KITH_GENERATION_REPORT_INIT;
    kpy_told told = {0};
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "IO!pO:_check", &number, &PyDict_Type, &dict, &tells, &function)) return NULL;
    if (!take_check(dict, &options)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    options.lacking = tells ? kpy_on_told : NULL;
    options.lacking_context = &told;
    options.progress = kpy_on_progress;
    options.progress_context = &watch;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_generation_check(held->collection, number, &options, &report, &error);
    PyEval_RestoreThread(watch.poll.saved);
    kpy_shop_drop(held);
    if (kpy_work_done(&watch, status, &error, NULL))
        done = check_dict(&report, tells ? kpy_told_list(&told) : Py_NewRef(Py_None));
    kpy_told_drop(&told);
    return done;
}

static PyObject *flip_dict(const kith_flip_report *report) {
    const kpy_entry entries[] = {
        {"from", PyLong_FromUnsignedLong(report->from)},
        {"to", PyLong_FromUnsignedLong(report->to)},
        {"items", kpy_u64(report->items)},
        {"with_vectors", kpy_u64(report->with_vectors)},
        {"recall", PyFloat_FromDouble(report->recall)},
        {"overlap", PyFloat_FromDouble(report->overlap)},
        {"pause_seconds", PyFloat_FromDouble((double)report->pause_ns * 1e-9)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* _flip(number, 0: back, None or (least share, least recall, least overlap), options of the check, report or None) */
PyObject *kpy_collection_flip(PyObject *self, PyObject *args) {
    unsigned number;
    PyObject *least, *dict, *function;
    kith_generation_check_options check;
    kith_flip_options options = KITH_FLIP_OPTIONS_INIT;
    kith_flip_report report = KITH_FLIP_REPORT_INIT;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "IOO!O:_flip", &number, &least, &PyDict_Type, &dict, &function)) return NULL;
    if (!take_check(dict, &check)) return NULL;
    const bool required = least != Py_None;
    if (required && !PyArg_ParseTuple(least, "ddd", &options.min_share, &options.min_recall, &options.min_overlap))
        return NULL;
    kpy_watch watch = kpy_watch_make(function);
    check.progress = kpy_on_progress;
    check.progress_context = &watch;
    options.check = &check;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status =
        kith_collection_flip(held->collection, number, required ? &options : NULL, &report, &error);
    PyEval_RestoreThread(watch.poll.saved);
    kpy_shop_drop(held);
    return kpy_work_done(&watch, status, &error, NULL) ? flip_dict(&report) : NULL;
}
