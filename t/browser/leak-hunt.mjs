/*
 * Walks through docs/leak-hunt.md with the demo: takes its pictures and puts
 * what the commands print into it, between the lines
 *
 *     <!-- output: name -->
 *     <!-- end -->
 *
 *   ./build.sh && make -C t BUILD=../build demo
 *   node t/browser/leak-hunt.mjs             some seven minutes
 *
 * Environment: DEBUG_BUILD, the build directory.  With pngquant (Debian's)
 * the pictures are a third of their size.
 */

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync }
    from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { here } from './lib.mjs';
import { browser, charts, fetchText, flame, freePort, until } from './site.mjs';

const root = join(here, '../..'), doc = join(root, 'docs/leak-hunt.md');
const build = process.env.DEBUG_BUILD ?? join(root, 'build');
const pictures = join(root, 'docs/img'), dir = mkdtempSync(join(tmpdir(),
                                                                'hunt-'));
const port = await freePort(), base = `http://127.0.0.1:${port}/debug/`;
const outputs = new Map();
const sleep = s => new Promise(ok => setTimeout(ok, s * 1000));


/* A connection for each: one that stays is of one thread for ever. */

const ask = url => new Promise(ok => get(url, { agent: false }, r => {
    r.resume();
    r.on('end', ok);
}).on('error', ok));


/* What a command prints, as a reader would see it. */

function prints(name, shown, command, args, options = {}) {
    const text = execFileSync(command, args, { encoding: 'utf8', cwd: dir,
        stdio: ['ignore', 'pipe', 'ignore'], ...options });

    outputs.set(name, '$ ' + shown + '\n' + text.replace(/[ \t]+$/gm, '')
                                                 .trimEnd());
}

const pprof = (name, ...args) => prints(name, 'go tool pprof '
    + args.join(' '), 'go', ['tool', 'pprof', '-symbolize=none', ...args]);


async function download(url, name) {
    const r = await fetch(url);

    if (!r.ok) {
        throw new Error(`${url}: ${r.status}`);
    }

    writeFileSync(join(dir, name), Buffer.from(await r.arrayBuffer()));
}


async function shot(p, name) {
    const file = join(pictures, name + '.png');

    mkdirSync(pictures, { recursive: true });
    await p.mouse.move(0, 0);
    await p.screenshot({ path: file, fullPage: true });

    try {
        execFileSync('pngquant', ['--force', '--ext', '.png', '--strip', '64',
                                  file], { stdio: 'ignore' });
    } catch {
        /* a larger file, of the same picture */
    }
}


