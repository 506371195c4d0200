/* The pages in Chromium, served by the real nginx: what holds for all, the
 * overview, the charts. */

import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, test } from 'node:test';

import { browser, charts, everyPage, fetchText, flame, missing, PHONE, site,
         until, violations }
    from './site.mjs';

const why = missing();
const opt = why ? { skip: why } : { timeout: 180000 };
let s, b;

before(async () => {
    if (!why) {
        s = await site();
        b = await browser();
    }
}, { timeout: 300000 });

after(async () => {
    await b?.close();
    await s?.stop();
});

const view = (q = {}) => s.base + 'pprof/view?' + new URLSearchParams(q);
const acs = i => `pprof/acs/127.0.0.1:${s.acs[i].port}`;


/* --- what holds for all pages --- */

const INLINE = /<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=/;

test('no inline script, style or handler in any page, and a strict policy',
     opt, async () => {
    for (const path of ['', 'requests', 'charts/', 'pprof/', 'pprof/view',
                        'pprof/kept/', acs(0) + '/'])
    {
        const r = await fetchText(s.base + path);

        assert.equal(r.status, 200, path);
        assert.doesNotMatch(r.body, INLINE, path);
        assert.match(r.headers['content-security-policy'],
                     /default-src 'none'.*require-trusted-types-for/, path);
        assert.equal(r.headers['referrer-policy'], 'no-referrer');
        assert.match(r.body, /app\.js\?[0-9a-f]{12}"/, path);
    }
});


test('files of the pages: kept for ever by name and hash, small', opt,
     async () => {
    const html = (await fetchText(s.base)).body;
    const links = [...html.matchAll(/"(assets\/[^"]+)"/g)].map(m => m[1]);
    const js = (await fetchText(s.base + links.find(
        l => l.includes('app.js')))).body;
    let sum = 0;

    links.push('assets/' + /\.\/(uPlot\.js\?[0-9a-f]{12})/.exec(js)[1]);

    for (const l of links) {
        const { headers } = await fetchText(s.base + l,
                                            { 'accept-encoding': 'gzip' });

        assert.match(headers['cache-control'], /immutable/, l);
        assert.equal(headers['content-encoding'], 'gzip', l);
        sum += Number(headers['content-length']);
    }

    assert.equal(links.length, 5);
    console.log(`# ${sum} bytes gzipped`);
    assert.ok(sum < 80000, `${sum} bytes gzipped`);
});


const PAGES = [
    ['overview', () => s.base, p => p.getByText('profiles').first().waitFor()],
    ['requests', () => s.base + 'requests',
     p => p.getByText(/^\d+ under way$/).waitFor()],
    ['charts', () => s.base + 'charts/',
     p => p.getByText('Live', { exact: true }).waitFor()],
    ['charts of one process', () => s.base + 'charts/?src=acs/127.0.0.1:'
                                    + s.acs[0].port,
     p => p.locator('[data-id=pprof]').waitFor()],
    ['profiles', () => s.base + 'pprof/',
     p => p.getByText('no profiler').waitFor()],
    ['peer', () => s.base + acs(0) + '/',
     p => p.getByText('Profiler answers').waitFor()],
    ['peer without profiler',
     () => `${s.base}pprof/bare/127.0.0.1:${s.nobody}/`,
     p => p.getByText('How to get profiles').waitFor()],
    ['viewer, empty', () => view(), p => p.getByText('Open files').waitFor()],
    ['viewer', () => view({ src: acs(0) + '/heap' }), flame],
    ['viewer, top', () => view({ src: acs(0) + '/heap', view: 'top' }), flame],
    ['viewer, function', () => view({ src: acs(0) + '/heap', view: 'function',
                                      fn: 'handle_order' }), flame],
    ['snapshots', () => s.base + 'pprof/kept/?src=acs/127.0.0.1:'
                        + s.acs[0].port,
     p => p.getByRole('button', { name: 'Take one now' }).waitFor()],
];

for (const [name, go, ready] of PAGES) {
    everyPage(test, opt, () => b, name, go, ready, [/404|502|504/]);
}


test('the theme is kept, and no page shows an empty banner', opt,
     async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/');
    await p.getByText('Live', { exact: true }).waitFor();
    assert.equal(await p.locator('.banner:visible').count(), 0);

    const button = p.locator('#theme');

    await button.click();
    await button.click();
    assert.equal(await button.textContent(), 'Dark');

    const bg = await p.evaluate(() => getComputedStyle(document.body)
                                      .backgroundColor);

    await p.goto(s.base);
    assert.equal(bg, await p.evaluate(() => getComputedStyle(document.body)
                                            .backgroundColor));
});


