"""A trust policy says whose signatures count; a checkpoint meets it or is refused with the reason."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sharewell.audit.keys import LogKey
from sharewell.audit.signers import Cosigner, mldsa44_verify
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.errors import Invalid
from sharewell.domain.notes import (
    COSIGNATURE,
    MLDSA44,
    BadSignature,
    MalformedNote,
    add_signatures,
    open_note,
    parse_signatures,
    parse_vkey,
    sign_note,
    split_note,
)
from sharewell.domain.trust import (
    MalformedPolicy,
    NoTrustedLog,
    QuorumNotMet,
    TrustPolicy,
    open_checkpoint,
    parse_policy,
    refuse_stray_lines,
    trust_keys,
)

ORIGIN = "log.example/2026"
LOG = LogKey.from_seed(ORIGIN, bytes(range(32)))
ROTATED = LogKey.from_seed(ORIGIN, bytes(range(1, 33)))
NEXT_YEAR = LogKey.from_seed("log.example/2027", bytes(range(2, 34)))
QUANTUM = Cosigner.from_seed(ORIGIN, MLDSA44, bytes(range(3, 35)))
ONE, TWO, THREE = (Cosigner.from_seed(f"witness.example/{n}", COSIGNATURE, bytes([n] * 32)) for n in (1, 2, 3))
LATTICE = Cosigner.from_seed("witness.example/lattice", MLDSA44, bytes([4] * 32))
RECEIPTS = LogKey.from_seed(f"{ORIGIN}/receipt", bytes([5] * 32))
HEAD = Checkpoint(origin=ORIGIN, size=7, root=bytes(range(32)))
TIME = 1_700_000_000

POLICY = f"""
# two keys of one log, and the log of the year after
log {LOG.key} https://log.example/2026
log {ROTATED.key}
  log\t{QUANTUM.key}
