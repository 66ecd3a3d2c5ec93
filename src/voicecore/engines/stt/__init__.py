"""Speech to text: one provider per file."""
