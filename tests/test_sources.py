"""What the sources of imported networks look like, read without running them; no test here needs PyTorch."""

import os
import pickle
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support.fresh_python import imported_by
from support.golden_files import check_golden

from archcalc import ArchcalcError, load
from archcalc.catalog import matching, titles
from archcalc.cli import cli
from archcalc.cli.exporting import file_name
from archcalc.cli.options import NetworkName
from archcalc.importers.sources import OnnxSource, source_of
from archcalc.spec.input_text import TypedSizes, read_inputs


@pytest.mark.parametrize(
    ("text", "module", "name", "args", "keywords", "shape"),
    [
        ("torchvision.models:resnet50", "torchvision.models", "resnet50", (), {}, None),
        ('timm:create_model("vit", pretrained=False)', "timm", "create_model", ("vit",), {"pretrained": False}, None),
        ("./my.py:Net(depth=3)@3x8x8", "./my.py", "Net", (), {"depth": 3}, (3, 8, 8)),
        ("my.py:a.b.Net([1, 2], {'k': (-1, None)})", "my.py", "a.b.Net", ([1, 2], {"k": (-1, None)}), {}, None),
        ("m:Net('@3x8x8')@C=4,L=9", "m", "Net", ("@3x8x8",), {}, (4, 9)),
        ("m:Net@image=3x8x8,ids=int64:12", "m", "Net", (), {}, {"image": (3, 8, 8), "ids": (12,)}),
        ("folder/model.pt2", "folder/model.pt2", "", (), {}, None),
    ],
)
def test_a_source_is_read(text, module, name, args, keywords, shape):
    source = source_of(f"torch:{text}")
    assert (source.module, source.object, source.args, source.keywords) == (module, name, args, keywords)
    assert source.input == shape


def test_dtypes_are_named():
    shapes = read_inputs(["ids=int64:12", "t=int64", "mask=bool:4x4"])
    assert shapes == {"ids": (12,), "t": (), "mask": (4, 4)}
    assert [shape.dtype for shape in shapes.values()] == ["int64", "int64", "bool"]


def test_other_names_are_no_sources():
    assert source_of("vgg16") is None
    assert source_of("my.py:Net") is None
    assert source_of("Model.ONNX") == OnnxSource("Model.ONNX")


def test_one_or_two_lengths_keep_the_channels_of_a_sources_own_image():
    source = source_of("torch:m:Net@3x224x224")
    assert source.inputs(None) == (3, 224, 224)
    assert source.inputs((299,)) == (3, 299, 299)
    assert source.inputs((32, 64)) == (3, 32, 64)
    assert source.inputs((1, 28, 28)) == (1, 28, 28)
    assert source.inputs(TypedSizes((7,), "int64")) == (7,)
    assert source_of("torch:m:Net").inputs((299,)) == (299,)


BAD = (
    "torch:", "torch:m", "torch:m:", "torch:m:Net(", "torch:m:Net(1,)(2)", "torch:m:Net(nn.ReLU)",
    "torch:m:Net(f(1))", "torch:m:Net(*a)", "torch:m:Net(**{'a': 1})", "torch:m:Net(a=1, a=2)", "torch:m:Net(1 2)",
    "torch:m:Net@3x8xx", "torch:m:Net@", "torch:m:Net@a=3x8x8,8", "torch:m:Net@float:3x8x8", "torch:m.pt2:Net",
    "torch:weights.pt", "torch:weights.pth:Net", "torch:m:__import__('os').system('true')",
)  # fmt: skip


def error_of(action):
    with pytest.raises(ArchcalcError) as caught:
        action()
    return str(caught.value)


def test_errors_of_sources_say_what_to_write():
    texts = [f"{text}\n  {error_of(lambda text=text: load(text))}\n" for text in BAD]
    check_golden("sources/wrong.txt", "".join(texts))


@pytest.mark.parametrize("call", ["(" + "-" * 9000 + "1)", "(" + "[" * 9000 + ")", "(" + "1" * 20000 + ")"])
def test_hostile_arguments_end_soon(call):
    assert len(error_of(lambda: load(f"torch:m:Net{call}"))) < 400


def test_an_import_has_no_params():
    assert error_of(lambda: load("torch:m:Net", depth=3)) == (
        "torch:m:Net has no param 'depth'; write arguments in the source, as in torch:./my.py:Net(depth=3)"
    )


