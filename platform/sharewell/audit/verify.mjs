// A second verifier of the audit log, written from docs/audit-log.md and sharing no code with the first.
// Needs nothing: a browser or Node 20 (WebCrypto). Everything throws NotVerified, or Misbehaved where the log signed
// what is not so. ML-DSA-44 is not in WebCrypto: such a signature counts for nothing and is named in `unchecked`.
//
//   node verify.mjs FILE_OR_FOLDER [--policy FILE | --key KEY] [--log FOLDER] [--entry FILE] [--remembered FILE] [--at TIME]

export class NotVerified extends Error {}
export class Misbehaved extends NotVerified {}
const need = (holds, why, Kind = NotVerified) => { if (!holds) throw new Kind(why); };

// --- bytes ---------------------------------------------------------------------------------------------------------
const utf8 = (text) => new TextEncoder().encode(text);
const toText = (bytes) => {
  try { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes); } catch { throw new NotVerified("it is not UTF-8"); }
};
const join = (...parts) => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
};
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const fromBase64 = (text) => {
  let bytes;
  try { bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); } catch { throw new NotVerified(`${text} is not base64`); }
  need(base64(bytes) === text, `${text} is not base64 in its canonical form`);
  return bytes;
};
const number = (text) => {
  need(/^(0|[1-9][0-9]{0,15})$/.test(text) && Number.isSafeInteger(+text), `${text} is not a whole number in decimal`);
  return +text;
};
const little = (value, width) => Array.from({ length: width }, (_, at) => Math.floor(value / 256 ** at) % 256);
const big64 = (bytes) => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0);
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));

// --- the tree: RFC 6962, 2.1 ---------------------------------------------------------------------------------------
const leafHash = (entry) => sha256([0], entry);
const node = (left, right) => sha256([1], left, right);
const split = (size) => { let k = 1; while (k * 2 < size) k *= 2; return k; };
async function fold(hashes) { // the head over siblings of one height
  for (; hashes.length > 1; ) {
    const pairs = [];
    for (let at = 0; at < hashes.length; at += 2) pairs.push(at + 1 < hashes.length ? node(hashes[at], hashes[at + 1]) : hashes[at]);
    hashes = await Promise.all(pairs);
  }
  return hashes.length ? hashes[0] : sha256();
}
async function bothHeads(start, end, size, known, path) { // of the leaves start to end and of the whole tree; path: leaf side first, each level takes its last
  if (start === 0 && end === size) {
    const head = known ?? path.pop();
    need(head, "the proof is too short");
    return [head, head];
  }
  const k = split(size), sibling = path.pop();
  need(sibling, "the proof is too short");
  if (end <= k) {
    const [part, whole] = await bothHeads(start, end, k, known, path);
    return [part, await node(whole, sibling)];
  }
  const right = start >= k, [part, whole] = await bothHeads(Math.max(0, start - k), end - k, size - k, right ? known : undefined, path);
  return [right ? part : await node(sibling, part), await node(sibling, whole)];
}
export async function verifyInclusion(leaf, index, size, path, root) {
  need(index < size, `there is no entry ${index} in a tree of ${size}`);
  const rest = [...path], [, whole] = await bothHeads(index, index + 1, size, leaf, rest);
  need(same(whole, root) && !rest.length, "the proof does not lead to the head that is signed");
}
export async function verifyConsistency(size1, size2, root1, root2, path) {
  need(0 < size1 && size1 <= size2, `a tree of ${size2} cannot extend one of ${size1}`);
  const rest = [...path], [older, newer] = await bothHeads(0, size1, size2, root1, rest);
  need(same(older, root1) && same(newer, root2) && !rest.length, "the newer tree does not extend the older one");
}
async function headAround(leaves, first, hashes, start, size) { // of the leaves from start on: `leaves` stand at first, complete subtrees beside them are in hashes
  const end = first + leaves.length, beside = start + size <= first || end <= start;
  if (first <= start && start + size <= end) return fold(leaves.slice(start - first, start - first + size));
  const k = split(size);
  if (beside && k * 2 === size || size === 1) return hashes.shift() ?? need(false, "the proof is too short");
  const left = await headAround(leaves, first, hashes, start, k);
  return node(left, await headAround(leaves, first, hashes, start + k, size - k));
}

