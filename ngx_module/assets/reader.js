/*
 * Reads protobuf's wire format.
 *
 * Anything may be in a file: each length is checked, and what cannot be read
 * ends in a ProfileError whose message is meant for the person looking.
 *
 * Format: https://protobuf.dev/programming-guides/encoding/
 */

const SAFE = Number.MAX_SAFE_INTEGER;

export class ProfileError extends Error {}


export class Reader {
    constructor(bytes, pos = 0, end = bytes.length) {
        this.b = bytes;
        this.p = pos;
        this.end = end;
    }

    more() {
        return this.p < this.end;
    }

    byte() {
        if (this.p >= this.end) {
            throw new ProfileError('The profile is cut off.');
        }

        return this.b[this.p++];
    }

    /* Two halves of 64 bits: lo has 28 + 4 bits, hi the other 32. */

    halves() {
        let lo = 0, hi = 0;

        for (let shift = 0; ; shift += 7) {
            const c = this.byte(), v = c & 127;

            if (shift < 28) {
                lo |= v << shift;

            } else if (shift === 28) {
                lo |= v << 28;
                hi = v >> 4;

            } else if (shift < 70) {
                hi |= v << shift - 32;

            } else {
                throw new ProfileError('The profile has a number that is'
                                       + ' too long.');
            }

            if (c < 128) {
                this.lo = lo >>> 0;
                this.hi = hi >>> 0;
                return;
            }
        }
    }

    /* A value: above 2^53 the nearest double, which is all a chart needs. */

    int64() {
        const n = this.brief();

        if (n >= 0) {
            return n;
        }

        this.halves();
        return (this.hi | 0) * 4294967296 + this.lo;
    }

    /* An identifier or address: a number, a BigInt from 2^53 on. */

    uint64() {
        const n = this.int64();

        return n >= 0 && n <= SAFE ? n : BigInt(this.hi) << 32n
                                         | BigInt(this.lo);
    }

    /* A varint of one or two bytes, which nearly all are; -1: it is not. */

    brief() {
        const { b, p } = this, c = b[p];

        if (c < 128 && p < this.end) {
            this.p++;
            return c;
        }

        if (b[p + 1] < 128 && p + 1 < this.end) {
            this.p += 2;
            return c & 127 | b[p + 1] << 7;
        }

        return -1;
    }

    size() {
        const n = this.int64();

        if (n < 0 || n > this.end - this.p) {
            throw new ProfileError('The profile is cut off.');
        }

        return n;
    }

    /* What READ returns of the message that begins here. */

    message(read) {
        const n = this.size(), { end } = this, stop = this.end = this.p + n;
        const out = read(this);

        this.p = stop;
        this.end = end;
        return out;
    }

    skip(wire) {
        let n;

        switch (wire) {
        case 0:
            this.halves();
            return;
        case 1:
            n = 8;
            break;
        case 2:
            n = this.size();
            break;
        case 5:
            n = 4;
            break;
        default:
            throw new ProfileError('This is not a profile: there is no wire'
                                   + ` type ${wire}.`);
        }

        if (n > this.end - this.p) {
            throw new ProfileError('The profile is cut off.');
        }

        this.p += n;
    }

    /* Calls on(field, wire, this); what it does not take is skipped. */

    each(on) {
        while (this.more()) {
            const tag = this.int64(), wire = tag & 7, from = this.p;

            if (tag < 8 || tag > 0xffffffff) {
                throw new ProfileError('This is not a profile.');
            }

            on(Math.floor(tag / 8), wire, this);

            if (this.p === from) {
                this.skip(wire);
            }
        }
    }

    /* The varint fields of a small message, by number. */

    fields() {
        const n = this.size(), { end } = this, stop = this.end = this.p + n;
        const out = [];

        while (this.p < stop) {
            const tag = this.int64(), wire = tag & 7;

            if (tag < 8 || tag > 0xffffffff) {
                throw new ProfileError('This is not a profile.');
            }

            if (wire === 0 && tag < 128) {
                out[tag >> 3] = this.uint64();
            } else {
                this.skip(wire);
            }
        }

        this.end = end;
        return out;
    }

    /* Calls one(this) for each of a repeated number, packed or not. */

    repeated(wire, one) {
        if (wire === 0) {
            one(this);

        } else if (wire === 2) {
            this.message(r => {
                while (r.more()) {
                    one(r);
                }
            });
        }
    }
}
