#!/usr/bin/env bash
#
# Builds, shows and tests ngx_http_debug_module and libpprof.
#
#   ./build.sh            build/ngx_http_debug_module.so, libpprof.so,
#                         libpprof.a, pprof-run, pprof-lines, sampleize
#   ./build.sh demo       an application behind nginx, under load, to look at
#   ./build.sh test [t…]  every test, or those named
#   ./build.sh module     the nginx module alone; NGINX_SRC=<tree> builds it
#                         against that nginx source tree
#   ./build.sh lib        the library alone
#   ./build.sh bench [module|library|pages] [part…]
#                         the tables of docs/benchmarks.md, or some of them
#   ./build.sh asan|tsan  the tests under sanitizers
#   ./build.sh fuzz [sec] each fuzz driver for so many seconds (60)
#   ./build.sh lint       the rules of style that a machine can check
#   ./build.sh install    into $DESTDIR$PREFIX (/usr/local) and nginx's modules
#   ./build.sh deb        Debian's source and binary packages for the release
#                         of this machine, in build/deb/
#   ./build.sh fresh [bookworm|trixie|sid]
#                         demo and test on a Debian that has nothing yet, of
#                         that suite or of all three
#   ./build.sh nginx-tests <dir>
#                         nginx's own tests, a checkout of which is in <dir>:
#                         with the module the same as without; NGINX_SRC=<tree>
#                         runs them on that nginx
#
# As root it installs what is missing from Debian's packages first.  A word
# that it does not know is an error.  Paths are the caller's.

set -euo pipefail

