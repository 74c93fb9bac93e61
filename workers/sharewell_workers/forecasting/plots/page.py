"""One page that holds all of a report and needs nothing else: it can be sent, kept and printed."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sharewell_workers.forecasting.plots.style import Format

ALTERNATIVE = {
    "fans": "Past values, forecast bands and what came, a panel a series",
    "ahead": "Past values and the bands of the forecast that is in force, a panel a series",
    "calibration": "Share of outcomes below each forecast level, and where outcomes fell",
    "horizons": "Scores of the model and of naive methods, and what the bands held, by horizon",
}
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
pre { font: 14px/1.45 ui-monospace, monospace; overflow-x: auto; background: #f5f7f9; padding: 1rem }
img { display: block; width: 100%; margin: 2rem 0 }
@media print { img { break-inside: avoid } }
</style>
<h1>$title</h1>
<pre>$lines</pre>
$pictures
</html>
""")


def page(title: str, lines: Sequence[str], pictures: Mapping[str, bytes], form: Format) -> bytes:
    """A page of HTML with the report's `lines` and its pictures, by name, all of one format."""
    kind = "image/svg+xml" if form == "svg" else "image/png"
    images = [
        f'<img alt="{escape(ALTERNATIVE.get(name, name))}" src="data:{kind};base64,{b64encode(data).decode()}">'
        for name, data in pictures.items()
    ]
    text = PAGE.substitute(title=escape(title), lines=escape("\n".join(lines)), pictures="\n".join(images))
    return text.encode()
