"""What users import in the modules that a pool loads: ``import leat``, then ``@leat.step``."""

from leat_engine.kind import StepContext
from leat_runner.sdk import StepFailed, step

__all__ = ["StepContext", "StepFailed", "step"]
