/* SPDX-License-Identifier: Apache-2.0
 *
 * One child process does it: KITH_PYTHON, or python3, with the package's kith._foreign. It gets words, no shell is
 * involved, and it does not look for modules in the current folder. */
#define _GNU_SOURCE
#include "foreign.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What the child exits with when there is no such package; python/kith/_foreign.py uses the command's own codes. */
#define NO_PACKAGE    97
#define TEXT(code)    #code
#define TEXT_OF(code) TEXT(code)

/* "" stands for the current folder, where anybody may have left a kith.py. */
static const char program[] = "import sys\n"
                              "sys.path[:] = [part for part in sys.path if part]\n"
                              "try:\n"
                              "    from kith._foreign import main\n"
                              "except ImportError:\n"
                              "    sys.exit(" TEXT_OF(NO_PACKAGE) ")\n"
                                                                  "main(*sys.argv[1:])\n";

/* ---- Which files ------------------------------------------------------------------------------------------------- */

/* Bytes of path before "::part", all of them where a file is really called so. */
static size_t file_bytes(const char *path) {
    const char *mark = NULL;
    for (const char *at = path; (at = strstr(at, "::")); at += 2) mark = at;
    return mark && mark != path && access(path, F_OK) != 0 ? (size_t)(mark - path) : strlen(path);
}

static const char *format_of_suffix(const char *path, size_t bytes) {
    static const struct {
        const char *suffix, *format;
    } known[] = {{".parquet", "Parquet"}, {".pq", "Parquet"}, {".feather", "Arrow"}, {".arrow", "Arrow"},
                 {".ipc", "Arrow"},       {".h5", "HDF5"},    {".hdf5", "HDF5"},     {".hdf", "HDF5"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        const size_t length = strlen(known[i].suffix);
        if (bytes > length && strncasecmp(path + bytes - length, known[i].suffix, length) == 0) return known[i].format;
    }
    return NULL;
}

static const char *format_of_content(const char *path) {
    static const struct {
        const char *magic, *format;
    } known[] = {{"PAR1", "Parquet"}, {"ARROW1", "Arrow"}, {"\x89HDF\r\n\x1a\n", "HDF5"}};
    char head[9] = "";
    FILE *file = fopen(path, "re");
    if (!file) return NULL; /* the reader says why */
    const size_t bytes = fread(head, 1, sizeof(head) - 1, file);
    fclose(file);
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        const size_t length = strlen(known[i].magic);
        if (bytes >= length && memcmp(head, known[i].magic, length) == 0) return known[i].format;
    }
    return NULL;
}

const char *foreign_format(const char *path) {
    const size_t bytes = file_bytes(path);
    char *file = strndup(path, bytes);
    const char *format = NULL;
    struct stat about;
    if (file && stat(file, &about) == 0) {
        format = format_of_suffix(path, bytes);
        /* A pipe is not looked into: what is taken from it is gone. */
        if (!format && S_ISREG(about.st_mode)) format = format_of_content(file);
    }
    free(file);
    return format;
}

/* ---- The child --------------------------------------------------------------------------------------------------- */

/* What it prints goes to stderr: stdout is for results. Signals that we ignore are its own matter. */
static int spawn(pid_t *child, char *const words[]) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    sigaddset(&signals, SIGXFSZ);
    if (posix_spawn_file_actions_init(&actions) != 0) return ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    int number = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (!number) number = posix_spawnattr_setsigdefault(&attributes, &signals);
    if (!number) number = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    if (!number) number = posix_spawnp(child, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return number;
}