// --- keys, notes and the trust policy: c2sp.org/signed-note, tlog-cosignature, tlog-policy ---------------------------
const ED25519 = 1, COSIGNATURE = 4, MLDSA44 = 6, KEY_SIZE = { 1: 32, 4: 32, 6: 1312 };
const isName = (text) => text !== "" && !/[\s+]/u.test(text);
async function parseKey(vkey) {
  const [, name, id, encoded] = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/.exec(vkey) ?? [];
  need(name && isName(name), `${vkey} is not a verifier key`);
  const data = fromBase64(encoded), type = data[0], key = data.slice(1);
  need(KEY_SIZE[type] === key.length, `the key of ${name} is of no known kind`);
  need(hex((await sha256(utf8(name), [10], data)).slice(0, 4)) === id, `the id of the key of ${name} is wrong`);
  return { name, id, type, key };
}
async function signed(key, message, signature) {
  const imported = await crypto.subtle.importKey("raw", key, "Ed25519", true, ["verify"]);
  return crypto.subtle.verify("Ed25519", imported, signature, message);
}
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
async function openNote(bytes, keys) { // every line must be by one of the keys, once, and hold
  const { text, lines } = splitNote(bytes), by = [], unchecked = [];
  for (const { name, id, signature } of lines) {
    const key = keys.find((known) => known.name === name && known.id === id);
    need(key && !by.some((one) => one.key === key) && !unchecked.includes(key), `it is also signed by ${name}+${id}, under a key you did not give, or twice`);
    if (key.type === MLDSA44) { unchecked.push(key); continue; }
    const timed = key.type === COSIGNATURE;
    need(signature.length === (timed ? 72 : 64), `the signature of ${name} has another length`);
    const at = timed ? big64(signature) : 0n, message = utf8(timed ? `cosignature/v1\ntime ${at}\n${text}` : text);
    need(at < 2n ** 63n && (await signed(key.key, message, signature.slice(timed ? 8 : 0))), `the signature of ${name} does not fit`);
    by.push({ key, at: Number(at) });
  }
  return { text, by, unchecked };
}
export async function parsePolicy(text) {
  const policy = { logs: [], receipts: [], witnesses: [], groups: [], quorum: undefined }, defined = new Set(), member = new Set();
  for (const line of text.split("\n")) {
    const [word, ...rest] = line.split(/[ \t]+/).filter(Boolean);
    const define = (name) => { need(!defined.has(name) && name !== "none", `${name} is there twice`); defined.add(name); };
    if (word === "log") policy.logs.push(await parseKey(rest[0] ?? ""));
    else if (word === "#log-receipt") policy.receipts.push(await parseKey(rest[0] ?? ""));
    else if (word === "witness") { define(rest[0]); policy.witnesses.push({ name: rest[0], key: await parseKey(rest[1] ?? "") }); }
    else if (word === "group") {
      const [name, least, ...members] = rest, k = { any: 1, all: members.length }[least] ?? number(least ?? "");
      need(k >= 1 && k <= members.length, `the group ${name} is out of range`);
      for (const one of members) { need(defined.has(one) && !member.has(one), `${one} is unknown or in two groups`); member.add(one); }
      define(name);
      policy.groups.push({ name, least: k, members });
    } else if (word === "quorum") {
      need(policy.quorum === undefined && (rest[0] === "none" || defined.has(rest[0])), "the quorum is unknown or there twice");
      policy.quorum = rest[0];
    } else need(word === undefined || word.startsWith("#"), `${line} is no line of a trust policy`);
  }
  need(policy.quorum !== undefined, "the trust policy has no line 'quorum'");
  need(policy.logs.every((key) => key.type !== COSIGNATURE) && policy.witnesses.every(({ key }) => key.type !== ED25519), "a key is of the wrong kind");
  return policy;
}

