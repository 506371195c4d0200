#include "agent/family.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/target.h"
#include "front/listen.h"
#include "front/request.h"
#include "guest/page.h"
#include "kinds/env.h"


enum {
    MEMBERS_MAX = 256,      /* processes at once; more are not served, which
                               is said */
    WAITS_MAX = 128,        /* the kernel's, of futex_waitv() */
    ATTACH_MSEC = 10000,    /* for a program to begin */
    UNWRITTEN_MSEC = 1000,  /* for a child to say where its page is */
    WRITING_MSEC   = 10,    /* between looks for that */
    CHILD_MSEC = 100,       /* most that a shell forks is gone by then */
    RETRY_MSEC = 500,       /* while somebody else has the address */
    HASTE_MSEC = 50,        /* the same, where the program waits for us */
    RETRIES = 8,
    GRACE_MSEC = 1000,      /* a last child may have been made just before */
    LOOK_MSEC = 1000,       /* whether anybody ended unseen */
    POLL_MSEC = 100,        /* the same, where the kernel cannot tell */
    LINGER_SEC = 60
};


/* Who a process is, as the kernel says. */
struct rights {
    char      ids[2][64];   /* the lines Uid and Gid of its status */
    uint64_t  caps;         /* permitted */
    dev_t     exe_dev;
    ino_t     exe_ino;      /* 0: nothing is known */
};


/* One process.  SERVICE is NULL before it listens, and if it cannot. */
struct member {
    pid_t                  pid;         /* 0: no member */
    int                    page_fd;     /* until there is a target */
    struct pprof_page     *page;        /* its head; the mapping is ours */
    struct pprof_target   *target;      /* NULL: it has not begun */
    struct pprof_service  *service;
    struct rights          rights;      /* as they were last seen; a child's
                                           are its parent's until then */
    bool                   child;       /* it was announced */
    uint32_t               announced;   /* children that were looked at */
    int64_t                unwritten;   /* ms: since when the next of them is
                                           counted and not written; 0: is not */
    unsigned               tries;       /* to listen */
    bool                   gave_up;     /* it never will */
    bool                   ended;
    int64_t                due;         /* ms: when to listen, or to forget */
};


static struct {
    const struct pprof_family_options  *o;
    struct member                       members[MEMBERS_MAX];
    bool                                own;    /* each has an address */
    bool                                says;   /* nobody has ended yet */
    bool                                full;   /* that was said */
} family;

static struct rights         own;       /* as who started us had them */
static volatile sig_atomic_t told;      /* to end */


static int64_t
now_msec(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}


static void
on_term(int sig)
{
    (void) sig;
    told = 1;
}


/* Tells pprof_start() or pprof_stop(), which wait for it. */
static void
set_listening(const struct member *m, enum pprof_listening value)
{
    atomic_store(&m->page->listening, value);
    (void) syscall(SYS_futex, &m->page->listening, FUTEX_WAKE, INT_MAX, NULL,
                   NULL, 0);
}


/* M listens, or cannot. */
static void
say(const struct member *m, int error)
{
    char address[sizeof(m->page->address)] = "", line[400];

    if (m->service != NULL) {
        pprof_service_address(m->service, address, sizeof(address));
    }

    memcpy(m->page->address, address, sizeof(address));
    atomic_store(&m->page->listen_error, (uint32_t) error);
    set_listening(m, error == 0 ? PPROF_LISTENING_YES
                                : PPROF_LISTENING_CANNOT);

    if (family.o->says_fd == -1 || !family.says) {
        return;
    }

    if (error == 0) {
        snprintf(line, sizeof(line), "pprof: process %d listens at %s\n",
                 (int) m->pid, address);

    } else {
        snprintf(line, sizeof(line), "pprof: process %d cannot listen at %s: "
                 "%s\n", (int) m->pid, family.o->listen,
                 strerrordesc_np(error));
    }

    (void) !write(family.o->says_fd, line, strlen(line));
}


/* N processes more that nobody serves, WHY. */
static void
leave_out(unsigned n, const char *why)
{
    char line[200];

    (void) atomic_fetch_add(&pprof_request_unserved, n);

    if (family.full || family.o->says_fd == -1 || !family.says) {
        return;
    }

    family.full = true;
    snprintf(line, sizeof(line), "pprof: %s; some are not served, the index "
             "says how many\n", why);
    (void) !write(family.o->says_fd, line, strlen(line));
}


