"""What a proxy model may be: its stages, their options and its cache, as both ends of the wire understand them.

Nothing here shapes a result; that is the gateway's part.
"""
