"""The log's key is made once, kept from others' eyes, and never silently replaced."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sharewell.audit.keys import (
    PUBLIC_FILE,
    SECRET_FILE,
    KeyProblem,
    LogKey,
    load_or_create_key,
    load_or_create_keys,
    load_or_create_receipt_key,
    load_or_create_witness_key,
    load_vkey,
    rotate_keys,
)
from sharewell.domain.handover import HANDOVER, read_handover
from sharewell.domain.notes import MalformedNote, open_note, parse_vkey, sign_note

ORIGIN = "log.example/2026"


def test_the_first_start_makes_a_key_and_later_ones_find_it(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there" / "yet"
    first = load_or_create_key(home, ORIGIN)
    assert load_or_create_key(home, ORIGIN).vkey == first.vkey == load_vkey(home)
    assert sorted(file.name for file in home.iterdir()) == [SECRET_FILE, PUBLIC_FILE]


def test_only_its_owner_can_read_the_key(tmp_path: Path) -> None:
    load_or_create_key(tmp_path, ORIGIN)
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600


def test_a_key_that_everybody_can_read_is_not_used(tmp_path: Path) -> None:
    load_or_create_key(tmp_path, ORIGIN)
    (tmp_path / SECRET_FILE).chmod(0o644)
    with pytest.raises(KeyProblem, match="everyone"):
        load_or_create_key(tmp_path, ORIGIN)


def test_the_key_of_another_log_is_not_used(tmp_path: Path) -> None:
    load_or_create_key(tmp_path, ORIGIN)
    with pytest.raises(KeyProblem, match="SHAREWELL_LOG_ORIGIN"):
        load_or_create_key(tmp_path, "log.example/2027")


def test_a_damaged_key_is_named_and_neither_shown_nor_replaced(tmp_path: Path) -> None:
    load_or_create_key(tmp_path, ORIGIN)
    secret = (tmp_path / SECRET_FILE).read_text()
    damaged = secret.replace("PRIVATE", "PRIWATE")
    (tmp_path / SECRET_FILE).write_text(damaged)
    with pytest.raises(KeyProblem, match="backup") as refused:
        load_or_create_key(tmp_path, ORIGIN)
    assert secret.strip().rpartition("+")[2] not in str(refused.value)
    assert (tmp_path / SECRET_FILE).read_text() == damaged


def test_before_the_first_start_there_is_no_key_to_hand_out(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="no key yet"):
        load_vkey(tmp_path)


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sharewell.audit.keys import load_or_create_key;"
        "print(load_or_create_key(Path(sys.argv[1]), 'log.example/2026').vkey)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate()[0] for process in running}
    assert answers == {load_vkey(tmp_path) + "\n"}


def test_the_key_is_written_as_go_writes_it_and_does_not_show_in_a_log(tmp_path: Path) -> None:
    key = LogKey.from_seed(ORIGIN, bytes(range(32)))
    assert LogKey.parse(key.secret_text()).vkey == key.vkey
    assert key.secret_text().rpartition("+")[2] not in repr(key)
    text, _ = open_note(sign_note("hello\n", [key]), [parse_vkey(key.vkey)])
    assert text == "hello\n"


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_a_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    with pytest.raises(KeyProblem):
        LogKey.generate(name)


def test_a_signing_key_with_a_wrong_id_is_refused() -> None:
    text = LogKey.from_seed(ORIGIN, bytes(range(32))).secret_text()
    head, _, tail = text.rpartition("+")
    with pytest.raises(MalformedNote):
        LogKey.parse(f"{head[:-1]}{'0' if head[-1] != '0' else '1'}+{tail}")


# --- beside it: ML-DSA-44, log receipts, witness; and the keys that follow ------------------------------------------


def test_every_key_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    keys, receipt = load_or_create_keys(tmp_path, ORIGIN), load_or_create_receipt_key(tmp_path, ORIGIN)
    witness = load_or_create_witness_key(tmp_path, "node.example/witness")
    assert load_or_create_keys(tmp_path, ORIGIN).vkeys == keys.vkeys
    assert load_or_create_receipt_key(tmp_path, ORIGIN).vkey == receipt.vkey
    assert load_or_create_witness_key(tmp_path, "node.example/witness").key == witness.key
    assert [parse_vkey(key).kind for key in (*keys.vkeys, receipt.vkey, str(witness.key))] == [1, 6, 1, 4]
    secrets = list(tmp_path.glob("*.key"))
    assert len(secrets) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets} == {0o600}
    with pytest.raises(KeyProblem, match="signs for"):
        load_or_create_witness_key(tmp_path, "other.example/witness")


def test_a_note_that_names_no_key_hands_nothing_over() -> None:
    key = LogKey.generate(ORIGIN)
    note = sign_note(f"{ORIGIN}{HANDOVER}\n", [key])
    with pytest.raises(MalformedNote):
        read_handover(note, [key.key])


def test_the_old_key_names_the_new_ones_and_is_put_aside(tmp_path: Path) -> None:
    old, receipt = load_or_create_keys(tmp_path, ORIGIN), load_or_create_receipt_key(tmp_path, ORIGIN)
    new = rotate_keys(tmp_path, "log.example/2027")
    assert new.handover is not None
    assert read_handover(new.handover, [old.signer.key]) == new.vkeys
    assert load_or_create_keys(tmp_path, "log.example/2027").vkeys == new.vkeys
    retired = tmp_path / f"audit-log.key.retired-{old.signer.key.id:08x}"
    assert LogKey.parse(retired.read_text().strip()).vkey == old.signer.vkey
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert load_or_create_receipt_key(tmp_path, "log.example/2027").vkey != receipt.vkey
    kept = {file.read_text().strip() for file in tmp_path.glob("audit-log-receipt*.vkey")}
    assert receipt.vkey in kept, "old promises can still be checked"


def test_without_an_old_key_nothing_is_handed_over(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="no key to hand over"):
        rotate_keys(tmp_path, ORIGIN)
