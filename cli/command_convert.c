/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith convert`: rows stream from a reader through values.h, where the type changes, into a writer.
 *
 * Standard output is written when all of it is known to be good: what goes there is a file in a folder of its own
 * first, so that a pipe gets everything or nothing, as a file would. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "command.h"
#include "json.h"
#include "progress.h"
#include "source.h"
#include "terminal.h"
#include "values.h"

#define PORTION_BYTES ((size_t)1 << 20) /* of floats at a time; bounds memory for rows of any length */

struct conversion {
    const struct arguments *arguments;
    const char *in, *out;
    char *folder, *made_path; /* OUT is "-": the file that is copied there, and its folder */
    kith_reader *reader;
    kith_reader_info about;
    kith_writer *writer;
    kith_dtype dtype;
    size_t portion; /* rows */
    float *floats;
    void *made; /* rows of dtype */
};

static bool to_stdout(const struct conversion *conversion) {
    return strcmp(conversion->out, "-") == 0;
}

/* Make the folder and the name of what will be copied to standard output. */
static int open_stdout(struct conversion *conversion) {
    const struct arguments *arguments = conversion->arguments;
    const kith_format format = (kith_format)option_number(arguments, OPTION_TO, KITH_FORMAT_AUTO);
    const char *base = getenv("TMPDIR");
    if (format != KITH_CSV && format != KITH_JSONL && format != KITH_NPY)
        return fail_usage(COMMAND_CONVERT, "convert to standard output needs --to csv, jsonl or npy");
    if (option_given(arguments, OPTION_JSON))
        return fail_usage(COMMAND_CONVERT, "OUT is standard output, where --json would print too");
    if (asprintf(&conversion->folder, "%s/kith-XXXXXX", base && *base ? base : "/tmp") < 0) conversion->folder = NULL;
    if (!conversion->folder) return fail(EXIT_OTHER, "out of memory");
    if (!mkdtemp(conversion->folder)) {
        const int number = errno;
        free(conversion->folder);
        conversion->folder = NULL;
        return fail(EXIT_STORAGE, "a temporary folder cannot be made: %s", strerror(number));
    }
    if (asprintf(&conversion->made_path, "%s/out", conversion->folder) < 0) conversion->made_path = NULL;
    return conversion->made_path ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static int copy_to_stdout(const struct conversion *conversion) {
    char portion[1 << 16];
    FILE *file = fopen(conversion->made_path, "re");
    if (!file) return fail(EXIT_STORAGE, "%s cannot be read: %s", conversion->made_path, strerror(errno));
    unlink(conversion->made_path);
    for (size_t got = 1; got && !ferror(stdout) && !interrupt_asked(NULL);) {
        got = fread(portion, 1, sizeof(portion), file);
        fwrite(portion, 1, got, stdout);
    }
    const bool unread = ferror(file) != 0;
    fclose(file);
    if (unread) return fail(EXIT_STORAGE, "%s cannot be read", conversion->made_path);
    if (interrupt_asked(NULL)) return fail_status(KITH_E_CANCELLED, NULL);
    return ferror(stdout) ? EXIT_BROKEN : EXIT_OK;
}

static void close_stdout_folder(struct conversion *conversion) {
    if (conversion->made_path) unlink(conversion->made_path);
    if (conversion->folder) rmdir(conversion->folder);
    free(conversion->made_path);
    free(conversion->folder);
}

/* The type that OUT's suffix stands for; the input's where it leaves the choice. */
static kith_dtype type_of_output(const char *out, kith_dtype input) {
    static const struct {
        const char *suffix;
        kith_dtype dtype;
    } known[] = {{".fvecs", KITH_F32}, {".fbin", KITH_F32}, {".bvecs", KITH_U8},
                 {".u8bin", KITH_U8},  {".i8bin", KITH_I8}, {NULL, KITH_DTYPE_NONE}};
    const char *dot = strrchr(out, '.');
    for (size_t i = 0; dot && known[i].suffix; i++)
        if (strcasecmp(dot, known[i].suffix) == 0) return known[i].dtype;
    const bool whole = dot && (strcasecmp(dot, ".ivecs") == 0 || strcasecmp(dot, ".ibin") == 0);
    return whole && (input == KITH_F16 || input == KITH_BF16) ? KITH_F32 : input;
}

static bool is_text(const struct conversion *conversion) {
    const kith_format format = (kith_format)option_number(conversion->arguments, OPTION_TO, KITH_FORMAT_AUTO);
    if (format != KITH_FORMAT_AUTO) return format == KITH_CSV || format == KITH_JSONL;
    static const char *const suffixes[] = {".csv", ".tsv", ".jsonl", ".ndjson"};
    const char *dot = strrchr(conversion->out, '.');
    for (size_t i = 0; dot && i < sizeof(suffixes) / sizeof(*suffixes); i++)
        if (strcasecmp(dot, suffixes[i]) == 0) return true;
    return false;
}

static int open_ends(struct conversion *conversion) {
    const struct arguments *arguments = conversion->arguments;
    kith_error error = {0};
    const kith_format format = (kith_format)option_number(arguments, OPTION_TO, KITH_FORMAT_AUTO);
    int failed = to_stdout(conversion) ? open_stdout(conversion)
                                       : output_replace(arguments, conversion->out, OUTPUT_VECTORS, format);
    if (failed) return failed;
    failed = source_open(arguments, conversion->in, KITH_DTYPE_NONE, &conversion->reader, &conversion->about);
    if (failed) return failed;
    const kith_reader_info *about = &conversion->about;
    const bool bare = option_given(arguments, OPTION_VECTORS_ONLY);
    conversion->dtype =
        (kith_dtype)option_number(arguments, OPTION_DTYPE, type_of_output(conversion->out, about->dtype));
    const kith_status status = kith_writer_open(
        to_stdout(conversion) ? conversion->made_path : conversion->out, format, conversion->dtype, about->dim,
        about->rows, bare ? KITH_ID_ROW : about->id_kind, bare ? 0 : about->has_names, &conversion->writer, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (about->id_kind == KITH_ID_U64 && !bare && !is_text(conversion) && !option_given(arguments, OPTION_QUIET))
        note("%s cannot hold ids: those of %s are left out", conversion->out, conversion->in);
    return EXIT_OK;
}

static int open_buffers(struct conversion *conversion) {
    const size_t dim = conversion->about.dim;
    conversion->portion = PORTION_BYTES / sizeof(float) / dim;
    if (conversion->portion == 0) conversion->portion = 1;
    if (conversion->dtype == conversion->about.dtype) return EXIT_OK;
    conversion->floats = calloc(conversion->portion * dim, sizeof(float));
    conversion->made = calloc(conversion->portion * dim, sizeof(float)); /* no type is wider */
    return conversion->floats && conversion->made ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

/* Replace the rows' data by the same values in the output's type. */
static int convert_rows(struct conversion *conversion, kith_rows *rows, uint64_t row0) {
    if (conversion->dtype == conversion->about.dtype) return EXIT_OK;
    const size_t dim = conversion->about.dim, count = rows->count * dim;
    values_to_float(conversion->about.dtype, rows->data, count, conversion->floats);
    const size_t place = values_from_float(conversion->dtype, conversion->floats, count,
                                           option_given(conversion->arguments, OPTION_ROUND), conversion->made);
    if (place == count) {
        rows->data = conversion->made;
        return EXIT_OK;
    }
    return fail(EXIT_INPUT, "%s: row %llu, element %zu is %.9g, which %s cannot hold%s", conversion->in,
                (unsigned long long)(row0 + place / dim), place % dim, (double)conversion->floats[place],
                kith_dtype_name(conversion->dtype),
                option_given(conversion->arguments, OPTION_ROUND) ? " even rounded" : " exactly; --round rounds");
}

static int convert_all(struct conversion *conversion) {
    kith_error error = {0};
    struct progress progress;
    const uint64_t row0 = option_number(conversion->arguments, OPTION_FIRST_ROW, 0);
    int failed = EXIT_OK;
    progress_start(&progress, option_given(conversion->arguments, OPTION_QUIET));
    for (uint64_t done = 0; !failed;) {
        kith_rows rows;
        kith_status status = kith_reader_next(conversion->reader, conversion->portion, &rows, &error);
        if (status == KITH_OK && rows.count == 0) break;
        if (status == KITH_OK) failed = convert_rows(conversion, &rows, row0 + done);
        if (status == KITH_OK && !failed) status = kith_writer_write(conversion->writer, &rows, &error);
        done += rows.count;
        if (status == KITH_OK && progress_step(&progress, "converting", "vectors", done, conversion->about.rows))
            status = KITH_E_CANCELLED;
        if (status != KITH_OK) {
            progress_end(&progress);
            failed = fail_status(status, &error);
        }
    }
    progress_end(&progress);
    return failed;
}

static void summary(const struct conversion *conversion) {
    char a[HUMAN_BYTES];
    const kith_reader_info *about = &conversion->about;
    if (option_given(conversion->arguments, OPTION_JSON)) {
        struct json json = JSON_LINES(stdout);
        emit_object(&json, NULL);
        emit_text(&json, "input", conversion->in);
        emit_text(&json, "output", conversion->out);
        emit_text(&json, "columns", about->columns);
        emit_uint(&json, "skipped", about->skipped);
        emit_uint(&json, "rows", about->rows);
        emit_uint(&json, "dim", about->dim);
        emit_text(&json, "dtype", kith_dtype_name(conversion->dtype));
        emit_object_end(&json);
    } else if (!option_given(conversion->arguments, OPTION_QUIET) && !to_stdout(conversion)) {
        printf("%s: %s vectors x %zu %s\n", conversion->out, human_count(a, about->rows), about->dim,
               kith_dtype_name(conversion->dtype));
    }
}

int command_convert(const struct arguments *arguments) {
    struct conversion conversion = {
        .arguments = arguments, .in = arguments->operands[0], .out = arguments->operands[1]};
    conversion.about = (kith_reader_info)KITH_READER_INFO_INIT;
    kith_error error = {0};
    int failed = open_ends(&conversion);
    if (!failed) failed = open_buffers(&conversion);
    if (!failed) failed = convert_all(&conversion);
    if (!failed) {
        const kith_status status = kith_writer_finish(conversion.writer, &error);
        conversion.writer = NULL;
        if (status != KITH_OK) failed = fail_status(status, &error);
    }
    if (!failed && to_stdout(&conversion)) failed = copy_to_stdout(&conversion);
    if (!failed) summary(&conversion);
    kith_writer_abandon(conversion.writer);
    close_stdout_folder(&conversion);
    kith_reader_close(conversion.reader);
    free(conversion.floats);
    free(conversion.made);
    return failed;
}
