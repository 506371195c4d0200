#include "encode/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "encode/gzip.h"


/* profile.proto's field numbers and the two wire types we write */
enum {
    PROFILE_SAMPLE_TYPE         = 1,
    PROFILE_SAMPLE              = 2,
    PROFILE_MAPPING             = 3,
    PROFILE_LOCATION            = 4,
    PROFILE_FUNCTION            = 5,
    PROFILE_STRING_TABLE        = 6,
    PROFILE_TIME_NANOS          = 9,
    PROFILE_DURATION_NANOS      = 10,
    PROFILE_PERIOD_TYPE         = 11,
    PROFILE_PERIOD              = 12,
    PROFILE_COMMENT             = 13,
    PROFILE_DEFAULT_SAMPLE_TYPE = 14,

    VALUE_TYPE_TYPE             = 1,
    VALUE_TYPE_UNIT             = 2,

    SAMPLE_LOCATION_ID          = 1,
    SAMPLE_VALUE                = 2,
    SAMPLE_LABEL                = 3,

    LABEL_KEY                   = 1,
    LABEL_STR                   = 2,
    LABEL_NUM                   = 3,
    LABEL_NUM_UNIT              = 4,

    MAPPING_ID                  = 1,
    MAPPING_MEMORY_START        = 2,
    MAPPING_MEMORY_LIMIT        = 3,
    MAPPING_FILE_OFFSET         = 4,
    MAPPING_FILENAME            = 5,
    MAPPING_BUILD_ID            = 6,
    MAPPING_HAS_FUNCTIONS       = 7,
    MAPPING_HAS_FILENAMES       = 8,
    MAPPING_HAS_LINE_NUMBERS    = 9,
    MAPPING_HAS_INLINE_FRAMES   = 10,

    LOCATION_ID                 = 1,
    LOCATION_MAPPING_ID         = 2,
    LOCATION_ADDRESS            = 3,
    LOCATION_LINE               = 4,

    LINE_FUNCTION_ID            = 1,
    LINE_LINE                   = 2,

    FUNCTION_ID                 = 1,
    FUNCTION_NAME               = 2,
    FUNCTION_SYSTEM_NAME        = 3,
    FUNCTION_FILENAME           = 4,
    FUNCTION_START_LINE         = 5,

    WIRE_VARINT                 = 0,
    WIRE_BYTES                  = 2
};


enum {
    CHUNK_SIZE  = 64 * 1024     /* bytes of stacks and strings at a time */
};


struct pprof_chunk {
    struct pprof_chunk  *next;
    size_t               used;
    size_t               size;
    _Alignas(16) char    data[];
};


/* An index from a key to a number that counts from 0 in order of arrival. */
struct index {
    struct index_item {
        uint64_t   hash;
        uint64_t   a, b;    /* the key; of a string: its address and length */
        uint64_t   c;       /* of a function: where its source is */
    }         *items;
    size_t     nitems;
    size_t     items_cap;
    uint32_t  *slots;       /* number + 1 */
    size_t     nslots;      /* 0 or a power of two */
    bool       strings;     /* compare what A points to */
};


/* One encoding under way. */
struct writer {
    const struct pprof_maps  *maps;
    struct pprof_names       *names;
    struct pprof_buf          out;
    struct pprof_buf          locations;    /* gathered while the samples */
    struct pprof_buf          functions;    /* are written */
    struct pprof_buf          lines;        /* of one location */
    struct pprof_buf          message;
    struct pprof_buf          inner;
    struct index              strings;
    struct index              location_ids;
    struct index              function_ids;
    bool                      failed;
};


static uint64_t
mix(uint64_t hash, uint64_t x)
{
    hash = (hash ^ x) * 0x9e3779b97f4a7c15u;

    return hash ^ (hash >> 29);
}


static uint64_t
mix_string(uint64_t hash, const char *s)
{
    if (s == NULL) {
        return mix(hash, 0x100);
    }

    for (/* void */; *s != '\0'; s++) {
        hash = mix(hash, (unsigned char) *s);
    }

    return mix(hash, 0x101);
}


static bool
same_string(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }

    return strcmp(a, b) == 0;
}


void
pprof_profile_init(struct pprof_profile *p)
{
    *p = (struct pprof_profile) {0};
}


