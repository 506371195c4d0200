/* Small tools of all pages. */

export const main = () => document.querySelector('main');

/* the mount point, absolute */
export const root = () => new URL(main().dataset.root || './', location.href);

/*
 * The kinds of profiles that the server knows, in its order: [{ name, title,
 * about, seconds: that one takes unless asked otherwise, 0 of an instant;
 * text: no profile, go: of Go programs alone, raw: not profile.proto, kept:
 * may be a snapshot }].
 */
export const kinds = () => JSON.parse(main().dataset.kinds ?? '[]');


/*
 * Whether this location asks the peers of GROUP what they say of themselves,
 * and whether it has profiles of them: a link to no profile is none.
 */
export function mayAsk(group) {
    const { groups } = main().dataset;

    /* what no text is has no name in scripts, either */
    const name = s => {
        try {
            return decodeURIComponent(s);
        } catch {
            return s;
        }
    };

    return groups === undefined || groups.split(' ').map(name)
                                         .includes(group);
}

export const mayProfile = group => main().dataset.noProfiles === undefined
                                   && mayAsk(group);


/*
 * An element.  Attributes that are functions become listeners, true is an
 * empty attribute, false and null are left out.  Text goes in as text: names
 * come from backends.
 */

export function el(tag, attrs = {}, ...content) {
    const e = document.createElement(tag);

    for (const [k, v] of Object.entries(attrs)) {
        if (typeof v === 'function') {
            e.addEventListener(k.replace(/^on/, ''), v);

        } else if (k === 'class') {
            e.className = v;

        } else if (v !== false && v !== null && v !== undefined) {
            e.setAttribute(k, v === true ? '' : v);
        }
    }

    e.append(...content.flat().filter(c => c !== null && c !== undefined));
    return e;
}


/* CSS colors as the canvas wants them, in the theme of the moment. */

export function colors(...names) {
    const probe = el('div', { hidden: true }), out = {};

    for (const n of names) {
        probe.append(el('i'));
        probe.lastChild.style.color = `var(--${n})`;
    }

    /* all are there before the first is asked for: one reckoning of styles */
    document.body.append(probe);
    names.forEach((n, i) => out[n] = getComputedStyle(probe.children[i])
                                     .color);
    probe.remove();
    return out;
}


/* State that belongs into a link: null or '' takes a key away. */

export function setQuery(changes) {
    const url = new URL(location.href);

    for (const [k, v] of Object.entries(changes)) {
        url.searchParams.delete(k);

        for (const one of Array.isArray(v) ? v : [v]) {
            if (one !== null && one !== undefined && one !== '') {
                url.searchParams.append(k, one);
            }
        }
    }

    if (url.href !== location.href) {
        history.replaceState(null, '', url);
    }
}


/* Buttons of which one is pressed. */

export function segments(label, choices, on) {
    const box = el('div', { class: 'seg', role: 'group',
                            'aria-label': label });

    for (const [value, text] of choices) {
        box.append(el('button', { type: 'button', 'data-value': value,
                                  'aria-pressed': 'false',
                                  onclick: () => on(value) }, text));
    }

    box.show = value => {
        for (const b of box.children) {
            b.setAttribute('aria-pressed',
                           String(b.dataset.value === String(value)));
        }
    };

    return box;
}


/* A command with a button that copies it. */

export function command(text, label = 'Command') {
    const code = el('code', { tabindex: '0', role: 'region',
                              'aria-label': label }, text);
    const button = el('button', { type: 'button', onclick: async () => {
        button.textContent = await copy(code) ? 'Copied' : 'Press Ctrl+C';
        setTimeout(() => button.textContent = 'Copy', 2000);
    } }, 'Copy');

    const box = el('div', { class: 'cmd' }, code, button);

    box.set = t => code.textContent = t;
    return box;
}


/* On plain http there is no navigator.clipboard: select and copy by hand. */

