"""Where the Kubernetes binaries come from, in which order."""

import hashlib
import io
import tarfile

import pytest

from leat_stack import StackError, binaries, envtest

NAMES = binaries.NAMES


def place(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / name).touch(mode=0o755)
    return folder


@pytest.fixture
def env(tmp_path, monkeypatch):
    """An environment whose cache is empty, whose downloads fail and which has no Go."""

    def unavailable(*_):
        raise envtest.UnavailableError("no network")

    monkeypatch.setattr(envtest, "download", unavailable)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_the_assets_folder_comes_before_the_cache(env, tmp_path):
    place(binaries.cache(env))
    assets = place(tmp_path / "assets")
    assert binaries.find({**env, "KUBEBUILDER_ASSETS": str(assets)}) == assets


def test_an_assets_folder_that_lacks_a_program_is_passed_over_for_the_cache(env, tmp_path):
    assets = place(tmp_path / "assets")
    (assets / "kubectl").unlink()
    cached = place(binaries.cache(env))
    assert binaries.find({**env, "KUBEBUILDER_ASSETS": str(assets)}) == cached


def test_the_cache_comes_before_the_download(env):
    cached = place(binaries.cache(env))
    assert binaries.find(env) == cached


def test_the_download_comes_before_the_build(env, monkeypatch):
    monkeypatch.setattr(envtest, "download", lambda _version, _architecture, folder, _names: place(folder))
    assert binaries.complete(binaries.find(env))


def test_without_download_and_go_the_message_names_every_way(env):
    with pytest.raises(StackError, match=r"Go is missing.*brew install go.*https://go.dev/dl.*KUBEBUILDER_ASSETS"):
        binaries.find(env)


def test_a_go_that_cannot_fetch_its_toolchain_is_refused_with_what_was_found(env, tmp_path):
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\necho \'{"GOVERSION": "go1.19.8"}\'\n')
    go.chmod(0o755)
    with pytest.raises(StackError, match=r"found go1\.19\.8, at least 1\.21"):
        binaries.find(env)


def test_a_failed_build_shows_its_log_and_leaves_no_half_program(env, tmp_path):
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(
        '#!/bin/sh\n[ "$1" = env ] && echo \'{"GOVERSION": "go1.26.0"}\' && exit\necho no such package\nexit 1\n'
    )
    go.chmod(0o755)
    with pytest.raises(StackError, match=r"(?s)building etcd failed.*etcd.log.*no such package"):
        binaries.find(env)
    assert not binaries.complete(binaries.cache(env))


def index(*releases):
    def entry(release, architecture):
        name = f"envtest-{release}-{architecture}.tar.gz"
        return name, {"hash": f"hash of {name}", "selfLink": f"https://example.com/{name}"}

    return {"releases": {each: dict([entry(each, "linux-amd64"), entry(each, "darwin-arm64")]) for each in releases}}


def test_the_exact_patch_is_chosen_even_where_a_newer_one_is_published():
    found = envtest.choose(index("v1.36.0", "v1.36.3", "v1.36.4"), "1.36.3", "linux-amd64")
    assert found[0] == "v1.36.3"


def test_else_the_newest_patch_of_the_same_minor_is_chosen():
    found = envtest.choose(index("v1.36.2", "v1.36.10", "v1.37.0", "v1.35.9"), "1.36.3", "darwin-arm64")
    assert found == (
        "v1.36.10",
        "https://example.com/envtest-v1.36.10-darwin-arm64.tar.gz",
        "hash of envtest-v1.36.10-darwin-arm64.tar.gz",
    )


def test_a_machine_for_which_nothing_is_published_is_named():
    with pytest.raises(envtest.UnavailableError, match=r"nothing is published for 1\.36 on linux-riscv64"):
        envtest.choose(index("v1.36.0"), "1.36.3", "linux-riscv64")


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [("Linux", "x86_64", "linux-amd64"), ("Linux", "aarch64", "linux-arm64"), ("Darwin", "arm64", "darwin-arm64")],
)
def test_platforms_have_the_names_that_go_gives_them(system, machine, expected):
    assert envtest.architecture(system, machine) == expected


def archive(*names):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(f"controller-tools/envtest/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return packed.getvalue()


@pytest.fixture
def site(monkeypatch):
    """What the download site answers, by URL."""
    answers = {}
    monkeypatch.setattr(envtest, "_fetch", answers.__getitem__)
    return answers


def announce(site, content, digest):
    site[envtest.INDEX] = (
        '{"releases": {"v1.36.3": {"envtest-v1.36.3-linux-amd64.tar.gz":'
        f' {{"hash": "{digest}", "selfLink": "https://example.com/it"}}}}}}}}'
    ).encode()
    site["https://example.com/it"] = content


def test_an_archive_with_the_announced_digest_is_unpacked_into_programs(site, tmp_path):
    content = archive(*NAMES, "README")
    announce(site, content, hashlib.sha512(content).hexdigest())
    envtest.download("1.36.3", "linux-amd64", tmp_path, NAMES)
    assert binaries.complete(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(NAMES)


def test_an_archive_with_another_digest_is_refused_before_it_is_opened(site, tmp_path):
    announce(site, b"not an archive", "0" * 128)
    with pytest.raises(envtest.UnavailableError, match="SHA-512"):
        envtest.download("1.36.3", "linux-amd64", tmp_path, NAMES)
    assert not any(tmp_path.iterdir())


def test_an_archive_that_lacks_a_program_is_refused(site, tmp_path):
    content = archive("etcd", "kubectl")
    announce(site, content, hashlib.sha512(content).hexdigest())
    with pytest.raises(envtest.UnavailableError, match="has no kube-apiserver"):
        envtest.download("1.36.3", "linux-amd64", tmp_path, NAMES)


def test_the_version_is_that_of_the_go_module():
    assert binaries.version().count(".") == 2
