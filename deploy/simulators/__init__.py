"""Stand-ins for vendors that can't run on one machine, written from what they document."""
