"""A bundle convinces a stranger of one decision, and no longer does once any byte of it is changed."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

import sharewell.domain
from sharewell.audit.keys import LogKey
from sharewell.cli.main import app
from sharewell.domain import bundle as bundles
from sharewell.domain import canonical, ed25519, merkle
from sharewell.domain.audit import LARGEST_ENTRY, Decision, EntryTooLarge, NotADecision, format_time, parse_entry
from sharewell.domain.bundle import (
    Bundle,
    MalformedBundle,
    NotInLog,
    NotReadable,
    NotRepeatable,
    NotSigned,
    NotVerified,
    verify_bundle,
)
from sharewell.domain.checkpoint import Checkpoint, InclusionProof, parse_tlog_proof
from sharewell.domain.errors import Invalid
from sharewell.domain.notes import MalformedNote, sign_note
from sharewell.domain.recheck import Recheck

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
DECISION = Decision(
    id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    kind="offer.published",
    at=datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC),
    actor="marsupilami-clinic",
    institution=UUID(int=7),
    action="publishOffer",
    outcome="allowed",
    policy_set="ab" * 32,
    policies=("institutions-publish-their-own",),
    subject_kind="offer",
    subject_id="01890a5d-ac96-774b-bcce-b302099a8058",
    details={"quantity": 3, "resource": "ventilator", "note": "Überlauf – 满"},
    request_id="r-1",
    nonce="0123456789abcdef" * 2,
)


def a_bundle(entry: bytes = DECISION.entry(), *, index: int = 5, size: int = 11, **said: Any) -> Bundle:
    """The bundle of `entry` as number `index` of a log of `size`."""
    leaves = [merkle.hash_leaf(b"another entry %d" % n) for n in range(size)]
    leaves[index] = merkle.hash_leaf(entry)

    def read(nodes: Sequence[merkle.Node]) -> list[merkle.Hash]:
        return [merkle.fold(leaves[at << level : (at + 1) << level]) for level, at in nodes]

    path = tuple(merkle.prove_inclusion(index, size, read))
    head = Checkpoint(origin=KEY.key.name, size=size, root=merkle.fold(leaves))
    usual = Bundle(
        origin=KEY.key.name,
        entry=entry,
        proof=InclusionProof(index=index, path=path),
        checkpoint=sign_note(head.text(), [KEY]),
    )
    return replace(usual, **said)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (1, 2), (5, 11), (10, 11), (255, 257)])
def test_a_bundle_proves_its_decision(index: int, size: int) -> None:
    verified = verify_bundle(a_bundle(index=index, size=size).encode(), KEY.vkey)
    assert verified.decision == DECISION
    assert (verified.index, verified.checkpoint.size) == (index, size)
    assert len(verified.checks) == 4


def test_a_line_end_after_the_bundle_does_no_harm() -> None:
    verify_bundle(a_bundle().encode() + b"\n", KEY.vkey + "\n")


def test_its_proof_and_checkpoint_are_a_file_that_other_tools_read() -> None:
    bundle = a_bundle()
    assert parse_tlog_proof(bundle.tlog_proof()) == (bundle.proof, bundle.checkpoint)


# --- every byte counts --------------------------------------------------------------------------------------------


@pytest.fixture
def quick_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a signature once: the same key, text and signature give the same answer again."""
    monkeypatch.setattr(ed25519, "verify", functools.cache(ed25519.verify))


def attached() -> Bundle:
    body = json.dumps({"owners": [1, 2, 3]}).encode()
    sha256 = hashlib.sha256(body).hexdigest()
    decision = replace(DECISION, kind="plan.adopted", details={"instance_sha256": sha256})
    return a_bundle(decision.entry(), attachments={sha256: body})


RECHECKS = {"plan.adopted": Recheck(inputs=("instance_sha256",), check=lambda *_: "it holds")}


