"""`archcalc lock` and `check --lock`: what is written is read again, and what differs is said in words."""

import json
import re

import pytest
import yaml
from support.pages import ROOT, in_process
from support.zoo import FAMILIES, network

from archcalc import ArchcalcError, __version__, analyze, load, parse
from archcalc.lock import differences, excesses, graph_of
from archcalc.lock_file import BUDGETS, Lock, axes_of, lock_text, locked, operator_text, read_lock, read_operator
from archcalc.render.tables.locks import difference_text, excess_text

PAGE = ROOT / "docs/how-to/check-in-ci.md"
SPEC = """
name: tiny
input: [3, 32, 32]
params: {width: 16, classes: 10}
blocks:
  unit(n, stride=1): ['conv(n, 3, stride=stride, padding=1, bias=False) | batchnorm | relu']
layers:
  - stem: unit(width)
  - stage1: unit(2 * width, 2) | unit(2 * width)
  - head: global_avgpool | flatten | linear(classes)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a network and its lock."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPEC)
    assert run("lock", "tiny.yaml") == (0, "archcalc.lock: 1 network locked\n")
    return tmp_path


def run(*arguments):
    """Exit code and output of a command. Errors are part of the output."""
    return in_process(list(arguments))


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def entry(graph, **conditions):
    return locked(analyze(graph, **conditions), {}, None, {})


def said(old, new, **conditions):
    """What differs between two texts of specs."""
    before, after = (parse(text) for text in (old, new))
    return [difference_text(own) for own in differences(entry(before, **conditions), analyze(after, **conditions))]


# What is written is read again


@pytest.mark.parametrize("name", [name for name in FAMILIES if len(network(name).nodes) < 1200])
def test_a_network_of_each_family_is_as_locked(name):
    graph = network(name)
    report = analyze(graph, mode="infer" if graph.misfit else "train")
    own = locked(report, {}, None, {})
    lock = Lock("0", {}, {name: own})
    again = read_lock(lock_text(lock), "a lock")
    assert again == lock
    assert [node.op for node in graph_of(name, own, graph).nodes] == [node.op for node in report.ran.nodes]
    assert list(differences(own, report)) == []
    assert "(#" not in " ".join(row.op for row in own.rows)  # a spec's operators need no digest


def test_every_argument_of_a_network_survives_as_text():
    ops = {(node.op, axes_of(node.op, node.x)) for name in FAMILIES for node in network(name).nodes}
    assert len({op.name for op, _ in ops}) > 50
    for op, axes in ops:
        assert read_operator(operator_text(op, axes), axes) == op


def test_the_test_above_would_notice():
    assert operator_text(load("lenet5").nodes[1].op, 1) == "conv(#71a173ec21cd)"  # two numbers for one axis


@pytest.mark.parametrize("text", [
    "conv(", "conv", "conv(3)", "conv(3, {})", "cnov(3, 3)", "conv(3, 3, **{})", "conv(3, 3)()", "relu | relu", "",
    "__import__('os')", "conv(3, b'3')", "conv(*[3, 3])", "(" * 300, "aten::pow(#b2f07d9ac67c)", "conv(3, 1e999)",
])  # fmt: skip
def test_what_is_no_call_is_no_operator(text):
    assert read_operator(text, 2) is None


@pytest.mark.parametrize("arguments", [
    ("--set", "classes=100"), ("--input", "3x64x64"), ("--batch", "4", "--dtype", "float16", "--mode", "train"),
    ("--set", "width=2 * 8", "--input", "64"),
])  # fmt: skip
def test_a_lock_says_how_its_network_was_loaded(folder, arguments):
    assert run("lock", "tiny.yaml", "--force", *arguments)[0] == 0
    assert run("check", "--lock", "archcalc.lock") == (0, "archcalc.lock: 1 network as locked\n")
    text = (folder / "archcalc.lock").read_text()
    assert run("lock", "--update") == (0, "archcalc.lock: 1 network locked\n")
    assert (folder / "archcalc.lock").read_text() == text
    assert run("lock", "tiny.yaml", "-o", "-", *arguments) == (0, text)


def test_inputs_of_every_kind_are_written_as_on_the_command_line(folder):
    (folder / "two.yaml").write_text(
        "name: two\ninput: {left: [3, 8, 8], right: {T: 4, C: 8}}\nlayers:\n  - flatten\n"
        "  - concat: [identity, use(right) | flatten]\n"
    )
    text = run("lock", "two.yaml", "-o", "-", "--input", "left=3x4x4", "--input", "right=C=6,T=2")[1]
    assert 'input: ["left=3x4x4", "right=T=2,C=6"]' in text
    (folder / "two.lock").write_text(text)
    assert run("check", "--lock", "two.lock") == (0, "two.lock: 1 network as locked\n")


def test_a_line_per_layer(folder):
    lines = (folder / "archcalc.lock").read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("      [")]
    assert [row[0] for row in rows] == [node.name for node in load("tiny.yaml").nodes]
    assert rows[4] == [
        "stage1.conv1", "conv(32, 3, stride=2, padding=1, bias=False)", ["stem.relu"], "32x16x16", 4608, 1179648,
    ]  # fmt: skip


# What differs


def test_a_stride():
    found = said(SPEC, SPEC.replace("unit(2 * width, 2)", "unit(2 * width)"))
    assert found[0] == "stage1.conv1: stride 2 → 1, +3,538,944 MACs"
    assert "as a result" not in " ".join(found)
    assert found[1:] == [f"stage1.{own}: follows" + more for own, more in [
        ("batchnorm1", ""), ("relu1", ""), ("conv2", ", +7,077,888 MACs"), ("batchnorm2", ""), ("relu2", ""),
    ]] + ["head.global_avgpool: follows"]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "first"), [
    ("linear(classes)", "linear(classes, bias=False)", "head.linear: bias True → False, -10 params"),
    ("linear(classes)", "relu | linear(classes)", "head.relu: added: relu"),
    ("flatten | linear(classes)", "flatten", "head.linear: removed: linear(10), -330 params, -320 MACs"),
    ("- stem:", "- base:", "stem: renamed base"),
    ("global_avgpool", "adaptive_avgpool(1)", "head.global_avgpool: global_avgpool → adaptive_avgpool(1)"),
    ("  - head:", "  - more: unit(32) | unit(32)\n  - head:", "more: added: 6 layers, +18,560 params, +4,718,592 MACs"),
    ("width: 16", "width: 17", "stem.conv: out_channels 16 → 17, +27 params, +27,648 MACs"),
])  # fmt: skip
def test_differences_in_words(old, new, first):
    assert said(SPEC, SPEC.replace(old, new))[0].startswith(first)


TIED = """
name: tied
input: {T: 4}
layers:
  - table: embedding(8, 6)
  - out: linear(8, weight=table, bias=False)