# Makes a path the caller's, wherever he stands.
from_here()
{
    case $1 in
    ''|/*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$PWD/$1" ;;
    esac
}


NGINX_SRC=$(from_here "${NGINX_SRC:-}")
DESTDIR=$(from_here "${DESTDIR:-}")
BUILD=$(from_here "${BUILD:-}")
HERE=$PWD

cd "$(dirname "$0")"
ROOT=$PWD
BUILD=${BUILD:-$ROOT/build}
LOG=$BUILD/log
JOBS=$(nproc)

PKG_BUILD=(gcc make libc6-dev perl libpcre2-dev libssl-dev zlib1g-dev
           nginx nginx-dev libjansson-dev libgoogle-perftools-dev
           libdw-dev liblzma-dev pkg-config
           g++)             # its runtime's demangler, for pprof-run
PKG_DEMO=(libevent-dev wrk curl golang-go)
PKG_TEST=(libevent-dev wrk curl golang-go lighttpd binutils
          procps valgrind libsqlite3-0 gcc-aarch64-linux-gnu
          libc6-dev-arm64-cross qemu-user
          chromium graphviz prometheus
          redis-server memcached python3 sqlite3 postgresql
          mandoc iproute2
          apache2-bin haproxy unbound bind9 php-cli libjemalloc-dev
          libnginx-mod-http-image-filter libnginx-mod-http-xslt-filter)
PKG_FUZZ=(clang libclang-rt-dev)
PKG_BENCH=(wrk curl golang-go valgrind g++ binutils libunwind8
           redis-server sqlite3 chromium)
PKG_LINT=(cppcheck)
PKG_FRESH=(debootstrap git)
PKG_DEB=(debhelper dpkg-dev lintian esbuild)
# Perl modules, a server and libraries without which nginx's own tests skip
# much.
PKG_NGINX_TESTS=(perl libio-socket-ssl-perl libnet-ssleay-perl
                 libcryptx-perl libcache-memcached-perl libfcgi-perl libgd-perl
                 memcached openssl libxslt1-dev libgd-dev libxml2-dev)
# What the tests load of Debian's nginx, since its -V tells of them.
PKG_NGINX_MODS=(libnginx-mod-http-{geoip,image-filter,perl,xslt-filter}
                libnginx-mod-{mail,stream,stream-geoip})
# Debian has these in some of its suites only.
PKG_TEST_MAY=(google-perftools libmimalloc2.0 libmimalloc3)

APT_WAIT=${APT_WAIT:-600}   # seconds for another apt-get to end


say()
{
    printf '%s\n' "$*"
}


# Wrong use: nothing was done yet.
wrong()
{
    say "$*" >&2
    exit 2
}


# The door's name, then the words after it that it does not take.
no_words()
{
    [ $# -le 1 ] || wrong "$1: \"$2\" is not known; see ./build.sh help"
}


# What goes to prove: its options, and tests that exist.
test_words()
{
    local word

    for word in "${@:2}"; do
        case $word in
        -*) ;;
        *) [ -e "$word" ] || wrong "$1: no test \"$word\"" ;;
        esac
    done
}


# Runs a command, its output kept out of sight; a failure shows the command
# and the end of what it printed.
run()
{
    if ! "$@" > "$LOG" 2>&1 < /dev/null; then
        tail -n 40 "$LOG" >&2
        say "failed: $*" >&2
        say "whole output: $LOG" >&2
        exit 1
    fi
}


# apt-get, after whoever holds one of its locks.
apt()
{
    local end=$((SECONDS + APT_WAIT)) told=

    while ! LC_ALL=C apt-get -o DPkg::Lock::Timeout="$APT_WAIT" "$@" \
                > "$LOG" 2>&1 < /dev/null
    do
        if [ "$SECONDS" -ge "$end" ] \
            || ! grep -qE '^E: (Could not get|Unable to (acquire|lock))' "$LOG"
        then
            tail -n 40 "$LOG" >&2
            say "failed: apt-get $*" >&2
            say "whole output: $LOG" >&2
            exit 1
        fi

        [ -n "$told" ] || say "packages: waiting for another apt-get"
        told=yes
        sleep 2
    done
}


# Of the named packages, those that this Debian has not are done without.
may()
{
    local p there=()

    command -v dpkg-query > /dev/null || return 0

    for p in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2> /dev/null)" \
             = installed ] || [ -n "$(apt-cache madison "$p" 2> /dev/null)" ]
        then
            there+=("$p")
        else
            say "packages: this Debian has no $p; tests of it are skipped"
        fi
    done

    need "${there[@]}"
}


# Installs those of the named Debian packages that are missing.  The daemons
# among them must not start: this machine's own services are not our business.
need()
{
    local p missing=()

    command -v dpkg-query > /dev/null || return 0

    for p in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2> /dev/null)" \
            = installed ] || missing+=("$p")
    done

    [ ${#missing[@]} -eq 0 ] && return 0

    if [ "$(id -u)" != 0 ]; then
        say "missing packages: ${missing[*]}" >&2
        say "run as root, or: apt-get install ${missing[*]}" >&2
        exit 1
    fi

    say "packages: installing ${missing[*]}"

    # two of us at once would take it away from each other
    exec 8< /usr/sbin
    flock 8

    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi

    export DEBIAN_FRONTEND=noninteractive
    apt update
    apt install -y --no-install-recommends "${missing[@]}"

    # nothing stays behind, and no trap is left for an exec to lose
    if [ -n "$(trap -p EXIT)" ]; then
        rm -f /usr/sbin/policy-rc.d
        trap - EXIT
    fi

    exec 8>&-
}


# The modules' build wants nginx's whole source tree beside it, and configure
# writes a Makefile there: give it a tree of links of its own, TREE, where an
# nginx of NGINX_SRC gets more flags from the words.  Leaves MODULE.
build_module()
{
    local src=/usr/share/nginx/src tree flags=() out

    if [ -n "$NGINX_SRC" ]; then
        [ -e "$NGINX_SRC/src/core/nginx.h" ] \
            || wrong "NGINX_SRC: no source tree of nginx in $NGINX_SRC"
        src=$(cd "$NGINX_SRC" && pwd)
    fi

    # the pages are made with npm, Debian's or another
    command -v npm > /dev/null || need nodejs npm

    if [ -n "$NGINX_SRC" ]; then
        tree=$BUILD/nginx-$(printf %s "$src" | cksum | cut -d' ' -f1)
        flags=(--with-compat --with-debug --with-threads
               --with-http_ssl_module --with-http_v2_module
               --with-http_auth_request_module --with-http_slice_module
               --with-http_stub_status_module "$@")
        out=$tree

    else
        need "${PKG_BUILD[@]}"
        tree=$BUILD/nginx
        # shellcheck disable=SC1091
        . "$src/conf_flags"
        flags=("${NGX_CONF_FLAGS[@]}")
        out=$BUILD
    fi

    mkdir -p "$tree"
    ln -sfn "$src"/{auto,src} "$tree"

    if [ -e "$src/auto/configure" ]; then
        ln -sfn "$src/auto/configure" "$tree/configure"
        ln -sfn "$src"/{conf,docs} "$tree"
    else
        ln -sfn "$src/configure" "$tree/configure"
    fi

    # configure again when what it looked at has changed
    local key
    key=$({ printf '%s\n' "${flags[@]}" "$src" "${MODULE_CC_OPT:-}"; \
            cat "$ROOT/config" "$src/src/core/nginx.h" \
                "$ROOT"/ngx_module/assets/embed.pl; \
            ls "$ROOT"/ngx_module/*.[ch] "$ROOT"/ngx_module/assets; } | cksum)

    if [ "$(cat "$tree/key" 2> /dev/null)" != "$key" ]; then
        say "module: configuring for $(sed -n \
            's/^#define NGINX_VERSION *"\(.*\)"/nginx \1/p' \
            "$src/src/core/nginx.h")"
        (cd "$tree" && run ./configure "${flags[@]}" \
            --with-cc-opt="-O2 -g ${MODULE_CC_OPT:-}" \
            --with-ld-opt="${MODULE_LD_OPT:-}" \
            --add-dynamic-module="$ROOT")
        printf %s "$key" > "$tree/key"
    fi

    say "module: building"
    assets "$tree/objs/ngx_http_debug"
    run make -C "$tree" -f objs/Makefile -j "$JOBS" modules

    # never in place: an nginx that runs with it would execute the change
    cp "$tree/objs/ngx_http_debug_module.so" "$out/.new.so"
    mv -f "$out/.new.so" "$out/ngx_http_debug_module.so"

    TREE=$tree
    MODULE=$out/ngx_http_debug_module.so
    say "module: $MODULE"
}


# The pages' byte arrays, made again only when they changed.
assets()
{
    local new=$1/new.c old=$1/ngx_http_debug_assets.c

    mkdir -p "$1"
    run sh ngx_module/assets/bundle.sh "$1"
    perl ngx_module/assets/embed.pl "$1/pages" > "$new"
    if cmp -s "$new" "$old"; then rm "$new"; else mv "$new" "$old"; fi
}


build_lib()
{
    need "${PKG_BUILD[@]}"
    say "library: building"
    run make -C profiler -j "$JOBS" BUILD="$BUILD" ${1:+SANITIZE="$1"}
    say "library: $BUILD/libpprof.so, libpprof.a, pprof-run, pprof-lines," \
        "sampleize"
}


build_test()
{
    say "tests: building"
    run make -C t -j "$JOBS" BUILD="$BUILD" "${1:-all}"
}


# Where nginx looks for "modules/…".
modules_path()
{
    local path=${NGINX_MODULES:-}

    [ -n "$path" ] || path=$(nginx -V 2>&1 | tr ' ' '\n' \
                             | sed -n 's/^--modules-path=//p')
    [ -n "$path" ] || {
        say "nginx -V does not tell --modules-path: set NGINX_MODULES" >&2
        exit 1
    }
    printf '%s\n' "$path"
}


# The files of the checkout: what git knows, as it is now; without git, all but
# what was built.
checkout_files()
{
    if git rev-parse --git-dir > /dev/null 2>&1; then
        git ls-files -z
    else
        find . -path ./build -prune -o -name node_modules -prune \
            -o -type f -printf '%P\0'
    fi | while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file"
    done
}


# A tar file of what tar is told, the same for the same files.
tar_of()
{
    tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
        --mtime="@$SOURCE_DATE_EPOCH" "${@:2}" | xz -T0 -2 > "$1"
}


# Source and binary packages, in $BUILD/deb: the tree as it is, but for the
# broken programs that fuzzers made, uPlot beside it, since nothing is fetched
# where packages are built, and docs/debian/ with a changelog that CHANGES and
# this release say.
build_deb()
{
    local name=libnginx-mod-http-debug deb=$BUILD/deb version suite revision=1
    local id

    version=$(sed -n 's/^Changes with //p' CHANGES | head -n 1)
    id=$(. /etc/os-release && printf %s "${VERSION_ID:-}")
    suite=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-unstable}")

    # a later release's package is the newer one
    revision=1${id:+~deb${id}u1}
    [ -n "$id" ] || suite=unstable

    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(
        git log -1 --format=%ct 2> /dev/null || stat -c %Y CHANGES)}

    # the pages' foreign files come with the module's build
    command -v npm > /dev/null || need nodejs npm
    assets "$deb/pages"

    local tree=$deb/$name-$version uplot=$deb/pages/node_modules/uplot

    rm -rf "$deb"/*.deb "$deb"/*.tar.* "$deb"/*.dsc "$deb"/*.changes \
        "$deb"/*.buildinfo "$tree"
    mkdir -p "$tree"

    say "packages: source of $name $version-$revision"
    checkout_files | grep -zvE '^(docs/debian/|t/fuzz/corpus/|\.ci/|\.git)' \
        | tar_of "$deb/${name}_$version.orig.tar.xz" --null -T - \
              --transform="s|^|$name-$version/|" -c
    tar_of "$deb/${name}_$version.orig-uplot.tar.xz" -C "$uplot" \
        --transform='s|^dist/||' --transform='s|^|uplot/|' -c \
        dist/uPlot.esm.js dist/uPlot.min.css LICENSE package.json
    tar -C "$tree" --strip-components=1 \
        -xf "$deb/${name}_$version.orig.tar.xz"
    tar -C "$tree" -xf "$deb/${name}_$version.orig-uplot.tar.xz"
    cp -r docs/debian "$tree/debian"
    printf '%s\n' "$name ($version-$revision) $suite; urgency=medium" '' \
        "  * Version $version; see changelog.gz." '' \
        " -- $(sed -n 's/^Maintainer: //p' docs/debian/control)  $(
            LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" \
        > "$tree/debian/changelog"

    say "packages: building"
    (cd "$tree" && run env -u DESTDIR -u PREFIX -u BUILD -u MAKEFLAGS \
        DEB_BUILD_OPTIONS="parallel=$JOBS ${DEB_BUILD_OPTIONS:-}" \
        dpkg-buildpackage -us -uc)

    say "packages: lintian"
    run lintian --allow-root --fail-on error "$deb"/*.changes
    grep -aE '^W:' "$LOG" || true

    for name in "$deb"/*.deb "$deb"/*.dsc; do
        case $name in
        *-dbgsym_*) ;;
        *) say "packages: $name" ;;
        esac
    done
}


# Paths of gcc's runtimes, for LD_PRELOAD.
runtimes()
{
    local name

    for name in "$@"; do
        ${CC:-gcc} -print-file-name="lib$name.so"
    done | paste -sd' '
}


# What comes before anything is installed or built: the words.
door=${1:-all}
[ $# -eq 0 ] || shift

case $door in
all|module|lib|demo|lint|deb)
    no_words "$door" "$@"
    ;;
install)
    no_words "$door" "$@"

    case ${PREFIX:-/} in
    /*) ;;
    *) wrong "install: PREFIX is no absolute path: $PREFIX" ;;
    esac
    ;;
esac

mkdir -p "$BUILD"

case $door in

all)
    build_module
    build_lib
    ;;

module)
    build_module
    ;;

lib)
    build_lib
    ;;

demo)
    need "${PKG_BUILD[@]}" "${PKG_DEMO[@]}"
    build_module
    build_lib
    build_test demo
    exec perl t/app/demo.pl "$BUILD"
    ;;

test)
    test_words test "$@"
    need "${PKG_BUILD[@]}" "${PKG_TEST[@]}" "${PKG_DEB[@]}"
    may "${PKG_TEST_MAY[@]}"
    build_module
    build_lib
    build_test
    export DEBUG_BUILD=$BUILD

    # these hold times and shares against true ones, with hundreds of threads
    # some: by themselves, so that nobody disturbs them nor they others
    alone=()
    for test in lib_truth stats_accuracy stats_state; do
        alone+=(--rules "seq=t/$test.t")
    done

    [ $# -gt 0 ] || set -- t
    exec prove -It/lib -j "${TEST_JOBS:-$JOBS}" "${alone[@]}" \
        --rules 'par=**' "$@"
    ;;

bench)
    parts=(module library pages)
    options=()

    # of one of them, some tables: "bench library locks heap"
    if [ $# -gt 0 ]; then
        parts=("$1")
        options=("${@:2}")
    fi

    case ${parts[0]} in
    module|pages) no_words "bench ${parts[0]}" "${options[@]}" ;;
    library) ;;
    *) wrong "bench: module, library or pages, not \"$1\"" ;;
    esac

    need "${PKG_BUILD[@]}" "${PKG_BENCH[@]}"
    build_module
    build_lib
    build_test bench
    build_test demo
    export DEBUG_BUILD=$BUILD
    status=0

    # a bar that is missed is no reason not to see the rest
    for part in "${parts[@]}"; do
        say
        perl -It/lib "t/bench/$part.pl" "${options[@]}" || status=$?
    done

    exit "$status"
    ;;

fuzz)
    seconds=${1:-60}
    no_words fuzz "${@:2}"

    # libFuzzer takes 0 for ever
    [[ $seconds =~ ^[1-9][0-9]{0,5}$ ]] \
        || wrong "fuzz: a number of seconds, not \"$seconds\""

    need "${PKG_BUILD[@]}" "${PKG_FUZZ[@]}"
    build_module                # the tree that the module's drivers include
    build_test fuzz

    # what is found is kept beside the build, for a human to look at
    for driver in t/fuzz/*.c; do
        name=$(basename "$driver" .c)
        mkdir -p "$BUILD/fuzz/$name"
        say "fuzz: $name, $seconds s"
        run "$BUILD/t/fuzz/$name" -max_total_time="$seconds" -max_len=20000 \
            -artifact_prefix="$BUILD/fuzz/$name-" \
            "$BUILD/fuzz/$name" "t/fuzz/corpus/$name"
        sed -n 's/^Done \([0-9]*\) runs.*/  \1 runs/p' "$LOG"
    done

    # those of the module live inside an nginx that tests its configuration
    for driver in t/fuzz/module/*.c; do
        name=$(basename "$driver" .c)
        mkdir -p "$BUILD/fuzz/$name"
        say "fuzz: $name, $seconds s"
        printf '%s\n' "load_module $BUILD/t/fuzz/module/$name.so;" \
            "error_log stderr;" "pid $BUILD/fuzz/nginx.pid;" "events { }" \
            > "$BUILD/fuzz/nginx.conf"
        run env ASAN_OPTIONS=detect_leaks=0 \
            LD_PRELOAD="$(clang -print-file-name="libclang_rt.asan-$(uname \
                -m).so")" \
            NGX_FUZZ="-max_total_time=$seconds -max_len=20000
                -artifact_prefix=$BUILD/fuzz/$name-
                $BUILD/fuzz/$name $ROOT/t/fuzz/corpus/$name" \
            nginx -t -e stderr -p "$BUILD/fuzz" -c "$BUILD/fuzz/nginx.conf"
        sed -n 's/^Done \([0-9]*\) runs.*/  \1 runs/p' "$LOG"
    done
    ;;

install)
    build_module
    build_lib
    modules=$(modules_path)
    run make -C profiler BUILD="$BUILD" DESTDIR="${DESTDIR:-}" \
        PREFIX="${PREFIX:-/usr/local}" install
    run install -D -m 644 "$BUILD/ngx_http_debug_module.so" \
        "${DESTDIR:-}$modules/ngx_http_debug_module.so"

    # a package's own scripts do this where there is a DESTDIR
    if [ -z "${DESTDIR:-}" ] && [ "$(id -u)" = 0 ]; then
        run ldconfig
    fi

    say "installed: ${DESTDIR:-}${PREFIX:-/usr/local}/bin/pprof-run," \
        "sampleize, lib/libpprof.so, libexec/pprof-lines"
    say "installed: ${DESTDIR:-}$modules/ngx_http_debug_module.so"
    ;;

