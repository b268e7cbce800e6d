/* SPDX-License-Identifier: Apache-2.0
 *
 * Segment files that were damaged, cut, or not finished. Every flipped bit and every cut is found and named; a file cut
 * while it is mapped costs a search, never the process; a writer that is killed, runs out of space or memory, or whose
 * system calls fail leaves the old file as it was. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/version1.h"

#include "base/pool.h"
#include "store/map.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static kith_error error;

/* ---- System calls that fail on demand: these definitions take the place of the C library's ----------------------- */

static int calls, fault_at, fault_errno, fault_for_good, fault_short;
static int kill_at; /* the number of the call before which the process is killed; 0: none */

/* The numbers of the latest calls of a kind, and of the first sync after the latest write. */
static int last_write, last_read, sync_after_write;

static int fault(void) {
    calls++;
    if (calls == kill_at) raise(SIGKILL);
    if (fault_at == 0 || (fault_for_good ? calls < fault_at : calls != fault_at)) return 0;
    errno = fault_errno;
    return 1;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
    const int failed = fault();
    last_write = calls;
    sync_after_write = 0;
    if (failed) {
        if (!fault_short) return -1;
        bytes = bytes > 1 ? bytes / 2 : bytes;
    }
    return syscall(SYS_pwrite64, fd, data, bytes, offset);
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset) {
    const int failed = fault();
    last_read = calls;
    if (failed) {
        if (!fault_short) return -1;
        bytes = bytes > 1 ? bytes / 2 : bytes;
    }
    return syscall(SYS_pread64, fd, data, bytes, offset);
}

int ftruncate(int fd, off_t bytes) {
    return !fault_short && fault() ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

int fdatasync(int fd) {
    if (!fault_short && fault_errno != EINTR && fault()) return -1;
    if (!sync_after_write) sync_after_write = calls;
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    return !fault_short && fault_errno != EINTR && fault() ? -1 : (int)syscall(SYS_fsync, fd);
}

static int allocations, refuse_allocation;

void *aligned_alloc(size_t alignment, size_t bytes) {
    void *memory = NULL;
    if (++allocations == refuse_allocation) return NULL;
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

/* Paddings of 0, 1 and many bytes; 45,056 bytes in all. */
static const uint64_t small[] = {100, 4096, 4097, 4095, 9000};
enum { SMALL_SECTIONS = 5 };

/* Open and verify; the sentence is in `error`. */
static kith_status check(const char *path) {
    ki_segment *segment = NULL;
    error.text[0] = 0;
    kith_status status = ki_segment_open(path, NULL, &segment, &error);
    if (status == KITH_OK) status = ki_segment_verify(segment, NULL, NULL, NULL, &error);
    ki_segment_close(segment);
    return status;
}

static void expect_whole(const char *path) {
    if (check(path) != KITH_OK) fail_msg("%s", error.text);
}

static void expect_words(kith_status status, const char *words, size_t place) {
    if (status != KITH_E_CORRUPT || !strstr(error.text, words))
        fail_msg("byte %zu: status %d, '%s' lacks '%s'", place, (int)status, error.text, words);
}

/* What a changed byte must be blamed on. */
static void place_of(const ki_layout *layout, uint64_t file_bytes, uint64_t byte, char *words, size_t words_bytes) {
    const uint64_t copy_b = file_bytes - KI_HEADER_BYTES, table = ki_section_table_bytes(layout->version);
    const ki_part *part = layout->part;
    if (byte < KI_HEADER_BYTES)
        snprintf(words, words_bytes, "header copy A");
    else if (byte >= copy_b)
        snprintf(words, words_bytes, "header copy B");
    else if (byte < KI_HEADER_BYTES + table)
        snprintf(words, words_bytes, "section table, copy A");
    else if (byte >= copy_b - table)
        snprintf(words, words_bytes, "section table, copy B");
    else if (byte >= layout->data_end)
        snprintf(words, words_bytes, ": block table is damaged");
    else {
        for (size_t i = 0; i < layout->parts && layout->part[i].offset <= byte; i++) part = &layout->part[i];
        snprintf(words, words_bytes, ": %s%s is damaged", byte >= part->offset + part->bytes ? "padding after " : "",
                 ki_part_place(part->id));
    }
}

static unsigned char *map_writable(const char *path, size_t bytes) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    unsigned char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    return map;
}

static uint64_t size_of(const char *path) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return (uint64_t)status.st_size;
}

