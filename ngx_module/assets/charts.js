/*
 * Live charts.  The page polls; an open stream would keep an old worker alive
 * over a reload.
 *
 * What the server tells of traffic, and a peer of its process, is in
 * history.js.
 */

import { format, percent } from './profile.js';
import { ask, askProcess, peerKey, Rows } from './history.js';
import { clock, colors, el, root, segments, setQuery, shortPeers }
    from './ui.js';

const RANGES = [[60, '1 min'], [300, '5 min'], [900, '15 min'],
                [3600, '1 h'], [86400, '24 h']];
const HEIGHT = 168, DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [4, 2], [1, 2]];
const COLORS = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6'];
/* seconds between two times on an axis; below FINE seconds they have seconds */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
               10800, 14400, 21600, 43200], FINE = 150;
const STATUS = ['s2xx', 's3xx', 's4xx', 's5xx'];

const number = v => v >= 1e6 ? (v / 1e6).toFixed(1) + ' M'
                  : v >= 1e4 ? (v / 1e3).toFixed(1) + ' k'
                  : v >= 100 || Number.isInteger(v) ? String(Math.round(v))
                  : v >= 1 || v <= 0 ? v.toFixed(1)
                                     : String(+v.toPrecision(2));
const time = v => format(v, 'seconds');
const bytes = v => format(v, 'bytes');
const share = v => percent(v, 1).replace(/\.0%/, '%');
const some = f => v => v === null || v === undefined ? '–' : f(v);

let uPlot, main, ui, query, palette = {}, charts = [];

const live = {
    range: 300, src: '', zoom: null, paused: false, fails: 0, round: 0,
    rows: new Rows(), peers: new Map(), servers: [], process: new Map(),
    taken: []
};


export async function start(element) {
    main = element;
    query = new URLSearchParams(location.search);

    const range = Number(query.get('range'));


    live.range = RANGES.some(([s]) => s === range) ? range : 300;
    live.src = query.get('src') ?? '';

    const from = Number(query.get('from')), to = Number(query.get('to'));

    if (from > 0 && to > from) {
        live.zoom = [from, to];
    }

    /* only this page needs it */
    uPlot = (await import('./uPlot.js')).default;
    begin();
}


function begin() {
    pick();
    build();
    layout();
    poll();
    processes();
    snapshots();

    addEventListener('themechange', () => {
        pick();
        charts.forEach(c => c.plot.redraw(false));
    });
    addEventListener('visibilitychange', () => draw());
    addEventListener('keydown', keys);

    /* for the tests to look at */
    globalThis.__charts = { live, all: () => charts };
}


function pick() {
    palette = colors(...COLORS, 's2', 's3', 's4', 's5', 'text', 'text-2',
                     'line', 'border', 'accent', 'accent-soft');
}


/* --- the page's frame --- */

const TILES = [['req', 'Requests'], ['p99', 'Response time p99'],
               ['err', '5xx share'], ['rss', 'Memory'], ['cpu', 'CPU'],
               ['thr', 'Threads']];

function build() {
    const h1 = main.querySelector('h1') ?? el('h1', {}, 'Charts');

    ui = {
        pill: el('span', { class: 'pill', role: 'status' }, 'Connecting'),
        at: el('span', { class: 'muted at' }),
        source: el('select', { 'aria-label': 'Source', onchange: e => {
            live.src = e.target.value;
            setQuery({ src: live.src });
            restart();
        } }, el('option', { value: '' }, 'All upstreams')),
        range: segments('Range', RANGES, s => {
            live.range = s;
            live.zoom = null;
            restart();
            address();
        }),
        reset: el('button', { type: 'button', hidden: !live.zoom,
                              onclick: unzoom }, 'Reset zoom'),
        pause: el('button', { type: 'button', 'aria-pressed': 'false',
                              onclick: () => pause(!live.paused) }, 'Pause'),
        profiles: el('a', { class: 'btn', hidden: true }, 'Profiles'),
        banner: el('p', { class: 'banner bad', role: 'alert', hidden: true }),
        tiles: el('dl', { class: 'tiles' }),
        charts: el('div', { class: 'charts' }),
        marks: el('p', { class: 'muted hint', hidden: true }),
        since: el('p', { class: 'muted hint', hidden: true }),
        left: el('p', { class: 'banner warn', hidden: true }),
        dialog: el('dialog', { class: 'card', 'aria-labelledby': 'dt' })
    };

    for (const [id, text] of TILES) {
        ui[id] = el('dd', {}, '–');
        ui.tiles.append(el('div', { class: 'card tile' },
                           el('dt', {}, text), ui[id]));
    }

    ui.range.show(live.range);
    main.replaceChildren(
        el('div', { class: 'head charts-head' }, h1, ui.pill, ui.at,
           el('span', { class: 'sp' }), ui.source, ui.range, ui.reset,
           ui.profiles, ui.pause),
        ui.banner, ui.left, ui.tiles, ui.charts, ui.since, ui.marks,
        el('p', { class: 'muted hint' },
           'Drag on a chart to zoom all of them; double-click or Esc goes back'
           + ' to live. Space pauses, 1 to 5 choose the range.'),
        ui.dialog);
}


