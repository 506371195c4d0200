/*
 * pprof-lines: file and line of code addresses, and what was inlined there,
 * from DWARF.
 *
 * A program of its own because DWARF is large: reading it takes seconds and
 * hundreds of megabytes, and may end in a crash where it is broken.  libpprof
 * starts it for a request with ?lines=1, asks on its standard input, reads
 * from its standard output, and kills it when it takes too long.  All of that
 * is symbols/helper.c's business.
 *
 * Usage: pprof-lines [<seconds>]
 *
 * Input, one item a line; addresses are the file's own (vaddr):
 *
 *   d <directory>            where separate debug files are
 *   o <build id or -> <inode>    an object; what follows is about it
 *   p <path>                 a file that may be it; several may be tried
 *   a <address, hexadecimal>     to be looked up; they count from 0
 *
 * Output:
 *
 *   s <text>                 a name or a file; they count from 0
 *   a <number>               the address of that number; what follows is its
 *   f <line> <first line> <name> <file>   a frame, the innermost first: the
 *                            line, the function's own, two numbers of texts;
 *                            name "-": as the symbol table calls it
 *   z -                      an object's debug information is packed in a way
 *                            that libelf does not know
 *   e                        the end: all was looked at
 *
 * An address about which nothing is known is not answered.
 */

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>


enum {
    INLINED_MAX = 64    /* frames of one address */
};


/* One address that is asked about. */
struct asked {
    Dwarf_Addr   vaddr;
    size_t       number;    /* of the input */
    bool         done;      /* its unit was found */
    bool         settled;   /* so was its function */
    size_t       nscopes;   /* 0: no function was found */
    Dwarf_Die   *scopes;    /* function, then inlined ones, innermost last */
};


struct object {
    char          *build_id;    /* "-": none */
    uint64_t       inode;
    char         **paths;
    size_t         npaths;
    struct asked  *asked;       /* by address, once all are read */
    size_t         nasked;
};


/* A file that is open. */
struct file {
    int     fd;
    Elf    *elf;
    Dwarf  *dwarf;
};


static const char  *debug_root = "/usr/lib/debug";


/* Without memory there is no answer, and no harm done. */
static void *
must(void *p)
{
    if (p == NULL) {
        exit(3);
    }

    return p;
}


/* Room for one more of SIZE bytes behind N; doubles at powers of two. */
static void *
grow(void *array, size_t n, size_t size)
{
    return (n & (n - 1)) != 0 ? array
           : must(reallocarray(array, n == 0 ? 1 : 2 * n, size));
}


/* The texts that were said, so that each is said once. */


static struct {
    char    **items;
    size_t    nitems;
    size_t   *slots;    /* number + 1 */
    size_t    nslots;   /* a power of two, or 0 */
} texts;


static uint64_t
hash_text(const char *s)
{
    uint64_t  hash = 0xcbf29ce484222325u;

    for (/* void */; *s != '\0'; s++) {
        hash = (hash ^ (unsigned char) *s) * 0x100000001b3u;
    }

    return hash ^ (hash >> 32);
}


static size_t
text_slot(const char *s)
{
    size_t  at = hash_text(s) & (texts.nslots - 1);

    while (texts.slots[at] != 0
           && strcmp(texts.items[texts.slots[at] - 1], s) != 0)
    {
        at = (at + 1) & (texts.nslots - 1);
    }

    return at;
}


/* The number of S, which is written when it is new. */
static size_t
text_number(const char *s)
{
    if (texts.nitems * 2 >= texts.nslots) {
        texts.nslots = texts.nslots == 0 ? 1024 : texts.nslots * 2;
        free(texts.slots);
        texts.slots = must(calloc(texts.nslots, sizeof(texts.slots[0])));

        for (size_t i = 0; i < texts.nitems; i++) {
            texts.slots[text_slot(texts.items[i])] = i + 1;
        }
    }

    const size_t  at = text_slot(s);

    if (texts.slots[at] == 0) {
        texts.items = grow(texts.items, texts.nitems, sizeof(texts.items[0]));
        texts.items[texts.nitems++] = must(strdup(s));
        texts.slots[at] = texts.nitems;

        fputs("s ", stdout);

        /* one line each */
        for (const char *p = s; *p != '\0'; p++) {
            putchar((unsigned char) *p < ' ' ? '?' : *p);
        }

        putchar('\n');
    }

    return texts.slots[at] - 1;
}


