"""``mcpctl quickstart``: both programs in one process, with something real to call. The one place that composes both."""
