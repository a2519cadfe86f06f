"""Many clients at one moment, on SQLite and on PostgreSQL: nothing lost, nothing twice, no 500, nothing stuck."""
