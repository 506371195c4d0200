#include "run/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "symbols/elf.h"


enum {
    SCRIPTS_MAX = 4,        /* interpreters of interpreters, as the kernel */
    LINE_MAX_LEN = 256      /* of a script's first line, as the kernel reads */
};


/* A file's bytes; NULL when there are none. */
struct image {
    const uint8_t  *data;
    size_t          size;
};


static struct image
map_file(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct image image = { NULL, 0 };
    struct stat st;

    if (fd == -1) {
        return image;
    }

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        void *const data = mmap(NULL, (size_t) st.st_size, PROT_READ,
                                MAP_PRIVATE, fd, 0);

        if (data != MAP_FAILED) {
            image = (struct image) { data, (size_t) st.st_size };
        }
    }

    close(fd);

    return image;
}


static void
unmap(struct image image)
{
    if (image.data != NULL) {
        munmap((void *) image.data, image.size);
    }
}


/* Finds NAME as execvp() does.  Returns 0 and fills PATH, or -1 and errno. */
static int
find(const char *name, char *path, size_t size)
{
    const char *dirs = getenv("PATH");
    struct stat st;
    int error = ENOENT;

    if (strchr(name, '/') != NULL) {
        return (size_t) snprintf(path, size, "%s", name) < size ? 0 : -1;
    }

    if (dirs == NULL) {
        dirs = "/bin:/usr/bin";
    }

    while (*name != '\0') {
        const size_t n = strcspn(dirs, ":");

        if ((size_t) snprintf(path, size, "%.*s%s%s", (int) n, dirs,
                              n == 0 ? "" : "/", name) < size
            && stat(path, &st) == 0)
        {
            if (S_ISREG(st.st_mode) && access(path, X_OK) == 0) {
                return 0;
            }

            error = EACCES;
        }

        if (dirs[n] == '\0') {
            break;
        }

        dirs += n + 1;
    }

    errno = error;

    return -1;
}


/* Copies the word at *TEXT, before END, and goes on behind it. */
static bool
take_word(const char **text, const char *end, char *word, size_t size)
{
    const char *p = *text;

    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }

    const char *const begin = p;

    while (p < end && *p != ' ' && *p != '\t' && *p != '\0') {
        p++;
    }

    *text = p;

    if (p == begin || (size_t) (p - begin) >= size) {
        return false;
    }

    memcpy(word, begin, (size_t) (p - begin));
    word[p - begin] = '\0';

    return true;
}


/*
 * Reads the interpreter of the script in IMAGE.  What follows "env" is one
 * that is looked for.  Returns whether there is one.
 */
static bool
read_script(struct image image, char *interpreter, size_t size)
{
    const char *text = (const char *) image.data;
    const size_t len = image.size < LINE_MAX_LEN ? image.size : LINE_MAX_LEN;
    const char *end = memchr(text, '\n', len);
    char word[LINE_MAX_LEN];

    if (end == NULL) {
        end = text + len;
    }

    text += 2;

    if (!take_word(&text, end, interpreter, size)) {
        return false;
    }

    const char *const slash = strrchr(interpreter, '/');

    if (slash == NULL || strcmp(slash, "/env") != 0) {
        return true;
    }

    while (take_word(&text, end, word, sizeof(word))) {
        if (word[0] != '-' && strchr(word, '=') == NULL) {
            return find(word, interpreter, size) == 0;
        }
    }

    return true;
}


/*
 * Calls HAS for each entry of the dynamic section until one says yes.
 *
 * Returns whether one did.
 */
static bool
any_dynamic(const struct pprof_elf *e,
    bool (*has)(const struct pprof_elf *e, const ElfW(Dyn) *dyn, void *arg),
    void *arg)
{
    for (size_t i = 0; i < e->nphdrs; i++) {
        const ElfW(Phdr) ph = pprof_elf_phdr(e, i);
        size_t len = 0;

        if (ph.p_type != PT_DYNAMIC) {
            continue;
        }

        const uint8_t *const data = pprof_elf_at(e, ph.p_vaddr, &len);

        for (size_t at = 0; data != NULL && len - at >= sizeof(ElfW(Dyn));
             at += sizeof(ElfW(Dyn)))
        {
            ElfW(Dyn) dyn;

            memcpy(&dyn, data + at, sizeof(dyn));

            if (dyn.d_tag == DT_NULL) {
                break;
            }

            if (has(e, &dyn, arg)) {
                return true;
            }
        }
    }

    return false;
}


