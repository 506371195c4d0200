/*
 * The profiles' pages: the index of groups and peers, and one peer.
 *
 * Both begin as the server's list, which tells what there is: for each group
 * an <h2> and a <ul> with an item a peer, "name (backup) (down): links to its
 * kinds".  Here they get the state of each profiler, what the kinds mean, and
 * the button that records.
 */

import { command, el, failure, kinds, root, segments, Table } from './ui.js';

const path = (...parts) => parts.map(encodeURIComponent).join('/');

const viewer = (src, more = {}) => {
    const url = new URL('pprof/view', root());

    for (const s of [src].flat()) {
        url.searchParams.append('src', s);
    }

    for (const [k, v] of Object.entries(more)) {
        url.searchParams.set(k, v);
    }

    return url;
};


/* To the viewer, with leave to record once. */

function record(sources) {
    const url = viewer(sources);

    try {
        sessionStorage.setItem('debug-record', url.search);
    } catch {
        /* the viewer will ask */
    }

    location.href = url;
}


export function start(element) {
    return element.dataset.page === 'peer' ? peer(element) : index(element);
}


/* --- the index --- */

/* The server's list: [{ group, peers: [{ name, notes, kinds }] }]. */

function listed(element) {
    return [...element.querySelectorAll('h2')].map(h2 => {
        const group = h2.textContent, peers = [];

        for (const li of h2.nextElementSibling?.children ?? []) {
            const links = [...li.querySelectorAll('a')];

            if (links.length) {
                const head = links[0].previousSibling.textContent;
                const [, name, notes] = /^\s*(.*?)((?: \(\w+\))*):\s*$/s
                                        .exec(head);

                peers.push({ name, notes: notes.match(/\w+/g) ?? [],
                             kinds: links.map(a => a.textContent) });
            }
        }

        return { group, peers };
    });
}


/* peers of a group that are seen at once, and groups */
const PAGE = 15, GROUPS = 20;


function index(element) {
    const h1 = element.querySelector('h1');
    const groups = listed(element).filter(g => g.peers.length);
    const all = groups.reduce((n, g) => n + g.peers.length, 0);

    if (groups.length === 0) {
        return;
    }

    const intro = el('p', { class: 'muted' },
        'A profile comes straight from the process that you choose.'
        + ' Several of one upstream can be seen as one picture. ',
        el('a', { href: new URL('pprof/view', root()).href },
           'Open a file'), '.');
    const boxes = groups.map(g => new Group(g, all <= PAGE));
    const left = el('p', { class: 'muted', role: 'status' });
    const find = el('input', { type: 'search', placeholder: 'Find a peer',
                               'aria-label': 'Peers, by name or upstream',
                               oninput: () => show() });

    const show = () => {
        let n = 0, hidden = 0;

        for (const b of boxes) {
            const some = b.filter(find.value);

            b.box.hidden = !some || n >= GROUPS;
            hidden += some && b.box.hidden ? 1 : 0;
            n += some ? 1 : 0;
        }

        left.textContent = hidden ? `${hidden} more upstreams: search for`
                                    + ' them.' : '';
    };

    find.hidden = all <= PAGE;
    element.replaceChildren(el('div', { class: 'head' }, h1,
                               el('span', { class: 'sp' }), find), intro,
                            ...boxes.map(b => b.box), left);
    show();
}


/*
 * One upstream: it folds, a page of its peers is seen at a time, and only those
 * in sight are asked whether they have a profiler.
 */

