"""A page to ask the API from: GraphiQL, served by the gateway itself, with nothing from anywhere else.

GraphiQL is not part of this package. `sharewell ide fetch` puts it beside the gateway's data, and where it is, the
page is at `/ide`. What it is made of is pinned by hash, so a registry cannot put anything else in its place.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

FOLDER: Final = "ide"  #: in the gateway's home
#: Scripts and styles from this server only, and no inline ones. A dialog of GraphiQL would like to keep the page below
#: it from scrolling by an inline style; it does without.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "font-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
_OURS: Final = ("ide.js", "ide.css")


class NotAsPinned(Exception):
    """What a registry sent is not what this release was made with."""


@dataclass(frozen=True, slots=True)
class Package:
    """One npm package of the page."""

    name: str
    version: str
    sha512: str  #: of its archive, in base64
    files: Mapping[str, str]  #: path in the archive -> name on the page

    @property
    def path(self) -> str:
        """Where a registry has its archive."""
        return f"{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


PACKAGES: Final = (
    Package(
        "react", "18.2.0",
        "/3IjMdb2L9QbBdWiW5e3P2/npwMBaU9mHCSCUzNln0ZCYbcfTsGbTJrU/kGemdH2IWmB2ioZ+zkxtmq6g09fGQ==",
        {"package/umd/react.production.min.js": "react.production.min.js"},
    ),
    Package(
        "react-dom", "18.2.0",
        "6IMTriUmvsjHUjNtEDudZfuDQUoWXVxKHhlEGSk81n4YFS+r/Kl99wXiwlVXtPBtJenozv2P+hxDsw9eA7Xo6g==",
        {"package/umd/react-dom.production.min.js": "react-dom.production.min.js"},
    ),
    Package(
        "graphiql", "3.8.3",
        "cuPDYtXVKV86Pu5PHBX642Odi/uVEE2y1Jxq5rGO/Qy1G2lRp7ZZ7a/T30RzxhuLSWo9zUbzq0P3U49//H0Ugw==",
        {"package/graphiql.min.js": "graphiql.min.js", "package/graphiql.min.css": "graphiql.min.css"},
    ),
    Package(
        "@graphiql/plugin-explorer", "3.2.3",
        "yh5WXRqDPuKjVyNxUwXYjx8tImvVOx+2FGanLyjoAJP2LKQu6eDtButyJ8sExk1qW4+HCSrXxJNSPs4W7cYT3g==",
        {"package/dist/index.umd.js": "explorer.js", "package/dist/style.css": "explorer.css"},
    ),
)  # fmt: skip
NAMES: Final = tuple(name for package in PACKAGES for name in package.files.values())


def unpack(package: Package, archive: bytes) -> Mapping[str, bytes]:
    """The files of the page in `archive`, by their names there; raises `NotAsPinned`."""
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != package.sha512:
        raise NotAsPinned(f"{package.name} {package.version} has the SHA-512 {found}; {package.sha512} is pinned.")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        members = {name: tar.extractfile(path) for path, name in package.files.items()}
        return {name: member.read() for name, member in members.items() if member is not None}


def ide_routes(folder: Path) -> list[BaseRoute]:
    """The page at `/ide`, if `folder` has all that it is made of."""
    if not all((folder / name).is_file() for name in NAMES):
        return []
    own = files("sharewell_schema.ide")
    page = _answer("index.html", (own / "index.html").read_bytes(), {"Content-Security-Policy": POLICY})
    parts = {name: (own / name).read_bytes() for name in _OURS}
    parts |= {name: (folder / name).read_bytes() for name in NAMES}
    answers = {name: _answer(name, content, {"Cache-Control": "no-cache"}) for name, content in parts.items()}

    async def part(request: Request) -> Response:
        return answers.get(request.path_params["name"]) or Response(status_code=404)

    async def index(request: Request) -> Response:  # noqa: ARG001 - an endpoint's signature
        return page

    return [Route("/ide", index), Route("/ide/{name}", part)]


def _answer(name: str, content: bytes, headers: Mapping[str, str]) -> Response:
    return Response(content, headers=dict(headers), media_type=f"{_KINDS[Path(name).suffix]}; charset=utf-8")
