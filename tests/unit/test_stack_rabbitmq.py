"""Where the broker comes from, in which order, and how it is started apart from any other."""

import pytest

from leat_stack import StackError, rabbitmq, rabbitmq_source
from leat_stack.rabbitmq import Broker
from leat_stack.rabbitmq_source import Given, Image, Server

BROKER = Broker("secret", 1, 2, 3, 4)


def program(folder, name="rabbitmq-server", script="#!/bin/sh\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)
    return folder / name


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing on its PATH and no password-less way to install."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(rabbitmq_source, "USUAL_PLACES", (tmp_path / "usual",))
    monkeypatch.setattr(rabbitmq_source.os, "geteuid", lambda: 1000)
    return {"PATH": str(tmp_path / "bin")}


def test_a_url_given_comes_before_a_server_on_the_machine(machine, tmp_path):
    program(tmp_path / "bin")
    url = "amqp://broker.example/"
    assert rabbitmq_source.locate({**machine, "LEAT_AMQP_URL": url}) == Given(url)


def test_a_server_on_the_path_comes_before_the_usual_places(machine, tmp_path):
    found = program(tmp_path / "bin")
    program(tmp_path / "usual")
    assert rabbitmq_source.locate(machine) == Server(found)


def test_a_server_in_a_usual_place_comes_before_docker(machine, tmp_path):
    program(tmp_path / "bin", "docker")
    found = program(tmp_path / "usual")
    assert rabbitmq_source.locate(machine) == Server(found)


def test_docker_is_taken_where_its_daemon_answers(machine, tmp_path):
    program(tmp_path / "bin", "docker")
    found = rabbitmq_source.locate(machine)
    assert isinstance(found, Image)
    assert found.name.startswith("rabbitmq:")


def test_a_docker_without_its_daemon_is_none(machine, tmp_path):
    program(tmp_path / "bin", "docker", "#!/bin/sh\nexit 1\n")
    with pytest.raises(StackError, match="RabbitMQ is missing"):
        rabbitmq_source.locate(machine)


def test_the_wrapper_that_changes_the_user_is_passed_over(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(rabbitmq_source, "_WRAPPER", program(tmp_path / "bin"))
    found = program(tmp_path / "usual")
    assert rabbitmq_source.locate(machine) == Server(found)


@pytest.mark.parametrize(
    ("platform", "line"),
    [("linux", "sudo apt-get install --no-install-recommends rabbitmq-server"), ("darwin", "brew install rabbitmq")],
)
def test_what_to_type_is_named_for_each_platform(platform, line):
    assert line in rabbitmq_source.missing(platform)
    assert "LEAT_AMQP_URL" in rabbitmq_source.missing(platform)


def test_a_server_keeps_its_node_its_ports_and_its_files_to_itself(tmp_path):
    (tmp_path / "rabbitmq").mkdir()
    found = rabbitmq.server_program(tmp_path, BROKER, Server(tmp_path / "rabbitmq-server"))
    files = {name: value for name, value in found.env.items() if value.startswith("/")}
    assert all(value.startswith(str(tmp_path)) for value in files.values())
    assert {"HOME", "RABBITMQ_MNESIA_BASE", "RABBITMQ_CONFIG_FILE", "RABBITMQ_CONF_ENV_FILE"} <= files.keys()
    assert found.env["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    settings = (tmp_path / "rabbitmq" / "rabbitmq.conf").read_text()
    assert "listeners.tcp.1 = 127.0.0.1:1\n" in settings
    assert "management.tcp.ip = 127.0.0.1\n" in settings


def test_a_container_is_reached_on_loopback_alone(tmp_path):
    command = rabbitmq.create_container_command(tmp_path, BROKER, Image("rabbitmq:4"))
    published = [command[at + 1] for at, word in enumerate(command) if word == "--publish"]
    assert published == ["127.0.0.1:1:5672", "127.0.0.1:2:15672"]
    assert command[-1] == "rabbitmq:4"
