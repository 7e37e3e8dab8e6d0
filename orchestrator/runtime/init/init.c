/* PID 1 of a container with `init: true`: starts the command, hands it signals and the terminal, and
 * reaps whoever was left behind.  Stands alone: no libc, so nothing is needed in the container.
 *
 *     init -- PATH [ARGUMENT]...
 *     init -x FD PATH [ARGV]...
 *
 * Ends with the exit code of the command, or 128+N if signal N ended it; then the kernel ends all
 * that is left.  The caller has found PATH and seen that it may be executed; if the kernel refuses
 * it all the same, the code is 127 (it is not there) or 126.
 *
 * With -x it only becomes the command: a runtime that enters a container executes this file first
 * (from a read-only mount), so that whatever the container's PATH makes of /proc/self/exe - a link,
 * an interpreter, a loader - is this file and not the runtime's own.  FD is closed by the execution;
 * if the kernel refuses it, {"errno":N} is written there.
 *
 * Rebuild, in this directory:
 *
 *     for cpu in x86_64 aarch64; do
 *         $cpu-linux-gnu-gcc -Os -Wall -Wextra -Werror -std=c11 -ffreestanding -fno-builtin \
 *             -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pic -no-pie -static \
 *             -nostdlib -s -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096 \
 *             -Wl,-z,noseparate-code -o init.$cpu init.c
 *     done
 */

typedef unsigned long word;

#if defined(__x86_64__)

enum {
    NR_WRITE = 1, NR_CLOSE = 3, NR_RT_SIGPROCMASK = 14, NR_IOCTL = 16, NR_GETPID = 39, NR_CLONE = 56, NR_EXECVE = 59,
    NR_WAIT4 = 61, NR_KILL = 62, NR_FCNTL = 72, NR_SETPGID = 109, NR_RT_SIGTIMEDWAIT = 128, NR_PRCTL = 157, NR_EXIT_GROUP = 231
};

static long call(long number, word a, word b, word c, word d)
{
    long result;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call begin\n");

#elif defined(__aarch64__)

enum {
    NR_FCNTL = 25, NR_IOCTL = 29, NR_CLOSE = 57, NR_WRITE = 64, NR_EXIT_GROUP = 94, NR_KILL = 129, NR_RT_SIGPROCMASK = 135,
    NR_RT_SIGTIMEDWAIT = 137, NR_SETPGID = 154, NR_PRCTL = 167, NR_GETPID = 172, NR_CLONE = 220,
    NR_EXECVE = 221, NR_WAIT4 = 260
};

static long call(long number, word a, word b, word c, word d)
{
    register long x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    register word x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                     : "memory");
    return (long)x0;
}

__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, xzr\n"
        "    mov x30, xzr\n"
        "    mov x0, sp\n"
        "    bl begin\n");

#else
#error "no system calls for this processor"
#endif

enum { ENOENT = 2, ENOTDIR = 20 };
enum { SIGCHLD = 17, SIGTTIN = 21, SIGTTOU = 22 };
enum { F_SETFD = 2, FD_CLOEXEC = 1 };
enum { SIG_BLOCK = 0, SIG_SETMASK = 2, WNOHANG = 1, PR_SET_NAME = 15, TIOCSPGRP = 0x5410 };

static const unsigned long everything = ~0ul; /* a set of 64 signals; KILL and STOP stay open */

static void say(const char *text)
{
    word length = 0;

    while (text[length])
        length++;
    call(NR_WRITE, 2, (word)text, length, 0);
}

static void leave(int code)
{
    for (;;)
        call(NR_EXIT_GROUP, (word)code, 0, 0, 0);
}

/* In the child: a process group of its own, which the terminal (if stdin is ours) takes its signals
 * to.  All signals are blocked yet, so SIGTTOU does not stop us for taking it. */
static void run(char **argv, char **environment, unsigned long mask)
{
    long result;
    int self;

    call(NR_SETPGID, 0, 0, 0, 0);
    self = (int)call(NR_GETPID, 0, 0, 0, 0);
    call(NR_IOCTL, 0, TIOCSPGRP, (word)&self, 0);
    call(NR_RT_SIGPROCMASK, SIG_SETMASK, (word)&mask, 0, sizeof mask);
    result = call(NR_EXECVE, (word)argv[0], (word)argv, (word)environment, 0);
    say("pcompose-init: cannot execute ");
    say(argv[0]);
    say("\n");
    leave(result == -ENOENT || result == -ENOTDIR ? 127 : 126);
}

/* Reap all that have ended; the exit code if the command is among them, else -1. */
static int reap(long command)
{
    int status, code = -1;
    long pid;

    while ((pid = call(NR_WAIT4, (word)-1, (word)&status, WNOHANG, 0)) > 0) {
        if (pid == command)
            code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
    }
    return code;
}

static void watch(long command)
{
    for (;;) {
        long number = call(NR_RT_SIGTIMEDWAIT, (word)&everything, 0, 0, sizeof everything);
        int code;

        if (number == SIGCHLD) {
            code = reap(command);
            if (code >= 0)
                leave(code);
        } else if (number > 0 && number != SIGTTIN && number != SIGTTOU) {
            call(NR_KILL, (word)command, (word)number, 0, 0);
        }
    }
}

/* Write {"errno":N}, N of at most three digits. */
static void report(word fd, long number)
{
    char text[] = "{\"errno\":   }\n";
    int at = 11;

    for (; number > 0 && at > 8; number /= 10)
        text[at--] = (char)('0' + number % 10);
    call(NR_WRITE, fd, (word)text, sizeof text - 1, 0);
}

static void become(char **argv, char **environment)
{
    const char *digit = argv[0];
    word fd = 0;

    while (*digit >= '0' && *digit <= '9')
        fd = fd * 10 + (word)(*digit++ - '0');
    if (call(NR_FCNTL, fd, F_SETFD, FD_CLOEXEC, 0) < 0) /* a filter may not let us */
        call(NR_CLOSE, fd, 0, 0, 0);
    report(fd, -call(NR_EXECVE, (word)argv[1], (word)(argv + 2), (word)environment, 0));
    leave(126);
}

__attribute__((used)) void begin(word *stack)
{
    word count = stack[0];
    char **argv = (char **)(stack + 1);
    char **environment = argv + count + 1;
    unsigned long mask = 0;
    long command;

    if (count > 4 && argv[1][0] == '-' && argv[1][1] == 'x' && !argv[1][2])
        become(argv + 2, environment);
    if (count < 3 || argv[1][0] != '-' || argv[1][1] != '-' || argv[1][2]) {
        say("usage: pcompose-init -- PATH [ARGUMENT]... | -x FD PATH [ARGV]...\n");
        leave(2);
    }
    call(NR_PRCTL, PR_SET_NAME, (word) "pcompose-init", 0, 0);
    call(NR_RT_SIGPROCMASK, SIG_BLOCK, (word)&everything, (word)&mask, sizeof mask);
    command = call(NR_CLONE, SIGCHLD, 0, 0, 0);
    if (command == 0)
        run(argv + 2, environment, mask);
    if (command < 0) {
        say("pcompose-init: cannot fork\n");
        leave(126);
    }
    watch(command);
}
