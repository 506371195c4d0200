/*
 * Where profiles come from: URLs below the mount point, files of this
 * computer, and recordings that this tab has kept.
 */

import { merge, decode } from './profile.js';
import { failure, kinds, root } from './ui.js';

/* of the tab's storage, which has some megabytes */
const KEPT = 'debug-recorded:', MOST_KEPT = 8;


/* A source as a URL below the mount point; anything else is refused. */

export function source(src) {
    const url = new URL(src, root());

    if (url.origin !== location.origin
        || !url.pathname.startsWith(root().pathname))
    {
        throw new Error(`"${src}" is not below this page's server.`);
    }

    return url;
}


export const kindOf = url => {
    const kept = /\/pprof\/kept\/.*?\/([a-z]+)\/[^/]*$/.exec(url.pathname)
                 ?? /\/incidents\/\d+\/\w+-([a-z]+)\./.exec(url.pathname);

    return kept?.[1] ?? url.pathname.split('/').pop();
};

export const isKept = url => /\/(pprof\/kept|incidents)\//.test(url.pathname);

/* seconds of its process, unless asked otherwise; a kept one costs nothing */
export const known = name => kinds().find(k => k.name === name);
export const costs = url => known(url.pathname.split('/').pop())?.seconds ?? 0;

export const secondsOf = url => Number(url.searchParams.get('seconds'))
                                || costs(url);


/* ["group", "peer"] of a URL, or nulls. */

export function peerOf(url) {
    const parts = url.pathname.slice(root().pathname.length).split('/')
                     .filter(Boolean).map(decodeURIComponent);

    if (parts[0] !== 'pprof') {
        return [null, null];
    }

    if (parts[1] === 'kept') {
        parts.splice(1, 1);
        parts.splice(-1, 1);
    }

    return parts.length > 3 ? [parts[1], parts.slice(2, -1).join('/')]
                            : [null, null];
}


/*
 * The question that a source is to a peer: threads are asked for where samples
 * are of threads, lines and whole names when somebody wants them.
 */

export function question(url, { lines, full }) {
    const q = new URL(url);

    if (isKept(url)) {
        return q;
    }

    if (costs(url) && !q.searchParams.has('labels')) {
        q.searchParams.set('labels', 'thread');
    }

    if (lines) {
        q.searchParams.set('lines', '1');
    }

    if (full) {
        q.searchParams.set('names', 'full');
    }

    return q;
}


/* --- fetching --- */

/* { bytes, profile } of a URL; the profile knows what its peer said of
 * itself. */

export async function get(url, signal) {
    let res, bytes;

    try {
        res = await fetch(url, { signal, cache: 'no-store' });

    } catch (e) {
        throw e.name === 'AbortError' ? e
              : new Error('The server does not answer.');
    }

    if (!res.ok) {
        throw await failure(res);
    }

    try {
        bytes = new Uint8Array(await res.arrayBuffer());

    } catch (e) {
        throw e.name === 'AbortError' ? e
              : new Error('The answer broke off before its end.');
    }

    return read(bytes, { pid: res.headers.get('x-pprof-pid'),
                         build: res.headers.get('x-pprof-build-id') });
}


async function read(bytes, said) {
    const profile = await decode(bytes);

    Object.assign(profile, said);
    return { bytes, said, profile };
}


/* Files that were opened or dropped, each { bytes, profile, name }. */

export async function readFiles(list) {
    return Promise.all(list.map(async file => {
        try {
            const one = await read(new Uint8Array(await file.arrayBuffer()),
                                   {});

            return { ...one, name: file.name };

        } catch (e) {
            e.message = `${file.name}: ${e.message}`;
            throw e;
        }
    }));
}


/* What all of them are: "cpu.pb.gz is profile.proto", … */

export const formatsOf = files => files.map(
    f => `${f.name} is ${f.profile.format}`).join('; ') + '.';


/*
 * Requests of the peer while the profile was taken, by nginx's seconds, or 0:
 * what "per request" divides by.
 */

export async function requests(ask, url, { time, duration }) {
    const [group, peer] = peerOf(url), seconds = duration / 1e9;

    if (!group || !time || seconds < 1
        || Date.now() / 1000 - time / 1000 > 7200)
    {
        return 0;
    }

    try {
        const data = await ask({ step: 1, src: `${group}/${peer}`,
                                 reach: Date.now() / 1000 - time / 1000 + 2 });
        const s = data.series.find(x => x.kind === 'peer');
        let n = 0;

        data.t.forEach((t, i) => {
            if (t > time / 1000 && t <= time / 1000 + seconds) {
                for (const k of ['2xx', '3xx', '4xx', '5xx']) {
                    n += s?.[k]?.[i] ?? 0;
                }
            }
        });

        return n;

    } catch {
        return 0;
    }
}


/* --- recordings of this tab --- */

/*
 * A recording is not taken twice: it stays in the tab's storage, under a name
 * that is in the URL, so that Back, Forward and reload find it.  The oldest
 * make room.
 */

export function keep(all) {
    const id = Date.now().toString(36);
    const text = JSON.stringify(all.map(({ bytes, said }) => ({ said,
        bytes: btoa(Array.from(bytes, c => String.fromCharCode(c))
                         .join('')) })));

    for ( ;; ) {
        const old = recordings();

        try {
            if (old.length >= MOST_KEPT) {
                throw new Error('as many as are kept');
            }

            sessionStorage.setItem(KEPT + id, text);
            return id;

        } catch {
            if (old.length === 0) {
                return null;
            }

            sessionStorage.removeItem(old[0]);
        }
    }
}


function recordings() {
    try {
        return Object.keys(sessionStorage).filter(k => k.startsWith(KEPT))
                                          .sort();
    } catch {
        return [];
    }
}


/* [{ bytes, said, profile }] of what was kept under ID, or null. */

export async function recall(id) {
    try {
        const all = JSON.parse(sessionStorage.getItem(KEPT + id));

        return all && await Promise.all(all.map(({ bytes, said }) => read(
            Uint8Array.from(atob(bytes), c => c.charCodeAt(0)), said)));

    } catch {
        return null;
    }
}


export const together = all => merge(all.map(a => a.profile));
