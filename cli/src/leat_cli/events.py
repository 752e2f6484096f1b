"""The log of a run that goes on in this process, as notes beside it: what scripts print, and what went wrong."""

import logging
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

from leat_runner.secrets import mask_held

Note = Callable[[str], None]


def show_log(note: Note) -> None:
    """From now on give the lines that scripts print, and warnings, to ``note``; drop everything else."""

    def show(_logger: object, level: str, event: MutableMapping[str, Any]) -> str:
        text = line_of(level, event)
        if text is not None:
            note(text)
        raise structlog.DropEvent

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            mask_held,
            show,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )


def line_of(level: str, event: Mapping[str, Any]) -> str | None:
    """Return the line for an event, or None for one that people need not see."""
    step = event.get("step")
    if event["event"] == "step.output":
        return f"{step}: {event['line']}" if step else str(event["line"])
    if level in {"debug", "info"}:
        return None
    facts = " ".join(f"{name}={value}" for name, value in event.items() if name not in {"event", "exception"})
    return "\n".join(part for part in (f"{level}: {event['event']} {facts}".rstrip(), event.get("exception")) if part)