/* Names in a folder, besides . and .. */
static int count_names(const char *folder) {
    int names = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        names += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(dir);
    return names;
}

/* ---- Bits and lengths -------------------------------------------------------------------------------------------- */

static void (*const makers[])(const char *path, const uint64_t *bytes, size_t parts) = {version1_make, test_make};

static void change_every_bit(const char *path) {
    char words[100];
    ki_segment *segment = NULL;
    test_bytes file = test_read(path);
    ki_layout layout = test_layout(file);
    unsigned char *map = map_writable(path, file.bytes);
    const uint64_t table = KI_HEADER_BYTES + ki_section_table_bytes(layout.version);
    assert_int_equal(ki_segment_open(path, NULL, &segment, &error), KITH_OK);
    for (size_t byte = 0; byte < file.bytes; byte++) {
        place_of(&layout, file.bytes, byte, words, sizeof(words));
        const bool header = byte < table || byte >= file.bytes - table;
        for (unsigned bit = 0; bit < 8; bit++) {
            map[byte] ^= (unsigned char)(1u << bit);
            expect_words(ki_segment_verify(segment, NULL, NULL, NULL, &error), words, byte);
            /* Opening reads tables and heads only: with them every bit, elsewhere one bit of each byte. */
            if (header ? bit % 2 == byte % 2 : bit == byte % 8) expect_words(check(path), words, byte);
            map[byte] ^= (unsigned char)(1u << bit);
        }
    }
    assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(segment);
    munmap(map, file.bytes);
    expect_whole(path);
    ki_layout_free(&layout);
    free(file.data);
}

static void every_bit(void **state) {
    const char *path = test_path("bits.kith");
    (void)state;
    for (int version = 1; version <= 2; version++) {
        makers[version - 1](path, small, SMALL_SECTIONS);
        change_every_bit(path);
    }
}

static void every_length(void **state) {
    const char *path = test_path("lengths.kith");
    (void)state;
    test_make(path, small, SMALL_SECTIONS);
    for (uint64_t bytes = size_of(path); bytes-- > 0;) {
        assert_int_equal(truncate(path, (off_t)bytes), 0);
        const char *words = bytes < 8       ? "not a kith index"
                            : bytes < 4096  ? "header copy"
                            : bytes < 12288 ? "cut short: there is no whole section table"
                            : bytes < 20993 ? "cut short: section 'lists' reaches byte 20993"
                            : bytes < 37928 ? "cut short: section 'first_level' reaches byte 37928"
                            : bytes < 45056 ? "cut short: the block table"
                            : bytes < 53248 ? "cut short: section table, copy B, reaches byte 53248"
                                            : "cut short: header copy B";
        expect_words(check(path), words, bytes);
    }
}

static void every_length_of_version1(void **state) {
    const char *path = test_path("lengths.kith");
    (void)state;
    version1_make(path, small, SMALL_SECTIONS);
    for (uint64_t bytes = size_of(path); bytes-- > 0;) {
        assert_int_equal(truncate(path, (off_t)bytes), 0);
        const char *words = bytes < 8       ? "not a kith index"
                            : bytes < 4096  ? "header copy"
                            : bytes < 4196  ? "cut short: section 'lists', part 'table' reaches byte 4196"
                            : bytes < 12288 ? "cut short: section 'lists', part 'centroids' reaches byte 12288"
                            : bytes < 33576 ? "cut short: section '"
                            : bytes < 40960 ? "cut short: the block table"
                                            : "cut short: header copy B";
        expect_words(check(path), words, bytes);
    }
}

static void bytes_appended(void **state) {
    const char *path = test_path("longer.kith");
    (void)state;
    test_make(path, small, SMALL_SECTIONS);
    test_bytes file = test_read(path);
    unsigned char *longer = calloc(2, file.bytes);
    memcpy(longer, file.data, file.bytes);
    for (size_t more = 1; more <= 5000; more += 833) {
        test_write(path, longer, file.bytes + more);
        expect_words(check(path), "foreign bytes", more);
    }
    memcpy(longer + file.bytes, file.data, file.bytes);
    test_write(path, longer, 2 * file.bytes);
    expect_words(check(path), "foreign bytes", 2 * file.bytes);
    longer[100] ^= 1; /* copy A gone: the B at the end belongs to another length */
    test_write(path, longer, 2 * file.bytes);
    assert_int_equal(check(path), KITH_E_CORRUPT);
    free(longer);
    free(file.data);
}

