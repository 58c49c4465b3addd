"""Equal calls of a block are run once; the graph is the same as if each were run, and so is what is refused."""

import gc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from weakref import ref

import pytest
from support.random_graphs import networks as random_networks
from support.random_graphs import sweep
from support.zoo import ONE_OF_EACH_FILE

from archcalc import ArchcalcError, analyze, load, networks, parse
from archcalc.ops import REGISTRY
from archcalc.spec.equal_calls import Expanded, kept
from archcalc.spec.expansion import Expansion

HEAD = "name: t\ninput: [4, 16, 16]\n"


def outcome(make, sharing, monkeypatch):
    """What comes of a spec with or without sharing: nodes, result, side outputs and steps left; or the error's text."""
    left = []
    plain = Expansion.graph

    def graph(self, *arguments):
        try:
            return plain(self, *arguments)
        finally:
            left.append(self.budget.left)

    with monkeypatch.context() as patch:
        patch.setattr(Expansion, "sharing", sharing)
        patch.setattr(Expansion, "graph", graph)
        try:
            made = make()
        except ArchcalcError as error:
            return str(error)
    return made.nodes, made.result, made.sides, str(made.misfit), left[-1]


def assert_same(make, monkeypatch):
    """Raise AssertionError if sharing changes anything. Returns what both came to."""
    shared = outcome(make, True, monkeypatch)
    assert shared == outcome(make, False, monkeypatch)
    return shared


@pytest.fixture
def runs(monkeypatch):
    """How often each block was run, and how often the nodes of one, with a scope or a plain chain, were copied."""
    counts = Counter()
    run, place = Expansion._block, Expansion._copy

    def run_block(self, plan, block, *more):
        counts[block.name] += 1
        return run(self, plan, block, *more)

    def place_again(self, known, *more):
        counts["again" if known.scope else "chain"] += 1
        return place(self, known, *more)

    monkeypatch.setattr(Expansion, "_block", run_block)
    monkeypatch.setattr(Expansion, "_copy", place_again)
    return counts


@pytest.mark.parametrize(("name", "bottlenecks"), [("resnet50", 16), ("resnet101", 33), ("resnet152", 50)])
def test_work_grows_with_distinct_blocks(name, bottlenecks, runs):
    load(name)
    assert (runs["bottleneck"], runs["again"]) == (8, bottlenecks - 8)


def test_the_counter_above_would_notice(runs, monkeypatch):
    monkeypatch.setattr(Expansion, "sharing", False)
    load("resnet152")
    assert (runs["bottleneck"], runs["again"]) == (50, 0)


@pytest.mark.parametrize("name", ONE_OF_EACH_FILE)
def test_the_zoo_is_the_same(name, monkeypatch):
    assert_same(lambda: load(name), monkeypatch)


def test_random_networks_are_the_same(monkeypatch):
    sweep(random_networks(), lambda drawn: assert_same(lambda: parse(drawn.spec()), monkeypatch), 100)


CASES = {  # blocks and layers, and how often nodes are placed again
    "equal calls": ("b(n): [add: {a: 'n * relu', b: identity}]", "b(2) | b(2) | b(2)", 2),
    "other arguments": ("b(n): [add: {a: 'n * relu', b: identity}]", "b(2) | b(3)", 0),
    "other inputs": ("b: [add: {a: 'conv(in_channels + 1, 1)', b: 'conv(in_channels + 1, 1)'}]", "3 * b", 0),
    "numbers that are equal, but not alike": ("b(n): [add: {a: 'dropout(n)', b: identity}]", "b(1) | b(1.0)", 0),
    "a default": ("b(n=2, m=n): [add: {a: 'm * relu', b: identity}]", "b | b | b(m=2)", 1),
    "a short list": ("b(n): [add: {a: 'sum(n) * relu', b: identity}]", "b([1, 2]) | b([1, 2])", 1),
    "a list in a list": ("b(n): [add: {a: 'len(n) * relu', b: identity}]", "b([[1]]) | b([[1]])", 0),
    "blocks in blocks": ("c: [add: [relu, sigmoid]]\n  b: [x: c | c]", "b | b | c", 2),
    "the only step of a label": ("b: [add: {a: relu, b: identity}]", "b\n- {s: b}\n- {t: b}", 2),
    "a branch": ("b: [add: {a: relu, b: identity}]", "add(x=b, y=b | b)", 2),
    "a label inside": ("b: [s: relu, 'add(use(s), sigmoid)']", "3 * b", 2),
    "a label that is the block's input": ("b: [add: ['use(s)', relu]]", "relu\n- s: tanh\n- 2 * b", 0),
    "a label outside": ("b: [add: ['use(s)', relu]]", "s: relu\n- tanh | b | tanh | b", 0),
    "a label of the block around": ("c: [add: ['use(s)', relu]]\n  b: [s: relu, c | c]", "b | b", 1),
    "side outputs": ("b: [relu, side: {s: linear(3)}]", "2 * b", 1),
    "a block on a side output and not": ("b: [add: [relu, identity]]", "b\n- side: {s: b | b}", 1),
    "a side output that does not fit": (
        "b: [relu, side: {s: 'b2 | conv(3, 99)'}]\n  b2: [add: [relu, tanh]]",
        "3 * b",
        2,
    ),
    "one layer": ("b: [x: relu]", "3 * b", 2),
    "a chain": ("b: [relu, tanh]", "3 * b", 0),
    "no layer": ("b(n): [x: n * relu]", "b(0) | b(0) | relu | b(1)", 1),
    "another depth": ("b: [add: [relu, tanh]]\n  c: [b]", "b | c | b | c", 2),
    "names that clash": ("b: [relu, add: {relu: tanh, relu1: relu}, relu]", "relu | b | b | relu\n- b1: b", 2),
}


