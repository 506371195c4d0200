#include "symbols/maps.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>
#include <unistd.h>


enum {
    READ_PIECE  = 64 * 1024,
    NOTES_MAX   = 4096,         /* bytes of one PT_NOTE that are looked at */
    OBJECTS_MIN = 64,
    PHDRS_MAX   = 64,           /* of one object; most have a dozen */
    AUXV_MAX    = 64,           /* entries */
    NAME_GUESS  = 64            /* bytes of an object's path, on average */
};


/* What the callback of dl_iterate_phdr() fills. */
struct gathering {
    struct pprof_object  *objects;
    size_t                cap;
    size_t                n;    /* objects seen; more than CAP: try again */
    char                 *names;
    size_t                names_cap;
    size_t                names_len;    /* more than NAMES_CAP: try again */
};


/* A position in text; every read stops at END. */
struct cursor {
    const char  *at;
    const char  *end;
};


/*
 * Reading memory that may be gone.
 *
 * process_vm_readv() on oneself needs no privilege, but a container's seccomp
 * filter may refuse it.  Then a pipe does: write() says EFAULT where a load
 * would be a signal.
 */


static size_t
read_by_pipe(uintptr_t addr, char *buf, size_t len)
{
    int     fds[2];
    size_t  done = 0;

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return 0;
    }

    while (done < len) {
        /* a piece within one page is written wholly or not at all */
        size_t  piece = 4096 - (addr + done) % 4096;

        if (piece > len - done) {
            piece = len - done;
        }

        const ssize_t  n = write(fds[1], (const void *) (addr + done), piece);

        if (n <= 0 || read(fds[0], buf + done, n) != n) {
            break;
        }

        done += n;
    }

    close(fds[0]);
    close(fds[1]);

    return done;
}


size_t
pprof_maps_read(uintptr_t addr, void *buf, size_t len)
{
    if (len == 0 || len > UINTPTR_MAX - addr) {
        return 0;
    }

    const struct iovec  local = {.iov_base = buf, .iov_len = len};
    const struct iovec  remote = {.iov_base = (void *) addr, .iov_len = len};
    const ssize_t       n = process_vm_readv(getpid(), &local, 1, &remote, 1,
                                             0);

    if (n >= 0) {
        return n;
    }

    /* EFAULT: not even the first page is there */
    return errno == EFAULT ? 0 : read_by_pipe(addr, buf, len);
}


size_t
pprof_maps_fetch(const struct pprof_maps *m, uintptr_t addr, void *buf,
    size_t len)
{
    return m->source == NULL ? pprof_maps_read(addr, buf, len)
                             : m->source->read(m->source, addr, buf, len);
}


/* The objects. */


/* Looks for GNU's build id in LEN bytes of notes. */
static void
find_build_id(struct pprof_object *o, const uint8_t *notes, size_t len)
{
    size_t  at = 0;

    while (len - at >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr)  note;

        memcpy(&note, notes + at, sizeof(note));
        at += sizeof(note);

        const size_t  name_size = ((size_t) note.n_namesz + 3) & ~(size_t) 3;
        const size_t  desc_size = ((size_t) note.n_descsz + 3) & ~(size_t) 3;

        if (name_size > len - at || desc_size > len - at - name_size) {
            return;
        }

        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4
            && memcmp(notes + at, "GNU", 4) == 0
            && note.n_descsz <= PPROF_BUILD_ID_MAX)
        {
            memcpy(o->build_id, notes + at + name_size, note.n_descsz);
            o->build_id_len = note.n_descsz;
            return;
        }

        at += name_size + desc_size;
    }
}


/* Fills O, which is new but for its bias, from its program headers, N PHDRS. */
static void
read_segments(struct pprof_object *o, const struct pprof_maps *m,
    const ElfW(Phdr) *phdrs, size_t n)
{
    uint8_t  notes[NOTES_MAX];

    for (size_t i = 0; i < n; i++) {
        const ElfW(Phdr)  *ph = &phdrs[i];
        const uintptr_t    addr = o->bias + ph->p_vaddr;

        if (ph->p_type == PT_LOAD) {
            if (addr + ph->p_memsz > o->end) {
                o->end = addr + ph->p_memsz;
            }

            if (o->start == 0 || addr < o->start) {
                o->start = addr;
            }

            if (o->text == 0 && (ph->p_flags & PF_X)) {
                o->text = addr;
                o->text_end = addr + ph->p_memsz;
                o->text_offset = ph->p_offset;
            }
        }

        if (ph->p_type == PT_NOTE && o->build_id_len == 0) {
            const size_t  want = ph->p_memsz < NOTES_MAX ? ph->p_memsz
                                                         : NOTES_MAX;

            find_build_id(o, notes, pprof_maps_fetch(m, addr, notes, want));
        }
    }
}


