#!/bin/sh
# Usage: docs.sh PYTHON
#
# Makes the site anew, from nothing, in build/docs. A warning is an error, but each of them is shown.
set -eu
cd "$(dirname "$0")/.."
python=$1
rm -rf build/docs
"$python" -m sphinx -b html -W --keep-going -q -E -j auto -d build/doctrees docs build/docs
echo "The site is in build/docs: open build/docs/index.html"