export function policyOf(text) { // a trust policy, or verifier keys alone, one a line: they ask for no witness
  if (/^\s*quorum\s/m.test(text)) return parsePolicy(text);
  const keys = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return parsePolicy([...keys.map((key) => `${key.split("+")[0].endsWith("/receipt") ? "#log-receipt" : "log"} ${key}`), "quorum none"].join("\n"));
}

// --- checkpoints, bundles, proofs and log receipts -------------------------------------------------------------------
export async function openCheckpoint(bytes, policy, quorum = policy.quorum) {
  const named = toText(bytes).split("\n", 1)[0], logs = policy.logs.filter((key) => key.name === named);
  const keys = [...logs, ...policy.witnesses.map(({ key }) => key)];
  const { text, by, unchecked } = await openNote(bytes, keys);
  const [origin, size, root, ...more] = text.split("\n");
  need(more.length === 1 && isName(origin), "it is not a checkpoint of three lines");
  const head = { origin, size: number(size), root: fromBase64(root), unchecked: unchecked.map((key) => key.name) };
  need(head.root.length === 32, "the head has not 32 bytes");
  need(by.some(({ key }) => logs.includes(key)), `no key of ${origin} signed it that can be checked here`);
  const seen = new Set(policy.witnesses.filter((witness) => by.some(({ key }) => key === witness.key)).map(({ name }) => name));
  const cosigned = by.filter(({ key }) => key.type === COSIGNATURE).map(({ at }) => at);
  for (const { name, least, members } of policy.groups) if (members.filter((one) => seen.has(one)).length >= least) seen.add(name);
  need(quorum === "none" || seen.has(quorum), `the quorum ${quorum} is not met`);
  const signers = by.map(({ key }) => `${key.name}+${key.id}`);
  return { ...head, signers, cosigned, latest: Math.max(0, ...cosigned) };
}
function parseProof(text) {
  const [header, index, ...path] = text.split("\n");
  need(header === "c2sp.org/tlog-proof@v1" && /^index /.test(index) && path.pop() === "", "it is not a proof");
  const hashes = path.map(fromBase64);
  need(hashes.every((hash) => hash.length === 32), "a hash of the proof has not 32 bytes");
  return { index: number(index.slice(6)), path: hashes };
}
async function proven(leaf, proof, checkpoint, policy) {
  const head = await openCheckpoint(checkpoint, policy);
  await verifyInclusion(leaf, proof.index, head.size, proof.path, head.root);
  return { ...head, index: proof.index };
}
export async function verifyProof(file, entry, policy) { // a .tlog-proof file, and the bytes it is for
  const whole = toText(file), cut = whole.indexOf("\n\n");
  return proven(await leafHash(entry), parseProof(whole.slice(0, cut + 1)), utf8(whole.slice(cut + 2)), policy);
}
const canonical = (value) => JSON.stringify(value, (_, part) => part && typeof part === "object" && !Array.isArray(part)
  ? Object.fromEntries(Object.keys(part).sort().map((key) => [key, part[key]])) : part);
