/*
 * One chart: its card, legend and lines, drawn by uPlot.
 *
 * Every series of a chart is three of uPlot's: the line and the edges of the
 * band around it.
 */

import { alone, gaps, thin } from './series.js';
import { clock, el } from './ui.js';

const HEIGHT = 168;
/* seconds between two times on an axis; below FINE seconds they have seconds */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
               10800, 14400, 21600, 43200], FINE = 150;

export const some = f => v => v === null || v === undefined ? '–' : f(v);


const decades = (lo, hi) => {
    const out = [];

    for (let e = Math.floor(Math.log10(lo) + 0.001);
         10 ** e <= hi * 1.001; e++)
    {
        out.push(10 ** e);
    }

    return out;
};

const SCALES = {
    log: {
        scale: { distr: 3, range: (u, a, b) => {
            const lo = 10 ** Math.floor(Math.log10(a > 0 ? a : 0.001));
            const hi = 10 ** Math.ceil(Math.log10(b > 0 ? b : 1));

            return [lo, Math.max(hi, lo * 10)];
        } },
        splits: (u, i, lo, hi) => decades(lo, hi)
    },
    asinh: {
        scale: { distr: 4, asinh: 1, range: (u, a, b) =>
            [0, Math.max(10, 10 ** Math.ceil(Math.log10((b || 1) * 1.02)))] },
        splits: (u, i, lo, hi) => [0, ...decades(1, hi)]
    },
    bytes: {
        scale: { range: span },
        splits: (u, i, lo, hi) => {
            const by = 2 ** Math.ceil(Math.log2(Math.max((hi - lo) / 4, 1)));
            const out = [];

            for (let v = Math.ceil(lo / by) * by; v <= hi; v += by) {
                out.push(v);
            }

            return out;
        }
    },
    plain: { scale: { range: (u, a, b) => [0, b > 0 ? b * 1.12 : 1] } }
};

/* from zero unless that would hide the change */

function span(u, a, b) {
    if (b === null || b === undefined) {
        return [0, 1];
    }

    const hi = b <= 0 ? 1 : b + (b - Math.min(a, b / 2)) * 0.12;

    return [a < b / 2 ? 0 : Math.max(0, a - (b - a || b) * 0.25), hi];
}


/*
 * HOST has the card; PAGE: { uPlot, palette(), marks(), zoomed(from, to),
 * unzoom(), table(chart), hover(chart, time), resized() }.
 */

export class Chart {
    constructor(def, host, page) {
        Object.assign(this, def);
        this.page = page;
        this.values = [];
        this.unitText = el('span', { class: 'muted unit' }, def.unit);
        this.note = el('p', { class: 'muted plot-note', hidden: true });
        this.box = el('div', { class: 'plot' });

        host.append(el('section', { class: 'card chart', 'data-id': def.id,
                                    'aria-label': def.title },
            el('div', { class: 'chart-title' }, el('h2', {}, def.title),
               this.unitText,
               el('button', { type: 'button', class: 'link table-link',
                              'aria-label': `${def.title}: show as a table`,
                              onclick: () => page.table(this) }, 'Table')),
            this.legend(), this.box, this.note));

        this.plot = new page.uPlot(this.options(),
            [[], ...def.series.flatMap(() => [[], [], []])], this.box);
        this.box.addEventListener('dblclick', page.unzoom);
        this.watch();
    }

    legend() {
        return el('div', { class: 'legend', role: 'group',
                           'aria-label': this.title + ', series' },
                  ...this.series.map((s, i) => {
            this.values[i] = el('b', {}, '–');

            return el('button', { type: 'button', 'aria-pressed': 'true',
                                  onclick: e => this.toggle(e, i) },
                      sample(s), s.name, this.values[i]);
        }));
    }

    toggle({ currentTarget: button }, i) {
        const on = button.getAttribute('aria-pressed') !== 'true';

        button.setAttribute('aria-pressed', String(on));

        for (let k = 0; k < 3; k++) {
            this.plot.setSeries(1 + i * 3 + k, { show: on });
        }
    }

