"""How large things may be. One place, so that messages, documents and checks cannot disagree."""

KIB = 1024
MIB = 1024 * KIB

ROW_BYTES = 64 * KIB
"""JSON bytes of an output that is kept in the step's row; a larger one is kept beside it."""

OUTPUT_BYTES = MIB
"""JSON bytes of a step's output, and of what one expression may give."""

INPUTS_BYTES = 256 * KIB
"""JSON bytes of a run's inputs, defaults included."""

SPEC_BYTES = MIB
"""JSON bytes of a workflow's spec; etcd takes 1.5 MiB for a whole object."""

STEPS = 5_000
"""Steps of one workflow."""

NEEDS = 1_000
"""Needs of one step, the inferred ones included."""

NAME_CHARS = 63
"""Characters of a step's, an input's or a variable's name."""

SECRET_BYTES = 64 * KIB
"""Bytes of one secret's value."""

EXPRESSION_CHARS = 8_192
"""Characters between ``${`` and ``}``."""

EXPRESSION_DEPTH = 32
"""Nesting of one expression; the CEL parser's own limit."""

EXPRESSION_ITERATIONS = 10_000
"""Elements that the macros of one expression (`map`, `all`...) visit together; the CEL runtime's own limit."""

EXPRESSION_SECONDS = 0.25
"""CPU time that the macros of one expression may take."""

EXPRESSION_LIST_BYTES = 4 * MIB
"""Bytes of all lists that the macros of one expression build on their way."""

EXPRESSION_COPIES = 512
"""How many times the size of what it reads a value inside an expression can be."""

VALUE_DEPTH = 64
"""Nesting of lists and objects in a field."""

DURATION_SECONDS = 366 * 24 * 3600.0
"""The longest timeout, deadline, delay or wait."""

RETRIES = 1_000
"""Further attempts of a step after its first."""

KEY_CHARS = 256
"""Characters of the key of a limit or of a cached result."""

HOLDERS = 10_000
"""Attempts or runs that one concurrency limit lets run at once."""

RATE = 1_000_000
"""Starts per time, and at once, of a rate limit."""

BREAKER_FAILURES = 100
"""Failures that a breaker counts."""

CACHE_BYTES = 64 * KIB
"""JSON bytes of a result that is kept in the cache; a larger one is not kept."""
