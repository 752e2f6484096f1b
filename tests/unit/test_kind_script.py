import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

import psutil
import pytest
import uvloop
from tests.support.queue import until
from tests.support.steps import STEP, a_setup, a_step

from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import Failed, Succeeded
from leat_engine.spec.kinds import Script
from leat_runner.kinds import pipes
from leat_runner.kinds.lifeline import Lifeline
from leat_runner.kinds.script import ScriptKind
from leat_runner.lines import LINE_BYTES


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Workspaces are made where the test can see whether they are gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert list(tmp_path.glob("leat-script-*")) == []


GRACE = 0.5


KIND = ScriptKind(a_setup(script_grace=GRACE))


@pytest.fixture(autouse=True, scope="module")
def kind():
    """One kind for all, as in a runner."""
    yield
    asyncio.run(KIND.close())


async def run(text, **fields):
    return await KIND.execute(a_step(), Script.model_validate({"run": text, **fields}))


async def python(text, **fields):
    return await run(text, **{"shell": "python", **fields})


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("written", "output"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("42", 42),
        ("ok\n", "ok"),
        ("two\nlines\n", "two\nlines"),
        ("", None),
    ],
)
async def test_the_output_is_what_the_file_holds_as_json_or_else_as_text(written, output):
    assert await run('printf %s "$WHAT" > "$LEAT_OUTPUT"', env={"WHAT": written}) == Succeeded(output)


async def test_a_script_that_writes_no_output_gives_null():
    assert await run("echo this goes to the log") == Succeeded()


async def test_python_reads_stdin_as_json_and_writes_json():
    text = "import json, os, sys; json.dump(json.load(sys.stdin)['n'] + 1, open(os.environ['LEAT_OUTPUT'], 'w'))"
    assert await python(text, stdin={"n": 1}) == Succeeded(2)


async def test_text_on_stdin_comes_as_it_is():
    assert await run('cat > "$LEAT_OUTPUT"', stdin='it\'s "$HOME"') == Succeeded('it\'s "$HOME"')


async def test_without_stdin_there_is_nothing_to_read():
    assert await run('cat > "$LEAT_OUTPUT"') == Succeeded()


async def test_a_large_stdin_that_nobody_reads_blocks_nobody():
    assert await run("true", stdin="x" * 1_000_000) == Succeeded()


async def test_a_value_is_never_run_as_code():
    evil = "$(touch pwned); `touch pwned`; '; touch pwned; '"
    outcome = await run(
        'echo $EVIL > /dev/null; ls > "$LEAT_OUTPUT"; echo "$EVIL" >> "$LEAT_OUTPUT"', env={"EVIL": evil}
    )
    assert outcome == Succeeded(evil)


async def test_the_environment_is_the_documented_one_and_nothing_of_the_runners(monkeypatch):
    monkeypatch.setenv("LEAT_DATABASE_URL", "postgresql://leat:secret@db/leat")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    text = "import json, os; json.dump(dict(os.environ), open(os.environ['LEAT_OUTPUT'], 'w'))"
    seen = (await python(text, env={"CITY": "Åre", "TAGS": ["a"], "ON": True, "LEAT_STEP": "mine"})).output
    assert seen.pop("HOME") == seen.pop("TMPDIR")
    assert seen.pop("LEAT_OUTPUT")
    assert seen == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "CITY": "Åre",
        "TAGS": '["a"]',
        "ON": "true",
        "LEAT_RUN": "order-x7k2p",
        "LEAT_RUN_ID": str(STEP.key.run_id),
        "LEAT_NAMESPACE": "shop",
        "LEAT_WORKFLOW": "order",
        "LEAT_STEP": "charge",
        "LEAT_ATTEMPT": "2",
        "LEAT_IDEMPOTENCY_KEY": STEP.idempotency_key,
        "TRACEPARENT": STEP.traceparent,
    }


async def test_no_process_that_a_script_can_look_at_has_the_runners_environment(monkeypatch):
    monkeypatch.setenv("LEAT_DATABASE_URL", "postgresql://leat:secret@db/leat")
    kind = ScriptKind(a_setup(script_grace=GRACE))  # with a watcher of its own, which begins in this environment
    try:
        assert await kind.execute(a_step(), Script(run="true")) == Succeeded()
        begun = [process.environ() for process in psutil.Process().children(recursive=True) if not ended(process.pid)]
        assert begun
        assert not [variables for variables in begun if "LEAT_DATABASE_URL" in variables]
    finally:
        await kind.close()


