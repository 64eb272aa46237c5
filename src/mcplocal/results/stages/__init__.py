"""The builtin stages, one a file."""
