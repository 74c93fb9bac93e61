// A second verifier of the audit log, written from docs/audit-log.md and sharing no code with the first. It is this one
// file, and needs nothing but a browser or Node 20 (WebCrypto): node verify.mjs FILE-OR-FOLDER --policy FILE
//
// Proven is that an entry, a period or a whole log is, to the bit, what the log signed under keys that you trust; that
// a quorum of witnesses saw it, if you ask for one; and that the log still holds what it once signed or promised.
// Not proven is what ML-DSA-44 signs: WebCrypto has none, so it counts for nothing and is named in `unchecked`.
//
// Sections 1 to 7 are the proof, 8 and 9 the shell: ZIP files, kinds of files, the command line. The shell only brings
// bytes to the proof and tells what came of it. Read 2 (the tree), 3 (signatures) and 4 (whom you trust); then 5 for
// one entry, 6 for a period, 7 for a whole log and its promises; 1 has the words that all of them use. What does not
// hold throws NotVerified, what is evidence against the log Misbehaved.

// --- 1. bytes ------------------------------------------------------------------------------------------------------
export class NotVerified extends Error {}
export class Misbehaved extends NotVerified {} // the log signed what is not so
const need = (value, why, Fault = NotVerified) => {
  if (!value) throw new Fault(why);
  return value;
};
const tried = (make, why) => { try { return make(); } catch { return need(false, why); } };

const utf8 = (text) => new TextEncoder().encode(need(!/\p{Cs}/u.test(text), "it is not Unicode") && text);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const toText = (bytes) => tried(() => decoder.decode(bytes), "it is not UTF-8");
const join = (...parts) => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
};
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const fromBase64 = (text) => {
  const letters = tried(() => atob(text), `${text} is not base64`);
  need(btoa(letters) === text, `${text} is not base64 in its canonical form`);
  return Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
};
const isIndex = (value) => Number.isSafeInteger(value) && value >= 0;
const number = (text) =>
  need(/^(0|[1-9][0-9]{0,15})$/.test(text) && isIndex(+text), `${text} is not a whole number in decimal`) && +text;
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
const sorted = (_, part) => (part && typeof part === "object" && !Array.isArray(part)
  ? Object.fromEntries(Object.keys(part).sort().map((key) => [key, part[key]])) : part);
const parseCanonical = (text, why) => { // JSON in its one form, RFC 8785
  const value = tried(() => JSON.parse(text), "it is not JSON");
  return need(JSON.stringify(value, sorted) === text && Object(value) === value, why) && value;
};

// --- 2. the tree: RFC 6962, 2.1 ------------------------------------------------------------------------------------
const leafHash = (entry) => sha256([0], entry);
const node = (left, right) => sha256([1], left, right);
const split = (size) => { let k = 1; while (k * 2 < size) k *= 2; return k; };

// The head over the leaves from start on and before end. `known` has the hash of a part, or nothing where the part must
// be parted; it is asked from left to right, with the number of partings above. This one walk is behind every proof:
// of an entry, an older tree, a run of entries, a tile and a whole log.
async function head(start, end, known, depth = 0) {
  if (start === end) return sha256();
  const hash = known(start, end, depth);
  if (hash) return hash;
  const middle = start + split(end - start);
  const halves = [head(start, middle, known, depth + 1), head(middle, end, known, depth + 1)];
  return node(...(await Promise.all(halves)));
}
const fold = (hashes) => head(0, hashes.length, (start, end) => (end - start === 1 ? hashes[start] : undefined));

