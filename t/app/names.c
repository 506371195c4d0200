/*
 * Loads shared objects and prints what their functions are called, for
 * t/symbols.t.
 *
 *   names [-d debug-root] [-c command] object…
 *
 * Each object exports addresses(), which fills an array with addresses and
 * returns how many.  COMMAND is run by the shell between the loading and the
 * naming.  A line for each address: what pprof_names_find() returned, the
 * start's distance from the address, name, system name.
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
    const char         *command = NULL;
    int                 ch;

    pprof_names_init(&names);

    while ((ch = getopt(argc, argv, "d:c:")) != -1) {
        if (ch == 'd') {
            names.debug_root = optarg;

        } else if (ch == 'c') {
            command = optarg;

        } else {
            return 2;
        }
    }

    for (int i = optind; i < argc && n < 128; i++) {
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

    for (size_t i = 0; i < n; i++) {
        struct pprof_name  name;
        const int          rc = pprof_names_find(&names, &maps,
                                                 (uintptr_t) at[i], &name);

        printf("%d %ld %s | %s\n", rc, (long) ((uintptr_t) at[i] - name.start),
               name.name, name.system_name);
    }

    pprof_names_free(&names);
    pprof_maps_free(&maps);

    return 0;
}
