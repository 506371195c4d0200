/* What a profile can be compared with: snapshots, other peers, a file. */

import { costs, isKept, kindOf, source } from './sources.js';
import { el, root, when } from './ui.js';

/* lists that people can still read; the search narrows them */
const SHOWN = 12;


export async function compare(host, query, files) {
    const list = el('ul', { class: 'plain' },
                    el('li', { class: 'muted' }, 'Looking…'));
    const search = el('input', { type: 'search', placeholder: 'Peer',
                                 'aria-label': 'Peers, by name',
                                 oninput: () => show() });
    let items = [];

    const show = () => {
        const fit = items.filter(([text]) => text.includes(search.value));

        list.replaceChildren(
            ...fit.slice(0, SHOWN).map(([, a]) => el('li', {}, a)),
            ...(fit.length > SHOWN ? [el('li', { class: 'muted' },
                `and ${fit.length - SHOWN} more: search for them`)] : []),
            ...(fit.length ? [] : [el('li', { class: 'muted' },
                'There is no other profile of this kind here.')]));
    };

    host.replaceChildren(
        el('h2', {}, 'Show what changed since …'), search, list,
        el('label', { class: 'btn' }, 'a file',
           el('input', { type: 'file', class: 'sr', multiple: true,
                         onchange: e => files([...e.target.files]) })));

    const src = query.get('src') ? source(query.get('src')) : null;
    const kind = src ? kindOf(src) : '';

    items = [...await kept(src, kind), ...await peers(src, kind)];
    search.hidden = items.length <= SHOWN;
    show();
}


function other(base) {
    const url = new URL(location.href);

    for (const k of ['base', 'at', 'rec']) {
        url.searchParams.delete(k);
    }

    url.searchParams.append('base', base);
    return url.href;
}


/* Snapshots, of the same process first, the oldest of them first: that is
 * what it grew from. */

async function kept(src, kind) {
    const { dataset } = document.querySelector('main');

    if (dataset.kept === undefined) {
        return [];
    }

    try {
        const res = await fetch(new URL('pprof/kept/?json', root()),
                                { cache: 'no-store' });
        const all = res.ok ? (await res.json()).kept : [];
        const here = src && decodeURIComponent(src.pathname);
        const mine = k => here?.includes(`/${k.group}/${k.peer}/`) ? 0 : 1;

        return all.filter(k => (!kind || k.kind === kind)
                               && !here?.endsWith('/kept/' + k.id))
                  .sort((a, b) => mine(a) - mine(b) || a.time - b.time)
                  .map(k => [`${k.group} ${k.peer}`, el('a',
                      { href: other('pprof/kept/' + k.id) },
                      `the snapshot of ${when(k.time)}, ${k.group} ${
                      k.peer}`)]);

    } catch {
        return [];
    }
}


/* The same kind of other peers. */

async function peers(src, kind) {
    if (!kind || isKept(src)) {
        return [];
    }

    try {
        const res = await fetch(new URL('stats', root()),
                                { cache: 'no-store' });
        const stats = await res.json(), out = [];
        const here = decodeURIComponent(src.pathname);

        for (const [group, g] of Object.entries(stats.upstreams ?? {})) {
            for (const peer of Object.keys(g.peers ?? {})) {
                if (!here.includes(`/pprof/${group}/${peer}/`)) {
                    out.push([`${group} ${peer}`,
                              compareTo(src, `pprof/${group}/${peer}/${kind}`,
                                        `${group} ${peer}`)]);
                }
            }
        }

        return out;

    } catch {
        return [];
    }
}


function compareTo(src, base, name) {
    const both = costs(source(base));
    const q = both ? '?seconds=' + (src.searchParams.get('seconds') ?? 30)
                   : '';

    return el('a', { href: other(base + q), onclick: e => {
        try {
            sessionStorage.setItem('debug-record',
                                   new URL(e.target.href).search);
        } catch {
            /* the page will ask */
        }
    } }, (q ? 'record both: ' : '') + name);
}
