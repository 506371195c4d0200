/*
 * Loads shared objects and prints what their functions are called, for
 * t/symbols.t.
 *
 *   names [-d debug-root] [-c command] [-l pprof-lines] [-bx] object…
 *
 * Each object exports addresses(), which fills an array with addresses and
 * returns how many; "self" is an address of this program's own, in main().
 * COMMAND is run by the shell between the loading and the naming.  A line for
 * each address: what pprof_names_find() returned, the start's distance from
 * the address, name, system name.  With -l, that program is asked for lines,
 * and they follow: "| name file:line", the innermost first, and at the end
 * what came of it.  -b: only the first address's build id and file.  -x: as in
 * the agent, where libraries may be loaded.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "symbols/names.h"


int
main(int argc, char **argv)
{
    struct pprof_names  names;
    struct pprof_maps   maps;
    const void         *at[256];
    size_t              n = 0;
    const char         *command = NULL, *program = NULL;
    struct pprof_lines  lines;
    bool                only_id = false;
    int                 ch;

    pprof_names_init(&names);
    pprof_lines_init(&lines);

    while ((ch = getopt(argc, argv, "d:c:l:bx")) != -1) {
        if (ch == 'd') {
            names.debug_root = optarg;

        } else if (ch == 'c') {
            command = optarg;

        } else if (ch == 'l') {
            program = optarg;

        } else if (ch == 'x') {
            names.may_load = true;

        } else if (ch == 'b') {
            only_id = true;

        } else {
            return 2;
        }
    }

    for (int i = optind; i < argc && n < 128; i++) {
        if (strcmp(argv[i], "self") == 0) {
            at[n++] = (const char *) main + 1;
            continue;
        }

        void    *handle = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        size_t (*addresses)(const void **);

        if (handle == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }

        *(void **) &addresses = dlsym(handle, "addresses");
        n += addresses(at + n);
    }

    if (command != NULL && system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        return 1;
    }

    if (pprof_maps_load(&maps) != 0) {
        perror("maps");
        return 1;
    }

    if (only_id && n > 0) {
        const struct pprof_map  *map = pprof_maps_find(&maps,
                                                       (uintptr_t) at[0]);
        char                     hex[2 * PPROF_BUILD_ID_MAX + 1];

        printf("%s %s%s\n", pprof_maps_build_id(&maps, map, hex), map->file,
               map->deleted ? " deleted" : "");
        pprof_maps_free(&maps);

        return 0;
    }

    if (program != NULL) {
        const struct pprof_lines_ask  ask = {
            .program = program, .debug_root = names.debug_root, .msec = 60000
        };

        for (size_t i = 0; i < n; i++) {
            pprof_lines_add(&lines, (uintptr_t) at[i]);
        }

        pprof_lines_find(&lines, &maps, &ask);
    }

    for (size_t i = 0; i < n; i++) {
        struct pprof_name  name;
        const int          rc = pprof_names_find(&names, &maps,
                                                 (uintptr_t) at[i], &name);

        printf("%d %ld %s | %s", rc, (long) ((uintptr_t) at[i] - name.start),
               name.name, name.system_name);

        size_t                     nframes = 0;
        const struct pprof_frame  *f = pprof_lines_at(&lines,
                                                      (uintptr_t) at[i],
                                                      &nframes);

        for (size_t j = 0; f != NULL && j < nframes; j++) {
            const char         *slash = strrchr(f[j].file, '/');
            struct pprof_name   inlined = { .name = "-" };

            if (f[j].name != NULL) {
                pprof_names_symbol(&names, &maps, f[j].name, &inlined);
            }

            printf(" | %s %s:%d", inlined.name,
                   slash == NULL ? f[j].file : slash + 1, f[j].line);
        }

        putchar('\n');
    }

    if (program != NULL) {
        printf("%s\n", lines.comment);
    }

    pprof_lines_free(&lines);
    pprof_names_free(&names);
    pprof_maps_free(&maps);

    return 0;
}
