"""Server-sent events: their spelling, a response that sends them one by one, and what can hold it back."""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

GATE_LIMIT = 10.0


@dataclass(frozen=True)
class Gate:
    """Holds an event stream back after its first event, until a test opens it."""

    name: str
    loop: asyncio.AbstractEventLoop
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def headers(self) -> dict[str, str]:
        """What a request says to be held back."""
        return {"X-Gate": self.name}

    def open(self) -> None:
        """Lets the rest go."""
        self.loop.call_soon_threadsafe(self.opened.set)

    async def passed(self) -> None:
        """Waits until the gate is open, and takes note of a client that leaves before."""
        try:
            await asyncio.wait_for(self.opened.wait(), GATE_LIMIT)
        except asyncio.CancelledError:
            self.abandoned.set()
            raise


GATES: web.AppKey[dict[str, Gate]] = web.AppKey("gates", dict)
"""What requests with `X-Gate: <name>` wait for."""


def event(data: str | dict, name: str | None = None) -> bytes:
    """One event; an object becomes JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


async def stream_events(request: web.Request, events: Sequence[bytes], interval: float = 0) -> web.StreamResponse:
    """Sends the first event, waits for the gate that the request names, and sends the others."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    gate = request.app[GATES].get(request.headers.get("X-Gate", ""))
    for number, one in enumerate(events):
        if number == 1 and gate:
            await gate.passed()
        if number and interval:
            await asyncio.sleep(interval)
        await response.write(one)
    return response
