/*
 * The viewer's tables: Top, with columns of one's choice, and one function with
 * its callers and callees.
 *
 * V is the viewer: { shown (looked at), type, base, tree, whole, full }.
 */

import { around, top } from './count.js';
import { shortOf } from './names.js';
import { el, Table } from './ui.js';
import { format, percent, signed } from './units.js';

/* Top's columns that are there from the start; the others can be had */
export const USUAL = ['self', 'selfp', 'total', 'totalp'];


const amountOf = (v, unit, diff) => el('span', {
    class: !diff ? '' : v > 0 ? 'pos' : v < 0 ? 'neg' : '' },
    diff ? signed(v, unit) : format(v, unit));


/* A function's name that leads to it. */

function name(v, f, peek) {
    const text = v.full ? f.name : shortOf(f);

    return {
        content: el('span', {}, el('button', { type: 'button', class: 'link',
            'data-name': f.name, onclick: () => peek(f.fn ?? f.name) }, text),
            f.inlined ? el('span', { class: 'muted tag' }, ' inlined') : null),
        title: f.name + (f.file ? '\n' + f.file + (f.lines.length
               ? ':' + f.lines.join(', ') : '') : '')
    };
}


/* --- Top --- */

/* [key, text] of all columns that V can have */

export function columnChoices(v) {
    return [['self', 'Self'], ['selfp', 'Self %'], ['sump', 'Sum %'],
            ['total', 'Total'], ['totalp', 'Total %'],
            ...v.shown.types.flatMap(({ type }, i) => i === v.type ? [] : [
                [`self:${type}`, `Self, ${type.replace(/_/g, ' ')}`],
                [`total:${type}`, `Total, ${type.replace(/_/g, ' ')}`]]),
            ['module', 'Module'], ['file', 'File']];
}


function columns(v, wanted, peek) {
    const diff = !!v.base, { unit } = v.tree, d = diff ? ' Δ' : '';
    const part = (key, text, of) => ({ key, text, class: 'pc',
                                       cell: r => percent(of(r), v.whole) });
    const all = {
        self: { key: 'self', text: 'Self' + d, value: r => r.self,
                cell: r => amountOf(r.self, unit, diff) },
        selfp: part('selfp', '%', r => r.self),
        sump: part('sump', 'Sum %', r => r.sum),
        total: { key: 'total', text: 'Total' + d, value: r => r.total,
                 cell: r => amountOf(r.total, unit, diff) },
        totalp: part('totalp', '%', r => r.total),
        module: { key: 'module', text: 'Module', class: 'l',
                  value: r => r.module, cell: r => r.module },
        file: { key: 'file', text: 'File', class: 'l', value: r => r.file,
                cell: r => r.file.split('/').slice(-2).join('/')
                           + (r.lines[0] ? ':' + r.lines[0] : '') }
    };

    for (const [i, t] of v.shown.types.entries()) {
        for (const what of ['self', 'total']) {
            all[`${what}:${t.type}`] = {
                key: `${what}:${t.type}`,
                text: `${what === 'self' ? 'Self' : 'Total'}, ${
                      t.type.replace(/_/g, ' ')}`,
                value: r => r.also?.[i]?.[what] ?? 0,
                cell: r => amountOf(r.also?.[i]?.[what] ?? 0, t.unit, diff)
            };
        }
    }

    return [...wanted.map(k => all[k]).filter(Boolean),
            { key: 'name', text: 'Function', class: 'l fn', head: true,
              value: r => r.name ?? '',
              cell: r => name(v, v.shown.frames[r.frame], peek) }];
}


function rowsOf(v, wanted, match) {
    const rows = top(v.shown, v.type);
    let sum = 0;

    for (const r of rows) {
        const f = v.shown.frames[r.frame];

        sum += r.self;
        Object.assign(r, { key: r.name, sum,
                           module: f.module?.replace(/^.*\//, '') ?? '' });
    }

    for (const [i, { type }] of v.shown.types.entries()) {
        if (wanted.some(k => k.endsWith(':' + type))) {
            const by = new Map(top(v.shown, i).map(r => [r.frame, r]));

            rows.forEach(r => (r.also ??= {})[i] = by.get(r.frame));
        }
    }

    return match ? rows.filter(r => match(v.shown.frames[r.frame])) : rows;
}


/* Puts Top into HOST; MATCH is of the search, or null. */

export function topTable(v, host, { wanted, match, peek }) {
    const key = wanted.join() + !!v.base + v.tree.unit
                + v.shown.types.map(t => t.type).join();

    if (host.shownKey !== key) {
        host.made = new Table(columns(v, wanted, peek),
                              { sort: wanted.find(k => !/p$/.test(k)),
                                caption: 'Functions by what they spent' });
        host.shownKey = key;
        host.replaceChildren(host.made.table, host.made.note);
    }

    host.made.columns = columns(v, wanted, peek);
    host.made.set(rowsOf(v, wanted, match));
}


/* --- one function --- */

export function peekTable(v, host, { fn, peek }) {
    const a = around(v.shown, v.type, fn), diff = !!v.base;
    const { unit } = v.tree, { frames } = v.shown;
    const me = frames.find(f => f.name === fn);

    const row = r => el('tr', {},
        el('td', {}, amountOf(r.value, unit, diff)),
        el('td', { class: 'pc' }, percent(r.value, a.total || v.whole)),
        r.name ? el('td', { class: 'l fn', title: r.name },
                    name(v, frames[r.frame], peek).content)
               : el('td', { class: 'l fn' },
                    r.root ?? '(nothing: it is the root here)'));
    const part = (title, rows) => el('tbody', {},
        el('tr', {}, el('th', { colspan: '3', class: 'l', scope: 'rowgroup' },
                        `${title} (${rows.length})`)),
        ...rows.map(row));

    host.replaceChildren(el('table', { class: 't peek' },
        el('caption', { class: 'sr' }, 'Callers and callees of ' + fn),
        el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Value'),
                           el('th', { scope: 'col', class: 'pc' },
                              'of this function'),
                           el('th', { scope: 'col', class: 'l' },
                              'Function'))),
        part('Called by', a.callers),
        el('tbody', {}, el('tr', { class: 'me' },
            el('td', {}, amountOf(a.total, unit, diff)),
            el('td', { class: 'pc' }, percent(a.total, v.whole) + ' of all'),
            el('th', { class: 'l fn', scope: 'row', title: fn },
               me && !v.full ? shortOf(me) : fn || '–'))),
        part('Where it goes', [{ value: a.self, root: 'in itself' },
                               ...a.callees])));
}
