/*
 * What a flame graph is made of: sizes, colors, words, and which frames are to
 * be seen.  Draws nothing, and so runs under node too; canvas.js and svg.js
 * draw.
 */

import { format, percent, signed } from './units.js';

export const ROW = 20;                                  /* pixels */
const SLOTS = 12;


/* What a function belongs to: a Go package, a C++ namespace, else a file. */

export function packageOf(f) {
    if (!f.named) {
        return f.module.replace(/^.*\//, '');
    }

    const go = /^((?:.*\/)?[^/.(<: ]+)\.[^:]/.exec(f.name);

    if (go && !f.name.includes('::')) {
        return go[1];
    }

    return /^((?:\(anonymous namespace\)|[\w~]+))::/.exec(f.name)?.[1]
           ?? f.module.replace(/^.*\//, '');
}


/* What the colors tell apart: the kind of a row, by its frame. */

const KINDS = {
    package: packageOf,
    module: f => f.module.replace(/^.*\//, '') || '?',
    first: f => f.name
};


/* The rows below the root, by node: what "first" colors a frame by. */

function firstRows(t) {
    const out = new Int32Array(t.n);

    for (let k = 1; k < t.n; k++) {
        out[k] = t.parent[k] ? out[t.parent[k]] : t.frame[k];
    }

    return out;
}


/*
 * The heaviest of each kind have a color of their own, the others are gray:
 * { of(node) -> slot or -1, names: those that have one }.
 */

export function slots(t, by = 'package') {
    const frame = by === 'first' ? firstRows(t) : t.frame;
    const self = new Float64Array(t.frames.length).fill(-1);
    const weight = new Map();

    for (let k = 1; k < t.n; k++) {
        self[frame[k]] = Math.max(0, self[frame[k]]) + Math.abs(t.self[k]);
    }

    const kind = KINDS[by] ?? packageOf, names = t.frames.map(kind);

    names.forEach((p, i) => {
        if (self[i] >= 0) {
            weight.set(p, (weight.get(p) || 0) + self[i]);
        }
    });

    const order = [...weight].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1
                                                                         : 1))
                             .slice(0, SLOTS).map(([p]) => p);
    const slot = new Map(order.map((p, i) => [p, i]));
    const own = names.map(p => slot.get(p) ?? -1);

    return { of: k => own[frame[k]], names: order };
}


/* 12 hues, neighbors in weight far apart on the wheel */
export const hue = slot => slot * 150 % 360 + (slot >= 6 ? 15 : 0);


/*
 * How wide each frame is, of itself.  In a difference that is what changed in
 * it ("growth"), what it has now ("now"), or stacks that are no more ("gone").
 */

function widths(t, width) {
    const { n, self, baseSelf } = t, size = new Float64Array(n);

    for (let k = 0; k < n; k++) {
        size[k] = !t.base || width === 'now' ? Math.abs(self[k])
                : width === 'gone' ? self[k] === 0 ? Math.abs(baseSelf[k]) : 0
                : Math.abs(self[k] - baseSelf[k]);
    }

    return size;
}


/* Sizes and children of a tree. */

export function layout(t, width = 'growth') {
    const size = widths(t, width), first = new Int32Array(t.n + 1);
    const kids = new Int32Array(Math.max(0, t.n - 1));

    for (let k = t.n - 1; k > 0; k--) {
        size[t.parent[k]] += size[k];
    }

    for (let k = 1; k < t.n; k++) {
        first[t.parent[k] + 1]++;
    }

    for (let k = 0; k < t.n; k++) {
        first[k + 1] += first[k];
    }

    const fill = first.slice(), sorted = new Uint8Array(t.n);

    for (let k = 1; k < t.n; k++) {
        kids[fill[t.parent[k]]++] = k;
    }

    const children = k => {
        const c = kids.subarray(first[k], first[k + 1]);

        if (!sorted[k]) {
            sorted[k] = 1;

            if (c.length > 1) {
                c.sort((a, b) => size[b] - size[a] || a - b);
            }
        }

        return c;
    };

    return { size, children, hasChildren: k => first[k + 1] > first[k] };
}


/*
 * Calls paint(node, x, width, row, hit) for all that is to be seen of the part
 * below ZOOM; returns the number of rows.  HITS marks nodes that the search
 * found, BELOW those with a hit in or under them: a hit narrower than three
 * pixels is drawn three wide.
 */

export function walk(t, lay, zoom, width, paint, hits = null, below = null) {
    const path = [], seen = new Set();
    let rows = 0;

    for (let k = t.parent[zoom]; k >= 0; k = t.parent[k]) {
        path.push(k);
    }

    path.reverse();

    path.forEach((k, r) => paint(k, 0, width, r, hits?.[k]));

    const scale = lay.size[zoom] > 0 ? width / lay.size[zoom] : 0;
    const nodes = [zoom], xs = [0], depth = [path.length];

    while (nodes.length) {
        const k = nodes.pop(), r = depth.pop();
        let x = xs.pop(), w = k === zoom ? width : lay.size[k] * scale;

        if (w < 1) {
            const spot = r * 16384 + Math.floor(x / 3);

            if (hits?.[k] && !seen.has(spot)) {
                seen.add(spot);
                paint(k, x, 3, r, true);
                rows = Math.max(rows, r + 1);
            }

            w = 0;

        } else {
            paint(k, x, w, r, hits?.[k]);
            rows = Math.max(rows, r + 1);
        }

        for (const c of lay.children(k)) {
            const cw = lay.size[c] * scale;

            if (cw < 1 && !below?.[c]) {
                if (!below) {
                    break;                /* all that follow are smaller */
                }

            } else {
                nodes.push(c);
                xs.push(x);
                depth.push(r + 1);
            }

            x += cw;
        }
    }

    return rows;
}


/*
 * What of a name has room: all of it, then the short one, then the method
 * alone, then its start.
 */

export function fit(name, brief, width, measure) {
    if (width < 18) {
        return '';
    }

    if (measure(name) <= width) {
        return name;
    }

    if (brief !== name && measure(brief) <= width) {
        return brief;
    }

    const noPackage = brief.replace(/^[\w~]+(?:\.|::)(?=.)/, '');
    const bare = noPackage.replace(/^.*(?:\)\.|::)(?=[^)]+$)/, '');

    for (const s of [noPackage, bare]) {
        if (measure(s) <= width) {
            return s;
        }
    }

    let lo = 0, hi = bare.length;

    while (lo < hi) {
        const mid = lo + hi + 1 >> 1;

        if (measure(bare.slice(0, mid) + '…') <= width) {
            lo = mid;
        } else {
            hi = mid - 1;
        }
    }

    return lo >= 2 ? bare.slice(0, lo) + '…' : '';
}


