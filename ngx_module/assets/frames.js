/*
 * Functions, and the places in them that stacks lead through.
 *
 * Frames with one name are one frame, as in go tool pprof.  A site is a line of
 * a frame, and says whether it was inlined into its caller there.
 */

/* a site's key is one number: 27 bits of frame, 24 of line, 1 of inlined */
const LINES = 1 << 24;


export class Frames {
    constructor() {
        this.list = [];
        this.index = new Map();
        this.sites = new Map();
        this.frame = [];
        this.line = [];
        this.inlined = [];
    }

    add(name, file, module, buildId, named) {
        let i = this.index.get(name);

        if (i === undefined) {
            i = this.list.length;
            this.index.set(name, i);
            this.list.push({ name, file, lines: [], module, buildId, named });
        }

        return i;
    }

    /* The number of a line of frame I. */

    site(i, line = 0, inlined = 0) {
        const at = Math.min(line, LINES - 1);
        const key = (i * LINES + at) * 2 + inlined;
        let s = this.sites.get(key);

        if (s === undefined) {
            const { lines } = this.list[i];

            s = this.frame.length;
            this.sites.set(key, s);
            this.frame.push(i);
            this.line.push(at);
            this.inlined.push(inlined);

            if (at && lines.length < 4 && !lines.includes(at)) {
                lines.push(at);
            }
        }

        return s;
    }

    /* { frames, sites } of a profile */

    done() {
        return { frames: this.list,
                 sites: { frame: Int32Array.from(this.frame),
                          line: Int32Array.from(this.line),
                          inlined: Uint8Array.from(this.inlined) } };
    }
}


/* module+0x…, or the bare address where no mapping is known. */

export function addressName(addr, start, offset, module) {
    const file = module.replace(/^.*\//, '');

    if (!file) {
        return '0x' + addr.toString(16);
    }

    const off = BigInt(addr) - BigInt(start || 0) + BigInt(offset || 0);

    return `${file}+0x${BigInt.asUintN(64, off).toString(16)}`;
}


/*
 * drop_frames and keep_frames: allocator internals below the function that a
 * person knows.  Returns what gives a stack's new end, or null.
 */

export function pruner({ list, frame }, drop, keep) {
    if (!drop) {
        return null;
    }

    let dropRe, keepRe;

    try {
        dropRe = new RegExp(`^(?:${drop})$`);
        keepRe = keep ? new RegExp(`^(?:${keep})$`) : null;

    } catch {
        return null;
    }

    const bad = list.map(f => {
        const bare = f.name.replace(/\(.*$/, '') || f.name;

        return f.named && dropRe.test(bare) && !keepRe?.test(bare);
    });

    return (stack, from, to) => {
        let user = false;

        for (let i = from; i < to; i++) {
            if (!bad[frame[stack[i]]]) {
                user = true;

            } else if (user) {
                return i;
            }
        }

        return to;
    };
}
