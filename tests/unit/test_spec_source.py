import json
from contextlib import suppress
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.errors import Rejected
from leat_engine.spec.source import Document, load_documents, plain_value

TEXT = """
apiVersion: leat.dev/v1alpha1
kind: Workflow
spec:
  steps:
    - name: a
      http:
        url: https://example
    - {name: b, needs: [{step: a, on: [Failed]}]}
---
kind: WorkflowRun
"""


def load(text: str) -> list[Document]:
    return load_documents(dedent(text), "f.yaml")


def rejected(text: str) -> list[str]:
    with pytest.raises(Rejected) as caught:
        load(text)
    return [str(reason) for reason in caught.value.reasons]


def test_documents_know_the_lines_of_their_fields():
    workflow, run = load(TEXT)
    assert workflow.line_of("kind") == 3
    assert workflow.line_of("spec.steps[0].http.url") == 8
    assert workflow.line_of("spec.steps[1].needs[0].on") == 9
    assert run.line_of("kind") == 11


def test_the_line_of_a_field_that_is_not_there_is_that_of_the_nearest_one_around_it():
    workflow = load(TEXT)[0]
    assert workflow.line_of("spec.steps[0].http.method") == 7
    assert workflow.line_of("spec.steps[9].name") == 5
    assert workflow.line_of("metadata.name") == 2
    assert workflow.line_of("") == 2


def test_an_unquoted_on_is_a_key():
    assert load(TEXT)[0].data["spec"]["steps"][1]["needs"] == [{"step": "a", "on": ["Failed"]}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("+3", 3), ("0777", 511), ("0o17", 15), ("0x1F", 31), ("1_000", 1000), ("089", 89.0),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1:30", "1:30"), ("2030-01-31", "2030-01-31"), (".", "."),
        ("yes", True), ("y", True), ("on", True), ("No", False), ("off", False), ("~", None), ("", None),
        ("null", None), ("-", "-"), ("1s", "1s"), ("2xx", "2xx"), ("1.2.3", "1.2.3"), (".inf", ".inf"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_they_mean_to_kubectl(text, value):
    assert plain_value(text) == value
    assert type(plain_value(text)) is type(value)


def test_quoted_and_tagged_scalars_keep_their_type():
    assert load('a: ["yes", \'1\', !!str 5, !!int "5", !!float 5]')[0].data == {"a": ["yes", "1", "5", 5, 5.0]}


def test_anchors_and_merge_keys_work():
    text = """
    base: &base {a: 1, b: 2}
    more: {<<: *base, b: 3}
    both: {<<: [*base, {a: 9, c: 4}]}
    """
    assert load(text)[0].data["more"] == {"a": 1, "b": 3}
    assert load(text)[0].data["both"] == {"a": 1, "b": 2, "c": 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' is there twice (first in line 1)"),
        ("inputs:\n  n: {}\n", "f.yaml:2: kubectl reads the key 'n' as false; write it in quotes"),
        ("a: ${ x ? 'b': 1 }", "f.yaml:1: mapping values are not allowed here; YAML needs quotes around an expression"),
        ("x: 1\na: {b: ${ x }}", "f.yaml:2: while parsing a flow mapping"),
        ("a: {b: ${ x }}", "YAML needs quotes around an expression that holds `: `"),
        ("a: [", "f.yaml:1: while parsing a flow node"),
        ("a:\n\t- 1", "found character '\\t'"),
        ("- a", "f.yaml:1: expected an object such as a Workflow, found list"),
        ("a: &a [*a]", "nested deeper than"),
        ("a: !!python/object:os.system x", "expected a plain value"),
        ("{[1]: 2}", "expected a text as key"),
        ("a: \x01", "special characters are not allowed"),
        ("a: *b", "undefined alias"),
    ],
)
def test_what_is_no_sound_yaml_is_named_with_its_line(text, said):
    assert any(said in reason for reason in rejected(text))


def test_aliases_cannot_blow_a_document_up():
    lines = [
        "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)),
    ]
    assert "more than 500000 values" in rejected("\n".join(lines))[0]


def test_empty_documents_are_left_out():
    assert load("") == []
    assert len(load("---\n---\na: 1\n---\n# nothing\n")) == 1


def test_every_reason_of_all_documents_is_collected():
    assert len(rejected("a: 1\na: 2\n---\n- x\n---\nb: 1\nb: 2\n")) == 3


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["C"]))


@given(
    st.recursive(
        plain, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner), max_leaves=10
    )
)
def test_json_is_yaml(value: Any):
    assert load_documents(json.dumps({"v": value}), "f.json")[0].data == {"v": value}


@given(st.text())
def test_any_text_is_documents_or_rejected(text):
    with suppress(Rejected):
        load_documents(text, "f.yaml")


def test_escapes_of_json_are_characters():
    assert load(r'{"a": "\ud83d\ude00"}')[0].data == {"a": "😀"}
    assert "half of a surrogate pair" in rejected(r'{"a": "\ud83d"}')[0]
