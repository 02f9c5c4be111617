"""Calls to providers, whose failures are what they mean for a message: it surely did not go out, or nobody can say."""

from __future__ import annotations

import ssl

from libs.common.calling import Answer, Caller, CallFailedError, HttpCall
from libs.common.calling import Limits as Limits  # noqa: PLC0414  # what a carrier takes is taken from here
from services.notifier.domain.results import NotSent, Unknown


class Carrier:
    """Calls one provider, so many times at once; with `public_only`, none but public addresses."""

    def __init__(self, limits: Limits | None = None, *, public_only: bool = False, context: ssl.SSLContext | None = None) -> None:
        self._caller = Caller(limits, public_only=public_only, context=context)

    async def call(self, call: HttpCall) -> Answer | NotSent | Unknown:
        """Return the answer, or how far the request surely did not, or may have, come."""
        try:
            return await self._caller.call(call)
        except CallFailedError as failed:
            return Unknown(failed.why) if failed.begun else NotSent(failed.why)

    async def close(self) -> None:
        """Close the connections that were kept."""
        await self._caller.close()
