/*
 * The overview, live: the server's table with rates, shares, memory and five
 * minutes of response time, the worst peer first.  Of many peers those are
 * shown that somebody looks at: groups fold, a search narrows, pages turn, and
 * what is not shown is counted.
 */

import { ask, askProcess, incidents, peerKey, Rows } from './history.js';
import { arrange, fastest, FEW, grows, judge, rank, rising, STATES, states,
         trend, worse }
    from './peers.js';
import { spark } from './spark.js';
import { el, mayAsk, mayProfile, root, setQuery, Table } from './ui.js';
import { format, percent } from './units.js';

const LOOK = { down: 'bad', hanging: 'bad', failing: 'bad', slow: 'warn',
               up: 'ok', idle: '', removed: '' };

/* with more peers than this there is less to draw of each, and less often */
const MANY = 64;
/* rows of a page; on a phone a row is a card */
const PAGE = innerWidth > 760 ? 40 : 12;
/* processes asked at once, and for how long back at first */
const LANES = 4, BACK = 300;

let pill, table, host, tools, rows = new Rows(), fails = 0, picture, shownLook;
let memory = new Map(), folds = new Map(), search = '';


export function start(main) {
    host = document.getElementById('peers') ?? main.appendChild(
               el('div', { id: 'peers', class: 'card scroll' }));
    pill = el('span', { class: 'pill', role: 'status' }, 'Connecting');
    search = new URLSearchParams(location.search).get('q') ?? '';

    const h1 = main.querySelector('h1');
    const head = el('div', { class: 'head' });

    tools = {
        find: el('input', { type: 'search', placeholder: 'Find a peer',
                            'aria-label': 'Peers, by name, upstream or state',
                            value: search, oninput: e => {
            search = e.target.value;
            setQuery({ q: search });
            table.first = 0;
            show();
        } }),
        found: el('span', { class: 'muted', role: 'status' }),
        growing: el('p', { class: 'banner warn', hidden: true })
    };
    h1.before(head);
    head.append(h1, pill, el('span', { class: 'sp' }), tools.found,
                tools.find);
    head.after(tools.growing);
    tools.find.hidden = !search;
    poll();
    askMemory();
    askIncidents();
}


/* The last one of each peer, of the last hour. */

let trouble = new Map();

async function askIncidents() {
    trouble = new Map((await incidents(3600)).reverse().map(
        i => [peerKey(i.group, i.peer), i]));
    setTimeout(askIncidents, 10000);
}


const incident = p => {
    const i = trouble.get(peerKey(p.group, p.peer));

    return i ? [' ', el('a', { class: 'pill bad', title: i.text,
        href: new URL(`incidents/${i.id}/`, root()).href }, 'incident')] : [];
};


