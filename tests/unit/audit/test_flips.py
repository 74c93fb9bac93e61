"""Both verifiers notice every single flipped bit of a log, a bundle, a period and a log receipt."""

from __future__ import annotations

import functools
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.unit.audit.conftest import ONE, POLICY, TWO, MadeLog, a_log, a_receipt, entry
from tests.unit.test_period import KEY, a_period

import sharewell.audit
from sharewell.audit.signers import mldsa44_verify
from sharewell.domain import ed25519, exported_log, merkle, tiles
from sharewell.domain.bundle import verify_bundle
from sharewell.domain.errors import Invalid
from sharewell.domain.exported_log import open_log, verify_log
from sharewell.domain.log_receipt import open_log_receipt
from sharewell.domain.merkle import Hash
from sharewell.domain.notes import parse_vkey
from sharewell.domain.period import read_period, verify_period
from sharewell.domain.trust import trust_keys

MODULE = Path(sharewell.audit.__file__).with_name("verify.mjs")
FLIPS = 10_000


@functools.lru_cache(4_096)
def _quick_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """What `ed25519.verify` answers (the published vectors hold it to that), a hundred times as fast."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


_quick_mldsa44 = functools.lru_cache(64)(mldsa44_verify)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pure functions, each asked once for the same bytes."""
    monkeypatch.setattr(ed25519, "verify", _quick_verify)
    monkeypatch.setattr(exported_log, "hash_entries", functools.lru_cache(64)(exported_log.hash_entries))
    plain = functools.lru_cache(256)(_fold_joined)
    monkeypatch.setattr(tiles, "fold", lambda hashes: plain(b"".join(hashes)))


def _fold_joined(hashes: bytes) -> Hash:
    return merkle.fold([hashes[at : at + 32] for at in range(0, len(hashes), 32)])


def every_bit(data: bytes) -> Iterator[bytes]:
    """`data` with each of its bits flipped; in a post-quantum line, three thousand letters long, one bit of each."""
    changed, chance, at = bytearray(data), random.Random(0), 0
    for line in data.splitlines(keepends=True):
        sparse = line.startswith("—".encode()) and len(line) > 3_000
        for _ in line:
            for bit in [chance.randrange(8)] if sparse else range(8):
                changed[at] ^= 1 << bit
                yield bytes(changed)
                changed[at] ^= 1 << bit
            at += 1


def is_refused(check: Callable[[], object]) -> bool:
    try:
        check()
    except Invalid:
        return True
    return False


def check_log(log: MadeLog, path: str, data: bytes) -> None:
    files = dict(log.files) | {path: data}
    verify_log(files.get, open_log(files.get, POLICY, _quick_mldsa44).checkpoint)


def test_every_bit_of_every_file_of_a_small_log_counts() -> None:
    log = a_log(3)
    for path, data in log.files.items():
        if path != "policy":  # it is what one trusts, and comes from elsewhere
            check_log(log, path, data)
            assert all(is_refused(functools.partial(check_log, log, path, changed)) for changed in every_bit(data))


def test_every_bit_of_a_cosigned_bundle_counts() -> None:
    good = a_log(3, ONE, TWO).bundle(1).encode()
    verify_bundle(good, POLICY)
    assert all(is_refused(functools.partial(verify_bundle, changed, POLICY)) for changed in every_bit(good))


def test_every_bit_of_a_log_receipt_counts() -> None:
    good = a_receipt(entry(1))
    open_log_receipt(good, POLICY.receipt_keys)
    for changed in every_bit(good):
        assert is_refused(functools.partial(open_log_receipt, changed, POLICY.receipt_keys))


def test_a_bit_of_every_byte_of_an_unpacked_period_counts(tmp_path: Path) -> None:
    """Where no sum of the ZIP file helps. No signature knows the two times that say which period was asked for."""
    chance, trust = random.Random(0), trust_keys([parse_vkey(KEY.vkey)])
    for name, data in a_period(1, 3, 4).files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    verify_period(read_period(tmp_path), trust)
    for name, data in a_period(1, 3, 4).files().items():
        times = re.finditer(rb'(?<="(?:since|until)":")[^"]*', data) if name == "period.json" else ()
        for at in {*range(len(data))}.difference(*(range(*found.span()) for found in times)):
            changed = bytearray(data)
            changed[at] ^= 1 << chance.randrange(8)
            (tmp_path / name).write_bytes(changed)
            assert is_refused(lambda: verify_period(read_period(tmp_path), trust)), (name, at)
        (tmp_path / name).write_bytes(data)


def test_none_of_ten_thousand_random_bits_of_a_larger_log_goes_unnoticed() -> None:
    log, chance = a_log(2_000), random.Random(0)
    files = {path: data for path, data in log.files.items() if path != "policy"}
    paths, weights = list(files), [len(data) for data in files.values()]
    check_log(log, "checkpoint", log.checkpoint)
    for path in chance.choices(paths, weights, k=FLIPS):
        changed = bytearray(files[path])
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        assert is_refused(functools.partial(check_log, log, path, bytes(changed))), path


def test_the_second_verifier_notices_all_of_them_too(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node on this machine, which the second verifier's tests run in")
    # No post-quantum line here: WebCrypto cannot check it, and the module says so instead.
    a_log(3, ONE, TWO).write(tmp_path / "small")
    a_log(3_000, ONE, TWO).write(tmp_path / "large")
    (tmp_path / "bundle.json").write_bytes(a_log(3, ONE, TWO).bundle(1).encode())
    (tmp_path / "receipt").write_bytes(a_receipt(entry(1)))
    (tmp_path / "period.zip").write_bytes(a_period(1, 3, 4).encode())
    (tmp_path / "period.vkey").write_text(KEY.vkey)
    harness = Path(__file__).with_name("flips.mjs")
    done = subprocess.run([node, harness, MODULE, tmp_path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert {what: (count["missed"], count["broken"]) for what, count in counts.items()} == dict.fromkeys(
        ("small", "bundle", "receipt", "packed", "unpacked", "large", "whole"), ([], [])
    )
    assert counts["packed"]["tried"] == len(a_period(1, 3, 4).encode())
    assert counts["unpacked"]["tried"] == sum(map(len, a_period(1, 3, 4).files().values())) - 2 * 27  # the two times
    assert counts["large"]["tried"] == FLIPS
    assert counts["small"]["tried"] == 8 * sum(
        len(data) for path, data in a_log(3, ONE, TWO).files.items() if path != "policy"
    )
