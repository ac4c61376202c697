"""Chromium: the page and the script for browsers, and the proxy through them and through its other doors."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certificates import Certificates
from harness import DEADLINE, Proxy, client_environment, program, running_proxy
from nameserver import NameServer
from origin import HELLO, Origin

LISTED = "chat.openai.com"
"""A name that proxy.pac sends through the proxy."""
UNLISTED = "distinctive.example"
"""One that it does not."""

Open = Callable[..., str]

QUIET = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""No window, and less talk with its maker."""

LOST = "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
"""Chromium finds no host by itself: what it reaches it reaches through the proxy, and nothing beyond this machine."""


@pytest.fixture(scope="module")
def proxy(names: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with every door, whose certificate is its own work."""
    tls = ["--tls-self-signed", "--state-dir", tmp_path_factory.mktemp("state")]
    with running_proxy("--allow-private", "--dns", names.address, *tls) as proxy:
        yield proxy


@pytest.fixture
def chromium(proxy: Proxy, certificates: Certificates, tmp_path: Path) -> Open:
    """Opens a page in a browser without a past and returns its DOM.

    Of all certificates that no known authority has signed it accepts two, by their pins: the origin's and the proxy's.
    """
    pins = ",".join(pin.removeprefix("sha256:") for pin in (certificates.pin, proxy.pin))
    trust = f"--ignore-certificate-errors-spki-list={pins}"

    def open_page(url: str, *options: str, finds: str = LOST) -> str:
        profile, rules = f"--user-data-dir={tmp_path / 'profile'}", f"--host-resolver-rules={finds}"
        command = [program("chromium"), *QUIET, profile, trust, rules, *options, "--dump-dom", url]
        done = subprocess.run(
            command,
            env=client_environment(tmp_path),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return open_page


def text_of(dom: str) -> str:
    """What a person reads."""
    body = dom[dom.index("<body") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


# The page


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["The proxy works", "What to enter in Sami", "leave empty", "For the whole computer"]),
        ("ru", ["Прокси работает", "Что ввести в Sami", "оставьте пустым", "Для всего компьютера"]),
    ],
)
def test_the_page_is_in_the_language_of_the_browser(
    chromium: Open, proxy: Proxy, tmp_path: Path, language: str, said: list[str]
):
    picture = tmp_path / f"page-{language}.png"
    look = [f"--screenshot={picture}", "--window-size=800,1300", f"--accept-lang={language}"]
    dom = chromium(f"{proxy.bare_url}/", *look)
    assert f'<html lang="{language}">' in dom
    assert [words for words in said if words not in text_of(dom)] == []
    assert f"Host {proxy.host} Port {proxy.port} Type http " in text_of(dom)
    assert f"{proxy.bare_url}/proxy.pac" in text_of(dom)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_page_under_tls_names_the_type_https(chromium: Open, proxy: Proxy):
    dom = chromium(f"https://localhost:{proxy.port}/")
    assert f"Host localhost Port {proxy.port} Type https " in text_of(dom)
    assert f"https://localhost:{proxy.port}/proxy.pac" in text_of(dom)


# Sites


def test_proxy_pac_leads_a_listed_host_through_the_proxy(chromium: Open, proxy: Proxy, origin: Origin):
    pac = f"--proxy-pac-url={proxy.bare_url}/proxy.pac"
    since = proxy.now_in_log()
    assert HELLO in chromium(origin.url("https", "/hello", LISTED), pac)
    proxy.wait_for_log(f" door=http .* method=CONNECT target={LISTED}:{origin.ports['https']} ", since)


def test_proxy_pac_leaves_other_hosts_alone(chromium: Open, proxy: Proxy, origin: Origin):
    """Chromium has to find the host by itself here."""
    pac, found = f"--proxy-pac-url={proxy.bare_url}/proxy.pac", f"MAP {UNLISTED} {proxy.host}, {LOST}"
    since = proxy.now_in_log()
    assert HELLO in chromium(origin.url("https", "/hello", UNLISTED), pac, finds=found)
    proxy.now_in_log()
    assert not [line for line in proxy.log[since:] if UNLISTED in line]


def test_chromium_speaks_socks5_to_the_proxy(chromium: Open, proxy: Proxy, origin: Origin):
    since = proxy.now_in_log()
    via = f"--proxy-server={proxy.url_over('socks5')}"
    assert HELLO in chromium(origin.url("https", "/hello", UNLISTED), via)
    proxy.wait_for_log(f" door=socks5 .* target={UNLISTED}:{origin.ports['https']} ", since)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_chromium_speaks_http2_to_a_proxy_under_tls(chromium: Open, proxy: Proxy, origin: Origin, scheme: str):
    since = proxy.now_in_log()
    via = f"--proxy-server=https://localhost:{proxy.port}"
    assert HELLO in chromium(origin.url(scheme, "/hello", UNLISTED), via)
    proxy.wait_for_log(f" door=h2 .* target={UNLISTED}:{origin.ports[scheme]} .* status=200 ", since)
