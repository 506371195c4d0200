/*
 * Snapshots: profiles that nginx took and keeps, and how much each grew.
 *
 * GET pprof/kept/?json
 *
 * { "v": 1, "now": <milliseconds>,
 *   "enabled": true,             debug_snapshots is configured
 *   "error": null | "<why none can be written>",
 *   "planned": [{ "group", "peer", "kind", "every": <seconds>,
 *                 "left": <how many>, "next": <unix seconds> }],
 *   "kept": [{ "id": "<path below pprof/kept/>", "group", "peer", "kind",
 *              "time": <unix seconds>, "pid", "size", "by" }, …] }
 *                                newest first
 *
 * POST pprof/kept/               application/x-www-form-urlencoded:
 *   group, peer, kind, times (1), every (600 seconds)
 * 2xx when the first is kept and the others are planned, else a sentence.
 */

import { total } from './count.js';
import { ask } from './history.js';
import { decode } from './profile.js';
import { ago, clock, el, failure, kinds, root, setQuery, when }
    from './ui.js';
import { format, percent, signed } from './units.js';

const MEASURED = 40;                       /* profiles read for the table */
const COMPARED = 12;               /* peers whose growth is compared, at most */
const PAGE = 50;                                            /* rows at first */

let ui, kept = [], planned = [], now = 0, chosen = { base: null, to: null };
const size = new Map();


export async function start(main) {
    const h1 = main.querySelector('h1');

    ui = {
        source: el('select', { 'aria-label': 'Process', onchange: pick }),
        kind: el('select', { 'aria-label': 'Profile', onchange: pick },
                 ...kinds().filter(k => k.kept).map(
                     ({ name: k }) => el('option', { value: k }, k))),
        now: el('button', { type: 'button', class: 'primary',
                            onclick: () => take(1) }, 'Take one now'),
        more: el('button', { type: 'button', onclick: () => take(6) },
                 'Every 10 min, 6 times'),
        said: el('p', { role: 'status', class: 'muted', hidden: true }),
        banner: el('p', { class: 'banner bad', role: 'alert',
                          hidden: true }),
        body: el('tbody'),
        most: PAGE,
        left: el('button', { type: 'button', hidden: true, onclick: () => {
            ui.most = Infinity;
            draw();
        } }),
        growth: el('button', { type: 'button', class: 'primary',
                               onclick: show }, 'Show growth'),
        words: el('span', { class: 'muted words' }),
        empty: el('p', { class: 'empty' }, 'No snapshot of this yet.')
    };

    ui.table = el('div', { class: 'card' },
        el('div', { class: 'scroll', tabindex: '0', role: 'region',
                    'aria-label': 'Snapshots' },
           el('table', { class: 't' },
              el('caption', { class: 'sr' }, 'Snapshots, newest first'),
              el('thead', {}, el('tr', {},
                 ...[['Taken', 'l'], ['Age', 'pc'], ['In use', ''],
                     ['Growth', ''], ['Objects', 'pc'], ['Size', 'pc'],
                     ['Base', 'm'], ['Compare', 'm'], ['Open', 'l']].map(
                     ([t, c]) => el('th', { scope: 'col', class: c }, t)))),
              ui.body)),
        el('div', { class: 'toolbar' }, ui.growth, ui.words,
           el('span', { class: 'sp' }), ui.left));

    main.replaceChildren(
        el('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' },
           el('ol', {}, el('li', {}, el('a', { href: new URL('pprof/',
               root()).href }, 'Profiles')))),
        el('div', { class: 'head kept-head' }, h1, ui.source, ui.kind,
           el('span', { class: 'sp' }), ui.more, ui.now),
        ui.banner, ui.said, ui.table, ui.empty);

    await load(true);
    setInterval(() => load(false), 15000);
}


async function load(first) {
    let data;

    try {
        const res = await fetch(new URL('pprof/kept/?json', root()),
                                { cache: 'no-store' });

        if (!res.ok) {
            throw await failure(res);
        }

        data = await res.json();

    } catch (e) {
        fail(e.status === 404 ? 'nginx keeps no snapshots: the debug_snapshots'
                                + ' directive says where.'
                              : 'The list did not come: ' + e.message);
        ui.now.disabled = ui.more.disabled = !kept.length;
        return;
    }

    fail(data.error ? 'Nothing can be kept: ' + data.error
         : data.enabled === false ? 'nginx keeps no snapshots: the'
                                    + ' debug_snapshots directive says where.'
                                  : '');
    ui.now.disabled = ui.more.disabled = data.enabled === false;
    kept = data.kept ?? [];
    planned = data.planned ?? [];
    now = data.now / 1000;

    if (first) {
        await choices();
    }

    await draw();
}


