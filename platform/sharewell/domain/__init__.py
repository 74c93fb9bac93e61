"""Nouns and rules. Standard library only: no clock, socket, database or solver; values go in, values or a named error come out."""