@pytest.mark.parametrize("make", [a_bundle, attached])
def test_a_bundle_with_any_one_bit_flipped_is_rejected(quick_signatures: None, make: Callable[[], Bundle]) -> None:
    good = make().encode() + b"\n"
    verify_bundle(good, KEY.vkey, RECHECKS)
    for at in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[at] ^= 1 << bit
            with pytest.raises(NotVerified):
                verify_bundle(bytes(changed), KEY.vkey, RECHECKS)


def test_a_bundle_with_any_one_byte_replaced_removed_or_added_is_rejected(quick_signatures: None) -> None:
    good, chance = a_bundle().encode(), random.Random(0)
    for at in range(len(good)):
        other = bytes([chance.choice([byte for byte in range(256) if byte != good[at]])])
        for changed in (good[:at] + other + good[at + 1 :], good[:at] + good[at + 1 :], good[:at] + other + good[at:]):
            with pytest.raises(NotVerified):
                verify_bundle(changed, KEY.vkey)


@pytest.mark.parametrize("part", ["entry", "proof", "checkpoint", "origin", "format"])
def test_a_part_changed_and_packed_anew_is_rejected(quick_signatures: None, part: str) -> None:
    """A forger who rewrites the file properly gets no further than one who flips a byte of it."""
    values = json.loads(a_bundle().encode())
    for at, letter in enumerate(values[part]):
        for other in {"A", "0", "\n", " ", chr(ord(letter) ^ 1)} - {letter, "\0"}:
            changed = values | {part: values[part][:at] + other + values[part][at + 1 :]}
            packed = json.dumps(changed, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
            with pytest.raises(NotVerified):
                verify_bundle(packed, KEY.vkey)


# --- each check fails under its own name --------------------------------------------------------------------------


def repack(bundle: Bundle, **changes: object) -> bytes:
    return json.dumps(
        json.loads(bundle.encode()) | changes, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()


OTHER = LogKey.from_seed("log.example/2026", bytes(32))
ELSEWHERE = LogKey.from_seed("log.example/2027", bytes(32))
HEAD = Checkpoint(origin=KEY.key.name, size=11, root=bytes(32))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", MalformedBundle),
        (b"[]", MalformedBundle),
        (b"\xff", MalformedBundle),
        (b"[" * 100_000, MalformedBundle),
        (a_bundle().encode() + b"\n\n", MalformedBundle),
        (json.dumps(json.loads(a_bundle().encode())).encode(), MalformedBundle),
        (repack(a_bundle(), more="x"), MalformedBundle),
        (repack(a_bundle(), entry=1), MalformedBundle),
        (repack(a_bundle(), attachments={}), MalformedBundle),
        (repack(a_bundle(), attachments=[]), MalformedBundle),
        (repack(a_bundle(), format="sharewell-bundle/v2"), MalformedBundle),
        (repack(a_bundle(), origin="log.example/2027"), NotSigned),
        (a_bundle(checkpoint=sign_note(HEAD.text(), [OTHER])).encode(), NotSigned),
        (a_bundle(checkpoint=sign_note(HEAD.text(), [KEY, ELSEWHERE])).encode(), NotSigned),
        (a_bundle(checkpoint=sign_note(HEAD.text(), [KEY, KEY])).encode(), NotSigned),
        (a_bundle(checkpoint=sign_note("no checkpoint\n", [KEY])).encode(), NotSigned),
        (a_bundle(checkpoint=b"").encode(), NotSigned),
        (a_bundle(checkpoint=sign_note(HEAD.text(), [KEY])).encode(), NotInLog),
        (a_bundle(proof=replace(a_bundle().proof, index=4)).encode(), NotInLog),
        (a_bundle(proof=replace(a_bundle().proof, index=11)).encode(), NotInLog),
        (a_bundle(proof=replace(a_bundle().proof, path=())).encode(), NotInLog),
        (a_bundle(entry=b"{}").encode(), NotReadable),
        (a_bundle(entry=b"no json").encode(), NotReadable),
        (a_bundle(entry=DECISION.entry() + b" ").encode(), NotReadable),
        (a_bundle(attachments={"ab" * 32: b"unasked for"}).encode(), NotRepeatable),
        (replace(attached(), attachments={}).encode(), NotRepeatable),
        (replace(attached(), attachments={next(iter(attached().attachments)): b"another"}).encode(), NotRepeatable),
    ],
)
def test_a_bundle_that_proves_nothing_is_rejected_by_the_check_it_fails(data: bytes, error: type[NotVerified]) -> None:
    with pytest.raises(NotVerified) as rejected:
        verify_bundle(data, KEY.vkey, RECHECKS)
    assert type(rejected.value) is error
    assert len(rejected.value.passed) == max(error.check - 1, 0)
    assert rejected.value.message


