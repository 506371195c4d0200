/*
 * profile.proto, unpacked, becomes a profile (profile.js says what that is).
 *
 * In three steps: where everything lies in the file; the places that samples
 * name; the samples, which are by far the most of it.
 *
 * Format: https://github.com/google/pprof/blob/main/proto/profile.proto
 */

import { addressName, Frames, pruner } from './frames.js';
import { ProfileError, Reader } from './reader.js';

const utf8 = new TextDecoder();


export function parse(bytes) {
    const raw = scan(bytes), str = strings(bytes, raw.strings);

    if (raw.types.length === 0) {
        throw new ProfileError('This is not a profile: it has no sample'
                               + ' types.');
    }

    const frames = new Frames(), places = locations(raw, str, frames);
    const { head } = raw, main = raw.mappings.values().next().value ?? [];
    const types = raw.types.map(t => ({ type: str(t[1]), unit: str(t[2]) }));
    const wanted = head[14] ? str(head[14]) : '';
    const found = types.findIndex(t => t.type === wanted);
    const prune = pruner(frames, str(head[7]), str(head[8]));

    return {
        types,
        defaultType: found >= 0 ? found : types.length - 1,
        hasDefault: found >= 0,
        ...frames.done(),
        ...samples(bytes, raw, places, prune, str),
        base: null,
        time: (head[9] || 0) / 1e6,                     /* milliseconds */
        duration: head[10] || 0,                        /* nanoseconds */
        period: head[12] || 0,
        periodType: { type: str(raw.periodType[1]),
                      unit: str(raw.periodType[2]) },
        comments: raw.comments.map(i => str(i)),
        file: str(main[5]),
        buildId: str(main[6])
    };
}


/* --- where everything lies --- */

/* Pairs of offsets, as many as there are. */

class Spans {
    constructor() {
        this.at = new Uint32Array(4096);
        this.n = 0;
    }

    add(from, to) {
        if (2 * this.n === this.at.length) {
            const old = this.at;

            this.at = new Uint32Array(old.length * 2);
            this.at.set(old);
        }

        this.at[2 * this.n] = from;
        this.at[2 * this.n + 1] = to;
        this.n++;
    }

    /* what is next to be read */

    take(r) {
        const n = r.size();

        this.add(r.p, r.p += n);
    }
}


/* messages by their field's number */

const MESSAGES = {
    1: (raw, r) => raw.types.push(r.fields()),
    2: (raw, r) => raw.samples.take(r),
    3: (raw, r) => {
        const m = r.fields();

        raw.mappings.set(m[1], m);
    },
    4: (raw, r) => raw.locations.push(location(r)),
    5: (raw, r) => {
        const f = r.fields();

        raw.functions.set(f[1], f);
    },
    6: (raw, r) => raw.strings.take(r),
    11: (raw, r) => {
        raw.periodType = r.fields();
    }
};


function scan(bytes) {
    const raw = { types: [], samples: new Spans(), mappings: new Map(),
                  locations: [], functions: new Map(), strings: new Spans(),
                  head: [], comments: [], periodType: [] };

    new Reader(bytes).each((field, wire, r) => {
        if (field === 13) {
            r.repeated(wire, q => raw.comments.push(q.int64()));

        } else if (wire === 2) {
            MESSAGES[field]?.(raw, r);

        } else if (wire === 0 && field < 16) {
            raw.head[field] = r.int64();
        }
    });

    return raw;
}


function location(r) {
    const n = r.size(), { end } = r, stop = r.end = r.p + n;
    const l = { id: 0, mapping: 0, addr: 0, lines: [] };

    r.each((f, w) => {
        if (f === 4 && w === 2) {
            l.lines.push(r.fields());

        } else if (w === 0 && f < 4) {
            const v = r.uint64();

            if (f === 1) {
                l.id = v;
            } else if (f === 2) {
                l.mapping = v;
            } else {
                l.addr = v;
            }
        }
    });

    r.p = stop;
    r.end = end;
    return l;
}


/*
 * The strings, each decoded when it is asked for: most are a byte a character,
 * and are cut out of one text that was decoded at once.
 */

function strings(bytes, { at, n }) {
    const known = [''], from = at[0];
    const text = n ? new TextDecoder('latin1').decode(
                         bytes.subarray(from, at[2 * n - 1])) : '';

    return (i = 0) => {
        let s = known[i];

        if (s !== undefined) {
            return s;
        }

        if (!(i < n)) {
            throw new ProfileError('The profile is damaged: it names string'
                                   + ` ${i} of ${n}.`);
        }

        s = text.slice(at[2 * i] - from, at[2 * i + 1] - from);

        /* what is no ASCII */
        if (/[^\0-\x7f]/.test(s)) {
            s = utf8.decode(bytes.subarray(at[2 * i], at[2 * i + 1]));
        }

        return known[i] = s;
    };
}


/* --- the places that samples name --- */

/*
 * Every location's sites, the leaf first: those of location number k are
 * site[first[k]] … site[first[k + 1] - 1]; dense and other lead from its id
 * to k.
 */

function locations({ locations: list, mappings, functions }, str, frames) {
    const dense = new Int32Array(list.length * 2 + 2).fill(-1);
    const other = new Map(), first = new Int32Array(list.length + 1);
    const site = [], files = new Map();

    list.forEach((l, k) => {
        expand(l, module(mappings.get(l.mapping), files, str), functions, str,
               frames, site);
        first[k + 1] = site.length;

        if (l.id < dense.length) {
            dense[l.id] = k;
        } else {
            other.set(l.id, k);
        }
    });

    return { dense, other, first, site: Int32Array.from(site) };
}


