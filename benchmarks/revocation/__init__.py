"""How long a revocation takes to be true: from the control plane's answer to the first 401 and the end of open streams.

``__main__`` measures, with real processes, on each kind of database, and writes ``benchmarks/results/revocation.md``;
``watcher`` is one bearer's open stream and its questions.
"""
