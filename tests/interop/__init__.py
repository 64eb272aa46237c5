"""Programs of other makers: their clients through the gateway, and their servers behind it."""