function fail(text) {
    ui.banner.hidden = !text;

    if (ui.banner.textContent !== text) {
        ui.banner.textContent = text;
    }
}


async function choices() {
    const seen = new Set(kept.map(k => k.group + '/' + k.peer));
    const query = new URLSearchParams(location.search);

    try {
        const data = await ask({ step: 1, reach: 1 });

        data.series.filter(s => s.kind === 'peer')
                   .forEach(s => seen.add(s.upstream + '/' + s.peer));
    } catch {
        /* those of the list then */
    }

    const want = query.get('src') ?? await growing()
                 ?? (kept[0] ? kept[0].group + '/' + kept[0].peer : null);

    if (want) {
        seen.add(want);
    }

    ui.source.replaceChildren(...[...seen].sort().map(s => el('option',
        { value: s }, s.replace('/', ' '))));
    ui.source.value = want ?? [...seen].sort()[0] ?? '';
    ui.kind.value = query.get('kind') ?? kept[0]?.kind ?? 'heap';
}


/*
 * Whose memory grows most: as the overview saw it, else by the snapshots, the
 * newest of each peer against its oldest of the same process.
 */

async function growing() {
    try {
        const src = sessionStorage.getItem('debug-growing');

        if (kept.some(k => `${k.group}/${k.peer}` === src)) {
            return src;
        }
    } catch {
        /* by the snapshots then */
    }

    const peers = new Map();

    for (const k of kept.filter(x => x.kind === 'heap')) {
        const id = `${k.group}/${k.peer}`;

        peers.set(id, [...peers.get(id) ?? [], k]);
    }

    const grown = await Promise.all([...peers].filter(([, l]) => l.length > 1)
                                              .slice(0, COMPARED)
                                              .map(async ([id, list]) => {
        const old = list.findLast(k => k.pid === list[0].pid);
        const [a, b] = await Promise.all([measure(old), measure(list[0])]);

        return [id, (b.value ?? 0) - (a.value ?? 0)];
    }));

    return grown.sort((a, b) => b[1] - a[1])[0]?.[0];
}


function pick() {
    ui.most = PAGE;
    setQuery({ src: ui.source.value, kind: ui.kind.value });
    chosen = { base: null, to: null };
    draw();
}


const mine = () => kept.filter(k => k.group + '/' + k.peer
                                    === ui.source.value
                                    && k.kind === ui.kind.value);


async function take(times) {
    const [group, ...peer] = ui.source.value.split('/');

    ui.now.disabled = ui.more.disabled = true;
    say('Taking a snapshot…');

    try {
        const res = await fetch(new URL('pprof/kept/', root()), {
            method: 'POST',
            body: new URLSearchParams({ group, peer: peer.join('/'),
                                        kind: ui.kind.value, times,
                                        every: 600 })
        });

        if (!res.ok) {
            throw await failure(res);
        }

        say('');
        chosen = { base: null, to: null };

    } catch (e) {
        say('');
        fail('No snapshot was taken: ' + e.message);
        ui.now.disabled = ui.more.disabled = false;
        return;
    }

    await load(false);
}


function say(text) {
    ui.said.hidden = !text;
    ui.said.textContent = text;
}


/* In use and objects: read from the profiles, which are small. */

async function measure(k) {
    if (size.has(k.id)) {
        return size.get(k.id);
    }

    const m = { value: null, objects: null, unit: 'bytes' };

    try {
        const res = await fetch(new URL('pprof/kept/' + k.id, root()));
        const p = await decode(new Uint8Array(await res.arrayBuffer()));
        const of = name => p.types.findIndex(t => t.type === name);
        const v = of('inuse_space'), o = of('inuse_objects');
        const t = v >= 0 ? v : p.defaultType;

        m.value = total(p, t);
        m.unit = p.types[t].unit;
        m.objects = o >= 0 ? total(p, o) : null;

    } catch {
        /* its row says nothing then */
    }

    size.set(k.id, m);
    return m;
}


