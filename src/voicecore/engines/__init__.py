"""STT, LLM, TTS, VAD and turn detection behind Protocols: one provider per file."""
