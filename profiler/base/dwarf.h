/*
 * Reads what .eh_frame and .eh_frame_hdr are made of: numbers, encoded
 * pointers, entries, and the head of a CIE.
 *
 * Both halves read these sections, the guest to walk stacks and the agent to
 * find where functions begin, so all of it is inline and calls nothing but
 * memcpy.  Nothing that is read is trusted: a cursor is never moved past its
 * end, and remembers when it would have been.
 *
 * Context: async-signal-safe.
 *
 * Format: Linux Standard Base, Core, "Exception Frames"; DWARF 5, 6.4 and 7.6.
 */

#ifndef PPROF_BASE_DWARF_H
#define PPROF_BASE_DWARF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>


/* How a pointer is written, DW_EH_PE_… */
enum {
    PPROF_PE_ABSPTR = 0x00,
    PPROF_PE_UDATA2 = 0x02,
    PPROF_PE_UDATA4 = 0x03,
    PPROF_PE_UDATA8 = 0x04,
    PPROF_PE_SDATA2 = 0x0a,
    PPROF_PE_SDATA4 = 0x0b,
    PPROF_PE_SDATA8 = 0x0c,
    PPROF_PE_FORM = 0x0f,
    PPROF_PE_PCREL = 0x10,
    PPROF_PE_DATAREL = 0x30,
    PPROF_PE_BASE = 0x70,
    PPROF_PE_INDIRECT = 0x80,
    PPROF_PE_OMIT = 0xff
};

/* A range of bytes that is read from the front and never overrun. */
struct pprof_dwarf {
    const uint8_t  *p;
    const uint8_t  *end;
    uint64_t        bias;               /* from P to where the program has it */
    bool            failed;
};

/* The head of a CIE. */
struct pprof_dwarf_cie {
    bool                signal;         /* the frame is the kernel's */
    bool                sized;          /* its FDEs say how much to skip */
    uint8_t             pointers;       /* encoding of their addresses */
    uint64_t            code_align;
    int64_t             data_align;
    uint64_t            return_reg;
    struct pprof_dwarf  program;        /* instructions */
};


/* The SIZE bytes at DATA, which the program has at ADDR. */
static inline struct pprof_dwarf
pprof_dwarf_open(const uint8_t *data, size_t size, uint64_t addr)
{
    return (struct pprof_dwarf) { data, data + size,
                                  addr - (uintptr_t) data, false };
}


/* Where the program has what is read next. */
static inline uint64_t
pprof_dwarf_addr(const struct pprof_dwarf *in)
{
    return (uintptr_t) in->p + in->bias;
}


/* A number of 1, 2, 4 or 8 BYTES. */
static inline uint64_t
pprof_dwarf_fixed(struct pprof_dwarf *in, unsigned bytes)
{
    uint64_t value = 0;

    if ((size_t) (in->end - in->p) < bytes) {
        in->failed = true;
        in->p = in->end;
        return 0;
    }

    /* both of our machines are little endian, as are their files */
    memcpy(&value, in->p, bytes);
    in->p += bytes;

    return value;
}


static inline uint64_t
pprof_dwarf_uleb(struct pprof_dwarf *in)
{
    uint64_t value = 0;
    unsigned shift = 0;

    while (in->p < in->end) {
        const uint8_t byte = *in->p++;

        if (shift < 64) {
            value |= (uint64_t) (byte & 0x7f) << shift;
            shift += 7;
        }

        if (!(byte & 0x80)) {
            return value;
        }
    }

    in->failed = true;

    return 0;
}


static inline int64_t
pprof_dwarf_sleb(struct pprof_dwarf *in)
{
    uint64_t value = 0;
    unsigned shift = 0;

    while (in->p < in->end) {
        const uint8_t byte = *in->p++;

        if (shift < 64) {
            value |= (uint64_t) (byte & 0x7f) << shift;
            shift += 7;
        }

        if (!(byte & 0x80)) {
            if (shift < 64 && (byte & 0x40)) {
                value |= ~(uint64_t) 0 << shift;
            }

            return (int64_t) value;
        }
    }

    in->failed = true;

    return 0;
}


/* A sub-range of SIZE bytes; failed when there are not so many. */
static inline struct pprof_dwarf
pprof_dwarf_block(struct pprof_dwarf *in, uint64_t size)
{
    struct pprof_dwarf block = { in->p, in->p, in->bias, false };

    if (size > (size_t) (in->end - in->p)) {
        in->failed = true;
        block.failed = true;
        return block;
    }

    in->p += size;
    block.end = in->p;

    return block;
}


/* A value in ENCODING's form, without what it is relative to. */
static inline uint64_t
pprof_dwarf_form(struct pprof_dwarf *in, unsigned encoding)
{
    switch (encoding & PPROF_PE_FORM) {

    case PPROF_PE_ABSPTR:
    case PPROF_PE_UDATA8:
    case PPROF_PE_SDATA8:
        return pprof_dwarf_fixed(in, 8);

    case PPROF_PE_UDATA4:
        return pprof_dwarf_fixed(in, 4);

    case PPROF_PE_SDATA4:
        return (uint64_t) (int64_t) (int32_t) pprof_dwarf_fixed(in, 4);

    case PPROF_PE_UDATA2:
        return pprof_dwarf_fixed(in, 2);

    case PPROF_PE_SDATA2:
        return (uint64_t) (int64_t) (int16_t) pprof_dwarf_fixed(in, 2);
    }

    in->failed = true;

    return 0;
}


