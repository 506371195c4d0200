/*
 * The flame graph, root on top, the biggest child left, drawn on a canvas:
 * frames narrower than one pixel are never looked at, so that the cost is that
 * of what is seen.  svg() draws the same picture as a file and needs no
 * browser.
 *
 * For the keyboard and for screen readers the current frame, its parent, its
 * siblings and its children are elements over the canvas: a tree with one
 * tabstop.
 */

import { format, percent, signed } from './profile.js';

export const ROW = 20;                                  /* pixels */
const SLOTS = 12;


/* What a function belongs to: a Go package, a C++ namespace, else a file. */

export function packageOf(f) {
    if (!f.named) {
        return f.module.replace(/^.*\//, '');
    }

    const go = /^((?:.*\/)?[^/.(<: ]+)\.[^:]/.exec(f.name);

    if (go && !f.name.includes('::')) {
        return go[1];
    }

    return /^((?:\(anonymous namespace\)|[\w~]+))::/.exec(f.name)?.[1]
           ?? f.module.replace(/^.*\//, '');
}


/* The heaviest packages have a color of their own, the others are gray. */

export function slots(tree) {
    const weight = new Map(), names = tree.frames.map(packageOf);

    for (let k = 1; k < tree.n; k++) {
        const p = names[tree.frame[k]], v = Math.abs(tree.self[k]);

        weight.set(p, (weight.get(p) || 0) + v);
    }

    const order = [...weight].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1
                                                                         : 1))
                             .slice(0, SLOTS).map(([p]) => p);
    const slot = new Map(order.map((p, i) => [p, i]));

    return names.map(p => slot.get(p) ?? -1);
}


/* 12 hues, neighbors in weight far apart on the wheel */
export const hue = slot => slot * 150 % 360 + (slot >= 6 ? 15 : 0);


/*
 * Sizes and children of a tree.  In a difference a frame is as wide as what
 * changed in it and below ("growth"), or as what it has now ("now").
 */

export function layout(t, width = 'growth') {
    const size = new Float64Array(t.n), first = new Int32Array(t.n + 1);
    const kids = new Int32Array(Math.max(0, t.n - 1));

    if (t.base && width === 'growth') {
        for (let k = t.n - 1; k >= 0; k--) {
            size[k] += Math.abs(t.self[k] - t.baseSelf[k]);

            if (k) {
                size[t.parent[k]] += size[k];
            }
        }

    } else {
        for (let k = t.n - 1; k >= 0; k--) {
            size[k] += Math.abs(t.self[k]);

            if (k) {
                size[t.parent[k]] += size[k];
            }
        }
    }

    for (let k = 1; k < t.n; k++) {
        first[t.parent[k] + 1]++;
    }

    for (let k = 0; k < t.n; k++) {
        first[k + 1] += first[k];
    }

    const fill = first.slice(), sorted = new Uint8Array(t.n);

    for (let k = 1; k < t.n; k++) {
        kids[fill[t.parent[k]]++] = k;
    }

    const children = k => {
        const c = kids.subarray(first[k], first[k + 1]);

        if (!sorted[k]) {
            sorted[k] = 1;

            if (c.length > 1) {
                c.sort((a, b) => size[b] - size[a] || a - b);
            }
        }

        return c;
    };

    return { size, children, hasChildren: k => first[k + 1] > first[k] };
}


/*
 * Calls paint(node, x, width, row, hit) for all that is to be seen of the part
 * below ZOOM; returns the number of rows.  HITS marks nodes that the search
 * found, BELOW those with a hit in or under them: a hit narrower than three
 * pixels is drawn three wide.
 */

export function walk(t, lay, zoom, width, paint, hits = null, below = null) {
    const path = [], seen = new Set();
    let rows = 0;

    for (let k = t.parent[zoom]; k >= 0; k = t.parent[k]) {
        path.unshift(k);
    }

    path.forEach((k, r) => paint(k, 0, width, r, hits?.[k]));

    const scale = lay.size[zoom] > 0 ? width / lay.size[zoom] : 0;
    const nodes = [zoom], xs = [0], depth = [path.length];

    while (nodes.length) {
        const k = nodes.pop(), r = depth.pop();
        let x = xs.pop(), w = k === zoom ? width : lay.size[k] * scale;

        if (w < 1) {
            const spot = r * 16384 + Math.floor(x / 3);

            if (hits?.[k] && !seen.has(spot)) {
                seen.add(spot);
                paint(k, x, 3, r, true);
                rows = Math.max(rows, r + 1);
            }

            w = 0;

        } else {
            paint(k, x, w, r, hits?.[k]);
            rows = Math.max(rows, r + 1);
        }

        for (const c of lay.children(k)) {
            const cw = lay.size[c] * scale;

            if (cw < 1 && !below?.[c]) {
                if (!below) {
                    break;                /* all that follow are smaller */
                }

            } else {
                nodes.push(c);
                xs.push(x);
                depth.push(r + 1);
            }

            x += cw;
        }
    }

    return rows;
}


/* full name, then without the path, then the method alone, then its start */

export function fit(name, width, measure) {
    if (width < 18) {
        return '';
    }

    const noPath = name.replace(/^(?!.*::)[^(<]*\/(?=[^/])/, '');
    const noPackage = noPath.replace(/^[\w~]+(?:\.|::)(?=.)/, '');
    const bare = noPackage.replace(/^.*(?:\)\.|::)(?=[^)]+$)/, '');

    for (const s of [name, noPath, noPackage, bare]) {
        if (measure(s) <= width) {
            return s;
        }
    }

    let lo = 0, hi = bare.length;

    while (lo < hi) {
        const mid = lo + hi + 1 >> 1;

        if (measure(bare.slice(0, mid) + '…') <= width) {
            lo = mid;
        } else {
            hi = mid - 1;
        }
    }

    return lo >= 2 ? bare.slice(0, lo) + '…' : '';
}


