"""Use cases, one file a noun, all of one shape: decide, change, record, in one transaction."""
