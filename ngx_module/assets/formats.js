/*
 * Profiles that are no profile.proto, and what other files look like.
 *
 *   foreign(bytes)     a profile with the name of its format in "format"; null
 *                      when it may be profile.proto; a ProfileError that says
 *                      what it looks like when it can be none
 *
 * Formats: https://gperftools.github.io/gperftools/cpuprofile-fileformat.html
 * and what google/pprof's legacy_profile.go reads; folded text, a line a stack;
 * what Go and libpprof answer to ?debug=1 and ?debug=2.
 */

import { addressName, Frames } from './frames.js';
import { ProfileError } from './reader.js';

const text = bytes => new TextDecoder().decode(bytes);
const base = file => file.replace(/^.*\//, '');


/* --- a profile of what was read --- */

/*
 * STACKS: [{ sites: [...], values: [...] }], the leaf first, where a site is
 * { name, file, line, module } or an address, which MAPS names.
 */

function build(format, types, stacks, { maps = [], ...more } = {}) {
    const frames = new Frames(), size = stacks.reduce(
        (n, s) => n + s.sites.length, 0);
    const stack = new Int32Array(size), start = new Uint32Array(
        stacks.length + 1);
    const values = types.map(() => new Float64Array(stacks.length));
    let n = 0;

    stacks.forEach((s, i) => {
        for (let k = s.sites.length - 1; k >= 0; k--) {
            stack[n++] = site(frames, s.sites[k], maps);
        }

        start[i + 1] = n;
        values.forEach((v, t) => v[i] = s.values[t]);
    });

    return { format, types, defaultType: types.length - 1, hasDefault: false,
             ...frames.done(), stack, start, values, labels: [], base: null,
             time: 0, duration: 0, period: 0,
             periodType: { type: '', unit: '' }, comments: [],
             file: maps[0]?.file ?? '', buildId: '', ...more };
}


function site(frames, s, maps) {
    if (typeof s === 'object') {
        return frames.site(frames.add(s.name, s.file ?? '', s.module ?? '', '',
                                      true), s.line ?? 0);
    }

    const m = maps.find(x => s >= x.start && s < x.end);

    return frames.site(frames.add(addressName(s, m?.start ?? 0, m?.offset ?? 0,
                                              m?.file ?? ''), '',
                                  m?.file ?? '', '', false));
}


/* "400000-452000 r-xp 00000000 08:02 173521 /opt/app" */

const MAP = new RegExp('^\\s*([\\da-f]+)-([\\da-f]+)\\s+..x.\\s+([\\da-f]+)'
                       + '\\s+\\S+\\s+\\S+\\s*(.*)$');

function mapsOf(lines) {
    return lines.map(l => MAP.exec(l)).filter(Boolean).map(
        ([, a, b, off, file]) => ({ start: parseInt(a, 16),
                    end: parseInt(b, 16), offset: parseInt(off, 16),
                    file: file.trim() }));
}


/* --- gperftools: CPU --- */

/* Words of 4 or 8 bytes, either end first; null: this is none. */

function words(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset,
                              bytes.byteLength);

    for (const size of [8, 4]) {
        for (const little of [true, false]) {
            const at = i => {
                const p = i * size;

                if (p + size > bytes.length) {
                    throw new ProfileError('The CPU profile of gperftools is'
                                           + ' cut off.');
                }

                return size === 4 ? view.getUint32(p, little)
                    : Number(view.getBigUint64(p, little));
            };

            if (bytes.length >= 5 * size && at(0) === 0 && at(1) === 3
                && at(2) === 0 && at(3) > 0 && at(3) < 1e9)
            {
                return { at, size };
            }
        }
    }

    return null;
}


