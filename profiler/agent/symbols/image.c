#include "symbols/image.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>


enum {
    /* How much of an object whose file is gone is copied from memory. */
    MEMORY_MAX = 64 << 20,

    /* How large a symbol table may be that was compressed. */
    UNPACKED_MAX = 64 << 20,

    LZMA_MEMORY_MAX = 128 << 20
};


/* liblzma's, found at run time: few programs have what it is for. */
typedef int unpack_function(uint64_t *memlimit, uint32_t flags,
    const void *allocator, const uint8_t *in, size_t *in_pos, size_t in_size,
    uint8_t *out, size_t *out_pos, size_t out_size);

static unpack_function  *unpack;


void
pprof_image_free(struct pprof_image *im)
{
    if (im->data != NULL) {
        munmap(im->data, im->size);
    }

    free(im->phdrs);
    free(im->path);
    *im = (struct pprof_image) {0};
}


bool
pprof_image_same(const struct pprof_image *im)
{
    struct stat  st;

    return im->path != NULL && stat(im->path, &st) == 0
           && st.st_dev == im->st.st_dev && st.st_ino == im->st.st_ino
           && st.st_size == im->st.st_size
           && st.st_mtim.tv_sec == im->st.st_mtim.tv_sec
           && st.st_mtim.tv_nsec == im->st.st_mtim.tv_nsec;
}


void
pprof_image_rest(const struct pprof_image *im)
{
    /* what is no file's would be gone */
    if (im->path != NULL) {
        (void) madvise(im->data, im->size, MADV_DONTNEED);
    }
}


/* Maps a whole regular file. */
static bool
map_file(struct pprof_image *im, const char *path)
{
    /* what a path leads to now may be a fifo or a terminal */
    const int  fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0) {
        return false;
    }

    struct stat  st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        void  *data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (data != MAP_FAILED) {
            im->data = data;
            im->size = st.st_size;
            im->st = st;
            im->path = strdup(path);
            im->usable = pprof_elf_parse(&im->elf, data, im->size) == 0;
        }
    }

    close(fd);

    if (!im->usable) {
        pprof_image_free(im);
    }

    return im->usable;
}


static bool
same_build_id(const struct pprof_elf *elf, const struct pprof_object *o)
{
    size_t          len;
    const uint8_t  *id = pprof_elf_build_id(elf, &len);

    return id != NULL && len == o->build_id_len
           && memcmp(id, o->build_id, len) == 0;
}


/*
 * Maps the file at PATH when it is what was loaded: by its build id, or, for
 * an object without one, by being the same file still.  (Not by the device:
 * btrfs and overlayfs show stat() another than the kernel's own.)
 */
static bool
map_loaded(struct pprof_image *im, const char *path,
    const struct pprof_map *map, const struct pprof_object *o)
{
    if (!map_file(im, path)) {
        return false;
    }

    if (o->build_id_len != 0 ? same_build_id(&im->elf, o)
                             : im->st.st_ino == map->inode)
    {
        return true;
    }

    pprof_image_free(im);

    return false;
}


/* Copies LEN bytes at VADDR into a memory image. */
static void
copy_range(struct pprof_image *im, const struct pprof_maps *m,
    const struct pprof_object *o, uint64_t vaddr, uint64_t len)
{
    const uintptr_t  addr = o->bias + vaddr;

    if (addr < o->start || addr > o->end || len > o->end - addr) {
        return;
    }

    (void) pprof_maps_fetch(m, addr, (char *) im->data + (addr - o->start),
                            len);
}


/*
 * Copies what there is to know from memory, for a file that was deleted or
 * replaced: the read-only segments (hash, dynamic symbols, .eh_frame), and
 * the dynamic section.  The code is left out where it has a segment of its
 * own; its pages stay untouched zeros.
 */
