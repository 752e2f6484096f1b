"""Secrets for `leat run`: given by a file or the environment, asked for by name when they are missing, never shown."""

import pytest
from tests.support.cli import leat

SAMPLE = "config/samples/secret.yaml"


def test_a_file_gives_secrets_and_wins_over_the_environment(tmp_path):
    file = tmp_path / "secrets.yaml"
    file.write_text("shop: {signing-key: correct-horse}\n")
    done = leat("run", SAMPLE, "--secrets-file", str(file), env={"LEAT_SECRET_SHOP_SIGNING_KEY": "another-one"})
    assert done.code == 0, done.err
    assert done.json == {"order": "A-17", "signed": True, "key": "[***]"}
    assert "signing with ***" in done.err
    assert "correct-horse" not in done.out + done.err


def test_a_secret_that_is_missing_is_asked_for_with_both_ways_to_give_it():
    done = leat("run", SAMPLE)
    assert done.code == 1
    assert "secret('shop', 'signing-key') is nowhere" in done.err
    assert "LEAT_SECRET_SHOP_SIGNING_KEY" in done.err
    assert "--secrets-file" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "shop: {signing-key: 12345}",
            "shop.signing-key: found a number or boolean, expected text; write it in quotes",
        ),
        ("shop: correct-horse", "shop: found a text, expected texts by key by name, such as `pay: {token: abc}`"),
        ("- correct-horse", "found a list or object, expected texts by key by name"),
        ("shop: {signing-key: 'correct-horse", "not YAML"),
        ("shop: {signing-key: {a: correct-horse}}", "found a list or object, expected text"),
    ],
)
def test_a_file_that_is_wrong_is_told_without_its_values(text, said, tmp_path):
    file = tmp_path / "secrets.yaml"
    file.write_text(text)
    done = leat("run", SAMPLE, "--secrets-file", str(file))
    assert done.code == 2
    assert said in done.err
    assert "correct-horse" not in done.err
    assert "12345" not in done.err


def test_lint_needs_no_secrets_and_says_where_they_may_stand(tmp_path):
    assert leat("lint", SAMPLE).code == 0
    file = tmp_path / "w.yaml"
    file.write_text(
        "apiVersion: leat.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  steps:\n"
        "    - name: a\n      transform: \"${ secret('a', 'b') }\"\n"
    )
    done = leat("lint", str(file))
    assert done.code == 2
    assert "w.yaml:7: spec.steps[0].transform" in done.out
    assert "secret() may stand only in email.html, email.password" in done.out