def test_code_without_the_prefix_is_an_error_that_says_so():
    assert error_of(lambda: load("my.py:Net")) == (
        "no network is called 'my.py:Net'; Python code runs only as a source: torch:my.py:Net"
    )


def test_a_spec_has_no_dtypes():
    result = CliRunner().invoke(cli, ["summarize", "vgg16", "--input", "int64:128"])
    assert str(result.exception) == "the input of a spec has no dtype int64; write T=128 for numbers of tokens"


def test_lists_in_a_source_are_no_pattern():
    name = "torch:m:Net(depths=[2, 2])"
    assert matching([name]) == [name]


def test_titles_tell_sources_apart():
    names = ["torch:a:Net(1)@8", "torch:b:Net(1)@8", "torch:./c.py:Other", "x/model.onnx", "vgg16"]
    assert [*titles(names).values()] == ["Net(1) (a @8)", "Net(1) (b @8)", "Other", "model", "vgg16"]


@pytest.mark.parametrize(
    ("name", "file"),
    [("torch:./my.py:Net(depth=3)@8", "Net-depth-3"), ("a/model.onnx", "model"), ("a/yolov3.cfg", "yolov3")],
)
def test_files_are_named_after_the_network(name, file):
    assert file_name(name) == file


def test_completion_offers_the_prefix_and_files():
    def offered(incomplete):
        return [(item.value, item.type) for item in NetworkName().shell_complete(None, None, incomplete)]

    assert ("torch:", "plain") in offered("to")
    assert offered("./my") == [("./my", "file")]


class Trap:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return os.mkdir, ("trace",)


NEVER = (
    "trap.py",
    "./trap.py",
    "trap.py:Net",
    "trap:Net",
    "trap",
    "trap.pt",
    "trap.pkl",
    "trap.onnx",
    "trap.yaml",
    "trap.cfg",
)
COMMANDS = ("summarize", "check", "compare", "memory", "graph", "show", "audit", "validate", "export")


@pytest.fixture
def traps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("trap.py", "trap.yaml", "trap.cfg"):
        (tmp_path / name).write_text("import os\nos.mkdir('trace')\n")
    for name in ("trap.pt", "trap.pkl", "trap.onnx"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    return tmp_path / "trace"


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_runs_code_without_the_prefix(command, traps):
    for name in NEVER:
        result = CliRunner().invoke(cli, [command, name])
        assert result.exit_code != 0, name
        assert not traps.exists(), name


def test_the_test_above_would_notice(traps):
    pytest.importorskip("torch")
    CliRunner().invoke(cli, ["summarize", "torch:trap.py:Net"])
    assert traps.exists()
    traps.rmdir()
    pickle.loads((traps.parent / "trap.pt").read_bytes())
    assert traps.exists()


@pytest.mark.parametrize("name", ["trap.onnx", "trap.yaml", "trap.cfg", "vgg16", "torch:m:Net(", "torch:trap.pt"])
def test_only_a_torch_source_imports_torch(name, traps):
    call = f"CliRunner().invoke(cli, ['summarize', {name!r}])"
    found = imported_by(f"from click.testing import CliRunner\nfrom archcalc.cli import cli\n{call}")
    assert "torch" not in found
    assert "onnx" not in found or name.endswith(".onnx")


def test_the_test_of_torch_would_notice(traps):
    pytest.importorskip("torch")
    os.remove("trap.py")
    call = "CliRunner().invoke(cli, ['summarize', 'torch:trap.py:Net'])"
    assert "torch" in imported_by(f"from click.testing import CliRunner\nfrom archcalc.cli import cli\n{call}")


def test_every_command_takes_an_onnx_file(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("archcalc.importers.onnx_file")
    monkeypatch.chdir(tmp_path)
    made, node = onnx.helper, onnx.helper.make_node("Relu", ["x"], ["y"], name="act")
    x, y = (made.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy")
    onnx.save(made.make_model(made.make_graph([node], "g", [x], [y])), "net.onnx")
    for command in (["summarize"], ["compare", "lenet5"], ["check"], ["graph"], ["export", "--format", "pytorch"]):
        result = CliRunner().invoke(cli, [command[0], "net.onnx", *command[1:]], catch_exceptions=False)
        assert result.exit_code == 0, result.output


def test_without_torch_a_source_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; from archcalc.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "summarize", "torch:./my.py:Net"], capture_output=True, text=True, check=False
    )
    told = "error: torch:./my.py:Net: a torch: source needs PyTorch: pip install 'archcalc[torch]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
