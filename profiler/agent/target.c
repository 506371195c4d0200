#include "agent/target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "guest/command.h"
#include "guest/raw.h"
#include "guest/stackmap.h"
#include "kinds/code.h"
#include "kinds/life.h"
#include "symbols/maps.h"


enum {
    CALL_MSEC = 2000,       /* for a command; a profile of 65536 threads that
                               ends is the longest */
    BUSY_MSEC = 10000,      /* more of it, while the thread wants the CPU */
    PAGE_PROBE = 65536,     /* an address: there is nothing, or something */
    LOOK_MSEC = 50          /* between two looks whether it is alive */
};


int
pprof_page_create(void)
{
    const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const int fd = memfd_create("pprof", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd == -1) {
        return -1;
    }

    const struct pprof_page head = {
        .magic = PPROF_PAGE_MAGIC,
        .version = PPROF_PAGE_VERSION,
        .head_size = sizeof(head),
        .size = PPROF_PAGE_SIZE
    };

    if (ftruncate(fd, (off_t) PPROF_PAGE_SIZE) == 0
        && fcntl(fd, F_ADD_SEALS, seals) == 0
        && pwrite(fd, &head, sizeof(head), 0) == sizeof(head))
    {
        return fd;
    }

    const int error = errno;

    close(fd);
    errno = error;

    return -1;
}


/* Is FD a page that cannot shrink under us? */
static bool
is_page(int fd)
{
    struct stat st;
    struct {
        uint64_t  magic;
        uint32_t  version;
        uint32_t  head_size;
        uint64_t  size;
    } head;

    const int seals = fcntl(fd, F_GET_SEALS);

    return seals != -1 && (seals & F_SEAL_SHRINK) && fstat(fd, &st) == 0
           && st.st_size == (off_t) PPROF_PAGE_SIZE
           && pread(fd, &head, sizeof(head), 0) == sizeof(head)
           && head.magic == PPROF_PAGE_MAGIC
           && head.version == PPROF_PAGE_VERSION
           && head.head_size == sizeof(struct pprof_page)
           && head.size == PPROF_PAGE_SIZE;
}


/* How the kernel confines the process, "Seccomp:" in its status; 0: not. */
static uint32_t
read_seccomp(const struct pprof_target *t, const char *name)
{
    char text[4096];
    const char *line;

    if (pprof_target_slurp(t, name, text, sizeof(text)) <= 0
        || (line = strstr(text, "\nSeccomp:")) == NULL)
    {
        return 0;
    }

    return (uint32_t) strtoul(line + 9, NULL, 10);
}


static size_t
read_source(const struct pprof_source *s, uintptr_t addr, void *buf,
    size_t len)
{
    return pprof_target_read((const struct pprof_target *) s, addr, buf, len);
}


static int
open_source(const struct pprof_source *s, const char *name)
{
    return pprof_target_openat((const struct pprof_target *) s, name,
                               O_RDONLY);
}


struct pprof_target *
pprof_target_open(pid_t pid, int page_fd)
{
    char path[32];
    struct pprof_target *t = calloc(1, sizeof(struct pprof_target));

    if (t == NULL) {
        return NULL;
    }

    pthread_mutex_init(&t->lock, NULL);
    t->pid = pid;
    t->source = (struct pprof_source) {
        .pid = pid, .read = read_source, .open = open_source
    };
    t->page_fd = t->mem_fd = -1;

    snprintf(path, sizeof(path), "/proc/%d", (int) pid);
    t->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (t->proc_fd != -1) {
        t->seccomp = read_seccomp(t, "status");
    }

    if (page_fd == -1) {
        t->mem_fd = pprof_target_openat(t, "mem", O_RDONLY);
        return t;
    }

    if (!is_page(page_fd)) {
        pprof_target_close(t);
        errno = EPROTO;
        return NULL;
    }

    t->page_fd = fcntl(page_fd, F_DUPFD_CLOEXEC, 3);

    void *const page = t->page_fd == -1 ? MAP_FAILED
                       : mmap(NULL, PPROF_HEAD_SIZE, PROT_READ | PROT_WRITE,
                              MAP_SHARED, t->page_fd, 0);

    if (page == MAP_FAILED) {
        const int error = errno;

        pprof_target_close(t);
        errno = error;
        return NULL;
    }

    t->page = page;
    t->mem_fd = pprof_target_openat(t, "mem", O_RDONLY);

    return t;
}


