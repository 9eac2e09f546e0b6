"""Sample people, none of them real: made by seed, loaded into the four stores, checked straight in the stores."""
