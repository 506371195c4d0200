/* Why there is nothing to see, and what to do: a normal state, no failure. */

import { el } from './ui.js';

const p = (...content) => el('p', {}, ...content);
const code = text => el('pre', { tabindex: '0' }, text);

/* what a Go program has to say for these to be recorded */
const RATES = {
    mutex: 'runtime.SetMutexProfileFraction(5)',
    block: 'runtime.SetBlockProfileRate(10000)    // 10 µs'
};

const RECORDED = { mutex: 'waiting for locks', block: 'waiting',
                   allocs: 'allocations',
                   threadcreate: 'where threads are made' };


const button = (record, seconds) => el('button', { type: 'button',
    class: 'primary', onclick: () => record(seconds) },
    `Record now, ${seconds} s`);


/* A kind that libpprof records only when asked: SAID are its own words. */

export const choices = (kind, said, record) => [
    p(`This process does not record ${RECORDED[kind] ?? 'this'} all the time,`
      + ' since that costs a little. Now and for some seconds it can.'),
    button(record, 10), ' ',
    el('button', { type: 'button', onclick: () => record(60) }, '60 s'),
    el('details', { class: 'terminal' }, el('summary', {}, 'All the time'),
       p(said))];


/* A profile without samples. */

export function empty(kind, profile, record) {
    const native = profile.pid || /^libpprof/.test(profile.comments[0] ?? '');

    if (RATES[kind] && !native && !profile.duration) {
        return [p('There are no samples. If this is a Go program, it records'
                  + ' them only after this line, since the rate is 0 by'
                  + ' default:'), code(RATES[kind])];
    }

    if (kind === 'profile') {
        return [p('No samples were taken: the process used no CPU time. An'
                  + ' idle process gives an empty profile; try again under'
                  + ' load.')];
    }

    if (RATES[kind]) {
        return [p('Nobody waited while it was recorded.'),
                button(record, profile.duration ? 60 : 10)];
    }

    return [p('There are no samples in it.'
              + (kind === 'heap' ? ' No allocation was sampled yet: small'
                 + ' programs may have none.' : ''))];
}
