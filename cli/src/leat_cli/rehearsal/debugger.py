"""The person in front of a run: where it stands, what its values are, and what its next step gives."""

import cmd
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TextIO

import orjson

from leat_cli.order import Order
from leat_cli.rehearsal.cast import Call, Secrets
from leat_cli.rehearsal.score import Course, Score, address_problem, fake_problem, spent
from leat_engine.errors import LeatError, Rejected
from leat_engine.expression import MEMBERS_OF_RUN, SECRETS, Held, compile_template
from leat_engine.plan import END
from leat_engine.redaction import MASK, Redaction
from leat_engine.result import ErrorType, Failed, Outcome, Result, State, StepError, Succeeded
from leat_engine.view import RunView
from leat_engine.waits import FOREVER
from leat_runner.attempt import Attempt

_FREE = ("item", "index", "iteration", "last", "now")
_HEARING = frozenset({"signal", "approval"})
_LONGEST = 200  # characters of a value that nobody asked for


class Quit(Exception):
    """The person has left."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the run stands: at an attempt, or ``behind`` a step that was decided since."""

    attempt: Attempt
    address: str
    view: RunView
    behind: Course | None = None

    @property
    def now(self) -> datetime:
        return self.attempt.clock()

    def __str__(self) -> str:
        if self.behind is not None:
            return f"behind {self.behind.address} ({self.behind.node.kind})"
        number = f", attempt {self.attempt.number}" if self.attempt.number > 1 else ""
        return f"at {self.address} ({self.attempt.node.kind}){number}"


