/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of commands, which help, man page and completions print. */
#include <string.h>

#include "command.h"

const struct command command_table[COMMANDS] = {
    [COMMAND_BUILD] =
        {COMMAND_BUILD,
         "build",
         "INPUT",
         1,
         1,
         "make an index file from a file of vectors",
         "Reads INPUT (.npy, .fvecs, .bvecs, .ivecs, .fbin, .u8bin, .i8bin, .ibin, .csv, .tsv, .jsonl) in one stream "
         "with bounded memory and writes one index file. The file appears under its name only when it is whole, synced "
         "and read back; an interrupted build leaves the old file, if any, as it was.\n"
         "\n"
         "Ids come from the file (csv: a column called id, or a data frame's index; jsonl: \"id\"), from --ids, or are "
         "the row numbers from 0. They are whole numbers or strings. Names, shown by searches, come from a column "
         "called "
         "name, from \"name\" or from --names. The line \"columns\" of the summary says what was taken for what.\n"
         "\n"
         "Files that gzip compressed are read as they are. INPUT may be a pipe, or - for standard input; then --output "
         "is needed, and --format where the first bytes do not tell it.\n"
         "\n"
         "Parquet, Arrow and HDF5 files are read through the Python package kith-search, where python3 has it; "
         "FILE::NAME names a column of vectors or a dataset.",
         {{"kith build items.npy", "makes items.kith, squared Euclidean distance"},
          {"kith build items.npy -o shop.kith --metric cosine --names titles.txt", "cosine, with a name for each row"},
          {"kith build codes.npy --dtype b1 --metric hamming", "rows of bytes as packed bits"},
          {"kith build items.fvecs --originals none", "a quarter of the size, approximate answers"}},
         command_build},
    [COMMAND_SEARCH] =
        {COMMAND_SEARCH,
         "search",
         "INDEX [QUERIES]",
         1,
         2,
         "find the nearest stored vectors",
         "Answers each row of QUERIES (any format that build reads), one query of --query, or --id, which asks for "
         "more "
         "like a stored vector. Answers are exact, and the same on every machine and for every number of threads, "
         "unless the index was built with --originals none.\n"
         "\n"
         "Prints a table: query (its row in the file), rank from 1, id, distance, and name where the index has names. "
         "On a terminal the columns line up; elsewhere tabs separate them. With --json each query is one line: "
         "{\"query\":0,\"results\":[{\"id\":7,\"distance\":0.25,\"name\":\"...\"}]}. With --output ids go to an .npy "
         "file of 8-byte integers, -1 where there are fewer than k results, or to an .ivecs file; string ids are "
         "written as row numbers there.\n"
         "\n"
         "Distances: l2 is squared; ip is the negated product; cosine is 1 minus the cosine; hamming counts bits. "
         "Smaller is nearer; ties go to the smaller id.",
         {{"kith search items.kith queries.npy -k 5", "five neighbours of each query"},
          {"kith search items.kith --query \"0.1, 0.2, 0.3\"", "one query from the command line"},
          {"kith search items.kith --id 42 --allow stock.txt", "more like item 42, among the ids in stock.txt"},
          {"kith search items.kith queries.npy --json | jq .results[0].id", "for programs"},
          {"kith search items.kith queries.npy -k 100 -o out.npy", "ids to out.npy, distances to out.distances.npy"}},
         command_search},
    [COMMAND_JOIN] =
        {COMMAND_JOIN,
         "join",
         "[QUERIES] INDEX",
         1,
         2,
         "find the neighbours of every row of a file, or of every stored vector",
         "For millions of queries, such as the nightly recomputation of recommendations: streams QUERIES (any format "
         "that build reads) against INDEX with bounded memory, or with --self joins the stored vectors with "
         "themselves, each without itself.\n"
         "\n"
         "Writes a pair of arrays, OUT.ids.npy (unsigned 8-byte integers, 2^64-1 where there are fewer than k results; "
         "string ids as row numbers) and OUT.distances.npy (4-byte floats), or one line a query: "
         "{\"id\": 7, \"ids\": [3, 9], \"distances\": [0.25, 0.5]}.\n"
         "\n"
         "The output appears under its name only when it is whole. A join that was interrupted or killed leaves "
         "OUT.join and .part files beside it; the same command then goes on, and the output is the same to the byte. "
         "When the index, the queries or the options changed in between, it says so and begins anew.\n"
         "\n"
         "Answers are exact unless --target-recall or --plan ivf is given, or the index was built with --originals "
         "none. --ids and --id-column name the queries in lines.",
         {{"kith join users.npy items.kith -k 100 -o nightly", "nightly.ids.npy and nightly.distances.npy"},
          {"kith join users.npy items.kith -k 100 -o nightly --target-recall 0.95", "faster, 95 % of the neighbours"},
          {"kith join --self items.kith -k 10 -o similar.ndjson", "more like each item, as lines"}},
         command_join},
    [COMMAND_TUNE] =
        {COMMAND_TUNE,
         "tune",
         "INDEX",
         1,
         1,
         "measure plans, so that searches can be asked for a recall",
         "Measures how many of the true neighbours the plan ivf finds with its parameters, and what that costs, for "
         "several k and batch sizes, and keeps the best in INDEX, which is replaced as a whole. Then search "
         "--target-recall chooses among them. build measures an index with several lists at its end; measure again "
         "with queries of your own if they differ from the stored vectors, and on the machine that will search.\n"
         "\n"
         "Prints the frontier: recall and queries a second, on one thread, at each batch size. Searches that are "
         "running on the old file keep it.",
         {{"kith tune items.kith", "with stored vectors, each left out of its own answers"},
          {"kith tune items.kith --queries sample.npy --svg recall.svg", "with queries of your own, and a plot"},
          {"kith search items.kith queries.npy --target-recall 0.95", "what it is for"}},
         command_tune},
    [COMMAND_INFO] = {COMMAND_INFO,
                      "info",
                      "INDEX",
                      1,
                      1,
                      "show what an index file or a collection holds",
                      "Shows rows, dimension, type, metric, ids, sizes and sections. Reads the header only. Of a "
                      "folder, a collection: items, vectors, fields, segments, sizes.",
                      {{"kith info items.kith", "for people"}, {"kith info items.kith --json", "for programs"}},
                      command_info},
    [COMMAND_VERIFY] = {COMMAND_VERIFY,
                        "verify",
                        "INDEX",
                        1,
                        1,
                        "check every byte of an index file or a collection",
                        "Compares all of the file with its checksums, then checks every count, id and order inside; of "
                        "a folder, a collection, its catalog and all its segments. "
                        "Exit code 4, and a sentence that names the section, if anything is wrong.",
                        {{"kith verify items.kith", "silent flips of bits on a disk are found here"}},
                        command_verify},
    [COMMAND_CONVERT] =
        {COMMAND_CONVERT,
         "convert",
         "IN OUT",
         2,
         2,
         "turn one format of vectors into another",
         "Streams IN into OUT. Formats follow from the suffixes. Values never change silently: one that the output's "
         "type cannot hold exactly is refused, with its row and place, unless --round is given. Ids and names are kept "
         "by csv and jsonl. The other formats have no room for them: string ids and names are refused there, unless "
         "--vectors-only leaves them out. - is standard input, or for csv, jsonl and npy (--to) standard output.",
         {{"kith convert items.fvecs items.npy", "between binary formats"},
          {"kith convert items.npy items.f16.npy --dtype f16 --round", "half the size"},
          {"kith convert items.jsonl items.csv", "ids and names come along"}},
         command_convert},
    [COMMAND_BENCH] =
        {COMMAND_BENCH,
         "bench",
         "INDEX QUERIES",
         2,
         2,
         "measure speed and recall on your data",
         "Measures searches for each number of threads and each batch size: queries a second, and the time of a call "
         "at "
         "p50, p95, p99 and p99.9 (nearest rank). Recall@k compares answers with the plain scan, which is the "
         "definition; for an index without originals --against names the one to compare with.",
         {{"kith bench items.kith queries.npy", "a table"},
          {"kith bench items.kith queries.npy --batch 1,64 --threads 1 --svg speed.svg", "and a plot"}},
         command_bench},
    [COMMAND_CREATE] =
        {COMMAND_CREATE,
         "create",
         "FOLDER",
         1,
         1,
         "make an empty collection",
         "A collection is a folder of items that takes inserts, updates and deletes while it is searched, and loses "
         "nothing that it acknowledged. An item has an id, a vector (or several with names), and a payload of JSON. "
         "Fields of the payload that are declared, here or later, make filters on them fast.",
         {{"kith create shop --dim 384 --metric cosine", "one vector an item"},
          {"kith create shop --dim 384 --fields brand:tag,price:float,user:tag --segment-field user",
           "with fields for filters, and a key that divides the items among users"},
          {"kith create shop --vectors image:512:f16:cosine,title:384 --string-ids", "two vectors an item"}},
         command_create},
    [COMMAND_DECLARE] = {COMMAND_DECLARE,
                         "declare",
                         "FOLDER FIELDS",
                         2,
                         2,
                         "make filters on fields of a collection fast",
                         "Indexes fields of the payloads, NAME:TYPE separated by commas; what is there already is "
                         "indexed too. Types are tag, tags, int, float, bool and time.",
                         {{"kith declare shop colour:tag,sold:bool", "two more fields"}},
                         command_declare},
    [COMMAND_ADD] =
        {COMMAND_ADD,
         "add",
         "FOLDER INPUT",
         2,
         2,
         "write items to a collection",
         "INPUT is a file of lines, {\"id\": 7, \"vector\": [0.1, ...], \"payload\": {\"brand\": \"x\"}}, or - for "
         "standard input; without \"payload\" all other keys are the payload, \"vectors\" holds named vectors, "
         "\"expires\" is a time in milliseconds since 1970. Or it is any file of vectors that build reads, with "
         "--payloads beside it.\n"
         "\n"
         "Items are written a thousand at a time; each such write is whole and durable when the next one begins. An "
         "item whose id is there already is replaced, unless --mode says otherwise.",
         {{"kith add shop items.jsonl", "ids, vectors and payloads from one file"},
          {"kith add shop items.npy --payloads items.jsonl", "row numbers as ids"},
          {"kith add shop prices.jsonl --mode merge", "change some keys of payloads, keep all else"},
          {"kith add shop new.npy --mode update --generation 2", "vectors of another generation"}},
         command_add},
    [COMMAND_LOAD] =
        {COMMAND_LOAD,
         "load",
         "FOLDER INPUT...",
         2,
         OPERANDS_MAX,
         "write very many items to a collection at once",
         "Builds one segment of all rows of INPUT (any file of vectors that build reads), as fast as build does, and "
         "puts "
         "it in its place in one step: all items are there or none. Searches and writes go on meanwhile. Payloads come "
         "from --payloads, or lie in the lines of a .jsonl file, as of add. Ids are those of the file, or of --ids, or "
         "the "
         "row numbers from 0. Several named vectors are NAME=FILE each, with their rows in the same order.\n"
         "\n"
         "A load that is interrupted or killed leaves what it built in the folder; the same command with --resume goes "
         "on "
         "there.",
         {{"kith load shop items.npy --payloads items.jsonl", "row numbers as ids"},
          {"kith load shop items.npy --payloads items.jsonl --resume", "goes on where it was stopped"},
          {"kith load shop image=images.npy title=titles.npy --ids ids.txt", "two named vectors"}},
         command_load},
    [COMMAND_GET] = {COMMAND_GET,
                     "get",
                     "FOLDER [ID...]",
                     1,
                     OPERANDS_MAX,
                     "print items of a collection",
                     "Prints the items with these ids, or all that --where matches, one a line: {\"id\": 7, "
                     "\"version\": 3, \"payload\": {...}}. Exit code 5 when an id is not there.",
                     {{"kith get shop 42", "one item"},
                      {"kith get shop --where 'price < 20' --limit 5", "some that a filter matches"},
                      {"kith get shop --where 'brand = \"x\"' --count", "how many"}},
                     command_get},
    [COMMAND_DELETE] = {COMMAND_DELETE,
                        "delete",
                        "FOLDER [ID...]",
                        1,
                        OPERANDS_MAX,
                        "remove items from a collection",
                        "Removes the items with these ids (those that are not there are passed over), or all that "
                        "--where matches.",
                        {{"kith delete shop 42 43", "two items"}, {"kith delete shop --where sold", "all sold ones"}},
                        command_delete},
    [COMMAND_QUERY] =
        {COMMAND_QUERY,
         "query",
         "FOLDER [QUERIES]",
         1,
         2,
         "find the nearest items of a collection",
         "Answers each row of QUERIES, one query of --query, or --id, which asks for more like a stored item. --where "
         "is a filter, which holds during the search: there are always as many results as there are items that match, "
         "up to k. Answers are exact unless --target-recall is given.\n"
         "\n"
         "Filters: brand = \"x\" and price < 20 and not sold; size in (\"s\", \"m\"); tags has \"new\"; note "
         "exists; or JSON. Docs/filters.md has all of it.",
         {{"kith query shop --id 42 -k 5", "more like item 42"},
          {"kith query shop --id 42 --where 'price < 20 and not sold'", "among some items only"},
          {"kith query shop --profile ann", "what a profile likes and has not seen"},
          {"kith query shop queries.npy --segment user7 --json", "among one user's items, for programs"}},
         command_query},
    [COMMAND_PROFILE] =
        {COMMAND_PROFILE,
         "profile",
         "FOLDER [NAME]",
         1,
         2,
         "tell a profile of a collection what is liked, or show it",
         "A profile is what somebody likes, as a few vectors that each like and dislike moves at once, and what was "
         "seen. It is made by the first call that tells it something, and kept with the collection. kith query "
         "--profile searches by it.\n"
         "\n"
         "Without options the profile is shown. With --interests it may have several, and items that do not resemble "
         "each other begin one each. Items that a call names count as seen.\n"
         "\n"
         "When the vectors of items have changed, --rebuild makes the interests anew of the events that a profile "
         "remembers: of one profile, or without NAME of all.",
         {{"kith profile shop ann --like 42,43 --dislike 7", "moves it, or makes it"},
          {"kith profile shop ann --like 44 --half-life 30d --interests 4", "and how"},
          {"kith query shop --profile ann --diversity 0.3", "what ann may like"},
          {"kith profile shop --rebuild", "all of them, when items have new vectors"},
          {"kith profile shop ann --json --vectors", "for programs"}},
         command_profile},
    [COMMAND_GENERATION] =
        {COMMAND_GENERATION,
         "generation",
         "FOLDER [begin | check N | canary N | of USER | drop N]",
         1,
         3,
         "show, begin, check, try and drop generations of a collection",
         "A generation is what one model makes of a collection's items: vectors of a dimension, type and metric of "
         "their own. One of them is current, which searches and writes are of. Another one is begun, filled beside it "
         "by kith add --mode update --generation N, checked, tried with a share of the users, and made current by kith "
         "flip.\n"
         "\n"
         "Without a verb the generations are shown. check counts the items that lack its vectors, seeks some stored "
         "vectors, and says how much of what exact searches find is found at a target recall, and how many of the "
         "neighbours are also those of the current generation. canary sends the same users at every query, kith query "
         "--user; of tells where one is sent. drop removes one that is not current, with its vectors.",
         {{"kith generation shop", "which there are"},
          {"kith generation shop begin --model m2 --dim 512", "the next one, without vectors yet"},
          {"kith generation shop check 2", "is it whole, and how does it search?"},
          {"kith generation shop canary 2 --share 0.05", "for one user of twenty"},
          {"kith generation shop drop 1", "when nobody goes back to it"}},
         command_generation},
    [COMMAND_FLIP] = {COMMAND_FLIP,
                      "flip",
                      "FOLDER [N]",
                      1,
                      2,
                      "make a generation of a collection current",
                      "Checks generation N as kith generation check does, and makes it current at once, for searches "
                      "of all processes: each is answered by one generation alone. It is refused, and nothing changes, "
                      "where items lack its vectors, unless --min-share allows some to. --back goes back to the one "
                      "that was current before, without requirements; what was written since then is in it only where "
                      "its vectors were written too.",
                      {{"kith flip shop 2", "from today's embeddings to tomorrow's"},
                       {"kith flip shop 2 --min-recall 0.95 --min-overlap 0.3", "only if it is good"},
                       {"kith flip shop --back", "at once"}},
                      command_flip},
    [COMMAND_TOP] = {COMMAND_TOP,
                     "top",
                     "FOLDER|URL",
                     1,
                     1,
                     "watch a collection, or a server",
                     "Of a collection's folder: prints a line every second: items, writes a second, rows in memory, "
                     "segments, size, and what is going on in the background.\n\nOf a server (kith serve): what it "
                     "answers, how fast, how well, and its collections. A terminal shows it live, until q is pressed; "
                     "otherwise it is printed once. With --json: as the server says it, an object a line.",
                     {{"kith top shop", "until it is interrupted"},
                      {"kith top shop --limit 1 --json", "once"},
                      {"kith top http://127.0.0.1:6333", "a server, live"},
                      {"kith top https://search.example --key-file key", "one that asks for a key"}},
                     command_top},
    [COMMAND_SNAPSHOT] = {COMMAND_SNAPSHOT,
                          "snapshot",
                          "FOLDER COPY",
                          2,
                          2,
                          "copy a collection while it is used",
                          "Makes a consistent copy of the current state, whole or not at all. Files of segments are "
                          "hard links where the file system can, so that it costs little; writes go on meanwhile. The "
                          "copy is a collection too.",
                          {{"kith snapshot shop backups/monday", "to go back to"}},
                          command_snapshot},
    [COMMAND_RESTORE] = {COMMAND_RESTORE,
                         "restore",
                         "COPY FOLDER",
                         2,
                         2,
                         "make a collection of a snapshot",
                         "Verifies the snapshot, and copies it to a folder that is not there yet.",
                         {{"kith restore backups/monday shop", "as it was on Monday"}},
                         command_restore},
    [COMMAND_COMPACT] = {COMMAND_COMPACT,
                         "compact",
                         "FOLDER",
                         1,
                         1,
                         "merge a collection into one segment",
                         "Writes all items into one segment without what was deleted. Programs that serve a collection "
                         "do as much of that as is needed by themselves.",
                         {{"kith compact shop", "after many deletions"}},
                         command_compact},
    [COMMAND_REPAIR] = {COMMAND_REPAIR,
                        "repair",
                        "FOLDER",
                        1,
                        1,
                        "save what can be saved of a damaged collection",
                        "Reads what is whole, rebuilds the rest from it, and prints a line for each item whose vectors "
                        "are gone: {\"lost\": 7, \"why\": \"...\"}. Make a copy of the folder first.",
                        {{"kith repair shop", "after kith verify found damage"}},
                        command_repair},
    [COMMAND_SERVE] =
        {COMMAND_SERVE,
         "serve",
         "[FOLDER]",
         0,
         1,
         "answer over HTTP",
         "Serves a collection, or all collections of a folder, where clients may then make and drop some. Three ways "
         "to ask: kith's own API under /v1 (/v1/openapi.json describes it), Qdrant's REST API, and a page for people "
         "at /ui. /metrics is for Prometheus; /healthz, /livez and /readyz for those who start servers.\n"
         "\n"
         "Without more it listens on this machine alone. Other addresses take --keys, --tls-cert and --tls-key. "
         "Searches that come together are answered together; one alone is answered at once.\n"
         "\n"
         "SIGTERM and SIGINT end it when what is there is answered, a second one at once; nothing that was "
         "acknowledged is lost by either. SIGHUP reads keys and certificates again.\n"
         "\n"
         "With --backends and no folder it is a front: it forwards calls to other servers that hold the same "
         "collections, passes over those that fail or are slow, and takes no writes unless --write-to says where they "
         "go. Keys are passed on and checked there.",
         {{"kith serve --backends http://a:6333,http://b:6333", "a front before two servers"},
          {"kith serve shop", "one collection, at http://127.0.0.1:6333/"},
          {"kith serve --create collections --port 8080", "an empty folder, for clients to fill"},
          {"kith serve shop --address 0.0.0.0 --keys keys.json --tls-cert cert.pem --tls-key key.pem", "for others"}},
         command_serve},
    [COMMAND_KEY] =
        {COMMAND_KEY,
         "key",
         "NAME",
         1,
         1,
         "make a key for a server",
         "Prints a new secret, once, and the line that allows it in the file of keys of kith serve --keys, which has a "
         "hash of the secret only. With --keys the file gets it. Running servers see it after a SIGHUP.\n"
         "\n"
         "Clients send it as \"Authorization: Bearer SECRET\" or \"api-key: SECRET\".",
         {{"kith key shop-web --role read --keys keys.json", "may search"},
          {"kith key tenant-7 --role write --segment tenant-7 --keys keys.json", "its own items alone"},
          {"kith key ops --role admin", "prints the line"}},
         command_key},
    [COMMAND_AUTOSCALE] =
        {COMMAND_AUTOSCALE,
         "autoscale",
         "[URL...]",
         0,
         OPERANDS_MAX,
         "say how many servers there should be",
         "Looks at how busy servers are, how many calls wait and how long answers take (/v1/stats), and says how many "
         "servers there should be: once, or with --port again and again, for Kubernetes or whoever else starts them. "
         "More are asked for at once, fewer when fewer have done for a while. A name with several addresses is as many "
         "servers.\n"
         "\n"
         "With --simulate it replays recorded traffic through a model of servers with queues and a time to start, and "
         "compares what the controller does with an oracle that knows the future and with fixed sizes: server hours, "
         "99th percentile, late and refused calls, changes, and flaps (more again soon after fewer).",
         {{"kith autoscale http://a:6333 http://b:6333", "how many there should be now"},
          {"kith autoscale http://kith-headless:6333 --min 2 --max 20 --port 9333", "for a Kubernetes autoscaler"},
          {"kith autoscale --simulate day.trace --times 100 --svg day.svg", "what it would have done"}},
         command_autoscale},
    [COMMAND_DEMO] =
        {COMMAND_DEMO,
         "demo",
         "",
         0,
         0,
         "search real pictures and write a page about it",
         "Builds an index of the 60,000 pictures of Fashion-MNIST, searches all 10,000 test pictures, prints accuracy "
         "and speed, and writes one self-contained HTML page with queries beside their neighbours.\n\n"
         "It also makes a collection of the pictures beside the page, PAGE.shop, in which somebody likes and dislikes "
         "things and is recommended others at once. Index and collection of an earlier run are replaced.",
         {{"kith demo -o demo.html", "needs Debian's dataset-fashion-mnist, or --data"}},
         command_demo},
    [COMMAND_CPU] =
        {COMMAND_CPU,
         "cpu",
         "",
         0,
         0,
         "show what this machine can do",
         "Prints the processor, the features found, the tier of kernels in use, and the OpenCL devices that search, "
         "join and bench --device can use. The environment variable "
         "KITH_CPU lowers the tier: scalar, avx2, avx512, amx or neon, then optional -feature words after "
         "commas. Results are the same on every tier. Cores are those that the process may keep busy, by its affinity "
         "and its control group's quota; KITH_THREADS sets how many threads work where nothing else is said.",
         {{"kith cpu", "what was found"}, {"KITH_CPU=avx2 kith cpu", "as a machine without AVX-512"}},
         command_cpu},
    [COMMAND_HELP] = {COMMAND_HELP,
                      "help",
                      "[COMMAND]",
                      0,
                      1,
                      "show help",
                      "Shows the commands, or one of them.",
                      {{"kith help search", "the page of one command"}},
                      command_help},
    [COMMAND_VERSION] = {COMMAND_VERSION,
                         "version",
                         "",
                         0,
                         0,
                         "show the version",
                         "Prints the version.",
                         {{"kith --version", "the same"}},
                         command_version},
};

const struct command *command_find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(command_table[i].name, name) == 0) return &command_table[i];
    return NULL;
}
