"""What a call through the gateway costs, beside direct ones and other proxies. ``make bench-gateway`` runs it.

``upstream`` the MCP server behind all of them · ``wire`` the requests · ``contenders`` who passes them on, with
``passthrough``, ``sdk_proxy`` and ``fastmcp_proxy`` as processes of their own · ``calls``, ``lists``, ``lifetime`` and
``outage`` what is measured · ``report`` and ``plot`` what is written.
"""
