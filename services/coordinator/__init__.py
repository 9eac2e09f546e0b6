"""Tracks every request from receipt to proof. Start with `saga/plan.py`."""