function keys(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || ui.dialog.open
        || e.target.closest('input, select, textarea'))
    {
        return;
    }

    if (e.key === ' ' && !e.target.closest('button, a')) {
        e.preventDefault();
        pause(!live.paused);

    } else if (e.key === 'Escape') {
        unzoom();

    } else if (/^[1-5]$/.test(e.key)) {
        ui.range.children[e.key - 1].click();
    }
}


function address() {
    setQuery({ range: live.range === 300 ? null : live.range,
               from: live.zoom && Math.round(live.zoom[0]),
               to: live.zoom && Math.round(live.zoom[1]) });
    ui.range.show(live.range);
    ui.reset.hidden = !live.zoom;
}


function unzoom() {
    live.zoom = null;
    address();
    draw(true);
}


function pause(on) {
    live.paused = on;
    ui.pause.setAttribute('aria-pressed', String(on));
    ui.pause.textContent = on ? 'Resume' : 'Pause';
    status();
    draw(true);
}


/* Said when it changes, not every second. */

function status() {
    const [cls, text] = live.fails ? ['bad', 'Reconnecting']
        : live.paused ? ['warn', 'Paused']
        : live.rows.last ? ['ok live', 'Live'] : ['', 'Connecting'];

    if (ui.pill.textContent !== text) {
        ui.pill.textContent = text;
    }

    ui.pill.className = 'pill ' + cls;
}


/* --- data --- */

const stepFor = range => range > 7200 ? 60 : range > 900 ? 10 : 1;

function restart() {
    live.rows = new Rows();
    live.seen = '';
    live.round++;
    layout();
    clearTimeout(live.timer);
    clearTimeout(live.ptimer);
    poll();
    processes();
}


async function poll() {
    const round = live.round, began = performance.now();
    const step = stepFor(live.range);

    /* a zoomed link may reach further back than its range */
    const reach = live.zoom ? Math.max(live.range, Date.now() / 1000
                                                   - live.zoom[0])
                            : live.range;

    try {
        const data = await ask({ step, reach, since: live.rows.since,
                                 src: live.src });

        if (round !== live.round) {
            return;
        }

        take(data);
        live.fails = 0;
        ui.banner.hidden = true;

    } catch (e) {
        if (round !== live.round) {
            return;
        }

        if (++live.fails > 1) {
            ui.banner.hidden = false;
            ui.banner.textContent = 'No data: '
                + (e.name === 'TypeError' ? 'the server does not answer'
                   : e.name === 'TimeoutError' ? 'no answer in 8 s'
                   : (e.status ? `HTTP ${e.status}, ` : '') + e.message)
                + '. The charts go on, the gap filled, when it answers.';
        }
    }

    status();
    draw();

    const every = Math.min(15000, (step === 1 ? 1000 : step * 500)
                                  * 2 ** Math.max(0, live.fails - 1));

    live.timer = setTimeout(poll, Math.max(100, every - (performance.now()
                                                         - began)));
}


function take(data) {
    const { rows } = live;

    rows.take(data);

    const left = rows.others.length;

    ui.left.hidden = !left;
    ui.left.textContent = `${left} more servers, upstreams and peers are not`
                          + ' drawn; the source can be one of them.';

    const seen = JSON.stringify([...rows.peers, ...rows.servers,
                                 ...rows.others]);

    if (seen === live.seen) {
        return;
    }

    live.seen = seen;
    live.peers = rows.peers;

    /* with a source the server tells of that one only: keep what is known */

    if (!live.src || !live.known) {
        live.known = new Map([...live.known ?? [], ...rows.peers]);
        live.servers = rows.servers.length ? rows.servers : live.servers;

        for (const { kind, upstream, peer, server } of rows.others) {
            if (kind === 'server') {
                live.servers = [...new Set([...live.servers, server])];

            } else {
                live.known.set(upstream, [...new Set(
                    [...live.known.get(upstream) ?? [], ...peer ? [peer] : []]
                )]);
            }
        }
    }

    sources();
    layout();
    clearTimeout(live.ptimer);
    processes();
}


function sources() {
    const options = [['', 'All upstreams']];

    for (const [group, peers] of live.known) {
        options.push([group, `${group} (${peers.length} peer`
                             + `${peers.length === 1 ? '' : 's'})`]);
        peers.forEach(p => options.push([group + '/' + p, '\u2003' + p]));
    }

    for (const name of live.servers) {
        options.push(['server:' + name, `Server ${name}`]);
    }

    if (live.src && !options.some(([v]) => v === live.src)) {
        options.push([live.src, live.src]);
    }

    ui.source.replaceChildren(...options.map(([value, text]) => el('option',
        { value }, text)));
    ui.source.value = live.src;
}