"""


def test_shared_weights_are_part_of_what_is_locked():
    own = TIED.replace("weight=table, ", "")
    assert said(TIED, own) == ["out: params 0 → 48; weights of table → own weights, +48 params"]
    assert said(TIED, TIED) == []


def test_other_connections_and_outputs():
    text = (
        "name: a\ninput: [4, 8, 8]\nlayers:\n  - x: conv(4, 1)\n  - y: relu\n  - z: conv(4, 1)\n"
        "  - outputs: {first: use(z), second: use(y)}\n"
    )
    both = text.replace("z: conv(4, 1)", "z: {add: [identity, use(x)]}")
    assert said(both, both.replace("use(x)]", "use(y)]")) == ["z.add: inputs z.branch1 + x → z.branch1 + y"]
    assert said(text, text.replace("second: use(y)", "second: use(x)")) == ["outputs: layers z + y → z + x"]


def test_side_outputs_are_locked_in_training():
    text = SPEC.replace("  - head:", "  - side: {aux: global_avgpool | flatten | linear(5)}\n  - head:")
    assert said(SPEC, text) == []
    assert said(SPEC, text, mode="train")[0].startswith("aux: added: 3 layers, +165 params")


def test_layers_that_are_added_together_are_one_line(folder):
    found = said(SPEC, SPEC.replace("stem: unit(width)", f"stem: unit(width){' | unit(width)' * 30}"))
    assert "stem.conv2 … relu31: added: 90 layers, +70,080 params, +70,778,880 MACs" in found


def test_a_long_list_is_cut(folder):
    (folder / "tiny.yaml").write_text(SPEC.replace("stem: unit(width)", "stem: 40 * unit(width)"))
    run("lock", "tiny.yaml", "--force")
    change(folder / "tiny.yaml", "width: 16", "width: 17")
    code, text = run("check", "--lock", "archcalc.lock")
    assert code == 1
    assert "tiny.yaml: and 22 more differences\n" in text


def test_what_follows_is_one_line(folder):
    change(folder / "tiny.yaml", "unit(2 * width, 2)", "unit(2 * width)")
    assert run("check", "--lock", "archcalc.lock") == (
        1,
        """\
