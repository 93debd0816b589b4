"""Structured logs on standard error: readable lines, or JSON for machines."""

import logging
import sys
from typing import Any

import structlog

SHOWN: tuple[Any, ...] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # Without what stands in variables: that may be anybody's data.
    structlog.processors.format_exc_info,
)
"""What makes a line of the log of an event, but for its last form."""


def configure(level: str, *, as_json: bool) -> None:
    """Set up logging for this process."""
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[*SHOWN, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        # A logger that is put together for every call would cost each one more than all else that is not its own.
        cache_logger_on_first_use=True,
    )