static struct member *
add_member(pid_t pid, int page_fd)
{
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        struct member *const m = &family.members[i];

        if (m->pid != 0) {
            continue;
        }

        struct pprof_page *const page = mmap(NULL, PPROF_HEAD_SIZE,
                                             PROT_READ | PROT_WRITE,
                                             MAP_SHARED, page_fd, 0);

        if (page == MAP_FAILED) {
            return NULL;
        }

        *m = (struct member) {
            .pid = pid, .page_fd = page_fd, .page = page,
            .due = now_msec() + ATTACH_MSEC
        };

        return m;
    }

    return NULL;
}


static void
forget(struct member *m)
{
    if (m->service != NULL) {
        pprof_service_close(m->service);
    }

    pprof_target_close(m->target);

    if (m->page_fd != -1) {
        close(m->page_fd);
    }

    munmap(m->page, PPROF_HEAD_SIZE);
    m->pid = 0;
}


/* Copies what follows NAME, a line of TEXT, into VALUE. */
static bool
find_line(const char *text, const char *name, char *value, size_t size)
{
    const char *const at = strstr(text, name);

    if (at == NULL) {
        return false;
    }

    const char *const from = at + strlen(name);
    const size_t n = strcspn(from, "\n");

    if (n >= size) {
        return false;
    }

    memcpy(value, from, n);
    value[n] = '\0';

    return true;
}


/* Reads TEXT, a process's status.  Returns whether all is there. */
static bool
parse_rights(const char *text, struct rights *r)
{
    char caps[32];

    if (!find_line(text, "\nUid:", r->ids[0], sizeof(r->ids[0]))
        || !find_line(text, "\nGid:", r->ids[1], sizeof(r->ids[1]))
        || !find_line(text, "\nCapPrm:", caps, sizeof(caps)))
    {
        return false;
    }

    r->caps = strtoull(caps, NULL, 16);

    return true;
}


/* Reads who process T is.  Leaves R as it was when that cannot be read. */
static void
read_rights(const struct pprof_target *t, struct rights *r)
{
    char text[4096];
    struct rights now = { .exe_ino = 0 };
    struct stat st;

    if (pprof_target_slurp(t, "status", text, sizeof(text)) <= 0
        || !parse_rights(text, &now))
    {
        return;
    }

    const int fd = pprof_target_openat(t, "exe", O_PATH);

    if (fd != -1 && fstat(fd, &st) == 0) {
        now.exe_dev = st.st_dev;
        now.exe_ino = st.st_ino;
    }

    if (fd != -1) {
        close(fd);
    }

    *r = now;
}


/*
 * Is CHILD what a fork() of PARENT would be?  The page, which says so, is the
 * program's to write: it could name somebody else's process, whose stacks
 * would be told to whoever may ask for the program's.
 */
static bool
is_kin(const struct rights *parent, const struct rights *child)
{
    /*
     * A server's workers have given up root by now.  Who may become any user
     * may look at any user's processes, so that tells nobody more.
     */
    const uint64_t any = UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID;
    const bool may_change = (parent->caps & any) == any;

    /* one that had ended before it was seen has executed we know not what */
    return (parent->exe_ino == 0
            || (child->exe_ino == parent->exe_ino
                && child->exe_dev == parent->exe_dev))
           && (may_change
               || (strcmp(child->ids[0], parent->ids[0]) == 0
                   && strcmp(child->ids[1], parent->ids[1]) == 0))
           && (child->caps & ~parent->caps) == 0;
}


/*
 * Begins to look at M, which has begun.  Returns whether it may be looked at.
 */
static bool
open_target(struct member *m)
{
    const struct rights parents = m->rights;

    m->target = pprof_target_open(m->pid, m->page_fd);

    if (m->target == NULL) {
        return false;
    }

    close(m->page_fd);
    m->page_fd = -1;
    read_rights(m->target, &m->rights);

    return !m->child || is_kin(&parents, &m->rights);
}


