"""What the control plane does: services decide and write, inside one transaction that the caller opened."""
