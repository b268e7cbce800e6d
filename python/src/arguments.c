/* SPDX-License-Identifier: Apache-2.0
 *
 * The arguments of searches: from what Python hands over to values by place, and from those to the library's options.
 * A search of one query takes less than a microsecond, so keywords are compared by address first. */
#include "src/kithpy.h"

#include <math.h>

static const char *const argument_names[KPY_ARGUMENTS] = {"Q",      "k",       "exact",  "target_recall", "allow",
                                                          "deny",   "plan",    "nprobe", "rerank",        "scan_code",
                                                          "effort", "threads", "radius", "timeout"};
static PyObject *interned[KPY_ARGUMENTS];

bool kpy_arguments_init(void) {
    for (int i = 0; i < KPY_ARGUMENTS; i++)
        if (!(interned[i] = PyUnicode_InternFromString(argument_names[i]))) return false;
    return true;
}

static int find_argument(PyObject *name) {
    for (int i = 0; i < KPY_ARGUMENTS; i++)
        if (interned[i] == name) return i;
    for (int i = 0; i < KPY_ARGUMENTS; i++)
        if (PyUnicode_Compare(interned[i], name) == 0) return i;
    return KPY_ARGUMENTS;
}

bool kpy_take_arguments(const kpy_signature *of, PyObject *const *args, Py_ssize_t count, PyObject *names,
                        PyObject **values) {
    if (count > of->most) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments by place, %zd were given: the others need their names",
                     of->function, of->most, count);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) values[of->places[i]] = args[i];
    const Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        const int at = find_argument(name);
        if (at == KPY_ARGUMENTS || !(of->taken & 1u << at)) {
            PyErr_Format(PyExc_TypeError, "%s() has no argument %R", of->function, name);
            return false;
        }
        if (values[at]) {
            PyErr_Format(PyExc_TypeError, "%s() was given %R twice", of->function, name);
            return false;
        }
        values[at] = args[count + i];
    }
    for (Py_ssize_t i = 0; i < of->most; i++)
        if ((of->places[i] == KPY_Q || of->places[i] == KPY_RADIUS) && !values[of->places[i]]) {
            PyErr_Format(PyExc_TypeError, "%s() needs its argument '%s'", of->function, argument_names[of->places[i]]);
            return false;
        }
    return true;
}

