"""HubSpot's CRM as its documentation describes it, nasty sides included: start with `account`.

An index that lags behind writes, rate limits, an address that lands on a blocklist because it was not found, old ids
that answer with a merged record, deletions that take days, calls and notes that outlive their contact. Only the
endpoints in use are here; what a request asks beyond them is refused, never ignored.
"""
