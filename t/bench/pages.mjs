/*
 * What the pages weigh and how long they take to draw, in Debian's Chromium.
 * For pages.pl, which makes tables of it:
 *
 *   asset   name, bytes gzipped, bytes
 *   page    name, bytes of its HTML, bytes of all that it loads, files
 *   flame   frames, ms from the file to the picture, ms of these to draw,
 *           ms of CPU of the page's own thread, ms for a frame of a page
 *           that has nothing to do but to show one SVG
 *   charts  peers, points, ms to the first picture, ms to draw all again,
 *           ms of CPU to draw all again
 *
 * BENCH_SHORT: once each, and few frames.
 */

import { readdirSync } from 'node:fs';
import { get } from 'node:http';
import { createRequire } from 'node:module';

import { serve } from '../browser/fixture.mjs';
import * as lib from '../browser/lib.mjs';
import { charts, flame, site } from '../browser/site.mjs';

/* it is among the tests' own modules */
const { chromium } = createRequire(new URL('../browser/', import.meta.url))(
    'playwright-core');

const SHORT = !!process.env.BENCH_SHORT;
const TIMES = SHORT ? 1 : 9;
const FRAMES = SHORT ? 2000 : 50000;
const POINTS = 900;
const CROWDS = SHORT ? [2] : [1, 10, 50];
const build = process.env.DEBUG_BUILD ?? lib.join(lib.here, '../../build');

const say = (...fields) => console.log(fields.join('\t'));

const median = list => list.sort((a, b) => a - b)[list.length >> 1];


/* Bytes of URL as a browser gets them. */
function weight(url, encoding) {
    return new Promise((ok, bad) => {
        get(url, { headers: { 'accept-encoding': encoding } }, res => {
            let n = 0;

            if (res.statusCode !== 200) {
                bad(new Error(`${url}: ${res.statusCode}`));
            }

            res.on('data', c => n += c.length);
            res.on('end', () => ok(n));
        }).on('error', bad);
    });
}


async function assets(base) {
    const dir = lib.join(build, 'nginx/objs/ngx_http_debug/pages');

    for (const name of readdirSync(dir)) {
        say('asset', name, await weight(`${base}assets/${name}`, 'gzip'),
            await weight(`${base}assets/${name}`, 'identity'));
    }
}


/* The page itself and its assets; the data that it goes on asking for is no
   part of its weight. */

async function pages(browser, base, peer) {
    for (const [name, path] of [['overview', ''], ['charts', 'charts/'],
                                ['profiles', 'pprof/'],
                                ['one peer', `pprof/acs/${peer}/`],
                                ['viewer', 'pprof/view'],
                                ['snapshots', 'pprof/kept/']])
    {
        const context = await browser.newContext();
        const p = await context.newPage();
        const cdp = await context.newCDPSession(p);
        const urls = new Map(), sizes = { html: 0, all: 0, files: 0 };

        await cdp.send('Network.enable');
        cdp.on('Network.requestWillBeSent', e => urls.set(e.requestId,
                                                          e.request.url));
        cdp.on('Network.loadingFinished', e => {
            const url = urls.get(e.requestId) ?? '';
            const html = url === base + path;

            /* the icon comes when the browser likes */
            if (html || url.includes('/assets/')
                        && !url.includes('icon.svg'))
            {
                sizes.html += html ? e.encodedDataLength : 0;
                sizes.all += e.encodedDataLength;
                sizes.files++;
            }
        });
        await p.goto(base + path, { waitUntil: 'load' });

        /* what a script loads comes after */
        await p.waitForTimeout(SHORT ? 300 : 1500);
        say('page', name, sizes.html, sizes.all, sizes.files);
        await context.close();
    }
}


/* A sub that tells the CPU time of the page's own thread, in ms. */
async function cpuClock(p) {
    const cdp = await p.context().newCDPSession(p);

    await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });

    return async () => {
        const { metrics } = await cdp.send('Performance.getMetrics');

        return 1000 * metrics.find(m => m.name === 'TaskDuration').value;
    };
}


/* What any picture waits for: the browser's own frame. */

async function emptyFrame(browser) {
    const p = await browser.newPage({ viewport: { width: 1280,
                                                  height: 800 } });

    await p.evaluate(idle);

    const took = await p.evaluate(() => new Promise(ok => {
        const from = performance.now();

        document.body.innerHTML = '<svg width="1240" height="560">'
                                  + '<rect width="1240" height="560"/></svg>';
        requestAnimationFrame(() => setTimeout(() => ok(performance.now()
                                                        - from)));
    }));

    await p.close();
    return took;
}


/* Whoever picks a file does it on a page that has come to rest. */
const idle = () => new Promise(ok => requestAnimationFrame(
    () => requestIdleCallback(ok)));