function cpu(bytes, names = null) {
    const w = words(bytes);

    if (w === null) {
        return null;
    }

    const period = w.at(3) * 1000, stacks = [];
    let i = 2 + w.at(1);

    for ( ;; ) {
        const count = w.at(i), depth = w.at(i + 1);

        if (depth > 10000 || depth === 0) {
            throw new ProfileError('The CPU profile of gperftools is damaged:'
                                   + ` a stack of ${depth} addresses.`);
        }

        if (count === 0 && depth === 1 && w.at(i + 2) === 0) {
            i += 3;
            break;
        }

        const sites = [];

        for (let k = 0; k < depth; k++) {
            /* all but the leaf are where a call returns to */
            const pc = w.at(i + 2 + k) - (k ? 1 : 0);

            sites.push(names?.(pc) ?? pc);
        }

        stacks.push({ sites, values: [count, count * period] });
        i += 2 + depth;
    }

    return build('gperftools, CPU',
                 [{ type: 'samples', unit: 'count' },
                  { type: 'cpu', unit: 'nanoseconds' }], stacks,
                 { maps: mapsOf(text(bytes.subarray(i * w.size)).split('\n')),
                   period, periodType: { type: 'cpu', unit: 'nanoseconds' } });
}


/* "--- symbol … --- profile": what pprof --raw writes, with names. */

function raw(bytes) {
    const head = text(bytes.subarray(0, Math.min(bytes.length, 64 << 20)));
    const at = /^--- profile\n/m.exec(head), names = new Map();

    for (const l of head.slice(0, at?.index ?? 0).split('\n')) {
        const m = /^0x([\da-f]+) (.*)$/.exec(l);

        if (m) {
            names.set(parseInt(m[1], 16), { name: m[2].split('--')[0] });
        }
    }

    if (!at || names.size === 0) {
        throw new ProfileError('This begins as pprof\'s "--- symbol" does, but'
                               + ' no profile follows.');
    }

    const offset = new TextEncoder().encode(head.slice(0, at.index
                                                       + at[0].length)).length;

    return cpu(bytes.slice(offset), pc => names.get(pc) ?? names.get(pc + 1));
}


/* --- text: heap, growth, contention, Go's debug=1 --- */

/*
 * Lines "values @ addresses", each perhaps followed by Go's "#\taddress\tname
 * \tfile:line".
 */

const NOTE = new RegExp('^#\\t0x[\\da-f]+\\t(.*?)(?:\\+0x[\\da-f]+)?\\s+'
                        + '(?:(.*):(\\d+)|(\\S+))\\s*$');

function stacksOf(lines, valuesOf) {
    const stacks = [];
    let last = null, named = null;

    for (const l of lines) {
        const note = NOTE.exec(l);

        if (note && last) {
            named ??= last.sites = [];
            named.push({ name: note[1].trim(), file: note[2] ?? '',
                         line: Number(note[3] ?? 0),
                         module: note[4] ?? '' });
            continue;
        }

        const m = /^\s*(.*?)\s*@((?:\s+0x[\da-f]+)*)\s*$/.exec(l);
        const values = m && valuesOf(m[1]);

        if (values) {
            stacks.push(last = { values, sites: m[2].split(/\s+/)
                .filter(Boolean).map((x, i) => parseInt(x, 16)
                                               - (i ? 1 : 0)) });
            named = null;
        }
    }

    return stacks;
}


/* What a sample of COUNT objects of SIZE bytes in all stands for. */

function unsample(count, size, rate) {
    if (!rate || !count) {
        return [count, size];
    }

    const scale = 1 / (1 - Math.exp(-(size / count) / rate));

    return [Math.round(count * scale), Math.round(size * scale)];
}


