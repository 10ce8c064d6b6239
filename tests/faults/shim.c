/* Stands between a writing process and the system: fails the n-th write or sync of a store's files, or
 * records all that changes them, so that a power cut can be imagined afterwards. For tests alone; see
 * tests/it/shim.rs, which compiles it.
 *
 *   OFONE_SHIM_DIR   files below this directory are meant
 *   OFONE_SHIM_FAIL  write:17:5:once   the 17th write, or pwrite, fails with errno 5, once
 *                    sync:3:28:on      fsync and fdatasync fail with errno 28 from the 3rd on
 *   OFONE_SHIM_LOG   records go to this file; what goes to descriptor 1 is recorded as a mark
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 8192

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char *paths[FILES];
static const char *directory;
static int recording = -1;
static char failing;
static long fail_from;
static int fail_errno, fail_on, log_failed;
static long writes, syncs;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void)
{
    const char *fail = getenv("OFONE_SHIM_FAIL"), *log = getenv("OFONE_SHIM_LOG");
    char what[8] = "", when[8] = "";
    directory = getenv("OFONE_SHIM_DIR");
    if (fail && sscanf(fail, "%7[a-z]:%ld:%d:%7s", what, &fail_from, &fail_errno, when) == 4) {
        failing = what[0];
        fail_on = !strcmp(when, "on");
    }
    if (log)
        recording = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static int below(const char *path)
{
    return directory && path && !strncmp(path, directory, strlen(directory));
}

static const char *path_of(int fd)
{
    return fd >= 0 && fd < FILES ? paths[fd] : NULL;
}

/* A record: what, descriptor, two numbers, three lengths, two paths, data. */
static void record(char what, int fd, int64_t a, int64_t b, const char *one, const char *two, const void *data, size_t n)
{
    if (recording < 0)
        return;
    uint32_t lengths[3] = {one ? strlen(one) : 0, two ? strlen(two) : 0, n};
    size_t total = 1 + 4 + 16 + 12 + lengths[0] + lengths[1] + n, at = 0;
    char *bytes = malloc(total);
    if (!bytes)
        abort();
#define ADD(from, length) (memcpy(bytes + at, (from), (length)), at += (length))
    ADD(&what, 1);
    ADD(&fd, 4);
    ADD(&a, 8);
    ADD(&b, 8);
    ADD(lengths, 12);
    if (one) ADD(one, lengths[0]);
    if (two) ADD(two, lengths[1]);
    if (n) ADD(data, n);
    for (size_t done = 0; done < total;) {
        long wrote = syscall(SYS_write, recording, bytes + done, total - done);
        if (wrote < 0)
            abort();
        done += wrote;
    }
    free(bytes);
}

/* Whether this write ('w') or sync ('s') is to fail. Called with the lock held. */
static int fails(char what, int fd)
{
    const char *path = path_of(fd);
    long count = what == 'w' ? ++writes : ++syncs;
    if (failing != what || (fail_on ? count < fail_from : count != fail_from))
        return 0;
    size_t length = strlen(path);
    log_failed |= length > 4 && !strcmp(path + length - 4, ".log");
    dprintf(2, "shim: fails %c %ld of %s\n", what, count, path);
    errno = fail_errno;
    return 1;
}

/* The absolute path of `name` beside `at`. */
static const char *whole(int at, const char *name, char *out)
{
    char link[64];
    if (name[0] == '/')
        return name;
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t length = at == AT_FDCWD ? -1 : readlink(link, out, PATH_MAX - 1);
    if (length < 0)
        return name;
    snprintf(out + length, PATH_MAX - length, "/%s", name);
    return out;
}

static int opened(int at, const char *name, int flags, mode_t mode)
{
    char buffer[PATH_MAX];
    const char *path = whole(at, name, buffer);
    if (!below(path))
        return (int)syscall(SYS_openat, at, name, flags, mode);
    pthread_mutex_lock(&order);
    int fd = (int)syscall(SYS_openat, at, name, flags, mode), cause = errno;
    if (fd >= 0 && fd < FILES) {
        free(paths[fd]);
        paths[fd] = strdup(path);
        record('o', fd, flags, 0, path, NULL, NULL, 0);
    }
    pthread_mutex_unlock(&order);
    errno = cause;
    return fd;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags | O_LARGEFILE, mode); }

int close(int fd)
{
    REAL(close);
    if (path_of(fd)) {
        pthread_mutex_lock(&order);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&order);
    }
    return real(fd);
}