static void larger_file_by_strides(void **state) {
    static const uint64_t bytes[] = {70000, 1500001, 65536, 500000};
    const char *path = test_path("stride.kith");
    char words[100];
    kith_pool *pool = NULL;
    ki_segment *segment = NULL;
    (void)state;
    assert_int_equal(kith_pool_create(3, &pool, &error), KITH_OK);
    test_make(path, bytes, 4);
    test_bytes file = test_read(path);
    ki_layout layout = test_layout(file);
    unsigned char *map = map_writable(path, file.bytes);
    assert_int_equal(ki_segment_open(path, NULL, &segment, &error), KITH_OK);
    for (size_t byte = 0; byte < file.bytes; byte += 1499) {
        place_of(&layout, file.bytes, byte, words, sizeof(words));
        map[byte] ^= (unsigned char)(1u << byte % 8);
        expect_words(ki_segment_verify(segment, pool, NULL, NULL, &error), words, byte);
        map[byte] ^= (unsigned char)(1u << byte % 8);
    }
    ki_segment_close(segment);
    munmap(map, file.bytes);
    ki_layout_free(&layout);
    free(file.data);
    kith_pool_destroy(pool);
}

/* One random damage of several bytes; false if it happened to change nothing. */
static bool damage(unsigned char *map, const test_bytes *file, ki_rng *rng) {
    const size_t sector = 512, sectors = file->bytes / sector;
    const size_t at = ki_rng_below(rng, sectors) * sector, other = ki_rng_below(rng, sectors) * sector;
    switch (ki_rng_below(rng, 6)) {
    case 0: /* two bits */
        for (int i = 0; i < 2; i++) map[ki_rng_below(rng, file->bytes)] ^= (unsigned char)(1u << ki_rng_below(rng, 8));
        break;
    case 1: /* a few bytes */
        for (int i = 0; i < 9; i++) map[ki_rng_below(rng, file->bytes)] = (unsigned char)ki_rng_next(rng);
        break;
    case 2: /* a lost sector */
        memset(map + at, 0, sector);
        break;
    case 3: /* a misplaced sector */
        memcpy(map + at, file->data + other, sector);
        break;
    case 4: /* two sectors exchanged */
        memcpy(map + at, file->data + other, sector);
        memcpy(map + other, file->data + at, sector);
        break;
    default: /* the rest shifted by a byte */
        memcpy(map + at + 1, file->data + at, file->bytes - at - 1);
        break;
    }
    return memcmp(map, file->data, file->bytes) != 0;
}

static void random_damage(void **state) {
    const char *path = test_path("random.kith");
    ki_rng rng = {11};
    (void)state;
    for (int version = 1; version <= 2; version++) {
        makers[version - 1](path, small, SMALL_SECTIONS);
        test_bytes file = test_read(path);
        unsigned char *map = map_writable(path, file.bytes);
        for (int round = 0; round < 10000; round++) {
            if (damage(map, &file, &rng)) {
                assert_int_equal(check(path), KITH_E_CORRUPT);
                if (!strstr(error.text, "section '") && !strstr(error.text, "header") &&
                    !strstr(error.text, "section table") && !strstr(error.text, "block table") &&
                    !strstr(error.text, "not a kith index"))
                    fail_msg("no place named: %s", error.text);
            }
            memcpy(map, file.data, file.bytes);
        }
        expect_whole(path);
        munmap(map, file.bytes);
        free(file.data);
    }
}

/* ---- A mapped file cut under us (S4) ----------------------------------------------------------------------------- */

static uint64_t sum_all(const ki_segment *segment) {
    uint64_t sum = 0;
    for (size_t part = 0; part < 12; part++) {
        const ki_part_view section = ki_segment_part(segment, test_part(part));
        for (uint64_t i = 0; i < section.bytes; i++) sum += ((const volatile unsigned char *)section.data)[i];
    }
    return sum;
}

