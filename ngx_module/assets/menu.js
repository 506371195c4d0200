/* The menu of one frame. */

import { copy, el } from './ui.js';

let open = null;


/*
 * At X, Y of the window, in HOST: ITEMS are [text, action]; NAME is what it
 * is of.
 */

export function showMenu(host, name, x, y, items) {
    closeMenu();

    const back = document.activeElement;

    open = el('div', { class: 'menu card', role: 'menu', 'aria-label': name },
        ...[...items, ['Copy name', () => copyText(name)]].map(([text, on]) =>
            el('button', { type: 'button', role: 'menuitem', tabindex: '-1',
                           onclick: () => {
                closeMenu();
                on();
            } }, text)));
    open.back = back;
    host.append(open);
    open.style.left = Math.max(4, Math.min(x, innerWidth - open.offsetWidth
                                              - 8)) + 'px';
    open.style.top = Math.max(4, Math.min(y, innerHeight - open.offsetHeight
                                             - 8)) + 'px';
    open.firstChild.focus();
    open.addEventListener('keydown', keys);
    setTimeout(() => addEventListener('pointerdown', outside), 0);
}


function keys(e) {
    const all = [...open.children], at = all.indexOf(document.activeElement);
    const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];

    if (by) {
        e.preventDefault();
        all[(at + by + all.length) % all.length].focus();
    }

    e.stopPropagation();

    if (e.key === 'Escape' || e.key === 'Tab') {
        closeMenu();
    }
}


function outside(e) {
    if (!open?.contains(e.target)) {
        closeMenu();
    }
}


export function closeMenu() {
    if (open) {
        const { back } = open;

        open.remove();
        open = null;
        removeEventListener('pointerdown', outside);
        back?.focus?.({ preventScroll: true });
    }
}


export async function copyText(text) {
    const span = el('span', { class: 'sr' }, text);

    document.body.append(span);

    const ok = await copy(span);

    span.remove();
    return ok;
}
