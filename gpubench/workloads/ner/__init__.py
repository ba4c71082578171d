"""Named entities: does a faster step still learn?

``conll`` reads corpora, ``corpus`` makes one, ``scoring`` judges labels, ``training`` learns
until a target is reached.
"""
