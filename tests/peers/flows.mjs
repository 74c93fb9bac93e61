// openid-client against the gateway, and against an external issuer whose tokens the gateway takes.
// Reads what it needs as JSON from standard input; prints one line for each flow that went as it should.
import { createHmac } from "node:crypto";
import { strict as assert } from "node:assert";
import { text } from "node:stream/consumers";
import * as oauth from "openid-client";

const given = JSON.parse(await text(process.stdin));
const insecure = { execute: [oauth.allowInsecureRequests], algorithm: "oauth2" };
const done = (flow) => process.stdout.write(`ok ${flow}\n`);

async function signer(jwk) {
  const key = await crypto.subtle.importKey(
    "jwk", { ...jwk, alg: undefined, use: undefined, key_ops: ["sign"] }, { name: "ECDSA", namedCurve: "P-384" }, false, ["sign"],
  );
  return oauth.PrivateKeyJwt({ key, kid: jwk.kid });
}

async function graphql(config, tokens, options) {
  const answer = await oauth.fetchProtectedResource(
    config, tokens.access_token, new URL(`${given.url}/graphql`), "POST",
    JSON.stringify({ query: "{ me { clientId roles scopes institutionId } }" }),
    new Headers({ "Content-Type": "application/json" }), options,
  );
  return (await answer.json()).data.me;
}

function totp(secret, at) {
  let bits = "";
  for (const letter of secret) bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30)));
  const mac = createHmac("sha1", key).update(counter).digest();
  const place = mac[19] & 15;
  return String((mac.readUInt32BE(place) & 0x7fffffff) % 1000000).padStart(6, "0");
}

async function signIn(address) {
  const page = await fetch(address);
  const cookie = page.headers.get("set-cookie").split(";")[0];
  const handle = (await page.text()).match(/name="handle" value="([^"]+)"/)[1];
  const post = (path, form) => fetch(`${given.url}${path}`, {
    method: "POST", redirect: "manual", body: new URLSearchParams({ handle, ...form }),
    headers: { Cookie: cookie, Origin: given.url, "Sec-Fetch-Site": "same-origin" },
  });
  // A code counts once: the next one is taken, too, and is not the one the enrolment used up.
  const code = totp(given.person.secret, Date.now() / 1000 + 30);
  const consent = await post("/oauth/sign-in", { login: given.person.login, password: given.person.password, code });
  assert.match(await consent.text(), /act for you/);
  return new URL((await post("/oauth/consent", { answer: "allow" })).headers.get("location"));
}

// A program that acts for itself, as Bearer and bound to a key.
const service = await oauth.discovery(
  new URL(given.url), given.service.client_id, undefined, await signer(given.service.private_jwk), insecure,
);
let tokens = await oauth.clientCredentialsGrant(service, { scope: "system/*.rs" });
assert.equal((await graphql(service, tokens)).clientId, given.service.client_id);
done("client_credentials, private_key_jwt ES384");

let challenges = 0;
service[oauth.customFetch] = async (...request) => {
  const answer = await fetch(...request);
  if (answer.status === 401 && answer.headers.get("www-authenticate").includes("use_dpop_nonce")) challenges += 1;
  if (answer.status === 400 && (await answer.clone().json()).error === "use_dpop_nonce") challenges += 1;
  return answer;
};
const DPoP = oauth.getDPoPHandle(service, await oauth.randomDPoPKeyPair("ES256"));
const bound = await oauth.clientCredentialsGrant(service, { scope: "system/*.rs" }, { DPoP });
assert.equal(bound.token_type, "dpop");
assert.equal((await graphql(service, bound, { DPoP })).clientId, given.service.client_id);
await assert.rejects(graphql(service, bound), "a bound token is no bearer token");
done("DPoP ES256");
assert.ok(challenges >= 1, "the server wants a nonce, and the client got in all the same");
done("DPoP nonces");

assert.equal((await oauth.tokenIntrospection(service, tokens.access_token)).active, true);
await oauth.tokenRevocation(service, tokens.access_token);
assert.equal((await oauth.tokenIntrospection(service, tokens.access_token)).active, false);
done("introspection and revocation");

// An app that acts for a person: pushed request, PKCE, consent, refresh, reuse.
const board = await oauth.discovery(
  new URL(given.url), given.board.client_id, undefined, await signer(given.board.private_jwk), insecure,
);
const verifier = oauth.randomPKCECodeVerifier();
const state = oauth.randomState();
const address = await oauth.buildAuthorizationUrlWithPAR(board, {
  redirect_uri: given.redirect_uri, scope: "user/Offer.rs user/Resource.rs", state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
});
assert.match(address.href, /request_uri=urn/);
const back = await signIn(address);
assert.equal(back.searchParams.get("iss"), given.url);
const granted = await oauth.authorizationCodeGrant(board, back, { pkceCodeVerifier: verifier, expectedState: state });
assert.match((await graphql(board, granted)).clientId, /^person\//);
done("pushed request, authorization_code with PKCE, iss");

const fresh = await oauth.refreshTokenGrant(board, granted.refresh_token);
assert.notEqual(fresh.refresh_token, granted.refresh_token);
await assert.rejects(oauth.refreshTokenGrant(board, granted.refresh_token), (error) => error.error === "invalid_grant");
done("refresh rotation");

await oauth.tokenRevocation(board, fresh.refresh_token);
await assert.rejects(oauth.refreshTokenGrant(board, fresh.refresh_token), (error) => error.error === "invalid_grant");
done("revocation of a family");

// A program of an external issuer, as Bearer and bound to a key.
const outside = await oauth.discovery(
  new URL(given.issuer), "outside", undefined, oauth.ClientSecretBasic("a-secret-of-this-test-only"),
  { execute: [oauth.allowInsecureRequests] },
);
tokens = await oauth.clientCredentialsGrant(outside, { scope: "system/Offer.rs system/Resource.rs" });
const me = await graphql(outside, tokens);
assert.deepEqual([me.clientId, me.roles, me.institutionId], ["outside-id/outside", ["INSTITUTION"], given.institution]);
done("external issuer");

const theirs = oauth.getDPoPHandle(outside, await oauth.randomDPoPKeyPair("Ed25519"));
const held = await oauth.clientCredentialsGrant(outside, { scope: "system/Offer.rs" }, { DPoP: theirs });
assert.deepEqual((await graphql(outside, held, { DPoP: theirs })).scopes, ["system/Offer.rs"]);
await assert.rejects(graphql(outside, held));
done("external issuer, DPoP Ed25519");
