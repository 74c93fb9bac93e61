// oidc-provider as an external issuer: programs get JWT access tokens (RFC 9068) with the claims our list maps.
// Prints its port; its one client is `outside`.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const server = createServer((request, response) => callback(request, response));
let callback;
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const jwk = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys: [{ ...jwk, kid: "outside-1", use: "sig", alg: "RS256" }] },
    clients: [{
      client_id: "outside", client_secret: "a-secret-of-this-test-only", redirect_uris: [], response_types: [],
      grant_types: ["client_credentials"],
    }],
    scopes: ["system/Offer.rs", "system/Resource.rs"],
    extraTokenClaims: () => ({ roles: ["clinic"], institution: "north" }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "https://sharewell.example/api",
        getResourceServerInfo: () => ({
          scope: "system/Offer.rs system/Resource.rs", audience: "https://sharewell.example/api",
          accessTokenFormat: "jwt", accessTokenTTL: 300, jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  });
  callback = provider.callback();
  process.stdout.write(`${port}\n`);
});