    options() {
        const kind = SCALES[this.scale ?? 'plain'], { page } = this;

        return {
            width: Math.max(this.box.clientWidth, 200), height: HEIGHT,
            padding: [16, 8, 0, 0],
            legend: { show: false },
            cursor: { sync: { key: 'charts' }, y: false,
                      drag: { x: true, y: false, setScale: false },
                      points: { size: 6 } },
            scales: { x: { time: true }, y: kind.scale },
            axes: this.axes(kind),
            series: [{}, ...this.series.flatMap(s => this.line(s))],
            bands: this.series.map((s, i) => ({
                series: [3 + i * 3, 2 + i * 3],
                fill: () => page.palette()[s.color]
                    .replace(')', ' / 0.22)')
                    .replace(/^rgb\((\d+), (\d+), (\d+)/, 'rgb($1 $2 $3')
            })),
            hooks: {
                setCursor: [u => this.show(u.cursor.idx)],
                setSelect: [u => {
                    const { left, width } = u.select;

                    u.setSelect({ left: 0, width: 0, top: 0, height: 0 },
                                false);

                    if (width > 6) {
                        page.zoomed(u.posToVal(left, 'x'),
                                    u.posToVal(left + width, 'x'));
                    }
                }],
                draw: [u => drawMarks(u, page)]
            }
        };
    }

    axes(kind) {
        const { page } = this;
        const axis = { font: '11px system-ui, sans-serif',
                       stroke: () => page.palette()['text-2'],
                       grid: { stroke: () => page.palette().line, width: 1 },
                       ticks: { show: false } };

        return [{ ...axis, size: 22, values: xValues,
                  incrs: u => STEPS.filter(s => isFine(u) || s >= 60),
                  space: u => isFine(u) ? 60 : 44 },
                { ...axis, size: 62, space: 26, gap: 6, splits: kind.splits,
                  filter: (u, s) => s,
                  values: (u, s) => s.map(v => this.format(v)) }];
    }

    line(s) {
        const edge = { stroke: 'transparent', width: 0,
                       points: { show: false } };

        return [{ label: s.name, stroke: () => this.page.palette()[s.color],
                  width: 1.6, dash: s.dash,
                  points: { show: false, size: 5, filter: (u, si) =>
                      alone(u.data[si], ...u.series[0].idxs) } },
                edge, edge];
    }

    watch() {
        new ResizeObserver(() => {
            const width = this.box.clientWidth;

            if (width && width !== this.plot.width) {
                this.plot.setSize({ width, height: HEIGHT });
                this.page.resized();
            }
        }).observe(this.box);

        /* what is out of sight is drawn when it comes into it */
        this.seen = true;
        new IntersectionObserver(([e]) => {
            const came = e.isIntersecting && !this.seen;

            this.seen = e.isIntersecting;

            if (came) {
                this.page.resized();
            }
        }, { rootMargin: '200px' }).observe(this.box);
    }

    /*
     * Draws what is from LO to HI; ROWS are the server's, whose points need no
     * joining.  Returns whether there was anything to draw.
     */

    draw(lo, hi, rows) {
        const got = this.series.map(s => s.get());
        const mine = got.every(g => g.t === rows.t);
        const parts = got.map(g => thin(g, lo, hi, this.plot.bbox.width
                                        / devicePixelRatio || 300,
                                        rows.step));
        let data = mine || parts.length === 1
            ? [parts[0]?.t ?? [], ...parts.flatMap(p => [p.v, p.lo, p.hi])]
            : this.page.uPlot.join(parts.map(p => [p.t, p.v, p.lo, p.hi]),
                                   parts.map(() => [1, 1, 1, 1]));

        if (this.scale === 'log') {
            data = data.map((col, i) => i ? col.map(v => v > 0 ? v : null)
                                          : col);
        }

        if (!mine) {
            gaps(data, rows.step);
        }

        this.plot.batch(() => {
            this.plot.setData(data, false);
            this.plot.setScale('x', { min: lo, max: hi });
        });

        if (!(this.plot.cursor.left >= 0)) {
            this.show(null);
        }

        const { min } = this.plot.scales.y;

        this.unitText.textContent = this.unit + (this.scale !== 'log'
            && min > 0 ? `, axis from ${this.format(min)}` : '');

        return data.some((col, i) => i && col.some(v => v !== null
                                                        && v !== undefined));
    }

    /* The legend at the cursor, or now. */

    show(i) {
        const { data } = this.plot, now = i === null || i === undefined;

        this.values.forEach((b, k) => {
            const col = data[1 + k * 3];
            let v = now ? null : col[i];

            for (let j = col.length - 1; now && v === null
                                         && j >= Math.max(0, col.length - 3);
                 j--)
            {
                v = col[j] ?? null;
            }

            const text = some(this.format)(v);

            if (b.textContent !== text) {
                b.textContent = text;
            }
        });

        this.page.hover(this, now ? null : data[0][i]);
    }
}


function sample({ dash, color }) {
    const ns = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(ns, 'svg');
    const line = document.createElementNS(ns, 'line');

    svg.setAttribute('width', 18);
    svg.setAttribute('height', 4);
    svg.setAttribute('aria-hidden', 'true');

    for (const [k, v] of [['x1', 0], ['x2', 18], ['y1', 2], ['y2', 2],
                          ['stroke-width', 2],
                          ['stroke-dasharray', dash.join(' ')]])
    {
        line.setAttribute(k, v);
    }

    line.style.stroke = `var(--${color})`;
    svg.append(line);
    return svg;
}


const isFine = u => u.scales.x.max - u.scales.x.min <= FINE;

function xValues(u, splits) {
    const fine = isFine(u);
    const last = u.bbox.width / devicePixelRatio - (fine ? 18 : 8);

    /* a label that the edge would cut is none */
    return splits.map(t => u.valToPos(t, 'x') > last ? '' : clock(t, fine));
}


/* In a gutter above the plot, so that no label crosses a line. */

function drawMarks(u, page) {
    const palette = page.palette();
    const c = u.ctx, dpr = devicePixelRatio, { left, top, width, height }
        = u.bbox;
    let free = left;

    c.save();
    c.font = `${10 * dpr}px system-ui, sans-serif`;
    c.textBaseline = 'bottom';
    c.textAlign = 'left';

    for (const m of page.marks()) {
        const x = u.valToPos(m.t, 'x', true);

        if (x < left || x > left + width) {
            continue;
        }

        c.strokeStyle = palette.border;
        c.setLineDash([3 * dpr, 3 * dpr]);
        c.beginPath();
        c.moveTo(x, top);
        c.lineTo(x, top + height);
        c.stroke();
        c.fillStyle = palette['text-2'];

        const w = c.measureText(m.text).width;
        const at = Math.min(x - w / 2, left + width - w);

        if (at >= free) {
            c.fillText(m.text, at, top - 2 * dpr);
            free = at + w + 6 * dpr;
        }
    }

    c.restore();
}
