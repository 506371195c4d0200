#include "kinds/code.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/dwarf.h"
#include "guest/cfi.h"
#include "symbols/maps.h"


enum {
    MODULES_MAX = 4096,     /* of a program that is to be believed */
    PHDRS_MAX   = 64,
    SECTION_MAX = 96 << 20, /* bytes of one .eh_frame */
    FIRST       = 4096,     /* bytes; offset 0 is none */
    PIECE       = 64 * 1024
};


/* One module: which it is, and its table. */
struct module {
    struct pprof_cfi_module  found;     /* its table is ours */
    size_t                   nfdes;
    uint64_t                 inode;     /* of its file */
    size_t                   at;        /* where the page has a copy; 0 */
    bool                     used;      /* by the list that is being made */
};

struct pprof_code {
    pthread_mutex_t    lock;
    struct module     *modules;
    size_t             n;
    struct pprof_cfi  *cfi;             /* of our tables; malloc()ed */
    uint64_t           seen;            /* a hash of the mappings */
    size_t             next;            /* free bytes of the area begin here */
    bool               shared;          /* the program is to have them */
    bool               current;         /* and has */
    uintptr_t          base;            /* where the program has it; 0: not
                                           yet, or it cannot */
};


static struct pprof_code *
code_of(struct pprof_target *t)
{
    if (t->code == NULL) {
        t->code = calloc(1, sizeof(struct pprof_code));

        if (t->code != NULL) {
            pthread_mutex_init(&t->code->lock, NULL);
        }
    }

    return t->code;
}


/*
 * A number that is another when another thing can be executed: so it is told
 * without looking at each file.  0: it cannot be told.
 */
static uint64_t
hash_maps(const struct pprof_target *t)
{
    char buf[PIECE];
    uint64_t h = 0xcbf29ce484222325, line = h;
    unsigned column = 0;
    bool code = false;
    ssize_t n;

    const int fd = pprof_target_openat(t, "maps", O_RDONLY);

    if (fd == -1) {
        return 0;
    }

    /* "start-limit r-xp offset device inode path" */
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            const unsigned char c = (unsigned char) buf[i];

            if (c == '\n') {
                h = code ? (h ^ line) * 0x100000001b3 : h;
                line = 0xcbf29ce484222325;
                column = 0;
                code = false;
                continue;
            }

            column += c == ' ';
            code = code || (column == 1 && c == 'x');
            line = (line ^ c) * 0x100000001b3;
        }
    }

    close(fd);

    return h | 1;
}


/* Where O's .eh_frame is, by its header's word. */
static void
find_section(const struct pprof_maps *maps, const struct pprof_object *o,
    struct module *m)
{
    ElfW(Phdr) phdrs[PHDRS_MAX];
    const ElfW(Phdr) *header = NULL;
    uint8_t bytes[12 + 8];
    const size_t n = o->phnum < PHDRS_MAX ? o->phnum : PHDRS_MAX;

    if (pprof_maps_fetch(maps, o->phdr, phdrs, n * sizeof(phdrs[0]))
        != n * sizeof(phdrs[0]))
    {
        return;
    }

    for (size_t i = 0; i < n; i++) {
        const uintptr_t low = o->bias + phdrs[i].p_vaddr;

        if (phdrs[i].p_type == PT_GNU_EH_FRAME) {
            header = &phdrs[i];
        }

        if (phdrs[i].p_type == PT_LOAD && (phdrs[i].p_flags & PF_X)) {
            const uintptr_t high = low + phdrs[i].p_memsz;

            if (m->found.end == 0 || low < m->found.start) {
                m->found.start = low;
            }

            if (high > m->found.end) {
                m->found.end = high;
            }
        }
    }

    if (header == NULL || header->p_memsz < sizeof(bytes)) {
        return;
    }

    const uintptr_t addr = o->bias + header->p_vaddr;
    struct pprof_dwarf in = pprof_dwarf_open(bytes, sizeof(bytes), addr);

    if (pprof_maps_fetch(maps, addr, bytes, sizeof(bytes)) != sizeof(bytes)
        || pprof_dwarf_fixed(&in, 1) != 1)
    {
        return;
    }

    const uint8_t frame_encoding = (uint8_t) pprof_dwarf_fixed(&in, 1);
    const uint8_t count_encoding = (uint8_t) pprof_dwarf_fixed(&in, 1);

    (void) pprof_dwarf_fixed(&in, 1);

    const uintptr_t start = pprof_dwarf_pointer(&in, frame_encoding);

    if (in.failed) {
        return;
    }

    m->nfdes = SIZE_MAX;

    if (count_encoding != PPROF_PE_OMIT) {
        const size_t count = pprof_dwarf_pointer(&in, count_encoding);

        if (!in.failed && count > 0) {
            m->nfdes = count;
        }
    }