/* Three steps of growth or decrease, by the share of all that changed. */

export function diffClass(t, lay, k) {
    const d = t.value[k] - t.base[k];
    const r = Math.abs(d) / (lay.whole || 1);
    const step = r > 0.25 ? 3 : r > 0.05 ? 2 : r > 0.002 ? 1 : 0;

    return step === 0 ? 'same' : (d > 0 ? 'up-' : 'dn-') + step;
}


/* "main.decodeOrder", "+108 MiB, 98.2%", "self +104 MiB" */

export function words(t, k, whole) {
    const f = k ? t.frames[t.frame[k]] : null, name = f ? f.name : 'all';

    if (t.base) {
        const d = t.value[k] - t.base[k], s = t.self[k] - t.baseSelf[k];

        return { name, value: signed(d, t.unit), share: percent(d, whole),
                 self: s ? 'self ' + signed(s, t.unit) : '',
                 now: `${format(t.base[k], t.unit)} → `
                      + format(t.value[k], t.unit) };
    }

    return { name, value: format(t.value[k], t.unit),
             share: percent(t.value[k], whole), now: '',
             self: t.self[k] ? 'self ' + format(t.self[k], t.unit) : '' };
}


/* What percentages are of: all that is there, or all that changed. */

export function wholeOf(t) {
    if (!t.base) {
        return t.value[0];
    }

    const d = t.value[0] - t.base[0];

    return d === 0 ? t.base[0] : Math.abs(d);
}


/* --- a node in a link --- */

/* Of every node, of the names from the root to it. */

function marks(t) {
    const own = t.frames.map(f => {
        let h = 0x811c9dc5;

        for (let i = 0; i < f.name.length; i++) {
            h = Math.imul(h ^ f.name.charCodeAt(i), 0x01000193);
        }

        return h;
    });
    const out = new Uint32Array(t.n);

    for (let k = 1; k < t.n; k++) {
        out[k] = Math.imul(out[t.parent[k]] ^ own[t.frame[k]], 0x01000193)
                 ^ out[t.parent[k]] >>> 15;
    }

    return out;
}


/* "main.decodeOrder~0c1d2e3f": the name, and which of those with it. */

export const nameOf = (t, k) => k > 0
    ? t.frames[t.frame[k]].name + '~'
      + marks(t)[k].toString(16).padStart(8, '0') : '';


/*
 * The node that is named so, be it of another profile: the one with the same
 * way to it, else the widest with that name, else the root.
 */

export function nodeOf(t, said) {
    const [, name, which] = /^([^]*)~([\da-f]{8})$/.exec(said ?? '')
                            ?? [0, said, ''];
    const frame = name ? t.frames.findIndex(f => f.name === name) : -1;
    const all = frame < 0 ? [] : marks(t), mark = parseInt(which || '0', 16);
    let best = 0;

    for (let k = 1; frame >= 0 && k < t.n; k++) {
        if (t.frame[k] === frame) {
            if (all[k] === mark) {
                return k;
            }

            if (best === 0 || t.value[k] > t.value[best]) {
                best = k;
            }
        }
    }

    return best;
}
