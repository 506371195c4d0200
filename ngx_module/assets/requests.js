/*
 * What is under way, twice a second, the oldest first.  A search goes over all
 * columns; it, too, is in the URL.  A click on a peer asks it where the thread
 * stands that serves the request.
 */

import { el, failure, root, setQuery, Table } from './ui.js';
import { format } from './units.js';

const WAYS = { request: 'in nginx', asking: 'sending the request',
               waiting: 'waiting for the answer',
               reading: 'reading the answer',
               sending: 'sending to the client' };
const PAGE = 100, MSEC = 500;

let pill, note, stack, table, found, search, fails = 0, rows = [];


export function start(main) {
    search = new URLSearchParams(location.search).get('q') ?? '';
    pill = el('span', { class: 'pill', role: 'status' }, 'Connecting');
    found = el('span', { class: 'muted', role: 'status' });
    note = el('p', { class: 'banner warn', hidden: true });
    stack = el('div', { role: 'region', 'aria-label': 'Stack' });

    const h1 = main.querySelector('h1'), head = el('div', { class: 'head' });

    h1.before(head);
    head.append(h1, pill, el('span', { class: 'sp' }), found,
        el('input', { type: 'search', placeholder: 'Find a request',
                      'aria-label': 'Requests, by route, peer, state or any'
                                    + ' other column', value: search,
                      oninput: e => {
            search = e.target.value;
            setQuery({ q: search });
            table.first = 0;
            show();
        } }));
    make();
    head.after(note, stack);
    document.getElementById('requests').replaceChildren(table.table,
                                                        table.note);
    poll();
}


async function poll() {
    try {
        const res = await fetch(new URL('requests?json', root()), {
            cache: 'no-store', signal: AbortSignal.timeout(8000) });

        if (!res.ok) {
            throw await failure(res);
        }

        const data = await res.json(), more = data.left_out
              + data.under_way - data.requests.length;

        rows = data.requests.map(r => ({ ...r, key: r.id,
            way: WAYS[r.state] ?? r.state, at: r.peer ? `${r.upstream}/${
            r.peer}` : r.upstream ?? '' }));
        note.hidden = !data.left_out;
        note.textContent = `${more} more are not shown: they found no room.`;
        fails = 0;
        say('ok', `${data.under_way + data.left_out} under way`);
        show();

    } catch {
        fails++;
        say('bad', 'Reconnecting');
    }

    setTimeout(poll, document.hidden ? 5000
                                     : Math.min(15000, MSEC * 2 ** fails));
}


function say(cls, text) {
    pill.className = 'pill ' + cls;

    if (pill.textContent !== text) {
        pill.textContent = text;
    }
}


function show() {
    const list = !search ? rows : rows.filter(r => `${r.route} ${r.method} ${
        r.path} ${r.server} ${r.at} ${r.way} ${r.client} ${r.id}`
        .toLowerCase().includes(search.toLowerCase()));

    found.textContent = search ? `${list.length} of ${rows.length}` : '';
    table.set(list);
}


/* One thread where the peer knows whose it is; else all, and that is said. */

async function open(r) {
    const head = text => stack.replaceChildren(el('h2', {}, `${r.id} at ${
                                                       r.at}`),
                                               el('p', {}, text));

    head('Asking …');

    try {
        let text = await get(link(r));

        /* what was read before anybody asked, the peer does not know */
        if (text.startsWith('no such request')) {
            text = await get(link(r).replace(/&id=.*/, ''));
        }

        head((text.match(/^(goroutine|thread) .*:$/gm)?.length ?? 0) > 1
             ? 'All threads of this peer: it does not say which one serves'
               + ' this request.' : '');
        stack.append(el('pre', { class: 'scroll', tabindex: '0' }, text));

    } catch (e) {
        head(e.message);
    }
}


async function get(url) {
    const res = await fetch(url, { cache: 'no-store' });

    if (!res.ok) {
        throw await failure(res);
    }

    return res.text();
}


const link = r => new URL(['pprof', r.upstream, r.peer, 'goroutine'].map(
    encodeURIComponent).join('/') + '?debug=2&id=' + r.id, root()).href;


function make() {
    const dash = v => v || '–', bytes = v => format(v, 'bytes');
    const column = (key, text, cell, left = true) => ({
        key, text, class: left ? 'l' : null, value: r => r[key], cell });

    table = new Table([
        column('age', 'Age', r => format(r.age, 'seconds'), false),
        column('route', 'Route', r => dash(r.route)),
        column('path', 'Request', r => `${r.method} ${r.path}${
                                                        r.cut ? '…' : ''}`),
        column('server', 'Server', r => dash(r.server)),
        column('at', 'Peer', r => r.peer ? { content: el('a', {
            href: link(r), title: 'Where its thread stands', onclick: e => {
                e.preventDefault();
                open(r);
            } }, r.at) } : dash(r.at)),
        column('way', 'State', r => r.way + (r.old ? ', old worker' : '')),
        column('tries', 'Tries', r => String(r.tries), false),
        column('received', 'Received', r => bytes(r.received), false),
        column('sent', 'Sent', r => bytes(r.sent), false),
        column('client', 'Client', r => dash(r.client)),
        column('id', 'Id', r => r.id)
    ], { caption: 'Every request under way, the oldest first', page: true,
         max: PAGE, sort: 'age' });
    table.onsort = table.onpage = show;
    table.table.classList.add('cards');
}
