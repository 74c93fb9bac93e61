"""The second verifier, which shares no code with the first, says of the same files the same."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.unit.audit.conftest import LOG, NOON, ONE, ORIGIN, POLICY, RECEIPTS, MadeLog, a_log, a_receipt, entry, sign
from tests.unit.test_period import KEY, a_decision, a_period
from typer.testing import CliRunner

import sharewell.audit
from sharewell.audit.keys import LogKey
from sharewell.cli.main import app
from sharewell.domain import canonical, merkle
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.notes import b64encode, sign_note
from sharewell.domain.period import Period
from sharewell.domain.trust import TrustedLog

MODULE = Path(sharewell.audit.__file__).with_name("verify.mjs")
LATER = NOON + 3600
ONE_VKEY = next(str(witness.key) for witness in POLICY.witnesses if witness.name == "one").encode()


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no Node on this machine, which the second verifier's tests run in")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with one of everything, good and bad."""
    log, bundle = a_log(700), a_log(700).bundle(256)
    log.write(tmp_path / "log")
    a_log(0).write(tmp_path / "empty")
    a_log(257).write(tmp_path / "short")
    older = {path: data for path, data in a_log(520).files.items() if path.startswith("tile/") and ".p/" in path}
    MadeLog(log.entries, dict(log.files) | older).write(tmp_path / "with-older")
    spoilt = older | {"tile/0/002.p/8": bytes(32) + older["tile/0/002.p/8"][32:]}
    MadeLog(log.entries, dict(log.files) | spoilt).write(tmp_path / "spoilt")
    (MadeLog(log.entries, log.files).write(tmp_path / "littered") / "tile/0/note.txt").write_text("?")
    (MadeLog(log.entries, log.files).write(tmp_path / "holed") / "tile/entries/000").unlink()
    shutil.rmtree(shutil.copytree(tmp_path / "log", tmp_path / "hashes") / "tile" / "entries")
    damaged = log.files["tile/0/001"]
    log.write(tmp_path / "damaged", **{"tile/0/001": bytes(32) + damaged[32:]})
    other = sign(Checkpoint(origin=ORIGIN, size=300, root=bytes(32)), ONE)
    stranger = LOG.from_seed(ORIGIN, bytes(32))
    files = {
        "policy": POLICY.text().encode(),
        "all-three": replace(POLICY, quorum="one").text().encode(),
        "doubled": POLICY.text().encode().replace(b"\nquorum", f"\nlog {LOG.vkey}\nquorum".encode()),
        "witnessed-twice": POLICY.text().encode().replace(b"\nquorum", b"\nwitness again " + ONE_VKEY + b"\nquorum"),
        "nobody": replace(POLICY, logs=(TrustedLog(key=stranger.key),)).text().encode(),
        "bundle.json": bundle.encode() + b"\n",
        "forged.json": bundle.encode().replace(b"marsupilami", b"marsupilame"),
        "alone.json": replace(bundle, checkpoint=a_log(700, ONE).checkpoint).encode(),
        "x.tlog-proof": bundle.tlog_proof(),
        "256.json": entry(256),
        "257.json": entry(257),
        "kept": a_receipt(entry(256)),
        "broken": a_receipt(entry(9_999)),
        "late": a_receipt(entry(9_999), merge_by=NOON + 60),
        "seen": a_log(300).checkpoint,
        "longer": a_log(701).checkpoint,
        "rewritten": other,
        "log.vkey": KEY.vkey.encode(),
        "stranger.vkey": stranger.vkey.encode(),
        **{f"{name}.zip": period.encode() for name, period in periods().items()},
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    write_next_year(tmp_path, log)
    with zipfile.ZipFile(tmp_path / "good.zip") as packed:
        packed.extractall(tmp_path / "unpacked")
    (tmp_path / "cut.zip").write_bytes(files["good.zip"][:-30])
    with zipfile.ZipFile(tmp_path / "escaping.zip", "w") as packed:
        for name, data in {**a_period(3, 9, 11).files(), "../outside": b"?"}.items():
            packed.writestr(name, data)
    return tmp_path


def write_next_year(folder: Path, log: MadeLog) -> None:
    """The log under the name of the year after: handed over to it, by nobody, and by one who could not."""
    new = LogKey.from_seed("log.example/2027", bytes([5] * 32))
    signed = sign_note(Checkpoint(origin=new.key.name, size=700, root=root_of(log)).text(), [new])
    named = f"{ORIGIN}/handover\n{new.vkey}\n"
    year = MadeLog(log.entries, dict(log.files) | {"checkpoint": signed})
    year.write(folder / "unnamed")
    strangers = sign_note("?/handover\n", [RECEIPTS])
    year.write(folder / "handed", handovers=b"\n".join([strangers, sign_note(named, [LOG])]))
    year.write(folder / "usurped", handovers=sign_note(named, [new]))
    trusted = replace(POLICY, logs=(*POLICY.logs, TrustedLog(key=new.key)), quorum="none")
    (folder / "years").write_text(trusted.text())


def root_of(log: MadeLog) -> merkle.Hash:
    return merkle.fold([merkle.hash_leaf(body) for body in log.entries])


def periods() -> dict[str, Period]:
    """A good one, each way to run across the edges of subtrees, and what an operator could try."""
    good = a_period(3, 9, 11)
    runs = {f"run-{a}-{b}": a_period(a, b, 11) for a, b in ((0, 1), (0, 11), (4, 8), (10, 11), (8, 11), (7, 10))}
    return runs | {
        "good": good,
        "holed": replace(good, entries=(*good.entries[:2], *good.entries[3:])),
        "short": replace(good, entries=good.entries[:-1]),
        "more": replace(good, entries=(*good.entries, a_decision(9).entry())),
        "none": replace(good, entries=()),
        "elsewhere": replace(good, first=4),
        "renamed": replace(good, origin="other.example/2026"),
        "keyless": replace(good, keys=(RECEIPTS.vkey,)),
        "later": replace(good, since=good.since + timedelta(seconds=1)),
        "sooner": replace(good, until=good.until - timedelta(minutes=1)),
        "unproven": replace(good, proof=good.proof[:-1]),
        "stuffed": replace(good, policies={**good.policies, hashlib.sha256(b"x").hexdigest(): b"x"}),
        "thin": replace(good, policies=dict(list(good.policies.items())[:-1])),
    }


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("log", 0),
        ("empty", 0),
        ("hashes", 0),
        ("damaged", 1),
        ("./with-older/", 0),
        ("spoilt", 1),
        ("littered", 1),
        ("holed", 1),
        ("log --policy policy", 0),
        ("log --policy nobody", 1),
        ("log --remembered seen", 0),
        ("log --remembered seen --remembered log/checkpoint", 0),
        ("log --remembered rewritten", 3),
        ("log --remembered longer", 1),
        ("nothing", 2),
        ("bundle.json --policy policy", 0),
        ("forged.json --policy policy", 1),
        ("alone.json --policy policy", 1),
        ("alone.json --policy all-three", 0),
        ("bundle.json --policy nobody", 1),
        ("bundle.json --policy doubled", 2),
        ("bundle.json --policy witnessed-twice", 2),
        ("x.tlog-proof --policy policy --entry 256.json", 0),
        ("x.tlog-proof --policy policy --entry 257.json", 1),
        ("kept --policy policy", 0),
        ("kept --policy policy --log log", 0),
        ("kept --policy policy --log hashes", 0),
        ("kept --policy policy --log damaged", 1),
        (f"broken --policy policy --log log --at {LATER}", 3),
        ("broken --policy policy --log log --at 2026-03-01T13:00:00Z", 3),
        ("broken --policy policy --log log --at yesterday", 2),
        (f"broken --policy policy --log log --at {NOON}", 1),
        (f"late --policy policy --log log --at {LATER}", 1),
        (f"broken --policy policy --log short --at {LATER}", 3),
        ("handed --policy years", 0),
        ("handed --policy years --remembered seen", 0),
        ("handed --policy years --remembered rewritten", 3),
        ("unnamed --policy years --remembered seen", 1),
        ("usurped --policy years --remembered seen", 1),
        ("kept --policy years --log handed", 0),
        (f"broken --policy years --log handed --at {LATER}", 3),
        (f"broken --policy years --log unnamed --at {LATER}", 1),
        ("bundle.json --policy good.zip", 2),
        ("rewritten --policy policy", 1),
        ("good.zip --key log.vkey", 0),
        (f"good.zip --key {KEY.vkey}", 0),
        ("unpacked --key log.vkey", 0),
        *((f"{name}.zip --key log.vkey", 0) for name in periods() if name.startswith("run-")),
        *((f"{name}.zip --key log.vkey", 1) for name in periods() if name != "good" and not name.startswith("run-")),
        ("cut.zip --key log.vkey", 1),
        ("escaping.zip --key log.vkey", 1),
        ("good.zip --key stranger.vkey", 1),
        ("good.zip", 2),
        ("good.zip --key log.vkey --policy policy", 2),
        ("good.zip --key log.vkey --loud", 2),
    ],
)
def test_both_verifiers_come_to_the_same_end(
    node: str, home: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, status: int
) -> None:
    monkeypatch.chdir(home)
    first = CliRunner().invoke(app, ["verify", *arguments.split()])
    second = subprocess.run([node, MODULE, *arguments.split()], check=False, capture_output=True, text=True)
    assert (first.exit_code, second.returncode) == (status, status), first.output + second.stdout + second.stderr
    answer = json.loads(second.stdout)
    assert answer["verified"] is (status == 0)
    assert answer.get("evidence", False) is (status == 3)


