/* The profile reader against go tool pprof, and against rubbish. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as lib from './lib.mjs';
import { around, top, total, tree, unnamed }
    from '../../ngx_module/assets/count.js';
import { decode, diff, merge, scaleOf }
    from '../../ngx_module/assets/profile.js';
import { ProfileError } from '../../ngx_module/assets/reader.js';
import { format, percent, signed } from '../../ngx_module/assets/units.js';

const dir = lib.profiles();
const path = name => lib.join(dir, name + '.pb.gz');
const read = name => decode(lib.readFileSync(path(name)));
const typeOf = (p, name) => p.types.findIndex(t => t.type === name);
const UNIT = { nanoseconds: 'ns', bytes: 'B', count: '' };


/* the same functions with the same numbers, whatever their order */

function same(rows, theirs) {
    const mine = new Map(rows.map(r => [r.name, r]));

    assert.ok(theirs.rows.length > 0, 'pprof printed rows');

    for (const t of theirs.rows) {
        const m = mine.get(t.name);

        assert.ok(m || t.self === 0 && t.total === 0, t.name + ' is missing');

        if (m) {
            assert.ok(Math.abs(m.self - t.self) <= 1,
                      `self of ${t.name}: ${m.self}, pprof ${t.self}`);
            assert.ok(Math.abs(m.total - t.total) <= 1,
                      `total of ${t.name}: ${m.total}, pprof ${t.total}`);
            mine.delete(t.name);
        }
    }

    for (const m of mine.values()) {
        assert.ok(m.self === 0 && m.total === 0, m.name + ' is not in pprof');
    }
}


for (const [name, type] of [['cpu', 'cpu'], ['cpu', 'samples'],
                            ['heap2', 'inuse_space'],
                            ['heap2', 'alloc_objects'],
                            ['goroutine', 'goroutine'],
                            ['mutex', 'delay']])
{
    test(`${name}, ${type}: totals and rows are go tool pprof's`, async () => {
        const p = await read(name), i = typeOf(p, type);
        const theirs = lib.pprofTop(['-sample_index=' + type, path(name)],
                                    UNIT[p.types[i].unit] || 'auto');

        assert.ok(i >= 0);
        assert.ok(Math.abs(total(p, i) - theirs.total) <= 1,
                  `total ${total(p, i)}, pprof ${theirs.total}`);
        same(top(p, i), theirs);

        const t = tree(p, i);

        assert.equal(t.value[0], total(p, i));
        assert.equal(t.self.reduce((a, b) => a + b), total(p, i));
    });
}


test('focus and ignore are go tool pprof\'s', async () => {
    const p = await read('cpu');
    const i = typeOf(p, 'cpu');

    same(top(p, i, { focus: /sortNames/, ignore: /mallocgc/ }),
         lib.pprofTop(['-focus=sortNames', '-ignore=mallocgc', path('cpu')],
                      'ns'));
});


test('a difference has go tool pprof\'s rows and names the leak', async () => {
    const [a, b] = await Promise.all([read('heap0'), read('heap2')]);
    const i = typeOf(b, 'inuse_space'), d = diff(b, a);
    const rows = top(d, i);

    same(rows, lib.pprofTop(['-sample_index=inuse_space', '-diff_base',
                             path('heap0'), path('heap2')], 'B'));
    assert.equal(rows[0].name, 'main.decodeOrder');
    assert.ok(rows[0].self > 50e6);

    const t = tree(d, i);

    assert.equal(t.value[0] - t.base[0], total(b, i) - total(a, i));
});


test('a profile minus itself is nothing', async () => {
    const p = await read('heap1'), d = diff(p, p);

    assert.ok(top(d, 0).every(r => r.self === 0 && r.total === 0));
});


test('merged profiles have the sum of both, as pprof\'s', async () => {
    const [a, b] = await Promise.all([read('cpu'), read('cpu2')]);
    const m = merge([a, b]), i = typeOf(m, 'cpu');

    assert.equal(total(m, i), total(a, i) + total(b, i));
    same(top(m, i), lib.pprofTop([path('cpu'), path('cpu2')], 'ns'));
});