/* [[group, peer], …] of what is looked at */

function looked() {
    const [group, peer] = split(live.src), out = [];

    for (const [g, peers] of live.peers) {
        if (!group || g === group) {
            peers.filter(p => !peer || p === peer)
                 .forEach(p => out.push([g, p]));
        }
    }

    return out;
}


/* A unix socket's path has slashes of its own; a group's name has none. */

function split(src) {
    const i = src.indexOf('/');

    return i < 0 ? [src, ''] : [src.slice(0, i), src.slice(i + 1)];
}


/* --- what the processes say --- */

async function processes() {
    const round = live.round, list = looked().slice(0, 6);

    let slow = list.length > 1;

    await Promise.all(list.map(async ([group, peer]) => {
        const id = group + '/' + peer;
        const p = live.process.get(id) ?? { rows: new Map(), last: 0,
                                            quiet: 0, why: '', restarts: [] };

        live.process.set(id, p);

        if (p.quiet > Date.now()) {
            return;
        }

        try {
            const data = await askProcess(group, peer, p.last);

            merge(p, data);
            p.why = '';

            /* debugcharts knows no since and sends a day each time */
            slow ||= (data.BytesAllocated?.[0]?.Ts ?? Infinity) < p.before;

        } catch (e) {
            p.why = e.message;
            p.quiet = Date.now() + 30000;
        }
    }));

    if (round === live.round) {
        draw();
        live.ptimer = setTimeout(processes, slow ? 5000 : 1000);
    }
}


function merge(p, data) {
    const at = ts => {
        const t = Math.round(ts / 1000);
        let r = p.rows.get(t);

        if (r === undefined) {
            p.rows.set(t, r = { t });
        }

        return r;
    };

    p.before = p.last;

    for (const x of data.BytesAllocated ?? []) {
        at(x.Ts).heap = x.Value;
    }

    for (const x of data.CPUUsage ?? []) {
        Object.assign(at(x.Ts), { user: x.User, sys: x.Sys });
    }

    for (const x of data.GcPauses ?? []) {
        at(x.Ts).gc = x.Value / 1e9;
    }

    for (const x of data.Pprof ?? []) {
        Object.assign(at(x.Ts), { block: x.Block, goroutine: x.Goroutine,
                                  heaps: x.Heap, mutex: x.Mutex,
                                  created: x.Threadcreate });
    }

    for (const x of data.Process ?? []) {
        const r = at(x.Ts);

        Object.assign(r, { rss: x.Rss, held: x.HeapHeld, threads: x.Threads,
                           fds: x.Fds });

        if (x.HeapInUse !== undefined) {
            r.heap = x.HeapInUse;
        }

        if (p.pid && x.Pid && x.Pid !== p.pid) {
            p.restarts.push(r.t);
        }

        p.pid = x.Pid ?? p.pid;
    }

    /*
     * A process keeps a day of itself: what it begins with is its start, or
     * else older than anything that is looked at.  debugcharts tells all of
     * it each time, and no pid.
     */
    const first = Math.min(...['BytesAllocated', 'Process'].map(
        k => data[k]?.[0]?.Ts ?? Infinity)) / 1000;

    if (p.before === 0) {
        p.restarts = [first];

    } else if (!data.Process && first * 1000 > p.before
               && first < Infinity)
    {
        p.restarts.push(first);
    }

    for (const r of p.rows.values()) {
        p.last = Math.max(p.last, r.t * 1000);
    }

    /* a day is the most that is looked at */
    for (const t of p.rows.keys()) {
        if (t < p.last / 1000 - 86400) {
            p.rows.delete(t);
        }
    }

    p.sorted = [...p.rows.values()].sort((a, b) => a.t - b.t);
}


async function snapshots() {
    if (main.dataset.kept === undefined) {
        return;
    }

    try {
        const res = await fetch(new URL('pprof/kept/?json', root()),
                                { cache: 'no-store' });

        live.taken = res.ok ? (await res.json()).kept ?? [] : [];

    } catch {
        /* no snapshots, no marks */
    }

    setTimeout(snapshots, 60000);
}


/* --- which charts there are --- */

/*
 * A chart: { id, title, unit, format, scale, series: [{ name, color, dash,
 * get() -> { t, v, lo, hi } }] }
 */

