/* SPDX-License-Identifier: Apache-2.0
 *
 * Good index files with a few words changed and all checksums made right again. The files are built when the target
 * starts: lists with each kind of second code, supers, a calibration, whole numbers, a first level, no originals.
 *
 * An input is a byte that picks the file, one that varies the searches, and edits of eight bytes: what (a part by its
 * place, the header, the section table), how, u16 where, u32 value. So an input is small, and each of its bytes means
 * something.
 *
 * KITH_FUZZ_SEEDS=FOLDER: write the files there and leave: tests/fuzz/corpus/index has some of them. */
#define _GNU_SOURCE
#include "../support/amend.h"
#include "fuzz_index.h"

#include "base/rng.h"

enum { ROWS = 90, DIM = 8, WIDE = 48, BASES = 15, EDIT_BYTES = 8, EDITS_MAX = 16, PATH_BYTES = 300, LEAN = -1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *count, char ***arguments);

static const struct kind {
    const char *name, *code;
    kith_metric metric;
    kith_dtype dtype;
    kith_originals originals;
    kith_first_level first_level;
    size_t lists;
    int supers, calibrated;
    int graph; /* bits of its edges' codes; LEAN; 0: none */
} kinds[BASES] = {
    {"lists", NULL, KITH_L2SQ, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 6, 0, 0, 0},
    {"lists_supers", NULL, KITH_IP, KITH_F16, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 40, 3, 1, 0},
    {"lists_pq4", "pq:4x4", KITH_L2SQ, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 6, 0, 1, 0},
    {"lists_pq8", "pq:2x8", KITH_COSINE, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 5, 0, 1, 0},
    {"lists_opq", "opq:2x4", KITH_IP, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 6, 2, 1, 0},
    {"lists_rabitq1", "rabitq:1", KITH_COSINE, KITH_BF16, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 17, 0, 1, 0},
    {"lists_rabitq4", "rabitq:4", KITH_L2SQ, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 6, 0, 1, 0},
    {"lists_rabitq8", "rabitq:8", KITH_IP, KITH_F32, KITH_ORIGINALS_NONE, KITH_FIRST_LEVEL_NONE, 6, 0, 1, 0},
    {"lists_whole", "pq:8x8", KITH_L2SQ, KITH_U8, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 6, 0, 1, 0},
    {"lists_level1", "rabitq:3", KITH_L2SQ, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_ON, 20, 0, 1, 0},
    {"one_list", NULL, KITH_L2SQ, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_ON, 1, 0, 1, 0},
    {"one_list_bits", NULL, KITH_JACCARD, KITH_B1, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 1, 0, 0, 0},
    {"graph1", NULL, KITH_L2SQ, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 1, 0, 0, 1},
    {"graph4", NULL, KITH_IP, KITH_U8, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 4, 0, 0, 4},
    {"graph_lean", NULL, KITH_COSINE, KITH_F32, KITH_ORIGINALS_KEEP, KITH_FIRST_LEVEL_NONE, 1, 0, 0, LEAN}};

static struct {
    uint8_t *data;
    size_t bytes;
} base[BASES];

/* What seldom comes by chance. */
static const uint32_t strange[] = {0,          1,          15,         16,         17,         0x7fffffff,
                                   0x80000000, 0xffffffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff,
                                   0xff7fffff, 1,          0x5f000000, 0xdf000000, 0x3f800000, 0xbf800000};

/* ---- Making the files -------------------------------------------------------------------------------------------- */

static void need(kith_status status, const kith_error *error) {
    if (status == KITH_OK) return;
    fprintf(stderr, "fuzz_edits: %s\n", error->text);
    abort();
}

/* Two settings of each code that the index has or lacks. */
static void add_calibration(const char *path) {
    kith_tuned settings[2 * (KITH_SCAN_FIRST + 1)] = {{0}};
    size_t count = 0;
    kith_error error;
    for (int code = KITH_SCAN_AUTO; code <= KITH_SCAN_FIRST; code++)
        for (size_t batch = 1; batch <= 64; batch += 63)
            settings[count++] = (kith_tuned){.plan = KITH_PLAN_IVF,
                                             .code = (kith_scan_code)code,
                                             .k = 10,
                                             .batch = batch,
                                             .nprobe = 2,
                                             .rerank = 20,
                                             .recall = 0.9,
                                             .recall_error = 0.01,
                                             .query_ns = 1000 + code};
    const ki_calibration calibration = {
        .settings = settings, .count = count, .queries = 50, .unusual_below = -1, .median = 1};
    uint8_t *bytes = malloc(ki_calibration_bytes(count));
    if (!bytes) abort();
    ki_calibration_encode(&calibration, bytes);
    need(amend_file(path, KI_PART_CALIBRATION, bytes, ki_calibration_bytes(count), count, &error), &error);
    free(bytes);
}

/* Lists of lists, which builds make only of many lists. */
static void add_supers(const char *path, const struct kind *kind) {
    uint32_t table[16 + 16 * DIM] = {0};
    const size_t supers = (size_t)kind->supers;
    kith_error error;
    table[0] = (uint32_t)supers;
    for (size_t s = 1; s <= supers; s++) table[s] = (uint32_t)(kind->lists * s / supers);
    need(amend_file(path, KI_PART_SUPERS, table, 64 + supers * DIM * sizeof(float), supers, &error), &error);
}