// That the part from start to end, whose head is `given`, is in the tree under `root`: one leaf, or an older tree from
// leaf 0. `path`, leaf side first, has the hash beside the way at each depth, and under them the end of the part.
async function verifyPart(start, end, given, size, root, path, why) {
  const inside = []; // the complete subtrees that the part consists of, from left to right
  let used = 0;
  const known = (from, to, depth) => {
    if ((from < start && start < to) || (from < end && end < to)) return undefined; // an edge of the part is within
    const isPart = from === start && to === end, at = to === end ? -depth - 1 : -depth;
    const hash = isPart ? given : need(path.at(at), "the proof is too short");
    if (start <= from && to <= end) inside.push(hash);
    if (!isPart) used += 1;
    return hash;
  };
  const whole = await head(0, size, known);
  const part = await inside.reduceRight(async (right, left) => node(left, await right));
  need(same(whole, root) && same(part, given) && used === path.length, why);
}
export async function verifyInclusion(leaf, index, size, path, root) {
  need(index < size, `there is no entry ${index} in a tree of ${size}`);
  await verifyPart(index, index + 1, leaf, size, root, path, "the proof does not lead to the head that is signed");
}
export async function verifyConsistency(size1, size2, root1, root2, path) {
  need(0 < size1 && size1 <= size2, `a tree of ${size2} cannot extend one of ${size1}`);
  await verifyPart(0, size1, root1, size2, root2, path, "the newer tree does not extend the older one");
}

// --- 3. signed notes: c2sp.org/signed-note, tlog-cosignature -------------------------------------------------------
const ED25519 = 1, COSIGNATURE = 4, MLDSA44 = 6, KEY_SIZE = { 1: 32, 4: 32, 6: 1312 };
const isName = (text) => text !== "" && !/[\s+]/u.test(text);

async function parseKey(vkey = "", kinds = [ED25519, COSIGNATURE, MLDSA44]) {
  const [, name, id, encoded] = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/.exec(vkey) ?? [];
  need(name && isName(name), `${vkey} is not a verifier key`);
  const data = fromBase64(encoded), type = data[0], key = data.slice(1);
  need(KEY_SIZE[type] === key.length && kinds.includes(type), `the key of ${name} is of no kind that fits here`);
  need(hex((await sha256(utf8(name), [10], data)).slice(0, 4)) === id, `the id of the key of ${name} is wrong`);
  return { name, id, type, key };
}
const isBy = (key, line) => key.name === line.name && key.id === line.id;

function splitNote(bytes) {
  const whole = toText(bytes), cut = whole.lastIndexOf("\n\n");
  need(cut >= 0 && whole.endsWith("\n") && !/[\x00-\x09\x0b-\x1f]/.test(whole), "it is not a signed note");
  const lines = whole.slice(cut + 2, -1).split("\n").map((line) => {
    const [, name, encoded] = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line) ?? [];
    need(name && isName(name), `${line} is not a signature line`);
    const data = fromBase64(encoded);
    need(data.length > 4, `the signature of ${name} is too short`);
    return { name, id: hex(data.slice(0, 4)), signature: data.slice(4) };
  });
  need(lines.length <= 100, "the note has too many signatures");
  return { text: whole.slice(0, cut + 1), lines };
}

// Its text, by whom it is signed and when, and which keys could not be tried. Every line must be by one of the keys,
// none twice, and hold.
async function openNote(bytes, keys) {
  const { text, lines } = splitNote(bytes), by = [], unchecked = [], left = new Set(keys);
  for (const line of lines) {
    const stray = `it is also signed by ${line.name}+${line.id}, under a key you did not give, or twice`;
    const key = need([...left].find((one) => isBy(one, line)), stray);
    left.delete(key);
    if (key.type === MLDSA44) unchecked.push(key);
    else by.push({ key, at: await signedAt(key, text, line.signature) });
  }
  return { text, by, unchecked };
}
async function signedAt({ name, type, key }, text, signature) { // Unix seconds, of a cosignature
  const timed = type === COSIGNATURE;
  need(signature.length === (timed ? 72 : 64), `the signature of ${name} has another length`);
  const at = timed ? new DataView(signature.buffer, signature.byteOffset).getBigUint64(0) : 0n;
  const message = utf8(timed ? `cosignature/v1\ntime ${at}\n${text}` : text);
  const imported = await crypto.subtle.importKey("raw", key, "Ed25519", true, ["verify"]);
  const holds = await crypto.subtle.verify("Ed25519", imported, signature.slice(timed ? 8 : 0), message);
  need(at < 2n ** 63n && holds, `the signature of ${name} does not fit`);
  return Number(at);
}

