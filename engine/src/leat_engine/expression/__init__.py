"""CEL behind ``${ }``.

The law of this room: an expression is compiled once, when the workflow is planned, and what it reads is taken from its
checked tree, never guessed from its text. What an expression costs is bounded (see `guard`). Values never become source
text, so nothing that a user's data holds is evaluated. Only `dialect` imports the CEL library.
"""

from leat_engine.expression.names import MEMBERS_OF_RUN, Members, Names
from leat_engine.expression.originals import ORIGINALS
from leat_engine.expression.secrets import NOWHERE, SECRETS, Held, Outlets, SecretRef
from leat_engine.expression.template import Spot, Template, as_text, compile_condition, compile_template

__all__ = [
    "MEMBERS_OF_RUN",
    "NOWHERE",
    "ORIGINALS",
    "SECRETS",
    "Held",
    "Members",
    "Names",
    "Outlets",
    "SecretRef",
    "Spot",
    "Template",
    "as_text",
    "compile_condition",
    "compile_template",
]
