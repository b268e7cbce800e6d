/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of options (options.h, O1). Order is the order of the help pages. */
#include "kith.h"
#include "options.h"

#include <string.h>

#define ON(command) (1u << COMMAND_##command)
#define EVERYWHERE  ((1u << COMMANDS) - 1)
#define READS_VECTORS                                                                                                  \
    (ON(BUILD) | ON(SEARCH) | ON(JOIN) | ON(TUNE) | ON(CONVERT) | ON(BENCH) | ON(ADD) | ON(LOAD) | ON(QUERY))
#define APPROXIMATES (ON(SEARCH) | ON(JOIN) | ON(BENCH))
#define NO_LIMIT     UINT64_MAX

static const struct option_word metrics[] = {
    {"l2", KITH_L2SQ},         {"ip", KITH_IP},           {"cosine", KITH_COSINE},
    {"hamming", KITH_HAMMING}, {"jaccard", KITH_JACCARD}, {NULL, 0},
};
static const struct option_word stored_types[] = {
    {"f32", KITH_F32}, {"f16", KITH_F16}, {"bf16", KITH_BF16}, {"i8", KITH_I8},
    {"u8", KITH_U8},   {"b1", KITH_B1},   {NULL, 0},
};
static const struct option_word number_types[] = {
    {"f32", KITH_F32}, {"f16", KITH_F16}, {"bf16", KITH_BF16}, {"i8", KITH_I8}, {"u8", KITH_U8}, {NULL, 0},
};
static const struct option_word formats[] = {
    {"auto", KITH_FORMAT_AUTO}, {"npy", KITH_NPY},     {"vecs", KITH_VECS}, {"bin", KITH_BIN},
    {"csv", KITH_CSV},          {"jsonl", KITH_JSONL}, {NULL, 0},
};
static const struct option_word originals[] = {
    {"keep", KITH_ORIGINALS_KEEP},
    {"none", KITH_ORIGINALS_NONE},
    {NULL, 0},
};
static const struct option_word write_modes[] = {
    {"upsert", KITH_UPSERT}, {"insert", KITH_INSERT}, {"update", KITH_UPDATE}, {"merge", KITH_MERGE}, {NULL, 0},
};
static const struct option_word load_modes[] = {{"upsert", KITH_UPSERT}, {"insert", KITH_INSERT}, {NULL, 0}};
static const struct option_word first_levels[] = {
    {"auto", KITH_FIRST_LEVEL_AUTO},
    {"none", KITH_FIRST_LEVEL_NONE},
    {"on", KITH_FIRST_LEVEL_ON},
    {NULL, 0},
};
static const struct option_word index_types[] = {
    {"auto", KITH_INDEX_AUTO}, {"flat", KITH_INDEX_FLAT}, {"ivf", KITH_INDEX_IVF}, {"graph", KITH_INDEX_GRAPH},
    {"hnsw", KITH_INDEX_HNSW}, {"lsh", KITH_INDEX_LSH},   {"pq", KITH_INDEX_PQ},   {NULL, 0},
};
static const struct option_word residents[] = {
    {"none", KITH_RESIDENT_NONE},
    {"codes", KITH_RESIDENT_CODES},
    {"all", KITH_RESIDENT_ALL},
    {NULL, 0},
};
static const struct option_word devices[] = {
    {"auto", KITH_DEVICE_AUTO},
    {"opencl", KITH_DEVICE_OPENCL},
    {"cpu", KITH_DEVICE_CPU},
    {NULL, 0},
};
static const struct option_word graph_degrees[] = {{"32", 32}, {"48", 48}, {"64", 64}, {NULL, 0}};
static const struct option_word graph_bits[] = {{"auto", 0}, {"1", 1}, {"2", 2}, {"4", 4}, {NULL, 0}};
static const struct option_word list_counts[] = {{"auto", 0}, {NULL, 0}};
/* The library's own words, which options_fill() puts here; all are zero before. */
enum { LIBRARY_WORDS = 32 };
static struct option_word plans[LIBRARY_WORDS], scan_codes[LIBRARY_WORDS];
static const struct option_word join_formats[] = {
    {"auto", KITH_JOIN_AUTO},
    {"npy", KITH_JOIN_NPY},
    {"ndjson", KITH_JOIN_NDJSON},
    {NULL, 0},
};
static const struct option_word headers[] = {
    {"auto", KITH_HEADER_AUTO}, {"yes", KITH_HEADER_YES}, {"no", KITH_HEADER_NO}, {NULL, 0}};
static const struct option_word policies[] = {{"round-robin", 0}, {"least-load", 1}, {"latency", 2}, {NULL, 0}};
static const struct option_word colors[] = {{"auto", 0}, {"always", 1}, {"never", 2}, {NULL, 0}};
static const struct option_word durabilities[] = {
    {"full", KITH_DURABILITY_FULL}, {"relaxed", KITH_DURABILITY_RELAXED}, {NULL, 0}};
static const struct option_word log_forms[] = {{"text", 0}, {"json", 1}, {NULL, 0}};
static const struct option_word log_levels[] = {{"error", 0}, {"warning", 1}, {"info", 2}, {"debug", 3}, {NULL, 0}};
static const struct option_word roles[] = {{"read", 1}, {"write", 2}, {"admin", 3}, {NULL, 0}};
static const struct option_word shells[] = {{"bash", 0}, {"zsh", 1}, {"fish", 2}, {NULL, 0}};