static bool
copy_memory(struct pprof_image *im, const struct pprof_maps *m,
    const struct pprof_object *o)
{
    const size_t  size = o->end - o->start;
    const size_t  phdrs_size = o->phnum * sizeof(ElfW(Phdr));
    uint64_t      total = 0;

    im->phdrs = malloc(phdrs_size + 1);

    if (im->phdrs == NULL
        || pprof_maps_fetch(m, o->phdr, im->phdrs, phdrs_size)
           != phdrs_size)
    {
        pprof_image_free(im);
        return false;
    }

    void  *data = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (data == MAP_FAILED) {
        pprof_image_free(im);
        return false;
    }

    im->data = data;
    im->size = size;

    pprof_elf_parse_memory(&im->elf, data, size, o->start - o->bias, o->bias,
                           im->phdrs, o->phnum);

    for (size_t i = 0; i < o->phnum; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(&im->elf, i);
        const bool        first = o->bias + ph.p_vaddr == o->start;

        if (ph.p_type == PT_LOAD && (ph.p_flags & PF_R)
            && (first || (ph.p_flags & (PF_W | PF_X)) == 0)
            && ph.p_filesz <= MEMORY_MAX - total)
        {
            total += ph.p_filesz;
            copy_range(im, m, o, ph.p_vaddr, ph.p_filesz);
        }

        if (ph.p_type == PT_DYNAMIC && ph.p_filesz <= MEMORY_MAX - total) {
            total += ph.p_filesz;
            copy_range(im, m, o, ph.p_vaddr, ph.p_filesz);
        }
    }

    im->usable = true;

    return true;
}


