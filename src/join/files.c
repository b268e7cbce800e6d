/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a join to <out>, with <stem> = <out> less a suffix .npy for arrays:
 *
 *   <stem>.join              the state
 *   <stem>.part              ids, or NDJSON: locked while a process is at work
 *   <stem>.distances.part    distances
 *
 * They become <stem>.ids.npy and <stem>.distances.npy, or <out>; the state is removed last. A kill between the renames
 * leaves the state, which knows by their inodes which files were renamed. */
#define _GNU_SOURCE
#include "join/join.h"

#include "base/checked.h"
#include "base/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The first `bytes` of a text, and a tail behind them. */
static char *with_tail(const char *text, size_t bytes, const char *tail) {
    char *made = NULL;
    return asprintf(&made, "%.*s%s", (int)bytes, text, tail) < 0 ? NULL : made;
}

static kith_status check_final(const char *path, const ki_join_request *request, kith_error *error) {
    struct stat final, other;
    /* The parts lie beside it for as long as a join takes, and a link may lead to another disk. */
    if (lstat(path, &final) == 0 && S_ISLNK(final.st_mode))
        return ki_fail(error, KITH_E_ARG, "%s: is a symbolic link: give the name of the file that it leads to", path);
    if (stat(path, &final) != 0) return KITH_OK;
    if (!S_ISREG(final.st_mode))
        return ki_fail(error, KITH_E_ARG, "%s: is there already and is not a regular file", path);
    const int is_index = stat(ki_segment_path(request->index->segment), &other) == 0 && other.st_dev == final.st_dev &&
                         other.st_ino == final.st_ino;
    const int is_queries = request->queries && request->queries->fd >= 0 && fstat(request->queries->fd, &other) == 0 &&
                           other.st_dev == final.st_dev && other.st_ino == final.st_ino;
    if (is_index || is_queries)
        return ki_fail(error, KITH_E_ARG, "%s: is the file of the %s: the output would replace it", path,
                       is_index ? "vectors" : "queries");
    return KITH_OK;
}

static kith_status open_part(ki_join_files *files, const ki_join_request *request, const char *stem, size_t bytes,
                             const char *part, const char *tail, kith_error *error) {
    char *temp = with_tail(stem, bytes, part), *final = with_tail(stem, bytes, tail);
    kith_status status = temp && final ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) status = check_final(final, request, error);
    if (status == KITH_OK) status = ki_outfile_resume(final, temp, &files->part[files->count], error);
    if (status == KITH_OK) files->count++;
    free(temp);
    free(final);
    return status;
}

kith_status ki_join_files_open(ki_join_files *files, const ki_join_request *request, const char *out,
                               kith_error *error) {
    const int arrays = request->format == KITH_JOIN_NPY;
    const size_t bytes = strlen(out), stem = bytes - (arrays && ki_suffix_is(out, ".npy") ? 4 : 0);
    if (stem == 0 || out[stem - 1] == '/') return ki_fail(error, KITH_E_ARG, "%s: is not the name of a file", out);
    files->state_path = with_tail(out, stem, ".join");
    files->stray = arrays ? NULL : with_tail(out, stem, ".distances.part");
    if (!files->state_path || (!arrays && !files->stray)) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    kith_status status = open_part(files, request, out, stem, ".part", arrays ? ".ids.npy" : "", error);
    if (status == KITH_OK && arrays)
        status = open_part(files, request, out, stem, ".distances.part", ".distances.npy", error);
    return status;
}

static int is_file(const struct stat *about, const ki_join_state *state, size_t part, uint64_t bytes) {
    const uint64_t size = (uint64_t)about->st_size;
    return (uint64_t)about->st_dev == state->device[part] && (uint64_t)about->st_ino == state->inode[part] &&
           (state->done == state->rows ? size == bytes : size >= bytes);
}

int ki_join_files_match(ki_join_files *files, const ki_join_state *state, const uint64_t *expected) {
    struct stat about;
    for (size_t i = 0; i < files->count; i++) {
        files->renamed[i] = 0;
        if (fstat(files->part[i].fd, &about) == 0 && is_file(&about, state, i, expected[i])) continue;
        if (state->done < state->rows || stat(files->part[i].path, &about) != 0 ||
            !is_file(&about, state, i, expected[i]))
            return 0;
        files->renamed[i] = 1;
    }
    return 1;
}

kith_status ki_join_files_reset(ki_join_files *files, kith_error *error) {
    kith_status status = ki_remove(files->state_path, error);
    if (status == KITH_OK && files->stray) status = ki_remove(files->stray, error);
    for (size_t i = 0; i < files->count && status == KITH_OK; i++) {
        files->renamed[i] = 0;
        files->part[i].kept = 0;
        status = ki_outfile_cut(&files->part[i], 0, error);
    }
    return status;
}

kith_status ki_join_files_checkpoint(ki_join_files *files, ki_join_state *state, kith_error *error) {
    struct stat about;
    for (size_t i = 0; i < files->count; i++) {
        const kith_status status = ki_outfile_sync(&files->part[i], error);
        if (status != KITH_OK) return status;
        if (fstat(files->part[i].fd, &about) != 0)
            return ki_fail_errno(error, errno, "%s: cannot stat", files->part[i].temp);
        state->device[i] = (uint64_t)about.st_dev;
        state->inode[i] = (uint64_t)about.st_ino;
    }
    const kith_status status = ki_join_state_save(files->state_path, state, error);
    for (size_t i = 0; i < files->count && status == KITH_OK; i++) files->part[i].kept = 1;
    return status;
}

kith_status ki_join_files_finish(ki_join_files *files, kith_error *error) {
    for (size_t i = files->count; i-- > 0;) { /* the ids last: their name says that both are there */
        if (files->renamed[i]) {              /* then the .part file is an empty one, made to be locked */
            files->part[i].kept = 0;
            ki_outfile_discard(&files->part[i]);
            continue;
        }
        const kith_status status = ki_outfile_commit(&files->part[i], error);
        if (status != KITH_OK) return status;
    }
    return ki_remove(files->state_path, error);
}

void ki_join_files_close(ki_join_files *files) {
    struct stat about;
    for (size_t i = 0; i < KI_JOIN_PARTS; i++) {
        ki_outfile *part = &files->part[i];
        if (part->fd >= 0 && fstat(part->fd, &about) == 0 && about.st_size == 0) part->kept = 0; /* just made */
        ki_outfile_discard(part);
    }
    free(files->state_path);
    free(files->stray);
    *files = (ki_join_files)KI_JOIN_FILES_NONE;
}