def run(node: str, program: str, *arguments: object) -> Any:
    """What `program`, with the module at hand as `m`, prints as JSON."""
    whole = f"const m = await import({json.dumps(str(MODULE))});\n{program}"
    command = [node, "--input-type=module", "-e", whole, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_names_the_tile_and_the_entry_that_do_not_fit(node: str, home: Path) -> None:
    done = subprocess.run([node, MODULE, home / "damaged"], check=False, capture_output=True, text=True)
    assert json.loads(done.stdout)["message"] == "hash 0 of tile/0/001 is not that of entry 256"


def test_what_a_sceptic_must_read_of_it_stays_short() -> None:
    proof, shell = MODULE.read_text(encoding="utf-8").split("// --- 8. the shell")
    assert len(proof.splitlines()) <= 400
    assert len(shell.splitlines()) <= 110
    assert max(map(len, (proof + shell).splitlines())) <= 120


def test_an_input_that_is_not_unicode_is_not_taken_for_the_sign_that_stands_for_it(node: str, tmp_path: Path) -> None:
    """Encoded carelessly, a lone surrogate has the bytes of U+FFFD, and so the same hash."""
    name = hashlib.sha256("\ufffd".encode()).hexdigest()
    body = canonical.encode(json.loads(entry(0)) | {"details": {"input_sha256": name}})
    parts = {
        "attachments": {name: "\ufffd"},
        "checkpoint": sign(Checkpoint(origin=ORIGIN, size=1, root=merkle.hash_leaf(body))).decode(),
        "entry": body.decode(),
        "format": "sharewell-bundle/v1",
        "origin": ORIGIN,
        "proof": "c2sp.org/tlog-proof@v1\nindex 0\n",
    }
    good = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    (tmp_path / "good").write_text(good)
    (tmp_path / "bad").write_text(good.replace("\ufffd", "\\ud800"))
    for file, status in [("good", 0), ("bad", 1)]:
        done = subprocess.run(
            [node, str(MODULE), str(tmp_path / file), "--key", LOG.vkey], check=False, capture_output=True
        )
        assert done.returncode == status, done.stdout


def test_it_says_that_the_keys_came_with_what_they_check(node: str, home: Path) -> None:
    own, given = (
        json.loads(subprocess.run([node, MODULE, "log", *more], check=True, capture_output=True, cwd=home).stdout)
        for more in ([], ["--policy", "policy"])
    )
    assert own.pop("note").startswith("the keys were taken from the folder itself")
    assert own == given


def test_it_says_which_signature_it_could_not_check(node: str, home: Path) -> None:
    done = subprocess.run([node, MODULE, home / "log"], check=False, capture_output=True, text=True)
    assert json.loads(done.stdout)["unchecked"] == [ORIGIN]


def test_proofs_of_every_small_tree_hold_and_no_others(node: str) -> None:
    """Made by the first verifier's code, checked by the second's; then again with one hash changed."""
    leaves = [merkle.hash_leaf(b"%d" % number) for number in range(12)]

    def read(nodes: list[merkle.Node]) -> list[merkle.Hash]:
        return [merkle.fold(leaves[at << level : (at + 1) << level]) for level, at in nodes]

    roots = [None, *(merkle.fold(leaves[:size]) for size in range(1, 13))]
    text = {
        "leaves": [b64encode(leaf) for leaf in leaves],
        "roots": [root and b64encode(root) for root in roots],
        "inclusion": [
            [index, size, [*map(b64encode, merkle.prove_inclusion(index, size, read))]]  # type: ignore[arg-type]
            for size in range(1, 13)
            for index in range(size)
        ],
        "consistency": [
            [size1, size2, [*map(b64encode, merkle.prove_consistency(size1, size2, read))]]  # type: ignore[arg-type]
            for size2 in range(1, 13)
            for size1 in range(1, size2 + 1)
        ],
    }
    program = """
    const given = JSON.parse(process.argv[1]);
    const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
    const leaf = (at) => bytes(given.leaves[at]), root = (size) => bytes(given.roots[size]);
    const counts = { good: 0, bad: 0, missed: 0 };
    const holds = (check) => check().then(() => true, (why) => {
      if (!(why instanceof m.NotVerified)) throw why;
      return false;
    });
    const flipped = (path, at) => path.map((hash, i) => i === at ? hash.map((byte) => byte ^ 1) : hash);
    const both = async (path, check) => {
      counts[await holds(() => check(path)) ? "good" : "bad"] += 1;
      const others = [[...path, leaf(0)], ...path.map((_, at) => flipped(path, at))];
      if (path.length) others.push(path.slice(1));
      for (const other of others) counts.missed += await holds(() => check(other));
    };
    for (const [index, size, path] of given.inclusion)
      await both(path.map(bytes), (p) => m.verifyInclusion(leaf(index), index, size, p, root(size)));
    for (const [a, b, path] of given.consistency)
      await both(path.map(bytes), (p) => m.verifyConsistency(a, b, root(a), root(b), p));
    console.log(JSON.stringify(counts));
    """
    assert run(node, program, json.dumps(text)) == {"good": 2 * 78, "bad": 0, "missed": 0}


@pytest.fixture
def server(home: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(home))) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_log_is_verified_as_it_is_served(node: str, server: str) -> None:
    program = """
    const read = m.served(process.argv[1] + "/log/"), policy = await m.parsePolicy(process.argv[2]);
    console.log(JSON.stringify((await m.verifyLog(read, policy)).size));
    """
    assert run(node, program, server, POLICY.text()) == 700


