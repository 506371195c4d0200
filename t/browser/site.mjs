/*
 * What the pages' tests look at: the real nginx with the module, in front of
 * two processes of acs, the first of which leaks, a Go program, and a port
 * where nobody listens.  And a browser that forgives nothing.
 *
 * Environment: DEBUG_BUILD, the build directory; TEST_NGINX_BINARY; SHOTS, a
 * directory for pictures of what the tests saw.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync,
         writeFileSync } from 'node:fs';
import { Agent, get as httpGet } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import axe from 'axe-core';
import { chromium } from 'playwright-core';
import { here } from './lib.mjs';

const build = process.env.DEBUG_BUILD ?? join(here, '../../build');
const CHROMIUM = '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic',
               '--no-first-run', '--disable-background-networking',
               '--disable-component-update', '--disable-sync',
               '--disable-dev-shm-usage'];


/* A peer that says nothing of its process is no fault of a page, nor is it
 * that a test looks at a canvas more than once. */
const SILENT = new RegExp('status of (404|502).*/charts/[^/]+/[^/]+/data'
                          + '|willReadFrequently');


export function freePort() {
    return new Promise((ok, bad) => {
        const s = createServer().on('error', bad);

        s.listen(0, '127.0.0.1', () => {
            const { port } = s.address();

            s.close(() => ok(port));
        });
    });
}


/* Waits until CHECK is true: a fact, not a while. */

export async function until(check, what, seconds = 15) {
    const end = Date.now() + seconds * 1000;

    for ( ;; ) {
        const got = await check();

        if (got) {
            return got;
        }

        if (Date.now() > end) {
            throw new Error(`not within ${seconds} s: ${what}`);
        }

        await new Promise(ok => setTimeout(ok, 50));
    }
}


const agent = new Agent({ keepAlive: true, maxSockets: 4 });

export function fetchText(url, headers = {}) {
    return new Promise((ok, bad) => {
        httpGet(url, { agent, headers }, res => {
            let body = '';

            res.setEncoding('utf8');
            res.on('data', c => body += c);
            res.on('end', () => ok({ status: res.statusCode, body,
                                     headers: res.headers }));
            res.on('error', bad);
        }).on('error', bad);
    });
}


class Site {
    constructor() {
        this.dir = mkdtempSync(join(tmpdir(), 'debug-pages-'));
        this.procs = [];
    }

