/*
 * Stands in for libFuzzer: runs a driver once on each file of the directories
 * that are named, and prints how many there were.  Inputs end at an
 * unreadable page.
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static int
replay(const char *path)
{
    struct stat  st;
    const int    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0) {
            close(fd);
        }

        return 0;
    }

    char  *data = malloc(st.st_size + 1);

    if (data == NULL || read(fd, data, st.st_size) != st.st_size) {
        perror(path);
        exit(1);
    }

    close(fd);

    /* the last name to be seen is the one that crashed */
    printf("%s\n", path);
    fflush(stdout);

    void  *copy = guard(data, st.st_size);

    LLVMFuzzerTestOneInput(copy, st.st_size);
    guard_free(copy, st.st_size);
    free(data);

    return 1;
}


int
main(int argc, char **argv)
{
    int  n = 0;

    for (int i = 1; i < argc; i++) {
        DIR            *dir = opendir(argv[i]);
        struct dirent  *entry;
        char            path[4096];

        if (dir == NULL) {
            perror(argv[i]);
            return 1;
        }

        while ((entry = readdir(dir)) != NULL) {
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            n += replay(path);
        }

        closedir(dir);
    }

    printf("replayed: %d\n", n);

    return 0;
}
