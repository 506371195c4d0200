/* symbols/short.c: names as people say them, and any text at all. */

#include "symbols/short.c"

#include "guard.h"
#include "tap.h"


static void
cxx(const char *full, const char *expected)
{
    const size_t  size = strlen(full) + 1;
    char         *copy = guard(full, size);
    char         *got = pprof_short_cxx(copy);

    is(got, expected, "%.70s", full);

    free(got);
    guard_free(copy, size);
}


static void
symbol(const char *name, const char *expected)
{
    char  got[100] = "";

    memcpy(got, name, pprof_short_symbol(name, strlen(name)));
    is(got, expected, "%s", name);
}


/* Whatever comes out, it is a name without blanks, and no longer. */
static bool
harmless(const char *text)
{
    const size_t  len = strlen(text);
    char         *got = pprof_short_cxx(text);
    const bool    fine = strlen(got) <= len && strchr(got, ' ') == NULL;

    free(got);

    return fine;
}


int
main(void)
{
    plan(55);

#define STRING "std::__cxx11::basic_string<char, std::char_traits<char>, "     \
               "std::allocator<char> >"

    cxx("shop::Ledger::book(Order const&) const", "shop::Ledger::book");
    cxx("main", "main");
    cxx("void std::sort<int*>(int*, int*)", "std::sort<int*>");
    cxx("f(" STRING " const&)", "f");
    cxx("g<" STRING " >()", "g<std::string>");
    cxx(STRING "::append(char const*)", "std::string::append");
    cxx("std::__1::basic_string<char, std::__1::char_traits<char>, "
        "std::__1::allocator<char> >::push_back(char)",
        "std::string::push_back");
    cxx("std::basic_string_view<wchar_t, std::char_traits<wchar_t> >::size()",
        "std::wstring_view::size");
    cxx("std::basic_ostream<char, std::char_traits<char> >& std::operator<< "
        "<std::char_traits<char> >(std::basic_ostream<char, "
        "std::char_traits<char> >&, char const*)",
        "std::operator<<<std::char_traits<char>>");
    cxx("f<std::basic_thing<int> >(char)", "f<std::basic_thing<int>>");
    cxx("std::map<" STRING ", std::vector<shop::Order, std::allocator<"
        "shop::Order> >, std::less<" STRING " >, std::allocator<std::pair<"
        STRING " const, std::vector<shop::Order, std::allocator<shop::Order> "
        "> > > >::operator[](" STRING " const&)",
        "std::map<std::string,std::vector<shop::Order>>::operator[]");
    cxx("std::set<int, std::greater<int>, std::allocator<int> >::insert(int)",
        "std::set<int,std::greater<int>>::insert");
    cxx("std::unique_ptr<A, std::default_delete<A> >::~unique_ptr()",
        "std::unique_ptr<A>::~unique_ptr");
    cxx("mine::box<int, std::allocator<int> >::get()",
        "mine::box<int,std::allocator<int>>::get");
    cxx("std::allocator_traits<std::allocator<int> >::allocate(int)",
        "std::allocator_traits<std::allocator<int>>::allocate");
    cxx("operator new(unsigned long)", "operator_new");
    cxx("operator delete[](void*, unsigned long)", "operator_delete[]");
    cxx("Order::operator bool() const", "Order::operator_bool");
    cxx("Order::operator " STRING "() const", "Order::operator_std::string");
    cxx("Order::operator std::vector<int, std::allocator<int> >() const",
        "Order::operator_std::vector<int>");
    cxx("A::operator<(A const&) const", "A::operator<");
    cxx("A::operator<=>(A const&) const", "A::operator<=>");
    cxx("A::operator->() const", "A::operator->");
    cxx("A::operator()(int) const", "A::operator()");
    cxx("A::operator++(int)", "A::operator++");
    cxx("operator\"\" _km(unsigned long long)", "operator\"\"_km");
    cxx("main::{lambda(int)#2}::operator()(int) const", "main::{lambda#2}");
    cxx("auto f(int)::{lambda(auto:1)#1}::operator()<int>(int) const",
        "f::{lambda#1}");
    cxx("A::b(int) const::{lambda()#1}::operator()() const",
        "A::b::{lambda#1}");
    cxx("f()::$_0::operator()(int) const", "f::$_0::operator()");
    cxx("f()::'lambda'(int)::operator()(int) const", "f::{lambda}");
    cxx("f(int)::Local::go()", "f::Local::go");
    cxx("void each<f(int) const::{lambda(int)#1}>(int)",
        "each<f::{lambda#1}>");
    cxx("std::function<int (double, char)>::operator()(double, char) const",
        "std::function<int(double,char)>::operator()");
    cxx("void run<void (*)(int, long), 3u>(int)", "run<void(*)(int,long),3u>");
    cxx("f<(Color)3, -1, true>()", "f<(Color)3,-1,true>");
    cxx("(anonymous namespace)::quiet(int*)", "(anonymous)::quiet");
    cxx("f<(anonymous namespace)::A>()", "f<(anonymous)::A>");
    cxx("decltype (make_tuple({parm#1}...)) deep<3, int>(int)", "deep<3,int>");
    cxx("decltype(auto) f<int>(int)", "f<int>");
    cxx("f[abi:cxx11](int)", "f");
    cxx("f(int) [clone .isra.0] [clone .cold]", "f");
    cxx("f<int>(int) [clone .constprop.0]", "f<int>");
    cxx("non-virtual thunk to A::go()", "A::go");
    cxx("std::vector<unsigned long, std::allocator<unsigned long> >::size()",
        "std::vector<unsigned_long>::size");
    cxx("core::fmt::write::h0123456789abcdef", "core::fmt::write");
    cxx("_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$Drop$GT$::drop"
        "::h0123456789abcdef", "<alloc::vec::Vec<T>_as_Drop>::drop");

    symbol("sum", "sum");
    symbol("sum.isra.0", "sum");
    symbol("sum.constprop.3.isra.0.cold", "sum");
    symbol("sum.part.12", "sum");
    symbol("main.part", "main.part");
    symbol("sum.llvm.17230019283", "sum");

    /* cut off, and spoiled, at every place */
    static const char  text[] = "void a::b<int (*)(c), {lambda(d)#1}, e[3]>::"
        "operator<< <f>(g) const::h(i)::'lambda'(j)::operator k() [clone .x]";
    char               spoiled[sizeof(text)];
    bool               cut = true, changed = true;

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char  *copy = guard(text, i + 1);

        copy[i] = '\0';
        cut = cut && harmless(copy);
        guard_free(copy, i + 1);

        for (const char *p = "<>(){}[]:, '\"$a"; *p != '\0'; p++) {
            memcpy(spoiled, text, sizeof(text));
            spoiled[i] = *p;
            changed = changed && harmless(spoiled);
        }
    }

    ok(cut, "cut off anywhere");
    ok(changed, "spoiled anywhere");

    return done();
}