test('normalised, the totals of both sides are equal', async () => {
    const [a, b] = await Promise.all([read('cpu'), read('cpu2')]);
    const i = typeOf(a, 'cpu');
    const t = tree(diff(b, a, scaleOf(b, a, i, 'total')), i);

    assert.ok(Math.abs(t.value[0] - t.base[0]) < 1);
});


test('profiles of different kinds are refused in words', async () => {
    const [a, b] = await Promise.all([read('cpu'), read('heap0')]);

    assert.throws(() => diff(a, b), /different kinds.*"samples"/);
});


test('callers and callees add up', async () => {
    const p = await read('cpu'), i = typeOf(p, 'cpu');
    const a = around(p, i, 'main.burn'), sum = rows =>
        rows.reduce((n, r) => n + r.value, 0);

    assert.equal(sum(a.callers), a.total);
    assert.equal(sum(a.callees) + a.self, a.total);
    assert.ok(a.callees.some(r => r.name === 'main.fibonacci'));
    assert.equal(a.total, top(p, i).find(r => r.name === 'main.burn').total);
    assert.equal(around(p, i, 'no such').total, 0);
});


test('inverted, the first level is what each function spent itself',
     async () => {
    const p = await read('cpu'), i = typeOf(p, 'cpu');
    const t = tree(p, i, { invert: true }), got = new Map();

    for (let k = 1; k < t.n; k++) {
        if (t.depth[k] === 1) {
            got.set(p.frames[t.frame[k]].name, t.value[k]);
        }
    }

    for (const r of top(p, i)) {
        assert.equal(got.get(r.name) ?? 0, r.self, r.name);
    }
});


test('the tree is what the stacks say, whatever their order', async () => {
    const p = await decode(lib.gzipSync(lib.forest(3000)));
    const count = p.start.length - 1;

    for (const invert of [false, true]) {
        for (const step of [1, 7, 101]) {
            const stack = [], start = [0], v = [], want = new Map([['', 0]]);

            for (let i = 0; i < count; i++) {
                const s = i * step % count;
                const one = [...p.stack.subarray(p.start[s], p.start[s + 1])];

                stack.push(...one);
                start.push(stack.length);
                v.push(p.values[0][s]);

                for (let n = 0; n <= one.length; n++) {
                    const key = (invert ? [...one].reverse() : one)
                                .slice(0, n).join();

                    want.set(key, (want.get(key) ?? 0) + v[i]);
                }
            }

            const t = tree({ ...p, stack: Int32Array.from(stack), start,
                             values: [v] }, 0, { invert });
            const names = [''];

            for (let k = 1; k < t.n; k++) {
                names[k] = (names[t.parent[k]] + ',' + t.frame[k])
                           .replace(/^,/, '');
            }

            assert.deepEqual(new Map(names.map((x, k) => [x, t.value[k]])
                                          .sort()),
                             new Map([...want].sort()));
        }
    }
});


test('frames without names are module+offset and are counted', async () => {
    const p = await decode(lib.encode([
        { names: ['main', '0x401234'], value: 30 },
        { names: ['main', 'work'], value: 70 },
    ]));

    assert.ok(p.frames.some(f => f.name === 'app+0x1234' && !f.named));

    const u = unnamed(p, 0);

    assert.equal(u.share, 0.3);
    assert.deepEqual(u.modules, [{ file: '/opt/app', buildId: 'b0b1b2',
                                   value: 30 }]);
});


test('addresses and values of 64 bits', async () => {
    const p = await decode(lib.encode([
        { names: ['0xffffffff81000001'], value: -5n },
        { names: ['main'], value: 4611686018427387904n },
    ]));

    assert.deepEqual([...p.values[0]], [-5, 2 ** 62]);
    assert.equal(p.frames.find(f => !f.named).name,
                 'app+0xffffffff80c00001');
});


