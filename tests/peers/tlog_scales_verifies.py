"""Verify a log in a folder with tlog-scales alone: `python tlog_scales_verifies.py FOLDER VKEY ... -- OLDER ...`."""

from __future__ import annotations

import sys
from pathlib import Path

from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tiles import leaf_hash
from tlog_scales.tlog import Checkpoint


def main() -> None:
    split = sys.argv.index("--")
    folder, *vkeys = sys.argv[1:split]
    reader = TilesReader(LocalBackend(Path(folder)))
    head = reader.get_checkpoint()
    for vkey in vkeys:  # raises for one that did not sign, or whose signature does not fit
        head.verify(Vkey.from_string(vkey))
    assert reader.calculate_root_hash() == head.root_hash
    for index in {*range(0, head.size, 7), head.size - 1}:  # every entry would take it eight seconds
        reader.get_inclusion_proof(index, head.size).check(leaf_hash(reader.get_entry(index)), head.root_hash)
    for older in sys.argv[split + 1 :]:
        was = Checkpoint.from_text(Path(older).read_text(encoding="utf-8"))
        was.verify(Vkey.from_string(vkeys[0]))
        reader.get_consistency_proof(was.size, head.size).check(was.root_hash, head.root_hash)
    sys.stdout.write(f"verified {head.size} entries\n")


main()