test('without a script the server\'s pages still tell and lead', opt,
     async t => {
    const p = await b.page(t, { javaScriptEnabled: false });

    await p.goto(s.base);
    await p.getByRole('row').filter({ hasText: `127.0.0.1:${s.go}` })
           .getByText('up').waitFor();
    await p.getByRole('row').filter({ hasText: `127.0.0.1:${s.acs[0].port}` })
           .getByRole('link', { name: 'profiles' }).click();
    await p.getByRole('link', { name: 'heap' }).first().waitFor();

    /* what stands in <noscript> */
    assert.match((await fetchText(s.base + 'charts/')).body,
                 /drawn by a script.*href="data"/s);
});


test('these tests hear what they are to hear', opt, async t => {
    const p = await b.page(t);

    await p.route('**/debug/', async route => {
        const res = await route.fetch();

        await route.fulfill({ response: res, body: (await res.text()).replace(
            '</main>', '<p style="color:red">x</p><script>1</script>'
                       + '<img src="http://example.invalid/x.png"></main>') });
    });
    await p.goto(s.base);
    await until(() => ['style-src', 'script-src', 'img-src'].every(
        d => p.heard.some(x => x.includes('policy: ' + d))),
        'three breaches of the policy');
    p.heard.length = 0;
    await p.evaluate(() => setTimeout(() => { throw new Error('boo'); }));
    await until(() => p.heard.some(x => /^script: .*boo/.test(x)),
                'an error of a script');
    await p.evaluate(() => { document.body.innerHTML = '<b>'; })
           .then(() => assert.fail('innerHTML was let through'), () => {});
    await until(() => p.heard.some(x => x.includes('TrustedHTML')),
                'the refused innerHTML');
    await new Promise(ok => setTimeout(ok, 200));
    p.heard.length = 0;
});


/* --- overview --- */

test('overview: the peers live, worst first, sorted by a click', opt,
     async t => {
    const p = await b.page(t);

    /* a peer that refuses is the worst */
    await fetchText(`http://127.0.0.1:${s.port}/bare/`);
    await p.goto(s.base);
    await p.locator('.pill', { hasText: /1 of \d peers down/ })
           .waitFor({ timeout: 10000 });

    const first = () => p.locator('tbody tr').first().textContent();

    assert.match(await first(), new RegExp(`127\\.0\\.0\\.1:${s.nobody}`));
    assert.match(await p.locator('tbody tr', { hasText: `:${s.go}` })
                        .textContent(), /up.*\/s/);

    await p.getByRole('button', { name: 'Requests', exact: true }).click();
    await until(async () => !(await first()).includes(s.nobody), 'sorted');
    assert.equal(await p.locator('[data-key=rate]').getAttribute('aria-sort'),
                 'descending');
    assert.match(await p.locator('link[rel=icon]').getAttribute('href'),
                 /c3261f/);
});


