/*
 * What one process said of itself, second by second, with debugcharts' names:
 * rows { t, heap, user, sys, gc, rss, held, threads, fds, … }, and when it
 * started anew.
 */

const DAY = 86400;

/* name there, what a row gets of it */
const PARTS = {
    BytesAllocated: x => ({ heap: x.Value }),
    CPUUsage: x => ({ user: x.User, sys: x.Sys }),
    GcPauses: x => ({ gc: x.Value / 1e9 }),
    Pprof: x => ({ block: x.Block, goroutine: x.Goroutine, heaps: x.Heap,
                   mutex: x.Mutex, created: x.Threadcreate }),
    Process: x => ({ rss: x.Rss, held: x.HeapHeld, threads: x.Threads,
                     fds: x.Fds, ...(x.HeapInUse === undefined ? {}
                                     : { heap: x.HeapInUse }) })
};


export class Process {
    constructor() {
        Object.assign(this, { rows: new Map(), sorted: [], last: 0, before: 0,
                              quiet: 0, why: '', restarts: [] });
    }

    take(data) {
        this.before = this.last;

        for (const [name, part] of Object.entries(PARTS)) {
            for (const x of data[name] ?? []) {
                Object.assign(this.at(x.Ts), part(x));
            }
        }

        this.restarted(data);

        for (const r of this.rows.values()) {
            this.last = Math.max(this.last, r.t * 1000);
        }

        /* a day is the most that is looked at */
        for (const t of this.rows.keys()) {
            if (t < this.last / 1000 - DAY) {
                this.rows.delete(t);
            }
        }

        this.sorted = [...this.rows.values()].sort((a, b) => a.t - b.t);
    }

    at(msec) {
        const t = Math.round(msec / 1000);
        let r = this.rows.get(t);

        if (r === undefined) {
            this.rows.set(t, r = { t });
        }

        return r;
    }

    /*
     * A process keeps a day of itself: what it begins with is its start, or
     * else older than anything that is looked at.  debugcharts tells all of it
     * each time, and no pid.
     */

    restarted(data) {
        const first = Math.min(...['BytesAllocated', 'Process'].map(
            k => data[k]?.[0]?.Ts ?? Infinity)) / 1000;

        for (const x of data.Process ?? []) {
            if (this.pid && x.Pid && x.Pid !== this.pid) {
                this.restarts.push(Math.round(x.Ts / 1000));
            }

            this.pid = x.Pid ?? this.pid;
        }

        if (this.before === 0) {
            this.restarts = [first];

        } else if (!data.Process && first * 1000 > this.before
                   && first < Infinity)
        {
            this.restarts.push(first);
        }
    }

    /* debugcharts knows no since and sends a day each time */

    sendsAll(data) {
        return (data.BytesAllocated?.[0]?.Ts ?? Infinity) < this.before;
    }
}


/*
 * How the memory of ROWS [{ t, rss }] moves: { value, rise: bytes a minute,
 * minutes: for how long, steady }, by the line of least squares through them.
 * Null: there is too little to tell.
 */

export function trend(rows, key = 'rss') {
    const r = rows.filter(x => x[key] !== undefined && x[key] !== null);

    if (r.length < 3 || r.at(-1).t - r[0].t < 20) {
        return null;
    }

    const n = r.length, mt = r.reduce((s, x) => s + x.t, 0) / n;
    const mv = r.reduce((s, x) => s + x[key], 0) / n;
    let tt = 0, tv = 0, vv = 0;

    for (const x of r) {
        tt += (x.t - mt) ** 2;
        tv += (x.t - mt) * (x[key] - mv);
        vv += (x[key] - mv) ** 2;
    }

    return { value: r.at(-1)[key], rise: tv / tt * 60,
             minutes: (r.at(-1).t - r[0].t) / 60,
             steady: vv > 0 ? tv * tv / tt / vv : 0 };
}
