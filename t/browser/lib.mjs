/* What the tests of the pages share. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync,
         writeFileSync as writeFile } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

export const here = import.meta.dirname
                    ?? new URL('.', import.meta.url).pathname;


/* A directory with the profiles that app/main.go writes. */

export function profiles() {
    const dir = mkdtempSync(join(tmpdir(), 'debug-profiles-'));

    process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

    const bin = join(dir, 'app');

    execFileSync('go', ['build', '-o', bin, 'main.go'],
                 { cwd: join(here, 'app'),
                   env: { ...process.env, GOFLAGS: '',
                          GOCACHE: process.env.GOCACHE
                                   ?? join(dir, 'cache') } });
    execFileSync(bin, [dir]);
    return dir;
}


/* self, %, %, total, %, name */
const ROW = new RegExp('^\\s*(-?[\\d.e+]+)\\D*?(?:\\s+[-\\d.e]+%){2}'
                       + '\\s+(-?[\\d.e+]+)\\D*?\\s+[-\\d.e]+%'
                       + '\\s+(.*?)(?: \\((?:partial-)?inline\\))?$');


/* go tool pprof's -top as rows, in the unit asked for. */

export function pprofTop(args, unit) {
    const text = execFileSync('go', ['tool', 'pprof', '-symbolize=none',
                                     '-top', '-nodecount=100000',
                                     '-nodefraction=0', '-edgefraction=0',
                                     '-unit=' + unit, ...args],
                              { encoding: 'utf8',
                                stdio: ['ignore', 'pipe', 'ignore'] });
    const out = { rows: [], total: 0 };

    for (const line of text.split('\n')) {
        const t = /accounting for .* of (-?[\d.e+]+)/.exec(line);

        if (t) {
            out.total = Number(t[1]);
        }

        const m = ROW.exec(line);

        if (m) {
            out.rows.push({ self: Number(m[1]), total: Number(m[2]),
                            name: m[3] });
        }
    }

    return out;
}


/* --- profile.proto written by hand, for what no program would write --- */

export function varint(n) {
    const out = [];
    let v = BigInt.asUintN(64, BigInt(n));

    do {
        out.push(Number(v & 127n) | (v > 127n ? 128 : 0));
        v >>= 7n;
    } while (v > 0n);

    return out;
}


export const field = (n, value) => typeof value === 'object'
    ? [...varint(n << 3 | 2), ...varint(value.length), ...value]
    : [...varint(n << 3), ...varint(value)];


/*
 * A profile of STACKS, each { names: [root, …, leaf], value }.  A name that
 * begins with 0x becomes a location without a function.
 */

export function encode(stacks, { type = 'cpu', unit = 'nanoseconds',
                                 module = '/opt/app', time = 0 } = {}) {
    const strings = [''], at = new Map([['', 0]]), chunks = [];
    const seen = new Map();

    const str = s => {
        if (!at.has(s)) {
            at.set(s, strings.length);
            strings.push(s);
        }

        return at.get(s);
    };

    chunks.push(field(1, [...field(1, str(type)), ...field(2, str(unit))]));
    chunks.push(field(3, [...field(1, 1), ...field(2, 0x400000),
                          ...field(3, 0x800000), ...field(5, str(module)),
                          ...field(6, str('b0b1b2'))]));

    const location = name => {
        if (!seen.has(name)) {
            const id = seen.size + 1;

            seen.set(name, id);

            if (/^0x/.test(name)) {
                chunks.push(field(4, [...field(1, id), ...field(2, 1),
                                      ...field(3, BigInt(name))]));
            } else {
                chunks.push(field(5, [...field(1, id), ...field(2, str(name)),
                                      ...field(4, str('src/app.c'))]));
                chunks.push(field(4, [...field(1, id), ...field(2, 1),
                                      ...field(4, [...field(1, id),
                                                   ...field(2, 7)])]));
            }
        }

        return seen.get(name);
    };

    for (const s of stacks) {
        const loc = s.names.map(location).reverse().flatMap(varint);

        chunks.push(field(2, [...field(1, loc),
                              ...field(2, varint(s.value))]));
    }

    for (const s of strings) {
        chunks.push(field(6, [...Buffer.from(s)]));
    }

    chunks.push(field(9, BigInt(time) * 1000000n));
    return Buffer.concat(chunks.map(c => Buffer.from(c)));
}


/* A call tree of about NODES nodes, wide and deep as real ones are. */

export function forest(nodes) {
    const stacks = [];
    let seed = 7, made = 0;

    const random = n => {
        seed = Math.imul(seed, 1103515245) + 12345 >>> 0;
        return (seed >>> 8) % n;
    };

    const names = Array.from({ length: 6000 }, (_, i) =>
        `example.com/app/pkg${i % 40}.(*Type${i % 300}).method${i}`);
    let stack = ['main.main'];

    while (made < nodes) {
        const keep = Math.max(1, stack.length - 1 - random(12));

        stack = stack.slice(0, keep);

        for (let i = 1 + random(14); i > 0 && stack.length < 90; i--) {
            stack.push(names[random(names.length)]);
            made++;
        }

        stacks.push({ names: stack, value: (1 + random(50)) * 10000000 });
    }

    return encode(stacks);
}


export { gzipSync, readFileSync, writeFile, existsSync, join };