test('a proxy\'s empty gzip members in front are stepped over', async () => {
    const body = lib.gzipSync(lib.encode([{ names: ['main'], value: 1 }]));
    const empty = lib.gzipSync('');

    /* a strict reader, as browsers': no bytes after the first member */
    const p = await decode(Buffer.concat([empty, empty, body]));

    assert.equal(p.frames[0].name, 'main');
});


test('what is no profile is refused in words', async () => {
    const text = s => Buffer.from(s);

    await assert.rejects(decode(text('')), /empty/);
    await assert.rejects(decode(text('<!doctype html><p>x')), /web page/);
    await assert.rejects(decode(text('cpu profiling is running; retry')),
                         /text, not a profile: cpu profiling is running/);
    await assert.rejects(decode(Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3])),
                         /damaged or cut off/);
    await assert.rejects(decode(Buffer.alloc(64)), ProfileError);

    const good = lib.encode([{ names: ['a', 'b'], value: 1 }]);

    await assert.rejects(decode(good.subarray(0, good.length - 30)),
                         ProfileError);
    await assert.rejects(decode(lib.gzipSync(good).subarray(0, 60)),
                         /damaged or cut off/);
});


test('damaged profiles end in a ProfileError or a profile, never else',
     async () => {
    const good = [lib.encode([{ names: ['a', 'b', '0x401000'], value: 300 },
                              { names: ['a', 'c'], value: 1e12 }]),
                  (await import('node:zlib')).gunzipSync(
                      lib.readFileSync(path('heap1')))];
    let seed = 1, refused = 0;

    const random = n => {
        seed = Math.imul(seed, 1664525) + 1013904223 >>> 0;
        return Math.floor(seed / 4294967296 * n);
    };

    for (let i = 0; i < 4000; i++) {
        let b = Buffer.from(good[i & 1]);

        for (let k = 1 + random(4); k > 0; k--) {
            b[random(b.length)] = random(256);
        }

        if (random(4) === 0) {
            b = b.subarray(0, random(b.length));
        }

        try {
            const p = await decode(b);

            p.types.forEach((_, t) => {
                tree(p, t);
                top(p, t);
                unnamed(p, t);
            });

        } catch (e) {
            assert.ok(e instanceof ProfileError, `round ${i}: ${e.stack}`);
            assert.match(e.message, /\.$|^This is text/);
            refused++;
        }
    }

    assert.ok(refused > 1000, refused + ' were refused');
});


test('50,000 frames: decode and tree in a moment', async () => {
    const b = lib.gzipSync(lib.forest(50000));
    let best = Infinity;

    for (let i = 0; i < 5; i++) {
        const from = performance.now(), p = await decode(b), t = tree(p, 0);

        best = Math.min(best, performance.now() - from);
        assert.ok(t.n >= 45000, t.n + ' nodes');
    }

    console.log(`# ${best.toFixed(0)} ms for decode and tree`);
    /* the bar is 150 ms; a loaded machine must not fail the test */
    assert.ok(best < 750, best + ' ms');
});


test('numbers for people', () => {
    const f = (v, u) => format(v, u).replace(/\u202f/g, ' ');

    assert.equal(f(0, 'bytes'), '0 B');
    assert.equal(f(1023, 'bytes'), '1023 B');
    assert.equal(f(1024, 'bytes'), '1 KiB');
    assert.equal(f(131 * 2 ** 20, 'bytes'), '131 MiB');
    assert.equal(f(-1.5 * 2 ** 30, 'bytes'), '\u22121.5 GiB');
    assert.equal(f(20.1e9, 'nanoseconds'), '20.1 s');
    assert.equal(f(1500, 'nanoseconds'), '1.5 µs');
    assert.equal(f(42, 'milliseconds'), '42 ms');
    assert.equal(f(612804, 'count'), '612 804');
    assert.equal(f(1234567, 'count'), '1 234 567');
    assert.equal(signed(108 * 2 ** 20, 'bytes'), '+108 MiB');
    assert.equal(percent(1, 3), '33.3%');
    assert.equal(percent(-1, 2000), '\u22120.05%');
});