// --- 4. trust: c2sp.org/tlog-policy, tlog-checkpoint ---------------------------------------------------------------
export async function parsePolicy(text) {
  const logs = [], receipts = [], voters = new Map(), grouped = new Set(); // voters: witnesses and groups
  let quorum;
  const add = (name, voter) =>
    need(!voters.has(name) && name !== "none", `${name} is there twice`) && voters.set(name, voter);
  for (const line of text.split("\n")) {
    const [word = "#", first, second, ...members] = line.split(/[ \t]+/).filter(Boolean);
    if (word === "log") logs.push(await parseKey(first, [ED25519, MLDSA44]));
    else if (word === "#log-receipt") receipts.push(await parseKey(first, [ED25519]));
    else if (word === "witness") add(first, { key: await parseKey(second, [COSIGNATURE, MLDSA44]) });
    else if (word === "group") {
      const least = { any: 1, all: members.length }[second] ?? number(second ?? "");
      need(least >= 1 && least <= members.length, `the group ${first} is out of range`);
      for (const one of members) {
        need(voters.has(one) && !grouped.has(one), `${one} is unknown or in two groups`);
        grouped.add(one);
      }
      add(first, { least, members });
    } else if (word === "quorum") {
      need(quorum === undefined && (first === "none" || voters.has(first)), "the quorum is unknown or there twice");
      quorum = first;
    } else need(word.startsWith("#"), `${line} is no line of a trust policy`);
  }
  need(quorum !== undefined, "the trust policy has no line 'quorum'");
  const witnesses = [...voters.values()].flatMap(({ key }) => key ?? []);
  for (const keys of [logs, witnesses]) {
    need(new Set(keys.map(({ key }) => hex(key))).size === keys.length, "a public key is there twice");
  }
  return { logs, receipts, witnesses, voters, quorum };
}
export function policyOf(text) { // a trust policy, or verifier keys alone, one a line: they ask for no witness
  if (/^\s*quorum\s/m.test(text)) return parsePolicy(text);
  const keys = text.split("\n").map((line) => line.trim()).filter(Boolean);
  const word = (key) => (key.split("+")[0].endsWith("/receipt") ? "#log-receipt" : "log");
  return parsePolicy([...keys.map((key) => `${word(key)} ${key}`), "quorum none"].join("\n"));
}
export async function openCheckpoint(bytes, policy, quorum = policy.quorum) {
  const named = toText(bytes).split("\n", 1)[0], logs = policy.logs.filter((key) => key.name === named);
  const { text, by, unchecked } = await openNote(bytes, [...logs, ...policy.witnesses]), seen = new Set();
  const [origin, size, encoded, ...more] = text.split("\n"), isSigner = (one) => by.some(({ key }) => key === one);
  need(more.length === 1 && isName(origin), "it is not a checkpoint of three lines");
  const tree = { origin, size: number(size), root: fromBase64(encoded) };
  need(tree.root.length === 32, "the head has not 32 bytes");
  need(logs.some(isSigner), `no key of ${origin} signed it that can be checked here`);
  for (const [name, { key, least, members }] of policy.voters) {
    if (key ? isSigner(key) : members.filter((one) => seen.has(one)).length >= least) seen.add(name);
  }
  need(quorum === "none" || seen.has(quorum), `the quorum ${quorum} is not met`);
  const signers = by.map(({ key }) => `${key.name}+${key.id}`), latest = Math.max(...by.map(({ at }) => at));
  return { ...tree, signers, latest, unchecked: unchecked.map(({ name }) => name) };
}

