#!/bin/sh
# Renews the pins in requirements/: one file per dependency group, good for every Python and platform that we support,
# and agreed with each other, since the groups may meet in one virtual environment. Needs the network; uv, which does
# the work, reads its own settings and not pip's.
set -eu
cd "$(dirname "$0")/.."
python=$(tools/setup.sh)
[ -x .venv/lock/bin/uv ] || { "$python" -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet uv; }

compile() {
    output=$1
    shift
    rm -f "$output"
    .venv/lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
        --no-annotate --custom-compile-command "make lock" --output-file "$output" pyproject.toml "$@"
}

compile .venv/lock/all.txt --group test --group check --group bench
for group in test check bench; do
    compile "requirements/$group.txt" --constraints .venv/lock/all.txt --group "$group"
done