deb)
    need "${PKG_BUILD[@]}" "${PKG_DEB[@]}"
    build_deb
    ;;

# The module in nginx, and the library's rooms in their unit tests.  Programs
# under test stay as they are: tcmalloc and a sanitizer each want to be the
# one allocator.
asan)
    test_words asan "$@"
    need "${PKG_BUILD[@]}" "${PKG_TEST[@]}"
    may "${PKG_TEST_MAY[@]}"
    BUILD=$BUILD/asan
    LOG=$BUILD/log
    flags=-fsanitize=address,undefined
    mkdir -p "$BUILD"
    MODULE_CC_OPT="$flags -fno-omit-frame-pointer" MODULE_LD_OPT=$flags \
        build_module
    build_lib
    say "library: building under sanitizers"
    run make -C profiler -j "$JOBS" BUILD="$BUILD/san" \
        SANITIZE=address,undefined
    build_test app
    build_test preload
    say "tests: building under sanitizers"
    run make -C t -j "$JOBS" BUILD="$BUILD" OUT="$BUILD/t" \
        LIB="$BUILD/san/libpprof.a" SANITIZE=address,undefined unit replay
    export DEBUG_BUILD=$BUILD
    export TEST_NGINX_PRELOAD
    TEST_NGINX_PRELOAD=$(runtimes asan ubsan)
    # nginx and perl leave what lives until their end
    export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

    # these hold our stacks and times against the true ones, and find the
    # sanitizer's own in them: only its reports count
    for unit in guest/sampler guest/survive guest/threads; do
        "$BUILD/t/unit/$unit" > "$LOG" 2>&1 < /dev/null || true
        if grep -E 'ERROR: AddressSanitizer|runtime error:' "$LOG"; then
            say "asan: $unit FAILED, see $LOG" >&2
            exit 1
        fi
        say "asan: $unit: no report"
    done

    # install.t would install this build; testlib.t lets nginx crash; and
    # where neither nginx runs nor a unit, nothing is under a sanitizer
    if [ $# -eq 0 ]; then
        for test in t/*.t; do
            case $test in
            */guest_survive.t|*/guest_threads.t|*/install.t) ;;
            */guest_sampler.t|*/guest_programs.t|*/testlib.t) ;;
            */guest_*.t|*/unit.t|*/fuzz.t|*/encode.t) set -- "$@" "$test" ;;
            *)
                if grep -q 'Debug::Nginx->new' "$test"; then
                    set -- "$@" "$test"
                fi ;;
            esac
        done
    fi

    exec prove -It/lib -j "${TEST_JOBS:-$JOBS}" "$@"
    ;;

