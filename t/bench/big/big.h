/*
 * The two halves of the big program: one file of templates, of which build.pl
 * makes many copies, and main.cc, which calls them.
 */

#ifndef BIG_H
#define BIG_H

#include <functional>

namespace big {

using leaf = std::function<long()>;
using step = long (*)(int depth, unsigned seed, const leaf &last);

/* Adds a function to those that walk() chooses from. */
void enlist(step function);

/* Calls DEPTH functions, which SEED chooses, one in the other; the innermost
   calls LAST. */
long walk(int depth, unsigned seed, const leaf &last);

}

#endif
