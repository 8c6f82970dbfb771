"""A script that nobody has made importable."""

import sys

sys.exit(0)