static const struct pprof_maps  ours;       /* no source: this process */


/*
 * Runs under the loader's lock, which an allocator may be waiting for in
 * another thread while it holds its own (tcmalloc unwinding with libunwind):
 * nothing here allocates.
 */
static int
gather_object(struct dl_phdr_info *info, size_t size, void *data)
{
    struct gathering  *g = data;
    const size_t       name_size = strlen(info->dlpi_name) + 1;
    char              *name = g->names + g->names_len;

    (void) size;

    g->names_len += name_size;
    g->n++;

    if (g->n > g->cap || g->names_len > g->names_cap) {
        return 0;
    }

    struct pprof_object  *o = &g->objects[g->n - 1];

    *o = (struct pprof_object) {
        .bias = info->dlpi_addr,
        .name = memcpy(name, info->dlpi_name, name_size),
        .phdr = (uintptr_t) info->dlpi_phdr,
        .phnum = info->dlpi_phnum
    };

    read_segments(o, &ours, info->dlpi_phdr, info->dlpi_phnum);

    return 0;
}


static int
load_objects(struct pprof_maps *m)
{
    struct gathering  g = {
        .n = OBJECTS_MIN,
        .names_len = OBJECTS_MIN * NAME_GUESS
    };

    do {
        free(g.objects);
        free(g.names);

        /* some more than last time: others may be loading */
        g.cap = g.n + g.n / 4;
        g.names_cap = g.names_len + g.names_len / 4;
        g.n = 0;
        g.names_len = 0;
        g.objects = calloc(g.cap, sizeof(*g.objects));
        g.names = malloc(g.names_cap);

        if (g.objects == NULL || g.names == NULL) {
            free(g.objects);
            free(g.names);
            errno = ENOMEM;
            return -1;
        }

        dl_iterate_phdr(gather_object, &g);
    } while (g.n > g.cap || g.names_len > g.names_cap);

    m->objects = g.objects;
    m->nobjects = g.n;
    m->names = g.names;

    return 0;
}


/* The mappings. */


static bool
skip_char(struct cursor *c, char ch)
{
    if (c->at == c->end || *c->at != ch) {
        return false;
    }

    c->at++;

    return true;
}


static bool
read_number(struct cursor *c, unsigned base, uint64_t *out)
{
    const char  *first = c->at;
    uint64_t     x = 0;

    for (/* void */; c->at < c->end; c->at++) {
        const char  ch = *c->at;
        unsigned    digit;

        if (ch >= '0' && ch <= '9') {
            digit = ch - '0';

        } else if (ch >= 'a' && ch <= 'f') {
            digit = ch - 'a' + 10;

        } else {
            break;
        }

        if (digit >= base || __builtin_mul_overflow(x, base, &x)
            || __builtin_add_overflow(x, digit, &x))
        {
            return false;
        }
    }

    *out = x;

    return c->at > first;
}


/*
 * One line without its end: "start-limit perms offset major:minor inode
 * path".  Returns whether it is a mapping, and fills MAP but for the file,
 * which is left in C, and *CODE: can it be executed?
 */
static bool
parse_line(struct cursor *c, struct pprof_map *map, bool *code)
{
    uint64_t  start, limit, offset, major, minor, inode;

    if (!read_number(c, 16, &start) || !skip_char(c, '-')
        || !read_number(c, 16, &limit) || !skip_char(c, ' ')
        || start > limit || limit > UINTPTR_MAX)
    {
        return false;
    }

    const char  *perms = c->at;

    if (c->end - c->at < 5 || perms[4] != ' ') {
        return false;
    }

    *code = perms[2] == 'x';

    c->at += 5;

    if (!read_number(c, 16, &offset) || !skip_char(c, ' ')
        || !read_number(c, 16, &major) || !skip_char(c, ':')
        || !read_number(c, 16, &minor) || !skip_char(c, ' ')
        || !read_number(c, 10, &inode))
    {
        return false;
    }

    while (skip_char(c, ' ')) {
        /* the path stands in a column of its own */
    }

    *map = (struct pprof_map) {
        .start = start,
        .limit = limit,
        .offset = offset,
        .dev = major << 32 | minor,
        .inode = inode,
        .object = -1
    };

    return true;
}


