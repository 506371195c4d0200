/* What of the pages needs no page: names, looks, formats, series, units. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as lib from './lib.mjs';
import { around, through, top, total, tree }
    from '../../ngx_module/assets/count.js';
import { fit, layout, nameOf, nodeOf, slots, walk }
    from '../../ngx_module/assets/flame.js';
import { threads } from '../../ngx_module/assets/formats.js';
import { look } from '../../ngx_module/assets/look.js';
import { short } from '../../ngx_module/assets/names.js';
import { arrange, fastest, rising, states }
    from '../../ngx_module/assets/peers.js';
import { Process, trend } from '../../ngx_module/assets/process.js';
import { decode, diff, scaleOf } from '../../ngx_module/assets/profile.js';
import { group, holders } from '../../ngx_module/assets/stacks.js';
import { charts, gaps, looked, thin }
    from '../../ngx_module/assets/series.js';
import { choices, format, prefer } from '../../ngx_module/assets/units.js';
import { svg } from '../../ngx_module/assets/svg.js';

const text = s => decode(Buffer.from(s));
const plain = s => s.replace(/\u202f/g, ' ');


/* --- names --- */

for (const [name, want] of [
    ['main', 'main'],
    ['acs_hot_digest', 'acs_hot_digest'],
    ['shop::Ledger::book(std::string const&, int)', 'shop::Ledger::book'],
    ['void std::sort<__gnu_cxx::__normal_iterator<shop::Order*, '
     + 'std::vector<shop::Order> >, bool (*)(int)>(int, int)',
     'std::sort<…>'],
    ['a::b::c::d::Ledger::book()', 'd::Ledger::book'],
    ['std::vector<int, std::allocator<int> >::push_back(int&&)',
     'std::vector<…>::push_back'],
    ['std::__cxx11::basic_string<char, std::char_traits<char> >::append('
     + 'char const*)', 'std::basic_string<…>::append'],
    ['shop::Ledger::book(int)::{lambda(shop::Order const&)#1}::operator()('
     + 'shop::Order const&) const', 'Ledger::book::{lambda#1}'],
    ['shop::(anonymous namespace)::Till::close(long)', 'shop::Till::close'],
    ['std::ostream& operator<< <std::char_traits<char> >(std::ostream&, '
     + 'char)', 'operator<<<…>'],
    ['shop::Order::operator<(shop::Order const&) const',
     'shop::Order::operator<'],
    ['shop::Order::operator->() const', 'shop::Order::operator->'],
    ['operator new(unsigned long)', 'operator new'],
    ['std::function<void (int)>::operator()(int) const',
     'std::function<…>'],
    ['example.com/app/pkg.(*Type).Method', 'pkg.(*Type).Method'],
    ['runtime.(*mheap).alloc.func1', 'runtime.(*mheap).alloc.func1'],
    ['main.main', 'main.main'],
    ['main.(*Cache[go.shape.string]).Get',
     'main.(*Cache[go.shape.string]).Get'],
    ['libc.so.6+0x1234', 'libc.so.6+0x1234'],
    ['a<b', 'a<b'],
    ['((((', '(((('],
    ['', '']
]) {
    test(`the short name of ${name || 'nothing'}`, () => {
        assert.equal(short(name), want);
    });
}


/* --- how profiles are looked at --- */

const stacks = list => decode(lib.encode(list.map(([names, value]) => (
    { names: names.split(' '), value }))));

const rows = t => {
    const out = {};

    for (let k = 1; k < t.n; k++) {
        const way = [];

        for (let i = k; i > 0; i = t.parent[i]) {
            way.unshift(t.frames[t.frame[i]].name);
        }

        out[way.join(' ')] = t.value[k];
    }

    return out;
};


test('hide takes functions out, what they call stays', async () => {
    const p = await stacks([['a b c', 1], ['a b', 2], ['b', 4]]);

    assert.deepEqual(rows(tree(p, 0, { hide: /^b$/ })),
                     { a: 3, 'a c': 1 });
    assert.equal(tree(p, 0, { hide: /^b$/ }).value[0], 3,
                 'what was b alone is not counted');
    assert.deepEqual(rows(tree(p, 0, { show: /^[ab]$/ })),
                     { a: 3, 'a b': 3, b: 4 });
});


