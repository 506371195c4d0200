/*
 * The pages with made-up data: snapshots of twenty minutes, processes that
 * tell what they use, an hour of history.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { serve } from './fixture.mjs';
import * as lib from './lib.mjs';
import { browser, missing, until, violations } from './site.mjs';

const why = missing();
const opt = why ? { skip: why } : { timeout: 60000 };
let s, b, dir;

before(async () => {
    if (!why) {
        dir = lib.profiles();
        s = await serve(dir);
        b = await browser();
    }
}, { timeout: 60000 });

after(async () => {
    await b?.close();
    s?.server.closeAllConnections();
    s?.server.close();
});


for (const look of ['light', 'dark', 'phone']) {
    const options = { colorScheme: look === 'dark' ? 'dark' : 'light',
        ...(look === 'phone' ? { hasTouch: true, isMobile: true,
            viewport: { width: 390, height: 844 } } : {}) };
    const fits = p => p.evaluate(
        () => document.documentElement.scrollWidth <= innerWidth);

    test(`axe: snapshots, ${look}`, opt, async t => {
        const p = await b.page(t, options);

        await p.goto(s.base + 'pprof/kept/');
        await p.getByText('Growth', { exact: true }).waitFor();
        assert.deepEqual(await violations(p), []);
        assert.ok(await fits(p));
    });

    test(`axe: charts of one process, ${look}`, opt, async t => {
        const p = await b.page(t, options);

        await p.goto(s.base + 'charts/?src=backend/10.0.0.7:8080');
        await p.locator('[data-id=pprof]').waitFor();
        assert.deepEqual(await violations(p), []);
        assert.ok(await fits(p));
    });
}


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
    await p.getByRole('link', { name: /heap profile of 10\.0\.0\.7/ })
           .first().click();
    await p.waitForFunction(() => globalThis.__flame?.());
    await p.getByRole('link', { name: 'Snapshots' }).waitFor();
});


test('snapshots: growth against the one before, and in one click', opt,
     async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'pprof/kept/');

    const rows = p.locator('tbody tr');

    await until(async () => await rows.count() === 3, 'three');
    assert.match(await rows.nth(0).innerText(), /\+[\d.]+ MiB/);
    assert.match(await rows.nth(1).innerText(), /10 min\s.*\+[\d.]+ MiB/);
    assert.match(await rows.nth(2).innerText(), /20 min\s.*–/);

    /* oldest to newest is preset */
    assert.ok(await rows.nth(2).getByLabel(/^Base/).isChecked());
    assert.ok(await rows.nth(0).getByLabel(/^Compare/).isChecked());
    await p.getByText(/20 min apart, \+[\d.]+ MiB/).waitFor();
    await p.getByRole('button', { name: 'Show growth' }).click();
    await p.locator('.pill', { hasText: /^grew [\d.]+ MiB/ }).waitFor();
    await p.getByRole('button', { name: 'Top' }).click();
    assert.match(await p.locator('tbody tr').first().innerText(),
                 /^\+.*main\.decodeOrder/s);
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
                 /10\.0\.0\.6:8080.*1\.42 s/s);
    await until(async () => /\d+ MiB/.test(await p.locator('tbody tr').first()
                                                  .innerText()), 'memory');
});
