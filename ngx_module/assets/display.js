/*
 * The viewer's ways to show a profile: names, lines, the root's place, colors,
 * what is the first row, units, columns, filters.
 */

import { columnChoices } from './tables.js';
import { el, segments } from './ui.js';
import { choices } from './units.js';

const FILTERS = [['focus', 'only stacks with'], ['ignore', 'not stacks with'],
                 ['hide', 'hide functions'], ['show', 'show only functions']];


export class Display {
    /* PAGE: param, is (of the URL), change(key, value), addFilter */

    constructor(host, page) {
        this.page = page;
        this.host = host;

        this.names = segments('Names', [['short', 'Short'], ['full', 'Full']],
                              v => page.change('names', v === 'full' ? v
                                                                     : null));
        this.lines = this.switch('lines', 'Lines');
        this.fold = this.switch('fold', 'Merge recursion');
        this.root = segments('Root', [['top', 'Icicle'], ['bottom', 'Flame']],
                             v => page.change('root', v === 'bottom' ? v
                                                                     : null));
        this.colors = this.choice('colors', 'Colors');
        this.first = this.choice('first', 'First row');
        this.unit = this.choice('unit', 'Unit');
        this.columns = el('details', { class: 'columns' },
                          el('summary', {}, 'Columns'));
        this.boxes = el('div', { class: 'row' });
        this.columns.append(this.boxes);

        host.append(el('label', {}, 'Names ', this.names), this.lines,
                    el('label', {}, 'Root ', this.root), this.fold,
                    el('label', {}, 'Colors ', this.colors),
                    el('label', {}, 'First row ', this.first),
                    el('label', {}, 'Unit ', this.unit), this.filter(),
                    this.columns);
    }

    switch(key, text) {
        return el('button', { type: 'button', 'aria-pressed': 'false',
                              onclick: () => this.page.change(
                                  key, this.page.is(key) ? null : '1') },
                  text);
    }

    choice(key, label) {
        return el('select', { 'aria-label': label, onchange: e =>
            this.page.change(key, e.target.value || null) });
    }

    filter() {
        const kind = el('select', { 'aria-label': 'Kind of filter' },
                        ...FILTERS.map(([value, text]) => el('option',
                                                             { value },
                                                             text)));
        const text = el('input', { 'aria-label': 'Filter, regular expression',
                                   placeholder: 'regex', spellcheck: 'false',
                                   autocomplete: 'off' });

        return el('form', { class: 'row', onsubmit: e => {
            e.preventDefault();

            if (text.value && this.page.addFilter(kind.value, text.value)) {
                text.value = '';
                text.removeAttribute('aria-invalid');
            } else {
                text.setAttribute('aria-invalid', 'true');
            }
        } }, kind, text, el('button', {}, 'Add'));
    }

    fill(select, list, value) {
        select.replaceChildren(...list.map(([v, text]) => el('option',
            { value: v }, text)));
        select.value = value ?? '';

        if (select.selectedIndex < 0) {
            select.selectedIndex = 0;
        }
    }

    show({ both, tree, type, base }, { cols }) {
        const { page } = this, v = page.param('view') ?? 'flame';
        const labels = both.labels.map(l => l.key);

        this.names.show(page.param('names') ?? 'short');
        this.root.show(page.param('root') ?? 'top');
        this.lines.setAttribute('aria-pressed', String(page.is('lines')));
        this.fold.setAttribute('aria-pressed', String(page.is('fold')));
        this.fill(this.colors, [['', 'by package'], ['module', 'by module'],
            ...page.param('first') ? [['first', 'by first row']] : []],
            page.param('colors') ?? (page.param('first') ? 'first' : ''));
        this.fill(this.first, [['', 'functions'],
                               ...labels.map(k => [k, k.replace(/_/g, ' ')])],
                  page.param('first'));
        this.fill(this.unit, choices(tree.unit).map(u => [
            u === 'auto' ? '' : u, u === 'decimal' ? 'kB, MB, GB' : u]),
            page.param('unit'));
        this.first.parentNode.hidden = labels.length === 0;
        this.unit.parentNode.hidden = this.unit.options.length < 2;
        this.colors.parentNode.hidden = !!base || v !== 'flame';
        this.root.parentNode.hidden = v !== 'flame';
        this.columns.hidden = v !== 'top';

        const all = columnChoices({ shown: both, type });

        this.boxes.replaceChildren(...all.map(([key, text]) => el('label', {},
            el('input', { type: 'checkbox', checked: cols.includes(key),
                          onchange: e => this.page.change('cols', all
                              .map(([k]) => k).filter(k => k === key
                                  ? e.target.checked : cols.includes(k))
                              .join(',')) }), ' ', text)));
    }
}
