"""What the numbers of a run depend on besides the code: interpreter, machine, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

from contender import cpus
from peers import DISTRIBUTIONS


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def look() -> dict[str, Any]:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    build = "" if gil else ", free-threaded"
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}{build}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cpus": cpus(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "versions": {name: _version(name) for name in ("queue-consumer", *DISTRIBUTIONS, "boto3")},
    }


def sentence(seen: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number or '(not installed)'}" for name, number in seen["versions"].items())
    load = f", load {seen['load'][0]:.1f} at the start" if seen["load"] else ""
    place = f"{seen['processor']}, {seen['cpus']} CPUs{load}"
    return f"{seen['python']} · {place} · {seen['system']}\n{versions}"
