"""A package index (PEP 503) that holds one tiny wheel."""

import hashlib
import io
import zipfile

from aiohttp import web

PACKAGE = "sami-tiny"
WHEEL = "sami_tiny-1.0-py3-none-any.whl"
PROOF = "this came through the proxy"


def tiny_wheel() -> bytes:
    """A wheel with one module, the same bytes every time."""
    files = {
        "sami_tiny.py": f"PROOF = {PROOF!r}\n",
        "sami_tiny-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        "sami_tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "sami_tiny-1.0.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return packed.getvalue()


def routes() -> list[web.RouteDef]:
    """The index, the page of the package, and the wheel."""
    wheel = tiny_wheel()
    link = f'<a href="/packages/{WHEEL}#sha256={hashlib.sha256(wheel).hexdigest()}">{WHEEL}</a>'

    def page(body: str):
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=f"<!DOCTYPE html><html><body>{body}</body></html>", content_type="text/html")

        return answer

    async def download(_: web.Request) -> web.Response:
        return web.Response(body=wheel, content_type="application/octet-stream")

    return [
        web.get("/simple/", page(f'<a href="/simple/{PACKAGE}/">{PACKAGE}</a>')),
        web.get(f"/simple/{PACKAGE}/", page(link)),
        web.get(f"/packages/{WHEEL}", download),
    ]
