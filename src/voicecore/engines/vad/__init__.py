"""Voice activity detection: one provider per file, one batcher for all."""
