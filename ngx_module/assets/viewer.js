/*
 * The profile viewer.  All of its state is in the URL:
 *
 *   src=…    what is shown, relative to the mount point; several are merged
 *   base=…   what is taken away from it; several are merged
 *   view     flame, top or function (with fn=…)
 *   st       sample type, by name
 *   q, focus, ignore   regular expressions; invert=1; at=… the zoomed frame
 *   width    growth or now; norm  0 or 1: base brought to the same total
 *
 * A profile that takes its process some seconds (kinds() says so) is recorded
 * only after a press of a button on these pages: a link from elsewhere, or a
 * reload, must not start it.
 */

import { around, decode, diff, format, merge, normalScale, percent,
         ProfileError, signed, top, total, tree, unnamed } from './profile.js';
import { Flame, hue, svg, wholeOf, words } from './flame.js';
import { clock, colors, command, copy, el, failure, kinds, root, save,
         segments, setQuery, Table } from './ui.js';

let main, query, ui, flame;
const state = { profile: null, base: null, shown: null, type: 0, tree: null,
                bytes: null, files: [] };


export function start(element) {
    main = element;
    query = new URLSearchParams(location.search);
    build();
    drops();
    open();

    /* for the tests to look at */
    globalThis.__flame = { flame, state };
}


/* A source as a URL below the mount point; anything else is refused. */

function source(src) {
    const url = new URL(src, root());

    if (url.origin !== location.origin
        || !url.pathname.startsWith(root().pathname))
    {
        throw new Error(`"${src}" is not below this page's server.`);
    }

    return url;
}

const kindOf = url => {
    const kept = /\/pprof\/kept\/.*?\/([a-z]+)\/[^/]*$/.exec(url.pathname);

    return kept?.[1] ?? url.pathname.split('/').pop();
};

/* seconds of its process, unless asked otherwise; a kept one costs nothing */
const known = name => kinds().find(k => k.name === name);
const costs = url => known(url.pathname.split('/').pop())?.seconds ?? 0;