tsan)
    for unit in "$@"; do
        [ -e "t/unit/$unit.c" ] && [[ $unit != module/* ]] \
            || wrong "tsan: no unit test \"$unit\""
    done

    need "${PKG_BUILD[@]}"
    BUILD=$BUILD/tsan
    LOG=$BUILD/log
    mkdir -p "$BUILD"
    say "library: building under the thread sanitizer"
    run make -C profiler -j "$JOBS" BUILD="$BUILD" SANITIZE=thread
    say "tests: building under the thread sanitizer"
    run make -C t -j "$JOBS" BUILD="$BUILD" OUT="$BUILD/t" SANITIZE=thread \
        UNIT_MODULE= unit
    export TSAN_OPTIONS=halt_on_error=0:exitcode=66:die_after_fork=0

    # each by itself: a test of Perl may want more than the unit
    failed=()

    for unit in "$BUILD"/t/unit/guest/* "$BUILD"/t/unit/agent/*/*; do
        case $unit in
        *.d|*.so) continue ;;
        esac

        name=${unit#"$BUILD/t/unit/"}
        args=()
        [ "$name" != guest/cfi ] || args=(t/fuzz/corpus/eh_frame)

        [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue

        log=$LOG-${name//\//-}
        timeout 300 "$unit" "${args[@]}" > "$log" 2>&1 && rc=0 || rc=$?

        # these hold our stacks and times against the true ones, and find the
        # sanitizer's own in them (its qsort(), what creating a thread costs
        # it): only its reports count
        case $name in
        guest/sampler|guest/survive|guest/unwind)
            if [ $rc = 1 ] && grep -q '^1\.\.' "$log" \
                && ! grep -q 'WARNING: ThreadSanitizer' "$log"
            then
                rc=0
            fi ;;
        esac

        if [ $rc = 0 ]; then
            say "tsan: $name ok"
        else
            say "tsan: $name FAILED ($rc), see $log"
            failed+=("$name")
        fi
    done

    [ ${#failed[@]} -eq 0 ]
    ;;

lint)
    need "${PKG_BUILD[@]}" "${PKG_LINT[@]}"
    build_lib
    export DEBUG_BUILD=$BUILD
    prove -It/lib t/lint.t
    say "cppcheck: profiler, ngx_module"
    checks=(--quiet --error-exitcode=1 --inline-suppr -j "$JOBS"
            --enable=warning,portability --suppress=missingIncludeSystem
            --suppress=unmatchedSuppression)
    # what it does not follow: queue macros, an address that is taken before
    # the value is there, memory that a list owns, &local as an argument
    run cppcheck "${checks[@]}" --std=c11 -D__x86_64__ -D'ElfW(x)=Elf64_##x' \
        --suppress=uninitvar:profiler/agent/kinds/heap.c \
        --suppress=uninitvar:profiler/agent/kinds/heap_sample.c \
        --suppress=memleak:profiler/agent/encode/profile.c \
        --suppress=returnDanglingLifetime:profiler/agent/symbols/demangle.c \
        -I profiler -I profiler/agent -I profiler/include profiler
    # an outcome below 100 is one of an enum, all of which are cells
    run cppcheck "${checks[@]}" -Dngx_inline=inline \
        --suppress=arrayIndexOutOfBoundsCond:ngx_module/ngx_http_debug_record.c \
        -I ngx_module ngx_module
    say "lint: nothing found"
    ;;

fresh)
    [ $# -gt 0 ] || set -- bookworm trixie sid

    for suite in "$@"; do
        case $suite in
        bookworm|trixie|sid) ;;
        *) wrong "fresh: bookworm, trixie or sid, not \"$suite\"" ;;
        esac
    done

    [ "$(id -u)" = 0 ] || wrong "fresh: only root may mount and chroot"
    need "${PKG_FRESH[@]}"
    exec bash t/fresh.sh "$BUILD" "$@"
    ;;

nginx-tests)
    [ $# -gt 0 ] || wrong "nginx-tests: where is a checkout of nginx-tests?"
    no_words nginx-tests "${@:2}"
    checkout=$(cd "$HERE" && from_here "$1")
    [ -e "$checkout/lib/Test/Nginx.pm" ] \
        || wrong "nginx-tests: no checkout of nginx's tests in $checkout"

    need "${PKG_BUILD[@]}" "${PKG_NGINX_TESTS[@]}"
    BUILD=$BUILD/nginx-tests
    LOG=$BUILD/log
    mkdir -p "$BUILD"

    # all that the tests want to see, where it is that nginx that is built
    flags=(--with-http_{realip,addition,sub,dav,flv,mp4,gunzip}_module
           --with-http_{gzip_static,random_index,secure_link}_module
           --with-http_{xslt,image_filter}_module
           --with-mail --with-mail_ssl_module --with-stream
           --with-stream_{ssl,realip,ssl_preread}_module)

    if [ -n "$NGINX_SRC" ] \
        && grep -q http_v3_module "$NGINX_SRC/auto/options"
    then
        flags+=(--with-http_v3_module)
    fi

    build_module "${flags[@]}"

    if [ -n "$NGINX_SRC" ]; then
        say "nginx: building"
        run make -C "$TREE" -f objs/Makefile -j "$JOBS" binary
        TEST_NGINX_BINARY=$TREE/objs/nginx

    else
        need "${PKG_NGINX_MODS[@]}"
        TEST_NGINX_MODULES=${TEST_NGINX_MODULES:-$(modules_path)}
        export TEST_NGINX_MODULES
    fi

    export TEST_NGINX_BINARY=${TEST_NGINX_BINARY:-$(command -v nginx)}
    exec perl t/nginx-tests.pl "$checkout" "$MODULE" "${TEST_JOBS:-$JOBS}"
    ;;

*)
    [ "$door" = help ] || say "no door \"$door\"" >&2
    sed -n '3,/^$/p' "$0" | sed 's/^# \{0,1\}//' >&2
    [ "$door" = help ] || exit 2
    ;;

esac
