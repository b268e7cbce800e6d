/* SPDX-License-Identifier: Apache-2.0
 *
 * Landlock for files, seccomp for system calls. Neither needs privileges; both last until the process ends.
 *
 * Landlock is used from its second version on: the first refuses to link files into another folder, which snapshots do.
 * seccomp has a list of what is refused instead of one of what is allowed: the C library, GnuTLS and SQLite choose
 * their calls anew with each version, and a server that dies of an update helps nobody. What is refused fails with
 * EPERM. */
#define _GNU_SOURCE
#include "serve/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of Landlock's third version; the header of the build machine may be older than the kernel. */
#define TRUNCATES (UINT64_C(1) << 14)

enum { ABI_LINKS = 2, ABI_TRUNCATES = 3, PATH_BYTES = 4096 };

static const uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t writing = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                                LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
static const uint64_t governed =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
    LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;

static int lacking(char *lacks, size_t room, const char *what, int number) {
    snprintf(lacks, room, "%s: %s", what, strerror(number));
    return 0;
}

/* ---- Files */

/* A folder that is not there needs no rule. 0, or -1 with errno. */
static int allow(int rules, const char *folder, uint64_t rights) {
    const int fd = open(folder, O_PATH | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0) return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -1;
    const struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    const long code = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    const int number = errno;
    close(fd);
    errno = number;
    return (int)code;
}

static int allow_folder_of(int rules, const char *file) {
    char folder[PATH_BYTES];
    const char *slash = strrchr(file, '/');
    if (!slash) return allow(rules, ".", reading);
    const size_t length = slash == file ? 1 : (size_t)(slash - file);
    if (length >= sizeof(folder)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(folder, file, length);
    folder[length] = 0;
    return allow(rules, folder, reading);
}

static int allow_all(int rules, const ks_confines *confines, uint64_t written) {
    /* Names of hosts, time zones, the machine's cores, the process's own figures; what libraries load. */
    static const char *const system[] = {"/etc", "/usr", "/lib", "/lib64", "/proc", "/sys", "/run"};
    const char *temporary = getenv("TMPDIR");
    int wrong = 0;
    for (size_t i = 0; i < sizeof(system) / sizeof(*system); i++) wrong |= allow(rules, system[i], reading);
    wrong |= allow(rules, temporary && temporary[0] == '/' ? temporary : "/tmp", written);
    wrong |= allow(rules, "/var/tmp", written); /* SQLite's */
    if (confines->write_folder) wrong |= allow(rules, confines->write_folder, written);
    for (size_t i = 0; i < sizeof(confines->read_files) / sizeof(*confines->read_files); i++)
        if (confines->read_files[i]) wrong |= allow_folder_of(rules, confines->read_files[i]);
    return wrong;
}

int ks_confine_files(const ks_confines *confines, char *lacks, size_t room) {
    const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0) return lacking(lacks, room, "Landlock is not there", errno);
    if (abi < ABI_LINKS) return lacking(lacks, room, "Landlock is of its first version", ENOTSUP);
    const uint64_t more = abi >= ABI_TRUNCATES ? TRUNCATES : 0;
    const struct landlock_ruleset_attr attributes = {.handled_access_fs = governed | more};
    const int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
    if (rules < 0) return lacking(lacks, room, "Landlock takes no rules", errno);
    int number = 0;
    if (allow_all(rules, confines, writing | more) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        number = errno;
    close(rules);
    return number ? lacking(lacks, room, "Landlock refuses the rules", number) : 1;
}

/* ---- System calls */

static const int refused[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(personality),
    SCMP_SYS(syslog),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
#if !defined(__SANITIZE_ADDRESS__)
    SCMP_SYS(ptrace), /* by which a sanitizer looks for leaks at the end */
#endif
};

int ks_confine_calls(char *lacks, size_t room) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter) return lacking(lacks, room, "seccomp is not there", ENOMEM);
    /* All threads of the process, those that are there too. */
    int code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* Speculation stays as it was: nobody else's code runs here, and older kernels would slow every store down. The
     * filter is searched, not walked. Both are wishes. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused) && code == 0; i++) {
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
        if (code == -EDOM || code == -EFAULT) code = 0; /* a call that this processor does not have */
    }
    if (code == 0) code = seccomp_load(filter);
    seccomp_release(filter);
    return code == 0 ? 1 : lacking(lacks, room, "seccomp takes no filter", -code);
}
