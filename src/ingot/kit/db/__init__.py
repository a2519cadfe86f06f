"""SQLite and PostgreSQL: connections, transactions, prepared statements, sealed columns."""
