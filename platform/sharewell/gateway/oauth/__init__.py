"""An OAuth 2 authorization server for programs: Authlib's core over asyncpg."""
