/*
 * Live charts.  The page polls; an open stream would keep an old worker alive
 * over a reload.
 *
 * What the server tells of traffic, and a peer of its process, is in
 * history.js.
 */

import { ask, askProcess, incidents, Rows } from './history.js';
import { Chart, some } from './plot.js';
import { Process } from './process.js';
import { add, bytes, charts as chartsOf, COLORS, LINES, looked, max, number,
         share, STATUS, time }
    from './series.js';
import { clock, colors, el, mayAsk, mayProfile, root, segments, setQuery }
    from './ui.js';

const RANGES = [[60, '1 min'], [300, '5 min'], [900, '15 min'],
                [3600, '1 h'], [86400, '24 h']];
const MANY = 20;                       /* sources; of more one can search */

let main, ui, query, palette = {}, charts = [];

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
    page.uPlot = (await import('./uPlot.js')).default;
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
        find: el('input', { type: 'search', hidden: true,
                            placeholder: 'Find a source',
                            'aria-label': 'Find, by name',
                            oninput: () => sources() }),
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
           el('span', { class: 'sp' }), ui.find, ui.source, ui.range, ui.reset,
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

    /* a list that nobody reads to its end */
    const said = ui.find.value.toLowerCase();

    ui.find.hidden = options.length <= MANY;
    ui.source.replaceChildren(...options.filter(([value]) => !said || !value
        || value === live.src || value.toLowerCase().includes(said))
        .map(([value, text]) => el('option', { value }, text)));
    ui.source.value = live.src;
}


/* --- what the processes say --- */

async function processes() {
    const round = live.round;
    const list = looked(live.peers, live.src)
                 .filter(([group]) => mayAsk(group)).slice(0, LINES);
    let slow = list.length > 1;

    await Promise.all(list.map(async ([group, peer]) => {
        const id = group + '/' + peer, p = live.process.get(id)
                                           ?? new Process();

        live.process.set(id, p);

        if (p.quiet > Date.now()) {
            return;
        }

        try {
            const data = await askProcess(group, peer, p.last);

            p.take(data);
            p.why = '';
            slow ||= p.sendsAll(data);

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


async function snapshots() {
    live.incidents = await incidents(86400);

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


/* --- the charts --- */

const page = {
    palette: () => palette,
    marks: () => allMarks(),
    table: c => table(c),
    unzoom,
    resized: () => draw(true),

    hover(c, t) {
        if (c === charts[0]) {
            ui.at.textContent = t === null ? '' : 'at ' + clock(t);
        }
    },

    /* all charts say so, but after the first the scale is new */
    zoomed(from, to) {
        if (!live.zooming) {
            live.zooming = true;
            setTimeout(() => live.zooming = false);
            live.zoom = [from, to];
            address();
            draw(true);
        }
    }
};


/* Makes the charts that there are to be, unless they are there. */

function layout() {
    const { defs, list, one, sum } = chartsOf(live);

    live.sum = sum;
    live.list = list;
    ui.profiles.hidden = !(one && list.length && mayProfile(list[0][0]));

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
    charts = defs.map(def => new Chart(def, ui.charts, page));
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

        for (const i of live.incidents ?? []) {
            if (i.group === g && i.peer === p) {
                out.push({ t: i.time, text: 'incident', peer: p,
                           href: `incidents/${i.id}/` });
            }
        }

        for (const k of live.taken) {
            if (k.group === g && k.peer === p) {
                out.push({ t: k.time, text: k.kind, peer: p, profile: true,
                           href: 'pprof/view?' + new URLSearchParams(
                               { src: 'pprof/kept/' + k.id }) });
            }
        }
    }

    return out.sort((a, b) => a.t - b.t);
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
        if (c.seen) {
            const empty = !c.draw(lo, hi, live.rows);

            c.note.hidden = !empty;
            c.note.textContent = empty ? nothing(c) : '';
        }
    }

    tiles();
    since(lo, hi);
    inView(lo, hi);
}


/* Why a chart is empty. */

function nothing(c) {
    const why = live.list?.map(([g, p]) => live.process.get(g + '/' + p)?.why)
                          .find(Boolean);

    return !live.rows.last ? ''
        : ['mem', 'cpu'].includes(c.id)
          ? live.src.startsWith('server:')
            ? 'A server has no process of its own.'
            : 'The process says nothing of this' + (why ? ': ' + why : '.')
        : c.id === 'gc' ? 'None in this time.' : 'No requests in this time.';
}


function since(lo, hi) {
    ui.since.hidden = !(live.rows.start > lo && live.rows.start <= hi);

    if (!ui.since.hidden) {
        ui.since.textContent = `Collecting since ${clock(live.rows.start)}. The`
                               + ' picture fills in from the right.';
    }
}


function inView(lo, hi) {
    const seen = allMarks().filter(m => m.t >= lo && m.t <= hi);

    ui.marks.hidden = seen.length === 0;
    ui.marks.replaceChildren('In view: ', ...seen.slice(-12).flatMap((m, i) =>
        [i ? ' · ' : '', m.href
            ? el('a', { href: new URL(m.href, root()).href }, tell(m))
            : tell(m)]));
}


const tell = m => `${clock(m.t)} ${m.text}${m.profile ? ' profile' : ''}`
                  + (m.peer ? ' of ' + m.peer : '');


function tiles() {
    const what = (k, how = add) => live.sum.last(k, how);
    const said = (live.list ?? []).map(([g, p]) => live.process.get(
                      g + '/' + p)?.sorted?.at(-1)).filter(Boolean);
    const of = k => {
        const x = said.map(r => r[k]).filter(v => v !== undefined);

        return x.length ? x.reduce(add) : null;
    };
    const req = what('req'), e5 = what('s5xx');
    const status = STATUS.map(k => what(k) ?? 0).reduce(add);
    const user = of('user'), sys = of('sys');

    const set = (id, text, bad = false) => {
        const [, v, u] = /^(\S+)[ \u202f]?(\D*)$/.exec(text) ?? [0, text, ''];

        ui[id].replaceChildren(v, u ? el('small', {}, ' ' + u) : '');
        ui[id].className = bad ? 'pos' : '';
    };

    set('req', req === null ? '–' : number(req).replace(' ', '') + ' /s');
    set('p99', some(time)(what('p99', max)));
    set('err', e5 === null ? '–' : share(status ? e5 / status : 0),
        status > 0 && e5 / status >= 0.01);

    const rss = of('rss'), threads = of('threads');
    const heap = of('heap'), goroutines = of('goroutine');
    const sum = said.length > 1 ? `, sum of ${said.length}` : '';
    const label = (id, text) => ui[id].previousSibling.textContent = text;

    /* a Go program tells other things of itself */
    label('rss', (rss === null && heap !== null ? 'Heap in use'
                                                : 'Memory, RSS') + sum);
    label('cpu', 'CPU' + sum);
    label('thr', (threads === null && goroutines !== null ? 'Goroutines'
                                                          : 'Threads') + sum);
    label('p99', 'Response time p99' + (live.sum.exact ? '' : ', slowest'));

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
