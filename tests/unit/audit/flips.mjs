// Flips bits of what lies in a folder and asks the module whether it notices; prints one JSON object.
// node flips.mjs MODULE FOLDER: FOLDER holds small/ and large/ (logs), bundle.json, receipt, period.zip, period.vkey.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";

const [, , module, root] = process.argv;

// The same functions, quicker: Node's own hash without its thread pool, and one signature checked once.
crypto.subtle.digest = async (_, data) => createHash("sha256").update(data).digest();
const remember = (plain, name) => {
  const known = new Map();
  return (...given) => {
    const asked = name(...given);
    if (!known.has(asked)) known.set(asked, plain(...given));
    return known.get(asked);
  };
};
const text = (bytes) => Buffer.from(bytes).toString("latin1"), keys = new Map();
const { importKey, verify } = crypto.subtle;
crypto.subtle.importKey = remember(importKey.bind(crypto.subtle), (_, raw) => text(raw));
crypto.subtle.verify = remember(verify.bind(crypto.subtle), (_, key, signature, message) => {
  if (!keys.has(key)) keys.set(key, keys.size);
  return [keys.get(key), text(signature), text(message)].join();
});

const { parsePolicy, policyOf, unpack, verifyAny, verifyBundle, verifyLog, verifyPeriod, verifyReceipt, checkTile, openCheckpoint, NotVerified } = await import(module);

const filesOf = (folder, at = "") => readdirSync(`${folder}/${at}`).flatMap((name) => {
  const path = at ? `${at}/${name}` : name;
  return statSync(`${folder}/${path}`).isDirectory() ? filesOf(folder, path) : [path];
});
const load = (folder) => new Map(filesOf(folder).map((path) => [path, readFileSync(`${folder}/${path}`)]));
const policy = await parsePolicy(readFileSync(`${root}/small/policy`, "utf8"));

const counts = {};
async function attempt(what, where, check) {
  const count = (counts[what] ??= { tried: 0, missed: [], broken: [] });
  count.tried += 1;
  try {
    await check();
    count.missed.push(where);
  } catch (why) {
    if (!(why instanceof NotVerified)) count.broken.push(`${where}: ${why}`);
  }
}
async function everyBit(what, path, data, check, { bits = [0, 1, 2, 3, 4, 5, 6, 7], but = [] } = {}) {
  const changed = Buffer.from(data);
  await check(changed); // unchanged, it must hold
  for (let at = 0; at < data.length; at++) {
    for (const bit of but.some(([first, end]) => first <= at && at < end) ? [] : bits) {
      changed[at] ^= 1 << bit;
      await attempt(what, `${path} byte ${at} bit ${bit}`, () => check(Buffer.from(changed)));
      changed[at] ^= 1 << bit;
    }
  }
}

const small = load(`${root}/small`);
for (const [path, data] of small) {
  if (path !== "policy") await everyBit("small", path, data, (bytes) => verifyLog(async (asked) => (asked === path ? bytes : small.get(asked)), policy));
}
await everyBit("bundle", "bundle.json", readFileSync(`${root}/bundle.json`), (bytes) => verifyBundle(bytes, policy));
await everyBit("receipt", "receipt", readFileSync(`${root}/receipt`), (bytes) => verifyReceipt(bytes, policy));

// A period as one file, and unpacked, where no sum of the ZIP file helps: there one bit of each byte, but for the two
// times that say which period was asked for, since no signature can know them.
const period = readFileSync(`${root}/period.zip`), vkey = await policyOf(readFileSync(`${root}/period.vkey`, "utf8"));
await everyBit("packed", "period.zip", period, (bytes) => verifyAny(bytes, vkey), { bits: [0] });
const files = unpack(period), times = /(?<="(?:since|until)":")[^"]*/g;
for (const [path, data] of files) {
  const but = path === "period.json" ? [...text(data).matchAll(times)].map((found) => [found.index, found.index + 27]) : [];
  await everyBit("unpacked", path, data, (bytes) => verifyPeriod(new Map(files).set(path, bytes), vkey), { bits: [1], but });
}

// Of a large log only what a flipped byte belongs to is worked out again: its tile, against what lies below it.
const large = load(`${root}/large`);
large.delete("policy");
const { size } = await verifyLog(async (path) => large.get(path), policy);
const bytes = [...large.values()].reduce((sum, data) => sum + data.length, 0);
let state = 12345n;
const random = (below) => Number(((state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n) >> 11n) % BigInt(below));
for (let trial = 0; trial < 10_000; trial++) {
  let at = random(bytes), found;
  for (const [path, data] of large) { if (at < data.length) { found = path; break; } at -= data.length; }
  const changed = Buffer.from(large.get(found));
  changed[at] ^= 1 << random(8);
  const read = async (path) => (path === found ? changed : large.get(path));
  const [, level, digits] = /^tile\/(\w+)\/([x0-9/]+)/.exec(found) ?? [];
  const n = Number(digits?.replace(/[x/]/g, ""));
  await attempt("large", `${found} byte ${at}`, () => (level ? checkTile(read, size, level === "entries" ? 0 : +level, n, true) : openCheckpoint(changed, policy)));
  if (trial < 20) await attempt("whole", `${found} byte ${at}`, () => verifyLog(read, policy));
}
console.log(JSON.stringify(counts));
