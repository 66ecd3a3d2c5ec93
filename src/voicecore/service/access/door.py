"""The door in front of the routes that open a call: who is there, and how often.

::

    X-API-Key, or Authorization: Bearer
       └─ the address's rate ► a key of ours, or a token ► the key's rate ► let in

What comes by a unix socket went through a door already: another worker passes it on, or the
process calls itself to see whether calls work.

What is refused is counted by reason (``service/refusals.py``), never by name.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from voicecore.errors import PeerError
from voicecore.service.access.jwks import Jwks
from voicecore.service.access.keys import ApiKeys, parse_keys
from voicecore.service.access.principal import ANONYMOUS, Principal
from voicecore.service.access.rates import Rates
from voicecore.service.access.shared_rates import SharedRates
from voicecore.service.access.tokens import Tokens, public_key_in
from voicecore.service.config import Settings
from voicecore.service.forwarded import EXTERNAL, from_worker

OPENING = frozenset({"/api/voice/session", "/api/voice/offer"})
"""What is posted to these opens a call."""


class Access:
    """Keys, tokens and rates of one server. Belongs to the event loop; :meth:`close` ends it.

    ``rates``: those that several processes count together; None: what the settings say,
    counted here or in Redis. Raises ConfigError for files that can't be used.
    """

    def __init__(self, settings: Settings, rates: Rates | None = None) -> None:
        self._asks = settings.needs_key
        self._keys = ApiKeys(parse_keys(settings.api_keys.get_secret_value()))
        self._jwks = Jwks(settings.jwks_url) if settings.jwks_url else None
        self._tokens = _tokens(settings, self._jwks)
        self._shared: SharedRates | None = None
        redis_url = settings.redis_url.get_secret_value()
        if rates is None and redis_url:
            self._shared = SharedRates(redis_url, settings.redis_prefix)
        self._rates = rates or Rates(
            settings.rate_per_key,
            settings.rate_per_address,
            self._shared.storage if self._shared else None,
        )

    def middleware(self) -> Middleware:
        """The door. Goes inside the guard, which says whose address the request is from."""

        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            if opens_a_call(request) and not from_worker(request):
                await self.admit(shown(request), request[EXTERNAL].client)
            return await handler(request)

        return door

    async def admit(self, key: str, client: str) -> Principal:
        """Who shows ``key`` (``""``: nothing) from the address ``client``.

        PeerError 401 ``key_missing``, ``wrong_key``, ``token_expired``; 429 ``rate_limited``.
        CapacityError ``keys_unavailable``.
        """
        await self._rates.check_address(client)
        if not self._asks:
            return ANONYMOUS
        principal = await self._known(key)
        await self._rates.check_principal(principal)
        return principal

    async def _known(self, key: str) -> Principal:
        if not key:
            raise PeerError(
                "opening a call takes a key: Authorization: Bearer, or X-API-Key",
                code="key_missing",
                status=401,
            )
        name = self._keys.name_of(key)
        if name is not None:
            return Principal(f"key:{name}")
        if self._tokens is not None and key.count(".") == 2:
            return await self._tokens.principal(key)
        raise PeerError("that is no key of this server's", code="wrong_key", status=401)

    async def close(self) -> None:
        """Let go of what was begun. Safe to repeat."""
        if self._jwks is not None:
            await self._jwks.close()
        if self._shared is not None:
            await self._shared.close()


def _tokens(settings: Settings, jwks: Jwks | None) -> Tokens | None:
    secret, file = settings.jwt_secret.get_secret_value(), settings.jwt_public_key
    if not secret and file is None and jwks is None:
        return None
    return Tokens(
        secret=secret,
        public_key=public_key_in(file) if file is not None else None,
        jwks=jwks,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )


def opens_a_call(request: web.Request) -> bool:
    """Whether the request was led to a route that opens one, however its path is written."""
    resource = request.match_info.route.resource
    return request.method == "POST" and resource is not None and resource.canonical in OPENING


def shown(request: web.Request) -> str:
    """The key or token in the request's headers, or ``""``."""
    key = request.headers.get("X-API-Key", "").strip()
    if key:
        return key
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
