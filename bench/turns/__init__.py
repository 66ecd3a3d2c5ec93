"""Turn-taking: how well it is told whose turn it is, and what was heard."""