test('recursion is merged, also through others', async () => {
    const p = await stacks([['a b b b c', 1], ['a b a b d', 2]]);

    assert.deepEqual(rows(tree(p, 0, { fold: true })),
                     { a: 3, 'a b': 3, 'a b c': 1, 'a b d': 2 });
    assert.equal(total(p, 0), 3);
});


test('short names are found as well as full ones', async () => {
    const p = await stacks([['main', 1]]);

    p.frames[0].name = 'shop::Ledger::book(std::string)';
    assert.equal(tree(p, 0, { focus: /string/ }).value[0], 1);
    assert.equal(tree(p, 0, { focus: /^shop::Ledger::book$/ }).value[0], 1);
    assert.equal(tree(p, 0, { focus: /^Till/ }).value[0], 0);
});


test('the stacks above and below a function have all of it', async () => {
    const p = await stacks([['a b c', 1], ['d b c', 2], ['d b', 4],
                            ['d', 8], ['a b x b', 16]]);

    assert.deepEqual(rows(tree(through(p, 'b', false), 0)),
                     { b: 23, 'b c': 3, 'b x': 16, 'b x b': 16 });
    assert.deepEqual(rows(tree(through(p, 'b', true), 0, { invert: true })),
                     { b: 23, 'b a': 17, 'b d': 6 });
    assert.equal(around(p, 0, 'b').total, 23);
    assert.equal(tree(through(p, 'no such', true), 0).value[0], 0);
});


/* a location of three lines: c is inlined into b, b into a */

function inlined() {
    const f = lib.field, s = ['', 'cpu', 'nanoseconds', 'a', 'b', 'c',
                              'x.c', 'thread', 'worker'];
    const line = (fn, n) => f(4, [...f(1, fn), ...f(2, n)]);

    return decode(Buffer.from([
        ...f(1, [...f(1, 1), ...f(2, 2)]),
        ...f(2, [...f(1, [1]), ...f(2, [5]),
                 ...f(3, [...f(1, 7), ...f(2, 8)])]),
        ...f(2, [...f(1, [2]), ...f(2, [7])]),
        ...f(4, [...f(1, 1), ...line(3, 30), ...line(2, 20), ...line(1, 10)]),
        ...f(4, [...f(1, 2), ...line(1, 11)]),
        ...[3, 4, 5].flatMap((n, i) => f(5, [...f(1, i + 1), ...f(2, n),
                                             ...f(4, 6)])),
        ...s.flatMap(x => f(6, [...Buffer.from(x)]))
    ]));
}


test('lines: a row a line, inlined ones marked', async () => {
    const p = await inlined();

    assert.deepEqual(rows(tree(p, 0)), { a: 12, 'a b': 5, 'a b c': 5 });
    assert.deepEqual(rows(tree(p, 0, { lines: true })),
                     { 'a x.c:10': 5, 'a x.c:10 b x.c:20': 5,
                       'a x.c:10 b x.c:20 c x.c:30': 5, 'a x.c:11': 7 });
    assert.deepEqual(top(p, 0, { lines: true }).map(r => [r.name, r.self]),
                     [['a x.c:11', 7], ['c x.c:30', 5], ['a x.c:10', 0],
                      ['b x.c:20', 0]]);

    const seen = look(p, { lines: true });

    assert.deepEqual(seen.frames.map(f => [f.fn, f.inlined]),
                     [['c', 1], ['b', 1], ['a', 0], ['a', 0]]);
    assert.deepEqual(p.frames.find(f => f.name === 'a').lines, [10, 11]);
});