function heap(all) {
    const lines = all.split('\n');
    const [, kind, rate] = /@ ?(\w*)(?:\/(\d+))?/.exec(lines[0]) ?? [];
    const v2 = kind === 'heap_v2', growth = /growth/.test(kind);

    /* Go writes what it has unsampled already, and says twice the rate */
    const by = v2 ? Number(rate) : 0;
    const stacks = stacksOf(lines.slice(1), head => {
        const m = /^(\d+):\s*(\d+)\s*\[\s*(\d+):\s*(\d+)\]$/.exec(head);

        if (!m) {
            return null;
        }

        const [a, b, c, d] = m.slice(1).map(Number);

        return [...unsample(c, d, by), ...unsample(a, b, by)];
    });
    const types = [['alloc_objects', 'count'], ['alloc_space', 'bytes'],
                   ['inuse_objects', 'count'], ['inuse_space', 'bytes']];

    if (growth) {
        stacks.forEach(s => s.values.splice(0, 2));
    }

    return build(/^#\t0x/m.test(all) ? 'Go\'s text, heap'
                 : `gperftools, heap${growth ? ' growth' : ''}`,
                 types.slice(growth ? 2 : 0).map(([type, unit]) => ({
                     type: growth ? type.replace('inuse_', '') : type, unit })),
                 stacks, { maps: mapsOf(lines), period: by });
}


function contention(all) {
    const lines = all.split('\n');
    const hz = Number(/cycles\/second ?= ?(\d+)/.exec(all)?.[1] ?? 1e9);
    const period = Number(/sampling period ?= ?(\d+)/.exec(all)?.[1] ?? 1);
    const stacks = stacksOf(lines, head => {
        const m = /^(\d+) (?: *)(\d+)$/.exec(head);

        return m && [m[2] * period, m[1] * period / hz * 1e9];
    });

    return build('text, contention',
                 [{ type: 'contentions', unit: 'count' },
                  { type: 'delay', unit: 'nanoseconds' }], stacks,
                 { maps: mapsOf(lines) });
}


/* "goroutine profile: total 5", "threadcreate profile: total 9" */

function counts(all) {
    const type = /^(\w+) profile/.exec(all)[1], lines = all.split('\n');
    const stacks = stacksOf(lines.slice(1), head => /^\d+$/.test(head)
                                                    ? [Number(head)] : null);

    return build(`text, ${type}`, [{ type, unit: 'count' }], stacks,
                 { maps: mapsOf(lines) });
}


/* --- text: every goroutine or thread --- */

/*
 * What ?debug=2 has, of Go or of libpprof:
 *
 *     goroutine 7 [chan receive, 3 minutes, locked to thread]:
 *     thread 4242 "worker-1" [sleeping in futex, cpu 0.120000 s]:
 *
 * [{ id, name, state, what, minutes, cpu, frames: [{ name, file, line }],
 *    by, }], the leaf first.
 */

const HEAD = new RegExp('^(goroutine|thread) (\\d+)(?: "(.*)")?(?: gp=.*?)?'
                        + ' \\[(.*)\\]:$');
const FRAME = new RegExp('^#\\t0x[\\da-f]+\\t(.*?)(?:\\+0x[\\da-f]+)?\\t'
                         + '(?:(.*):(\\d+)|(.*))$');

export function threads(all) {
    const out = [];
    let t = null, name = null;

    for (const l of all.split('\n')) {
        const head = HEAD.exec(l);

        if (head) {
            out.push(t = { kind: head[1], id: Number(head[2]),
                           name: head[3] ?? '', ...stateOf(head[4]),
                           frames: [], by: '' });
            name = null;
            continue;
        }

        if (t === null) {
            continue;
        }

        const native = FRAME.exec(l);
        const place = /^\t(.*):(\d+)(?: \+0x[\da-f]+)?$/.exec(l);

        if (native) {
            t.frames.push({ name: native[1], file: native[2] ?? '',
                            line: Number(native[3] ?? 0),
                            module: native[4] ?? '' });

        } else if (place && name) {
            t.frames.push({ name, file: place[1], line: Number(place[2]) });
            name = null;

        } else if (/^created by /.test(l)) {
            t.by = l.slice(11).replace(/ in goroutine \d+$/, '');
            name = null;

        } else if (/\S/.test(l) && !l.startsWith('#')) {
            /* main.work(0xc000, 0x1): the arguments tell goroutines apart */
            name = l.replace(/\((?:[^()]*|\(.*\))\)$/, '').trim();
        }
    }

    return out;
}


