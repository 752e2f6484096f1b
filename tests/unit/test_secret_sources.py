import asyncio
import os
from base64 import b64encode
from typing import Any

import pytest
import structlog

from leat_engine import limits
from leat_engine.errors import LeatError
from leat_engine.expression import SecretRef
from leat_engine.redaction import Redactor
from leat_runner.kubernetes import ApiUnavailable, Kubernetes
from leat_runner.secrets import Environment, Files, Given, SecretError, SecretReader, holding, mask_held
from leat_runner.secrets.cluster import LABEL, ClusterSecrets
from leat_runner.secrets.source import variable

TOKEN = SecretRef("pay", "token")


async def failure(reader: SecretReader, ref: SecretRef = TOKEN, namespace: str = "shop") -> Any:
    with pytest.raises(SecretError) as caught:
        await reader.read(namespace, [ref])
    return caught.value.error


# -- files and environment --------------------------------------------------------------------------------------------


async def test_a_file_is_read_at_every_use_and_only_in_the_folder_of_its_namespace(tmp_path):
    (tmp_path / "shop" / "pay").mkdir(parents=True)
    file = tmp_path / "shop" / "pay" / "token"
    reader = SecretReader([Files(tmp_path)])
    file.write_text("one\n")
    assert await reader.read("shop", [TOKEN]) == {TOKEN: "one"}
    file.write_text("two")
    assert await reader.read("shop", [TOKEN]) == {TOKEN: "two"}
    assert (await failure(reader, namespace="other")).type == "SecretNotFound"


async def test_a_file_may_be_a_link_as_in_a_volume_of_kubernetes(tmp_path):
    (tmp_path / "shop" / "pay" / "..2030").mkdir(parents=True)
    (tmp_path / "shop" / "pay" / "..2030" / "token").write_text("geheim")
    (tmp_path / "shop" / "pay" / "..data").symlink_to("..2030")
    (tmp_path / "shop" / "pay" / "token").symlink_to("..data/token")
    assert await SecretReader([Files(tmp_path)]).read("shop", [TOKEN]) == {TOKEN: "geheim"}


@pytest.mark.parametrize("namespace", ["..", "a/b", "", "/etc", "Shop", "a" * 64])
async def test_a_namespace_that_is_no_name_leads_nowhere(namespace, tmp_path):
    assert (await failure(SecretReader([Files(tmp_path / "x")]), namespace=namespace)).type == "SecretNotReadable"


async def test_what_is_no_plain_file_is_an_error_and_blocks_nobody(tmp_path):
    (tmp_path / "shop" / "pay").mkdir(parents=True)
    os.mkfifo(tmp_path / "shop" / "pay" / "token")
    error = await failure(SecretReader([Files(tmp_path)]))
    assert (error.type, error.reason, error.retriable) == ("SecretNotReadable", "FileNotReadable", True)
    assert "it is no plain file" in error.message


async def test_the_first_source_that_has_it_wins(tmp_path):
    (tmp_path / "shop" / "pay").mkdir(parents=True)
    (tmp_path / "shop" / "pay" / "token").write_text("file")
    environment = Environment({"LEAT_SECRET_PAY_TOKEN": "variable", "LEAT_SECRET_PAY_USER": "ada"})
    reader = SecretReader([Files(tmp_path), environment])
    found = await reader.read("shop", [TOKEN, SecretRef("pay", "user")])
    assert list(found.values()) == ["file", "ada"]


def test_the_name_of_a_variable_is_in_upper_case_with_underscores():
    assert variable(SecretRef("pay-service.eu", "api_key")) == "LEAT_SECRET_PAY_SERVICE_EU_API_KEY"
    assert variable(SecretRef("a-b", "c")) == variable(SecretRef("a", "b.c"))


async def test_a_secret_that_is_nowhere_is_told_with_every_place_that_was_looked_at(tmp_path):
    reader = SecretReader([Files(tmp_path), Environment({}), Given({}, "an entry in s.yaml")], "; give it")
    error = await failure(reader)
    assert (error.type, error.retriable) == ("SecretNotFound", True)
    assert error.message == (
        f"secret('pay', 'token') is nowhere; looked for the file {tmp_path}/shop/pay/token, "
        "the environment variable LEAT_SECRET_PAY_TOKEN, an entry in s.yaml; give it"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"one\n", "one"),
        (b"one\r\n", "one"),
        (b"one", "one"),
        (b" one ", " one "),
        (b"one\ntwo\n", "one\ntwo\n"),
        (b"", ""),
        ("ö€".encode(), "ö€"),
    ],
)
async def test_a_line_end_behind_the_only_line_is_left_out(value, text):
    source = ClusterSecrets(Cluster(a_secret(value)))
    assert await SecretReader([source]).read("shop", [TOKEN]) == {TOKEN: text}
    await source.close()


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"\xff\xfegeheim", "NotText"), (b"ge\0heim", "NotText"), (b"g" * (limits.SECRET_BYTES + 1), "TooLarge")],
)
async def test_a_value_that_no_expression_can_hold_is_refused_without_showing_it(value, reason):
    error = await failure(SecretReader([ClusterSecrets(Cluster(a_secret(value)))]))
    assert (error.type, error.reason, error.retriable) == ("SecretNotReadable", reason, False)
    assert "heim" not in error.message


