"""The connectors: one service beside each store. Start with `port`."""