function build() {
    const h1 = main.querySelector('h1') ?? el('h1', {}, 'Profile');

    h1.id = 'title';

    ui = {
        h1,
        crumbs: main.querySelector('.crumbs')
                ?? el('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }),
        pill: el('span', { class: 'pill', hidden: true }),
        type: el('select', { 'aria-label': 'Sample type',
                             onchange: e => {
            setQuery({ st: state.shown.types[+e.target.value].type,
                       at: null });
            state.type = +e.target.value;
            count();
        } }),
        views: segments('View', [['flame', 'Flame'], ['top', 'Top'],
                                 ['function', 'Function']], view),
        download: el('button', { type: 'button', onclick: download },
                     'Download'),
        svg: el('button', { type: 'button', onclick: saveSvg }, 'Save SVG'),
        compare: el('button', { type: 'button', 'aria-expanded': 'false',
                                onclick: toggleCompare }, 'Compare…'),
        banner: el('div', {}),
        wait: el('div', { class: 'card empty', hidden: true }),
        panel: el('div', { class: 'card panel', hidden: true }),
        terminal: el('details', { class: 'terminal' },
                     el('summary', {}, 'The same in a terminal')),
        cmd: command(''),
        find: el('input', { type: 'search', name: 'q', autocomplete: 'off',
                            spellcheck: 'false', oninput: find,
                            'aria-label': 'Find functions, regular expression',
                            placeholder: 'Find (regex)',
                            value: query.get('q') ?? '',
                            onkeydown: e => {
            if (e.key === 'Enter') {
                e.preventDefault();
                step(e.shiftKey ? -1 : 1);
            }
        } }),
        found: el('span', { class: 'muted found', role: 'status' }),
        prev: el('button', { type: 'button', hidden: true,
                             'aria-label': 'Previous match',
                             onclick: () => step(-1) }, '‹'),
        next: el('button', { type: 'button', hidden: true,
                             'aria-label': 'Next match',
                             onclick: () => step(1) }, '›'),
        invert: el('button', { type: 'button', 'aria-pressed': 'false',
                               title: 'Root the picture at what was running,'
                                      + ' callers below',
                               onclick: () => flip('invert') }, 'Invert'),
        norm: el('button', { type: 'button', 'aria-pressed': 'false',
                             hidden: true, onclick: () => flip('norm'),
                             title: 'Bring the base to the same total first'
                           }, 'Normalize'),
        out: el('button', { type: 'button', hidden: true,
                            onclick: () => flame.zoom(0) }, 'Zoom out'),
        filters: el('span', { class: 'filters' }),
        width: segments('Width of a frame', [['growth', 'Growth'],
                                             ['now', 'In use now']], w => {
            setQuery({ width: w, at: null });
            paint();
        }),
        key: el('span', { class: 'key', hidden: true },
                el('span', {}, el('i', { class: 'up' }), 'more'),
                el('span', {}, el('i', { class: 'dn' }), 'less')),
        detail: el('div', { class: 'detail' }),
        flame: el('div', { class: 'flame' }),
        hint: el('p', { class: 'muted hint' },
                 'Click a frame to zoom, click it again for its callers and'
                 + ' callees; right-click, long press or M for more. Arrow'
                 + ' keys move, Esc zooms out. Drop a .pb.gz file anywhere.'),
        table: el('div', { class: 'scroll', hidden: true }),
        peek: el('div', { class: 'scroll', hidden: true }),
        card: el('section', { class: 'card', hidden: true,
                              'aria-label': 'Profile' })
    };

    ui.terminal.append(ui.cmd);
    ui.width.hidden = true;
    ui.tools = el('div', { class: 'tools', hidden: true }, ui.type, ui.views,
                  ui.download, ui.svg, ui.compare);
    ui.card.append(el('div', { class: 'toolbar' }, ui.find, ui.prev, ui.next,
                      ui.found, ui.invert, ui.norm, ui.out, ui.filters,
                      ui.width, ui.key),
                   ui.detail, ui.flame, ui.table, ui.peek);
    main.replaceChildren(ui.crumbs, el('div', { class: 'head' }, h1, ui.pill,
                                       el('span', { class: 'sp' }), ui.tools),
                         ui.banner, ui.wait, ui.terminal, ui.panel, ui.card,
                         ui.hint);
    ui.terminal.hidden = ui.hint.hidden = true;

    flame = new Flame(ui.flame, { hover: detail, menu, zoom: zoomed,
                                  peek: k => peek(nameOf(k)) });

    addEventListener('themechange', () => state.tree && repaint());
    addEventListener('keydown', e => {
        if (e.key === '/' && !e.target.closest('input, select, textarea')) {
            e.preventDefault();
            ui.find.focus();

        } else if (e.key === 'Escape' && ui.menu) {
            closeMenu();
        }
    });
}


function banner(kind, text, ...more) {
    const box = el('div', { class: 'banner ' + kind,
                            role: kind === 'bad' ? 'alert' : 'status' },
                   el('span', {}, text), ...more);

    ui.banner.append(box);
    return box;
}


/* --- getting profiles --- */

async function open() {
    let src, base;

    try {
        src = query.getAll('src').map(source);
        base = query.getAll('base').map(source);

    } catch (e) {
        banner('bad', e.message);
        return;
    }

    if (src.length === 0) {
        choose();
        return;
    }

    const kind = kindOf(src[0]);

    ui.h1.textContent = (known(kind)?.title ?? 'Profile')
                        + (base.length ? ', difference' : '');
    breadcrumb(src);
    terminal(src, base);

    const live = [...src, ...base].filter(costs);
    const seconds = Math.max(0, ...[...src, ...base].map(u =>
        Number(u.searchParams.get('seconds')) || costs(u)));

    if (live.length && !allowed()) {
        ask(live, seconds);
        return;
    }

    fetchAll(src, base, seconds);
}


/* The button's press on another of our pages, once. */

function allowed() {
    try {
        const ok = sessionStorage.getItem('debug-record') === location.search;

        sessionStorage.removeItem('debug-record');
        return ok;

    } catch {
        return false;
    }
}


function ask(live, seconds) {
    ui.wait.hidden = false;
    ui.wait.replaceChildren(
        el('p', {}, `This records for ${seconds} s in `
                    + (live.length > 1 ? live.length + ' processes.'
                                       : 'the process.')),
        el('button', { type: 'button', class: 'primary', onclick: () => {
            const src = query.getAll('src').map(source);

            fetchAll(src, query.getAll('base').map(source), seconds);
        } }, `Record now, ${seconds} s`));
}


async function fetchAll(src, base, seconds) {
    const abort = new AbortController(), began = performance.now();
    const said = el('p', { id: 'waiting' }), name = document.title;
    const bar = el('progress', { max: '1', 'aria-labelledby': 'waiting' });
    let timer = 0;

    ui.banner.replaceChildren();
    ui.wait.replaceChildren(said, bar, el('button', { type: 'button',
        onclick: () => abort.abort() }, 'Cancel'));

    const tick = () => {
        const d = (performance.now() - began) / 1000;
        const left = Math.max(0, Math.ceil(seconds - d));

        if (seconds && left) {
            said.textContent = (src.some(costs) ? 'Sampling CPU' : 'Recording')
                               + ` for ${seconds} s. ${left} s left.`;
            document.title = `${left} s · ${name}`;
            bar.value = d / seconds;

        } else {
            said.textContent = 'Reading the profile…';
            document.title = name;
            bar.removeAttribute('value');
        }
    };

    /* a quick answer needs no progress: nothing flickers */
    const show = () => {
        tick();
        ui.wait.hidden = false;
    };

    timer = seconds ? setInterval(tick, 250) : 0;
    const late = setTimeout(show, seconds ? 0 : 200);

    try {
        const all = await Promise.all([...src, ...base].map(
            u => get(u, abort.signal)));

        state.bytes = all[0].bytes;
        use(all.slice(0, src.length).map(a => a.profile),
            all.slice(src.length).map(a => a.profile));

    } catch (e) {
        const again = el('button', { type: 'button', onclick: () =>
            fetchAll(src, base, seconds) }, 'Try again');

        /* libpprof records some kinds only when it is asked to */
        const record = e.status === 501 && !seconds
            ? el('button', { type: 'button', class: 'primary',
                             onclick: () => {
                const url = new URL(location.href);

                for (const k of ['src', 'base']) {
                    const all = url.searchParams.getAll(k);

                    url.searchParams.delete(k);
                    all.forEach(x => url.searchParams.append(k,
                                                        x + '?seconds=10'));
                }

                location.href = url;
            } }, 'Record 10 s') : null;

        if (e.name === 'AbortError') {
            banner('warn', 'Cancelled. Nothing was kept.', again);

        } else {
            banner('bad', (e.status ? `HTTP ${e.status}: ` : '')
                          + e.message, ...[record, again].filter(Boolean));

            if (!(e instanceof ProfileError) && !e.status) {
                console.info(e);
            }
        }

        abort.abort();

    } finally {
        clearInterval(timer);
        clearTimeout(late);
        document.title = name;
        ui.wait.hidden = true;
    }
}


async function get(url, signal) {
    let res;

    try {
        res = await fetch(url, { signal, cache: 'no-store' });

    } catch (e) {
        if (e.name === 'AbortError') {
            throw e;
        }

        throw new Error('The server does not answer.');
    }

    if (!res.ok) {
        throw await failure(res);
    }

    let bytes;

    try {
        bytes = new Uint8Array(await res.arrayBuffer());

    } catch (e) {
        if (e.name === 'AbortError') {
            throw e;
        }

        throw new Error('The answer broke off before its end.');
    }

    return { bytes, profile: await decode(bytes) };
}


function use(profiles, bases) {
    const from = performance.now();
    const p = state.profile = merge(profiles);
    const b = state.base = bases.length ? merge(bases) : null;

    if (p.start.length === 1 && (!b || b.start.length === 1)) {
        banner('warn', 'No samples were taken. A process that is idle gives an'
                       + ' empty profile; try again under load.');
        return;
    }

    const wanted = p.types.findIndex(t => t.type === new URLSearchParams(
                                             location.search).get('st'));
    const inuse = p.types.findIndex(t => t.type === 'inuse_space');

    state.type = wanted >= 0 ? wanted : inuse >= 0 ? inuse : p.defaultType;
    state.cpu = p.types.some(t => t.type === 'cpu');
    ui.type.replaceChildren(...p.types.map((t, i) => el('option',
        { value: i, selected: i === state.type },
        t.type.replace(/_/g, ' '))));
    ui.type.value = state.type;
    ui.card.hidden = ui.tools.hidden = ui.hint.hidden = false;

    const v = param('view');

    view(['top', 'function'].includes(v) ? v : 'flame', true);
    count();
    state.time = performance.now() - from;
}


/* A page without a source: files from here. */

function choose() {
    ui.h1.textContent = 'Profile viewer';
    ui.wait.hidden = false;
    ui.wait.replaceChildren(
        el('p', {}, 'Drop a .pb.gz profile here, or several of one kind to'
                    + ' see them as one. They stay in this browser.'),
        el('label', { class: 'btn primary' }, 'Open files',
           el('input', { type: 'file', multiple: true, class: 'sr',
                         onchange: e => files([...e.target.files]) })));
}


function drops() {
    const stop = e => {
        if ([...e.dataTransfer.types].includes('Files')) {
            e.preventDefault();
            main.classList.toggle('drop', e.type === 'dragover');
        }
    };

    addEventListener('dragover', stop);
    addEventListener('dragleave', stop);
    addEventListener('drop', e => {
        stop(e);
        files([...e.dataTransfer.files]);
    });
}


async function files(list, asBase = false) {
    if (list.length === 0) {
        return;
    }

    try {
        const bytes = await Promise.all(list.map(f => f.arrayBuffer()));
        const got = await Promise.all(bytes.map(b => decode(
                                                    new Uint8Array(b))));
        const names = list.map(f => f.name).join(' + ');

        ui.banner.replaceChildren();

        if (asBase) {
            ui.h1.textContent = ui.h1.textContent.replace(/, difference.*$/,
                                                          '')
                                + ', difference to ' + names;
            use([state.profile], got);

        } else {
            ui.wait.hidden = true;
            ui.h1.textContent = names;
            state.bytes = new Uint8Array(bytes[0]);
            setQuery({ src: null, base: null, at: null });
            ui.terminal.hidden = true;
            use(got, []);
        }

    } catch (e) {
        banner('bad', list.map(f => f.name).join(', ') + ': ' + e.message);
    }
}


/* --- head of the page --- */

function breadcrumb(src) {
    const parts = src[0].pathname.slice(root().pathname.length).split('/')
                        .filter(Boolean).map(decodeURIComponent);
    const list = el('ol', {});

    if (parts[0] !== 'pprof') {
        return;
    }

    const at = i => new URL(parts.slice(0, i + 1).map(encodeURIComponent)
                                 .join('/') + '/', root()).href;

    list.append(el('li', {}, el('a', { href: at(0) }, 'Profiles')));

    if (parts[1] === 'kept') {
        list.append(el('li', {}, el('a', { href: at(1) }, 'Snapshots')));
        parts.splice(1, 1);
        parts.splice(-1, 1);
    }

    if (parts.length > 3) {
        const peer = parts.slice(2, -1).join('/');

        list.append(el('li', {}, parts[1]),
                    el('li', {}, el('a', { href: new URL(
                        ['pprof', parts[1], peer].map(encodeURIComponent)
                        .join('/') + '/', root()).href }, peer)));
    }

    if (src.length > 1) {
        list.append(el('li', {}, `and ${src.length - 1} more, as one`));
    }

    ui.crumbs.replaceChildren(list);
}


const quote = s => "'" + s.replaceAll("'", "'\\''") + "'";

function terminal(src, base) {
    ui.cmd.set('go tool pprof -http=: '
               + base.map(u => `-diff_base ${quote(u.href)} `).join('')
               + src.map(u => quote(u.href)).join(' '));
    ui.terminal.hidden = false;
}


function download() {
    save((ui.h1.textContent + '.pb.gz').replace(/[^\w.-]+/g, '-'),
         'application/octet-stream', state.bytes);
}


function saveSvg() {
    const title = ui.h1.textContent + ' · ' + ui.pill.textContent;

    save((ui.h1.textContent + '.svg').replace(/[^\w.-]+/g, '-'),
         'image/svg+xml', svg(state.tree, { title, zoom: flame.zoomed,
                                            mode: flame.width }));
}


/* --- compare --- */

async function toggleCompare() {
    const open = ui.panel.hidden;

    ui.panel.hidden = !open;
    ui.compare.setAttribute('aria-expanded', String(open));

    if (!open) {
        return;
    }

    const list = el('ul', { class: 'plain' }, el('li', { class: 'muted' },
                                                 'Looking…'));

    ui.panel.replaceChildren(
        el('h2', {}, 'Show what changed since …'),
        list,
        el('label', { class: 'btn' }, 'a file',
           el('input', { type: 'file', class: 'sr', onchange: e => {
               ui.panel.hidden = true;
               ui.compare.setAttribute('aria-expanded', 'false');
               files([...e.target.files], true);
           } })));

    const kind = query.get('src') ? kindOf(source(query.get('src'))) : '';
    const items = [];

    try {
        const res = main.dataset.kept === undefined ? null
                    : await fetch(new URL('pprof/kept/?json', root()),
                                  { cache: 'no-store' });
        const kept = res?.ok ? (await res.json()).kept : [];

        for (const k of kept.filter(x => !kind || x.kind === kind)
                            .slice(0, 12))
        {
            items.push(el('li', {}, el('a', { href: other(
                'pprof/kept/' + k.id) }, `the snapshot of ${clock(k.time)}`
                + `, ${k.group} ${k.peer}`)));
        }

    } catch {
        /* no snapshots then */
    }

    try {
        const res = await fetch(new URL('stats', root()),
                                { cache: 'no-store' });
        const stats = await res.json(), mine = query.get('src') ?? '';

        for (const [group, g] of Object.entries(stats.upstreams ?? {})) {
            for (const peer of Object.keys(g.peers ?? {})) {
                const src = ['pprof', group, peer, kind].map(
                                encodeURIComponent).join('/');
                const plain = `pprof/${group}/${peer}/`;

                if (kind && !mine.startsWith(plain)
                    && !mine.startsWith(src))
                {
                    items.push(el('li', {}, compareTo(plain + kind, kind,
                                                      `${group} ${peer}`)));
                }
            }
        }

    } catch {
        /* no peers then */
    }

    list.replaceChildren(...items.length ? items : [el('li',
        { class: 'muted' }, 'There is no other profile of this kind here.')]);
}


function other(base) {
    const url = new URL(location.href);

    url.searchParams.delete('base');
    url.searchParams.append('base', base);
    url.searchParams.delete('at');
    return url.href;
}


function compareTo(base, kind, name) {
    const q = costs(source(base)) ? '?seconds='
              + (source(query.get('src')).searchParams.get('seconds') ?? 30)
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


/* --- counting and drawing --- */

const param = k => new URLSearchParams(location.search).get(k);

function regex(text) {
    return text ? new RegExp(text, 'i') : null;
}


function options() {
    const o = { invert: param('invert') === '1' };

    for (const k of ['focus', 'ignore']) {
        try {
            o[k] = regex(param(k));
        } catch {
            banner('bad', `"${param(k)}" is not a regular expression.`);
        }
    }

    return o;
}


/* CPU time of two processes differs in kind; heap growth does not. */

const normalized = () => state.base !== null
                         && (param('norm') ?? (state.cpu ? '1' : '0')) === '1';


function count() {
    const { profile: p, base: b, type } = state;

    state.shown = b ? diff(p, b, normalized() ? normalScale(p, b, type) : 1)
                    : p;
    state.tree = tree(state.shown, type, options());

    paint();
    head();
    find();
}


function head() {
    const { tree: t, profile: p, base: b, shown, type } = state;
    const u = t.unit, grown = b ? t.value[0] - t.base[0] : 0;
    let text;

    if (b && normalized()) {
        text = format(t.value[0], u) + ' each';

    } else if (b) {
        const gap = Math.abs(p.time - b.time) / 1000;

        text = (grown === 0 ? 'the same total'
                : (grown > 0 ? 'grew ' : 'shrank ')
                  + format(Math.abs(grown), u))
               + (gap >= 1 && p.time && b.time
                  ? ' in ' + format(gap, 'seconds') : '');

    } else {
        text = format(t.value[0], u)
               + (p.duration && u === 'nanoseconds'
                  ? ' in ' + format(p.duration, u) : '');
    }

    ui.pill.hidden = false;
    ui.pill.textContent = text;
    ui.pill.className = 'pill' + (b && !normalized() && grown > 0 ? ' bad'
                                  : b && grown < 0 ? ' info' : '');
    ui.width.hidden = ui.key.hidden = !b;
    ui.width.lastChild.textContent = /^inuse/.test(shown.types[type].type)
                                     ? 'In use now' : 'Now';
    ui.norm.hidden = !b;
    ui.norm.setAttribute('aria-pressed', String(normalized()));
    ui.invert.setAttribute('aria-pressed', String(param('invert') === '1'));

    const chips = ['focus', 'ignore'].filter(param).map(k => el('button',
        { type: 'button', class: 'chip', 'aria-label': `Remove ${k}`,
          onclick: () => {
              setQuery({ [k]: null, at: null });
              count();
          } }, `${k}: ${param(k)} ×`));

    ui.filters.replaceChildren(...chips);

    const bad = unnamed(shown, type);

    ui.unnamed?.remove();
    ui.unnamed = null;

    if (bad.share >= 0.02) {
        const m = bad.modules[0];

        ui.unnamed = banner('warn', percent(bad.share, 1)
            + ' of the samples have no names'
            + (m?.file ? `, most of them in ${m.file}` : '')
            + (m?.buildId ? `, build id ${m.buildId}` : '')
            + ': no symbols were found there. Their frames are'
            + ' module+offset.');
    }
}


function palette() {
    const c = colors('fl-root', 'fl-other', 'fl-text', 'fl-dim',
                     'fl-dim-text', 'fl-hit', 'fl-hit-text', 'text', 'same',
                     'up-1', 'up-2', 'up-3', 'dn-1', 'dn-2', 'dn-3',
                     ...Array.from({ length: 12 }, (_, i) => 'fl-' + i));

    return { ...c, root: c['fl-root'], other: c['fl-other'],
             hit: c['fl-hit'], hitText: c['fl-hit-text'], dim: c['fl-dim'],
             dimText: c['fl-dim-text'], outline: c.text,
             text: c['fl-text'],
             slots: Array.from({ length: 12 }, (_, i) => c['fl-' + i]) };
}


function paint() {
    const width = param('width') === 'now' ? 'now' : 'growth';

    flame.set(state.tree, palette(), { at: Number(param('at')) || 0, width });
    ui.width.show(width);
    ui.out.hidden = ui.flame.hidden || flame.zoomed === 0;
    detail(flame.zoomed);
}


function repaint() {
    flame.palette = palette();
    flame.draw();
}


const nameOf = k => k ? state.tree.frames[state.tree.frame[k]].name : 'all';

function detail(k) {
    const t = state.tree, w = words(t, k, wholeOf(t));
    const f = k ? t.frames[t.frame[k]] : null;

    ui.detail.replaceChildren(
        el('span', { class: 'name' }, w.name),
        el('b', {}, w.value),
        el('span', {}, w.share),
        w.self ? el('span', {}, w.self) : '',
        w.now ? el('span', { class: 'muted' }, w.now) : '',
        f?.file ? el('span', { class: 'muted mono' },
                     f.file.split('/').slice(-3).join('/')
                     + (f.lines.length ? ':' + f.lines.join(', ') : ''))
                : '');
}


function zoomed(k) {
    setQuery({ at: k || null });
    ui.out.hidden = k === 0;
}


function flip(k) {
    const on = k === 'norm' ? normalized() : param('invert') === '1';

    setQuery({ [k]: on ? k === 'norm' ? '0' : null : '1', at: null });
    count();
}


function find() {
    const text = ui.find.value;
    let re = null;

    setQuery({ q: text });

    try {
        re = regex(text);
        ui.find.removeAttribute('aria-invalid');

    } catch {
        ui.find.setAttribute('aria-invalid', 'true');
        ui.found.textContent = 'not a regular expression';
        tables();
        return;
    }

    const r = flame.search(re);

    ui.prev.hidden = ui.next.hidden = !r || r.frames < 2;
    ui.found.textContent = !r ? ''
        : r.frames === 0 ? 'no match'
        : `${r.frames} frame${r.frames > 1 ? 's' : ''}, `
          + `${format(r.size, state.tree.unit)} `
          + `(${percent(r.share, 1)})`;
    tables();
}


function step(by) {
    const n = flame.step(by);

    if (n) {
        ui.found.textContent = `${n} of ${flame.order.length}`;
    }
}


/* --- tables --- */

function tables() {
    const v = param('view');

    if (v === 'top') {
        topTable();

    } else if (v === 'function') {
        peekTable();
    }
}


const fn = (name, file, lines = []) => ({
    content: el('button', { type: 'button', class: 'link',
                            onclick: () => peek(name) }, name),
    title: name + (file ? '\n' + file + (lines.length ? ':' + lines.join(', ')
                                                      : '') : '')
});


const grows = v => state.base ? v > 0 ? 'pos' : v < 0 ? 'neg' : '' : '';

const amount = v => el('span', { class: grows(v) },
                       state.base ? signed(v, state.tree.unit)
                                  : format(v, state.tree.unit));


function topTable() {
    const { shown, type, base: b } = state, whole = wholeOf(state.tree);
    let re = null;

    try {
        re = regex(ui.find.value);
    } catch {
        /* said beside the field */
    }

    if (!ui.top || ui.top.diff !== !!b) {
        ui.top = new Table([
            { key: 'self', text: b ? 'Self Δ' : 'Self', value: r => r.self,
              cell: r => amount(r.self) },
            { key: 'selfp', text: '%', class: 'pc',
              cell: r => percent(r.self, wholeOf(state.tree)) },
            { key: 'total', text: b ? 'Total Δ' : 'Total',
              value: r => r.total, cell: r => amount(r.total) },
            { key: 'totalp', text: '%', class: 'pc',
              cell: r => percent(r.total, wholeOf(state.tree)) },
            { key: 'name', text: 'Function', class: 'l fn', head: true,
              value: r => r.name ?? '',
              cell: r => fn(r.name, r.file, r.lines) },
        ], { sort: 'self', caption: 'Functions by what they spent' });
        ui.top.diff = !!b;
        ui.table.replaceChildren(ui.top.table, ui.top.note);
    }

    ui.top.set(top(shown, type, options()).filter(r => !re
                                                       || re.test(r.name))
                                          .map(r => ({ ...r, key: r.name })));
}


function peek(name) {
    setQuery({ fn: name });
    view('function');
}


function peekTable() {
    const name = param('fn') ?? '', a = around(state.shown, state.type, name,
                                               options());
    const whole = wholeOf(state.tree);
    const row = (r, cls) => el('tr', { class: cls },
        el('td', {}, amount(r.value)),
        el('td', { class: 'pc' }, percent(r.value, a.total || whole)),
        el('td', { class: 'l fn', title: r.name },
           r.name ? fn(r.name).content
                  : r.root ?? '(nothing: it is the root here)'));
    const part = (title, rows) => el('tbody', {},
        el('tr', {}, el('th', { colspan: '3', class: 'l', scope: 'rowgroup' },
                        title)),
        ...rows.slice(0, 40).map(r => row(r)));

    ui.peek.replaceChildren(el('table', { class: 't peek' },
        el('caption', { class: 'sr' }, 'Callers and callees of ' + name),
        el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Value'),
                           el('th', { scope: 'col', class: 'pc' },
                              'of this function'),
                           el('th', { scope: 'col', class: 'l' },
                              'Function'))),
        part('Called by', a.callers),
        el('tbody', {}, el('tr', { class: 'me' },
            el('td', {}, amount(a.total)),
            el('td', { class: 'pc' }, percent(a.total, whole) + ' of all'),
            el('th', { class: 'l fn', scope: 'row' }, name || '–'))),
        part('Where it goes', [{ value: a.self, root: 'in itself' },
                               ...a.callees])));
}