# --- the page -----------------------------------------------------------------------------------------------------

#: As much of a browser as the page asks for: elements that hold what is put into them.
BROWSER = """
import { readdirSync, readFileSync, statSync } from "node:fs";
const element = () => ({ value: "", children: [], listeners: {}, append(child) { this.children.push(child); },
  replaceChildren() { this.children = []; }, addEventListener(name, act) { this.listeners[name] = act; } });
const elements = {};
globalThis.document = { getElementById: (id) => (elements[id] ??= element()), createElement: element };
const filesIn = (at) => statSync(at).isDirectory() ? readdirSync(at).flatMap((name) => filesIn(`${at}/${name}`)) : [at];
const choose = async (id, root, keys) => {
  document.getElementById("keys").value = keys;
  const files = filesIn(root).map((path) => Object.assign(new File([readFileSync(path)], path.split("/").pop()),
    { webkitRelativePath: statSync(root).isDirectory() ? `x/${path.slice(root.length + 1)}` : "" }));
  await elements[id].listeners.change({ target: { files } });
  return elements.answers.children.map(({ textContent, className }) => `${className}: ${textContent}`);
};
"""


def test_the_page_verifies_a_folder_and_files_by_itself(node: str, home: Path, tmp_path: Path) -> None:
    page = tmp_path / "verify.html"
    assert CliRunner().invoke(app, ["verify", "--page", str(page)]).exit_code == 0
    html = page.read_text()
    assert "<!doctype html>" in html
    assert not re.search(r'(src|href)=|url\(|^import .* from "\.', html, re.MULTILINE)
    (script,) = re.findall(r'<script type="module">\n(.*)</script>', html, re.DOTALL)
    asked = f"""
    const [, home, keys] = process.argv;
    console.log(JSON.stringify([
      await choose("folder", home + "/log", keys),
      await choose("folder", home + "/damaged", ""),
      await choose("files", home + "/bundle.json", keys),
      await choose("files", home + "/kept", {json.dumps(RECEIPTS.vkey)}),
      await choose("files", home + "/bundle.json", "no key"),
      await choose("files", home + "/good.zip", {json.dumps(KEY.vkey)}),
    ]));
    """
    program = tmp_path / "page.mjs"
    program.write_text(BROWSER + script + asked)
    done = subprocess.run(
        [node, "--input-type=module", "-e", program.read_text(), str(home), POLICY.text()],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log, damaged, bundle, receipt, nonsense, period = json.loads(done.stdout)
    unchecked = f"not checked here: the ML-DSA-44 signature of {ORIGIN}"
    assert log == [f"good: the log: verified, {ORIGIN}; 700 entries; {unchecked}"]
    assert damaged[0].startswith("bad: the keys were taken from the folder itself")
    assert damaged[1] == "bad: the log: not verified: hash 0 of tile/0/001 is not that of entry 256"
    assert bundle[0].startswith(f"good: bundle.json: verified, {ORIGIN}; 700 entries; number 256; marsupilami-clinic")
    assert receipt[0].startswith(f"good: kept: verified, {ORIGIN}; promised by 2026-03-01T12:00:00.000Z; add the log")
    assert nonsense[0].startswith("bad: The keys cannot be read")
    told = "verified, log.example/2026; 11 entries; entries 3 to 8, all of them; 6 were made from 2026-03-01T12:03"
    assert period[0].startswith(f"good: good.zip: {told}")
