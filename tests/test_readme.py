"""Every command block of README.md is run, in an environment with the wheel alone, and prints what stands there.

`make golden` writes the output anew. `make test` itself is what runs this test.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TABLE = re.compile(r"<!-- \$ (archcalc .*?) -->\n(.*?)<!-- end -->", re.DOTALL)
BLOCK = re.compile(r"```(console|python|yaml)\n(.*?)```", re.DOTALL)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git has, so that nothing a command writes lands here."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def printed(command, installed, checkout):
    """What a command prints now: Markdown that stands in the page as it is."""
    done = installed.run(command, checkout)
    assert done.returncode == 0, (command, done.stderr)
    return f"\n{done.stdout}\n"


def replay(block, installed, checkout):
    """The block with the output its commands have now."""
    lines = []
    for line in block.splitlines():
        if line.startswith("$ "):
            lines.append(line)
            if line != "$ make test":  # it runs this
                done = installed.run(line[2:], checkout)
                assert done.returncode == 0, (line, done.stderr)
                lines += done.stdout.splitlines() if line.startswith("$ archcalc") else []
    return "\n".join(lines) + "\n"


def test_console_blocks(installed, checkout):
    text = README.read_text()
    fresh = BLOCK.sub(
        lambda m: f"```console\n{replay(m[2], installed, checkout)}```" if m[1] == "console" else m[0], text
    )
    fresh = TABLE.sub(lambda m: f"<!-- $ {m[1]} -->\n{printed(m[1], installed, checkout)}<!-- end -->", fresh)
    if os.environ.get("ARCHCALC_REWRITE"):
        README.write_text(fresh)
    assert fresh == README.read_text()


def test_the_spec_and_the_python(installed, checkout):
    fences = re.findall(r"^```(\w+)$", README.read_text(), re.MULTILINE)
    assert sorted(set(fences)) == ["console", "python", "yaml"], "a block that nothing here runs"
    blocks = [(m[1], m[2]) for m in BLOCK.finditer(README.read_text())]
    ((_, spec),) = [block for block in blocks if block[0] == "yaml"]
    ((_, code),) = [block for block in blocks if block[0] == "python"]
    (checkout / "small.yaml").write_text(spec)
    assert installed.run("archcalc check small.yaml && archcalc summarize small.yaml", checkout).returncode == 0
    (checkout / "example.py").write_text(code)
    done = installed.run("python example.py", checkout)
    assert done.stdout == "23528522 123390263296 (483, 483)\n{'11': 'exact', '133M': 'rounds'}\n", done.stderr


def test_it_opens_with_one_sentence_and_two_commands():
    opening = README.read_text().split("```console\n")[:2]
    assert len(re.findall(r"\.\s", opening[0])) == 1
    assert opening[1].splitlines()[:2] == ["$ pip install .", "$ archcalc summarize vgg16"]


def test_make_demo_needs_python_alone(installed, checkout):
    done = installed.run("make --silent demo && .venv/bin/python -m pip list", checkout)
    assert "138,357,544" in done.stdout, done.stderr
    assert "torch" not in done.stdout
