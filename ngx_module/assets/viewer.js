/*
 * The profile viewer.  All of its state is in the URL:
 *
 *   src=…    what is shown, relative to the mount point; several are merged
 *   base=…   what is taken away from it; several are merged
 *   rec=…    a recording of src and base that this tab has kept
 *   view     flame, top, function or sandwich (both with fn=…)
 *   st       sample type, by name
 *   q        what is searched; focus, ignore, hide, show: regular expressions,
 *            each perhaps several times
 *   at       the zoomed frame, by name; invert=1; root=bottom
 *   lines=1  a row a line; names=full; fold=1 merges recursion; first=… a
 *            label whose values are the first row; colors=…; cols=…; unit=…
 *   width    growth, now or gone; norm  total, second, request or none
 *
 * A profile that takes its process some seconds (kinds() says so) is recorded
 * only after a press of a button on these pages: a link from elsewhere, or a
 * reload, must not start it.
 */

import { about } from './about.js';
import { Flame } from './canvas.js';
import { compare } from './compare.js';
import { through, tree, unnamed } from './count.js';
import { Display } from './display.js';
import { nameOf, wholeOf, words } from './flame.js';
import { ask as history } from './history.js';
import { look } from './look.js';
import { closeMenu, showMenu } from './menu.js';
import { shortOf } from './names.js';
import { diff, merge, scaleOf } from './profile.js';
import { threads } from './formats.js';
import { ProfileError } from './reader.js';
import { choices as whyNot, empty } from './reasons.js';
import { costs, formatsOf, get, isKept, keep, kindOf, known, peerOf,
         question, readFiles, recall, requests, secondsOf, source }
    from './sources.js';
import { svg } from './svg.js';
import { stacksView } from './stacks.js';
import { peekTable, topTable, USUAL } from './tables.js';
import { colors, command, el, failure, root, save, segments, setQuery }
    from './ui.js';
import { format, percent, prefer } from './units.js';

const FILTERS = ['focus', 'ignore', 'hide', 'show'];
const VIEWS = [['flame', 'Flame'], ['top', 'Top'], ['function', 'Function'],
               ['sandwich', 'Sandwich'], ['stacks', 'Stacks']];

let main, query, ui, flame, above, below;
const state = { profile: null, base: null, shown: null, type: 0, tree: null,
                bytes: null, all: [] };

const param = k => new URLSearchParams(location.search).get(k);
const params = k => new URLSearchParams(location.search).getAll(k);
const is = k => param(k) === '1';


export function start(element) {
    main = element;
    query = new URLSearchParams(location.search);
    prefer(param('unit') ?? '');
    build();
    drops();
    open();

    /* for the tests to look at */
    globalThis.__flame = { flame, state };
}


/* --- the page's frame --- */

