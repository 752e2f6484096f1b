"""`make demo`: everything on this machine, then one workflow from `kubectl apply` to its result.

Commands that a user would type are shown before they run.
"""

import argparse
import logging
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import yaml

from leat_cli.postgres import PostgresUnavailableError
from leat_stack import Endpoints, StackError, down, programs, up
from leat_stack.daemons import Daemons, Program, free_ports

HOME = Path(".leat/demo")
RUNNERS = ("runner-1", "runner-2")
_RUN_SECONDS = 120.0

log = logging.getLogger(__name__)


def main() -> None:
    """Bring the demo up and run a sample, or bring it down."""
    parser = argparse.ArgumentParser(prog="python -m leat_stack.demo", description=main.__doc__)
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument(
        "--sample", type=Path, default=programs.SAMPLES / "dag-with-join.yaml", help="default: %(default)s"
    )
    parser.add_argument("--home", type=Path, default=HOME, help="default: %(default)s")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if arguments.command == "up":
            _up(arguments.home, arguments.sample)
        else:
            down(arguments.home)
            print("demo: no process and no data left. Next: make demo")
    except (StackError, PostgresUnavailableError) as error:
        sys.exit(f"error: {error}")


def _up(home: Path, sample: Path) -> None:
    start = time.monotonic()
    endpoints, daemons = up(home), Daemons(home.resolve())
    start_leat(endpoints, daemons)
    log.info("everything is up after %.1f s\n", time.monotonic() - start)
    shown = os.path.relpath(sample)
    name = _run_of(sample)
    _answer(endpoints, "delete", "workflowrun", name, "--ignore-not-found")  # of an earlier demo
    _kubectl(endpoints, "apply", "--filename", shown)
    succeeded = _watch(endpoints, daemons, name)
    _kubectl(endpoints, "get", "workflows,workflowruns")
    _kubectl(endpoints, "get", "workflowrun", name, "--output", "jsonpath={.status.output}")
    if not succeeded:
        raise StackError(f"the run {name} did not succeed (see {home}/log)")
    _say_what_next(home, endpoints, name)


def start_leat(endpoints: Endpoints, daemons: Daemons) -> None:
    """Migrate the database, then start the operator and the runners of this tree, in place of those that run."""
    log.info("starting the operator and %d runners", len(RUNNERS))
    _migrate(programs.migration(endpoints))
    functions = str(programs.SAMPLES / "functions.py")
    port, *ports = free_ports(1 + len(RUNNERS))
    runners = [
        programs.runner(endpoints, number, metrics_port=each, functions=functions)
        for number, each in enumerate(ports, 1)
    ]
    for program in (programs.operator(endpoints, metrics_port=port), *runners):
        daemons.stop(program.name)
        daemons.start(program)


def _watch(endpoints: Endpoints, daemons: Daemons, name: str) -> bool:
    """Show the run until it ends, or one of Leat's processes does, and return whether it succeeded."""
    accepted = ["get", "workflowrun", name, "--output", "jsonpath={.status.runId}"]
    daemons.wait_until(lambda: bool(_answer(endpoints, *accepted)), "operator", _RUN_SECONDS, alongside=RUNNERS)
    print(f"$ leat watch {name}", flush=True)
    env = {**_environment(endpoints), "LEAT_DATABASE_URL": endpoints.postgres_dsn}
    with subprocess.Popen([sys.executable, "-m", "leat_cli", "watch", name], env=env) as watching:
        try:
            daemons.wait_until(lambda: watching.poll() is not None, "operator", _RUN_SECONDS, alongside=RUNNERS)
        finally:
            watching.terminate()
    return watching.returncode == 0


def _migrate(program: Program) -> None:
    done = subprocess.run(program.argv, check=False, env={**os.environ, **program.env}, capture_output=True, text=True)
    if done.returncode != 0:
        raise StackError(f"the database could not be migrated: {done.stderr.strip()[-2000:]}")


def _run_of(sample: Path) -> str:
    documents = [each for each in yaml.safe_load_all(sample.read_text()) if each]
    names = [each["metadata"].get("name") for each in documents if each.get("kind") == "WorkflowRun"]
    if not names or not names[0]:
        raise StackError(f"{sample} has no WorkflowRun with a name")
    return str(names[0])


def _kubectl(endpoints: Endpoints, *arguments: str) -> None:
    print(f"$ {shlex.join(['kubectl', *arguments])}", flush=True)
    print(_answer(endpoints, *arguments), flush=True)


def _answer(endpoints: Endpoints, *arguments: str) -> str:
    argv = [endpoints.kubectl, *arguments]
    done = subprocess.run(argv, check=False, env=_environment(endpoints), capture_output=True, text=True)
    if done.returncode != 0:
        raise StackError(f"kubectl {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.rstrip()


def _environment(endpoints: Endpoints) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LEAT_")}
    return {**ours, "KUBECONFIG": endpoints.kubeconfig}


def _say_what_next(home: Path, endpoints: Endpoints, name: str) -> None:
    path = Path(endpoints.kubectl).parent
    print(
        f"\nGo on in this shell:\n"
        f"  export KUBECONFIG={shlex.quote(endpoints.kubeconfig)} PATH={shlex.quote(str(path))}:$PATH\n"
        f"  kubectl describe workflowrun {name}\n"
        f"  kubectl apply -f config/samples/hello.yaml && kubectl get workflowruns --watch\n"
        f"Logs: {home}/log. Remove everything: make demo-down"
    )


if __name__ == "__main__":
    main()