/* A child of M's, PID, has said where its page is: in thread TID's FD. */
static void
add_child(struct member *m, pid_t pid, uint32_t tid, uint32_t page_fd)
{
    char path[80];

    if (pid <= 0) {
        return;
    }

    snprintf(path, sizeof(path), "/proc/%d/task/%u/fd/%u", (int) pid, tid,
             page_fd);

    const int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd == -1) {
        return;     /* it has ended meanwhile, or announces another */
    }

    struct member *const child = add_member(pid, fd);

    if (child == NULL) {
        char why[80];

        snprintf(why, sizeof(why), "more than %d processes at once",
                 MEMBERS_MAX);
        leave_out(1, why);
        close(fd);
        return;
    }

    uint32_t nobody = PPROF_TAKEN_NOT;

    if (!atomic_compare_exchange_strong(&child->page->taken, &nobody,
                                        PPROF_TAKEN_YES))
    {
        forget(child);
        return;
    }

    child->child = true;
    child->rights = m->rights;
    child->due = now_msec() + CHILD_MSEC;
}


static void
look_for_children(struct member *m)
{
    const uint32_t n = atomic_load(&m->page->nchildren);

    if (family.o->alone) {
        return;
    }

    /* more than it remembers: the rest was overwritten */
    if (n - m->announced > PPROF_CHILDREN) {
        leave_out(n - m->announced - PPROF_CHILDREN,
                  "more children were forked at once than there is room for");
        m->announced = n - PPROF_CHILDREN;
        m->unwritten = 0;
    }

    while (m->announced != n) {
        struct pprof_child_page *const child
            = &m->page->children[m->announced % PPROF_CHILDREN];
        uint32_t pid = atomic_load(&child->pid);
        const uint32_t tid = child->tid, fd = child->fd;

        /* counted first, written a moment later; or never, when it died.  It
           may be written anew until it is marked */
        if (pid == 0
            || !atomic_compare_exchange_strong(&child->pid, &pid,
                                               PPROF_CHILD_SEEN))
        {
            if (m->unwritten == 0) {
                m->unwritten = now_msec();
            }

            if (now_msec() - m->unwritten < UNWRITTEN_MSEC) {
                return;
            }

            pid = 0;
        }

        add_child(m, (pid_t) pid, tid, fd);
        m->announced++;
        m->unwritten = 0;
    }
}


/* Does one who lives have the one address that there is? */
static bool
is_taken(void)
{
    for (size_t i = 0; !family.own && i < MEMBERS_MAX; i++) {
        if (family.members[i].pid != 0 && family.members[i].service != NULL) {
            return true;
        }
    }

    return false;
}


static void
start_listening(struct member *m)
{
    if (is_taken()) {
        return;
    }

    m->service = pprof_service_open(m->target, family.o->listen,
                                    family.o->options);

    const int error = errno;

    if (m->service != NULL) {
        say(m, 0);
        return;
    }

    /* who has the address may leave it; that is said once */
    m->tries++;
    m->gave_up = error != EADDRINUSE
                 || (family.o->hasty && m->tries == RETRIES);
    m->due = now_msec() + (family.o->hasty ? HASTE_MSEC : RETRY_MSEC);

    if (m->gave_up || m->tries == RETRIES) {
        say(m, error);
    }
}


static unsigned
count_living(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        n += family.members[i].pid != 0 && !family.members[i].ended;
    }

    return n;
}


/* By pprof_stop(). */
static bool
is_told(const struct member *m)
{
    return atomic_load(&m->page->listening) == PPROF_LISTENING_STOP;
}


/*
 * M has ended.  What it was is remembered for a moment, as a child of its may
 * be announced only now; if nobody else lives, also its socket.
 */
static void
end_member(struct member *m)
{
    const bool last = count_living() == 1 && family.o->linger > 0
                      && !is_told(m)
                      && m->service != NULL
                      && pprof_service_lingers(m->service);

    m->ended = true;
    family.says = false;
    m->due = now_msec() + GRACE_MSEC;

    if (last) {
        pprof_service_ended(m->service);
        m->due = now_msec() + family.o->linger * INT64_C(1000);
        (void) prctl(PR_SET_NAME, PPROF_LISTEN_ENDED);

    } else if (m->service != NULL) {
        pprof_service_close(m->service);
        m->service = NULL;
        set_listening(m, PPROF_LISTENING_NOT);
    }
}


/* A new process: no socket of an older one stays behind it. */
static void
end_lingering(const struct member *m)
{
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        struct member *const old = &family.members[i];

        if (old->pid != 0 && old != m && old->ended && old->service != NULL) {
            pprof_service_close(old->service);
            old->service = NULL;
            old->due = now_msec() + GRACE_MSEC;
            (void) prctl(PR_SET_NAME, "pprof-agent");
        }
    }
}


