import pytest

from leat_stack import mariadb


def _program(folder, name):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(mariadb, "_SBIN", str(tmp_path / "sbin"))
    return {"PATH": str(tmp_path / "bin")}


def test_a_machine_without_the_server_is_told_what_to_install(path, tmp_path):
    assert mariadb.missing(path) == (
        "MariaDB needs mariadbd, and there is none: "
        "install it (Debian: apt-get install --no-install-recommends mariadb-server)"
    )
    _program(tmp_path / "sbin", "mariadbd")
    assert "MariaDB needs mariadb-install-db" in mariadb.missing(path)


def test_the_server_is_found_where_servers_are_also_off_the_path(path, tmp_path):
    _program(tmp_path / "sbin", "mariadbd")
    _program(tmp_path / "bin", "mariadb-install-db")
    assert mariadb.missing(path) is None
