"""The second verifier as one page that needs no server: browsers load no module from a disk, so it is put inside."""

from __future__ import annotations

import re
from importlib.resources import files

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./verify\.mjs";$', re.MULTILINE)


def offline_page() -> str:
    """HTML of a page that verifies dropped files, by itself and without a network."""
    folder = files("sharewell.audit")
    page = (folder / "verify.html").read_text(encoding="utf-8")
    module = (folder / "verify.mjs").read_text(encoding="utf-8")
    return _IMPORT.sub(lambda _: module, page, count=1)
