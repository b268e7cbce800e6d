/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the extension kith._kith share. It sees kith.h, Python's stable interface of 3.10, and NumPy's.
 *
 * Y1. Every field here is guarded by the GIL. A call into the library that can last releases it, and holds a reference
 *     to the handle and the scratch that it uses.
 * Y2. The state is process-wide, as NumPy's is: the extension does not load into a second interpreter.
 * Y3. Arguments are checked where the user wrote them, in C or in Python; what the library refuses becomes the
 *     exception of its status, with its text (errors.c). */
#ifndef KITHPY_H
#define KITHPY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifndef KITHPY_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "kith.h"
#include <stdbool.h>

/* What Python code registers at import (module.c), looked up once. Held by object.c. */
struct kpy_hooks {
    PyObject *errors;      /* tuple of exception classes by kith_status */
    PyObject *missing_id;  /* exception class */
    PyObject *result_type; /* class of search results, a subclass of the C one */
    PyObject *to_queries;  /* function(object, bits): array that kpy_rows_view() takes as it lies */
    PyObject *to_filter;   /* function(index, allow, deny): Filter */
    PyObject *explain;     /* class made of a dict */
};
extern struct kpy_hooks kpy_hooks;

PyMODINIT_FUNC PyInit__kith(void);

/* ---- Making things (object.c) ------------------------------------------------------------------------------------ */

PyTypeObject *kpy_add_type(PyObject *module, PyType_Spec *spec);
/* A dict of values made on the way in: their references are taken, and one that is NULL (with an exception) makes
 * none. */
typedef struct kpy_entry {
    const char *name;
    PyObject *value;
} kpy_entry;
PyObject *kpy_dict(const kpy_entry *entries, size_t count);
PyObject *kpy_u64(uint64_t number);

/* ---- Errors (errors.c) ------------------------------------------------------------------------------------------- */

/* Set the exception of a status; NULL, to be returned. An exception that is set already stays. */
PyObject *kpy_fail(kith_status status, const kith_error *error);
/* The same with a text of our own, as PyErr_Format takes it. */
PyObject *kpy_raise(kith_status status, const char *format, ...);

/* ---- Waiting (errors.c) ------------------------------------------------------------------------------------------ */

/* Looks for signals while a thread works without the GIL. Only the thread that made it may use it. */
typedef struct kpy_poll {
    PyThreadState *saved;
    uint64_t next_ns; /* 0: not yet asked */
    bool raised;      /* an exception is set: the work's answer does not matter any more */
} kpy_poll;

uint64_t kpy_now_ns(void);
/* kith_search_options.cancelled: Ctrl-C at most each 50 ms. */
int kpy_poll_signals(void *poll);

/* ---- Long work (work.c) ------------------------------------------------------------------------------------------ */

/* Context of kpy_on_progress(): reports of one work. */
typedef struct kpy_watch {
    kpy_poll poll;
    PyObject *report; /* function(stage, done, total) or NULL; borrowed */
    const char *stage;
    uint64_t next_ns;
} kpy_watch;

kpy_watch kpy_watch_make(PyObject *report);                      /* None: only Ctrl-C */
int kpy_on_progress(void *watch, const kith_progress *progress); /* a kith_progress_fn */

/* An option by name; Python has made numbers of words (kith/_options.py). Text is borrowed from the dict. */
typedef struct kpy_option {
    const char *name;
    size_t offset;
    enum {
        KPY_NARROW,
        KPY_WIDE,
        KPY_REAL,
        KPY_TEXT
    } kind; /* a 32-bit enum, int or unsigned; uint64_t or size_t; double; const char * */
} kpy_option;
bool kpy_set_options(void *options, const kpy_option *table, size_t count, PyObject *dict);

/* ---- Words (words.c) --------------------------------------------------------------------------------------------- */

/* PLANS and CODES: the library's names, each at its number. All: false with an exception. */
bool kpy_words_init(PyObject *module);
bool kpy_parse_plan(PyObject *value, kith_plan *plan);
bool kpy_parse_code(PyObject *value, kith_scan_code *code);
PyObject *kpy_parse_metric(PyObject *module, PyObject *word);
PyObject *kpy_parse_dtype(PyObject *module, PyObject *word);