/* Getting at an object's debug information. */


static void
file_close(struct file *f)
{
    if (f->dwarf != NULL) {
        dwarf_end(f->dwarf);
    }

    if (f->elf != NULL) {
        elf_end(f->elf);
    }

    if (f->fd >= 0) {
        close(f->fd);
    }

    *f = (struct file) { .fd = -1 };
}


static bool
is_object(const struct file *f, const struct object *o)
{
    const void     *id;
    struct stat     st;
    const ssize_t   len = dwelf_elf_gnu_build_id(f->elf, &id);

    if (o->build_id[0] == '-') {
        return fstat(f->fd, &st) == 0 && st.st_ino == o->inode;
    }

    if (len <= 0 || strlen(o->build_id) != (size_t) len * 2) {
        return false;
    }

    for (ssize_t i = 0; i < len; i++) {
        char  hex[3];

        snprintf(hex, sizeof(hex), "%02x", ((const unsigned char *) id)[i]);

        if (memcmp(hex, o->build_id + 2 * i, 2) != 0) {
            return false;
        }
    }

    return true;
}


/* The section of that name, unless it is empty, or NULL. */
static Elf_Scn *
section_of(Elf *elf, const char *name)
{
    Elf_Scn  *section = NULL;
    size_t    names;

    if (elf_getshdrstrndx(elf, &names) != 0) {
        return NULL;
    }

    while ((section = elf_nextscn(elf, section)) != NULL) {
        GElf_Shdr    shdr;
        const char  *s;

        if (gelf_getshdr(section, &shdr) != NULL
            && shdr.sh_type != SHT_NOBITS
            && (s = elf_strptr(elf, names, shdr.sh_name)) != NULL
            && strcmp(s, name) == 0)
        {
            break;
        }
    }

    return section;
}


/* Is there debug information that can be read?  Says so when it cannot. */
static bool
is_readable(Elf *elf)
{
    Elf_Scn    *section = section_of(elf, ".debug_info");
    GElf_Chdr   chdr;

    if (section == NULL) {
        return section_of(elf, ".zdebug_info") != NULL;
    }

    if (gelf_getchdr(section, &chdr) == NULL || chdr.ch_type == ELFCOMPRESS_ZLIB
        || elf_compress(section, 0, 0) >= 0)
    {
        return true;
    }

    puts("z -");

    return false;
}


/* Opens PATH when it is O, or O is NULL, and has debug information. */
static bool
file_open(struct file *f, const char *path, const struct object *o)
{
    *f = (struct file) { .fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY
                                          | O_NONBLOCK) };
    struct stat  st;

    if (f->fd < 0 || fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        file_close(f);
        return false;
    }

    f->elf = elf_begin(f->fd, ELF_C_READ_MMAP, NULL);

    if (f->elf == NULL || elf_kind(f->elf) != ELF_K_ELF
        || (o != NULL && !is_object(f, o))
        || !is_readable(f->elf))
    {
        file_close(f);
        return false;
    }

    f->dwarf = dwarf_begin_elf(f->elf, DWARF_C_READ, NULL);

    if (f->dwarf == NULL) {
        file_close(f);
        return false;
    }

    return true;
}


/* Has the file at PATH that checksum, as a debug link gives it? */
static bool
has_checksum(const char *path, GElf_Word expected)
{
    FILE    *file = fopen(path, "re");
    uint8_t  buf[1 << 14];
    uLong    crc = crc32(0, NULL, 0);
    size_t   n;

    if (file == NULL) {
        return false;
    }

    while ((n = fread(buf, 1, sizeof(buf), file)) > 0) {
        crc = crc32(crc, buf, n);
    }

    fclose(file);

    return crc == expected;
}


