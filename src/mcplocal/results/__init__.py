"""What becomes of results on their way to a client: the stages of proxy models, pages, and the cache."""
