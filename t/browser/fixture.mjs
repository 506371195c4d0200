/*
 * The pages without nginx, for work on them: skeletons as the module prints
 * them, data made up.  pages.test.mjs looks at the real nginx; what needs
 * hours of history or a leak of gigabytes is looked at here.
 *
 *   node t/browser/fixture.mjs [port]
 */

import { createServer } from 'node:http';
import { readFileSync, readdirSync } from 'node:fs';
import * as lib from './lib.mjs';

const assets = lib.join(lib.here, '../../ngx_module/assets');
const build = process.env.DEBUG_BUILD ?? lib.join(lib.here, '../../build');

/* where the build left it */
const made = lib.join(build, 'nginx/objs/ngx_http_debug');
const type = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

export const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; "
    + "img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    + "form-action 'self'; frame-ancestors 'none'; "
    + "require-trusted-types-for 'script'; trusted-types 'none'";

const PEERS = ['10.0.0.5:8080', '10.0.0.6:8080', '10.0.0.7:8080'];


export function skeleton(page, title, root, body) {
    const nav = [['', 'Overview', 'overview'], ['charts/', 'Charts', 'charts'],
                 ['pprof/', 'Profiles', 'profiles peer viewer kept'],
                 ['stats', 'Stats', '-']]
        .map(([href, text, id]) => `<a href="${root}${href || './'}"`
             + (id.split(' ').includes(page) ? ' aria-current="page"' : '')
             + `>${text}</a>`).join('');

    return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · edge-01</title>
<link rel="icon" href="${root}assets/icon.svg?0">
<link rel="stylesheet" href="${root}assets/app.css?0">
<script src="${root}assets/theme.js?0"></script>
<script type="module" src="${root}assets/app.js?0"></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="bar">
<a class="brand" href="${root || './'}">debug · edge-01</a>
<nav aria-label="Pages">${nav}</nav>
<button id="theme" type="button" hidden>Auto</button>
</header>
<main id="main" data-page="${page}" data-root="${root}" data-kept
 data-kinds='${JSON.stringify(kinds)}'>
${body}
</main>
<footer>ngx_http_debug_module</footer>
</body>
</html>
`;
}


/* the server's own list */

const kinds = [...readFileSync(new URL(
        '../../ngx_module/ngx_http_debug_kinds.c', import.meta.url), 'utf8')
    .matchAll(/ngx_string\("(\w+)"\),\s+([\w|\s]+), (\d+), "[^"]*",\s+"(.*?)", "(.*?)" }/g)]
    .map(([, name, flags, seconds, title, about]) => ({ name, title, about,
        seconds: +seconds, kept: /_KEPT/.test(flags) || undefined }));


/* --- data --- */

const began = Math.floor(Date.now() / 1000) - 3000;                 /* s */

function noise(t, k) {
    const x = Math.sin(t * 12.9898 + k * 78.233) * 43758.5453;

    return x - Math.floor(x);
}


function row(t, i, step) {
    const slow = i === 2 && t % 900 > 300 && t % 900 < 450;
    const n = Math.round(((slow ? 110 : 220) + 25 * Math.sin(t / 90)
                          + 30 * noise(t, i) + (i ? 0 : 10)) * step);
    const e5 = slow ? 6 * noise(t, 9) : noise(t, 8) > 0.99 ? 1 : 0;
    const r = Math.round;

    return { '2xx': r(n * 0.95), '3xx': r(n * 0.03),
             '4xx': r(n * 0.02 * noise(t, 5)), '5xx': r(e5 * step),
             failed: 0, active: r(3 + 3 * noise(t, 6)),
             p50: r(slow ? 22e3 : 11e3 + 2e3 * noise(t, 1)),
             p90: r(slow ? 18e4 : 4e4 + 4e3 * noise(t, 2)),
             p99: r(slow ? 13e5 + 2e5 * noise(t, 3)
                         : 96e3 + 2e4 * noise(t, 4)),
             ...(step > 1 ? { count_min: r(n / step * 0.85),
                              count_max: r(n / step * 1.2),
                              p99_min: 8e4, p99_max: slow ? 19e5 : 15e4 }
                          : {}) };
}


function data(query) {
    const now = Date.now(), step = +query.get('step') || 1;
    const end = Math.floor(now / 1000 / step) * step;
    const since = Math.floor((+query.get('since') || 0) / 1000);
    const n = +query.get('n') || 300, series = [], t = [];

    for (let x = Math.max(since + step, end - (n - 1) * step); x <= end;
         x += step)
    {
        t.push(x);
    }

    const add = (head, of) => {
        const cols = {};

        for (const x of t) {
            const all = of.map(i => row(x, i, step));

            for (const k of Object.keys(all[0])) {
                const v = all.map(r => r[k]);

                (cols[k] ??= []).push(x < began ? null
                    : /^p/.test(k) ? Math.max(...v)
                                   : v.reduce((a, b) => a + b));
            }
        }

        series.push({ ...head, ...cols });
    };

    if (!query.get('peer')) {
        add({ kind: 'upstream', upstream: 'backend' }, [0, 1, 2]);
    }

    PEERS.forEach((peer, i) => {
        if (!query.get('peer') || query.get('peer') === peer) {
            add({ kind: 'peer', upstream: 'backend', peer, state: 'up',
                  reason: '60 of 60 answered in the last minute' }, [i]);
        }
    });

    return { v: 1, step, now, t, series, left_out: 0,
             marks: [[began * 1000, 'start'],
                     [(began + 900) * 1000, 'reload']] };
}


function processData(since, n) {
    const now = Date.now(), out = { BytesAllocated: [], GcPauses: [],
                                    CPUUsage: [], Pprof: [], Process: [] };

    for (let t = Math.max(since + 1000, Math.floor(now / 1000) * 1000
                                        - n * 1000); t < now; t += 1000)
    {
        const s = t / 1000, leak = (s - began) * 30000;

        out.BytesAllocated.push({ Ts: t, Value: 2e8 + leak });
        out.CPUUsage.push({ Ts: t, User: 0.7 + 0.1 * noise(s, 1),
                            Sys: 0.15 + 0.03 * noise(s, 2) });
        out.Pprof.push({ Ts: t, Block: 0, Goroutine: 48, Heap: 312,
                         Mutex: 4, Threadcreate: 9 });
        out.Process.push({ Ts: t, Rss: 3.1e8 + leak, HeapHeld: 2.7e8 + leak,
                           Threads: 48, Fds: 512, Pid: 4242 });
    }

    return out;
}


const links = at => ['heap', 'allocs', 'goroutine', 'mutex'].map(
    k => `<a href="${at}${k}">${k}</a>`).join(' ');


/* N peers in four groups, as the server lists them */

const crowd = n => [0, 1, 2, 3].map(g => `<h2>group${g}</h2><ul>${
    Array.from({ length: n / 4 }, (_, i) => {
        const peer = `10.${g}.${i >> 8}.${i & 255}:8080`;

        return `<li>${peer}: ${links(`./group${g}/${peer}/`)}</li>`;
    }).join('')}</ul>`).join('');


/* What a Go program says to ?debug=2. */

const go = (id, state, ...frames) => `goroutine ${id} [${state}]:\n`
    + frames.map(f => `${f}(0x1)\n\t/src/shop/main.go:7 +0x1\n`).join('')
    + '\n';
const WAITS = ['sync.runtime_SemacquireMutex', 'sync.(*Mutex).lockSlow',
               'sync.(*Mutex).Lock', 'main.(*Cache).Get', 'main.serve'];
const GOROUTINES = go(1, 'running', 'main.encode', 'main.(*Cache).Get',
                      'main.serve')
    + [2, 3, 4].map(i => go(i, 'sync.Mutex.Lock, 2 minutes', ...WAITS)).join('')
    + go(5, 'IO wait', 'net.(*conn).Read', 'main.serve');


/* --- server --- */

export async function serve(dir, port = 0) {
    const kept = ['heap0', 'heap1', 'heap2'].map((n, i) => ({
        id: `backend/10.0.0.7:8080/heap/${n}.pb.gz`, group: 'backend',
        peer: '10.0.0.7:8080', kind: 'heap', pid: 4242, by: 'timer',
        time: Math.floor(Date.now() / 1000) - 1200 + i * 600,
        size: lib.readFileSync(lib.join(dir, n + '.pb.gz')).length }));
    let planned = [];
    const inflight = new Set();

    const server = createServer((req, res) => {
        const url = new URL(req.url, 'http://x');
        const path = decodeURIComponent(url.pathname);
        const send = (status, kind, body) => {
            res.writeHead(status, { 'Content-Type': kind,
                'Cache-Control': 'no-store', 'X-Content-Type-Options':
                'nosniff', 'Referrer-Policy': 'no-referrer',
                ...(kind.startsWith('text/html')
                    ? { 'Content-Security-Policy': CSP } : {}) });
            res.end(body);
        };
        const html = (...a) => send(200, 'text/html; charset=utf-8',
                                    skeleton(...a));
        const json = o => send(200, 'application/json', JSON.stringify(o));
        let m;

        if ((m = /^\/debug\/assets\/([\w.-]+)$/.exec(path))) {
            const ext = m[1].split('.').pop();

            if (m[1] === 'uPlot.js') {
                send(200, type.js, lib.readFileSync(lib.join(made,
                                                    'pages/uPlot.js')));

            } else if (m[1] === 'app.css') {
                send(200, type.css, lib.readFileSync(lib.join(made,
                                                     'pages/app.css')));

            } else if (type[ext]
                       && readdirSync(assets).includes(m[1]))
            {
                send(200, type[ext], lib.readFileSync(lib.join(assets,
                                                               m[1])));
            } else {
                send(404, 'text/plain', 'no such file');
            }

        } else if (path === '/debug/') {
            html('overview', 'Overview', '', `<h1>Overview</h1>
<div id="peers" class="card scroll"><table class="t"><caption class="sr">Peers
</caption><thead><tr><th class="l" scope="col">Peer</th><th scope="col">State
</th></tr></thead><tbody>${PEERS.map(p => `<tr><th class="l" scope="row">${p}
</th><td>up</td></tr>`).join('')}</tbody></table></div>`);

        } else if (path === '/debug/charts/') {
            html('charts', 'Charts', '../', '<h1>Charts</h1><noscript><p>The'
                 + ' charts are drawn by a script. <a href="data">Their'
                 + ' data</a> is JSON.</p></noscript>');

        } else if (path === '/debug/charts/data') {
            json(data(url.searchParams));

        } else if (/^\/debug\/charts\/[^/]+\/[^/]+\/data$/.test(path)) {
            json(processData(+url.searchParams.get('since') || 0, 3000));

        } else if (path === '/debug/stats') {
            json({ pid: 1, upstreams: { backend: { peers:
                Object.fromEntries(PEERS.map(p => [p, {}])) } } });

        } else if (path === '/debug/pprof/') {
            const many = +url.searchParams.get('peers');

            html('profiles', 'Profiles', '../', '<h1>Profiles</h1>'
                 + (many ? crowd(many) : '')
                 + `<h2>backend</h2><ul>${PEERS.map(p => `<li>${p}: ${
                     links('./backend/' + p + '/')}</li>`).join('')}</ul>`);

        } else if (path === '/debug/pprof/kept/' && req.method === 'POST') {
            let body = '';

            req.on('data', c => body += c);
            req.on('end', () => {
                const q = new URLSearchParams(body);

                kept.push({ ...kept.at(-1), time: Math.floor(Date.now()
                                                             / 1000) });
                planned = +q.get('times') > 1 ? [{ group: 'backend',
                    peer: '10.0.0.7:8080', kind: 'heap',
                    left: q.get('times') - 1, every: +q.get('every'),
                    next: Math.floor(Date.now() / 1000) + 600 }] : planned;
                res.writeHead(201);
                res.end('kept');
            });

        } else if (path === '/debug/pprof/kept/') {
            if (url.search === '?json') {
                json({ v: 1, now: Date.now(), enabled: true, every: 600,
                       keep: 144, error: null, planned,
                       kept: [...kept].reverse() });
            } else {
                html('kept', 'Snapshots', '../../', '<h1>Snapshots</h1>'
                     + '<div id="kept"></div>');
            }

        } else if (path === '/debug/pprof/view') {
            html('viewer', 'Profile', '../', '<h1>Profile</h1><noscript><p>The'
                 + ' viewer is a script; go tool pprof reads the same files.'
                 + '</p></noscript>');

        } else if ((m = /^\/debug\/pprof\/kept\/.*\/(\w+)\.pb\.gz$/
                        .exec(path)))
        {
            send(200, 'application/octet-stream',
                 lib.readFileSync(lib.join(dir, m[1] + '.pb.gz')));

        } else if ((m = /^\/debug\/pprof\/backend\/([^/]+)\/$/.exec(path))) {
            html('peer', m[1], '../../../', `<h1>Profiles</h1>
<h2>backend</h2><ul><li>${m[1]}: ${links('./')}</li></ul>`);

        } else if ((m = /^\/debug\/pprof\/backend\/([^/]+)\/(\w+)$/
                        .exec(path)))
        {
            const seconds = +url.searchParams.get('seconds') || 30;
            const file = { profile: 'cpu', heap: 'heap2', allocs: 'heap2',
                           goroutine: 'goroutine', mutex: 'mutex' }[m[2]];

            if (m[1] === '10.0.0.6:8080') {
                send(502, 'text/plain', 'connect() to 10.0.0.6:8080 failed'
                                        + ' (111: Connection refused)');

            } else if (m[2] === 'profile') {
                inflight.add(req);
                res.on('close', () => inflight.delete(req));
                setTimeout(() => send(200, 'application/octet-stream',
                    lib.readFileSync(lib.join(dir, 'cpu.pb.gz'))),
                    seconds * 1000);

            } else if (url.searchParams.get('debug') === '2') {
                send(200, 'text/plain', GOROUTINES);

            } else if (m[2] === 'cmdline') {
                send(200, 'text/plain', '/opt/shop/orders');

            } else if (file) {
                send(200, 'application/octet-stream',
                     lib.readFileSync(lib.join(dir, file + '.pb.gz')));
            } else {
                send(404, 'text/plain', 'Unknown profile');
            }

        } else if ((m = /^\/debug\/big\/([\w.]+)$/.exec(path))) {
            send(200, 'application/octet-stream',
                 lib.readFileSync(lib.join(dir, m[1])));

        } else {
            send(404, 'text/plain', 'not found');
        }
    });

    await new Promise(ok => server.listen(port, '127.0.0.1', ok));
    return { server, inflight,
             base: `http://127.0.0.1:${server.address().port}/debug/` };
}


if (process.argv[1] === new URL(import.meta.url).pathname) {
    const dir = lib.profiles();
    const { base } = await serve(dir, +process.argv[2] || 8090);

    console.log(base);
}
