/*
 * Which charts there are, of what is known: draws nothing, and so runs under
 * node too.
 *
 *   charts(known)        -> { list, defs, sum }
 *   thin(got, …)         fewer points, with what they hide
 *   gaps(data, step)     a gap is a gap
 *
 * KNOWN: { src, peers: Map of group -> [peer], servers, rows: Rows, process:
 * Map of "group/peer" -> Process }.  A chart is { id, title, unit, format,
 * scale, series: [{ name, color, dash, get() -> { t, v, lo, hi } }] }.
 */

import { peerKey } from './history.js';
import { shortPeers } from './ui.js';
import { format, percent } from './units.js';

export const COLORS = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6'];
export const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [4, 2], [1, 2]];
export const STATUS = ['s2xx', 's3xx', 's4xx', 's5xx'];

/* as many lines as have a color of their own */
export const LINES = COLORS.length;

export const number = v => v >= 1e6 ? (v / 1e6).toFixed(1) + ' M'
    : v >= 1e4 ? (v / 1e3).toFixed(1) + ' k'
    : v >= 100 || Number.isInteger(v) ? String(Math.round(v))
    : v >= 1 || v <= 0 ? v.toFixed(1)
                       : String(+v.toPrecision(2));
export const time = v => format(v, 'seconds');
export const bytes = v => format(v, 'bytes');
export const share = v => percent(v, 1).replace(/\.0%/, '%');

export const add = (a, b) => a + b, max = (a, b) => Math.max(a, b);

const known = v => v !== null && v !== undefined;


/* A unix socket's path has slashes of its own; a group's name has none. */

export function split(src) {
    const i = src.indexOf('/');

    return i < 0 ? [src, ''] : [src.slice(0, i), src.slice(i + 1)];
}


/* [[group, peer], …] of what is looked at */

export function looked(peers, src) {
    const [group, peer] = split(src), out = [];

    for (const [g, all] of peers) {
        if (!group || g === group) {
            all.filter(p => !peer || p === peer)
               .forEach(p => out.push([g, p]));
        }
    }

    return out;
}


/* --- where the numbers come from --- */

const columnOf = (rows, prefix, name) => () => {
    const get = k => rows.columns.get(prefix + k);

    return { t: rows.t, v: get(name), lo: get(name + '_min'),
             hi: get(name + '_max') };
};


/* Several columns as one: HOW makes one number of two. */

const summed = (rows, prefixes, name, how) => () => {
    const v = new Array(rows.t.length).fill(null);

    for (const p of prefixes) {
        const c = rows.columns.get(p + name) ?? [];

        for (let i = 0; i < c.length; i++) {
            if (known(c[i])) {
                v[i] = v[i] === null ? c[i] : how(v[i], c[i]);
            }
        }
    }

    return { t: rows.t, v };
};


/*
 * One series tells it exactly; of several, counts add up and for times the
 * slowest stands.
 */

function whole({ src, peers, servers, rows }, list) {
    const server = /^server:(.*)/.exec(src)?.[1], [, onePeer] = split(src);
    const groups = [...peers.keys()].map(g => `group\n${g}\n`);
    const parts = server !== undefined ? [`server\n${server}\n`]
        : onePeer ? list.map(p => peerKey(...p))
        : groups.length ? groups : servers.map(n => `server\n${n}\n`);

    return {
        exact: parts.length < 2,
        of: (name, how) => parts.length < 2
            ? columnOf(rows, parts[0] ?? 'none\n', name)
            : summed(rows, parts, name, how),

        /* what it was in the last three rows, without making all of them */
        last: (name, how) => {
            for (let i = rows.t.length - 1; i >= Math.max(0, rows.t.length
                                                             - 3); i--)
            {
                const x = parts.map(p => rows.columns.get(p + name)?.[i])
                               .filter(known);

                if (x.length) {
                    return x.reduce(how);
                }
            }

            return null;
        }
    };
}


/* --- one line a peer, or an upstream --- */

