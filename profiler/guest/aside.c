/*
 * Functions by which a program changes what it may do: our thread is not there
 * while they run.
 *
 * GUEST ROOM.  For libpprof.so only, as locks.c.
 *
 * glibc ends a program whose threads would come to have different rights, the
 * kernel refuses some changes to one that has two threads, and a thread that
 * was left out would keep what the program gave up.  So it ends before, and a
 * new one is made by the thread that called, with the rights that are left.
 * After seccomp there is none any more: a filter might kill the program for
 * what ours would do.
 *
 * What makes its system calls itself is not seen here.  The agent sees that
 * the threads' rights differ, and tells ours to end.
 */

#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/rest.h"
#include "guest/unwind.h"


#define EXPORT  __attribute__((visibility("default"), noinline))

typedef long syscall_pt(long nr, long a, long b, long c, long d, long e,
    long f);

/* The next definitions, found before main(), or by the first who needs one. */
static struct {
    int   (*setuid)(uid_t);
    int   (*seteuid)(uid_t);
    int   (*setreuid)(uid_t, uid_t);
    int   (*setresuid)(uid_t, uid_t, uid_t);
    int   (*setgid)(gid_t);
    int   (*setegid)(gid_t);
    int   (*setregid)(gid_t, gid_t);
    int   (*setresgid)(gid_t, gid_t, gid_t);
    int   (*setgroups)(size_t, const gid_t *);
    int   (*initgroups)(const char *, gid_t);
    int   (*capset)(void *, const void *);
    int   (*unshare)(int);
    int   (*setns)(int, int);
    int   (*prctl)(int, unsigned long, unsigned long, unsigned long,
                   unsigned long);
} libc;

/* Named in assembly, as are these two functions. */
__attribute__((visibility("hidden"))) syscall_pt *pprof_aside_next;

int pprof_aside_wanted(long nr);
long pprof_aside_syscall(long nr, long a, long b, long c, long d, long e,
    long f);


__attribute__((constructor(101))) static void
find_all(void)
{
#define FIND(name)  *(void **) &libc.name = dlsym(RTLD_NEXT, #name)
    FIND(setuid);
    FIND(seteuid);
    FIND(setreuid);
    FIND(setresuid);
    FIND(setgid);
    FIND(setegid);
    FIND(setregid);
    FIND(setresgid);
    FIND(setgroups);
    FIND(initgroups);
    FIND(capset);
    FIND(unshare);
    FIND(setns);
    FIND(prctl);
#undef FIND
    *(void **) &pprof_aside_next = dlsym(RTLD_NEXT, "syscall");
}


/* Puts the thread back; errno is the call's. */
static void
come_back(bool was, bool sealed)
{
    const int error = errno;

    if (sealed) {
        atomic_store(&pprof_unwind_sealed, true);
    }

    pprof_rest_back(was, sealed);
    errno = error;
}


#define ASIDE(name, params, args)                                             \
    EXPORT int                                                                \
    name params                                                               \
    {                                                                         \
        if (libc.name == NULL) {                                              \
            find_all();                                                       \
        }                                                                     \
                                                                              \
        const bool was = pprof_rest_aside();                                  \
        const int  rc = libc.name args;                                       \
                                                                              \
        come_back(was, false);                                                \
                                                                              \
        return rc;                                                            \
    }

/* libcap's header declares it, and is not needed for that alone */
int capset(void *header, const void *data);

ASIDE(setuid, (uid_t id), (id))
ASIDE(seteuid, (uid_t id), (id))
ASIDE(setreuid, (uid_t real, uid_t effective), (real, effective))
ASIDE(setresuid, (uid_t real, uid_t effective, uid_t saved),
      (real, effective, saved))
ASIDE(setgid, (gid_t id), (id))
ASIDE(setegid, (gid_t id), (id))
ASIDE(setregid, (gid_t real, gid_t effective), (real, effective))
ASIDE(setresgid, (gid_t real, gid_t effective, gid_t saved),
      (real, effective, saved))
ASIDE(setgroups, (size_t n, const gid_t *groups), (n, groups))
ASIDE(initgroups, (const char *user, gid_t group), (user, group))
ASIDE(capset, (void *header, const void *data), (header, data))
ASIDE(unshare, (int flags), (flags))
ASIDE(setns, (int fd, int type), (fd, type))