function build() {
    const h1 = main.querySelector('h1') ?? el('h1', {}, 'Profile');
    const button = (text, on, attrs = {}) => el('button',
        { type: 'button', onclick: on, ...attrs }, text);

    h1.id = 'title';

    ui = {
        h1,
        crumbs: main.querySelector('.crumbs')
                ?? el('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }),
        pill: el('span', { class: 'pill', hidden: true }),
        type: el('select', { 'aria-label': 'Sample type',
                             onchange: e => setType(+e.target.value) }),
        views: segments('View', VIEWS, view),
        display: button('Display', () => toggle(ui.display, ui.options),
                        { 'aria-expanded': 'false' }),
        download: button('Download', download),
        svg: button('Save SVG', saveSvg),
        compare: button('Compare…', toggleCompare,
                        { 'aria-expanded': 'false' }),
        banner: el('div', {}),
        wait: el('div', { class: 'card empty', hidden: true }),
        panel: el('div', { class: 'card panel', hidden: true }),
        about: el('details', { class: 'about', hidden: true }),
        terminal: el('details', { class: 'terminal', hidden: true },
                     el('summary', {}, 'The same in a terminal, or as a link')),
        cmd: command('', 'go tool pprof'),
        curl: command('', 'curl'),
        link: command('', 'Link'),
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
        prev: button('‹', () => step(-1), { hidden: true,
                                            'aria-label': 'Previous match' }),
        next: button('›', () => step(1), { hidden: true,
                                           'aria-label': 'Next match' }),
        invert: button('Invert', () => flip('invert'), {
            'aria-pressed': 'false', title: 'Root the picture at what was'
                                            + ' running, callers below' }),
        out: button('Zoom out', () => flame.zoom(0), { hidden: true }),
        filters: el('span', { class: 'filters' }),
        width: segments('Width of a frame', [['growth', 'Growth'],
            ['now', 'In use now'], ['gone', 'Vanished']], w => {
            setQuery({ width: w === 'growth' ? null : w, at: null });
            paint();
        }),
        norm: el('select', { hidden: true, 'aria-label': 'Compare by',
                             onchange: e => {
            setQuery({ norm: e.target.value, at: null });
            count();
        } }),
        key: el('span', { class: 'key', hidden: true },
                el('span', {}, el('i', { class: 'up' }), 'more'),
                el('span', {}, el('i', { class: 'dn' }), 'less')),
        legend: el('span', { class: 'key' }),
        detail: el('div', { class: 'detail' }),
        flame: el('div', { class: 'flame' }),
        above: el('div', { class: 'flame' }),
        below: el('div', { class: 'flame' }),
        between: el('h2', { class: 'between mono' }),
        hint: el('p', { class: 'muted hint', hidden: true },
                 'Click a frame to zoom, click it again for its callers and'
                 + ' callees; right-click, long press or M for more. Arrow'
                 + ' keys move, Esc zooms out, / searches. Drop profiles'
                 + ' anywhere.'),
        table: el('div', { class: 'scroll', hidden: true }),
        peek: el('div', { class: 'scroll', hidden: true }),
        stacks: el('div', { hidden: true }),
        card: el('section', { class: 'card', hidden: true,
                              'aria-label': 'Profile' })
    };

    ui.terminal.append(ui.cmd, ui.curl, ui.link);
    ui.width.hidden = true;
    ui.options = el('div', { class: 'toolbar options', hidden: true });
    ui.sandwich = el('div', { hidden: true }, ui.above, ui.between, ui.below);
    ui.tools = el('div', { class: 'tools', hidden: true }, ui.type, ui.views,
                  ui.display, ui.download, ui.svg, ui.compare);
    ui.card.append(el('div', { class: 'toolbar' }, ui.find, ui.prev, ui.next,
                      ui.found, ui.invert, ui.out, ui.filters, ui.width,
                      ui.norm, ui.key),
                   ui.options, ui.detail, ui.flame, ui.sandwich, ui.table,
                   ui.peek, ui.stacks,
                   el('div', { class: 'toolbar legend-row' }, ui.legend));
    main.replaceChildren(ui.crumbs, el('div', { class: 'head' }, h1, ui.pill,
                                       el('span', { class: 'sp' }), ui.tools),
                         ui.banner, ui.wait, ui.about, ui.terminal, ui.panel,
                         ui.card, ui.hint);

    flames();
    display = new Display(ui.options, { param, is, params, change: changed,
                                        addFilter });

    addEventListener('themechange', repaint);
    addEventListener('unitchange', () => state.tree && count());
    addEventListener('keydown', e => {
        if (e.key === '/' && !e.target.closest('input, select, textarea')) {
            e.preventDefault();
            ui.find.focus();

        } else if (e.key === 'Escape') {
            closeMenu();
        }
    });
}


let display;


function flames() {
    const on = (of, more = {}) => ({
        hover: k => detail(of(), k), peek: k => peek(rowName(of(), k)),
        menu: (k, x, y) => menu(of(), k, x, y), ...more });

    flame = new Flame(ui.flame, on(() => flame, { zoom: zoomed }));
    above = new Flame(ui.above, on(() => above), 'Callers');
    below = new Flame(ui.below, on(() => below), 'Callees');
    above.id = 'above';
    below.id = 'below';
}


function toggle(button, panel) {
    panel.hidden = !panel.hidden;
    button.setAttribute('aria-expanded', String(!panel.hidden));
}


function banner(kind, text, ...more) {
    const box = el('div', { class: 'banner ' + kind,
                            role: kind === 'bad' ? 'alert' : 'status' },
                   el('span', {}, text), ...more);

    ui.banner.append(box);
    return box;
}


/* --- getting profiles --- */

function wantedSources() {
    const how = { lines: is('lines'), full: param('names') === 'full' };

    return { src: params('src').map(s => question(source(s), how)),
             base: params('base').map(s => question(source(s), how)) };
}


async function open() {
    let src, base;

    try {
        ({ src, base } = wantedSources());

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

    const had = param('rec') && await recall(param('rec'));

    if (had) {
        await take(had.slice(0, src.length), had.slice(src.length));
        return;
    }

    const live = [...src, ...base].filter(costs);
    const seconds = Math.max(0, ...[...src, ...base].map(secondsOf));

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
            const { src, base } = wantedSources();

            fetchAll(src, base, seconds);
        } }, `Record now, ${seconds} s`));
}


