"""The recipes do what they say, as far as it can be tried without the systems that they are for."""

from __future__ import annotations

import argparse
import asyncio
import configparser
import importlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from queue_consumer.cli._exits import Exit
from queue_consumer.cli._main import parser
from queue_consumer.cli._options import variable_of
from queue_consumer.cli._web import Web
from support.cli_program import TESTS, Program, until
from support.lifecycle_handlers import Gate

RECIPES = TESTS.parent / "recipes"


def recipe(name: str) -> Any:
    """A recipe as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[socket.socket, Path]]:
    """The socket that a service manager listens at."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(path))
        line.settimeout(40)
        yield line, path


def heard(line: socket.socket) -> list[str]:
    return line.recv(4096).decode().split("\n")


def test_systemd_is_told(manager: tuple[socket.socket, Path], tmp_path: Path) -> None:
    """`run` says that it is ready when its consumers run, that it is alive while they are, and that it drains."""
    line, path = manager
    gate = Gate(tmp_path)
    with Program(
        "run", "support.cli_shop:gated", CLI_SHOP=tmp_path, NOTIFY_SOCKET=path, WATCHDOG_USEC=400_000
    ) as program:
        assert heard(line) == ["READY=1", "STATUS=1 consumer running"]
        gate.wait_for()
        assert [heard(line), heard(line)] == [["WATCHDOG=1"]] * 2
        program.send(signal.SIGTERM)
        while (told := heard(line)) == ["WATCHDOG=1"]:
            pass
        assert told == ["STOPPING=1", "STATUS=draining 1 item"]
        gate.open()
        assert program.end() == 0


def test_copies_leave_the_word_to_their_parent(manager: tuple[socket.socket, Path], tmp_path: Path) -> None:
    """With --processes the parent speaks, once for all; a manager that is gone is no reason to end."""
    line, path = manager
    with Program("run", "support.cli_shop:noting", "--processes", 2, CLI_SHOP=tmp_path, NOTIFY_SOCKET=path) as program:
        assert heard(line) == ["READY=1", "STATUS=2 copies running"]
        program.wait_for("1 handler in threads", 2)
        program.send(signal.SIGTERM)
        assert program.end() == 0
        line.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard(line)


def test_the_unit_fits_the_program() -> None:
    """The unit's commands parse, it waits longer than the drain, and what cannot mend itself is not restarted."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(RECIPES / "queue-consumer@.service")
    service = unit["Service"]
    top, _ = parser()
    for key in ("ExecStartPre", "ExecStart"):
        given = top.parse_args(service[key].replace("%i", "shop:orders").split()[1:])
        assert given.targets == ["shop:orders"]
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) > float(given.drain_timeout) + 5
    assert int(service["RestartPreventExitStatus"]) == Exit.USAGE


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Where there is a systemd to be asked, it accepts the unit; only the path of the program is of this machine."""
    program = Path(sys.executable).parent / "queue-consumer"
    unit = (RECIPES / "queue-consumer@.service").read_text().replace("/srv/shop/venv/bin/queue-consumer", str(program))
    path = tmp_path / "queue-consumer@shop.service"  # verify takes a colon for something else
    path.write_text(unit)
    assert str(program) in unit
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


# Containers