async def test_the_script_runs_in_an_empty_home_that_only_its_user_may_enter(tmp_path):
    seen = "[os.getcwd(), os.environ['HOME'], os.listdir()]"
    here, home, files = (
        await python(f"import json, os; json.dump({seen}, open(os.environ['LEAT_OUTPUT'], 'w'))")
    ).output
    assert (here, files) == (home, [])
    assert Path(home).parent.parent == tmp_path
    assert await run('stat -c %a .. > "$LEAT_OUTPUT"') == Succeeded(int(f"{stat.S_IRWXU:o}"))


async def test_another_exit_code_fails_with_the_code_and_the_end_of_stderr():
    error = (await run("seq 1 10000 >&2; echo too bad >&2; exit 7")).error
    assert (error.type, error.retriable, error.details["exitCode"]) == ("ExitCode", True, 7)
    assert error.details["stderr"].endswith("10000\ntoo bad\n")
    assert len(error.details["stderr"]) == pipes.TAIL


@pytest.mark.parametrize("text", ["false\necho on", "false | cat\necho on", "no-such-command\necho on"])
async def test_bash_ends_at_the_first_command_that_fails_within_a_pipe_too(text):
    outcome = await run(f'{text} > "$LEAT_OUTPUT"')
    assert isinstance(outcome, Failed)


async def test_an_unset_variable_is_empty_as_people_expect_of_bash():
    assert await run('echo "[$NOTHING]" > "$LEAT_OUTPUT"') == Succeeded([])


async def test_a_failing_python_script_shows_its_traceback():
    error = (await python("1 / 0")).error
    assert error.details["exitCode"] == 1
    assert "ZeroDivisionError: division by zero" in error.details["stderr"]


async def test_a_script_killed_by_a_signal_names_it():
    error = (await run("kill -KILL $$")).error
    assert (error.type, error.reason) == ("ExitCode", "Signal")
    assert error.message == "the script was killed by SIGKILL; often that is the memory limit of the pod"
    assert (error.details["signal"], error.details["exitCode"]) == ("SIGKILL", 137)


async def test_an_output_over_the_limit_fails_without_being_read():
    error = (await run('head -c 2097152 /dev/zero | tr "\\0" x > "$LEAT_OUTPUT"')).error
    assert (error.type, error.details["limit"]) == ("TooLarge", OUTPUT_BYTES)


@pytest.mark.parametrize("text", ['ln -s /etc/passwd "$LEAT_OUTPUT"', 'mkfifo "$LEAT_OUTPUT"', 'mkdir "$LEAT_OUTPUT"'])
async def test_an_output_that_is_no_plain_file_is_refused(text):
    assert (await run(text)).error.reason == "OutputNotReadable"


@pytest.mark.parametrize(
    ("env", "field"),
    [
        ({"A=B": "x"}, "script.env['A=B']: not a variable name"),
        ({"": "x"}, "script.env['']: not a variable name"),
        ({"A": "secret\0"}, "script.env.A: holds a NUL character"),
        ({"A": "x" * 3_000_000}, "script.env: the values are larger than the system takes; pass them by stdin"),
    ],
)
async def test_an_environment_that_cannot_be_is_refused_without_showing_it(env, field):
    error = (await run("true", env=env)).error
    assert (error.type, error.retriable) == ("Invalid", False)
    assert field in error.message
    assert "secret" not in error.message


async def test_a_missing_shell_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    error = (await run("true")).error
    assert (error.type, error.message) == ("NotFound", "script.shell: 'bash' is not installed in this pool's image")


async def test_what_a_script_prints_goes_to_the_steps_log_line_by_line():
    lines = []
    step = a_step(log=lambda stream, text: lines.append((stream, text)))
    await KIND.execute(step, Script.model_validate({"run": "echo hello; echo oops >&2; printf %20000s x; printf end"}))
    assert ("stdout", "hello") in lines
    assert ("stderr", "oops") in lines
    assert ("stdout", "x" + "end") not in lines
    rest = [text for stream, text in lines if stream == "stdout" and text != "hello"]
    assert "".join(rest) == " " * 19999 + "xend"
    assert max(map(len, rest)) <= LINE_BYTES


async def test_a_flood_of_output_without_line_ends_is_drained_with_bounded_memory():
    outcome = await run("head -c 50000000 /dev/zero; head -c 50000000 /dev/zero >&2; exit 1")
    assert len(outcome.error.details["stderr"]) == pipes.TAIL


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_both_loops(request):
    """Subprocesses are the loop's own code, and the runner uses uvloop."""

    def go(main):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(main)

    return go


