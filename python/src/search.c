/* SPDX-License-Identifier: Apache-2.0
 *
 * Index.search and Index.range_search. A single query takes less than a microsecond in a small index, so the way to the
 * library is short: keywords are compared by address, arrays are viewed where they lie, and a scratch is at hand.
 *
 * F1. One query without `threads` runs on the calling thread: waking others takes longer than most single searches. */
#include "src/kithpy.h"

#include <math.h>
#include <string.h>

enum { Q, K, EXACT, TARGET, ALLOW, PLAN, NPROBE, RERANK, CODE, THREADS, RADIUS, TIMEOUT, ARGUMENTS };
static const char *const argument_names[ARGUMENTS] = {"Q",         "k",       "exact",  "target_recall",
                                                      "allow",     "plan",    "nprobe", "rerank",
                                                      "scan_code", "threads", "radius", "timeout"};
static PyObject *interned[ARGUMENTS];

bool kpy_search_init(void) {
    for (int i = 0; i < ARGUMENTS; i++)
        if (!(interned[i] = PyUnicode_InternFromString(argument_names[i]))) return false;
    return true;
}

static int find_argument(PyObject *name) {
    for (int i = 0; i < ARGUMENTS; i++)
        if (interned[i] == name) return i;
    for (int i = 0; i < ARGUMENTS; i++)
        if (PyUnicode_Compare(interned[i], name) == 0) return i;
    return ARGUMENTS;
}

/* values: borrowed, NULL where not given. `taken` says which arguments the function has, `most` how many may come by
 * place. */
static bool parse(const char *function, unsigned taken, const int *places, Py_ssize_t most, PyObject *const *args,
                  Py_ssize_t count, PyObject *names, PyObject **values) {
    if (count > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments by place, %zd were given: the others need their names",
                     function, most, count);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) values[places[i]] = args[i];
    const Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        const int at = find_argument(name);
        if (at == ARGUMENTS || !(taken & 1u << at)) {
            PyErr_Format(PyExc_TypeError, "%s() has no argument %R", function, name);
            return false;
        }
        if (values[at]) {
            PyErr_Format(PyExc_TypeError, "%s() was given %R twice", function, name);
            return false;
        }
        values[at] = args[count + i];
    }
    for (Py_ssize_t i = 0; i < most; i++)
        if ((places[i] == Q || places[i] == RADIUS) && !values[places[i]]) {
            PyErr_Format(PyExc_TypeError, "%s() needs its argument '%s'", function, argument_names[places[i]]);
            return false;
        }
    return true;
}

/* ---- What all searches share ------------------------------------------------------------------------------------- */

struct call {
    kpy_handle *handle; /* holds a reference once started */
    kpy_rows rows;
    unsigned threads;
    kith_pool *pool;
    kith_scratch *scratch;
    PyObject *filter; /* kpy_filter, or NULL */
    kith_search_options options;
    kith_explain explain;
    kpy_poll poll;
    kith_error error;
};

static bool given(PyObject *value) {
    return value && value != Py_None;
}

static bool parse_number(PyObject *value, const char *name, double *number) {
    *number = PyFloat_AsDouble(value);
    if (*number == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError, "%s must be a number, not %R", name, value);
        }
        return false;
    }
    return true;
}

static const char *const plan_words[] = {"auto", "plain", "scan", "levels", "gather", "ivf"};
static const char *const code_words[] = {"auto", "int8", "second", "levels", "first"};
enum { PLANS = sizeof(plan_words) / sizeof(*plan_words), CODES = sizeof(code_words) / sizeof(*code_words) };

const char *kpy_plan_word(kith_plan plan) {
    return (unsigned)plan < PLANS ? plan_words[plan] : "?";
}

const char *kpy_code_word(kith_scan_code code) {
    return (unsigned)code < CODES ? code_words[code] : "?";
}

/* The place of a word in a list, or -1 with an exception. */
static int parse_word(PyObject *value, const char *name, const char *const *words, int count, const char *all) {
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be a word, not %R", name, value);
        return -1;
    }
    for (int i = 0; i < count; i++)
        if (PyUnicode_CompareWithASCIIString(value, words[i]) == 0) return i;
    kpy_raise(KITH_E_ARG, "%s %R is unknown: %s are", name, value, all);
    return -1;
}

