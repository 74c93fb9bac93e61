"""Tells schemathesis which of our error codes say that the request is at fault. All others say that we are."""

from __future__ import annotations

from schemathesis.specs.graphql import validation

validation.CLIENT_ERROR_MARKERS |= {"INVALID", "NOT_FOUND", "CONFLICT", "FORBIDDEN"}
