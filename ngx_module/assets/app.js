/*
 * The one script of every page: brings what <main data-page> asks for.
 *
 * The server's part of a page is complete without it: a header, a title, a
 * table of what is known.  <main data-root> is the relative way to the mount
 * point, so that the whole tree may live under any prefix; data-kept is there
 * where snapshots are kept.
 */

const pages = {
    overview: () => import('./overview.js'),
    charts: () => import('./charts.js'),
    profiles: () => import('./profiles.js'),
    peer: () => import('./profiles.js'),
    viewer: () => import('./viewer.js'),
    kept: () => import('./kept.js')
};

const main = document.querySelector('main');

/* pages below Profiles light up that link */
if (/^(peer|viewer|kept)$/.test(main.dataset.page)) {
    document.querySelector('.bar nav a[href$="pprof/"]')
            ?.setAttribute('aria-current', 'page');
}

pages[main.dataset.page]?.().then(page => page.start(main)).catch(e => {
    const p = document.createElement('p');

    p.className = 'banner bad';
    p.setAttribute('role', 'alert');
    p.textContent = 'This page could not start: ' + e.message;
    main.prepend(p);
    console.error(e);
});
