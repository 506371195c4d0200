/*
 * Runs an unmodified program with libpprof loaded into it.
 *
 * It is linked statically, so that it starts wherever the program does, and
 * says nothing but what cannot work: where nothing can be preloaded, the
 * program runs as if it had been started without us.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front/listen.h"
#include "guest/page.h"
#include "run/program.h"
#include "run/start.h"


enum { HIGH_FD = 500 };


static const char usage[] =
"usage: pprof-run [options] [--] program [argument...]\n"
"\n"
"Runs the program so that it answers profile requests:\n"
"\n"
"    pprof-run -l unix:/run/acs.%p.pprof -- ./acs-daemon\n"
"    curl --unix-socket /run/acs.71.pprof -o cpu.pb.gz \\\n"
"        'http://localhost/debug/pprof/profile?seconds=10'\n"
"    go tool pprof -top cpu.pb.gz\n"
"\n"
"options:\n"
"    -l listen        where: unix:<path>, <IPv4>:<port> or [<IPv6>]:<port>;\n"
"                     %p is the process id\n"
"                     (unix:$XDG_RUNTIME_DIR/pprof.%p, or in /tmp)\n"
"    -m mode          of the unix socket: 0600; with -g 0660\n"
"    -g group         of the unix socket, by name or number\n"
"    -s bytes         one heap sample in so many bytes (524288); 0: none\n"
"    --children       programs that the program executes are profiled too\n"
"    --tcmalloc       the program allocates with gperftools' tcmalloc, whose\n"
"                     own sample is shown; else it keeps its allocator\n"
"    --no-tcmalloc    it keeps it\n"
"    -v               one line on stderr when it listens\n"
"    -h, --help       this text\n"
"\n"
"The environment is respected where it says something already: LD_PRELOAD,\n"
"TCMALLOC_SAMPLE_PARAMETER, TCMALLOC_STACKTRACE_METHOD, PPROF_CMDLINE,\n"
"PPROF_LINES.\n"
"PPROF_LIBRARY names a libpprof.so that is neither beside this program nor\n"
"in ../lib.\n";


struct settings {
    const char  *listen;
    const char  *mode;
    const char  *group;
    const char  *sample;    /* bytes */
    bool         children;
    bool         tcmalloc;
    bool         asked;     /* for tcmalloc, in words */
    bool         verbose;
};