/*
 * The debug file that the .gnu_debuglink of the file at PATH names: beside it,
 * in .debug/ there, or below the debug root.  Where there are no build ids it
 * must have the link's checksum.
 */
static bool
file_open_link(struct file *f, const char *path, const struct object *o)
{
    const char  *slash = strrchr(path, '/');
    struct file  from = { .fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY
                                           | O_NONBLOCK) };
    char         name[256] = "", at[4400];
    GElf_Word    crc = 0;

    from.elf = from.fd < 0 ? NULL : elf_begin(from.fd, ELF_C_READ_MMAP, NULL);

    if (from.elf != NULL && slash != NULL) {
        const char  *link = dwelf_elf_gnu_debuglink(from.elf, &crc);

        if (link != NULL && strchr(link, '/') == NULL) {
            snprintf(name, sizeof(name), "%s", link);
        }
    }

    file_close(&from);

    for (int i = 0; i < 3 && name[0] != '\0'; i++) {
        const int  len = snprintf(at, sizeof(at), "%s%.*s%s/%s",
                                  i == 2 ? debug_root : "",
                                  (int) (slash - path), path,
                                  i == 1 ? "/.debug" : "", name);

        if (len < (int) sizeof(at)
            && (file_open(f, at, o)
                || (has_checksum(at, crc) && file_open(f, at, NULL))))
        {
            return true;
        }
    }

    return false;
}


static bool
object_open(struct file *f, const struct object *o)
{
    char  path[4096];

    for (size_t i = 0; i < o->npaths; i++) {
        if (file_open(f, o->paths[i], o)) {
            return true;
        }
    }

    if (strlen(o->build_id) >= 3) {
        const int  len = snprintf(path, sizeof(path),
                                  "%s/.build-id/%.2s/%s.debug", debug_root,
                                  o->build_id, o->build_id + 2);

        if (len < (int) sizeof(path) && file_open(f, path, o)) {
            return true;
        }
    }

    for (size_t i = 0; i < o->npaths; i++) {
        if (file_open_link(f, o->paths[i], o)) {
            return true;
        }
    }

    return false;
}


/* Which functions an address lies in. */


static int
by_vaddr(const void *a, const void *b)
{
    const struct asked  *x = a, *y = b;

    return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}


