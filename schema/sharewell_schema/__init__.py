"""The contracts: GraphQL types and resolvers, the exported SDL, the SQL migrations."""