static void cut_while_open(void **state) {
    static const uint64_t bytes[] = {70000, 1500001, 65536, 500000};
    static const uint64_t cuts[] = {0, 1, 4096, 5000, 70000, 1000000, 1000001};
    (void)state;
    test_make(test_path("other.kith"), bytes, 4);
    ki_segment *other = NULL;
    assert_int_equal(ki_segment_open(test_path("other.kith"), NULL, &other, &error), KITH_OK);
    const uint64_t whole = sum_all(other), file_bytes = size_of(test_path("other.kith"));
    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts) + 3; i++) {
        const char *path = test_path("cut.kith");
        const uint64_t cut = i < sizeof(cuts) / sizeof(*cuts) ? cuts[i] : file_bytes - (i % 3 ? i % 3 * 300 : 4);
        ki_segment *segment = NULL;
        test_make(path, bytes, 4);
        assert_int_equal(ki_segment_open(path, NULL, &segment, &error), KITH_OK);
        assert_int_equal(sum_all(segment), whole);
        assert_int_equal(ki_segment_damaged(segment), 0);
        assert_int_equal(truncate(path, (off_t)cut), 0);
        const uint64_t left = sum_all(segment); /* lives */
        assert_true(left <= whole && (left < whole) == (cut < file_bytes - 16384 - 500));
        assert_int_not_equal(ki_segment_damaged(segment), 0);
        assert_int_equal(ki_segment_verify(segment, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
        assert_int_equal(ki_segment_damaged(other), 0);
        ki_segment_close(segment);
    }
    assert_int_equal(sum_all(other), whole);
    assert_int_equal(ki_segment_verify(other, NULL, NULL, NULL, &error), KITH_OK);
    ki_segment_close(other);
}

/* The registry by itself: its flags, its reuse, and what happens when it is full. */
static void registry_of_maps(void **state) {
    static int slot[KI_MAPS_MAX + 1];
    const long page = sysconf(_SC_PAGESIZE);
    const size_t bytes = (size_t)page * 4;
    unsigned char *memory = calloc(1, bytes);
    (void)state;
    test_write(test_path("registry"), memory, bytes);
    const volatile unsigned char *map = map_writable(test_path("registry"), bytes);
    for (int i = 0; i < KI_MAPS_MAX; i++) /* all the same map: the first entry answers for it */
        assert_int_equal(ki_map_protect((const void *)(uintptr_t)map, bytes, &slot[i], &error), KITH_OK);
    assert_int_equal(ki_map_protect((const void *)(uintptr_t)map, bytes, &slot[KI_MAPS_MAX], &error), KITH_E_LIMIT);
    assert_int_equal(truncate(test_path("registry"), page), 0);
    assert_int_equal(map[0], 0);
    assert_int_equal(ki_map_damaged(slot[0]), 0);
    assert_int_equal(map[2 * page], 0);
    assert_int_not_equal(ki_map_damaged(slot[0]), 0);
    assert_int_equal(ki_map_damaged(slot[1]), 0);
    for (int i = 0; i < KI_MAPS_MAX; i++) ki_map_release(slot[i]);
    assert_int_equal(ki_map_protect((const void *)(uintptr_t)map, bytes, &slot[0], &error), KITH_OK);
    assert_int_equal(ki_map_damaged(slot[0]), 0); /* a new owner starts clean */
    ki_map_release(slot[0]);
    ki_map_release(KI_MAP_NONE);
    assert_int_equal(ki_map_damaged(KI_MAP_NONE), 0);
    munmap((void *)(uintptr_t)map, bytes);
    free(memory);
}

struct summing {
    ki_segment *segment;
    atomic_int stop;
};

static void *sum_until_told(void *context) {
    struct summing *summing = context;
    do (void)sum_all(summing->segment);
    while (!atomic_load(&summing->stop));
    return NULL;
}

static void cut_under_many_threads(void **state) {
    static const uint64_t bytes[] = {300000, 500001};
    (void)state;
    for (int round = 0; round < 20; round++) {
        const char *path = test_path("threads.kith");
        struct summing summing = {.segment = NULL};
        pthread_t thread[4];
        test_make(path, bytes, 2);
        assert_int_equal(ki_segment_open(path, NULL, &summing.segment, &error), KITH_OK);
        for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, sum_until_told, &summing), 0);
        usleep((useconds_t)round * 50);
        assert_int_equal(truncate(path, round * 40000), 0);
        (void)sum_all(summing.segment); /* meets what is gone, also if none of them gets a turn now */
        atomic_store(&summing.stop, 1);
        for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
        assert_int_not_equal(ki_segment_damaged(summing.segment), 0);
        ki_segment_close(summing.segment);
    }
}

