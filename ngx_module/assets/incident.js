/*
 * One incident: what its threads do, from the dump that was taken, and the
 * ways to compare with the snapshot before.  All else the server has said.
 */

import { threads } from './formats.js';
import { short } from './names.js';
import { group, holders } from './stacks.js';
import { el, root } from './ui.js';

/* groups of threads that are told, of at least so many */
const GROUPS = 3, LEAST = 2;

const get = async path => {
    const res = await fetch(new URL(path, root()));

    return res.ok ? res : null;
};


export function start(main) {
    const { id, group: g, peer } = main.querySelector('#incident').dataset;
    const at = `incidents/${id}/`, words = main.querySelector('#words');

    dump(`${at}sick-goroutine.txt`, words);

    if (main.dataset.kept !== undefined) {
        before(main, at, k => k.group === g && k.peer === peer
                              && k.time * 1000 < Number(id));
    }
}


async function dump(path, words) {
    const text = await (await get(path))?.text(), list = threads(text ?? '');
    const all = group(list);

    for (const one of all.slice(0, GROUPS)) {
        const n = one.threads.length, held = holders(one, all)[0];

        if (n >= LEAST) {
            words.append(el('li', {}, `${n} of ${list.length} ${list[0].kind}s`
                + (one.lock ? ` wait for a lock that ${short(one.lock)} takes`
                            : ` stand in ${one.frames.slice(0, 3).map(
                                  f => short(f.name)).reverse().join(' → ')}`)
                + (held ? `; perhaps held by ${held.threads[0].id}` : '')
                + '. ', el('a', { href: new URL('pprof/view?'
                + new URLSearchParams({ src: path, view: 'stacks' }),
                root()).href }, 'Stacks')));
        }
    }
}


async function before(main, at, mine) {
    const kept = (await (await get('pprof/kept/?json'))?.json())?.kept ?? [];

    for (const tr of main.querySelectorAll('[data-kind]')) {
        const { kind } = tr.dataset;
        const k = kept.find(x => x.kind === kind && mine(x));

        if (k && tr.querySelector(`a[href*="sick-${kind}.pb.gz"]`)) {
            tr.lastChild.append(' ', el('a', { href: new URL('pprof/view?'
                + new URLSearchParams({ src: `${at}sick-${kind}.pb.gz`,
                                        base: 'pprof/kept/' + k.id }),
                root()).href }, 'against the snapshot before'));
        }
    }
}