def written(blocks, layers):
    steps = layers.replace("\n- ", "\n  - ")
    return f"{HEAD}blocks:\n  {blocks}\nlayers:\n  - {steps}\n"


@pytest.mark.parametrize("name", CASES)
def test_what_is_placed_again(name, runs, monkeypatch):
    blocks, layers, again = CASES[name]
    made = assert_same(lambda: parse(written(blocks, layers)), monkeypatch)
    assert not isinstance(made, str), made
    assert runs["again"] == again


@pytest.mark.parametrize(
    ("blocks", "layers", "again"),
    [
        ("b: [relu, tanh]", "3 * b", 2),
        ("b(n): [n * relu]", "b(2) | b(1) | b(2)", 1),
        ("c: [relu, tanh]\n  b: [c, c]", "b | b | c", 2),  # the calls of c are deeper in b
        ("b: ['conv(in_channels + 1, 1)']", "3 * b", 0),
        ("b: ['use(s)', relu]", "s: tanh\n- relu\n- add: [b, identity]\n- add: [b, identity]", 0),
        ("c: [add: [relu, tanh]]\n  b: [relu, c]", "b | b", 0),
        ("b(n): [n * relu]", "b(0) | b(0) | relu", 1),
        ("d: [x: 0 * relu]\n  b: [relu, d]\n  c: [add: [relu, tanh]]", "b | b | c | c", 0),
        ("d: [x: relu, y: tanh]\n  b: [d]", "s: b\n- b | b", 0),
        ("d: [add: [relu, tanh]]\n  b: d", "add(b, b)", 0),
        ("b: [relu, relu]", "relu | b | relu1: tanh\n- b | relu", 1),
    ],
)
def test_a_chain_is_copied_into_the_scope_around_it(blocks, layers, again, runs, monkeypatch):
    made = assert_same(lambda: parse(written(blocks, layers.replace(" | relu1:", "\n- relu1:"))), monkeypatch)
    assert not isinstance(made, str), made
    assert runs["chain"] == again


def test_nodes_placed_again_share_their_operators():
    made = parse(written("b: [add: ['conv(4, 1)', identity]]", "2 * b"))
    first, second = (node for node in made.nodes if node.op.name == "conv")
    assert first.op is second.op
    assert (first.name, second.name) == ("0.branch1", "1.branch1")