test('requests: what is under way, found, with its stack', opt, async t => {
    const p = await b.page(t);
    const held = ['a%3Cb%3E', 'other'].map(name => get(
        `http://127.0.0.1:${s.port}/slow?ms=60000&x=${name}`,
        { agent: false, headers: { host: name } }).on('error', () => {}));

    t.after(() => held.forEach(x => x.destroy()));

    await p.goto(s.base);
    await p.getByRole('link', { name: 'Requests' }).click();

    const rows = p.locator('#requests tbody tr', { hasText: 'GET /slow' });

    await until(async () => await rows.count() === 2, 'two rows');
    assert.match(await rows.first().textContent(),
                 /waiting for the answer|connecting/);
    assert.match(await rows.first().textContent(), /acs\/127\.0\.0\.1:\d+/);
    await p.locator('.pill', { hasText: /^\d+ under way$/ }).waitFor();

    /* the oldest is the first, and grows older */
    const age = async () => Number.parseFloat(
        await rows.first().locator('td').first().textContent());

    await until(async () => await age() >= 1, 'older');
    await p.getByRole('searchbox').fill('waiting for');
    await until(async () => await rows.count() === 2, 'by state');
    await p.getByRole('searchbox').fill('no such thing');
    await until(async () => await rows.count() === 0, 'none');
    assert.match(p.url(), /q=no\+such\+thing/);
    await p.getByRole('searchbox').fill('/slow');

    await rows.first().getByRole('link').click();
    await p.locator('pre', { hasText: /^thread \d+ "acs" \[/ }).waitFor();
    assert.match(await p.getByRole('region', { name: 'Stack' }).textContent(),
                 /^[0-9a-f]{8} at acs\/127\.0\.0\.1:\d+All threads of /);

    held[0].destroy();
    await until(async () => await rows.count() === 1, 'one has gone');
});


test('overview: traffic, memory, a line of five minutes, ways on', opt,
     async t => {
    const p = await b.page(t, { forgive: [/502|504/] });
    const { port } = s.acs[0], row = p.locator('tbody tr',
                                               { hasText: `:${port}` });

    await p.goto(s.base);

    for (const re of [/[\d.]+ \/s/, /[\d.]+ (µs|ms|s)/, /[\d.]+%/,
                      /[\d.]+ MiB/])
    {
        await row.getByText(re).first().waitFor();
    }

    await until(async () => /at most/.test(await row.getByRole('img')
        .last().getAttribute('aria-label')), 'the line');

    const to = name => row.getByRole('link', { name, exact: true })
                          .getAttribute('href');

    assert.match(await to('profiles'), /\/pprof\/acs\/127\.0\.0\.1%3A/);
    assert.match(await to('charts'), /\/charts\/\?src=acs%2F127/);
    assert.match(await to('heap'), /\/pprof\/view\?src=/);
});


test('overview on a phone: everything of a peer without scrolling', opt,
     async t => {
    const p = await b.page(t, { ...PHONE, forgive: [/502|504/] });

    await p.goto(s.base);
    await p.locator('table.cards').getByText('charts').first().waitFor();

    const out = await p.evaluate(() => [...document.querySelectorAll(
        'table.cards tbody :is(th, td:not(.pc))')].filter(e => {
        const { left, right, width } = e.getBoundingClientRect();

        return left < 0 || right > 390 || width === 0;
    }).map(e => e.textContent));

    assert.deepEqual(out, [], 'in sight');
    assert.equal(await p.locator('tbody tr').first().evaluate(tr =>
        getComputedStyle(tr.cells[4], '::before').content), '"p99"');
});


test('the first Tab skips to the content', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/');
    await p.keyboard.press('Tab');
    await p.getByRole('link', { name: 'Skip to content' }).waitFor();
    assert.equal(await p.evaluate(() => document.activeElement.className),
                 'skip');
    await p.keyboard.press('Enter');
    await p.waitForURL(/#main$/);
});


/* --- charts --- */

test('charts: a second brings a point, with ink', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/');
    await p.getByText('Live', { exact: true }).waitFor();

    const a = await charts(p);

    await until(async () => (await charts(p)).last >= a.last + 2,
                'two more seconds');
    assert.deepEqual(a.shown.map(c => c.id),
                     ['req', 'lat', 'status', 'mem', 'cpu', 'thr']);

    /* the color of p99 is on the canvas */
    await until(() => p.evaluate(() => {
        const c = document.querySelector('[data-id=lat] canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height)
                   .data;
        let n = 0;

        for (let i = 0; i < d.length; i += 4) {
            n += d[i] > 150 && d[i + 1] < 110 && d[i + 2] < 80
                 && d[i + 3] > 120 ? 1 : 0;
        }

        return n > 3;
    }), 'p99 is drawn');
    assert.match(await p.locator('.tile').first().textContent(), /\d+ \/s/);
    assert.equal(await p.locator('.u-cursor-x:visible').count(), 0,
                 'no cursor without a pointer');
});


test('charts: pause holds the picture, Space resumes', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/');
    await p.getByText('Live', { exact: true }).waitFor();
    await p.getByRole('button', { name: 'Pause', exact: true }).click();
    await p.locator('.pill', { hasText: 'Paused' }).waitFor();

    const max = c => c.shown[0].max, a = await charts(p);

    await until(async () => (await charts(p)).last > a.last + 1,
                'data arrives while paused');
    assert.equal(max(await charts(p)), max(a));
    await p.locator('h1').click();
    await p.keyboard.press('Space');
    await until(async () => max(await charts(p)) > max(a), 'goes on');
});


