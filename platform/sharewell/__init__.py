"""Sharewell: health institutions share capacity fairly, and every decision can be checked by a stranger."""