/* Three steps of growth or decrease, by the share of all that changed. */

export function diffClass(t, lay, k) {
    const d = t.value[k] - t.base[k];
    const r = Math.abs(d) / (lay.whole || 1);
    const step = r > 0.25 ? 3 : r > 0.05 ? 2 : r > 0.002 ? 1 : 0;

    return step === 0 ? 'same' : (d > 0 ? 'up-' : 'dn-') + step;
}


/* "main.decodeOrder", "+108 MiB, 98.2%", "self +104 MiB" */

export function words(t, k, whole) {
    const name = k ? t.frames[t.frame[k]].name : 'all';

    if (t.base) {
        const d = t.value[k] - t.base[k], s = t.self[k] - t.baseSelf[k];

        return { name, value: signed(d, t.unit), share: percent(d, whole),
                 self: s ? 'self ' + signed(s, t.unit) : '',
                 now: `${format(t.base[k], t.unit)} → `
                      + format(t.value[k], t.unit) };
    }

    return { name, value: format(t.value[k], t.unit),
             share: percent(t.value[k], whole), now: '',
             self: t.self[k] ? 'self ' + format(t.self[k], t.unit) : '' };
}


/* What percentages are of: all that is there, or all that changed. */

export function wholeOf(t) {
    if (!t.base) {
        return t.value[0];
    }

    const d = t.value[0] - t.base[0];

    return d === 0 ? t.base[0] : Math.abs(d);
}


export class Flame {
    /* HOST is empty; ON: hover(node), select(node), menu(node, x, y),
     * zoom(node), peek(node) */

    constructor(host, on) {
        const make = (tag, cls) => {
            const e = document.createElement(tag);

            e.className = cls;
            return e;
        };

        this.host = host;
        this.on = on;
        this.canvas = make('canvas', 'flame-canvas');
        this.space = make('div', 'flame-space');
        this.access = make('div', 'flame-access');
        this.access.setAttribute('role', 'tree');
        this.access.setAttribute('aria-label', 'Flame graph');
        this.canvas.setAttribute('aria-hidden', 'true');
        this.space.append(this.canvas, this.access);
        host.append(this.space);
        this.cur = this.zoomed = 0;
        this.width = 'growth';
        this.widths = new Map();
        this.drawn = new Map();

        host.addEventListener('scroll', () => this.draw(), { passive: true });
        host.addEventListener('pointermove', e => this.hover(this.at(e)));
        host.addEventListener('pointerleave', () => this.hover(-1));
        host.addEventListener('click', e => this.click(this.at(e)));
        host.addEventListener('contextmenu', e => {
            const k = this.at(e);

            if (k >= 0) {
                e.preventDefault();
                on.menu?.(k, e.clientX, e.clientY);
            }
        });
        this.access.addEventListener('keydown', e => this.key(e));
        this.access.addEventListener('focusin', () => on.hover?.(this.cur));

        new ResizeObserver(() => {
            if (this.t && this.host.clientWidth
                && (this.host.clientWidth !== this.W
                    || this.host.clientHeight !== this.H))
            {
                this.draw();
            }
        }).observe(host);
    }