__attribute__((noreturn, format(printf, 2, 3))) static void
die(int status, const char *format, ...)
{
    va_list args;

    fputs("pprof-run: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}


__attribute__((format(printf, 1, 2))) static void
warn(const char *format, ...)
{
    va_list args;

    fputs("pprof-run: warning: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}


/* Memory is the kernel's to take back: a program is executed soon. */
__attribute__((format(printf, 1, 2))) static char *
print(const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    const int n = vasprintf(&text, format, args);
    va_end(args);

    if (n == -1) {
        die(126, "out of memory");
    }

    return text;
}


static void
set(const char *name, const char *value)
{
    if (setenv(name, value, 1) == -1) {
        die(126, "out of memory");
    }
}


/* Leaves what the environment says already. */
static void
set_default(const char *name, const char *value)
{
    const char *const old = getenv(name);

    if (old == NULL || *old == '\0') {
        set(name, value);
    }
}


/* The directory that this program lies in. */
static const char *
own_dir(void)
{
    static char path[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (n > 0) {
        path[n] = '\0';

    /* without /proc */
    } else if (realpath((const char *) getauxval(AT_EXECFN), path) == NULL) {
        return ".";
    }

    *strrchr(path, '/') = '\0';

    return path;
}


/* Returns the path of library NAME, else of OTHER in the same place, or NULL.
   OTHER may be NULL. */
static const char *
find_library(const char *name, const char *other)
{
#if defined(__aarch64__)
#define ARCH  "aarch64-linux-gnu"
#else
#define ARCH  "x86_64-linux-gnu"
#endif

    const char *const here = own_dir();
    const char *const dirs[] = {
        here, print("%s/../lib", here), print("%s/../lib/" ARCH, here),
        "/usr/local/lib", "/usr/lib/" ARCH,
        "/lib/" ARCH, "/usr/lib64", "/lib64", "/usr/lib", "/lib"
    };
    const char *const names[] = { name, other };

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) * 2; i++) {
        if (names[i % 2] == NULL) {
            continue;
        }

        char *const path = print("%s/%s", dirs[i / 2], names[i % 2]);

        if (access(path, F_OK) == 0) {
            return path;
        }
    }

    return NULL;
}


static bool
is_number(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}


/* As the library reads it, but for what only it can tell. */
static bool
is_address(const char *listen)
{
    if (strncmp(listen, "unix:", 5) == 0) {
        return listen[5] != '\0';
    }

    const char *const colon = strrchr(listen, ':');

    if (colon == NULL || !is_number(colon + 1)) {
        return false;
    }

    if (listen[0] == '[') {
        return colon[-1] == ']'
               && memchr(listen, ':', (size_t) (colon - listen)) != NULL;
    }

    int dots = 0;

    for (const char *p = listen; p < colon; p++) {
        dots += *p == '.';
    }

    return dots == 3 && strspn(listen, "0123456789.")
                        == (size_t) (colon - listen);
}


static void
check_settings(struct settings *s)
{
    gid_t group;

    if (!is_number(s->sample)) {
        die(2, "-s wants a number of bytes, not \"%s\"", s->sample);
    }

    if (s->mode != NULL
        && (s->mode[strspn(s->mode, "01234567")] != '\0' || *s->mode == '\0'
            || strtoul(s->mode, NULL, 8) > 0777))
    {
        die(2, "-m wants a mode in octal, such as 0660, not \"%s\"", s->mode);
    }

    if (s->group != NULL && pprof_listen_group(s->group, &group) == -1) {
        die(2, "-g: there is no group \"%s\" in /etc/group; a number will do, "
            "too", s->group);
    }

    if (s->listen == NULL || *s->listen == '\0') {
        const char *const dir = getenv("XDG_RUNTIME_DIR");

        s->listen = print("unix:%s/pprof.%%p",
                          dir == NULL || *dir == '\0' ? "/tmp" : dir);
    }

    if (!is_address(s->listen)) {
        die(2, "-l wants unix:<path>, <IPv4>:<port> or [<IPv6>]:<port>, not "
            "\"%s\"", s->listen);
    }
}


/* Returns what follows the options in ARGV. */
static char **
read_options(struct settings *s, char **argv)
{
    for (argv++; *argv != NULL && (*argv)[0] == '-'; argv++) {
        const char *const option = *argv;
        const char **value = strcmp(option, "-l") == 0 ? &s->listen
                             : strcmp(option, "-m") == 0 ? &s->mode
                             : strcmp(option, "-g") == 0 ? &s->group
                             : strcmp(option, "-s") == 0 ? &s->sample : NULL;

        if (value != NULL) {
            if (argv[1] == NULL) {
                die(2, "%s needs a value; see pprof-run -h", option);
            }

            *value = *++argv;

        } else if (strcmp(option, "--children") == 0) {
            s->children = true;

        } else if (strcmp(option, "--tcmalloc") == 0) {
            s->tcmalloc = true;
            s->asked = true;

        } else if (strcmp(option, "--no-tcmalloc") == 0) {
            s->tcmalloc = false;

        } else if (strcmp(option, "-v") == 0) {
            s->verbose = true;

        } else if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0)
        {
            fputs(usage, stdout);
            exit(0);

        } else if (strcmp(option, "--") == 0) {
            return argv + 1;

        } else {
            die(2, "unknown option %s; see pprof-run -h", option);
        }
    }

    return argv;
}


/*
 * Says what is wrong with the program, called NAME, and does not return if it
 * cannot be executed.  Returns whether it can be profiled.
 */
static bool
check_program(const struct pprof_program *p, const char *name)
{
    const char *by = "";

    if (p->script) {
        by = print(", the interpreter of %s,", name);
        name = p->file;
    }

    switch (p->what) {

    case PPROF_PROGRAM_MISSING:
        die(127, "%s: no such program", name);

    case PPROF_PROGRAM_DIRECTORY:
        die(126, "%s: is a directory", name);

    case PPROF_PROGRAM_FORBIDDEN:
        die(126, "%s: is not executable", name);

    case PPROF_PROGRAM_STATIC:
        warn("%s%s is linked statically: nothing can be preloaded, it runs "
             "without profiles", name, by);
        return false;

    case PPROF_PROGRAM_FOREIGN:
        warn("%s%s is for another processor or word size than libpprof: it "
             "runs without profiles", name, by);
        return false;

    case PPROF_PROGRAM_LIBC:
        warn("%s%s is loaded by %s, which is not glibc's: nothing of glibc's "
             "can be preloaded, it runs without profiles", name, by,
             p->detail);
        return false;

    case PPROF_PROGRAM_SECURE:
        warn("%s%s is setuid or setgid, or has capabilities of its own: "
             "nothing can be preloaded, it runs without profiles", name, by);
        return false;

    case PPROF_PROGRAM_SANITIZER:
        warn("%s%s is built with a sanitizer (%s), which must be loaded first "
             "and sees to signals and memory itself: it runs without "
             "profiles", name, by, p->detail);
        return false;

    default:
        return true;
    }
}


/*
 * Says whether tcmalloc may stand in front.  An allocator that is there
 * already was somebody's choice, and memory of the one must not reach the
 * other's free().
 */
static bool
may_tcmalloc(const struct pprof_program *p, const char *name, bool asked)
{
    const char *preload = getenv("LD_PRELOAD");

    if (p->allocator) {
        if (asked) {
            warn("%s brings an allocator, %s: it keeps that, and --tcmalloc "
                 "does nothing", name, p->detail);
        }

        return false;
    }

    while (preload != NULL && *preload != '\0') {
        const size_t n = strcspn(preload, " :");
        const char *const entry = print("%.*s", (int) n, preload);
        const char *const path = strchr(entry, '/') == NULL
                                 ? find_library(entry, NULL) : entry;

        if (path != NULL && pprof_program_is_allocator(path)) {
            warn("LD_PRELOAD has an allocator, %s: the program keeps that, "
                 "and --tcmalloc does nothing", entry);
            return false;
        }

        preload += n + strspn(preload + n, " :");
    }

    return true;
}


/* Returns PRELOAD with what tcmalloc needs in front. */
static const char *
add_tcmalloc(const struct settings *s, const char *preload)
{
    const char *const tcmalloc = find_library("libtcmalloc.so.4", NULL);
    const char *const libgcc = find_library("libgcc_s.so.1", NULL);

    if (tcmalloc == NULL) {
        warn("libtcmalloc.so.4 is not to be found, so the program keeps its "
             "allocator (Debian: libgoogle-perftools4)");
        return preload;
    }

    if (strcmp(s->sample, "0") != 0) {
        set_default("TCMALLOC_SAMPLE_PARAMETER", s->sample);
    }

    /*
     * tcmalloc's default unwinder takes the loader's lock under its own, and
     * deadlocks with a program that allocates under the loader's.  libgcc's
     * does not; it must come first, since libunwind has functions of the same
     * names.
     */
    set_default("TCMALLOC_STACKTRACE_METHOD", "libgcc");

    return libgcc == NULL ? print("%s %s", tcmalloc, preload)
                          : print("%s %s %s", libgcc, tcmalloc, preload);
}


static const char *
find_own_library(void)
{
    const char *path = getenv("PPROF_LIBRARY");

    if (path == NULL || *path == '\0') {
        /* a package of the library alone has no other name */
        path = find_library("libpprof.so.1", "libpprof.so");
    }

    if (path == NULL || access(path, F_OK) == -1) {
        die(2, "libpprof.so is not to be found; set PPROF_LIBRARY to its "
            "path");
    }

    if (strpbrk(path, " :") != NULL) {
        die(2, "%s: the loader cannot preload a path with spaces or colons",
            path);
    }

    return path;
}


static char **
copy_environment(void)
{
    size_t n = 0;

    while (environ[n] != NULL) {
        n++;
    }

    char **const copy = calloc(n + 1, sizeof(*copy));

    if (copy == NULL) {
        die(126, "out of memory");
    }

    memcpy(copy, environ, n * sizeof(*copy));

    return copy;
}


/* Writes into the environment what the library reads. */
static void
set_environment(const struct settings *s, const struct pprof_program *p,
    const char *name)
{
    const char *const others = getenv("LD_PRELOAD");
    const char *preload = find_own_library();

    if (s->tcmalloc && may_tcmalloc(p, name, s->asked)) {
        preload = add_tcmalloc(s, preload);
    }

    set("PPROF_LISTEN", s->listen);

    if (strcmp(s->sample, "0") == 0) {
        set("PPROF_HEAP_SAMPLE", "0");

    } else {
        set_default("PPROF_HEAP_SAMPLE", s->sample);
    }

    if (s->mode != NULL) {
        set("PPROF_SOCKET_MODE", s->mode);
    }

    if (s->group != NULL) {
        set("PPROF_SOCKET_GROUP", s->group);
    }

    if (s->children) {
        set("PPROF_CHILDREN", "1");
    }

    if (s->verbose) {
        set("PPROF_VERBOSE", "1");
    }

    /* what is to be taken out again, before main() */
    set("PPROF_PRELOAD", preload);
    set("LD_PRELOAD", others == NULL || *others == '\0'
                      ? preload : print("%s %s", preload, others));
}


/*
 * Starts the agent for what is executed next, called NAME.  Returns whether
 * there is one: without, the program is left as it is.
 */
static bool
start_agent(const struct settings *s, const char *name, char **argv)
{
    struct stat st;
    const int error = pprof_start_try(s->listen);

    /* who has the address may be about to leave it */
    if (error != 0 && error != EADDRINUSE) {
        warn("cannot listen at %s: %s; %s runs without profiles%s", s->listen,
             strerror(error), name,
             error == EACCES || error == EROFS
             ? ", unless -l names a directory that this user may write to"
             : "");
        return false;
    }

    int fd = pprof_start_agent(s->listen, s->verbose, argv);

    if (fd == -1) {
        warn("there is no process or memory to be had for the agent: %s; %s "
             "runs without profiles", strerror(errno), name);
        return false;
    }

    /* out of the way of programs that count on their numbers; the library
       closes it before main() */
    const int high = fcntl(fd, F_DUPFD, HIGH_FD);

    if (high != -1) {
        fd = high;

    } else {
        (void) fcntl(fd, F_SETFD, 0);
    }

    if (fstat(fd, &st) == -1) {
        return false;
    }

    set(PPROF_PAGE_ENV, print("%d:%llu", fd, (unsigned long long) st.st_ino));

    return true;
}


int
main(int argc, char **argv)
{
    struct settings s = { .sample = "524288" };
    struct pprof_program program;
    char **const command = read_options(&s, argv);

    (void) argc;

    if (*command == NULL) {
        fputs(usage, stderr);
        return 2;
    }

    check_settings(&s);
    pprof_program_look(&program, command[0]);

    if (check_program(&program, command[0])) {
        char **const bare = copy_environment();

        set_environment(&s, &program, command[0]);

        if (!start_agent(&s, command[0], argv)) {
            environ = bare;
        }
    }

    execvp(command[0], command);
    die(errno == ENOENT ? 127 : 126, "%s: %s", command[0], strerror(errno));
}