def test_process_1_drains(tmp_path: Path) -> None:
    """As process 1, for which the kernel ignores what is not handled, SIGTERM drains, and the exit code is 0."""
    gate = Gate(tmp_path)
    unshare = shutil.which("unshare")
    assert unshare, "util-linux is not installed"
    alone = [unshare, "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        alone = [unshare, "--user", "--map-root-user", *alone[1:]]
    script = "import os, sys, runpy; assert os.getpid() == 1; sys.argv[0] = 'queue-consumer'; "
    script += "runpy.run_module('queue_consumer', run_name='__main__', alter_sys=True)"
    process = subprocess.Popen(
        [*alone, sys.executable, "-c", script, "run", "support.cli_shop:gated"],
        env={"PYTHONPATH": str(TESTS), "CLI_SHOP": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        text=True,
    )
    gate.wait_for()
    (first,) = psutil.Process(process.pid).children()
    first.send_signal(signal.SIGTERM)
    said = process.stderr
    assert said is not None
    until(lambda: "draining 1 item," in said.readline(), "it drains")
    gate.open()
    rest = process.communicate(timeout=40)[1]
    assert process.returncode == 0, rest
    assert "cleaned=1" in rest


def test_the_dockerfile_fits_the_program() -> None:
    """The image runs what the command line takes, as process 1 and not as root, and has what it says installed."""
    text = (RECIPES / "Dockerfile").read_text()
    entry, command = (json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE))
    assert entry == ["queue-consumer"]
    assert parser()[0].parse_args(command).targets == ["shop:consumer"]
    assert text.index("USER shop") < text.index("ENTRYPOINT")
    extras = re.search(r"'/src\[(.*)\]'", text)
    assert extras is not None
    project = (TESTS.parent / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in extras[1].split(","))
    assert recipe("shop").consumer.state.value == "new"


# Lambda


def record(id: str, body: str, group: str = "", count: int = 1) -> dict[str, Any]:
    """A record as the service sends it."""
    return {
        "messageId": id,
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(count),
            "SentTimestamp": "1545082649183",
            **({"MessageGroupId": group} if group else {}),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders" + (".fifo" if group else ""),
        "awsRegion": "us-east-1",
    }


def test_lambda_reports_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a batch those that failed are named, and the others are not; of no failure there is an empty list."""
    handler = recipe("lambda_function").lambda_handler
    records = [record("a", "1"), record("b", "not a number"), record("c", "3")]
    assert handler({"Records": records}, None) == {"batchItemFailures": [{"itemIdentifier": "b"}]}
    assert capsys.readouterr().out == "packed 1\npacked 3\n"
    assert handler({"Records": [record("d", "4")]}, None) == {"batchItemFailures": []}


def test_lambda_keeps_the_order_of_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """On a FIFO queue what stands behind a failure in its group is not handled, and is named too."""
    handler = recipe("lambda_function").lambda_handler
    records = [record("a", "x", "one"), record("b", "2", "one"), record("c", "3", "two")]
    assert handler({"Records": records}, None) == {
        "batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]
    }
    assert capsys.readouterr().out == "packed 3\n"


# FastAPI


def test_a_lifespan_starts_and_drains() -> None:
    """What is put while the application runs is handled; after its end nothing runs any more."""
    module = recipe("fastapi_lifespan")

    async def serve() -> Any:
        async with module.lifespan(None) as state:
            module.orders.put("tea")
            until = time.monotonic() + 20
            while not module.packed:
                assert time.monotonic() < until
                await asyncio.sleep(0.01)  # as a server does between requests
            return state["consumer"]

    consumer = asyncio.run(serve())
    assert module.packed == ["tea"]
    assert consumer.state.value == "stopped"
    assert consumer.stats().cleaned == 1


# Django


def test_the_django_command_consumes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command handles what there is, closes old connections around each item, drains on a signal, and reports."""
    closed: list[str] = []

    class BaseCommand:
        stdout = SimpleNamespace(write=print)

    modules = {
        "django": ModuleType("django"),
        "django.core": ModuleType("django.core"),
        "django.core.management": ModuleType("django.core.management"),
        "django.core.management.base": ModuleType("django.core.management.base"),
        "django.db": ModuleType("django.db"),
    }
    vars(modules["django.core.management.base"])["BaseCommand"] = BaseCommand
    vars(modules["django.db"])["close_old_connections"] = lambda: closed.append(threading.current_thread().name)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    command = recipe("django_command")
    command.orders.put("tea")
    arguments = argparse.ArgumentParser()
    command.Command().add_arguments(arguments)

    def stop() -> None:
        until(lambda: command.orders.stats()["cleaned"], "the order is packed")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    command.Command().handle(**vars(arguments.parse_args(["--max-handlers", "1"])))
    assert closed == ["queue_consumer-handler-1"] * 2
    assert capsys.readouterr().out == "packed tea\nstopped: received=1 cleaned=1 in_flight=0\n"


# Kubernetes


kubernetes: Any = importlib.import_module("kubernetes_validate")  # which has no types
MANIFEST = RECIPES / "kubernetes.yaml"


@pytest.mark.parametrize("version", ["1.25", kubernetes.latest_version()])
def test_the_manifest_fits_its_schema(version: str) -> None:
    """Every object of the manifest is what the schemas of Kubernetes allow, and has no field that they do not know."""
    objects = list(yaml.safe_load_all(MANIFEST.read_text()))
    for one in objects:
        kubernetes.validate(one, version, strict=True)
    container = objects[0]["spec"]["template"]["spec"]["containers"][0]
    container["livenesProbe"] = container.pop("livenessProbe")
    with pytest.raises(kubernetes.ValidationError, match="livenesProbe"):
        kubernetes.validate(objects[0], version, strict=True)


def test_the_manifest_fits_the_program() -> None:
    """Probes ask for pages that there are, on the port that is served; the grace is longer than the drain; arguments
    and variables are those of the command line; and selectors find the pods that they mean."""
    deployment, budget = yaml.safe_load_all(MANIFEST.read_text())
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    assert (budget["apiVersion"], budget["kind"]) == ("policy/v1", "PodDisruptionBudget")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == budget["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]
    pod = template["spec"]
    (check,), (container,) = pod["initContainers"], pod["containers"]
    top, commands = parser()
    assert top.parse_args(check["args"]).command == "check"
    given = top.parse_args(container["args"])
    known = {variable_of(option): option for option in commands[given.command].options()}
    values = {one["name"]: known[one["name"]].convert(one["value"]) for one in container["env"]}
    assert pod["terminationGracePeriodSeconds"] > values["QUEUE_CONSUMER_DRAIN_TIMEOUT"] + 5
    host, port = values["QUEUE_CONSUMER_METRICS"]
    assert host == "0.0.0.0"
    (served,) = container["ports"]
    assert served["containerPort"] == port == int(template["metadata"]["annotations"]["prometheus.io/port"])
    web = Web((host, port), [])
    for probe in ("livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == served["name"]
        assert web.answer(asked["path"])[0] == 200
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