struct pprof_target *
pprof_target_self(void)
{
    static struct pprof_target self = {
        .self = true, .page_fd = -1, .mem_fd = -1, .proc_fd = -1,
        .lock = PTHREAD_MUTEX_INITIALIZER
    };

    /* each time: a fork() makes it another one */
    self.pid = getpid();

    return &self;
}


void
pprof_target_close(struct pprof_target *t)
{
    if (t == NULL || t->self) {
        return;
    }

    if (t->page != NULL) {
        munmap(t->page, PPROF_HEAD_SIZE);
    }

    if (t->page_fd != -1) {
        close(t->page_fd);
    }

    if (t->mem_fd != -1) {
        close(t->mem_fd);
    }

    if (t->proc_fd != -1) {
        close(t->proc_fd);
    }

    pprof_kinds_free(t->kinds);
    pprof_code_free(t->code);
    pthread_mutex_destroy(&t->lock);
    free(t);
}


/* The letter that ps shows by FILE; '\0' when there is no such. */
static char
read_state(const struct pprof_target *t, const char *file)
{
    char text[512];
    const char *name;

    return pprof_target_slurp(t, file, text, sizeof(text)) > 0
           && (name = strrchr(text, ')')) != NULL && name[1] == ' '
           ? name[2] : '\0';
}


bool
pprof_target_alive(const struct pprof_target *t)
{
    if (t->self) {
        return true;
    }

    if (t->page != NULL) {
        const uint32_t word = atomic_load(&t->page->life.word);
        const uint32_t rest = atomic_load(&t->page->rest);

        if (word & FUTEX_OWNER_DIED) {
            return false;
        }

        if (rest == PPROF_REST_READY && word != 0) {
            /* the kernel tells by that word when it ends */
            return true;
        }
    }

    /*
     * Nobody there to tell.  The memory that was opened at the start reads as
     * empty when it is gone, by an end or by another program.
     */
    if (t->mem_fd != -1) {
        char byte;

        return pread(t->mem_fd, &byte, 1, PAGE_PROBE) != 0;
    }

    /* by its number, or by its /proc: one that ended waits for its parent */
    if (t->proc_fd != -1) {
        const char state = read_state(t, "stat");

        return state != '\0' && state != 'Z' && state != 'X';
    }

    return kill(t->pid, 0) == 0 || errno == EPERM;
}


/* By the descriptor that was opened before it gave up rights. */
static size_t
read_by_mem(const struct pprof_target *t, uintptr_t addr, char *buf,
    size_t len)
{
    size_t  done = 0;

    while (done < len) {
        const ssize_t  n = pread(t->mem_fd, buf + done, len - done,
                                 (off_t) (addr + done));

        if (n <= 0) {
            break;
        }

        done += (size_t) n;
    }

    return done;
}


size_t
pprof_target_read(const struct pprof_target *t, uintptr_t addr, void *buf,
    size_t len)
{
    if (len == 0 || len > UINTPTR_MAX - addr) {
        return 0;
    }

    if (t->mem_fd != -1) {
        return read_by_mem(t, addr, buf, len);
    }

    if (t->self) {
        return pprof_maps_read(addr, buf, len);
    }

    const struct iovec  local = { .iov_base = buf, .iov_len = len };
    const struct iovec  remote = { .iov_base = (void *) addr, .iov_len = len };
    const ssize_t       n = process_vm_readv(t->pid, &local, 1, &remote, 1,
                                             0);

    return n < 0 ? 0 : (size_t) n;
}


/*
 * What the kernel tells of a thread's memory, and not of one that ended: the
 * main thread may have, by pthread_exit(), while others go on.  The one that
 * rests goes on longer.
 */
