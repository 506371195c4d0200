/*
 * Reads profiles and counts in them; draws nothing, and so runs under node
 * too.
 *
 *   decode(bytes)           gzipped or plain profile.proto -> profile
 *   merge([p, …])           several profiles of one kind as one
 *   diff(p, base, scale)    p minus base, base's values times scale
 *   tree(p, type, opts)     call tree, typed arrays
 *   top(p, type, opts)      rows of function, self, total
 *   around(p, type, name)   callers and callees of one function
 *   unnamed(p, type)        share of the samples that have no names
 *   format(value, unit)     text for people
 *
 * A profile is { types: [{type, unit}], defaultType, frames: [{name, file,
 * lines, module, named}], stack: Int32Array, start: Uint32Array, values: [one
 * Float64Array a type], base: Uint8Array or null, … }.  Sample s has the
 * frames stack[start[s]] … stack[start[s + 1] - 1], the root first.  Frames
 * with one name are one frame, as in go tool pprof.
 *
 * Anything may be in a file: each index is checked, and what cannot be read
 * ends in a ProfileError whose message is meant for the person looking.
 *
 * Format: https://github.com/google/pprof/blob/main/proto/profile.proto
 */

const MAX_BYTES = 512 * 1024 * 1024;
const SAFE = Number.MAX_SAFE_INTEGER;

export class ProfileError extends Error {}


class Reader {
    constructor(bytes, pos = 0, end = bytes.length) {
        this.b = bytes;
        this.p = pos;
        this.end = end;
    }

    more() {
        return this.p < this.end;
    }

    byte() {
        if (this.p >= this.end) {
            throw new ProfileError('The profile is cut off.');
        }

        return this.b[this.p++];
    }

    /* Two halves of 64 bits: lo has 28 + 4 bits, hi the other 32. */

    halves() {
        let lo = 0, hi = 0;

        for (let shift = 0; ; shift += 7) {
            const c = this.byte(), v = c & 127;

            if (shift < 28) {
                lo |= v << shift;

            } else if (shift === 28) {
                lo |= v << 28;
                hi = v >> 4;

            } else if (shift < 70) {
                hi |= v << shift - 32;

            } else {
                throw new ProfileError('The profile has a number that is'
                                       + ' too long.');
            }

            if (c < 128) {
                this.lo = lo >>> 0;
                this.hi = hi >>> 0;
                return;
            }
        }
    }

    /* A value: above 2^53 the nearest double, which is all a chart needs. */

    int64() {
        const n = this.brief();

        if (n >= 0) {
            return n;
        }

        this.halves();
        return (this.hi | 0) * 4294967296 + this.lo;
    }

    /* An identifier or address: a number, a BigInt from 2^53 on. */

    uint64() {
        const n = this.int64();

        return n >= 0 && n <= SAFE ? n : BigInt(this.hi) << 32n
                                         | BigInt(this.lo);
    }

    /* A varint of one or two bytes, which nearly all are; -1: it is not. */

    brief() {
        const { b, p } = this, c = b[p];

        if (c < 128 && p < this.end) {
            this.p++;
            return c;
        }

        if (b[p + 1] < 128 && p + 1 < this.end) {
            this.p += 2;
            return c & 127 | b[p + 1] << 7;
        }

        return -1;
    }

    size() {
        const n = this.int64();

        if (n < 0 || n > this.end - this.p) {
            throw new ProfileError('The profile is cut off.');
        }

        return n;
    }

    /* What READ returns of the message that begins here. */

    message(read) {
        const n = this.size(), { end } = this, stop = this.end = this.p + n;
        const out = read(this);

        this.p = stop;
        this.end = end;
        return out;
    }

    skip(wire) {
        let n;

        switch (wire) {
        case 0:
            this.halves();
            return;
        case 1:
            n = 8;
            break;
        case 2:
            n = this.size();
            break;
        case 5:
            n = 4;
            break;
        default:
            throw new ProfileError('This is not a profile: there is no wire'
                                   + ` type ${wire}.`);
        }

        if (n > this.end - this.p) {
            throw new ProfileError('The profile is cut off.');
        }

        this.p += n;
    }

    /* Calls on(field, wire, this); what it does not take is skipped. */

