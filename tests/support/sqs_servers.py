"""Real SQS servers, each a child process on a free port of the loopback interface, none of which outlives us.

`tools/servers.sh` installs them. By hand, `python tests/support/sqs_servers.py fauxqs` runs one until Ctrl-C and says
where it is.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
# Beside the environment that runs the tests, wherever these are: `make mutants` copies them without it.
BESIDE = Path(sys.prefix).parent / "servers"
INSTALLED = BESIDE if BESIDE.is_dir() else ROOT / ".venv" / "servers"
LOOPBACK = "127.0.0.1"
READY_WITHIN = 60.0  # a busy machine is no reason to fail; one that never answers is
STOP_WITHIN = 5.0
PORTS_TO_TRY = 5
LOG_SHOWN = 4000  # characters, when a start fails


class ServerError(Exception):
    """A server is not installed, or did not start."""


class PortTaken(ServerError):
    """Another program has the port in the meantime."""


class MakeQueue(Protocol):
    """Creates a queue, and returns its URL; it is deleted after the test.

    Args:
        name: a name that matters to the test; else it is one that no other queue has.
        fifo: whether it is a FIFO queue; a name that ends with `.fifo` says so too.
        attributes: as `CreateQueue` has them, of any JSON type: `VisibilityTimeout=1`, `RedrivePolicy={…}`.
    """

    def __call__(self, name: str | None = None, *, fifo: bool = False, **attributes: object) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Program:
    """How a server is run, in its folder under `.venv/servers/`."""

    command: Callable[[int, Path | None], list[str]]  # of a port, and of the folder to keep messages in, if any
    settings: Callable[[int, Path], Mapping[str, str]] = lambda port, folder: {}  # of a port, and of a folder to fill
    target: str = "make test"
    durable: bool = False  # whether it can keep messages in a folder


# Three repairs. It would listen on all interfaces. Without a host it answers with queue URLs of the host that it was
# asked as. And where it keeps messages in a file it cannot give one back: it writes null where its own table forbids
# that, answers with 500, and has lost the message until it is started again.
FAUXQS = """
import net from "node:net"
const [port, dataDir] = process.argv.slice(1)
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (where, ...more) {
  return listen.call(this, where?.port === undefined ? where : { ...where, host: "127.0.0.1" }, ...more)
}
const { PersistenceManager } = await import("./node_modules/fauxqs/dist/persistence.js")
PersistenceManager.prototype.updateMessageReady = function (id) {
  const given = "UPDATE sqs_messages SET receipt_handle = NULL, visibility_deadline = NULL WHERE message_id = ?"
  this.db.prepare(given).run(id)
}
const { startFauxqs } = await import("fauxqs")
await startFauxqs({ port: Number(port), logger: false, dataDir })
"""

# It takes a host to listen on, and listens on all interfaces all the same.
LOCALSTACK = """
import functools, twisted.internet.endpoints as endpoints
endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
from localstack.runtime.main import main
main()
"""

PROGRAMS: Mapping[str, Program] = {
    "ministack": Program(
        command=lambda port, data: ["bin/python", "-m", "ministack"],
        settings=lambda port, folder: {
            "BIND_HOST": LOOPBACK,
            "MINISTACK_HOST": LOOPBACK,
            "GATEWAY_PORT": str(port),
            "SERVICES": "sqs,sns",
            "LOG_LEVEL": "WARNING",
        },
    ),
    "fauxqs": Program(
        command=lambda port, data: [
            *("bin/node", "--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", FAUXQS, "--"),
            *(str(port), *([str(data)] if data else [])),
        ],
        durable=True,
    ),
    "localstack": Program(
        command=lambda port, data: ["bin/python", "-c", LOCALSTACK],
        settings=lambda port, folder: {
            "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
            "LOCALSTACK_HOST": f"{LOOPBACK}:{port}",
            "SERVICES": "sqs,sns",
            "STRICT_SERVICE_LOADING": "1",
            "EAGER_SERVICE_LOADING": "1",
            "SQS_ENDPOINT_STRATEGY": "path",
            "SQS_DISABLE_CLOUDWATCH_METRICS": "1",
            "DNS_ADDRESS": "0",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "LS_LOG": "error",
            # It keeps its caches in /var/lib where it takes the machine for a container of its own.
            "OVERRIDE_IN_DOCKER": "0",
            "FILESYSTEM_ROOT": str(folder / "localstack"),
        },
        target="make conformance",
    ),
}


class Server:
    """A running SQS server.

    Args:
        name: one of `PROGRAMS`.
        folder: where its log goes, and its messages if it keeps them.
        durable: whether it keeps its messages in `folder`, so that they are there again after a `restart()`.

    Attributes:
        endpoint_url: where a client finds it; the same after a `restart()`.
        pid: the process id of the server itself, for signals.
        process: what minds the server, and ends with it.
        log: the file with all that it has printed.

    Raises:
        ServerError: it is not installed, or did not come up; with the end of its log.
    """

    def __init__(self, name: str, folder: Path, *, durable: bool = False) -> None:
        program = PROGRAMS[name]
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[str] | None = None
        self.pid = 0
        self.port = 0
        self._program = program
        self._data = folder / f"{name}.data" if durable else None
        if durable and not program.durable:
            raise ServerError(f"{name} cannot keep its messages in a folder; {', '.join(durable_servers())} can.")
        if not (INSTALLED / name / ".made").exists():
            raise ServerError(
                f"The SQS server {name} is not installed in {INSTALLED / name}: {program.target} installs it, and "
                f"tools/servers.sh {name} does nothing else."
            )
        for left in reversed(range(PORTS_TO_TRY)):
            self.port = free_port()
            try:
                self._start()
                break
            except PortTaken:
                if not left:
                    raise

    @property
    def endpoint_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def restart(self) -> None:
        """Starts it again on the same port, with the messages that it kept; stops it before, if need be."""
        self.stop()
        self._start()

    def kill(self) -> None:
        """Ends it by SIGKILL, as a crash would; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in peace, and by SIGKILL if it does not go; no error if it is gone already."""
        self._end(signal.SIGTERM)

    def _start(self) -> None:
        if is_taken(self.port):
            raise PortTaken(f"{self.name} cannot listen on port {self.port}: another program does.")
        self.folder.mkdir(parents=True, exist_ok=True)
        leash = [sys.executable, "-I", "-S", str(ROOT / "tests" / "support" / "leash.py"), str(os.getpid())]
        command, *arguments = self._program.command(self.port, self._data)
        place = INSTALLED / self.name
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*leash, str(place / command), *arguments],
                cwd=place,
                env={**own_environment(), **self._program.settings(self.port, self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the tests; they stop it in their own time
            )
        assert self.process.stdout is not None
        with self.process.stdout as answer:
            self.pid = int(answer.readline() or 0)
        try:
            self._wait_until_ready(self.process)
        except ServerError:
            self.kill()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not self.answers():
            if process.poll() is not None:
                raise ServerError(f"{self.name} ended with {process.returncode} as it started. {self._logged()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not answer within {READY_WITHIN} seconds. {self._logged()}")
            time.sleep(0.02)  # it tells nobody when it is ready: it can only be asked

    def answers(self) -> bool:
        """Whether it lists its queues when asked to."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=READY_WITHIN)
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "AmazonSQS.ListQueues",
            "X-Amz-Date": "20260101T000000Z",
            # No server looks at the signature, but some take the region and the service from it.
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, "
            "SignedHeaders=host;x-amz-date, Signature=0",
        }
        try:
            connection.request("POST", "/", body="{}", headers=headers)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _end(self, how: signal.Signals) -> None:
        process = self.process
        if process is None:
            return
        if process.poll() is None and self.pid:
            send(self.pid, how)
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                send(self.pid, signal.SIGKILL)
        process.wait()

    def _logged(self) -> str:
        """The end of its log, for an error."""
        return f"The end of {self.log}:\n{self.log.read_text(errors='replace')[-LOG_SHOWN:]}"


