"""git over smart HTTP through the proxy."""

import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from certificates import Certificates
from git_backend import GIT_ENVIRONMENT, commit, git, make_repository
from harness import Credentials, Proxy, Run, program
from origin import Origin, Site, bytes_of

FILES = {"first": b"one\n", "second": b"two\n", "large": bytes_of(2_000_000)}
OVER_THE_POST_BUFFER = 3_000_000
"""More than git sends in one piece: it makes a push chunked."""

NUMBERS = count()


@dataclass(frozen=True)
class Repository:
    """A bare repository on the origin."""

    path: Path
    url_path: str
    head: str


@pytest.fixture
def repository(origin: Origin) -> Repository:
    """A repository of its own for every test, because some of them push."""
    program("git")
    path = origin.repositories / f"repository-{next(NUMBERS)}.git"
    return Repository(path, f"/git/{path.name}", make_repository(path, FILES))


@pytest.fixture
def remote_git(run: Run, certificates: Certificates) -> Run:
    """Runs git with the proxy of a URL."""

    def run_git(proxy_url: str, *arguments: str | Path, **options) -> subprocess.CompletedProcess:
        environment = GIT_ENVIRONMENT | {"GIT_SSL_CAINFO": str(certificates.ca_file)}
        return run(program("git"), "-c", f"http.proxy={proxy_url}", *arguments, env=environment, text=True, **options)

    return run_git


@pytest.mark.parametrize(("depth", "commits"), [([], 3), (["--depth", "1"], 1)], ids=["full", "shallow"])
def test_a_clone_holds_the_commits_of_the_origin(
    remote_git: Run, proxy: Proxy, site: Site, repository: Repository, tmp_path: Path, depth: list[str], commits: int
):
    clone = tmp_path / "clone"
    done = remote_git(proxy.url, "clone", *depth, site.url(repository.url_path), clone)
    assert done.returncode == 0, done.stderr
    assert git("rev-parse", "HEAD", cwd=clone) == repository.head
    assert git("rev-list", "--count", "HEAD", cwd=clone) == str(commits)
    assert (clone / "large").read_bytes() == FILES["large"]


def test_a_fetch_brings_what_came_after_the_clone(
    remote_git: Run, proxy: Proxy, site: Site, repository: Repository, tmp_path: Path
):
    clone = tmp_path / "clone"
    remote_git(proxy.url, "clone", site.url(repository.url_path), clone)
    work_tree = repository.path.with_suffix(".work")
    newest = commit(work_tree, "third", b"three\n")
    git("push", "--quiet", "origin", "main", cwd=work_tree)
    done = remote_git(proxy.url, "fetch", "origin", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert git("rev-parse", "origin/main", cwd=clone) == newest


@pytest.mark.parametrize("length", [1_000, OVER_THE_POST_BUFFER], ids=["small", "chunked"])
def test_a_push_arrives_on_the_origin(
    remote_git: Run, proxy: Proxy, site: Site, repository: Repository, tmp_path: Path, length: int
):
    clone = tmp_path / "clone"
    remote_git(proxy.url, "clone", site.url(repository.url_path), clone)
    pushed = commit(clone, "pushed", bytes_of(length))
    done = remote_git(proxy.url, "push", "origin", "HEAD:main", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert git("rev-parse", "main", cwd=repository.path) == pushed


def test_a_wrong_password_is_said_to_be_one(remote_git: Run, auth_proxy: Proxy, site: Site, repository: Repository):
    wrong = auth_proxy.url_for(Credentials("sami", "wrong"))
    done = remote_git(wrong, "ls-remote", site.url(repository.url_path))
    assert done.returncode != 0
    assert "407" in done.stderr