const parseJson = (text) => { try { return JSON.parse(text); } catch { throw new NotVerified("it is not JSON"); } };
export async function verifyBundle(file, policy) { // plans are not worked out again here; that takes the first verifier
  const text = toText(file).replace(/\n$/, ""), bundle = parseJson(text), { attachments = {}, ...parts } = bundle ?? {};
  need(canonical(bundle) === text && Object.keys(parts).join() === "checkpoint,entry,format,origin,proof" && Object.values(parts).every((part) => typeof part === "string")
    && parts.format === "sharewell-bundle/v1" && (!("attachments" in bundle) || Object.keys(attachments ?? {}).length), "it is not a bundle in its one form");
  const found = await proven(await leafHash(utf8(parts.entry)), parseProof(parts.proof), utf8(parts.checkpoint), policy);
  need(found.origin === parts.origin, `the bundle is of ${parts.origin}, its checkpoint of ${found.origin}`);
  const decision = parseJson(parts.entry);
  need(canonical(decision) === parts.entry, "the entry is not in canonical form");
  for (const [name, data] of Object.entries(attachments)) need(hex(await sha256(utf8(data))) === name && parts.entry.includes(`"${name}"`), `the input ${name} is not the entry's`);
  return { ...found, decision };
}
export async function verifyReceipt(file, policy, { log, now = Date.now() / 1000 } = {}) { // log: how to read its files
  const origin = toText(file).split("\n")[0].replace(/\/receipt$/, "");
  const { text, by } = await openNote(file, policy.receipts.filter((key) => key.name === `${origin}/receipt` && key.type === ED25519));
  const [, hash, stagedAt, mergeBy, ...more] = text.split("\n"), leaf = fromBase64(hash ?? "");
  need(by.length === 1 && isName(origin) && leaf.length === 32 && more.join() === "" && more.length === 1, "it is not a log receipt");
  const receipt = { origin, leaf: hash, stagedAt: number(stagedAt), mergeBy: number(mergeBy) };
  need(receipt.stagedAt <= receipt.mergeBy, "it promises a time before it was given");
  if (!log) return receipt;
  const found = await verifyLog(log, policy, { wanted: leaf });
  need((await wentOnAs(log, policy, origin)).has(found.origin), `the log receipt is of ${origin}, the log is ${found.origin}, and no handover by a key you trust leads there`);
  if (found.index !== undefined) return { ...receipt, ...found };
  need(now > receipt.mergeBy, "the entry is not there yet, and need not be");
  need(!found.latest || found.latest >= receipt.mergeBy, "that checkpoint is from before the promised time; fetch the log again");
  throw new Misbehaved(`the log promised to hold the entry by ${new Date(receipt.mergeBy * 1000).toISOString()}, and does not`);
}

