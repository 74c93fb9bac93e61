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

// The variables are sent again whenever a client connects again by itself: then they hold the last cursor.
async function follow(client, name, variables, most, cut = () => {}) {
  let heard = 0;
  for await (const result of client.iterate({ query, variables })) {
    if (result.errors) throw new Error(JSON.stringify(result.errors));
    say(`${name} ${result.data.offers.offer.id}`);
    variables.after = result.data.offers.cursor;
    if ((heard += 1) === 2) cut();
    if (heard === most) return;
  }
  throw new Error(`${name} ended`);
}

const place = { after: given.after };
await Promise.all([
  follow(bySocket, "graphql-ws", { after: given.after }, 4, () => drop()),
  follow(byEvents, "graphql-sse", place, 2).then(() => follow(byEvents, "graphql-sse", place, 2)),
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
