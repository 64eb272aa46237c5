"""What servers list, judged entry by entry, and under which names a project offers it."""
