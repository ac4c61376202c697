"""wget through the proxy."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from certificates import Certificates
from harness import DEADLINE, Credentials, Proxy, Run, program
from origin import HELLO, Site, bytes_of


@pytest.fixture
def wget(run: Run, certificates: Certificates) -> Run:
    """Runs wget through the proxy of a URL; what it fetches comes on stdout."""

    def run_wget(proxy_url: str, *arguments: str) -> subprocess.CompletedProcess:
        limits = ["--tries=1", f"--timeout={DEADLINE}", f"--ca-certificate={certificates.ca_file}"]
        proxies = {"http_proxy": proxy_url, "https_proxy": proxy_url}
        return run(program("wget"), "--no-hsts", *limits, "--output-document=-", *arguments, env=proxies)

    return run_wget


def test_a_get_brings_what_the_origin_serves(wget: Run, proxy: Proxy, site: Site):
    fetched = wget(proxy.url, site.url("/hello"))
    assert (fetched.returncode, fetched.stdout) == (0, HELLO.encode())


def test_user_and_password_may_be_given_apart_from_the_url(wget: Run, auth_proxy: Proxy, site: Site):
    account = [f"--proxy-user={auth_proxy.user}", f"--proxy-password={auth_proxy.password}"]
    fetched = wget(auth_proxy.bare_url, *account, site.url("/hello"))
    assert (fetched.returncode, fetched.stdout) == (0, HELLO.encode())


def test_a_large_download_arrives_byte_for_byte(wget: Run, proxy: Proxy, site: Site):
    fetched = wget(proxy.url, site.url("/bytes/3000000"))
    assert hashlib.sha256(fetched.stdout).digest() == hashlib.sha256(bytes_of(3_000_000)).digest()


def test_a_broken_download_is_continued_where_it_stopped(wget: Run, proxy: Proxy, site: Site, tmp_path: Path):
    partial = tmp_path / "partial"
    partial.write_bytes(bytes_of(100_000)[:40_000])
    fetched = wget(proxy.url, "--continue", f"--output-document={partial}", site.url("/bytes/100000"))
    assert (fetched.returncode, partial.read_bytes()) == (0, bytes_of(100_000))
    assert b"206 Partial Content" in fetched.stderr


def test_an_upload_arrives_byte_for_byte(wget: Run, proxy: Proxy, site: Site, tmp_path: Path):
    body = tmp_path / "body"
    body.write_bytes(bytes_of(1_000_000))
    received = json.loads(wget(proxy.url, f"--post-file={body}", site.url("/upload")).stdout)
    assert received["sha256"] == hashlib.sha256(bytes_of(1_000_000)).hexdigest()


def test_the_origin_sees_no_credentials(wget: Run, proxy: Proxy, site: Site):
    asked = json.loads(wget(proxy.url, site.url("/headers")).stdout)
    assert "proxy-authorization" not in {name.lower() for name, _ in asked["headers"]}


def test_a_wrong_password_is_said_to_be_one(wget: Run, auth_proxy: Proxy, site: Site):
    fetched = wget(auth_proxy.url_for(Credentials("sami", "wrong")), site.url("/hello"))
    assert fetched.returncode != 0
    assert b"Proxy Authentication Required" in fetched.stderr