/* Has the program, which was to begin, ended before? */
static bool
is_gone(const struct member *m)
{
    return kill(m->pid, 0) == -1 && errno == ESRCH;
}


static void
look_after(struct member *m, int64_t now, bool tick)
{
    if (atomic_load(&m->page->pid) == 0) {
        if (m->due <= now || is_gone(m)) {
            forget(m);
        }

        return;
    }

    look_for_children(m);

    if (m->ended) {
        if (m->due <= now) {
            forget(m);
        }

        return;
    }

    if (m->target == NULL) {
        if (m->child && m->due > now) {
            return;
        }

        if (atomic_load(&m->page->life.word) & FUTEX_OWNER_DIED) {
            end_member(m);
            return;
        }

        if (!open_target(m)) {
            forget(m);
            return;
        }

        /* constructors, tcmalloc's among them, come first; and most commands
           are gone before anybody could ask them */
        m->due = m->child || family.o->alone ? now : now + CHILD_MSEC;
    }

    if (!pprof_target_alive(m->target) || is_told(m)) {
        end_member(m);
        return;
    }

    if (tick) {
        read_rights(m->target, &m->rights);
        pprof_target_guard(m->target);
    }

    if (m->service == NULL && !m->gave_up && m->due <= now) {
        end_lingering(m);
        start_listening(m);
    }
}


/* What the kernel is asked to wake us for. */
struct waits {
    struct futex_waitv  list[WAITS_MAX];
    unsigned            n;
    bool                all;    /* there was room for all */
    bool                unseen; /* one ends without the kernel's telling */
};


static void
add_wait(struct waits *w, _Atomic uint32_t *word)
{
    if (w->n == WAITS_MAX) {
        w->all = false;
        return;
    }

    w->list[w->n++] = (struct futex_waitv) {
        .val = atomic_load(word),
        .uaddr = (uintptr_t) word,
        .flags = FUTEX_32
    };
}


/* Before the members are looked at, so that no change in between is missed. */
static void
collect_waits(struct waits *w)
{
    w->n = 0;
    w->all = true;
    w->unseen = false;

    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        const struct member *const m = &family.members[i];

        if (m->pid == 0) {
            continue;
        }

        add_wait(w, &m->page->nchildren);

        if (atomic_load(&m->page->pid) == 0) {
            add_wait(w, &m->page->pid);

        } else if (!m->ended) {
            add_wait(w, &m->page->life.word);
            w->unseen = w->unseen || atomic_load(&m->page->ordinary) != 0;
        }
    }
}


/* When the first is due; MSEC at the latest. */
static int64_t
next_due(int64_t until)
{
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        const struct member *const m = &family.members[i];
        const bool timed = m->pid != 0
                           && (m->ended || m->target == NULL
                               || (m->service == NULL && !m->gave_up
                                   && !is_taken()));

        if (timed && m->due < until) {
            until = m->due;
        }

        if (m->pid != 0 && m->unwritten != 0) {
            const int64_t soon = now_msec() + WRITING_MSEC;

            until = soon < until ? soon : until;
        }
    }

    return until;
}


static void
wait_for_any(struct waits *w, int64_t until)
{
    static bool missing;        /* the system call; Linux before 5.16 */
    const int64_t now = now_msec();

    if (missing || !w->all || w->unseen) {
        until = until < now + POLL_MSEC ? until : now + POLL_MSEC;
    }

    if (until <= now) {
        return;
    }

    if (!missing) {
        const struct timespec at = {
            until / 1000, until % 1000 * 1000000
        };

        if (syscall(SYS_futex_waitv, w->list, w->n, 0, &at, CLOCK_MONOTONIC)
            != -1 || errno != ENOSYS)
        {
            return;
        }

        missing = true;
    }

    const struct timespec pause = {
        (until - now) / 1000, (until - now) % 1000 * 1000000
    };

    (void) nanosleep(&pause, NULL);
}


static bool
is_anybody(void)
{
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        if (family.members[i].pid != 0) {
            return true;
        }
    }

    return false;
}