class Group {
    constructor({ group, peers }, open) {
        this.group = group;
        this.rows = peers.map(p => ({ ...p, key: p.name }));
        this.table = new Table([
            { key: 'name', text: 'Peer', class: 'l mono', head: true,
              cell: p => el('a', { href: new URL(this.at(p), root()).href },
                            p.name) },
            { key: 'state', text: 'Profiler', class: 'l wrap',
              cell: p => p.state ??= this.ask(p) },
            { key: 'open', text: 'Open', class: 'l wrap',
              cell: p => el('span', { class: 'links' },
                  ...['heap', 'goroutine', 'mutex'].filter(
                      k => p.kinds.includes(k)).map(k => el('a',
                      { href: viewer(this.at(p) + k).href }, k))) }
        ], { page: true, max: PAGE, caption: group });

        const each = kind => peers.slice(0, PAGE).map(
            p => this.at(p) + kind);
        const many = peers.length > PAGE ? `The first ${PAGE}`
                                         : `All ${peers.length}`;

        this.body = el('div', { class: 'card scroll', tabindex: '0',
                                role: 'region', 'aria-label': group },
                       this.table.table, this.table.note);
        this.box = el('details', { class: 'block', open },
            el('summary', {}, el('h2', {}, group), ' ',
               el('span', { class: 'muted' }, `${peers.length} peer`
                  + (peers.length === 1 ? '' : 's'))),
            this.body,
            peers.length > 1 ? el('div', { class: 'row' },
                el('span', { class: 'muted' }, `${many} as one:`),
                el('button', { type: 'button', onclick: () => record(
                    each('profile?seconds=10')) }, 'Record CPU, 10 s'),
                el('a', { class: 'btn', href: viewer(each('heap')).href },
                   'heap')) : null);
        this.box.addEventListener('toggle', () => this.draw());
    }

    at(p) {
        return `pprof/${path(this.group, p.name)}/`;
    }

    /* Whether any of it is what was searched. */

    filter(text) {
        const mine = this.group.includes(text);

        this.fit = this.rows.filter(p => mine || p.name.includes(text));
        this.table.first = 0;

        if (text && !mine && this.fit.length) {
            this.box.open = true;
        }

        this.draw();
        return this.fit.length > 0;
    }

    draw() {
        if (this.box.open) {
            this.table.set(this.fit);
        }
    }

    ask(p) {
        const cell = el('span', {}, '…');

        probe(this.group, p.name).then(s => cell.replaceChildren(
            el('span', { class: 'pill ' + (s.ok ? 'ok' : '') },
               s.ok ? 'answers' : 'no profiler'), ' ',
            ...p.notes.map(n => el('span', { class: n === 'default'
                ? 'pill' : 'pill warn' }, n)),
            ' ', el('span', { class: 'muted' }, s.text)));
        return cell;
    }
}


/* Is there a profiler?  The command line costs a process nothing. */

async function probe(group, name) {
    try {
        const res = await fetch(new URL(`pprof/${path(group, name)}/cmdline`,
                                        root()),
                                { cache: 'no-store',
                                  signal: AbortSignal.timeout(5000) });

        if (!res.ok) {
            const e = await failure(res);

            return { ok: false, status: e.status, text: e.message };
        }

        const line = (await res.text()).split(/[\0\n]/)[0];
        const pid = res.headers.get('x-pprof-pid');
        const build = res.headers.get('x-pprof-build-id');

        return { ok: true, text: [line.slice(0, 200), pid && `pid ${pid}`,
                                  build && `build ${build.slice(0, 12)}`]
                                 .filter(s => s).join(' \u00b7 ') };

    } catch (e) {
        return { ok: false, text: e.name === 'TimeoutError'
                                  ? 'no answer in 5 s' : e.message };
    }
}


/* --- one peer --- */

