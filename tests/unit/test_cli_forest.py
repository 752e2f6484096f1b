"""The steps of a run as a tree by what they need."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from leat_cli.branches import branches
from leat_cli.forest import placed
from leat_cli.snapshot import AttemptSnapshot, ChildSnapshot, RunSnapshot, StepSnapshot

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@st.composite
def graphs(draw: st.DrawFn) -> list[StepSnapshot]:
    """Steps without cycles, in any order."""
    count = draw(st.integers(0, 30))
    steps = [
        StepSnapshot(
            f"s{n}", "http", "Waiting", needs=tuple(f"s{m}" for m in draw(st.sets(st.integers(0, n - 1)))) if n else ()
        )
        for n in range(count)
    ]
    return draw(st.permutations(steps))


@given(graphs())
def test_every_step_is_drawn_once_and_below_all_that_it_needs(steps: list[StepSnapshot]):
    drawn = [place.step.name for place in placed(steps)]
    assert sorted(drawn) == sorted(step.name for step in steps)
    for place in placed(steps):
        above = drawn[: drawn.index(place.step.name)]
        hangs_from = set(place.step.needs) - set(place.also)
        assert len(hangs_from) == min(len(place.step.needs), 1)
        assert hangs_from <= set(above)


def lines(run: RunSnapshot) -> list[str]:
    console = Console(width=140, color_system=None)
    with console.capture() as captured:
        console.print(branches(run, NOW))
    return [line.rstrip() for line in captured.get().splitlines()]


def step(name: str, state: str, *needs: str, **facts: object) -> StepSnapshot:
    return StepSnapshot(name, "http", state, needs=needs, **facts)  # type: ignore[arg-type]


def test_a_tree_says_who_has_a_step_and_why_it_waits_or_failed():
    refused = AttemptSnapshot(1, {"type": "HttpStatus", "message": "503"}, NOW, NOW, NOW)
    steps = (
        step("charge", "Running", attempts=2, runner="pool-a-1", started_at=NOW, earlier=(refused,)),
        step("build", "Running", attempts=1, runner="pool-b-7", started_at=NOW, note="ImagePullBackOff: no such image"),
        step("ship", "Pending", "charge", "build"),
        step("[red]mail", "Failed", attempts=1, error={"type": "Fail", "message": "[bold] no [/]"}),
    )
    assert lines(RunSnapshot("shop", "order-1", "order", "Running", progress="0/4", steps=steps)) == [
        "order-1  ● Running  0/4",
        "STEP           STATE       TOOK   TRIES   RUNNER",
        "├─ charge      ● Running   0ms    2       pool-a-1   HttpStatus: 503",
        "├─ build       ● Running   0ms    1       pool-b-7   ImagePullBackOff: no such image",
        "│  └─ ship     · Pending                             needs charge, too",
        "└─ [red]mail   ✗ Failed           1                  Fail: [bold] no [/]",
    ]


def test_child_runs_are_drawn_below_the_steps_that_started_them():
    deeper = ChildSnapshot("order-1-pack-x-weigh-y", "weigh", "Succeeded", progress="1/1")
    child = ChildSnapshot("order-1-pack-x", "pack", "Failed", progress="1/2", children=(deeper,))
    steps = (
        step("pack", "Failed", attempts=1, children=(child,)),
        step("ship", "Skipped", "pack"),
        step("bill", "Ready"),
    )
    run = RunSnapshot("shop", "order-1", "order", "Running", progress="2/3", steps=steps, parent="day-7")
    assert lines(run) == [
        "order-1  ● Running  2/3    child of day-7",
        "STEP                            STATE         TOOK   TRIES   RUNNER",
        "├─ pack                         ✗ Failed             1",
        "│  » order-1-pack-x             ✗ Failed             1/2              Workflow pack",
        "│    » order-1-pack-x-weigh-y   ✓ Succeeded          1/1              Workflow weigh",
        "│  └─ ship                      - Skipped",
        "└─ bill                         ○ Ready",
    ]


def test_a_run_whose_steps_are_not_known_shows_what_its_status_has():
    failure = {"step": "charge", "reason": "HttpStatus", "message": "503"}
    run = RunSnapshot("shop", "order-1", "order", "Failed", message="step charge failed", failures=(failure,))
    assert lines(run) == ["order-1  ✗ Failed", "charge  HttpStatus: 503", "step charge failed"]


def test_a_thousand_steps_in_a_row_are_drawn():
    steps = [step(f"s{n}", "Waiting", *([f"s{n - 1}"] if n else [])) for n in range(1000)]
    guides = [place.guide for place in placed(steps)]
    assert len(guides) == 1000
    assert max(map(len, guides)) < 60
