"""pip through the proxy."""

import subprocess
import sys
from pathlib import Path

import pytest

from certificates import Certificates
from harness import Credentials, Proxy, Run
from origin import Site
from package_index import PACKAGE, PROOF, WHEEL, tiny_wheel


@pytest.fixture
def pip(run: Run, certificates: Certificates, site: Site) -> Run:
    """Runs pip with the origin as its only index and the proxy of a URL."""

    def run_pip(proxy_url: str, verb: str, *arguments: str | Path) -> subprocess.CompletedProcess:
        trust = ["--proxy", proxy_url, "--cert", certificates.ca_file]
        quick = ["--isolated", "--retries", "0", "--no-cache-dir", "--disable-pip-version-check"]
        source = ["--index-url", site.url("/simple/"), "--no-deps"]
        return run(sys.executable, "-m", "pip", verb, *quick, *trust, *source, *arguments, PACKAGE, text=True)

    return run_pip


def test_a_package_is_downloaded_byte_for_byte(pip: Run, proxy: Proxy, tmp_path: Path):
    done = pip(proxy.latin_url, "download", "--dest", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / WHEEL).read_bytes() == tiny_wheel()


def test_a_package_is_installed(pip: Run, proxy: Proxy, tmp_path: Path):
    done = pip(proxy.latin_url, "install", "--target", tmp_path / "installed")
    assert done.returncode == 0, done.stderr
    assert PROOF in (tmp_path / "installed" / "sami_tiny.py").read_text()


def test_a_wrong_password_brings_no_package(pip: Run, auth_proxy: Proxy, tmp_path: Path):
    done = pip(auth_proxy.url_for(Credentials("sami", "wrong")), "download", "--dest", tmp_path)
    assert done.returncode != 0
    assert not (tmp_path / WHEEL).exists()