static void host_handler(int number, siginfo_t *info, void *context) {
    (void)info;
    (void)context;
    _exit(number == SIGBUS ? 42 : 1);
}

static void touch_cut_file(const char *path) {
    test_write(path, "x", 1);
    volatile unsigned char *map = map_writable(path, 4096);
    if (truncate(path, 0) != 0) _exit(3);
    (void)map[0];
    _exit(4); /* no SIGBUS came */
}

enum { HOST_DEFAULT, HOST_HANDLER, HOST_IGNORES, HOST_SENT, HOST_REPLACED, HOST_CASES };

/* The host's own SIGBUS, in a process that has a segment open. */
static void host_case(int number) {
    ki_segment *segment = NULL;
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = number == HOST_IGNORES ? SIG_IGN : SIG_DFL;
    if (number == HOST_HANDLER || number == HOST_REPLACED) {
        action.sa_flags = SA_SIGINFO;
        action.sa_sigaction = host_handler;
    }
    sigaction(SIGBUS, &action, NULL);
    if (ki_segment_open(test_path("other.kith"), NULL, &segment, &error) != KITH_OK) _exit(2);
    if (number == HOST_SENT) kill(getpid(), SIGBUS);
    if (number == HOST_REPLACED) { /* taken away and put back by the next open */
        ki_segment *second = NULL;
        signal(SIGBUS, SIG_DFL);
        if (ki_segment_open(test_path("other.kith"), NULL, &second, &error) != KITH_OK) _exit(2);
        if (truncate(test_path("other.kith"), 0) != 0) _exit(3);
        (void)sum_all(segment);
        _exit(ki_segment_damaged(segment) && ki_segment_damaged(second) ? 43 : 5);
    }
    touch_cut_file(test_path("foreign"));
}

/* Runs before any open of this process, so that each child's first open meets the host's handler. */
static void other_faults_are_the_hosts(void **state) {
    (void)state;
    test_make(test_path("other.kith"), small, SMALL_SECTIONS);
    for (int number = 0; number < HOST_CASES; number++) {
        int status = 0;
        const pid_t child = fork();
        if (child == 0) {
            const struct rlimit no_core = {0, 0};
            setrlimit(RLIMIT_CORE, &no_core);
            host_case(number);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (number == HOST_HANDLER || number == HOST_REPLACED) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), number == HOST_HANDLER ? 42 : 43);
        } else {
            assert_true(WIFSIGNALED(status));
            assert_int_equal(WTERMSIG(status), SIGBUS);
        }
    }
}

/* ---- Writers that do not get to the end -------------------------------------------------------------------------- */

/* Write generation `rows` of a file of 1.2 MB; the writer is gone afterwards in any case. */
static kith_status write_generation(const char *path, uint64_t rows, kith_pool *pool) {
    enum { BYTES = 600000 };
    static unsigned char data[BYTES];
    const ki_part_plan plan[] = {{KI_PART_LISTS, BYTES, 1}, {KI_PART_CENTROIDS, BYTES / 2, 1}};
    const ki_part_data last = {{KI_PART_CODES, BYTES / 2, 1}, data};
    ki_segment_head head = test_head();
    ki_segment_writer *writer = NULL;
    head.rows = rows;
    memset(data, (int)(rows % 255 + 1), sizeof(data));
    kith_status status = ki_segment_create(path, plan, 2, &writer, &error);
    if (status != KITH_OK) return status;
    for (uint64_t at = 0; status == KITH_OK && at < BYTES; at += 100000)
        status = ki_segment_put(writer, KI_PART_LISTS, at, data + at, 100000, &error);
    if (status == KITH_OK) status = ki_segment_put(writer, KI_PART_CENTROIDS, 0, data, BYTES / 2, &error);
    if (status == KITH_OK) status = ki_segment_append(writer, &last, 1, &error);
    if (status == KITH_OK) return ki_segment_finish(writer, &head, pool, NULL, NULL, NULL, &error);
    ki_segment_abandon(writer);
    return status;
}