static bool
is_strings(const struct pprof_elf *e, const ElfW(Dyn) *dyn, void *arg)
{
    ElfW(Addr) *const vaddr = arg;

    (void) e;

    if (dyn->d_tag == DT_STRTAB) {
        *vaddr = dyn->d_un.d_ptr;
    }

    return dyn->d_tag == DT_STRTAB;
}


/* Libraries whose names begin so: which of them the program needs. */
struct needs {
    const char *const  *prefixes;
    ElfW(Addr)          strings;
    const char         *found;
};


static bool
is_needed(const struct pprof_elf *e, const ElfW(Dyn) *dyn, void *arg)
{
    struct needs *const needs = arg;
    size_t len = 0;

    if (dyn->d_tag != DT_NEEDED) {
        return false;
    }

    const char *const name
        = (const char *) pprof_elf_at(e, needs->strings + dyn->d_un.d_val,
                                      &len);

    if (name == NULL || memchr(name, '\0', len) == NULL) {
        return false;
    }

    for (size_t i = 0; needs->prefixes[i] != NULL; i++) {
        if (strncmp(name, needs->prefixes[i], strlen(needs->prefixes[i]))
            == 0)
        {
            needs->found = name;
            return true;
        }
    }

    return false;
}


/* Returns the first needed library with one of PREFIXES, or NULL. */
static const char *
needed(const struct pprof_elf *e, const char *const *prefixes)
{
    struct needs needs = { .prefixes = prefixes };

    if (!any_dynamic(e, is_strings, &needs.strings)) {
        return NULL;
    }

    return any_dynamic(e, is_needed, &needs) ? needs.found : NULL;
}


/* Returns the first of NAMES that the object defines, or NULL. */
static const char *
defines(const struct pprof_elf *e, const char *const *names)
{
    struct pprof_elf_symbols symbols;

    if (!pprof_elf_dynsym(e, &symbols)) {
        return NULL;
    }

    for (size_t i = 0; i < symbols.count; i++) {
        const ElfW(Sym) sym = pprof_elf_symbol(&symbols, i);

        if (sym.st_shndx == SHN_UNDEF || sym.st_value == 0) {
            continue;
        }

        const char *const name = pprof_elf_symbol_name(&symbols, &sym);

        for (size_t k = 0; names[k] != NULL; k++) {
            if (strcmp(name, names[k]) == 0) {
                return names[k];
            }
        }
    }

    return NULL;
}


/* Is it for the processor that this file was built for? */
static bool
is_ours(const struct pprof_elf *e)
{
    ElfW(Ehdr) eh;

    memcpy(&eh, e->data, sizeof(eh));

#if defined(__x86_64__)
    return eh.e_machine == EM_X86_64;
#elif defined(__aarch64__)
    return eh.e_machine == EM_AARCH64;
#else
    return true;
#endif
}


static const char *const allocator[] = { "malloc", NULL };


bool
pprof_program_is_allocator(const char *path)
{
    const struct image image = map_file(path);
    struct pprof_elf e;

    const bool is = image.data != NULL
                    && pprof_elf_parse(&e, image.data, image.size) == 0
                    && defines(&e, allocator) != NULL;

    unmap(image);

    return is;
}


/*
 * Would the kernel start FILE with other rights than ours?  The loader drops
 * LD_PRELOAD then.  Root has all that a file could give, but for another's
 * name.
 */
static bool
is_secure(const char *file)
{
    struct stat st;

    if (stat(file, &st) == -1) {
        return false;
    }

    return ((st.st_mode & S_ISUID) && st.st_uid != getuid())
           || ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)
               && st.st_gid != getgid())
           || (getuid() != 0
               && getxattr(file, "security.capability", NULL, 0) > 0);
}


/* The loader that PT_INTERP names; NULL: none. */
static const char *
loader(const struct pprof_elf *e)
{
    for (size_t i = 0; i < e->nphdrs; i++) {
        const ElfW(Phdr) ph = pprof_elf_phdr(e, i);

        if (ph.p_type == PT_INTERP && ph.p_offset < e->size
            && memchr(e->data + ph.p_offset, '\0', e->size - ph.p_offset)
               != NULL)
        {
            return (const char *) e->data + ph.p_offset;
        }
    }

    return NULL;
}