static bool
is_of_memory(const char *name)
{
    return strcmp(name, "mem") == 0 || strcmp(name, "maps") == 0
           || strcmp(name, "auxv") == 0;
}


int
pprof_target_openat(const struct pprof_target *t, const char *name, int flags)
{
    char path[320];
    int fd;

    if (t->proc_fd != -1 && t->page != NULL && is_of_memory(name)) {
        snprintf(path, sizeof(path), "task/%u/%s",
                 (unsigned) atomic_load(&t->page->tid), name);
        fd = openat(t->proc_fd, path, flags | O_CLOEXEC);

        if (fd != -1) {
            return fd;
        }
    }

    if (t->proc_fd != -1) {
        return openat(t->proc_fd, name, flags | O_CLOEXEC);
    }

    if (t->self) {
        snprintf(path, sizeof(path), "/proc/self/%s", name);

    } else {
        snprintf(path, sizeof(path), "/proc/%d/%s", (int) t->pid, name);
    }

    return open(path, flags | O_CLOEXEC);
}


ssize_t
pprof_target_slurp(const struct pprof_target *t, const char *name, char *buf,
    size_t size)
{
    const int fd = pprof_target_openat(t, name, O_RDONLY);
    size_t len = 0;
    ssize_t n;

    if (fd == -1) {
        buf[0] = '\0';
        return -1;
    }

    do {
        n = read(fd, buf + len, size - 1 - len);

        if (n > 0) {
            len += (size_t) n;
        }

    } while ((n > 0 && len < size - 1) || (n == -1 && errno == EINTR));

    const int error = errno;

    close(fd);
    buf[len] = '\0';
    errno = error;

    return n == -1 && len == 0 ? -1 : (ssize_t) len;
}


/* Rows. */


static bool
is_row(const char *at, size_t left)
{
    struct pprof_row row;

    if (left < sizeof(row)) {
        return false;
    }

    memcpy(&row, at, sizeof(row));

    return row.depth <= PPROF_STACK_MAX
           && row.size == sizeof(row) + row.depth * sizeof(uint64_t)
           && row.size <= left
           && memchr(row.name, '\0', sizeof(row.name)) != NULL
           && memchr(row.lost, '\0', sizeof(row.lost)) != NULL;
}


/* Checks what is in our own memory already. */
static int
check_rows(const struct pprof_reply *reply)
{
    for (size_t at = 0; at < reply->rows_size; /* void */ ) {
        if (!is_row(reply->rows + at, reply->rows_size - at)) {
            return -1;
        }

        at += ((const struct pprof_row *) (reply->rows + at))->size;
    }

    return 0;
}


int
pprof_reply_take(struct pprof_reply *reply, const void *rows, size_t size)
{
    reply->rows = NULL;
    reply->rows_size = 0;

    if (size == 0) {
        return 0;
    }

    if (size > PPROF_OUT_SIZE) {
        errno = EPROTO;
        return -1;
    }

    reply->rows = malloc(size);

    if (reply->rows == NULL) {
        return -1;
    }

    memcpy(reply->rows, rows, size);
    reply->rows_size = size;

    if (check_rows(reply) == -1) {
        pprof_reply_free(reply);
        errno = EPROTO;
        return -1;
    }

    return 0;
}


void
pprof_reply_free(struct pprof_reply *reply)
{
    if (reply->mapped != 0) {
        munmap(reply->rows, reply->mapped);

    } else {
        free(reply->rows);
    }

    *reply = (struct pprof_reply) { 0 };
}


const struct pprof_row *
pprof_reply_next(const struct pprof_reply *reply, const struct pprof_row *row)
{
    const size_t at = row == NULL ? 0
                      : (size_t) ((const char *) row - reply->rows)
                        + row->size;

    return at >= reply->rows_size
           ? NULL : (const struct pprof_row *) (reply->rows + at);
}


/* Commands. */


