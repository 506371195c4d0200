/* Unpacks, by the browser's own means. */

import { ProfileError } from './reader.js';

const MAX_BYTES = 512 * 1024 * 1024;


/*
 * Members without content stand before the profile where a proxy was kept
 * awake with them; browsers stop at the end of the first member.
 */

function skipEmptyMembers(bytes) {
    const empty = [[3, 0], [1, 0, 0, 255, 255]];
    let p = 0;

    for ( ;; ) {
        if (bytes[p] !== 0x1f || bytes[p + 1] !== 0x8b || bytes[p + 3]) {
            break;
        }

        const body = empty.find(e => e.every((c, i) => bytes[p + 10 + i] === c)
                                     && bytes.subarray(p + 10 + e.length,
                                                       p + 18 + e.length)
                                             .every(c => c === 0));

        if (!body || p + 18 + body.length >= bytes.length) {
            break;
        }

        p += 18 + body.length;
    }

    return bytes.subarray(p);
}


export async function gunzip(bytes) {
    let at = 0;

    /* by parts, so that what unpacks to too much is found out early */
    bytes = skipEmptyMembers(bytes);

    const stream = new ReadableStream({ pull: c => {
        c.enqueue(bytes.slice(at, at += 65536));

        if (at >= bytes.length) {
            c.close();
        }
    } }).pipeThrough(new DecompressionStream('gzip'));
    const reader = stream.getReader(), chunks = [];
    let size = 0;

    for ( ;; ) {
        let part;

        try {
            part = await reader.read();

        } catch {
            throw new ProfileError('The profile is damaged or cut off: it'
                                   + ' does not unpack.');
        }

        if (part.done) {
            break;
        }

        size += part.value.length;

        if (size > MAX_BYTES) {
            reader.cancel();
            throw new ProfileError('The profile unpacks to more than 512 MiB,'
                                   + ' which is too much for this page.');
        }

        chunks.push(part.value);
    }

    const out = new Uint8Array(size);

    size = 0;

    for (const c of chunks) {
        out.set(c, size);
        size += c.length;
    }

    return out;
}