void
pprof_profile_free(struct pprof_profile *p)
{
    struct pprof_chunk  *chunk = p->chunks;

    while (chunk != NULL) {
        struct pprof_chunk  *next = chunk->next;

        free(chunk);
        chunk = next;
    }

    free(p->comments);
    free(p->samples);
    free(p->slots);

    pprof_profile_init(p);
}


/* Memory that lives as long as the profile, or NULL. */
static void *
keep(struct pprof_profile *p, size_t size)
{
    size = (size + 15) & ~(size_t) 15;

    struct pprof_chunk  *chunk = p->chunks;

    if (chunk == NULL || chunk->size - chunk->used < size) {
        const size_t  room = size > CHUNK_SIZE ? size : CHUNK_SIZE;

        chunk = malloc(sizeof(*chunk) + room);

        if (chunk == NULL) {
            p->failed = true;
            return NULL;
        }

        chunk->next = p->chunks;
        chunk->used = 0;
        chunk->size = room;
        p->chunks = chunk;
    }

    void  *at = chunk->data + chunk->used;

    chunk->used += size;

    return at;
}


static const char *
keep_string(struct pprof_profile *p, const char *s)
{
    if (s == NULL) {
        return NULL;
    }

    const size_t  size = strlen(s) + 1;
    char         *copy = keep(p, size);

    return copy == NULL ? NULL : memcpy(copy, s, size);
}


void
pprof_profile_value(struct pprof_profile *p, const char *type,
    const char *unit)
{
    if (p->nvalues == PPROF_VALUES_MAX || p->nsamples != 0) {
        p->misused = true;
        return;
    }

    p->values[p->nvalues].type = keep_string(p, type);
    p->values[p->nvalues].unit = keep_string(p, unit);
    p->nvalues++;
}


void
pprof_profile_period(struct pprof_profile *p, const char *type,
    const char *unit, int64_t value)
{
    p->period_type.type = keep_string(p, type);
    p->period_type.unit = keep_string(p, unit);
    p->period = value;
}


void
pprof_profile_time(struct pprof_profile *p, int64_t time_nanos,
    int64_t duration_nanos)
{
    p->time_nanos = time_nanos;
    p->duration_nanos = duration_nanos;
}


void
pprof_profile_default(struct pprof_profile *p, const char *type)
{
    p->default_type = keep_string(p, type);
}


/* Makes room for one more of SIZE bytes in *ARRAY, which holds N. */
static bool
grow(void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return true;
    }

    const size_t  more = *cap == 0 ? 16 : *cap * 2;
    void         *old;

    memcpy(&old, array, sizeof(old));

    void  *new = reallocarray(old, more, size);

    if (new == NULL) {
        return false;
    }

    memcpy(array, &new, sizeof(new));
    *cap = more;

    return true;
}


void
pprof_profile_comment(struct pprof_profile *p, const char *text)
{
    if (!grow(&p->comments, p->ncomments, &p->comments_cap,
              sizeof(p->comments[0])))
    {
        p->failed = true;
        return;
    }

    const char  *copy = keep_string(p, text);

    if (copy != NULL) {
        p->comments[p->ncomments++] = copy;
    }
}


/* The address to keep for frame I: a caller's is its call's. */
static uintptr_t
call_address(const uintptr_t *pcs, size_t i, bool leaf_exact)
{
    return i == 0 && leaf_exact ? pcs[0] : pcs[i] - 1;
}


/* Is S what the arguments describe, but for the numbers? */
static bool
same_sample(const struct pprof_sample *s, const uintptr_t *pcs, size_t depth,
    bool leaf_exact, const char *lost, const struct pprof_label *labels,
    size_t nlabels)
{
    if (s->depth != depth || s->leaf_exact != leaf_exact
        || s->nlabels != nlabels || !same_string(s->lost, lost))
    {
        return false;
    }

    for (size_t i = 0; i < depth; i++) {
        if (s->pcs[i] != call_address(pcs, i, leaf_exact)) {
            return false;
        }
    }

    for (size_t i = 0; i < nlabels; i++) {
        const struct pprof_label  *a = &s->labels[i], *b = &labels[i];

        if (!same_string(a->key, b->key) || !same_string(a->str, b->str)
            || !same_string(a->unit, b->unit) || a->num != b->num)
        {
            return false;
        }
    }

    return true;
}