    for (size_t i = 0; i < n; i++) {
        const uintptr_t low = o->bias + phdrs[i].p_vaddr;

        if (phdrs[i].p_type == PT_LOAD && start >= low
            && start - low < phdrs[i].p_filesz
            && phdrs[i].p_filesz - (start - low) <= SECTION_MAX)
        {
            m->found.eh_frame = start;
            m->found.eh_size = phdrs[i].p_filesz - (start - low);
        }
    }
}


/* Makes M's table. */
static void
make_table(const struct pprof_maps *maps, struct module *m)
{
    if (m->found.eh_frame == 0) {
        return;
    }

    uint8_t *const copy = mmap(NULL, m->found.eh_size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                               -1, 0);

    if (copy == MAP_FAILED) {
        return;
    }

    const size_t len = pprof_maps_fetch(maps, m->found.eh_frame, copy,
                                        m->found.eh_size);

    m->found.table = pprof_cfi_parse(copy, len, m->found.eh_frame, m->nfdes,
                                     m->found.start, m->found.end);
    munmap(copy, m->found.eh_size);
}


static int
by_start(const void *a, const void *b)
{
    const struct module *x = a, *y = b;

    return (x->found.start > y->found.start)
           - (x->found.start < y->found.start);
}


/* The module of C that M is, or NULL. */
static struct module *
find_same(struct pprof_code *c, const struct module *m)
{
    for (size_t i = 0; i < c->n; i++) {
        struct module *old = &c->modules[i];

        if (!old->used && old->found.start == m->found.start
            && old->found.end == m->found.end && old->inode == m->inode
            && old->found.eh_frame == m->found.eh_frame
            && old->found.eh_size == m->found.eh_size)
        {
            return old;
        }
    }

    return NULL;
}


static void
free_modules(struct pprof_code *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (!c->modules[i].used) {
            pprof_cfi_table_free(c->modules[i].found.table);
        }
    }

    free(c->modules);
    c->modules = NULL;
    c->n = 0;
}


/* Lists the modules of MAPS in C, with their tables, sorted. */
static int
list_modules(struct pprof_code *c, const struct pprof_maps *maps)
{
    const size_t max = maps->nobjects < MODULES_MAX ? maps->nobjects
                                                    : MODULES_MAX;
    struct module *const modules = calloc(max + 1, sizeof(*modules));
    size_t n = 0;

    if (modules == NULL) {
        return -1;
    }

    for (size_t i = 0; i < maps->nmaps && n < max; i++) {
        const struct pprof_map *map = &maps->maps[i];
        const struct pprof_object *o = pprof_maps_object(maps, map);
        struct module m = { .inode = map->inode };

        /* one with several executable mappings is listed by its first */
        if (o == NULL || o->text < map->start || o->text >= map->limit) {
            continue;
        }

        find_section(maps, o, &m);

        if (m.found.end <= m.found.start
            || m.found.end - m.found.start >= UINT32_MAX)
        {
            continue;
        }

        struct module *const same = find_same(c, &m);

        if (same != NULL) {
            same->used = true;
            m = *same;

        } else {
            make_table(maps, &m);
        }

        m.used = false;
        modules[n++] = m;
    }

    free_modules(c);
    qsort(modules, n, sizeof(*modules), by_start);
    c->modules = modules;
    c->n = n;

    /* where two overlap, the later one would hide the earlier's end */
    for (size_t i = 1; i < n; i++) {
        if (modules[i - 1].found.end > modules[i].found.start) {
            modules[i - 1].found.end = modules[i].found.start;
        }
    }

    return 0;
}


static size_t
cfi_size(const struct pprof_code *c)
{
    return sizeof(struct pprof_cfi) + c->n * sizeof(struct pprof_cfi_module);
}


/* Our own list, for our own walks. */
static int
make_cfi(struct pprof_code *c)
{
    struct pprof_cfi *const cfi = calloc(1, cfi_size(c));

    if (cfi == NULL) {
        return -1;
    }

    for (size_t i = 0; i < c->n; i++) {
        cfi->modules[cfi->nmodules++] = c->modules[i].found;
    }

    free(c->cfi);
    c->cfi = cfi;

    return 0;
}


/* Writes SIZE bytes into the area.  Returns where, or 0: no room. */
static size_t
put(struct pprof_target *t, const void *data, size_t size)
{
    struct pprof_code *const c = t->code;
    const size_t at = c->next;

    if (size > PPROF_CODE_SIZE - at
        || pwrite(t->page_fd, data, size, (off_t) (PPROF_CODE_AT + at))
           != (ssize_t) size)
    {
        return 0;
    }

    c->next = (at + size + 63) & ~(size_t) 63;

    return at;
}


static int
call_code(struct pprof_target *t, size_t at, enum pprof_code_use use,
    struct pprof_reply *reply)
{
    const uint64_t args[PPROF_ARGS] = { at, use };

