/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands of kith, their table, their exit codes, and what they share: how errors are told, how an interrupt is
 * noticed, how a result file comes into being.
 *
 * A command gets arguments that were checked (options.h) and returns an exit code. It has said why on stderr if that is
 * not EXIT_OK. What it prints on stdout is flushed and checked by main. */
#ifndef KITH_CLI_COMMAND_H
#define KITH_CLI_COMMAND_H

#include <stdio.h>

#include "kith.h"
#include "options.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_OTHER = 1,         /* out of memory, or a mistake of ours */
    EXIT_USAGE = 2,         /* the command line is not understood */
    EXIT_INPUT = 3,         /* an input file or a value in it is refused */
    EXIT_INDEX = 4,         /* an index file is damaged or too new */
    EXIT_ABSENT = 5,        /* no such file, id or name */
    EXIT_STORAGE = 6,       /* the system refused a file operation, or the disk is full */
    EXIT_STOPPED = 7,       /* the time was up */
    EXIT_INTERRUPTED = 130, /* SIGINT */
    EXIT_TERMINATED = 143,  /* SIGTERM */
    EXIT_BROKEN = 200       /* stdout is broken: never leaves the program, main finds out why */
};

struct command_example {
    const char *line, *meaning;
};

struct command {
    enum command_id id;
    const char *name;
    const char *operands; /* as the synopsis shows them */
    size_t operands_min, operands_max;
    const char *summary;                /* one line, no full stop */
    const char *description;            /* paragraphs, separated by an empty line */
    struct command_example examples[5]; /* ends in a NULL line, or full */
    int (*run)(const struct arguments *arguments);
};

extern const struct command command_table[COMMANDS];

int command_build(const struct arguments *arguments);
int command_search(const struct arguments *arguments);
int command_join(const struct arguments *arguments);
int command_tune(const struct arguments *arguments);
int command_info(const struct arguments *arguments);
int command_verify(const struct arguments *arguments);
int command_convert(const struct arguments *arguments);
int command_bench(const struct arguments *arguments);
int command_create(const struct arguments *arguments);
int command_declare(const struct arguments *arguments);
int command_add(const struct arguments *arguments);
int command_load(const struct arguments *arguments);
int command_get(const struct arguments *arguments);
int command_delete(const struct arguments *arguments);
int command_query(const struct arguments *arguments);
int command_profile(const struct arguments *arguments);
int command_generation(const struct arguments *arguments);
int command_flip(const struct arguments *arguments);
int command_top(const struct arguments *arguments);
int command_snapshot(const struct arguments *arguments);
int command_restore(const struct arguments *arguments);
int command_compact(const struct arguments *arguments);
int command_repair(const struct arguments *arguments);
int command_serve(const struct arguments *arguments);
int command_key(const struct arguments *arguments);
int command_autoscale(const struct arguments *arguments);
int command_demo(const struct arguments *arguments);
int command_cpu(const struct arguments *arguments);
int command_help(const struct arguments *arguments);
int command_version(const struct arguments *arguments);

/* NULL for an unknown name. */
const struct command *command_find(const char *name);

/* "kith: <sentence>" on stderr; return the exit code that belongs to it. */
int fail(int exit_code, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fail_status(kith_status status, const kith_error *error);
/* Like fail(EXIT_USAGE), and names the help page of the command. */
int fail_usage(enum command_id command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "kith: note: <sentence>" on stderr: worth knowing, no failure. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* SIGINT and SIGTERM set a flag that long work polls; the second SIGINT kills as usual. interrupt_asked() fits the
 * cancelled callback of searches; its context is unused. */
void interrupt_install(void);
int interrupt_asked(void *context);
/* EXIT_INTERRUPTED or EXIT_TERMINATED after a signal, EXIT_STOPPED without. */
int interrupt_exit_code(void);

/* A small file that appears under its name whole or not at all. */
struct result_file {
    FILE *stream;
    char *path, *temporary;
};
int result_file_open(struct result_file *file, const char *path);
/* Write out, sync, rename. On failure nothing is left behind. */
int result_file_commit(struct result_file *file);
void result_file_discard(struct result_file *file); /* fine after commit, and on a zeroed struct */

/* Refuse to put a file in place of a device, folder or socket: a rename would destroy it. 0 or an exit code. */
int output_check(const char *path);

/* What an output is, for output_replace(). */
enum output_kind {
    OUTPUT_INDEX,
    OUTPUT_VECTORS,    /* of a format, or of the one of the suffix (KITH_FORMAT_AUTO) */
    OUTPUT_SIGNED_IDS, /* .npy of <i8, as search writes them */
    OUTPUT_IDS,        /* .npy of <u8, as join does */
    OUTPUT_DISTANCES,  /* .npy of <f4 */
    OUTPUT_JSON,
    OUTPUT_SVG,
    OUTPUT_HTML
};

/* Refuse to replace what is read, and without --force what is no file of this kind. 0 or an exit code. */
int output_replace(const struct arguments *arguments, const char *path, enum output_kind kind, kith_format format);

/* Nanoseconds of a clock that only goes forward. */
uint64_t now_ns(void);

#endif
