"""What carries files in and out of a pod, by URLs of a server that speaks S3."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from urllib.parse import urlsplit

import pytest
from tests.support.buckets import an_s3_server

from leat_engine.artifacts import Objects

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with an_s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield Objects.connect(url)


def ferry(way, folder, *items):
    """What it says, and its exit code. No credentials, and nothing of this environment, go along."""
    environment = {"PATH": os.environ["PATH"]}
    environment |= {f"LEAT_FILE_{number}": json.dumps(item) for number, item in enumerate(items)}
    command = [sys.executable, "-m", "leat_runner.ferry", way, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert not any(urlsplit(item["url"]).query in done.stdout + done.stderr for item in items)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


async def to_put(bucket, key, path, name="a"):
    return {"name": name, "path": path, "url": await bucket.url("PUT", key), "contentType": "text/csv"}


async def to_get(bucket, key, path, content, **more):
    there = {"size": len(content), "sha256": sha256(content).hexdigest()}
    return {"path": path, "url": await bucket.url("GET", key), **there, **more}


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 7])
async def test_what_is_put_is_got_again(bucket, tmp_path, size):
    content, key = os.urandom(size), f"shop/run/0/make/t1/{size}"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.csv").write_bytes(content)
    told, code = ferry("put", tmp_path, await to_put(bucket, key, "out/a.csv"))
    assert (told, code) == ([{"name": "a", "size": size, "sha256": sha256(content).hexdigest()}], 0)
    assert await bucket.size(key) == size
    assert b"".join([piece async for piece in bucket.get(key)]) == content
    assert ferry("get", tmp_path, await to_get(bucket, key, "in/deep/b.csv", content)) == ([], 0)
    assert (tmp_path / "in/deep/b.csv").read_bytes() == content
    assert (tmp_path / "in/deep").stat().st_mode & 0o777 == 0o777  # the step may be another user


async def test_each_file_that_cannot_be_put_is_told_and_the_others_are_there(bucket, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("x")
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    paths = ["real/a", "linked/a", "link", "pipe", "real", "absent"]
    items = [await to_put(bucket, f"shop/run/0/many/t1/{n}", path, path) for n, path in enumerate(paths)]
    told, code = ferry("put", tmp_path, *items)
    assert code == 0
    assert [line.get("reason") for line in told] == [None, *["ArtifactMissing"] * 5]
    assert told[5]["message"] == "'absent' cannot be read: No such file or directory; leave a plain file there"
    assert not any(line["retriable"] for line in told[1:])


async def test_what_cannot_be_got_ends_it_and_says_whether_another_try_helps(bucket, tmp_path):
    key, content = "shop/run/0/get/t1/a", b"content"
    (tmp_path / "a").write_bytes(content)
    ferry("put", tmp_path, await to_put(bucket, key, "a"))
    (gone,), code = ferry("get", tmp_path, await to_get(bucket, "shop/run/0/get/t1/none", "b", content))
    assert (code, gone["reason"], gone["retriable"]) == (1, "ArtifactGone", False)
    (other,), code = ferry("get", tmp_path, await to_get(bucket, key, "b", content, sha256="00"))
    assert (code, other["reason"], other["retriable"]) == (1, "ArtifactChanged", False)


async def test_a_directory_has_no_urls(tmp_path):
    with pytest.raises(Exception, match="set it to s3://BUCKET/PREFIX for the runners"):
        await Objects.connect(tmp_path.as_uri()).url("GET", "a/b")