    each(on) {
        while (this.more()) {
            const tag = this.int64(), wire = tag & 7, from = this.p;

            if (tag < 8 || tag > 0xffffffff) {
                throw new ProfileError('This is not a profile.');
            }

            on(Math.floor(tag / 8), wire, this);

            if (this.p === from) {
                this.skip(wire);
            }
        }
    }

    /* The varint fields of a small message, by number. */

    fields() {
        const out = [];

        this.message(r => r.each((field, wire) => {
            if (wire === 0 && field < 16) {
                out[field] = r.uint64();
            }
        }));

        return out;
    }

    /* Calls one(this) for each of a repeated number, packed or not. */

    repeated(wire, one) {
        if (wire === 0) {
            one(this);

        } else if (wire === 2) {
            this.message(r => {
                while (r.more()) {
                    one(r);
                }
            });
        }
    }
}


/*
 * Members without content stand before the profile where a proxy was kept
 * awake with them; browsers stop at the end of the first member.
 */

function skipEmptyMembers(bytes) {
    const empty = [[3, 0], [1, 0, 0, 255, 255]];
    let p = 0;

    for ( ;; ) {
        if (bytes[p] !== 0x1f || bytes[p + 1] !== 0x8b || bytes[p + 3]) {
            break;
        }

        const body = empty.find(e => e.every((c, i) => bytes[p + 10 + i] === c)
                                     && bytes.subarray(p + 10 + e.length,
                                                       p + 18 + e.length)
                                             .every(c => c === 0));

        if (!body || p + 18 + body.length >= bytes.length) {
            break;
        }

        p += 18 + body.length;
    }

    return bytes.subarray(p);
}


async function gunzip(bytes) {
    let at = 0;

    /* by parts, so that what unpacks to too much is found out early */
    bytes = skipEmptyMembers(bytes);

    const stream = new ReadableStream({ pull: c => {
        c.enqueue(bytes.slice(at, at += 65536));

        if (at >= bytes.length) {
            c.close();
        }
    } }).pipeThrough(new DecompressionStream('gzip'));
    const reader = stream.getReader(), chunks = [];
    let size = 0;

    for ( ;; ) {
        let part;

        try {
            part = await reader.read();

        } catch {
            throw new ProfileError('The profile is damaged or cut off: it'
                                   + ' does not unpack.');
        }

        if (part.done) {
            break;
        }

        size += part.value.length;

        if (size > MAX_BYTES) {
            reader.cancel();
            throw new ProfileError('The profile unpacks to more than 512 MiB,'
                                   + ' which is too much for this page.');
        }

        chunks.push(part.value);
    }

    const out = new Uint8Array(size);

    size = 0;

    for (const c of chunks) {
        out.set(c, size);
        size += c.length;
    }

    return out;
}


/* What people feed by mistake, in words. */

function refuseText(bytes) {
    const head = String.fromCharCode(...bytes.subarray(0, 512));

    if (/^\s*</.test(head)) {
        throw new ProfileError('This is a web page, not a profile.');
    }

    if (/^(heap profile:|goroutine profile:|--- )/.test(head)) {
        throw new ProfileError('This is a profile in a text format; this page'
                               + ' reads profile.proto (without ?debug=).');
    }

    if (/^[\t\n\r\x20-\x7e]{16,}$/.test(head)) {
        throw new ProfileError('This is text, not a profile: '
                               + head.trim().slice(0, 120));
    }
}


export async function decode(bytes) {
    const packed = bytes.length;

    if (packed === 0) {
        throw new ProfileError('The answer is empty.');
    }

    if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
        bytes = await gunzip(bytes);

    } else {
        refuseText(bytes);
    }

    const p = parse(bytes);

    p.packed = packed;
    return p;
}


