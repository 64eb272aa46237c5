"""mcplocal: the gateway that agents connect to. It decides with the same policy core as the control plane."""