// --- the entries of a period -------------------------------------------------------------------------------------------
const README = "942ccae819f3001634d369efa55df92501a883443d59a7a70f5d87fe9944d807", SET = "policies/"; // SHA-256 of README.md
const CRC = Uint32Array.from({ length: 256 }, (_, value) => { for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1; return value; });
const crc32 = (bytes) => { let sum = ~0; for (const byte of bytes) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8); return ~sum >>> 0; };
function pack(files) { // the one form of the ZIP file: in order of name, nothing compressed, of 1980-01-01
  const members = [], index = [];
  let at = 0;
  for (const [name, data] of [...files].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const named = utf8(name), size = little(data.length, 4);
    const about = join([20, 0, 0, 0, 0, 0, 0, 0, 33, 0], little(crc32(data), 4), size, size, little(named.length, 2), [0, 0]);
    members.push([80, 75, 3, 4], about, named, data);
    index.push([80, 75, 1, 2, 20, 3], about, [0, 0, 0, 0, 0, 0, 0, 0, 164, 1], little(at, 4), named);
    at += 30 + named.length + data.length;
  }
  const whole = join(...index), many = little(files.size, 2);
  return join(...members, whole, [80, 75, 5, 6, 0, 0, 0, 0], many, many, little(whole.length, 4), little(at, 4), [0, 0]);
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
export async function verifyPeriod(files, policy) { // a Map from name to bytes
  const read = (name) => toText(files.get(name) ?? need(false, `${name} is missing`)), lines = (name) => {
    const all = read(name).split("\n");
    need(all.pop() === "", `${name} does not end with a line end`);
    return all;
  };
  const [text, ...more] = lines("period.json"), about = parseJson(text), { format, origin, since, until, first, end, proof } = about ?? {};
  const isTime = (value) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(value);
  need(!more.length && canonical(about) === text && Object.keys(about).length === 7 && format === "sharewell-period/v1" && isTime(since) && isTime(until)
    && Array.isArray(proof) && [first, end].every((value) => Number.isSafeInteger(value) && value >= 0), "period.json is not in its one form");
  need(hex(await sha256(utf8(read("README.md")))) === README, "README.md is not the text of this format");
  const head = await openCheckpoint(utf8(read("checkpoint")), policy), keys = await Promise.all(lines("keys.txt").map(parseKey));
  need(head.origin === origin, `the file is of ${origin}, its checkpoint of ${head.origin}`);
  need(keys.some(({ name, id, type }) => type === ED25519 && head.signers.includes(`${name}+${id}`)), "keys.txt does not list the key that signed the checkpoint");
  const entries = lines("entries.jsonl"), leaves = await Promise.all(entries.map((entry) => leafHash(utf8(entry)))), hashes = proof.map(fromBase64);
  need(leaves.length && end === first + leaves.length && end <= head.size, `there are ${leaves.length} entries, not ${first} to ${end - 1} of ${head.size}`);
  need(same(await headAround(leaves, first, hashes, 0, head.size), head.root) && !hashes.length, "an entry was changed, left out or put in: they do not lead to the head that is signed");
  const decisions = entries.map(parseJson), wrong = decisions.findIndex((decision, at) => canonical(decision) !== entries[at]);
  need(wrong < 0, `entry ${first + wrong} is not in canonical form`);
  const decided = decisions.map(({ at }) => since <= at && at < until);
  need(decided.at(0) && decided.at(-1), "the first or the last entry was decided outside of the period it claims to be of");
  const named = new Set(decisions.map((decision) => decision.policy_set).filter(Boolean)), kept = [...named].filter((name) => files.has(SET + name));
  const listed = kept.flatMap((name) => lines(SET + name).map((line) => line.split("  ")[0]));
  const wanted = new Set([...kept, ...listed].map((name) => SET + name)), held = [...files.keys()].filter((name) => !["README.md", "checkpoint", "entries.jsonl", "keys.txt", "period.json"].includes(name));
  need(held.length === wanted.size && held.every((name) => wanted.has(name)), "policies holds too much, or not every file of a set");
  for (const name of held) need(SET + hex(await sha256(files.get(name))) === name, `${name} has another SHA-256`);
  return { ...head, since, until, first, end, decided: decided.filter(Boolean).length, policySets: kept.length };
}

// --- a whole log: c2sp.org/tlog-tiles ----------------------------------------------------------------------------------
const FULL = 256, count = (size, level) => Math.floor(size / FULL ** level);
const widthOf = (size, level, n) => Math.min(FULL, count(size, level) - n * FULL);
export function tilePath(level, n, width) {
  const digits = String(n).padStart(Math.ceil(String(n).length / 3) * 3, "0").match(/.../g);
  return `tile/${level}/${digits.map((group, at) => (at + 1 < digits.length ? `x${group}/` : group)).join("")}${width < FULL ? `.p/${width}` : ""}`;
}
async function readTile(read, level, n, width) { // the full tile will do once the partial one is gone
  for (const wide of new Set([width, FULL])) {
    const path = tilePath(level, n, wide), data = await read(path);
    if (!data) continue;
    const items = level === "entries" ? splitEntries(data, path) : Array.from({ length: Math.ceil(data.length / 32) }, (_, at) => data.subarray(32 * at, 32 * at + 32));
    need(items.length === wide && (level === "entries" || data.length === 32 * wide), `${path} does not have ${wide} items`);
    return items.slice(0, width);
  }
  throw new NotVerified(`${tilePath(level, n, width)} is missing`);
}
function splitEntries(data, path) {
  const entries = [];
  for (let at = 0; at < data.length; ) {
    const end = at + 2 + data[at] * 256 + data[at + 1];
    need(end <= data.length, `${path} ends within its entry ${entries.length}`);
    entries.push(data.subarray(at + 2, end));
    at = end;
  }
  return entries;
}
export async function checkTile(read, size, level, n, entries) { // against its entries, or the tiles below; returns its hashes
  const width = widthOf(size, level, n), hashes = await readTile(read, level, n, width);
  if (level === 0 && !entries) return hashes;
  const below = level === 0 ? (await readTile(read, "entries", n, width)).map(leafHash)
    : hashes.map(async (_, at) => fold(await readTile(read, level - 1, n * FULL + at, FULL)));
  const made = await Promise.all(below), wrong = made.findIndex((hash, at) => !same(hash, hashes[at]));
  need(wrong < 0, `hash ${wrong} of ${tilePath(level, n, width)} is not that of ${level ? tilePath(level - 1, n * FULL + wrong, FULL) : `entry ${n * FULL + wrong}`}`);
  return hashes;
}
export async function rootAt(read, part, size) { // the head over the first `part` entries, from the tiles of a tree of `size`
  let root;
  for (let level = 0; count(part, level) > 0; level++) {
    const n = Math.floor(count(part, level) / FULL), width = count(part, level) % FULL;
    if (!width) continue;
    const hashes = (await readTile(read, level, n, widthOf(size, level, n))).slice(0, width);
    for (let wide = 1, end = width; end > 0; wide *= 2) {
      if (!(width & wide)) continue; // the complete subtrees from the right, the smallest first
      const peak = await fold(hashes.slice(end - wide, end));
      root = root ? await node(peak, root) : peak;
      end -= wide;
    }
  }
  return root ?? sha256();
}
async function checkOthers(read, paths, size) { // narrower tiles, of earlier trees, are how the later ones begin
  for (const path of paths) {
    const [, where, digits, width = FULL] = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d+))?$/.exec(path) ?? [];
    const n = Number(digits?.replace(/[x/]/g, "")), level = where === "entries" ? where : Number(where), wide = Number(width);
    need(tilePath(level, n, wide) === path, `${path} is no part of a log`);
    const now = widthOf(size, Number(where) || 0, n);
    if (wide >= now) continue; // part of the tree, or beyond it
    const later = await readTile(read, level, n, now);
    need((await readTile(read, level, n, wide)).every((item, at) => same(item, later[at])), `${path} is not how the later tile begins`);
  }
}
export async function verifyLog(read, policy, { remembered = [], wanted, paths = [] } = {}) { // paths: of all files there are, if known
  const file = await read("checkpoint");
  need(file, "there is no checkpoint");
  const head = await openCheckpoint(file, policy), { size, root, origin } = head, tiles = paths.filter((path) => path.startsWith("tile/"));
  const entries = size === 0 || tiles.some((path) => path.startsWith("tile/entries/")) || !!(await read(tilePath("entries", 0, widthOf(size, 0, 0))));
  let index;
  for (let level = 0; count(size, level) > 0; level++) {
    for (let n = 0; n * FULL < count(size, level); n++) {
      const hashes = await checkTile(read, size, level, n, entries);
      const at = level === 0 && wanted ? hashes.findIndex((hash) => same(hash, wanted)) : -1;
      if (at >= 0) index = n * FULL + at;
    }
  }
  need(same(await rootAt(read, size, size), root), "the tiles lead to another head than the signed one");
  await checkOthers(read, tiles, size);
  for (const note of remembered) {
    const was = await openCheckpoint(note, policy, "none");
    need((await wentOnAs(read, policy, was.origin)).has(origin), `the remembered checkpoint is of ${was.origin}, and no handover by a key you trust leads here`);
    need(was.size <= size, `you remember ${was.size} entries and here are ${size}: an older copy, or rolled back`);
    need(same(await rootAt(read, was.size, size), was.root), `the log signed another head for its first ${was.size} entries: it was rewritten`, Misbehaved);
  }
  return { ...head, index, entries };
}