int
pprof_family_serve(pid_t pid, int page_fd,
    const struct pprof_family_options *options)
{
    static struct waits waits;
    int64_t tick_at = 0;

    family.o = options;
    family.own = strncmp(options->listen, "unix:", 5) == 0
                 && strstr(options->listen, "%p") != NULL;
    family.says = true;

    struct member *const first = add_member(pid, page_fd);

    if (first == NULL) {
        return 1;
    }

    first->rights = own;

    while (!told && is_anybody()) {
        collect_waits(&waits);

        const int64_t now = now_msec();
        const bool tick = tick_at <= now;

        if (tick) {
            tick_at = now + LOOK_MSEC;
        }

        for (size_t i = 0; i < MEMBERS_MAX; i++) {
            if (family.members[i].pid != 0) {
                look_after(&family.members[i], now, tick);
            }
        }

        wait_for_any(&waits, next_due(tick_at));
    }

    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        if (family.members[i].pid != 0) {
            forget(&family.members[i]);
        }
    }

    return 0;
}


unsigned
pprof_family_linger(void)
{
    const char *const text = pprof_env_get("PPROF_LINGER");
    char *end;

    if (text == NULL || *text < '0' || *text > '9') {
        return LINGER_SEC;
    }

    const unsigned long n = strtoul(text, &end, 10);

    return *end != '\0' || n > 86400 ? LINGER_SEC : (unsigned) n;
}


/* Moves *FD to a number above those of stdio, if it is one. */
static void
move_up(int *fd)
{
    if (*fd != -1) {
        *fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    }
}


/* Closes all from 3 on, but for A and B. */
static void
close_others(int a, int b)
{
    const unsigned low = (unsigned) (a < b ? a : b);
    const unsigned high = (unsigned) (a < b ? b : a);
    unsigned from = 3;

    if (low != UINT_MAX) {
        if (low > from) {
            (void) close_range(from, low - 1, 0);
        }

        from = low + 1;
    }

    if (high != UINT_MAX) {
        if (high > from) {
            (void) close_range(from, high - 1, 0);
        }

        from = high + 1;
    }

    (void) close_range(from, UINT_MAX, 0);
}


/* The first of the family may have ended before it is looked at. */
static void
read_own_rights(void)
{
    char text[4096];
    FILE *const f = fopen("/proc/self/status", "re");

    if (f == NULL) {
        return;
    }

    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    (void) parse_rights(text, &own);
    fclose(f);
}


/*
 * Of root's rights those remain that are needed: to look at processes that
 * gave theirs up, and to make sockets where root could.
 */
static void
drop_rights(void)
{
    const uint64_t keep = UINT64_C(1) << CAP_SYS_PTRACE
                          | UINT64_C(1) << CAP_DAC_OVERRIDE
                          | UINT64_C(1) << CAP_DAC_READ_SEARCH
                          | UINT64_C(1) << CAP_FOWNER
                          | UINT64_C(1) << CAP_CHOWN
                          | UINT64_C(1) << CAP_NET_BIND_SERVICE;
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3
    };
    struct __user_cap_data_struct data[2];

    (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

    if (syscall(SYS_capget, &header, data) == -1) {
        return;
    }

    for (int i = 0; i < 2; i++) {
        data[i].permitted &= (uint32_t) (keep >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }

    (void) syscall(SYS_capset, &header, data);
}


/* Limits of the program's are not meant for us, if they may be raised. */
static void
raise_limits(void)
{
    static const __rlimit_resource_t limits[] = {
        RLIMIT_NOFILE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_CPU, RLIMIT_FSIZE
    };

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct rlimit l;

        if (getrlimit(limits[i], &l) == 0) {
            l.rlim_cur = l.rlim_max;
            (void) setrlimit(limits[i], &l);
        }
    }

    const struct rlimit none = { 0, 0 };

    (void) setrlimit(RLIMIT_CORE, &none);
}


void
pprof_family_leave(int *keep, int *says)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigset_t none;

    (void) setsid();
    (void) prctl(PR_SET_NAME, "pprof-agent");

    for (int sig = 1; sig < NSIG; sig++) {
        (void) sigaction(sig, &action, NULL);
    }

    action.sa_handler = SIG_IGN;
    (void) sigaction(SIGPIPE, &action, NULL);
    (void) sigaction(SIGHUP, &action, NULL);
    action.sa_handler = on_term;
    (void) sigaction(SIGTERM, &action, NULL);
    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);

    move_up(keep);
    move_up(says);
    close_others(*keep, *says);

    const int null = open("/dev/null", O_RDWR);

    for (int fd = 0; fd <= 2; fd++) {
        if (null == -1) {
            close(fd);

        } else if (fd != null) {
            (void) dup2(null, fd);
        }
    }

    if (null > 2) {
        close(null);
    }

    raise_limits();
    read_own_rights();
    drop_rights();
}