async function draw() {
    const list = mine(), at = ui.source.value + ui.kind.value;
    const plan = planned.filter(p => p.group + '/' + p.peer
                                     === ui.source.value
                                     && p.kind === ui.kind.value);

    if (plan.length) {
        say(`${plan[0].left} more to come, the next at ${clock(plan[0].next)}.`
            + ' This tab may be closed.');
    } else if (!ui.now.disabled) {
        say('');
    }

    ui.empty.hidden = list.length > 0;
    ui.table.hidden = list.length === 0;

    const got = await Promise.all(list.slice(0, MEASURED).map(measure));

    if (at !== ui.source.value + ui.kind.value) {
        return;
    }

    /* a process that started anew has not grown from what was before */
    if (!list.some(k => k.id === chosen.base)) {
        chosen.base = list.findLast(k => k.pid === list[0].pid)?.id;
    }

    if (!list.some(k => k.id === chosen.to)) {
        chosen.to = list[0]?.id;
    }

    const focus = document.activeElement?.id;

    ui.left.hidden = list.length <= ui.most;
    ui.left.textContent = `Show ${list.length - ui.most} older ones`;
    ui.body.replaceChildren(...list.slice(0, ui.most).map((k, i) => {
        const m = got[i];
        const before = list[i + 1]?.pid === k.pid ? got[i + 1] : null;
        const grown = m?.value !== null && before?.value !== null && before
                      ? m.value - before.value : null;
        const src = { src: 'pprof/kept/' + k.id };
        const radio = (name, what) => el('input', { type: 'radio', name,
            id: name + i, checked: chosen[name] === k.id,
            'aria-label': `${what} ${clock(k.time)}`,
            onchange: () => {
                chosen[name] = k.id;
                words();
            } });

        return el('tr', {},
            el('th', { class: 'l', scope: 'row',
                       title: (k.pid ? `process ${k.pid}, ` : '')
                              + `by ${k.by}` }, when(k.time)),
            el('td', { class: 'pc' }, ago(now - k.time)),
            el('td', {}, m?.value == null ? '–' : format(m.value, m.unit)),
            el('td', { class: grown > 0 ? 'pos' : grown < 0 ? 'neg' : '' },
               grown === null ? '–' : signed(grown, m.unit)),
            el('td', { class: 'pc' }, m?.objects == null ? '–'
                                      : format(m.objects)),
            el('td', { class: 'pc' }, format(k.size, 'bytes')),
            el('td', { class: 'm' }, radio('base', 'Base')),
            el('td', { class: 'm' }, radio('to', 'Compare')),
            el('td', { class: 'l' }, el('span', { class: 'links' },
                el('a', { href: new URL('pprof/view?'
                    + new URLSearchParams(src), root()).href,
                    'aria-label': 'Flame, ' + clock(k.time) }, 'Flame'),
                el('a', { href: new URL(src.src, root()).href,
                          download: true,
                          'aria-label': 'Download, ' + clock(k.time) },
                   'Download'))));
    }));

    if (focus) {
        document.getElementById(focus)?.focus();
    }

    words();
}


function words() {
    const list = mine(), a = list.find(k => k.id === chosen.base);
    const b = list.find(k => k.id === chosen.to);

    ui.growth.disabled = !a || !b || a === b;

    if (!a || !b || a === b) {
        ui.words.textContent = 'Growth is between two snapshots.';
        return;
    }

    const x = size.get(a.id), y = size.get(b.id);
    const gap = Math.abs(b.time - a.time);

    ui.words.textContent = `${when(a.time)} → ${when(b.time)}, `
        + `${gap < 90 ? gap + ' s' : Math.round(gap / 60) + ' min'} apart`
        + (x?.value && y?.value != null
           ? `, ${signed(y.value - x.value, y.unit)}`
             + ` (${percent(y.value - x.value, x.value)})` : '')
        + (a.pid !== b.pid ? '; not the same process, so this is no growth'
                           : '');
}


function show() {
    const url = new URL('pprof/view', root());

    url.searchParams.set('src', 'pprof/kept/' + chosen.to);
    url.searchParams.set('base', 'pprof/kept/' + chosen.base);
    location.href = url;
}
