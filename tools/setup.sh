#!/bin/sh
# Usage: setup.sh [test] [check] [bench]
#
# Makes .venv/<version> hold the project (editable) and the named groups of requirements/, and prints the path of its
# Python. Everything else it says goes to standard error. What is in place already, by the stamps, costs no network.
# pip is used as the user set it up: no index, no option of ours stands between it and its configuration.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
makes_venvs() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }

# A name on the PATH proves nothing (a version manager leaves names that only complain): each candidate is run.
candidates="python3.13 python3.12 python3.11 python3"
find_python() {
    without_venv=
    for candidate in ${PYTHON:-$candidates}; do
        new_enough "$candidate" || continue
        if makes_venvs "$candidate"; then python=$candidate; return; fi
        without_venv=${without_venv:-$candidate}
    done
    if [ -z "$without_venv" ]; then
        stop "queue_consumer needs Python 3.11 or newer, and found none (tried ${PYTHON:-$candidates})." \
            "Install one, or say where it is: make test PYTHON=/path/to/python3"
    fi
    python=$without_venv
    install_venv
}

# Debian and its children keep ensurepip in a package of its own.
install_venv() {
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    case $python in python3 | */python3) package=python3-venv ;; esac
    if ! command -v apt-get >/dev/null 2>&1; then
        stop "$python cannot make virtual environments: it has no ensurepip. Install what your system calls $package."
    elif [ "$(id -u)" != 0 ]; then
        stop "$python cannot make virtual environments. Type this, then run make again: sudo apt-get install $package"
    fi
    say "$python has no ensurepip: installing $package"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package"; } >&2 ||
        stop "apt-get could not install $package; $python needs it to make virtual environments."
    makes_venvs "$python" || stop "$package is installed, but $python still cannot make virtual environments."
}

install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
        stop "pip could not install what is needed (its words are above). A package registry must be within its reach:" \
            "see pip config list."
}

# done_already STAMP FILES…: whether STAMP was written for just these files, in this place, with this Python.
fingerprint() { { pwd; echo "$home"; cat /dev/null "$@"; } | cksum; }
done_already() { stamp=$1; shift; [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint "$@")" ]; }
mark_done() { stamp=$1; shift; fingerprint "$@" >"$stamp"; }

python=
find_python
venv=.venv/$("$python" -c 'import sys; print("%d.%d%s" % (*sys.version_info[:2], getattr(sys, "abiflags", "")))')
home=$("$python" -c 'import sys; print(sys.base_prefix)')
mkdir -p .venv
if command -v flock >/dev/null 2>&1; then
    exec 9>"$venv.lock" # two makes at once take turns
    flock 9
fi

if ! done_already "$venv/.made" || ! "$venv/bin/python" -c '' >/dev/null 2>&1; then
    say "Setting up $venv"
    "$python" -m venv --clear "$venv" >&2 || stop "$python could not make the virtual environment $venv (see above)."
    mark_done "$venv/.made"
fi
if ! done_already "$venv/.core" pyproject.toml; then
    say "Setting up $venv: the project itself"
    install -e .
    mark_done "$venv/.core" pyproject.toml
fi
for group in "$@"; do
    lock=requirements/$group.txt
    if ! done_already "$venv/.group-$group" "$lock"; then
        say "Setting up $venv: $lock"
        install -r "$lock"
        mark_done "$venv/.group-$group" "$lock"
    fi
done
printf '%s\n' "$venv/bin/python"
