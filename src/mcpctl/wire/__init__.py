"""The JSON that crosses the wire between client, gateway and control plane, as one set of shapes for both ends.

Members are camelCase, times RFC 3339 with zone, bindings and subjects the strings of ``mcpctl.policy``. A request refuses
members it does not know; an answer always has all of its members, ``null`` where there is nothing to say.
"""
