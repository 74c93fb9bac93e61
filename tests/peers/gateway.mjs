// A federated gateway on @apollo/gateway: node gateway.mjs SUPERGRAPH [PORT]. Prints its port.
// It hands the caller's token on to every subgraph, as a gateway of partners must.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { ApolloGateway, RemoteGraphQLDataSource } from "@apollo/gateway";
import { parse, validate } from "graphql";

const [path, port = "0"] = process.argv.slice(2);
const quiet = { debug() {}, info() {}, warn: console.error, error: console.error };

class WithToken extends RemoteGraphQLDataSource {
  willSendRequest({ request, context }) {
    if (context.authorization) request.http.headers.set("authorization", context.authorization);
  }
}

const gateway = new ApolloGateway({
  supergraphSdl: readFileSync(path, "utf8"), logger: quiet, buildService: ({ url }) => new WithToken({ url }),
});
const { schema, executor } = await gateway.load();

async function answer(request, authorization) {
  const document = parse(request.query);
  const errors = validate(schema, document);
  if (errors.length) return { errors };
  return executor({
    document, request, schema, queryHash: request.query, operationName: request.operationName ?? null,
    context: { authorization }, metrics: {}, logger: quiet, overallCachePolicy: { restrict() {}, policyIfCacheable: () => null },
  });
}

const server = createServer(async (request, response) => {
  const asked = JSON.parse(await text(request));
  const told = await answer(asked, request.headers.authorization).catch((error) => ({ errors: [{ message: error.message }] }));
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(told));
});
server.listen(Number(port), () => process.stdout.write(`${server.address().port}\n`));
