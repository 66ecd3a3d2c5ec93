"""Language models and what stands in for them, one provider per file."""
