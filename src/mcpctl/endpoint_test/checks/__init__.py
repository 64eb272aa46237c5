"""The checks, a module per family; ``catalog`` puts them in order."""
