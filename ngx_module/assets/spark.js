/* A line of some minutes, as large as a word. */

const W = 96, H = 22, NS = 'http://www.w3.org/2000/svg';


/* VALUES, a second each, at most MOST; from zero, or else from the least. */

export function spark(values, label, { most = 300, zero = true,
                                       cls = '' } = {})
{
    const v = values.slice(-most), known = v.filter(x => x !== null
                                                         && x !== undefined);
    const svg = document.createElementNS(NS, 'svg');
    const path = document.createElementNS(NS, 'path');
    const max = Math.max(...known), least = zero ? 0 : Math.min(...known);
    const span = max - least || max || 1, from = most - v.length;
    let d = '', pen = false;

    v.forEach((x, i) => {
        const is = x !== null && x !== undefined;

        if (is) {
            d += `${pen ? 'L' : 'M'}${((from + i) / most * W).toFixed(1)} `
                 + (H - 1 - (x - least) / span * (H - 3)).toFixed(1);
        }

        pen = is;
    });

    for (const [k, x] of [['viewBox', `0 0 ${W} ${H}`], ['width', W],
                          ['height', H], ['class', 'spark ' + cls],
                          ['role', 'img'], ['aria-label', label(known, max)]])
    {
        svg.setAttribute(k, x);
    }

    path.setAttribute('d', d);
    svg.append(path);
    return svg;
}
