"""Play history, published or made up, through the running platform as its users would: over OAuth and GraphQL."""