/* Ends the path in C with a zero, takes " (deleted)" off. */
static void
set_file(struct pprof_map *map, char *path, size_t len)
{
    static const char  deleted[] = " (deleted)";
    const size_t       n = sizeof(deleted) - 1;

    if (len > n && memcmp(path + len - n, deleted, n) == 0) {
        len -= n;
        map->deleted = true;
    }

    path[len] = '\0';
    map->file = len == 0 ? "[anon]" : path;
}


static int
by_start(const void *a, const void *b)
{
    const struct pprof_map  *x = a, *y = b;

    return (x->start > y->start) - (x->start < y->start);
}


/* Puts map number N first; the others keep their order. */
static void
put_first(struct pprof_maps *m, size_t n)
{
    const struct pprof_map  map = m->maps[n];

    memmove(m->maps + 1, m->maps, n * sizeof(map));
    m->maps[0] = map;
}


/* Fills M from TEXT, LEN bytes and room for one more; TEXT is M's then. */
static int
parse(struct pprof_maps *m, char *text, size_t len)
{
    size_t  lines = 1;

    for (size_t i = 0; i < len; i++) {
        lines += text[i] == '\n';
    }

    m->text = text;
    m->maps = calloc(lines, sizeof(*m->maps));

    if (m->maps == NULL) {
        pprof_maps_free(m);
        errno = ENOMEM;
        return -1;
    }

    uintptr_t  first = 0;
    char      *end;

    for (char *line = text; line < text + len; line = end + 1) {
        end = memchr(line, '\n', text + len - line);

        if (end == NULL) {
            end = text + len;
        }

        struct cursor      c = {.at = line, .end = end};
        struct pprof_map  *map = &m->maps[m->nmaps];

        bool               code;

        if (!parse_line(&c, map, &code) || !code) {
            continue;
        }

        set_file(map, line + (c.at - line), end - c.at);

        if (strcmp(map->file, "[vsyscall]") == 0) {
            continue;
        }

        if (m->nmaps == 0) {
            first = map->start;
        }

        m->nmaps++;
    }

    qsort(m->maps, m->nmaps, sizeof(*m->maps), by_start);

    for (size_t i = 0; i < m->nmaps; i++) {
        if (m->maps[i].start == first) {
            put_first(m, i);
            break;
        }
    }

    return 0;
}


int
pprof_maps_parse(struct pprof_maps *m, const char *text, size_t len)
{
    *m = (struct pprof_maps) {0};

    char  *copy = malloc(len + 1);

    if (copy == NULL) {
        errno = ENOMEM;
        return -1;
    }

    memcpy(copy, text, len);

    return parse(m, copy, len);
}


/* The whole of /proc/PID/maps, with room for one byte more. */
static char *
read_proc_maps(const struct pprof_source *source, size_t *len)
{
    const int  fd = source != NULL
                    ? source->open(source, "maps")
                    : open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return NULL;
    }

    char    *text = NULL;
    size_t   cap = 0;
    int      error;

    *len = 0;

    for ( ;; ) {
        if (cap - *len < READ_PIECE + 1) {
            char  *more = realloc(text, cap + 2 * READ_PIECE);

            if (more == NULL) {
                error = ENOMEM;
                break;
            }

            text = more;
            cap += 2 * READ_PIECE;
        }

        const ssize_t  n = read(fd, text + *len, READ_PIECE);

        if (n > 0) {
            *len += n;
            continue;
        }

        if (n < 0 && errno == EINTR) {
            continue;
        }

        error = n < 0 ? errno : 0;
        break;
    }

    close(fd);

    if (error != 0) {
        free(text);
        errno = error;
        return NULL;
    }

    return text;
}


/* The mappings as the loader knows them, without /proc. */
static int
maps_of_objects(struct pprof_maps *m)
{
    const uintptr_t  page = sysconf(_SC_PAGESIZE);

    m->maps = calloc(m->nobjects + 1, sizeof(*m->maps));

    if (m->maps == NULL) {
        errno = ENOMEM;
        return -1;
    }

    for (size_t i = 0; i < m->nobjects; i++) {
        const struct pprof_object  *o = &m->objects[i];
        const uintptr_t             before = o->text & (page - 1);
        const char                 *file = o->name;

        if (o->text == 0) {
            continue;
        }

        if (i == 0) {
            /* what it was started as: better than nothing */
            file = (const char *) getauxval(AT_EXECFN);

        } else if (o->start == getauxval(AT_SYSINFO_EHDR)) {
            file = "[vdso]";
        }

        m->maps[m->nmaps++] = (struct pprof_map) {
            .start = o->text - before,
            .limit = (o->text_end + page - 1) & ~(page - 1),
            .offset = o->text_offset - before,
            .file = file == NULL || file[0] == '\0' ? "[unknown]" : file
        };
    }

    return 0;
}