    run(name, command, args, env = {}) {
        const p = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'],
                                         env: { ...process.env, ...env } });
        const entry = { name, p, said: '' };

        p.stderr.on('data', c => entry.said += c);
        this.procs.push(entry);
        return entry;
    }

    async start() {
        const { dir } = this;

        chmodSync(dir, 0o755);
        mkdirSync(join(dir, 'tmp'));

        this.port = await freePort();
        this.acs = [];

        for (let i = 0; i < 2; i++) {
            this.acs.push({ port: await freePort(), pprof: await freePort() });
            this.acsStart(i);
        }

        this.go = await freePort();
        this.nobody = await freePort();

        execFileSync('go', ['build', '-o', join(dir, 'goapp'), 'server.go'],
                     { cwd: join(here, 'app'),
                       env: { ...process.env, GOFLAGS: '',
                              GOCACHE: process.env.GOCACHE
                                       ?? join(tmpdir(), 'debug-gocache') } });
        this.run('go', join(dir, 'goapp'), [`127.0.0.1:${this.go}`]);

        writeFileSync(join(dir, 'nginx.conf'), this.conf());
        await this.nginxStart();

        for (const a of this.acs) {
            await until(() => fetchText(`http://127.0.0.1:${a.port}/status`)
                .then(r => r.status === 200, () => false), 'acs');
        }

        await fetchText(`http://127.0.0.1:${this.acs[0].port}/leak/on`);

        /* enough of it to be in a sample for certain */
        for (let i = 0; i < 300; i++) {
            await fetchText(`http://127.0.0.1:${this.acs[0].port}/order`);
        }

        this.load();
    }

    acsStart(i) {
        const a = this.acs[i];

        a.entry = this.run(`acs ${i}`, join(build, 't/app/acs'),
                           ['-p', a.port, '-d', `127.0.0.1:${a.pprof}`],
                           { TCMALLOC_SAMPLE_PARAMETER: '65536' });
    }

    /* as an init system would, after it died */

    async acsRestart(i) {
        const { entry: { p } } = this.acs[i];

        p.kill('SIGKILL');
        await until(() => p.signalCode !== null, 'acs ends');
        this.acsStart(i);
    }

    conf() {
        const [a, b] = this.acs, { dir } = this;

        return `
load_module ${build}/ngx_http_debug_module.so;
${process.getuid() === 0 ? 'user root;' : ''}
worker_processes 2;
worker_shutdown_timeout 2s;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log notice;
events { }
http {
    access_log off;
    client_body_temp_path ${dir}/tmp/body;
    proxy_temp_path ${dir}/tmp/proxy;
    fastcgi_temp_path ${dir}/tmp/fastcgi;
    uwsgi_temp_path ${dir}/tmp/uwsgi;
    scgi_temp_path ${dir}/tmp/scgi;

    upstream acs {
        server 127.0.0.1:${a.port};
        server 127.0.0.1:${b.port};
    }
    upstream acs_pprof {
        server 127.0.0.1:${a.pprof};
        server 127.0.0.1:${b.pprof};
    }
    upstream go { server 127.0.0.1:${this.go}; }
    upstream bare { server 127.0.0.1:${this.nobody}; }

    debug_snapshots path=${dir}/kept every=1d;

    debug_pprof_pass acs acs_pprof;
    debug_pprof_pass go;
    debug_pprof_pass bare;

    server {
        listen 127.0.0.1:${this.port};
        location / { proxy_pass http://acs; }
        location /go/ { proxy_pass http://go/; }
        location /bare/ { proxy_pass http://bare/; }
        location /some/prefix/debug/ { debug; }
    }
}
`;
    }

    get base() {
        return `http://127.0.0.1:${this.port}/some/prefix/debug/`;
    }

    async nginxStart() {
        this.nginx = this.run('nginx', process.env.TEST_NGINX_BINARY
                                       ?? '/usr/sbin/nginx',
                              ['-p', this.dir + '/', '-c',
                               join(this.dir, 'nginx.conf'), '-e',
                               join(this.dir, 'error.log'),
                               '-g', 'daemon off;'],
                              process.env.TEST_NGINX_PRELOAD === undefined
                              ? {}
                              : { LD_PRELOAD:
                                  process.env.TEST_NGINX_PRELOAD });
        await until(() => {
            if (this.nginx.p.exitCode !== null) {
                throw new Error('nginx: ' + this.nginx.said);
            }

            return fetchText(this.base + 'stats').then(
                r => r.status === 200, () => false);
        }, 'nginx answers');
    }

    async nginxStop() {
        this.nginx.p.kill('SIGTERM');
        await until(() => this.nginx.p.exitCode !== null
                          || this.nginx.p.signalCode !== null, 'nginx ends');
    }

    reload() {
        process.kill(Number(readFileSync(join(this.dir, 'nginx.pid'))),
                     'SIGHUP');
    }

    get log() {
        return readFileSync(join(this.dir, 'error.log'), 'utf8');
    }

    /* about 60 requests a second */

    load() {
        const paths = ['/', '/', '/order', '/hot?n=500', '/go/',
                       '/lock?us=2000', '/slow?ms=30', '/nothing'];
        let n = 0;

        this.loading = setInterval(() => {
            fetchText(`http://127.0.0.1:${this.port}${
                       paths[n++ % paths.length]}`).catch(() => {});
        }, 16);
    }

    async stop() {
        clearInterval(this.loading);

        for (const { p } of this.procs) {
            if (p.exitCode === null && p.signalCode === null) {
                p.kill('SIGTERM');
            }
        }

        await until(() => this.procs.every(({ p }) => p.exitCode !== null
                                           || p.signalCode !== null),
                    'all processes end', 5)
            .catch(() => this.procs.forEach(({ p }) => p.kill('SIGKILL')));
        agent.destroy();
        rmSync(this.dir, { recursive: true, force: true });
    }
}