test('a label\'s values as the first row', async () => {
    const p = await inlined();

    assert.deepEqual(p.labels.map(l => [l.key, l.texts, [...l.of]]),
                     [['thread', ['', 'worker'], [1, 0]]]);
    assert.deepEqual(rows(tree(p, 0, { first: 'thread' })),
                     { worker: 5, 'worker a': 5, 'worker a b': 5,
                       'worker a b c': 5, '(no thread)': 7,
                       '(no thread) a': 7 });

    const t = tree(p, 0, { first: 'thread' }), s = slots(t, 'first');

    assert.deepEqual(s.names, ['(no thread)', 'worker']);
    assert.equal(s.of(2), 1, 'of the row above');
});


test('a difference: as it is, per second, what vanished', async () => {
    const a = await stacks([['a b', 10], ['a c', 4]]);
    const b = await stacks([['a b', 30]]);

    Object.assign(a, { duration: 1e9, requests: 5 });
    Object.assign(b, { duration: 2e9, requests: 50 });
    assert.equal(scaleOf(b, a, 0, ''), 1);
    assert.equal(scaleOf(b, a, 0, 'second'), 2);
    assert.equal(scaleOf(b, a, 0, 'request'), 10);
    assert.equal(scaleOf(b, a, 0, 'total'), 30 / 14);

    const t = tree(diff(b, a), 0), gone = layout(t, 'gone');
    const seen = [];

    walk(t, gone, 0, 100, k => seen.push(k ? t.frames[t.frame[k]].name
                                           : 'all'));
    assert.deepEqual(seen, ['all', 'a', 'c']);
    assert.equal(gone.size[0], 4);
});


/* --- a node in a link --- */

test('a node is found by its name, in another profile too', async () => {
    const a = tree(await stacks([['a b c', 1], ['d b c', 2]]), 0);
    const b = tree(await stacks([['x', 9], ['d b c', 2], ['a b c', 1],
                                 ['z c', 5]]), 0);

    for (let k = 1; k < a.n; k++) {
        const said = nameOf(a, k), there = nodeOf(b, said);

        assert.equal(nodeOf(a, said), k);
        assert.equal(nameOf(b, there), said);
    }

    const c = tree(await stacks([['z c', 1], ['y c', 5]]), 0);
    const k = nodeOf(c, nameOf(a, 3));

    assert.equal(c.value[k], 5, 'else the widest of that name');
    assert.equal(nodeOf(c, 'nobody~00000000'), 0);
    assert.equal(nodeOf(c, ''), 0);
});


test('what of a name has room', () => {
    const w = s => s.length * 10;

    assert.equal(fit('ns::Type::method(int)', 'ns::Type::method', 500, w),
                 'ns::Type::method(int)');
    assert.equal(fit('ns::Type::method(int)', 'ns::Type::method', 200, w),
                 'ns::Type::method');
    assert.equal(fit('ns::Type::method(int)', 'ns::Type::method', 70, w),
                 'method');
    assert.equal(fit('ns::Type::method(int)', 'ns::Type::method', 40, w),
                 'met…');
});


test('a stack of 20,000 frames is drawn, and named', async () => {
    const names = Array.from({ length: 20000 }, (_, i) => 'f' + i % 7);
    const t = tree(await stacks([[names.join(' '), 1]]), 0);
    let n = 0;

    assert.equal(walk(t, layout(t), 0, 1000, () => n++), 20001);
    assert.equal(n, 20001);
    n = 0;
    walk(t, layout(t), 19999, 1000, () => n++);
    assert.equal(n, 20001, 'zoomed to nearly its end');
    assert.equal(nodeOf(t, nameOf(t, 19999)), 19999);
    assert.match(svg(t), /f6/);
});


/* --- other files --- */

const maps = '\n00400000-00500000 r-xp 00000000 08:01 1 /opt/app\n';

function cpuFile(size, little) {
    const words = [0, 3, 0, 10000, 0, 5, 2, 0x401000, 0x402001, 2, 1,
                   0x401000, 0, 1, 0];
    const b = Buffer.alloc(words.length * size);

    words.forEach((w, i) => size === 4
        ? little ? b.writeUInt32LE(w, i * 4) : b.writeUInt32BE(w, i * 4)
        : little ? b.writeBigUInt64LE(BigInt(w), i * 8)
                 : b.writeBigUInt64BE(BigInt(w), i * 8));
    return Buffer.concat([b, Buffer.from(maps)]);
}


