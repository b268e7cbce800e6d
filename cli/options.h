/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of every command, in one table. Parsing, `kith help`, the man page and the completions of the shells all
 * read this table, so none of them can fall behind another.
 *
 * Invariants
 *   O1  An option name may stand in several rows (its help differs by command), but their command masks are disjoint.
 *   O2  A value that reaches a command has been checked: numbers lie within their row's limits, words are in its list.
 *   O3  Values borrow argv; nothing is allocated. */
#ifndef KITH_CLI_OPTIONS_H
#define KITH_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum command_id {
    COMMAND_BUILD,
    COMMAND_SEARCH,
    COMMAND_JOIN,
    COMMAND_TUNE,
    COMMAND_INFO,
    COMMAND_VERIFY,
    COMMAND_CONVERT,
    COMMAND_BENCH,
    COMMAND_CREATE,
    COMMAND_DECLARE,
    COMMAND_ADD,
    COMMAND_LOAD,
    COMMAND_GET,
    COMMAND_DELETE,
    COMMAND_QUERY,
    COMMAND_PROFILE,
    COMMAND_GENERATION,
    COMMAND_FLIP,
    COMMAND_TOP,
    COMMAND_SNAPSHOT,
    COMMAND_RESTORE,
    COMMAND_COMPACT,
    COMMAND_REPAIR,
    COMMAND_SERVE,
    COMMAND_KEY,
    COMMAND_AUTOSCALE,
    COMMAND_DEMO,
    COMMAND_CPU,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMANDS
};

enum option_id {
    OPTION_OUTPUT,
    OPTION_FORMAT,
    OPTION_TO,
    OPTION_METRIC,
    OPTION_DTYPE,
    OPTION_ORIGINALS,
    OPTION_FIRST_LEVEL,
    OPTION_LISTS,
    OPTION_CODE,
    OPTION_INDEX,
    OPTION_NO_GRAPH,
    OPTION_GRAPH_DEGREE,
    OPTION_GRAPH_BITS,
    OPTION_LEAN,
    OPTION_HNSW_M,
    OPTION_HNSW_EF,
    OPTION_LINKS,
    OPTION_LSH_TABLES,
    OPTION_LSH_FUNCTIONS,
    OPTION_NO_SPILL,
    OPTION_NO_CALIBRATION,
    OPTION_MEMORY,
    OPTION_SEED,
    OPTION_IDS,
    OPTION_NAMES,
    OPTION_ID_COLUMN,
    OPTION_NAME_COLUMN,
    OPTION_VECTOR_KEY,
    OPTION_HEADER,
    OPTION_SKIP_BAD,
    OPTION_FIRST_ROW,
    OPTION_ROWS,
    OPTION_FORCE,
    OPTION_ROUND,
    OPTION_VECTORS_ONLY,
    OPTION_QUERY,
    OPTION_ID,
    OPTION_K,
    OPTION_RADIUS,
    OPTION_PLAN,
    OPTION_ALLOW,
    OPTION_DENY,
    OPTION_SELF,
    OPTION_TARGET_RECALL,
    OPTION_NPROBE,
    OPTION_RERANK,
    OPTION_EFFORT,
    OPTION_COPY,
    OPTION_DEVICE,
    OPTION_DEVICE_BYTES,
    OPTION_RESTART,
    OPTION_QUERIES,
    OPTION_COUNT,
    OPTION_TIMEOUT,
    OPTION_EXPLAIN,
    OPTION_BATCH,
    OPTION_SECONDS,
    OPTION_TRUTH,
    OPTION_AGAINST,
    OPTION_SVG,
    OPTION_DATA,
    OPTION_DIM,
    OPTION_VECTORS,
    OPTION_VECTOR,
    OPTION_FIELDS,
    OPTION_SEGMENT_FIELD,
    OPTION_STRING_IDS,
    OPTION_MODEL,
    OPTION_MODE,
    OPTION_PAYLOADS,
    OPTION_RESUME,
    OPTION_RELAXED,
    OPTION_WHERE,
    OPTION_SEGMENT,
    OPTION_LIMIT,
    OPTION_COUNT_ONLY,
    OPTION_WITH_VECTORS,
    OPTION_PROFILE,
    OPTION_BLEND,
    OPTION_DIVERSITY,
    OPTION_WITH_SEEN,
    OPTION_LIKE,
    OPTION_DISLIKE,
    OPTION_VIEW,
    OPTION_SHOWN,
    OPTION_INTERESTS,
    OPTION_HALF_LIFE,
    OPTION_THRESHOLD,
    OPTION_REBUILD,
    OPTION_FORGET,
    OPTION_GENERATION,
    OPTION_USER,
    OPTION_SHARE,
    OPTION_SAMPLE,
    OPTION_LACKING,
    OPTION_MIN_SHARE,
    OPTION_MIN_RECALL,
    OPTION_MIN_OVERLAP,
    OPTION_BACK,
    OPTION_ADDRESS,
    OPTION_PORT,
    OPTION_LOOPS,
    OPTION_WORKERS,
    OPTION_KEYS,
    OPTION_TLS_CERT,
    OPTION_TLS_KEY,
    OPTION_INSECURE,
    OPTION_READ_ONLY,
    OPTION_CREATE,
    OPTION_DURABILITY,
    OPTION_CACHE,
    OPTION_RESIDENT,
    OPTION_BODY_MAX,
    OPTION_CONNECTIONS_MAX,
    OPTION_BUDGET,
    OPTION_RECALL_SHARE,
    OPTION_DRAIN,
    OPTION_UNCONFINED,
    OPTION_LOG,
    OPTION_LOG_LEVEL,
    OPTION_ROLE,
    OPTION_COLLECTION,
    OPTION_BACKENDS,
    OPTION_BACKENDS_FILE,
    OPTION_WRITE_TO,
    OPTION_POLICY,
    OPTION_RETRIES,
    OPTION_HEDGES,
    OPTION_SIMULATE,
    OPTION_MIN,
    OPTION_MAX,
    OPTION_BUSY,
    OPTION_P99,
    OPTION_QUEUE,
    OPTION_STEADY,
    OPTION_INTERVAL,
    OPTION_TIMES,
    OPTION_SERVICE_TIME,
    OPTION_SERVER_THREADS,
    OPTION_START_UP,
    OPTION_FIXED,
    OPTION_THREADS,
    OPTION_JSON,
    OPTION_JSON_FILE, /* bench: --json FILE */
    OPTION_MAN,
    OPTION_COMPLETION,
    OPTION_QUIET,
    OPTION_KEY_FILE,
    OPTION_CA,
    OPTION_COLOR,
    OPTION_HELP,
    OPTIONS
};