# -- Kubernetes: what is asked, and how often. That it answers so is tested on the real one. --------------------------


def a_secret(value: bytes = b"geheim", **metadata: Any) -> dict[str, Any]:
    data = {"token": b64encode(value).decode(), "user": b64encode(b"ada").decode()}
    return {"metadata": {"name": "pay", "labels": {LABEL: "true"}, **metadata}, "data": data}


class Cluster:
    """Gives one answer after the other, the last one for ever."""

    def __init__(self, *answers: dict[str, Any] | LeatError | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def read(self, path: str) -> dict[str, Any] | None:
        self.asked.append(path)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, LeatError):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


async def test_many_steps_ask_the_api_server_once():
    cluster = Cluster(a_secret())
    reader = SecretReader([ClusterSecrets(cluster)])
    refs = [TOKEN, SecretRef("pay", "user")]
    found = await asyncio.gather(*(reader.read("shop", refs) for _ in range(50)))
    assert {tuple(one.values()) for one in found} == {("geheim", "ada")}
    assert cluster.asked == ["/api/v1/namespaces/shop/secrets/pay"]


async def test_a_step_that_is_cancelled_does_not_take_the_answer_from_others():
    cluster = Cluster(a_secret())
    reader = SecretReader([ClusterSecrets(cluster)])
    first, second = (asyncio.create_task(reader.read("shop", [TOKEN])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == {TOKEN: "geheim"}
    assert first.cancelled()


async def test_another_namespace_is_another_secret():
    cluster = Cluster(a_secret(b"one"), a_secret(b"two"))
    reader = SecretReader([ClusterSecrets(cluster)])
    found = [await reader.read(namespace, [TOKEN]) for namespace in ("shop", "other", "shop")]
    assert [one[TOKEN] for one in found] == ["one", "two", "one"]


@pytest.mark.parametrize("labels", [None, {}, {LABEL: "True"}, {LABEL: "yes"}, {"leat.dev/other": "true"}])
async def test_a_secret_without_the_label_is_not_told_not_even_its_keys(labels):
    error = await failure(SecretReader([ClusterSecrets(Cluster(a_secret(labels=labels)))]), SecretRef("pay", "no"))
    assert (error.type, error.retriable) == ("SecretNotReadable", False)
    assert "kubectl label secret pay -n shop leat.dev/secret=true" in error.message
    assert "user" not in error.message


async def test_a_missing_key_names_the_keys_of_a_secret_that_opted_in():
    error = await failure(SecretReader([ClusterSecrets(Cluster(a_secret()))]), SecretRef("pay", "tokn"))
    assert (error.type, error.reason) == ("SecretNotFound", "NoSuchKey")
    assert "it has: token, user" in error.message


async def test_an_api_server_that_is_away_is_waited_for():
    cluster = Cluster(ApiUnavailable("it does not answer"), ApiUnavailable("shutting down"), a_secret())
    assert await SecretReader([ClusterSecrets(cluster)]).read("shop", [TOKEN]) == {TOKEN: "geheim"}
    assert len(cluster.asked) == 3


async def test_an_api_server_that_stays_away_is_an_error_that_is_tried_again(monkeypatch):
    monkeypatch.setattr("leat_runner.secrets.cluster.PATIENCE", 0.1)
    error = await failure(SecretReader([ClusterSecrets(Cluster(ApiUnavailable("it does not answer")))]))
    assert (error.type, error.reason, error.retriable) == ("SecretNotReadable", "ApiServerUnavailable", True)


async def test_outside_of_a_cluster_there_are_no_secrets_of_one():
    error = await failure(SecretReader([Environment({}), ClusterSecrets(Kubernetes({}))]))
    assert error.type == "SecretNotFound"
    assert "Secret 'pay' in namespace 'shop' (this runner has no access to a cluster" in error.message


# -- the log ----------------------------------------------------------------------------------------------------------


def test_the_log_of_the_process_holds_no_secret_while_it_is_held(capfd):
    processors = [structlog.processors.format_exc_info, mask_held, structlog.processors.JSONRenderer()]
    log = structlog.wrap_logger(structlog.PrintLogger(), processors)

    def work(token: str) -> None:
        raise RuntimeError(f"no good: {token}")

    token = "geheimnisvoll"  # noqa: S105
    with holding(Redactor([token])):
        try:
            work(token)
        except RuntimeError:
            log.exception("defect", line="Z2VoZWltbmlzdm9sbA==", facts={"a": ["geheimnisvoll"]}, count=1)
    out = capfd.readouterr().out
    assert out.count("***") == 3
    assert "geheim" not in out
    assert "Z2Vo" not in out
    log.info("after", line="geheimnisvoll")
    assert "geheimnisvoll" in capfd.readouterr().out


def test_a_traceback_in_the_log_shows_no_locals(capfd):
    log = structlog.wrap_logger(
        structlog.PrintLogger(), [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    token = "geheim"  # noqa: S105
    try:
        int(f"{token[:0]}x")
    except ValueError:
        log.exception("defect")
    assert "geheim" not in capfd.readouterr().out
