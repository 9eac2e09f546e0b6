"""What the coordinator decides: pure functions over frozen values, no IO, no clock."""