function layout() {
    const list = looked(), [, onePeer] = split(live.src);
    const peers = list.slice(0, 6);
    const short = shortPeers(peers.map(([, p]) => p));
    const one = list.length === 1 || !!onePeer;
    const manyGroups = live.peers.size > 1 && !live.src;
    const label = ([g, p]) => (manyGroups ? g + ' ' : '') + short.get(p);
    const key = ([g, p]) => peerKey(g, p);

    const col = (prefix, name) => () => {
        const get = k => live.rows.columns.get(prefix + k);

        return { t: live.rows.t, v: get(name), lo: get(name + '_min'),
                 hi: get(name + '_max') };
    };

    const summed = (prefixes, name, how) => () => {
        const cols = prefixes.map(p => live.rows.columns.get(p + name))
                             .filter(Boolean);

        return { t: live.rows.t, v: live.rows.t.map((_, i) => {
            const x = cols.map(c => c[i]).filter(y => y !== null
                                                      && y !== undefined);

            return x.length ? how(x) : null;
        }) };
    };

    const add = x => x.reduce((a, b) => a + b, 0), max = x => Math.max(...x);
    const server = /^server:(.*)/.exec(live.src)?.[1];
    const groups = [...live.peers.keys()].map(g => `group\n${g}\n`);

    /* one series tells it exactly; of several, counts add up and for times
     * the slowest stands */
    const parts = server !== undefined ? [`server\n${server}\n`]
        : onePeer ? list.map(key)
        : groups.length ? groups
                        : live.servers.map(n => `server\n${n}\n`);
    const exact = parts.length < 2;
    const what = (name, how) => exact ? col(parts[0] ?? 'none\n', name)
                                      : summed(parts, name, how);

    const proc = (id, name, by = 1) => () => {
        const rows = live.process.get(id)?.sorted ?? [];

        return { t: rows.map(r => r.t),
                 v: rows.map(r => r[name] === undefined ? null
                                                        : r[name] * by) };
    };

    /* several upstreams: a line each; their peers are a choice away */
    const lines = manyGroups
        ? [...live.peers.keys()].map(g => ({ name: g, key: `group\n${g}\n` }))
        : list.map(p => ({ name: short.get(p[1]) ?? p[1], key: key(p) }));
    const shown = lines.slice(0, 6), others = lines.slice(6);
    const traffic = (name, alone) => [
        ...shown.map((l, i) => ({ name: l.name, color: COLORS[i],
                                  dash: DASHES[i], get: col(l.key, name) })),
        ...(others.length ? [{ name: `${others.length} more`,
                               color: 'text-2', dash: [2, 3],
                               get: summed(others.map(l => l.key), name,
                                           add) }] : []),
        ...(lines.length ? [] : [{ name: alone, color: 'c1', dash: [],
                                   get: what(name, add) }])];
    const each = ', by peer' + (peers.length < list.length
        ? `: ${peers.length} of ${list.length}` : '');
    const by = manyGroups ? ', by upstream' : one ? '' : ', by peer';

    const byPeer = name => peers.map((p, i) => ({ name: label(p),
        color: COLORS[i], dash: DASHES[i],
        get: proc(p.join('/'), name) }));

    const onePeerOr = (mine, name) => one && list.length
        ? mine.map(([n, k, c], i) => ({ name: n, color: c, dash: DASHES[i],
                                        get: proc(list[0].join('/'), k) }))
        : byPeer(name);

    const defs = [
        { id: 'req', title: 'Requests', format: number,
          unit: 'per second' + by, series: traffic('req', 'all') },
        { id: 'lat', title: 'Response time', format: time, scale: 'log',
          unit: 'log scale' + (exact ? '' : ', slowest upstream'),
          series: [['p50', 'c3'], ['p90', 'c1'], ['p99', 'c2']].map(
              ([k, c], i) => ({ name: k, color: c, dash: DASHES[i],
                                get: what(k, max) })) },
        { id: 'status', title: 'Responses by status', format: number,
          scale: 'asinh', unit: 'per second, log-like',
          series: STATUS.map((k, i) => ({ name: k.slice(1), color: 's'
                                          + k[1], dash: DASHES[i],
                                          get: what(k, add) })) },
        { id: 'mem', title: 'Memory', format: bytes, scale: 'bytes',
          unit: one ? 'of the process' : 'resident' + each,
          series: onePeerOr([['RSS', 'rss', 'c1'],
                             ['heap in use', 'heap', 'c3'],
                             ['heap held', 'held', 'c4']], 'rss') },
        { id: 'cpu', title: 'CPU', format: share,
          unit: one ? 'of one core' : 'of one core, user' + each,
          series: onePeerOr([['user', 'user', 'c1'], ['system', 'sys', 'c2']],
                            'user') },
        one
            ? { id: 'thr', title: 'Threads, files, requests', format: number,
                unit: 'count',
                series: [...onePeerOr([['threads', 'threads', 'c4'],
                                       ['open files', 'fds', 'c6']]),
                         { name: 'in flight', color: 'c5', dash: [2, 3],
                           get: what('inflight', add) }] }
            : { id: 'thr', title: 'Requests under way', format: number,
                scale: 'asinh', unit: 'log-like' + by,
                series: traffic('inflight', 'all') }
    ];

    const said = one && list.length
                 ? live.process.get(list[0].join('/'))?.sorted ?? [] : [];

    if (said.some(r => r.goroutine !== undefined)) {
        defs.push({ id: 'pprof', title: 'Profile counts', unit: 'entries',
                    format: number,
                    series: onePeerOr([['goroutine', 'goroutine', 'c1'],
                                       ['heap', 'heaps', 'c3'],
                                       ['mutex', 'mutex', 'c2'],
                                       ['block', 'block', 'c4'],
                                       ['threadcreate', 'created', 'c5']]) });
    }

    if (said.some(r => r.gc !== undefined)) {
        defs.push({ id: 'gc', title: 'Garbage collector pauses',
                    unit: 'each', format: time,
                    series: onePeerOr([['pause', 'gc', 'c2']]) });
    }

    live.sum = what;
    live.list = list;
    ui.profiles.hidden = !(one && list.length);

    if (one && list.length) {
        ui.profiles.href = new URL(['pprof', ...list[0]].map(
            encodeURIComponent).join('/') + '/', root()).href;
    }

    const shape = JSON.stringify(defs.map(d => [d.id, d.title, d.unit,
                                                d.series.map(s => s.name)]));

    if (shape === live.drawnShape) {
        charts.forEach((c, i) => c.series = defs[i].series);
        return;
    }

    live.drawnShape = shape;
    charts.forEach(c => c.plot.destroy());
    ui.charts.replaceChildren();
    charts = defs.map(make);
}


