"""Many real calls to a server in another process, and what they cost it (``make bench-load``)."""
