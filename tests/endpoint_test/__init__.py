"""The validator, against servers that are right, wrong in one respect, and hostile."""
