"""What callers share: a server in a process of its own, and recorded speech to say."""
