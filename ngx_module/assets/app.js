/*
 * The one script of every page: brings what <main data-page> asks for.
 *
 * The server's part of a page is complete without it: a header, a title, a
 * table of what is known.  <main data-root> is the relative way to the mount
 * point, so that the whole tree may live under any prefix; data-kept is there
 * where snapshots are kept.
 */

import * as charts from './charts.js';
import * as incident from './incident.js';
import * as kept from './kept.js';
import * as overview from './overview.js';
import * as profiles from './profiles.js';
import * as requests from './requests.js';
import { utc } from './ui.js';
import * as viewer from './viewer.js';

/* not by import(), which makes the one file larger */
const pages = { overview, charts, requests, profiles, peer: profiles, viewer,
                kept, incident };

const main = document.querySelector('main');
const theme = document.getElementById('theme');
const nav = document.querySelector('.bar nav');
const link = nav?.querySelector('a[href$="pprof/"]');

/* where snapshots are kept, the way to them is in the bar */
if (main.dataset.kept !== undefined && link) {
    const a = document.createElement('a');

    a.href = link.getAttribute('href') + 'kept/';
    a.textContent = 'Snapshots';
    link.after(a);
}

/* pages below Profiles light up that link */
if (/^(peer|viewer)$/.test(main.dataset.page)) {
    link?.setAttribute('aria-current', 'page');

} else if (main.dataset.page === 'kept') {
    (link?.nextElementSibling ?? link)
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

(async () => pages[main.dataset.page]?.start(main))().catch(e => {
    const p = document.createElement('p');

    p.className = 'banner bad';
    p.setAttribute('role', 'alert');
    p.textContent = 'This page could not start: ' + e.message;
    main.prepend(p);
    console.error(e);
});
