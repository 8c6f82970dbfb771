#!/bin/sh
# Usage: browser.sh
#
# Sees that there is a browser for the tests of the web page: $CHROMIUM, or the system's chromium, which as root it
# installs. All that it says goes to standard error.
set -eu

stop() { printf '%s\n' "$*" >&2; exit 1; }

if [ -n "${CHROMIUM:-}" ]; then
    [ -x "$CHROMIUM" ] || stop "CHROMIUM must be the path of a browser; got $CHROMIUM"
    exit
fi
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit; fi
done
if ! command -v apt-get >/dev/null 2>&1; then
    stop "The tests of the web page need chromium. Install what your system calls it, or say where it is: CHROMIUM=/path"
elif [ "$(id -u)" != 0 ]; then
    stop "The tests of the web page need chromium. Type this, then run make again: sudo apt-get install chromium"
fi
echo "There is no browser: installing chromium" >&2
{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium; } >&2 ||
    stop "apt-get could not install chromium; the tests of the web page need it."