// --- 5. one entry: c2sp.org/tlog-proof, and bundles ----------------------------------------------------------------
export async function verifyProof(file, entry, policy) { // a .tlog-proof file, and the bytes it is for
  const whole = toText(file), cut = whole.indexOf("\n\n"), [header, line, ...lines] = whole.slice(0, cut).split("\n");
  need(cut >= 0 && header === "c2sp.org/tlog-proof@v1" && /^index /.test(line), "it is not a proof");
  const path = lines.map(fromBase64), index = number(line.slice(6));
  need(path.every((hash) => hash.length === 32), "a hash of the proof has not 32 bytes");
  const found = await openCheckpoint(utf8(whole.slice(cut + 2)), policy);
  await verifyInclusion(await leafHash(entry), index, found.size, path, found.root);
  return { ...found, index };
}
export async function verifyBundle(file, policy) { // plans are not worked out again here; that takes the first verifier
  const wrong = "it is not a bundle in its one form", bundle = parseCanonical(toText(file).replace(/\n$/, ""), wrong);
  const { attachments = {}, ...parts } = bundle, inputs = Object.entries(attachments ?? {});
  need(Object.keys(parts).join() === "checkpoint,entry,format,origin,proof", wrong);
  need(Object.values(parts).every((part) => typeof part === "string") && parts.format === "sharewell-bundle/v1", wrong);
  need((inputs.length || !("attachments" in bundle)) && /^([^\n]+\n)+$/.test(parts.proof), wrong);
  const found = await verifyProof(utf8(`${parts.proof}\n${parts.checkpoint}`), utf8(parts.entry), policy);
  need(found.origin === parts.origin, `the bundle is of ${parts.origin}, its checkpoint of ${found.origin}`);
  const decision = parseCanonical(parts.entry, "the entry is not in canonical form");
  for (const [name, data] of inputs) {
    const fits = typeof data === "string" && hex(await sha256(utf8(data))) === name;
    need(fits && parts.entry.includes(`"${name}"`), `the input ${name} is not the entry's`);
  }
  return { ...found, decision };
}

// --- 6. the entries of a period, as a Map from name to bytes -------------------------------------------------------
const README = "942ccae819f3001634d369efa55df92501a883443d59a7a70f5d87fe9944d807"; // SHA-256 of README.md
const MEMBERS = ["README.md", "checkpoint", "entries.jsonl", "keys.txt", "period.json"], SET = "policies/";
const memberOf = (files, name) => need(files.get(name), `${name} is missing`);
const linesOf = (files, name) => {
  const lines = toText(memberOf(files, name)).split("\n");
  return need(lines.pop() === "", `${name} does not end with a line end`) && lines;
};
function readAbout(files) {
  const [text, ...more] = linesOf(files, "period.json"), wrong = "period.json is not in its one form";
  const about = parseCanonical(text, wrong), { format, since, until, first, end, proof } = about;
  const isTime = (at) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(at);
  need(!more.length && Object.keys(about).join() === "end,first,format,origin,proof,since,until", wrong);
  need(format === "sharewell-period/v1" && [since, until].every(isTime) && [first, end].every(isIndex), wrong);
  return need(Array.isArray(proof), wrong) && about;
}
export async function verifyPeriod(files, policy) {
  const { origin, since, until, first, end, proof } = readAbout(files);
  need(hex(await sha256(memberOf(files, "README.md"))) === README, "README.md is not the text of this format");
  const found = await openCheckpoint(memberOf(files, "checkpoint"), policy);
  need(found.origin === origin, `the file is of ${origin}, its checkpoint of ${found.origin}`);
  const keys = await Promise.all(linesOf(files, "keys.txt").map((vkey) => parseKey(vkey)));
  const isListed = keys.some((key) => key.type === ED25519 && found.signers.includes(`${key.name}+${key.id}`));
  need(isListed, "keys.txt does not list the key that signed the checkpoint");
  const entries = linesOf(files, "entries.jsonl");
  await verifyRun(entries, first, end, proof.map(fromBase64), found);
  const decisions = entries.map((entry, at) => parseCanonical(entry, `entry ${first + at} is not in canonical form`));
  const decided = decisions.map(({ at }) => since <= at && at < until), outside = "decided outside of the period";
  need(decided.at(0) && decided.at(-1), `the first or the last entry was ${outside} it claims to be of`);
  const policySets = await verifySets(files, new Set(decisions.map((decision) => decision.policy_set)));
  return { ...found, since, until, first, end, decided: decided.filter(Boolean).length, policySets };
}
async function verifyRun(entries, first, end, proof, { size, root }) { // proof: complete subtrees beside, left to right
  const leaves = await Promise.all(entries.map((entry) => leafHash(utf8(entry)))), many = leaves.length;
  need(many && end === first + many && end <= size, `there are ${many} entries, not ${first} to ${end - 1} of ${size}`);
  const known = (from, to) => {
    const width = to - from, isComplete = width === 1 || split(width) * 2 === width;
    if (first < to && from < end) return width === 1 && leaves[from - first];
    return isComplete && need(proof.shift(), "the proof is too short");
  };
  const leads = same(await head(0, size, known), root) && !proof.length;
  need(leads, "an entry was changed, left out or put in: they do not lead to the head that is signed");
}
async function verifySets(files, named) { // lists of the sets that entries name, and the files that those list
  const lists = [...named].filter((name) => files.has(SET + name));
  const listed = lists.flatMap((name) => linesOf(files, SET + name).map((line) => line.split("  ")[0]));
  const wanted = new Set([...lists, ...listed].map((name) => SET + name));
  const held = [...files.keys()].filter((name) => !MEMBERS.includes(name)), isWhole = held.length === wanted.size;
  need(isWhole && held.every((name) => wanted.has(name)), "policies holds too much, or not every file of a set");
  for (const name of held) need(SET + hex(await sha256(files.get(name))) === name, `${name} has another SHA-256`);
  return lists.length;
}

