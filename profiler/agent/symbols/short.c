#include "symbols/short.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>


enum {
    DEPTH_MAX = 200,        /* templates in templates */
    ARGUMENTS_MAX = 64,     /* of one template that are looked at */
    RUST_HASH = 19          /* "::h" and 16 digits */
};


/*
 * What is read and what is written.  The output is never longer than the
 * input, so it has room for all of it.
 */
struct state {
    const char  *s;         /* what is still to be read */
    char        *out;
    size_t       len;
    unsigned     depth;
    bool         failed;    /* another form, or too deep */
};


static void template_arguments(struct state *st);


static bool
is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_' || c == '$'
           || (unsigned char) c >= 0x80;
}


static bool
starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}


/* Takes TEXT off the input if it comes next. */
static bool
take(struct state *st, const char *text)
{
    if (!starts(st->s, text)) {
        return false;
    }

    st->s += strlen(text);

    return true;
}


static void
put(struct state *st, const char *text, size_t len)
{
    memmove(st->out + st->len, text, len);
    st->len += len;
}


/* Does what was written end with TEXT? */
static bool
ends(const struct state *st, const char *text)
{
    const size_t  len = strlen(text);

    return st->len >= len
           && memcmp(st->out + st->len - len, text, len) == 0;
}


/*
 * Skips from an opening bracket to behind the one that closes it.  Brackets
 * of other kinds are counted with it; those of operators stand in names only,
 * of which parameters have none.
 */
static void
skip_brackets(struct state *st)
{
    unsigned  open = 0;

    do {
        switch (*st->s) {

        case '(':
        case '<':
        case '{':
        case '[':
            open++;
            break;

        case ')':
        case '}':
        case ']':
            open--;
            break;

        case '>':
            /* "->" stands in the expressions of a decltype */
            open -= st->s[-1] != '-';
            break;

        case '\0':
            st->failed = true;
            return;
        }

        st->s++;

    } while (open != 0);
}


/* Behind a function's parameters: " const &", and a clone's mark. */
static void
skip_qualifiers(struct state *st)
{
    while (take(st, " const") || take(st, " volatile") || take(st, " &&")
           || take(st, " &") || take(st, " noexcept"))
    {
        /* void */
    }
}


/* "[abi:cxx11]" says nothing to people. */
static bool
skip_tag(struct state *st)
{
    const char  *end;

    if (!starts(st->s, "[abi:") || (end = strchr(st->s, ']')) == NULL) {
        return false;
    }

    st->s = end + 1;

    return true;
}


/* Namespaces that are inline, so that nobody writes them: "std::__cxx11::". */
static bool
skip_inline_namespace(struct state *st)
{
    static const char *const  inlined[] = {
        "__cxx11::", "__1::", "__2::", "__ndk1::", "_V2::", "__debug::",
        "__cxx1998::"
    };

    if (!ends(st, "std::") && !ends(st, "filesystem::")
        && !ends(st, "__gnu_cxx::") && !ends(st, "chrono::"))
    {
        return false;
    }

    for (size_t i = 0; i < sizeof(inlined) / sizeof(inlined[0]); i++) {
        if (take(st, inlined[i])) {
            return true;
        }
    }

    return false;
}


/*
 * "{lambda(int)#2}", "{unnamed type#1}", "'lambda0'(int)": what it is and its
 * number.  A lambda's operator() is the lambda.
 */
static bool
lambda(struct state *st)
{
    if (*st->s == '{') {
        const char  *start = st->s, *number = NULL;

        skip_brackets(st);

        if (st->failed) {
            return true;
        }

        for (const char *p = st->s - 1; p > start && number == NULL; p--) {
            number = *p == '#' ? p : NULL;
        }

        const size_t  word = strcspn(start, "( #}");

        put(st, start, word);

        if (number != NULL) {
            put(st, number, st->s - 1 - number);
        }

        put(st, "}", 1);

    } else if (starts(st->s, "'lambda") || starts(st->s, "'unnamed")) {
        const char  *end = strchr(st->s + 1, '\'');

        if (end == NULL) {
            st->failed = true;
            return true;
        }

        put(st, "{", 1);
        put(st, st->s + 1, end - st->s - 1);
        put(st, "}", 1);
        st->s = end + 1;

        if (*st->s == '(') {
            skip_brackets(st);
        }

    } else {
        return false;
    }

    if (starts(st->s, "::operator()")) {
        st->s += 12;

        if (*st->s == '<') {
            skip_brackets(st);
        }
    }

    return true;
}


