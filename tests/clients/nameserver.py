"""A name server on loopback that knows no name."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NXDOMAIN_FLAGS = 0x8183
HEADER = struct.Struct("!6H")


@contextmanager
def empty_nameserver() -> Iterator[str]:
    """The address of a server that answers every question with NXDOMAIN."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        host, port = listening.getsockname()
        thread = threading.Thread(target=_answer, args=(listening,), daemon=True)
        thread.start()
        try:
            yield f"{host}:{port}"
        finally:
            listening.sendto(b"", (host, port))
            thread.join(10)


def _answer(listening: socket.socket) -> None:
    """Answers until an empty datagram comes."""
    while True:
        packet, client = listening.recvfrom(4096)
        if not packet:
            return
        identifier = HEADER.unpack_from(packet)[0]
        listening.sendto(HEADER.pack(identifier, NXDOMAIN_FLAGS, 1, 0, 0, 0) + _question(packet), client)


def _question(packet: bytes) -> bytes:
    """The question section of a packet with one question: a name, a type and a class."""
    end = packet.index(0, HEADER.size) + 1 + 4
    return packet[HEADER.size : end]
