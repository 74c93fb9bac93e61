// Puts GraphiQL on the page and sends its queries to this very server. The token lives in a variable: it is in no
// storage and in no address, and goes with the page.
"use strict";

let token = "";
const state = document.getElementById("state");

async function ask(body, options) {
  const headers = { ...(options?.headers ?? {}), "Content-Type": "application/json",
    Accept: "application/graphql-response+json", Authorization: `Bearer ${token}` };
  const answer = await fetch("graphql", { method: "POST", headers, body: JSON.stringify(body) });
  const left = answer.headers.get("RateLimit")?.match(/r=(\d+)/)?.[1];
  state.value = answer.status === 401 ? "The token is refused or has expired; paste a new one."
    : left === undefined ? "" : `${left} requests left`;
  return answer.json();
}

function show() {
  const props = { fetcher: ask, shouldPersistHeaders: false, plugins: [GraphiQLPluginExplorer.explorerPlugin()],
    defaultQuery: "# What you are to the platform, and what your token is good for.\n{\n  me { clientId roles scopes }\n}\n" };
  // A new key makes GraphiQL read the schema again, as whoever the token is for.
  root.render(React.createElement(GraphiQL, { ...props, key: String(Date.now()) }));
}

const root = ReactDOM.createRoot(document.getElementById("ide"));
document.getElementById("access").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  token = field.value.trim();
  field.value = "";
  show();
});
