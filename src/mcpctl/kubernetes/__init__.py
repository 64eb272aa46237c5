"""``mcpctl bootstrap kubernetes``: what a new installation in a cluster needs before anybody can log in to it.

``service_account`` who this pod is to the cluster · ``secret_store`` Secrets of its namespace, over the Kubernetes API ·
``first_secrets`` which ones there must be, and what is in them · ``command`` the command line. Of the control plane it knows
what any client does.
"""
