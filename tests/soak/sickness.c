/*
 * Makes a disk sick and a clock step for one process: loaded by LD_PRELOAD, told what to do by the file that
 * WATCHD_SICKNESS names, which holds "DELAY ERRNO STEP": milliseconds that each write and sync of a file of the records
 * takes, the error number they fail with (0: none), and seconds that the wall clock is off.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static void sickness(long *delay, int *error, long *step) {
    const char *path = getenv("WATCHD_SICKNESS");
    char text[64] = "";
    *delay = *step = 0;
    *error = 0;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length > 0)
        sscanf(text, "%ld %d %ld", delay, error, step);
}

/* Returns whether a call on this file has to fail, after the time it has to take. */
static int falls_ill(int file) {
    char link[64], name[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length <= 0)
        return 0;
    name[length] = 0;
    if (!strstr(name, "/watchd.db") || strstr(name, "-shm") || strstr(name, ".lock"))
        return 0;
    long delay, step;
    int error;
    sickness(&delay, &error, &step);
    if (delay) {
        struct timespec pause = {delay / 1000, delay % 1000 * 1000000L};
        nanosleep(&pause, NULL);
    }
    if (error)
        errno = error;
    return error != 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int file, const void *data, size_t length, off64_t at) {
    return falls_ill(file) ? -1 : REAL(pwrite64)(file, data, length, at);
}

ssize_t pwrite(int file, const void *data, size_t length, off_t at) {
    return falls_ill(file) ? -1 : REAL(pwrite)(file, data, length, at);
}

ssize_t write(int file, const void *data, size_t length) {
    return falls_ill(file) ? -1 : REAL(write)(file, data, length);
}

int fsync(int file) {
    return falls_ill(file) ? -1 : REAL(fsync)(file);
}

int fdatasync(int file) {
    return falls_ill(file) ? -1 : REAL(fdatasync)(file);
}

int ftruncate64(int file, off64_t length) {
    return falls_ill(file) ? -1 : REAL(ftruncate64)(file, length);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int done = REAL(clock_gettime)(which, now);
    if (!done && which == CLOCK_REALTIME) {
        long delay, step;
        int error;
        sickness(&delay, &error, &step);
        now->tv_sec += step;
    }
    return done;
}