/* Says what is waited for, until done() is called. */

function waiting(seconds, cpu, cancel) {
    const said = el('p', { id: 'waiting' }), name = document.title;
    const bar = el('progress', { max: '1', 'aria-labelledby': 'waiting' });
    const began = performance.now();

    ui.banner.replaceChildren();
    ui.wait.replaceChildren(said, bar, el('button', { type: 'button',
                                                      onclick: cancel },
                                          'Cancel'));

    const tick = () => {
        const d = (performance.now() - began) / 1000;
        const left = Math.max(0, Math.ceil(seconds - d));

        if (seconds && left) {
            said.textContent = (cpu ? 'Sampling CPU' : 'Recording')
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
    const late = setTimeout(() => {
        tick();
        ui.wait.hidden = false;
    }, seconds ? 0 : 200);
    const timer = seconds ? setInterval(tick, 250) : 0;

    return () => {
        clearInterval(timer);
        clearTimeout(late);
        document.title = name;
        ui.wait.hidden = true;
    };
}


async function fetchAll(src, base, seconds) {
    const abort = new AbortController();
    const done = waiting(seconds, src.some(costs), () => abort.abort());

    try {
        const all = await Promise.all([...src, ...base].map(
            u => get(u, abort.signal)));

        if (seconds) {
            setQuery({ rec: keep(all) });
        }

        await take(all.slice(0, src.length), all.slice(src.length));

    } catch (e) {
        refused(e, src, base, seconds);
        abort.abort();

    } finally {
        done();
    }
}


function refused(e, src, base, seconds) {
    const again = el('button', { type: 'button', onclick: () =>
        fetchAll(src, base, seconds) }, 'Try again');

    if (e.name === 'AbortError') {
        banner('warn', 'Cancelled. Nothing was kept.', again);

    } else if (e.status === 501 && !seconds) {
        /* libpprof records some kinds only when it is asked to: no failure */
        ui.wait.hidden = false;
        ui.wait.replaceChildren(...whyNot(kindOf(src[0]), e.message,
                                          recordFor));
        setTimeout(() => ui.wait.hidden = false);

    } else {
        banner('bad', (e.status ? `HTTP ${e.status}: ` : '') + e.message,
               again);

        if (!(e instanceof ProfileError) && !e.status) {
            console.info(e);
        }
    }
}


/* The same, recorded for so many seconds. */

function recordFor(seconds) {
    const url = new URL(location.href);

    for (const k of ['src', 'base']) {
        const all = url.searchParams.getAll(k);

        url.searchParams.delete(k);
        all.forEach(x => url.searchParams.append(k, `${x}?seconds=${seconds}`));
    }

    location.href = url;
}


async function take(all, bases, names = []) {
    const from = performance.now();

    state.all = all;
    state.bytes = all[0].bytes;
    state.profile = merge(all.map(a => a.profile));
    state.base = bases.length ? merge(bases.map(a => a.profile)) : null;
    state.cpu = state.profile.types.some(t => t.type === 'cpu');
    state.names = names;

    if (state.base && names.length === 0) {
        await countRequests();
    }

    use();
    state.time = performance.now() - from;
}


async function countRequests() {
    const { profile: p, base: b } = state, { src, base } = wantedSources();

    /* of files nobody knows */
    if (src[0] && base[0] && p.duration && b.duration
        && p.requests === undefined)
    {
        [p.requests, b.requests] = await Promise.all([
            requests(history, src[0], p), requests(history, base[0], b)]);
    }
}


/* The sample type that opens: the link's, the profile's own, the kind's. */

function firstType(p, kind) {
    const at = name => p.types.findIndex(t => t.type === name);
    const wanted = at(param('st'));

    return wanted >= 0 ? wanted
        : p.hasDefault ? p.defaultType
        : kind === 'allocs' && at('alloc_space') >= 0 ? at('alloc_space')
        : at('inuse_space') >= 0 ? at('inuse_space') : p.defaultType;
}


function use() {
    const { profile: p, base: b } = state;
    const src = params('src'), kind = src[0] ? kindOf(source(src[0]))
                                             : state.cpu ? 'profile' : '';

    about(ui.about, p, b, state.names.join(' + ')
          || src.map(s => peerOf(source(s))[1]).filter(Boolean).join(' + '));
    ui.about.hidden = false;

    if (p.start.length === 1 && (!b || b.start.length === 1)) {
        ui.card.hidden = ui.tools.hidden = true;
        ui.wait.hidden = false;
        ui.wait.replaceChildren(...empty(kind, p, recordFor));
        setTimeout(() => ui.wait.hidden = false);
        return;
    }

    state.type = firstType(p, kind);
    ui.type.replaceChildren(...p.types.map((t, i) => el('option',
        { value: i }, t.type.replace(/_/g, ' '))));
    ui.type.value = state.type;
    ui.card.hidden = ui.tools.hidden = ui.hint.hidden = false;

    const v = param('view');

    /* a snapshot has the stacks, but not who was in which state */
    ui.views.lastChild.hidden = !p.threads && !(kind === 'goroutine' && !b
                                               && !isKept(source(src[0])));
    view(VIEWS.some(([k]) => k === v) ? v : 'flame', true);
    count();
}


function setType(i) {
    state.type = i;
    setQuery({ st: state.profile.types[i].type });
    count();
}


/* A page without a source: files from here. */

function choose() {
    ui.h1.textContent = 'Profile viewer';
    ui.wait.hidden = false;
    ui.wait.replaceChildren(
        el('p', {}, 'Drop profiles here, or several of one kind to see them as'
                    + ' one or what changed between two. They stay in this'
                    + ' browser. profile.proto (.pb.gz), gperftools\' CPU and'
                    + ' heap files, folded stacks, and the text of Go\'s and'
                    + ' libpprof\'s ?debug= are read.'),
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

    ui.banner.replaceChildren();

    try {
        const got = await readFiles(list);

        if (asBase) {
            titleOf(state.names.length ? state.names : [ui.h1.textContent],
                    got);
            await take(state.all, got, state.names);
        } else {
            ui.wait.hidden = ui.terminal.hidden = true;
            setQuery({ src: null, base: null, rec: null, at: null });
            titleOf(got.map(f => f.name));
            await take(got, [], got.map(f => f.name));
        }

        said(got);

    } catch (e) {
        banner('bad', e.message);
    }
}


function titleOf(names, bases = []) {
    ui.h1.textContent = names.join(' + ').replace(/, difference.*$/, '')
        + (bases.length ? ', difference to ' + bases.map(f => f.name)
                                                    .join(' + ') : '');
}


/* What they are, where that is no matter of course; two can be compared. */

function said(got) {
    if (got.some(f => f.profile.format !== 'profile.proto')) {
        banner('info', formatsOf(got));
    }

    if (got.length === 2) {
        const [a, b] = [...got].sort((x, y) => x.profile.time
                                              - y.profile.time);

        const box = banner('info', 'Both are shown as one.', el('button',
            { type: 'button', onclick: async () => {
                box.remove();
                titleOf([b.name], [a]);
                await take([b], [a], [b.name]);
            } }, `Show what changed from ${a.name} to ${b.name}`));
    }
}


/* --- head of the page --- */

function breadcrumb(src) {
    const parts = src[0].pathname.slice(root().pathname.length).split('/')
                        .filter(Boolean).map(decodeURIComponent);
    const [group, peer] = peerOf(src[0]), list = el('ol', {});
    const to = (...p) => new URL(p.map(encodeURIComponent).join('/') + '/',
                                 root()).href;

    if (parts[0] !== 'pprof') {
        return;
    }

    list.append(el('li', {}, el('a', { href: to('pprof') }, 'Profiles')));

    if (parts[1] === 'kept') {
        list.append(el('li', {}, el('a', { href: to('pprof', 'kept') },
                                    'Snapshots')));
    }

    if (group) {
        list.append(el('li', {}, group),
                    el('li', {}, el('a', { href: to('pprof', group, peer) },
                                    peer)));
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
    ui.curl.set(src.map(u => 'curl -fo ' + kindOf(u) + '.pb.gz '
                             + quote(u.href)).join('; '));
    ui.link.set(location.href);
    ui.terminal.addEventListener('toggle', () => ui.link.set(location.href));
    ui.terminal.hidden = false;
}


function download() {
    save((ui.h1.textContent + '.pb.gz').replace(/[^\w.-]+/g, '-'),
         'application/octet-stream', state.bytes);
}


function saveSvg() {
    const title = ui.h1.textContent + ' · ' + ui.pill.textContent;

    save((ui.h1.textContent + '.svg').replace(/[^\w.-]+/g, '-'),
         'image/svg+xml', svg(state.tree, {
             title, zoom: flame.zoomed, mode: flame.look.width,
             colors: flame.look.colors, full: flame.look.full,
             up: flame.look.up }));
}


function toggleCompare() {
    toggle(ui.compare, ui.panel);

    if (!ui.panel.hidden) {
        compare(ui.panel, query, list => {
            toggle(ui.compare, ui.panel);
            files(list, true);
        });
    }
}


/* --- counting --- */

/* A regular expression as people type it, or null; several are any of them. */

function regex(texts) {
    const all = [texts].flat().filter(Boolean);

    return all.length ? new RegExp(all.map(t => all.length > 1 ? `(?:${t})`
                                                               : t)
                                      .join('|'), 'i') : null;
}


function options() {
    const o = { invert: is('invert'), lines: is('lines'), fold: is('fold'),
                first: param('first') };

    for (const k of FILTERS) {
        try {
            o[k] = regex(params(k));

        } catch {
            banner('bad', `"${params(k).join('", "')}" is not a regular`
                          + ' expression.');
        }
    }

    return o;
}


/* CPU time of two processes differs in kind; heap growth does not. */

function norm() {
    const said = param('norm');

    return !state.base ? '' : said === '0' || said === 'none' ? ''
        : said === '1' || (said ?? (state.cpu ? 'total' : '')) === 'total'
          ? 'total' : said ?? '';
}


function count() {
    const { profile: p, base: b, type } = state;
    const o = options();

    state.both = b ? diff(p, b, scaleOf(p, b, type, norm())) : p;
    state.shown = look(state.both, o);
    state.tree = tree(state.shown, type, o);
    state.whole = wholeOf(state.tree);
    state.full = param('names') === 'full';

    paint();
    head();
    find();
    display.show(state, { cols: cols() });
}


/* Something of the display was changed: K of the URL becomes VALUE. */

function changed(k, value) {
    const had = param(k);

    setQuery({ [k]: value });

    if (k === 'unit') {
        prefer(value ?? '');
    }

    if (['lines', 'names'].includes(k) && value !== had && again(k)) {
        return;
    }

    if (['colors', 'root', 'names'].includes(k) && k !== 'lines') {
        state.full = param('names') === 'full';
        paint();
        find();
        display.show(state, { cols: cols() });
        return;
    }

    if (k === 'cols') {
        tables();
        display.show(state, { cols: cols() });
        return;
    }

    count();
}


/* Lines and whole names that the profile has not are asked for, where that
 * costs nothing; else it says what to do. */

function again(k) {
    const has = k === 'lines' ? state.profile.sites.line.some(n => n > 0)
                              : true;
    const { src } = wantedSources();

    if (has || src.length === 0 || (k === 'lines' && !is('lines'))) {
        return false;
    }

    if (src.some(u => secondsOf(u))) {
        banner('warn', 'This recording has no lines.', el('button',
            { type: 'button', onclick: () => {
                setQuery({ rec: null });
                location.reload();
            } }, 'Record again, with lines'));
        return false;
    }

    const { base } = wantedSources();

    fetchAll(src, base, 0);
    return true;
}


function head() {
    const { tree: t, profile: p, base: b, both, type } = state;
    const u = t.unit, grown = b ? t.value[0] - t.base[0] : 0, by = norm();
    const said = { total: ' each', second: ' in as long a time',
                   request: ' for as many requests' };
    let text;

    if (b && by === 'total') {
        text = format(t.value[0], u) + said.total;

    } else if (b) {
        const gap = Math.abs(p.time - b.time) / 1000;

        text = (grown === 0 ? 'the same total'
                : (grown > 0 ? 'grew ' : 'shrank ')
                  + format(Math.abs(grown), u))
               + (by ? said[by] : gap >= 1 && p.time && b.time
                  ? ' in ' + format(gap, 'seconds') : '');

    } else {
        text = format(t.value[0], u) + since(p, u, both.types[type].type);
    }

    ui.pill.hidden = false;
    ui.pill.textContent = text;
    ui.pill.className = 'pill' + (b && by !== 'total' && grown > 0 ? ' bad'
                                  : b && grown < 0 ? ' info' : '');
    ui.width.hidden = ui.key.hidden = !b;
    ui.width.children[1].textContent = /^inuse/.test(both.types[type].type)
                                       ? 'In use now' : 'Now';
    ui.norm.hidden = !b;
    ui.norm.replaceChildren(...[['none', 'as it is'], ['total', 'same total'],
        ['second', 'per second', p.duration && b?.duration],
        ['request', 'per request', p.requests && b?.requests]]
        .filter(([, , ok = true]) => ok)
        .map(([value, t2]) => el('option', { value }, t2)));
    ui.norm.value = by || 'none';
    ui.invert.setAttribute('aria-pressed', String(is('invert')));
    chips();
    nameless();
}


/* What a total is of: a time, or all since something. */

const since = (p, unit, type) => p.duration && unit === 'nanoseconds'
        && /cpu|wall/.test(type) ? ' in ' + format(p.duration, unit)
    : /^alloc/.test(type) ? (p.duration ? ' in ' + format(p.duration,
                                                          'nanoseconds')
                                        : ' since the start')
    : /^(delay|contentions)$/.test(type)
      ? p.duration ? ' in ' + format(p.duration, 'nanoseconds')
                   : ' since it is recorded'
      : '';


function chips() {
    ui.filters.replaceChildren(...FILTERS.flatMap(k => params(k).map(text =>
        el('button', { type: 'button', class: 'chip',
                       'aria-label': `Remove ${k}: ${text} ×`,
                       title: `${k}: ${text}`,
                       onclick: () => {
            setQuery({ [k]: params(k).filter(x => x !== text) });
            count();
        } }, `${k}: ${text} ×`))));
}


function addFilter(kind, text) {
    try {
        regex(text);

    } catch {
        return false;
    }

    setQuery({ [kind]: [...new Set([...params(kind), text])] });
    count();
    return true;
}


function nameless() {
    const bad = unnamed(state.shown, state.type), m = bad.modules[0];

    ui.unnamed?.remove();
    ui.unnamed = bad.share < 0.02 ? null : banner('warn',
        percent(bad.share, 1) + ' of the samples have no names'
        + (m?.file ? `, most of them in ${m.file}` : '')
        + (m?.buildId ? `, build id ${m.buildId}` : '')
        + ': no symbols were found there. Their frames are module+offset.');
}


/* --- the picture --- */

let painted = null;

function palette() {
    return painted ??= (c => ({
        ...c, root: c['fl-root'], other: c['fl-other'], hit: c['fl-hit'],
        hitText: c['fl-hit-text'], dim: c['fl-dim'],
        dimText: c['fl-dim-text'], text: c['fl-text'],
        slots: Array.from({ length: 12 }, (_, i) => c['fl-' + i])
    }))(colors('fl-root', 'fl-other', 'fl-text', 'fl-dim', 'fl-dim-text',
               'fl-hit', 'fl-hit-text', 'same', 'up-1', 'up-2', 'up-3',
               'dn-1', 'dn-2', 'dn-3',
               ...Array.from({ length: 12 }, (_, i) => 'fl-' + i)));
}


const looks = () => ({
    colors: param('colors') ?? (param('first') ? 'first' : 'package'),
    full: param('names') === 'full', up: param('root') === 'bottom',
    width: ['now', 'gone'].includes(param('width')) ? param('width')
                                                    : 'growth'
});


function paint() {
    const l = looks();

    flame.set(state.tree, palette(), { at: param('at'), ...l });
    ui.width.show(l.width);
    detail(flame, flame.zoomed);
    key();
    ui.out.hidden = ui.flame.hidden || flame.zoomed === 0;

    if (!ui.sandwich.hidden) {
        sandwich();
    }
}


/* What the colors are of. */

function key() {
    const names = state.base ? [] : flame.slot.names.slice(0, 8);

    ui.legend.parentNode.hidden = names.length < 2 || ui.flame.hidden;
    ui.legend.replaceChildren(...names.map((n, i) => el('span', {},
        el('i', { class: 'fl fl-' + i }), n.length > 40 ? n.slice(0, 39) + '…'
                                                        : n)));
}


function repaint() {
    painted = null;

    for (const f of [flame, above, below]) {
        if (f.t) {
            f.repaint(palette());
        }
    }
}


/* Callers above, callees below. */

function sandwich() {
    const fn = param('fn') ?? '', l = { ...looks(), width: 'growth' };
    const part = up => tree(through(state.shown, fn, up), state.type,
                            { invert: up });
    const up = part(true), down = part(false);
    const me = state.shown.frames.find(f => f.name === fn);

    above.set(up, palette(), { ...l, up: true });
    below.set(down, palette(), { ...l, up: false });

    /* the function itself, not all that there is */
    [above, below].forEach(f => f.t.n > 1 && f.begin(1));
    ui.between.textContent = me && !state.full ? shortOf(me) : fn;
    ui.between.title = fn;
    detail(below, 0);
}


const rowName = (f, k) => {
    const row = k ? f.t.frames[f.t.frame[k]] : null;

    return row ? row.fn && !is('lines') ? row.fn : row.name : 'all';
};


/* Numbers first, then the name: none of it moves. */

function detail(fl, k) {
    const { t } = fl;

    if (!t) {
        return;
    }

    const f = k ? t.frames[t.frame[k]] : null, w = words(t, k, fl.whole);
    const name = f ? state.full ? f.name : shortOf(f) : 'all';

    ui.detail.replaceChildren(
        el('b', {}, w.value), el('span', {}, w.share),
        el('span', { class: 'self' }, w.self || w.now),
        el('span', { class: 'name', title: w.name }, name),
        f?.inlined ? el('span', { class: 'tag muted' }, 'inlined') : '',
        el('span', { class: 'muted mono at' }, f?.file
            ? f.file.split('/').slice(-2).join('/')
              + (f.lines.length ? ':' + f.lines.join(', ') : '')
            : f?.module ? f.module.replace(/^.*\//, '') : ''));
    fl.host.title = name === w.name ? '' : w.name;
}


function zoomed(k) {
    setQuery({ at: nameOf(state.tree, k) });
    ui.out.hidden = k === 0;
}


function flip(k) {
    setQuery({ [k]: is(k) ? null : '1', at: null });
    count();
}


/* --- search --- */

function matcher() {
    const re = regex(ui.find.value);

    return re && (f => re.test(f.name) || re.test(shortOf(f)));
}


function find() {
    let match = null;

    setQuery({ q: ui.find.value });

    try {
        match = matcher();
        ui.find.removeAttribute('aria-invalid');

    } catch {
        ui.find.setAttribute('aria-invalid', 'true');
        ui.found.textContent = 'not a regular expression';
        tables();
        return;
    }

    const r = flame.t ? flame.search(match) : null;

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


/* --- views --- */

const cols = () => param('cols')?.split(',') ?? USUAL;

function tables() {
    const v = param('view');

    if (v === 'top') {
        let match = null;

        try {
            match = matcher();
        } catch {
            /* said beside the field */
        }

        topTable(state, ui.table, { wanted: cols(), match, peek });

    } else if (v === 'function') {
        peekTable(state, ui.peek, { fn: param('fn') ?? '', peek });

    } else if (v === 'stacks') {
        stacks().catch(e => banner('bad', e.message));
    }
}


/* Every goroutine or thread: of a file, or as the process says now. */

async function stacks() {
    let list = state.profile.threads;

    if (!list) {
        const url = wantedSources().src[0];

        url.searchParams.set('debug', '2');

        const res = await fetch(url, { cache: 'no-store' });

        if (!res.ok) {
            throw await failure(res);
        }

        list = state.profile.threads = threads(await res.text());
    }

    stacksView(ui.stacks, list, {
        match: matcher(), full: param('names') === 'full',
        state: param('state'), setState: v => {
            setQuery({ state: v });
            tables();
        }
    });
}


function peek(name) {
    setQuery({ fn: name });
    view(param('view') === 'sandwich' ? 'sandwich' : 'function');
}


function view(v, first = false) {
    if ((v === 'function' || v === 'sandwich') && !param('fn')) {
        if (first || state.tree.n < 2) {
            v = 'flame';
        } else {
            setQuery({ fn: rowName(flame, flame.cur || widest()) });
        }
    }

    setQuery({ view: v === 'flame' ? null : v });
    ui.views.show(v);
    ui.flame.hidden = v !== 'flame';
    ui.sandwich.hidden = v !== 'sandwich';
    ui.detail.hidden = v !== 'flame' && v !== 'sandwich';
    ui.table.hidden = v !== 'top';
    ui.peek.hidden = v !== 'function';
    ui.stacks.hidden = v !== 'stacks';
    ui.invert.hidden = ui.svg.hidden = v !== 'flame';

    if (!first) {
        paint();
        find();
        display.show(state, { cols: cols() });
    }
}


/* What spends the most itself. */

function widest() {
    const { tree: t } = state;
    let best = 1;

    for (let k = 1; k < t.n; k++) {
        if (Math.abs(t.self[k]) > Math.abs(t.self[best])) {
            best = k;
        }
    }

    return best;
}


function menu(fl, k, x, y) {
    if (k === 0) {
        return;
    }

    const row = fl.t.frames[fl.t.frame[k]], name = row.fn ?? row.name;
    const exact = '^' + name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') + '$';

    showMenu(main, name, x, y, [
        ['Callers and callees', () => {
            setQuery({ fn: row.name });
            view('function');
        }],
        ['Sandwich', () => {
            setQuery({ fn: row.name });
            view('sandwich');
        }],
        ['Only stacks with this function', () => addFilter('focus', exact)],
        ['Without this function\'s stacks', () => addFilter('ignore', exact)],
        ['Hide this function, not what it calls', () => addFilter('hide',
                                                                  exact)],
        ['Find it everywhere', () => {
            ui.find.value = exact;
            find();
        }]
    ]);
}
