#!/usr/bin/env bash
# Tries the gateway with others' programs: clients and an issuer of OAuth, the audits of GraphQL over HTTP, Apollo's tests
# of subgraphs, two composers, a federated gateway over our subgraph and a partner's, a fuzzer, verifiers of the log
# and a witness of it.
# Needs Node 20 or later and the project's virtual environment; fetches the pinned packages first. Arguments are handed
# to pytest. SHAREWELL_FUZZ_SECONDS says how long to fuzz; our own requests and knocks, in tests/postgres/fuzz, go by number.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
python=${PYTHON:-.venv/bin/python}
npm --prefix "$here" ci --ignore-scripts --no-audit --no-fund
"$python" "$here/fetch.py"
export SHAREWELL_FUZZ_SECONDS=${SHAREWELL_FUZZ_SECONDS:-300}
export SHAREWELL_FUZZ_CASES=${SHAREWELL_FUZZ_CASES:-4000} SHAREWELL_FUZZ_KNOCKS=${SHAREWELL_FUZZ_KNOCKS:-4000}
exec "$python" -m pytest -q tests/peers tests/postgres/gateway/test_peers.py tests/postgres/following/test_peers.py \
    tests/postgres/log/test_peer_witness.py tests/postgres/fuzz "$@"