class Debugger(cmd.Cmd):
    """Reads commands from ``source`` and answers on ``sink``; it is the `Cast` of the run that it looks at.

    It stops before a step begins: at each, or at those with a breakpoint; and always at those that wait for people.
    Steps that are decided with what they need (`transform`, `fail`) are stopped at behind them.
    """

    prompt = "(leat) "
    doc_header = "Commands; each may be cut to what tells it from the others:"

    def __init__(self, order: Order, secrets: Secrets, source: TextIO, sink: TextIO, began: datetime) -> None:
        super().__init__(stdin=source, stdout=sink)
        self.use_rawinput = source.isatty()
        self.stepping = True
        self.breaks: set[str] = set()
        self._order = order
        self._secrets = secrets
        self._began = began
        self._redaction = Redaction.of(order.plan.sensitive, order.inputs)
        self._given: dict[str, Outcome] = {}
        self._seen: set[str] = set()
        self._place: _Place | None = None

    def verdict(self, score: Score) -> str:
        """How the run ended."""
        error = "" if score.error is None else f": {self._error(score.error)}"
        waits = "" if score.phase is not None else f": {'; '.join(score.waits)}"
        return f"the run is {score.label} after {spent(score.seconds)}{error}{waits}"

    # -- the cast -------------------------------------------------------------------------------------------------

    async def before(self, attempt: Attempt, course: Course) -> None:
        """Stop, if this is a place to stop at."""
        self._hide(attempt)
        self._stop_at(attempt, course)
        # Nothing else runs until the secrets of this attempt are asked for.
        self._secrets.made_up = not self._given.keys().isdisjoint(course.names)

    async def answer(self, call: Call) -> Outcome | None:
        """What the person has said that the step gives."""
        name = next((name for name in call.course.names if name in self._given), None)
        if name is None:
            return None
        return self._given.pop(name) if name == call.address else self._given[name]

    def said(self, course: Course, line: str) -> None:
        """Show a line of a step."""
        self._say(f"   {course.address} | {self._redaction.text(line)}")

    def delayed(self, course: Course, seconds: float, error: Mapping[str, Any] | None) -> None:
        """Tell that time is skipped."""
        if error is not None:
            self._say(f"-> {course.address} failed: {self._error(error)}; tried again after {spent(seconds)}, skipped")
        elif seconds < FOREVER / 2:
            self._say(f"-> {course.address} goes on after {spent(seconds)}, skipped")

    def ended(self, view: RunView, course: Course) -> None:
        """Show how a step ended; stop behind one that could not be stopped at before."""
        value = self._short(course.output) if course.state is State.SUCCEEDED else ""
        error = "" if course.error is None else self._error(course.error)
        said = "; ".join(part for part in (value, error) if part)
        self._say(f"-> {course.address} {course.label}{': ' if said else ''}{said}")
        if self._place is not None and course.node.pure and self._breaks_at(course):
            self._place = replace(self._place, view=view, behind=course)
            self._say(str(self._place))
            self.cmdloop()

    # -- going on -------------------------------------------------------------------------------------------------

    def do_step(self, _: str) -> bool:
        """`step`, or an empty line: let this step run, and stop at the next one."""
        self.stepping = True
        return True

    def do_continue(self, _: str) -> bool:
        """`continue`: go on to the next breakpoint, or to the end."""
        self.stepping = False
        return True

    def do_quit(self, _: str) -> bool:
        """`quit`: leave the run where it is."""
        raise Quit

    def cmdloop(self, intro: Any | None = None) -> None:
        """Read commands until one goes on. An interrupt at the prompt leaves; elsewhere it is the loop's."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            super().cmdloop(intro)
        except KeyboardInterrupt:
            raise Quit from None
        finally:
            signal.signal(signal.SIGINT, before)

    def emptyline(self) -> bool:
        """Step."""
        return self.do_step("")

    def do_break(self, text: str) -> None:
        """`break STEP`: stop at a step from now on; said again, no more. `break` lists the breakpoints."""
        if text and (problem := address_problem(self._order.plan, text, self._order.at_hand)) is not None:
            self._say(problem)
            return
        if text:
            self.breaks ^= {text}
        self._say(f"breaks at: {', '.join(sorted(self.breaks)) or 'nothing'}")

    # -- looking --------------------------------------------------------------------------------------------------

    def do_where(self, _: str) -> None:
        """`where`: the step, how long the run has gone on, and the steps that are over."""
        place = self._standing
        self._say(f"{place}, {spent((place.now - self._began).total_seconds())} into the run")
        for view in place.view.chain():
            for node, result in view.results.items():
                if node > END:
                    self._say(f"   {view.plan.steps[node].name} {result.state.label}")

    def do_print(self, text: str) -> None:
        """`print EXPR`: the value of an expression, as it stands here: `print steps.charge.output.id`."""
        if not text:
            self._say("say what: `print inputs`, `print steps.charge.output.id`")
            return
        view = self._standing.view
        ended = {node for each in view.chain() for node in each.results if node > END}
        known = frozenset(view.plan.steps[node].name for node in ended)
        variables = frozenset(view.plan.vars.keys) if view.plan.vars is not None else frozenset[str]()
        names = {"inputs": None, "steps": known, "vars": variables, "run": MEMBERS_OF_RUN, **dict.fromkeys(_FREE)}
        try:
            template = compile_template(text if "${" in text else f"${{ {text} }}", "", names)
            self._show(template.evaluate(view.bindings(sorted(ended), {}, self._standing.now)))
        except Rejected as rejected:
            self._say("; ".join(reason.message for reason in rejected.reasons))
        except LeatError as error:
            self._say(str(error).removeprefix(": "))

    def do_fields(self, _: str) -> None:
        """`fields`: what the step is given, its expressions evaluated; secrets are masked."""
        place, node = self._standing, self._standing.attempt.node
        held = Held(dict.fromkeys(node.secrets, MASK))
        try:
            self._show(node.fields.evaluate({**place.view.bindings(node.reads, {}, place.now), SECRETS: held}))
        except LeatError as error:
            self._say(str(error))

    def do_inputs(self, _: str) -> None:
        """`inputs`: those of the run that it stands in."""
        self._show(self._standing.view.inputs)

    def do_graph(self, _: str) -> None:
        """`graph`: the workflow as a tree."""
        from leat_cli.drawing.picture import picture_of
        from leat_cli.drawing.text import text

        self._say(text(picture_of(self._order.plan, self._order.workflow)).rstrip())

    # -- changing -------------------------------------------------------------------------------------------------

    def do_output(self, text: str) -> None:
        """`output [STEP] JSON`: the step gives this and is not executed; of one that is over, what later steps read."""
        name, value = self._named(text)
        try:
            found = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            self._say(f'found {value!r}, expected JSON, such as {{"id": 1}} or "text": {error}')
            return
        if self._edited(name, found):
            self._say(f"{name} gave {self._short(found)} from now on")
        elif self._may_give(name):
            self._given[name] = Succeeded(found)
            self._say(f"{name} gives {self._short(found)}")

    def do_fail(self, text: str) -> None:
        """`fail [STEP] [MESSAGE]`: the step fails and is not executed; nor is it tried again."""
        name, message = self._named(text)
        if self._may_give(name):
            error = StepError(ErrorType.FAIL, message or "failed by hand", retriable=False)
            self._given[name] = Failed(error)
            self._say(f"{name} fails: {error.message}")

    def precmd(self, line: str) -> str:
        """The line with its command in full; the end of the input is the end of the debugging."""
        word, _, rest = line.strip().partition(" ")
        names = [name[3:] for name in self.get_names() if name.startswith(f"do_{word}")]
        return "quit" if line == "EOF" else f"{names[0]} {rest}" if word and len(names) == 1 else line

    def default(self, line: str) -> None:
        """It is no command."""
        self._say(f"there is no command {line.split(maxsplit=1)[0]!r}; `help` lists them")

    # -- inside ---------------------------------------------------------------------------------------------------

    @property
    def _standing(self) -> _Place:
        """Where the run stands; commands are only read there."""
        if self._place is None:
            raise RuntimeError("the run has not begun")
        return self._place

    def _stop_at(self, attempt: Attempt, course: Course) -> None:
        node, address = attempt.node, course.address
        if attempt.resumed or (node.opens is not None and address in self._seen):
            return
        self._seen.add(address)
        self._place = _Place(attempt, address, attempt.view)
        if self.stepping or self._breaks_at(course) or node.kind in _HEARING:
            self._say(str(self._place))
            self.cmdloop()

    def _breaks_at(self, course: Course) -> bool:
        return not self.breaks.isdisjoint(course.names)

    def _hide(self, attempt: Attempt) -> None:
        """What is sensitive in a child run is hidden from now on, too."""
        self._redaction = self._redaction.also(attempt.view.redaction.texts)

    def _named(self, text: str) -> tuple[str, str]:
        """The step that a command is about, which is this one unless it is named, and the rest of the text."""
        word, _, rest = text.partition(" ")
        if word and address_problem(self._order.plan, word, self._order.at_hand) is None:
            return word, rest.strip()
        return self._standing.address, text

    def _edited(self, name: str, value: Any) -> bool:
        """Change what a step gave, if it is over and can be seen from here."""
        for view in self._standing.view.chain():
            for node, result in view.results.items():
                if node > END and view.plan.steps[node].name == name and result.state is State.SUCCEEDED:
                    view.results[node] = Result(State.SUCCEEDED, value)
                    return True
        return False

    def _may_give(self, name: str) -> bool:
        problem = fake_problem(self._order.plan, name, self._order.at_hand)
        if problem is not None:
            self._say(f"{name} {problem}")
        return problem is None

    def _error(self, error: Mapping[str, Any]) -> str:
        return self._redaction.text(f"{error.get('type')}: {error.get('message')}")

    def _short(self, value: Any) -> str:
        text = orjson.dumps(self.hidden(value)).decode()
        return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."

    def _show(self, value: Any) -> None:
        self._say(orjson.dumps(self.hidden(value), option=orjson.OPT_INDENT_2).decode())

    def hidden(self, value: Any) -> Any:
        """The JSON value as people may see it."""
        return self._secrets.masked(self._redaction.value(value))

    def _say(self, text: str) -> None:
        self.stdout.write(f"{text}\n")
        self.stdout.flush()
