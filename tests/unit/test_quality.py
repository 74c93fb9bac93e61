from __future__ import annotations

import json
from pathlib import Path

import pytest

from sharewell.domain.capacity import Mark
from sharewell.domain.quality import (
    SUPPRESSED_HIGH,
    SUPPRESSED_LOW,
    SUPPRESSED_VALUE,
    Flag,
    FlagCount,
    QualityReport,
    ResourceQuality,
    SeriesGap,
)


def a_report(*, suppressed: int = 0, gaps: tuple[SeriesGap, ...] = ()) -> QualityReport:
    beds = ResourceQuality(
        resource="bed.adult",
        reports=10,
        values={Mark.REPORTED: 18, Mark.SUPPRESSED: suppressed},
        series=2,
        complete=2 - len(gaps),
        median_permille=1000 if not gaps else 625,
        gaps=gaps,
    )
    return QualityReport(
        format="hhs",
        dialect="r",
        rows_read=12,
        rows_left_out=2,
        institutions=2,
        first_period="2022-03-04",
        last_period="2022-04-01",
        resources=(beds,),
        flags=(
            FlagCount(flag=Flag.DUPLICATE_ROW, count=2, rows=(5, 9)),
            FlagCount(flag=Flag.SPIKE, count=8, resource="bed.adult", rows=(3, 4, 6)),
            FlagCount(flag=Flag.NOT_LOCATED, count=1),
        ),
    )


def test_the_suppression_rule_is_the_middle_of_its_interval() -> None:
    assert (SUPPRESSED_LOW + SUPPRESSED_HIGH) / 2 == SUPPRESSED_VALUE


def test_sentences_say_what_was_read_kept_and_left_out() -> None:
    said = a_report().sentences()
    assert said[0] == "Read 12 rows of hhs (r); left out 2 of them."
    assert "bed.adult: 10 reports of 2 institutions; values: 18 reported." in said
    assert "left out: 2 — rows that repeat another row word for word (row 5, 9)." in said
    assert any(line.startswith("kept: 8 in bed.adult") and line.endswith("(row 3, 4, 6, …).") for line in said)
    assert "kept: 1 — institutions without a usable location." in said


def test_the_rule_for_suppressed_numbers_is_told_only_where_there_are_some() -> None:
    assert not any("taken as 2" in line for line in a_report().sentences())
    assert any("between 1 and 3 and is taken as 2" in line for line in a_report(suppressed=3).sentences())


def test_the_widest_gap_is_named() -> None:
    (gap,) = [
        line
        for line in a_report(gaps=(SeriesGap(institution="us-hhs-1", reported=2, expected=8),)).sentences()
        if "gaps" in line
    ]
    assert (
        gap == "bed.adult: 1 series have gaps (median completeness 62.5 %); the widest is us-hhs-1 with 2 of 8 periods."
    )


def test_the_json_has_only_texts_and_whole_numbers() -> None:
    def leaves(value: object) -> list[object]:
        if isinstance(value, dict):
            return [leaf for inner in value.values() for leaf in leaves(inner)]
        if isinstance(value, list):
            return [leaf for inner in value for leaf in leaves(inner)]
        return [value]

    said = a_report(suppressed=1, gaps=(SeriesGap(institution="us-hhs-1", reported=2, expected=8),)).to_json()
    assert {type(leaf) for leaf in leaves(said)} <= {str, int}
    assert json.loads(json.dumps(said)) == said


def test_a_count_adds_up_over_resources() -> None:
    report = a_report()
    assert (report.count(Flag.SPIKE), report.count(Flag.NEGATIVE)) == (8, 0)


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_reads_after_a_number(flag: Flag) -> None:
    sentence = FlagCount(flag=flag, count=3, rows=(2,)).sentence
    assert sentence.startswith(f"{flag.treatment}: 3 — ")
    assert sentence.endswith(".")
    assert flag.sentence[0].islower()


def test_the_page_on_feeds_explains_every_flag() -> None:
    page = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")
    assert [flag for flag in Flag if f"| `{flag}` |" not in page] == []
