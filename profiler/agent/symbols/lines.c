#include "symbols/lines.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "symbols/child.h"


enum {
    ANSWER_MAX  = 64 << 20,     /* bytes */
    LINE_MAX    = 1 << 24,      /* a source file has fewer lines */
    TICK_MSEC   = 100
};


struct pprof_lines_entry {
    uintptr_t  addr;            /* 0: a free slot */
    uint32_t   first;           /* its frames */
    uint32_t   nframes;
};


/* A text that grows; remembers that memory ran out. */
struct text {
    char    *data;
    size_t   len;
    size_t   cap;
    bool     failed;
};


void
pprof_lines_init(struct pprof_lines *l)
{
    *l = (struct pprof_lines) {0};
}


void
pprof_lines_free(struct pprof_lines *l)
{
    free(l->entries);
    free(l->frames);
    free(l->texts);
    free(l->answer);
    pprof_lines_init(l);
}


/*
 * ARRAY with room for one more of SIZE bytes behind N; NULL when memory ran
 * out, and ARRAY stays.
 */
static void *
grown(void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return array;
    }

    const size_t   more = *cap == 0 ? 64 : *cap * 2;
    void          *new = reallocarray(array, more, size);

    if (new != NULL) {
        *cap = more;
    }

    return new;
}


/* The addresses. */


static size_t
find_slot(const struct pprof_lines_entry *slots, size_t nslots,
    uintptr_t addr)
{
    size_t  at = ((uint64_t) addr * 0x9e3779b97f4a7c15u >> 32) & (nslots - 1);

    while (slots[at].addr != 0 && slots[at].addr != addr) {
        at = (at + 1) & (nslots - 1);
    }

    return at;
}


void
pprof_lines_add(struct pprof_lines *l, uintptr_t addr)
{
    if (addr == 0 || l->failed) {
        return;
    }

    if (l->nentries * 2 >= l->nslots) {
        const size_t               nslots = l->nslots == 0 ? 1024
                                                           : l->nslots * 2;
        struct pprof_lines_entry  *slots = calloc(nslots, sizeof(*slots));

        if (slots == NULL) {
            l->failed = true;
            return;
        }

        for (size_t i = 0; i < l->nslots; i++) {
            if (l->entries[i].addr != 0) {
                slots[find_slot(slots, nslots, l->entries[i].addr)]
                    = l->entries[i];
            }
        }

        free(l->entries);
        l->entries = slots;
        l->nslots = nslots;
    }

    const size_t  at = find_slot(l->entries, l->nslots, addr);

    l->nentries += l->entries[at].addr == 0;
    l->entries[at].addr = addr;
}


static int
by_addr(const void *a, const void *b)
{
    const struct pprof_lines_entry  *x = a, *y = b;

    return (x->addr > y->addr) - (x->addr < y->addr);
}


/* Makes a sorted list of the hash table. */
static void
sort_entries(struct pprof_lines *l)
{
    size_t  n = 0;

    for (size_t i = 0; i < l->nslots; i++) {
        if (l->entries[i].addr != 0) {
            l->entries[n++] = l->entries[i];
        }
    }

    l->nslots = 0;

    if (n > 0) {
        qsort(l->entries, n, sizeof(l->entries[0]), by_addr);
    }
}


