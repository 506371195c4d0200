#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/dwarf.h"
#include "guest/cfi.h"
#include "guest/own.h"
#include "guest/raw.h"


/* What the loader's list told about one module. */
struct found {
    struct pprof_cfi_module  module;
    size_t                   nfdes;
    uint8_t                 *copy;      /* of .eh_frame */
};

enum { ADOPT_MSEC = 100 };              /* for handlers to leave the old */

struct walk {
    struct found            *found;
    size_t                   n;
    size_t                   cap;
    const struct pprof_cfi  *old;
    unsigned long long       adds;
    unsigned long long       subs;
};


struct pprof_cfi_shared pprof_cfi_shared;

static pthread_mutex_t  builder = PTHREAD_MUTEX_INITIALIZER;
static struct pprof_cfi  *retired;      /* under BUILDER */


/*
 * Copies SIZE bytes at ADDR, as far as they can be read: a library whose file
 * was truncated has pages that raise SIGBUS when they are touched.
 */
static size_t
copy_memory(void *to, uintptr_t addr, size_t size)
{
    long   pid = pprof_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
    size_t done = 0;

    while (done < size) {
        struct iovec local = { (char *) to + done, size - done };
        struct iovec remote = { (void *) (addr + done), size - done };
        long         n = pprof_raw(SYS_process_vm_readv, (uintptr_t) pid,
                                   (uintptr_t) &local, 1, (uintptr_t) &remote,
                                   1, 0);

        if (n == -EPERM || n == -ENOSYS) {
            /* a sandbox forbids the call; the loader vouches for the range */
            memcpy((char *) to + done, (const void *) (addr + done),
                   size - done);
            return size;
        }

        if (n <= 0) {
            break;
        }

        done += (size_t) n;
    }

    return done;
}


static uint64_t
checksum(const uint8_t *data, size_t size)
{
    uint64_t h = size, word;

    for (size_t i = 0; i + 8 <= size; i += 8) {
        memcpy(&word, data + i, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15;
        h ^= h >> 32;
    }

    return h;
}


/* The table that OLD has for the same text and section, NULL if none. */
static struct pprof_cfi_table *
find_table(const struct pprof_cfi *old, const struct pprof_cfi_module *module)
{
    if (old == NULL) {
        return NULL;
    }

    const struct pprof_cfi_module *same = pprof_cfi_find(old, module->start);

    if (same == NULL || same->start != module->start
        || same->end != module->end || same->eh_frame != module->eh_frame
        || same->eh_size != module->eh_size)
    {
        return NULL;
    }

    return same->table;
}


/*
 * Finds .eh_frame from the segment that holds its header, and how many
 * functions the header counts.
 */
static void
find_eh_frame(const struct dl_phdr_info *info, const ElfW(Phdr) *header,
    struct found *found)
{
    uint8_t            bytes[12 + 8];
    uintptr_t          addr = info->dlpi_addr + header->p_vaddr;
    struct pprof_dwarf in = pprof_dwarf_open(bytes, sizeof(bytes), addr);

    if (header->p_memsz < sizeof(bytes)
        || copy_memory(bytes, addr, sizeof(bytes)) != sizeof(bytes)
        || pprof_dwarf_fixed(&in, 1) != 1)
    {
        return;
    }

    uint8_t frame_encoding = (uint8_t) pprof_dwarf_fixed(&in, 1);
    uint8_t count_encoding = (uint8_t) pprof_dwarf_fixed(&in, 1);

    (void) pprof_dwarf_fixed(&in, 1);

    uintptr_t start = pprof_dwarf_pointer(&in, frame_encoding);

    if (in.failed) {
        return;
    }

    found->nfdes = SIZE_MAX;

    if (count_encoding != PPROF_PE_OMIT) {
        size_t count = pprof_dwarf_pointer(&in, count_encoding);

        if (!in.failed && count > 0) {
            found->nfdes = count;
        }
    }

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *load = &info->dlpi_phdr[i];
        uintptr_t         low = info->dlpi_addr + load->p_vaddr;

        if (load->p_type == PT_LOAD && start >= low
            && start < low + load->p_filesz)
        {
            found->module.eh_frame = start;
            found->module.eh_size = low + load->p_filesz - start;
        }
    }
}


/* Go's linker leaves a note of its own, in programs and in libraries. */
static bool
has_go_note(uintptr_t addr, size_t size)
{
    uint8_t            bytes[4096];
    struct pprof_dwarf in, note;

    size = copy_memory(bytes, addr, size < sizeof(bytes) ? size
                                                         : sizeof(bytes));
    in = pprof_dwarf_open(bytes, size, addr);

    while (!in.failed && in.p < in.end) {
        const uint64_t name = (pprof_dwarf_fixed(&in, 4) + 3) & ~3ul;
        const uint64_t desc = (pprof_dwarf_fixed(&in, 4) + 3) & ~3ul;

        (void) pprof_dwarf_fixed(&in, 4);
        note = pprof_dwarf_block(&in, name);

        if (!note.failed && name == 4 && memcmp(note.p, "Go\0", 4) == 0) {
            return true;
        }

        (void) pprof_dwarf_block(&in, desc);
    }

    return false;
}


