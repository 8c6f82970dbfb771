"""The servers that the other tests rest on: they come up, say why when they do not, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import sqs_servers
from support.sqs_servers import LOOPBACK, MakeQueue, PortTaken, Program, Server, ServerError, durable_servers, free_port

Start = Callable[..., Server]

# `make test` installs the first two; LocalStack is there when the tests run against it.
NAMES = ["ministack", "fauxqs", *(["localstack"] if os.environ.get("SQS_SERVER") == "localstack" else [])]
every_server = pytest.mark.parametrize("name", NAMES)

PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.sqs_servers import Server
server = Server(sys.argv[2], Path(sys.argv[3]))
print(server.pid, server.process.pid, flush=True)
time.sleep(3600)  # until it is killed, which is what the test is about
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers of one test's own, which are gone after it."""
    started: list[Server] = []

    def start(name: str, *, durable: bool = False) -> Server:
        server = Server(name, tmp_path / str(len(started)), durable=durable)
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


def gone(*pids: int) -> bool:
    """Whether none of these processes is there in the end."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=60)
    return not alive


@every_server
def test_server_answers_until_it_is_stopped(name: str, start: Start) -> None:
    """A server answers as soon as it is there, and its process is gone when it has been stopped."""
    server = start(name)
    assert server.answers()
    server.stop()
    assert not server.answers()
    assert gone(server.pid)
    server.stop()  # a second time does no harm


@every_server
def test_killed_server_comes_back_at_the_same_place(name: str, start: Start) -> None:
    """A server that crashed starts again on the same port, so that clients find it without being told."""
    server = start(name)
    place, pid = server.endpoint_url, server.pid
    server.kill()
    assert not server.answers()
    server.restart()
    assert server.answers()
    assert server.endpoint_url == place
    assert server.pid != pid


@pytest.mark.parametrize("name", durable_servers())
def test_messages_survive_kill_9(name: str, start: Start, open_client: Callable[[str], Any]) -> None:
    """A durable server has all its messages after a crash: those that wait, and those in flight with their handles."""
    server = start(name, durable=True)
    client = open_client(server.endpoint_url)
    url = client.create_queue(QueueName="kept")["QueueUrl"]
    for body in "abc":
        client.send_message(QueueUrl=url, MessageBody=body)
    (taken,) = client.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]

    server.kill()
    server.restart()

    assert client.get_queue_url(QueueName="kept")["QueueUrl"] == url
    left = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert {taken["Body"], *(message["Body"] for message in left)} == set("abc")
    assert len(left) == 2
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert again["MessageId"] == taken["MessageId"]


@every_server
def test_server_dies_with_its_parent(name: str, root: Path, tmp_path: Path) -> None:
    """When the process that started a server is killed, neither the server nor what minds it stays behind."""
    command = [sys.executable, "-c", PARENT, str(root / "tests"), name, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(psutil.pid_exists, pids))
        parent.kill()
    assert gone(*pids)


def test_server_outlives_the_thread_that_started_it(start: Start) -> None:
    """A server belongs to the process, not to the thread that started it or started it again."""
    started: list[Server] = []
    thread = threading.Thread(target=lambda: started.append(start("fauxqs")))
    thread.start()
    thread.join()
    (server,) = started
    with pytest.raises(psutil.TimeoutExpired):
        psutil.Process(server.pid).wait(timeout=0.5)  # that nothing happens takes time to see
    assert server.answers()


@every_server
def test_server_keeps_to_loopback(name: str, start: Start) -> None:
    """A server listens on the loopback interface alone: nobody else on the network has to do with our tests."""
    server = start(name)
    listening = [
        connection.laddr.ip
        for process in (psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {LOOPBACK}


def test_taken_port_is_left_for_another(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose port was taken by another program in the meantime tries the next one."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        ports = [other.getsockname()[1], free_port()]
        offered = iter(ports)
        monkeypatch.setattr(sqs_servers, "free_port", lambda: next(offered))
        assert start("ministack").port == ports[1]


def test_restart_finds_its_port_taken(start: Start) -> None:
    """A server that was started again while another program has its port says so, and does not go elsewhere."""
    server = start("ministack")
    server.kill()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((LOOPBACK, server.port))
        other.listen()
        with pytest.raises(PortTaken, match=rf"ministack cannot listen on port {server.port}: another program does"):
            server.restart()
    server.restart()
    assert server.answers()


def test_ports_are_not_given_twice() -> None:
    """A port that was offered is not offered again, so that test processes do not take it from each other."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)


def test_missing_server_names_what_installs_it(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not installed is an error that says which target of make installs it."""
    monkeypatch.setattr(sqs_servers, "INSTALLED", tmp_path)
    with pytest.raises(ServerError, match=r"fauxqs is not installed.* make test installs it"):
        start("fauxqs")
    with pytest.raises(ServerError, match=r"localstack is not installed.* make conformance installs it"):
        start("localstack")


def test_failed_start_shows_the_log(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a server ends as it starts, the error has what it said last and how it ended."""
    broken = Program(command=lambda port, data: ["bin/python", "-c", "raise SystemExit('no such luck')"])
    monkeypatch.setattr(sqs_servers, "PROGRAMS", {"ministack": broken})
    with pytest.raises(ServerError, match=r"(?s)ministack ended with 1 as it started\..*no such luck"):
        start("ministack")


def test_what_cannot_keep_messages_says_so(start: Start) -> None:
    """A server that forgets all at its end is not taken for a durable one."""
    with pytest.raises(ServerError, match=r"ministack cannot keep its messages in a folder; fauxqs can"):
        start("ministack", durable=True)


def test_server_by_hand_runs_until_ctrl_c(root: Path) -> None:
    """Run as a program, it says where the server is, and takes the server along when it is interrupted."""
    command = [sys.executable, str(root / "tests" / "support" / "sqs_servers.py"), "ministack"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"ministack is at http://{LOOPBACK}:")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert gone(*(child.pid for child in children))


def test_queues_of_a_test_are_its_own(make_queue: MakeQueue, client: Any) -> None:
    """Queues have names of their own, are FIFO when asked, and have the attributes that were asked for."""
    first, second, fifo = make_queue(), make_queue(VisibilityTimeout=7), make_queue(fifo=True)
    assert len({first, second, fifo}) == 3
    assert (
        client.get_queue_attributes(QueueUrl=second, AttributeNames=["All"])["Attributes"]["VisibilityTimeout"] == "7"
    )
    assert client.get_queue_attributes(QueueUrl=fifo, AttributeNames=["All"])["Attributes"]["FifoQueue"] == "true"


def test_no_key_of_this_machine_is_used(keys: None) -> None:
    """Whatever this machine is set up with, boto3 finds the keys and the region of the tests."""
    botocore_session = pytest.importorskip("botocore.session")
    session: Any = botocore_session.Session()
    assert session.get_credentials().access_key == "test"
    assert session.get_credentials().token is None
    assert session.get_config_variable("region") == "us-east-1"
    assert session.available_profiles == []