/* What follows the word "operator", which is written already. */
static void
operator_name(struct state *st)
{
    static const char *const  symbols[] = {
        "<=>", "<<=", ">>=", "->*", "()", "[]", "->", "<<", ">>", "<=", ">=",
        "<", ">", " new[]", " new", " delete[]", " delete", " co_await",
    };

    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        const size_t  len = strlen(symbols[i]);

        if (starts(st->s, symbols[i]) && !(symbols[i][0] == ' '
                                           && is_word(st->s[len])))
        {
            put(st, st->s, len);
            st->s += len;

            /* "operator<< <char>" */
            if (starts(st->s, " <")) {
                st->s++;
            }

            return;
        }
    }

    /* a literal's */
    if (take(st, "\"\" ")) {
        put(st, "\"\"", 2);
        return;
    }

    /* a conversion to a type: up to its parameters */
    if (*st->s == ' ') {
        put(st, st->s++, 1);

        while (*st->s != '\0' && *st->s != '(' && !st->failed) {
            if (*st->s == '<') {
                template_arguments(st);
            } else if (!skip_inline_namespace(st)) {
                put(st, st->s++, 1);
            }
        }
    }
}


/* Is what stands from FROM to TO an argument that nobody writes? */
static bool
is_default(const char *from, const char *to)
{
    static const char *const  names[] = {
        "std::allocator<", "std::char_traits<", "std::less<", "std::hash<",
        "std::equal_to<", "std::default_delete<", "std::regex_traits<",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const size_t  len = strlen(names[i]);

        if ((size_t) (to - from) > len && memcmp(from, names[i], len) == 0) {
            return true;
        }
    }

    return false;
}


/* Where the name begins that ends at OPEN: "std::vector", "::rebind". */
static size_t
path_start(const struct state *st, size_t open)
{
    while (open > 0 && (is_word(st->out[open - 1])
                        || st->out[open - 1] == ':'))
    {
        open--;
    }

    return open;
}


/*
 * Gives "std::basic_string<char>" its name, std::string; the same for all of
 * that kind, and for wide ones.  NAME is where it begins, OPEN its "<".
 */
static void
say_alias(struct state *st, size_t name, size_t open)
{
    static const char  basic[] = "std::basic_";
    const size_t       skipped = sizeof(basic) - 1;
    const size_t       len = st->len - open;
    const bool         wide = len == 9
                              && memcmp(st->out + open, "<wchar_t>", 9) == 0;

    if (open - name <= skipped || !starts(st->out + name, basic)
        || (!wide && (len != 6 || memcmp(st->out + open, "<char>", 6) != 0)))
    {
        return;
    }

    memmove(st->out + name + 5 + wide, st->out + name + skipped,
            open - name - skipped);
    st->len = open - (skipped - 5) + wide;

    if (wide) {
        st->out[name + 5] = 'w';
    }
}


/*
 * "(…)" in an argument.  False: what stands there is a part of a type.  True:
 * it is read, the parameters of a function in which something is defined.
 */
static bool
enclosing_parameters(struct state *st)
{
    struct state  after = *st;

    skip_brackets(&after);
    skip_qualifiers(&after);

    if (after.failed || !starts(after.s, "::")) {
        return false;
    }

    st->s = after.s;

    return true;
}


/* One type, or value, of a template's arguments; ends at "," or ">". */
static void
argument(struct state *st)
{
    unsigned  open = 0;

    while (!st->failed) {
        const char  c = *st->s;

        switch (c) {

        case '\0':
            st->failed = true;
            return;

        case ',':
        case '>':
            if (open == 0) {
                return;
            }

            break;

        case '<':
            template_arguments(st);
            continue;

        case '(':
            if (take(st, "(anonymous namespace)")) {
                put(st, "(anonymous)", 11);
                continue;
            }

            if (enclosing_parameters(st)) {
                continue;
            }

            /* "int (double)" */
            if (ends(st, " ")) {
                st->len--;
            }

            open++;
            break;

        case ')':
            if (open == 0) {
                st->failed = true;
                return;
            }

            open--;
            break;

        case ' ':
            /* ", " inside of a function's type */
            if (ends(st, ",")) {
                st->s++;
                continue;
            }

            break;

        case '{':
        case '\'':
            if (lambda(st)) {
                continue;
            }

            break;

        case '[':
            if (skip_tag(st)) {
                continue;
            }

            break;

        default:
            if (skip_inline_namespace(st)) {
                continue;
            }
        }

        put(st, st->s++, 1);
    }
}


/*
 * "<…>" behind a name.  Arguments at the end that are a standard template's
 * default ones are left out.
 */
static void
template_arguments(struct state *st)
{
    const size_t  open = st->len;
    const size_t  name = path_start(st, open);
    const bool    standard = starts(st->out + name, "std::");
    size_t        ends_at[ARGUMENTS_MAX];
    size_t        n = 0;

    if (++st->depth > DEPTH_MAX) {
        st->failed = true;
        return;
    }

    put(st, st->s++, 1);

    while (!st->failed) {
        const size_t  from = st->len;

        argument(st);

        if (st->failed) {
            break;
        }

        /* "A<int> >" */
        if (st->len > from && ends(st, " ")) {
            st->len--;
        }

        if (n < ARGUMENTS_MAX) {
            ends_at[n] = st->len;
        }

        n++;

        if (*st->s++ == '>') {
            break;
        }

        put(st, ",", 1);
        (void) take(st, " ");
    }

    st->depth--;

    if (st->failed) {
        return;
    }

    while (standard && n > 1 && n <= ARGUMENTS_MAX
           && is_default(st->out + ends_at[n - 2] + 1, st->out + st->len))
    {
        n--;
        st->len = ends_at[n - 1];
    }

    put(st, ">", 1);
    say_alias(st, name, open);
}