log {NEXT_YEAR.key}
#log-receipt {RECEIPTS.key}
witness one {ONE.key} https://witness.example/one
witness two {TWO.key}
witness three {THREE.key}
witness lattice {LATTICE.key}
group towns 2 one two three
group all-of-it all towns lattice
quorum towns
"""


def signed(*cosigners: Cosigner, by: LogKey = LOG, head: Checkpoint = HEAD) -> bytes:
    text = head.text()
    lines = [cosigner.cosign(text.encode(), TIME + at) for at, cosigner in enumerate(cosigners)]
    return add_signatures(sign_note(text, [by]), lines)


def policy(quorum: str = "towns") -> TrustPolicy:
    return replace(parse_policy(POLICY.encode()), quorum=quorum)


def test_a_policy_is_read_and_written_back() -> None:
    read = policy()
    assert [log.key.name for log in read.logs] == [ORIGIN, ORIGIN, ORIGIN, "log.example/2027"]
    assert [witness.url for witness in read.witnesses] == ["https://witness.example/one", None, None, None]
    assert read.receipt_keys == (RECEIPTS.key,)
    assert [(group.name, group.least) for group in read.groups] == [("towns", 2), ("all-of-it", 2)]
    assert parse_policy(read.text().encode()) == read


def test_a_checkpoint_is_trusted_with_its_quorum_and_says_when_it_was_cosigned() -> None:
    found = open_checkpoint(signed(ONE, THREE), policy())
    assert found.checkpoint == HEAD
    assert found.signed_by == (LOG.key,)
    assert found.cosigned_by == (("one", TIME), ("three", TIME + 1))
    assert found.unchecked == found.stray == ()


@pytest.mark.parametrize("by", [LOG, ROTATED])
def test_keys_of_one_log_before_and_after_a_rotation_verify_side_by_side(by: LogKey) -> None:
    assert open_checkpoint(signed(by=by), policy("none")).signed_by == (by.key,)


def test_the_logs_of_two_years_verify_side_by_side_but_not_under_each_others_key() -> None:
    later = replace(HEAD, origin=NEXT_YEAR.key.name)
    assert open_checkpoint(signed(by=NEXT_YEAR, head=later), policy("none")).checkpoint == later
    with pytest.raises(NoTrustedLog):
        open_checkpoint(signed(by=NEXT_YEAR), policy("none"))


def test_too_few_witnesses_are_named() -> None:
    with pytest.raises(QuorumNotMet, match="towns is not met; these witnesses cosigned: two"):
        open_checkpoint(signed(TWO), policy())


def test_a_group_of_groups_counts_the_witness_of_each_kind() -> None:
    note = signed(ONE, TWO, LATTICE)
    assert len(open_checkpoint(note, policy("all-of-it"), mldsa44_verify).cosigned_by) == 3
    with pytest.raises(QuorumNotMet):
        open_checkpoint(signed(ONE, LATTICE), policy("all-of-it"), mldsa44_verify)


def test_without_a_library_a_post_quantum_line_counts_for_nothing_and_is_named() -> None:
    note = signed(ONE, TWO, LATTICE)
    with pytest.raises(QuorumNotMet):
        open_checkpoint(note, policy("all-of-it"))
    assert open_checkpoint(note, policy()).unchecked == ("witness.example/lattice",)


def test_the_log_can_sign_with_a_post_quantum_key_as_well_or_alone() -> None:
    both = open_checkpoint(signed(QUANTUM), policy("none"), mldsa44_verify)
    assert both.signed_by == (LOG.key, QUANTUM.key)
    alone = HEAD.text().encode() + b"\n" + QUANTUM.cosign(HEAD.text().encode(), TIME).line().encode()
    assert open_checkpoint(alone, policy("none"), mldsa44_verify).signed_by == (QUANTUM.key,)
    with pytest.raises(Invalid):
        open_checkpoint(alone, policy("none"))


@pytest.mark.parametrize("cosigner", [ONE, LATTICE])
def test_a_cosignature_over_another_time_name_or_tree_spoils_the_note(cosigner: Cosigner) -> None:
    good = cosigner.cosign(HEAD.text().encode(), TIME)
    later = replace(good, blob=(TIME + 1).to_bytes(8, "big") + good.blob[8:])
    elsewhere = cosigner.cosign(replace(HEAD, size=8).text().encode(), TIME)
    short = replace(good, blob=good.blob[:-1])
    far = replace(good, blob=b"\xff" + good.blob[1:])
    for bad in (later, elsewhere, short, far):
        with pytest.raises(BadSignature):
            open_checkpoint(add_signatures(sign_note(HEAD.text(), [LOG]), [bad]), policy("none"), mldsa44_verify)


def test_a_post_quantum_signature_lets_no_line_ride_along_that_it_does_not_cover() -> None:
    extended = replace(HEAD, extensions=("more",)).text()
    line = QUANTUM.cosign(HEAD.text().encode(), TIME)
    with pytest.raises(BadSignature):
        open_note(add_signatures(sign_note(extended, [LOG]), [line]), [QUANTUM.key], mldsa44_verify)
    with pytest.raises(MalformedNote):
        QUANTUM.cosign(extended.encode(), TIME)


def test_one_key_never_signs_twice_under_a_note() -> None:
    line = ONE.cosign(HEAD.text().encode(), TIME)
    note = add_signatures(signed(ONE), [line, line])
    assert note == signed(ONE)
    assert parse_signatures(line.line().encode()) == [line]


def test_signatures_by_strangers_are_named_and_do_not_count() -> None:
    stranger = Cosigner.from_seed("witness.example/stranger", COSIGNATURE, bytes(32))
    found = open_checkpoint(signed(ONE, TWO, stranger), policy())
    named = f"witness.example/stranger+{stranger.key.id:08x}"
    assert found.stray == (named,)
    with pytest.raises(NoTrustedLog, match=re.escape(f"also signed by {named},")):
        refuse_stray_lines(found)
    twice = signed() + signed().splitlines(keepends=True)[-1]
    assert open_checkpoint(twice, policy("none")).stray == (f"{ORIGIN}+{LOG.key.id:08x}",)
    with pytest.raises(QuorumNotMet):
        open_checkpoint(signed(ONE, stranger), policy())


def test_a_log_that_the_policy_does_not_name_is_not_trusted() -> None:
    with pytest.raises(NoTrustedLog):
        open_checkpoint(signed(by=LogKey.from_seed(ORIGIN, bytes(32))), policy("none"))
    with pytest.raises(NoTrustedLog):  # witnesses alone do not make a log
        open_checkpoint(signed(ONE, TWO, by=LogKey.from_seed(ORIGIN, bytes(32))), policy())


def test_keys_alone_make_a_policy_without_witnesses() -> None:
    made = trust_keys([LOG.key, RECEIPTS.key])
    assert open_checkpoint(signed(), made).signed_by == (LOG.key,)
    assert made.receipt_keys == (RECEIPTS.key,)
    with pytest.raises(MalformedPolicy, match="0x01 or 0x06"):
        trust_keys([ONE.key])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"log {LOG.key}", "there twice"),
        (f"log {ONE.key}", "type 0x01 or 0x06"),
        (f"log {LOG.key}x", "Line 15 of the trust policy"),
        (f"witness four {LOG.key}", "type 0x04 or 0x06"),
        (f"witness one {Cosigner.from_seed('x', COSIGNATURE, bytes(32)).key}", "The name one is there twice"),
        (f"witness four {replace(ONE.key, name='w')}", "The key of four is there twice"),
        (f"witness none {Cosigner.from_seed('x', COSIGNATURE, bytes(32)).key}", "The name none"),
        ("group big 2 all-of-it", "all, any, or 1 to 1"),
        ("group big 0 all-of-it", "all, any, or 1 to 1"),
        ("group big any one", "The member one is there twice"),
        ("group big any nobody", "nobody is not a witness or group"),
        ("group big any none", "none is not a witness or group"),
        ("group big any", "no line of log"),
        ("quorum towns", "The quorum is there twice"),
        ("Quorum none", "no line of log"),
        ("#log-receipt", "no line of log"),
        (f"#log-receipt {LOG.key}", "named for its log, such as log.example/2026/receipt"),
        (f"#log-receipt {Cosigner.from_seed(ORIGIN + '/receipt', COSIGNATURE, bytes(32)).key}", "type 0x01, not 0x04"),
        ("log\r", "no control characters"),
    ],
)
def test_a_line_that_says_nothing_sound_is_refused_with_its_number(line: str, message: str) -> None:
    with pytest.raises(MalformedPolicy, match=message):
        parse_policy(POLICY.encode() + line.encode() + b"\n")


def test_a_policy_without_a_quorum_line_is_refused() -> None:
    with pytest.raises(MalformedPolicy, match="quorum none"):
        parse_policy(f"log {LOG.key}\n".encode())


def test_names_that_are_not_utf8_are_compared_byte_for_byte() -> None:
    text = b"witness \xffw " + str(ONE.key).encode() + b"\nquorum \xffw\n"
    assert parse_policy(text).quorum_met([ONE.key])
    with pytest.raises(MalformedPolicy):
        parse_policy(text.replace(b"quorum \xff", b"quorum \xfe"))


@pytest.mark.parametrize("kind", [COSIGNATURE, MLDSA44])
def test_a_secret_key_is_written_and_read_back(kind: int) -> None:
    made = Cosigner.generate("witness.example/new", kind)
    again = Cosigner.parse(made.secret_text())
    assert again.key == made.key == parse_vkey(str(made.key))
    line = again.cosign(HEAD.text().encode(), TIME)
    assert made.key.verify(HEAD.text().encode(), line.blob, mldsa44_verify)
    assert split_note(signed(made))[1][1].name == "witness.example/new"


@pytest.mark.parametrize(
    "text", ["", "PRIVATE+KEY+x", LOG.secret_text(), ONE.secret_text().replace("+witness", "+witless")]
)
def test_what_is_not_a_cosigners_secret_is_refused(text: str) -> None:
    with pytest.raises(MalformedNote):
        Cosigner.parse(text)
