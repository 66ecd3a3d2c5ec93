"""The directory that many instances share in Redis.

``scripts``: what is asked of Redis, in Lua. ``book``: the same as a Protocol, for whoever asks;
``redis_book``: by Redis. ``membership``: what an instance may do by what it was told, pure.
``client``: the :class:`~voicecore.service.directory.Directory` made of these.
"""
