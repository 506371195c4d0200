/*
 * Profiles; draws nothing, and so runs under node too.
 *
 *   decode(bytes)           a file, gzipped or not -> profile
 *   merge([p, …])           several profiles of one kind as one
 *   diff(p, base, scale)    p minus base, base's values times scale
 *   scaleOf(p, base, type, by)   the scale by which two can be compared
 *
 * A profile is { format, types: [{type, unit}], defaultType, frames: [{name,
 * file, lines, module, named}], sites: {frame, line, inlined}, stack:
 * Int32Array, start: Uint32Array, values: [one Float64Array a type], labels:
 * [{key, texts, of}], base: Uint8Array or null, … }.  Sample s has the sites
 * stack[start[s]] … stack[start[s + 1] - 1], the root first; site i is the line
 * sites.line[i] of frames[sites.frame[i]].
 */

import { total } from './count.js';
import { foreign } from './formats.js';
import { Frames } from './frames.js';
import { gunzip } from './gzip.js';
import { parse } from './proto.js';
import { ProfileError } from './reader.js';


export async function decode(bytes) {
    const packed = bytes.length;

    if (packed === 0) {
        throw new ProfileError('The answer is empty.');
    }

    if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
        bytes = await gunzip(bytes);
    }

    /* a profile.proto begins with a sample type, whatever it has in it */
    const p = bytes[0] === 10 && bytes[1] < 32 ? parse(bytes)
              : foreign(bytes) ?? parse(bytes);

    p.format ??= 'profile.proto';
    p.packed = packed;
    p.size = bytes.length;
    return p;
}


const typeKey = t => t.type + '/' + t.unit;


/* --- several profiles --- */

/* The columns of P for the types of FIRST. */

function columns(first, p) {
    return first.types.map(t => {
        const k = p.types.findIndex(u => typeKey(u) === typeKey(t));

        if (k < 0) {
            throw new ProfileError('These profiles are of different'
                + ` kinds: one has no "${t.type}" in ${t.unit}, only `
                + p.types.map(u => u.type).join(', ') + '.');
        }

        return p.values[k];
    });
}


/* The sites of P in FRAMES, by their numbers in P. */

function moved(p, frames) {
    const at = p.frames.map(f => frames.add(f.name, f.file, f.module,
                                            f.buildId, f.named));

    return p.sites.frame.map((f, s) => frames.site(at[f], p.sites.line[s],
                                                   p.sites.inlined[s]));
}


/*
 * One profile with the samples of all, its types those of the first.  ISBASE
 * tells which profiles' samples count as the base of a difference.
 */

function join(list, isBase, scale) {
    const first = list[0], frames = new Frames();
    const size = list.reduce((n, p) => n + p.stack.length, 0);
    const count = list.reduce((n, p) => n + p.start.length - 1, 0);
    const stack = new Int32Array(size), start = new Uint32Array(count + 1);
    const values = first.types.map(() => new Float64Array(count));
    const base = isBase ? new Uint8Array(count) : null;
    const labels = new Map();
    let at = 0, s = 0;

    list.forEach((p, i) => {
        const map = moved(p, frames), from = columns(first, p);
        const by = isBase?.(i) ? scale : 1, n = p.start.length - 1;

        for (let j = 0; j < p.stack.length; j++) {
            stack[at + j] = map[p.stack[j]];
        }

        for (let j = 0; j < n; j++) {
            start[s + j] = at + p.start[j];

            for (let t = 0; t < from.length; t++) {
                values[t][s + j] = from[t][j] * by;
            }
        }

        base?.fill(isBase(i) ? 1 : 0, s, s + n);
        joinLabels(labels, p, s, count);
        at += p.stack.length;
        s += n;
    });

    start[count] = at;

    return { ...first, ...frames.done(), stack, start, values, base,
             labels: [...labels.values()] };
}


function joinLabels(labels, p, from, count) {
    for (const l of p.labels) {
        if (!labels.has(l.key)) {
            labels.set(l.key, { key: l.key, texts: [''],
                                of: new Int32Array(count) });
        }

        const mine = labels.get(l.key);
        const at = l.texts.map(x => {
            const i = mine.texts.indexOf(x);

            return i < 0 ? mine.texts.push(x) - 1 : i;
        });

        l.of.forEach((x, j) => mine.of[from + j] = at[x]);
    }
}


export function merge(list) {
    if (list.length === 1) {
        return list[0];
    }

    return {
        ...join(list),
        duration: list.reduce((n, p) => n + p.duration, 0),
        time: Math.min(...list.map(p => p.time))
    };
}


export function diff(p, base, scale = 1) {
    return join([p, base], i => i === 1, scale);
}


/*
 * The factor for the base's values: by "total" its total becomes the profile's,
 * by "second" both are of as long a time, by "request" of as many requests.
 */

export function scaleOf(p, base, type, by) {
    const ratio = (a, b) => a > 0 && b > 0 ? a / b : 1;

    if (by === 'second') {
        return ratio(p.duration, base.duration);
    }

    if (by === 'request') {
        return ratio(p.requests, base.requests);
    }

    if (by !== 'total') {
        return 1;
    }

    const t = base.types.findIndex(u => typeKey(u) === typeKey(p.types[type]));

    return ratio(total(p, type), t < 0 ? 0 : total(base, t));
}
