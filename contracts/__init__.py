"""What the parts of Letheia say to each other. Start with `topics`."""
