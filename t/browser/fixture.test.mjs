/*
 * The pages with made-up data: snapshots of twenty minutes, processes that
 * tell what they use, an hour of history.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { serve } from './fixture.mjs';
import * as lib from './lib.mjs';
import { browser, charts, everyPage, flame, missing, PHONE, until,
         violations }
    from './site.mjs';

const why = missing();
const opt = why ? { skip: why } : { timeout: 180000 };
let s, b, dir;

before(async () => {
    if (!why) {
        dir = lib.profiles();
        s = await serve(dir);
        b = await browser();
    }
}, { timeout: 300000 });

after(async () => {
    await b?.close();
    s?.server.closeAllConnections();
    s?.server.close();
});


everyPage(test, opt, () => b, 'many snapshots',
          () => s.base + 'pprof/kept/',
          p => p.getByText('Growth', { exact: true }).waitFor());
everyPage(test, opt, () => b, 'an hour of charts',
          () => s.base + 'charts/?range=3600',
          p => p.getByText(/\d\d:\d\d:\d\d reload/).waitFor());


test('charts of one process: memory, CPU, threads, profile counts', opt,
     async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/?src=backend/10.0.0.7:8080');
    await p.locator('[data-id=pprof]').waitFor();

    const legend = id => p.locator(`[data-id=${id}] .legend`).innerText();

    await until(async () => /RSS\s*\d+ MiB\s*heap in use\s*\d+ MiB\s*heap held/
                            .test(await legend('mem')), 'memory');
    assert.match(await legend('cpu'), /user\s*\d+(\.\d)?%\s*system/);
    assert.match(await legend('thr'), /threads\s*48\s*open files\s*512/);
    assert.match(await legend('pprof'), /goroutine\s*48\s*heap\s*312/);
    assert.match(await p.locator('.tiles').innerText(),
                 /Memory, RSS\s*\d+ MiB\s*CPU\s*\d+(\.\d)?%\s*Threads\s*48/);
});


test('charts of an upstream: a line a peer, axis said not to be at zero',
     opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/?src=backend');
    await p.getByText(/resident, by peer, axis from \d+ MiB/).waitFor();
    assert.match(await p.locator('[data-id=mem] .legend').innerText(),
                 /10\.0\.0\.5\s*\d+ MiB\s*10\.0\.0\.6\s*\d+ MiB/);
});


test('charts: an hour has bands, marks and links to the snapshots', opt,
     async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/?range=3600');
    await p.getByText(/\d\d:\d\d:\d\d reload/).waitFor();

    /* the least and the greatest of what a pixel holds */
    const [req, lat] = (await charts(p)).shown;

    assert.ok(req.points <= 2 * req.width, `${req.points} points`);
    assert.ok(req.band > req.points / 3 && lat.points > 100,
              `${req.band} of ${req.points} have a band`);
    await p.getByRole('link', { name: /heap profile of 10\.0\.0\.7/ })
           .first().click();
    await flame(p);
    await p.getByLabel('Breadcrumb').getByRole('link', { name: 'Snapshots' })
           .waitFor();
});


test('snapshots: growth against the one before, and in one click', opt,
     async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'pprof/kept/');

    const rows = p.locator('tbody tr');

    await until(async () => await rows.count() === 3, 'three');
    assert.match(await rows.nth(0).innerText(), /\+[\d.]+ MiB/);
    assert.match(await rows.nth(1).innerText(), /1\d min\s.*\+[\d.]+ MiB/);
    assert.match(await rows.nth(2).innerText(), /2\d min\s.*–/);

    /* oldest to newest is preset */
    assert.ok(await rows.nth(2).getByLabel(/^Base/).isChecked());
    assert.ok(await rows.nth(0).getByLabel(/^Compare/).isChecked());
    await p.getByText(/20 min apart, \+[\d.]+ MiB/).waitFor();
    await p.getByRole('button', { name: 'Show growth' }).click();
    await p.locator('.pill', { hasText: /^grew [\d.]+ MiB/ }).waitFor();
    await p.getByRole('button', { name: 'Top', exact: true }).click();
    assert.match(await p.locator('tbody tr').first().innerText(),
                 /^\+.*main\.decodeOrder/s);
});