/*
 * Called under the loader's lock, which the allocator's unwinder may want
 * while it holds its own: nothing here may allocate with malloc.
 */
static int
visit_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct walk       *walk = arg;
    const ElfW(Phdr)  *header = NULL;
    struct found       found = { .module.start = UINTPTR_MAX };

    if (size >= offsetof(struct dl_phdr_info, dlpi_subs)
                + sizeof(info->dlpi_subs))
    {
        walk->adds = info->dlpi_adds;
        walk->subs = info->dlpi_subs;
    }

    if (walk->found == NULL && walk->cap != 0) {
        /* only the two counters are asked for */
        return 1;
    }

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];
        uintptr_t         low = info->dlpi_addr + phdr->p_vaddr;

        if (phdr->p_type == PT_LOAD && (phdr->p_flags & PF_X)) {
            if (low < found.module.start) {
                found.module.start = low;
            }

            if (low + phdr->p_memsz > found.module.end) {
                found.module.end = low + phdr->p_memsz;
            }

        } else if (phdr->p_type == PT_GNU_EH_FRAME) {
            header = phdr;

        } else if (phdr->p_type == PT_NOTE && has_go_note(low,
                                                          phdr->p_memsz))
        {
            atomic_store(&pprof_cfi_shared.go, true);
        }
    }

    if (found.module.end <= found.module.start
        || found.module.end - found.module.start >= UINT32_MAX)
    {
        return 0;
    }

    if (walk->n++ >= walk->cap) {
        return 0;
    }

    if (header != NULL) {
        find_eh_frame(info, header, &found);
    }

    if (found.module.eh_frame != 0) {
        if (walk->old != NULL && walk->old->subs == walk->subs) {
            /* nothing went away, so the same place is the same module */
            found.module.table = find_table(walk->old, &found.module);
        }

        if (found.module.table == NULL) {
            found.copy = mmap(NULL, found.module.eh_size,
                              PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (found.copy == MAP_FAILED) {
                found.copy = NULL;

            } else {
                (void) copy_memory(found.copy, found.module.eh_frame,
                                   found.module.eh_size);
            }
        }
    }

    walk->found[walk->n - 1] = found;

    return 0;
}


static int
compare_modules(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->module.start < y->module.start ? -1
           : x->module.start > y->module.start;
}


/*
 * Lists what is loaded.  Returns false when memory lacks.
 */
