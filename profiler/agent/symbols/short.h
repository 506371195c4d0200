/*
 * Names as people say them.
 *
 * What a demangler writes of std::string alone has 72 characters, and a
 * template's arguments say again what its name said.  A short name has no
 * return type, no parameters, no arguments that are the default ones, no
 * inline namespaces and no marks of the compiler's; a lambda has its function.
 * It has no blanks either: those that are left are written as "_", since
 * readers that go by lines, go-torch among them, split names there.
 *
 * Context: thread-safe; nothing is kept.
 */

#ifndef PPROF_SYMBOLS_SHORT_H
#define PPROF_SYMBOLS_SHORT_H

#include <stddef.h>


/*
 * Shortens what a demangler made of a C++ name:
 *
 *     void std::sort<int*>(int*, int*)           std::sort<int*>
 *     shop::Ledger::book(Order const&) const     shop::Ledger::book
 *     main::{lambda(int)#2}::operator()(int)     main::{lambda#2}
 *     f(std::vector<A, std::allocator<A> >) [clone .isra.0]     f
 *
 * A text of another form, or nested too deep, stays as it is, but for its
 * blanks.
 *
 * Returns a string to free(), or NULL with errno ENOMEM.
 */
char *pprof_short_cxx(const char *full);

/*
 * How many bytes of the symbol SYMBOL, LEN bytes, are its name: what follows
 * are marks of the compiler's (".isra.0", ".constprop.3", ".part.1", ".cold",
 * ".lto_priv.0", ".llvm.123").  LEN, when there are none.
 */
size_t pprof_short_symbol(const char *symbol, size_t len);

#endif
