"""The command line as people use it: output, exit codes, wrong requests. Most run in this process, some for real."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from archcalc.cli import cli
from archcalc.cli.options import NetworkName
from archcalc.errors import ArchcalcError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(*args, env=None):
    """The real command in a process of its own."""
    command = [sys.executable, "-m", "archcalc", *args]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False)


def output(*args):
    """What the command prints, run here; its errors are raised."""
    result = CliRunner().invoke(cli, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_json_is_the_contract():
    data = json.loads(output("summarize", "vgg16", "--format", "json"))
    assert list(data)[:8] == ["schema", "name", "input", "batch", "dtype", "mode", "convention", "archcalc"]
    assert data["totals"]["params"] == 138_357_544
    assert data["totals"]["macs"] == 15_470_264_320
    assert data["totals"]["activations"] == 15_237_608
    assert all(
        type(data["totals"][key]) is int for key in ("params", "buffers", "macs", "flops", "activations", "param_bytes")
    )
    for layer in data["layers"]:
        assert all(type(size) is int for size in layer["output"])
        assert all(type(layer[key]) is int for key in ("params", "macs", "flops", "activations"))
        assert {"name", "op", "inputs", "output", "params", "macs", "flops", "activations", "receptive_field"} <= set(
            layer
        )
    assert {claim["verdict"] for claim in data["published"]} >= {"rounds", "contradicted"}


def test_json_inputs_name_earlier_layers():
    data = json.loads(output("summarize", "googlenet", "--format", "json", "--mode", "train"))
    seen = set()
    for layer in data["layers"]:
        assert set(layer["inputs"]) <= seen
        seen.add(layer["name"])
    assert len(seen) == len(data["layers"])


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(output("summarize", "resnet18", "--format", "csv", "--batch", "2"))))
    data = json.loads(output("summarize", "resnet18", "--format", "json", "--batch", "2"))
    assert [row["name"] for row in rows] == [layer["name"] for layer in data["layers"]]
    assert sum(int(row["macs"]) for row in rows) == data["totals"]["macs"]
    assert {(row["network"], row["input"], row["batch"]) for row in rows} == {("resnet18", "3x224x224", "2")}


def test_every_column_adds_up_to_its_total():
    for arguments in ([], ["--all"], ["--depth", "1"], ["--depth", "2"]):
        text = output("summarize", "googlenet", "--format", "markdown", *arguments)
        table = [line for line in text.splitlines() if line.startswith("|")]
        table = table[: next(i for i, line in enumerate(table) if "total" in line) + 1]
        cells = [[cell.strip(" *").replace(",", "") for cell in line.strip("|").split("|")] for line in table]
        for position, title in enumerate(cells[0]):
            if title.startswith(("Activations", "Params", "MACs", "FLOPs")):
                numbers = [int(row[position]) for row in cells[2:]]
                assert sum(numbers[:-1]) == numbers[-1], (arguments, title)


def test_set_and_input():
    data = json.loads(output("summarize", "resnet50", "--set", "classes=10", "--input", "3x64x64", "--format", "json"))
    assert data["input"] == [3, 64, 64]
    assert data["layers"][-1]["output"] == [10]
    assert "published" not in data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summarise", "vgg16"], "did you mean summarize?"),
        (["summarize", "none.cfg"], "none.cfg: No such file or directory"),
        (["summarize", "none.prototxt"], "none.prototxt: No such file or directory"),
        (["summarize", "weights.pt"], "weights.pt: No such file or directory"),
        (["summarize", "vgg61"], "no network is called 'vgg61'; did you mean vgg1"),
        (["summarize", "resnet5O"], " or resnet50"),
        (["summarize", "pyproject.tml"], "no network is called 'pyproject.tml'; `archcalc list` shows all names"),
        (["summarize", "VGG"], "no network is called 'VGG'; `archcalc list VGG` shows all such names"),
        (["summarize", "nothing-like-it"], "`archcalc list` shows all names"),
        (["summarize"], "missing argument 'NAME'"),
        (["summarize", "vgg16", "--set", "clases=10"], "vgg16 has no param 'clases'; did you mean classes"),
        (["summarize", "vgg16", "--set", "classes"], "'classes' is not a setting; write name=value"),
        (["summarize", "vgg16", "--set", "classes=ten"], "unknown name ten"),
        (["summarize", "vgg16", "--set", "classes=1.5"], "out_features needs a whole number, not 1.5"),
        (["summarize", "vgg16", "--set", "classes=__import__('os')"], "not a function of values"),
        (["summarize", "vgg16", "--input", "224x224x3"], "write the channels first: 3x224x224, not 224x224x3"),
        (
            ["summarize", "vgg16", "--input", "224,224"],
            "write channels x height x width, e.g. 3x224x224",
        ),
        (["summarize", "vgg16", "--input", "3x0x0"], "is not a shape; write channels x height x width, e.g."),
        (["summarize", "vgg16", "--input", "3x20x20"], "kernel 2 is larger than the padded input 1"),
        (["summarize", "vgg16", "--batch", "0"], "0 is not in the range"),
        (
            ["summarize", "vgg16", "--batch", "2", "--batch=2"],
            "'--batch': write it once; run the command once for each",
        ),
        (["memory", "vgg16", "--mode", "train", "--mode", "infer"], "'--mode': write it once"),
        (
            ["compare", "vgg16", "--columns", "macs", "--columns", "params"],
            "'--columns': write it once, with commas between",
        ),
        (
            ["show", "vgg16", "--set", "classes=10", "--set", "classes=9"],
            "'--set': classes has two values; write it once",
        ),
        (["show", "vgg16", "--input", "a=3x8x8", "--input", "a=3x9x9"], "'--input': a has two shapes; write it once"),
        (["audit", "a.csv", "--network", "Ours"], "'Ours' is not a row and its network; write e.g. 'Ours=resnet50'"),
        (["conventions", "thop", "--batch", "4"], "--batch is for a network; name one, or omit it"),
        (["conventions", "--set", "a=1"], "--set is for a network; name one, or omit it"),
        (["summarize", "vgg16", "--dtype", "int3"], "'int3' is not one of"),
        (["summarize", "vgg16", "--format", "xml"], "'xml' is not one of"),
        (["summarize", "vgg16", "--depth", "1", "--all"], "use one of them"),
        (["summarize", "specs"], "is a directory; name a file in it"),
        (["summarize", "specs/vgg.yaml"], "has 5 networks; name one: specs/vgg.yaml:vgg11"),
        (["summarize", "specs/vgg.yaml:vgg17"], "no network 'vgg17'"),
        (["summarize", "specs/none.yaml"], "No such file"),
        (["summarize", "specs/vggg.yaml"], "No such file or directory; did you mean specs/vgg.yaml?"),
        (["summarize", "specs/vgg"], "no network is called 'specs/vgg'; did you mean specs/vgg.yaml?"),
        (["summarize", "/dev/zero"], "not a regular file"),
        (["list", "--family", "resnets"], "no family 'resnets'; did you mean resnet or"),
        (["ops", "convolution"], "no operator 'convolution'"),
        (["check", "specs/none.yaml"], "No such file"),
        (["check", "specs/vgg.yaml:vgg16"], "check reads a whole file: archcalc check specs/vgg.yaml"),
        (["summarize", "vgg16", "-o", "/no/such/folder/x.md"], "cannot write /no/such/folder/x.md: No such file"),
        (["summarize", "vgg16", "-o", "specs", "--force"], "specs is a directory"),
        (["plot", "paretto"], "no command 'paretto'; did you mean pareto?"),
    ],
)
def test_wrong_requests(arguments, message, monkeypatch, refused):
    monkeypatch.chdir(ROOT)
    assert message in refused(*arguments)


def test_errors_leave_no_traceback():
    result = run("summarize", "vgg61")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def test_check_tells_what_is_unused(tmp_path):
    spec = tmp_path / "small.yaml"
    head = "name: small\ninput: [3, 8, 8]\nparams: {width: 4, old: 1}\n"
    spec.write_text(f"{head}blocks: {{never: [relu]}}\nlayers:\n  - conv(width, 3)\n")
    result = run("check", str(spec))
    assert result.returncode == 1
    assert "param old is not used" in result.stderr
    assert "block never is not used" in result.stderr
    assert run("check", "specs/vgg.yaml").stdout == "specs/vgg.yaml: 5 networks: vgg11, vgg13, vgg16-c, vgg16, vgg19\n"


def test_output_file_is_written_whole_and_not_over_another(tmp_path):
    target = tmp_path / "vgg16.md"
    output("summarize", "vgg16", "--format", "markdown", "-o", str(target))
    assert "138,357,544" in target.read_text()
    with pytest.raises(ArchcalcError, match=r"already exists \(use --force to overwrite it\)"):
        output("summarize", "lenet5", "-o", str(target))
    output("summarize", "lenet5", "-o", str(target), "--force")
    assert "60,000" in target.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["vgg16.md"]


COMMANDS = [
    ["summarize", "vgg61"], ["compare", "vgg61"], ["export", "vgg61"], ["show", "vgg61"], ["audit", "vgg61"],
    ["validate", "vgg61"], ["list", "--family", "vggs"], ["ops", "convolution"],
    ["explain", "vgg61"],
]  # fmt: skip
COMMANDS = {command[0]: command for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_file_that_cannot_be_written_is_told_before_any_work(command, tmp_path):
    """A name that no network has comes to light only as the work begins."""
    target = tmp_path / "there.md"
    with pytest.raises(ArchcalcError, match=r"no (network|family|operator)"):
        output(*command, "-o", str(target))
    target.write_text("mine")
    for path, message in (
        (target, "already exists"),
        (tmp_path / "no" / "x.md", "No such file"),
        (tmp_path, "is a d"),
    ):
        with pytest.raises(ArchcalcError, match=message):
            output(*command, "-o", str(path))
    assert target.read_text() == "mine"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("name", ["x.foo", "x", "x.md.gz"])
def test_a_suffix_that_says_no_format_is_refused(command, name, tmp_path):
    result = CliRunner().invoke(cli, [*command, "-o", str(tmp_path / name)])
    assert result.exit_code == 2
    text = " ".join(result.stderr.split())
    assert "invalid value for '-o' / '--output': the suffix of" in text.replace("Invalid", "invalid")
    assert "is not one of .txt, .md, .csv" in text
    with pytest.raises(ArchcalcError, match=r"no (network|family|operator)"):
        output(*command, "--format", "csv", "-o", str(tmp_path / name))


def test_flags_and_repeatable_options_may_be_written_twice():
    arguments = ["--all", "--all", "--set", "classes=7", "--set", "classes=7"]
    assert output("summarize", "vgg11", *arguments) == output("summarize", "vgg11", "--all", "--set", "classes=7")


def test_a_closed_pipe_is_no_error():
    result = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m archcalc summarize resnet152 --all | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")


def test_piped_output_has_no_colour_and_is_not_cut():
    text = run("summarize", "vgg16", env={"COLUMNS": ""}).stdout
    assert "\x1b" not in text
    assert "FLOPs (all)" in text
    assert "Not shown" not in text


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_tables_fit_the_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    for arguments in (["summarize", "vgg16"], ["summarize", "resnet50", "--depth", "2"], ["list"], ["ops"]):
        assert max(len(line) for line in output(*arguments).splitlines()) <= width


def test_help_has_an_example_for_every_command():
    for name in cli.list_commands(None):
        assert f"archcalc {name}" in output(name, "-h")


def test_completion_knows_the_names():
    names = NetworkName().shell_complete(None, None, "dense")
    assert "densenet121" in [item.value for item in names]


def test_settings_may_have_any_name():
    for name in ("name", "input", "spec"):
        with pytest.raises(ArchcalcError, match=f"vgg16 has no param '{name}'"):
            output("summarize", "vgg16", "--set", f"{name}=1")


def test_a_full_output_is_a_clear_error():
    command = f"{sys.executable} -m archcalc list > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: cannot write to the standard output: No space left on device\n",
    )


def test_signs_that_the_terminal_lacks_are_written_out():
    command = [sys.executable, "-m", "archcalc", "ops", "conv"]
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, capture_output=True, env=env, check=True)
    assert r"\u230a(H + 2·padding".encode("latin-1") in done.stdout


def test_force_writes_through_links_and_spares_devices(tmp_path):
    target, link, pipe = tmp_path / "target.md", tmp_path / "link.md", tmp_path / "pipe"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    os.mkfifo(pipe)
    output("summarize", "lenet5", "-o", str(link), "--force")
    assert link.is_symlink()
    assert "60,000" in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ArchcalcError, match="is not a regular file"):
        output("summarize", "lenet5", "-o", str(pipe), "--force")
    assert pipe.is_fifo()


def test_a_file_has_no_colours_and_is_not_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    output("summarize", "vgg16", "-o", str(tmp_path / "vgg16.txt"))
    text = (tmp_path / "vgg16.txt").read_text()
    assert "\x1b" not in text
    assert "FLOPs (all)" in text


def test_a_foreign_file_in_ones_own_folder_is_reported_and_skipped(tmp_path):
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    done = run("list", "--family", "vgg", env={"ARCHCALC_PATH": str(tmp_path)})
    assert done.returncode == 0
    assert "skipped: " in done.stderr
    assert "vgg16" in done.stdout
    assert "did you mean" in run("summarize", "vgg61", env={"ARCHCALC_PATH": str(tmp_path)}).stderr


def test_a_gigabyte_is_refused_unread(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ArchcalcError, match="1,073,741,824 bytes; a spec may have at most 16,777,216"):
        output("summarize", str(path))


CLAIMS = """
name: claims
input: [3, 8, 8]
layers: [{c: "conv(4, 1)"}]
published:
  - {figure: params, printed: "16", source: Table 1}
  - {layer: c, figure: macs, printed: 2K, source: Table 1, clash: counts the biases four times.}
