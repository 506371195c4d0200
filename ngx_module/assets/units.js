/* Numbers for people. */

const THIN = '\u202f';

const LADDERS = {
    time: [[3600e9, 'h'], [60e9, 'min'], [1e9, 's'], [1e6, 'ms'], [1e3, 'µs'],
           [1, 'ns']],
    bytes: [[1024 ** 5, 'PiB'], [1024 ** 4, 'TiB'], [1024 ** 3, 'GiB'],
            [1024 ** 2, 'MiB'], [1024, 'KiB'], [1, 'B']],
    decimal: [[1e15, 'PB'], [1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'],
              [1e3, 'kB'], [1, 'B']]
};

/* from where on an hour is said as such: 4.58 h, but 90 min */
const HOURS = 2 * 3600e9;

/* what profiles call their units, and how much of a nanosecond or byte it is */
const UNITS = {
    time: { nanoseconds: 1, ns: 1, microseconds: 1e3, us: 1e3,
            milliseconds: 1e6, ms: 1e6, seconds: 1e9, s: 1e9, minutes: 60e9,
            hours: 3600e9 },
    bytes: { bytes: 1, b: 1, kilobytes: 1024, kb: 1024, kib: 1024,
             megabytes: 1024 ** 2, mb: 1024 ** 2, mib: 1024 ** 2,
             gigabytes: 1024 ** 3, gb: 1024 ** 3, gib: 1024 ** 3,
             terabytes: 1024 ** 4 }
};

/* one unit for all numbers of a kind, when somebody wants that */
let wanted = '';


/* "auto", "decimal" (kB and MB, not KiB and MiB), or one unit's short name. */

export function prefer(unit) {
    wanted = unit;
}


/* What can be preferred for numbers of UNIT. */

export function choices(unit) {
    const kind = kindOf(unit)[0];

    return kind === 'time' ? ['auto', ...LADDERS.time.map(([, n]) => n)]
         : kind === 'bytes' ? ['auto', 'decimal', 'B', 'KiB', 'MiB', 'GiB',
                               'kB', 'MB', 'GB']
                            : ['auto'];
}


/* ["time" | "bytes" | null, by how much] */

function kindOf(unit = '') {
    const name = unit.toLowerCase();

    for (const kind in UNITS) {
        const by = UNITS[kind][name] ?? UNITS[kind][name + 's'];

        if (by) {
            return [kind, by];
        }
    }

    return [null, 1];
}


const digits = x => x < 10 ? 2 : x < 100 ? 1 : 0;

const grouped = text => text.replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, THIN);


/* The step of a ladder that a number of X stands on. */

function step(kind, x) {
    const ladder = LADDERS[kind === 'bytes' && wanted === 'decimal'
                           ? 'decimal' : kind];
    const named = [...LADDERS[kind], ...kind === 'bytes' ? LADDERS.decimal
                                                         : []]
                  .find(([, n]) => n === wanted);

    return named ?? ladder.find(([by, n]) => x >= (n === 'h' ? HOURS : by))
           ?? ladder.at(-1);
}


/* Three digits and a unit: 1.42 s, 96 ms, 1.38 GiB, 612 804, 3.1 M cycles. */

export function format(value, unit = 'count') {
    const sign = value < 0 ? '\u2212' : '', a = Math.abs(value);
    const [kind, times] = kindOf(unit);

    if (kind === null) {
        const text = a >= 100 || Number.isInteger(a) ? String(Math.round(a))
                                                     : a.toFixed(digits(a));

        return sign + grouped(text) + (/^(count|)$/.test(unit) ? ''
                                                               : ' ' + unit);
    }

    const x = a * times;

    if (x === 0) {
        return '0' + (kind === 'bytes' ? ' B' : ' s');
    }

    /* 999.7 KiB is 1000 KiB when rounded: stay in the unit */

    const [by, name] = step(kind, x), y = x / by;
    const rounded = by === 1 && y >= 1 ? Math.round(y)
                                       : Number(y.toFixed(digits(y)));

    return sign + (y >= 1e4 ? grouped(String(rounded)) : rounded) + ' ' + name;
}


export function percent(part, whole) {
    if (!whole || !part) {
        return '0%';
    }

    const x = 100 * part / whole, a = Math.abs(x);

    return (x < 0 ? '\u2212' : '')
           + a.toFixed(a >= 99.95 ? 0 : a < 0.1 && a > 0 ? 2 : 1) + '%';
}


/* Growth is what a reader looks for: + or a true minus in front. */

export function signed(value, unit) {
    return (value > 0 ? '+' : '') + format(value, unit);
}