function lines({ src, peers, rows }, list, of) {
    const many = peers.size > 1 && !src;
    const short = shortPeers(list.slice(0, LINES).map(([, p]) => p));
    const all = many
        ? [...peers.keys()].map(g => ({ name: g, key: `group\n${g}\n` }))
        : list.map(p => ({ name: short.get(p[1]) ?? p[1],
                           key: peerKey(...p) }));
    const shown = all.slice(0, LINES), others = all.slice(LINES);

    return (name, alone) => [
        ...shown.map((l, i) => ({ name: l.name, color: COLORS[i],
                                  dash: DASHES[i],
                                  get: columnOf(rows, l.key, name) })),
        ...(others.length ? [{ name: `${others.length} more`,
                               color: 'text-2', dash: [2, 3],
                               get: summed(rows, others.map(l => l.key), name,
                                           add) }] : []),
        ...(all.length ? [] : [{ name: alone, color: 'c1', dash: [],
                                 get: of(name, add) }])];
}


/* What processes say: of one its own numbers, of several one each. */

function processLines({ src, peers, process }, list, one) {
    const some = list.slice(0, LINES), many = peers.size > 1 && !src;
    const short = shortPeers(some.map(([, p]) => p));
    const get = (id, name) => () => {
        const rows = process.get(id)?.sorted ?? [];

        return { t: rows.map(r => r.t), v: rows.map(r => r[name] ?? null) };
    };

    return (mine, name) => one && list.length
        ? mine.map(([text, k, color], i) => ({ name: text, color,
                                               dash: DASHES[i],
                                               get: get(list[0].join('/'),
                                                        k) }))
        : some.map((p, i) => ({ name: (many ? p[0] + ' ' : '')
                                      + short.get(p[1]),
                                color: COLORS[i], dash: DASHES[i],
                                get: get(p.join('/'), name) }));
}


/* --- the charts --- */

export function charts(view) {
    const list = looked(view.peers, view.src);
    const one = list.length === 1 || !!split(view.src)[1];
    const sum = whole(view, list), traffic = lines(view, list, sum.of);
    const process = processLines(view, list, one);
    const many = view.peers.size > 1 && !view.src;
    const by = many ? ', by upstream' : one ? '' : ', by peer';
    const each = ', by peer' + (list.length > LINES
        ? `: ${LINES} of ${list.length}` : '');
    const under = { name: 'in flight', color: 'c5', dash: [2, 3],
                    get: sum.of('inflight', add) };

    const defs = [
        { id: 'req', title: 'Requests', format: number,
          unit: 'per second' + by, series: traffic('req', 'all') },
        { id: 'lat', title: 'Response time', format: time, scale: 'log',
          unit: 'log scale' + (sum.exact ? '' : ', slowest upstream'),
          series: [['p50', 'c3'], ['p90', 'c1'], ['p99', 'c2']].map(
              ([k, c], i) => ({ name: k, color: c, dash: DASHES[i],
                                get: sum.of(k, max) })) },
        { id: 'status', title: 'Responses by status', format: number,
          scale: 'asinh', unit: 'per second, log-like',
          series: STATUS.map((k, i) => ({ name: k.slice(1),
                                          color: 's' + k[1], dash: DASHES[i],
                                          get: sum.of(k, add) })) },
        { id: 'mem', title: 'Memory', format: bytes, scale: 'bytes',
          unit: one ? 'of the process' : 'resident' + each,
          series: process([['RSS', 'rss', 'c1'],
                           ['heap in use', 'heap', 'c3'],
                           ['heap held', 'held', 'c4']], 'rss') },
        { id: 'cpu', title: 'CPU', format: share,
          unit: one ? 'of one core' : 'of one core, user' + each,
          series: process([['user', 'user', 'c1'],
                           ['system', 'sys', 'c2']], 'user') },
        one ? { id: 'thr', title: 'Threads, files, requests', format: number,
                unit: 'count',
                series: [...process([['threads', 'threads', 'c4'],
                                     ['open files', 'fds', 'c6']]), under] }
            : { id: 'thr', title: 'Requests under way', format: number,
                scale: 'asinh', unit: 'log-like' + by,
                series: traffic('inflight', 'all') }
    ];

    return { list, one, sum, defs: [...defs, ...more(view, list, one,
                                                     process)] };
}