// --- 7. a whole log, c2sp.org/tlog-tiles; `read` has the bytes of a path, or undefined -----------------------------
const FULL = 256, count = (size, level) => Math.floor(size / FULL ** level);
const widthOf = (size, level, n) => Math.min(FULL, count(size, level) - n * FULL);
export function tilePath(level, n, width) {
  const digits = String(n).padStart(Math.ceil(String(n).length / 3) * 3, "0").replace(/...(?=.)/g, "x$&/");
  return `tile/${level}/${digits}${width < FULL ? `.p/${width}` : ""}`;
}
async function readTile(read, level, n, width) { // the full tile will do once the partial one is gone
  for (const wide of new Set([width, FULL])) {
    const path = tilePath(level, n, wide), data = await read(path);
    if (!data) continue;
    const items = cutUp(data, path, level === "entries");
    need(items.length === wide, `${path} does not have ${wide} items`);
    return items.slice(0, width);
  }
  return need(false, `${tilePath(level, n, width)} is missing`);
}
function cutUp(data, path, isEntries) { // entries have their length before them, hashes have 32 bytes
  const items = [];
  for (let at = 0; at < data.length; ) {
    const start = isEntries ? at + 2 : at, end = start + (isEntries ? data[at] * 256 + data[at + 1] : 32);
    need(end <= data.length, `${path} ends within its item ${items.length}`);
    items.push(data.subarray(start, end));
    at = end;
  }
  return items;
}
export async function checkTile(read, size, level, n, entries) { // against its entries, or the tiles below
  const width = widthOf(size, level, n), hashes = await readTile(read, level, n, width);
  if (level === 0 && !entries) return hashes;
  const made = await Promise.all(level === 0 ? (await readTile(read, "entries", n, width)).map(leafHash)
    : hashes.map(async (_, at) => fold(await readTile(read, level - 1, n * FULL + at, FULL))));
  const wrong = made.findIndex((hash, at) => !same(hash, hashes[at])), below = n * FULL + wrong;
  const source = level ? tilePath(level - 1, below, FULL) : `entry ${below}`;
  need(wrong < 0, `hash ${wrong} of ${tilePath(level, n, width)} is not that of ${source}`);
  return hashes;
}
export function rootAt(read, part, size) { // the head over the first `part` entries, from the tiles of a tree of `size`
  const tiles = new Map();
  return head(0, part, (start, end) => {
    let level = 0, wide = 1; // a hash of a tile is over 256^level leaves
    for (; wide < end - start; wide *= FULL) level += 1;
    if (wide > end - start) return undefined;
    const n = Math.floor(start / wide / FULL), path = tilePath(level, n, FULL);
    if (!tiles.has(path)) tiles.set(path, readTile(read, level, n, widthOf(size, level, n)));
    return tiles.get(path).then((hashes) => hashes[(start / wide) % FULL]);
  });
}
async function checkOthers(read, paths, size) { // narrower tiles, of earlier trees, are how the later ones begin
  for (const path of paths) {
    const [, where, digits, width = FULL] = /^tile\/(entries|\d{1,2})\/([x\d/]+)(?:\.p\/(\d+))?$/.exec(path) ?? [];
    const level = where === "entries" ? where : Number(where), n = Number(digits?.replace(/[x/]/g, ""));
    need(tilePath(level, n, Number(width)) === path, `${path} is no part of a log`);
    const now = widthOf(size, Number(where) || 0, n);
    if (width >= now) continue; // part of the tree, or beyond it
    const later = await readTile(read, level, n, now), items = await readTile(read, level, n, Number(width));
    need(items.every((item, at) => same(item, later[at])), `${path} is not how the later tile begins`);
  }
}
export async function verifyLog(read, policy, { remembered = [], wanted, paths = [] } = {}) { // paths: all, if known
  const tree = await openCheckpoint(need(await read("checkpoint"), "there is no checkpoint"), policy), { size } = tree;
  const tiles = paths.filter((path) => path.startsWith("tile/")), first = tilePath("entries", 0, widthOf(size, 0, 0));
  const entries = size === 0 || tiles.some((path) => path.startsWith("tile/entries/")) || !!(await read(first));
  let index;
  for (let level = 0; count(size, level) > 0; level++) {
    for (let n = 0; n * FULL < count(size, level); n++) {
      const hashes = await checkTile(read, size, level, n, entries);
      const at = level === 0 && wanted ? hashes.findIndex((hash) => same(hash, wanted)) : -1;
      if (at >= 0) index = n * FULL + at;
    }
  }
  need(same(await rootAt(read, size, size), tree.root), "the tiles lead to another head than the signed one");
  await checkOthers(read, tiles, size);
  for (const note of remembered) {
    const was = await openCheckpoint(note, policy, "none");
    await needHandover(read, policy, was.origin, tree.origin, "remembered checkpoint");
    need(was.size <= size, `you remember ${was.size} entries and here are ${size}: an older copy, or rolled back`);
    const rewritten = `the log signed another head for its first ${was.size} entries: it was rewritten`;
    need(same(await rootAt(read, was.size, size), was.root), rewritten, Misbehaved);
  }
  return { ...tree, index, entries };
}

