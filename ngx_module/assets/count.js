/*
 * Counts in profiles; draws nothing, and so runs under node too.
 *
 *   tree(p, type, opts)     call tree, typed arrays
 *   top(p, type, opts)      rows of function, self, total
 *   around(p, type, name)   callers and callees of one function
 *   through(p, name, up)    the stacks above or below one function
 *   unnamed(p, type)        share of the samples that have no names
 *
 * P is a profile, which is looked at with OPTS, or what look() made of one.
 */

import { look } from './look.js';


export function total(p, type) {
    let sum = 0;

    for (const v of p.values[type]) {
        sum += v;
    }

    return sum;
}


/* How many frames two stacks have in common, SIZE at the most. */

function common(stack, a, b, by, size) {
    let i = 0;

    while (i < size && stack[a] === stack[b]) {
        a += by;
        b += by;
        i++;
    }

    return i;
}


/* How far each stack goes along the one before it: what is left are nodes. */

function overlaps(p, v, by) {
    const { stack, start, keep } = p, count = start.length - 1;
    const root = s => by > 0 ? start[s] : start[s + 1] - 1;
    const shared = new Int32Array(count).fill(-1);
    let most = 1, deepest = 0, last = -1;

    for (let s = 0; s < count; s++) {
        const size = start[s + 1] - start[s];

        if (v[s] === 0 || keep && !keep[s]) {
            continue;
        }

        shared[s] = last < 0 ? 0
            : common(stack, root(s), root(last), by,
                     Math.min(size, start[last + 1] - start[last]));
        most += size - shared[s];
        deepest = Math.max(deepest, size);
        last = s;
    }

    return { shared, most, deepest, root };
}


/* Nodes by parent and frame. */

class Nodes {
    constructor(most) {
        this.frame = new Int32Array(Math.min(most, 65536));
        this.parent = new Int32Array(this.frame.length);
        this.frame[0] = this.parent[0] = -1;
        this.n = 1;
        this.slots = new Int32Array(2 << Math.ceil(Math.log2(
                                                   this.frame.length)));
    }

    child(par, f) {
        const { slots, parent, frame } = this, mask = slots.length - 1;
        let h = Math.imul(par, 0x9e3779b1) ^ Math.imul(f + 1, 0x85ebca6b);

        h ^= h >>> 15;

        for (h &= mask; ; h = h + 1 & mask) {
            const k = slots[h];

            if (k === 0) {
                if (this.n === frame.length) {
                    this.grow();
                    return this.child(par, f);
                }

                frame[this.n] = f;
                parent[this.n] = par;
                return slots[h] = this.n++;
            }

            if (parent[k] === par && frame[k] === f) {
                return k;
            }
        }
    }

    grow() {
        for (const name of ['frame', 'parent']) {
            const old = this[name];

            this[name] = new Int32Array(2 * old.length);
            this[name].set(old);
        }

        const { n } = this, mask = 2 * this.slots.length - 1;
        const slots = this.slots = new Int32Array(mask + 1);

        for (let k = 1; k < n; k++) {
            let h = Math.imul(this.parent[k], 0x9e3779b1)
                    ^ Math.imul(this.frame[k] + 1, 0x85ebca6b);

            h ^= h >>> 15;

            for (h &= mask; slots[h]; h = h + 1 & mask) {
                /* the next is free, or the one after it */
            }

            slots[h] = k;
        }
    }
}


/*
 * The call tree.  Node 0 is the root, its frame -1; a node's parent is always
 * before it.  value and self have what the profile has, base and baseSelf what
 * its base has; without a base those are null.
 */

export function tree(p, type, opts = {}) {
    const seen = look(p, opts), v = seen.values[type];
    const by = opts.invert ? -1 : 1, { stack, start } = seen;
    const { shared, most, deepest, root } = overlaps(seen, v, by);
    const nodes = new Nodes(most), path = new Int32Array(deepest + 1);
    const leaf = new Int32Array(start.length - 1).fill(-1);

    for (let s = 0; s < leaf.length; s++) {
        const size = start[s + 1] - start[s];

        if (shared[s] < 0) {
            continue;
        }

        let at = root(s) + shared[s] * by;

        for (let i = shared[s]; i < size; i++, at += by) {
            path[i + 1] = nodes.child(path[i], stack[at]);
        }

        leaf[s] = path[size];
    }

    return sums(seen, type, leaf, nodes);
}


function sums(p, type, leaf, { n, frame, parent }) {
    const v = p.values[type], self = new Float64Array(n);
    const baseSelf = p.base ? new Float64Array(n) : null;

    for (let s = 0; s < leaf.length; s++) {
        if (leaf[s] >= 0) {
            (p.base?.[s] ? baseSelf : self)[leaf[s]] += v[s];
        }
    }

    const value = self.slice(), base = baseSelf && baseSelf.slice();
    const depth = new Int32Array(n);

    for (let k = n - 1; k > 0; k--) {
        value[parent[k]] += value[k];

        if (base) {
            base[parent[k]] += base[k];
        }
    }

    for (let k = 1; k < n; k++) {
        depth[k] = depth[parent[k]] + 1;
    }

    return { n, frame: frame.subarray(0, n), parent: parent.subarray(0, n),
             value, self, base, baseSelf, depth, frames: p.frames,
             unit: p.types[type].unit };
}