async function walk(p) {
    const stats = JSON.parse((await fetchText(base + 'stats')).body);
    const [leaking, other] = Object.keys(stats.upstreams.acs.peers);
    const list = async () => JSON.parse((await fetchText(
        base + 'pprof/kept/?json')).body).kept.filter(
            k => k.peer === leaking && k.kind === 'heap');

    /* --- the leak --- */

    await until(async () => (await list()).length >= 4,
                'four snapshots, one a minute', 260);

    await p.goto(base);
    await p.getByText(/[\d.]+ MiB/).first().waitFor();
    await shot(p, 'overview');

    await p.goto(base + 'charts/?src=acs/' + leaking);
    await p.locator('[data-id=pprof]').waitFor();
    await sleep(2);
    await shot(p, 'charts');

    await p.goto(base + `pprof/kept/?src=acs/${leaking}&kind=heap`);
    await p.getByText(/ apart, /).waitFor();
    await shot(p, 'snapshots');

    await p.getByRole('button', { name: 'Show growth' }).click();
    await flame(p);
    await shot(p, 'growth');
    await p.getByRole('button', { name: 'Top', exact: true }).click();
    await p.locator('tbody tr').first().getByRole('button').click();
    await p.getByText('Called by').waitFor();
    await shot(p, 'function');

    const kept = await list();

    await download(base + 'pprof/kept/' + kept.at(-1).id, 'first.pb.gz');
    await download(base + 'pprof/kept/' + kept[0].id, 'last.pb.gz');
    pprof('first', '-top', '-nodecount=6', 'first.pb.gz');
    pprof('last', '-top', '-nodecount=6', 'last.pb.gz');
    pprof('growth', '-top', '-nodecount=6', '-diff_base', 'first.pb.gz',
          'last.pb.gz');
    pprof('peek', '-peek', 'session_put', 'last.pb.gz');

    const url = `http://127.0.0.1:${port}`;

    prints('sampleize', 'sampleize -n 2 -i 10 -o leak ' + url
           + ' heap "ACS, idle" && ls leak', 'sh', ['-c',
           `"$0" -n 2 -i 10 -o leak ${url} heap "ACS, idle" && ls leak`,
           join(build, 'sampleize')]);

    /* --- mended --- */

    await fetchText(`http://${leaking}/leak/off`);
    await download(base + `pprof/acs/${leaking}/heap?gc=1`, 'before.pb.gz');
    await sleep(30);
    await download(base + `pprof/acs/${leaking}/heap?gc=1`, 'after.pb.gz');
    pprof('mended', '-top', '-nodecount=3', '-diff_base', 'before.pb.gz',
          'after.pb.gz');

    /* --- slow: somebody's reports, straight to the other process --- */

    let busy = true, rounds = 4000;
    const loops = Array.from({ length: 6 }, async () => {
        while (busy) {
            await ask(`http://${other}/hot?n=${Math.round(rounds)}`);
        }
    });

    /* as many as make it slow on this machine, and no more */
    await until(async () => {
        const { series: [{ p99 }] } = JSON.parse((await fetchText(
            base + 'charts/data?n=8&upstream=acs&peer=' + other)).body);
        const known = p99.filter(x => x !== null).sort((a, c) => a - c);

        if (known[known.length >> 1] > 1e6) {
            return true;
        }

        rounds *= 1.3;
        await sleep(6);
    }, 'one is slow', 120);
    await sleep(45);
    await p.goto(base);
    await until(async () => /slow/.test(await p.locator('.pill').first()
                                               .textContent()),
                'a slow peer', 60).catch(async e => {
        throw new Error(e.message + ': ' + await p.locator('main').innerText());
    });
    await shot(p, 'slow');

    await p.goto(base + 'charts/?src=acs');
    await until(async () => (await charts(p))?.rows > 100,
                'the charts');
    await sleep(2);
    await shot(p, 'slow-charts');

    await p.goto(base + `pprof/acs/${other}/`);
    await p.getByRole('button', { name: '10 s', exact: true }).click();
    await p.getByRole('button', { name: 'Record CPU' }).click();
    await p.getByText(/Sampling CPU for 10 s/).waitFor();
    await sleep(3);
    await shot(p, 'recording');
    await flame(p);
    await shot(p, 'cpu');

    const cpu = base + `pprof/acs/${other}/profile?seconds=5`;

    prints('cpu', `go tool pprof -top -nodecount=6 '${cpu}'`, 'go',
           ['tool', 'pprof', '-top', '-nodecount=6', cpu]);
    busy = false;
    await Promise.all(loops);

    /* --- slow, and no CPU is used --- */

    const held = Array.from({ length: 3 },
                            () => ask(`http://${other}/lock?us=3000000`));

    await download(base + `pprof/acs/${other}/mutex?seconds=8`,
                   'mutex.pb.gz');
    await Promise.all(held);
    pprof('mutex', '-top', '-nodecount=3', 'mutex.pb.gz');
}


const demo = spawn('perl', [join(root, 't/app/demo.pl'), build],
                   { env: { ...process.env, DEMO_PORT: port,
                            PPROF_MUTEX_RATE: '1' },
                     stdio: ['ignore', 'ignore', 'inherit'] });
const b = await browser(), ends = [];

try {
    await until(() => fetchText(base + 'stats').then(
        r => r.status === 200, () => false), 'the demo', 60);

    const p = await b.page({ name: '', after: f => ends.push(f) },
        { viewport: { width: 1280, height: 300 }, colorScheme: 'light',
          forgive: [/./] });

    await walk(p);

    /* nobody wants to know where it ran */
    let text = readFileSync(doc, 'utf8');

    for (const [name, out] of outputs) {
        const place = new RegExp(`(<!-- output: ${name} -->\n)[^]*?`
                                 + '(<!-- end -->)');

        if (!place.test(text)) {
            throw new Error(`${doc} has no place for the output ${name}`);
        }

        text = text.replace(place, (_, from, to) => from + '\n```\n'
            + out.replaceAll(dir, '.') + '\n```\n\n' + to);
    }

    writeFileSync(doc, text);

} finally {
    await b.close();
    demo.kill('SIGTERM');
    await until(() => demo.exitCode !== null, 'the demo ends', 20);
    rmSync(dir, { recursive: true, force: true });
}

process.exit(0);
