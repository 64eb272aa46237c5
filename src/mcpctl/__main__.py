"""``python -m mcpctl`` is ``mcpctl``."""

from mcpctl.main import main

main()
