"""Codes and names of institutions, made from what published files call them so that the domain takes them."""

from __future__ import annotations

from typing import Final

import polars as pl

from sharewell.domain.checks import MAX_TEXT
from sharewell.exchange.table import Table

LONGEST: Final = 40  #: characters of an identifier that go into a code; some identifiers are SHA-256 hashes


def code_of(prefix: str, identifiers: pl.Series) -> pl.Series:
    """`prefix` and the identifier in the shape of `domain.checks.code`: `us-nj` and `ACS-EO` make `us-nj-acs-eo`."""
    parts = identifiers.str.to_lowercase().str.replace_all(r"[^a-z0-9]+", "-").str.strip_chars("-")
    return (prefix + "-" + parts.str.head(LONGEST).str.strip_chars("-")).alias("institution_code")


def refuse_shared_codes(cells: Table, column: str, codes: pl.Series) -> None:
    """Refuse identifiers that make no code, or the code of another identifier."""
    cells.refuse_where(
        codes.str.ends_with("-"),
        column,
        lambda cell: f"{cell!r} cannot identify an institution: it has no letter or digit.",
    )
    named = pl.DataFrame({"identifier": cells.frame[column], "code": codes})
    shared = named.select(pl.col("identifier").n_unique().over("code") > 1).to_series()
    cells.refuse_where(shared, column, lambda cell: f"{cell!r} and another identifier would get the same code.")


def names_in(cells: Table, column: str) -> pl.Series:
    """The names in `column` in NFC and of a sane length, refusing what is no plain text."""
    names = cells.text(column)
    cells.refuse_where(
        names.str.contains(r"[\p{Cc}\p{Co}]"), column, lambda _: "has characters that are no plain text."
    )
    return names.str.normalize("NFC").str.replace_all(r"\s+", " ").str.head(MAX_TEXT).str.strip_chars().alias("name")
