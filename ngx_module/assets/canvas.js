/*
 * The flame graph on a canvas, which is as large as what is seen of it: where
 * frames are is reckoned when something changes, and only the rows in sight
 * are drawn.  What the pointer and the keyboard are at is marked by elements,
 * so that neither draws anything anew.
 *
 * For the keyboard and for screen readers the current frame, its parent, its
 * siblings and its children are elements over the canvas: a tree with one
 * tabstop.
 */

import { diffClass, fit, layout, nodeOf, ROW, slots, walk, wholeOf, words }
    from './flame.js';
import { shortOf } from './names.js';

/* frames beside and below the current one that are elements */
const NEAR = 20, KIDS = 40;


function make(tag, cls) {
    const e = document.createElement(tag);

    e.className = cls;
    return e;
}


/* Where frames are: by row, and by node. */

class Places {
    constructor() {
        this.rows = [];
        this.at = new Map();
    }

    get size() {
        return this.at.size;
    }

    add(k, x, w, r, hit) {
        const d = { k, x, w, r, hit };

        (this.rows[r] ??= []).push(d);
        this.at.set(k, d);
    }

    has(k) {
        return this.at.has(k);
    }

    get(k) {
        return this.at.get(k);
    }

    values() {
        return this.at.values();
    }
}


/* Widths of texts, as the sum of their characters', each measured once. */

class Ruler {
    constructor(context) {
        this.context = context;
        this.ascii = new Float64Array(128);
        this.other = new Map();
    }

    measure(s) {
        let sum = 0;

        for (let i = 0; i < s.length; i++) {
            const c = s.charCodeAt(i);

            sum += c < 128 && this.ascii[c] || this.other.get(c)
                   || this.one(c, s[i]);
        }

        return sum;
    }

    one(code, c) {
        const w = this.context.measureText(c).width;

        if (code < 128) {
            this.ascii[code] = w;
        } else {
            this.other.set(code, w);
        }

        return w;
    }
}


export class Flame {
    /* HOST is empty; ON: hover(node), menu(node, x, y), zoom(node),
     * peek(node) */

    constructor(host, on, label = 'Flame graph') {
        this.host = host;
        this.on = on;
        this.canvas = make('canvas', 'flame-canvas');
        this.space = make('div', 'flame-space');
        this.access = make('div', 'flame-access');
        this.marks = [make('div', 'flame-over'), make('div', 'flame-cur')];
        this.access.setAttribute('role', 'tree');
        this.access.setAttribute('aria-label', label);
        this.canvas.setAttribute('aria-hidden', 'true');
        this.space.append(this.canvas, ...this.marks, this.access);
        host.append(this.space);
        this.context = this.canvas.getContext('2d');
        this.ruler = new Ruler(this.context);
        this.cur = this.zoomed = 0;
        this.over = -1;
        this.drawn = new Places();
        this.look = { width: 'growth', colors: 'package', full: false,
                      up: false };
        this.listen();
    }

    listen() {
        const { host, on } = this;

        host.addEventListener('scroll', () => this.draw(), { passive: true });
        host.addEventListener('pointermove', e => this.hover(this.under(e)));
        host.addEventListener('pointerleave', () => this.hover(-1));
        host.addEventListener('click', e => this.click(this.under(e)));
        host.addEventListener('contextmenu', e => {
            const k = this.under(e);

            if (k >= 0) {
                e.preventDefault();
                on.menu?.(k, e.clientX, e.clientY);
            }
        });
        this.access.addEventListener('keydown', e => this.key(e));
        this.access.addEventListener('focusin', () => on.hover?.(this.cur));

        new ResizeObserver(() => {
            if (!this.t || !host.clientWidth) {
                return;
            }

            if (host.clientWidth !== this.W) {
                this.place();

            } else if (host.clientHeight !== this.H) {
                this.draw();
            }
        }).observe(host);
    }

    /* LOOK: width, colors, full, up; at is a node's name (flame.js). */

    set(t, palette, { at = '', ...look } = {}) {
        Object.assign(this.look, look);
        this.t = t;
        this.lay = layout(t, this.look.width);
        this.lay.whole = this.lay.size[0];
        this.slot = slots(t, this.look.colors);
        this.palette = palette;
        this.whole = wholeOf(t);
        this.zoomed = this.cur = at ? nodeOf(t, at) : 0;
        this.hits = this.below = this.order = null;
        this.place();
        this.host.scrollTop = this.look.up ? this.host.scrollHeight : 0;
    }

    /* What only looks otherwise. */

    repaint(palette, look = {}) {
        Object.assign(this.look, look);
        this.palette = palette;
        this.slot = slots(this.t, this.look.colors);
        this.draw();
    }