// That the log went on from one name to another: in each handover the key of a name names the keys that come after it.
async function needHandover(read, policy, was, now, what) {
  const file = await read("handovers"), parts = file ? toText(file).replace(/\n$/, "").split("\n\n") : [];
  const names = new Set([was]), isNote = (at) => at % 2 === 0 && at + 1 < parts.length;
  const notes = parts.flatMap((text, at) => (isNote(at) ? `${text}\n\n${parts[at + 1]}\n` : []));
  for (const note of notes.flatMap(() => notes)) { // as often as there are notes, for they stand in any order
    const { text, lines } = splitNote(utf8(note)), [first, ...vkeys] = text.slice(0, -1).split("\n");
    const isGiver = ({ name, type }) => type === ED25519 && names.has(name) && first === `${name}/handover`;
    const keys = policy.logs.filter((key) => isGiver(key) && lines.some((line) => isBy(key, line)));
    if (!keys.length) continue; // by nobody whom one trusts
    await openNote(utf8(note), keys);
    for (const key of await Promise.all(vkeys.map((vkey) => parseKey(vkey)))) names.add(key.name);
  }
  need(names.has(now), `the ${what} is of ${was}, the log is ${now}, and no handover by a key you trust leads there`);
}

// A log receipt; with the log itself (`log` reads its files), whether the promise was kept.
export async function verifyReceipt(file, policy, { log, now = Date.now() / 1000 } = {}) {
  const origin = toText(file).split("\n")[0].replace(/\/receipt$/, "");
  const { text, by } = await openNote(file, policy.receipts.filter((key) => key.name === `${origin}/receipt`));
  const [, hash, stagedAt, mergeBy, ...more] = text.split("\n"), leaf = fromBase64(hash ?? "");
  const isReceipt = by.length === 1 && isName(origin) && leaf.length === 32 && more.length === 1 && more[0] === "";
  need(isReceipt, "it is not a log receipt");
  const receipt = { origin, leaf: hash, stagedAt: number(stagedAt), mergeBy: number(mergeBy) };
  need(receipt.stagedAt <= receipt.mergeBy, "it promises a time before it was given");
  if (!log) return receipt;
  const found = await verifyLog(log, policy, { wanted: leaf });
  await needHandover(log, policy, origin, found.origin, "log receipt");
  if (found.index !== undefined) return { ...receipt, ...found };
  need(now > receipt.mergeBy, "the entry is not there yet, and need not be");
  const isLater = !found.latest || found.latest >= receipt.mergeBy;
  need(isLater, "that checkpoint is from before the promised time; fetch the log again");
  const time = new Date(receipt.mergeBy * 1000).toISOString();
  return need(false, `the log promised to hold the entry by ${time}, and does not`, Misbehaved);
}