enum option_kind {
    OPTION_KIND_FLAG,
    OPTION_KIND_TEXT,
    OPTION_KIND_FILE,
    OPTION_KIND_FOLDER,
    OPTION_KIND_NUMBER,   /* decimal, minimum..maximum; or one of the row's words, where it has any */
    OPTION_KIND_NUMBERS,  /* decimal numbers separated by commas, each minimum..maximum */
    OPTION_KIND_SIZE,     /* bytes: K, M, G, T are powers of 1024 */
    OPTION_KIND_DURATION, /* nanoseconds: ns, us, ms, s, m, h, d; a bare number is refused */
    OPTION_KIND_REAL,
    OPTION_KIND_WORD
};

/* One word that an option takes, and the number that the command sees. */
struct option_word {
    const char *word;
    uint64_t value;
};

struct option {
    enum option_id id;
    enum option_kind kind;
    bool hidden;                     /* not in the help, the man page and the completions */
    char letter;                     /* 0: none */
    const char *name;                /* without the dashes */
    const char *argument;            /* what the help calls the value; NULL for flags */
    const struct option_word *words; /* of OPTION_KIND_WORD, and beside numbers: ends in a NULL word */
    uint64_t minimum, maximum;
    unsigned commands; /* bit 1 << command_id */
    const char *help;  /* no full stop at the end */
};

struct option_value {
    bool given;
    const char *text;
    uint64_t number;
    double real;
};

#define OPERANDS_MAX       1024
#define OPTION_NUMBERS_MAX 32

struct arguments {
    enum command_id command;
    const char *operands[OPERANDS_MAX];
    size_t operand_count;
    struct option_value values[OPTIONS];
};

extern const struct option option_table[];
extern const size_t option_table_count;
/* Ask the library for the names of plans and codes, which are words of options: once, before the table is used. */
void options_fill(void);

/* The row of an option for a command; NULL when the command does not take it. */
const struct option *option_find(enum command_id command, const char *name, size_t name_bytes);
const struct option *option_find_letter(enum command_id command, char letter);

/* Parse what follows the command's name. Returns 0 or, after a sentence on stderr, an exit code. --help is noticed
 * before operands are counted: the caller looks at option_given(arguments, OPTION_HELP) first. */
int options_parse(enum command_id command, int argc, char **argv, struct arguments *arguments);

/* What a command asks. The defaults are the caller's. */
bool option_given(const struct arguments *arguments, enum option_id id);
const char *option_text(const struct arguments *arguments, enum option_id id, const char *otherwise);
uint64_t option_number(const struct arguments *arguments, enum option_id id, uint64_t otherwise);
double option_real(const struct arguments *arguments, enum option_id id, double otherwise);
/* Numbers of a list, at most OPTION_NUMBERS_MAX; 0 when the option was not given. */
size_t option_numbers(const struct arguments *arguments, enum option_id id, uint64_t numbers[OPTION_NUMBERS_MAX]);

/* The whole text as a number, size, duration or real. False when it is none. */
bool parse_number(const char *text, size_t bytes, uint64_t *number);
bool parse_size(const char *text, uint64_t *bytes);
bool parse_duration(const char *text, uint64_t *nanoseconds);
bool parse_real(const char *text, double *real);

#endif