async function peer(element) {
    const parts = location.pathname.slice(root().pathname.length)
                                   .split('/').map(decodeURIComponent);
    const [, group] = parts, name = parts.slice(2).join('/').replace(/\/$/,
                                                                     '');
    const at = `pprof/${path(group, name)}/`;
    const pill = el('span', { class: 'pill' }, 'Asking');
    const said = el('span', { class: 'muted mono' });
    let seconds = 30;

    const choice = segments('Seconds', [5, 10, 30, 60].map(s => [s, s + ' s']),
                            s => {
        seconds = s;
        choice.show(s);
        cmd.set(line(`profile?seconds=${s}`));
    });

    const line = rest => "go tool pprof -http=: '"
                         + new URL(at + rest, root()).href + "'";
    const cmd = command(line('profile?seconds=30'), 'Command, CPU');
    const heap = command(line('heap'), 'Command, heap');
    const [{ peers: [mine] = [] } = {}] = listed(element);
    const shown = kinds().filter(k => k.kept && !k.seconds
                                      && (mine?.kinds.includes(k.name)
                                          ?? true));

    /* those that nginx does not know: a program's own */
    const known = new Set(kinds().map(k => k.name));

    shown.push(...(mine?.kinds ?? []).filter(k => !known.has(k)).map(name =>
        ({ name, about: 'The program\u2019s own' })));

    const link = (href, label, kind) => el('a', { href,
        'aria-label': `${label}, ${kind}` }, label);
    const rows = shown.map(({ name: k, about }) => el('tr', {},
        el('th', { class: 'l wrap', scope: 'row' },
           el('span', { class: 'mono' }, k),
           el('span', { class: 'muted meaning' }, about)),
        el('td', { class: 'l wrap' }, el('span', { class: 'links' },
            link(viewer(at + k).href, 'Flame', k),
            link(viewer(at + k, { view: 'top' }).href, 'Top', k),
            element.dataset.kept === undefined ? null
            : link(new URL('pprof/kept/?' + new URLSearchParams(
                { src: `${group}/${name}`, kind: k }), root()).href,
                 'Snapshots', k),
            link(new URL(at + k, root()).href, 'Download', k),
            link(new URL(at + k + '?debug=1', root()).href, 'Text', k)))));

    choice.show(seconds);

    const box = el('section', { class: 'card box', 'aria-label': 'Record' },
        el('h2', {}, 'Record'),
        el('div', { class: 'row' }, choice,
           el('button', { type: 'button', class: 'primary', onclick: () =>
               record(`${at}profile?seconds=${seconds}`) }, 'Record CPU'),
           shown.some(k => k.name === 'heap')
           ? el('button', { type: 'button', onclick: () =>
                 record(`${at}heap?seconds=60`) }, 'Memory growth over 60 s')
           : null),
        el('p', { class: 'muted' }, 'The process is sampled while it works;'
           + ' it may be cancelled at any time.'));

    const none = el('section', { class: 'card box', hidden: true,
                                 'aria-label': 'No profiler' });

    const table = el('div', { class: 'card scroll', tabindex: '0',
                              role: 'region',
                              'aria-label': 'Kinds of profiles' },
        el('table', { class: 't' }, el('thead', {}, el('tr', {},
            ...['Profile', 'Open'].map(t => el('th',
                { class: 'l', scope: 'col' }, t)))),
           el('tbody', {}, rows)));
    const lines = el('section', { class: 'block',
                                  'aria-label': 'In a terminal' },
        el('h2', {}, 'In a terminal'), el('div', { class: 'row stack' },
                                          cmd, heap));

    element.replaceChildren(
        el('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' },
           el('ol', {}, el('li', {}, el('a', { href: new URL('pprof/',
               root()).href }, 'Profiles')),
              el('li', {}, el('a', { href: new URL(`pprof/${path(group)}/`,
                  root()).href }, group)))),
        el('div', { class: 'head' }, el('h1', {}, name), pill, said,
           el('span', { class: 'sp' }),
           el('a', { class: 'btn', href: new URL('charts/?'
               + new URLSearchParams({ src: `${group}/${name}` }),
               root()).href }, 'Charts')),
        none, box, table, lines);

    const s = await probe(group, name);

    pill.className = 'pill ' + (s.ok ? 'ok' : 'bad');
    pill.textContent = s.ok ? 'Profiler answers' : 'No profiler here';
    said.textContent = s.ok ? s.text : '';

    if (!s.ok) {
        none.hidden = false;
        box.hidden = table.hidden = lines.hidden = true;
        none.replaceChildren(
            el('h2', {}, 'How to get profiles of this process'),
            el('p', {}, (s.status ? `HTTP ${s.status}: ` : '') + s.text),
            el('p', {}, 'A C or C++ program, without rebuilding it:'),
            el('pre', { tabindex: '0' },
               'pprof-run -l unix:/run/app.pprof -- ./app'),
            el('p', {}, 'and in nginx.conf, where its profiler listens'
                        + ' elsewhere than its port:'),
            el('pre', { tabindex: '0' },
               `upstream ${group}_pprof { server unix:/run/app.pprof; }\n`
               + `debug_pprof_pass ${group} ${group}_pprof;`),
            el('p', {}, 'A Go program: ', el('code', {},
               'import _ "net/http/pprof"'), ' on the port that nginx'
               + ' passes to.'));
    }
}