for (const [size, little] of [[8, true], [8, false], [4, true], [4, false]]) {
    test(`gperftools' CPU profile, words of ${size}, ${
         little ? 'little' : 'big'} end first`, async () => {
        const p = await decode(cpuFile(size, little));

        assert.equal(p.format, 'gperftools, CPU');
        assert.equal(total(p, 0), 7);
        assert.equal(total(p, 1), 70e6);
        assert.deepEqual(rows(tree(p, 0)),
                         { 'app+0x2000': 5, 'app+0x2000 app+0x1000': 5,
                           'app+0x1000': 2 });
        await assert.rejects(decode(cpuFile(size, little).subarray(
            0, 8 * size)), /gperftools is cut off/);
    });
}


test('gperftools\' CPU profile with its symbols', async () => {
    const p = await decode(Buffer.concat([Buffer.from('--- symbol\nbinary=x\n'
        + '0x0000000000401000 leaf\n0x0000000000402000 root\n---\n'
        + '--- profile\n'), cpuFile(8, true)]));

    assert.deepEqual(rows(tree(p, 0)), { root: 5, 'root leaf': 5, leaf: 2 });
});


test('gperftools\' heap and growth profiles', async () => {
    const p = await text('heap profile:      2:     2048 [     4:     4096] @'
                         + ' heap_v2/1\n     2:     2048 [     4:     4096] @'
                         + ' 0x401000 0x402001\n\nMAPPED_LIBRARIES:' + maps);

    assert.deepEqual(p.types.map(t => t.type),
                     ['alloc_objects', 'alloc_space', 'inuse_objects',
                      'inuse_space']);
    assert.deepEqual(p.types.map((_, i) => total(p, i)), [4, 4096, 2, 2048]);
    assert.ok(rows(tree(p, 3))['app+0x2000 app+0x1000'] === 2048);

    const g = await text('heap profile:  1:  1048576 [  1:  1048576] @'
                         + ' growthz\n 1:  1048576 [  1:  1048576] @ 0x401000'
                         + '\n\nMAPPED_LIBRARIES:' + maps);

    assert.equal(total(g, 1), 1048576);
    assert.match(g.format, /growth/);
});


test('a heap sample stands for what it was taken of', async () => {
    const p = await text('heap profile: 1: 1024 [1: 1024] @ heap_v2/524288\n'
                         + ' 1: 1024 [1: 1024] @ 0x401000\n');

    /* 1 / (1 - e^(-1024/524288)) */
    assert.equal(total(p, 2), 513);
});


test('Go\'s text: counts, contention, names and lines', async () => {
    const p = await text('goroutine profile: total 3\n'
        + '2 @ 0x401000 0x402000\n#\t0x401000\tmain.leaf+0x10\t/x/main.go:7\n'
        + '#\t0x402000\tmain.root+0x20\t/x/main.go:9\n\n'
        + '1 @ 0x402000\n#\t0x402000\tmain.root+0x20\t/x/main.go:9\n');

    assert.deepEqual(rows(tree(p, 0)), { 'main.root': 3,
                                         'main.root main.leaf': 2 });
    assert.deepEqual(p.frames.map(f => f.lines), [[9], [7]]);

    const m = await text('--- mutex:\ncycles/second=1000000000\n'
        + 'sampling period=2\n5000 3 @ 0x401000\n'
        + '#\t0x401000\tsync.(*Mutex).Unlock+0x10\t/x/m.go:1\n');

    assert.deepEqual([total(m, 0), total(m, 1)], [6, 10000]);
});


