/*
 * The one script of every page: brings what <main data-page> asks for.
 *
 * The server's part of a page is complete without it: a header, a title, a
 * table of what is known.  <main data-root> is the relative way to the mount
 * point, so that the whole tree may live under any prefix.
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

pages[main.dataset.page]?.().then(page => page.start(main)).catch(e => {
    const p = document.createElement('p');

    p.className = 'banner bad';
    p.setAttribute('role', 'alert');
    p.textContent = 'This page could not start: ' + e.message;
    main.prepend(p);
    console.error(e);
});