static int
call_self(enum pprof_op op, const uint64_t *args, struct pprof_reply *reply)
{
    struct pprof_out out = { 0 };
    int error = pprof_command_execute(op, args, &out);

    if (error == 0 && reply != NULL) {
        memcpy(reply->results, out.results, sizeof(reply->results));

        if (!out.failed) {
            reply->rows = out.base;
            reply->rows_size = out.size;
            reply->mapped = out.mapped;
            return 0;
        }

        error = ENOMEM;
    }

    if (out.mapped != 0) {
        munmap(out.base, out.mapped);
    }

    errno = error;

    return error == 0 ? 0 : -1;
}


static int64_t
now_msec(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}


static void
wake(_Atomic uint32_t *word)
{
    (void) pprof_raw(SYS_futex, (uintptr_t) word, FUTEX_WAKE, INT_MAX, 0, 0,
                     0);
}


/* Does somebody hold the process (SIGSTOP, a debugger)? */
static bool
is_stopped(const struct pprof_target *t)
{
    const char state = read_state(t, "stat");

    return state == 'T' || state == 't';
}


/* Does the guest's thread compute, or would it, if it had a CPU? */
static bool
is_running(const struct pprof_target *t)
{
    char name[32];

    snprintf(name, sizeof(name), "task/%u/stat",
             (unsigned) atomic_load(&t->page->tid));

    return read_state(t, name) == 'R';
}


/* Has the guest do OP.  Returns the command's number. */
static uint32_t
ring(struct pprof_page *page, enum pprof_op op)
{
    atomic_store_explicit(&page->op, op, memory_order_relaxed);

    const uint32_t asked = atomic_fetch_add(&page->asked, 1) + 1;

    atomic_fetch_add(&page->bell, 1);
    wake(&page->bell);

    return asked;
}


/*
 * Waits until the command ASKED was executed.  With a hundred threads that
 * want the CPU the guest's has it each tenth of a second, for milliseconds:
 * that it wants it, too, is no reason to give up.
 *
 * Returns 0, or -1 with errno.
 */
static int
await(struct pprof_target *t, uint32_t asked)
{
    const struct timespec look = { .tv_nsec = LOOK_MSEC * 1000000L };
    const int64_t start = now_msec();
    int64_t until = start + CALL_MSEC;
    uint32_t done;

    while ((done = atomic_load(&t->page->done)) != asked) {
        const int64_t now = now_msec();

        if (now >= until) {
            errno = ETIMEDOUT;
            return -1;
        }

        (void) pprof_raw(SYS_futex, (uintptr_t) &t->page->done, FUTEX_WAIT,
                         done, (uintptr_t) &look, 0, 0);

        if (!pprof_target_alive(t)) {
            errno = ESRCH;
            return -1;
        }

        if (atomic_load(&t->page->done) != done) {
            continue;
        }

        if (is_stopped(t)) {
            errno = ETIMEDOUT;
            return -1;
        }

        if (now - start < BUSY_MSEC && is_running(t)) {
            until = now + CALL_MSEC;
        }
    }

    return 0;
}


/*
 * May the thread in there be asked to make system calls?  Not when the program
 * sealed itself in since it was made: a filter might kill the program.
 */
static bool
may_ask(const struct pprof_target *t)
{
    char name[32];
    const uint32_t tid = atomic_load(&t->page->tid);

    if (t->proc_fd == -1) {
        return true;
    }

    snprintf(name, sizeof(name), "task/%u/status", (unsigned) tid);

    return read_seccomp(t, "status") == t->seccomp
           && read_seccomp(t, name) == t->seccomp;
}


/* Does the line that begins with NAME say the same in both? */
static bool
is_same(const char *a, const char *b, const char *name)
{
    a = strstr(a, name);
    b = strstr(b, name);

    if (a == NULL || b == NULL) {
        return true;
    }

    const size_t n = strcspn(a + 1, "\n");

    return n == strcspn(b + 1, "\n") && memcmp(a + 1, b + 1, n) == 0;
}