/* --- one chart --- */

const decades = (lo, hi) => {
    const out = [];

    for (let e = Math.floor(Math.log10(lo) + 0.001);
         10 ** e <= hi * 1.001; e++)
    {
        out.push(10 ** e);
    }

    return out;
};

const SCALES = {
    log: {
        scale: { distr: 3, range: (u, a, b) => {
            const lo = 10 ** Math.floor(Math.log10(a > 0 ? a : 0.001));
            const hi = 10 ** Math.ceil(Math.log10(b > 0 ? b : 1));

            return [lo, Math.max(hi, lo * 10)];
        } },
        splits: (u, i, lo, hi) => decades(lo, hi)
    },
    asinh: {
        scale: { distr: 4, asinh: 1, range: (u, a, b) =>
            [0, Math.max(10, 10 ** Math.ceil(Math.log10((b || 1) * 1.02)))] },
        splits: (u, i, lo, hi) => [0, ...decades(1, hi)]
    },
    bytes: {
        scale: { range: span },
        splits: (u, i, lo, hi) => {
            const by = 2 ** Math.ceil(Math.log2(Math.max((hi - lo) / 4, 1)));
            const out = [];

            for (let v = Math.ceil(lo / by) * by; v <= hi; v += by) {
                out.push(v);
            }

            return out;
        }
    },
    plain: { scale: { range: (u, a, b) => [0, b > 0 ? b * 1.12 : 1] } }
};

/* from zero unless that would hide the change */

function span(u, a, b) {
    if (b === null || b === undefined) {
        return [0, 1];
    }

    const hi = b <= 0 ? 1 : b + (b - Math.min(a, b / 2)) * 0.12;

    return [a < b / 2 ? 0 : Math.max(0, a - (b - a || b) * 0.25), hi];
}