/* The vdso lies in memory as it would in a file, sections and all. */
static bool
copy_vdso(struct pprof_image *im, const struct pprof_maps *m,
    const struct pprof_map *map)
{
    const size_t  size = map->limit - map->start;
    void         *data = mmap(NULL, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (data == MAP_FAILED) {
        return false;
    }

    im->data = data;
    im->size = size;

    const size_t  len = pprof_maps_fetch(m, map->start, data, size);

    im->usable = pprof_elf_parse(&im->elf, data, len) == 0;

    if (!im->usable) {
        pprof_image_free(im);
    }

    return im->usable;
}


bool
pprof_image_open(struct pprof_image *im, const struct pprof_maps *m,
    const struct pprof_map *map)
{
    const struct pprof_object  *o = pprof_maps_object(m, map);
    char                        path[4200], self[24] = "self";

    if (m->source != NULL) {
        snprintf(self, sizeof(self), "%d", (int) m->source->pid);
    }

    if (strcmp(map->file, "[vdso]") == 0) {
        return copy_vdso(im, m, map);
    }

    if (!map->deleted && map->file[0] == '/') {
        /* another process's root may be another */
        snprintf(path, sizeof(path), "/proc/%s/root%.4096s", self, map->file);

        if ((m->source != NULL && map_loaded(im, path, map, o))
            || map_loaded(im, map->file, map, o))
        {
            return true;
        }
    }

    /* the file that was loaded, whatever its path is now; it wants privilege */

    snprintf(path, sizeof(path), "/proc/%s/map_files/%lx-%lx", self,
             (unsigned long) map->start, (unsigned long) map->limit);

    if (map_loaded(im, path, map, o)) {
        return true;
    }

    snprintf(path, sizeof(path), "/proc/%s/exe", self);

    if (map->object == 0 && map_loaded(im, path, map, o)) {
        return true;
    }

    return copy_memory(im, m, o);
}


/* Separate debug files. */


/*
 * Maps the file at PATH when it was made from the object: it has the same
 * build id, or, where one of them has none, the checksum CRC of the link.
 */
static bool
map_debug(struct pprof_image *im, const char *path,
    const struct pprof_object *o, const uint32_t *crc)
{
    size_t  len;

    if (!map_file(im, path)) {
        return false;
    }

    if (o->build_id_len != 0 && pprof_elf_build_id(&im->elf, &len) != NULL
        ? same_build_id(&im->elf, o)
        : crc != NULL && crc32_z(0, im->data, im->size) == *crc)
    {
        return true;
    }

    pprof_image_free(im);

    return false;
}


/* By its build id: ROOT/.build-id/ab/cdef.debug. */
static bool
open_by_id(struct pprof_image *im, const char *root,
    const struct pprof_maps *m, const struct pprof_map *map,
    const struct pprof_object *o)
{
    char  path[4200], hex[2 * PPROF_BUILD_ID_MAX + 1];

    if (o->build_id_len < 2) {
        return false;
    }

    pprof_maps_build_id(m, map, hex);

    const int  len = snprintf(path, sizeof(path),
                              "%s/.build-id/%.2s/%s.debug", root, hex,
                              hex + 2);

    return len < (int) sizeof(path) && map_debug(im, path, o, NULL);
}


/*
 * By the name that the object's .gnu_debuglink gives: beside it, in .debug/
 * there, or below ROOT.
 * Source: gdb's manual, "Separate Debug Files".
 */
static bool
open_by_link(struct pprof_image *im, const struct pprof_image *object,
    const char *root, const struct pprof_maps *m,
    const struct pprof_map *map, const struct pprof_object *o)
{
    static const char *const  forms[] = {
        "%s%s%.*s/%s", "%s%s%.*s/.debug/%s"
    };
    char            path[4400], prefix[40] = "";
    size_t          size;
    uint32_t        crc;
    const char     *slash = strrchr(map->file, '/');
    const uint8_t  *link = pprof_elf_section(&object->elf, ".gnu_debuglink",
                                             &size);

    if (link == NULL || slash == NULL || map->file[0] != '/') {
        return false;
    }

    /* a name, zeros up to a multiple of four, the checksum */
    const char    *name = (const char *) link;
    const size_t   at = (strnlen(name, size) + 4) & ~(size_t) 3;

    if (size < sizeof(crc) || at > size - sizeof(crc)
        || strchr(name, '/') != NULL)
    {
        return false;
    }

    memcpy(&crc, link + at, sizeof(crc));

    const int  dir = (int) (slash - map->file);

    /* in the process's root first, where that is another's */
    for (int own = m->source == NULL; own < 2; own++) {
        if (!own) {
            snprintf(prefix, sizeof(prefix), "/proc/%d/root",
                     (int) m->source->pid);
        } else {
            prefix[0] = '\0';
        }

        for (int i = 0; i < 3; i++) {
            const int  len = snprintf(path, sizeof(path), forms[i == 1],
                                      prefix, i == 2 ? root : "", dir,
                                      map->file, name);

            if (len < (int) sizeof(path) && map_debug(im, path, o, &crc)) {
                return true;
            }
        }
    }

    return false;
}


/* Where it is linked in, as into the static agent. */
extern unpack_function  lzma_stream_buffer_decode __attribute__((weak));


static void
load_unpack(void)
{
    unpack = lzma_stream_buffer_decode;

    /* no loader: in a static program dlopen() is a way to crash */
    if (unpack != NULL || getauxval(AT_BASE) == 0) {
        return;
    }

    void  *lib = dlopen("liblzma.so.5", RTLD_NOW | RTLD_LOCAL);

    if (lib != NULL) {
        *(void **) &unpack = dlsym(lib, "lzma_stream_buffer_decode");
    }
}


/*
 * The symbol table that Fedora and others leave in a stripped object, packed
 * by xz.  Only where libraries may be loaded, which is the agent.
 * Source: "MiniDebugInfo" in gdb's manual; lzma/container.h.
 */
static bool
open_mini(struct pprof_image *im, const struct pprof_image *object)
{
    static pthread_once_t  once = PTHREAD_ONCE_INIT;
    uint64_t               memory = LZMA_MEMORY_MAX;
    size_t                 size, in = 0, out = 0;
    const uint8_t         *packed = pprof_elf_section(&object->elf,
                                                      ".gnu_debugdata", &size);

    if (packed == NULL) {
        return false;
    }

    pthread_once(&once, load_unpack);

    if (unpack == NULL) {
        return false;
    }

    void  *data = mmap(NULL, UNPACKED_MAX, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (data == MAP_FAILED) {
        return false;
    }

    im->data = data;
    im->size = UNPACKED_MAX;
    im->usable = unpack(&memory, 0, NULL, packed, &in, size, data, &out,
                        UNPACKED_MAX) == 0
                 && pprof_elf_parse(&im->elf, data, out) == 0;

    if (!im->usable) {
        pprof_image_free(im);
    }

    return im->usable;
}


bool
pprof_image_debug(struct pprof_image *im, const struct pprof_image *object,
    const char *root, bool may_load, const struct pprof_maps *m,
    const struct pprof_map *map)
{
    const struct pprof_object  *o = pprof_maps_object(m, map);

    return open_by_id(im, root, m, map, o)
           || (object->usable
               && (open_by_link(im, object, root, m, map, o)
                   || (may_load && open_mini(im, object))));
}