/* Keeps the table of samples at most half full. */
static bool
grow_slots(struct pprof_profile *p)
{
    if (p->nsamples * 2 < p->nslots) {
        return true;
    }

    const size_t  nslots = p->nslots == 0 ? 256 : p->nslots * 2;
    uint32_t     *slots = calloc(nslots, sizeof(*slots));

    if (slots == NULL || nslots > UINT32_MAX) {
        free(slots);
        return false;
    }

    for (size_t i = 0; i < p->nsamples; i++) {
        size_t  at = p->samples[i].hash & (nslots - 1);

        while (slots[at] != 0) {
            at = (at + 1) & (nslots - 1);
        }

        slots[at] = i + 1;
    }

    free(p->slots);
    p->slots = slots;
    p->nslots = nslots;

    return true;
}


/* A new sample at the end of the array, or NULL; its values are 0. */
static struct pprof_sample *
new_sample(struct pprof_profile *p, const uintptr_t *pcs, size_t depth,
    bool leaf_exact, const char *lost, const struct pprof_label *labels,
    size_t nlabels)
{
    if (!grow(&p->samples, p->nsamples, &p->samples_cap,
              sizeof(p->samples[0])))
    {
        return NULL;
    }

    uintptr_t           *own_pcs = keep(p, depth * sizeof(*own_pcs));
    int64_t             *values = keep(p, p->nvalues * sizeof(*values));
    struct pprof_label  *own_labels = keep(p, nlabels * sizeof(*own_labels));

    if (own_pcs == NULL || values == NULL || own_labels == NULL) {
        return NULL;
    }

    for (size_t i = 0; i < depth; i++) {
        own_pcs[i] = call_address(pcs, i, leaf_exact);
    }

    for (size_t i = 0; i < nlabels; i++) {
        own_labels[i] = (struct pprof_label) {
            .key = keep_string(p, labels[i].key),
            .str = keep_string(p, labels[i].str),
            .num = labels[i].num,
            .unit = keep_string(p, labels[i].unit)
        };
    }

    memset(values, 0, p->nvalues * sizeof(*values));

    struct pprof_sample  *s = &p->samples[p->nsamples];

    *s = (struct pprof_sample) {
        .pcs = own_pcs,
        .depth = depth,
        .leaf_exact = leaf_exact,
        .lost = keep_string(p, lost),
        .values = values,
        .labels = own_labels,
        .nlabels = nlabels
    };

    if (p->failed) {
        return NULL;
    }

    p->nsamples++;

    return s;
}


/* Sums stay at the end of the scale instead of turning negative. */
static int64_t
add(int64_t a, int64_t b)
{
    int64_t  sum;

    if (__builtin_add_overflow(a, b, &sum)) {
        return b < 0 ? INT64_MIN : INT64_MAX;
    }

    return sum;
}


static void
add_sample(struct pprof_profile *p, const uintptr_t *pcs, size_t depth,
    bool leaf_exact, const char *lost, const int64_t *values,
    const struct pprof_label *labels, size_t nlabels)
{
    /*
     * After a failure nothing more is taken: the caller may have thousands
     * to add, and the answer will be an error anyway.
     */
    if (p->failed || !grow_slots(p)) {
        p->failed = true;
        return;
    }

    uint64_t  hash = mix_string(depth * 2 + leaf_exact, lost);

    for (size_t i = 0; i < depth; i++) {
        hash = mix(hash, call_address(pcs, i, leaf_exact));
    }

    for (size_t i = 0; i < nlabels; i++) {
        hash = mix_string(hash, labels[i].key);
        hash = mix_string(hash, labels[i].str);
        hash = mix(hash, labels[i].num);
    }

    struct pprof_sample  *s = NULL;
    size_t                at = hash & (p->nslots - 1);

    while (p->slots[at] != 0) {
        struct pprof_sample  *old = &p->samples[p->slots[at] - 1];

        if (old->hash == hash
            && same_sample(old, pcs, depth, leaf_exact, lost, labels,
                           nlabels))
        {
            s = old;
            break;
        }

        at = (at + 1) & (p->nslots - 1);
    }

    if (s == NULL) {
        s = new_sample(p, pcs, depth, leaf_exact, lost, labels, nlabels);

        if (s == NULL) {
            p->failed = true;
            return;
        }

        s->hash = hash;
        p->slots[at] = p->nsamples;
    }

    for (size_t i = 0; i < p->nvalues; i++) {
        s->values[i] = add(s->values[i], values[i]);
    }
}


