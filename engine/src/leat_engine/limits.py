"""How large things may be. One place, so that messages, documents and checks cannot disagree."""

KIB = 1024
MIB = 1024 * KIB

OUTPUT_BYTES = MIB
"""JSON bytes of a step's output, and of what one expression may give."""

ARTIFACTS = 100
"""Artifacts of one step."""

ARTIFACT_BYTES = 64 * 1024 * MIB
"""Bytes of one artifact, and of a large output."""

FETCHED_BYTES = 8 * MIB
"""Bytes of a large output that expressions may look into; a larger one can be handed on as a whole."""

FILES = 100
"""Files that a step is given."""

INPUTS_BYTES = 256 * KIB
"""JSON bytes of a run's inputs, defaults included."""

SPEC_BYTES = MIB
"""JSON bytes of a workflow's spec; etcd takes 1.5 MiB for a whole object."""

STEPS = 5_000
"""Steps of one workflow."""

NEEDS = 1_000
"""Needs of one step, the inferred ones included."""

TRIGGERS = 20
"""Triggers of one workflow."""

EVENT_BYTES = MIB
"""Bytes of a message that may start a run; what becomes of it in the run's inputs has their limit."""

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

ITERATIONS = 10_000
"""Times that a `repeat` may have."""

PARALLEL = 1_000
"""Items of one `forEach` that may be under way at the same time."""

WINDOW = 1_000
"""Items of one `forEach` from the oldest that is not over to the newest that has begun: rows that exist ahead."""

ITEMS = 1_000_000
"""Items of one `forEach`."""

CASES = 100
"""Cases of one `switch`."""

NESTING = 10
"""Bodies within bodies."""

CHILD_DEPTH = 16
"""Runs above a child: its parent, the parent's parent, and so on."""

CHILDREN = 10_000
"""Child runs of one run."""

SIGNAL_BYTES = 64 * KIB
"""JSON bytes of a signal's payload."""

SIGNAL_NAME_CHARS = 253
"""Characters of a signal's or an approval's name."""

SIGNALS_UNREAD = 1_000
"""Signals that a run keeps for steps that do not wait for them yet."""

COMMENT_CHARS = 2_048
"""Characters of what somebody says to an approval."""

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