// --- 8. the shell: where files come from, and what they are --------------------------------------------------------
export const served = (prefix) => async (path) => {
  const answer = await fetch(`${prefix.replace(/\/$/, "")}/${path}`);
  need(answer.ok || answer.status === 404, `${path}: the server answered ${answer.status}`);
  return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : undefined;
};
const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const crc32 = (bytes) => ~bytes.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ (sum >>> 8), ~0) >>> 0;
const little = (value, width) => Array.from({ length: width }, (_, at) => Math.floor(value / 256 ** at) % 256);
function pack(files) { // the one form of the ZIP file: in order of name, nothing compressed, of 1980-01-01
  const members = [], index = [];
  let at = 0;
  for (const [name, data] of [...files].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const named = utf8(name), size = little(data.length, 4), times = [0, 0, 0, 0, 33, 0];
    const about = join([20, 0, 0, 0], times, little(crc32(data), 4), size, size, little(named.length, 2), [0, 0]);
    members.push([80, 75, 3, 4], about, named, data);
    index.push([80, 75, 1, 2, 20, 3], about, [0, 0, 0, 0, 0, 0, 0, 0, 164, 1], little(at, 4), named);
    at += 30 + named.length + data.length;
  }
  const whole = join(...index), many = little(files.size, 2), counts = [0, 0, 0, 0, ...many, ...many];
  return join(...members, whole, [80, 75, 5, 6], counts, little(whole.length, 4), little(at, 4), [0, 0]);
}
export function unpack(bytes) { // whatever is not as it says comes out otherwise when it is packed again
  const files = new Map(), view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 30 < bytes.length && view.getUint32(at) === 0x504b0304; ) {
    const start = at + 30 + view.getUint16(at + 26, true), end = start + view.getUint32(at + 22, true);
    files.set(toText(bytes.subarray(at + 30, start)), bytes.subarray(start, end));
    at = end;
  }
  need(same(pack(files), bytes), "the ZIP file is not in its one form: it was cut off, packed again or changed");
  return files;
}
const KINDS = [ // how a file begins, and what it is then
  ["PK", (file, policy) => verifyPeriod(unpack(file), policy)],
  ["{", verifyBundle],
  ["c2sp.org/tlog-proof@v1\n", (file, policy, { entry }) => verifyProof(file, need(entry, "give the entry"), policy)],
  ["", verifyReceipt],
];
export async function verifyAny(file, policy, more = {}) {
  const [, verify] = KINDS.find(([start]) => same(file.subarray(0, start.length), utf8(start)));
  return verify(file, policy, more);
}