async def started(tmp_path, text, **fields):
    """A running script that has written its processes' ids to the file ``$PIDS``, and the ids."""
    file = tmp_path / "pids"
    task = asyncio.ensure_future(run(text, env={"PIDS": str(file)}, **fields))
    await until(lambda: task.done() or (file.exists() and file.read_text().endswith("\n")), 10)
    assert not task.done(), task.result()
    return task, [int(pid) for pid in file.read_text().split()]


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_cancelling_ends_the_whole_family(tmp_path, on_both_loops):
    async def main():
        text = 'sleep 600 & (sleep 600 & echo $$ $! > "$PIDS"; wait) & wait'
        task, pids = await started(tmp_path, text)
        await cancelled(task)
        await until(lambda: all(map(ended, pids)), 5)

    on_both_loops(main())


def test_a_cancelled_script_may_clean_up_first(tmp_path, on_both_loops):
    async def main():
        text = f"""trap 'echo cleaned > {tmp_path}/cleaned; exit' TERM; echo $$ > "$PIDS"; sleep 600 & wait"""
        task, pids = await started(tmp_path, text)
        await cancelled(task)
        assert (tmp_path / "cleaned").read_text() == "cleaned\n"
        await until(lambda: all(map(ended, pids)), 5)

    on_both_loops(main())


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(tmp_path, on_both_loops):
    async def main():
        task, pids = await started(tmp_path, """trap '' TERM; sleep 600 & echo $$ $! > "$PIDS"; wait""")
        await cancelled(task)
        await until(lambda: all(map(ended, pids)), 5)

    on_both_loops(main())


def test_a_script_that_closed_its_outputs_keeps_its_grace(tmp_path, on_both_loops):
    async def main():
        text = f"""exec > /dev/null 2>&1; trap 'sleep 0.05; echo cleaned > {tmp_path}/cleaned; exit' TERM
            echo $$ > "$PIDS"; sleep 600 & wait"""
        task, _ = await started(tmp_path, text)
        await cancelled(task)
        assert (tmp_path / "cleaned").exists()

    on_both_loops(main())


def test_what_a_script_leaves_in_the_background_ends_with_it(on_both_loops):
    async def main():
        outcome = await run('sleep 600 & echo $! > "$LEAT_OUTPUT"')
        await until(lambda: ended(outcome.output), 5)

    on_both_loops(main())


def test_output_that_is_still_being_written_when_the_shell_ends_is_waited_for(on_both_loops):
    async def main():
        outcome = await run('echo hello > >(sleep 0.1; cat > "$LEAT_OUTPUT")')
        assert outcome == Succeeded("hello")

    on_both_loops(main())


def test_being_cancelled_at_any_moment_leaves_nothing(on_both_loops):
    async def main():
        await run("true")
        me = psutil.Process()
        files, processes = me.num_fds(), set(me.children(recursive=True))
        for turns in range(12):
            task = asyncio.ensure_future(run("sleep 600 & wait"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancelled(task)
        await until(lambda: me.num_fds() <= files, 5, lambda: me.num_fds() - files)
        left = set(me.children(recursive=True)) - processes
        assert [process for process in left if not ended(process.pid)] == []

    on_both_loops(main())


RUNNER = """if True:
    import asyncio, sys, tempfile
    from leat_engine.spec.kinds import Script
    from leat_runner.kinds.script import ScriptKind
    from tests.support.steps import STEP, a_setup

    tempfile.tempdir = sys.argv[1]
    asyncio.run(ScriptKind(a_setup()).execute(STEP, Script(run=sys.argv[2], env={"PIDS": sys.argv[3]})))
"""


async def test_a_killed_runner_takes_its_scripts_along(tmp_path):
    file = tmp_path / "pids"
    script = 'sleep 600 & echo $$ $! $PPID > "$PIDS"; wait'
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNNER, str(tmp_path), script, str(file))
    await until(lambda: file.exists() and file.read_text().endswith("\n"), 20)
    await until(lambda: len(psutil.Process(runner.pid).children()) == 2, 10)
    runner.kill()
    await runner.wait()
    *pids, parent = map(int, file.read_text().split())
    assert parent == runner.pid
    await until(lambda: all(map(ended, pids)), 10)
    await until(lambda: not list(tmp_path.glob("leat-script-*")), 10)


async def test_a_dead_watcher_is_replaced_and_told_what_is_held(tmp_path):
    lifeline = Lifeline()
    group = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    home = tmp_path / "home"
    home.mkdir()
    lifeline.hold(group.pid, home)
    lifeline._watcher.kill()
    lifeline._watcher.communicate()
    lifeline.hold(0x7FFFFFFF, tmp_path / "other")
    lifeline.release(0x7FFFFFFF)
    lifeline.close()
    assert await group.wait() == -signal.SIGKILL
    await until(lambda: not home.exists(), 10)