export async function copy(node) {
    try {
        await navigator.clipboard.writeText(node.textContent);
        return true;

    } catch {
        const range = document.createRange();

        range.selectNodeContents(node);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        return document.execCommand('copy');
    }
}


export function save(name, type, content) {
    const a = el('a', { download: name,
                        href: URL.createObjectURL(new Blob([content],
                                                           { type })) });

    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}


/*
 * A table that sorts itself by a click on a header.  COLUMNS: { key, text,
 * left, title, value(row) for sorting, cell(row) for showing }; without value
 * a column does not sort.
 */

export class Table {
    constructor(columns, { sort, down = true, caption, max = 500,
                           page = false } = {})
    {
        this.paged = page;
        this.first = 0;
        this.columns = columns;
        this.sort = sort;
        this.down = down;
        this.max = max;
        this.rows = [];
        this.body = el('tbody');

        const head = el('tr');

        for (const c of columns) {
            const th = el('th', { scope: 'col', class: c.class,
                                  title: c.title });

            if (c.value) {
                th.dataset.key = c.key;
                th.append(el('button', { type: 'button',
                                         onclick: () => this.by(c.key) },
                             c.text));
            } else {
                th.append(c.text);
            }

            head.append(th);
        }

        this.head = head;
        this.said = el('span', { role: page ? 'status' : null });
        this.note = el('p', { class: 'muted note row', hidden: true },
            ...page ? [this.turn(-1, '‹', 'Previous page'), this.said,
                       this.turn(1, '›', 'Next page')]
                    : [this.said, el('button', { type: 'button',
                        class: 'link', onclick: () => {
                this.max *= 2;
                this.set(this.rows);
            } }, 'Show more')]);
        this.table = el('table', { class: 't' },
                        caption ? el('caption', { class: 'sr' }, caption)
                                : null,
                        el('thead', {}, head), this.body);
    }

    turn(by, text, label) {
        return el('button', { type: 'button', 'aria-label': label,
                              onclick: () => {
            this.first += by * this.max;
            this.set(this.rows);
            this.onpage?.();
        } }, text);
    }

    by(key) {
        this.first = 0;
        this.down = this.sort === key ? !this.down : true;
        this.sort = key;
        this.set(this.rows);
        this.onsort?.();
    }

    set(rows) {
        const c = this.columns.find(x => x.key === this.sort);

        this.rows = rows;

        if (c) {
            const sign = this.down ? -1 : 1;

            rows = rows.map(r => [c.value(r), r]).sort(([a], [b]) => {
                if (a === b) {
                    return 0;
                }

                if (typeof a === 'string') {
                    /* names read downwards */
                    return sign * -1 * a.localeCompare(b);
                }

                return sign * ((a ?? -Infinity) - (b ?? -Infinity));
            }).map(([, r]) => r);
        }

        for (const th of this.head.children) {
            if (th.dataset.key) {
                th.setAttribute('aria-sort', th.dataset.key !== this.sort
                                ? 'none' : this.down === (typeof c?.value(
                                      this.rows[0] ?? {}) !== 'string')
                                ? 'descending' : 'ascending');
            }
        }

        const focus = document.activeElement?.closest?.('[data-row]')
                              ?.dataset.row;
        const at = document.activeElement?.textContent;

        if (this.first >= rows.length || this.first < 0) {
            this.first = 0;
        }

        this.shown = rows.slice(this.first, this.first + this.max);
        this.body.replaceChildren(...this.shown.map((r, i) => {
            const tr = el('tr', { 'data-row': r.key ?? i,
                                  class: r.class });

            if (r.heading) {
                tr.append(el('th', { class: 'l heading', scope: 'rowgroup',
                                     colspan: this.columns.length },
                             r.heading));
                return tr;
            }

            for (const col of this.columns) {
                const cell = col.cell(r);

                tr.append(el(col.head ? 'th' : 'td',
                             { class: [col.class, cell?.bad && 'bad-cell']
                                      .filter(Boolean).join(' ') || null,
                               'data-label': col.text,
                               scope: col.head ? 'row' : null,
                               title: cell?.title },
                             cell?.content ?? cell ?? '–'));
            }

            return tr;
        }));

        this.note.hidden = rows.length <= this.max;
        this.tell(rows.length);

        /* a refresh must not throw the keyboard user out of the table */

        if (focus !== undefined && !document.activeElement?.closest('table')) {
            const tr = [...this.body.children].find(x => x.dataset.row
                                                         === focus);

            [...tr?.querySelectorAll('a, button') ?? []]
                .find(x => x.textContent === at)?.focus();
        }
    }

