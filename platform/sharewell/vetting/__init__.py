"""Looks at a set of policies before it is in force: what is wrong with it, and what it changes."""
