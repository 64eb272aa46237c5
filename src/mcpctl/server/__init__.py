"""The front door of the control plane: its settings, its log, its listener, and ``mcpctl server``."""