/*
 * From the moment that a file is there to the frame that shows it.  Nothing
 * asks whether it is: that would make the page draw frames meanwhile.  The
 * viewer sets state.time when it has drawn, and the next frame shows that.
 */

async function flames(browser, base, file) {
    const whole = [], drawing = [], cpu = [], empty = [];
    let frames;

    for (let i = 0; i < TIMES; i++) {
        const p = await browser.newPage({ viewport: { width: 1280,
                                                      height: 800 } });

        await p.goto(base + 'pprof/view');
        await p.locator('input[type=file]').waitFor({ state: 'attached' });
        await p.evaluate(idle);
        await p.evaluate(() => {
            let from, time;

            addEventListener('change', () => from = performance.now(), true);
            globalThis.took = new Promise(ok => Object.defineProperty(
                globalThis.__flame.state, 'time', {
                    get: () => time,
                    set: ms => {
                        time = ms;
                        requestAnimationFrame(() => setTimeout(
                            () => ok(performance.now() - from)));
                    }
                }));
        });

        const clock = await cpuClock(p), before = await clock();

        await p.locator('input[type=file]').setInputFiles(file);

        whole.push(await p.evaluate(() => globalThis.took));
        cpu.push(await clock() - before);

        const f = await flame(p);

        empty.push(await emptyFrame(browser));
        drawing.push(f.time);
        frames = f.nodes;
        await p.close();
    }

    say('flame', frames, median(whole).toFixed(1), median(drawing).toFixed(1),
        median(cpu).toFixed(1), median(empty).toFixed(1));
}


/* A quarter of an hour of N peers, as /debug/charts/data has it. */

function history(n, end) {
    const t = Array.from({ length: POINTS }, (_, i) => end - POINTS + 1 + i);
    const wave = (k, from, to) => t.map(x => Math.round(
        from + (to - from) * (1 + Math.sin(x / 17 + k)) / 2));
    const columns = k => ({
        '2xx': wave(k, 100, 300), '3xx': wave(k, 0, 9),
        '4xx': wave(k + 1, 0, 5), '5xx': wave(k + 2, 0, 2),
        failed: wave(k, 0, 0), active: wave(k, 1, 6),
        p50: wave(k, 8000, 12000), p90: wave(k, 30000, 50000),
        p99: wave(k, 80000, 200000) });

    return { v: 1, step: 1, now: end * 1000, t, left_out: 0, marks: [],
             series: [{ kind: 'upstream', upstream: 'backend', ...columns(0) },
                      ...Array.from({ length: n }, (_, k) => ({
                          kind: 'peer', upstream: 'backend',
                          peer: `10.0.0.${k + 1}:8080`, ...columns(k) }))] };
}


async function allCharts(browser, base, peers) {
    const first = [], again = [], cpu = [], DRAWN = 5;
    let points;

    for (let i = 0; i < TIMES; i++) {
        const p = await browser.newPage({ viewport: { width: 1280,
                                                      height: 2000 } });

        await p.route('**/charts/data?*', route => route.fulfill({
            json: history(peers, Math.floor(Date.now() / 1000) - 1) }));
        await p.goto(base + 'charts/?range=900');
        await p.waitForFunction(n => globalThis.__charts?.live.rows.t.length
                                     >= n && globalThis.__charts.all().length,
                                POINTS - 5);
        first.push(await p.evaluate(() => new Promise(ok => {
            requestAnimationFrame(() => setTimeout(
                () => ok(performance.now())));
        })));
        points = (await charts(p)).rows;

        const clock = await cpuClock(p), before = await clock();

        /* what a new second or a page that comes back does */
        again.push(await p.evaluate(async n => {
            const took = [];

            for (let k = 0; k < n; k++) {
                const from = performance.now();

                dispatchEvent(new Event('visibilitychange'));
                await new Promise(ok => setTimeout(ok));
                took.push(performance.now() - from);
            }

            return took.sort((a, b) => a - b)[n >> 1];
        }, DRAWN));
        cpu.push((await clock() - before) / DRAWN);
        await p.close();
    }

    say('charts', peers, points, median(first).toFixed(0),
        median(again).toFixed(1), median(cpu).toFixed(1));
}


const dir = lib.profiles();
const file = lib.join(dir, 'forest.pb.gz');

lib.writeFile(file, lib.gzipSync(lib.forest(FRAMES)));

const real = await site();
let browser, fixture;

try {
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
               '--disable-background-networking',
               '--disable-component-update'] });
    fixture = await serve(dir);

    await assets(real.base);
    await pages(browser, real.base, `127.0.0.1:${real.acs[0].port}`);
    await flames(browser, real.base, file);

    for (const peers of CROWDS) {
        await allCharts(browser, fixture.base, peers);
    }

} finally {
    await browser?.close();
    fixture?.server.closeAllConnections();
    fixture?.server.close();
    await real.stop();
}