/* Tells each map its object, and puts the main executable first. */
static void
join(struct pprof_maps *m)
{
    size_t  main_map = 0;

    if (m->nmaps == 0) {
        return;
    }

    qsort(m->maps, m->nmaps, sizeof(*m->maps), by_start);

    for (size_t i = 0; i < m->nmaps; i++) {
        struct pprof_map  *map = &m->maps[i];

        for (size_t j = 0; j < m->nobjects; j++) {
            const struct pprof_object  *o = &m->objects[j];

            if (map->start < o->end && map->limit > o->start) {
                map->object = j;
                break;
            }
        }

        if (m->nobjects > 0 && map->start <= m->objects[0].text
            && m->objects[0].text < map->limit)
        {
            main_map = i;
        }
    }

    put_first(m, main_map);
}


int
pprof_maps_load(struct pprof_maps *m)
{
    *m = (struct pprof_maps) {0};

    size_t     len;
    char      *text = read_proc_maps(NULL, &len);
    const int  rc = text != NULL ? parse(m, text, len)
                    : errno == ENOMEM ? -1 : 0;

    if (rc != 0 || load_objects(m) != 0
        || (text == NULL && maps_of_objects(m) != 0))
    {
        pprof_maps_free(m);
        errno = ENOMEM;
        return -1;
    }

    join(m);

    return 0;
}


/* Another process's objects: a mapping of a file's beginning is a header. */


/* Reads the ELF header at MAP, in memory that may hold anything. */
static bool
read_header(const struct pprof_maps *m, const struct pprof_map *map,
    struct pprof_object *o)
{
    ElfW(Ehdr)  eh;
    ElfW(Phdr)  phdrs[PHDRS_MAX];
    uintptr_t   low = UINTPTR_MAX;

    if (pprof_maps_fetch(m, map->start, &eh, sizeof(eh)) != sizeof(eh)
        || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0
        || eh.e_ident[EI_CLASS] != ELFCLASS64
        || (eh.e_type != ET_EXEC && eh.e_type != ET_DYN)
        || eh.e_phentsize != sizeof(phdrs[0])
        || eh.e_phnum == 0 || eh.e_phnum > PHDRS_MAX
        || eh.e_phoff > map->limit - map->start)
    {
        return false;
    }

    const size_t  size = eh.e_phnum * sizeof(phdrs[0]);

    if (pprof_maps_fetch(m, map->start + eh.e_phoff, phdrs, size) != size) {
        return false;
    }

    for (size_t i = 0; i < eh.e_phnum; i++) {
        if (phdrs[i].p_type == PT_LOAD && phdrs[i].p_offset == 0) {
            low = phdrs[i].p_vaddr;
            break;
        }
    }

    if (low == UINTPTR_MAX) {
        return false;
    }

    *o = (struct pprof_object) {
        .bias = map->start - low,
        .name = "",
        .phdr = map->start + eh.e_phoff,
        .phnum = eh.e_phnum
    };
    read_segments(o, m, phdrs, eh.e_phnum);

    return o->text != 0 && o->start <= o->text && o->text < o->end;
}


/* Where the kernel says that the program's own headers are; 0: unknown. */
static uintptr_t
main_phdr(const struct pprof_source *source)
{
    uint64_t   auxv[2 * AUXV_MAX];
    const int  fd = source->open(source, "auxv");

    if (fd == -1) {
        return 0;
    }

    const ssize_t  n = read(fd, auxv, sizeof(auxv));

    close(fd);

    for (ssize_t i = 0; i + 1 < n / (ssize_t) sizeof(auxv[0]); i += 2) {
        if (auxv[i] == AT_PHDR) {
            return auxv[i + 1];
        }
    }

    return 0;
}


