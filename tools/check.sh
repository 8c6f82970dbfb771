#!/bin/sh
# Usage: check.sh PYTHON
#
# Style, types, and the site. Runs all of the checkers, whatever the first ones found, and fails if one of them did.
set -u
cd "$(dirname "$0")/.."
python=$1
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1 # a newer pyright is a matter of the lock, not of this run
failed=

check() {
    printf '== %s\n' "$*"
    "$python" -m "$@" || failed="$failed $1"
}

check ruff check .
check ruff format --check .
check mypy queue_consumer tests benchmarks examples recipes $(find adapters -mindepth 1 -maxdepth 1 -name 'queue_consumer_*') docs/conf.py docs/making
check pyright --pythonpath "$python"
echo "== tools/docs.sh"
tools/docs.sh "$python" || failed="$failed docs"

[ -z "$failed" ] || { printf 'Not clean:%s\n' "$failed" >&2; exit 1; }
echo "All clean."