/* The number of the first entry that is not below ADDR. */
static size_t
first_from(const struct pprof_lines *l, uintptr_t addr)
{
    size_t  low = 0, high = l->nentries;

    while (low < high) {
        const size_t  mid = low + (high - low) / 2;

        if (l->entries[mid].addr < addr) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    return low;
}


const struct pprof_frame *
pprof_lines_at(const struct pprof_lines *l, uintptr_t addr, size_t *n)
{
    const size_t  i = first_from(l, addr);

    if (i == l->nentries || l->entries[i].addr != addr
        || l->entries[i].nframes == 0)
    {
        return NULL;
    }

    *n = l->entries[i].nframes;

    return &l->frames[l->entries[i].first];
}


bool
pprof_lines_any(const struct pprof_lines *l, uintptr_t start, uintptr_t limit)
{
    for (size_t i = first_from(l, start);
         i < l->nentries && l->entries[i].addr < limit; i++)
    {
        if (l->entries[i].nframes != 0) {
            return true;
        }
    }

    return false;
}


/* The question. */


__attribute__((format(printf, 2, 3))) static void
append(struct text *t, const char *fmt, ...)
{
    va_list  args;

    if (t->cap - t->len < 8192) {
        const size_t  cap = t->cap == 0 ? 65536 : t->cap * 2;
        char         *data = t->failed ? NULL : realloc(t->data, cap);

        if (data == NULL) {
            t->failed = true;
            return;
        }

        t->data = data;
        t->cap = cap;
    }

    va_start(args, fmt);
    t->len += vsnprintf(t->data + t->len, t->cap - t->len, fmt, args);
    va_end(args);
}


/* Says where O's file may be: as it is called, and as the kernel has it. */
static void
append_object(struct text *t, const struct pprof_maps *maps,
    const struct pprof_map *map)
{
    char  hex[2 * PPROF_BUILD_ID_MAX + 1];

    pprof_maps_build_id(maps, map, hex);
    append(t, "o %s %llu\n", hex[0] == '\0' ? "-" : hex,
           (unsigned long long) map->inode);

    if (map->file[0] == '/' && !map->deleted && strlen(map->file) < 4096) {
        append(t, "p %s\n", map->file);
    }

    const int  pid = maps->source != NULL ? (int) maps->source->pid
                                          : (int) getpid();

    if (maps->source != NULL && map->file[0] == '/' && !map->deleted) {
        append(t, "p /proc/%d/root%.4000s\n", pid, map->file);
    }

    if (map->object == 0) {
        append(t, "p /proc/%d/exe\n", pid);
    }

    append(t, "p /proc/%d/map_files/%lx-%lx\n", pid,
           (unsigned long) map->start, (unsigned long) map->limit);
}


/* Writes the question.  The addresses that lie in no file come last. */
static void
append_question(struct text *t, const struct pprof_lines *l,
    const struct pprof_maps *maps, const char *debug_root)
{
    const struct pprof_map  *last = NULL;

    append(t, "d %.4000s\n", debug_root);

    /* each address has its number here, so all of them are said */
    append(t, "o - 0\n");

    for (size_t i = 0; i < l->nentries; i++) {
        const struct pprof_map  *map = pprof_maps_find(maps,
                                                       l->entries[i].addr);

        if (map != NULL && (map->object < 0 || map->inode == 0)) {
            map = NULL;
        }

        if (map != last) {
            if (map == NULL) {
                append(t, "o - 0\n");
            } else {
                append_object(t, maps, map);
            }

            last = map;
        }

        append(t, "a %lx\n",
               (unsigned long) (l->entries[i].addr
                                - (map == NULL ? 0
                                   : maps->objects[map->object].bias)));
    }
}


/* The answer. */


/*
 * Reads a decimal number below LIMIT and moves *P behind it and the space
 * that follows.  False: there is none.
 */
static bool
take_number(char **p, size_t limit, size_t *n)
{
    char  *s = *p;

    *n = 0;

    if (*s < '0' || *s > '9') {
        return false;
    }

    for (/* void */; *s >= '0' && *s <= '9'; s++) {
        *n = *n * 10 + (*s - '0');

        if (*n >= limit) {
            return false;
        }
    }

    if (*s != ' ' && *s != '\0') {
        return false;
    }

    *p = s + (*s == ' ');

    return true;
}


/* Reads "<line> <start> <name or -> <file>" into the frames. */
static bool
take_frame(struct pprof_lines *l, char *p)
{
    struct pprof_frame  frame = { .name = NULL };
    size_t              line, start, name, file;

    if (!take_number(&p, LINE_MAX, &line)
        || !take_number(&p, LINE_MAX, &start))
    {
        return false;
    }

    if (strncmp(p, "- ", 2) == 0) {
        p += 2;

    } else if (take_number(&p, l->ntexts, &name)) {
        frame.name = l->texts[name];

    } else {
        return false;
    }

    if (!take_number(&p, l->ntexts, &file) || *p != '\0') {
        return false;
    }

    frame.file = l->texts[file];
    frame.line = (int) line;
    frame.start = (int) start;

    void  *more = l->nframes == UINT32_MAX ? NULL
                  : grown(l->frames, l->nframes, &l->frames_cap,
                          sizeof(frame));

    if (more == NULL) {
        l->failed = true;
        return false;
    }

    l->frames = more;
    l->frames[l->nframes++] = frame;

    return true;
}


/* Reads one line.  *ENTRY is the one that frames belong to. */
static bool
take_line(struct pprof_lines *l, char *line, struct pprof_lines_entry **entry)
{
    char    *p = line + 2;
    void    *more;
    size_t   n;

    if (line[0] == '\0' || line[1] != ' ') {
        return false;
    }

    switch (line[0]) {

    case 's':
        more = grown(l->texts, l->ntexts, &l->texts_cap, sizeof(l->texts[0]));

        if (more == NULL) {
            l->failed = true;
            return false;
        }

        l->texts = more;
        l->texts[l->ntexts++] = p;

        return true;

    case 'a':
        if (!take_number(&p, l->nentries, &n) || *p != '\0'
            || l->entries[n].nframes != 0)
        {
            return false;
        }

        *entry = &l->entries[n];
        (*entry)->first = l->nframes;

        return true;

    case 'f':
        if (*entry == NULL || !take_frame(l, p)) {
            return false;
        }

        (*entry)->nframes++;

        return true;

    case 'z':
        l->packed = true;

        return true;
    }

    return false;
}


int
pprof_lines_parse(struct pprof_lines *l, char *text, size_t len)
{
    struct pprof_lines_entry  *entry = NULL;
    char                      *p = text;

    sort_entries(l);
    l->answer = text;

    for ( ;; ) {
        char  *end = memchr(p, '\n', len - (p - text));

        if (end == NULL) {
            return 0;
        }

        *end = '\0';

        if (strcmp(p, "e") == 0) {
            return 1;
        }

        if (!take_line(l, p, &entry)) {
            return 0;
        }

        p = end + 1;
    }
}


/* The conversation. */


static long long
now_msec(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}


/* How a conversation ended. */
enum ending {
    ENDED,          /* the helper has */
    TOO_LONG,
    TOO_MUCH,
    LEFT,           /* nobody waits for it */
    NO_MEMORY
};


/* Sends QUESTION while it reads what comes back into ANSWER. */
static enum ending
converse(int fd, const struct text *question, struct text *answer,
    const struct pprof_lines_ask *ask, long long until)
{
    size_t  sent = 0;
    bool    asking = true;

    for ( ;; ) {
        const long long  left = until - now_msec();
        struct pollfd    pfd = {
            .fd = fd,
            .events = POLLIN | (asking ? POLLOUT : 0)
        };

        if (left <= 0) {
            return TOO_LONG;
        }

        if (ask->gone != NULL && ask->gone(ask->arg)) {
            return LEFT;
        }

        (void) poll(&pfd, 1, left < TICK_MSEC ? (int) left : TICK_MSEC);

        if (asking && (pfd.revents & (POLLOUT | POLLERR | POLLHUP))) {
            const ssize_t  n = send(fd, question->data + sent,
                                    question->len - sent,
                                    MSG_NOSIGNAL | MSG_DONTWAIT);

            sent += n > 0 ? n : 0;

            if (sent == question->len
                || (n == -1 && errno != EAGAIN && errno != EINTR))
            {
                shutdown(fd, SHUT_WR);
                asking = false;
            }
        }

        if (!(pfd.revents & (POLLIN | POLLERR | POLLHUP))) {
            continue;
        }

        if (answer->cap - answer->len < 65536) {
            const size_t  cap = answer->cap == 0 ? 131072 : answer->cap * 2;
            char         *data = realloc(answer->data, cap);

            if (data == NULL) {
                return NO_MEMORY;
            }

            answer->data = data;
            answer->cap = cap;
        }

        const ssize_t  n = recv(fd, answer->data + answer->len,
                                answer->cap - answer->len, MSG_DONTWAIT);

        if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
            return ENDED;
        }

        answer->len += n > 0 ? n : 0;

        if (answer->len > ANSWER_MAX) {
            return TOO_MUCH;
        }
    }
}


