/* SPDX-License-Identifier: Apache-2.0
 *
 * Where bytes come from: pipes and FIFOs, what gzip compressed, and files that are something else, which are refused by
 * their name. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void expect_two(const char *path, const kith_reader_options *options) {
    kith_reader *reader = io_open(path, options);
    assert_int_equal(io_info(reader).rows, 2);
    assert_memory_equal(io_next(reader, 9).data, ((float[]){1, 2, 3, 4}), 16);
    assert_int_equal(kith_reader_seek(reader, 1, NULL), KITH_OK);
    assert_memory_equal(io_next(reader, 9).data, ((float[]){3, 4}), 8);
    kith_reader_close(reader);
}

/* The read end of a pipe that a child fills, as a path; as `cmd | kith build /dev/stdin` and <(cmd) give it. */
static pid_t start_pipe(const void *data, size_t bytes, char path[32], int *fd) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        for (size_t i = 0; i < bytes; i++) /* in pieces, so that reads are short */
            if (write(ends[1], (const char *)data + i, 1) != 1) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    *fd = ends[0];
    snprintf(path, 32, "/dev/fd/%d", ends[0]);
    return child;
}

static void end_pipe(pid_t child, int fd) {
    int status;
    close(fd);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void pipes(void **state) {
    (void)state;
    char path[32];
    int fd;
    kith_reader_options options = {.struct_size = sizeof(options)};
    pid_t child = start_pipe("1,2\n3,4\n", 8, path, &fd);
    expect_two(path, &options);
    end_pipe(child, fd);
    child = start_pipe("7\n8\n", 4, path, &fd);
    options.ids_path = path;
    kith_reader *reader = io_open(io_put_text("a.csv", "1,2\n3,4\n"), &options);
    assert_int_equal(io_next(reader, 2).ids[1], 8);
    kith_reader_close(reader);
    end_pipe(child, fd);
    child = start_pipe("", 0, path, &fd);
    io_refuse_with(path, NULL, KITH_E_UNSUPPORTED, "cannot tell its format");
    end_pipe(child, fd);
}

/* A writer that comes later is waited for, and one that waits already is not sent away. */
static void named_pipes(void **state) {
    (void)state;
    const char *path = io_path("fifo.csv");
    assert_int_equal(mkfifo(path, 0600), 0);
    const pid_t child = fork();
    if (child == 0) {
        usleep(50000);
        const int fd = open(path, O_WRONLY);
        _exit(fd < 0 || write(fd, "1,2\n3,4\n", 8) != 8);
    }
    expect_two(path, NULL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(unlink(path), 0);
}

static void no_action(int number) {
    (void)number;
}

static void signals_end_waiting(void **state) {
    (void)state;
    const char *path = io_path("never.csv");
    assert_int_equal(mkfifo(path, 0600), 0);
    const struct sigaction action = {.sa_handler = no_action};
    struct sigaction before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    const pid_t parent = getpid(), child = fork();
    if (child == 0)
        for (;;) { /* until one comes while the parent waits */
            usleep(20000);
            if (getppid() != parent || kill(parent, SIGUSR1) != 0) _exit(0);
        }
    kith_error error = {0};
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_open(path, NULL, &reader, &error), KITH_E_CANCELLED);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    assert_non_null(strstr(error.text, "interrupted by a signal"));
    assert_int_equal(unlink(path), 0);
}

static uint32_t crc32(const unsigned char *data, size_t bytes) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* A gzip file (RFC 1952) of one stored block (RFC 1951). */
static const char *put_gzip(const char *name, const void *data, size_t bytes) {
    static unsigned char file[8192] = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1};
    const uint16_t length = (uint16_t)bytes, complement = (uint16_t)~length;
    const uint32_t crc = crc32(data, bytes), size = (uint32_t)bytes;
    assert_true(bytes + 23 <= sizeof(file));
    memcpy(file + 11, &length, 2);
    memcpy(file + 13, &complement, 2);
    memcpy(file + 15, data, bytes);
    memcpy(file + 15 + bytes, &crc, 4);
    memcpy(file + 19 + bytes, &size, 4);
    return io_put(name, file, bytes + 23);
}

/* Whether the library can find zlib: it is not there for the processor that an emulator plays. */
static int has_zlib(void) {
    void *library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) dlclose(library);
    return library != NULL;
}

