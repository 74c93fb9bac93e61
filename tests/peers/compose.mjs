// Both composers on the same subgraphs. Reads [{name, url, sdl}] as JSON from standard input; prints the supergraph that
// Apollo's made, and ends with 1 where either refuses.
import { text } from "node:stream/consumers";
import { composeServices as apollo } from "@apollo/composition";
import { composeServices as guild } from "@theguild/federation-composition";
import { parse } from "graphql";

const subgraphs = JSON.parse(await text(process.stdin)).map(({ name, url, sdl }) => ({ name, url, typeDefs: parse(sdl) }));
let supergraph = "";
for (const [name, compose] of Object.entries({ guild, apollo })) {
  const { errors, supergraphSdl } = compose(subgraphs);
  if (errors?.length) {
    process.stderr.write(errors.map((error) => `${name}: ${error.message}\n`).join(""));
    process.exit(1);
  }
  supergraph = supergraphSdl;
}
process.stdout.write(supergraph);