test('charts: a drag zooms all, the URL keeps it, Esc goes back', opt,
     async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/?range=60');
    await p.getByText('Live', { exact: true }).waitFor();

    const box = await p.locator('[data-id=lat] .u-over').boundingBox();

    await p.mouse.move(box.x + box.width * 0.4, box.y + 40);
    await p.mouse.down();
    await p.mouse.move(box.x + box.width * 0.7, box.y + 60, { steps: 6 });
    await p.mouse.up();
    await p.getByRole('button', { name: 'Reset zoom' }).waitFor();

    const c = await charts(p);

    assert.ok(c.shown.every(x => Math.abs(x.min - c.zoom[0]) < 1e-6
                                 && Math.abs(x.max - c.zoom[1]) < 1e-6));
    assert.ok(c.zoom[1] - c.zoom[0] > 10 && c.zoom[1] - c.zoom[0] < 30);
    await p.reload();
    await p.getByRole('button', { name: 'Reset zoom' }).waitFor();
    await p.keyboard.press('Escape');
    await until(async () => (await charts(p)).zoom === null, 'reset');
    assert.doesNotMatch(p.url(), /from=/);
});


test('charts: legend, hover, table, one peer', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/?range=60');
    await p.getByText('Live', { exact: true }).waitFor();

    const entry = p.locator('[data-id=lat] .legend button').last();

    await entry.click();
    assert.equal(await entry.getAttribute('aria-pressed'), 'false');

    const box = await p.locator('[data-id=lat] .u-over').boundingBox();

    await p.mouse.move(box.x + box.width * 0.9, box.y + 50);
    await p.locator('.at', { hasText: /at \d\d:\d\d:\d\d/ }).waitFor();

    await p.getByRole('button', { name: 'Requests: show as a table' })
           .click();
    await p.getByRole('dialog').getByRole('row').nth(1).waitFor();
    assert.deepEqual(await violations(p), []);
    await p.keyboard.press('Escape');

    await p.getByLabel('Source').selectOption(
        { label: `\u2003127.0.0.1:${s.go}` });
    await until(async () => (await charts(p)).shown[0].series.length === 1,
                'one peer');
    await p.getByRole('link', { name: 'Profiles' }).last().waitFor();
    assert.match(p.url(), /src=go/);
});


test('charts: the cursor is at one time in all', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/?range=60&src=acs/127.0.0.1:'
                 + s.acs[0].port);
    await p.locator('[data-id=pprof]').waitFor();
    await until(async () => (await charts(p)).shown[0].points > 8, 'points');

    const box = await p.locator('[data-id=req] .u-over').boundingBox();

    await p.mouse.move(box.x + box.width * 0.93, box.y + 50);
    await until(async () => {
        const at = (await charts(p)).shown.map(c => c.at);

        /* a process's own second may end a second apart */
        return at.length === 7 && at.every(x => x !== null
                                                && Math.abs(x - at[0]) <= 2);
    }, 'all seven');
});


