"""Nouns and rules, with the standard library only: values go in, values or a named error come out."""
