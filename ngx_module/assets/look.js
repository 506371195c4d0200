/*
 * How a profile is looked at: which of its samples count, what a row is (a
 * function, or a line of it), what is hidden or folded.
 *
 *   look(p, opts)    a profile whose stacks lead through rows instead of sites
 *
 * Of what it returns stack has indexes into frames, which are the rows; keep
 * has a 1 for each sample that counts, or is null when all do.
 *
 * OPTS: focus, ignore, hide, show (regular expressions, of the full name or
 * the short one), lines (a row a line), fold (a function that is in a stack
 * already ends there what was called in between), first (the key of the label
 * that is the first row).
 */

import { shortOf } from './names.js';

const matches = (re, f) => re.test(f.name) || re.test(shortOf(f));

const base = file => file.replace(/^.*\//, '');


export function look(p, opts = {}) {
    if (p.looked) {
        return p;
    }

    const { frames, map } = rows(p, opts);
    const seen = { ...p, frames, keep: sieve(p, opts), looked: true };

    return map || opts.fold || opts.first ? { ...seen,
                                              ...project(seen, map, opts) }
                                          : seen;
}


/* What rows there are, and which of them a site is; -1 is none. */

function rows(p, { lines, hide, show }) {
    const { frame, line, inlined } = p.sites;
    const shown = hide || show ? p.frames.map(f => !(hide && matches(hide, f))
                                             && (!show || matches(show, f)))
                               : null;
    const plain = frame.length === p.frames.length && !lines;

    if (plain && !shown) {
        return { frames: p.frames, map: null };
    }

    if (!lines) {
        return { frames: p.frames,
                 map: shown ? frame.map(f => shown[f] ? f : -1) : frame };
    }

    const at = new Map(), frames = [];
    const map = frame.map((f, s) => {
        if (shown && !shown[f]) {
            return -1;
        }

        const key = f * 2 ** 24 + line[s];

        if (!at.has(key)) {
            const one = p.frames[f];
            const where = one.file && line[s]
                          ? ` ${base(one.file)}:${line[s]}` : '';

            at.set(key, frames.push({ ...one, fn: one.name,
                                      name: one.name + where,
                                      short: shortOf(one) + where,
                                      lines: line[s] ? [line[s]] : [],
                                      inlined: 0 }) - 1);
        }

        const k = at.get(key);

        frames[k].inlined |= inlined[s];
        return k;
    });

    return { frames, map };
}


/*
 * Which samples count: those with a frame that FOCUS matches and without one
 * that IGNORE matches, as in go tool pprof.
 */

function sieve(p, { focus, ignore }) {
    if (!focus && !ignore) {
        return null;
    }

    const { frame } = p.sites, { stack, start } = p;
    const by = p.frames.map(f => (focus && matches(focus, f) ? 1 : 0)
                                 | (ignore && matches(ignore, f) ? 2 : 0));
    const keep = new Uint8Array(start.length - 1);

    for (let s = 0; s < keep.length; s++) {
        let had = focus ? 0 : 1;

        for (let i = start[s]; i < start[s + 1]; i++) {
            had |= by[frame[stack[i]]];
        }

        keep[s] = had === 1 ? 1 : 0;
    }

    return keep;
}


/* The stacks as rows. */

function project(p, map, { fold, first }) {
    const { stack, start } = p, count = start.length - 1;
    const label = first && p.labels?.find(l => l.key === first);
    const out = new Int32Array(stack.length + (first ? count : 0));
    const from = new Uint32Array(count + 1);
    const frames = first ? p.frames.slice() : p.frames;
    const top = first ? (label?.texts ?? ['']).map(text => frames.push({
        name: text || `(no ${first})`, short: text || `(no ${first})`,
        file: '', lines: [], module: '', named: true, label: true }) - 1)
        : null;
    let { keep } = p, n = 0;

    for (let s = 0; s < count; s++) {
        const begin = n;

        if (first) {
            out[n++] = top[label ? label.of[s] : 0];
        }

        const bare = n;

        for (let i = start[s]; i < start[s + 1]; i++) {
            const k = map ? map[stack[i]] : stack[i];

            if (k < 0) {
                continue;
            }

            if (fold) {
                const had = out.indexOf(k, bare);

                if (had >= 0 && had < n) {
                    n = had;
                }
            }

            out[n++] = k;
        }

        /* hidden altogether: as if it were not there */
        if (n === bare && start[s + 1] > start[s]) {
            keep ??= new Uint8Array(count).fill(1);
            keep[s] = 0;
            n = begin;
        }

        from[s + 1] = n;
    }

    return { frames, stack: out.subarray(0, n), start: from, keep };
}
