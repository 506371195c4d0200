/*
 * The flame graph as a file, a picture that stands alone: no script, no font,
 * a title on each frame.
 */

import { diffClass, fit, hue, layout, ROW, slots, walk, wholeOf, words }
    from './flame.js';
import { shortOf } from './names.js';

const LIGHT = { root: '#dfe4ea', other: '#e1e4e8', 'up-1': '#fbe0dd',
                'up-2': '#f6b3ac', 'up-3': '#ee7f75', 'dn-1': '#d9ebf7',
                'dn-2': '#a6d0ec', 'dn-3': '#6fb1de', same: '#e4e8ed' };

const xml = s => s.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '?')
                  .replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);


export function svg(t, { width = 1200, title = 'Flame graph', zoom = 0,
                         mode = 'growth', colors = 'package', full = false,
                         up = false } = {})
{
    const lay = layout(t, mode), slot = slots(t, colors), all = [], head = 28;
    const whole = wholeOf(t), measure = s => s.length * 7;

    lay.whole = lay.size[0];

    const rows = walk(t, lay, zoom, width, (...d) => all.push(d));
    const out = all.map(([k, x, w, r]) => {
        const f = k ? t.frames[t.frame[k]] : null, s = k ? slot.of(k) : -1;
        const y = head + (up ? rows - 1 - r : r) * ROW;
        const fill = k === 0 ? LIGHT.root
                   : t.base ? LIGHT[diffClass(t, lay, k)]
                   : s < 0 ? LIGHT.other : `hsl(${hue(s)},62%,80%)`;
        const said = words(t, k, whole), brief = f ? shortOf(f) : 'all';
        const text = fit(full && f ? f.name : brief, brief, w - 9, measure);

        return `<g><title>${xml([said.name, said.value, said.share,
                                 said.self].filter(Boolean).join(', '))}`
               + `</title><rect x="${x.toFixed(1)}" y="${y}" width="`
               + `${Math.max(w - (w > 3 ? 1 : 0), 0.6).toFixed(1)}" height="`
               + `${ROW - 1}" fill="${fill}"/>`
               + (text ? `<text x="${(x + 4).toFixed(1)}" y="${y + 14}">`
                         + `${xml(text)}</text>` : '') + '</g>';
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
