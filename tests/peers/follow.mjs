// graphql-ws and graphql-sse following what happens. Reads what it needs as JSON from standard input and
// prints a line for each thing it heard.
import { createInterface } from "node:readline";
import { createClient as createSocketClient } from "graphql-ws";
import { createClient as createEventClient } from "graphql-sse";
import WebSocket from "ws";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const given = JSON.parse((await lines.next()).value);
const query = "subscription ($after: String) { offers(after: $after) { cursor offer { id } } }";
const say = (line) => process.stdout.write(`${line}\n`);
const authorization = `Bearer ${given.token}`;

let opened = 0;
let drop = () => {};
const bySocket = createSocketClient({
  url: `${given.url.replace("http", "ws")}/graphql`, webSocketImpl: WebSocket, connectionParams: () => ({ authorization }),
  retryAttempts: 5, retryWait: async () => {}, shouldRetry: () => true,
  on: {
    connected: (socket) => {
      opened += 1;
      drop = () => socket.terminate();
    },
  },
});
const byEvents = createEventClient({ url: `${given.url}/graphql`, headers: { authorization }, retryAttempts: 5 });

// One result, then a cut connection, then the rest: a subscription of its own from the last cursor on.
async function follow(client, name, after, most) {
  const results = client.iterate({ query, variables: { after } });
  for await (const result of results) {
    if (result.errors) throw new Error(JSON.stringify(result.errors));
    say(`${name} ${result.data.offers.offer.id}`);
    after = result.data.offers.cursor;
    if ((most -= 1) === 0) return after;
  }
  throw new Error(`${name} ended`);
}

const places = await Promise.all([
  follow(bySocket, "graphql-ws", given.after, 2), follow(byEvents, "graphql-sse", given.after, 2),
]);
drop();
await Promise.all([
  follow(bySocket, "graphql-ws", places[0], 2), follow(byEvents, "graphql-sse", places[1], 2),
]);
say(`connections ${opened}`);

// A wrong operation is told as such to both, and what is no subscription has one result.
for (const [name, client] of [["graphql-ws", bySocket], ["graphql-sse", byEvents]]) {
  let errors;
  try {
    for await (const result of client.iterate({ query: "subscription { nothing }" })) errors = result.errors;
  } catch (error) {
    errors = error;
  }
  say(`${name} refused ${errors[0].extensions.code}`);
  for await (const result of client.iterate({ query: "{ me { clientId } }" })) say(`${name} ${result.data.me.clientId}`);
}
await bySocket.dispose();
byEvents.dispose();
process.exit(0);