    return pprof_target_call(t, PPROF_OP_CODE, args, reply);
}


/* Takes the tables out of the program, and the memory of the area back. */
static void
withdraw(struct pprof_target *t)
{
    struct pprof_code *const c = t->code;

    if (c->base != 0) {
        (void) call_code(t, 0, PPROF_CODE_DROP, NULL);
        (void) fallocate(t->page_fd,
                         FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         (off_t) PPROF_CODE_AT, (off_t) PPROF_CODE_SIZE);
    }

    for (size_t i = 0; i < c->n; i++) {
        c->modules[i].at = 0;
    }

    c->base = 0;
    c->current = false;
    c->next = FIRST;
}


/* The program's list, whose pointers are true where the program has them. */
static bool
copy_tables(struct pprof_target *t, struct pprof_cfi *cfi)
{
    struct pprof_code *const c = t->code;

    for (size_t i = 0; i < c->n; i++) {
        struct module *m = &c->modules[i];
        const struct pprof_cfi_table *const table = m->found.table;

        cfi->modules[i] = m->found;
        cfi->modules[i].table = NULL;

        if (table != NULL && m->at == 0) {
            m->at = put(t, table, table->mapped);

            if (m->at == 0) {
                return false;
            }
        }

        if (m->at != 0) {
            cfi->modules[i].table
                = (struct pprof_cfi_table *) (c->base + m->at);
        }
    }

    cfi->nmodules = c->n;

    return true;
}


/* Shows the program its tables. */
static int
publish(struct pprof_target *t)
{
    struct pprof_code *const c = t->code;
    struct pprof_reply reply;

    if (c->base == 0) {
        if (call_code(t, 0, PPROF_CODE_MAP, &reply) == -1) {
            return -1;
        }

        c->base = (uintptr_t) reply.results[0];
        c->next = FIRST;
        pprof_reply_free(&reply);
    }

    struct pprof_cfi *const cfi = calloc(1, cfi_size(c));

    if (cfi == NULL) {
        return -1;
    }

    cfi->foreign = true;

    const size_t at = copy_tables(t, cfi) ? put(t, cfi, cfi_size(c)) : 0;

    free(cfi);

    if (at == 0) {
        errno = ENOSPC;
        return -1;
    }

    if (call_code(t, at, PPROF_CODE_USE, NULL) == -1) {
        return -1;
    }

    c->current = true;

    return 0;
}


static int
update(struct pprof_target *t)
{
    struct pprof_code *const c = t->code;
    const uint64_t seen = hash_maps(t);
    struct pprof_maps maps;

    if (c->cfi == NULL || seen == 0 || seen != c->seen) {
        if (pprof_maps_load_from(&maps, pprof_target_source(t)) == -1) {
            /* it is not to be looked at: what there is has to do */
            return errno == ENOMEM ? -1 : 0;
        }

        const int rc = list_modules(c, &maps);

        pprof_maps_free(&maps);

        if (rc == -1 || make_cfi(c) == -1) {
            errno = ENOMEM;
            return -1;
        }

        c->seen = seen;
        c->current = false;
    }

    if (!c->shared || c->current) {
        return 0;
    }

    /* the area is full of what was unloaded: from its beginning again */
    if (publish(t) == -1 && errno == ENOSPC) {
        withdraw(t);
        (void) publish(t);
    }

    return 0;
}


int
pprof_code_update(struct pprof_target *t, bool shared)
{
    if (t->self) {
        return pprof_cfi_refresh() == -1 ? -1 : 0;
    }

    struct pprof_code *const c = code_of(t);

    if (c == NULL) {
        return -1;
    }

    pthread_mutex_lock(&c->lock);
    c->shared = c->shared || shared;
    const int rc = update(t);
    const int error = errno;
    pthread_mutex_unlock(&c->lock);
    errno = error;

    return rc;
}


void
pprof_code_drop(struct pprof_target *t)
{
    if (t->self) {
        pprof_cfi_clear();
        return;
    }

    struct pprof_code *const c = t->code;

    if (c == NULL) {
        return;
    }

    pthread_mutex_lock(&c->lock);
    withdraw(t);
    free_modules(c);
    free(c->cfi);
    c->cfi = NULL;
    c->shared = false;
    pthread_mutex_unlock(&c->lock);
}


const struct pprof_cfi *
pprof_code_enter(struct pprof_target *t)
{
    if (t->self || t->code == NULL) {
        return NULL;
    }

    pthread_mutex_lock(&t->code->lock);

    return t->code->cfi;
}


void
pprof_code_leave(struct pprof_target *t)
{
    if (!t->self && t->code != NULL) {
        pthread_mutex_unlock(&t->code->lock);
    }
}


void
pprof_code_free(struct pprof_code *c)
{
    if (c != NULL) {
        free_modules(c);
        free(c->cfi);
        pthread_mutex_destroy(&c->lock);
        free(c);
    }
}