function stateOf(said) {
    const parts = said.split(', '), [what] = parts;
    const cpu = /^cpu ([\d.]+) s$/.exec(parts.at(-1));
    const minutes = parts.map(x => /^(\d+) minutes$/.exec(x)?.[1])
                         .find(Boolean);

    return { state: what.replace(/ in .*$/, ''), what,
             minutes: Number(minutes ?? 0), cpu: cpu ? Number(cpu[1]) : null };
}


function dump(all) {
    const list = threads(all), kind = list[0].kind;

    return build(`text, every ${kind}`, [{ type: 'goroutine',
                                           unit: 'count' }],
                 list.map(t => ({ sites: t.frames, values: [1] })),
                 { threads: list });
}


/* --- folded --- */

/* "root;caller;leaf 42" */

function folded(all) {
    const stacks = [];

    for (const l of all.split('\n')) {
        const m = /^(.*\S)\s+(\d+(?:\.\d+)?)$/.exec(l);

        if (m) {
            stacks.push({ values: [Number(m[2])], sites: m[1].split(';')
                .map(name => ({ name: name.trim() || '?' })).reverse() });
        }
    }

    return build('folded text', [{ type: 'samples', unit: 'count' }], stacks);
}


/* --- which of them --- */

const TEXTS = [
    [/^heap profile:/, heap],
    [/^--- (?:contention|mutex|block)/, contention],
    [/^\w+ profile: total \d+/, counts],
    [/^(?:goroutine \d+ |thread \d+ ").*\[.*\]:$/m, dump],
    [/^[^\n]*;[^\n]*\s\d+(?:\.\d+)?\r?(?:\n|$)/, folded]
];

/* what cannot be read, by how it begins */
const LOOKS = [
    [/^\s*<(?:\?xml|svg)/i, 'a picture or an XML file'],
    [/^\s*</, 'a web page'],
    [/^\x7fELF/, 'a program or a library'],
    [/^PERFILE2/, 'perf\'s own file; "perf script | stackcollapse-perf.pl"'
                  + ' makes folded text of it, which can be opened here'],
    [/^\s*\{[^]*"(?:\$schema"\s*:\s*"[^"]*speedscope|traceEvents")/,
     'a profile of another tool, in JSON'],
    [/^\s*[[{]/, 'JSON'],
    [/^go 1\.\d+ trace/, 'an execution trace of Go; "go tool trace" reads it'],
    [/^FLR\0/, 'a recording of Java\'s Flight Recorder'],
    [/^PK\x03\x04/, 'a zip archive'],
    [/^(?:\x89PNG|\xff\xd8\xff|GIF8)/, 'a picture'],
    [/^\x28\xb5\x2f\xfd/, 'packed by zstd; unpack it first'],
    [/^BZh/, 'packed by bzip2; unpack it first'],
    [/^\xfd7zXZ/, 'packed by xz; unpack it first']
];


export function foreign(bytes) {
    const head = String.fromCharCode(...bytes.subarray(0, 2048));
    const looks = LOOKS.find(([re]) => re.test(head));

    if (looks) {
        throw new ProfileError(`This is not a profile: it looks like ${
                               looks[1]}.`);
    }

    if (/^--- symbol\n/.test(head)) {
        return raw(bytes);
    }

    const printable = /^[\t\n\r\x20-\x7e\x80-\xff]+$/.test(head);
    const [, read] = TEXTS.find(([re]) => re.test(head)) ?? [];

    if (printable && read) {
        return read(text(bytes));
    }

    if (/^[\t\n\r\x20-\x7e]{16,}$/.test(head)) {
        throw new ProfileError('This is text, not a profile: '
                               + head.trim().slice(0, 120));
    }

    return head.charCodeAt(0) === 0 ? cpu(bytes) : null;
}
