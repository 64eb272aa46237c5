"""What is kept: the schema, the database and its transactions, policy lines through Casbin's adapter, revisions."""
