"""Random and hostile bodies through decoding and dispatch; by command, with any number of them:

python tests/support/subscriber_fuzz.py 100000
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import subscriber_fuzz as fuzz

COUNT = 1_500


@pytest.mark.parametrize("seed", [1, 2])
def test_no_body_raises_and_all_good_ones_come_out_right(seed: int) -> None:
    """Whatever comes, every message has a fate, and those that are good between them come out as what they are."""
    counts = fuzz.run(COUNT, seed)
    assert sum(counts[action] for action in ("delete", "drop", "keep")) == COUNT
    assert all(counts[kind] for kind in ("BINARY", "PLAINTEXT", "DATA", "MEGA", "INVALID"))


def test_the_command_says_what_it_did(root: Path) -> None:
    """And how to do it again."""
    command = [sys.executable, str(root / "tests" / "support" / "subscriber_fuzz.py"), "200", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("200 bodies of seed 7 in ")
    assert "none raised, all 20 good ones came out right" in done.stdout