const struct option option_table[] = {
    {OPTION_OUTPUT, OPTION_KIND_FILE, false, 'o', "output", "FILE", NULL, 0, 0, ON(BUILD),
     "The index file to make; without it, the input's name with the suffix .kith"},
    {OPTION_OUTPUT, OPTION_KIND_FILE, false, 'o', "output", "FILE", NULL, 0, 0, ON(SEARCH),
     "Write ids to FILE (.npy or .ivecs) and distances beside it (x.npy: x.distances.npy, x.ivecs: x.distances.fvecs) "
     "instead of printing them"},
    {OPTION_OUTPUT, OPTION_KIND_FILE, false, 'o', "output", "OUT", NULL, 0, 0, ON(JOIN),
     "Where the neighbours go: OUT.ndjson, or the pair OUT.ids.npy and OUT.distances.npy"},
    {OPTION_OUTPUT, OPTION_KIND_FILE, false, 'o', "output", "PAGE.html", NULL, 0, 0, ON(DEMO),
     "The page to write (default: kith-demo.html)"},

    {OPTION_METRIC, OPTION_KIND_WORD, false, 'm', "metric", "METRIC", metrics, 0, 0, ON(BUILD) | ON(CREATE),
     "How distance is measured (default: l2, squared Euclidean; hamming for bits)"},
    {OPTION_METRIC, OPTION_KIND_WORD, false, 'm', "metric", "METRIC", metrics, 0, 0, ON(GENERATION),
     "begin: how distance is measured (default: as in the current generation)"},
    {OPTION_DTYPE, OPTION_KIND_WORD, false, 't', "dtype", "TYPE", stored_types, 0, 0, ON(BUILD),
     "Stored type of elements; f32 input may be stored as f16 or bf16, rounded; b1 takes bytes as packed bits "
     "(default: the input's)"},
    {OPTION_DTYPE, OPTION_KIND_WORD, false, 't', "dtype", "TYPE", stored_types, 0, 0, ON(CREATE),
     "Stored type of elements; what is added is rounded to f16 or bf16 (default: f32)"},
    {OPTION_DTYPE, OPTION_KIND_WORD, false, 't', "dtype", "TYPE", stored_types, 0, 0, ON(GENERATION),
     "begin: stored type of elements (default: as in the current generation)"},
    {OPTION_DTYPE, OPTION_KIND_WORD, false, 't', "dtype", "TYPE", number_types, 0, 0, ON(CONVERT),
     "Element type of the output (default: what the suffix of OUT asks for, else the input's)"},
    {OPTION_ORIGINALS, OPTION_KIND_WORD, false, 0, "originals", "WHAT", originals, 0, 0, ON(BUILD),
     "Keep the vectors themselves, for exact answers, or none of them: the file is about a quarter of the size then, "
     "and "
     "answers are approximate (default: keep)"},
    {OPTION_FIRST_LEVEL, OPTION_KIND_WORD, false, 0, "first-level", "WHEN", first_levels, 0, 0, ON(BUILD),
     "Short codes that are scanned before the full ones; auto adds them where a sample says that it pays (default: "
     "auto)"},

    {OPTION_INDEX, OPTION_KIND_WORD, false, 0, "index", "TYPE", index_types, 0, 0, ON(BUILD),
     "What the index has for searches: auto (lists by the number of rows, and a graph from 20,000 vectors of numbers "
     "on), flat (neither: every search looks at all codes), ivf (lists), graph (lists and a graph), hnsw (layers of "
     "graphs), lsh (hash tables; of bits too) or pq (small codes of all vectors) (default: auto)"},
    {OPTION_NO_GRAPH, OPTION_KIND_FLAG, false, 0, "no-graph", NULL, NULL, 0, 0, ON(BUILD),
     "Make no graph, which indexes of 20,000 vectors and more have: a smaller file, built sooner"},
    {OPTION_GRAPH_DEGREE, OPTION_KIND_WORD, false, 0, "graph-degree", "COUNT", graph_degrees, 0, 0, ON(BUILD),
     "Neighbours of each vector in a graph: 32, 48 or 64; more for hard data and high recall (default: 32)"},
    {OPTION_GRAPH_BITS, OPTION_KIND_WORD, false, 0, "graph-bits", "BITS", graph_bits, 0, 0, ON(BUILD),
     "Bits that the code of an edge of a graph has for a dimension: 1, 2, 4, or auto, as a sample says (default: "
     "auto)"},
    {OPTION_LEAN, OPTION_KIND_FLAG, false, 0, "lean", NULL, NULL, 0, 0, ON(BUILD),
     "A graph without codes of its edges: a third of the memory, slower searches"},
    {OPTION_HNSW_M, OPTION_KIND_NUMBER, false, 0, "hnsw-m", "COUNT", NULL, 2, 128, ON(BUILD),
     "Edges that an insertion into hnsw makes in each layer, 2 to 128 (default: 16)"},
    {OPTION_HNSW_EF, OPTION_KIND_NUMBER, false, 0, "hnsw-ef", "COUNT", NULL, 2, 10000, ON(BUILD),
     "Vectors among which an insertion into hnsw chooses its edges, hnsw-m to 10000 (default: 200)"},
    {OPTION_LINKS, OPTION_KIND_FILE, false, 0, "links", "INDEX", NULL, 0, 0, ON(BUILD),
     "An index of the same vectors of type hnsw, whose links a graph is made of, in place of a search for neighbours"},
    {OPTION_LSH_TABLES, OPTION_KIND_NUMBER, false, 0, "lsh-tables", "COUNT", NULL, 1, 1024, ON(BUILD),
     "Hash tables of lsh, 1 to 1024 (default: by the number of rows)"},
    {OPTION_LSH_FUNCTIONS, OPTION_KIND_NUMBER, false, 0, "lsh-functions", "COUNT", NULL, 1, 64, ON(BUILD),
     "Hash functions that make up the key of a table of lsh, 1 to 64 (default: by the number of rows)"},

    {OPTION_LISTS, OPTION_KIND_NUMBER, false, 'l', "lists", "COUNT", list_counts, 1, KITH_LISTS_MAX, ON(BUILD),
     "Divide the vectors into this many lists of near ones, for approximate searches and fast batches: 1 to 65536, or "
     "auto, by the number of rows (default: auto)"},
    {OPTION_CODE, OPTION_KIND_TEXT, false, 0, "code", "SPEC", NULL, 0, 0, ON(BUILD),
     "A second, smaller code for approximate searches: pq:MxB or opq:MxB (M parts of B = 4 or 8 bits), rabitq:B (B = 1 "
     "to 8 bits a dimension); needs lists, or --index pq (default there: pq)"},

    {OPTION_NO_SPILL, OPTION_KIND_FLAG, false, 0, "no-spill", NULL, NULL, 0, 0, ON(BUILD),
     "Leave out the second lists, in which most vectors are coded once more so that approximate searches find as "
     "many in fewer lists: a smaller file"},
    {OPTION_NO_CALIBRATION, OPTION_KIND_FLAG, false, 0, "no-calibration", NULL, NULL, 0, 0, ON(BUILD) | ON(LOAD),
     "Do not measure plans at the end: searches with --target-recall are exact until kith tune runs"},

    {OPTION_QUERY, OPTION_KIND_TEXT, false, 'q', "query", "NUMBERS", NULL, 0, 0, ON(SEARCH) | ON(QUERY),
     "One query in place of a file: numbers separated by commas or spaces; for bits bytes, 0 to 255"},
    {OPTION_ID, OPTION_KIND_TEXT, false, 'i', "id", "ID", NULL, 0, 0, ON(SEARCH) | ON(QUERY),
     "More like this one: search with a stored vector, and leave it out of its own results"},
    {OPTION_K, OPTION_KIND_NUMBER, false, 'k', "k", "COUNT", NULL, 1, KITH_K_MAX, ON(SEARCH) | ON(BENCH) | ON(QUERY),
     "Neighbours of each query, 1 to 10000 (default: 10)"},
    {OPTION_K, OPTION_KIND_NUMBER, false, 'k', "k", "COUNT", NULL, 1, KITH_K_MAX, ON(JOIN),
     "Neighbours of each query, 1 to 10000; with --self to 9999 (default: 10)"},
    {OPTION_K, OPTION_KIND_NUMBER, false, 'k', "k", "COUNT", NULL, 1, KITH_K_MAX - 1, ON(GENERATION) | ON(FLIP),
     "Neighbours of each vector that is sought to check a generation, 1 to 9999 (default: 10)"},
    {OPTION_SELF, OPTION_KIND_FLAG, false, 's', "self", NULL, NULL, 0, 0, ON(JOIN),
     "Join the stored vectors with themselves: each gets its k nearest others, in order of ascending id"},
    {OPTION_RADIUS, OPTION_KIND_REAL, false, 'r', "radius", "DISTANCE", NULL, 0, 0, ON(SEARCH),
     "All vectors at this distance or nearer, instead of the nearest k; l2 distances are squared"},
    {OPTION_PLAN, OPTION_KIND_WORD, false, 'p', "plan", "PLAN", plans, 0, 0,
     ON(SEARCH) | ON(BENCH) | ON(JOIN) | ON(QUERY),
     "How to search; of an index with its originals every plan but ivf, which looks at the nearest lists only, gives "
     "the same answers (default: auto)"},
    {OPTION_TARGET_RECALL, OPTION_KIND_REAL, false, 'R', "target-recall", "SHARE", NULL, 0, 0, APPROXIMATES | ON(QUERY),
     "The mean share of true neighbours to find, such as 0.95; plan and parameters follow from it (default: 1, exact)"},
    {OPTION_TARGET_RECALL, OPTION_KIND_REAL, false, 'R', "target-recall", "SHARE", NULL, 0, 0,
     ON(GENERATION) | ON(FLIP),
     "Of the searches that are held against exact ones to check a generation (default: 0.95)"},
    {OPTION_NPROBE, OPTION_KIND_NUMBER, false, 0, "nprobe", "COUNT", NULL, 1, KITH_LISTS_MAX, APPROXIMATES,
     "Plan ivf: lists to look at for each query (default: by --target-recall, else 16)"},
    {OPTION_RERANK, OPTION_KIND_NUMBER, false, 0, "rerank", "COUNT", NULL, 1, NO_LIMIT, APPROXIMATES,
     "Plan ivf: best candidates to score by the original vectors, at least k (default: as calibrated, else 2 k)"},
    {OPTION_EFFORT, OPTION_KIND_NUMBER, false, 0, "effort", "NUMBER", NULL, 1, NO_LIMIT, APPROXIMATES,
     "Plans graph, hnsw and lsh: how much to look at. graph: go on while a vector in sight is less than 1 + "
     "NUMBER/1000 "
     "times as far, squared, as the k-th best; hnsw: candidates at once, ef; lsh: buckets of each table (default: by "
     "--target-recall, else middling)"},
    {OPTION_CODE, OPTION_KIND_WORD, false, 0, "code", "CODE", scan_codes, 0, 0, APPROXIMATES,
     "Plan ivf: codes to scan: int8, second (build --code), levels, first or rows (default: auto)"},
    {OPTION_COPY, OPTION_KIND_WORD, false, 0, "resident", "WHAT", residents, 0, 0, APPROXIMATES,
     "Copy codes and graphs of the index, or all of it, to memory with huge pages, which is read faster than the file; "
     "searches begin on the file meanwhile (default: none)"},
    {OPTION_DEVICE, OPTION_KIND_WORD, false, 0, "device", "DEVICE", devices, 0, 0, APPROXIMATES,
     "Search on opencl devices, on those that there are where it is faster (auto), or on the processor (default: cpu)"},
    {OPTION_DEVICE_BYTES, OPTION_KIND_SIZE, false, 0, "device-bytes", "SIZE", NULL, 0, NO_LIMIT, APPROXIMATES,
     "Memory to take of each device; what has no room there is brought for each search (default: most of it)"},
    {OPTION_RESTART, OPTION_KIND_FLAG, false, 0, "restart", NULL, NULL, 0, 0, ON(JOIN),
     "Begin anew instead of going on with an interrupted join of that name"},
    {OPTION_ALLOW, OPTION_KIND_FILE, false, 'a', "allow", "FILE", NULL, 0, 0, ON(SEARCH) | ON(JOIN),
     "Return only ids that stand in FILE, one a line or an .npy file of 8-byte integers; -: standard input"},
    {OPTION_DENY, OPTION_KIND_FILE, false, 0, "deny", "FILE", NULL, 0, 0, ON(SEARCH) | ON(JOIN),
     "Return no ids that stand in FILE, which is as that of --allow; with --allow what is left of those"},
    {OPTION_TIMEOUT, OPTION_KIND_DURATION, false, 0, "timeout", "TIME", NULL, 1, NO_LIMIT, ON(SEARCH) | ON(QUERY),
     "Give up with exit code 7 when searching takes longer: 500us, 50ms, 2s, 1m"},
    {OPTION_EXPLAIN, OPTION_KIND_FLAG, false, 'x', "explain", NULL, NULL, 0, 0, ON(SEARCH) | ON(QUERY),
     "Say on stderr what the search did; with --json as a last object"},

    {OPTION_QUERIES, OPTION_KIND_FILE, false, 'q', "queries", "FILE", NULL, 0, 0, ON(TUNE),
     "Queries to measure with, at least 100, that are not among the stored vectors (default: stored vectors, each left "
     "out of its own answers)"},
    {OPTION_COUNT, OPTION_KIND_NUMBER, false, 'c', "count", "COUNT", NULL, 100, 1000000, ON(TUNE),
     "Most queries to measure with, 100 or more (default: 1000)"},

    {OPTION_BATCH, OPTION_KIND_NUMBERS, false, 'b', "batch", "COUNTS", NULL, 1, 100000, ON(BENCH),
     "Queries in one call, several sizes separated by commas (default: 1,32,1000)"},
    {OPTION_THREADS, OPTION_KIND_NUMBERS, false, 'T', "threads", "COUNTS", NULL, 1, KITH_THREADS_MAX, ON(BENCH),
     "Numbers of threads to try, separated by commas (default: 1, and KITH_THREADS or every core)"},
    {OPTION_SECONDS, OPTION_KIND_REAL, false, 's', "seconds", "SECONDS", NULL, 0, 0, ON(BENCH),
     "Time for each line of the table (default: 1)"},
    {OPTION_SECONDS, OPTION_KIND_REAL, false, 's', "seconds", "SECONDS", NULL, 0, 0, ON(TOP),
     "Time between two looks, 0.01 to 3600 (default: 1)"},
    {OPTION_TRUTH, OPTION_KIND_NUMBER, false, 0, "truth", "COUNT", NULL, 0, 1000000, ON(BENCH),
     "Queries whose answers are compared with a plain scan; 0: none (default: 100)"},
    {OPTION_AGAINST, OPTION_KIND_FILE, false, 0, "against", "INDEX", NULL, 0, 0, ON(BENCH),
     "Take the true answers from this index of the same vectors; for an index without originals (default: the index "
     "itself)"},
    {OPTION_JSON_FILE, OPTION_KIND_FILE, false, 'j', "json", "FILE", NULL, 0, 0, ON(BENCH),
     "Write the numbers as JSON; -: to stdout, in place of the table"},
    {OPTION_SVG, OPTION_KIND_FILE, false, 0, "svg", "FILE", NULL, 0, 0, ON(TUNE) | ON(BENCH) | ON(AUTOSCALE),
     "Write a plot as SVG"},

    {OPTION_DIM, OPTION_KIND_NUMBER, false, 'd', "dim", "COUNT", NULL, 1, KITH_DIM_MAX, ON(CREATE) | ON(GENERATION),
     "Elements of a vector; for b1 bits"},
    {OPTION_VECTORS, OPTION_KIND_TEXT, false, 0, "vectors", "SPECS", NULL, 0, 0, ON(CREATE),
     "Several named vectors an item, NAME:DIM[:TYPE[:METRIC]] separated by commas, in place of --dim"},
    {OPTION_VECTORS, OPTION_KIND_TEXT, false, 0, "vectors", "SPECS", NULL, 0, 0, ON(GENERATION),
     "begin: of which named vectors it has its own, NAME:DIM[:TYPE[:METRIC]] separated by commas, in place of --dim; "
     "it "
     "shares the others"},
    {OPTION_FIELDS, OPTION_KIND_TEXT, false, 'F', "fields", "FIELDS", NULL, 0, 0, ON(CREATE),
     "Fields of the payload that filters are fast on: NAME:TYPE separated by commas; types are tag, tags (a list of "
     "them), int, float, bool and time"},
    {OPTION_SEGMENT_FIELD, OPTION_KIND_TEXT, false, 0, "segment-field", "FIELD", NULL, 0, 0, ON(CREATE),
     "The declared tag that divides the items: a tenant, a user, a region. A query of one --segment touches its items "
     "only"},
    {OPTION_STRING_IDS, OPTION_KIND_FLAG, false, 0, "string-ids", NULL, NULL, 0, 0, ON(CREATE),
     "Ids are strings (default: whole numbers)"},
    {OPTION_MODEL, OPTION_KIND_TEXT, false, 0, "model", "NAME", NULL, 0, 0, ON(CREATE) | ON(QUERY),
     "What makes the vectors; queries that name another one are refused"},
    {OPTION_MODEL, OPTION_KIND_TEXT, false, 0, "model", "NAME", NULL, 0, 0, ON(GENERATION),
     "begin: what makes its vectors"},
    {OPTION_GENERATION, OPTION_KIND_NUMBER, false, 'g', "generation", "NUMBER", NULL, 1, UINT32_MAX, ON(ADD),
     "Whose vectors these are, beside those of the current generation; with --mode update or merge"},
    {OPTION_GENERATION, OPTION_KIND_NUMBER, false, 'g', "generation", "NUMBER", NULL, 1, UINT32_MAX, ON(GET),
     "With --vectors: whose vectors are printed (default: the current one's)"},
    {OPTION_GENERATION, OPTION_KIND_NUMBER, false, 'g', "generation", "NUMBER", NULL, 1, UINT32_MAX, ON(QUERY),
     "Which generation is asked (default: the current one)"},
    {OPTION_USER, OPTION_KIND_TEXT, false, 'u', "user", "NAME", NULL, 0, 0, ON(QUERY),
     "Who asks: the canary generation answers if its share of the users has this one, else the current one"},
    {OPTION_SHARE, OPTION_KIND_REAL, false, 0, "share", "SHARE", NULL, 0, 0, ON(GENERATION),
     "canary: the share of the users that are sent to it, 0 to 1; 0 ends that"},
    {OPTION_SAMPLE, OPTION_KIND_NUMBER, false, 0, "sample", "COUNT", NULL, 0, 1000000, ON(GENERATION) | ON(FLIP),
     "Stored vectors of each name that are sought to check a generation; 0: items are counted only (default: 100)"},
    {OPTION_LACKING, OPTION_KIND_FLAG, false, 0, "lacking", NULL, NULL, 0, 0, ON(GENERATION),
     "check: print a line for each vector that is lacking: {\"lacking\": 7, \"vector\": \"title\"}"},
    {OPTION_MIN_SHARE, OPTION_KIND_REAL, false, 0, "min-share", "SHARE", NULL, 0, 0, ON(FLIP),
     "Refuse to flip when a smaller share of the items has its vectors (default: 1; with --back 0)"},
    {OPTION_MIN_RECALL, OPTION_KIND_REAL, false, 0, "min-recall", "SHARE", NULL, 0, 0, ON(FLIP),
     "Refuse to flip when searches at the target recall find less of what exact ones do (default: 0)"},
    {OPTION_MIN_OVERLAP, OPTION_KIND_REAL, false, 0, "min-overlap", "SHARE", NULL, 0, 0, ON(FLIP),
     "Refuse to flip when fewer of its neighbours are also those of the current generation (default: 0)"},
    {OPTION_BACK, OPTION_KIND_FLAG, false, 0, "back", NULL, NULL, 0, 0, ON(FLIP),
     "Go back to the generation that was current before"},
    {OPTION_MODE, OPTION_KIND_WORD, false, 0, "mode", "MODE", write_modes, 0, 0, ON(ADD),
     "upsert replaces an item that is there, insert refuses it, update changes what is given and merge also keeps "
     "other keys of the payload: both refuse an id that is not there (default: upsert)"},
    {OPTION_MODE, OPTION_KIND_WORD, false, 0, "mode", "MODE", load_modes, 0, 0, ON(LOAD),
     "upsert replaces an item that is there, insert refuses it (default: upsert)"},
    {OPTION_RESUME, OPTION_KIND_FLAG, false, 0, "resume", NULL, NULL, 0, 0, ON(LOAD),
     "Go on with what a load of the same files left that was stopped or killed"},
    {OPTION_PAYLOADS, OPTION_KIND_FILE, false, 0, "payloads", "FILE", NULL, 0, 0, ON(ADD) | ON(LOAD),
     "Payloads of a file of vectors: one JSON object a line, in the order of rows; an empty line is none"},
    {OPTION_VECTOR, OPTION_KIND_TEXT, false, 0, "vector", "NAME", NULL, 0, 0,
     ON(ADD) | ON(LOAD) | ON(QUERY) | ON(PROFILE), "Which named vector, where there are several"},
    {OPTION_RELAXED, OPTION_KIND_FLAG, false, 0, "relaxed", NULL, NULL, 0, 0, ON(ADD) | ON(DELETE),
     "Do not wait for the disk: a crash of the machine, not of kith, may take the last writes"},
    {OPTION_WHERE, OPTION_KIND_TEXT, false, 'w', "where", "FILTER", NULL, 0, 0, ON(GET) | ON(DELETE) | ON(QUERY),
     "Only items that the filter matches: price < 20 and not sold"},
    {OPTION_SEGMENT, OPTION_KIND_TEXT, false, 0, "segment", "VALUE", NULL, 0, 0, ON(QUERY),
     "Only items of this segment"},
    {OPTION_LIMIT, OPTION_KIND_NUMBER, false, 'n', "limit", "COUNT", NULL, 1, NO_LIMIT, ON(GET),
     "Print at most so many items (default: all)"},
    {OPTION_LIMIT, OPTION_KIND_NUMBER, false, 'n', "limit", "COUNT", NULL, 1, NO_LIMIT, ON(TOP),
     "Look so many times (default: until it is interrupted; at a server, where there is no terminal, once)"},
    {OPTION_KEY_FILE, OPTION_KIND_FILE, false, 0, "key-file", "FILE", NULL, 0, 0, ON(TOP),
     "Of a server: the key to show it, in the first line of FILE"},
    {OPTION_CA, OPTION_KIND_FILE, false, 0, "ca", "FILE", NULL, 0, 0, ON(TOP),
     "Of a server with https: certificates, as PEM, that may vouch for it (default: those of the system)"},
    {OPTION_COUNT_ONLY, OPTION_KIND_FLAG, false, 'c', "count", NULL, NULL, 0, 0, ON(GET),
     "Print how many there are, in place of the items"},
    {OPTION_WITH_VECTORS, OPTION_KIND_FLAG, false, 0, "vectors", NULL, NULL, 0, 0, ON(GET), "Print vectors too"},
    {OPTION_WITH_VECTORS, OPTION_KIND_FLAG, false, 0, "vectors", NULL, NULL, 0, 0, ON(PROFILE),
     "With --json: print the interests' vectors too"},
    {OPTION_PROFILE, OPTION_KIND_TEXT, false, 'p', "profile", "NAME", NULL, 0, 0, ON(QUERY),
     "What this profile likes and has not seen, in place of queries; --query or --id are the context then"},
    {OPTION_BLEND, OPTION_KIND_REAL, false, 0, "blend", "SHARE", NULL, 0, 0, ON(QUERY),
     "How far a profile is moved towards the context: 0 to 1 (default: 0.5)"},
    {OPTION_DIVERSITY, OPTION_KIND_REAL, false, 0, "diversity", "SHARE", NULL, 0, 0, ON(QUERY),
     "Choose results that differ from each other: 0, the nearest, to 1 (default: 0)"},
    {OPTION_WITH_SEEN, OPTION_KIND_FLAG, false, 0, "with-seen", NULL, NULL, 0, 0, ON(QUERY),
     "Also what the profile has seen"},
    {OPTION_LIKE, OPTION_KIND_TEXT, false, 0, "like", "IDS", NULL, 0, 0, ON(PROFILE),
     "Items that were liked, separated by commas"},
    {OPTION_DISLIKE, OPTION_KIND_TEXT, false, 0, "dislike", "IDS", NULL, 0, 0, ON(PROFILE), "Items that were not"},
    {OPTION_VIEW, OPTION_KIND_TEXT, false, 0, "view", "IDS", NULL, 0, 0, ON(PROFILE),
     "Items that were looked at: a quarter of a like"},
    {OPTION_SHOWN, OPTION_KIND_TEXT, false, 0, "seen", "IDS", NULL, 0, 0, ON(PROFILE),
     "Items that were seen, and no more than that"},
    {OPTION_INTERESTS, OPTION_KIND_NUMBER, false, 0, "interests", "COUNT", NULL, 1, KITH_INTERESTS_MAX, ON(PROFILE),
     "Interests at most, 1 to 16 (default: as it was, at first 1)"},
    {OPTION_HALF_LIFE, OPTION_KIND_DURATION, false, 0, "half-life", "TIME", NULL, 1000000, NO_LIMIT, ON(PROFILE),
     "Time in which weights halve: 12h, 30d (default: as it was, at first none)"},
    {OPTION_THRESHOLD, OPTION_KIND_REAL, false, 0, "threshold", "COSINE", NULL, 0, 0, ON(PROFILE),
     "An item less similar than that to all interests begins one: 0 to 1 (default: as it was, at first 0.7)"},
    {OPTION_REBUILD, OPTION_KIND_FLAG, false, 0, "rebuild", NULL, NULL, 0, 0, ON(PROFILE),
     "Make the interests anew of the events that are remembered and the vectors that items have now"},
    {OPTION_FORGET, OPTION_KIND_FLAG, false, 0, "forget", NULL, NULL, 0, 0, ON(PROFILE), "Remove the profile"},

    {OPTION_SIMULATE, OPTION_KIND_FILE, false, 0, "simulate", "TRACE", NULL, 0, 0, ON(AUTOSCALE),
     "Instead of looking at servers, replay recorded traffic: a trace of kith-traffic, or lines of seconds,calls"},
    {OPTION_MIN, OPTION_KIND_NUMBER, false, 0, "min", "COUNT", NULL, 1, 10000, ON(AUTOSCALE),
     "Never fewer servers (default: 1)"},
    {OPTION_MAX, OPTION_KIND_NUMBER, false, 0, "max", "COUNT", NULL, 1, 10000, ON(AUTOSCALE),
     "Never more servers (default: 10)"},
    {OPTION_BUSY, OPTION_KIND_REAL, false, 0, "busy", "SHARE", NULL, 0, 0, ON(AUTOSCALE),
     "Share of their time that servers should be busy, 0.05 to 0.95 (default: 0.6)"},
    {OPTION_P99, OPTION_KIND_DURATION, false, 0, "p99", "TIME", NULL, 1000, UINT64_C(1000000000000), ON(AUTOSCALE),
     "More servers while the 99th percentile is beyond this: 20ms (default: no bound)"},
    {OPTION_QUEUE, OPTION_KIND_NUMBER, false, 0, "queue", "COUNT", NULL, 0, 1000000000, ON(AUTOSCALE),
     "More servers while more calls than this wait, a server; 0: no bound (default: 8)"},
    {OPTION_STEADY, OPTION_KIND_DURATION, false, 0, "steady", "TIME", NULL, 0, UINT64_C(86400000000000), ON(AUTOSCALE),
     "Fewer servers when fewer would have done for so long (default: 300s)"},
    {OPTION_INTERVAL, OPTION_KIND_DURATION, false, 0, "interval", "TIME", NULL, UINT64_C(1000000000),
     UINT64_C(3600000000000), ON(AUTOSCALE), "Time between looks (default: 15s)"},
    {OPTION_KEY_FILE, OPTION_KIND_FILE, false, 0, "key-file", "FILE", NULL, 0, 0, ON(AUTOSCALE),
     "The key that servers ask for is the first line of FILE"},
    {OPTION_TIMES, OPTION_KIND_NUMBER, false, 0, "times", "COUNT", NULL, 1, 100000, ON(AUTOSCALE),
     "Simulate so many calls for one of the trace (default: 1)"},
    {OPTION_SERVICE_TIME, OPTION_KIND_DURATION, false, 0, "service-time", "TIME", NULL, 1000, UINT64_C(1000000000000),
     ON(AUTOSCALE), "Simulate: mean time of a call that does not wait (default: 5ms)"},
    {OPTION_SERVER_THREADS, OPTION_KIND_NUMBER, false, 0, "server-threads", "COUNT", NULL, 1, 256, ON(AUTOSCALE),
     "Simulate: threads of a server (default: 2)"},
    {OPTION_START_UP, OPTION_KIND_DURATION, false, 0, "start-up", "TIME", NULL, 0, UINT64_C(86400000000000),
     ON(AUTOSCALE), "Simulate: time until a new server answers (default: 30s)"},
    {OPTION_FIXED, OPTION_KIND_NUMBER, false, 0, "fixed", "COUNT", NULL, 1, 10000, ON(AUTOSCALE),
     "Simulate: compare with always so many (default: with as many as cost the same, and as many as the peak needs)"},
    {OPTION_PORT, OPTION_KIND_NUMBER, false, 'p', "port", "PORT", NULL, 0, 65535, ON(AUTOSCALE),
     "Look again and again, and tell the figure to whoever asks at this port, as JSON at / and for Prometheus at "
     "/metrics; 0: any that is free"},
    {OPTION_ADDRESS, OPTION_KIND_TEXT, false, 'a', "address", "ADDRESS", NULL, 0, 0, ON(AUTOSCALE),
     "Address of --port (default: 127.0.0.1)"},
    {OPTION_BACKENDS, OPTION_KIND_TEXT, false, 0, "backends", "URLS", NULL, 0, 0, ON(SERVE),
     "Forward to these servers, separated by commas: http://a:6333,http://b:6333; a name with several addresses is as "
     "many servers"},
    {OPTION_BACKENDS_FILE, OPTION_KIND_FILE, false, 0, "backends-file", "FILE", NULL, 0, 0, ON(SERVE),
     "Forward to the servers of FILE, one a line, which is read again at SIGHUP"},
    {OPTION_WRITE_TO, OPTION_KIND_TEXT, false, 0, "write-to", "URL", NULL, 0, 0, ON(SERVE),
     "The backend that writes go to (default: with several backends writes are refused, because they do not copy "
     "writes to each other)"},
    {OPTION_POLICY, OPTION_KIND_WORD, false, 0, "policy", "POLICY", policies, 0, 0, ON(SERVE),
     "Which backend a read goes to: the next in turn, the one with fewest calls, or the better of two by latency and "
     "load (default: latency)"},
    {OPTION_RETRIES, OPTION_KIND_REAL, false, 0, "retries", "SHARE", NULL, 0, 0, ON(SERVE),
     "Share of the calls that may be tried again at another backend; 0: none (default: 0.2)"},
    {OPTION_HEDGES, OPTION_KIND_REAL, false, 0, "hedges", "SHARE", NULL, 0, 0, ON(SERVE),
     "Share of the reads that may be asked of a second backend when the first is slower than usual; 0: none (default: "
     "0.05)"},
    {OPTION_ADDRESS, OPTION_KIND_TEXT, false, 'a', "address", "ADDRESS", NULL, 0, 0, ON(SERVE),
     "Where to listen, in numbers; other than this machine's own it takes keys and TLS (default: 127.0.0.1)"},
    {OPTION_PORT, OPTION_KIND_NUMBER, false, 'p', "port", "PORT", NULL, 0, 65535, ON(SERVE),
     "Where to listen; 0: any that is free (default: 6333)"},
    {OPTION_KEYS, OPTION_KIND_FILE, false, 'K', "keys", "FILE", NULL, 0, 0, ON(SERVE),
     "Who may ask: a file of keys, as kith key makes it; read again on SIGHUP (default: everybody on this machine)"},
    {OPTION_KEYS, OPTION_KIND_FILE, false, 'K', "keys", "FILE", NULL, 0, 0, ON(KEY),
     "Put the key into this file of keys, which is made when it is not there (default: print its line)"},
    {OPTION_TLS_CERT, OPTION_KIND_FILE, false, 0, "tls-cert", "FILE", NULL, 0, 0, ON(SERVE),
     "The certificate, and those that it hangs on, as PEM: serve https"},
    {OPTION_TLS_KEY, OPTION_KIND_FILE, false, 0, "tls-key", "FILE", NULL, 0, 0, ON(SERVE),
     "The certificate's private key, as PEM"},
    {OPTION_INSECURE, OPTION_KIND_FLAG, false, 0, "insecure", NULL, NULL, 0, 0, ON(SERVE),
     "Listen at a public address without keys or TLS: something before the server sees to that"},
    {OPTION_CREATE, OPTION_KIND_FLAG, false, 0, "create", NULL, NULL, 0, 0, ON(SERVE),
     "Make the folder when it is not there"},
    {OPTION_READ_ONLY, OPTION_KIND_FLAG, false, 0, "read-only", NULL, NULL, 0, 0, ON(SERVE),
     "Only answer, and follow what another process writes"},
    {OPTION_DURABILITY, OPTION_KIND_WORD, false, 0, "durability", "WHEN", durabilities, 0, 0, ON(SERVE),
     "full: what was acknowledged survives a crash of the machine; relaxed: a crash of the machine may take the last "
     "second's writes (default: full)"},
    {OPTION_LOOPS, OPTION_KIND_NUMBER, false, 'T', "threads", "COUNT", NULL, 1, 64, ON(SERVE),
     "Threads that answer calls, each with connections of its own (default: 1)"},
    {OPTION_WORKERS, OPTION_KIND_NUMBER, false, 0, "workers", "COUNT", NULL, 1, 256, ON(SERVE),
     "Threads for writes and what else may wait for the disk (default: 4)"},
    {OPTION_CACHE, OPTION_KIND_SIZE, false, 0, "cache-bytes", "SIZE", NULL, 0, NO_LIMIT, ON(SERVE),
     "Memory of each collection for answers that are asked for often: 64M; 0: none (default: 64M)"},
    {OPTION_RESIDENT, OPTION_KIND_SIZE, false, 0, "resident-bytes", "SIZE", NULL, 0, NO_LIMIT, ON(SERVE),
     "Memory of each collection for copies of its graphs and codes, which searches read faster than files: 1G; 0: none "
     "(default: 1G)"},
    {OPTION_BODY_MAX, OPTION_KIND_SIZE, false, 0, "body-max", "SIZE", NULL, 1024, UINT64_C(16) << 30, ON(SERVE),
     "The largest body that a call may have (default: 64M)"},
    {OPTION_CONNECTIONS_MAX, OPTION_KIND_NUMBER, false, 0, "connections-max", "COUNT", NULL, 1, 1000000, ON(SERVE),
     "Connections at once; more are told to come back (default: 10000)"},
    {OPTION_BUDGET, OPTION_KIND_DURATION, false, 0, "budget", "TIME", NULL, 1000, UINT64_C(1000000000), ON(SERVE),
     "How long the searches that are answered together may take: 500us, 10ms (default: 2ms)"},
    {OPTION_RECALL_SHARE, OPTION_KIND_REAL, false, 0, "recall-share", "SHARE", NULL, 0, 0, ON(SERVE),
     "The share of searches that are checked against exact ones when nothing else is to be done (default: 0.001)"},
    {OPTION_TARGET_RECALL, OPTION_KIND_REAL, false, 'R', "target-recall", "SHARE", NULL, 0, 0, ON(SERVE),
     "The mean share of true neighbours that searches find which do not say what they want (default: 0.95)"},
    {OPTION_DRAIN, OPTION_KIND_DURATION, false, 0, "drain", "TIME", NULL, 1000000, UINT64_C(3600000000000), ON(SERVE),
     "How long calls may take to end when the server is told to (default: 30s)"},
    {OPTION_UNCONFINED, OPTION_KIND_FLAG, false, 0, "unconfined", NULL, NULL, 0, 0, ON(SERVE),
     "Do not give up files outside of FOLDER and system calls that a server does not make (Landlock, seccomp)"},
    {OPTION_LOG, OPTION_KIND_WORD, false, 0, "log", "FORM", log_forms, 0, 0, ON(SERVE),
     "The log on stderr: text, or json, an object a line (default: text)"},
    {OPTION_LOG_LEVEL, OPTION_KIND_WORD, false, 0, "log-level", "LEVEL", log_levels, 0, 0, ON(SERVE),
     "What is logged: error, warning, info or debug, a line a call (default: info)"},
    {OPTION_ROLE, OPTION_KIND_WORD, false, 'r', "role", "ROLE", roles, 0, 0, ON(KEY),
     "What may be done with it: read, write (read too) or admin (all)"},
    {OPTION_SEGMENT, OPTION_KIND_TEXT, false, 0, "segment", "VALUE", NULL, 0, 0, ON(KEY),
     "Only items of this segment: a tenant, a user"},
    {OPTION_COLLECTION, OPTION_KIND_TEXT, false, 'c', "collection", "NAME", NULL, 0, 0, ON(KEY),
     "Only this collection (default: all)"},

    {OPTION_DATA, OPTION_KIND_FOLDER, false, 'd', "data", "FOLDER", NULL, 0, 0, ON(DEMO),
     "Where Fashion-MNIST lies (default: /usr/share/datasets/fashion-mnist)"},

    {OPTION_FORMAT, OPTION_KIND_WORD, false, 'f', "format", "FORMAT", formats, 0, 0, READS_VECTORS,
     "Format of the file of vectors that is read (default: auto, by suffix and first bytes)"},
    {OPTION_TO, OPTION_KIND_WORD, false, 0, "to", "FORMAT", formats, 0, 0, ON(CONVERT),
     "Format of the output: csv, jsonl or npy where OUT is -, standard output (default: auto, by suffix)"},
    {OPTION_TO, OPTION_KIND_WORD, false, 0, "to", "FORMAT", join_formats, 0, 0, ON(JOIN),
     "Format of the output (default: auto, ndjson for the suffixes .ndjson and .jsonl, else npy)"},
    {OPTION_IDS, OPTION_KIND_FILE, false, 0, "ids", "FILE", NULL, 0, 0, ON(BUILD) | ON(CONVERT) | ON(JOIN) | ON(LOAD),
     "Ids from FILE, one a line or an .npy file of 8-byte integers; -: from standard input"},
    {OPTION_NAMES, OPTION_KIND_FILE, false, 0, "names", "FILE", NULL, 0, 0, ON(BUILD) | ON(CONVERT),
     "Names from FILE, one a line; searches show them"},
    {OPTION_ID_COLUMN, OPTION_KIND_TEXT, false, 0, "id-column", "COLUMN", NULL, 0, 0, READS_VECTORS,
     "csv: heading or number, from 1, of the column of ids; jsonl: key of the ids (default: the one called id, ID or "
     "Id; "
     "in csv also a first column without a heading, in jsonl _id)"},
    {OPTION_NAME_COLUMN, OPTION_KIND_TEXT, false, 0, "name-column", "COLUMN", NULL, 0, 0, READS_VECTORS,
     "csv: heading or number, from 1, of the column of names; jsonl: key of the names (default: name)"},
    {OPTION_VECTOR_KEY, OPTION_KIND_TEXT, false, 0, "vector-key", "KEY", NULL, 0, 0, READS_VECTORS,
     "jsonl: key of the vectors (default: vector, else the only one there is of embedding, embeddings, values, emb, "
     "vec "
     "and features); csv: heading or number of a column of lists such as \"[0.1, 0.2]\" (default: the only one)"},
    {OPTION_HEADER, OPTION_KIND_WORD, false, 0, "header", "WHEN", headers, 0, 0, READS_VECTORS,
     "csv: is the first line a header: yes, no or auto: by what it holds (default: auto)"},
    {OPTION_SKIP_BAD, OPTION_KIND_FLAG, false, 0, "skip-bad", NULL, NULL, 0, 0, ON(BUILD) | ON(CONVERT),
     "Leave out rows that cannot be read or hold a NaN or an infinity, or for cosine only zeros, and say which; where "
     "the "
     "file has no ids, ids are then its row numbers"},
    {OPTION_FIRST_ROW, OPTION_KIND_NUMBER, false, 0, "first-row", "ROW", NULL, 0, NO_LIMIT, READS_VECTORS,
     "Begin with this row, counted from 0 (default: 0)"},
    {OPTION_ROWS, OPTION_KIND_NUMBER, false, 'n', "rows", "COUNT", NULL, 1, NO_LIMIT, READS_VECTORS,
     "Take at most this many rows (default: all)"},
    {OPTION_ROUND, OPTION_KIND_FLAG, false, 0, "round", NULL, NULL, 0, 0, ON(CONVERT),
     "Round values that the output's type cannot hold exactly, to nearest, ties to even, instead of refusing them; "
     "8-byte floats by way of 4-byte ones"},
    {OPTION_ROUND, OPTION_KIND_FLAG, false, 0, "round", NULL, NULL, 0, 0, ON(BUILD),
     "Round 8-byte floats and integers that 4-byte floats cannot hold exactly, to nearest, ties to even, instead of "
     "refusing them"},
    {OPTION_VECTORS_ONLY, OPTION_KIND_FLAG, false, 0, "vectors-only", NULL, NULL, 0, 0, ON(CONVERT),
     "Leave out ids and names, which only csv and jsonl can hold"},

    {OPTION_MEMORY, OPTION_KIND_SIZE, false, 'M', "memory", "SIZE", NULL, UINT64_C(16) << 20, NO_LIMIT,
     ON(BUILD) | ON(LOAD), "Working memory: 512M, 2G; at least 16M (default: 1G)"},
    {OPTION_MEMORY, OPTION_KIND_SIZE, false, 'M', "memory", "SIZE", NULL, UINT64_C(16) << 20, NO_LIMIT, ON(JOIN),
     "Memory for queries and results: 512M, 2G; at least 16M (default: 256M)"},
    {OPTION_SEED, OPTION_KIND_NUMBER, false, 0, "seed", "NUMBER", NULL, 0, NO_LIMIT,
     ON(BUILD) | ON(TUNE) | ON(GENERATION) | ON(FLIP) | ON(AUTOSCALE), "Seed of what is sampled (default: 0)"},
    {OPTION_THREADS, OPTION_KIND_NUMBER, false, 'T', "threads", "COUNT", NULL, 0, KITH_THREADS_MAX,
     ON(BUILD) | ON(SEARCH) | ON(JOIN) | ON(TUNE) | ON(VERIFY) | ON(DEMO) | ON(ADD) | ON(LOAD) | ON(QUERY) |
         ON(COMPACT) | ON(GENERATION) | ON(FLIP),
     "Threads to work on; 0: KITH_THREADS, or one a core (default: 0)"},
    {OPTION_FORCE, OPTION_KIND_FLAG, false, 0, "force", NULL, NULL, 0, 0,
     ON(BUILD) | ON(SEARCH) | ON(JOIN) | ON(TUNE) | ON(CONVERT) | ON(BENCH) | ON(DEMO),
     "Replace an output also when it is no file of the kind that is written (one that is, is replaced without asking; "
     "an input never)"},

    {OPTION_MAN, OPTION_KIND_FLAG, true, 0, "man", NULL, NULL, 0, 0, ON(HELP), "The man page, for scdoc"},
    {OPTION_COMPLETION, OPTION_KIND_WORD, true, 0, "completion", "SHELL", shells, 0, 0, ON(HELP),
     "The completions of a shell"},

    {OPTION_JSON, OPTION_KIND_FLAG, false, 'j', "json", NULL, NULL, 0, 0,
     ON(BUILD) | ON(SEARCH) | ON(JOIN) | ON(TUNE) | ON(INFO) | ON(VERIFY) | ON(CONVERT) | ON(DEMO) | ON(CPU) | ON(ADD) |
         ON(LOAD) | ON(DELETE) | ON(QUERY) | ON(PROFILE) | ON(GENERATION) | ON(FLIP) | ON(TOP) | ON(AUTOSCALE),
     "Print JSON, for programs"},
    {OPTION_QUIET, OPTION_KIND_FLAG, false, 0, "quiet", NULL, NULL, 0, 0,
     ON(BUILD) | ON(SEARCH) | ON(JOIN) | ON(TUNE) | ON(VERIFY) | ON(CONVERT) | ON(BENCH) | ON(DEMO) | ON(CREATE) |
         ON(ADD) | ON(LOAD) | ON(DELETE) | ON(QUERY) | ON(PROFILE) | ON(GENERATION) | ON(FLIP) | ON(SNAPSHOT) |
         ON(RESTORE) | ON(COMPACT) | ON(REPAIR),
     "No progress bar, no notes and no summary"},
    {OPTION_COLOR, OPTION_KIND_WORD, false, 0, "color", "WHEN", colors, 0, 0, EVERYWHERE,
     "Colors: auto, always or never (default: auto, on a terminal unless NO_COLOR is set)"},
    {OPTION_HELP, OPTION_KIND_FLAG, false, 'h', "help", NULL, NULL, 0, 0, EVERYWHERE, "Show this help"},
};

const size_t option_table_count = sizeof(option_table) / sizeof(*option_table);

/* ---- Words of the library ---------------------------------------------------------------------------------------- */

static const char *plan_name(int value) {
    return kith_plan_name((kith_plan)value);
}

static const char *scan_code_name(int value) {
    return kith_scan_code_name((kith_scan_code)value);
}

/* The names of the values below LIBRARY_WORDS that have one; a place without a word stays behind them. */
static void fill(struct option_word *words, const char *(*name)(int value)) {
    int count = 0;
    for (int i = 0; i < LIBRARY_WORDS && count < LIBRARY_WORDS - 1; i++)
        if (strcmp(name(i), "?") != 0) words[count++] = (struct option_word){name(i), (uint64_t)i};
}

void options_fill(void) {
    fill(plans, plan_name);
    fill(scan_codes, scan_code_name);
}