/* What some processes say and others do not. */

function more({ process }, list, one, lines) {
    const said = one && list.length ? process.get(list[0].join('/'))?.sorted
                                      ?? [] : [];
    const out = [];

    if (said.some(r => r.goroutine !== undefined)) {
        out.push({ id: 'pprof', title: 'Profile counts', unit: 'entries',
                   format: number,
                   series: lines([['goroutine', 'goroutine', 'c1'],
                                  ['heap', 'heaps', 'c3'],
                                  ['mutex', 'mutex', 'c2'],
                                  ['block', 'block', 'c4'],
                                  ['threadcreate', 'created', 'c5']]) });
    }

    if (said.some(r => r.gc !== undefined)) {
        out.push({ id: 'gc', title: 'Garbage collector pauses',
                   unit: 'each', format: time,
                   series: lines([['pause', 'gc', 'c2']]) });
    }

    return out;
}


/* --- points --- */

/* The rows from LO to HI, and one more on each side: lines go to the edge. */

function range(t, lo, hi) {
    let from = 0, to = t.length;

    while (from < to && t[from] < lo) {
        from++;
    }

    while (to > from && t[to - 1] > hi) {
        to--;
    }

    return [Math.max(0, from - 1), Math.min(t.length, to + 1)];
}


/*
 * Where there are more than two points a pixel, one point is the mean of
 * several, and the band around it goes from the least to the greatest.  STEP
 * is the seconds between two rows.
 */

export function thin({ t, v, lo: low, hi: high }, lo, hi, pixels, step) {
    let [from, to] = range(t, lo, hi);
    const width = pixels * Math.min(1, (t[to - 1] - t[from]) / (hi - lo));
    const by = to - from > 2 * width && width > 0
               ? Math.ceil((to - from) / width) : 1;
    const band = by > 1 || !!low?.some(x => x !== null);

    if (!band) {
        const none = new Array(to - from).fill(null);

        return { t: t.slice(from, to), band, lo: none, hi: none,
                 v: v ? v.slice(from, to) : none };
    }

    const out = { t: [], v: [], lo: [], hi: [], band };

    /* aligned, or the picture would tremble from second to second */
    from -= by > 1 ? Math.round(t[from] / step) % by : 0;

    for (let i = from; i < to; i += by) {
        let sum = 0, n = 0, a = Infinity, b = -Infinity;

        for (let k = Math.max(0, i); k < Math.min(i + by, to); k++) {
            const x = v?.[k];

            if (known(x)) {
                sum += x;
                n++;
                a = Math.min(a, low?.[k] ?? x);
                b = Math.max(b, high?.[k] ?? x);
            }
        }

        out.t.push(t[Math.max(0, i)]);
        out.v.push(n ? sum / n : null);
        out.lo.push(n ? a : null);
        out.hi.push(n ? b : null);
    }

    return out;
}


/* A gap is a gap: no line from one end of it to the other. */

export function gaps(data, step) {
    const [t] = data;
    const most = step * Math.max(1, t.length > 2
        ? (t.at(-1) - t[0]) / (t.length - 1) / step * 3 : 1) + 1;

    for (let i = t.length - 1; i > 0; i--) {
        if (t[i] - t[i - 1] > most) {
            data.forEach((col, k) => col.splice(i, 0, k ? null
                                                        : t[i - 1] + 1));
        }
    }
}


/* What has no neighbor has no line either: a point then. */

export function alone(v, i0, i1) {
    const out = [];

    for (let i = i0; i <= i1; i++) {
        if (known(v[i]) && !known(v[i - 1]) && !known(v[i + 1])) {
            out.push(i);
        }
    }

    return out;
}