/* Writes the file that this code was loaded from, in an agent's process. */
static void
find_own(char *file, size_t size)
{
    const ssize_t  len = readlink("/proc/self/exe", file, size - 1);
    Dl_info        own;

    file[len > 0 ? len : 0] = '\0';

    /* with a loader the executable may be that; without, nobody can tell */
    if (getauxval(AT_BASE) != 0 && dladdr((void *) find_own, &own) != 0) {
        snprintf(file, size, "%s", own.dli_fname);
    }
}


/*
 * Writes the path of pprof-lines, SIZE bytes: beside what this code was
 * loaded from, or where "make install" puts it.  The environment's PATH is
 * not asked: it can change under our hands, and may be somebody else's.
 */
static bool
find_program(const struct pprof_maps *maps, char *path, size_t size)
{
    static const char *const  places[] = {
        "/", "/../libexec/", "/../../libexec/", NULL
    };
    static const char *const  others[] = {
        "/usr/local/libexec/", "/usr/libexec/", NULL
    };

    char                     own[4096];
    const struct pprof_map  *map = maps->source != NULL ? NULL
                                   : pprof_maps_find(maps,
                                         (uintptr_t) find_program);
    const char              *file = map == NULL ? own : map->file;

    own[0] = '\0';

    if (maps->source != NULL) {
        find_own(own, sizeof(own));
    }

    const char              *slash = strrchr(file, '/');

    for (size_t i = 0; slash != NULL && places[i] != NULL; i++) {
        const int  len = snprintf(path, size, "%.*s%spprof-lines",
                                  (int) (slash - file), file,
                                  places[i]);

        if (len < (int) size && access(path, X_OK) == 0) {
            return true;
        }
    }

    for (size_t i = 0; others[i] != NULL; i++) {
        snprintf(path, size, "%spprof-lines", others[i]);

        if (access(path, X_OK) == 0) {
            return true;
        }
    }

    return false;
}


