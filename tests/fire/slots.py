"""Places for consumers, one after the other: each is a program of its own, started, killed, and ended in peace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from fire.consumer import Options
from fire.evidence import Kill
from fire.plan import Pool
from support.sqs_servers import INSTALLED, ROOT, own_environment, send

REGION = "us-east-1"
ENDS_WITHIN = 60.0  # seconds, in peace
TERMINATED = -signal.SIGTERM % 256  # as the leash returns it
SHOWN = 2_000  # characters of what a consumer said


class Slot:
    """One place.

    Args:
        name: of the place; the consumers in it are numbered.
        folder: for all that is written.

    Attributes:
        consumer: the name of the one that is there, or was.
        kills: of consumers that were.
    """

    def __init__(self, name: str, *, queue: str, endpoint_url: str, pool: Pool, folder: Path, transport: str) -> None:
        self.name = name
        self.consumer = ""
        self.kills: list[Kill] = []
        self._queue = queue
        self._endpoint_url = endpoint_url
        self._pool: Pool = pool
        self._folder = folder
        self._transport = transport
        self._count = 0
        self._keys = 0
        self._pid = 0
        self._process: subprocess.Popen[str] | None = None
        self._back_at = 0.0

    @property
    def key(self) -> str:
        """The id of the keys that the consumer has."""
        return f"{self.consumer}-{self._keys}"

    def mind(self) -> str:
        """Start a consumer if there is none, and it is time; what went wrong with the one there was, if it did."""
        if self._process is None:
            if time.monotonic() >= self._back_at:
                self._start()
            return ""
        status = self._process.poll()
        if status is None:
            return ""
        self._process = None
        return f"{self.consumer} ended by itself, with {status}: {self._said()}"

    def kill(self, away: float) -> bool:
        """SIGKILL, and another one after so many seconds; False if there is none."""
        if self._process is None:
            return False
        # The moment before it: what it did since, it may not have done.
        self.kills.append(Kill(who=self.consumer, at=time.monotonic()))
        send(self._pid, signal.SIGKILL)
        self._process.wait()
        self._process, self._back_at = None, time.monotonic() + away
        return True

    def kill_child(self, pid: int) -> bool:
        """SIGKILL for this process, if it is a child of the consumer."""
        try:
            if self._process is None or pid == self._pid:
                return False
            if self._pid not in [parent.pid for parent in psutil.Process(pid).parents()]:
                return False
        except psutil.Error:
            return False
        self.kills.append(Kill(who=self.consumer, at=time.monotonic(), pid=pid))
        send(pid, signal.SIGKILL)
        return True

    def ask_to_end(self) -> None:
        if self._process is not None:
            send(self._pid, signal.SIGTERM)

    def end(self) -> str:
        """Wait for it; what went wrong, if something did."""
        if self._process is None:
            return ""
        try:
            status = self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            return f"{self.consumer} does not end within {ENDS_WITHIN:g} s of SIGTERM: {self._said()}"
        self._process = None
        if status == TERMINATED and not any(self._folder.glob(f"{self.consumer}-*.journal")):
            return ""  # it was not yet there
        return f"{self.consumer} ended with {status}: {self._said()}" if status else ""

    def give_keys(self) -> None:
        """New ones, for the next time that it looks for them."""
        self._keys += 1
        words = f"[default]\naws_access_key_id = {self.key}\naws_secret_access_key = secret\n"
        new = self._path("keys.new")
        new.write_text(words)
        new.replace(self._path("keys"))  # in one piece, for whoever reads it right now

    def _start(self) -> None:
        self._count, self._keys = self._count + 1, 0
        self.consumer = f"{self.name}{self._count}"
        self.give_keys()
        options = Options(
            name=self.consumer,
            queue=self._queue,
            endpoint_url=self._endpoint_url,
            pool=self._pool,
            folder=str(self._folder),
            transport=self._transport,
        )
        leash = [sys.executable, "-I", "-S", str(ROOT / "tests" / "support" / "leash.py"), str(os.getpid())]
        python = str(INSTALLED / "aio" / "bin" / "python") if self._pool == "async" else sys.executable
        with self._path("log").open("a") as log:
            self._process = subprocess.Popen(
                [*leash, python, "-m", "fire.consumer", str(options)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for us, who end it
            )
        assert self._process.stdout is not None
        with self._process.stdout as answer:
            self._pid = int(answer.readline())

    def _environment(self) -> dict[str, str]:
        return {
            **own_environment(),
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "adapters", "tests")),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._path("keys")),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def _path(self, what: str) -> Path:
        return self._folder / f"{self.consumer}.{what}"

    def _said(self) -> str:
        """The end of it."""
        return self._path("log").read_text(errors="replace")[-SHOWN:]
