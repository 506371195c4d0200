#!/usr/bin/env bash
#
# The two commands, "build.sh demo" and "build.sh test", on a Debian of each
# suite that has nothing yet, made by debootstrap in <build>/fresh-<suite>:
#
#     t/fresh.sh <build directory> <suite>...
#
# All of it runs in a mount and a process namespace of its own.  Nothing is
# mounted outside, and when the first process in there ends the kernel ends
# the others and the mounts with them: so what is removed afterwards is a plain
# directory, whatever happened.
#
# From the machine come the mirror that apt uses, its proxy, npm's registry,
# the resolver and the certificates; with FRESH_CACHE=<directory> packages are
# kept there for the next time.

set -euo pipefail

SELF=$(readlink -f "$0")
CHECKOUT=/root/debug
BUILD=$1
SUITE=$2
ROOT=$BUILD/fresh-$SUITE
LOG=$ROOT.log

say()
{
    printf 'fresh: %s: %s\n' "$SUITE" "$*"
}


fail()
{
    say "$*" >&2
    exit 1
}


# Runs a command, its output into the log, and tells how long it took.
step()
{
    local name=$1 start=$SECONDS status=0
    shift

    printf '\n%s: %s\n' "$name" "$*" >> "$LOG"
    "$@" >> "$LOG" 2>&1 < /dev/null || status=$?

    if [ $status = 0 ]; then
        say "$name, $((SECONDS - start)) s"
    else
        tail -n 40 "$LOG" >&2
        say "$name FAILED ($status) after $((SECONDS - start)) s, see $LOG"
    fi

    return $status
}


# The mirror of Debian itself that this machine's apt has in its sources.
mirror()
{
    apt-get indextargets --format \
        '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' \
        | sed -n 's/^Debian Debian //p' | head -n 1
}


# What a machine's owner would have set up: a way out.
configure()
{
    cp -L /etc/resolv.conf /etc/hosts "$ROOT/etc/"
    printf 'deb %s %s main\n' "$1" "$SUITE" > "$ROOT/etc/apt/sources.list"

    # a mirror may stand still for longer than its Release files are valid
    {
        printf 'Acquire::Check-Valid-Until "false";\n'
        apt-config dump | grep -E '^Acquire::(http|https)::' || true
    } > "$ROOT/etc/apt/apt.conf.d/99fresh"

    if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
        cp -L /etc/ssl/certs/ca-certificates.crt "$ROOT/root/certificates.pem"
        printf 'Acquire::https::CAInfo "/root/certificates.pem";\n' \
            >> "$ROOT/etc/apt/apt.conf.d/99fresh"
    fi
}


# What git knows, as it is now; without git, all but what was built.
checkout()
{
    mkdir -p "$ROOT$CHECKOUT"

    if git rev-parse --git-dir > /dev/null 2>&1; then
        git ls-files -z | while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | tar --null -T - -cf -
    else
        tar --exclude=./build -cf - .
    fi | tar -C "$ROOT$CHECKOUT" -xf -
}


mounts()
{
    mount -t proc proc "$ROOT/proc"
    mount --rbind /sys "$ROOT/sys"
    mount --rbind /dev "$ROOT/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"

    if [ -n "${FRESH_CACHE:-}" ]; then
        mount --bind "$FRESH_CACHE/$SUITE" "$ROOT/var/cache/apt/archives"
    fi
}


# Runs a command of the checkout, in there.
there()
{
    local env=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
               HOME=/root LANG=C.UTF-8 TERM=dumb "$@")
    local registry name

    registry=$(npm config get registry 2> /dev/null) \
        && env+=("npm_config_registry=$registry")

    for name in http_proxy https_proxy no_proxy TEST_JOBS; do
        [ -z "${!name:-}" ] || env+=("$name=${!name}")
    done

    [ ! -e "$ROOT/root/certificates.pem" ] \
        || env+=(NODE_EXTRA_CA_CERTS=/root/certificates.pem)

    chroot "$ROOT" env -i "${env[@]}" \
        sh -c 'cd "$1" && shift && exec "$@"' sh "$CHECKOUT" \
        ./build.sh "$DOOR"
}


# The first process of the namespaces.
inside()
{
    local from failed=0 cache=()

    from=$(mirror)
    [ -n "$from" ] || fail "apt's sources here name no mirror of Debian;" \
                           "is an apt-get update missing?"

    if [ -n "${FRESH_CACHE:-}" ]; then
        mkdir -p "$FRESH_CACHE/$SUITE"
        cache=(--cache-dir="$FRESH_CACHE/$SUITE")
    fi

    step debootstrap debootstrap --variant=minbase "${cache[@]}" \
        "$SUITE" "$ROOT" "$from" || exit 1
    step 'the checkout' checkout || exit 1
    configure "$from"
    mounts

    DOOR=demo step demo there DEMO_SECONDS=10 || failed=1
    DOOR=test step test there || failed=1

    grep -aE '^(packages: this|Files=|Result:|t/.*(Failed|Wstat)|.* skipped:)' \
        "$LOG" | while IFS= read -r line; do say "  $line"; done

    exit $failed
}


if [ "${INSIDE:-}" = yes ]; then
    inside
fi


job=
mine=                       # the lock, and so the directory
passed=()
failed=()

# Ends all that runs in there: then nothing of it is mounted any more, and what
# is removed is a plain directory.
clean()
{
    local first=

    [ -n "$mine" ] || return 0

    if [ -n "$job" ] && kill -0 "$job" 2> /dev/null; then
        read -r first < "/proc/$job/task/$job/children" || true
        kill -KILL ${first:-"$job"} 2> /dev/null || true
        wait "$job" 2> /dev/null || true
    fi

    job=

    if mounted; then
        say "something is mounted below $ROOT: it stays" >&2
        return 1
    fi

    [ -e "$ROOT" ] || return 0
    rm -rf --one-file-system "$ROOT" && say removed
}


mounted()
{
    grep -qF " $ROOT" /proc/self/mountinfo
}


# Whatever ends us.
end()
{
    local status=$?

    trap '' INT TERM HUP
    clean || status=1
    exit $status
}


one()
{
    SUITE=$1
    ROOT=$BUILD/fresh-$SUITE
    LOG=$ROOT.log

    # whoever lives in there holds the lock, too
    mine=
    exec 9> "$ROOT.lock"
    flock -n 9 || { say "another one runs already"; return 1; }
    mine=yes

    clean || return 1
    : > "$LOG"

    unshare --mount --pid --fork true \
        || { say "namespaces are not to be had here"; return 1; }

    # with job control it is a process group of its own: Ctrl-C is ours alone;
    # unshare itself complains when the first process is killed
    set -m
    INSIDE=yes unshare --mount --pid --fork --kill-child --mount-proc \
        --propagation private \
        bash -c 'exec bash "$@" 2>&3 3>&-' bash "$SELF" "$BUILD" "$SUITE" \
        3>&2 2> /dev/null < /dev/null &
    job=$!
    set +m

    local status=0
    wait "$job" || status=$?
    clean || status=1

    return $status
}


shift
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

for suite in "$@"; do
    if one "$suite"; then passed+=("$suite"); else failed+=("$suite"); fi
done

[ ${#passed[@]} -eq 0 ] || printf 'fresh: passed: %s\n' "${passed[*]}"
[ ${#failed[@]} -eq 0 ] || printf 'fresh: failed: %s\n' "${failed[*]}"
[ ${#failed[@]} -eq 0 ]
