"""The `letheia` command: the local stack, and a client of the console's REST API."""