    tell(n) {
        const to = Math.min(n, this.first + this.max);
        const text = this.paged ? `${this.first + 1}–${to} of ${n} rows`
                                : `The first ${this.max} of ${n} rows.`;

        if (this.said.textContent !== text) {
            this.said.textContent = text;
        }

        if (this.paged) {
            this.note.firstChild.disabled = this.first === 0;
            this.note.lastChild.disabled = to === n;
        }
    }
}


/* 10.0.0.5:8080 and 10.0.0.6:8080 need no port to be told apart. */

export function shortPeers(peers) {
    const port = p => /:\d+$/.exec(p)?.[0];
    const first = port(peers[0] ?? '');

    return peers.length > 1 && first && peers.every(p => port(p) === first)
           && !peers.some(p => p.startsWith('unix:'))
        ? new Map(peers.map(p => [p, p.slice(0, -first.length)]))
        : new Map(peers.map(p => [p, p]));
}


/* --- times --- */

/* Local, or UTC for who compares with logs: a choice of this browser. */

const STORED = 'debug-utc';

export function utc(on) {
    try {
        if (on !== undefined) {
            localStorage.setItem(STORED, on ? '1' : '0');
            dispatchEvent(new Event('unitchange'));
        }

        return localStorage.getItem(STORED) === '1';

    } catch {
        return false;
    }
}


/* A date whose local fields are those to be shown. */

const local = seconds => {
    const d = new Date(seconds * 1000);

    return utc() ? new Date(d.getTime() + d.getTimezoneOffset() * 60000) : d;
};

const two = n => String(n).padStart(2, '0');


export function clock(seconds, withSeconds = true) {
    const d = local(seconds);

    return two(d.getHours()) + ':' + two(d.getMinutes())
           + (withSeconds ? ':' + two(d.getSeconds()) : '');
}


/* With its day, when that is not today. */

export function when(seconds) {
    const d = local(seconds);

    return (d.toDateString() === local(Date.now() / 1000).toDateString() ? ''
            : d.toLocaleDateString('en', { month: 'short', day: 'numeric' })
              + ', ') + clock(seconds);
}


export function zone() {
    const min = utc() ? 0 : -new Date().getTimezoneOffset();

    return min === 0 ? 'UTC' : (min < 0 ? '\u2212' : '+')
           + two(Math.floor(Math.abs(min) / 60)) + ':'
           + two(Math.abs(min) % 60);
}


/* For who reads it elsewhere and later: with the zone, LONG with the year. */

export function stamp(seconds, long = false) {
    const d = local(seconds);

    return (long ? `${d.getFullYear()}-${two(d.getMonth() + 1)}-${
                   two(d.getDate())} ${clock(seconds)}` : when(seconds))
           + ' ' + zone();
}


export function ago(seconds) {
    const s = Math.max(0, Math.round(seconds));

    return s < 10 ? 'just now' : s < 90 ? s + ' s'
         : s < 5400 ? Math.round(s / 60) + ' min'
         : s < 172800 ? Math.round(s / 3600) + ' h'
                      : Math.round(s / 86400) + ' days';
}


/* The sentence of a failed answer: the server's own where it has one. */

export async function failure(res) {
    const text = (await res.text().catch(() => '')).trim();
    const e = new Error(text && !text.startsWith('<') ? text.slice(0, 500)
                                                      : res.statusText
                                                        || 'no reason given');

    e.status = res.status;
    return e;
}
