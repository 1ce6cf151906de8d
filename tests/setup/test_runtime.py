"""The newer C runtime: which source it comes from, how Python is told to use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap import runtime
from bootstrap.runtime import Source

DEBIAN = """\
Types: deb
# a comment between
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""

UBUNTU = """\
# deb cdrom:[Ubuntu 22.04]/ jammy main
deb http://mirror.example/ubuntu/ jammy main restricted # the archive
deb http://mirror.example/ubuntu/ jammy-updates main restricted
deb-src http://mirror.example/ubuntu/ jammy main
deb [arch=amd64 signed-by=/etc/apt/keyrings/vendor.gpg] https://vendor.example jammy main
deb [arch=amd64] https://docker.example/linux/ubuntu jammy stable
"""


def test_debian_sources_turn_to_the_newer_release():
    assert runtime.newer_sources(runtime.parse_deb822(DEBIAN)) == [
        Source(
            "http://mirror.example/debian",
            "trixie",
            ("main",),
            "/usr/share/keyrings/debian-archive-keyring.gpg",
        )
    ]


def test_the_archive_comes_before_other_vendors():
    assert runtime.newer_sources(runtime.parse_list(UBUNTU)) == [
        Source("http://mirror.example/ubuntu/", "noble", ("main",)),
        Source("https://vendor.example", "noble", ("main",), "/etc/apt/keyrings/vendor.gpg"),
    ]


def test_a_key_inside_the_source_keeps_its_lines():
    text = DEBIAN.partition("Signed-By")[0] + "Signed-By:\n -----BEGIN\n .\n abc\n"
    (source, _) = runtime.parse_deb822(text)
    assert source.signed_by == "\n -----BEGIN\n .\n abc"
    assert "Signed-By: \n -----BEGIN\n .\n abc\n" in source.deb822()
    assert runtime.parse_deb822(source.deb822())[0] == source


def test_sources_are_read_from_both_kinds_of_file(tmp_path):
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text(UBUNTU)
    (folder / "debian.sources").write_text(DEBIAN)
    (folder / "old.list.save").write_text(UBUNTU)
    found = runtime.system_sources(tmp_path)
    assert len(found) == len(runtime.parse_list(UBUNTU)) + len(runtime.parse_deb822(DEBIAN))


def test_no_apt_is_said_with_what_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = runtime.obstacle((2, 34))
    assert "glibc here is 2.34" in problem
    assert "2.39" in problem
    assert "container" in problem


def test_a_distribution_without_a_newer_release_is_said(monkeypatch):
    monkeypatch.setattr(runtime.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(runtime, "system_sources", list)
    assert "no Debian or Ubuntu archive" in runtime.obstacle((2, 36))


@pytest.mark.parametrize(
    "old, library_dir, expected",
    [
        ("/opt/py/lib", "/opt/py/lib", ["/rt", "/opt/py/lib"]),
        ("$ORIGIN/../lib", "/build/lib", ["/rt", "/opt/py/lib", "/build/lib"]),
        ("${ORIGIN}/../lib:", "", ["/rt", "/opt/py/lib"]),
        ("", "/usr/lib/x86_64-linux-gnu", ["/rt"]),
        ("", "/usr/local/lib", ["/rt", "/usr/local/lib"]),
        ("/usr/lib:/lib64", "/usr/libexec/py", ["/rt", "/usr/libexec/py"]),
    ],
)
def test_rpath_leaves_the_systems_own_folders_out(old, library_dir, expected):
    assert runtime.rpath(Path("/rt"), old, Path("/opt/py/bin/python3"), library_dir) == expected


def test_apt_stays_in_its_folder_and_keeps_the_proxy():
    text = runtime.apt_config(Path("/f"), 'Acquire::http::Proxy "http://proxy.example";\n')
    assert text.startswith('Acquire::http::Proxy "http://proxy.example";')
    assert 'Dir::State "/f/state"' in text
    assert 'Dir::Etc::parts "/dev/null"' in text
    assert 'AllowInsecureRepositories "false"' in text