    set(t, palette, { at = 0, width = 'growth' } = {}) {
        this.t = t;
        this.width = width;
        this.lay = layout(t, width);
        this.lay.whole = this.lay.size[0];
        this.slot = slots(t);
        this.palette = palette;
        this.whole = wholeOf(t);
        this.zoomed = at < t.n ? at : 0;
        this.cur = this.zoomed;
        this.hits = this.below = null;
        this.host.scrollTop = 0;
        this.draw();
    }

    zoom(k) {
        this.zoomed = this.cur = k;
        this.draw();
        this.on.zoom?.(k);
        this.on.hover?.(k);
    }

    /* Which frame is under the pointer, or -1. */

    at(e) {
        const box = this.space.getBoundingClientRect();
        const x = e.clientX - box.left, row = Math.floor((e.clientY - box.top)
                                                         / ROW);
        let found = -1;

        for (const d of this.rows?.[row] ?? []) {
            if (x >= d.x && x < d.x + Math.max(d.w, 3)) {
                found = d.k;

                if (x < d.x + d.w) {
                    return found;
                }
            }
        }

        return found;
    }

    hover(k) {
        if (this.over !== k) {
            this.over = k;
            this.host.classList.toggle('on', k >= 0);
            this.on.hover?.(k >= 0 ? k : this.cur);
            this.draw();
        }
    }

    click(k) {
        if (k < 0) {
            return;
        }

        if (k === this.zoomed && k !== 0) {
            this.on.peek?.(k);

        } else {
            this.zoom(k);
        }

        this.focus();
    }

    /*
     * Marks what RE matches.  Returns the number of frames and the share that
     * goes through any of them.
     */

    search(re) {
        const { t, hits: had } = this;

        this.hits = this.below = this.order = null;

        if (re === null) {
            if (had) {
                this.draw();
            }

            return null;
        }

        const match = t.frames.map(f => re.test(f.name));
        const hits = new Uint8Array(t.n), below = new Uint8Array(t.n);
        const inside = new Uint8Array(t.n), order = [];
        let size = 0;

        for (let k = 1; k < t.n; k++) {
            const p = t.parent[k];

            hits[k] = match[t.frame[k]] ? 1 : 0;
            inside[k] = inside[p] || hits[p] ? 1 : 0;

            if (hits[k]) {
                order.push(k);
                size += inside[k] ? 0 : this.lay.size[k];
            }
        }

        for (let k = t.n - 1; k > 0; k--) {
            below[k] |= hits[k];
            below[t.parent[k]] |= below[k];
        }

        order.sort((a, b) => this.lay.size[b] - this.lay.size[a] || a - b);
        Object.assign(this, { hits, below, order, next: -1 });
        this.draw();
        return { frames: order.length, size,
                 share: this.lay.size[0] ? size / this.lay.size[0] : 0 };
    }

    /* Goes to the next (or, with -1, the previous) frame found. */

    step(by) {
        if (!this.order?.length) {
            return;
        }

        const n = this.order.length;

        this.next = ((this.next < 0 && by < 0 ? 0 : this.next) + by + n) % n;

        const k = this.order[this.next];

        this.zoom(this.zoomed);

        if (!this.drawn.has(k) || this.drawn.get(k).w < 24) {
            this.zoom(k);
        }

        this.cur = k;
        this.draw();
        this.reveal();
        this.on.hover?.(k);
        return this.next + 1;
    }

    /* The sum of its characters, each of which is measured once. */

    measure(s) {
        let sum = 0;

        for (const c of s) {
            let w = this.widths.get(c);

            if (w === undefined) {
                w = this.ctx.measureText(c).width;
                this.widths.set(c, w);
            }

            sum += w;
        }

        return sum;
    }

    color(k) {
        const { palette: p, t } = this;

        if (k === 0) {
            return p.root;
        }

        if (t.base) {
            return p[diffClass(t, this.lay, k)];
        }

        const s = this.slot[t.frame[k]];

        return s < 0 ? p.other : p.slots[s];
    }

