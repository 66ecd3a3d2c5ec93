"""Turn detection: models that say whether the caller's turn is over, one kind per file."""
