"""What becomes of results: stages, pages, the cache."""