void
pprof_profile_sample(struct pprof_profile *p, const uintptr_t *pcs,
    size_t depth, bool leaf_exact, const int64_t *values,
    const struct pprof_label *labels, size_t nlabels)
{
    for (size_t i = 0; i < depth; i++) {
        if (pcs[i] == 0) {
            depth = i;
            break;
        }
    }

    if (depth == 0) {
        add_sample(p, NULL, 0, false, "[no stack]", values, labels, nlabels);
        return;
    }

    add_sample(p, pcs, depth, leaf_exact, NULL, values, labels, nlabels);
}


void
pprof_profile_lost_labeled(struct pprof_profile *p, const int64_t *values,
    const char *name, const struct pprof_label *labels, size_t nlabels)
{
    for (size_t i = 0; i < p->nvalues; i++) {
        if (values[i] != 0) {
            add_sample(p, NULL, 0, false, name, values, labels, nlabels);
            return;
        }
    }
}


void
pprof_profile_lost(struct pprof_profile *p, const int64_t *values,
    const char *name)
{
    pprof_profile_lost_labeled(p, values, name, NULL, 0);
}


const char *
pprof_sample_route(const struct pprof_sample *s)
{
    for (size_t i = 0; i < s->nlabels; i++) {
        if (strcmp(s->labels[i].key, PPROF_ROUTE_LABEL) == 0) {
            return s->labels[i].str;
        }
    }

    return NULL;
}


/* Encoding. */


static void
put_varint(struct pprof_buf *b, uint64_t x)
{
    uint8_t  bytes[10];
    size_t   n = 0;

    do {
        bytes[n] = (x & 0x7f) | (x > 0x7f ? 0x80 : 0);
        x >>= 7;
        n++;
    } while (x != 0);

    pprof_buf_append(b, bytes, n);
}


/* A number; 0 is what a reader assumes, so it is not written. */
static void
put_number(struct pprof_buf *b, unsigned field, uint64_t x)
{
    if (x != 0) {
        put_varint(b, field << 3 | WIRE_VARINT);
        put_varint(b, x);
    }
}


static void
put_bytes(struct pprof_buf *b, unsigned field, const void *data, size_t len)
{
    put_varint(b, field << 3 | WIRE_BYTES);
    put_varint(b, len);
    pprof_buf_append(b, data, len);
}


/* MESSAGE as a field of B; MESSAGE is empty then, and keeps its memory. */
static void
put_message(struct pprof_buf *b, unsigned field, struct pprof_buf *message)
{
    if (message->failed) {
        b->failed = true;
        return;
    }

    put_bytes(b, field, message->data, message->len);
    message->len = 0;
}


static void
index_free(struct index *ix)
{
    free(ix->items);
    free(ix->slots);
}


/*
 * The number of the key (A, B, C), -1 when memory ran out.  *NEW says whether
 * it was not there before.
 */
static int64_t
index_add(struct index *ix, uint64_t hash, uint64_t a, uint64_t b, uint64_t c,
    bool *new)
{
    if (ix->nitems * 2 >= ix->nslots) {
        const size_t  nslots = ix->nslots == 0 ? 256 : ix->nslots * 2;
        uint32_t     *slots = calloc(nslots, sizeof(*slots));

        if (slots == NULL || nslots > UINT32_MAX) {
            free(slots);
            return -1;
        }

        for (size_t i = 0; i < ix->nitems; i++) {
            size_t  at = ix->items[i].hash & (nslots - 1);

            while (slots[at] != 0) {
                at = (at + 1) & (nslots - 1);
            }

            slots[at] = i + 1;
        }

        free(ix->slots);
        ix->slots = slots;
        ix->nslots = nslots;
    }

    size_t  at = hash & (ix->nslots - 1);

    *new = false;

    for (/* void */; ix->slots[at] != 0; at = (at + 1) & (ix->nslots - 1)) {
        const struct index_item  *item = &ix->items[ix->slots[at] - 1];

        if (item->hash != hash || item->b != b || item->c != c) {
            continue;
        }

        if (ix->strings
            ? memcmp((const char *) (uintptr_t) item->a,
                     (const char *) (uintptr_t) a, b) == 0
            : item->a == a)
        {
            return ix->slots[at] - 1;
        }
    }

    if (!grow(&ix->items, ix->nitems, &ix->items_cap, sizeof(ix->items[0]))) {
        return -1;
    }

    ix->items[ix->nitems] = (struct index_item) {
        .hash = hash, .a = a, .b = b, .c = c
    };
    ix->nitems++;
    ix->slots[at] = ix->nitems;
    *new = true;

    return ix->nitems - 1;
}


