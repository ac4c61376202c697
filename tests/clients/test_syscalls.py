"""What a tunnel asks of the kernel, counted by strace: every call that is here has a reason, and there is no other."""

import re
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import DEADLINE, Proxy, running_proxy

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

IDLE = {"epoll_wait", "futex", "write", "restart_syscall", "sched_yield"}
"""Waiting, and the thread that writes the log: neither belongs to a tunnel."""
MEMORY = {"mmap", "munmap", "madvise", "brk", "mprotect"}
"""The allocator takes a page now and then."""
CHECKS = {"fcntl"}
"""A debug build of the standard library looks at every descriptor that it closes."""
SET_UP_AND_END = {
    "accept4": 2,  # the connection, and "no more" (a listener is asked until it has none)
    "epoll_ctl": 4,  # both sockets in and out
    "recvfrom": 3,  # the head, the origin's end, the client's end
    "socket": 1,
    "connect": 1,
    "getsockopt": 1,  # whether the connection was made
    "setsockopt": 6,  # of the origin's socket; the client's inherits them from the listener
    "getsockname": 1,  # the address of ours in the log
    "sendto": 1,  # the 200
    "shutdown": 1,  # the first end is passed on; closing passes on the second
    "close": 2,
}


@contextmanager
def traced(proxy: Proxy, path: Path) -> Iterator[None]:
    """Records the system calls of `proxy` while the block runs."""
    command = ["strace", "-f", "-o", str(path), "-p", str(proxy._process.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    while "attached" not in (line := tracer.stderr.readline()):
        if not line:
            pytest.skip("strace may not trace here")
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait(DEADLINE)


def calls(path: Path) -> Counter[str]:
    """How often each system call was made."""
    begun = re.compile(r"^\d+\s+(\w+)\(", re.MULTILINE)
    counted = Counter(begun.findall(path.read_text(errors="replace")))
    return Counter({name: count for name, count in counted.items() if name not in IDLE | MEMORY | CHECKS})


@contextmanager
def tunnel(proxy: Proxy) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a tunnel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        with socket.create_connection((proxy.host, proxy.port), DEADLINE) as client:
            client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            origin, _ = listener.accept()
            origin.settimeout(DEADLINE)
            with origin:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(1)
                assert head.startswith(b"HTTP/1.1 200 ")
                yield client, origin


def test_setting_a_tunnel_up_and_ending_it_takes_these_calls(tmp_path: Path) -> None:
    with running_proxy("--allow-private", "--workers", "1") as proxy:
        with tunnel(proxy):
            pass
        proxy.wait_for_log("outcome=ok")
        with traced(proxy, tmp_path / "calls"):
            with tunnel(proxy) as (client, origin):
                client.shutdown(socket.SHUT_WR)
                assert origin.recv(1) == b""
            proxy.wait_for_log(" id=2 .*outcome=ok")
    assert calls(tmp_path / "calls") == Counter(SET_UP_AND_END)


def test_a_token_is_one_recv_and_one_send(tmp_path: Path) -> None:
    tokens = 50
    with running_proxy("--allow-private", "--workers", "1") as proxy, tunnel(proxy) as (client, origin):
        with traced(proxy, tmp_path / "calls"):
            for number in range(tokens):
                token = f"data: {number}\n\n".encode()
                origin.sendall(token)
                assert client.recv(4096) == token
    assert calls(tmp_path / "calls") == Counter(recvfrom=tokens, sendto=tokens)


def test_bulk_is_spliced_and_not_copied(tmp_path: Path) -> None:
    size = 32 << 20
    with running_proxy("--allow-private", "--workers", "1") as proxy, tunnel(proxy) as (client, origin):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        with traced(proxy, tmp_path / "calls"):
            sender = threading.Thread(target=origin.sendall, args=(bytes(size),))
            sender.start()
            left = size
            while left:
                left -= len(client.recv(1 << 20))
            sender.join(DEADLINE)
    counted = calls(tmp_path / "calls")
    spliced = [
        int(moved) for moved in re.findall(r"splice\(.*= (\d+)", (tmp_path / "calls").read_text()) if int(moved)
    ]
    # Each byte is spliced twice: into the pipe and out of it.
    assert sum(spliced) > 2 * 0.95 * size
    assert counted["recvfrom"] + counted["sendto"] < counted["splice"]
