"""The whole system on this machine without Docker. The file to read first: `parts`, the table of what runs."""
