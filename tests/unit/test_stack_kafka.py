"""Where Kafka comes from, and what is said where it cannot."""

from pathlib import Path

import pytest

from leat_stack import StackError
from leat_stack.kafka_source import Server, cache, locate, missing, version


@pytest.fixture
def machine(tmp_path):
    """A machine with nothing on its PATH, and an empty cache."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_the_version_is_the_one_of_the_pom():
    assert version().count(".") == 2


def test_a_machine_without_java_is_told_what_to_install(machine):
    assert "apt-get install openjdk-17-jre-headless maven" in missing(machine)
    with pytest.raises(StackError, match="Kafka needs Java, and there is none"):
        locate(machine)


def test_a_java_that_is_too_old_is_named(machine):
    java(machine, 11)
    assert "needs Java >= 17, found 11" in missing(machine)


def test_maven_is_needed_once(machine):
    java(machine, 17)
    assert "there is no mvn" in missing(machine)
    cache(machine).mkdir(parents=True)
    assert missing(machine) is None
    server = locate(machine)
    assert isinstance(server, Server)
    command = server.command("kafka.Kafka", "server.properties")
    assert command[0] == str(server.java)
    assert command[-4:] == ["-cp", f"{cache(machine)}/*", "kafka.Kafka", "server.properties"]


def test_java_home_comes_before_the_path(machine, tmp_path):
    java(machine, 11)
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    java(machine | {"PATH": str(home / "bin")}, 21)
    cache(machine).mkdir(parents=True)
    assert locate(machine | {"JAVA_HOME": str(home)}).java == home / "bin" / "java"


def java(machine, major):
    file = Path(machine["PATH"]) / "java"
    file.write_text(f"#!/bin/sh\necho 'openjdk version \"{major}.0.1\"' >&2\n")
    file.chmod(0o755)
