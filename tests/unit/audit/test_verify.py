"""`sharewell verify` tells in plain words, and by its exit status, what the files of the log prove."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.audit.conftest import (
    LOG,
    NOON,
    ONE,
    ORIGIN,
    POLICY,
    QUANTUM,
    RECEIPTS,
    TWO,
    MadeLog,
    a_log,
    a_receipt,
    entry,
    sign,
)
from typer.testing import CliRunner, Result

import sharewell.domain
from sharewell.audit.keys import LogKey
from sharewell.audit.signers import Cosigner
from sharewell.cli.main import app
from sharewell.domain import verify as bare
from sharewell.domain.bundle import Bundle
from sharewell.domain.checkpoint import Checkpoint, InclusionProof, format_tlog_proof
from sharewell.domain.merkle import root_hash
from sharewell.domain.notes import sign_note
from sharewell.domain.tiles import build_tiles
from sharewell.domain.trust import TrustedLog

LATER = NOON + 3600


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return a_log(700).write(tmp_path / "log")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "trusted"
    path.write_text(POLICY.text())
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- a whole log --------------------------------------------------------------------------------------------------


def test_a_folder_verifies_under_its_own_keys_and_warns_of_that(folder: Path) -> None:
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"(1) the checkpoint of 700 entries is signed by {ORIGIN}, cosigned by one, two",
        "(2) every entry has the hash its tile gives it",
        "(3) every tile fits the ones below it, and all lead to the head that is signed",
        "note: the keys were taken from the folder itself; compare them with keys you got another way",
        "VERIFIED",
    ]


def test_a_folder_verifies_under_keys_of_your_own(folder: Path, policy: Path) -> None:
    (folder / "README.txt").write_text("how to verify")
    answer = json.loads(run(folder, "--policy", policy, "--json").stdout)
    assert (answer["verified"], answer["size"], answer["entries"]) == (True, 700, True)
    assert answer["notes"] == ["not looked at: README.txt"]


def test_a_changed_tile_is_named(folder: Path) -> None:
    path = folder / "tile/0/001"
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    done = run(folder)
    assert done.exit_code == 1
    assert "(2) failed: Entry 256 in tile/entries/001 does not have the hash" in done.stdout
    assert done.stdout.splitlines()[-1] == "NOT VERIFIED"


def test_an_export_of_hash_tiles_alone_verifies_and_says_that_entries_are_missing(folder: Path) -> None:
    shutil.rmtree(folder / "tile" / "entries")
    done = run(folder)
    assert done.exit_code == 0
    assert "(2) no entries came along: hashes only" in done.stdout


def test_a_remembered_checkpoint_is_extended_or_there_is_evidence(folder: Path, tmp_path: Path) -> None:
    seen = written(tmp_path / "seen", a_log(300).checkpoint)
    done = run(folder, "--remembered", seen)
    assert done.exit_code == 0
    assert "(4) it extends the checkpoint of 300 entries that you remember" in done.stdout
    other = sign(Checkpoint(origin=ORIGIN, size=300, root=root_hash([b"another"] * 300)))
    rewritten = run(folder, "--remembered", written(tmp_path / "other", other))
    assert rewritten.exit_code == 3
    assert rewritten.stdout.splitlines()[-1].startswith("EVIDENCE OF MISBEHAVIOUR")
    assert json.loads(run(folder, "--remembered", tmp_path / "other", "--json").stdout)["evidence"] is True
    shorter = run(
        a_log(256).write(tmp_path / "short"), "--remembered", written(tmp_path / "long", a_log(700).checkpoint)
    )
    assert shorter.exit_code == 1


# --- log receipts -------------------------------------------------------------------------------------------------


def test_a_promise_that_was_kept_is_shown_by_the_log_a_bundle_or_a_proof(
    folder: Path, policy: Path, tmp_path: Path
) -> None:
    receipt = written(tmp_path / "receipt", a_receipt(entry(256)))
    bundle = a_log(700).bundle(256)
    by_bundle = ["--proof", written(tmp_path / "bundle.json", bundle.encode())]
    by_proof = ["--proof", written(tmp_path / "x.tlog-proof", bundle.tlog_proof())]
    for given in (["--log", folder], by_bundle, by_proof):
        done = run(receipt, "--policy", policy, *given)
        assert done.exit_code == 0, done.output
        assert "the promise was kept: it is entry 256 of 700" in done.stdout


def test_a_log_receipt_alone_shows_a_promise_and_says_that_no_more_was_looked_at(policy: Path, tmp_path: Path) -> None:
    done = run(written(tmp_path / "receipt", a_receipt(entry(256))), "--policy", policy)
    assert done.exit_code == 0
    assert "by 2026-03-01T12:00:00Z" in done.stdout
    assert "note: whether the promise was kept was not looked at" in done.stdout


def test_a_promise_whose_time_has_passed_is_evidence_against_the_log(
    folder: Path, policy: Path, tmp_path: Path
) -> None:
    receipt = written(tmp_path / "receipt", a_receipt(entry(9_999)))
    done = run(receipt, "--policy", policy, "--log", folder, "--at", "2026-03-01T13:00:00Z")
    assert done.exit_code == 3
    assert "The log promised to hold the entry by 2026-03-01T12:00:00Z" in done.stdout
    assert "(cosigned 2026-03-01T12:00:00Z)" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("EVIDENCE OF MISBEHAVIOUR")
    assert run(receipt, "--policy", policy, "--log", folder).exit_code == 3  # the clock is past it too


def test_hash_tiles_alone_are_enough_to_show_a_broken_promise(folder: Path, policy: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "tile" / "entries")
    receipt = written(tmp_path / "receipt", a_receipt(entry(9_999)))
    assert run(receipt, "--policy", policy, "--log", folder, "--at", LATER).exit_code == 3


def test_a_promise_whose_time_is_to_come_or_a_copy_from_before_it_is_no_evidence(
    folder: Path, policy: Path, tmp_path: Path
) -> None:
    early = written(tmp_path / "early", a_receipt(entry(9_999)))
    done = run(early, "--policy", policy, "--log", folder, "--at", NOON)
    assert (done.exit_code, "need not be before" in done.stdout) == (1, True)
    late = written(tmp_path / "late", a_receipt(entry(9_999), merge_by=NOON + 60))
    done = run(late, "--policy", policy, "--log", folder, "--at", LATER)
    assert (done.exit_code, "Fetch the log again" in done.stdout) == (1, True)


def test_without_witnesses_the_holder_must_know_when_the_log_was_fetched(tmp_path: Path) -> None:
    head = Checkpoint(origin=ORIGIN, size=7, root=root_hash([entry(n) for n in range(7)]))
    made = MadeLog(a_log(7).entries, dict(a_log(7).files) | {"checkpoint": sign_note(head.text(), [LOG])})
    receipt = written(tmp_path / "receipt", a_receipt(entry(9_999)))
    keys = ["--key", LOG.vkey, "--key", RECEIPTS.vkey]
    done = run(receipt, *keys, "--log", made.write(tmp_path / "log"), "--at", LATER)
    assert (done.exit_code, "counts if you fetched it after that time" in done.stdout) == (3, True)


def test_a_damaged_log_is_no_evidence_of_a_broken_promise(folder: Path, policy: Path, tmp_path: Path) -> None:
    path = folder / "tile/0/001"
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    receipt = written(tmp_path / "receipt", a_receipt(entry(256)))
    assert run(receipt, "--policy", policy, "--log", folder, "--at", LATER).exit_code == 1


def test_the_log_of_another_year_does_not_answer_for_a_promise(policy: Path, tmp_path: Path) -> None:
    log, made = a_year("log.example/2027")
    trusted = replace(POLICY, logs=(*POLICY.logs, TrustedLog(key=log.key)), quorum="none")
    policy.write_text(trusted.text())
    receipt = written(tmp_path / "receipt", a_receipt(entry(9_999)))
    done = run(receipt, "--policy", policy, "--log", made.write(tmp_path / "other"), "--at", LATER)
    assert (done.exit_code, "this is log.example/2027" in done.stdout) == (1, True)


# --- bundles and proofs -------------------------------------------------------------------------------------------


def test_a_bundle_verifies_under_a_policy_with_its_quorum(policy: Path, tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle.json", a_log(700).bundle(3).encode())
    done = run(bundle, "--policy", policy)
    assert done.exit_code == 0
    assert "cosigned by one, two" in done.stdout.splitlines()[0]
    alone = written(
        tmp_path / "alone.json", replace(a_log(700).bundle(3), checkpoint=a_log(700, ONE).checkpoint).encode()
    )
    assert run(alone, "--policy", policy).exit_code == 1


def test_a_proof_verifies_with_the_bytes_it_is_for(policy: Path, tmp_path: Path) -> None:
    proof = written(tmp_path / "x.tlog-proof", a_log(700).bundle(3).tlog_proof())
    right, wrong = written(tmp_path / "3.json", entry(3)), written(tmp_path / "4.json", entry(4))
    assert run(proof, "--policy", policy, "--entry", right).exit_code == 0
    assert run(proof, "--policy", policy, "--entry", wrong).exit_code == 1
    assert run(proof, "--policy", policy).exit_code == 2
    with_extra = InclusionProof(index=3, path=a_log(700).path_of(3), extra=b"anything")
    written(proof, format_tlog_proof(with_extra, a_log(700).checkpoint))
    assert run(proof, "--policy", policy, "--entry", right).exit_code == 1


# --- old evidence -------------------------------------------------------------------------------------------------


def a_year(origin: str, *keys: LogKey) -> tuple[LogKey, MadeLog]:
    """A log of its own, whose key is made from its name."""
    key = keys[0] if keys else LogKey.from_seed(origin, origin.encode().ljust(32, b"."))
    entries = [entry(number) for number in range(3)]
    head = Checkpoint(origin=origin, size=3, root=root_hash(entries))
    return key, MadeLog(entries, build_tiles(entries) | {"checkpoint": sign(head, ONE, by=key)})


def test_evidence_of_past_years_and_of_keys_since_replaced_verifies_under_one_policy(
    policy: Path, tmp_path: Path
) -> None:
    rotated = LogKey.from_seed("log.example/2025", bytes(32))
    years = [a_year("log.example/2024"), a_year("log.example/2025"), a_year("log.example/2025", rotated)]
    logs = tuple(TrustedLog(key=key.key) for key, _ in years)
    policy.write_text(replace(POLICY, logs=logs, quorum="one").text())
    for number, (key, made) in enumerate(years):
        folder = made.write(tmp_path / f"{number}")
        assert run(folder, "--policy", policy).exit_code == 0
        bundle = Bundle(
            origin=key.key.name,
            entry=made.entries[1],
            proof=InclusionProof(index=1, path=made.path_of(1)),
            checkpoint=made.checkpoint,
        )
        file = written(tmp_path / f"{number}.json", bundle.encode())
        assert run(file, "--policy", policy).exit_code == 0
        policy_without = tmp_path / "without"
        others = tuple(log for log in logs if log.key != key.key)
        policy_without.write_text(replace(POLICY, logs=others, quorum="one").text())
        assert run(folder, "--policy", policy_without).exit_code == 1
        assert run(file, "--policy", policy_without).exit_code == 1


# --- wrong use, and bare Python -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["{folder}", "--policy", "nothing"],
        ["{folder}", "--policy", "{folder}/checkpoint"],
        ["{folder}", "--policy", "{folder}/policy", "--key", LOG.vkey],
        ["{folder}/checkpoint"],
        ["{folder}/checkpoint", "--key", LOG.vkey, "--remembered", "{folder}/checkpoint"],
        ["{folder}", "--remembered", "nothing"],
        ["{folder}", "--at", "tomorrow"],
        ["{folder}", "--key", str(ONE.key)],
        ["{folder}/tile"],
    ],
)
def test_what_cannot_be_asked_is_told_apart_from_what_does_not_hold(folder: Path, arguments: list[str]) -> None:
    done = run(*(argument.format(folder=folder) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output


def bare_python(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command: Sequence[str] = [sys.executable, "-S", "-m", "sharewell.domain.verify", *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=home, capture_output=True, text=True, env=environment)


def test_a_bare_python_with_the_domain_package_alone_verifies_a_log_and_a_log_receipt(
    folder: Path, policy: Path, tmp_path: Path
) -> None:
    home = tmp_path / "stranger"
    source = Path(sharewell.domain.__file__).parent
    shutil.copytree(source, home / "sharewell" / "domain", ignore=shutil.ignore_patterns("__pycache__"))
    whole = bare_python(home, folder, "--policy", policy)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert f"not checked here: the ML-DSA-44 signature of {ORIGIN}" in whole.stdout
    receipt = written(tmp_path / "receipt", a_receipt(entry(9_999)))
    broken = bare_python(home, receipt, "--policy", policy, "--log", folder, "--at", LATER)
    assert (broken.returncode, broken.stderr) == (3, "")
    assert bare_python(home, receipt, "--policy", policy, "--log", folder).returncode == 2


def test_the_plain_program_exits_like_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.main([str(folder), "--key", LOG.vkey, "--key", str(QUANTUM.key)]) == 1  # the witnesses are strangers
    assert bare.main([str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "VERIFIED"
    with pytest.raises(SystemExit) as ended:
        bare.main([str(folder), "--at", "never"])
    assert ended.value.code == 2


def test_one_witness_more_or_less_changes_only_what_the_quorum_says(tmp_path: Path) -> None:
    stranger = Cosigner.from_seed("witness.example/3", ONE.key.kind, bytes([3] * 32))
    for cosigners, expected in (([ONE, TWO], 0), ([ONE], 1), ([ONE, TWO, stranger], 1)):
        folder = a_log(7, *cosigners).write(tmp_path / f"{len(cosigners)}")
        assert run(folder).exit_code == expected
