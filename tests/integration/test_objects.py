"""One suite over both object stores: a directory, and a server that speaks S3."""

import hashlib

import pytest
from tests.support.buckets import an_s3_server

from leat_engine.artifacts import ArtifactGone, ArtifactsUnavailable, Objects
from leat_engine.artifacts.objects import PART

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with an_s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture(params=["directory", "s3"])
def objects(request, tmp_path):
    url = tmp_path.as_uri() if request.param == "directory" else request.getfixturevalue("s3")
    return Objects.connect(url)


async def pieces(*parts, fails=None):
    for part in parts:
        yield part
    if fails is not None:
        raise fails


async def content(objects, key):
    return b"".join([piece async for piece in objects.get(key)])


@pytest.mark.parametrize("sizes", [[], [0], [1], [MIB, 5], [PART], [PART, PART, 1]])
async def test_what_is_put_is_got_with_its_size_and_digest(objects, sizes):
    parts = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    put = await objects.put("shop/run/0/make/1/a", pieces(*parts), "text/csv")
    assert (put.size, put.sha256) == (sum(sizes), hashlib.sha256(b"".join(parts)).hexdigest())
    assert await content(objects, "shop/run/0/make/1/a") == b"".join(parts)


async def test_a_source_that_breaks_off_leaves_no_object_and_its_error_is_its_own(objects):
    with pytest.raises(ValueError, match="mine"):
        await objects.put("shop/run/0/broken/1/a", pieces(b"x" * PART, b"y", fails=ValueError("mine")), "text/csv")
    with pytest.raises(ArtifactGone, match="it goes with the run that made it"):
        await content(objects, "shop/run/0/broken/1/a")


async def test_one_object_is_removed_once_and_again(objects):
    await objects.put("shop/run/0/once/1/a", pieces(b"x"), "text/csv")
    await objects.remove("shop/run/0/once/1/a")
    await objects.remove("shop/run/0/once/1/a")
    with pytest.raises(ArtifactGone):
        await content(objects, "shop/run/0/once/1/a")


async def test_all_of_a_run_is_removed_and_nothing_of_another_one(objects):
    for key in ("gone/1/0/a/1/x", "gone/1/0/a/2/x", "gone/11/0/a/1/x", "gone-too/1/0/a/1/x"):
        await objects.put(key, pieces(b"x"), "text/csv")
    assert await objects.remove_below("gone/1/") == 2
    assert await objects.remove_below("gone/1/") == 0
    assert await content(objects, "gone/11/0/a/1/x") == b"x"
    assert await content(objects, "gone-too/1/0/a/1/x") == b"x"
    with pytest.raises(ArtifactGone):
        await content(objects, "gone/1/0/a/1/x")


async def test_more_objects_than_one_request_takes_are_removed(objects):
    for number in range(1_100):
        await objects.put(f"many/1/0/a/1/x{number}", pieces(b"x"), "text/csv")
    assert await objects.remove_below("many/1/") == 1_100


async def test_a_store_that_is_away_says_so_and_shows_no_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    away = Objects.connect("s3://bucket?endpoint=http://127.0.0.1:9&region=x")
    with pytest.raises(ArtifactsUnavailable) as caught:
        await content(away, "a/b/0/c/1/d")
    assert "hush" not in str(caught.value)
