"""What stands between a call and its engines, so that no provider's bad day is heard as silence.

Each stage's engines, one or a chain of them, are wrapped by :class:`ResilientStt`,
:class:`ResilientLlm` or :class:`ResilientTts`, which are engines themselves: deadlines,
further attempts with back-off, a circuit breaker for each provider, the next engine of
the chain where one fails or is slow, and for recognisers a ring of the audio that no
final text covers yet, so that a broken connection costs no word.
"""