test('every goroutine, and every thread', async () => {
    const go = 'goroutine 1 [chan receive, 3 minutes]:\n'
        + 'main.wait(0xc000, {0x1, 0x2})\n\t/x/main.go:7 +0x10\n'
        + 'main.main()\n\t/x/main.go:9 +0x20\n\n'
        + 'goroutine 7 [running]:\nmain.(*T).work(...)\n\t/x/t.go:3\n'
        + 'created by main.main in goroutine 1\n\t/x/main.go:1 +0x1\n';
    const [a, b] = threads(go);

    assert.deepEqual([a.id, a.state, a.minutes, a.frames.map(f => f.name)],
                     [1, 'chan receive', 3, ['main.wait', 'main.main']]);
    assert.deepEqual([b.frames[0].name, b.frames[0].line, b.by],
                     ['main.(*T).work', 3, 'main.main']);
    assert.equal(total(await text(go), 0), 2);

    const [t] = threads('thread 42 "acs [1]" [sleeping in futex, cpu 0.120000'
        + ' s]:\n#\t0x1\tacs_lock+0x4\t/x/acs.c:5\n#\t0x2\tmain\t/opt/acs\n');

    assert.deepEqual([t.id, t.name, t.state, t.what, t.cpu],
                     [42, 'acs [1]', 'sleeping', 'sleeping in futex', 0.12]);
    assert.deepEqual(t.frames.map(f => [f.name, f.file, f.line]),
                     [['acs_lock', '/x/acs.c', 5], ['main', '', 0]]);
});


test('goroutines with one stack are a group, and who may hold a lock', () => {
    const go = (id, state, ...frames) => `goroutine ${id} [${state}]:\n`
        + frames.map(f => `${f}()\n\t/x/m.go:7 +0x1\n`).join('') + '\n';
    const lock = ['sync.runtime_SemacquireMutex', 'sync.(*Mutex).lockSlow',
                  'sync.(*Mutex).Lock', 'main.(*Cache).Get', 'main.serve'];
    const all = group(threads(
        go(1, 'running', 'main.encode', 'main.(*Cache).Get', 'main.serve')
        + go(2, 'sync.Mutex.Lock, 2 minutes', ...lock)
        + go(3, 'sync.Mutex.Lock', ...lock)
        + go(4, 'IO wait', 'net.read', 'main.serve')));

    assert.deepEqual(all.map(g => [g.threads.length, g.minutes, g.lock]),
                     [[2, 2, 'main.(*Cache).Get'], [1, 0, null],
                      [1, 0, null]]);
    assert.deepEqual(holders(all[0], all).map(g => g.threads[0].id), [1]);
    assert.deepEqual(holders(all[1], all), []);
});


test('folded stacks', async () => {
    const p = await text('main;work with a blank;leaf 12\nmain 3\n');

    assert.deepEqual(rows(tree(p, 0)), { main: 15,
                                         'main work with a blank': 12,
                                         'main work with a blank leaf': 12 });
    assert.equal(p.format, 'folded text');
    assert.equal(total(await text('a 1;b 2\n'), 0), 2, 'as short as can be');
});


for (const [what, bytes, re] of [
    ['a program', '\x7fELF\x02\x01\x01', /a program or a library/],
    ['perf.data', 'PERFILE2' + 'x'.repeat(30), /perf.*stackcollapse/],
    ['a speedscope file', '{"$schema":"https://www.speedscope.app/x"}',
     /another tool, in JSON/],
    ['JSON', '{"a": 1, "b": [1, 2, 3]}', /looks like JSON/],
    ['a trace of Go', 'go 1.21 trace\0\0\0', /go tool trace/],
    ['a picture', '\x89PNG\r\n\x1a\n', /a picture/],
    ['a zip', 'PK\x03\x04xxxx', /a zip archive/],
    ['a page', '<!doctype html><p>', /a web page/]
]) {
    test(`${what} is called what it is`, async () => {
        await assert.rejects(decode(Buffer.from(bytes, 'latin1')), re);
    });
}


/* --- charts --- */

