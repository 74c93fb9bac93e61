"""What logs and witnesses send each other is read as c2sp.org/tlog-witness writes it."""

from __future__ import annotations

import pytest

from sharewell.domain.errors import Invalid
from sharewell.domain.notes import b64encode
from sharewell.domain.tiles import entry_bundle, parse_entry_bundle
from sharewell.domain.witnessing import (
    AddCheckpoint,
    MalformedRequest,
    format_size,
    parse_add_checkpoint,
    parse_size,
)

#: The example of the specification, but for its checkpoint's second signature.
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeM\
cTOAYQ8=
""".encode()


def test_the_example_of_the_specification_is_read_and_written_back() -> None:
    asked = parse_add_checkpoint(EXAMPLE)
    assert (asked.old, len(asked.proof)) == (20852014, 4)
    assert asked.checkpoint.startswith(b"example.com/behind-the-sofa\n20852163\n")
    assert asked.encode() == EXAMPLE


def test_a_first_request_has_no_proof() -> None:
    asked = AddCheckpoint(old=0, proof=(), checkpoint=b"a checkpoint")
    assert asked.encode() == b"old 0\n\na checkpoint"
    assert parse_add_checkpoint(asked.encode()) == asked


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n\n",
        b"old 01\n\ncheckpoint",
        b"old -1\n\ncheckpoint",
        b"0\n\ncheckpoint",
        b"old 1\n\xff\n\ncheckpoint",
        b"old 1\nAAAA\n\ncheckpoint",
        b"old 1\nno base64\n\ncheckpoint",
        b"old 1\n" + 64 * (b64encode(bytes(32)).encode() + b"\n") + b"\ncheckpoint",
    ],
)
def test_another_body_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_add_checkpoint(body)


def test_sixty_three_hashes_are_taken() -> None:
    body = b"old 1\n" + 63 * (b64encode(bytes(32)).encode() + b"\n") + b"\ncheckpoint"
    assert len(parse_add_checkpoint(body).proof) == 63
    with pytest.raises(MalformedRequest, match="63 are the most"):
        parse_add_checkpoint(body.replace(b"\n\n", b"\n" + b64encode(bytes(32)).encode() + b"\n\n"))


def test_the_size_in_a_conflict_is_read_back() -> None:
    assert parse_size(format_size(0)) == 0
    assert parse_size(format_size(20852014)) == 20852014
    for body in (b"", b"\n", b"1\n\n", b"\xff\n", b"01\n"):
        with pytest.raises(Invalid):
            parse_size(body)


def test_entries_are_bundled_with_their_lengths_and_read_back() -> None:
    entries = [b"", b"one", b"x" * 65_535]
    assert entry_bundle(entries[:2]) == b"\0\0\0\3one"
    assert parse_entry_bundle(entry_bundle(entries)) == entries
    with pytest.raises(Invalid, match="65535 bytes"):
        entry_bundle([b"x" * 65_536])
    for cut in (b"\0", b"\0\4one", b"\0\3one\0"):
        with pytest.raises(Invalid, match="ends within its entry"):
            parse_entry_bundle(cut)