/* S's number in the string table.  S must live until the table is written. */
static uint64_t
string_id(struct writer *w, const char *s)
{
    if (s == NULL) {
        return 0;
    }

    bool           new;
    const int64_t  id = index_add(&w->strings, mix_string(0, s),
                                  (uintptr_t) s, strlen(s), 0, &new);

    if (id < 0) {
        w->failed = true;
        return 0;
    }

    return id;
}


/* The id of the function that is at P, written when it is new. */
static uint64_t
function_id(struct writer *w, const struct pprof_place *p)
{
    const uint64_t  name_id = string_id(w, p->name.name);
    const uint64_t  system_id = string_id(w, p->name.system_name);
    const uint64_t  file_id = string_id(w, p->file);
    const uint64_t  key = name_id << 32 | system_id;
    const uint64_t  place = file_id << 32 | (uint32_t) p->start;
    bool            new;
    const int64_t   n = index_add(&w->function_ids,
                                  mix(mix(mix(0, key), p->name.start), place),
                                  key, p->name.start, place, &new);

    if (n < 0) {
        w->failed = true;
        return 0;
    }

    if (new) {
        struct pprof_buf  *m = &w->message;

        put_number(m, FUNCTION_ID, n + 1);
        put_number(m, FUNCTION_NAME, name_id);
        put_number(m, FUNCTION_SYSTEM_NAME, system_id);
        put_number(m, FUNCTION_FILENAME, file_id);
        put_number(m, FUNCTION_START_LINE, p->start);
        put_message(&w->functions, PROFILE_FUNCTION, m);
    }

    return n + 1;
}


/* One more line of the location that PUT_LOCATION will write. */
static void
put_line(struct writer *w, uint64_t function, int number)
{
    struct pprof_buf  *line = &w->inner;

    put_number(line, LINE_FUNCTION_ID, function);
    put_number(line, LINE_LINE, number);
    put_message(&w->lines, LOCATION_LINE, line);
}


static void
put_location(struct writer *w, uint64_t id, const struct pprof_map *map,
    uintptr_t addr)
{
    struct pprof_buf  *m = &w->message;

    put_number(m, LOCATION_ID, id);
    put_number(m, LOCATION_MAPPING_ID,
               map == NULL ? 0 : map - w->maps->maps + 1);
    put_number(m, LOCATION_ADDRESS, addr);

    w->failed = w->failed || w->lines.failed;
    pprof_buf_append(m, w->lines.data, w->lines.len);
    w->lines.len = 0;

    put_message(&w->locations, PROFILE_LOCATION, m);
}


/* The functions at ADDR, each with its line, what was inlined first. */
static void
put_lines(struct writer *w, uintptr_t addr)
{
    struct pprof_place  p;
    int                 rc;

    for (size_t i = 0;
         (rc = pprof_names_place(w->names, w->maps, addr, i, &p)) == 1; i++)
    {
        put_line(w, function_id(w, &p), p.line);
    }

    w->failed = w->failed || rc == -1;
}


/* The id of the location of ADDR, named and written when it is new. */
static uint64_t
location_id(struct writer *w, uintptr_t addr)
{
    bool           new;
    const int64_t  n = index_add(&w->location_ids, mix(0, addr), addr, 0, 0,
                                 &new);

    if (n < 0) {
        w->failed = true;
        return 0;
    }

    if (new) {
        put_lines(w, addr);
        put_location(w, n + 1, pprof_maps_find(w->maps, addr), addr);
    }

    return n + 1;
}


/* As location_id(), for a function that exists for its name. */
static uint64_t
lost_id(struct writer *w, const char *name)
{
    const struct pprof_place  place = {{.name = name, .system_name = name},
                                       NULL, 0, 0};
    const uint64_t            function = function_id(w, &place);
    bool                     new;
    const int64_t            n = index_add(&w->location_ids, mix(1, function),
                                            0, function, 0, &new);

    if (n < 0) {
        w->failed = true;
        return 0;
    }

    if (new) {
        put_line(w, function, 0);
        put_location(w, n + 1, NULL, 0);
    }

    return n + 1;
}


