/*
 * Blocks, and is tiny: the theme stands before the first paint.  Auto follows
 * the system; the choice is kept in this browser.
 */

(() => {
    const order = ['auto', 'light', 'dark'], root = document.documentElement;
    const names = { auto: 'Auto', light: 'Light', dark: 'Dark' };
    let theme = 'auto';

    try {
        theme = localStorage.getItem('debug-theme') || 'auto';
    } catch {
        /* storage is forbidden here: Auto then */
    }

    const apply = () => {
        if (names[theme] === undefined) {
            theme = 'auto';
        }

        root.dataset.theme = theme;
    };

    apply();

    addEventListener('DOMContentLoaded', () => {
        const button = document.getElementById('theme');

        if (button === null) {
            return;
        }

        const show = () => {
            button.textContent = names[theme];
            button.setAttribute('aria-label', 'Colors: ' + names[theme]
                                              + '. Press to change.');
        };

        button.hidden = false;
        show();

        button.addEventListener('click', () => {
            theme = order[(order.indexOf(theme) + 1) % order.length];
            apply();

            try {
                localStorage.setItem('debug-theme', theme);
            } catch {
                /* then it holds for this page */
            }

            show();
            dispatchEvent(new Event('themechange'));
        });
    });

    /* on paper it is light, the pictures too */
    const paper = value => () => {
        root.dataset.theme = value ?? theme;
        dispatchEvent(new Event('themechange'));
    };

    addEventListener('beforeprint', paper('light'));
    addEventListener('afterprint', paper());

    matchMedia('(prefers-color-scheme: dark)').addEventListener('change',
        () => dispatchEvent(new Event('themechange')));
})();
