"""What the gateway asks of the control plane, hears from it and reports to it."""
