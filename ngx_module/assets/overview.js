/*
 * The overview, live: the server's table with rates, shares, memory and five
 * minutes of response time, the worst peer first.
 */

import { format, percent } from './profile.js';
import { ask, askProcess, peerKey, Rows } from './history.js';
import { el, root, Table } from './ui.js';

const MINUTE = 60;

/* the server judges; the worst first */
const STATES = ['down', 'hanging', 'failing', 'slow', 'up', 'idle', 'removed'];
const LOOK = { down: 'bad', hanging: 'bad', failing: 'bad', slow: 'warn',
               up: 'ok', idle: '', removed: '' };

/* with more peers than this there is less to draw of each, and less often */
const MANY = 64;

let pill, table, host, rows = new Rows(), fails = 0, memory = new Map();
let picture, shownLook;


export function start(main) {
    host = document.getElementById('peers') ?? main.appendChild(
               el('div', { id: 'peers', class: 'card scroll' }));
    pill = el('span', { class: 'pill', role: 'status' }, 'Connecting');

    const h1 = main.querySelector('h1');
    const head = el('div', { class: 'head' });

    h1.before(head);
    head.append(h1, pill);
    poll();

    askMemory();
}


async function poll() {
    try {
        rows.take(await ask({ step: 1, reach: peers() > MANY ? MINUTE : 300,
                              since: rows.since, kind: 'peer',
                              series: 99999 }));
        fails = 0;
        show();

    } catch {
        fails++;
        say('bad', 'Reconnecting');
    }

    setTimeout(poll, Math.min(15000, 1000 * 2 ** fails
                                     * Math.ceil(peers() / MANY / 4 || 1)));
}


const peers = () => host.querySelectorAll('tbody tr').length;


function say(cls, text) {
    pill.className = 'pill ' + cls;

    if (pill.textContent !== text) {
        pill.textContent = text;
    }
}


/* The processes' own words, some at a time; not every second. */

async function askMemory() {
    const list = [...rows.peers].flatMap(([g, peers]) => peers.map(p => [g,
                                                                        p]));

    await Promise.all(Array.from({ length: 4 }, async () => {
        for (let next; (next = list.shift()); ) {
            await askOne(...next);
        }
    }));

    setTimeout(askMemory, rows.last ? 10000 : 500);
}


async function askOne(group, peer) {
    const id = peerKey(group, peer), m = memory.get(id) ?? {};

    if (m.quiet > Date.now()) {
        return;
    }

    memory.set(id, m);

    try {
        const data = await askProcess(group, peer, Date.now() - 5000, 4000);

        m.rss = data.Process?.at(-1)?.Rss ?? data.BytesAllocated?.at(-1)?.Value;

    } catch {
        m.rss = undefined;
        m.quiet = Date.now() + 60000;
    }
}


/* --- one row a peer --- */

function judge(group, peer) {
    const key = peerKey(group, peer), from = Math.max(0, rows.t.length
                                                         - MINUTE);
    const col = k => (rows.get(key + k) ?? []).slice(from);
    const sum = k => col(k).reduce((n, v) => n + (v ?? 0), 0);
    const req = col('req'), seconds = req.filter(v => v !== null).length;
    const n = sum('req');

    /* the mean of the seconds' percentiles, by their requests */
    const mean = k => {
        let w = 0, x = 0;

        col(k).forEach((v, i) => {
            if (v !== null) {
                w += req[i];
                x += v * req[i];
            }
        });

        return w ? x / w : null;
    };

    return { group, peer, key, n, rate: seconds ? n / seconds : null,
             p50: mean('p50'), p99: mean('p99'),
             e4: n ? sum('s4xx') / n : null, e5: n ? sum('s5xx') / n : null,
             fail: n ? sum('fail') / n : null, s5: sum('s5xx'),
             failed: sum('fail'), inflight: col('inflight').at(-1),
             rss: memory.get(key)?.rss, spark: rows.get(key + 'p99') ?? [],
             ...rows.states.get(key) };
}


function show() {
    const list = [];

    for (const [group, peers] of rows.peers) {
        list.push(...peers.map(p => judge(group, p)));
    }

    if (list.length === 0) {
        say('', 'No upstream yet');
        return;
    }

    if (!table) {
        const first = !host.contains(document.activeElement);

        make();
        host.replaceChildren(table.table, table.note);

        if (!first) {
            host.focus();
        }
    }

    /* worst first, until a header was clicked */
    if (!table.sort) {
        const bad = p => STATES.indexOf(p.state);

        list.sort((a, b) => bad(a) - bad(b) || (b.fail + b.e5) - (a.fail
                                                                  + a.e5)
                            || (b.p99 ?? 0) - (a.p99 ?? 0));
    }

    table.set(list);

    const worst = STATES.find(s => list.some(p => p.state === s));
    const k = list.filter(p => p.state === worst).length;
    const all = list.length === 1 ? '1 peer' : list.length + ' peers';
    const busy = list.filter(p => p.state === 'up').length;

    /* who is only idle takes nothing away from the others */
    say(LOOK[worst],
        k === list.length
        ? list.length === 1 ? `The peer is ${worst}` : `All ${all} ${worst}`
        : worst === 'up' ? `All busy peers up, ${list.length - busy} idle`
                         : `${k} of ${all} ${worst}`);
    icon(LOOK[worst]).catch(() => shownLook = null);
}