static void build(const char *path, const struct kind *kind) {
    static uint8_t rows[ROWS * WIDE * 4];
    ki_rng rng = {7};
    kith_error error;
    kith_reader *reader = NULL;
    float *floats = (float *)(void *)rows;
    const size_t dim = kind->first_level == KITH_FIRST_LEVEL_ON ? WIDE : DIM; /* narrow vectors have none */
    const int bytes = kind->dtype == KITH_U8 || kind->dtype == KITH_B1;
    for (size_t i = 0; i < ROWS * dim; i++) {
        const uint32_t value = (uint32_t)ki_rng_below(&rng, 200);
        if (bytes)
            rows[i] = (uint8_t)value;
        else
            floats[i] = (float)value / 16 - 5 + (float)(i / dim % 5);
    }
    need(kith_reader_from_memory(rows, bytes ? kind->dtype : KITH_F32, ROWS, kind->dtype == KITH_B1 ? 8 * dim : dim, 0,
                                 NULL, &reader, &error),
         &error);
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = kind->metric;
    options.dtype = kind->dtype;
    options.originals = kind->originals;
    options.first_level = kind->first_level;
    options.lists = kind->lists;
    options.code = kind->code;
    options.no_calibration = 1;
    options.index = kind->graph ? KITH_INDEX_GRAPH : KITH_INDEX_AUTO;
    options.graph_bits = kind->graph > 0 ? (unsigned)kind->graph : 0;
    options.graph_lean = kind->graph == LEAN;
    options.threads = 1;
    need(kith_build(reader, path, &options, NULL, &error), &error);
    kith_reader_close(reader);
    if (kind->supers) add_supers(path, kind);
    if (kind->calibrated) add_calibration(path);
}

static void take_file(const char *path, size_t b) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) abort();
    base[b].bytes = (size_t)ftell(file);
    base[b].data = malloc(base[b].bytes);
    rewind(file);
    if (!base[b].data || fread(base[b].data, 1, base[b].bytes, file) != base[b].bytes) abort();
    fclose(file);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    const char *tmp = getenv("TMPDIR"), *seeds = getenv("KITH_FUZZ_SEEDS");
    char folder[PATH_BYTES / 2], path[PATH_BYTES];
    (void)count, (void)arguments;
    snprintf(folder, sizeof(folder), "%s/kith-fuzz-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (seeds) snprintf(folder, sizeof(folder), "%s", seeds);
    if (!seeds && !mkdtemp(folder)) abort();
    for (size_t b = 0; b < BASES; b++) {
        snprintf(path, sizeof(path), "%s/%s", folder, kinds[b].name);
        build(path, &kinds[b]);
        take_file(path, b);
        fuzz_try_index(path, (unsigned)b);
        if (!seeds) unlink(path);
    }
    if (seeds) exit(0);
    rmdir(folder);
    return 0;
}

/* ---- Changing them ----------------------------------------------------------------------------------------------- */

/* One edit of `bytes` bytes, which are not hashed yet. */
static void change(uint8_t *at, size_t bytes, unsigned how, size_t where, uint32_t value) {
    const size_t words = bytes / sizeof(value);
    if (how & 128) value = strange[value % (sizeof(strange) / sizeof(*strange))];
    if (!words) return;
    size_t first = where % words, last = first + 1;
    if (how % 4 == 1) at[where % bytes] = (uint8_t)value;
    if (how % 4 == 1) return;
    if (how % 4 == 2) first = 0, last = words;
    if (how % 4 == 3) last = first + 16 < words ? first + 16 : words;
    for (size_t i = first; i < last; i++) memcpy(at + i * sizeof(value), &value, sizeof(value));
}

/* An edit of a part, the heads of sections among them, of the header or of the section table; places are those of the
 * good file. */
static void apply(uint8_t *file, const ki_layout *layout, const uint8_t *edit) {
    const size_t where = edit[2] | (size_t)edit[3] << 8;
    const size_t what = edit[0] % (layout->parts + 2);
    uint32_t value;
    memcpy(&value, edit + 4, sizeof(value));
    if (what == layout->parts) { /* its numbers, not all at once */
        change(file + 16, offsetof(ki_header, reserved) - 16, edit[1] & 0xfd, where % 64, value);
    } else if (what == layout->parts + 1) {
        change(file + KI_HEADER_BYTES, layout->sections * sizeof(ki_section_entry), edit[1] & 0xfd, where, value);
    } else {
        change(file + layout->part[what].offset, (size_t)layout->part[what].bytes, edit[1], where, value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 2) return 0;
    const size_t b = data[0] % BASES;
    ki_layout layout;
    uint8_t *copy = aligned_alloc(KI_HEADER_BYTES, base[b].bytes);
    if (!copy) return 0;
    memcpy(copy, base[b].data, base[b].bytes);
    if (reseal_layout(base[b].data, base[b].bytes, &layout) != KITH_OK) abort();
    for (size_t i = 2, edits = 0; i + EDIT_BYTES <= bytes && edits < EDITS_MAX; i += EDIT_BYTES, edits++)
        apply(copy, &layout, data + i);
    ki_layout_free(&layout);
    fuzz_reseal(copy, base[b].bytes);
    fuzz_try_index(fuzz_file(copy, base[b].bytes), data[1]);
    free(copy);
    return 0;
}