function make(def) {
    const kind = SCALES[def.scale ?? 'plain'];
    const unit = el('span', { class: 'muted unit' }, def.unit);
    const legend = el('div', { class: 'legend', role: 'group',
                               'aria-label': def.title + ', series' });
    const box = el('div', { class: 'plot' });
    const note = el('p', { class: 'muted plot-note', hidden: true });
    const card = el('section', { class: 'card chart', 'data-id': def.id,
                                 'aria-label': def.title },
        el('div', { class: 'chart-title' }, el('h2', {}, def.title), unit,
           el('button', { type: 'button', class: 'link table-link',
                          'aria-label': `${def.title}: show as a table`,
                          onclick: () => table(c) }, 'Table')),
        legend, box, note);
    const c = { ...def, box, unitText: unit, note, values: [] };

    def.series.forEach((s, i) => {
        const svgns = 'http://www.w3.org/2000/svg';
        const sample = document.createElementNS(svgns, 'svg');
        const line = document.createElementNS(svgns, 'line');

        sample.setAttribute('width', 18);
        sample.setAttribute('height', 4);
        sample.setAttribute('aria-hidden', 'true');

        for (const [k, v] of [['x1', 0], ['x2', 18], ['y1', 2], ['y2', 2],
                              ['stroke-width', 2],
                              ['stroke-dasharray', s.dash.join(' ')]])
        {
            line.setAttribute(k, v);
        }

        line.style.stroke = `var(--${s.color})`;
        sample.append(line);
        c.values[i] = el('b', {}, '–');
        legend.append(el('button', { type: 'button', 'aria-pressed': 'true',
            onclick: e => {
                const on = e.currentTarget.getAttribute('aria-pressed')
                           !== 'true';

                e.currentTarget.setAttribute('aria-pressed', String(on));

                for (let k = 0; k < 3; k++) {
                    c.plot.setSeries(1 + i * 3 + k, { show: on });
                }
            } }, sample, s.name, c.values[i]));
    });

    ui.charts.append(card);

    const font = '11px system-ui, sans-serif';
    const axis = { font, stroke: () => palette['text-2'],
                   grid: { stroke: () => palette.line, width: 1 },
                   ticks: { show: false } };

    c.plot = new uPlot({
        width: Math.max(box.clientWidth, 200), height: HEIGHT,
        padding: [16, 8, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: 'charts' }, y: false,
                  drag: { x: true, y: false, setScale: false },
                  points: { size: 6 } },
        scales: { x: { time: true }, y: kind.scale },
        axes: [{ ...axis, size: 22, values: xValues,
                 incrs: u => STEPS.filter(s => isFine(u) || s >= 60),
                 space: u => isFine(u) ? 60 : 44 },
               { ...axis, size: 62, space: 26, gap: 6,
                 splits: kind.splits,
                 filter: (u, s) => s,
                 values: (u, s) => s.map(v => def.format(v)) }],
        series: [{}, ...def.series.flatMap(s => {
            const stroke = () => palette[s.color];
            const edge = { stroke: 'transparent', width: 0,
                           points: { show: false } };

            return [{ label: s.name, stroke, width: 1.6, dash: s.dash,
                      points: { show: false, filter: alone, size: 5 } },
                    edge, edge];
        })],
        bands: def.series.map((s, i) => ({
            series: [3 + i * 3, 2 + i * 3],
            fill: () => palette[s.color].replace(')', ' / 0.22)')
                                        .replace(/^rgb\((\d+), (\d+), (\d+)/,
                                                 'rgb($1 $2 $3')
        })),
        hooks: {
            setCursor: [u => values(c, u.cursor.idx)],
            setSelect: [u => {
                const { left, width } = u.select;

                u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);

                /* all charts say so, but after the first the scale is new */
                if (width > 6 && !live.zooming) {
                    live.zooming = true;
                    setTimeout(() => live.zooming = false);
                    live.zoom = [u.posToVal(left, 'x'),
                                 u.posToVal(left + width, 'x')];
                    address();
                    draw(true);
                }
            }],
            draw: [u => drawMarks(u)]
        }
    }, [[], ...def.series.flatMap(() => [[], [], []])], box);

    box.addEventListener('dblclick', unzoom);

    new ResizeObserver(() => {
        if (box.clientWidth && box.clientWidth !== c.plot.width) {
            c.plot.setSize({ width: box.clientWidth, height: HEIGHT });
            draw(true);
        }
    }).observe(box);

    return c;
}


/* What has no neighbor has no line either: a point then. */

function alone(u, si, show, gaps) {
    const v = u.data[si], [i0, i1] = u.series[0].idxs, out = [];
    const none = i => v[i] === null || v[i] === undefined;

    for (let i = i0; i <= i1; i++) {
        if (!none(i) && none(i - 1) && none(i + 1)) {
            out.push(i);
        }
    }

    return out;
}


const isFine = u => u.scales.x.max - u.scales.x.min <= FINE;

function xValues(u, splits) {
    const fine = isFine(u);

    const last = u.bbox.width / devicePixelRatio - (fine ? 18 : 8);

    /* a label that the edge would cut is none */
    return splits.map(t => u.valToPos(t, 'x') > last ? '' : clock(t, fine));
}


/* In a gutter above the plot, so that no label crosses a line. */

function drawMarks(u) {
    const c = u.ctx, dpr = devicePixelRatio, { left, top, width, height }
        = u.bbox;
    let free = left;

    c.save();
    c.font = `${10 * dpr}px system-ui, sans-serif`;
    c.textBaseline = 'bottom';
    c.textAlign = 'left';

    for (const m of allMarks()) {
        const x = u.valToPos(m.t, 'x', true);

        if (x < left || x > left + width) {
            continue;
        }

        c.strokeStyle = palette.border;
        c.setLineDash([3 * dpr, 3 * dpr]);
        c.beginPath();
        c.moveTo(x, top);
        c.lineTo(x, top + height);
        c.stroke();
        c.fillStyle = palette['text-2'];

        const w = c.measureText(m.text).width;
        const at = Math.min(x - w / 2, left + width - w);

        if (at >= free) {
            c.fillText(m.text, at, top - 2 * dpr);
            free = at + w + 6 * dpr;
        }
    }

    c.restore();
}


function allMarks() {
    const list = live.list ?? [];
    const out = live.rows.marks.filter(([, , group, peer]) => !group
        || list.some(([g, p]) => g === group && p === peer))
        .map(([t, text, , peer]) => ({ t, peer, text: text === 'profile'
                                                      ? 'CPU' : text,
                                       profile: !!peer }));

    for (const [g, p] of list) {

        /* whoever was there before this server was did not restart */
        for (const t of live.process.get(g + '/' + p)?.restarts ?? []) {
            if (t > live.rows.start + 3) {
                out.push({ t, text: 'restart', peer: p });
            }
        }

        for (const k of live.taken) {
            if (k.group === g && k.peer === p) {
                out.push({ t: k.time, text: k.kind, peer: p, id: k.id,
                           profile: true });
            }
        }
    }

    return out.sort((a, b) => a.t - b.t);
}


