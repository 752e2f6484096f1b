"""The one error a person sees."""


class StackError(Exception):
    """A part cannot be started or stopped; the message says what was found and what to do."""