/* glibc's loader is ld-linux-x86-64.so.2, ld-linux-aarch64.so.1, ld64.so.2 …;
   musl's ld-musl-x86_64.so.1, Android's linker64. */
static bool
is_glibc(const char *path)
{
    const char *const slash = strrchr(path, '/');
    const char *const name = slash == NULL ? path : slash + 1;

    return strncmp(name, "ld-linux", 8) == 0
           || strncmp(name, "ld64.so", 7) == 0
           || strncmp(name, "ld.so", 5) == 0;
}


static void
look_at_elf(struct pprof_program *p, const struct pprof_elf *e)
{
    static const char *const runtimes[] = {
        "libasan.", "libtsan.", "liblsan.", "libhwasan.", "libclang_rt.asan",
        "libclang_rt.tsan", "libclang_rt.msan", "libclang_rt.hwasan", NULL
    };
    static const char *const starts[] = {
        "__asan_init", "__tsan_init", "__msan_init", "__hwasan_init",
        "__lsan_init", NULL
    };
    static const char *const allocators[] = {
        "libjemalloc", "libmimalloc", "libtcmalloc", "libtbbmalloc_proxy",
        "libsnmalloc", "librpmalloc", "libhoard", NULL
    };

    const char *const ld = loader(e);

    if (ld == NULL) {
        p->what = PPROF_PROGRAM_STATIC;
        return;
    }

    if (!is_glibc(ld)) {
        p->what = PPROF_PROGRAM_LIBC;
        snprintf(p->detail, sizeof(p->detail), "%s", ld);
        return;
    }

    const char *found = needed(e, runtimes);

    if (found == NULL) {
        found = defines(e, starts);
    }

    if (found != NULL) {
        p->what = PPROF_PROGRAM_SANITIZER;
        snprintf(p->detail, sizeof(p->detail), "%s", found);
        return;
    }

    found = needed(e, allocators);

    if (found == NULL && defines(e, allocator) != NULL) {
        found = "malloc() in the program itself";
    }

    if (found != NULL) {
        p->allocator = true;
        snprintf(p->detail, sizeof(p->detail), "%s", found);
    }
}


static bool
is_elf(struct image image)
{
    return image.size >= EI_NIDENT && memcmp(image.data, ELFMAG, SELFMAG) == 0;
}


/* Follows scripts to what runs them.  Returns the bytes of that. */
static struct image
follow_scripts(struct pprof_program *p)
{
    struct image image = map_file(p->file);

    for (int i = 0; i < SCRIPTS_MAX && image.size >= 2 && !is_elf(image);
         i++)
    {
        char interpreter[PATH_MAX] = "/bin/sh";

        /* without a first line that says so, execvp() takes the shell */
        if (memcmp(image.data, "#!", 2) == 0
            && !read_script(image, interpreter, sizeof(interpreter)))
        {
            break;
        }

        unmap(image);
        p->script = true;
        memcpy(p->file, interpreter, sizeof(p->file));
        image = map_file(p->file);
    }

    return image;
}


void
pprof_program_look(struct pprof_program *p, const char *name)
{
    struct pprof_elf e;
    struct stat st;

    memset(p, 0, sizeof(*p));

    if (find(name, p->file, sizeof(p->file)) == -1) {
        p->file[0] = '\0';
        p->what = errno == EACCES ? PPROF_PROGRAM_FORBIDDEN
                                  : PPROF_PROGRAM_MISSING;
        return;
    }

    if (stat(p->file, &st) == -1) {
        p->what = errno == EACCES ? PPROF_PROGRAM_FORBIDDEN
                                  : PPROF_PROGRAM_MISSING;
        return;
    }

    if (S_ISDIR(st.st_mode)) {
        p->what = PPROF_PROGRAM_DIRECTORY;
        return;
    }

    if (access(p->file, X_OK) == -1) {
        p->what = PPROF_PROGRAM_FORBIDDEN;
        return;
    }

    const struct image image = follow_scripts(p);

    /* one that may be executed and not read: nothing is known of it */
    if (is_elf(image)) {
        if (pprof_elf_parse(&e, image.data, image.size) == -1 || !is_ours(&e))
        {
            p->what = PPROF_PROGRAM_FOREIGN;

        } else {
            look_at_elf(p, &e);
        }
    }

    if (p->what == PPROF_PROGRAM_FINE && is_secure(p->file)) {
        p->what = PPROF_PROGRAM_SECURE;
    }

    unmap(image);
}