static bool parse_plan(PyObject *value, kith_plan *plan) {
    const int at =
        parse_word(value, "plan", plan_words, PLANS, "'auto', 'plain', 'scan', 'levels', 'gather' and 'ivf'");
    if (at >= 0) *plan = (kith_plan)at;
    return at >= 0;
}

static bool parse_count(PyObject *value, const char *name, size_t *count) {
    PyObject *number = PyNumber_Index(value);
    if (!number) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "%s must be a whole number, not %R", name, value);
        return false;
    }
    const long parsed = PyLong_AsLong(number);
    Py_DECREF(number);
    if (parsed == -1) PyErr_Clear();
    if (parsed >= 1) *count = (size_t)parsed;
    if (parsed < 1) kpy_raise(KITH_E_ARG, "%s is %S, at least 1 is needed", name, value);
    return parsed >= 1;
}

/* Parameters of the plan ivf, which they imply. */
static bool parse_lists(PyObject **values, kith_search_options *options) {
    const bool any = given(values[NPROBE]) || given(values[RERANK]) || given(values[CODE]);
    if (!any) return true;
    if (given(values[NPROBE]) && given(values[TARGET])) {
        kpy_raise(KITH_E_ARG, "nprobe and target_recall cannot both be given: a target recall chooses nprobe");
        return false;
    }
    if (!given(values[PLAN])) options->plan = KITH_PLAN_IVF;
    if (options->plan != KITH_PLAN_IVF) {
        kpy_raise(KITH_E_ARG, "nprobe, rerank and scan_code belong to plan 'ivf', not to %R", values[PLAN]);
        return false;
    }
    if (given(values[NPROBE]) && !parse_count(values[NPROBE], "nprobe", &options->nprobe)) return false;
    if (given(values[RERANK]) && !parse_count(values[RERANK], "rerank", &options->rerank)) return false;
    const int code = given(values[CODE]) ? parse_word(values[CODE], "scan_code", code_words, CODES,
                                                      "'auto', 'int8', 'second', 'levels' and 'first'")
                                         : 0;
    if (code >= 0) options->code = (kith_scan_code)code;
    return code >= 0;
}

static bool parse_timeout(PyObject *value, uint64_t *timeout_ns) {
    double seconds;
    if (!parse_number(value, "timeout", &seconds)) return false;
    if (!(seconds > 0)) {
        kpy_raise(KITH_E_ARG, "timeout is %S, it must be more than 0 seconds", value);
        return false;
    }
    const double ns = ceil(seconds * 1e9);
    *timeout_ns = ns < 9e18 ? (uint64_t)ns : (uint64_t)9e18;
    return true;
}

static bool parse_allow(PyObject *self, PyObject *value, struct call *call) {
    if (PyObject_TypeCheck(value, kpy_filter_type)) {
        Py_INCREF(value);
        call->filter = value;
    } else {
        call->filter = PyObject_CallFunctionObjArgs(kpy_hooks.to_filter, self, value, NULL);
        if (!call->filter) return false;
        if (!PyObject_TypeCheck(call->filter, kpy_filter_type)) {
            PyErr_SetString(PyExc_TypeError, "allow could not be made into a Filter");
            return false;
        }
    }
    call->options.filter = ((kpy_filter *)call->filter)->filter;
    return true;
}

/* What is promised. options->plan is known. */
static bool check_promise(const kpy_handle *handle, PyObject *exact, PyObject *target, kith_search_options *options) {
    if (given(target)) {
        double recall;
        if (!parse_number(target, "target_recall", &recall)) return false;
        if (!(recall > 0 && recall <= 1)) {
            kpy_raise(KITH_E_ARG, "target_recall is %S, it must be above 0 and at most 1", target);
            return false;
        }
        options->target_recall = recall;
    }
    const int must = given(exact) ? PyObject_IsTrue(exact) : 0;
    if (must < 0) return false;
    if (must && (given(target) || options->plan == KITH_PLAN_IVF)) {
        kpy_raise(KITH_E_ARG, "exact=True and %s cannot both be given",
                  given(target) ? "target_recall" : "plan 'ivf', which is approximate,");
        return false;
    }
    if (handle->has_originals || (!must && !given(target))) return true;
    kpy_raise(KITH_E_UNSUPPORTED,
              "the index was built without originals: it gives estimates, and %s cannot be promised",
              must ? "exact answers" : "a recall");
    return false;
}