test('snapshots: another process is no base', opt, async t => {
    const p = await b.page(t);

    await p.route('**/kept/?json', async route => {
        const res = await route.fetch(), data = await res.json();

        data.kept.at(-1).pid = 4141;
        await route.fulfill({ json: data });
    });
    await p.goto(s.base + 'pprof/kept/');

    const rows = p.locator('tbody tr');

    await until(async () => await rows.count() >= 3, 'three');

    const n = await rows.count();

    await rows.nth(n - 2).getByLabel(/^Base/).and(p.locator(':checked'))
              .waitFor();
    assert.match(await rows.nth(n - 2).innerText(), /MiB\t–/);
    await rows.nth(n - 1).getByLabel(/^Base/).check();
    await p.getByText(/not the same process/).waitFor();
});


test('snapshots: one now, then every 10 minutes', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'pprof/kept/');

    const rows = p.locator('tbody tr');

    await until(async () => await rows.count() >= 3, 'the list');

    const n = await rows.count();

    await p.getByRole('button', { name: 'Take one now' }).click();
    await until(async () => await rows.count() === n + 1, 'one more');
    await p.getByRole('button', { name: 'Every 10 min, 6 times' }).click();
    await p.getByText(/5 more to come, the next at \d\d:\d\d/).waitFor();
});


test('a slow peer is named in the pill', opt, async t => {
    const p = await b.page(t);

    await p.route('**/charts/data?*', async route => {
        const res = await route.fetch(), data = await res.json();

        for (const x of data.series) {
            x['5xx'] = x['5xx'].map(() => 0);

            if (x.peer === '10.0.0.6:8080') {
                x.state = 'slow';
                x.reason = '420 ms on average of the last minute';
                x.p99 = x.p99.map(v => v === null ? null : 1.42e6);
            } else if (x.p99) {
                x.p99 = x.p99.map(v => v === null ? null : 9e4);
            }
        }

        await route.fulfill({ json: data });
    });
    await p.goto(s.base);
    await p.locator('.pill', { hasText: '1 of 3 peers slow' }).waitFor();
    assert.match(await p.locator('tbody tr').first().innerText(),
                 /10\.0\.0\.6:8080.*slow.*420 ms on average.*1\.42 s/s);
    await until(async () => /\d+ MiB/.test(await p.locator('tbody tr').first()
                                                  .innerText()), 'memory');
});


test('charts: 15 minutes of seconds are a mean with a band', opt, async t => {
    const p = await b.page(t, PHONE);

    await p.goto(s.base + 'charts/?range=900');
    await until(async () => (await charts(p))?.rows > 890, 'the rows');

    const [req] = (await charts(p)).shown;

    assert.ok(req.points <= 2 * req.width,
              `${req.points} points on ${req.width} pixels`);
    assert.ok(req.band > req.points / 2, `${req.band} have a band`);
});


test('charts: a second that stands alone is seen', opt, async t => {
    const p = await b.page(t);

    await p.route('**/charts/data?*', async route => {
        const res = await route.fetch(), data = await res.json();

        for (const x of data.series) {
            for (const k of ['p50', 'p90', 'p99']) {
                x[k] = x[k].map((v, i) => k === 'p99' && i % 25 === 12 ? v
                                                                       : null);
            }
        }

        await route.fulfill({ json: data });
    });
    await p.goto(s.base + 'charts/');
    await until(() => p.evaluate(() => {
        const c = document.querySelector('[data-id=lat] canvas');
        const d = c?.getContext('2d').getImageData(0, 0, c.width, c.height)
                   .data ?? [];
        let n = 0;

        for (let i = 0; i < d.length; i += 4) {
            n += d[i] > 150 && d[i + 1] < 110 && d[i + 2] < 80
                 && d[i + 3] > 120 ? 1 : 0;
        }

        return n > 30;
    }), 'the points of p99');
});


/* N peers in four groups, every 20th of them down. */

function crowd(n) {
    const end = Math.floor(Date.now() / 1000) - 1;
    const t = Array.from({ length: 30 }, (_, i) => end - 29 + i);
    const all = v => t.map(() => v);

    return { v: 1, step: 1, now: Date.now(), t, left_out: 0, marks: [],
        series: Array.from({ length: n }, (_, i) => ({
            kind: 'peer', upstream: `group${i % 4}`,
            peer: `10.${i % 4}.${i >> 8}.${i & 255}:8080`,
            state: i % 20 ? 'up' : 'down',
            reason: i % 20 ? '60 of 60 answered' : 'refused 8 times',
            '2xx': all(10), '3xx': all(0), '4xx': all(0), '5xx': all(0),
            failed: all(0), active: all(1), p50: all(9000), p90: all(20000),
            p99: all(50000) })) };
}


