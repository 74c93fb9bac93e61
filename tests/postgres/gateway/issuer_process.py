"""An issuer of its own, in a process of its own: signs what the test asks for, and publishes its keys over HTTP.

`python issuer_process.py` prints its port; POST /sign answers with a token, POST /rotate brings and tells a new key,
GET /asked tells how often the keys were fetched.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

KEYS = [RSAKey.generate_key(2048, {"kid": "first"})]
FETCHES = [0]


class Handler(BaseHTTPRequestHandler):
    """One request at a time is enough."""

    def do_GET(self) -> None:
        issuer = f"http://{self.headers['Host']}"
        if self.path == "/.well-known/openid-configuration":
            return self._answer({"issuer": issuer, "jwks_uri": f"{issuer}/keys"})
        if self.path == "/mixed/.well-known/openid-configuration":
            return self._answer({"issuer": "https://someone.example", "jwks_uri": f"{issuer}/keys"})
        if self.path == "/keys":
            FETCHES[0] += 1
            return self._answer({"keys": [key.as_dict(private=False, use="sig") for key in KEYS]})
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/keys")
            return self.end_headers()
        if self.path == "/huge":
            return self._answer({"keys": [], "more": "x" * 100_000})
        return self._answer({"fetches": FETCHES[0]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if self.path == "/rotate":
            KEYS.insert(0, RSAKey.generate_key(2048, {"kid": body["kid"]}))
            return self._answer({"key": KEYS[0].as_dict(private=True)})
        header = {"alg": "RS256", "kid": KEYS[0].kid, **body["header"]}
        return self._answer({"token": jwt.encode(header, body["claims"], KEYS[0], algorithms=["RS256"])})

    def log_message(self, *_: Any) -> None:
        """Nothing to tell."""

    def _answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
