"""What shaping and caching results costs, and what it saves."""
