// A partner's subgraph: it knows landing sites by the codes of institutions, and flights by the offers they are for.
// Reads {sdl, sites: {code: helipad}, flights: [offer id]} as JSON from its first argument; prints its port.
import { createServer } from "node:http";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { parse } from "graphql";
import { createHandler } from "graphql-http/lib/use/http";

const { sdl, sites, flights } = JSON.parse(process.argv[2]);
const schema = buildSubgraphSchema({
  typeDefs: parse(sdl),
  resolvers: {
    Query: {
      landingSites: () => Object.keys(sites).map((code) => ({ code })),
      flights: () => flights.map((id) => ({ offer: { id } })),
    },
    Institution: { __resolveReference: ({ code }) => ({ code }), helipad: ({ code }) => sites[code] ?? null },
  },
});
const server = createServer(createHandler({ schema }));
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