bool kpy_given(PyObject *value) {
    return value && value != Py_None;
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

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

bool kpy_parse_k(PyObject *value, size_t *k) {
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

bool kpy_parse_radius(PyObject *value, float *radius) {
    double number;
    if (!parse_number(value, "radius", &number)) return false;
    if (isnan(number)) {
        kpy_raise(KITH_E_ARG, "radius is not a number");
        return false;
    }
    *radius = (float)number;
    return true;
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

/* ---- Options ----------------------------------------------------------------------------------------------------- */

static bool is_approximate(kith_plan plan) {
    return plan >= KITH_PLAN_IVF && plan != KITH_PLAN_DEVICE;
}

/* How much plans look at that have an effort. */
static bool parse_effort(PyObject **values, kith_search_options *options) {
    if (!kpy_given(values[KPY_EFFORT])) return true;
    if (kpy_given(values[KPY_TARGET])) {
        kpy_raise(KITH_E_ARG, "effort and target_recall cannot both be given: a target recall chooses the effort");
        return false;
    }
    if (options->plan != KITH_PLAN_GRAPH && options->plan != KITH_PLAN_HNSW && options->plan != KITH_PLAN_LSH) {
        kpy_raise(KITH_E_ARG, "effort belongs to the plans 'graph', 'hnsw' and 'lsh': one of them must be named");
        return false;
    }
    return parse_count(values[KPY_EFFORT], "effort", &options->effort);
}

/* Parameters of the plan ivf, which they imply; rerank those of the other approximate plans too. */
static bool parse_lists(PyObject **values, kith_search_options *options) {
    const bool lists = kpy_given(values[KPY_NPROBE]) || kpy_given(values[KPY_CODE]);
    if (!lists && !kpy_given(values[KPY_RERANK])) return true;
    if (kpy_given(values[KPY_NPROBE]) && kpy_given(values[KPY_TARGET])) {
        kpy_raise(KITH_E_ARG, "nprobe and target_recall cannot both be given: a target recall chooses nprobe");
        return false;
    }
    if (!kpy_given(values[KPY_PLAN])) options->plan = KITH_PLAN_IVF;
    if (lists && options->plan != KITH_PLAN_IVF) {
        kpy_raise(KITH_E_ARG, "nprobe and scan_code belong to plan 'ivf', not to %R", values[KPY_PLAN]);
        return false;
    }
    if (!is_approximate(options->plan)) {
        kpy_raise(KITH_E_ARG, "rerank belongs to plans that are approximate, not to %R", values[KPY_PLAN]);
        return false;
    }
    if (kpy_given(values[KPY_NPROBE]) && !parse_count(values[KPY_NPROBE], "nprobe", &options->nprobe)) return false;
    if (kpy_given(values[KPY_RERANK]) && !parse_count(values[KPY_RERANK], "rerank", &options->rerank)) return false;
    return !kpy_given(values[KPY_CODE]) || kpy_parse_code(values[KPY_CODE], &options->code);
}

/* What is promised. options->plan is known. */
static bool check_promise(const kpy_handle *handle, PyObject *exact, PyObject *target, kith_search_options *options) {
    if (kpy_given(target)) {
        double recall;
        if (!parse_number(target, "target_recall", &recall)) return false;
        if (!(recall > 0 && recall <= 1)) {
            kpy_raise(KITH_E_ARG, "target_recall is %S, it must be above 0 and at most 1", target);
            return false;
        }
        options->target_recall = recall;
    }
    const int must = kpy_given(exact) ? PyObject_IsTrue(exact) : 0;
    if (must < 0) return false;
    if (must && kpy_given(target)) {
        kpy_raise(KITH_E_ARG, "exact=True and target_recall cannot both be given");
        return false;
    }
    if (must && is_approximate(options->plan)) {
        kpy_raise(KITH_E_ARG, "exact=True and plan '%s', which is approximate, cannot both be given",
                  kith_plan_name(options->plan));
        return false;
    }
    if (handle->has_originals || (!must && !kpy_given(target))) return true;
    kpy_raise(KITH_E_UNSUPPORTED,
              "the index was built without originals: it gives estimates, and %s cannot be promised",
              must ? "exact answers" : "a recall");
    return false;
}

bool kpy_parse_wishes(const kpy_handle *handle, PyObject **values, kith_search_options *options) {
    if (kpy_given(values[KPY_PLAN]) && !kpy_parse_plan(values[KPY_PLAN], &options->plan)) return false;
    if (!parse_lists(values, options) || !parse_effort(values, options)) return false;
    if ((values[KPY_EXACT] || values[KPY_TARGET]) &&
        !check_promise(handle, values[KPY_EXACT], values[KPY_TARGET], options))
        return false;
    return !kpy_given(values[KPY_TIMEOUT]) || parse_timeout(values[KPY_TIMEOUT], &options->timeout_ns);
}

PyObject *kpy_parse_filter(PyObject *index, PyObject **values) {
    PyObject *allow = kpy_given(values[KPY_ALLOW]) ? values[KPY_ALLOW] : Py_None;
    PyObject *deny = kpy_given(values[KPY_DENY]) ? values[KPY_DENY] : Py_None;
    if (deny == Py_None && PyObject_TypeCheck(allow, kpy_filter_type)) {
        Py_INCREF(allow);
        return allow;
    }
    PyObject *filter = PyObject_CallFunctionObjArgs(kpy_hooks.to_filter, index, allow, deny, NULL);
    if (!filter || PyObject_TypeCheck(filter, kpy_filter_type)) return filter;
    Py_DECREF(filter);
    PyErr_SetString(PyExc_TypeError, "allow and deny could not be made into a Filter");
    return NULL;
}
