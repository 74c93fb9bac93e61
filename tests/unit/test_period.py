"""A file of a period convinces a stranger of all its entries, and no longer does once any bit of it is changed."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

import sharewell.domain
from sharewell.audit.keys import LogKey
from sharewell.authz import shipped_policies
from sharewell.domain.audit import Decision
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import fold, hash_leaf
from sharewell.domain.notes import sign_note
from sharewell.domain.period import Period, PeriodNotVerified, read_period, verify_period
from sharewell.domain.policy import policy_set_hash, policy_set_list
from sharewell.domain.ranges import nodes_of_range

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = {name: data for name, data in shipped_policies().items() if name in ("audit.cedar", "offers.cedar")}


def a_decision(number: int) -> Decision:
    return Decision(
        id=UUID(int=number), kind="offer.published", at=NOON + timedelta(minutes=number), actor="clinic",
        institution=UUID(int=7), action="publishOffer", outcome="allowed", policy_set=policy_set_hash(FILES),
        policies=("own",), subject_kind="offer", subject_id=str(number), request_id="r", nonce=f"{number:032x}",
    )  # fmt: skip


def a_period(first: int, end: int, size: int, entries: Sequence[bytes] = ()) -> Period:
    whole = entries or [a_decision(n).entry() for n in range(size)]
    leaves = [hash_leaf(entry) for entry in whole]
    note = Checkpoint(origin="log.example/2026", size=size, root=fold(leaves))
    kept = {hashlib.sha256(data).hexdigest(): data for data in (policy_set_list(FILES), *FILES.values())}
    return Period(
        origin="log.example/2026", since=NOON + timedelta(minutes=first), until=NOON + timedelta(minutes=end),
        first=first, entries=tuple(whole[first:end]), checkpoint=sign_note(note.text(), [KEY]), keys=(KEY.vkey,),
        proof=tuple(fold(leaves[i << level : (i + 1) << level]) for level, i in nodes_of_range(first, end, size)),
        policies=kept,
    )  # fmt: skip


def is_verified(data: bytes, folder: Path) -> bool:
    file = folder / "period.zip"
    file.write_bytes(data)
    try:
        verify_period(read_period(file), KEY.vkey)
    except (PeriodNotVerified, Invalid):
        return False
    return True


def test_a_period_says_what_holds_of_it_and_is_the_same_bytes_each_time() -> None:
    period = a_period(3, 9, 11)
    assert period.encode() == a_period(3, 9, 11).encode()
    found = verify_period(period, KEY.vkey)
    assert found.checks[1:3] == (
        "these are its entries 3 to 8, all of them, unchanged",
        (
            "each is a decision; 6 were made from 2026-03-01T12:03:00.000000Z on and before "
            "2026-03-01T12:09:00.000000Z, 0 stand in between"
        ),
    )
    assert [decision.id.int for decision in found.decisions] == list(range(3, 9))


def test_every_byte_of_the_file_counts(tmp_path: Path) -> None:
    whole, numbers = a_period(1, 3, 4).encode(), random.Random(7)
    assert is_verified(whole, tmp_path)
    places = numbers.sample(range(len(whole)), 2500)
    missed = []
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << numbers.randrange(8)
        if is_verified(bytes(changed), tmp_path):
            missed.append(place)
    assert missed == []
    assert not is_verified(whole[:-1], tmp_path)
    assert not is_verified(whole + b"\n", tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, entries=p.entries[:-1]),
        lambda p: replace(p, entries=(p.entries[0], *p.entries[2:])),
        lambda p: replace(p, entries=(*p.entries, a_decision(9).entry())),
        lambda p: replace(p, entries=(p.entries[0].replace(b"clinic", b"clinix"), *p.entries[1:])),
        lambda p: replace(p, first=p.first - 1),
        lambda p: replace(p, proof=p.proof[:-1]),
        lambda p: replace(p, origin="other.example/2026"),
        lambda p: replace(p, keys=()),
        lambda p: replace(p, policies={**p.policies, hashlib.sha256(b"x").hexdigest(): b"x"}),
        lambda p: replace(p, policies=dict(list(p.policies.items())[:-1])),
        lambda p: replace(p, policies={name: data + b"\n" for name, data in p.policies.items()}),
    ],
)
def test_what_is_left_out_put_in_or_changed_is_told(change: object) -> None:
    with pytest.raises(PeriodNotVerified):
        verify_period(change(a_period(3, 9, 11)), KEY.vkey)  # type: ignore[operator]


def test_another_logs_key_or_signature_is_refused() -> None:
    other = LogKey.from_seed("log.example/2026", bytes(32))
    period = a_period(3, 9, 11)
    with pytest.raises(PeriodNotVerified, match="no signature by a key of the trust policy"):
        verify_period(period, other.vkey)
    with pytest.raises(PeriodNotVerified, match="does not list the key"):
        verify_period(replace(period, keys=(other.vkey,)), KEY.vkey)


def test_a_checkpoint_carries_no_line_that_the_reader_cannot_check() -> None:
    period, witness = a_period(3, 9, 11), LogKey.from_seed("witness.example", bytes(32))
    text = period.checkpoint.decode().partition("\n\n")[0] + "\n"
    with pytest.raises(PeriodNotVerified, match="also signed by"):
        verify_period(replace(period, checkpoint=sign_note(text, [witness, KEY])), KEY.vkey)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as again:
        for name, data in a_period(3, 9, 11).files().items():
            again.writestr(name, data)
    for data in (packed.getvalue(), b"PK", b"", b"{}"):
        assert not is_verified(data, tmp_path)
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as empty:
        empty.writestr("README.md", "nothing")
    assert not is_verified(packed.getvalue(), tmp_path)


def test_a_machine_with_nothing_but_python_can_check_it(tmp_path: Path) -> None:
    shutil.copytree(Path(sharewell.domain.__file__).parent, tmp_path / "sharewell" / "domain")
    (tmp_path / "period.zip").write_bytes(a_period(3, 9, 11).encode())
    program = (
        "import sys; sys.path.insert(0, '.'); from sharewell.domain.verify import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-I", "-S", "-c", program, "period.zip", "--key"]
    for key, status in ((KEY.vkey, 0), (LogKey.from_seed("log.example/2026", bytes(32)).vkey, 1)):
        done = subprocess.run([*command, key], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == status, done.stderr
        assert done.stdout.endswith("NOT VERIFIED\n" if status else "\nVERIFIED\n")
