"""Errors that people read: what happened, to what, and what to do next. None ever holds an identifier."""


class LetheiaError(Exception):
    """Base of what a service refuses to start or go on with. Its text is one sentence for a person."""
