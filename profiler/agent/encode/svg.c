#include "encode/svg.h"

#include <inttypes.h>
#include <string.h>


enum {
    WIDTH  = 1200,      /* pixels, all of them */
    MARGIN = 10,
    ROW    = 17,        /* a frame and the gap above it */
    HEAD   = 34,        /* room for the title */
    LETTER = 7          /* of 12 px monospace */
};

#define NARROW  0.1     /* pixels */


/* Appends S, as XML has it; at most MAX bytes of it, with dots when cut. */
static void
put_xml(struct pprof_buf *out, const char *s, size_t max)
{
    const size_t len = strlen(s);
    const bool cut = len > max;

    if (cut) {
        max = max > 2 ? max - 2 : 0;

        /* not in the middle of a UTF-8 character */
        while (max > 0 && ((uint8_t) s[max] & 0xc0) == 0x80) {
            max--;
        }
    }

    for (size_t i = 0; i < len && i < max; i++) {
        switch (s[i]) {

        case '&':
            pprof_buf_string(out, "&amp;");
            break;

        case '<':
            pprof_buf_string(out, "&lt;");
            break;

        case '>':
            pprof_buf_string(out, "&gt;");
            break;

        case '"':
            pprof_buf_string(out, "&quot;");
            break;

        default:
            pprof_buf_byte(out, (uint8_t) s[i] < ' ' ? '?' : (uint8_t) s[i]);
        }
    }

    if (cut) {
        pprof_buf_string(out, "..");
    }
}


/*
 * X with DIGITS decimals, without printf's "%f": that writes a comma where the
 * program set a locale that does, and a picture with commas in its numbers is
 * none.
 */
static void
put_decimal(struct pprof_buf *out, double x, int digits)
{
    int64_t one = 1;

    for (int i = 0; i < digits; i++) {
        one *= 10;
    }

    const double scaled = (x < 0 ? -x : x) * (double) one + 0.5;
    const int64_t n = scaled < 9e18 ? (int64_t) scaled : INT64_MAX;

    pprof_buf_printf(out, "%s%" PRId64 ".%0*" PRId64, x < 0 ? "-" : "",
                     n / one, digits, n % one);
}


static void
put_value(struct pprof_buf *out, int64_t value, const char *unit)
{
    if (strcmp(unit, "nanoseconds") == 0) {
        put_decimal(out, (double) value / 1e9, 3);
        pprof_buf_string(out, " s");

    } else if (strcmp(unit, "bytes") == 0) {
        put_decimal(out, (double) value / (1 << 20), 2);
        pprof_buf_string(out, " MiB");

    } else {
        pprof_buf_printf(out, "%" PRId64, value);
    }
}


/* Warm colors, one for a name wherever it stands. */
static void
put_color(struct pprof_buf *out, const char *name)
{
    uint32_t h = 2166136261;

    for (/* void */; *name != '\0'; name++) {
        h = (h ^ (uint8_t) *name) * 16777619;
    }

    pprof_buf_printf(out, "rgb(%u,%u,%u)", 205 + (h >> 8) % 50,
                     80 + (h >> 16) % 140, (h >> 24) % 55);
}


struct picture {
    struct pprof_buf  *out;
    const char        *unit;
    int64_t            total;
    size_t             depth;   /* of the deepest path */
};


static void
put_frame(const struct picture *pic, const char *name, size_t level,
    int64_t from, int64_t value)
{
    struct pprof_buf *out = pic->out;
    const double scale = (WIDTH - 2 * MARGIN) / (double) pic->total;
    const double x = MARGIN + (double) from * scale;
    const double width = (double) value * scale;
    const size_t y = HEAD + (pic->depth - level) * ROW;

    if (width < NARROW) {
        return;
    }

    pprof_buf_string(out, "<g><title>");
    put_xml(out, name, SIZE_MAX);
    pprof_buf_string(out, " (");
    put_value(out, value, pic->unit);
    pprof_buf_string(out, ", ");
    put_decimal(out, 100.0 * (double) value / (double) pic->total, 2);
    pprof_buf_string(out, " %)</title><rect x=\"");
    put_decimal(out, x, 1);
    pprof_buf_printf(out, "\" y=\"%zu\" width=\"", y);
    put_decimal(out, width, 1);
    pprof_buf_printf(out, "\" height=\"%d\" fill=\"", ROW - 1);
    put_color(out, name);
    pprof_buf_string(out, "\"/>");

    if (width > 4 * LETTER) {
        pprof_buf_string(out, "<text x=\"");
        put_decimal(out, x + 3, 1);
        pprof_buf_printf(out, "\" y=\"%zu\">", y + ROW - 5);
        put_xml(out, name, (size_t) (width - 6) / LETTER);
        pprof_buf_string(out, "</text>");
    }

    pprof_buf_string(out, "</g>\n");
}


/* How many frames A and B have in common, from the root. */
static size_t
shared(const struct pprof_path *a, const struct pprof_path *b)
{
    size_t n = 0;

    while (n < a->depth && n < b->depth
           && strcmp(a->names[n], b->names[n]) == 0)
    {
        n++;
    }

    return n;
}


/*
 * Draws all frames.  Paths stand in order, so a frame lasts as long as its
 * path's beginning does; each is drawn where it begins.
 */
static void
put_frames(const struct picture *pic, const struct pprof_paths *paths)
{
    int64_t from = 0;

    put_frame(pic, "all", 0, 0, pic->total);

    for (size_t i = 0; i < paths->npaths; i++) {
        const struct pprof_path *path = &paths->paths[i];
        int64_t value = path->value;
        size_t open = path->depth, next = i + 1;
        const size_t begun = i == 0 ? 0 : shared(&paths->paths[i - 1], path);

        /* from the leaf to the root, each at least as long as the last */
        while (open > begun) {
            while (next < paths->npaths
                   && shared(path, &paths->paths[next]) >= open)
            {
                value += paths->paths[next++].value;
            }

            put_frame(pic, path->names[open - 1], open, from, value);
            open--;
        }

        from += path->value;
    }
}


void
pprof_svg_write(const struct pprof_paths *paths, const char *title,
    const char *unit, struct pprof_buf *out)
{
    struct picture pic = { .out = out, .unit = unit };

    for (size_t i = 0; i < paths->npaths; i++) {
        pic.total += paths->paths[i].value;

        if (paths->paths[i].depth > pic.depth) {
            pic.depth = paths->paths[i].depth;
        }
    }

    const size_t height = HEAD + (pic.depth + 1) * ROW + MARGIN;

    pprof_buf_printf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" "
                     "version=\"1.1\" width=\"%d\" height=\"%zu\" "
                     "viewBox=\"0 0 %d %zu\" font-family=\"monospace\" "
                     "font-size=\"12\">\n<title>", WIDTH, height, WIDTH,
                     height);
    put_xml(out, title, SIZE_MAX);
    pprof_buf_printf(out, "</title>\n<rect width=\"100%%\" height=\"100%%\" "
                     "fill=\"#fffdf5\"/>\n<text x=\"%d\" y=\"20\">", MARGIN);
    put_xml(out, title, (WIDTH - 2 * MARGIN) / LETTER);
    pprof_buf_string(out, "</text>\n");

    if (pic.total > 0) {
        put_frames(&pic, paths);

    } else {
        pprof_buf_printf(out, "<text x=\"%d\" y=\"%d\">no samples</text>\n",
                         MARGIN, HEAD + 12);
    }

    pprof_buf_string(out, "</svg>\n");
}