static void call_end(struct call *call) {
    if (call->scratch) kpy_scratch_give(call->handle, call->pool, call->scratch);
    Py_XDECREF(call->filter);
    Py_XDECREF(call->rows.owner);
    kpy_handle_drop(call->handle);
}

static bool call_begin(PyObject *self, PyObject **values, struct call *call) {
    kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    if (!handle) return false;
    handle->refs++;
    call->handle = handle;
    call->options = (kith_search_options)KITH_SEARCH_OPTIONS_INIT;
    call->explain = (kith_explain)KITH_EXPLAIN_INIT;
    if (given(values[PLAN]) && !parse_plan(values[PLAN], &call->options.plan)) return false;
    if (!parse_lists(values, &call->options)) return false;
    if ((values[EXACT] || values[TARGET]) && !check_promise(handle, values[EXACT], values[TARGET], &call->options))
        return false;
    if (given(values[TIMEOUT]) && !parse_timeout(values[TIMEOUT], &call->options.timeout_ns)) return false;
    if (given(values[ALLOW]) && !parse_allow(self, values[ALLOW], call)) return false;
    if (!kpy_rows_view(values[Q], handle, &call->rows)) return false;
    if (!kpy_parse_threads(values[THREADS], call->rows.q.count > 1 ? kpy_default_threads() : 1, &call->threads))
        return false;
    if (call->threads == 0) return false;
    if (call->threads > 1 && !(call->pool = kpy_pool(call->threads))) return false;
    call->scratch = kpy_scratch_take(handle, call->pool);
    call->options.cancelled = kpy_poll_signals;
    call->options.cancelled_context = &call->poll;
    call->options.explain = &call->explain;
    return call->scratch != NULL;
}

static bool call_done(struct call *call, kith_status status) {
    if (call->poll.raised) return false;
    if (status != KITH_OK) kpy_fail(status, &call->error);
    return status == KITH_OK;
}

/* ---- search ------------------------------------------------------------------------------------------------------ */

static bool parse_k(PyObject *value, size_t *k) {
    *k = 10;
    if (!value) return true;
    PyObject *number = PyNumber_Index(value);
    if (!number) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "k must be a whole number, not %R", value);
        return false;
    }
    const long parsed = PyLong_AsLong(number);
    Py_DECREF(number);
    if (parsed == -1) PyErr_Clear();
    if (parsed < 1 || parsed > (long)KITH_K_MAX) {
        kpy_raise(KITH_E_ARG, "k is %S, 1 to %u are possible", value, KITH_K_MAX);
        return false;
    }
    *k = (size_t)parsed;
    return true;
}

static bool parse_radius(PyObject *value, float *radius) {
    double number;
    if (!parse_number(value, "radius", &number)) return false;
    if (isnan(number)) {
        kpy_raise(KITH_E_ARG, "radius is not a number");
        return false;
    }
    *radius = (float)number;
    return true;
}

/* Rows ascend: what is beyond the radius is their tail. */
static void cut(uint64_t *ids, float *distances, size_t rows, size_t k, float radius) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = k; j-- > 0 && distances[i * k + j] > radius;) {
            ids[i * k + j] = KITH_ID_NONE;
            distances[i * k + j] = INFINITY;
        }
}

