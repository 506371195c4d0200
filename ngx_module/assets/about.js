/*
 * What a profile says of itself, in a line that can be opened: when, how long,
 * which process, build and program.
 */

import { el, stamp } from './ui.js';
import { format } from './units.js';


const facts = p => [
    ['Taken', p.time ? stamp(p.time / 1000, true) : ''],
    ['For', p.duration ? format(p.duration, 'nanoseconds') : ''],
    ['Process', p.pid ?? ''],
    ['Program', p.file],
    ['Build', p.build ?? p.buildId],
    ['One sample', p.period && p.periodType.unit
        ? `a ${p.periodType.type} of ${format(p.period, p.periodType.unit)}`
        : ''],
    ['Samples', format(p.start.length - 1)],
    ['Format', p.format + (p.packed !== p.size
        ? `, ${format(p.packed, 'bytes')} packed, ${format(p.size, 'bytes')}`
        : `, ${format(p.size ?? 0, 'bytes')}`)],
    ['Says', p.comments.join(' · ')]
].filter(([, text]) => text);


/* HOST is a <details>; P is what is shown, B its base or null. */

export function about(host, p, b, from) {
    const line = [p.time ? stamp(p.time / 1000) : 'No time in it',
                  p.duration ? 'for ' + format(p.duration, 'nanoseconds')
                             : '',
                  p.pid ? `pid ${p.pid}` : '', p.file.replace(/^.*\//, ''),
                  from].filter(Boolean).join(' · ');
    const list = (title, x) => [
        title ? el('h2', {}, title) : null,
        el('dl', { class: 'facts' }, ...facts(x).flatMap(([k, v]) => [
            el('dt', {}, k), el('dd', {}, String(v))]))];

    host.replaceChildren(el('summary', {}, line),
                         ...list(b ? 'Now' : '', p),
                         ...b ? list('Base', b) : []);
}
