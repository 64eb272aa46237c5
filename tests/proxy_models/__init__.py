"""What a proxy model may be."""
