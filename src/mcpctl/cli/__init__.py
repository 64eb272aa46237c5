"""The command line for people: kubectl's grammar over the control plane's wire.

``run`` one command from arguments to exit code · ``failures`` errors as text · ``lazy`` and ``verbs`` groups of commands ·
``flags`` and ``words`` what may follow a command · ``connection`` the control plane a command speaks to · ``resources`` the
one table of kinds that ``get``, ``describe`` and ``delete`` share · ``tables``, ``ages`` and ``output`` how answers are shown ·
``credentials`` passwords in, raw tokens out · the rest are the commands, each in the module of its name.
"""
