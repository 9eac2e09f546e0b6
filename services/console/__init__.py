"""The DPO's window: a REST API over how requests stand, and the way in for decisions. Start with `api`."""