    draw() {
        const { host, t, canvas } = this, W = host.clientWidth;
        const dpr = devicePixelRatio || 1;

        if (!t || !W) {
            return;
        }

        const list = [], rows = [];

        this.W = W;
        this.drawn = new Map();

        const n = walk(t, this.lay, this.zoomed, W, (k, x, w, r, hit) => {
            const d = { k, x, w: Math.min(w, W - x), r, hit };

            list.push(d);
            (rows[r] ??= []).push(d);
            this.drawn.set(k, d);
        }, this.hits, this.below);

        this.rows = rows;
        this.space.style.height = n * ROW + 1 + 'px';

        /* the box may have become smaller or bigger by that */

        const h = Math.max(1, Math.min(n * ROW + 1, host.clientHeight));

        this.H = host.clientHeight;
        canvas.style.height = h + 'px';
        canvas.style.width = W + 'px';

        if (canvas.width !== Math.round(W * dpr)
            || canvas.height !== Math.round(h * dpr))
        {
            canvas.width = Math.round(W * dpr);
            canvas.height = Math.round(h * dpr);
        }

        const c = this.ctx = canvas.getContext('2d');
        const top = host.scrollTop, p = this.palette;

        c.setTransform(dpr, 0, 0, dpr, 0, 0);
        c.clearRect(0, 0, W, h);
        c.font = '12px ' + getComputedStyle(host).fontFamily;
        c.textBaseline = 'middle';

        for (const d of list) {
            const y = d.r * ROW - top;

            if (y + ROW < 0 || y > h) {
                continue;
            }

            const dim = this.order?.length && !this.below[d.k] && d.k !== 0;

            c.fillStyle = d.hit ? p.hit : dim ? p.dim : this.color(d.k);
            c.fillRect(d.x, y, Math.max(d.w - (d.w > 3 ? 1 : 0), 0.6),
                       ROW - 1);

            if (d.w > 24) {
                const text = fit(d.k ? t.frames[t.frame[d.k]].name : 'all',
                                 d.w - 9, s => this.measure(s));

                if (text) {
                    c.fillStyle = d.hit ? p.hitText : dim ? p.dimText
                                                          : p.text;
                    c.fillText(text, d.x + 4, y + ROW / 2);
                }
            }
        }

        for (const k of [this.over, this.cur]) {
            const d = this.drawn.get(k);

            if (d && (k === this.over || k !== 0)) {
                c.strokeStyle = p.outline;
                c.lineWidth = k === this.over ? 1 : 2;
                c.strokeRect(d.x + 1, d.r * ROW - top + 1,
                             Math.max(d.w - 3, 1), ROW - 3);
            }
        }

        this.elements();
    }

    /* The neighbourhood of the current frame, for those who do not see it. */

    elements() {
        const { t, lay } = this, k = this.cur, par = t.parent[k];
        const kids = [...lay.children(k)].slice(0, 40);
        const sibs = par < 0 ? [0] : [...lay.children(par)];
        const at = sibs.indexOf(k), near = sibs.slice(Math.max(0, at - 20),
                                                      at + 20);
        const key = [k, this.zoomed, this.W, t.n, this.width].join();
        const had = this.access.contains(document.activeElement);

        if (this.shown === key && this.shownTree === t) {
            return;
        }

        this.shown = key;
        this.shownTree = t;

        const item = (n, set, pos) => {
            const w = words(t, n, this.whole), d = this.drawn.get(n);
            const e = document.createElement('div');
            const a = {
                role: 'treeitem', id: 'frame-' + n, 'data-node': n,
                tabindex: n === k ? 0 : -1, 'aria-level': t.depth[n] + 1,
                'aria-setsize': set, 'aria-posinset': pos,
                'aria-selected': n === k,
                'aria-label': [w.name, w.value, w.share, w.self]
                              .filter(Boolean).join(', ')
            };

            if (lay.hasChildren(n)) {
                a['aria-expanded'] = n === k || n === par;
            }

            for (const name in a) {
                e.setAttribute(name, a[name]);
            }

            if (d) {
                e.style.left = d.x + 'px';
                e.style.top = d.r * ROW + 'px';
                e.style.width = Math.max(d.w - 1, 3) + 'px';
            }

            return e;
        };

        this.access.replaceChildren(
            ...(par >= 0 ? [item(par, 1, 1)] : []),
            ...near.map(n => item(n, sibs.length, sibs.indexOf(n) + 1)),
            ...kids.map((n, i) => item(n, kids.length, i + 1)));

        if (had) {
            this.focus();
        }
    }

