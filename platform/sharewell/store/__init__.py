"""PostgreSQL: one file a noun, the queue, the migrator, and the server that comes along."""