tiny.yaml: stage1.conv1: stride 2 → 1, +3,538,944 MACs
tiny.yaml: 6 other layers have other shapes or names, as a result, +7,077,888 MACs
tiny.yaml: total MACs 3,981,632 → 14,598,464
tiny.yaml: total FLOPs 8,069,770 → 29,475,466
tiny.yaml: total activations 68,650 → 166,954
archcalc.lock: 1 of 1 network failed
if that is meant: archcalc lock -o archcalc.lock --update
""",
    )
    assert run("lock", "--update")[0] == 0
    assert run("check", "--lock", "archcalc.lock")[0] == 0


def test_figures_that_are_counted_otherwise(folder):
    change(folder / "archcalc.lock", f"archcalc: {__version__}", "archcalc: 0.0.9")
    change(folder / "archcalc.lock", "flops: 8069770", "flops: 8069771")
    code, text = run("check", "--lock", "archcalc.lock")
    assert code == 1
    assert "total FLOPs 8,069,771 → 8,069,770, of the same layers; the lock was counted by archcalc 0.0.9" in text


def test_imported_functions_are_known_by_their_facts():
    torch = pytest.importorskip("torch")
    from archcalc import from_torch

    class Net(torch.nn.Module):
        def __init__(self, power):
            super().__init__()
            self.power = power

        def forward(self, x):
            return torch.fft.rfft2(x).real.pow(self.power).mean((2, 3))

    before, same, after = (from_torch(Net(power), (3, 8, 8)) for power in (2, 2, 3))
    own = entry(before)
    assert any("(#" in row.op for row in own.rows)
    assert read_lock(lock_text(Lock("0", {}, {"a": own})), "").networks["a"] == own
    assert own.totals["flops"].startswith("≥ ")
    assert list(differences(own, analyze(same))) == []
    texts = [difference_text(own) for own in differences(own, analyze(after))]
    assert [re.sub("#[0-9a-f]{12}", "#", text) for text in texts] == ["pow: aten::pow(#) → aten::pow(#)"]


PAIRS = [
    ("resnet18", "resnet50"), ("resnet50", "torchvision/resnet50"), ("vgg11", "vgg16"), ("lenet5", "alexnet"),
    ("googlenet", "bn-inception"), ("densenet121", "densenet169"), ("vit-b-16", "swin-t"), ("unet", "resnet34"),
    ("gpt2", "bert-base"), ("resnet20", "wrn-28-10"), ("googlenet", "torchvision/googlenet"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), [*PAIRS, *(pair[::-1] for pair in PAIRS)])
def test_differences_add_up_to_that_of_the_totals(before, after):
    old, new = (analyze(network(name), mode="train") for name in (before, after))
    found = list(differences(locked(old, {}, None, {}), new))
    for key in ("params", "macs"):
        assert sum(getattr(own, key) for own in found) == getattr(new.totals, key) - getattr(old.totals, key)


# Budgets


def test_budgets_for_all_networks_and_for_one(folder):
    run("lock", "lenet5", "--update")
    lock = folder / "archcalc.lock"
    change(lock, "networks:\n", "budgets: {max_params: 50K, max_param_bytes: 100 KiB}\nnetworks:\n")
    change(lock, "  lenet5:\n", "  lenet5:\n    budgets: {max_params: 60.1K}\n")
    code, text = run("check", "--lock", "archcalc.lock")
    assert code == 1
    assert text.splitlines() == [
        "lenet5: params 240,000 bytes > 102,400 (max_param_bytes), by 137,600",
        "archcalc.lock: 1 of 2 networks failed",
    ]
    assert run("lock", "--update")[0] == 0  # budgets stay
    assert lock.read_text().count("max_params") == 2


def test_what_is_not_known_is_not_within_a_budget():
    torch = pytest.importorskip("torch")
    from archcalc import from_torch

    class Net(torch.nn.Module):
        def forward(self, x):
            return torch.fft.rfft2(x).real.pow(2)

    report = analyze(from_torch(Net(), (3, 8, 8)))
    most = {"max_flops": "1M", "max_params": "0", "max_peak_inference_bytes": "1GB"}
    assert [excess_text(own) for own in excesses(report, most)] == [
        "FLOPs ≥ 120, not known to be at most 1,000,000 (max_flops)",
        "peak at inference –, not known to be at most 1,000,000,000 (max_peak_inference_bytes)",
    ]
    assert [excess_text(own) for own in excesses(report, {"max_flops": "100"})] == [
        "FLOPs ≥ 120 > 100 (max_flops), by ≥ 20"
    ]


def test_a_budget_is_for_any_figure_of_a_network():
    report = analyze(load("lenet5"), mode="train")
    known = {key for key, figure in BUDGETS.items() if getattr(report.totals, figure.key)}
    assert {own.key for own in excesses(report, dict.fromkeys(known, "0"))} == known
    assert {"max_params", "max_macs", "max_activations", "max_peak_training_bytes", "max_depth"} <= known


# Errors


WRONG = {
    "another format": ("lock: 1\n", "lock: 2\n", "a lock of format 2; this archcalc reads format 1"),
    "no format": ("lock: 1\n", "", "a lock lacks lock"),
    "an unknown key": ("lock: 1\n", "lock: 1\nbudget: {}\n", "a lock has no key 'budget'"),
    "an unknown key of a network": ("    batch:", "    bacth:", "did you mean batch?"),
    "no key of a network": ("    mode: infer\n", "", "tiny.yaml in a lock lacks mode"),
    "an unknown budget": ("lock: 1\n", "lock: 1\nbudgets: {max_parms: 5M}\n", "did you mean max_params"),
    "no number": ("lock: 1\n", "lock: 1\nbudgets: {max_params: about 5M}\n", "'about 5M' is not one number"),
    "bytes": ("lock: 1\n", "lock: 1\nbudgets: {max_param_bytes: 5M}\n", "cannot read the number '5M'; write 96MB"),
    "no budgets": ("lock: 1\n", "lock: 1\nbudgets: [5M]\n", "budgets needs keys"),
    "no line of a layer": ('"head.flatten", ', '"head.flatten" ', "not a layer; a line is"),
    "a layer's figure": ("330, 320]", "330.0, 320]", "not a layer"),
    "a layer's shape": ('"32x1x1"', '"32x1x-1"', "not a layer"),
    "axes": ('"32x1x1"', '"32x1x1 XYZ"', "not a layer"),
    "a deep line": ('      ["head.flatten"', "      " + "[" * 9999 + '"head.flatten"', "not a layer"),
    "a long number": ("330, 320]", f"330, {'9' * 5000}]", "not a layer"),
    "a layer twice": ('["head.flatten", ', '["head.global_avgpool", ', "is there twice"),
    "a layer that is not there": ('["head.flatten"]', '["head.flat"]', "reads a layer that is not above it"),
    "no output": ('outputs: ["head.linear"]', "outputs: []", "no layer is its output"),
    "outputs that are no list": ('outputs: ["head.linear"]', "outputs: head", "outputs needs a list"),
    "a batch": ("batch: 1", "batch: many", "batch must be a whole number"),
    "a long batch": ("batch: 1", f"batch: {'9' * 5000}", "batch must be a whole number"),
    "a dtype": ("float32", "float31", "did you mean float32"),
    "an input": ("    batch:", "    input: [huge]\n    batch:", "'huge' is not a shape"),
    "a param": ("    batch:", "    set: {with: 3}\n    batch:", "has no param 'with'"),
    "a network that is gone": ("  tiny.yaml:", "  tniy.yaml:", "tniy.yaml: No such file"),
    "a tag": ("lock: 1", "lock: !!python/object/apply:os.system [id]", "YAML tags are not part of the language"),
    "a control character": ("tiny.yaml", "tiny\x1b[2J", "U+001B is not allowed"),
    "nothing": (None, "\n", "the file is empty; write it again: archcalc lock NAME... --force"),
    "no YAML": (None, "{", "not YAML"),
    "another file": (None, SPEC, "a lock has no key 'name'"),
    "code": ("  tiny.yaml:", '  "torch:./evil.py:Net":', "code to run; name it to allow that: archcalc check --lock"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_lock_that_cannot_be_read(folder, case):
    old, new, message = WRONG[case]
    lock = folder / "archcalc.lock"
    (folder / "evil.py").write_text("open('touched', 'w')")
    lock.write_text(new if old is None else lock.read_text().replace(old, new))
    code, text = run("check", "--lock", "archcalc.lock")
    assert code == 2
    assert text.startswith("error: ")
    assert message in text
    assert "\x1b" not in text
    assert not (folder / "touched").exists()


def test_an_edited_operator_differs_and_stops_nothing(folder):
    for text in ("conv(32, 3, groups=7)", "conv(", "__import__('os')", "conv(32, 3, stride=[2])", "add", "input(3)"):
        run("lock", "tiny.yaml", "--force")
        change(folder / "archcalc.lock", "conv(32, 3, padding=1, bias=False)", text)
        code, said = run("check", "--lock", "archcalc.lock")
        assert code == 1, said
        assert "tiny.yaml: stage1.conv2: " in said


def test_a_lock_is_not_overwritten_unasked(folder):
    text = (folder / "archcalc.lock").read_text()
    code, said = run("lock", "lenet5")
    assert code == 2
    assert "--update to add or renew these networks, --force to overwrite it" in said
    assert (folder / "archcalc.lock").read_text() == text
    assert run("lock", "lenet5", "--update") == (0, "archcalc.lock: 2 networks locked\n")
    assert run("lock", "lenet5", "--force") == (0, "archcalc.lock: 1 network locked\n")
    assert run("lock", "lenet5", "--update", "-o", "new.lock") == (0, "new.lock: 1 network locked\n")


@pytest.mark.parametrize(("arguments", "message"), [
    (["lock"], "name networks"),
    (["lock", "--update", "--batch", "4"], "name the networks that --batch is for"),
    (["lock", "nope", "--force"], "no network is called 'nope'"),
    (["lock", "lenet5", "-o", "no/such.lock"], "cannot write no/such.lock"),
    (["check"], "name a spec, or use --lock"),
    (["check", "--lock", "no.lock"], "no.lock does not exist; write it: archcalc lock NAME... -o no.lock"),
    (["check", "--lock", "."], "is a directory"),
    (["check", "--lock", "archcalc.lock", "--input", "3x8x8"], "a lock has its own conditions; omit --input"),
    (["check", "--lock", "archcalc.lock", "--set", "classes=3"], "omit --set, or name the spec to check with it"),
    (["lock", "lenet5", "-", "--force"], "write the spec to a file, and name that"),
])  # fmt: skip
def test_wrong_requests(folder, arguments, message):
    code, said = run(*arguments)
    assert code == 2
    assert message in said


def test_a_spec_that_is_checked_is_in_the_lock(folder):
    assert run("check", "tiny.yaml", "--lock", "archcalc.lock") == (
        0, "tiny.yaml: 1 network: tiny\narchcalc.lock: 1 network as locked\n",
    )  # fmt: skip
    (folder / "other.yaml").write_text(SPEC.replace("tiny", "other"))
    code, said = run("check", "other.yaml", "--lock", "archcalc.lock")
    assert code == 1
    assert "other.yaml is not in archcalc.lock; add it: archcalc lock other.yaml -o archcalc.lock --update" in said


def test_a_spec_that_is_broken_has_its_own_error(folder):
    change(folder / "tiny.yaml", "linear(classes)", "lniear(classes)")
    code, said = run("check", "--lock", "archcalc.lock")
    assert code == 2
    assert "tiny.yaml:10:38: unknown operator or block lniear" in said


def test_networks_that_are_gone_do_not_stop_the_others(folder):
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(SPEC.replace("tiny", name[0]))
    assert run("lock", "a.yaml", "b.yaml", "--update")[0] == 0
    for name in ("a.yaml", "b.yaml"):
        (folder / name).unlink()
    change(folder / "tiny.yaml", "linear(classes)", "linear(classes, bias=False)")
    code, said = run("check", "--lock", "archcalc.lock")
    assert code == 2
    assert [said.count(f"error: {name}: ") for name in ("a.yaml", "b.yaml")] == [1, 1]
    assert "tiny.yaml: head.linear: " in said
    assert "archcalc.lock: 3 of 3 networks failed\n" in said


def test_names_of_any_kind(folder):
    (folder / "a b – ü.yaml").write_text(SPEC)
    assert run("lock", "a b – ü.yaml", "--update")[0] == 0
    assert run("check", "--lock", "archcalc.lock") == (0, "archcalc.lock: 2 networks as locked\n")


def test_more_layers_than_a_file_can_hold():
    with pytest.raises(ArchcalcError, match=r"cannot lock this: .*; lock fewer networks in one file"):
        lock_text(Lock("0", {}, dict.fromkeys(map(str, range(20_000)), entry(network("lenet5")))))


def test_a_lock_states_its_conditions():
    assert entry(network("lenet5"), batch=3).conditions == {"batch": "3", "dtype": "float32", "mode": "infer"}


# What the page on CI shows


def test_the_hook_runs(folder):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"].startswith("archcalc ")
    assert re.search(hook["exclude"], "specs/resnet.published.yaml")
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    (repo,) = (repo for block in blocks for repo in block.get("repos", ()))
    assert repo["rev"] == f"v{__version__}"
    (used,) = repo["hooks"]
    assert used["id"] == hook["id"]
    assert run(*hook["entry"].split()[1:], *used["args"], "tiny.yaml")[0] == 0
    change(folder / "tiny.yaml", "width: 16", "width: 17")
    assert run(*hook["entry"].split()[1:], *used["args"], "tiny.yaml")[0] == 1


def test_the_workflow_runs(folder):
    (text,) = re.findall(r"```yaml\n(name: networks\n.*?)```", PAGE.read_text(), re.DOTALL)
    steps = [step["run"] for step in yaml.safe_load(text)["jobs"]["archcalc"]["steps"] if "run" in step]
    (command,) = (step for step in steps if step.startswith("archcalc "))
    (folder / "net.yaml").write_text(SPEC)
    run("lock", "net.yaml", "--force")
    assert run(*command.split()[1:])[0] == 0
    change(folder / "net.yaml", "width: 16", "width: 17")
    assert run(*command.split()[1:])[0] == 1
