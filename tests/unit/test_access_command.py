"""What a review of access writes is text to a spreadsheet, whatever it says."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from sharewell.cli.access import COLUMNS, FORMULA, _csv

LINE = dict.fromkeys(COLUMNS) | {"roles": ["ADMIN"], "scopes": [], "permitted": []}


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\nA1\"',;"), max_size=8))
def test_no_cell_is_a_formula_and_none_is_lost(name: str) -> None:
    (head, row) = csv.reader(io.StringIO(_csv([LINE | {"name": name}]), newline=""))
    assert tuple(head) == COLUMNS
    cell = row[COLUMNS.index("name")]
    assert not cell.startswith(FORMULA)
    assert cell.removeprefix("'" if name.startswith(FORMULA) else "") == name
