"""Structured logs: one JSON object per line, ids in clear, personal data never.

Field names are an allow-list; anything else is dropped, so that a name or an address cannot slip into a log through a new keyword.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import orjson
import structlog

from libs.common.clock import stopwatch

FIELDS = frozenset({
    "timestamp", "level", "event", "service", "version", "part", "logger", "exception", "reason", "code", "status", "route", "worker",
    "seconds", "topic", "partition", "position", "committed", "begins", "ends", "group", "epoch", "events", "loans",
    "tenant", "loan_id", "borrower_id", "case_id", "task_id", "event_id", "provider", "policy", "simulation", "webhook", "template",
    "batch", "source", "by",
})  # fmt: skip
"""Every field that a log line may have."""
_REPEATED_VALUES = re.compile(
    r"(\bDETAIL: |\bCONTEXT: |invalid input for query argument \$\d+[^:]*:|invalid input (?:syntax|value) for [^:]*:).*"
)
"""Where PostgreSQL and its driver repeat the values they were given; the rest of that line is cut."""
REPEAT_AFTER_S = 10.0
SENTENCE, SENTENCES = 200, 1000
"""How many characters of a sentence are compared, and how many sentences are remembered."""


def configure(service: str, version: str, *, level: str = "INFO") -> None:
    """Send all logs, including those of libraries, to stderr as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    written: list[structlog.typing.Processor] = [
        _only_known_fields, _cut_values, structlog.processors.JSONRenderer(serializer=_dumps),
    ]  # fmt: skip
    structlog.configure(
        processors=[*shared, *written],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service, version=version)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *written],
        )
    )
    handler.addFilter(Seldom())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger; `name` is the part of the product that logs."""
    return structlog.get_logger().bind(part=name)  # type: ignore[no-any-return]  # structlog types it as Any


def _only_known_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: value for name, value in event.items() if name in FIELDS}


def _cut_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut the values of a failed statement: a row may hold a name or an address."""
    return {name: _REPEATED_VALUES.sub(r"\1 ...", value) if isinstance(value, str) else value for name, value in event.items()}


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str).decode()


class Seldom(logging.Filter):
    """Passes each sentence of a library once in ten seconds: while a broker is down, its client says so forty times a second."""

    def __init__(self, now: Callable[[], float] = stopwatch) -> None:
        super().__init__()
        self._now = now
        self._said = dict[tuple[str, str], float]()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write this record."""
        sentence, now = (record.name, str(record.msg)[:SENTENCE]), self._now()
        if now - self._said.get(sentence, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return False
        if len(self._said) >= SENTENCES:
            self._said.clear()
        self._said[sentence] = now
        return True
