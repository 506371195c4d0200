#include "symbols/fde.h"

#include <string.h>


enum {
    HDR_SIZE      = 12,     /* version, three encodings, pointer, count */
    HDR_VERSION   = 1,
    ROW_SIZE      = 8,      /* function, description */

    PE_ABSPTR     = 0x00,
    PE_UDATA2     = 0x02,
    PE_UDATA4     = 0x03,
    PE_UDATA8     = 0x04,
    PE_SDATA2     = 0x0a,
    PE_SDATA4     = 0x0b,
    PE_SDATA8     = 0x0c,
    PE_FORM       = 0x0f,
    PE_PCREL      = 0x10,
    PE_DATAREL    = 0x30,
    PE_APPLICATION = 0x70,
    PE_INDIRECT   = 0x80,

    AUGMENTATIONS = 8       /* letters that are looked at; "zPLRSB" is long */
};


/* Bytes to read, and the vaddr of the next; BAD once they were too few. */
struct cursor {
    const uint8_t  *at;
    size_t          left;
    uint64_t        vaddr;
    bool            bad;
};


static uint64_t
take(struct cursor *c, size_t size)
{
    uint64_t  x = 0;

    if (c->left < size) {
        c->bad = true;
        return 0;
    }

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&x, c->at, size);
#else
    memcpy((uint8_t *) &x + sizeof(x) - size, c->at, size);
#endif

    c->at += size;
    c->left -= size;
    c->vaddr += size;

    return x;
}


static uint64_t
take_leb128(struct cursor *c)
{
    uint64_t  x = 0;
    unsigned  shift = 0;

    for ( ;; ) {
        const uint64_t  byte = take(c, 1);

        if (shift < 64) {
            x |= (byte & 0x7f) << shift;
        }

        shift += 7;

        if (c->bad || (byte & 0x80) == 0) {
            return x;
        }
    }
}


/* A value in ENCODING's form, without what it is relative to. */
static uint64_t
take_encoded(struct cursor *c, unsigned encoding)
{
    switch (encoding & PE_FORM) {

    case PE_ABSPTR:
        return take(c, sizeof(uintptr_t));

    case PE_UDATA2:
        return take(c, 2);

    case PE_UDATA4:
        return take(c, 4);

    case PE_UDATA8:
    case PE_SDATA8:
        return take(c, 8);

    case PE_SDATA2:
        return (uint64_t) (int64_t) (int16_t) take(c, 2);

    case PE_SDATA4:
        return (uint64_t) (int64_t) (int32_t) take(c, 4);

    default:
        c->bad = true;
        return 0;
    }
}


/*
 * Opens the entry at VADDR: C then holds its content alone, after the length.
 */
static bool
open_entry(const struct pprof_elf *e, uint64_t vaddr, struct cursor *c)
{
    size_t          left;
    const uint8_t  *at = pprof_elf_at(e, vaddr, &left);

    if (at == NULL) {
        return false;
    }

    *c = (struct cursor) {.at = at, .left = left, .vaddr = vaddr};

    uint64_t  len = take(c, 4);

    if (len == 0xffffffff) {
        len = take(c, 8);
    }

    if (c->bad || len == 0 || len > c->left) {
        return false;
    }

    c->left = len;

    return true;
}


/* How the addresses of the descriptions of the CIE at VADDR are written. */
static bool
cie_encoding(const struct pprof_elf *e, uint64_t vaddr, unsigned *encoding)
{
    struct cursor  c;

    if (!open_entry(e, vaddr, &c) || take(&c, 4) != 0) {
        return false;
    }

    const unsigned  version = take(&c, 1);
    char            letters[AUGMENTATIONS];
    size_t          n = 0;

    do {
        if (n == AUGMENTATIONS) {
            return false;
        }

        letters[n] = take(&c, 1);
    } while (letters[n++] != '\0');

    *encoding = PE_ABSPTR;

    if (letters[0] != 'z') {
        return !c.bad && letters[0] == '\0';
    }

    (void) take_leb128(&c);                 /* code alignment */
    (void) take_leb128(&c);                 /* data alignment */

    if (version == 1) {
        (void) take(&c, 1);                 /* return address register */
    } else {
        (void) take_leb128(&c);
    }

    (void) take_leb128(&c);                 /* length of what follows */

    for (size_t i = 1; letters[i] != '\0'; i++) {
        switch (letters[i]) {

        case 'R':
            *encoding = take(&c, 1);
            return !c.bad;

        case 'P':
            (void) take_encoded(&c, take(&c, 1));
            break;

        case 'L':
            (void) take(&c, 1);
            break;

        case 'S':
        case 'B':
            break;

        default:
            return false;
        }
    }

    return !c.bad;
}


/* The code that the description at VADDR is of. */
static bool
fde_range(const struct pprof_elf *e, uint64_t vaddr, uint64_t *start,
    uint64_t *size)
{
    struct cursor  c;
    unsigned       encoding;

    if (!open_entry(e, vaddr, &c)) {
        return false;
    }

    const uint64_t  here = c.vaddr;
    const uint64_t  back = take(&c, 4);

    if (c.bad || back == 0 || !cie_encoding(e, here - back, &encoding)) {
        return false;
    }

    const uint64_t  field = c.vaddr;

    *start = take_encoded(&c, encoding);
    *size = take_encoded(&c, encoding & PE_FORM);

    switch (encoding & (PE_APPLICATION | PE_INDIRECT)) {

    case PE_ABSPTR:
        *start -= e->memory ? e->bias : 0;
        break;

    case PE_PCREL:
        *start += field;
        break;

    default:
        return false;
    }

    return !c.bad && *size != 0;
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
            || (hdr[1] & PE_FORM) != PE_SDATA4 || hdr[2] != PE_UDATA4
            || hdr[3] != (PE_DATAREL | PE_SDATA4))
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