/*
 * One row a function, the greatest self first: what it spent itself and with
 * all it called.  A function that calls itself counts once a sample.
 */

export function top(p, type, opts = {}) {
    const { stack, start, frames, keep, values, base } = look(p, opts);
    const rows = frames.map((f, i) => ({ frame: i, name: f.name,
                                         file: f.file, lines: f.lines,
                                         self: 0, total: 0, base: 0,
                                         seen: -1 }));
    const v = values[type];

    for (let s = 0; s < start.length - 1; s++) {
        const from = start[s], to = start[s + 1];

        if (v[s] === 0 || from === to || keep && !keep[s]) {
            continue;
        }

        const by = base?.[s] ? -v[s] : v[s];

        rows[stack[to - 1]].self += by;

        for (let i = from; i < to; i++) {
            const r = rows[stack[i]];

            if (r.seen !== s) {
                r.seen = s;
                r.total += by;
                r.base += by < 0 ? -by : 0;
            }
        }
    }

    return rows.filter(r => r.seen >= 0)
               .sort((a, b) => Math.abs(b.self) - Math.abs(a.self)
                               || Math.abs(b.total) - Math.abs(a.total)
                               || (a.name < b.name ? -1 : 1));
}


/*
 * The callers and callees of the function NAME, as pprof's peek: each with the
 * value that went along that edge.
 */

export function around(p, type, name, opts = {}) {
    const { stack, start, frames, keep, values, base } = look(p, opts);
    const v = values[type], me = frames.findIndex(f => f.name === name);
    const callers = new Map(), callees = new Map();
    const out = { name, self: 0, total: 0, callers: [], callees: [] };

    for (let s = 0; me >= 0 && s < start.length - 1; s++) {
        const from = start[s], to = start[s + 1];
        const at = stack.subarray(from, to).indexOf(me);

        if (v[s] === 0 || at < 0 || keep && !keep[s]) {
            continue;
        }

        const by = base?.[s] ? -v[s] : v[s], up = new Set();
        const down = new Set();

        for (let i = from + at; i < to; i++) {
            if (stack[i] === me) {
                up.add(i > from ? stack[i - 1] : -1);
                down.add(i + 1 < to ? stack[i + 1] : -1);
            }
        }

        out.total += by;

        if (stack[to - 1] === me) {
            out.self += by;
            down.delete(-1);
        }

        up.forEach(f => callers.set(f, (callers.get(f) || 0) + by));
        down.forEach(f => callees.set(f, (callees.get(f) || 0) + by));
    }

    const rows = m => [...m].map(([f, value]) => (
                          { frame: f, value,
                            name: f < 0 ? '' : frames[f].name }))
                      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value));

    out.callers = rows(callers);
    out.callees = rows(callees);
    return out;
}


/*
 * The samples that go through the function NAME, from its outermost call on
 * down to their leaves or, with UP, from the root up to that call.
 */

export function through(p, name, up, opts = {}) {
    const seen = look(p, opts), me = seen.frames.findIndex(
        f => f.name === name);
    const { stack, start } = seen, count = start.length - 1;
    const keep = new Uint8Array(count), from = new Uint32Array(count + 1);
    const out = new Int32Array(stack.length);
    let n = 0;

    for (let s = 0; s < count; s++) {
        const all = stack.subarray(start[s], start[s + 1]);
        const at = me < 0 ? -1 : all.indexOf(me);

        if (at >= 0 && !(seen.keep && !seen.keep[s])) {
            const part = up ? all.subarray(0, at + 1) : all.subarray(at);

            keep[s] = 1;
            out.set(part, n);
            n += part.length;
        }

        from[s + 1] = n;
    }

    return { ...seen, stack: out.subarray(0, n), start: from, keep };
}


/* How much of the profile ends in a frame without a name, and in which
 * modules. */

export function unnamed(p, type) {
    const { stack, start, frames, values } = look(p), v = values[type];
    const modules = new Map();
    let bad = 0, all = 0;

    for (let s = 0; s < start.length - 1; s++) {
        const a = Math.abs(v[s]);

        all += a;

        if (start[s + 1] > start[s]) {
            const f = frames[stack[start[s + 1] - 1]];

            if (!f.named) {
                const m = modules.get(f.module) || { file: f.module,
                                                     buildId: f.buildId,
                                                     value: 0 };

                bad += a;
                m.value += a;
                modules.set(f.module, m);
            }
        }
    }

    return { share: all ? bad / all : 0,
             modules: [...modules.values()].sort((a, b) => b.value
                                                           - a.value) };
}
