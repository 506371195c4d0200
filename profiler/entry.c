/*
 * libpprof.so as a program: the agent of pprof_start().
 *
 * The loader is executed with the library as its argument, since Debian's
 * libraries may not be executed themselves.  It jumps to the library's entry;
 * constructors of the library, which would look for a program to profile, are
 * libc's start-up code to call, and there is none.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/family.h"
#include "guest/growth.h"
#include "guest/heap.h"
#include "kinds/env.h"
#include "pprof.h"


#if defined(__x86_64__)

#define LOADER  "/lib64/ld-linux-x86-64.so.2"

__asm__ (".text\n"
         ".globl pprof_entry\n"
         ".hidden pprof_entry\n"
         ".type pprof_entry, @function\n"
         "pprof_entry:\n"
         "    xor %ebp, %ebp\n"
         "    mov %rsp, %rdi\n"
         "    and $-16, %rsp\n"
         "    call pprof_entry_main\n"
         "    hlt\n"
         ".size pprof_entry, . - pprof_entry\n");

#elif defined(__aarch64__)

#define LOADER  "/lib/ld-linux-aarch64.so.1"

__asm__ (".text\n"
         ".globl pprof_entry\n"
         ".hidden pprof_entry\n"
         ".type pprof_entry, %function\n"
         "pprof_entry:\n"
         "    mov x29, #0\n"
         "    mov x30, #0\n"
         "    mov x0, sp\n"
         "    bl pprof_entry_main\n"
         "    brk #0\n"
         ".size pprof_entry, . - pprof_entry\n");

#endif


const char pprof_loader[] __attribute__((section(".interp"), used)) = LOADER;


enum { ARGS = 9 };         /* with the library's own name, as the first */


__attribute__((noreturn, used, visibility("hidden"))) void
pprof_entry_main(const long *stack);


/* STACK is as the kernel made it: how many arguments, and they. */
void
pprof_entry_main(const long *stack)
{
    char **const argv = (char **) (stack + 1);
    const char *const verbose = pprof_env_get("PPROF_VERBOSE");

    pprof_growth_renounce();
    pprof_heap_renounce();

    int says_fd = verbose != NULL && strcmp(verbose, "1") == 0
                  ? STDERR_FILENO : -1;

    if (stack[0] != ARGS) {
        (void) !write(STDERR_FILENO, "libpprof " PPROF_VERSION "\n",
                      sizeof("libpprof " PPROF_VERSION "\n") - 1);
        _exit(2);
    }

    int page_fd = atoi(argv[1]);
    const pid_t program = atoi(argv[2]);
    const struct pprof_options options = {
        .size = sizeof(options),
        .socket_mode = (unsigned) atoi(argv[4]),
        .max_seconds = (unsigned) atoi(argv[5]),
        .cmdline = *argv[7] == '\0' ? NULL : argv[7]
    };

    pprof_family_leave(&page_fd, &says_fd);

    const struct pprof_family_options family = {
        .listen = argv[8],
        .options = &options,
        .linger = (unsigned) atoi(argv[6]),
        .alone = atoi(argv[3]) == 0,
        .hasty = atoi(argv[3]) == 0,
        .says_fd = says_fd
    };

    /* nobody's directory is kept from being unmounted, if it need not be */
    if (strncmp(argv[8], "unix:", 5) != 0 || argv[8][5] == '/') {
        (void) !chdir("/");
    }

    _exit(pprof_family_serve(program, page_fd, &family));
}