def test_bytes_of_the_proof_that_nothing_protects_are_refused() -> None:
    data = a_bundle(proof=replace(a_bundle().proof, extra=b"anything")).encode()
    with pytest.raises(NotVerified):
        verify_bundle(data, KEY.vkey)


def test_a_decision_that_does_not_follow_from_its_inputs_is_not_verified() -> None:
    def fails(*_: object) -> str:
        raise Invalid("the plan gives what nobody has")

    with pytest.raises(NotRepeatable, match="nobody has"):
        verify_bundle(
            attached().encode(), KEY.vkey, {"plan.adopted": Recheck(inputs=("instance_sha256",), check=fails)}
        )


@pytest.mark.parametrize("vkey", ["", "log.example/2026", KEY.vkey[:-1], KEY.vkey.replace("2026", "2027")])
def test_a_key_that_is_none_is_not_mistaken_for_a_bad_bundle(vkey: str) -> None:
    with pytest.raises(MalformedNote):
        verify_bundle(a_bundle().encode(), vkey)


# --- the decision -------------------------------------------------------------------------------------------------


def test_a_decision_is_read_back_from_its_bytes() -> None:
    assert parse_entry(DECISION.entry()) == DECISION


def test_the_same_moment_in_another_zone_is_written_the_same() -> None:
    elsewhere = replace(DECISION, at=DECISION.at.astimezone(timezone(timedelta(hours=-5))))
    assert elsewhere.entry() == DECISION.entry()


def test_whoever_decided_nothing_for_an_institution_has_none() -> None:
    decision = replace(DECISION, institution=None, policies=(), policy_set="")
    assert parse_entry(decision.entry()) == decision


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "Offer Published"),
        ("at", datetime(2026, 3, 1)),  # noqa: DTZ001 - the point
        ("outcome", "maybe"),
        ("policy_set", "abc"),
        ("nonce", "abc"),
        ("actor", ""),
        ("subject_kind", ""),
    ],
)
def test_a_decision_with_a_field_that_says_nothing_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        replace(DECISION, **{name: value})
    assert refused.value.field == name


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": True},
        {"more": 1},
        {"details": []},
        {"policies": [1]},
        {"policies": "all"},
        {"policies": None},
        {"institution": 7},
        {"institution": "7"},
        {"id": "01890A5D-AC96-774B-BCCE-B302099A8057"},
        {"id": None},
        {"at": "2026-03-01T12:30:15Z"},
        {"at": "2026-03-01T12:30:15.250000+00:00"},
        {"at": "2026-13-01T12:30:15.250000Z"},
        {"kind": 3},
        {"outcome": None},
        {"request_id": None},
    ],
)
def test_an_entry_in_any_other_form_is_refused(changes: dict[str, Any]) -> None:
    values = json.loads(DECISION.entry()) | changes
    with pytest.raises(NotADecision):
        parse_entry(canonical.encode(values))


def test_an_entry_without_one_of_its_keys_is_refused() -> None:
    values = json.loads(DECISION.entry())
    for name in values:
        with pytest.raises(NotADecision, match=name):
            parse_entry(canonical.encode({key: value for key, value in values.items() if key != name}))