/* The first of the N addresses that is not below VADDR. */
static size_t
first_from(const struct asked *asked, size_t n, Dwarf_Addr vaddr)
{
    size_t  low = 0, high = n;

    while (low < high) {
        const size_t  mid = low + (high - low) / 2;

        if (asked[mid].vaddr < vaddr) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    return low;
}


/*
 * Notes DIE as a scope of those addresses of O that it covers: a function,
 * or, INSIDE one, what was inlined there.  Returns whether there are any.
 */
static bool
note_scope(struct object *o, Dwarf_Die *die, bool inside)
{
    Dwarf_Addr  base, start, end;
    ptrdiff_t   at = 0;
    bool        any = false;

    while ((at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
        for (size_t i = first_from(o->asked, o->nasked, start);
             i < o->nasked && o->asked[i].vaddr < end; i++)
        {
            struct asked  *a = &o->asked[i];

            if (a->settled) {
                continue;
            }

            any = true;

            /* of two functions at one place, folded by the linker: the first */
            if (inside ? a->nscopes > 0 && a->nscopes < INLINED_MAX
                       : a->nscopes == 0)
            {
                a->scopes = grow(a->scopes, a->nscopes, sizeof(*die));
                a->scopes[a->nscopes++] = *die;
            }
        }
    }

    return any;
}


/*
 * Walks the children of PARENT; INSIDE a function or not.  The body of a
 * lambda is a function within the one that it is written in, though not in its
 * code: THOROUGH looks there too.
 */
static void
walk(struct object *o, Dwarf_Die *parent, bool inside, bool thorough,
    int depth)
{
    Dwarf_Die  die;

    if (depth > 200 || dwarf_child(parent, &die) != 0) {
        return;
    }

    do {
        switch (dwarf_tag(&die)) {

        case DW_TAG_subprogram:
            if (note_scope(o, &die, false)) {
                walk(o, &die, true, thorough, depth + 1);

            } else if (thorough) {
                walk(o, &die, false, thorough, depth + 1);
            }
            break;

        case DW_TAG_inlined_subroutine:
            if (inside && note_scope(o, &die, true)) {
                walk(o, &die, true, thorough, depth + 1);
            }
            break;

        case DW_TAG_lexical_block:
        case DW_TAG_try_block:
        case DW_TAG_catch_block:
        case DW_TAG_with_stmt:
            if (inside || thorough) {
                walk(o, &die, inside, thorough, depth + 1);
            }
            break;

        case DW_TAG_namespace:
        case DW_TAG_module:
        case DW_TAG_structure_type:
        case DW_TAG_class_type:
        case DW_TAG_union_type:
            /* definitions may be in here, where the compiler puts them so */
            if (!inside || thorough) {
                walk(o, &die, false, thorough, depth + 1);
            }
            break;
        }
    } while (dwarf_siblingof(&die, &die) == 0);
}


/* What is said of them. */


static Dwarf_Word
number_of(Dwarf_Die *die, unsigned attribute)
{
    Dwarf_Attribute  attr;
    Dwarf_Word       n;

    return dwarf_attr_integrate(die, attribute, &attr) != NULL
           && dwarf_formudata(&attr, &n) == 0 ? n : 0;
}


/* Where DIE was declared: a member function's is in its class. */
static Dwarf_Die
declaration(Dwarf_Die *die)
{
    Dwarf_Die        d = *die;
    Dwarf_Attribute  attr;

    while (dwarf_attr(&d, DW_AT_abstract_origin, &attr) != NULL
           || dwarf_attr(&d, DW_AT_specification, &attr) != NULL)
    {
        Dwarf_Die  next;

        if (dwarf_formref_die(&attr, &next) == NULL) {
            break;
        }

        d = next;
    }

    return d;
}


/* A namespace's, a class's or a function's part of a name, or NULL. */
static const char *
part_of(Dwarf_Die *scope)
{
    const char  *name = dwarf_diename(scope);

    switch (dwarf_tag(scope)) {

    case DW_TAG_namespace:
        return name == NULL ? "(anonymous)" : name;

    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
        /* "<lambda(int)>" is gcc's, no name is clang's */
        return name == NULL || name[0] == '<' ? "{lambda}" : name;

    case DW_TAG_subprogram:
        return name;

    default:
        return NULL;
    }
}


enum {
    NAME_MAX_LEN = 2048,    /* bytes of a name that is put together */
    NESTING_MAX  = 16       /* functions in functions */
};


/* Appends what encloses DIE's declaration to the LEN bytes of TEXT. */
static size_t
put_scopes(char *text, size_t len, Dwarf_Die *die, unsigned depth)
{
    Dwarf_Die  decl = declaration(die), *scopes = NULL;
    const int  n = dwarf_getscopes_die(&decl, &scopes);

    for (int i = n - 1; i > 0; i--) {
        const char  *part = part_of(&scopes[i]);

        /* a function may stand elsewhere than what encloses it */
        if (dwarf_tag(&scopes[i]) == DW_TAG_subprogram
            && depth < NESTING_MAX)
        {
            len = put_scopes(text, 0, &scopes[i], depth + 1);
        }

        if (part != NULL && len + strlen(part) + 3 < NAME_MAX_LEN) {
            len += sprintf(text + len, "%s%s", len == 0 ? "" : "::", part);
        }
    }

    free(scopes);

    return len;
}


/*
 * NAME with what encloses DIE: "shop::(anonymous)::Till::close".  For those
 * that have no mangled name, since nobody outside their file can call them.
 * The text is good until the next call.
 */
static const char *
qualified(Dwarf_Die *die, const char *name)
{
    static char   text[NAME_MAX_LEN];
    const size_t  len = put_scopes(text, 0, die, 0);

    if (len == 0 || len + strlen(name) + 3 > sizeof(text)) {
        return name;
    }

    /* a lambda's operator() is the lambda */
    if (len < 8 || strcmp(text + len - 8, "{lambda}") != 0
        || strcmp(name, "operator()") != 0)
    {
        sprintf(text + len, "::%s", name);
    }

    return text;
}


/* The mangled name, or the plain one with what encloses it, or NULL. */
static const char *
name_of(Dwarf_Die *die)
{
    Dwarf_Attribute  attr;
    const char      *s = NULL;

    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr) != NULL
        || dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr) != NULL)
    {
        s = dwarf_formstring(&attr);
    }

    if (s != NULL) {
        return s;
    }

    s = dwarf_diename(die);

    return s == NULL ? NULL : qualified(die, s);
}


