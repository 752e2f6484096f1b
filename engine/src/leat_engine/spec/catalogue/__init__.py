"""Step templates: YAML data with typed parameters, which become steps of kinds that are there.

The law of this room: a template is data, as a spec is. `expanded` turns each step with `use` into the step that its
template makes of it, before anything else looks at the spec: nothing behind it knows of templates, and what is stored
is whole. Parameters stand in a template as expressions (``params.NAME``). A value takes the place of such an expression
as a value or as an expression of its own, never as a piece of source text.
"""

from leat_engine.spec.catalogue.expand import expanded
from leat_engine.spec.catalogue.library import library

__all__ = ["expanded", "library"]
