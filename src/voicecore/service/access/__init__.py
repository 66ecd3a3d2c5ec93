"""Who may open a call: keys, tokens, and how often.

Asked at the routes that open a call and nowhere else (:mod:`.door`). What is said
about a call afterwards shows the call's own token.
"""