/* The tab's picture carries the worst state. */

async function icon(look) {
    const link = document.querySelector('link[rel="icon"]');

    if (link && look !== shownLook) {
        shownLook = look;
        picture ??= await (await fetch(link.href)).text();
        link.href = 'data:image/svg+xml,' + encodeURIComponent(
            picture.replace('#1558d6', { bad: '#c3261f', warn: '#9a5b00' }[look]
                                       ?? '#1558d6'));
    }
}


function make() {
    const bad = (text, is, why) => is ? { content: text, bad: true,
                                          title: why } : text;
    const dash = (v, f) => v === null || v === undefined ? '–' : f(v);
    const seconds = v => format(v, 'seconds');
    const charts = p => new URL('charts/?' + new URLSearchParams({
        src: p.group + '/' + p.peer }), root()).href;
    const at = (p, ...more) => new URL(['pprof', p.group, p.peer].map(
        encodeURIComponent).join('/') + '/' + more.join('/'), root()).href;

    table = new Table([
        { key: 'peer', text: 'Peer', class: 'l mono', head: true,
          value: p => p.peer ?? '', cell: p => ({ content: el('a',
              { href: charts(p) }, p.peer) }) },
        { key: 'group', text: 'Upstream', class: 'l pc',
          value: p => p.group ?? '', cell: p => p.group },
        { key: 'state', text: 'State', class: 'l',
          value: p => STATES.length - STATES.indexOf(p.state),
          cell: p => el('span', { class: 'pill ' + LOOK[p.state] },
                        p.state) },
        { key: 'why', text: 'Why', class: 'l why',
          value: p => p.reason ?? '', cell: p => p.reason ?? '' },
        { key: 'p99', text: 'p99', value: p => p.p99,
          title: 'Mean of the last minute',
          cell: p => bad(dash(p.p99, seconds), p.state === 'slow',
                         p.reason) },
        { key: 'e5', text: '5xx', value: p => p.e5,
          title: 'Share of the last minute\'s requests',
          cell: p => bad(dash(p.e5, v => percent(v, 1)), p.s5 > 0,
                         'Any in the last minute') },
        { key: 'fail', text: 'No answer', value: p => p.fail,
          title: 'Refused, timed out or broken, of the last minute\'s tries',
          cell: p => bad(dash(p.fail, v => percent(v, 1)), p.failed > 0,
                         'Any in the last minute') },
        { key: 'rate', text: 'Requests', value: p => p.rate,
          cell: p => dash(p.rate, v => format(v) + ' /s') },
        { key: 'p50', text: 'p50', value: p => p.p50,
          cell: p => dash(p.p50, seconds) },
        { key: 'e4', text: '4xx', value: p => p.e4,
          cell: p => dash(p.e4, v => percent(v, 1)) },
        { key: 'inflight', text: 'Under way', value: p => p.inflight,
          cell: p => dash(p.inflight, v => String(v)) },
        { key: 'rss', text: 'Memory', value: p => p.rss,
          cell: p => dash(p.rss, v => format(v, 'bytes')) },
        { key: 'spark', text: 'p99, 5 min', class: 'l',
          cell: p => spark(p.spark) },
        { key: 'links', text: 'Look at', class: 'l',
          cell: p => ({ content: el('span', { class: 'links' },
              el('a', { href: at(p) }, 'profiles'), ' ',
              el('a', { href: new URL('pprof/view?' + new URLSearchParams({
                  src: `pprof/${encodeURIComponent(p.group)}/`
                       + `${encodeURIComponent(p.peer)}/heap` }),
                  root()).href }, 'heap'), ' ',
              el('a', { href: charts(p) }, 'charts')) }) }
    ], { caption: 'Every peer, the worst of the last minute first' });
    table.table.classList.add('cards');
}


function spark(values) {
    const v = values.slice(-300), w = 96, h = 22;
    const ns = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(ns, 'svg');
    const path = document.createElementNS(ns, 'path');
    const known = v.filter(x => x !== null);
    const max = Math.max(...known), from = 300 - v.length;
    let d = '', pen = false;

    v.forEach((x, i) => {
        if (x !== null) {
            d += `${pen ? 'L' : 'M'}${((from + i) / 300 * w).toFixed(1)} `
                 + (h - 1 - x / max * (h - 3)).toFixed(1);
        }

        pen = x !== null;
    });

    svg.setAttribute('viewBox', `0 0 ${w} ${h}`);
    svg.setAttribute('width', w);
    svg.setAttribute('height', h);
    svg.setAttribute('class', 'spark');
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', known.length
        ? `p99 of five minutes, at most ${format(max, 'seconds')}`
        : 'no requests');
    path.setAttribute('d', d);
    svg.append(path);
    return svg;
}