function known(groups) {
    const peers = new Map(Object.entries(groups));
    const columns = new Map(), t = [10, 11, 12, 13];

    for (const [g, list] of peers) {
        for (const key of [`group\n${g}\n`, ...list.map(
            p => `peer\n${g}\n${p}\n`)])
        {
            columns.set(key + 'req', [1, 2, null, 4]);
            columns.set(key + 'p99', [0.1, 0.4, null, 0.2]);
        }
    }

    return { src: '', peers, servers: [], process: new Map(),
             rows: { t, columns, step: 1 } };
}


test('which charts there are, of one peer, of many, of groups', () => {
    const ids = x => charts(x).defs.map(d => d.id).join();
    const names = (x, id) => charts(x).defs.find(d => d.id === id).series
                                      .map(s => s.name);

    assert.equal(ids(known({ a: ['x:1'] })), 'req,lat,status,mem,cpu,thr');
    assert.deepEqual(names(known({ a: ['10.0.0.1:80', '10.0.0.2:80'] }),
                           'req'), ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual(names(known({ a: ['x:1'], b: ['y:1'] }), 'req'),
                     ['a', 'b']);

    const many = known({ a: Array.from({ length: 50 }, (_, i) => `p${i}:1`) });
    const req = charts(many).defs[0].series;

    assert.equal(req.length, 7);
    assert.equal(req[6].name, '44 more');
    assert.deepEqual(req[6].get().v, [44, 88, null, 176]);
    assert.deepEqual(looked(many.peers, 'a/p3:1'), [['a', 'p3:1']]);
});


test('sums add up, and of times the slowest stands', () => {
    const two = charts(known({ a: ['x:1'], b: ['y:1'] }));
    const add = (a, b) => a + b, max = (a, b) => Math.max(a, b);

    assert.equal(two.sum.exact, false);
    assert.deepEqual(two.sum.of('req', add)().v, [2, 4, null, 8]);
    assert.equal(two.sum.last('req', add), 8);
    assert.equal(two.sum.last('p99', max), 0.2);
    assert.equal(two.sum.last('nothing', add), null);
});


test('more points than pixels: the mean, and what it hides', () => {
    const t = Array.from({ length: 100 }, (_, i) => i);
    const one = thin({ t, v: t.map(i => i === 50 ? 100 : 1) }, 0, 99, 10, 1);

    assert.ok(one.t.length <= 12 && one.band);
    assert.equal(Math.max(...one.hi), 100);
    assert.ok(Math.max(...one.v) < 20);

    const all = thin({ t, v: t }, 0, 99, 1000, 1);

    assert.equal(all.v.length, 100);
    assert.equal(all.band, false);
});


test('a gap is a gap', () => {
    const data = [[1, 2, 3, 20, 21], [1, 1, 1, 1, 1]];

    gaps(data, 1);
    assert.deepEqual(data, [[1, 2, 3, 4, 20, 21], [1, 1, 1, null, 1, 1]]);
});


test('a process: rows by second, a restart, a day at the most', () => {
    const p = new Process();

    p.take({ Process: [{ Ts: 1000, Rss: 1, Pid: 7 }, { Ts: 2000, Rss: 2,
                                                       Pid: 7 }],
             CPUUsage: [{ Ts: 2000, User: 0.5, Sys: 0.1 }] });
    assert.deepEqual(p.sorted.map(r => [r.t, r.rss, r.user]),
                     [[1, 1, undefined], [2, 2, 0.5]]);
    assert.deepEqual(p.restarts, [1]);
    p.take({ Process: [{ Ts: 3000, Rss: 3, Pid: 8 }] });
    assert.deepEqual(p.restarts, [1, 3]);
    p.take({ Process: [{ Ts: 90000000, Rss: 3, Pid: 8 }] });
    assert.equal(p.sorted.length, 1);
});


test('memory\'s rise in words comes from a line through it', () => {
    const rows = Array.from({ length: 120 }, (_, i) => ({
        t: i, rss: 1e8 + i * 50000 + (i % 3) * 1000 }));
    const up = trend(rows);

    assert.ok(Math.abs(up.rise - 3e6) < 3e4 && up.steady > 0.99);
    assert.equal(Math.round(up.minutes), 2);
    assert.ok(Math.abs(trend(rows.map(r => ({ ...r, rss: 5 }))).rise) < 1);
    assert.equal(trend(rows.slice(0, 10)), null);
});


/* --- peers --- */

const peer = (group, name, state, more = {}) => ({
    group, peer: name, state, fail: 0, e5: 0, p99: 0.1, rate: 1, ...more });
const plainHeading = (group, list, open, hidden) => `${group} ${list.length} ${
    hidden}`;

test('few peers are a list, the worst first', () => {
    const list = [peer('a', 'x', 'up'), peer('b', 'y', 'down'),
                  peer('a', 'z', 'slow')];

    assert.deepEqual(arrange(list, { folds: new Map(),
                                     heading: plainHeading })
                     .map(p => p.peer), ['y', 'z', 'x']);
});


for (const n of [200, 1000]) {
    test(`${n} peers are groups, which fold and count what they hide`, () => {
        const list = Array.from({ length: n }, (_, i) => peer(
            'g' + i % 4, 'p' + i, i % 20 === 0 ? 'down' : 'up'));
        const folds = new Map();
        const go = () => arrange(list, { folds, heading: plainHeading });
        const rows = go();

        assert.equal(rows[0].heading, `g0 ${n / 4} ${n / 4 - 5}`);
        assert.equal(rows.length, 4 + 5);
        assert.ok(rows.slice(1, 6).every(p => p.state === 'down'));
        folds.set('g1', true);
        assert.equal(go().length, 9 + n / 4);
        folds.set('g0', false);
        assert.equal(go().length, 4 + n / 4);
        assert.equal(states(list), `${n / 20} down, ${n - n / 20} up`);
    });
}


test('memory in words, and who grows most', () => {
    const say = m => plain(rising(m));
    const up = { value: 1e8, rise: 3 * 2 ** 20, minutes: 20, steady: 0.9 };

    assert.equal(say(up), '+3 MiB a minute for 20 min');
    assert.equal(say({ ...up, rise: -up.rise }),
                 '\u22123 MiB a minute for 20 min');
    assert.equal(say({ ...up, steady: 0.1 }), 'steady for 20 min');
    assert.equal(say({ ...up, rise: 1000 }), 'steady for 20 min');
    assert.equal(say(null), '');
    assert.equal(fastest([{ peer: 'a', memory: up },
                          { peer: 'b', memory: { ...up, rise: 1e7 } },
                          { peer: 'c', memory: { ...up, rise: 1e8,
                                                 steady: 0 } }]).peer, 'b');
    assert.equal(fastest([{ peer: 'a', memory: null }]), null);
});


/* --- units --- */

test('units of profiles, and those people want', t => {
    const f = (v, u) => plain(format(v, u));

    t.after(() => prefer(''));
    assert.equal(f(4.58 * 3600, 'seconds'), '4.58 h');
    assert.equal(f(90 * 60, 'seconds'), '90 min');
    assert.equal(f(3, 'hours'), '3 h');
    assert.equal(f(5, 'kilobytes'), '5 KiB');
    assert.equal(f(5, 'megabytes'), '5 MiB');
    assert.equal(f(1234567, 'cycles'), '1 234 567 cycles');
    assert.equal(f(12, 'instructions'), '12 instructions');
    assert.equal(f(2, 'GB'), '2 GiB');
    prefer('decimal');
    assert.equal(f(5e6, 'bytes'), '5 MB');
    prefer('s');
    assert.equal(f(90 * 60, 'seconds'), '5400 s');
    assert.equal(f(5e6, 'bytes'), '4.77 MiB');
    prefer('kB');
    assert.equal(f(5e6, 'bytes'), '5000 kB');
    assert.ok(choices('bytes').includes('MB'));
    assert.ok(choices('nanoseconds').includes('min'));
    assert.deepEqual(choices('cycles'), ['auto']);
});