static uint64_t generation_of(const char *path) {
    ki_segment *segment = NULL;
    expect_whole(path);
    assert_int_equal(ki_segment_open(path, NULL, &segment, &error), KITH_OK);
    const uint64_t rows = ki_segment_get_head(segment)->rows;
    const unsigned char *data = ki_segment_part(segment, KI_PART_LISTS).data;
    assert_int_equal(data[599999], rows % 255 + 1);
    ki_segment_close(segment);
    return rows;
}

/* At some moment, and in odd rounds before a certain system call: some of those are kills of the very first file. */
static void killed_at_any_time(void **state) {
    ki_rng rng = {5};
    int absent = 0;
    (void)state;
    for (int round = 0; round < 120; round++) {
        int pipe_fd[2];
        uint64_t acknowledged = 0, rows;
        const char *path = test_path("killed.kith");
        unlink(path);
        assert_int_equal(pipe(pipe_fd), 0);
        const pid_t child = fork();
        if (child == 0) {
            calls = 0;
            kill_at = round % 2 ? 1 + round / 2 : 0;
            for (rows = 1;; rows++)
                if (write_generation(path, rows, NULL) != KITH_OK || write(pipe_fd[1], &rows, 8) != 8) _exit(1);
        }
        close(pipe_fd[1]);
        if (round % 2 == 0) {
            usleep((useconds_t)ki_rng_below(&rng, 30000));
            kill(child, SIGKILL);
        }
        waitpid(child, NULL, 0);
        while (read(pipe_fd[0], &rows, 8) == 8) acknowledged = rows;
        close(pipe_fd[0]);
        if (access(path, F_OK) != 0) {
            assert_int_equal(acknowledged, 0);
            absent++;
        } else {
            const uint64_t found = generation_of(path);
            assert_true(found == acknowledged || found == acknowledged + 1);
        }
    }
    assert_true(absent > 10); /* otherwise no kill came early enough to mean something */
}

/* Fault number 1, 2, ... until a run meets none. */
static void faults(int number, int for_good, int shortened) {
    const char *folder = test_path("faults");
    char path[420];
    assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof(path), "%s/f.kith", folder);
    unlink(path);
    uint64_t generation = 1;
    assert_int_equal(write_generation(path, generation, NULL), KITH_OK);
    const bool harmless = shortened || number == EINTR;
    int failures = 0;
    for (int at = 1;; at++) {
        calls = 0;
        fault_at = at;
        fault_errno = number;
        fault_for_good = for_good;
        fault_short = shortened;
        const kith_status status = write_generation(path, generation + 1, NULL);
        const bool met = calls >= at;
        fault_at = fault_errno = fault_for_good = fault_short = 0;
        if (harmless)
            assert_int_equal(status, KITH_OK);
        else if (met)
            assert_int_equal(status, number == ENOSPC ? KITH_E_NOSPACE : KITH_E_IO);
        if (status == KITH_OK)
            generation++;
        else
            failures++;
        /* A folder that cannot be synced is an error though the name is there already: old or new, but whole. */
        const uint64_t found = generation_of(path);
        assert_true(found == generation || (status != KITH_OK && found == generation + 1));
        generation = found;
        assert_int_equal(count_names(folder), 1);
        if (!met) break;
    }
    assert_true(harmless ? failures == 0 : failures > 10);
}

static void system_calls_fail(void **state) {
    (void)state;
    faults(EIO, 0, 0);
    faults(EIO, 1, 0);
    faults(ENOSPC, 0, 0);
    faults(EINTR, 0, 0);
    faults(0, 0, 1);
}

static void memory_is_refused(void **state) {
    const char *path = test_path("memory.kith");
    (void)state;
    assert_int_equal(write_generation(path, 1, NULL), KITH_OK);
    for (int at = 1;; at++) {
        allocations = 0;
        refuse_allocation = at;
        kith_status status = write_generation(path, 2, NULL);
        if (status == KITH_OK) status = check(path);
        refuse_allocation = 0;
        if (allocations < at) {
            assert_int_equal(status, KITH_OK);
            assert_true(at > 4);
            break;
        }
        assert_int_equal(status, KITH_E_NOMEM);
    }
}

