"""STT, LLM, TTS and VAD behind Protocols: one provider per file."""