export async function site() {
    const s = new Site();

    try {
        await s.start();
    } catch (e) {
        await s.stop();
        throw e;
    }

    return s;
}


/* --- the browser --- */

export async function browser() {
    const b = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
    const made = [];

    return {
        close: () => b.close(),

        /*
         * A page of a test.  When the test ends, each error on the console,
         * each script error, each breach of the policy and each request to
         * another host fails it (p.heard has them); FORGIVE has what the
         * test provokes.
         */
        async page(t, { forgive = [], ...options } = {}) {
            const context = await b.newContext({
                viewport: { width: 1280, height: 800 }, locale: 'en-US',
                timezoneId: 'UTC', reducedMotion: 'reduce', ...options });
            const p = await context.newPage(), bad = p.heard = [];

            /* a machine at work must not fail a test */
            p.setDefaultTimeout(60000);

            p.shot = async (what = '') => {
                if (process.env.SHOTS) {
                    mkdirSync(process.env.SHOTS, { recursive: true });
                    await p.screenshot({ fullPage: true,
                        path: join(process.env.SHOTS,
                                   (t.name + ' ' + what).trim()
                                   .replace(/\W+/g, '-') + '.png') })
                     .catch(() => {});
                }
            };

            const note = text => {
                if (![...forgive, SILENT].some(re => re.test(text))) {
                    bad.push(text);
                }
            };

            await context.addInitScript(() =>
                addEventListener('securitypolicyviolation', e =>
                    console.error('policy: ' + e.violatedDirective + ' '
                                  + e.blockedURI)));

            p.on('console', m => {
                if (m.type() === 'error' || m.type() === 'warning') {
                    note(`console: ${m.text()} ${m.location().url}`);
                }
            });
            p.on('pageerror', e => note('script: ' + e.stack));
            p.on('request', r => {
                const { hostname, protocol } = new URL(r.url());

                if (hostname !== '127.0.0.1' && protocol !== 'data:'
                    && protocol !== 'blob:')
                {
                    note('foreign: ' + r.url());
                }
            });

            t.after(async () => {
                await p.shot();
                await context.close();

                if (bad.length) {
                    throw new Error('the page was not quiet:\n'
                                    + bad.join('\n'));
                }
            });

            return p;
        }
    };
}


/* --- what a page shows --- */

/* the picture's numbers, when there is one */

export const flame = p => p.waitForFunction(() => {
    const { flame: f, state } = globalThis.__flame ?? {};

    return f?.t && state.time !== undefined && {
        nodes: f.t.n, drawn: f.drawn.size, zoom: f.zoomed, current: f.cur,
        total: f.t.value[0], unit: f.t.unit, time: state.time,
        narrowest: Math.min(...[...f.drawn.values()].map(d => d.w))
    };
}).then(h => h.jsonValue());


/* what the charts hold and show */

export const charts = p => p.evaluate(() => {
    if (!globalThis.__charts) {
        return undefined;
    }

    const { live, all } = globalThis.__charts;

    return {
        rows: live.rows.t.length, last: live.rows.last, range: live.range,
        paused: live.paused, zoom: live.zoom, step: live.rows.step,
        shown: all().map(({ id, plot, series }) => ({
            id, min: plot.scales.x.min, max: plot.scales.x.max,
            series: series.map(x => x.name), points: plot.data[0].length,
            width: plot.bbox.width / devicePixelRatio,
            at: plot.data[0][plot.cursor.idx] ?? null,
            band: plot.data[3]?.filter((v, i) => v > plot.data[2][i]).length
        }))
    };
});

export const PHONE = { hasTouch: true, isMobile: true,
                       viewport: { width: 390, height: 844 } };

/* twice as large on a window of 1280 by 800 */
const ZOOMED = { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 };