function view(v, first = false) {
    if (v === 'function' && !param('fn')) {
        v = 'flame';

        if (!first && state.tree.n > 1) {
            setQuery({ fn: nameOf(flame.cur || 1) });
            v = 'function';
        }
    }

    setQuery({ view: v === 'flame' ? null : v });
    ui.views.show(v);
    ui.flame.hidden = ui.detail.hidden = v !== 'flame';
    ui.table.hidden = v !== 'top';
    ui.peek.hidden = v !== 'function';
    ui.invert.hidden = ui.svg.hidden = v !== 'flame';
    ui.out.hidden = v !== 'flame' || flame.zoomed === 0;

    if (first) {
        return;
    }

    if (v === 'flame') {
        flame.draw();
    }

    tables();
}


/* --- menu of one frame --- */

function menu(k, x, y) {
    closeMenu();

    if (k === 0) {
        return;
    }

    const name = nameOf(k), back = document.activeElement;
    const exact = '^' + name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') + '$';
    const item = (text, on) => el('button', { type: 'button',
        role: 'menuitem', tabindex: '-1', onclick: () => {
            closeMenu();
            on();
        } }, text);

    const filter = key => () => {
        setQuery({ [key]: exact, at: null });
        count();
    };

    ui.menu = el('div', { class: 'menu card', role: 'menu',
                          'aria-label': name },
        item('Callers and callees', () => peek(name)),
        item('Only stacks with this function', filter('focus')),
        item('Without this function', filter('ignore')),
        item('Find it everywhere', () => {
            ui.find.value = exact;
            find();
        }),
        item('Copy name', async () => {
            const span = el('span', { class: 'sr' }, name);

            document.body.append(span);
            await copy(span);
            span.remove();
        }));
    main.append(ui.menu);
    ui.menu.back = back;
    ui.menu.style.left = Math.max(4, Math.min(x, innerWidth
                                    - ui.menu.offsetWidth - 8)) + 'px';
    ui.menu.style.top = Math.max(4, Math.min(y, innerHeight
                                   - ui.menu.offsetHeight - 8)) + 'px';
    ui.menu.firstChild.focus();

    ui.menu.addEventListener('keydown', e => {
        const all = [...ui.menu.children];
        const at = all.indexOf(document.activeElement);
        const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];

        if (by) {
            e.preventDefault();
            all[(at + by + all.length) % all.length].focus();

        } else if (e.key === 'Tab') {
            closeMenu();
        }

        e.stopPropagation();

        if (e.key === 'Escape') {
            closeMenu();
        }
    });

    setTimeout(() => addEventListener('pointerdown', outside), 0);
}


function outside(e) {
    if (!ui.menu?.contains(e.target)) {
        closeMenu();
    }
}


function closeMenu() {
    if (ui.menu) {
        const back = ui.menu.back;

        ui.menu.remove();
        ui.menu = null;
        removeEventListener('pointerdown', outside);
        back?.focus?.({ preventScroll: true });
    }
}
