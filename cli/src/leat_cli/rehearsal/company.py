"""Those who do the steps of a rehearsed run: the cast, and behind it the kinds themselves."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from leat_cli.rehearsal.books import Books
from leat_cli.rehearsal.cast import Aside, Call, Prompter, parts
from leat_cli.rehearsal.post import Letterbox, PostOffice
from leat_cli.rehearsal.scene import Scene
from leat_cli.rehearsal.score import Score
from leat_cli.rehearsal.time import SkippingLoop
from leat_engine.calls import KIND as CALL
from leat_engine.job import StepKey
from leat_engine.kind import Kind, StepContext
from leat_engine.records import Delayed
from leat_engine.result import Outcome
from leat_engine.spec.child import ChildRun
from leat_engine.spec.kinds import load_models
from leat_engine.view import RunView
from leat_engine.waits import FOREVER
from leat_runner.attempt import Means
from leat_runner.family import Family, Household
from leat_runner.gates import Gates
from leat_runner.kinds import Clock, KindSettings, KindSetup, load_kinds
from leat_runner.kinds.approval import ApprovalKind
from leat_runner.kinds.signal import SignalKind
from leat_runner.kinds.wait import WaitKind
from leat_runner.kinds.workflow import WorkflowKind
from leat_runner.lobby import Lobby
from leat_runner.voice import Mask

IN_TIME: Mapping[str, Callable[[KindSetup], Any]] = {"wait": WaitKind, "signal": SignalKind, "approval": ApprovalKind}
"""Kinds whose steps only let time pass or hear what is said: they are themselves on stage, too."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the company has to know of its run. ``abort`` is told why it cannot be played."""

    score: Score
    root: RunView
    office: PostOffice
    clock: Clock
    abort: Callable[[Exception], None]
    books: Books


class Company:
    """The means by which the attempts of one run are carried out."""

    def __init__(self, scene: Scene, loop: SkippingLoop, here: Surroundings) -> None:
        self._scene, self._loop, self._here = scene, loop, here
        # These read no settings, and to look for some takes as long as to play a short run.
        setup = KindSetup(KindSettings.model_construct(), here.clock)
        self._in_time: dict[str, Kind] = {name: kind(setup) for name, kind in (*IN_TIME.items(), (CALL, WorkflowKind))}
        self._real: Mapping[str, Kind] = {}
        books = here.books
        # Nobody's process dies here, so nobody who stands in a line or waits for a child has to look for itself.
        self._gates = Gates(Lobby(books, books.publish, books.aside, net=FOREVER, run_net=FOREVER))
        self._family = Family(Household(books, books.children, books.publish, books.aside, grace=0.0))
        kinds = parts(load_models(), self._perform)
        voice = Prompter(self._speech)
        self.means = Means(kinds, scene.secrets, voice, self._gates, self._family)

    def parked(self, delayed: Delayed) -> None:
        """An attempt waits now."""
        self._gates.parked([delayed])
        self._family.parked([delayed])

    def left(self, root: RunView) -> None:
        """The run is over."""
        self._gates.left(root)
        self._family.left(root)

    async def close(self) -> None:
        """Free what the kinds hold."""
        for kind in self._real.values():
            await kind.close()

    async def _perform(self, kind: str, step: StepContext, fields: BaseModel) -> Outcome:
        view = self._here.root.scopes[step.key.scope]
        node = view.plan.steps[step.key.step]
        course = self._here.score.course(view, node)
        shown = fields.model_dump(mode="json", by_alias=True, exclude_unset=True)
        course.fields = self._scene.secrets.masked(shown)
        in_time = self._in_time.get(kind)
        if in_time is not None and step.resumed:
            return await in_time.execute(step, fields)
        staged = kind in IN_TIME or (
            isinstance(fields, ChildRun) and self._here.books.children.knows(view.namespace, fields.name)
        )
        call = Call(course, step.try_number, view, self._here.clock(), staged)
        try:
            outcome = await self._scene.cast.answer(call)
            real = self._loaded() if outcome is None and in_time is None else {}
        except Exception as error:  # noqa: BLE001  it is told, or raised where the run is awaited
            self._here.abort(error)
            never: asyncio.Future[Outcome] = self._loop.create_future()  # the run is over
            return await never
        if outcome is not None:
            return outcome
        if in_time is not None:
            return await in_time.execute(step, fields)
        with self._loop.really():
            return await real[kind].execute(step, fields)

    def _loaded(self) -> Mapping[str, Kind]:
        """The real kinds, which take longer to load than most runs to play."""
        if not self._real:
            settings = KindSettings(functions=tuple(self._scene.functions))
            self._real = load_kinds(KindSetup(settings, self._here.clock))
        return self._real

    def _speech(self, key: StepKey, mask: Mask) -> Aside:
        view = self._here.root.scopes[key.scope]
        course = self._here.score.course(view, view.plan.steps[key.step])

        def note(text: str) -> None:
            course.note = text

        return Aside(lambda line: self._scene.cast.said(course, mask(line)), note, Letterbox(self._here.office, key))
