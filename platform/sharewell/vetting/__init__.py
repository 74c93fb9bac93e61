"""Looks at a set of policies before it is in force: what is wrong with it, what it changes, which cases it decides anew."""
