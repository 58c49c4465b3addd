"""Questions that people asked about networks are answered to the last digit, by the command that one would type."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from archcalc.cli import cli

QUESTIONS = yaml.safe_load(Path(__file__).with_name("questions.yaml").read_text("utf-8"))
RUNS = [
    pytest.param(question, arguments, figures, id=f"{question['asked'].split(', ')[0]} {arguments}".strip())
    for question in QUESTIONS
    for arguments, figures in question["answers"].items()
]


def figure_of(output, path):
    """The figure at `path` in JSON: its name, or LAYER.FIGURE."""
    layer, _, figure = path.rpartition(".")
    layers = {row["name"]: row for row in output["layers"]}
    return (layers[layer] if layer else output.get("totals", output))[figure]


@pytest.mark.parametrize(("question", "arguments", "figures"), RUNS)
def test_the_answer_is_right(question, arguments, figures, tmp_path):
    name = question.get("network") or str(tmp_path / "question.yaml")
    if "spec" in question:
        Path(name).write_text(f"name: question\n{question['spec']}", "utf-8")
    options = shlex.split(arguments)
    command = options.pop(0) if options and not options[0].startswith("-") else "summarize"
    result = CliRunner().invoke(cli, [command, name, *options, "--format", "json"])
    assert result.exit_code == 0, result.output or result.exception
    output = json.loads(result.stdout)
    assert {path: figure_of(output, path) for path in figures} == figures
