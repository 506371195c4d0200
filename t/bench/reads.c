/*
 * So many pairs of read() and write(), of one byte each that nobody waits for:
 * for callgrind.
 *
 *   reads COUNT read|write
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


int
main(int argc, char **argv)
{
    const long n = argc > 1 ? atol(argv[1]) : 1;
    const int  in = open("/dev/zero", O_RDONLY);
    const int  out = open("/dev/null", O_WRONLY);
    char       c = 0;

    if (argc > 2 && strcmp(argv[2], "read") == 0) {
        for (long i = 0; i < n; i++) {
            if (read(in, &c, 1) != 1) {
                return 1;
            }
        }

    } else {
        for (long i = 0; i < n; i++) {
            if (write(out, &c, 1) != 1) {
                return 1;
            }
        }
    }

    return 0;
}
