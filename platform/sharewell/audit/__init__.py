"""The audit log on top of the store: sealing, keys, proofs, and the search for holes."""