static PyObject *run_search(struct call *call, size_t k, const float *radius) {
    const kith_queries *q = &call->rows.q;
    npy_intp shape[2] = {(npy_intp)q->count, (npy_intp)k};
    npy_intp *dims = shape + call->rows.single;
    const int axes = 2 - call->rows.single;
    PyObject *ids = PyArray_SimpleNew(axes, dims, call->handle->wide ? NPY_UINT64 : NPY_INT64);
    PyObject *distances = ids ? PyArray_SimpleNew(axes, dims, NPY_FLOAT) : NULL, *strings = NULL;
    if (!distances) goto failed;
    uint64_t *id = PyArray_DATA((PyArrayObject *)ids);
    float *distance = PyArray_DATA((PyArrayObject *)distances);
    call->poll.saved = PyEval_SaveThread();
    const kith_status status =
        kith_search(call->handle->index, q, k, &call->options, call->scratch, id, distance, &call->error);
    if (status == KITH_OK && radius) cut(id, distance, q->count, k, *radius);
    PyEval_RestoreThread(call->poll.saved);
    if (!call_done(call, status)) goto failed;
    if (call->handle->id_kind != KITH_ID_STRING) return kpy_result_make(ids, distances, NULL, &call->explain);
    strings = kpy_string_ids(call->handle, (PyArrayObject *)ids);
    if (strings) return kpy_result_make(strings, distances, ids, &call->explain);
failed:
    Py_XDECREF(ids);
    Py_XDECREF(distances);
    return NULL;
}

PyObject *kpy_index_search(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const int places[] = {Q, K};
    PyObject *values[ARGUMENTS] = {0};
    struct call call = {0};
    float radius;
    size_t k;
    if (!parse("search", ~0u, places, 2, args, count, names, values)) return NULL;
    if (!parse_k(values[K], &k)) return NULL;
    const bool within = given(values[RADIUS]);
    if (within && !parse_radius(values[RADIUS], &radius)) return NULL;
    PyObject *found = call_begin(self, values, &call) ? run_search(&call, k, within ? &radius : NULL) : NULL;
    call_end(&call);
    return found;
}

/* ---- range_search ------------------------------------------------------------------------------------------------ */

static PyObject *copy_out(const void *from, size_t count, int type, size_t size) {
    npy_intp length = (npy_intp)count;
    PyObject *array = PyArray_SimpleNew(1, &length, type);
    if (array && count) memcpy(PyArray_DATA((PyArrayObject *)array), from, count * size);
    return array;
}

/* (offsets, ids, distances, rows or None, explain) */
static PyObject *copy_ranges(const struct call *call, const kith_ranges *ranges) {
    const size_t found = (size_t)ranges->offsets[ranges->queries];
    PyObject *offsets = copy_out(ranges->offsets, ranges->queries + 1, NPY_INT64, sizeof(uint64_t));
    PyObject *ids = copy_out(ranges->ids, found, call->handle->wide ? NPY_UINT64 : NPY_INT64, sizeof(uint64_t));
    PyObject *distances = copy_out(ranges->distances, found, NPY_FLOAT, sizeof(float));
    PyObject *rows = Py_None, *explain = kpy_explain_dict(&call->explain);
    Py_INCREF(rows);
    if (ids && call->handle->id_kind == KITH_ID_STRING) {
        Py_DECREF(rows);
        rows = ids;
        ids = kpy_string_ids(call->handle, (PyArrayObject *)rows);
    }
    PyObject *tuple =
        offsets && ids && distances && explain ? PyTuple_Pack(5, offsets, ids, distances, rows, explain) : NULL;
    Py_XDECREF(offsets);
    Py_XDECREF(ids);
    Py_XDECREF(distances);
    Py_XDECREF(rows);
    Py_XDECREF(explain);
    return tuple;
}

PyObject *kpy_index_range(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const int places[] = {Q, RADIUS};
    PyObject *values[ARGUMENTS] = {0}, *found = NULL;
    struct call call = {0};
    kith_ranges ranges = {0};
    float radius;
    const unsigned taken = 1u << Q | 1u << RADIUS | 1u << ALLOW | 1u << PLAN | 1u << THREADS | 1u << TIMEOUT;
    if (!parse("range_search", taken, places, 2, args, count, names, values)) return NULL;
    if (!parse_radius(values[RADIUS], &radius)) return NULL;
    if (call_begin(self, values, &call)) {
        call.poll.saved = PyEval_SaveThread();
        const kith_status status = kith_search_range(call.handle->index, &call.rows.q, radius, &call.options,
                                                     call.scratch, &ranges, &call.error);
        PyEval_RestoreThread(call.poll.saved);
        if (call_done(&call, status)) found = copy_ranges(&call, &ranges);
    }
    call_end(&call);
    return found;
}
