"""Every sample is run by `leat run` to the end that it states."""

import pytest
from tests.support.cli import leat
from tests.support.samples import Sample, all_samples, samples, serving

EXIT_CODES = {"Succeeded": 0, "Failed": 1, "Cancelled": 1}


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.file.stem)
def test_the_sample_ends_as_it_says(sample: Sample):
    arguments = ["run", str(sample.file), "-o", "json"]
    if sample.functions:
        arguments += ["--functions", str(sample.functions)]
    if sample.served:
        with serving(sample.served) as url:
            done = leat(*arguments, "-i", f"url={url}")
    else:
        done = leat(*arguments, env=sample.secrets)
    assert not any(value in done.out + done.err for value in sample.secrets.values())
    if sample.stated("exit") == "2":
        assert (done.code, done.out) == (2, "")
        return
    assert done.code == EXIT_CODES[sample.phase], done.err
    assert done.json["phase"] == sample.phase
    assert done.json["output"] == sample.output
    workflow = next(document for document in sample.documents if document["kind"] == "Workflow")
    assert list(done.json["steps"]) == [step["name"] for step in workflow["spec"]["steps"]]


def test_the_invalid_sample_is_answered_with_every_mistake():
    (invalid,) = [sample for sample in samples() if sample.file.stem == "invalid"]
    done = leat("lint", str(invalid.file), "-o", "json")
    assert done.code == 2
    assert [(found["line"], found["path"]) for found in done.json] == [
        (17, "spec.steps[0]"),
        (24, "spec.steps[2].needs[0]"),
        (28, "spec.steps[3].transform.text"),
        (29, "spec.steps[3].transform.size"),
    ]


def test_every_other_sample_passes_lint():
    files = [str(sample.file) for sample in all_samples() if sample.file.stem != "invalid"]
    assert (leat("lint", *files).code, len(files)) == (0, 32)
