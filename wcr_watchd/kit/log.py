"""Logs: JSON with priorities for journald, readable lines on a terminal, and no secret in either."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from wcr_watchd.kit.redact import Redactor

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
"""Syslog priorities (sd-daemon(3)): journald reads them from the head of each line."""

Event = MutableMapping[str, Any]


def configure(level: str, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging alike. ``level`` is ``debug info warning error``."""
    out = stream or sys.stderr
    under_systemd = "JOURNAL_STREAM" in os.environ or "INVOCATION_ID" in os.environ
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact(redactor),
    ]
    readable = out.isatty() and not under_systemd
    render: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if readable:
        render.append(structlog.dev.ConsoleRenderer())
    else:
        render += [structlog.processors.JSONRenderer(ensure_ascii=False), _prioritised if under_systemd else _as_is]
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=render))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _redact(redactor: Redactor) -> structlog.typing.Processor:
    def redact(logger: Any, method: str, event: Event) -> Event:
        return {key: value if key.startswith("_") else redactor.value(value) for key, value in event.items()}

    return redact


def _prioritised(logger: Any, method: str, text: Any) -> str:
    return f"<{_PRIORITY.get(method, 6)}>{text}"


def _as_is(logger: Any, method: str, text: Any) -> str:
    return str(text)
