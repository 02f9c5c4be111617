"""Calls to providers; a failure is returned as what it means for a message: it surely did not go out, or nobody can say."""

from __future__ import annotations

import ssl

from libs.common.calling import NOT_IN_TIME, Answer, Caller, CallFailedError, HttpCall
from libs.common.calling import Limits as Limits  # noqa: PLC0414  # re-exported for users of a carrier
from services.notifier.domain.results import NO_PERMIT, NotSent, Unknown


class Carrier:
    """Calls one provider, with limited concurrency; with `public_only`, only at public addresses."""

    def __init__(
        self, limits: Limits | None = None, *, public_only: bool = False, context: ssl.SSLContext | None = None, http2: bool = False
    ) -> None:
        self._caller = Caller(limits, public_only=public_only, context=context, http2=http2)

    async def call(self, call: HttpCall, *, start_by: float | None = None) -> Answer | NotSent | Unknown:
        """Return the answer, or whether the request surely did not or may have gone out; one that cannot start in time is not begun."""
        try:
            return await self._caller.call(call, start_by=start_by)
        except CallFailedError as failed:
            if failed.begun:
                return Unknown(failed.why)
            return NotSent(NO_PERMIT if failed.why == NOT_IN_TIME else failed.why)

    async def close(self) -> None:
        """Close the kept-alive connections."""
        await self._caller.close()