/* The file that CALL, an inlined function, was called in. */
static const char *
call_file(Dwarf_Die *cu, Dwarf_Die *call)
{
    Dwarf_Attribute   attr;
    Dwarf_Word        n;
    Dwarf_Files      *files;
    size_t            nfiles;

    if (dwarf_attr(call, DW_AT_call_file, &attr) == NULL
        || dwarf_formudata(&attr, &n) != 0
        || dwarf_getsrcfiles(cu, &files, &nfiles) != 0 || n >= nfiles)
    {
        return NULL;
    }

    return dwarf_filesrc(files, n, NULL, NULL);
}


/* CU is the unit that has the line table. */
static void
answer(Dwarf_Die *cu, struct asked *a)
{
    Dwarf_Line  *row = dwarf_getsrc_die(cu, a->vaddr);
    const char  *file = row == NULL ? NULL
                        : dwarf_linesrc(row, NULL, NULL);
    int          line = 0;
    size_t       names[INLINED_MAX], files[INLINED_MAX];
    int          lines[INLINED_MAX];
    size_t       n = 0;

    a->done = true;

    if (file == NULL || dwarf_lineno(row, &line) != 0) {
        return;
    }

    /* texts come before what speaks of them */

    for (size_t i = a->nscopes; i > 1; i--) {
        Dwarf_Die   *scope = &a->scopes[i - 1];
        const char  *name = name_of(scope);
        const char  *caller = call_file(cu, scope);

        names[n] = text_number(name == NULL ? "[inlined]" : name);
        files[n] = text_number(file);
        lines[n++] = line;

        file = caller == NULL ? file : caller;
        line = (int) number_of(scope, DW_AT_call_line);
    }

    files[n] = text_number(file);
    lines[n++] = line;

    printf("a %zu\n", a->number);

    for (size_t i = 0; i < n; i++) {
        const size_t  scope = a->nscopes - 1 - i;
        const long    first
            = a->nscopes == 0
              ? 0 : (long) number_of(&a->scopes[scope], DW_AT_decl_line);

        if (i + 1 < n) {
            printf("f %d %ld %zu %zu\n", lines[i], first, names[i], files[i]);
        } else {
            printf("f %d %ld - %zu\n", lines[i], first, files[i]);
        }
    }
}


/*
 * Calls FUNCTION for each address of O that the unit of CU covers and that is
 * not done.  Returns how many there are.
 */
static size_t
each_address(Dwarf_Die *cu, struct object *o,
    void (*function)(Dwarf_Die *cu, struct asked *a))
{
    Dwarf_Addr  base, start, end;
    ptrdiff_t   at = 0;
    size_t      n = 0;

    while ((at = dwarf_ranges(cu, at, &base, &start, &end)) > 0) {
        for (size_t i = first_from(o->asked, o->nasked, start);
             i < o->nasked && o->asked[i].vaddr < end; i++)
        {
            if (!o->asked[i].done) {
                function(cu, &o->asked[i]);
                n++;
            }
        }
    }

    return n;
}


static size_t  unsettled;


