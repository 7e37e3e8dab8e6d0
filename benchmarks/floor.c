/* The floor of one container: the steps of a default start, as the keeper makes them, in C and with
 * nothing else around them.  Prints the milliseconds of each start of /usr/bin/true, from before the
 * clone to after the wait.
 *
 *     floor DIRECTORY CGROUP COUNT
 *
 * DIRECTORY is on a file system that overlayfs takes as upper; CGROUP is a version 2 directory below
 * which a group is made for each start, or "-".  Leaves nothing but DIRECTORY's content.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NEW (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
#define QUIET (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define RECURSIVE 0x8000

static const char *const NODES[] = {"null", "zero", "full", "random", "urandom", "tty", NULL};
static const char *const FILES[] = {"etc/hosts", "etc/resolv.conf", "etc/hostname", NULL};
static const char *const MASKED[] = {
    "proc/acpi", "proc/asound", "proc/interrupts", "proc/kcore", "proc/keys", "proc/latency_stats",
    "proc/sched_debug", "proc/scsi", "proc/timer_list", "proc/timer_stats",
    "sys/devices/virtual/powercap", "sys/firmware", NULL};
static const char *const READ_ONLY[] = {
    "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger", NULL};

static void need(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        _exit(111);
    }
}

static int open_tree_(int directory, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, directory, path, flags | OPEN_TREE_CLONE | O_CLOEXEC);
}

static void attach(int tree, const char *target)
{
    need(tree, target);
    need((int)syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH), target);
    close(tree);
}

static void read_only(int tree, unsigned flags)
{
    struct mount_attr how = {.attr_set = MOUNT_ATTR_RDONLY};

    need((int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | flags, &how, sizeof how), "rdonly");
}

static void touch(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

    need(fd, path);
    close(fd);
}

static void new_fs(const char *type, const char *target, unsigned long flags, const char *data)
{
    mkdir(target, 0755);
    need(mount(type, target, type, flags, data), target);
}

static void root(const char *place)
{
    char data[4096];

    snprintf(data, sizeof data, "lowerdir=%s/../lower,upperdir=%s/upper,workdir=%s/work", place, place,
             place);
    need(mount("overlay", "root", "overlay", MS_NODEV, data), "overlay");
    snprintf(data, sizeof data, "lowerdir=/usr,upperdir=%s/usr-upper,workdir=%s/usr-work", place,
             place);
    need(chdir("root"), "root");
    need(mount("overlay", "usr", "overlay", MS_NODEV, data), "overlay of /usr");
}

static void devices(void)
{
    char path[64], host[64];

    new_fs("tmpfs", "dev", MS_NOSUID | MS_NODEV | MS_STRICTATIME, "mode=755,size=65536k");
    for (const char *const *name = NODES; *name; name++) {
        snprintf(path, sizeof path, "dev/%s", *name);
        snprintf(host, sizeof host, "/dev/%s", *name);
        touch(path);
        attach(open_tree_(AT_FDCWD, host, 0), path);
    }
    need(symlink("/proc/self/fd", "dev/fd") | symlink("/proc/self/fd/0", "dev/stdin") |
             symlink("/proc/self/fd/1", "dev/stdout") | symlink("/proc/self/fd/2", "dev/stderr") |
             symlink("/proc/kcore", "dev/core") | symlink("pts/ptmx", "dev/ptmx"),
         "links");
    new_fs("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC,
           "newinstance,ptmxmode=0666,mode=0620,gid=5");
    new_fs("tmpfs", "dev/shm", QUIET, "mode=1777,size=67108864");
    new_fs("mqueue", "dev/mqueue", QUIET, NULL);
}

static void hide(void)
{
    struct stat status;

    for (const char *const *path = MASKED; *path; path++) {
        if (stat(*path, &status) < 0)
            continue;
        if (S_ISDIR(status.st_mode))
            need(mount("tmpfs", *path, "tmpfs", QUIET | MS_RDONLY, "mode=755"), *path);
        else
            attach(open_tree_(AT_FDCWD, "/dev/null", 0), *path);
    }
    for (const char *const *path = READ_ONLY; *path; path++) {
        int tree = open_tree_(AT_FDCWD, *path, RECURSIVE);

        if (tree < 0)
            continue;
        read_only(tree, RECURSIVE);
        attach(tree, *path);
    }
}

static void become(const char *place, int has_group)
{
    char *const argv[] = {"true", NULL};

    if (has_group)
        need(unshare(CLONE_NEWCGROUP), "cgroup namespace");
    need(setsid(), "setsid");
    need(chdir(place), place);
    need(mount("", "/", "", MS_REC | MS_SLAVE, NULL), "slave");
    root(place);
    new_fs("proc", "proc", QUIET, NULL);
    devices();
    new_fs("sysfs", "sys", QUIET | MS_RDONLY, NULL);
    if (has_group)
        need(mount("cgroup2", "sys/fs/cgroup", "cgroup2", QUIET | MS_RDONLY, NULL), "cgroup2");
    for (const char *const *path = FILES; *path; path++) {
        touch(*path);
        attach(open_tree_(AT_FDCWD, "/etc/hostname", 0), *path);
    }
    hide();
    need((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
    need(umount2(".", MNT_DETACH), "umount");
    need(chdir("/"), "/");
    need(sethostname("floor", 5), "hostname");
    need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    execv("/usr/bin/true", argv);
    need(-1, "exec");
}

static void start(const char *place, const char *group)
{
    struct clone_args how = {.flags = NEW, .exit_signal = SIGCHLD};
    int fd = -1, status;
    pid_t pid;

    if (group) {
        need(mkdir(group, 0755), group);
        fd = open(group, O_PATH | O_DIRECTORY | O_CLOEXEC);
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = (uint64_t)fd;
    }
    pid = (pid_t)syscall(SYS_clone3, &how, sizeof how);
    need(pid, "clone");
    if (pid == 0)
        become(place, group != NULL);
    need(waitpid(pid, &status, 0), "wait");
    if (fd >= 0)
        close(fd);
    while (group && rmdir(group) < 0 && errno == EBUSY)
        sched_yield();
    if (status)
        exit(1);
}

static double now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

int main(int count, char **words)
{
    static const char *const MADE[] = {"root", "upper", "work", "usr-upper", "usr-work", NULL};
    char place[1000], path[1100], group[1100];

    if (count != 4)
        return 2;
    for (int n = 0; n < atoi(words[3]); n++) {
        double begun;

        snprintf(place, sizeof place, "%s/%d", words[1], n);
        need(mkdir(place, 0755), place);
        for (const char *const *name = MADE; *name; name++) {
            snprintf(path, sizeof path, "%s/%s", place, *name);
            need(mkdir(path, 0755), path);
        }
        snprintf(group, sizeof group, "%s/pcompose-floor-%d-%d", words[2], getpid(), n);
        begun = now();
        start(place, strcmp(words[2], "-") ? group : NULL);
        printf("%.3f\n", now() - begun);
    }
    return 0;
}
