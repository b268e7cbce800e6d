/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory refused at each allocation of reading and writing, once and for good: the answer is KITH_E_NOMEM or the right
 * rows, nothing is leaked, and no file appears. The allocator of this program is replaced for that, which the address
 * sanitizer does not allow: there the test is skipped. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#if !defined(SANITIZED) && defined(__GLIBC__)

#include <errno.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

static int counting, for_good;
static long allocations, fail_at, live;

/* Is the allocation that comes now to be refused? */
static int refused(void) {
    if (!counting) return 0;
    const long number = allocations++;
    if (number != fail_at && !(for_good && number > fail_at)) return 0;
    errno = ENOMEM;
    return 1;
}

static void *count(void *memory) {
    if (counting && memory) live++;
    return memory;
}

void *malloc(size_t bytes) {
    return refused() ? NULL : count(__libc_malloc(bytes));
}
void *calloc(size_t number, size_t bytes) {
    return refused() ? NULL : count(__libc_calloc(number, bytes));
}
void *aligned_alloc(size_t alignment, size_t bytes) {
    return refused() ? NULL : count(__libc_memalign(alignment, bytes));
}

void *realloc(void *memory, size_t bytes) {
    if (refused()) return NULL;
    void *grown = __libc_realloc(memory, bytes);
    return memory ? grown : count(grown);
}

void free(void *memory) {
    if (counting && memory) live--;
    __libc_free(memory);
}

/* One piece of work: KITH_OK only with the right result. */
typedef kith_status (*work)(const char *path, kith_error *error);

static const char *ids_path, *names_path;

static int skip_bad;

static kith_status read_whole(const char *path, kith_error *error) {
    static const float expected[6] = {1, 0.12345678901234567f, 3, 4, 5, 6};
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    kith_reader *reader = NULL;
    int same = 1;
    uint64_t seen = 0;
    options.ids_path = ids_path;
    options.names_path = names_path;
    options.skip_bad = skip_bad;
    kith_status status = kith_reader_open(path, &options, &reader, error);
    while (status == KITH_OK) {
        kith_rows rows = {0};
        status = kith_reader_next(reader, 2, &rows, error);
        if (status != KITH_OK || rows.count == 0) break;
        same &= memcmp(rows.data, expected + 2 * rows.first, rows.count * 8) == 0;
        if (rows.id_ends)
            same &= memcmp(rows.id_bytes, rows.first ? "a-rather-long-identifier-2" : "a-rather-long-identifier-0",
                           26) == 0;
        if (rows.ids) same &= rows.ids[0] == 100 + rows.first;
        seen += rows.count;
    }
    kith_reader_close(reader);
    if (status == KITH_OK && (seen != 3 || !same)) return KITH_E_CORRUPT;
    return status;
}

static kith_status write_whole(const char *path, kith_error *error) {
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    kith_writer *writer = NULL;
    kith_status status = kith_writer_open(path, KITH_FORMAT_AUTO, KITH_F32, 2, 3, KITH_ID_ROW, 0, &writer, error);
    if (status != KITH_OK) return status;
    status = kith_writer_write(writer, &(kith_rows){.count = 3, .data = data}, error);
    if (status == KITH_OK) return kith_writer_finish(writer, error);
    kith_writer_abandon(writer);
    return status;
}

static void refuse_each(work run, const char *path) {
    for (for_good = 0; for_good < 2; for_good++)
        for (fail_at = 0;; fail_at++) {
            kith_error error = {0};
            allocations = live = 0;
            counting = 1;
            const kith_status status = run(path, &error);
            counting = 0;
            if (live) fail_msg("%s: allocation %ld refused: %ld blocks leaked", path, fail_at, live);
            if (status == KITH_OK && allocations <= fail_at) break;
            if (status != KITH_OK && status != KITH_E_NOMEM)
                fail_msg("%s: allocation %ld refused: %d: %s", path, fail_at, (int)status, error.text);
            if (status != KITH_OK) assert_true(error.text[0] != '\0');
            assert_true(fail_at < 1000);
        }
    assert_true(fail_at > 1);
}

static void readers(void **state) {
    (void)state;
    const float data[6] = {1, 0.12345678901234567f, 3, 4, 5, 6};
    char bin[32] = {3, 0, 0, 0, 2, 0, 0, 0};
    memcpy(bin + 8, data, sizeof(data));
    ids_path = names_path = NULL;
    refuse_each(read_whole,
                io_put_npy("m.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", data, sizeof(data)));
    refuse_each(read_whole, io_put("m.fbin", bin, sizeof(bin)));
    refuse_each(read_whole,
                io_put_text("m.csv", "id,name,x,y\na-rather-long-identifier-0,n,1,0.12345678901234567\nb,n,3,4\n"
                                     "a-rather-long-identifier-2,n,5,6\n"));
    refuse_each(
        read_whole,
        io_put_text("m.jsonl",
                    "{\"id\":\"a-rather-long-identifier-0\",\"vector\":[1,0.12345678901234567],\"name\":\"n\"}\n"
                    "{\"id\":\"b\",\"vector\":[3,4]}\n{\"id\":\"a-rather-long-identifier-2\",\"vector\":[5,6]}\n"));
    refuse_each(read_whole, io_put_text("f.csv", ",0,1\n100,1,0.12345678901234567\n101,3,4\n102,5,6\n"));
    refuse_each(read_whole, io_put_text("e.jsonl", "{\"embedding\":[1,0.12345678901234567]}\n{\"embedding\":[3,4]}\n"
                                                   "{\"embedding\":[5,6]}\n"));
    skip_bad = 1;
    refuse_each(read_whole,
                io_put_text("l.csv", "id,v,text\na-rather-long-identifier-0,\"[1, 0.12345678901234567]\",x\n"
                                     "b,[3 4],y\nc,[3],z\na-rather-long-identifier-2,[5 6],z\n"));
    skip_bad = 0;
    const double wide[6] = {1, (double)data[1], 3, 4, 5, 6};
    ids_path = io_put_text("ids.txt", "100\n101\n102\n");
    names_path = io_put_text("names.txt", "x\ny\nz\n");
    refuse_each(read_whole,
                io_put_npy("m.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }", wide, sizeof(wide)));
}

static void writers(void **state) {
    (void)state;
    static const char *const names[] = {"w.npy", "w.fvecs", "w.csv", "w.jsonl"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const size_t files = io_count_files();
        refuse_each(write_whole, io_path(names[i]));
        assert_int_equal(io_count_files(), files + 1);
    }
}

#else

static void readers(void **state) {
    (void)state;
    skip();
}

static void writers(void **state) {
    (void)state;
    skip();
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers), cmocka_unit_test(writers)};
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
