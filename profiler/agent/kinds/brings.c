#include "kinds/brings.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symbols/elf.h"


/* The first that is found.  A SYMBOL that ends with * is a beginning. */
static const struct {
    const char  *symbol;
    const char  *sentence;
} brought[] = {
    { "__asan_init",
      "the program was built with AddressSanitizer, whose malloc() it has; "
      "build it without, or use what that tells itself" },
    { "__msan_init",
      "the program was built with MemorySanitizer, whose malloc() it has; "
      "build it without" },
    { "__tsan_init",
      "the program was built with ThreadSanitizer, whose malloc() it has; "
      "build it without" },
    { "MallocExtension_Internal_SnapshotCurrent",
      "the program has google/tcmalloc inside: its own sample is "
      "tcmalloc::MallocExtension::SnapshotCurrent(kHeap), which "
      "tcmalloc::Marshal() makes a file of that go tool pprof reads; or build "
      "it without (Bazel: malloc = \"@bazel_tools//tools/cpp:malloc\")" },
    { "_rjem_*",
      "the program is Rust's with jemalloc inside (tikv-jemallocator): build "
      "it without #[global_allocator], or with the feature profiling of "
      "tikv-jemallocator, start it with _RJEM_MALLOC_CONF=prof:true, and dump "
      "by tikv_jemalloc_ctl's prof.dump" },
    { "je_mallctl",
      "the program has jemalloc inside: link libjemalloc.so (-ljemalloc), of "
      "which libpprof sees all; or start it with MALLOC_CONF=prof:true and "
      "dump by mallctl(\"prof.dump\"), where it was built with --enable-prof" },
    { "mallctl",
      "the program has jemalloc inside: link libjemalloc.so (-ljemalloc), of "
      "which libpprof sees all; or start it with MALLOC_CONF=prof:true and "
      "dump by mallctl(\"prof.dump\"), where it was built with --enable-prof" },
    { "mi_malloc",
      "the program has mimalloc inside: link libmimalloc.so (-lmimalloc), of "
      "which libpprof sees all; mimalloc itself takes no samples" },
    { "MallocExtension_GetNumericProperty",
      "the program has gperftools' tcmalloc inside: link libtcmalloc.so "
      "(-ltcmalloc), and libpprof shows its sample; or call "
      "HeapProfilerDump() or GetHeapSample() yourself" },
    { "runtime.mallocgc",
      "the program is Go's, whose runtime has its own heap: import "
      "net/http/pprof, which nginx passes on as it is; what C allocates in it "
      "is sampled only where it calls malloc() of a shared libc" },
    { "scudo_malloc",
      "the program has Scudo inside; build it without -fsanitize=scudo" },
    { "rpmalloc",
      "the program has rpmalloc inside; build it without its malloc() "
      "override (ENABLE_OVERRIDE=0)" },
    { "sn_malloc*",
      "the program has snmalloc inside; link it as a shared library" }
};

#define GENERAL                                                               \
    "the program has a malloc() of its own, or another in front of "          \
    "libpprof's: name libpprof.so first in LD_PRELOAD, link the allocator "   \
    "as a shared library, or use what it has itself"

enum { NBROUGHT = sizeof(brought) / sizeof(brought[0]) };


static bool
is_symbol(const char *name, const char *wanted)
{
    const size_t len = strlen(wanted);

    return wanted[len - 1] == '*' ? strncmp(name, wanted, len - 1) == 0
                                  : strcmp(name, wanted) == 0;
}


/* Marks those of BROUGHT that are defined in SYMBOLS. */
static void
look_for(const struct pprof_elf_symbols *symbols, bool found[NBROUGHT])
{
    for (size_t i = 0; i < symbols->count; i++) {
        const ElfW(Sym) sym = pprof_elf_symbol(symbols, i);

        if (sym.st_shndx == SHN_UNDEF) {
            continue;
        }

        const char *const name = pprof_elf_symbol_name(symbols, &sym);

        for (size_t j = 0; j < NBROUGHT; j++) {
            if (name[0] == brought[j].symbol[0]
                && is_symbol(name, brought[j].symbol))
            {
                found[j] = true;
            }
        }
    }
}


const char *
pprof_brings(const struct pprof_target *target)
{
    const int fd = pprof_target_openat(target, "exe", O_RDONLY);
    bool found[NBROUGHT] = { false };
    struct pprof_elf elf;
    struct pprof_elf_symbols symbols;
    struct stat st;

    if (fd == -1) {
        return GENERAL;
    }

    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        const size_t size = (size_t) st.st_size;
        void *const data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (data != MAP_FAILED) {
            if (pprof_elf_parse(&elf, data, size) == 0) {
                if (pprof_elf_symtab(&elf, &symbols)) {
                    look_for(&symbols, found);
                }

                if (pprof_elf_dynsym(&elf, &symbols)) {
                    look_for(&symbols, found);
                }
            }

            munmap(data, size);
        }
    }

    close(fd);

    for (size_t i = 0; i < NBROUGHT; i++) {
        if (found[i]) {
            return brought[i].sentence;
        }
    }

    return GENERAL;
}
