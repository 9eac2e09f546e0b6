"""How any service talks: to the bus, to the database, to the vault, to object storage."""