def test_an_entry_that_is_too_large_says_what_to_do() -> None:
    room = LARGEST_ENTRY - len(replace(DECISION, details={"note": ""}).entry())
    assert len(replace(DECISION, details={"note": "x" * room}).entry()) == LARGEST_ENTRY
    with pytest.raises(EntryTooLarge, match="SHA-256"):
        replace(DECISION, details={"note": "x" * (room + 1)}).entry()


def test_early_years_are_written_with_four_digits() -> None:
    assert format_time(datetime(33, 4, 3, tzinfo=UTC)) == "0033-04-03T00:00:00.000000Z"


# --- as a stranger runs it ----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.json"
    path.write_bytes(a_bundle().encode() + b"\n")
    return path


@pytest.mark.parametrize("as_file", [False, True])
def test_the_command_says_what_held_and_ends_well(file: Path, tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "key").write_text(KEY.vkey + "\n")
    done = CliRunner().invoke(app, ["verify", str(file), "--key", str(tmp_path / "key") if as_file else KEY.vkey])
    assert done.exit_code == 0, done.output
    assert [line[:3] for line in done.stdout.splitlines()] == ["(1)", "(2)", "(3)", "(4)", "VER"]
    assert "marsupilami-clinic allowed to publishOffer" in done.stdout


def test_the_command_reads_from_a_pipe_and_answers_programs(file: Path) -> None:
    done = CliRunner().invoke(app, ["verify", "-", "--key", KEY.vkey, "--json"], input=file.read_bytes())
    answer = json.loads(done.stdout)
    assert (answer["verified"], answer["index"], answer["entry"]["nonce"]) == (True, 5, DECISION.nonce)


def test_the_command_names_the_check_that_failed(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"ventilator", b"ventilates"))
    done = CliRunner().invoke(app, ["verify", str(file), "--key", KEY.vkey])
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].startswith("(2) failed")
    told = CliRunner().invoke(app, ["verify", str(file), "--key", KEY.vkey, "--json"])
    assert told.exit_code == 1
    assert json.loads(told.stdout) | {"message": ""} == {
        "verified": False,
        "evidence": False,
        "failed_check": 2,
        "error": "NotInLog",
        "message": "",
        "notes": [],
        "passed": ["the checkpoint of 11 entries is signed by log.example/2026"],
    }


@pytest.mark.parametrize("arguments", [["nothing.json", "--key", KEY.vkey], ["{file}", "--key", "nothing"]])
def test_the_command_tells_wrong_use_from_a_bad_bundle(file: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["verify", *(argument.format(file=file) for argument in arguments)])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.fixture
def domain_alone(tmp_path: Path) -> Path:
    """A folder that holds the domain package and nothing else of ours."""
    folder = tmp_path / "stranger"
    source = Path(sharewell.domain.__file__).parent
    shutil.copytree(source, folder / "sharewell" / "domain", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_stranger_needs_only_the_domain_package_and_a_bare_python(domain_alone: Path, file: Path) -> None:
    # -I: no environment, no user packages; -S: no site-packages at all.
    program = (
        "import runpy, sys; sys.path.insert(0, '.'); runpy.run_module('sharewell.domain.bundle', run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", program, str(file), "--key", KEY.vkey]
    done = subprocess.run(command, check=False, cwd=domain_alone, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "VERIFIED"
    file.write_bytes(file.read_bytes().replace(b"ventilator", b"ventilates"))
    assert subprocess.run(command, check=False, cwd=domain_alone, capture_output=True).returncode == 1


def test_the_documented_command_works_in_the_copied_folder(domain_alone: Path, file: Path) -> None:
    command = [sys.executable, "-S", "-m", "sharewell.domain.bundle", str(file), "--key", KEY.vkey]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, check=False, cwd=domain_alone, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_plain_program_reports_and_exits_like_the_command(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundles.main([str(file), "--key", KEY.vkey]) == 0
    file.write_bytes(b"{}")
    assert bundles.main([str(file), "--key", KEY.vkey]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "NOT VERIFIED"
    with pytest.raises(SystemExit) as ended:
        bundles.main([str(file), "--key", "nothing"])
    assert ended.value.code == 2