static void
put_label(struct writer *w, struct pprof_buf *sample,
    const struct pprof_label *label)
{
    struct pprof_buf  *m = &w->message;

    put_number(m, LABEL_KEY, string_id(w, label->key));

    if (label->str != NULL) {
        put_number(m, LABEL_STR, string_id(w, label->str));

    } else {
        put_number(m, LABEL_NUM, label->num);
        put_number(m, LABEL_NUM_UNIT, string_id(w, label->unit));
    }

    put_message(sample, SAMPLE_LABEL, m);
}


static void
put_sample(struct writer *w, const struct pprof_profile *p,
    const struct pprof_sample *s, struct pprof_buf *m, struct pprof_buf *ids)
{
    bool  empty = true;

    for (size_t i = 0; i < p->nvalues; i++) {
        empty = empty && s->values[i] == 0;
    }

    if (empty) {
        return;
    }

    if (s->lost != NULL) {
        put_varint(ids, lost_id(w, s->lost));
    }

    for (size_t i = 0; i < s->depth; i++) {
        put_varint(ids, location_id(w, s->pcs[i]));
    }

    put_message(m, SAMPLE_LOCATION_ID, ids);

    for (size_t i = 0; i < p->nvalues; i++) {
        put_varint(ids, s->values[i]);
    }

    put_message(m, SAMPLE_VALUE, ids);

    for (size_t i = 0; i < s->nlabels; i++) {
        put_label(w, m, &s->labels[i]);
    }

    put_message(&w->out, PROFILE_SAMPLE, m);
}


static void
put_value_type(struct writer *w, unsigned field,
    const struct pprof_value *value)
{
    struct pprof_buf  *m = &w->message;

    put_number(m, VALUE_TYPE_TYPE, string_id(w, value->type));
    put_number(m, VALUE_TYPE_UNIT, string_id(w, value->unit));
    put_message(&w->out, field, m);
}


/*
 * A map's HEX must outlive the string table, so the build ids are given in
 * one block, one for each mapping.
 */
static void
put_mappings(struct writer *w, char (*hex)[2 * PPROF_BUILD_ID_MAX + 1])
{
    for (size_t i = 0; i < w->maps->nmaps; i++) {
        const struct pprof_map  *map = &w->maps->maps[i];
        struct pprof_buf        *m = &w->message;

        pprof_maps_build_id(w->maps, map, hex[i]);

        put_number(m, MAPPING_ID, i + 1);
        put_number(m, MAPPING_MEMORY_START, map->start);
        put_number(m, MAPPING_MEMORY_LIMIT, map->limit);
        put_number(m, MAPPING_FILE_OFFSET, map->offset);
        put_number(m, MAPPING_FILENAME, string_id(w, map->file));
        put_number(m, MAPPING_BUILD_ID, string_id(w, hex[i]));
        put_number(m, MAPPING_HAS_FUNCTIONS, 1);

        if (w->names->lines != NULL
            && pprof_lines_any(w->names->lines, map->start, map->limit))
        {
            put_number(m, MAPPING_HAS_FILENAMES, 1);
            put_number(m, MAPPING_HAS_LINE_NUMBERS, 1);
            put_number(m, MAPPING_HAS_INLINE_FRAMES, 1);
        }

        put_message(&w->out, PROFILE_MAPPING, m);
    }
}


/* How long the UTF-8 character at S is, of LEFT bytes; 0 when it is none. */
static size_t
utf8_length(const unsigned char *s, size_t left)
{
    const size_t  len = s[0] < 0x80 ? 1
                        : s[0] < 0xc2 ? 0
                        : s[0] < 0xe0 ? 2
                        : s[0] < 0xf0 ? 3
                        : s[0] < 0xf5 ? 4 : 0;

    if (len > left) {
        return 0;
    }

    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    /* too long a form, a surrogate, beyond the last character */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)
        || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
    {
        return 0;
    }

    return len;
}


/*
 * A string of protobuf is UTF-8, and strict readers refuse the whole profile
 * for one byte that is not.  The kernel cuts thread names after 15 bytes, in
 * the middle of a character too; paths and symbols are whatever they are.
 */