export const fits = p => p.evaluate(
    () => document.documentElement.scrollWidth <= innerWidth);


/*
 * What holds for a page at GO, once READY, as FORGIVE allows: axe finds
 * nothing in light, dark and on a phone; nothing is wider than the window,
 * also at 200 %; on paper it is light and without what only a screen needs.
 */

export function everyPage(test, opt, b, name, go, ready, forgive = []) {
    const open = async (t, options) => {
        const p = await b().page(t, { forgive, ...options });

        await p.goto(go());
        await ready(p);
        return p;
    };

    test(`axe: ${name}, light and dark`, opt, async t => {
        const p = await open(t, { colorScheme: 'light' });

        assert.deepEqual(await violations(p), []);
        assert.ok(await fits(p), 'no sideways scrolling');
        assert.equal(await p.locator('h1').count(), 1);
        await p.shot('light');
        await p.emulateMedia({ colorScheme: 'dark' });
        assert.deepEqual(await violations(p), [], 'dark');
        assert.ok(await p.evaluate(() => {
            const [r] = getComputedStyle(document.body).backgroundColor
                        .match(/\d+/g);

            return r < 60;
        }), 'it is dark');
    });

    test(`axe: ${name}, phone`, opt, async t => {
        const p = await open(t, PHONE);

        assert.deepEqual(await violations(p), []);
        assert.ok(await fits(p), 'no sideways scrolling');

        for (const a of await p.locator('.bar a:visible').all()) {
            const { x, width } = await a.boundingBox();

            assert.ok(x >= 0 && x + width <= 390, 'a link of the bar');
        }
    });

    test(`200 % and paper: ${name}`, opt, async t => {
        const p = await open(t, { ...ZOOMED, colorScheme: 'dark' });

        assert.ok(await fits(p), 'no sideways scrolling at 200 %');
        await p.shot('200');
        await p.setViewportSize({ width: 1000, height: 1400 });
        await p.emulateMedia({ media: 'print', colorScheme: 'dark' });
        await p.evaluate(() => dispatchEvent(new Event('beforeprint')));
        assert.ok(await fits(p), 'nor on paper');
        assert.equal(await p.locator('.bar:visible, .tools:visible,'
                                     + ' .seg:visible, footer:visible')
                            .count(), 0, 'no controls on paper');
        assert.deepEqual(await p.evaluate(() => {
            const s = getComputedStyle(document.body);

            return [s.backgroundColor, s.color];
        }), ['rgb(255, 255, 255)', 'rgb(23, 32, 44)'], 'dark on white');
        assert.equal(await p.locator('h1:visible').count(), 1);

        /* what is drawn too: its first pixel */
        await until(() => p.evaluate(() => {
            const c = document.querySelector('.flame-canvas');

            return !c || !c.clientWidth || c.getContext('2d').getImageData(
                1, 1, 1, 1).data[0] > 180;
        }), 'a light picture');
    });
}


/*
 * axe, put in from outside: the page's policy lets no script in.  Returns
 * what it found, one line each.
 */

export async function violations(p) {
    const session = await p.context().newCDPSession(p);
    const run = expression => session.send('Runtime.evaluate', {
        expression, awaitPromise: true, returnByValue: true });

    await run(axe.source);

    const { result, exceptionDetails } = await run(`axe.run(document, {
        resultTypes: ['violations'],
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
                  'best-practice'] })
        .then(r => JSON.stringify(r.violations.flatMap(v => v.nodes.map(
            n => v.id + ': ' + n.html.slice(0, 160) + ' '
                 + (n.any[0] || n.all[0] || n.none[0] || {}).message))))`);

    if (exceptionDetails) {
        throw new Error('axe: ' + exceptionDetails.text);
    }

    await session.detach();
    return JSON.parse(result.value);
}


export const missing = () => !existsSync(CHROMIUM) ? 'no chromium'
    : !existsSync(join(build, 'ngx_http_debug_module.so'))
      ? 'the module is not built' : null;