test('charts: a Go program with debugcharts', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/?range=60&src=go/127.0.0.1:' + s.go);

    const legend = id => p.locator(`[data-id=${id}] .legend`).innerText();

    await until(async () => /heap in use\s*[\d.]+ [KM]iB/
                            .test(await legend('mem')), 'memory');
    assert.match(await legend('cpu'), /user\s*25%\s*system\s*5%/);
    assert.match(await p.locator('.tiles').innerText(),
                 /Heap in use\s*[\d.]+ [KM]iB\s*CPU\s*30%\s*Goroutines\s*\d/);
    assert.match(await legend('pprof'), /goroutine\s*\d+\s*heap\s*3/);
});


test('charts: profiles that somebody takes are marks', opt, async t => {
    const p = await b.page(t), peer = `127.0.0.1:${s.acs[1].port}`;

    await p.goto(s.base + 'charts/?range=60');
    await p.getByText('Live', { exact: true }).waitFor();
    await fetchText(s.base + acs(1) + '/goroutine');
    await p.getByText(new RegExp(`\\d goroutine profile of ${peer}`)).waitFor();
    await fetchText(s.base + acs(1) + '/profile?seconds=1');
    await p.getByText(new RegExp(`\\d\\d CPU profile of ${peer}`)).waitFor();

    /* of another peer's chart they are no marks */
    await p.goto(s.base + `charts/?range=60&src=go/127.0.0.1:${s.go}`);
    await p.getByText('Live', { exact: true }).waitFor();
    await until(async () => (await charts(p)).rows > 5, 'its data');
    assert.equal(await p.getByText(/goroutine profile/).count(), 0);
});


test('charts: a peer that starts anew is a mark, seen then or later', opt,
     async t => {
    const p = await b.page(t, { forgive: [/502|504/] });
    const url = s.base + `charts/?range=60&src=acs/127.0.0.1:${s.acs[1].port}`;
    const mark = p.getByText(/\d\d restart of 127\.0\.0\.1/);

    await p.goto(url);
    await p.locator('[data-id=pprof]').waitFor();
    await s.acsRestart(1);
    await mark.waitFor({ timeout: 45000 });
    await p.goto(url);
    await mark.waitFor();
});


test('charts: ranges up to a day', opt, async t => {
    const p = await b.page(t);

    await p.goto(s.base + 'charts/');
    await p.getByText('Live', { exact: true }).waitFor();
    await p.keyboard.press('4');
    await until(async () => (await charts(p)).step === 10, '10 s rows');
    await p.keyboard.press('5');
    await until(async () => (await charts(p)).step === 60, '60 s rows');
    await p.getByText(/Collecting since \d\d:\d\d/).waitFor();
});


test('charts: a reload is a mark, a server that is gone comes back', {
     ...opt, timeout: 90000 }, async t => {
    const p = await b.page(t, { forgive: [/Failed to load resource|ERR_/] });

    await p.goto(s.base + 'charts/?range=60');
    await p.getByText('Live', { exact: true }).waitFor();
    s.reload();
    await p.getByText(/\d\d reload/).waitFor({ timeout: 10000 });

    await s.nginxStop();
    await p.getByText(/the server does not answer/).waitFor();
    await p.locator('.pill', { hasText: 'Reconnecting' }).waitFor();
    await s.nginxStart();
    await p.locator('.pill', { hasText: 'Live' }).waitFor(
        { timeout: 30000 });
    assert.equal(await p.locator('.banner:visible').count(), 0);
});


test('nginx had nothing to complain about', opt, async () => {
    const bad = s.log.split('\n').filter(
        l => /\[(alert|emerg|crit)\]/.test(l));

    assert.deepEqual(bad, []);
});
