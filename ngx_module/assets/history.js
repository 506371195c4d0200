/*
 * What the server tells of traffic, second by second.
 *
 * GET charts/data?step=1|10|60&n=<rows>&since=<milliseconds>
 *                &upstream=<name>&peer=<name>&server=<name>
 *
 * { "v": 1, "step": 1, "now": <milliseconds>,
 *   "t": [<unix seconds>, …],          when each row ended
 *   "series": [ { "kind": "server", "server": "…", <columns> },
 *               { "kind": "upstream", "upstream": "…", <columns> },
 *               { "kind": "peer", "upstream": "…", "peer": "…",
 *                 "state": "…", "reason": "…", <columns> } ],
 *   "left_out": <series that were too many>,
 *   "others": [ { "kind": … }, … ],    these, without columns
 *   "marks": [[<milliseconds>, "start" | "reload"],
 *             [<milliseconds>, "<kind of a profile>", "<group>", "<peer>"], …]
 * }
 *
 * <columns> are arrays as long as t, null where nothing is known: 2xx 3xx 4xx
 * 5xx failed (counts in the row), active, p50 p90 p99 (microseconds); in rows
 * of 10 and 60 seconds also count_min count_max p99_min p99_max, of the single
 * seconds in them.
 *
 * Here they become values a second and seconds: req s2xx s3xx s4xx s5xx fail
 * inflight p50 p90 p99, with _min and _max where there are such.
 */

import { failure, root } from './ui.js';

/* a day of minutes is the most a page shows */
const MOST = 1500;

export const peerKey = (group, peer) => `peer\n${group}\n${peer}\n`;


/* "group", "group/peer" or "server:name"; a group's name has no slash */

export function sourceArguments(src) {
    if (src.startsWith('server:')) {
        return { server: src.slice(7) };
    }

    const i = src.indexOf('/');

    return !src ? {} : i < 0 ? { upstream: src }
                    : { upstream: src.slice(0, i), peer: src.slice(i + 1) };
}


/* Incidents of the last SECONDS; none where nothing is watched. */

export async function incidents(seconds) {
    if (document.querySelector('main').dataset.watch === undefined) {
        return [];
    }

    try {
        const data = await (await fetch(new URL('incidents/?json', root()),
                                        { cache: 'no-store' })).json();

        return data.incidents.filter(i => i.time > data.now / 1000 - seconds);

    } catch {
        return [];
    }
}


export async function ask({ step, reach, since = 0, src = '', ...more }) {
    const url = new URL('charts/data', root());

    url.search = new URLSearchParams({
        step, n: Math.min(Math.ceil(reach / step) + 1, 1440),
        ...(since ? { since } : {}), ...sourceArguments(src), ...more
    });

    const res = await fetch(url, { cache: 'no-store',
                                   signal: AbortSignal.timeout(8000) });

    if (!res.ok) {
        throw await failure(res);
    }

    const data = await res.json();

    if (data.v !== 1) {
        throw new Error(`the data is of version ${data.v}: reload this page`);
    }

    return data;
}


/*
 * What a peer says of its own process, with debugcharts' names and shapes:
 * BytesAllocated, GcPauses, CPUUsage, Pprof, and, from libpprof, Process:
 * [{ Ts, Rss, HeapHeld, Threads, Fds, Pid }].  Bytes, Ts in milliseconds, CPU
 * in seconds a second.  debugcharts puts its callback's brackets around, also
 * where it was given none.
 */

export async function askProcess(group, peer, since, msec = 8000) {
    const url = new URL(['charts', group, peer, 'data'].map(
                            encodeURIComponent).join('/')
                        + '?since=' + since, root());
    const res = await fetch(url, { cache: 'no-store',
                                   signal: AbortSignal.timeout(msec) });

    if (!res.ok) {
        throw await failure(res);
    }

    const text = (await res.text()).trim();

    try {
        return JSON.parse(/^[\w$.]*\(([^]*)\);?$/.exec(text)?.[1] ?? text);

    } catch {
        throw new Error('it answers something else at /debug/charts/data;'
                        + ' libpprof and debugcharts answer there');
    }
}


