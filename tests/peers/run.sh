#!/usr/bin/env bash
# Tries the gateway with independent clients and an independent issuer. Needs Node 20 or later and the project's
# virtual environment; fetches the pinned packages first. Arguments are handed to pytest.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
npm --prefix "$here" ci --ignore-scripts --no-audit --no-fund
cd "$here/../.."
exec "${PYTHON:-.venv/bin/python}" -m pytest -q tests/postgres/gateway/test_peers.py tests/postgres/following/test_peers.py "$@"
