/*
 * Peers in the order in which one wants to see them; draws nothing, and so runs
 * under node too.
 *
 *   judge(rows, group, peer)   what the last minute says of a peer
 *   arrange(list, how)         rows of a table: groups that fold, the worst
 *                              first, and how many are not shown
 *   rising(m)                  how the memory moves, in words
 */

import { peerKey } from './history.js';
import { trend } from './process.js';
import { format } from './units.js';

const MINUTE = 60;

/* the server judges; the worst first */
export const STATES = ['down', 'hanging', 'failing', 'slow', 'up', 'idle',
                       'removed'];
const CALM = STATES.indexOf('up');

/* so many peers need no groups; of a folded one the worst are seen */
export const FEW = 15, WORST = 5;


/* The mean of the seconds' percentiles, by their requests. */

function mean(values, requests) {
    let w = 0, x = 0;

    values.forEach((v, i) => {
        if (v !== null) {
            w += requests[i];
            x += v * requests[i];
        }
    });

    return w ? x / w : null;
}


export function judge(rows, group, peer) {
    const key = peerKey(group, peer), from = Math.max(0, rows.t.length
                                                         - MINUTE);
    const col = k => (rows.get(key + k) ?? []).slice(from);
    const sum = k => col(k).reduce((n, v) => n + (v ?? 0), 0);
    const req = col('req'), seconds = req.filter(v => v !== null).length;
    const n = sum('req');

    return { group, peer, key, n, rate: seconds ? n / seconds : null,
             p50: mean(col('p50'), req), p99: mean(col('p99'), req),
             e4: n ? sum('s4xx') / n : null, e5: n ? sum('s5xx') / n : null,
             fail: n ? sum('fail') / n : null, s5: sum('s5xx'),
             failed: sum('fail'), inflight: col('inflight').at(-1),
             spark: rows.get(key + 'p99') ?? [], ...rows.states.get(key) };
}


export const rank = p => STATES.indexOf(p.state);

export const worse = (a, b) => rank(a) - rank(b)
    || (b.fail + b.e5) - (a.fail + a.e5)
    || (b.memory?.rise ?? 0) - (a.memory?.rise ?? 0)
    || (b.p99 ?? 0) - (a.p99 ?? 0);


/* "2 down, 197 up" */

export function states(list) {
    return STATES.map(s => [s, list.filter(p => p.state === s).length])
                 .filter(([, n]) => n).map(([s, n]) => `${n} ${s}`).join(', ');
}


/*
 * LIST as rows.  FOLDS is a Map of group -> true (open) or false: what
 * somebody chose; HEADING makes the row of a group: heading(group, list, open,
 * hidden).
 */

export function arrange(list, { folds, heading }) {
    const groups = new Map(), sorted = [...list].sort(worse);

    if (list.length <= FEW) {
        return sorted;
    }

    for (const p of sorted) {
        groups.set(p.group, [...groups.get(p.group) ?? [], p]);
    }

    return [...groups].flatMap(([group, all]) => {
        const chosen = folds.get(group), open = chosen ?? false;
        const bad = all.filter(p => rank(p) < CALM);
        const shown = open ? all : chosen === false ? []
                                                    : bad.slice(0, WORST);

        return [{ key: 'group ' + group, heading: heading(
                    group, all, open, all.length - shown.length) },
                ...shown];
    });
}


/* Bytes a minute that are no noise: more than 0.2 % of what there is. */

export const grows = m => !!m && m.steady > 0.5 && m.minutes >= 0.5
                          && m.rise > Math.max(65536, m.value / 500);


/* "+3 MiB a minute for 20 min" */

export function rising(m) {
    if (!m) {
        return '';
    }

    const min = m.minutes < 1.5 ? '1 min' : Math.round(m.minutes) + ' min';

    return grows(m) ? `+${format(m.rise, 'bytes')} a minute for ${min}`
        : m.steady > 0.5 && -m.rise > m.value / 500
          ? `\u2212${format(-m.rise, 'bytes')} a minute for ${min}`
          : `steady for ${min}`;
}


/* The peer whose memory grows most, of [{ group, peer, memory }], or null. */

export function fastest(list) {
    return list.filter(p => grows(p.memory))
               .sort((a, b) => b.memory.rise - a.memory.rise)[0] ?? null;
}


export { trend };