static void gzip(void **state) {
    (void)state;
    if (!has_zlib()) {
        io_refuse(put_gzip("a.csv.gz", "1,2\n3,4\n", 8), KITH_E_UNSUPPORTED, "no libz.so.1");
        print_message("zlib is not here: that such files are refused by name is all that can be tried\n");
        return;
    }
    expect_two(put_gzip("a.csv.gz", "1,2\n3,4\n", 8), NULL);
    expect_two(put_gzip("b.csv", "1,2\n3,4\n", 8), NULL);
    expect_two(put_gzip("c.gz", "1,2\n3,4\n", 8), NULL);
    expect_two(put_gzip("d.JSONL.GZ", "{\"vector\":[1,2]}\n{\"vector\":[3,4]}\n", 34), NULL);
    const float rows[] = {1, 2, 3, 4};
    unsigned char bin[24];
    memcpy(bin, (uint32_t[]){2, 2}, 8);
    memcpy(bin + 8, rows, 16);
    expect_two(put_gzip("e.fbin.gz", bin, 24), NULL);
    io_refuse(put_gzip("f.fbin", bin, 24), KITH_E_FORMAT, "no elements"); /* such files may begin with anything */
    const kith_reader_options ids = {.struct_size = sizeof(ids), .ids_path = put_gzip("ids.gz", "a\nb\n", 4)};
    kith_reader *reader = io_open(io_path("b.csv"), &ids);
    assert_memory_equal(io_next(reader, 2).id_bytes, "ab", 2);
    kith_reader_close(reader);
    unsigned char file[8192];
    char text[4096];
    for (size_t i = 0; i < sizeof(text); i += 4) memcpy(text + i, i % 12 ? "5,7\n" : "1,2\n", 4);
    const size_t bytes = io_get(put_gzip("g.csv.gz", text, sizeof(text)), file, sizeof(file));
    io_refuse(io_put("h.csv.gz", file, bytes - 9), KITH_E_FORMAT, "gzip stream is cut off");
    file[bytes - 7] ^= 1;
    io_refuse(io_put("i.csv.gz", file, bytes), KITH_E_FORMAT, "gzip stream is damaged");
    char path[32];
    int fd;
    file[bytes - 7] ^= 1;
    const pid_t child = start_pipe(file, bytes, path, &fd);
    reader = io_open(path, NULL);
    assert_int_equal(io_info(reader).rows, 1024);
    kith_reader_close(reader);
    end_pipe(child, fd);
}

static void other_kinds(void **state) {
    (void)state;
    static const struct {
        const char *name, *data;
        size_t bytes;
        const char *words;
    } cases[] = {
        {"a.csv", "id,a\r7,1\r", 9, "its lines end in CR alone"},
        {"a.csv", "<!DOCTYPE html><p>", 18, "a web page"},
        {"a.npy", " \n<HTML>", 8, "a web page"},
        {"a.csv", "\xFF\xFEi\0d\0", 6, "text in UTF-16"},
        {"a.csv", "i\0d\0,\0", 6, "text in UTF-16"},
        {"a.csv", "\0i\0d\0,", 6, "text in UTF-16"},
        {"a.jsonl", "PAR1abc", 7, "a Parquet file"},
        {"a.parquet", "PAR1abc", 7, "a Parquet file"},
        {"a.h5", "\x89HDF\r\n\x1A\nabc", 11, "an HDF5 file"},
        {"a.npz", "PK\x03\x04zz", 6, "a zip archive (as .npz"},
        {"a.npy", "PK\x03\x04zz", 6, "a zip archive (as .npz"},
        {"a.csv", "BZh91AY", 7, "compressed with bzip2"},
        {"a.csv", "\x28\xB5\x2F\xFDzz", 6, "compressed with zstd"},
        {"a.csv",
         "\xFD"
         "7zXZ\0",
         6, "compressed with xz"},
        {"a.npy", "\x80\x04\x95zz", 5, "a Python pickle"},
        {"a.csv", "\x93NUMPY\x01\0", 8, "an .npy file"},
        {"a.npy", "version https://git-lfs.github.com/spec/v1\n", 43, "a pointer of Git LFS"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        io_refuse(io_put(cases[i].name, cases[i].data, cases[i].bytes), KITH_E_UNSUPPORTED, cases[i].words);
    io_refuse(io_folder, KITH_E_UNSUPPORTED, "is a folder, neither a file nor a pipe");
    io_refuse("/dev/null", KITH_E_UNSUPPORTED, "is a device");
    const kith_reader_options names = {.struct_size = sizeof(names),
                                       .names_path = io_put("n.txt", "\xFF\xFEi\0d\0", 6)};
    kith_error error = {0};
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_open(io_put_text("a.csv", "1,2\n"), &names, &reader, &error), KITH_E_UNSUPPORTED);
    assert_non_null(strstr(error.text, "n.txt: is text in UTF-16"));
}

/* Temporary files go where TMPDIR says, bear no name, and are refused with a sentence where they cannot be. */
static void temporary_files(void **state) {
    (void)state;
    if (!has_zlib()) {
        print_message("zlib is not here\n");
        skip();
    }
    const char *path = put_gzip("t.csv.gz", "1,2\n3,4\n", 8);
    char *before = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
    const size_t files = io_count_files();
    setenv("TMPDIR", io_folder, 1);
    kith_reader *reader = io_open(path, NULL);
    assert_int_equal(io_count_files(), files);
    kith_reader_close(reader);
    setenv("TMPDIR", "/nonexistent-folder", 1);
    kith_error error = {0};
    assert_int_equal(kith_reader_open(path, NULL, &reader, &error), KITH_E_NOTFOUND);
    assert_non_null(strstr(error.text, "/nonexistent-folder: cannot make a temporary file there"));
    if (before)
        setenv("TMPDIR", before, 1);
    else
        unsetenv("TMPDIR");
    free(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipes), cmocka_unit_test(named_pipes), cmocka_unit_test(signals_end_waiting),
        cmocka_unit_test(gzip),  cmocka_unit_test(other_kinds), cmocka_unit_test(temporary_files),
    };
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
