"""Git repositories over smart HTTP, served by git's own CGI program."""

import asyncio
import os
import subprocess
from email.parser import BytesParser
from pathlib import Path

from aiohttp import web

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Sami",
    "GIT_AUTHOR_EMAIL": "sami@localhost",
    "GIT_COMMITTER_NAME": "Sami",
    "GIT_COMMITTER_EMAIL": "sami@localhost",
}
"""Git without the configuration of the person who runs the tests."""


def git(*arguments: str | Path, cwd: Path) -> str:
    """Runs git without a network and returns what it prints."""
    command = ["git", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=GIT_ENVIRONMENT, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def commit(work_tree: Path, name: str, content: bytes) -> str:
    """Commits one file and returns the commit's id."""
    (work_tree / name).write_bytes(content)
    git("add", name, cwd=work_tree)
    git("commit", "--quiet", "--message", name, cwd=work_tree)
    return git("rev-parse", "HEAD", cwd=work_tree)


def make_repository(path: Path, files: dict[str, bytes]) -> str:
    """A bare repository that takes pushes, with one commit for each file; returns the last commit's id."""
    git("init", "--quiet", "--bare", "--initial-branch", "main", path, cwd=path.parent)
    git("config", "http.receivepack", "true", cwd=path)
    work_tree = path.with_suffix(".work")
    git("clone", "--quiet", path, work_tree, cwd=path.parent)
    git("checkout", "--quiet", "-B", "main", cwd=work_tree)
    ids = [commit(work_tree, name, content) for name, content in files.items()]
    git("push", "--quiet", "origin", "main", cwd=work_tree)
    return ids[-1]


def routes(repositories: Path) -> list[web.RouteDef]:
    """Everything below `/git/`."""

    async def serve(request: web.Request) -> web.Response:
        output = await _backend(request, repositories)
        head, _, body = output.partition(b"\r\n\r\n")
        fields = BytesParser().parsebytes(head, headersonly=True)
        status = int(fields.get("Status", "200").split()[0])
        del fields["Status"]
        return web.Response(status=status, headers=dict(fields.items()), body=body)

    return [web.route("*", "/git/{path:.*}", serve)]


async def _backend(request: web.Request, repositories: Path) -> bytes:
    """What `git http-backend` answers to the request."""
    process = await asyncio.create_subprocess_exec(
        "git",
        "http-backend",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=GIT_ENVIRONMENT
        | {
            "GIT_PROJECT_ROOT": str(repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{request.match_info['path']}",
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        },
    )
    output, _ = await process.communicate(await request.read())
    return output
