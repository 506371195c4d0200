/*
 * Every goroutine or thread, those with one stack as one: how many, in which
 * states, for how long, and who may hold what they wait for.
 *
 *   group(threads)          the groups, the biggest first
 *   holders(g, groups)      who may hold the lock that group G waits for
 *   stacksView(host, …)     shows them
 */

import { short } from './names.js';
import { el } from './ui.js';
import { format } from './units.js';

/* groups and frames that are seen at once */
const PAGE = 30, FRAMES = 12;

/* what stands on top of a stack that waits for a lock */
const LOCKS = new RegExp('^(sync\\.\\(\\*(RW)?Mutex\\)\\.(R?Lock|lockSlow)'
    + '|sync\\.runtime_Semacquire\\w*|internal/sync\\.|runtime\\.(gopark|'
    + 'goparkunlock|semacquire1)|internal/sync\\.\\(\\*Mutex\\)'
    + '|(__)?pthread_(mutex|rwlock)_\\w*lock\\w*|__lll_lock_wait\\w*'
    + '|(__)?futex\\w*|__GI_\\w+|syscall|std::mutex::lock'
    + '|std::(lock_guard|unique_lock|scoped_lock)<.*)');
const TAKES = new RegExp('\\.R?Lock$|lockSlow|Semacquire(RW)?Mutex'
                         + '|mutex_\\w*lock|rwlock_\\w*lock|lll_lock');


/* [{ key, frames, threads, states: Map, minutes, cpu, lock }] */

export function group(threads) {
    const groups = new Map();

    for (const t of threads) {
        const key = t.frames.map(f => `${f.name}:${f.line}`).join('\n');
        let g = groups.get(key);

        if (g === undefined) {
            g = { key, frames: t.frames, threads: [], states: new Map(),
                  minutes: 0, cpu: 0, lock: lockOf(t.frames), by: t.by };
            groups.set(key, g);
        }

        g.threads.push(t);
        g.states.set(t.what, (g.states.get(t.what) ?? 0) + 1);
        g.minutes = Math.max(g.minutes, t.minutes);
        g.cpu += t.cpu ?? 0;
    }

    return [...groups.values()].sort((a, b) => b.threads.length
                                               - a.threads.length
                                               || b.minutes - a.minutes);
}


/* The function that asks for a lock on top of these frames, or null. */

function lockOf(frames) {
    let i = 0, takes = false;

    while (i < frames.length && LOCKS.test(frames[i].name)) {
        takes ||= TAKES.test(frames[i].name);
        i++;
    }

    return takes && i < frames.length ? frames[i].name : null;
}


/*
 * Groups that are in the function that asks for the lock of G, or in one that
 * locks for others to wait, and do not wait for it: a guess, no more.
 */

export const holders = (g, groups) => g.lock === null ? []
    : groups.filter(h => h.lock !== g.lock
                         && h.frames.some(f => f.name === g.lock));


/* --- the view --- */

/* HOW: { match of the search or null, state, setState, full } */

export function stacksView(host, threads, how) {
    const all = group(threads), kind = threads[0]?.kind ?? 'goroutine';
    const states = [...new Set(threads.map(t => t.what))].sort();
    const fit = all.filter(g => (!how.match || g.frames.some(how.match)
                                 || g.threads.some(t => how.match(
                                     { name: t.name, short: t.name })))
                                && (!how.state || g.states.has(how.state)));
    const n = fit.reduce((s, g) => s + g.threads.length, 0);
    const state = el('select', { 'aria-label': 'State', onchange: e =>
        how.setState(e.target.value) }, el('option', { value: '' },
        'in any state'), ...states.map(s => el('option', { value: s }, s)));
    const more = el('button', { type: 'button', hidden: fit.length <= PAGE,
                                onclick: () => {
        more.before(...fit.slice(PAGE).map(one));
        more.hidden = true;
    } }, `Show ${fit.length - PAGE} smaller groups`);
    const one = g => box(g, all, kind, how);

    state.value = how.state ?? '';
    host.replaceChildren(el('div', { class: 'toolbar row' },
        el('b', {}, `${format(n)} ${kind}${n === 1 ? '' : 's'}`),
        el('span', { class: 'muted' }, `in ${fit.length} group${
            fit.length === 1 ? '' : 's'} with one stack each`
            + (n < threads.length ? `, of ${format(threads.length)}` : '')),
        state), ...fit.slice(0, PAGE).map(one), more);
}


function box(g, all, kind, { full }) {
    const name = f => full ? f.name : short(f.name);
    const line = f => el('li', {}, el('span', { title: f.name }, name(f)),
        f.file ? el('span', { class: 'muted' }, ` ${f.file.split('/').slice(-2)
                                                      .join('/')}:${f.line}`)
               : null);
    const shown = g.frames.slice(0, FRAMES), rest = g.frames.slice(FRAMES);
    const names = [...new Set(g.threads.map(t => t.name).filter(Boolean))];
    const held = holders(g, all);

    return el('section', { class: 'group' },
        el('h2', { class: 'row' }, el('b', {}, format(g.threads.length)),
           ...[...g.states].sort((a, b) => b[1] - a[1]).map(([s, k]) =>
               el('span', { class: 'pill' }, g.states.size > 1 ? `${k} ${s}`
                                                               : s)),
           el('span', { class: 'muted' }, [
               g.minutes ? `up to ${g.minutes} min` : '',
               g.cpu ? `${format(g.cpu, 'seconds')} CPU` : '',
               names.slice(0, 4).join(', ')
               + (names.length > 4 ? `, ${names.length - 4} more names` : ''),
               g.by ? `made by ${short(g.by)}` : ''
           ].filter(Boolean).join(' · '))),
        g.lock ? el('p', { class: 'banner warn' },
            `They wait for a lock that ${short(g.lock)} takes. `
            + (held.length ? 'Inside it, not waiting, and so perhaps its'
                  + ' holder: ' + held.slice(0, 3).map(h =>
                      `${kind} ${h.threads.map(t => t.id).slice(0, 3)
                                   .join(', ')} (${[...h.states.keys()][0]})`)
                      .join('; ') + '.'
               : 'Its holder is elsewhere: the mutex profile tells whom they'
                 + ' wait for.')) : null,
        el('ol', { class: 'frames mono' }, ...shown.map(line),
           ...rest.length ? [el('li', {}, el('button', { type: 'button',
               class: 'link', onclick: e => e.target.closest('li')
                   .replaceWith(...rest.map(line)) },
               `${rest.length} more frames`))] : []));
}
