"""Many calls at once, and one call on a bad network."""