/* Its exit status. A signal to us is passed on, once; Ctrl-C reaches it by itself as well. */
static int wait_for(pid_t child) {
    int status = 0;
    bool told = false;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return -1;
        if (!told && interrupt_asked(NULL)) kill(child, SIGTERM);
        told = told || interrupt_asked(NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int fail_without(const char *path, const char *format, const char *python, const char *why) {
    return fail(
        EXIT_INPUT,
        "%s is %s %s file, which is read through kith's Python package, but %s %s: pip install kith-search%s, or "
        "set KITH_PYTHON to a Python that has it",
        path, *format == 'P' ? "a" : "an", format, python, why, strcmp(format, "HDF5") == 0 ? " h5py" : " pyarrow");
}

static int run(const struct foreign *foreign, const char *path, const char *format, const char *const columns[2],
               bool bits) {
    const char *set = getenv("KITH_PYTHON"), *python = set && *set ? set : "python3";
    const char *id = columns[0] ? columns[0] : "", *name = columns[1] ? columns[1] : "";
    const char *words[] = {python, "-c", program, path, foreign->folder, bits ? "b1" : "", id, name, NULL};
    pid_t child;
    fflush(NULL);
    const int number = spawn(&child, (char *const *)(void *)words);
    if (number) return fail_without(path, format, python, "cannot be run");
    const int code = wait_for(child);
    if (interrupt_asked(NULL)) return fail_status(KITH_E_CANCELLED, NULL);
    if (code == NO_PACKAGE) return fail_without(path, format, python, "does not have it");
    if (code == 127) return fail_without(path, format, python, "cannot be run");
    if (code < 0) return fail(EXIT_OTHER, "%s: %s ended while it read the file", path, python);
    return code;
}

/* ---- The folder -------------------------------------------------------------------------------------------------- */

/* The file of that name in the folder; NULL where there is none. */
static char *member(const struct foreign *foreign, const char *name) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", foreign->folder, name) < 0) return NULL;
    if (access(path, F_OK) == 0) return path;
    free(path);
    return NULL;
}

/* Messages about rows name the file of vectors: let it be called after what the user gave, where such a name is
 * possible. */
static void name_vectors(struct foreign *foreign, const char *path) {
    const char *slash = strrchr(path, '/');
    char *named = NULL;
    if (asprintf(&named, "%s/%s.npy", foreign->folder, slash ? slash + 1 : path) < 0) return;
    if (access(named, F_OK) != 0 && rename(foreign->vectors, named) == 0) {
        free(foreign->vectors);
        foreign->vectors = named;
    } else {
        free(named);
    }
}

static int make_folder(struct foreign *foreign) {
    const char *set = getenv("TMPDIR"), *root = set && *set ? set : "/tmp";
    if (asprintf(&foreign->folder, "%s/kith-XXXXXX", root) < 0) {
        foreign->folder = NULL;
        return fail(EXIT_OTHER, "out of memory");
    }
    if (mkdtemp(foreign->folder)) return EXIT_OK;
    const int number = errno;
    free(foreign->folder);
    foreign->folder = NULL;
    return fail(EXIT_STORAGE, "%s: no folder can be made in it: %s", root, strerror(number));
}

int foreign_begin(struct foreign *foreign, const char *path, const char *format, const char *const columns[2],
                  bool bits) {
    int failed = make_folder(foreign);
    if (!failed) failed = run(foreign, path, format, columns, bits);
    if (failed) return failed;
    foreign->vectors = member(foreign, "vectors.npy");
    foreign->ids = member(foreign, "ids.npy");
    if (!foreign->ids) foreign->ids = member(foreign, "ids.txt");
    foreign->names = member(foreign, "names.txt");
    if (!foreign->vectors) return fail(EXIT_OTHER, "%s: Python left no vectors", path);
    name_vectors(foreign, path);
    return EXIT_OK;
}

void foreign_end(struct foreign *foreign) {
    static const char *const names[] = {"vectors.npy", "ids.npy", "ids.txt", "names.txt"};
    for (size_t i = 0; foreign->folder && i < sizeof(names) / sizeof(*names); i++) {
        char *path = member(foreign, names[i]);
        if (path) unlink(path);
        free(path);
    }
    if (foreign->vectors) unlink(foreign->vectors);
    if (foreign->folder) rmdir(foreign->folder);
    free(foreign->folder);
    free(foreign->vectors);
    free(foreign->ids);
    free(foreign->names);
    memset(foreign, 0, sizeof(*foreign));
}