/* One conversation at a time. */
static struct {
    atomic_flag  busy;
    _Atomic int  fd;        /* our end of the socket, plus 1; 0: none */
} talk = { .busy = ATOMIC_FLAG_INIT };


void
pprof_lines_child(void)
{
    if (talk.fd != 0) {
        close(talk.fd - 1);
        talk.fd = 0;
    }

    atomic_flag_clear(&talk.busy);
}


/* Waits for its turn, no longer than UNTIL. */
static enum ending
begin_talk(const struct pprof_lines_ask *ask, long long until)
{
    for ( ;; ) {
        if (!atomic_flag_test_and_set(&talk.busy)) {
            return ENDED;
        }

        if (ask->gone != NULL && ask->gone(ask->arg)) {
            return LEFT;
        }

        if (now_msec() >= until) {
            return TOO_LONG;
        }

        (void) poll(NULL, 0, TICK_MSEC / 2);
    }
}


static void
say(struct pprof_lines *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(struct pprof_lines *l, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(l->comment, sizeof(l->comment), fmt, args);
    va_end(args);
}


/* What came of it, once the answer is read. */
static void
say_result(struct pprof_lines *l, enum ending ending, bool complete,
    int error, const struct pprof_lines_ask *ask)
{
    size_t  known = 0;

    for (size_t i = 0; i < l->nentries; i++) {
        known += l->entries[i].nframes != 0;
    }

    if (error != 0) {
        say(l, "no lines: pprof-lines cannot be run: %s",
            strerrordesc_np(error));

    } else if (l->failed || ending == NO_MEMORY) {
        say(l, "lines of %zu of %zu addresses: out of memory", known,
            l->nentries);

    } else if (ending == TOO_LONG) {
        say(l, "lines of %zu of %zu addresses: pprof-lines was ended after "
            "%u ms", known, l->nentries, ask->msec);

    } else if (ending == TOO_MUCH || !complete) {
        say(l, "lines of %zu of %zu addresses: pprof-lines did not finish",
            known, l->nentries);

    } else {
        say(l, "lines of %zu of %zu addresses%s", known, l->nentries,
            known == l->nentries ? ""
            : l->packed ? ": debug information is packed in a way (zstd?) "
                          "that pprof-lines' libelf cannot read"
            : ": the others' files have no debug information");
    }
}


void
pprof_lines_find(struct pprof_lines *l, const struct pprof_maps *maps,
    const struct pprof_lines_ask *ask)
{
    const long long     until = now_msec() + ask->msec;
    const unsigned      seconds = ask->msec / 1000 + 1;
    struct text         question = { .data = NULL }, answer = { .data = NULL };
    struct pprof_child  child;
    char                path[4096], number[16];
    char               *argv[] = { "pprof-lines", number, NULL };
    const char         *program = ask->program;

    sort_entries(l);

    if (l->nentries == 0) {
        say_result(l, ENDED, true, 0, ask);
        return;
    }

    if (program == NULL && find_program(maps, path, sizeof(path))) {
        program = path;
    }

    if (program == NULL) {
        say(l, "no lines: pprof-lines is not to be found; set PPROF_LINES to "
            "its path");
        return;
    }

    if (getauxval(AT_SECURE)) {
        say(l, "no lines: the program has more rights than who started it");
        return;
    }

    append_question(&question, l, maps, ask->debug_root);

    enum ending  ending = question.failed || l->failed
                          ? NO_MEMORY : begin_talk(ask, until);

    if (ending == TOO_LONG) {
        say(l, "no lines: those of another profile are being looked up; ask "
            "again");

    } else if (ending != ENDED) {
        say_result(l, ending, false, 0, ask);
    }

    if (ending != ENDED) {
        free(question.data);
        return;
    }

    snprintf(number, sizeof(number), "%u", seconds);

    if (pprof_child_start(&child, program, argv, seconds) == -1) {
        say(l, "no lines: no process can be started: %s",
            strerrordesc_np(errno));

    } else {
        talk.fd = child.fd + 1;
        ending = converse(child.fd, &question, &answer, ask, until);

        talk.fd = 0;

        const int   error = pprof_child_end(&child);
        const bool  complete = answer.data != NULL
                               && pprof_lines_parse(l, answer.data,
                                                    answer.len);

        say_result(l, ending, complete, error, ask);
    }

    atomic_flag_clear(&talk.busy);
    free(question.data);
}