    zoom(k) {
        this.zoomed = this.cur = k;
        this.place();
        this.on.zoom?.(k);
        this.on.hover?.(k);
    }

    /* The same, where nobody chose it. */

    begin(k) {
        this.zoomed = this.cur = k;
        this.place();
        this.host.scrollTop = this.look.up ? this.host.scrollHeight : 0;
    }

    /* --- where frames are --- */

    place() {
        const { host, t } = this, W = host.clientWidth;

        if (!t || !W) {
            return;
        }

        this.W = W;
        this.drawn = new Places();
        this.rows = walk(t, this.lay, this.zoomed, W, (k, x, w, r, hit) =>
            this.drawn.add(k, x, Math.min(w, W - x), r, hit),
            this.hits, this.below);
        this.space.style.height = this.rows * ROW + 1 + 'px';

        /* a scrollbar came or went by that */
        if (host.clientWidth !== W && !this.placing) {
            this.placing = true;
            this.place();
            this.placing = false;
            return;
        }

        this.draw();
        this.elements();
    }

    top(r) {
        return (this.look.up ? this.rows - 1 - r : r) * ROW;
    }

    /* Which frame is under the pointer, or -1. */

    under(e) {
        const box = this.space.getBoundingClientRect();
        const x = e.clientX - box.left, at = Math.floor((e.clientY - box.top)
                                                        / ROW);
        let found = -1;

        for (const d of this.drawn.rows[this.look.up ? this.rows - 1 - at
                                                     : at] ?? [])
        {
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
            this.mark();
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

    /* --- search --- */

    /*
     * Marks the frames that MATCH, a function of a row.  Returns their number
     * and the share that goes through any of them.
     */

    search(match) {
        const { t, hits: had } = this;

        this.hits = this.below = this.order = null;

        if (match === null) {
            if (had) {
                this.place();
            }

            return null;
        }

        const is = t.frames.map(match), order = [];
        const hits = new Uint8Array(t.n), below = new Uint8Array(t.n);
        const inside = new Uint8Array(t.n);
        let size = 0;

        for (let k = 1; k < t.n; k++) {
            const p = t.parent[k];

            hits[k] = is[t.frame[k]] ? 1 : 0;
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
        this.place();
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

        if (!this.drawn.has(k) || this.drawn.get(k).w < 24) {
            this.zoom(k);
        }

        this.cur = k;
        this.elements();
        this.reveal();
        this.on.hover?.(k);
        return this.next + 1;
    }

    /* --- drawing --- */

    color(k) {
        const { palette: p, t } = this;

        if (k === 0) {
            return p.root;
        }

        if (t.base) {
            return p[diffClass(t, this.lay, k)];
        }

        const s = this.slot.of(k);

        return s < 0 ? p.other : p.slots[s];
    }

    size(h) {
        const { canvas, W, context: c } = this, dpr = devicePixelRatio || 1;
        const wide = Math.round(W * dpr), high = Math.round(h * dpr);

        if (canvas.width !== wide || canvas.height !== high) {
            canvas.style.height = h + 'px';
            canvas.style.width = W + 'px';
            canvas.width = wide;
            canvas.height = high;
        }

        c.setTransform(dpr, 0, 0, dpr, 0, 0);
        c.clearRect(0, 0, W, h);
        c.font = '12px ' + (this.font ??= getComputedStyle(this.host)
                                          .fontFamily);
        c.textBaseline = 'middle';
    }

    draw() {
        const { host, t } = this;

        if (!t || !this.rows || !host.clientWidth) {
            return;
        }

        this.H = host.clientHeight;

        const h = Math.max(1, Math.min(this.rows * ROW + 1, this.H));
        const from = host.scrollTop;

        this.size(h);

        /* the rows in sight, whichever way up */
        const near = y => this.look.up ? this.rows - 1 - Math.floor(y / ROW)
                                       : Math.floor(y / ROW);
        const [a, b] = [near(from), near(from + h)].sort((x, y) => x - y);

        for (let r = Math.max(0, a); r <= Math.min(b, this.rows - 1); r++) {
            this.row(this.drawn.rows[r] ?? [], this.top(r) - from);
        }

        this.mark();
    }

    row(list, y) {
        const { context: c, palette: p, t, look } = this;
        const some = this.order?.length;

        for (const { k, x, w, hit } of list) {
            const dim = some && !this.below[k] && k !== 0;

            c.fillStyle = hit ? p.hit : dim ? p.dim : this.color(k);
            c.fillRect(x, y, Math.max(w - (w > 3 ? 1 : 0), 0.6), ROW - 1);

            if (w <= 24) {
                continue;
            }

            const f = k ? t.frames[t.frame[k]] : null;
            const brief = f ? shortOf(f) : 'all';
            const text = fit(look.full && f ? f.name : brief, brief, w - 9,
                             s => this.ruler.measure(s));

            if (text) {
                c.fillStyle = hit ? p.hitText : dim ? p.dimText : p.text;
                c.fillText(text, x + 4, y + ROW / 2);
            }
        }
    }

    /* What the pointer is over, and the current frame. */

    mark() {
        [this.over, this.cur].forEach((k, i) => {
            const d = this.drawn.get(k), { style } = this.marks[i];

            style.display = d && (i === 0 || k !== 0) ? 'block' : 'none';

            if (d) {
                style.transform = `translate(${d.x}px, ${this.top(d.r)}px)`;
                style.width = Math.max(d.w - 1, 2) + 'px';
            }
        });
    }

    /* --- for those who do not see it, or have no pointer --- */

    /* Now where the focus is here, else when there is time for it. */

    elements() {
        clearTimeout(this.later);

        if (this.access.contains(document.activeElement)) {
            this.fill();
        } else {
            this.later = setTimeout(() => this.fill(), 30);
        }
    }

    fill() {
        const { t, lay } = this, k = this.cur, par = t.parent[k];
        const kids = [...lay.children(k).subarray(0, KIDS)];
        const sibs = par < 0 ? [0] : [...lay.children(par)];
        const at = sibs.indexOf(k), near = sibs.slice(Math.max(0, at - NEAR),
                                                      at + NEAR);
        const had = this.access.contains(document.activeElement);

        clearTimeout(this.later);
        this.access.replaceChildren(
            ...(par >= 0 ? [this.item(par, 1, 1)] : []),
            ...near.map(n => this.item(n, sibs.length, sibs.indexOf(n) + 1)),
            ...kids.map((n, i) => this.item(n, kids.length, i + 1)));
        this.mark();

        if (had) {
            this.focus();
        }
    }

    item(n, set, pos) {
        const { t, lay, cur } = this, w = words(t, n, this.whole);
        const d = this.drawn.get(n), e = document.createElement('div');
        const a = {
            role: 'treeitem', id: this.id ? `${this.id}-${n}` : 'frame-' + n,
            'data-node': n, tabindex: n === cur ? 0 : -1,
            'aria-level': t.depth[n] + 1, 'aria-setsize': set,
            'aria-posinset': pos, 'aria-selected': n === cur,
            'aria-label': [w.name, w.value, w.share, w.self]
                          .filter(Boolean).join(', ')
        };

        if (lay.hasChildren(n)) {
            a['aria-expanded'] = n === cur || n === t.parent[cur];
        }

        for (const name in a) {
            e.setAttribute(name, a[name]);
        }

        if (d) {
            e.style.left = d.x + 'px';
            e.style.top = this.top(d.r) + 'px';
            e.style.width = Math.max(d.w - 1, 3) + 'px';
        }

        return e;
    }

    focus() {
        if (this.access.querySelector('[tabindex="0"]')?.dataset.node
            !== String(this.cur))
        {
            this.fill();
        }

        this.access.querySelector('[tabindex="0"]')
                   ?.focus({ preventScroll: true });
        this.reveal();
    }

    reveal() {
        const d = this.drawn.get(this.cur), { host } = this;

        if (d) {
            const y = this.top(d.r);

            if (y < host.scrollTop) {
                host.scrollTop = y;

            } else if (y + ROW > host.scrollTop + host.clientHeight) {
                host.scrollTop = y + ROW - host.clientHeight;
            }
        }
    }

    go(k) {
        if (k === undefined || k < 0) {
            return;
        }

        this.cur = k;

        if (!this.drawn.has(k)) {
            this.zoomed = Math.max(0, this.t.parent[k]);
            this.place();
            this.on.zoom?.(this.zoomed);
        }

        this.fill();
        this.focus();
        this.on.hover?.(k);
    }

    key(e) {
        const { t, lay, look } = this, k = this.cur, par = t.parent[k];
        const sibs = par < 0 ? [0] : lay.children(par), at = sibs.indexOf(k);
        const down = () => this.go(lay.children(k)[0]);
        const up = () => this.go(par);

        const keys = {
            ArrowDown: look.up ? up : down,
            ArrowUp: look.up ? down : up,
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
                               box.top + (d ? this.top(d.r) + ROW : 0));
            }
        };

        if (keys[e.key] && !e.ctrlKey && !e.metaKey && !e.altKey) {
            e.preventDefault();
            e.stopPropagation();
            keys[e.key]();
        }
    }
}
