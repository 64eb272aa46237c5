"""Planted weakenings: each takes one defence out of a copy of the program, and a test must turn red.

``planted/*.toml`` is the list, ``python -m tests.weakenings`` (``make weaken``) goes through it.
"""