void
pprof_target_guard(struct pprof_target *t)
{
    static const char *const lines[] = {
        "\nUid:", "\nGid:", "\nGroups:", "\nCapPrm:", "\nCapEff:",
        "\nCapBnd:", "\nNoNewPrivs:", "\nSeccomp:"
    };
    char program[4096], thread[4096], name[40];
    bool same = true;

    if (t->page == NULL || atomic_load(&t->page->rest) != PPROF_REST_READY) {
        t->unlike = 0;
        return;
    }

    const uint32_t tid = atomic_load(&t->page->tid);

    snprintf(name, sizeof(name), "task/%u/status", (unsigned) tid);

    if (pprof_target_slurp(t, "status", program, sizeof(program)) <= 0
        || pprof_target_slurp(t, name, thread, sizeof(thread)) <= 0)
    {
        t->unlike = 0;
        return;
    }

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        same = same && is_same(program, thread, lines[i]);
    }

    if (same || t->unlike != tid) {
        t->unlike = same ? 0 : tid;
        return;
    }

    /* nobody waits for it: it need not answer */
    pthread_mutex_lock(&t->lock);
    ring(t->page, PPROF_OP_END);
    pthread_mutex_unlock(&t->lock);
}


/* Takes the rows of the last command, SIZE bytes by its own account. */
static int
fetch_rows(struct pprof_target *t, struct pprof_reply *reply)
{
    const size_t size = atomic_load(&t->page->out_size);

    reply->rows = NULL;
    reply->rows_size = 0;

    if (size == 0) {
        return 0;
    }

    if (size > PPROF_OUT_SIZE) {
        errno = EPROTO;
        return -1;
    }

    reply->rows = malloc(size);

    if (reply->rows == NULL) {
        return -1;
    }

    reply->rows_size = size;

    /* copied once, then looked at: it may change in the page meanwhile */
    const bool ok = pread(t->page_fd, reply->rows, size, PPROF_OUT_AT)
                    == (ssize_t) size && check_rows(reply) == 0;

    /* its pages are the program's to pay for as long as they are there */
    (void) fallocate(t->page_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     PPROF_OUT_AT, (off_t) size);

    if (!ok) {
        pprof_reply_free(reply);
        errno = EPROTO;
        return -1;
    }

    return 0;
}


/* Under t->lock. */
static int
call_page(struct pprof_target *t, enum pprof_op op, const uint64_t *args,
    struct pprof_reply *reply)
{
    struct pprof_page *const page = t->page;
    uint32_t asked = atomic_load(&page->asked);

    if (!pprof_target_alive(t)) {
        errno = ESRCH;
        return -1;
    }

    if (atomic_load(&page->rest) == PPROF_REST_GONE || !may_ask(t)) {
        errno = EPERM;
        return -1;
    }

    /* one that we gave up waiting for */
    if (atomic_load(&page->done) != asked && await(t, asked) == -1) {
        return -1;
    }

    for (size_t i = 0; i < PPROF_ARGS; i++) {
        atomic_store_explicit(&page->args[i], args[i], memory_order_relaxed);
    }

    asked = ring(page, op);

    if (await(t, asked) == -1) {
        return -1;
    }

    const int error = atomic_load(&page->error);

    if (error != 0) {
        errno = error > 0 && error < 4096 ? error : EPROTO;
        return -1;
    }

    if (reply == NULL) {
        return 0;
    }

    for (size_t i = 0; i < PPROF_RESULTS; i++) {
        reply->results[i] = atomic_load_explicit(&page->results[i],
                                                 memory_order_relaxed);
    }

    return fetch_rows(t, reply);
}


int
pprof_target_call(struct pprof_target *t, enum pprof_op op,
    const uint64_t *args, struct pprof_reply *reply)
{
    static const uint64_t none[PPROF_ARGS];

    if (args == NULL) {
        args = none;
    }

    if (reply != NULL) {
        *reply = (struct pprof_reply) { 0 };
    }

    if (t->self) {
        return call_self(op, args, reply);
    }

    if (t->page == NULL) {
        errno = EPERM;
        return -1;
    }

    pthread_mutex_lock(&t->lock);

    const int rc = call_page(t, op, args, reply);
    const int error = errno;

    pthread_mutex_unlock(&t->lock);
    errno = error;

    return rc;
}