DOUBLE = "b(n): [x: b(n - 1) if n > 0 else relu, y: b(n - 1) if n > 0 else relu]"
REFUSED = {  # blocks and layers
    "doubling": (DOUBLE, "b(16) | b(16)", "more than 500,000 steps"),
    "doubling without layers": (
        "b(n): [x: b(n - 1) if n > 0 else chain(0 * relu), 'b(n - 1) if n > 0 else relu']",
        "b(19)",
        "",
    ),
    "a loop of equal blocks": ("b: [add: [99 * relu, identity]]", "3000 * b", "more than 200,000 layers"),
    "steps": (
        "b: [add: ['chain(identity if i else identity for i in range(2) if sum(range(9000)) < 0) | relu', relu]]",
        "99 * b",
        "steps",
    ),
    "in the middle of a block": ("b: [add: [7 * relu, identity]]", "199996 * relu | 2 * b", "more than 200,000 layers"),
    "too deep": ("b(n): [x: b(n + 1) | b(n + 1)]", "b(0)", "more than 40 nested block calls"),
    "nothing uses it": ("b: [s: relu, 'add(use(s), tanh)']", "t: relu\n- 2 * b\n- use(t) | b", "nothing uses"),
    "a branch that does not fit": ("b: [add: [relu, identity]]", "b | b | add(b, b | conv(3, 1))", "branches differ"),
    "a label used twice": ("b: [add: [relu, identity]]", "s: b\n- s: b", "used twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_the_same(name, monkeypatch):
    blocks, layers, message = REFUSED[name]
    error = assert_same(lambda: parse(written(blocks, layers)), monkeypatch)
    assert isinstance(error, str)
    assert message in error


def test_the_comparison_would_notice(monkeypatch):
    plain = Expansion._copy
    monkeypatch.setattr(Expansion, "_copy", lambda self, known, *more: plain(self, known._replace(steps=0), *more))
    with pytest.raises(AssertionError):
        assert_same(lambda: load("resnet50"), monkeypatch)


def of_one_file(names, monkeypatch, sharing=True):
    with kept():
        return [outcome(lambda name=name: load(name), sharing, monkeypatch) for name in names]


FAMILIES = {}
for name, path in networks().items():
    FAMILIES.setdefault(path, []).append(name)


@pytest.mark.parametrize("names", [names[:6] for names in FAMILIES.values() if len(names) > 1], ids=lambda n: n[0])
def test_networks_of_a_file_that_share_calls_are_the_same(names, monkeypatch):
    assert of_one_file(names, monkeypatch) == of_one_file(names, monkeypatch, sharing=False)


def test_a_network_copies_the_blocks_of_the_one_before(runs):
    with kept():
        load("resnet101")
        before = runs["bottleneck"]
        load("resnet50")
        assert (before, runs["bottleneck"]) == (8, 8)
        load("resnet18"), load("vgg11")
        load("resnet50")
        assert runs["bottleneck"] == 16, "another file came between"
    load("resnet50")
    assert runs["bottleneck"] == 24


PARAMS = """name: t
input: [4, 16, 16]
params: {width: 4, depths: [1, 2]}
blocks:
  inner: [add: ['conv(width, 1)', 'conv(width, 1)']]
  outer: [add: [inner, inner]]
  listed: [add: ['depths[1] * relu', tanh]]
layers: [outer, listed]
variants:
  t: {}
  same: {width: 4}
  deep: {depths: [1, 3]}
  wide: {width: 8}
  real: {width: 4.0}
"""


def test_blocks_are_copied_where_the_params_that_they_read_are_equal(runs):
    with kept():
        for network, outer in {"t": 1, "same": 1, "deep": 1, "wide": 2}.items():
            parse(PARAMS, network)
            assert (network, runs["outer"]) == (network, outer)
        with pytest.raises(ArchcalcError, match="out_channels"):
            parse(PARAMS, "real")  # 4.0 equals 4, but is no number of channels
    assert runs["listed"] == 4, "a list as a param equals only itself"


HIDING = """name: t
input: [4, 16, 16]
params: {rate: 0.0}
blocks:
  inner: [add: [relu, tanh]]
  outer: [inner, add: [relu, dropout(rate)]]
  own: [add: ['dropout(more)', relu]]
layers: [outer, 'own if rate > 0 else outer']
variants:
  t: {}
  operator: {relu: sigmoid}
  block: {inner: elu}
  negative: {rate: -0.0}
  more: {rate: 0.5, more: 0.1}
  unknown: {rate: 0.5}
"""


def test_params_that_hide_operators_or_blocks_are_not_shared(monkeypatch):
    names = ["t", "operator", "t", "block", "operator", "negative", "t", "more", "unknown", "more"]

    def made(sharing):
        return [repr(outcome(lambda name=name: parse(HIDING, name), sharing, monkeypatch)) for name in names]

    plain = made(sharing=False)
    assert len(set(plain)) == 6
    assert "unknown name more" in plain[8]
    with kept():
        assert made(sharing=True) == plain


def test_without_equal_params_a_copy_would_be_wrong(runs, monkeypatch):
    monkeypatch.setattr(Expanded, "fits", lambda *_: True)
    with kept():
        parse(PARAMS, "t")
        assert parse(PARAMS, "wide").nodes[1].output[0] == 4


def test_a_side_output_that_does_not_fit_keeps_nothing_alive(monkeypatch):
    expansions = []
    plain = Expansion.graph
    monkeypatch.setattr(Expansion, "graph", lambda self, *more: expansions.append(ref(self)) or plain(self, *more))
    gc.disable()
    try:
        assert parse(written("b: relu", "b\n- side: {s: 'conv(3, 99)'}\n- b")).misfit
        assert expansions[0]() is None
    finally:
        gc.enable()


def test_the_next_load_sees_a_changed_operator(monkeypatch):
    before, conv = load("alexnet"), REGISTRY["conv"]
    params = analyze(before).totals.params
    changed = type("Changed", (conv,), {"output": lambda self, x: conv.output(self, x).with_channels(8)})
    changed.name = "conv"
    with monkeypatch.context() as patch:
        patch.setitem(REGISTRY, "conv", changed)  # another class
        assert {node.output.channels for node in load("alexnet").nodes if node.op.name == "conv"} == {8}
    with monkeypatch.context() as patch:
        patch.setattr(conv, "weights", lambda self, x: {})  # the same class with another method
        assert analyze(load("alexnet")).totals.params < params
    assert load("alexnet") == before


def test_loads_in_threads_are_the_same():
    names = [
        name for name in ("vgg16", "torchvision/resnet50", "torchvision/inception_v3", "densenet121") for _ in "12"
    ]
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(load, names)] == [*map(load, names)]


def test_constants_that_are_equal_but_not_alike_stay_apart():
    spec = HEAD + "layers:\n  - leaky_relu(1) | leaky_relu(1.0)\n"
    slopes = [node.op.negative_slope for node in parse(spec).nodes if node.op.name == "leaky_relu"]
    assert [*map(repr, slopes)] == ["1", "1.0"]
    with pytest.raises(ArchcalcError, match="True"):
        parse(HEAD + "layers:\n  - conv(1, 1) | conv(True, 1)\n")