static bool
list_modules(struct walk *walk)
{
    size_t cap = 0;

    for ( ;; ) {
        walk->n = 0;
        walk->cap = cap;
        dl_iterate_phdr(visit_module, walk);

        if (walk->n <= cap) {
            break;
        }

        /* more than there was room for: again, with some to spare */
        if (walk->found != NULL) {
            for (size_t i = 0; i < cap; i++) {
                if (walk->found[i].copy != NULL) {
                    munmap(walk->found[i].copy,
                           walk->found[i].module.eh_size);
                }
            }

            munmap(walk->found, cap * sizeof(struct found));
        }

        cap = walk->n + 16;
        walk->found = mmap(NULL, cap * sizeof(struct found),
                           PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (walk->found == MAP_FAILED) {
            walk->found = NULL;
            return false;
        }
    }

    qsort(walk->found, walk->n, sizeof(struct found), compare_modules);

    return true;
}


static void
free_snapshot(struct pprof_cfi *cfi)
{
    for (size_t i = 0; i < cfi->nmodules; i++) {
        struct pprof_cfi_table *table = cfi->modules[i].table;

        if (table != NULL && --table->refs == 0) {
            pprof_cfi_table_free(table);
        }
    }

    munmap(cfi, cfi->mapped);
}


/* Frees what was replaced, if nobody can be reading it.  Under BUILDER. */
static void
reclaim(void)
{
    if (atomic_load(&pprof_cfi_shared.readers) != 0) {
        return;
    }

    while (retired != NULL) {
        struct pprof_cfi *next = retired->next;

        free_snapshot(retired);
        retired = next;
    }
}


/* Under BUILDER. */
static void
publish(struct pprof_cfi *cfi)
{
    struct pprof_cfi *old = atomic_exchange(&pprof_cfi_shared.current, cfi);

    if (old != NULL && !old->foreign) {
        old->next = retired;
        retired = old;
    }

    reclaim();
}


bool
pprof_cfi_adopt(struct pprof_cfi *cfi)
{
    struct timespec   pause = { 0, 1000000 };
    struct pprof_cfi *old = atomic_exchange(&pprof_cfi_shared.current, cfi);

    /*
     * Tables that this process made, before there was an agent, stay: their
     * lock is one of libc's, which is not for the resting thread.
     */
    for (int i = 0; old != NULL && i < ADOPT_MSEC; i++) {
        if (atomic_load(&pprof_cfi_shared.readers) == 0) {
            return true;
        }

        pprof_raw(SYS_nanosleep, (uintptr_t) &pause, 0, 0, 0, 0, 0);
    }

    return old == NULL;
}


/* Makes the missing tables of WALK and a snapshot of all.  Under BUILDER. */
static struct pprof_cfi *
make_snapshot(struct walk *walk)
{
    size_t size = sizeof(struct pprof_cfi)
                  + walk->n * sizeof(struct pprof_cfi_module);

    struct pprof_cfi *cfi = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (cfi == MAP_FAILED) {
        return NULL;
    }

    cfi->mapped = size;
    cfi->adds = walk->adds;
    cfi->subs = walk->subs;

    for (size_t i = 0; i < walk->n; i++) {
        struct found            *found = &walk->found[i];
        struct pprof_cfi_module *module = &found->module;

        if (found->copy != NULL) {
            uint64_t sum = checksum(found->copy, module->eh_size);

            module->table = find_table(walk->old, module);

            if (module->table == NULL || module->table->sum != sum) {
                module->table = pprof_cfi_parse(found->copy, module->eh_size,
                                                module->eh_frame, found->nfdes,
                                                module->start, module->end);
                if (module->table != NULL) {
                    module->table->sum = sum;
                }
            }

            munmap(found->copy, module->eh_size);
        }

        if (module->table != NULL) {
            module->table->refs++;
        }

        /* where two overlap, the later one would hide the earlier's end */
        if (cfi->nmodules > 0
            && cfi->modules[cfi->nmodules - 1].end > module->start)
        {
            cfi->modules[cfi->nmodules - 1].end = module->start;
        }

        cfi->modules[cfi->nmodules++] = *module;
    }

    return cfi;
}


int
pprof_cfi_refresh(void)
{
    int result = 0;

    const struct pprof_cfi *now = atomic_load(&pprof_cfi_shared.current);

    if (pprof_own_raw() || (now != NULL && now->foreign)) {
        /* the agent makes the tables; the loader's lock would not be for a
           thread that libc does not know */
        return 0;
    }

    pthread_mutex_lock(&builder);

    struct pprof_cfi *old = atomic_load(&pprof_cfi_shared.current);
    struct walk       counters = { .cap = 1 };

    dl_iterate_phdr(visit_module, &counters);

    if (old != NULL && old->adds == counters.adds
        && old->subs == counters.subs)
    {
        reclaim();

    } else {
        struct walk       walk = { .old = old };
        struct pprof_cfi *cfi = NULL;

        if (list_modules(&walk)) {
            cfi = make_snapshot(&walk);
            munmap(walk.found, walk.cap * sizeof(struct found));
        }

        if (cfi != NULL) {
            publish(cfi);
            result = 1;

        } else {
            errno = ENOMEM;
            result = -1;
        }
    }

    pthread_mutex_unlock(&builder);

    return result;
}


void
pprof_cfi_clear(void)
{
    struct timespec pause = { 0, 1000000 };

    const struct pprof_cfi *current = atomic_load(&pprof_cfi_shared.current);

    if (pprof_own_raw() || (current != NULL && current->foreign)) {
        /* the agent's, for which somebody else has a use */
        return;
    }

    pthread_mutex_lock(&builder);
    publish(NULL);

    for (int i = 0; retired != NULL && i < 100; i++) {
        nanosleep(&pause, NULL);
        reclaim();
    }

    pthread_mutex_unlock(&builder);
}


void
pprof_cfi_child(void)
{
    /* whoever held the lock in the parent is not here to release it */
    builder = (pthread_mutex_t) PTHREAD_MUTEX_INITIALIZER;
    atomic_store(&pprof_cfi_shared.readers, 0);
}


struct pprof_cfi_stats
pprof_cfi_stats(void)
{
    struct pprof_cfi_stats stats = { 0 };

    pthread_mutex_lock(&builder);

    const struct pprof_cfi *cfi = atomic_load(&pprof_cfi_shared.current);

    for (size_t i = 0; cfi != NULL && i < cfi->nmodules; i++) {
        const struct pprof_cfi_table *table = cfi->modules[i].table;

        stats.modules++;

        if (table != NULL) {
            stats.rows += table->nrows;
            stats.bytes += table->mapped;
        }
    }

    pthread_mutex_unlock(&builder);

    return stats;
}
