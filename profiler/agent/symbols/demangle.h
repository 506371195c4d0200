/*
 * C++ names for people.
 *
 * The program's own C++ runtime does it where there is one: it knows every
 * form.  It is never loaded for this: a second megabyte, its constructors and
 * another operator new have no business in a C program, and a program that
 * has C++ code has the runtime.  Where that is linked in statically and hidden
 * the plain forms are done here, and the others stay as they are: clients
 * demangle what begins with _Z themselves.
 *
 * Context: the serving thread.
 */

#ifndef PPROF_SYMBOLS_DEMANGLE_H
#define PPROF_SYMBOLS_DEMANGLE_H

#include <stddef.h>


/*
 * Demangles NAME, which begins with "_Z", with RUNTIME, a C++ runtime's
 * __cxa_demangle(), or by own means when RUNTIME is NULL.
 *
 * By own means: nested names, constructors, destructors, anonymous
 * namespaces and std::, without arguments ("acs::Session::parse"); nothing
 * that has template arguments or operators.
 *
 * Returns a string to free(), or NULL when it cannot be done.
 */
char *pprof_demangle(char *(*runtime)(const char *, char *, size_t *, int *),
    const char *name);

#endif
