"""The official conformance suite, put to a server of our own directly, and again through the gateway: ``make conformance``.

It stands here and not under ``tests``: a command of its own runs it, it leaves a page under ``results``, and it compares what
comes through the gateway with what is there without it, as the other benchmarks do. What is made of a run is tested
(``tests/test_conformance.py``), without anything from npm.
"""
