"""Files that other programs wrote, as users name them: marks, suffixes, scales, empty files."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from support import caffe_texts, darknet_texts, yolo_texts

from archcalc import ArchcalcError, analyze, load
from archcalc.cli import cli

KERAS = (
    '{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense",'
    ' "config": {"name": "a", "units": 2, "batch_input_shape": [null, 3]}}]}}'
)
FILES = {
    "a.cfg": darknet_texts.yolov3_tiny(), "a.prototxt": caffe_texts.lenet(), "a.json": KERAS,
    "a.yaml": yolo_texts.pyramid("C2f", scales=yolo_texts.SCALES),
}  # fmt: skip


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)


def run(*arguments):
    result = CliRunner().invoke(cli, arguments)
    return result.output or str(result.exception)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["mark", "crlf", "link", "bare"])
def test_a_file_is_recognised_by_its_content(name, change):
    made = "other" if change == "bare" else f"b{Path(name).suffix}"
    if change == "link":
        Path(made).symlink_to(name)
    else:
        text = FILES[name].replace("\n", "\r\n") if change == "crlf" else FILES[name]
        Path(made).write_bytes(text.encode("utf-8-sig" if change == "mark" else "utf-8"))
    assert "1 network" in run("check", made)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.cfg", " \n", "b.cfg: the file is empty"),
        ("b.cfg", "[net]\nwidth=8\nheight=8\nchannels=3\n", "b.cfg, for Darknet: it lists no layers"),
        ("b.json", '{"class_name": "Sequential", "config": ' + "[" * 100_000, "nested too deeply"),
        ("b.cfg", FILES["a.cfg"].replace("=16", "=" + "9" * 20), "is not a whole number of at most nine digits"),
    ],
)
def test_what_is_wrong_is_said(name, text, message):
    Path(name).write_text(text)
    with pytest.raises(ArchcalcError, match=message):
        load(name)


def test_an_empty_spec_still_says_what_a_spec_needs():
    Path("b.yaml").write_text("")
    with pytest.raises(ArchcalcError, match="at least name, input and layers"):
        load("b.yaml")


def test_a_folder_is_no_file():
    Path("c.cfg").mkdir()
    assert "c.cfg has no specs" in run("check", "c.cfg")


def params(name):
    return analyze(load(name)).totals.params


def test_a_scale_stands_in_the_file_or_after_it():
    Path("own.yaml").write_text(f"scale: s\n{FILES['a.yaml']}")
    assert params("own.yaml") == params("a.yaml:s") > params("a.yaml") == params("own.yaml:n")
    assert "1 network" in run("check", "a.yaml:s")
    assert "no scale 'q'" in run("check", "a.yaml:q")


@pytest.mark.parametrize("command", ["summarize", "compare", "check", "import", "memory", "export"])
def test_the_option_of_ultralytics_says_what_to_write(command):
    assert "write the scale after the file: FILE:s" in run(command, "a.yaml", "--scale", "s")


def test_a_network_without_params_says_so():
    assert "it has no params" in run("check", "a.json", "--set", "classes=3")