static void
settle(Dwarf_Die *cu, struct asked *a)
{
    (void) cu;

    a->settled = a->nscopes > 0;
    unsettled += !a->settled;
}


/*
 * Answers those of O's addresses that the unit of CU covers; TREE is where
 * its functions are.
 */
static void
look_in_unit(Dwarf_Die *cu, Dwarf_Die *tree, struct object *o)
{
    if (each_address(cu, o, settle) == 0) {
        return;
    }

    walk(o, tree, false, false, 0);
    unsettled = 0;
    each_address(cu, o, settle);

    if (unsettled != 0) {
        walk(o, tree, false, true, 0);
    }

    each_address(cu, o, answer);

    /* what comes next may take too long */
    fflush(stdout);
}


static void
look_in_object(struct object *o)
{
    struct file   f;
    Dwarf_CU     *cu = NULL;
    Dwarf_Die     die, split;
    uint8_t       type;

    if (o->nasked == 0 || !object_open(&f, o)) {
        return;
    }

    qsort(o->asked, o->nasked, sizeof(o->asked[0]), by_vaddr);

    while (dwarf_get_units(f.dwarf, cu, &cu, NULL, &type, &die, &split) == 0) {
        if (type != DW_UT_compile && type != DW_UT_skeleton) {
            continue;
        }

        const bool  is_split = type == DW_UT_skeleton
                               && dwarf_tag(&split) == DW_TAG_compile_unit;

        look_in_unit(&die, is_split ? &split : &die, o);
    }

    file_close(&f);
}


static void
object_free(struct object *o)
{
    for (size_t i = 0; i < o->npaths; i++) {
        free(o->paths[i]);
    }

    for (size_t i = 0; i < o->nasked; i++) {
        free(o->asked[i].scopes);
    }

    free(o->paths);
    free(o->asked);
    free(o->build_id);
    *o = (struct object) { 0 };
}


static char *
copy(const char *s)
{
    return must(strdup(s));
}


/* One line of the input.  NASKED counts the addresses. */
static void
read_line(char *line, struct object *o, size_t *nasked)
{
    char  *rest = line + 2;
    char  *space;

    if (line[0] == '\0' || line[1] != ' ') {
        exit(2);
    }

    switch (line[0]) {

    case 'd':
        debug_root = copy(rest);
        break;

    case 'o':
        look_in_object(o);
        object_free(o);
        space = strchr(rest, ' ');
        o->inode = space == NULL ? 0 : strtoull(space + 1, NULL, 10);

        if (space != NULL) {
            *space = '\0';
        }

        o->build_id = copy(rest);
        break;

    case 'p':
        o->paths = grow(o->paths, o->npaths, sizeof(o->paths[0]));
        o->paths[o->npaths++] = copy(rest);
        break;

    case 'a':
        o->asked = grow(o->asked, o->nasked, sizeof(o->asked[0]));
        o->asked[o->nasked++] = (struct asked) {
            .vaddr = strtoull(rest, NULL, 16), .number = (*nasked)++
        };
        break;

    default:
        exit(2);
    }
}


/* Whoever runs short of memory: this one first, the program never. */
static void
be_expendable(void)
{
    const int  fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void) !write(fd, "1000", 4);
        close(fd);
    }
}


int
main(int argc, char **argv)
{
    struct object   o = { .build_id = NULL };
    char           *line = NULL;
    size_t          size = 0, nasked = 0;
    ssize_t         len;

    /* in case nobody is left to kill us */
    if (argc > 1) {
        alarm((unsigned) strtoul(argv[1], NULL, 10));
    }

    be_expendable();
    elf_version(EV_CURRENT);

    while ((len = getline(&line, &size, stdin)) > 0) {
        if (line[len - 1] == '\n') {
            line[len - 1] = '\0';
        }

        if (line[0] != 'd' && line[0] != 'o' && o.build_id == NULL) {
            return 2;
        }

        read_line(line, &o, &nasked);
    }

    look_in_object(&o);
    object_free(&o);
    free(line);

    puts("e");

    return fflush(stdout) == 0 ? 0 : 1;
}