/*
 * Where there are more than two points a pixel, one point is the mean of
 * several, and the band around it goes from the least to the greatest.
 */

function thin(got, lo, hi, pixels) {
    const { t, v, lo: low, hi: high } = got;
    let from = 0, to = t.length;

    while (from < to && t[from] < lo) {
        from++;
    }

    while (to > from && t[to - 1] > hi) {
        to--;
    }

    /* one more on each side: lines go to the edge */
    from = Math.max(0, from - 1);
    to = Math.min(t.length, to + 1);

    const width = pixels * Math.min(1, (t[to - 1] - t[from]) / (hi - lo));
    const by = to - from > 2 * width && width > 0
               ? Math.ceil((to - from) / width) : 1;
    const out = { t: [], v: [], lo: [], hi: [] };
    const band = by > 1 || low?.some(x => x !== null);

    /* aligned, or the picture would tremble from second to second */
    from -= by > 1 ? Math.round(t[from] / live.rows.step) % by : 0;

    for (let i = from; i < to; i += by) {
        let sum = 0, n = 0, a = Infinity, b = -Infinity;

        for (let k = Math.max(0, i); k < Math.min(i + by, to); k++) {
            const x = v?.[k];

            if (x !== null && x !== undefined) {
                sum += x;
                n++;
                a = Math.min(a, low?.[k] ?? x);
                b = Math.max(b, high?.[k] ?? x);
            }
        }

        out.t.push(t[Math.max(0, i)]);
        out.v.push(n ? sum / n : null);
        out.lo.push(n && band ? a : null);
        out.hi.push(n && band ? b : null);
    }

    return out;
}


function draw(force = false) {
    if ((live.paused || document.hidden) && !force || !charts.length) {
        return;
    }

    if (!live.paused) {
        live.edge = live.rows.last || Math.floor(Date.now() / 1000) - 1;
    }

    /* what a process says may bring a chart more */
    layout();

    const hi = live.zoom?.[1] ?? live.edge;
    const lo = live.zoom?.[0] ?? live.edge - live.range;

    for (const c of charts) {
        const log = c.scale === 'log', got = c.series.map(s => s.get());
        const same = got.every(g => g.t === live.rows.t);
        const parts = got.map(g => thin(g, lo, hi, c.plot.bbox.width
                                        / devicePixelRatio || 300));
        let data;

        if (same || parts.length === 1) {
            data = [parts[0]?.t ?? [], ...parts.flatMap(p => [p.v, p.lo,
                                                              p.hi])];
        } else {
            data = uPlot.join(parts.map(p => [p.t, p.v, p.lo, p.hi]),
                              parts.map(() => [1, 1, 1, 1]));
        }

        if (log) {
            data = data.map((col, i) => i ? col.map(v => v > 0 ? v : null)
                                          : col);
        }

        gaps(data, c);

        c.plot.batch(() => {
            c.plot.setData(data, false);
            c.plot.setScale('x', { min: lo, max: hi });
        });

        if (!(c.plot.cursor.left >= 0)) {
            values(c, null);
        }

        const empty = data.slice(1).every(col => col.every(v => v === null
                                                       || v === undefined));

        c.note.hidden = !empty;

        if (empty) {
            const why = live.list?.map(([g, p]) => live.process.get(g + '/'
                                                               + p)?.why)
                                  .find(Boolean);
            const own = ['mem', 'cpu'].includes(c.id);

            c.note.textContent = !live.rows.last ? ''
                : own ? live.src.startsWith('server:')
                        ? 'A server has no process of its own.'
                        : 'The process says nothing of this'
                          + (why ? ': ' + why : '.')
                : c.id === 'gc' ? 'None in this time.'
                                : 'No requests in this time.';
        }

        const min = c.plot.scales.y.min;

        c.unitText.textContent = c.unit + (c.scale !== 'log' && min > 0
            ? `, axis from ${c.format(min)}` : '');
    }

    tiles();

    const late = live.rows.start > lo && live.rows.start <= hi;

    ui.since.hidden = !late;

    if (late) {
        ui.since.textContent = `Collecting since ${clock(live.rows.start)}. The`
                               + ' picture fills in from the right.';
    }

    const seen = allMarks().filter(m => m.t >= lo && m.t <= hi);

    ui.marks.hidden = seen.length === 0;
    ui.marks.replaceChildren('In view: ', ...seen.slice(-12).flatMap((m, i) =>
        [i ? ' · ' : '', m.id
            ? el('a', { href: new URL('pprof/view?' + new URLSearchParams(
                  { src: 'pprof/kept/' + m.id }), root()).href },
                 tell(m)) : tell(m)]));
}


