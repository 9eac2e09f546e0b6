"""The `letheia` command. The file to read first: `main`."""