// --- 9. the command line -------------------------------------------------------------------------------------------
const USAGE = `usage: node verify.mjs FILE-OR-FOLDER [--policy FILE | --key KEY-OR-FILE] [--log FOLDER] [--entry FILE]
  [--remembered CHECKPOINT] [--at TIME]`;
const OWN_KEYS = "the keys were taken from the folder itself; compare them with keys you got another way";

async function main(words) { // an Error that is no NotVerified: nothing could be looked at
  const { readFile, readdir, stat } = await import("node:fs/promises"), { relative } = await import("node:path");
  const { parseArgs } = await import("node:util"), refuse = (why) => { throw Error(why); };
  const one = { type: "string" }, several = { ...one, multiple: true, default: [] };
  const options = { policy: one, key: several, log: one, entry: one, remembered: several, at: one };
  const parsed = async () => parseArgs({ args: words, options, allowPositionals: true });
  const { values, positionals: [target, ...more] } = await parsed().catch(() => refuse(USAGE));
  if (!target || more.length) refuse(USAGE);

  const missing = (why) => (why.code === "ENOENT" ? undefined : need(false, why.message));
  const folder = (root) => (path) => readFile(`${root}/${path}`).catch(missing);
  const readAll = (paths) => Promise.all(paths.map((path) => readFile(path)));
  const filesIn = async (root) => (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((it) => it.isFile()).map((it) => relative(root, `${it.parentPath ?? it.path}/${it.name}`));
  const isFolder = (await stat(target)).isDirectory(), paths = isFolder ? await filesIn(target) : [];
  const isPeriod = paths.includes("period.json"), isLog = isFolder && !isPeriod;

  const isKey = (text) => /^[^+]+\+[0-9a-f]{8}\+/.test(text), { log, entry, at, remembered } = values;
  const keys = await Promise.all(values.key.map((key) => (isKey(key) ? key : readFile(key, "utf8"))));
  const file = values.policy ?? (isLog && !keys.length && `${target}/policy`);
  if (!file === !keys.length) refuse("give the keys that you trust: --policy FILE, or --key KEY, and not both");
  const trusted = async () => (file ? parsePolicy(toText(await readFile(file))) : policyOf(keys.join("\n")));
  const policy = await trusted().catch((why) => refuse(why.message));
  const now = /^\d+$/.test(at) ? Number(at) : Date.parse(at) / 1000;
  if (at && Number.isNaN(now)) refuse(`--at ${at} is no time; write it as 2026-03-01T12:00:00Z`);

  if (isLog) {
    const found = await verifyLog(folder(target), policy, { remembered: await readAll(remembered), paths });
    return keys.length || values.policy ? found : { ...found, note: OWN_KEYS };
  }
  if (isPeriod) {
    const contents = await readAll(paths.map((path) => `${target}/${path}`));
    return verifyPeriod(new Map(paths.map((path, index) => [path, contents[index]])), policy);
  }
  const beside = { log: log && folder(log), entry: entry && (await readFile(entry)), now: at && now };
  return verifyAny(await readFile(target), policy, beside);
}
if (globalThis.process?.argv?.[1] && import.meta.url.endsWith(process.argv[1].split("/").pop())) {
  try {
    const found = await main(process.argv.slice(2));
    console.log(JSON.stringify({ verified: true, ...found, root: found.root && base64(found.root) }));
  } catch (why) {
    console.log(JSON.stringify({ verified: false, evidence: why instanceof Misbehaved, message: why.message }));
    process.exitCode = why instanceof Misbehaved ? 3 : why instanceof NotVerified ? 1 : 2;
  }
}