"""


def test_audit_exits_with_0_where_all_is_as_the_spec_says(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS)
    text = output("audit", str(path))
    assert "2 published figures of 1 network: 1 exact, 1 contradicted" in text
    assert "counts the biases four times." in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"16"', '"17"'), "Not reproduced, and the spec gives no reason"),
        (("2K", '"768"'), "The spec gives a reason for a clash, but the figure is reproduced"),
    ],
)
def test_audit_exits_with_1_where_a_figure_is_no_longer_as_the_spec_says(change, says, tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS.replace(*change))
    result = CliRunner().invoke(cli, ["audit", str(path)])
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())


def test_audit_of_a_kind_of_verdict():
    data = json.loads(output("audit", "vgg16", "--only", "contradicted", "--format", "json"))
    assert {figure["verdict"] for figure in data["figures"]} == {"contradicted"}
    assert data["verdicts"]["rounds"] > 0


def test_audit_by_pattern():
    data = json.loads(output("audit", "vgg1?", "lenet5", "--format", "json"))
    assert {figure["network"] for figure in data["figures"]} == {"vgg11", "vgg13", "vgg16", "vgg19", "lenet5"}


def test_show():
    data = json.loads(output("show", "googlenet", "--format", "json"))
    assert data["paper"]["arxiv"] == "1409.4842"
    assert data["params"] == {"classes": "1000", "multiplier": "0"}
    assert {figure["figure"] for figure in data["published"]} >= {"depth", "macs", "params"}
    text = output("show", "vgg16")
    assert "arXiv:1409.1556" in text
    assert "depths=[2, 2, 3, 3, 3]" in text


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_show_and_audit_in_every_format(form):
    for arguments in (["show", "resnet50"], ["audit", "resnet50"], ["audit", "blocks/conv3x3"]):
        assert "resnet50" in output(*arguments, "--format", form) or "blocks" in arguments[1]


def test_audit_tells_of_a_spec_that_cannot_be_read(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: bad\nlayers: [relu\n")
    done = run("audit", "--only", "within", env={"ARCHCALC_PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "skipped: " in done.stderr
    assert "bad.yaml:3:1: not YAML" in done.stderr
    assert run("audit", "lenet5", env={"ARCHCALC_PATH": str(tmp_path)}).returncode == 0
