/*
 * Short names of functions, for people: namespaces, template arguments and
 * parameters fold, so that
 *
 *   std::vector<int, std::allocator<int>>::push_back(int&&)
 *       std::vector<…>::push_back
 *   a::b::shop::Ledger::book(std::string const&)    shop::Ledger::book
 *   shop::main::{lambda()#1}::operator()() const    shop::main::{lambda#1}
 *   example.com/app/pkg.(*Type).Method              pkg.(*Type).Method
 *
 * A name that is nothing like these stays as it is.
 */

const OPEN = '<([{', CLOSE = '>)]}';


/* So many of the last parts stand: a namespace, a class, its member. */
const KEEP = 3;


export function short(name) {
    if (!/[:<(]/.test(name) || / /.test(name) && !/[<(]|::/.test(name)) {
        return path(name);
    }

    /* Go: package/path.(*Type).Method */
    if (!name.includes('::') && /^[\w.~/-]*\.(\(\*?|\w)/.test(name)
        && !/^[\w ]+\(/.test(name))
    {
        return path(name);
    }

    const parts = split(name);

    return parts === null ? name : join(parts) || name;
}


const path = name => name.replace(/^(?:[\w.~%@-]+\/)+(?=[^/])/, '');


/* The length of "operator<<" and its like at AT of NAME, or 0. */

function operator(name, at) {
    if (!name.startsWith('operator', at) || /\w/.test(name[at - 1] ?? '')
        || /\w/.test(name[at + 8] ?? ''))
    {
        return 0;
    }

    return /^operator(?:\(\)|\[\]|<=>|->\*?|<<=?|>>=?|[^\w\s(]=?=?)/.exec(
        name.slice(at, at + 12))?.[0].length ?? 0;
}


/*
 * What stands between "::", without what is in brackets, of the function's
 * own name: a return type before it and parameters after it are gone.
 */

function split(name) {
    const parts = [];
    let part = '', i = 0;

    while (i < name.length) {
        const op = operator(name, i);

        if (op) {
            part += name.slice(i, i += op);
            continue;
        }

        const c = name[i];

        if (name.startsWith('::', i)) {
            parts.push(part);
            part = '';
            i += 2;

        } else if (OPEN.includes(c)) {
            const end = closing(name, i);

            if (end < 0) {
                return null;
            }

            const inner = name.slice(i + 1, end);

            if (c === '<') {
                part += '<…>';

            } else if (c === '{') {
                part += `{${inner.replace(/\(.*\)/, '')}}`;

            } else if (c === '[') {
                part += /^abi:/.test(inner) ? '' : `[${inner}]`;

            } else if (inner === 'anonymous namespace') {
                part += '(anon)';

            } else if (name.startsWith('::', end + 1)
                       || name.startsWith(' const::', end + 1))
            {
                /* a function within: its parameters say nothing */
                i = name.startsWith('::', end + 1) ? end + 1 : end + 7;
                continue;

            } else {
                break;                          /* the parameters */
            }

            i = end + 1;

        } else if (c === ' ' && name[i + 1] === '<') {
            i++;

        } else if (c === ' ' && !/operator$/.test(part)) {
            /* all before it was a type */
            parts.length = 0;
            part = '';
            i++;

        } else {
            part += c;
            i++;
        }
    }

    parts.push(part);
    return parts;
}


function closing(name, at) {
    let depth = 0;

    for (let i = at; i < name.length; i++) {
        const op = operator(name, i);

        if (op) {
            i += op - 1;

        } else if (name[i] === '-' && name[i + 1] === '>') {
            i++;

        } else if (OPEN.includes(name[i])) {
            depth++;

        } else if (CLOSE.includes(name[i]) && --depth === 0) {
            return i;
        }
    }

    return -1;
}


function join(parts) {
    const own = parts.filter(p => p && p !== '(anon)' && !/^__\w+$/.test(p)
                                  && !/^operator\(\)$/.test(p));
    const last = own.slice(-KEEP);

    if (own.length === 0) {
        return parts.filter(Boolean).slice(-KEEP).join('::');
    }

    /* free functions of a namespace keep it: std::sort<…> */
    return last.join('::');
}


/* The short name of a frame, made once. */

export function shortOf(f) {
    return f.short ??= short(f.name);
}
