"""The messages as JSON Schemas, one file each, and as an AsyncAPI document: for readers without our code.

`python -m contracts.schemas` writes them. They say what a reader must accept: unknown fields in what Letheia writes
(it may add some), none in submissions and amendments (a misspelt option must not pass).
"""
