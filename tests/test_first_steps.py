"""First steps: `new`, `check` of many files, names in any spelling, `list` by words and by `--where`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from archcalc import ArchcalcError, SpecError, analyze, load, networks
from archcalc.analysis.at_least import AtLeast
from archcalc.catalog import described, origin, spelled
from archcalc.cli import cli
from archcalc.cli.where import Where
from archcalc.network_names import Names
from archcalc.spec.network_spec import parse_spec
from archcalc.writing.excerpt import cut_out

FAMILIES = {str(path): name for name, path in networks().items()}  # the last network of each file
WRONG = "name: wrong\ninput: [3, 8, 8]\nlayers:\n  - rellu\n"
RIGHT = "name: right\ninput: [3, 8, 8]\nlayers:\n  - relu\n"
UNUSED = "name: unused\ninput: [3, 8, 8]\nparams: {n: 1}\nlayers:\n  - relu\n"


@pytest.fixture
def main(main, monkeypatch, tmp_path):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return main


# new


def facts(graph):
    """All that figures depend on: layers with their operators and what they read, results and side outputs."""
    nodes = [node._replace(place=None) for node in graph.nodes]
    return nodes, graph.results, graph.outputs, graph.sides


def assert_same(graph, other):
    """Raise AssertionError unless two graphs are equal, and so have equal figures."""
    assert facts(graph) == facts(other)
    for mode in ("infer", "train"):
        one, two = (analyze(own, mode=mode).totals for own in (graph, other))
        assert [(one.params, one.macs, one.flops)] == [(two.params, two.macs, two.flops)]


@pytest.mark.parametrize("name", FAMILIES.values())
def test_a_copy_has_the_same_figures(name, tmp_path):
    spec, network, changes = described(origin(name))
    text = cut_out(spec, network, changes, "mine")
    copy = parse_spec(text)
    assert (copy.networks(), copy.unused, copy.about.title) == (("mine",), (), "")
    (tmp_path / "mine.yaml").write_text(text)
    assert_same(load(str(tmp_path / "mine.yaml")), load(name))


def test_the_test_above_would_notice():
    with pytest.raises(AssertionError):
        assert_same(load("resnet50"), load("torchvision/resnet50"))


def test_a_copy_has_only_what_its_network_needs(main):
    code, out, err = main("new", "mine", "--like", "ResNet50")
    text = Path("mine.yaml").read_text()
    assert (code, out, err.splitlines()[0]) == (
        0, "", "wrote mine.yaml: a copy of resnet50: Deep residual networks (He et al. 2015). Change it, and type:",
    )  # fmt: skip
    assert "  archcalc compare resnet50 mine.yaml  shows what a change costs" in err.splitlines()
    for gone in ("cifar", "basic(", "plain", "variants", "paper", "\n  n:", "\n  late"):
        assert gone not in text
    for kept in ("strided: 1  # the convolution of a", "depths: [3, 4, 6, 3]", "block: bottleneck", "size: 224"):
        assert f"\n  {kept}" in text
    assert main("check", "mine.yaml") == (0, "mine.yaml: 1 network: mine\n", "")


def test_a_first_spec(main):
    assert main("new", "my-net")[0] == 0
    assert main("check", "my-net.yaml") == (0, "my-net.yaml: 1 network: my-net\n", "")
    for line in main("new", "other", "-o", "other.yml")[2].splitlines()[1:]:
        assert main(*line.split("  ")[1].split()[1:])[0] == 0  # what it says to type
    printed = main("new", "my-net", "-o", "-")
    assert printed == (0, Path("my-net.yaml").read_text(), "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["taken"], "taken.yaml already exists (use --force to overwrite it)"),
        (["my-net.yaml"], "'my-net.yaml' cannot be a network's name; write archcalc new my-net"),
        (["a/b"], "'a/b' cannot be a network's name; use letters, digits, . _ and -"),
        (["50"], "cannot be a network's name"),
        (["a\nb"], "cannot be a network's name"),
        ([""], "'' cannot be a network's name"),
        (["mine", "-o", "mine.txt"], "the suffix of 'mine.txt' is not one of .yaml, .yml"),
        (["mine", "--like", "resnet5O"], "no network is called 'resnet5O'; did you mean"),
        (
            ["mine", "--like", "resnet1*"],
            "networks match 'resnet1*'; new takes one; archcalc compare 'resnet1*' ",
        ),
        (["a", "b"], "one argument too many: 'b'"),
        ([], "missing argument 'NAME'"),
    ],
)
def test_a_file_that_new_does_not_write(main, arguments, said):
    Path("taken.yaml").write_text("mine")
    code, out, err = main("new", *arguments)
    assert (code, out, err.startswith("error: "), said in err) == (2, "", True, True)
    assert [path.read_text() for path in Path().iterdir()] == ["mine"]


def test_force_writes_over_a_file(main):
    Path("my-net.yaml").write_text("mine")
    assert main("new", "my-net", "--force")[0] == 0
    assert Path("my-net.yaml").read_text().startswith("# a small network")


@pytest.mark.parametrize("spec", [
    "name: a\ninput: [3, 8, 8]\nparams: {act: \"'gelu'\", n: 2}\nblocks: {one(c): 'conv(c, 1)', two: relu}\n"
    "layers: [one(n), 'relu if act == \"gelu\" else two']\n",
    "name: a\ninput: {left: [3, 8, 8], right: [3, 8, 8]}\n# mine\nlayers:\n  - add: {a: relu, b: use(right)}\n",
    "{name: a, input: [3, 8, 8], layers: [relu]}",
])  # fmt: skip
def test_a_copy_of_a_spec_in_another_style(main, spec):
    Path("a: b #\n.yaml").write_text(spec)
    assert main("new", "mine", "--like", "./a: b #\n.yaml")[0] == 0
    assert_same(load("mine.yaml"), load("./a: b #\n.yaml"))


# check


def test_all_errors_of_all_files(main):
    for name, text in {"a/wrong.yaml": WRONG, "a/right.yml": RIGHT, "b.yaml": UNUSED, "a/.git/x.yaml": "no"}.items():
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).write_text(text)
    Path("a/right.published.yaml").write_text("published: []\n")
    code, out, err = main("check", "a", "b.yaml", "-", "a/wrong.yaml", text=WRONG.replace("rellu", "reluu"))
    assert code == 2
    assert out.splitlines() == [
        "a/right.yml: 1 network: right", "b.yaml: 1 network: unused", "4 files: 2 with errors, 1 with remarks",
    ]  # fmt: skip
    assert [line for line in err.splitlines() if not line.startswith(" ")] == [
        "error: a/wrong.yaml:4:5: unknown operator or block rellu", "b.yaml:3:10: param n is not used",
        "error: <text>:4:5: unknown operator or block reluu",
    ]  # fmt: skip
    assert main("check", "a/right.yml", "b.yaml")[0] == 1
    assert main("check", "a/right.yml")[0] == 0


def test_all_errors_of_a_file_each_once(main):
    variants = "variants:\n  x: {n: 5}\n  y: {n: 0}\n  z: {n: 3}\n  w: {n: -1}\n"
    Path("a.yaml").write_text(
        f"name: a\ninput: [3, 8, 8]\n{variants}layers:\n  - conv(n, n)\n  - 0 * relu | conv(4, n * 2)\n"
    )
    code, out, err = main("check", "a.yaml")
    assert (code, out, err.count("error: ")) == (2, "", 2)
    assert "a.yaml:9:10: conv: out_channels" in err


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("empty", "empty has no specs; a spec is a file that ends in .yaml"),
        ("none", "none: No such file"),
        ("", ""),
    ],
)
def test_nothing_to_check(main, path, said):
    Path("empty").mkdir()
    code, out, err = main("check", path)
    assert (code, out, err.startswith("error: "), said in err) == (2, "", True, True)


def test_the_standard_input_is_a_spec(main):
    assert main("check", "-", text=RIGHT) == (0, "<text>: 1 network: right\n", "")
    assert main("summarize", "-", text=RIGHT)[1].startswith("right\n")
    assert main("compare", "-", "lenet5", "-", text=RIGHT)[1].count("right") == 2
    assert "archcalc compare" not in main("new", "mine", "--like", "-", "-o", "-", text=RIGHT)[1]
    two = "name: two\ninput: [3, 8, 8]\nvariants: {a: {}, b: {}}\nlayers:\n  - relu\n"
    assert main("summarize", "-", text=two)[2] == "error: - has 2 networks; name one: -- -:a, -- -:b\n"
    assert main("summarize", "--", "-:b", text=two)[1].startswith("b\n")
    assert "not a UTF-8 text" in main("summarize", "-", text="")[2] or main("check", "-", text="")[0] == 2


# names


@pytest.mark.parametrize(("given", "name"), [
    ("VGG16", "vgg16"), ("vgg-16", "vgg16"), ("ResNet50", "resnet50"), ("resnet_50", "resnet50"),
    ("torchvision/ResNet50", "torchvision/resnet50"), ("TorchVision/VGG-16-BN", "torchvision/vgg16_bn"),
    ("Swin Tiny", "swin-t"), ("MobileNetV2", "mobilenet-v2"), ("vgg16", "vgg16"), ("UNet++", "UNet++"),
    ("vgg16_bn", "vgg16_bn"), ("resnet50-224", "resnet50-224"), ("vgg16é", "vgg16é"), ("", ""), ("-", "-"),
    ("VGG16.yaml", "VGG16.yaml"), ("/VGG16", "/VGG16"),
    ("torch:a:VGG16", "torch:a:VGG16"), ("VGG*", "VGG*"), ("vgg16:a", "vgg16:a"),
])  # fmt: skip
def test_a_name_in_another_spelling(given, name):
    assert spelled(given) == name


def test_every_name_is_spelled_in_one_way():
    names = Names(networks())
    assert all(names.spelled(name.upper()) == [name] for name in names.known)


def test_names_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    (tmp_path / "a.yaml").write_text(
        "name: a\ninput: [3, 8, 8]\nvariants: {My-Net: {}, my_net: {}, VGG-16: {}}\nlayers:\n  - relu\n"
    )
    assert spelled("My-Net") == "My-Net"  # an exact name comes first
    with pytest.raises(ArchcalcError, match=r"^MyNet may be My-Net or my_net; write one of these$"):
        spelled("MyNet")
    with pytest.raises(ArchcalcError, match=r"VGG_16 may be VGG-16 or vgg16; write"):
        spelled("VGG_16")
    (tmp_path / "b.yaml").write_text("name: VGG_16\n")
    with pytest.raises(SpecError, match="lacks `layers`"):  # a broken file may have the name
        load("VGG_16")


def test_commands_take_names_in_any_spelling(main):
    exact = main("compare", "vgg16", "torchvision/resnet50", "vgg19")
    assert main("compare", "VGG-16", "TorchVision/ResNet-50", "VGG1[89]") == exact
    assert main("summarize", "VGG1[9]") == main("summarize", "vgg19")
    hint = "; summarize takes one; archcalc compare 'VGG1*' shows all\n"
    assert main("summarize", "VGG1*")[2].endswith(f"networks match 'VGG1*'{hint}")
    assert main("summarize", "vgg11", "vgg16")[2].startswith(
        "error: one argument too many: 'vgg16'; archcalc compare takes several networks\n"
    )
    assert "did you mean torchvision/vgg16_bn?" in main("summarize", "vgg16_bn")[2]


# list


def listed(main, *arguments):
    code, out, err = main("list", "--format", "json", *arguments)
    assert code == 0, err
    return [row["name"] for row in json.loads(out)["networks"]], err


def test_list_by_words(main):
    assert {"resnet50", "torchvision/resnet50", "seresnet50"} < {*listed(main, "res-net")[0]}
    assert listed(main, "TorchVision/vgg1[16]") == (["torchvision/vgg11", "torchvision/vgg16"], "")
    assert listed(main, "Lenet5", "vgg-16-c")[0] == ["lenet5", "vgg16-c"]
    problem = "error: no network or family has 'resnot' in its name; did you mean resnet"
    assert main("list", "resnot")[2].startswith(problem)
    for word in ("zzz*", "18-resnet", "-_", ""):  # the second is no part of `resnet18` and `resnet` in a row
        assert main("list", "--", word)[:2] == (2, "")


def test_list_where(main, tmp_path, monkeypatch):
    assert listed(main, "vgg1[136]", "--where", "130M < params < 0.1335G") == (["vgg11", "vgg13"], "")
    assert listed(main, "--where", "params < 1") == ([], "")
    (tmp_path / "right.yaml").write_text(RIGHT)
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    assert listed(main, "right", "lenet5", "--where", "not year > 2000") == (
        ["lenet5"], "left out, since a figure in --where is unknown: 1 network\n"
    )  # fmt: skip
    assert listed(main, "right", "--where", "year > 2000 or params == 0") == (["right"], "")


ROW = {"params": 5 * 10**6, "macs": None, "activations": AtLeast(7), "depth": 50, "receptive_field": [3, 9]}


@pytest.mark.parametrize(("text", "holds"), [
    ("params <= 5M", True), ("params < 5M", False), ("params == 5000k", True), ("params != 0.005g", False),
    ("4.9M < params < 5.1M", True), ("5.1e6 > params", True), ("receptive_field == 9", True), ("not depth < 50", True),
    ("macs < 1G", None), ("not macs < 1G", None), ("macs < 1G and params > 5M", False),
    ("macs < 1 or depth == 50", True),
    ("macs < 1 or depth < 50", None), ("activations > 5", None), ("year != 2015", None),
    ("year < 1 and macs < 1", None),
    (" ( params < 5M or depth >= 5e1 ) ", True), ("1 < 2", True), ("4.9 M < params and params < 5.1 M", True),
    ("params > 5 and 1 < 2 or depth < 1", True),
])  # fmt: skip
def test_where(text, holds):
    assert Where(text).holds(ROW) is holds


@pytest.mark.parametrize(("text", "said", "caret"), [
    ("params < 5X", "cannot read the number '5X'; write 138M", "         ^^"),
    ("parms < 5", "list has no figure parms", "^^^^^"),
    ("flops < 5", "list has no figure flops", "^^^^^"),
    ("params", "params is not a comparison", "^^^^^^"),
    ("params = 5M", "not an expression: params = 5M", "       ^"),
    ("params < 5M and", "nothing follows and", "            ^^^"),
    ("params < 5 and", "nothing follows and", "           ^^^"),
    ("params < 5 XB", "cannot read the number '5 XB'; write 138M", "         ^^^^"),
    ("(params < 5M", "( is not closed", "^"),
    ("params in [1]", "[1] is not a figure or a number", "          ^^^"),
    ("params is 5", "compare with < <= > >= == or !=", "^"),
    ("params + 1 < 5", "params + 1 is not a figure", "^^^^^^^^^^"),
    ("params < True", "True is not a figure", "         ^^^^"),
    ("params < 1e999", "is not a figure or a number", "         ^^^^^"),
    ("params < f(5M)", "f(5M) is not a figure", "         ^^^^^"),
    ("params < macs.real", "macs.real is not a figure", "         ^^^^^^^^^"),
    ("params < 5M; macs", "';' is not part", "           ^"),
    ("params\n< 5Q", "cannot read the number '5Q'; write 138M", ""),
    ("\x1b[31m < 5", "is not part of the expression language", "^"),
    ("", "an expression is missing", "^"),
    ("not " * 300 + "params < 1", "characters; at most 1,000", "^"),
    ("1" * 5000, "characters; at most 1,000", "^"),
])  # fmt: skip
def test_a_mistake_in_where_has_a_caret(text, said, caret):
    with pytest.raises(SpecError) as caught:
        Where(text)
    first, line, carets, *_ = str(caught.value).splitlines()
    assert first.startswith("--where:")
    assert said in f"{first} {line}"
    assert carets.startswith(f"      | {caret}")


def test_where_is_a_wrong_request(main):
    code, out, err = main("list", "--where", "parms < 5M")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: --where:1:1: list has no figure parms",
        "    1 | parms < 5M",
        "      | ^^^^^",
        "  did you mean params?",
    ]


def test_the_runner_reads_the_standard_input_of_each_run():
    outputs = [CliRunner().invoke(cli, ["check", "-"], input=text).output for text in (RIGHT, UNUSED)]
    assert "right" in outputs[0]
    assert "param n is not used" in outputs[1]