    focus() {
        this.access.querySelector('[tabindex="0"]')
                   ?.focus({ preventScroll: true });
        this.reveal();
    }

    reveal() {
        const d = this.drawn.get(this.cur), { host } = this;

        if (d) {
            const y = d.r * ROW;

            if (y < host.scrollTop) {
                host.scrollTop = y;

            } else if (y + ROW > host.scrollTop + host.clientHeight) {
                host.scrollTop = y + ROW - host.clientHeight;
            }
        }
    }

    go(k) {
        if (k !== undefined && k >= 0) {
            this.cur = k;

            if (!this.drawn.has(k)) {
                this.zoomed = this.t.parent[k] < 0 ? 0 : this.t.parent[k];
                this.on.zoom?.(this.zoomed);
            }

            this.draw();
            this.focus();
        }
    }

    key(e) {
        const { t, lay } = this, k = this.cur, par = t.parent[k];
        const sibs = par < 0 ? [0] : [...lay.children(par)];
        const at = sibs.indexOf(k);

        const keys = {
            ArrowDown: () => this.go(lay.children(k)[0]),
            ArrowUp: () => this.go(par),
            ArrowRight: () => this.go(sibs[at + 1]),
            ArrowLeft: () => this.go(sibs[at - 1]),
            Home: () => this.go(0),
            Enter: () => this.click(k),
            ' ': () => this.click(k),
            Escape: () => this.zoom(0),
            Backspace: () => this.zoom(Math.max(0, t.parent[this.zoomed])),
            m: () => {
                const d = this.drawn.get(k);
                const box = this.space.getBoundingClientRect();

                this.on.menu?.(k, box.left + (d?.x ?? 0) + 12,
                               box.top + ((d?.r ?? 0) + 1) * ROW);
            }
        };

        if (keys[e.key] && !e.ctrlKey && !e.metaKey && !e.altKey) {
            e.preventDefault();
            e.stopPropagation();
            keys[e.key]();
        }
    }
}


/* --- as a file --- */

const LIGHT = { root: '#dfe4ea', other: '#e1e4e8', 'up-1': '#fbe0dd',
                'up-2': '#f6b3ac', 'up-3': '#ee7f75', 'dn-1': '#d9ebf7',
                'dn-2': '#a6d0ec', 'dn-3': '#6fb1de', same: '#e4e8ed' };

const xml = s => s.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '?')
                  .replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);


/* A picture that stands alone: no script, no font, a title on each frame. */

export function svg(t, { width = 1200, title = 'Flame graph', zoom = 0,
                         mode = 'growth' } = {})
{
    const lay = layout(t, mode), slot = slots(t), out = [];
    const whole = wholeOf(t), measure = s => s.length * 7;
    const head = 28;

    lay.whole = lay.size[0];

    const rows = walk(t, lay, zoom, width, (k, x, w, r) => {
        const name = k ? t.frames[t.frame[k]].name : 'all';
        const s = k ? slot[t.frame[k]] : -1, y = head + r * ROW;
        const fill = k === 0 ? LIGHT.root
                   : t.base ? LIGHT[diffClass(t, lay, k)]
                   : s < 0 ? LIGHT.other : `hsl(${hue(s)},62%,80%)`;
        const said = words(t, k, whole), text = fit(name, w - 9, measure);

        out.push(`<g><title>${xml([said.name, said.value, said.share,
                                   said.self].filter(Boolean).join(', '))}`
                 + `</title><rect x="${x.toFixed(1)}" y="${y}" width="`
                 + `${Math.max(w - (w > 3 ? 1 : 0), 0.6).toFixed(1)}" height="`
                 + `${ROW - 1}" fill="${fill}"/>`
                 + (text ? `<text x="${(x + 4).toFixed(1)}" y="${y + 14}">`
                           + `${xml(text)}</text>` : '') + '</g>');
    });

    const height = head + rows * ROW + 4;

    return '<svg xmlns="http://www.w3.org/2000/svg" '
           + `width="${width}" height="${height}" `
           + `viewBox="0 0 ${width} ${height}" font-family="sans-serif" `
           + `font-size="12" fill="#16181c"><title>${xml(title)}</title>`
           + `<rect width="${width}" height="${height}" fill="#fff"/>`
           + `<text x="4" y="18" font-weight="bold">${xml(title)}</text>`
           + out.join('\n') + '</svg>\n';
}
