"""Speech to speech: models that hear the caller and answer in a voice of their own."""
