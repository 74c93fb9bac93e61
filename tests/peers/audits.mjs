// graphql-http's audits of a server against the GraphQL over HTTP specification.
// Reads {url, headers} as JSON from standard input; prints one line for each audit, and ends with 1 where one fails.
import { text } from "node:stream/consumers";
import { auditServer } from "graphql-http";

const given = JSON.parse(await text(process.stdin));
const results = await auditServer({
  url: given.url,
  fetchFn: (url, options = {}) => fetch(url, { ...options, headers: { ...options.headers, ...given.headers } }),
});
for (const { status, id, name, reason } of results) {
  process.stdout.write(`${status} ${id} ${name}${reason ? `: ${reason}` : ""}\n`);
}
process.exit(results.every(({ status }) => status === "ok") ? 0 : 1);