/* What the disk gives back is not what was written: the finished file must never get its name. */
static void damage_before_finish(void **state) {
    static unsigned char data[300000];
    const char *path = test_path("before.kith");
    const ki_part_plan plan[] = {{KI_PART_LISTS, sizeof(data), 1}};
    const ki_segment_head head = test_head();
    (void)state;
    for (int which = 0; which < 2; which++) {
        ki_segment_writer *writer = NULL;
        const int fd = dup(0); /* the number that the writer's file will get */
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(ki_segment_create(path, plan, 1, &writer, &error), KITH_OK);
        assert_int_equal(ki_segment_put(writer, KI_PART_LISTS, 0, data, sizeof(data), &error), KITH_OK);
        assert_int_equal(pwrite(fd, "x", 1, 16384 + (which ? 70000 : 300001)), 1);
        assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_E_IO);
        assert_non_null(strstr(error.text, which ? ": section 'lists', part 'table'"
                                                 : ": padding after section 'lists', part 'table'"));
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

/* S3: written, then synced, then read back. */
static void synced_before_read_back(void **state) {
    (void)state;
    calls = 0;
    assert_int_equal(write_generation(test_path("order.kith"), 1, NULL), KITH_OK);
    assert_true(last_write < sync_after_write && sync_after_write < last_read);
}

static void name_taken_by_a_folder(void **state) {
    const char *path = test_path("folder.kith");
    const ki_part_plan plan[] = {{KI_PART_LISTS, 10, 1}};
    const ki_segment_head head = test_head();
    ki_segment_writer *writer = NULL;
    (void)state;
    const int before = count_names(test_folder);
    assert_int_equal(ki_segment_create(path, plan, 1, &writer, &error), KITH_OK);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_E_IO);
    assert_int_equal(count_names(test_folder), before + 1);
    assert_int_equal(ki_segment_create(path, plan, 1, &writer, &error), KITH_E_ARG);
}

/* In a child, because limits and mounts outlive a test. Exit status 0: as it should be; 77: not possible here. */
static int full_disk(int tmpfs, const char *folder) {
    const struct rlimit limit = {700000, 700000};
    char path[420];
    snprintf(path, sizeof(path), "%s/full.kith", folder);
    if (tmpfs && (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
                  mount("tmpfs", folder, "tmpfs", 0, "size=2m") != 0))
        return 77;
    if (tmpfs && write_generation(path, 1, NULL) != KITH_OK) return 1;
    if (!tmpfs && (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) != 0)) return 77;
    if (write_generation(path, 2, NULL) != KITH_E_NOSPACE) return 2;
    if (!strstr(error.text, path)) return 3;
    if (!tmpfs) return access(path, F_OK) == 0 ? 4 : count_names(folder) ? 5 : 0;
    if (generation_of(path) != 1 || count_names(folder) != 1) return 6;
    if (mount("tmpfs", folder, "tmpfs", MS_REMOUNT, "size=8m") != 0) return 7;
    return write_generation(path, 2, NULL) == KITH_OK && generation_of(path) == 2 ? 0 : 8; /* resumes with room */
}

static void disk_full(void **state) {
    const char *folder = test_path("full");
    (void)state;
    assert_int_equal(mkdir(folder, 0700), 0);
    for (int tmpfs = 0; tmpfs < 2; tmpfs++) {
        int status = 0;
        const pid_t child = fork();
        if (child == 0) _exit(full_disk(tmpfs, folder));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
            print_message("disk_full: %s not possible here\n", tmpfs ? "tmpfs" : "limit");
        else
            assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_faults_are_the_hosts), /* first: see there */
        cmocka_unit_test(every_bit),
        cmocka_unit_test(every_length),
        cmocka_unit_test(every_length_of_version1),
        cmocka_unit_test(bytes_appended),
        cmocka_unit_test(larger_file_by_strides),
        cmocka_unit_test(random_damage),
        cmocka_unit_test(cut_while_open),
        cmocka_unit_test(cut_under_many_threads),
        cmocka_unit_test(registry_of_maps),
        cmocka_unit_test(killed_at_any_time),
        cmocka_unit_test(system_calls_fail),
        cmocka_unit_test(memory_is_refused),
        cmocka_unit_test(damage_before_finish),
        cmocka_unit_test(synced_before_read_back),
        cmocka_unit_test(name_taken_by_a_folder),
        cmocka_unit_test(disk_full),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