/* An address: absolute, or relative to where it stands; others fail. */
static inline uint64_t
pprof_dwarf_pointer(struct pprof_dwarf *in, unsigned encoding)
{
    const uint64_t at = pprof_dwarf_addr(in);
    uint64_t       value = pprof_dwarf_form(in, encoding);

    if ((encoding & PPROF_PE_BASE) == PPROF_PE_PCREL) {
        value += at;

    } else if ((encoding & PPROF_PE_BASE) != 0) {
        in->failed = true;
    }

    if (encoding & PPROF_PE_INDIRECT) {
        in->failed = true;
    }

    return value;
}


/*
 * Takes one entry, a CIE or an FDE, from IN: ENTRY is what follows its length.
 *
 * Returns false at the end of the section, which is also where it cannot be
 * read on: no linker writes the 64-bit form, and those who read it do not
 * agree on it.
 */
static inline bool
pprof_dwarf_entry(struct pprof_dwarf *in, struct pprof_dwarf *entry)
{
    const uint64_t size = pprof_dwarf_fixed(in, 4);

    if (in->failed || size < 4 || size == 0xffffffff) {
        return false;
    }

    *entry = pprof_dwarf_block(in, size);

    return !in->failed;
}


/* The data that AUGMENTATION, after its 'z', says the CIE has in DATA. */
static inline bool
pprof_dwarf_augmentation(const char *augmentation, struct pprof_dwarf *data,
    struct pprof_dwarf_cie *cie)
{
    for (const char *p = augmentation; *p != '\0'; p++) {
        switch (*p) {

        case 'R':
            cie->pointers = (uint8_t) pprof_dwarf_fixed(data, 1);
            break;

        case 'P':
            (void) pprof_dwarf_form(data,
                                    (unsigned) pprof_dwarf_fixed(data, 1));
            break;

        case 'L':
            (void) pprof_dwarf_fixed(data, 1);
            break;

        case 'S':
            cie->signal = true;
            break;

        case 'B':                       /* aarch64: signed with key B */
        case 'G':                       /* aarch64: tagged stack */
            break;

        default:
            /* its data cannot be skipped, nor what follows it */
            return false;
        }
    }

    return !data->failed;
}


/*
 * Reads the head of the CIE that is ENTRY.  Returns false when ENTRY is none,
 * or one that cannot be understood.
 */
static inline bool
pprof_dwarf_cie(struct pprof_dwarf entry, struct pprof_dwarf_cie *cie)
{
    *cie = (struct pprof_dwarf_cie) { .pointers = PPROF_PE_ABSPTR };

    if (pprof_dwarf_fixed(&entry, 4) != 0) {
        return false;
    }

    const unsigned version = (unsigned) pprof_dwarf_fixed(&entry, 1);
    const char    *augmentation = (const char *) entry.p;

    if (version != 1 && version != 3 && version != 4) {
        return false;
    }

    while (pprof_dwarf_fixed(&entry, 1) != 0) { /* void */ }

    if (entry.failed) {
        return false;
    }

    if (augmentation[0] == 'e' && augmentation[1] == 'h') {
        /* gcc 2: the address of a table, before all else */
        (void) pprof_dwarf_fixed(&entry, 8);
        augmentation += 2;
    }

    if (version == 4) {
        /* sizes of an address and of a segment's selector */
        if (pprof_dwarf_fixed(&entry, 1) != sizeof(uint64_t)
            || pprof_dwarf_fixed(&entry, 1) != 0)
        {
            return false;
        }
    }

    cie->code_align = pprof_dwarf_uleb(&entry);
    cie->data_align = pprof_dwarf_sleb(&entry);
    cie->return_reg = version == 1 ? pprof_dwarf_fixed(&entry, 1)
                                   : pprof_dwarf_uleb(&entry);

    if (*augmentation == 'z') {
        struct pprof_dwarf data = pprof_dwarf_block(&entry,
                                                  pprof_dwarf_uleb(&entry));

        cie->sized = true;

        if (!pprof_dwarf_augmentation(augmentation + 1, &data, cie)) {
            return false;
        }

    } else if (*augmentation != '\0') {
        return false;
    }

    cie->program = entry;

    return !entry.failed && !(cie->pointers & PPROF_PE_INDIRECT);
}


/*
 * Reads the range that an FDE of CIE is of.  IN is behind the FDE's pointer to
 * its CIE, and is then at its instructions.
 */
static inline bool
pprof_dwarf_range(struct pprof_dwarf *in, const struct pprof_dwarf_cie *cie,
    uint64_t *start, uint64_t *size)
{
    *start = pprof_dwarf_pointer(in, cie->pointers);
    *size = pprof_dwarf_form(in, cie->pointers);

    if (cie->sized) {
        (void) pprof_dwarf_block(in, pprof_dwarf_uleb(in));
    }

    return !in->failed && *size != 0;
}

#endif
