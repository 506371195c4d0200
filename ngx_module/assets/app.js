/*
 * The one script of every page: brings what <main data-page> asks for.
 *
 * The server's part of a page is complete without it: a header, a title, a
 * table of what is known.  <main data-root> is the relative way to the mount
 * point, so that the whole tree may live under any prefix; data-kept is there
 * where snapshots are kept.
 */

import { utc } from './ui.js';

const pages = {
    overview: () => import('./overview.js'),
    charts: () => import('./charts.js'),
    requests: () => import('./requests.js'),
    profiles: () => import('./profiles.js'),
    peer: () => import('./profiles.js'),
    viewer: () => import('./viewer.js'),
    kept: () => import('./kept.js'),
    incident: () => import('./incident.js')
};

const main = document.querySelector('main');
const theme = document.getElementById('theme');
const nav = document.querySelector('.bar nav');
const profiles = nav?.querySelector('a[href$="pprof/"]');

/* where snapshots are kept, the way to them is in the bar */
if (main.dataset.kept !== undefined && profiles) {
    const a = document.createElement('a');

    a.href = profiles.getAttribute('href') + 'kept/';
    a.textContent = 'Snapshots';
    profiles.after(a);
}

/* pages below Profiles light up that link */
if (/^(peer|viewer)$/.test(main.dataset.page)) {
    profiles?.setAttribute('aria-current', 'page');

} else if (main.dataset.page === 'kept') {
    (profiles?.nextElementSibling ?? profiles)
        ?.setAttribute('aria-current', 'page');
}

/* times are local, or UTC for who compares them with logs */
if (theme) {
    const button = document.createElement('button');

    const show = () => {
        button.textContent = utc() ? 'UTC' : 'Local';
        button.setAttribute('aria-label', `Times: ${utc() ? 'UTC' : 'local'}.`
                                          + ' Press to change.');
    };

    button.type = 'button';
    button.id = 'utc';
    button.addEventListener('click', () => {
        utc(!utc());
        show();
    });
    show();
    theme.before(button);
}

pages[main.dataset.page]?.().then(page => page.start(main)).catch(e => {
    const p = document.createElement('p');

    p.className = 'banner bad';
    p.setAttribute('role', 'alert');
    p.textContent = 'This page could not start: ' + e.message;
    main.prepend(p);
    console.error(e);
});