/* Finds the objects by TEXT, LEN bytes of maps that were not yet cut up. */
static int
read_objects(struct pprof_maps *m, const char *text, size_t len)
{
    const uintptr_t  main = main_phdr(m->source);
    size_t           cap = OBJECTS_MIN;
    const char      *end;

    m->objects = calloc(cap, sizeof(*m->objects));

    for (const char *line = text; m->objects != NULL && line < text + len;
         line = end + 1)
    {
        end = memchr(line, '\n', text + len - line);

        if (end == NULL) {
            end = text + len;
        }

        struct cursor     c = {.at = line, .end = end};
        struct pprof_map  map;
        bool              code;

        if (!parse_line(&c, &map, &code) || map.offset != 0
            || (map.inode == 0 && (end - c.at < 6
                                   || memcmp(c.at, "[vdso]", 6) != 0)))
        {
            continue;
        }

        if (m->nobjects == cap) {
            struct pprof_object  *more = realloc(m->objects, 2 * cap
                                                 * sizeof(*more));

            if (more == NULL) {
                break;
            }

            m->objects = more;
            cap *= 2;
        }

        struct pprof_object  *o = &m->objects[m->nobjects];

        if (!read_header(m, &map, o)) {
            continue;
        }

        if (m->nobjects++ > 0 && main != 0 && o->phdr == main) {
            /* the main executable is the first */
            const struct pprof_object  first = m->objects[0];

            m->objects[0] = *o;
            *o = first;
        }
    }

    return m->objects == NULL ? -1 : 0;
}


int
pprof_maps_load_from(struct pprof_maps *m, const struct pprof_source *source)
{
    size_t  len;

    if (source == NULL) {
        return pprof_maps_load(m);
    }

    *m = (struct pprof_maps) {.source = source};

    char  *text = read_proc_maps(source, &len);

    if (text == NULL) {
        return -1;
    }

    if (read_objects(m, text, len) != 0) {
        free(text);
        *m = (struct pprof_maps) {0};
        errno = ENOMEM;
        return -1;
    }

    if (parse(m, text, len) != 0) {
        errno = ENOMEM;
        return -1;
    }

    join(m);

    return 0;
}


void
pprof_maps_free(struct pprof_maps *m)
{
    free(m->maps);
    free(m->objects);
    free(m->text);
    free(m->names);

    *m = (struct pprof_maps) {0};
}


const struct pprof_map *
pprof_maps_find(const struct pprof_maps *m, uintptr_t addr)
{
    if (m->nmaps == 0) {
        return NULL;
    }

    if (m->maps[0].start <= addr && addr < m->maps[0].limit) {
        return &m->maps[0];
    }

    size_t  low = 1, high = m->nmaps;

    while (low < high) {
        const size_t  mid = low + (high - low) / 2;

        if (m->maps[mid].limit <= addr) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    if (low < m->nmaps && m->maps[low].start <= addr) {
        return &m->maps[low];
    }

    return NULL;
}


const struct pprof_object *
pprof_maps_object(const struct pprof_maps *m, const struct pprof_map *map)
{
    if (map == NULL || map->object < 0) {
        return NULL;
    }

    return &m->objects[map->object];
}


/* Writes O's build id into HEX; "" when it has none. */
static void
print_build_id(const struct pprof_object *o,
    char hex[2 * PPROF_BUILD_ID_MAX + 1])
{
    static const char  digits[] = "0123456789abcdef";

    for (size_t i = 0; i < o->build_id_len; i++) {
        hex[2 * i] = digits[o->build_id[i] >> 4];
        hex[2 * i + 1] = digits[o->build_id[i] & 15];
    }

    hex[2 * o->build_id_len] = '\0';
}


char *
pprof_maps_build_id(const struct pprof_maps *m, const struct pprof_map *map,
    char hex[2 * PPROF_BUILD_ID_MAX + 1])
{
    const struct pprof_object  *o = pprof_maps_object(m, map);

    *hex = '\0';

    if (o != NULL) {
        print_build_id(o, hex);
    }

    return hex;
}


static char  own_build_id[2 * PPROF_BUILD_ID_MAX + 1];


/* The loader names the program first: the second object is not wanted. */
static int
take_build_id(struct dl_phdr_info *info, size_t size, void *data)
{
    struct pprof_object  o = {.bias = info->dlpi_addr};

    (void) size;
    (void) data;

    read_segments(&o, &ours, info->dlpi_phdr, info->dlpi_phnum);
    print_build_id(&o, own_build_id);

    return 1;
}


static void
find_own_build_id(void)
{
    dl_iterate_phdr(take_build_id, NULL);
}


const char *
pprof_maps_own_build_id(void)
{
    static pthread_once_t  once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_own_build_id);

    return own_build_id;
}