static bool
changes_rights(int option)
{
    switch (option) {

    case PR_SET_SECCOMP:
    case PR_SET_NO_NEW_PRIVS:
    case PR_SET_KEEPCAPS:
    case PR_SET_SECUREBITS:
    case PR_CAPBSET_DROP:
    case PR_CAP_AMBIENT:
        return true;

    default:
        return false;
    }
}


EXPORT int
prctl(int option, ...)
{
    unsigned long more[4];
    va_list args;

    va_start(args, option);

    for (size_t i = 0; i < 4; i++) {
        more[i] = va_arg(args, unsigned long);
    }

    va_end(args);

    if (libc.prctl == NULL) {
        find_all();
    }

    const bool was = changes_rights(option) && pprof_rest_aside();
    const int rc = libc.prctl(option, more[0], more[1], more[2], more[3]);

    come_back(was, option == PR_SET_SECCOMP && rc == 0);

    return rc;
}


/* Is NR one for which the thread stands aside? */
__attribute__((visibility("hidden"), used)) int
pprof_aside_wanted(long nr)
{
    switch (nr) {

    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setgroups:
    case SYS_capset:
    case SYS_prctl:
    case SYS_unshare:
    case SYS_setns:
    case SYS_seccomp:
        return 1;

    default:
        return 0;
    }
}


__attribute__((visibility("hidden"), used)) long
pprof_aside_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
    if (pprof_aside_next == NULL) {
        find_all();
    }

    const bool was = pprof_aside_wanted(nr)
                     && (nr != SYS_prctl || changes_rights((int) a))
                     && pprof_rest_aside();
    const long rc = pprof_aside_next(nr, a, b, c, d, e, f);

    come_back(was, (nr == SYS_seccomp && rc >= 0
                    && (a == SECCOMP_SET_MODE_STRICT
                        || a == SECCOMP_SET_MODE_FILTER))
                   || (nr == SYS_prctl && a == PR_SET_SECCOMP && rc == 0));

    return rc;
}


/*
 * syscall() has arguments where a C function has them, and leaves no frame:
 * who makes a vfork() by it returns twice, the first time over whatever lay
 * on the stack.  So all but the few are a jump.
 */
#if defined(__x86_64__)

__asm__(
    ".text\n"
    ".globl syscall\n"
    ".type syscall, @function\n"
    "syscall:\n"
    "    .cfi_startproc\n"
    "    endbr64\n"
    "    pushq %rdi\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %rsi\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %rdx\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %rcx\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %r8\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %r9\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    subq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    call pprof_aside_wanted\n"
    "    movl %eax, %r11d\n"
    "    addq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %r9\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %r8\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rcx\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rdx\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rsi\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rdi\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    movq pprof_aside_next(%rip), %rax\n"
    "    testl %r11d, %r11d\n"
    "    jnz pprof_aside_syscall\n"
    "    testq %rax, %rax\n"
    "    jz pprof_aside_syscall\n"
    "    jmpq *%rax\n"
    "    .cfi_endproc\n"
    ".size syscall, .-syscall\n");

#elif defined(__aarch64__)

__asm__(
    ".text\n"
    ".globl syscall\n"
    ".type syscall, %function\n"
    "syscall:\n"
    "    .cfi_startproc\n"
    "    stp x29, x30, [sp, #-80]!\n"
    "    .cfi_def_cfa_offset 80\n"
    "    .cfi_offset 29, -80\n"
    "    .cfi_offset 30, -72\n"
    "    stp x0, x1, [sp, #16]\n"
    "    stp x2, x3, [sp, #32]\n"
    "    stp x4, x5, [sp, #48]\n"
    "    str x6, [sp, #64]\n"
    "    bl pprof_aside_wanted\n"
    "    mov w16, w0\n"
    "    ldp x0, x1, [sp, #16]\n"
    "    ldp x2, x3, [sp, #32]\n"
    "    ldp x4, x5, [sp, #48]\n"
    "    ldr x6, [sp, #64]\n"
    "    ldp x29, x30, [sp], #80\n"
    "    .cfi_def_cfa_offset 0\n"
    "    .cfi_restore 29\n"
    "    .cfi_restore 30\n"
    "    cbnz w16, 1f\n"
    "    adrp x17, pprof_aside_next\n"
    "    ldr x17, [x17, :lo12:pprof_aside_next]\n"
    "    cbz x17, 1f\n"
    "    br x17\n"
    "1:  b pprof_aside_syscall\n"
    "    .cfi_endproc\n"
    ".size syscall, .-syscall\n");

#endif
