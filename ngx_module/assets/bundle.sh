#!/bin/sh
#
# Makes the pages' files as they are served, for embed.pl:
#
#   bundle.sh <directory>        leaves them in <directory>/pages
#
# The scripts become one, without what only people read; uPlot, which draws
# the charts, becomes a module.  npm brings uPlot and esbuild at the versions
# that package-lock.json names, checks them, and puts them in <directory>.
#
# Debian's source package (docs/debian/) is built where there is no network: it
# has uPlot in uplot/ on top, and takes the system's esbuild.

set -e

from=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/pages"
cd "$1"

if [ -e "$from/../../uplot/uPlot.esm.js" ]; then
    uplot=$from/../../uplot
    esbuild=esbuild

else
    if ! cmp -s "$from/package-lock.json" fetched; then
        cp "$from/package.json" "$from/package-lock.json" "$from/.npmrc" .
        npm ci --no-audit --no-fund --ignore-scripts
        cp package-lock.json fetched
    fi

    uplot=node_modules/uplot/dist
    esbuild=node_modules/.bin/esbuild
fi

$esbuild "$from/app.js" --bundle --minify --format=esm \
    --external:./uPlot.js --charset=utf8 --log-level=warning \
    --outfile=pages/app.js
$esbuild "$from/theme.js" --minify --log-level=warning \
    --outfile=pages/theme.js
# without its legend, title and font: ours are others
sed -e 's/\.u-\(title\|legend\|inline\|series\)[^}]*}//g' \
    -e 's/^\.uplot, [^}]*}//' \
    -e 's/font-family:[^;]*;line-height:[^;]*;//' "$uplot/uPlot.min.css" \
    | cat - "$from/app.css" \
    | $esbuild --loader=css --minify --log-level=warning \
    > pages/app.css
# without the ways to draw a line that no chart of ours goes
{ sed -n 's|^\* \(https://.*/uPlot (v.*)\)$|/*! \1 */|p' \
      "$uplot/uPlot.esm.js"; \
  sed '/^\t(paths\.\(stepped\|bars\|spline\) *= /d' "$uplot/uPlot.esm.js" \
  | $esbuild --minify --format=esm --bundle \
        --log-level=warning; } > pages/uPlot.js
cp "$from/icon.svg" pages
