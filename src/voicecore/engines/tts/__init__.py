"""Text to speech: one provider per file."""
