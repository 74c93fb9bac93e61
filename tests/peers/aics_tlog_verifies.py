"""Verify a log in a folder with aics-tlog alone: `python aics_tlog_verifies.py FOLDER VKEY WITNESS.. -- OLDER..`."""

from __future__ import annotations

import sys
from pathlib import Path

from aics_tlog import (
    FileSystemTileReader,
    audit_tiles,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    leaf_hash,
    parse_note,
    parse_vkey,
    read_entry,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)


def main() -> None:
    split = sys.argv.index("--")
    folder, vkey, *witnesses = sys.argv[1:split]
    key, reader = parse_vkey(vkey), FileSystemTileReader(folder)
    note = parse_note((Path(folder) / "checkpoint").read_bytes())
    found = verify_checkpoint(
        note, key, [parse_vkey(witness) for witness in witnesses], len(witnesses), expected_origin=key.name
    )
    assert found.ok, found.error
    size, root = found.size, found.root
    audited = audit_tiles(reader, size, root)
    for index in range(0, size, 97):
        path = inclusion_proof_from_tiles(reader, index, size)
        assert verify_inclusion(leaf_hash(read_entry(reader, index, size)), index, size, path, root), index
    for older in sys.argv[split + 1 :]:
        was = verify_checkpoint(parse_note(Path(older).read_bytes()), key, expected_origin=key.name)
        assert was.ok, was.error
        path = consistency_proof_from_tiles(reader, was.size, size)
        assert verify_consistency(was.size, size, was.root, root, path), was.size
    sys.stdout.write(f"verified {size} entries, {audited.tiles} tiles, {audited.bundles} entry bundles\n")


main()