const tell = m => `${clock(m.t)} ${m.text}${m.profile ? ' profile' : ''}`
                  + (m.peer ? ' of ' + m.peer : '');


/* A gap is a gap: no line from one end of it to the other. */

function gaps(data, c) {
    const [t] = data, step = live.rows.step * Math.max(1, t.length > 2
        ? (t.at(-1) - t[0]) / (t.length - 1) / live.rows.step * 3 : 1) + 1;

    if (c.series[0]?.get().t === live.rows.t) {
        return;
    }

    for (let i = t.length - 1; i > 0; i--) {
        if (t[i] - t[i - 1] > step) {
            data.forEach((col, k) => col.splice(i, 0, k ? null
                                                        : t[i - 1] + 1));
        }
    }
}


/* The legend at the cursor, or now. */

function values(c, i) {
    const t = c.plot.data[0];

    c.series.forEach((s, k) => {
        const col = c.plot.data[1 + k * 3];
        let v = i === null || i === undefined ? null : col[i];

        if (i === null || i === undefined) {
            for (let j = col.length - 1; j >= Math.max(0, col.length - 3)
                                         && v === null; j--)
            {
                v = col[j] ?? null;
            }
        }

        c.values[k].textContent = some(c.format)(v);
    });

    if (c === charts[0]) {
        ui.at.textContent = i === null || i === undefined ? ''
                            : 'at ' + clock(t[i]);
    }
}


function tiles() {
    const last = got => {
        for (let i = got.t.length - 1; i >= Math.max(0, got.t.length - 3);
             i--)
        {
            const v = got.v?.[i];

            if (v !== null && v !== undefined) {
                return v;
            }
        }

        return null;
    };

    const add = x => x.reduce((a, b) => a + b, 0), max = x => Math.max(...x);
    const what = (k, how = add) => last(live.sum(k, how)());
    const said = (live.list ?? []).map(([g, p]) => live.process.get(
                      g + '/' + p)?.sorted?.at(-1)).filter(Boolean);
    const of = (k, how) => {
        const x = said.map(r => r[k]).filter(v => v !== undefined);

        return x.length ? how(x) : null;
    };
    const req = what('req'), e5 = what('s5xx');
    const status = STATUS.map(k => what(k) ?? 0).reduce((a, b) => a + b, 0);
    const user = of('user', add), sys = of('sys', add);

    const set = (id, text, bad = false) => {
        const [, v, u] = /^(\S+)[ \u202f]?(\D*)$/.exec(text) ?? [0, text, ''];

        ui[id].replaceChildren(v, u ? el('small', {}, ' ' + u) : '');
        ui[id].className = bad ? 'pos' : '';
    };

    set('req', req === null ? '–' : number(req).replace(' ', '') + ' /s');
    set('p99', some(time)(what('p99', max)));
    set('err', e5 === null ? '–' : share(status ? e5 / status : 0),
        status > 0 && e5 / status >= 0.01);
    const rss = of('rss', add), threads = of('threads', add);
    const heap = of('heap', add), goroutines = of('goroutine', add);
    const label = (id, text) => ui[id].previousSibling.textContent = text;

    /* a Go program tells other things of itself */
    label('rss', rss === null && heap !== null ? 'Heap in use'
                                               : 'Memory, RSS');
    label('thr', threads === null && goroutines !== null ? 'Goroutines'
                                                         : 'Threads');

    set('rss', some(bytes)(rss ?? heap));
    set('cpu', user === null ? '–' : share(user + (sys ?? 0)));
    set('thr', some(number)(threads ?? goroutines));
}


/* The same numbers for those who do not see the picture. */

function table(c) {
    const [t] = c.plot.data, by = Math.max(1, Math.ceil(t.length / 60));
    const rows = [];
    const { min, max } = c.plot.scales.x;

    for (let i = t.length - 1; i >= 0; i -= by) {
        if (t[i] >= min && t[i] <= max) {
            rows.push(el('tr', {}, el('th', { class: 'l', scope: 'row' },
                                      clock(t[i])),
                         ...c.series.map((s, k) => el('td', {},
                             some(c.format)(c.plot.data[1 + k * 3][i])))));
        }
    }

    ui.dialog.replaceChildren(
        el('div', { class: 'head' }, el('h2', { id: 'dt' },
            `${c.title}, ${c.unitText.textContent}`),
           el('span', { class: 'sp' }),
           el('button', { type: 'button', onclick: () => ui.dialog.close() },
              'Close')),
        el('div', { class: 'scroll', tabindex: '0', role: 'region',
                    'aria-label': 'Table' },
           el('table', { class: 't' }, el('thead', {}, el('tr', {},
               el('th', { class: 'l', scope: 'col' }, 'Time'),
               ...c.series.map(s => el('th', { scope: 'col' }, s.name)))),
              el('tbody', {}, rows))));
    ui.dialog.showModal();
}
