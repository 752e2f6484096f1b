"""JSON logs, one event per line, with run, step and attempt where there are any."""

import logging
import sys

import orjson
import structlog
from structlog.typing import Processor


def configure(level: str, *last: Processor, **everywhere: str | int) -> None:
    """Log JSON to stderr from ``level`` on; ``everywhere`` goes with every event. Also what libraries log.

    ``last`` see an event as it will be written, tracebacks included.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *last,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**everywhere)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processor=structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event).decode()),
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