function module(m, files, str) {
    let f = files.get(m);

    if (f === undefined) {
        const file = m ? str(m[5]) : '';

        f = { file, buildId: m ? str(m[6]) : '', start: m?.[2],
              offset: m?.[4], prefix: file.replace(/^.*\//, '') + '+0x' };
        files.set(m, f);
    }

    return f;
}


function expand(l, mod, functions, str, frames, out) {
    const before = out.length;

    l.lines.forEach((line, i) => {
        const f = functions.get(line[1]);

        if (f === undefined) {
            if (line[1]) {
                throw new ProfileError('The profile is damaged: there is'
                                       + ` no function ${line[1]}.`);
            }

            return;
        }

        const name = str(f[2]) || str(f[3]);

        if (name) {

            /* libpprof's way to name what has none */
            const bare = name.startsWith(mod.prefix);

            out.push(frames.site(
                frames.add(name, str(f[4]), mod.file, mod.buildId, !bare),
                Number(line[2] || f[5] || 0), i < l.lines.length - 1 ? 1 : 0));
        }
    });

    if (out.length === before) {
        out.push(frames.site(frames.add(
            addressName(l.addr, mod.start, mod.offset, mod.file), '',
            mod.file, mod.buildId, false)));
    }
}


/* --- the samples --- */

/*
 * Sites, the root first, in an array that grows.  A number of a packed field
 * has a byte at least, so that with SIZE bytes of samples it rarely must.
 */

class Stack {
    constructor({ dense, other, first, site }, size) {
        Object.assign(this, { dense, other, first, site, n: 0,
                              at: new Int32Array(size) });
    }

    push(id) {
        let k = this.dense[id];

        if (!(k >= 0)) {
            k = this.other.get(id);

            if (k === undefined) {
                throw new ProfileError('The profile is damaged: there is no'
                                       + ` location ${id}.`);
            }
        }

        const { first, site } = this, to = first[k + 1];

        for (let i = first[k]; i < to; i++) {
            if (this.n === this.at.length) {
                const old = this.at;

                this.at = new Int32Array(this.n * 2 + 16);
                this.at.set(old);
            }

            this.at[this.n++] = site[i];
        }
    }

    /*
     * Those of a packed field, which are nearly all numbers of a profile: what
     * is rare goes to push().
     */

    packed(r) {
        const size = r.size(), stop = r.p + size, { b, end } = r;
        const { dense, first, site } = this;
        let { p } = r, { n, at } = this, room = at.length;

        while (p < stop) {
            const from = p;
            let id = b[p++], c = id;

            if (c > 127) {
                c = b[p++];
                id = id & 127 | (c & 127) << 7;

                for (let shift = 14; c > 127 && shift < 28; shift += 7) {
                    c = b[p++];
                    id |= (c & 127) << shift;
                }
            }

            const k = c < 128 && p <= stop ? dense[id] : -1, i = first[k];

            if (k >= 0 && first[k + 1] === i + 1 && n < room) {
                at[n++] = site[i];
                continue;
            }

            r.p = from;
            r.end = stop;
            this.n = n;
            this.push(r.uint64());
            r.end = end;
            ({ p } = r);
            ({ n, at } = this);
            room = at.length;
        }

        this.n = n;
        r.p = p;
    }

    reverse(from) {
        const { at } = this;

        for (let i = from, k = this.n - 1; i < k; i++, k--) {
            const x = at[i];

            at[i] = at[k];
            at[k] = x;
        }
    }
}


function samples(bytes, { samples: { at, n }, types }, places, prune, str) {
    const room = n ? at[2 * n - 1] - at[0] : 0;
    const stack = new Stack(places, room), start = new Uint32Array(n + 1);
    const values = types.map(() => new Float64Array(n));
    const labels = new Labels(n, str), r = new Reader(bytes);

    for (let i = 0; i < n; i++) {
        const from = stack.n;
        let had = 0;

        const value = () => {
            const v = r.int64();

            if (had < values.length) {
                values[had][i] = v;
            }

            had++;
        };

        r.p = at[2 * i];
        r.end = at[2 * i + 1];

        r.each((f, wire) => {
            if (f === 1 && wire === 2) {
                stack.packed(r);

            } else if (f === 1) {
                r.repeated(wire, () => stack.push(r.uint64()));

            } else if (f === 2) {
                r.repeated(wire, value);

            } else if (f === 3 && wire === 2) {
                labels.add(i, r.fields());
            }
        });

        if (had !== types.length) {
            throw new ProfileError('The profile is damaged: a sample has'
                                   + ` ${had} values for ${types.length}`
                                   + ' types.');
        }

        stack.reverse(from);

        if (prune) {
            stack.n = prune(stack.at, from, stack.n);
        }

        start[i + 1] = stack.n;
    }

    return { stack: stack.at.subarray(0, stack.n), start, values,
             labels: labels.list };
}


/*
 * What a sample has beside its stack: { key, texts, of }, where sample s has
 * texts[of[s]]; texts[0] is "", which is none.
 */

class Labels {
    constructor(n, str) {
        Object.assign(this, { n, str, list: [], at: new Map() });
    }

    add(sample, [, key, text, number, unit]) {
        let l = this.at.get(key);

        if (l === undefined) {
            l = { key: this.str(key), texts: [''], of: new Int32Array(this.n),
                  index: new Map([['', 0]]) };
            this.at.set(key, l);
            this.list.push(l);
        }

        const s = text ? this.str(text)
                       : `${number ?? 0}${unit ? ' ' + this.str(unit) : ''}`;
        let i = l.index.get(s);

        if (i === undefined) {
            l.index.set(s, i = l.texts.push(s) - 1);
        }

        l.of[sample] = i;
    }
}