/* ---- Threads (handle.c) ------------------------------------------------------------------------------------------ */

/* The pool of `threads` threads, made once and kept; NULL with an exception. threads >= 2. */
kith_pool *kpy_pool(unsigned threads);
unsigned kpy_default_threads(void); /* 0 with an exception */
/* From None or a number 1..KITH_THREADS_MAX; false with an exception. */
bool kpy_parse_threads(PyObject *object, unsigned fallback, unsigned *threads);
PyObject *kpy_set_threads(PyObject *module, PyObject *count);
PyObject *kpy_get_threads(PyObject *module, PyObject *none);

/* ---- Handles (handle.c) ------------------------------------------------------------------------------------------ */

enum { KPY_IDLE = 16 };

/* An open index, shared by the Index object, its filters and running searches; the last one closes it. */
typedef struct kpy_handle {
    kith_index *index;
    size_t refs;
    uint64_t rows;
    size_t dim;
    kith_dtype dtype;
    kith_metric metric;
    kith_id_kind id_kind;
    bool has_originals, has_names;
    bool wide; /* some id is beyond int64 */
    size_t idle;
    struct {
        kith_pool *pool;
        kith_scratch *scratch;
    } idle_scratch[KPY_IDLE]; /* taken from the end: the warmest */
} kpy_handle;

kpy_handle *kpy_handle_make(kith_index *index); /* owns it, also on failure; NULL with an exception */
void kpy_handle_drop(kpy_handle *handle);       /* NULL is fine */
kith_scratch *kpy_scratch_take(kpy_handle *handle, kith_pool *pool);
void kpy_scratch_give(kpy_handle *handle, kith_pool *pool, kith_scratch *scratch);

/* ---- Arrays (array.c) -------------------------------------------------------------------------------------------- */

/* Rows of an array that the library can read as they lie. */
typedef struct kpy_rows {
    PyObject *owner; /* holds the memory; to be dropped */
    bool single;     /* the array had one axis */
    kith_queries q;
} kpy_rows;

bool kpy_array_init(void);
/* The element type as kith names it; NONE when it has none. bits: uint8 is packed bits. */
kith_dtype kpy_dtype_of(PyArrayObject *array, bool bits);
/* View rows, converting what cannot be taken as it lies. bits: uint8 is packed bits. */
bool kpy_rows_view(PyObject *object, bool bits, kpy_rows *rows);
/* Ids as u64 in a C-contiguous array; a new reference. */
PyArrayObject *kpy_ids_array(PyObject *object, const char *what);
/* One id: a number, or a string of an index with string ids. */
bool kpy_parse_id(const kpy_handle *handle, PyObject *object, uint64_t *id);
PyObject *kpy_string_id(const kpy_handle *handle, uint64_t id);
/* An object array of the strings of `rows` (int64, -1 for none), in its shape. */
PyObject *kpy_string_ids(const kpy_handle *handle, PyArrayObject *rows);

/* ---- Objects ----------------------------------------------------------------------------------------------------- */

typedef struct kpy_index {
    PyObject_HEAD kpy_handle *handle; /* NULL: closed */
} kpy_index;

typedef struct kpy_filter {
    PyObject_HEAD kpy_handle *handle;
    kith_filter *filter;
    size_t unknown;
} kpy_filter;

typedef struct kpy_reader {
    PyObject_HEAD kith_reader *reader;
    bool busy;
    void *source;    /* struct source of reader.c, or NULL */
    PyObject *keeps; /* what the reader borrows from */
} kpy_reader;

extern PyTypeObject *kpy_index_type, *kpy_filter_type, *kpy_result_type, *kpy_reader_type;
bool kpy_index_init(PyObject *module);
bool kpy_filter_init(PyObject *module);
bool kpy_result_init(PyObject *module);
bool kpy_reader_init(PyObject *module);
bool kpy_collection_init(PyObject *module);
/* The registered class of results was set: look up how to make one. */
bool kpy_result_ready(void);

/* The handle of an open Index; NULL with an exception when it is closed (handle.c). */
kpy_handle *kpy_index_handle(kpy_index *index);