function convert(s, step) {
    const div = (a, by) => a?.map(v => v === null ? null : v / by);
    const out = { inflight: s.active, fail: div(s.failed, step),
                  req_min: s.count_min, req_max: s.count_max };
    const classes = ['2xx', '3xx', '4xx', '5xx'];

    for (const k of classes) {
        out['s' + k] = div(s[k], step);
    }

    for (const k of ['p50', 'p90', 'p99', 'p99_min', 'p99_max']) {
        out[k] = div(s[k], 1e6);
    }

    out.req = s['2xx']?.map((v, i) => v === null ? null
        : [...classes, 'failed'].reduce((n, k) => n + (s[k]?.[i] ?? 0), 0)
          / step);

    return out;
}


/* The rows so far; take() adds those of an answer. */

export class Rows {
    constructor() {
        this.t = [];
        this.columns = new Map();
        this.peers = new Map();
        this.servers = [];
        this.others = [];
        this.states = new Map();
        this.marks = [];
        this.last = this.start = 0;
        this.step = 1;
    }

    /* for the next question */
    get since() {
        return this.last * 1000;
    }

    take(data) {
        const { t, step } = data;

        /* a clock that went back */
        if (t.length && this.last && t.at(-1) < this.last - 5) {
            Object.assign(this, new Rows());
        }

        this.step = step;

        for (const [ms, text, ...whose] of data.marks ?? []) {
            if (!this.marks.some(m => m[0] === ms / 1000 && m[1] === text
                                      && m[3] === whose[1]))
            {
                this.marks.push([ms / 1000, text, ...whose]);
            }

            if (text === 'start') {
                this.start = ms / 1000;
            }
        }

        const from = this.t.length, keep = [];
        let last = this.last;

        t.forEach((x, i) => {
            if (x > last) {
                if (last > 0 && x - last > step * 1.5) {
                    keep.push(-1);
                }

                keep.push(i);
                last = x;
            }
        });

        for (const i of keep) {
            this.t.push(i < 0 ? this.t.at(-1) + step : t[i]);
        }

        this.last = this.t.at(-1) ?? 0;
        this.peers = new Map();
        this.servers = [];
        this.others = data.others ?? [];

        for (const s of data.series) {
            let key;

            if (s.kind === 'peer') {
                key = peerKey(s.upstream, s.peer);
                this.peers.set(s.upstream, [...this.peers.get(s.upstream)
                                               ?? [], s.peer]);
                this.states.set(key, { state: s.state, reason: s.reason });

            } else if (s.kind === 'upstream') {
                key = `group\n${s.upstream}\n`;

                /* where records go that found no room: of interest if any */
                if (this.columns.has(key + 'req')
                    || data.series.some(p => p.kind === 'peer'
                                             && p.upstream === s.upstream)
                    || ['2xx', '3xx', '4xx', '5xx', 'failed'].some(
                        k => s[k]?.some(v => v > 0)))
                {
                    this.peers.set(s.upstream, this.peers.get(s.upstream)
                                               ?? []);
                } else {
                    continue;
                }

            } else {
                key = `server\n${s.server}\n`;
                this.servers.push(s.server);
            }

            for (const [k, v] of Object.entries(convert(s, step))) {
                if (v) {
                    this.add(key + k, from, keep, v);
                }
            }
        }

        if (this.t.length > MOST + 500) {
            const cut = this.t.length - MOST;

            this.t.splice(0, cut);
            this.columns.forEach(c => c.splice(0, cut));
        }
    }

    add(name, from, keep, values) {
        let c = this.columns.get(name);

        if (c === undefined) {
            this.columns.set(name, c = []);
        }

        while (c.length < from) {
            c.push(null);
        }

        for (const i of keep) {
            c.push(i < 0 ? null : values[i] ?? null);
        }
    }

    get(name) {
        return this.columns.get(name);
    }
}
