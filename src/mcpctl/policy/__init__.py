"""The policy core: who may do what, and who may give it. It decides, and knows only Casbin.

``vocabulary`` the words · ``names`` and ``patterns`` what names match · ``bindings`` the text form of a grant ·
``model`` the Casbin model, and ``matcher`` its matcher compiled · ``slices`` one subject's lines as an enforcer ·
``files`` the strict reader · ``decision`` the one question · ``ceiling`` the same question asked before giving.

For people who edit policies: ``atoms`` all questions there are · ``grants`` what somebody may do in effect ·
``comparison`` who gains and loses · ``redundancy`` lines that never matter · ``checks`` what is probably not meant ·
``tables`` decision tables, and ``trials`` what a policy makes of them.
"""