/* A result that takes the references it is given, also on failure. rows: NULL without string ids. */
PyObject *kpy_result_make(PyObject *ids, PyObject *distances, PyObject *rows, const kith_explain *explain);
PyObject *kpy_explain_dict(const kith_explain *explain);

/* One work at a time reads from a reader; false with an exception when another one does. */
bool kpy_reader_take(kpy_reader *reader);
void kpy_reader_give(kpy_reader *reader); /* NULL is fine */
/* After a reader's work: the exception that its source raised in whatever thread, if any, is set in this one. */
bool kpy_reader_raised(kpy_reader *reader);
/* Whether a work succeeded; if not, an exception is set: that of its report, of its reader's source, or of its status.
 * reader: may be NULL. */
bool kpy_work_done(const kpy_watch *watch, kith_status status, const kith_error *error, kpy_reader *reader);

/* ---- Arguments of searches (arguments.c) ------------------------------------------------------------------------- */

enum {
    KPY_Q,
    KPY_K,
    KPY_EXACT,
    KPY_TARGET,
    KPY_ALLOW,
    KPY_DENY,
    KPY_PLAN,
    KPY_NPROBE,
    KPY_RERANK,
    KPY_CODE,
    KPY_EFFORT,
    KPY_THREADS,
    KPY_RADIUS,
    KPY_TIMEOUT,
    KPY_ARGUMENTS
};

/* Which arguments a function has (bits 1 << KPY_...), and which may come by place. */
typedef struct kpy_signature {
    const char *function;
    unsigned taken;
    int places[2];
    Py_ssize_t most;
} kpy_signature;

/* Whether a plan has an effort in place of lists. */
static inline bool kpy_walks(kith_plan plan) {
    return plan == KITH_PLAN_GRAPH || plan == KITH_PLAN_HNSW || plan == KITH_PLAN_LSH;
}

bool kpy_arguments_init(void);
/* values: KPY_ARGUMENTS of them, borrowed, NULL where not given. */
bool kpy_take_arguments(const kpy_signature *of, PyObject *const *args, Py_ssize_t count, PyObject *names,
                        PyObject **values);
bool kpy_given(PyObject *value); /* and not None */
bool kpy_parse_k(PyObject *value, size_t *k);
bool kpy_parse_radius(PyObject *value, float *radius);
/* Plan, lists, promises and the time that a search may take. */
bool kpy_parse_wishes(const kpy_handle *handle, PyObject **values, kith_search_options *options);
/* What allow and deny, filters or ids, leave of an index: a kpy_filter, a new reference. One of them is given. */
PyObject *kpy_parse_filter(PyObject *index, PyObject **values);

/* ---- Methods and functions --------------------------------------------------------------------------------------- */

PyObject *kpy_index_search(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *kpy_index_range(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *kpy_index_join(PyObject *self, PyObject *args);
PyObject *kpy_index_tuned(PyObject *self, PyObject *none);
PyObject *kpy_tune(PyObject *module, PyObject *args);
PyObject *kpy_build(PyObject *module, PyObject *args);
PyObject *kpy_verify(PyObject *module, PyObject *args);
PyObject *kpy_create_collection(PyObject *module, PyObject *args);
PyObject *kpy_restore_collection(PyObject *module, PyObject *args);
PyObject *kpy_verify_collection(PyObject *module, PyObject *args);
PyObject *kpy_repair_collection(PyObject *module, PyObject *args);
PyObject *kpy_pack_ids(PyObject *module, PyObject *ids);
PyObject *kpy_pack_payloads(PyObject *module, PyObject *payloads);
PyObject *kpy_pack_texts(PyObject *module, PyObject *ids);
PyObject *kpy_time_search(PyObject *module, PyObject *args);
PyObject *kpy_cpu(PyObject *module, PyObject *none);
PyObject *kpy_devices(PyObject *module, PyObject *none);
PyObject *kpy_distance(PyObject *module, PyObject *args);
PyObject *kpy_array_dtype(PyObject *module, PyObject *array);
PyObject *kpy_remake(PyObject *module, PyObject *args);
#endif
