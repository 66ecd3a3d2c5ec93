"""Real-time voice agents."""
