"""Two proxies in a row, as somebody has them who runs one at home and one on a server abroad."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Credentials, Proxy, running_proxy
from nameserver import NameServer, running_nameserver

ACCOUNT = Credentials("home", "p@ss:w/rd of the chain%")
"""How the proxy at home is known to the one abroad."""


@dataclass(frozen=True)
class Chain:
    """The proxy beside the client, its parent, and the name server that the first one has no need of."""

    local: Proxy
    remote: Proxy
    names_at_home: NameServer


@contextmanager
def running_chain(names: NameServer, state: Path) -> Iterator[Chain]:
    """A chain whose parent knows `names`; its certificate is its own, kept in `state` and known by its pin."""
    tls = ["--tls-self-signed", "--state-dir", state]
    with (
        running_nameserver() as nameless,
        running_proxy("--allow-private", "--dns", names.address, *tls, accounts=[ACCOUNT]) as remote,
        running_proxy(
            "--allow-private", "--dns", nameless.address, "--upstream-pin", remote.pin, parent=remote
        ) as local,
    ):
        yield Chain(local, remote, nameless)
