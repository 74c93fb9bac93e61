"""A whole log is worked out again from its files; whatever does not fit is named by file and index."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pytest
from tests.unit.audit.conftest import LOG, ONE, ORIGIN, POLICY, QUANTUM, MadeLog, a_log, entry, sign

from sharewell.audit.keys import LogKey
from sharewell.audit.signers import mldsa44_verify
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.exported_log import (
    LogMisbehaved,
    LogNotVerified,
    VerifiedLog,
    open_log,
    open_remembered,
    verify_log,
)
from sharewell.domain.merkle import Hash, hash_leaf, root_hash
from sharewell.domain.tiles import entry_bundle
from sharewell.domain.trust import NoTrustedLog, QuorumNotMet, TrustedLog, TrustPolicy, trust_keys

SIZES = [0, 1, 2, 255, 256, 257, 700]


def check(
    log: MadeLog,
    other: Mapping[str, bytes | None] | None = None,
    *,
    remembered: Sequence[bytes] = (),
    wanted: Collection[Hash] = (),
    policy: TrustPolicy = POLICY,
) -> VerifiedLog:
    files = dict(log.files) | dict(other or {})
    there = {path: data for path, data in files.items() if data is not None}
    now = open_log(there.get, policy, mldsa44_verify).checkpoint
    older = [open_remembered(note, now, policy, mldsa44_verify) for note in remembered]
    return verify_log(there.get, now, remembered=older, wanted=wanted, paths=list(there))


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("size", SIZES)
def test_a_log_as_it_was_made_verifies(size: int) -> None:
    trusted = open_log(a_log(size).files.get, POLICY, mldsa44_verify)
    assert trusted.checkpoint.size == size
    assert [key.kind for key in trusted.signed_by] == [1, 6]
    assert [name for name, _ in trusted.cosigned_by] == ["one", "two"]
    found = check(a_log(size))
    assert found.entries_read
    assert found.beyond == 0


@pytest.mark.parametrize("size", SIZES)
def test_an_export_of_hashes_alone_verifies_and_says_so(size: int) -> None:
    hidden = {path: None for path in a_log(size).files if "entries" in path}
    assert check(a_log(size), dict(hidden)).entries_read is (size == 0)


@pytest.mark.parametrize(
    ("path", "at", "message"),
    [
        ("tile/entries/001", 2 + 30, "Entry 256 in tile/entries/001 does not have the hash that tile/0/001 gives it"),
        ("tile/entries/002.p/188", -1, "Entry 699 in tile/entries/002.p/188"),
        ("tile/entries/000", 0, "The file tile/entries/000 has 167 entries instead of 256"),
        ("tile/entries/002.p/188", 0, "tile/entries/002.p/188: The file ends within its entry"),
        ("tile/0/001", 32 * 5, "Entry 261 in tile/entries/001"),
        ("tile/1/000.p/2", 32, "Hash 1 of tile/1/000.p/2 is not the head of tile/0/001"),
    ],
)
def test_a_changed_byte_is_named_by_file_and_index(path: str, at: int, message: str) -> None:
    log = a_log(700)
    data = log.files[path]
    with pytest.raises(LogNotVerified) as rejected:
        check(log, {path: changed(data, at % len(data))})
    assert message in rejected.value.message


def test_a_changed_hash_is_noticed_without_entries_too() -> None:
    log = a_log(700)
    hidden: dict[str, bytes | None] = {path: None for path in log.files if "entries" in path}
    with pytest.raises(LogNotVerified, match=r"Hash 0 of tile/1/000.p/2 is not the head of tile/0/000"):
        check(log, hidden | {"tile/0/000": changed(log.files["tile/0/000"], 0)})
    with pytest.raises(LogNotVerified, match="not the head that is signed"):
        check(log, hidden | {"tile/0/002.p/188": changed(log.files["tile/0/002.p/188"], 0)})


@pytest.mark.parametrize("path", ["tile/entries/001", "tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2", "checkpoint"])
def test_a_missing_file_is_named(path: str) -> None:
    with pytest.raises(LogNotVerified, match=path):
        check(a_log(700), {path: None})


def test_entries_do_not_stop_counting_because_the_first_of_them_are_gone() -> None:
    with pytest.raises(LogNotVerified, match=r"tile/entries/000 is missing"):
        check(a_log(700), {"tile/entries/000": None})


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("tile/0/000", b"x"),
        ("tile/0/000", a_log(700).files["tile/0/000"] + bytes(32)),
        ("tile/entries/002.p/188", entry_bundle([b"one"])),
        ("tile/entries/002.p/188", entry_bundle([*a_log(700).entries[512:], *[b""] * 68])),
        ("tile/0/0", b""),
        ("tile/entries/note.txt", b""),
    ],
)
def test_a_file_of_the_wrong_shape_is_named(path: str, data: bytes) -> None:
    with pytest.raises(LogNotVerified, match=path):
        check(a_log(700), {path: data})


def test_narrower_tiles_of_earlier_trees_must_be_how_the_later_ones_begin() -> None:
    older: dict[str, bytes | None] = {p: d for p, d in a_log(520).files.items() if ".p/" in p or p.startswith("tile/1")}
    assert check(a_log(700), older).entries_read
    for path in ("tile/0/002.p/8", "tile/entries/002.p/8"):
        data = older[path]
        assert data is not None
        for bad in (changed(data, len(data) - 1), data[:-1], b""):
            with pytest.raises(LogNotVerified, match=f"{path}, of an earlier tree"):
                check(a_log(700), older | {path: bad})


def test_a_full_tile_stands_for_the_partial_one_that_it_replaced() -> None:
    log, later = a_log(700), a_log(1_024)
    files: dict[str, bytes | None] = {p: d for p, d in later.files.items() if p.startswith("tile/")}
    gone = {path: None for path in log.files if ".p/" in path and path.startswith("tile/0")}
    found = check(log, files | gone)
    assert found.beyond > 0


def test_a_head_that_is_signed_but_not_that_of_the_tiles_is_refused() -> None:
    forged = sign(Checkpoint(origin=ORIGIN, size=700, root=bytes(32)), *[ONE])
    with pytest.raises(LogNotVerified, match="not the head that is signed for 700 entries"):
        check(a_log(700), {"checkpoint": forged}, policy=replace(POLICY, quorum="one"))


def test_a_checkpoint_without_its_quorum_or_with_a_strangers_line_is_refused() -> None:
    with pytest.raises(QuorumNotMet):
        check(a_log(7, ONE))
    with pytest.raises(NoTrustedLog, match="also signed by"):
        check(a_log(7), policy=trust_keys([LOG.key]))


def test_it_must_extend_every_checkpoint_that_is_remembered() -> None:
    older = [a_log(size).checkpoint for size in (1, 256, 300, 699, 700)]
    assert check(a_log(700), remembered=older).entries_read


@pytest.mark.parametrize("size", [1, 256, 300, 700])
def test_a_rewritten_log_is_evidence_in_the_hands_of_who_remembers(size: int) -> None:
    entries = [b"as it was", *a_log(size).entries[1:]]
    remembered = sign(Checkpoint(origin=ORIGIN, size=size, root=root_hash(entries)))
    with pytest.raises(LogMisbehaved, match=f"another head for its first {size} entries"):
        check(a_log(700), remembered=[remembered])


def test_a_shorter_log_than_remembered_is_an_older_copy_or_rolled_back() -> None:
    with pytest.raises(LogNotVerified, match="older than what you remember, or the log was rolled back") as rejected:
        check(a_log(256), remembered=[a_log(700).checkpoint])
    assert not isinstance(rejected.value, LogMisbehaved)


def test_a_remembered_checkpoint_counts_only_if_this_log_signed_it() -> None:
    stranger = LogKey.from_seed(ORIGIN, bytes(32))
    head = Checkpoint(origin=ORIGIN, size=7, root=bytes(32))
    with pytest.raises(NoTrustedLog):
        check(a_log(700), remembered=[sign(head, by=stranger)])
    next_year = LogKey.from_seed("log.example/2027", bytes(32))
    both = replace(POLICY, logs=(*POLICY.logs, TrustedLog(key=next_year.key)))
    other = sign(replace(head, origin="log.example/2027"), by=next_year)
    with pytest.raises(LogNotVerified, match=r"of the log log\.example/2027"):
        check(a_log(700), remembered=[other], policy=both)


def test_leaf_hashes_are_found_at_their_index() -> None:
    wanted = {hash_leaf(entry(number)) for number in (0, 255, 256, 699, 700)}
    found = check(a_log(700), wanted=wanted).found
    assert sorted(found.values()) == [0, 255, 256, 699]
    assert found[hash_leaf(entry(256))] == 256


def test_without_a_library_the_post_quantum_line_is_named_as_unchecked() -> None:
    assert open_log(a_log(7).files.get, POLICY).unchecked == (QUANTUM.key.name,)
