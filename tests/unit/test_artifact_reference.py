"""References: whose an object is, what is looked into, what is handed on."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.artifacts import ArtifactsRefused, Objects
from leat_engine.artifacts.masking import StreamMask
from leat_engine.errors import Rejected
from leat_engine.expression import ORIGINALS, compile_template
from leat_engine.job import StepKey
from leat_engine.look import Look, looks_of, wanted
from leat_engine.plan import compile_plan
from leat_engine.reference import Foreign, Reference, key_of, places, prefix_of, reference_in
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

RUN = UUID("0190a6c0-0000-7000-8000-000000000001")
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
words = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True)
NAMES = {"steps": frozenset({"make"})}


def a_reference(key="shop/x/0/make/1/report"):
    return Reference(key, 8, "00", "text/csv")


@given(names, names, st.integers(0, 9), words, words)
def test_a_key_is_followed_by_its_own_namespace_alone(namespace, other, scope, step, name):
    key = key_of(namespace, StepKey(RUN, scope, 1), step, 2, name)
    assert key.startswith(prefix_of(namespace, RUN))
    assert a_reference(key).key_within(namespace) == key
    if other != namespace:
        with pytest.raises(Foreign):
            a_reference(key).key_within(other)


@given(st.text())
def test_whatever_text_is_given_as_a_key_stays_within_the_namespace(text):
    for key in (text, f"shop/{text}", f"shop/a/0/b/1/{text}"):
        try:
            followed = a_reference(key).key_within("shop")
        except Foreign:
            continue
        assert followed.startswith("shop/")
        assert ".." not in followed.split("/")
        assert len(followed.split("/")) == 6


def test_a_reference_is_read_back_from_its_json_and_nothing_else_is_one():
    assert reference_in(a_reference().as_json()) == a_reference()
    whole = a_reference().as_json()
    for other in (None, 1, [], {}, {"$artifact": {}}, {**whole, "more": 1}, {"$artifact": {"key": 1}}):
        assert reference_in(other) is None


def test_references_are_found_in_an_output_and_in_its_members():
    ref = a_reference()
    assert list(places(ref.as_json())) == [((), ref)]
    assert list(places({"status": 200, "body": ref.as_json()})) == [(("body",), ref)]
    assert list(places([ref.as_json()])) == []


@pytest.mark.parametrize(
    ("expression", "whole", "body"),
    [
        ("${ steps.make.output }", False, False),
        ("${ steps.make.output.body }", True, False),
        ("${ steps.make.output.body.items }", True, True),
        ("${ steps.make.output.status }", True, False),
        ("${ steps.make.output.status == 200 }", True, False),
        ("${ size(steps.make.output) }", True, True),
        ("${ steps.make.output.body.size() }", True, True),
        ("about ${ steps.make.output }", True, True),
        ("${ steps.make.state }", False, False),
        ("${ steps.make.artifacts.report }", False, False),
    ],
)
def test_only_what_is_looked_into_is_fetched(expression, whole, body):
    looks = looks_of([compile_template(expression, "x", NAMES)])

    def fetched(output):
        return any(found for look in looks for found in wanted(look, output))

    assert fetched(a_reference().as_json()) is whole
    assert fetched({"status": 200, "body": a_reference().as_json()}) is body
    assert not fetched({"status": 200, "body": "small"})


def test_a_list_of_items_is_always_looked_into():
    items = compile_template("${ steps.make.output }", "x", NAMES)
    assert looks_of([items], into=items) == (Look("make", (), bare=False),)


def test_a_path_alone_gives_the_reference_where_others_get_the_value():
    kept = a_reference().as_json()
    value = {
        "all": "${ steps.make.output }",
        "body": "${ steps.make.output.body }",
        "n": "${ size(steps.make.output.body) }",
        "text": "${ steps.make.output.body }!",
        "first": "${ steps.make.output.body[0] }",
        "there": "${ has(steps.make.output.body) }",
        "maybe": "${ steps.make.output.?body.orValue('') }",
    }
    whole = {"body": kept}
    bindings = {"steps": {"make": {"output": {"body": ["x", "y"]}}}, ORIGINALS: {"make": whole}}
    assert compile_template(value, "x", NAMES).evaluate(bindings) == {
        "all": whole,
        "body": kept,
        "n": 2,
        "text": '["x","y"]!',
        "first": "x",
        "there": True,
        "maybe": ["x", "y"],
    }


# -- what is written in a spec ----------------------------------------------------------------------------------------


def reasons(*steps, **spec):
    with pytest.raises(Rejected) as caught:
        compile_plan(parse_spec({"steps": list(steps), **spec}), load_models(), "r")
    return {reason.path: reason.message for reason in caught.value.reasons}


MAKE = {"name": "make", "script": {"run": "x"}, "artifacts": {"report": {"path": "out/report.csv"}}}


def leaving(**artifact):
    return {"script": {"run": "x"}, "artifacts": {"a": artifact}}


@pytest.mark.parametrize(
    ("step", "path", "said"),
    [
        (leaving(), ".artifacts.a.path", "is required and missing"),
        (leaving(path="/etc/a"), ".artifacts.a.path", "below the script's"),
        (leaving(path="x/../../a"), ".artifacts.a.path", "below the script's"),
        ({"script": {"run": "x"}, "artifacts": {"output": {"path": "a"}}}, ".artifacts.output", "step's own output"),
        ({"script": {"run": "x"}, "artifacts": {"a b": {"path": "a"}}}, ".artifacts.a b", "is no artifact name"),
        ({"function": {"name": "f"}, "artifacts": {"a": {"path": "a"}}}, ".artifacts.a.path", "belongs to a script"),
        ({"http": {"url": "http://x"}, "artifacts": {"a": {}}}, ".artifacts.a", "leaves no artifacts"),
        ({"steps": [MAKE], "artifacts": {"a": {"path": "a"}}}, ".artifacts", "they belong to steps of the body"),
        ({**leaving(path="a"), "cache": {"key": "x", "ttl": "1h"}}, ".cache", "steps without `artifacts`"),
        ({"forEach": [1], **leaving(path="a")}, ".artifacts", "into `steps`"),
    ],
)
def test_what_is_wrong_with_an_artifact_is_named(step, path, said):
    assert said in reasons({"name": "a", **step})[f"spec.steps[0]{path}"]


def test_a_file_that_a_script_is_given_stays_in_its_directory():
    found = reasons({"name": "a", "script": {"run": "x", "files": {"../a": 1, "/b": 2, "c": 3}}})
    assert all("below the script's directory" in message for message in found.values())
    assert len(found) == 2


def test_an_artifact_that_no_step_leaves_is_named_wherever_it_is_read():
    read = {"name": "read", "script": {"run": "x", "files": {"a": "${ steps.make.artifacts.reprot }"}}}
    bare = {"name": "bare", "transform": 1}
    found = reasons(MAKE, read, bare, output="${ steps.bare.artifacts.x }")
    assert "did you mean 'report'?" in found["spec.steps[1].script.files.a"]
    assert "step 'bare' has no `artifacts`" in found["spec.output"]


# -- secrets in streams -----------------------------------------------------------------------------------------------


async def _through(mask, pieces):
    async def given_pieces():
        for piece in pieces:
            yield piece

    return b"".join([piece async for piece in mask.over(given_pieces())])


@given(
    st.text("ab", max_size=60),
    st.lists(st.text("ab", min_size=2, max_size=6), min_size=1, max_size=3),
    st.lists(st.integers(0, 60), max_size=8),
)
async def test_a_stream_is_masked_as_its_whole_would_be(text, secrets, cuts):
    data = text.encode()
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    masked = await _through(StreamMask(secrets), pieces)
    assert masked == await _through(StreamMask(secrets), [data])
    assert not any(secret.encode() in part for secret in secrets for part in masked.split(b"***"))


# -- the URL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "x", "file://", "http://x/y", "s3://", "s3://KEY:SECRET@bucket", "file://host/x"])
def test_what_is_no_store_is_refused_without_telling_the_url(url):
    with pytest.raises(ArtifactsRefused) as caught:
        Objects.connect(url)
    assert "expected s3://BUCKET/PREFIX or file:///DIRECTORY" in str(caught.value)
    assert "SECRET@" not in str(caught.value)


def test_an_unknown_option_is_named():
    with pytest.raises(ArtifactsRefused, match="unknown option secret_key; expected endpoint or region"):
        Objects.connect("s3://bucket?secret_key=hush")