static ssize_t written(int fd, const void *data, size_t n, off_t at, int placed)
{
    pthread_mutex_lock(&order);
    ssize_t wrote = -1;
    int cause = 0;
    if (fd == 1) {
        if (log_failed && memmem(data, n, "\nack ", 5))
            dprintf(2, "shim: acknowledged after a failure\n");
        record('a', fd, 0, 0, NULL, NULL, data, n);
        wrote = syscall(SYS_write, fd, data, n);
        cause = errno;
    } else if (fails('w', fd)) {
        cause = errno;
    } else {
        wrote = placed ? syscall(SYS_pwrite64, fd, data, n, at) : syscall(SYS_write, fd, data, n);
        cause = errno;
        if (wrote > 0)
            record('w', fd, placed ? at : lseek(fd, 0, SEEK_CUR) - wrote, 0, NULL, NULL, data, wrote);
    }
    pthread_mutex_unlock(&order);
    errno = cause;
    return wrote;
}

ssize_t write(int fd, const void *data, size_t n)
{
    return fd == 1 || path_of(fd) ? written(fd, data, n, 0, 0) : syscall(SYS_write, fd, data, n);
}

static ssize_t placed(int fd, const void *data, size_t n, off_t at)
{
    return path_of(fd) ? written(fd, data, n, at, 1) : syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return placed(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return placed(fd, data, n, at); }

/* A call on one of our descriptors, recorded when it succeeds. */
#define CALL(ours, result, ...) \
    if (!(ours)) \
        return (int)(result); \
    pthread_mutex_lock(&order); \
    int outcome = (int)(result), cause = errno; \
    if (!outcome) \
        record(__VA_ARGS__); \
    pthread_mutex_unlock(&order); \
    errno = cause; \
    return outcome

int fsync(int fd) { CALL(path_of(fd), path_of(fd) && fails('s', fd) ? -1 : syscall(SYS_fsync, fd), 's', fd, 0, 0, NULL, NULL, NULL, 0); }
int fdatasync(int fd) { CALL(path_of(fd), path_of(fd) && fails('s', fd) ? -1 : syscall(SYS_fdatasync, fd), 's', fd, 0, 0, NULL, NULL, NULL, 0); }
int ftruncate(int fd, off_t n) { CALL(path_of(fd), syscall(SYS_ftruncate, fd, n), 't', fd, n, 0, NULL, NULL, NULL, 0); }
int ftruncate64(int fd, off_t n) { CALL(path_of(fd), syscall(SYS_ftruncate, fd, n), 't', fd, n, 0, NULL, NULL, NULL, 0); }
int fallocate(int fd, int mode, off_t at, off_t n) { CALL(path_of(fd), syscall(SYS_fallocate, fd, mode, at, n), 'f', fd, mode, at + n, NULL, NULL, NULL, 0); }
int fallocate64(int fd, int mode, off_t at, off_t n) { CALL(path_of(fd), syscall(SYS_fallocate, fd, mode, at, n), 'f', fd, mode, at + n, NULL, NULL, NULL, 0); }
int rename(const char *from, const char *to) { CALL(below(from), syscall(SYS_rename, from, to), 'r', 0, 0, 0, from, to, NULL, 0); }
int link(const char *from, const char *to) { CALL(below(from), syscall(SYS_link, from, to), 'l', 0, 0, 0, from, to, NULL, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { CALL(below(from), syscall(SYS_linkat, a, from, b, to, flags), 'l', 0, 0, 0, from, to, NULL, 0); }
int unlink(const char *path) { CALL(below(path), syscall(SYS_unlink, path), 'u', 0, 0, 0, path, NULL, NULL, 0); }
int mkdir(const char *path, mode_t mode) { CALL(below(path), syscall(SYS_mkdir, path, mode), 'm', 0, 0, 0, path, NULL, NULL, 0); }
int rmdir(const char *path) { CALL(below(path), syscall(SYS_rmdir, path), 'd', 0, 0, 0, path, NULL, NULL, 0); }

int unlinkat(int at, const char *name, int flags)
{
    char buffer[PATH_MAX];
    const char *path = whole(at, name, buffer);
    CALL(below(path), syscall(SYS_unlinkat, at, name, flags), flags & AT_REMOVEDIR ? 'd' : 'u', 0, 0, 0, path, NULL, NULL, 0);
}