function parse(bytes) {
    const strings = [], types = [], text = new TextDecoder();

    const samples = [];                     /* where they begin and end */
    const functions = new Map(), locations = new Map(), mappings = new Map();
    const comments = [], head = [];
    let periodType = [];

    new Reader(bytes).each((field, wire, r) => {
        if (wire === 0 && field !== 13) {
            if (field < 16) {
                head[field] = r.int64();
            }

            return;
        }

        if (field === 13) {
            r.repeated(wire, q => comments.push(q.int64()));
            return;
        }

        if (wire !== 2) {
            return;
        }

        switch (field) {
        case 1:
            types.push(r.fields());
            break;

        case 2:
            r.message(() => samples.push(r.p, r.end));
            break;

        case 3: {
            const m = r.fields();

            mappings.set(m[1], m);
            break;
        }

        case 4: {
            const l = { id: 0, mapping: 0, addr: 0, lines: [] };

            r.message(() => r.each((f, w) => {
                if (f === 4 && w === 2) {
                    l.lines.push(r.fields());

                } else if (w === 0 && f < 4) {
                    l[['', 'id', 'mapping', 'addr'][f]] = r.uint64();
                }
            }));

            locations.set(l.id, l);
            break;
        }

        case 5: {
            const f = r.fields();

            functions.set(f[1], f);
            break;
        }

        case 6: {
            const n = r.size();

            strings.push(text.decode(bytes.subarray(r.p, r.p + n)));
            r.p += n;
            break;
        }

        case 11:
            periodType = r.fields();
            break;
        }
    });

    const str = (i = 0) => {
        if (i === 0) {
            return '';
        }

        if (strings[i] === undefined) {
            throw new ProfileError('The profile is damaged: it names string'
                                   + ` ${i} of ${strings.length}.`);
        }

        return strings[i];
    };

    if (types.length === 0) {
        throw new ProfileError('This is not a profile: it has no sample'
                               + ' types.');
    }

    /* each location becomes its frames, the leaf first */

    const table = new FrameTable(), expanded = new Map();

    for (const [id, l] of locations) {
        const m = mappings.get(l.mapping), module = m ? str(m[5]) : '';
        const buildId = m ? str(m[6]) : '', out = [];
        const offset = (m ? m.base ??= module.replace(/^.*\//, '') : '')
                       + '+0x';

        for (const line of l.lines) {
            const f = functions.get(line[1]);

            if (f === undefined) {
                if (line[1]) {
                    throw new ProfileError('The profile is damaged: there is'
                                           + ` no function ${line[1]}.`);
                }

                continue;
            }

            const name = str(f[2]) || str(f[3]);

            if (name) {

                /* libpprof's way to name what has none */
                const bare = name.startsWith(offset);

                out.push(table.add(name, str(f[4]), Number(line[2] || f[5]
                                                           || 0),
                                   module, buildId, !bare));
            }
        }

        if (out.length === 0) {
            out.push(table.add(addressName(l, m, module), '', 0, module,
                               buildId, false));
        }

        expanded.set(id, out);
    }

    /* by far the most of a profile: as little as can be for each number */

    const count = samples.length / 2, start = new Uint32Array(count + 1);
    const values = types.map(() => new Float64Array(count));
    const prune = pruner(table.frames, str(head[7]), str(head[8]));
    const direct = new Int32Array(locations.size * 2 + 2).fill(-1);
    let stack = new Int32Array(65536), n = 0;

    for (const [id, e] of expanded) {
        if (e.length === 1 && id < direct.length) {
            direct[id] = e[0];
        }
    }

    const frame = k => {
        if (n === stack.length) {
            const old = stack;

            stack = new Int32Array(n * 2);
            stack.set(old);
        }

        stack[n++] = k;
    };

    const location = r => {
        const id = r.uint64(), k = direct[id];

        if (k >= 0) {
            frame(k);
            return;
        }

        const e = expanded.get(id);

        if (e === undefined) {
            throw new ProfileError('The profile is damaged: there is no'
                                   + ` location ${id}.`);
        }

        e.forEach(frame);
    };

    for (let i = 0; i < count; i++) {
        const from = n, r = new Reader(bytes, samples[2 * i],
                                       samples[2 * i + 1]);
        let had = 0;

        r.each((f, wire) => {
            if (f === 1) {
                r.repeated(wire, location);

            } else if (f === 2) {
                r.repeated(wire, () => {
                    const v = r.int64();

                    if (had < types.length) {
                        values[had][i] = v;
                    }

                    had++;
                });
            }
        });

        if (had !== types.length) {
            throw new ProfileError('The profile is damaged: a sample has'
                                   + ` ${had} values for ${types.length}`
                                   + ' types.');
        }

        stack.subarray(from, n).reverse();

        if (prune) {
            n = prune(stack, from, n);
        }

        start[i + 1] = n;
    }

    const named = types.map(t => ({ type: str(t[1]), unit: str(t[2]) }));
    const wanted = head[14] ? str(head[14]) : '';
    const found = named.findIndex(t => t.type === wanted);

    return {
        types: named,
        defaultType: found >= 0 ? found : named.length - 1,
        frames: table.frames,
        stack: stack.slice(0, n),
        start,
        values,
        base: null,
        time: (head[9] || 0) / 1e6,                     /* milliseconds */
        duration: head[10] || 0,                        /* nanoseconds */
        period: head[12] || 0,
        periodType: { type: str(periodType[1]), unit: str(periodType[2]) },
        comments: comments.map(i => str(i)),
        file: str((mappings.values().next().value || [])[5]),
        buildId: str((mappings.values().next().value || [])[6])
    };
}


/* module+0x…, or the bare address where no mapping is known. */

function addressName(l, m, module) {
    const file = module.replace(/^.*\//, '');

    if (!file) {
        return '0x' + l.addr.toString(16);
    }

    const off = BigInt(l.addr) - BigInt(m[2] || 0) + BigInt(m[4] || 0);

    return `${file}+0x${BigInt.asUintN(64, off).toString(16)}`;
}


class FrameTable {
    constructor() {
        this.frames = [];
        this.index = new Map();
    }

    add(name, file, line, module, buildId, named) {
        let i = this.index.get(name);

        if (i === undefined) {
            i = this.frames.length;
            this.index.set(name, i);
            this.frames.push({ name, file, lines: [], module, buildId,
                               named });
        }

        const f = this.frames[i];

        if (line && f.lines.length < 4 && !f.lines.includes(line)) {
            f.lines.push(line);
        }

        return i;
    }
}


/*
 * drop_frames and keep_frames: allocator internals below the function that a
 * person knows.  Returns the stack's new end.
 */

function pruner(frames, drop, keep) {
    if (!drop) {
        return null;
    }

    let dropRe, keepRe;

    try {
        dropRe = new RegExp(`^(?:${drop})$`);
        keepRe = keep ? new RegExp(`^(?:${keep})$`) : null;

    } catch {
        return null;
    }

    const bad = frames.map(f => {
        const bare = f.name.replace(/\(.*$/, '') || f.name;

        return f.named && dropRe.test(bare) && !keepRe?.test(bare);
    });

    return (stack, from, to) => {
        let user = false;

        for (let i = from; i < to; i++) {
            if (!bad[stack[i]]) {
                user = true;

            } else if (user) {
                return i;
            }
        }

        return to;
    };
}


/* --- several profiles --- */

const typeKey = t => t.type + '/' + t.unit;


/*
 * One profile with the samples of all, its types those of the first.  BASE
 * marks the profiles whose samples count as the base of a difference.
 */

function join(list, isBase, scale) {
    const first = list[0], table = new FrameTable();
    const size = list.reduce((n, p) => n + p.stack.length, 0);
    const count = list.reduce((n, p) => n + p.start.length - 1, 0);
    const stack = new Int32Array(size), start = new Uint32Array(count + 1);
    const values = first.types.map(() => new Float64Array(count));
    const base = isBase ? new Uint8Array(count) : null;
    let at = 0, s = 0;

    list.forEach((p, i) => {
        const map = p.frames.map(f => {
            const k = table.add(f.name, f.file, 0, f.module, f.buildId,
                                f.named);

            f.lines.forEach(n => table.add(f.name, f.file, n));
            return k;
        });

        const from = first.types.map(t => {
            const k = p.types.findIndex(u => typeKey(u) === typeKey(t));

            if (k < 0) {
                throw new ProfileError('These profiles are of different'
                    + ` kinds: one has no "${t.type}" in ${t.unit}, only `
                    + p.types.map(u => u.type).join(', ') + '.');
            }

            return k;
        });

        const by = isBase?.(i) ? scale : 1;

        for (let j = 0; j < p.stack.length; j++) {
            stack[at + j] = map[p.stack[j]];
        }

        for (let j = 0; j < p.start.length - 1; j++) {
            start[s + j] = at + p.start[j];

            if (base) {
                base[s + j] = isBase(i) ? 1 : 0;
            }

            for (let t = 0; t < from.length; t++) {
                values[t][s + j] = p.values[from[t]][j] * by;
            }
        }

        at += p.stack.length;
        s += p.start.length - 1;
    });

    start[count] = at;

    return { ...first, frames: table.frames, stack, start, values, base };
}


export function merge(list) {
    if (list.length === 1) {
        return list[0];
    }

    return {
        ...join(list),
        duration: list.reduce((n, p) => n + p.duration, 0),
        time: Math.min(...list.map(p => p.time))
    };
}


export function diff(p, base, scale = 1) {
    return join([p, base], i => i === 1, scale);
}


/* The factor that makes the base's total equal to the profile's. */

export function normalScale(p, base, type) {
    const t = base.types.findIndex(u => typeKey(u) === typeKey(p.types[type]));
    const b = t < 0 ? 0 : total(base, t);

    return b > 0 ? total(p, type) / b : 1;
}


export function total(p, type) {
    let sum = 0;

    for (const v of p.values[type]) {
        sum += v;
    }

    return sum;
}


/*
 * Which samples count: those with a frame that FOCUS matches and without one
 * that IGNORE matches.
 */

function sieve(p, { focus, ignore }) {
    if (!focus && !ignore) {
        return () => true;
    }

    const want = focus && p.frames.map(f => focus.test(f.name));
    const not = ignore && p.frames.map(f => ignore.test(f.name));

    return (from, to) => {
        let seen = !want;

        for (let i = from; i < to; i++) {
            if (not && not[p.stack[i]]) {
                return false;
            }

            seen ||= want[p.stack[i]];
        }

        return seen;
    };
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


/*
 * The call tree.  Node 0 is the root, its frame -1; a node's parent is always
 * before it.  value and self have what the profile has, base and baseSelf what
 * its base has; without a base those are null.
 */

export function tree(p, type, opts = {}) {
    const keep = sieve(p, opts), { stack, start } = p, v = p.values[type];
    const by = opts.invert ? -1 : 1;
    const root = s => by > 0 ? start[s] : start[s + 1] - 1;
    const leaf = new Int32Array(start.length - 1).fill(-1);
    const shared = new Int32Array(leaf.length);
    let most = 1, deepest = 0, last = -1, n = 1;

    /* how far each goes along the one before it: what is left are the nodes */

    for (let s = 0; s < leaf.length; s++) {
        const from = start[s], size = start[s + 1] - from;

        if (v[s] === 0 || !keep(from, from + size)) {
            continue;
        }

        leaf[s] = 0;

        if (last >= 0) {
            shared[s] = common(stack, root(s), root(last), by,
                               Math.min(size, start[last + 1] - start[last]));
        }

        most += size - shared[s];
        deepest = Math.max(deepest, size);
        last = s;
    }

    const frame = new Int32Array(most), parent = new Int32Array(most);
    const path = new Int32Array(deepest + 1);
    const slots = new Int32Array(2 << Math.ceil(Math.log2(most)));
    const mask = slots.length - 1;

    frame[0] = -1;
    parent[0] = -1;

    const child = (par, f) => {
        let h = Math.imul(par, 0x9e3779b1) ^ Math.imul(f + 1, 0x85ebca6b);

        h ^= h >>> 15;

        for (h &= mask; ; h = h + 1 & mask) {
            const k = slots[h];

            if (k === 0) {
                frame[n] = f;
                parent[n] = par;
                return slots[h] = n++;
            }

            if (parent[k] === par && frame[k] === f) {
                return k;
            }
        }
    };

    for (let s = 0; s < leaf.length; s++) {
        if (leaf[s] === 0) {
            const size = start[s + 1] - start[s];

            for (let i = shared[s], at = root(s) + i * by; i < size; i++) {
                path[i + 1] = child(path[i], stack[at]);
                at += by;
            }

            leaf[s] = path[size];
        }
    }

    const self = new Float64Array(n);
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

    return { n, frame: frame.slice(0, n), parent: parent.slice(0, n),
             value, self, base, baseSelf, depth, frames: p.frames,
             unit: p.types[type].unit };
}


/*
 * One row a function, the greatest self first: what it spent itself and with
 * all it called.  A function that calls itself counts once a sample.
 */

export function top(p, type, opts = {}) {
    const keep = sieve(p, opts), { stack, start } = p, v = p.values[type];
    const rows = p.frames.map((f, i) => ({ frame: i, name: f.name,
                                           file: f.file, lines: f.lines,
                                           self: 0, total: 0, base: 0,
                                           seen: -1 }));

    for (let s = 0; s < start.length - 1; s++) {
        const from = start[s], to = start[s + 1];

        if (v[s] === 0 || from === to || !keep(from, to)) {
            continue;
        }

        const by = p.base?.[s] ? -v[s] : v[s];

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
    const keep = sieve(p, opts), { stack, start } = p, v = p.values[type];
    const me = p.frames.findIndex(f => f.name === name);
    const callers = new Map(), callees = new Map();
    const out = { name, self: 0, total: 0, callers: [], callees: [] };

    if (me < 0) {
        return out;
    }

    for (let s = 0; s < start.length - 1; s++) {
        const from = start[s], to = start[s + 1];

        if (v[s] === 0 || !keep(from, to)) {
            continue;
        }

        const by = p.base?.[s] ? -v[s] : v[s], up = new Set();
        const down = new Set();

        for (let i = from; i < to; i++) {
            if (stack[i] === me) {
                up.add(i > from ? stack[i - 1] : -1);
                down.add(i + 1 < to ? stack[i + 1] : -1);
            }
        }

        if (up.size === 0) {
            continue;
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
                            name: f < 0 ? '' : p.frames[f].name }))
                      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value));

    out.callers = rows(callers);
    out.callees = rows(callees);
    return out;
}


/* How much of the profile ends in a frame without a name, and in which
 * modules. */

export function unnamed(p, type) {
    const { stack, start } = p, v = p.values[type], modules = new Map();
    let bad = 0, all = 0;

    for (let s = 0; s < start.length - 1; s++) {
        const a = Math.abs(v[s]);

        all += a;

        if (start[s + 1] > start[s]) {
            const f = p.frames[stack[start[s + 1] - 1]];

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


/* --- numbers for people --- */

const TIME = [[60e9, 'min'], [1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']];
const BYTES = [[1024 ** 4, 'TiB'], [1024 ** 3, 'GiB'], [1024 ** 2, 'MiB'],
               [1024, 'KiB'], [1, 'B']];
const NANO = { nanoseconds: 1, microseconds: 1e3, milliseconds: 1e6,
               seconds: 1e9 };

const THIN = '\u202f';


function digits(x) {
    return x < 10 ? 2 : x < 100 ? 1 : 0;
}


/* Three digits and a unit: 1.42 s, 96 ms, 1.38 GiB, 612 804. */

export function format(value, unit = 'count') {
    const sign = value < 0 ? '\u2212' : '', a = Math.abs(value);
    let x = a, table = null;

    if (NANO[unit]) {
        x = a * NANO[unit];
        table = TIME;

    } else if (unit === 'bytes') {
        table = BYTES;
    }

    if (table === null) {
        const text = a >= 100 || Number.isInteger(a) ? String(Math.round(a))
                                                     : a.toFixed(digits(a));

        return sign + text.replace(/\B(?=(\d{3})+$)/g, THIN);
    }

    if (x === 0) {
        return '0' + (unit === 'bytes' ? ' B' : ' s');
    }

    /* 999.7 KiB is 1000 KiB when rounded: stay in the unit */

    const [by, name] = table.find(([k]) => x >= k) || table.at(-1);
    const y = x / by;

    return sign + (by === 1 && y >= 1 ? Math.round(y)
                                      : Number(y.toFixed(digits(y))))
           + ' ' + name;
}


export function percent(part, whole) {
    if (!whole || !part) {
        return '0%';
    }

    const x = 100 * part / whole, a = Math.abs(x);

    return (x < 0 ? '\u2212' : '')
           + a.toFixed(a >= 99.95 ? 0 : a < 0.1 && a > 0 ? 2 : 1) + '%';
}


/* Growth is what a reader looks for: + or a true minus in front. */

export function signed(value, unit) {
    return (value > 0 ? '+' : '') + format(value, unit);
}