/* The whole: a return type perhaps, names, parameters, and so again. */
static void
function(struct state *st)
{
    while (*st->s != '\0' && !st->failed) {
        const char  c = *st->s;

        if (c == '<') {
            template_arguments(st);

        } else if (c == '(') {
            if (take(st, "(anonymous namespace)")) {
                put(st, "(anonymous)", 11);

            } else if (ends(st, "decltype")) {
                st->len -= 8;
                skip_brackets(st);

            } else {
                skip_brackets(st);
                skip_qualifiers(st);

                /* what is defined in that function goes on */
                if (*st->s != ':') {
                    break;
                }
            }

        } else if (c == ' ') {
            /* a mark of the compiler's, or what stood before was a type */
            if (starts(st->s, " [clone")) {
                break;
            }

            st->s++;

            if (!ends(st, "decltype")) {
                st->len = 0;
            }

        } else if ((c == '{' || c == '\'') && lambda(st)) {
            continue;

        } else if (c == '[' && skip_tag(st)) {
            continue;

        } else if (starts(st->s, "operator") && !is_word(st->s[8])
                   && (st->len == 0 || !is_word(st->out[st->len - 1])))
        {
            put(st, st->s, 8);
            st->s += 8;
            operator_name(st);

        } else if (!skip_inline_namespace(st)) {
            put(st, st->s++, 1);
        }
    }
}


/*
 * Rust's older names come out of a C++ demangler as paths with a hash, with
 * "$LT$" for "<" and ".." for "::".  False: this is none.
 */
static bool
rust(struct state *st, const char *full)
{
    static const struct { const char *escape, *text; } escapes[] = {
        { "$LT$", "<" }, { "$GT$", ">" }, { "$RF$", "&" }, { "$BP$", "*" },
        { "$C$", "," }, { "$u20$", " " }, { "$u7b$", "{" }, { "$u7d$", "}" },
        { "$u5b$", "[" }, { "$u5d$", "]" }, { "$LP$", "(" }, { "$RP$", ")" },
        { "$u27$", "'" }, { "$u3d$", "=" }, { "$u2b$", "+" }, { "..", "::" },
    };
    const size_t  len = strlen(full);
    const char   *end = full + len - RUST_HASH;

    if (len <= RUST_HASH || !starts(end, "::h")
        || strspn(end + 3, "0123456789abcdef") != RUST_HASH - 3)
    {
        return false;
    }

    for (st->s = full; st->s < end; /* void */) {
        size_t  i = 0;

        /* a part that begins with an escape has "_" before it */
        if (starts(st->s, "_$") && (st->s == full || st->s[-1] == ':')) {
            st->s++;
            continue;
        }

        while (i < sizeof(escapes) / sizeof(escapes[0])
               && !starts(st->s, escapes[i].escape))
        {
            i++;
        }

        if (i < sizeof(escapes) / sizeof(escapes[0])) {
            put(st, escapes[i].text, strlen(escapes[i].text));
            st->s += strlen(escapes[i].escape);
        } else {
            put(st, st->s++, 1);
        }
    }

    return true;
}


char *
pprof_short_cxx(const char *full)
{
    const size_t  len = strlen(full);
    struct state  st = {.s = full, .out = calloc(1, len + 8)};

    if (st.out == NULL) {
        errno = ENOMEM;
        return NULL;
    }

    if (!rust(&st, full)) {
        function(&st);
    }

    /* better too much than nothing */
    if (st.failed || st.len == 0) {
        memcpy(st.out, full, len);
        st.len = len;
    }

    st.out[st.len] = '\0';

    for (char *p = st.out; *p != '\0'; p++) {
        if (*p == ' ') {
            *p = '_';
        }
    }

    return st.out;
}


/* The length without one mark at the end, with its number or without. */
static size_t
without_mark(const char *symbol, size_t len)
{
    static const char *const  marks[] = {
        ".isra", ".constprop", ".part", ".cold", ".lto_priv", ".llvm",
        ".localalias"
    };
    size_t  end = len;

    while (end > 0 && symbol[end - 1] >= '0' && symbol[end - 1] <= '9') {
        end--;
    }

    const bool  numbered = end > 0 && end < len && symbol[end - 1] == '.';

    end = numbered ? end - 1 : len;

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const size_t  n = strlen(marks[i]);

        /* without a number these are names of a program's own */
        if (!numbered && i < 3) {
            continue;
        }

        if (end > n && memcmp(symbol + end - n, marks[i], n) == 0) {
            return end - n;
        }
    }

    return len;
}


size_t
pprof_short_symbol(const char *symbol, size_t len)
{
    for ( ;; ) {
        const size_t  end = without_mark(symbol, len);

        if (end == len) {
            return len;
        }

        len = end;
    }
}