for (const n of [1, 15, 200, 1000]) {
    test(`${n} peers: no page is longer than one reads`, opt, async t => {
        const p = await b.page(t, { forgive: [/40[0-9]|502/] });
        const data = JSON.stringify(crowd(n));
        const height = () => p.evaluate(() => document.documentElement
                                                      .scrollHeight);

        await p.route('**/charts/data?*', r => r.fulfill({
            contentType: 'application/json', body: data }));

        for (const width of [1280, 390]) {
            await p.setViewportSize({ width, height: 800 });
            await p.goto(s.base);
            await p.locator('.pill', { hasText: n > 1 ? /\d down|of \d+/
                                                      : 'The peer is' })
                   .first().waitFor();
            assert.ok(await height() <= 3000, `${await height()} pixels`);
        }

        await p.setViewportSize({ width: 1280, height: 800 });
        await p.goto(s.base);
        await p.getByText('10.0.0.0:8080').first().waitFor();
        await p.shot('overview');

        if (n > 15) {
            assert.match(await p.locator('tbody tr').first().textContent(),
                         /^group0\d+ down, \d+ up.*\d+ hidden$/);
            await p.getByRole('button', { name: 'group1' }).click();
            await p.getByText(/^1–\d+ of \d+ rows$/).waitFor();
            assert.ok(await height() <= 3000);
            await p.getByLabel('Peers, by name').fill('10.1.0.5:');
            await p.getByText(`1 of ${n}`, { exact: true }).waitFor();
            assert.deepEqual(await violations(p), []);

            await p.goto(s.base + 'pprof/?peers=' + n);
            await p.getByText(`${n / 4} peers`).first().waitFor();
            assert.ok(await height() <= 3000, 'profiles');
            await p.getByLabel('Peers, by name').fill('10.1.0.5:');
            await p.getByRole('link', { name: '10.1.0.5:8080' }).waitFor();
            assert.deepEqual(await violations(p), []);
        }

        await p.goto(s.base + 'charts/');
        await p.locator('[data-id=req] .legend button').first().waitFor();
        assert.ok(await height() <= 3000, 'charts');
    });
}


test('goroutines: equal stacks as one, and who may hold the lock', opt,
     async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'pprof/view?src=pprof/backend/10.0.0.7:8080/'
                 + 'goroutine');
    await flame(p);
    await p.getByRole('button', { name: 'Stacks', exact: true }).click();
    await p.getByText('5 goroutines').waitFor();

    const first = p.locator('.group').first();

    assert.match(await first.innerText(), /^3\s*sync\.Mutex\.Lock.*2 min/s);
    assert.match(await first.innerText(),
                 /lock that main\.\(\*Cache\)\.Get takes.*goroutine 1/s);
    assert.deepEqual(await violations(p), []);
    await p.getByLabel('State').selectOption('IO wait');
    await p.getByText('1 goroutine', { exact: true }).waitFor();
    assert.match(p.url(), /state=IO/);
});


test('all peers slow is no reason to call them up', opt, async t => {
    const p = await b.page(t);

    await p.route('**/charts/data?*', async route => {
        const res = await route.fetch(), data = await res.json();

        for (const x of data.series) {
            x['5xx'] = x['5xx'].map(() => 0);
            x.p99 = x.p99.map(() => 5e6);
            x.state = 'slow';
        }

        await route.fulfill({ json: data });
    });
    await p.goto(s.base);
    await p.locator('.pill', { hasText: 'All 3 peers slow' }).waitFor();
});


test('charts: what has no room is said, and can be chosen', opt, async t => {
    const p = await b.page(t);

    await p.route('**/charts/data?*', async route => {
        const res = await route.fetch(), data = await res.json();

        data.left_out = 2;
        data.others = [{ kind: 'peer', upstream: 'more', peer: '10.1.1.1:80' },
                       { kind: 'server', server: 'last' }];
        await route.fulfill({ json: data });
    });
    await p.goto(s.base + 'charts/');
    await p.locator('.banner', { hasText: '2 more servers, upstreams and peers'
                                          + ' are not drawn' }).waitFor();

    const options = await p.getByLabel('Source').locator('option')
                           .allTextContents();

    assert.ok(options.some(x => x.includes('10.1.1.1:80')), options.join());
    assert.ok(options.includes('Server last'), options.join());
});