static void
put_text(struct pprof_buf *b, unsigned field, const char *text, size_t len)
{
    put_varint(b, field << 3 | WIRE_BYTES);
    put_varint(b, len);

    for (size_t i = 0; i < len; /* void */) {
        const size_t  n = utf8_length((const unsigned char *) text + i,
                                      len - i);

        pprof_buf_append(b, n == 0 ? "?" : text + i, n == 0 ? 1 : n);
        i += n == 0 ? 1 : n;
    }
}


static void
put_profile(struct writer *w, const struct pprof_profile *p,
    char (*hex)[2 * PPROF_BUILD_ID_MAX + 1])
{
    struct pprof_buf  sample, ids;

    pprof_buf_init(&sample);
    pprof_buf_init(&ids);

    (void) string_id(w, "");    /* string 0 is the empty one */

    for (size_t i = 0; i < p->nvalues; i++) {
        put_value_type(w, PROFILE_SAMPLE_TYPE, &p->values[i]);
    }

    put_mappings(w, hex);

    for (size_t i = 0; i < p->nsamples && !w->failed; i++) {
        put_sample(w, p, &p->samples[i], &sample, &ids);
    }

    pprof_buf_free(&sample);
    pprof_buf_free(&ids);

    w->failed = w->failed || w->locations.failed || w->functions.failed;
    pprof_buf_append(&w->out, w->locations.data, w->locations.len);
    pprof_buf_append(&w->out, w->functions.data, w->functions.len);

    put_number(&w->out, PROFILE_TIME_NANOS, p->time_nanos);
    put_number(&w->out, PROFILE_DURATION_NANOS, p->duration_nanos);

    if (p->period_type.type != NULL) {
        put_value_type(w, PROFILE_PERIOD_TYPE, &p->period_type);
        put_number(&w->out, PROFILE_PERIOD, p->period);
    }

    for (size_t i = 0; i < p->ncomments; i++) {
        put_varint(&w->message, string_id(w, p->comments[i]));
    }

    if (w->names->unnamed_jit) {
        put_varint(&w->message,
                   string_id(w, "[anon] is code that is of no file, as JIT "
                             "compilers make it; its names come from "
                             "/tmp/perf-PID.map, which they write when told "
                             "(node --perf-basic-prof, java "
                             "-XX:+DumpPerfMapAtExit, luajit -jp)"));
    }

    if (w->names->lines != NULL) {
        put_varint(&w->message, string_id(w, w->names->lines->comment));
    }

    if (w->message.len != 0) {
        put_message(&w->out, PROFILE_COMMENT, &w->message);
    }

    put_number(&w->out, PROFILE_DEFAULT_SAMPLE_TYPE,
               string_id(w, p->default_type));

    for (size_t i = 0; i < w->strings.nitems; i++) {
        const struct index_item  *s = &w->strings.items[i];

        put_text(&w->out, PROFILE_STRING_TABLE,
                 (const char *) (uintptr_t) s->a, s->b);
    }
}


int
pprof_profile_finish(const struct pprof_profile *p,
    const struct pprof_maps *maps, struct pprof_names *names,
    struct pprof_buf *out)
{
    if (p->misused || p->nvalues == 0) {
        errno = EINVAL;
        return -1;
    }

    if (p->failed) {
        errno = ENOMEM;
        return -1;
    }

    struct writer  w = {
        .maps = maps,
        .names = names,
        .strings.strings = true
    };
    char         (*hex)[2 * PPROF_BUILD_ID_MAX + 1];
    const size_t   len = out->len;
    int            rc = -1;

    hex = calloc(maps->nmaps + 1, sizeof(*hex));

    if (hex != NULL) {
        put_profile(&w, p, hex);

        if (!w.failed && !w.out.failed) {
            rc = pprof_gzip(&w.out, out);
        }
    }

    free(hex);
    index_free(&w.strings);
    index_free(&w.location_ids);
    index_free(&w.function_ids);
    pprof_buf_free(&w.out);
    pprof_buf_free(&w.locations);
    pprof_buf_free(&w.functions);
    pprof_buf_free(&w.lines);
    pprof_buf_free(&w.message);
    pprof_buf_free(&w.inner);

    if (rc != 0) {
        out->len = len;
        errno = ENOMEM;
    }

    return rc;
}