async function poll() {
    try {
        rows.take(await ask({ step: 1, reach: peers() > MANY ? 60 : BACK,
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


let count = 0;

const peers = () => count || host.querySelectorAll('tbody tr').length;


function say(cls, text) {
    pill.className = 'pill ' + cls;

    if (pill.textContent !== text) {
        pill.textContent = text;
    }
}


/* --- memory --- */

/*
 * The processes' own words, of those that are in sight, some at a time and not
 * every second.
 */

async function askMemory() {
    const list = (table?.shown ?? []).filter(p => p.peer && mayAsk(p.group));

    await Promise.all(Array.from({ length: LANES }, async () => {
        for (let next; (next = list.shift()); ) {
            await askOne(next.group, next.peer);
        }
    }));

    setTimeout(askMemory, rows.last ? 10000 : 500);
}


async function askOne(group, peer) {
    const id = peerKey(group, peer), m = memory.get(id) ?? { rows: [] };

    if (m.quiet > Date.now()) {
        return;
    }

    memory.set(id, m);

    try {
        const since = m.last ?? Date.now() - BACK * 1000;
        const data = await askProcess(group, peer, since, 4000);

        for (const x of data.Process ?? data.BytesAllocated ?? []) {
            if (x.Ts > since) {
                m.rows.push({ t: x.Ts / 1000, rss: x.Rss ?? x.Value });
                m.last = x.Ts;
            }
        }

        m.rows.splice(0, Math.max(0, m.rows.length - 3600));
        m.trend = trend(m.rows);

    } catch {
        m.rows = [];
        m.trend = null;
        m.quiet = Date.now() + 60000;
    }
}


/* Who grows most is what Snapshots and Compare begin with. */

function growing(list) {
    const p = fastest(list);

    tools.growing.hidden = !p;

    if (!p) {
        return;
    }

    const src = `${p.group}/${p.peer}`;

    if (tools.growing.dataset.src !== src) {
        tools.growing.dataset.src = src;
        tools.growing.replaceChildren(el('span'), ' ', el('a',
            { href: kept(p, 'heap'), hidden: !mayProfile(p.group) },
            'Hunt the leak'));
    }

    tools.growing.firstChild.textContent = `${src}: memory ${
        rising(p.memory)}, now ${format(p.memory.value, 'bytes')}.`;

    try {
        sessionStorage.setItem('debug-growing', src);
    } catch {
        /* then Snapshots looks for itself */
    }
}


const kept = (p, kind) => new URL(
    document.querySelector('main').dataset.kept === undefined
    ? 'pprof/view?' + new URLSearchParams({ src: profile(p, kind) })
    : 'pprof/kept/?' + new URLSearchParams({ src: `${p.group}/${p.peer}`,
                                             kind }), root()).href;

const profile = (p, kind) => ['pprof', p.group, p.peer, kind].map(
    encodeURIComponent).join('/');


/* --- the table --- */

const matches = p => !search || `${p.group} ${p.peer} ${p.state} ${
                                 p.reason ?? ''}`.toLowerCase()
                                .includes(search.toLowerCase());


function show() {
    const list = [];

    for (const [group, all] of rows.peers) {
        for (const peer of all) {
            const m = memory.get(peerKey(group, peer));

            list.push({ ...judge(rows, group, peer), memory: m?.trend,
                        rss: m?.rows.at(-1)?.rss, mem: m?.rows });
        }
    }

    count = list.length;

    if (count === 0) {
        say('', 'No upstream yet');
        return;
    }

    if (!table) {
        put();
    }

    const found = list.filter(matches);

    tools.find.hidden = count <= FEW && !search;
    tools.found.textContent = search ? `${found.length} of ${count}` : '';
    table.set(table.sort || search ? found.sort(worse)
              : arrange(found, { folds, heading }));
    verdict(list);
    growing(list);
}


function put() {
    const first = !host.contains(document.activeElement);

    make();
    host.replaceChildren(table.table, table.note);

    if (!first) {
        host.focus();
    }
}


/* A group's row: folds it, and says what is in it. */

function heading(group, list, open, hidden) {
    const worst = list[0].state, known = list.filter(p => p.rate !== null);
    const rate = known.reduce((n, p) => n + p.rate, 0);

    return el('span', { class: 'row' }, el('button', { type: 'button',
        class: 'link fold', 'aria-expanded': String(open), onclick: () => {
            folds.set(group, !open);
            show();
        } }, group),
        el('span', { class: 'pill ' + LOOK[worst] }, states(list)),
        el('span', { class: 'muted' }, known.length
            ? `${format(rate)} /s, sum` : ''),
        el('span', { class: 'muted' }, hidden ? `${hidden} hidden` : ''));
}


function verdict(list) {
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
              { href: charts(p), class: p.state === 'removed' ? 'removed'
                                                              : null },
              p.peer) }) },
        { key: 'group', text: 'Upstream', class: 'l pc',
          value: p => p.group ?? '', cell: p => p.group },
        { key: 'state', text: 'State', class: 'l',
          value: p => STATES.length - rank(p),
          cell: p => ({ content: el('span', {}, el('span', {
              class: 'pill ' + LOOK[p.state] }, p.state), ...incident(p)) }) },
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
        { key: 'rise', text: 'Memory, 5 min', class: 'l',
          title: 'Resident, from its least; the rise by a line through all'
                 + ' that this page has seen',
          value: p => p.memory?.rise ?? null,
          cell: p => p.mem?.length > 2 ? { bad: grows(p.memory),
              content: el('span', { class: 'rise' }, spark(
                  p.mem.map(x => x.rss), (known, max) =>
                  `memory of five minutes, at most ${format(max, 'bytes')}`,
                  { zero: false }), el('span', { class: 'muted' },
                  grows(p.memory) ? rising(p.memory) : '')) } : '–' },
        { key: 'spark', text: 'p99, 5 min', class: 'l',
          cell: p => spark(p.spark, (known, max) => known.length
              ? `p99 of five minutes, at most ${format(max, 'seconds')}`
              : 'no requests') },
        { key: 'links', text: 'Look at', class: 'l',
          cell: p => ({ content: el('span', { class: 'links' },
              ...(mayProfile(p.group) ? [
                  el('a', { href: at(p) }, 'profiles'), ' ',
                  el('a', { href: new URL('pprof/view?'
                      + new URLSearchParams({ src: profile(p, 'heap') }),
                      root()).href }, 'heap'), ' '] : []),
              el('a', { href: charts(p) }, 'charts')) }) }
    ], { caption: 'Every peer, the worst of the last minute first',
         page: true, max: PAGE });
    table.onsort = table.onpage = show;
    table.table.classList.add('cards');
}