async function wentOnAs(read, policy, was) { // the names a log went on under: in each note its key names the keys that come after it
  const names = new Set([was]), file = await read("handovers"), parts = file ? toText(file).replace(/\n$/, "").split("\n\n") : [];
  for (let before = 0; before < names.size; ) { // until no name comes: notes of one time stand in any order
    before = names.size;
    for (let at = 0; at + 1 < parts.length; at += 2) {
      const note = utf8(`${parts[at]}\n\n${parts[at + 1]}\n`), [first, ...vkeys] = parts[at].split("\n"), { lines } = splitNote(note);
      const isBy = ({ name, id, type }) => type === ED25519 && first === `${name}/handover` && lines.some((line) => line.name === name && line.id === id);
      const keys = policy.logs.filter((key) => names.has(key.name) && isBy(key));
      if (!keys.length) continue; // by nobody whom one trusts
      await openNote(note, keys);
      for (const key of await Promise.all(vkeys.map(parseKey))) names.add(key.name);
    }
  }
  return names;
}

// --- where files are -----------------------------------------------------------------------------------------------------
export const served = (prefix) => async (path) => {
  const answer = await fetch(`${prefix.replace(/\/$/, "")}/${path}`);
  need(answer.ok || answer.status === 404, `${path}: the server answered ${answer.status}`);
  return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : undefined;
};
export async function verifyAny(file, policy, more = {}) { // the bytes of a bundle, period, proof or log receipt
  if (file[0] === 0x50 && file[1] === 0x4b) return verifyPeriod(unpack(file), policy);
  if (file[0] === 0x7b) return verifyBundle(file, policy);
  return toText(file).startsWith("c2sp.org/tlog-proof@v1\n") ? verifyProof(file, more.entry ?? need(false, "give the entry"), policy) : verifyReceipt(file, policy, more);
}
if (globalThis.process?.argv?.[1] && import.meta.url.endsWith(globalThis.process.argv[1].split("/").pop())) {
  const { readFile, readdir, stat } = await import("node:fs/promises"), { relative } = await import("node:path"), [, , target, ...rest] = process.argv;
  const folder = (root) => (path) => readFile(`${root}/${path}`).catch((why) => need(why.code === "ENOENT", why.message));
  const filesIn = async (root) => (await readdir(root, { recursive: true, withFileTypes: true })).filter((one) => one.isFile())
    .map((one) => relative(root, `${one.parentPath ?? one.path}/${one.name}`));
  const USAGE = "usage: node verify.mjs FILE-OR-FOLDER [--policy FILE | --key KEY-OR-FILE] [--log FOLDER] [--entry FILE] [--remembered CHECKPOINT] [--at TIME]";
  const option = (name) => rest.flatMap((word, at) => (at % 2 === 0 && word === `--${name}` ? [rest[at + 1]] : []));
  const moment = (text) => (/^\d+$/.test(text) ? Number(text) : Date.parse(text) / 1000);
  const keysOf = async (text) => (/^[^+]+\+[0-9a-f]{8}\+/.test(text) ? text : toText(await readFile(text)));
  try {
    if (!target || rest.length % 2 || rest.some((word, at) => at % 2 === 0 && !/^--(policy|key|log|entry|remembered|at)$/.test(word))) throw Error(USAGE);
    const isFolder = (await stat(target)).isDirectory(), names = isFolder ? await filesIn(target) : [], isPeriod = names.includes("period.json");
    const given = await Promise.all(option("key").map(keysOf)), [policyFile = isFolder && !isPeriod && !given.length && `${target}/policy`] = option("policy");
    if (!policyFile === !given.length) throw Error("give the keys that you trust: --policy FILE, or --key KEY, and not both");
    const trusted = async () => (policyFile ? parsePolicy(toText(await readFile(policyFile))) : policyOf(given.join("\n")));
    const policy = await trusted().catch((why) => { throw Error(why.message); }), [log] = option("log"), [entry] = option("entry"), [at] = option("at");
    if (at && Number.isNaN(moment(at))) throw Error(`--at ${at} is no time; write it as 2026-03-01T12:00:00Z`);
    const found = isPeriod ? await verifyPeriod(new Map(await Promise.all(names.map(async (name) => [name, await readFile(`${target}/${name}`)]))), policy)
      : isFolder ? await verifyLog(folder(target), policy, { remembered: await Promise.all(option("remembered").map((path) => readFile(path))), paths: names })
      : await verifyAny(await readFile(target), policy, { log: log && folder(log), entry: entry && (await readFile(entry)), now: at && moment(at) });
    console.log(JSON.stringify({ verified: true, ...found, root: found.root && base64(found.root) }));
  } catch (why) {
    console.log(JSON.stringify({ verified: false, evidence: why instanceof Misbehaved, message: why.message }));
    process.exitCode = why instanceof Misbehaved ? 3 : why instanceof NotVerified ? 1 : 2;
  }
}