def durable_servers() -> list[str]:
    """The servers that can keep their messages over a crash."""
    return [name for name, program in PROGRAMS.items() if program.durable]


def own_environment() -> dict[str, str]:
    """Ours, without what would set a server up, or a Python, or a Node, in a way of its own."""
    foreign = ("AWS_", "PYTHON", "NODE_", "LOCALSTACK_", "MINISTACK_", "FAUXQS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def send(pid: int, what: signal.Signals) -> None:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass  # it was quicker


def is_taken(port: int) -> bool:
    """Whether a server could not listen there. (A server that finds out by itself may well say so, and hang.)"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port that the system gives to nobody else for a while.

    A connection that was closed here keeps the port from being drawn again, for a minute; a server that asks for it by
    its number gets it all the same.
    """
    with socket.socket() as listener, socket.socket() as caller:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, 0))
        listener.listen(1)
        caller.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.close()
        return int(listener.getsockname()[1])


def main(name: str) -> int:
    if name not in PROGRAMS:
        print(f"There is no server named {name!r}; there are {', '.join(PROGRAMS)}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            server = Server(name, Path(folder))
        except ServerError as error:
            print(error, file=sys.stderr)
            return 1
        assert server.process is not None
        print(f"{name} is at {server.endpoint_url} until Ctrl-C", flush=True)
        try:
            return server.process.wait()
        except KeyboardInterrupt:
            server.stop()
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "ministack"))
