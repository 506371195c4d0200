#include "symbols/fde.h"

#include <string.h>

#include "base/dwarf.h"


enum {
    HDR_SIZE      = 12,     /* version, three encodings, pointer, count */
    HDR_VERSION   = 1,
    ROW_SIZE      = 8       /* function, description */
};


/* Opens the entry at VADDR: IN then holds its content alone. */
static bool
open_entry(const struct pprof_elf *e, uint64_t vaddr, struct pprof_dwarf *in)
{
    size_t          left;
    const uint8_t  *at = pprof_elf_at(e, vaddr, &left);

    if (at == NULL) {
        return false;
    }

    struct pprof_dwarf  section = pprof_dwarf_open(at, left, vaddr);

    return pprof_dwarf_entry(&section, in);
}


/* The code that the description at VADDR is of. */
static bool
fde_range(const struct pprof_elf *e, uint64_t vaddr, uint64_t *start,
    uint64_t *size)
{
    struct pprof_dwarf      in, entry;
    struct pprof_dwarf_cie  cie;

    if (!open_entry(e, vaddr, &in)) {
        return false;
    }

    const uint64_t  here = pprof_dwarf_addr(&in);
    const uint64_t  back = pprof_dwarf_fixed(&in, 4);

    if (in.failed || back == 0 || !open_entry(e, here - back, &entry)
        || !pprof_dwarf_cie(entry, &cie)
        || !pprof_dwarf_range(&in, &cie, start, size))
    {
        return false;
    }

    if ((cie.pointers & PPROF_PE_BASE) == 0 && e->memory) {
        /* the loader has made it one of this process */
        *start -= e->bias;
    }

    return true;
}


/* The table: its first row, how many, and what they are relative to. */
static const uint8_t *
find_table(const struct pprof_elf *e, size_t *rows, uint64_t *vaddr)
{
    for (size_t i = 0; i < e->nphdrs; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(e, i);

        if (ph.p_type != PT_GNU_EH_FRAME) {
            continue;
        }

        size_t          len;
        const uint8_t  *hdr = pprof_elf_at(e, ph.p_vaddr, &len);

        if (hdr == NULL || len < HDR_SIZE || hdr[0] != HDR_VERSION
            || (hdr[1] & PPROF_PE_FORM) != PPROF_PE_SDATA4
            || hdr[2] != PPROF_PE_UDATA4
            || hdr[3] != (PPROF_PE_DATAREL | PPROF_PE_SDATA4))
        {
            return NULL;
        }

        uint32_t  count;

        memcpy(&count, hdr + 8, sizeof(count));

        if (len > ph.p_filesz) {
            len = ph.p_filesz < HDR_SIZE ? HDR_SIZE : ph.p_filesz;
        }

        *rows = (len - HDR_SIZE) / ROW_SIZE;
        *rows = count < *rows ? count : *rows;
        *vaddr = ph.p_vaddr;

        return *rows == 0 ? NULL : hdr + HDR_SIZE;
    }

    return NULL;
}


bool
pprof_fde_find(const struct pprof_elf *e, uint64_t vaddr, uint64_t *start,
    uint64_t *size)
{
    size_t          rows;
    uint64_t        hdr;
    const uint8_t  *table = find_table(e, &rows, &hdr);

    if (table == NULL) {
        return false;
    }

    const int64_t  wanted = (int64_t) (vaddr - hdr);
    size_t         low = 0, high = rows;
    int32_t        row[2];

    /* the last row that begins at or before what is wanted */
    while (low < high) {
        const size_t  mid = low + (high - low) / 2;

        memcpy(row, table + mid * ROW_SIZE, sizeof(row));

        if (row[0] <= wanted) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    if (low == 0) {
        return false;
    }

    memcpy(row, table + (low - 1) * ROW_SIZE, sizeof(row));

    return fde_range(e, hdr + (uint64_t) (int64_t) row[1], start, size)
           && vaddr >= *start && vaddr - *start < *size;
}
