"""What specs mean: names, labels, blocks, choices, joins, params, variants, long skips and side outputs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import SpecError, analyze, load, parse
from archcalc.errors import ArchcalcError
from archcalc.ops import REGISTRY
from archcalc.spec.expansion import expand
from archcalc.spec.network_spec import parse_spec

HEAD = "name: net\ninput: [8, 16, 16]\n"


def graph(layers, head=HEAD, **settings):
    return parse(f"{head}layers:\n{layers}", **settings)


def names(layers, head=HEAD, **settings):
    return [node.name for node in graph(layers, head, **settings).nodes[1:]]


def ops(layers, head=HEAD, **settings):
    return [(node.op.name, node.output) for node in graph(layers, head, **settings).nodes[1:]]


def shape(made):
    """Everything of a graph but the names and places."""
    return [(node.op, node.inputs, node.x, node.output, node.side) for node in made.nodes], made.result


# Names


def test_names_of_the_design():
    made = [node.name for node in load("resnet50").nodes]
    assert made[:5] == ["input", "stem.conv", "stem.batchnorm", "stem.relu", "stem.maxpool"]
    assert "stage2.0.body.conv1" in made
    assert "stage2.0.skip.conv" in made
    assert "stage2.1.skip" in made
    assert "stage2.3.add" in made
    assert made[-3:] == ["head.global_avgpool", "head.flatten", "head.linear"]


UNIT = """
blocks:
  unit:
    - add(body=conv(8, 1) | relu, skip=identity)
    - relu
  plain:
    - conv(8, 1) | relu
"""


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("- relu | relu | tanh", "relu1 relu2 tanh"),
        ("- a: relu", "a"),
        ("- a: relu | tanh", "a.relu a.tanh"),
        ("- a: relu\n- b: relu\n- relu", "a b relu"),
        ("- a: {b: relu}", "a"),
        ("- a: {b: relu | relu}", "a.b.relu1 a.b.relu2"),
        ("- add: {body: relu, skip: identity}", "body skip add"),
        ("- add: {body: relu | tanh, skip: identity}", "body.relu body.tanh skip add"),
        ("- add: [relu, identity]", "branch1 branch2 add"),
        ("- 2 * add(x=relu, y=identity)", "x1 y1 add1 x2 y2 add2"),
        ("- relu: conv(8, 1)\n- relu", "relu relu1"),
        ("- relu1: conv(8, 1)\n- relu | relu", "relu1 relu2 relu3"),
        ("- plain | plain", "conv1 relu1 conv2 relu2"),
        ("- a: plain", "a.conv a.relu"),
        ("- unit", "body.conv body.relu skip add relu"),
        ("- unit | tanh", "0.body.conv 0.body.relu 0.skip 0.add 0.relu tanh"),
        ("- a: unit", "a.body.conv a.body.relu a.skip a.add a.relu"),
        (
            "- a: 2 * unit",
            "a.0.body.conv a.0.body.relu a.0.skip a.0.add a.0.relu "
            "a.1.body.conv a.1.body.relu a.1.skip a.1.add a.1.relu",
        ),
        ("- a: chain(unit, relu)", "a.0.body.conv a.0.body.relu a.0.skip a.0.add a.0.relu a.relu"),
        ("- identity if True else relu", "identity"),
        ("- a:\n  - b: relu\n  - b2: relu\n  - relu", "a.b a.b2 a.relu"),
    ],
)
def test_names(layers, expected):
    assert names(layers, HEAD + UNIT) == expected.split()


def test_a_block_that_repeats_branches_is_a_numbered_module():
    head = HEAD + "blocks:\n  twice:\n    - 2 * add(a=relu, b=identity)\n"
    assert names("- twice | relu", head) == ["0.a1", "0.b1", "0.add1", "0.a2", "0.b2", "0.add2", "relu"]


def test_many_layers_beside_a_label_of_their_name():
    made = names("- relu: tanh\n- 3000 * relu")
    assert len(set(made)) == 3001
    assert made[-1] == "relu3000"


def larger(inner):
    return (
        st.builds("({} | {})".format, inner, inner)
        | st.builds("add({}, {})".format, inner, inner)
        | st.builds("add(body={}, relu={})".format, inner, inner)
        | st.builds("chain({} for i in range(2))".format, inner)
    )


SIMPLE = st.sampled_from(["relu", "tanh", "unit", "plain", "conv(8, 1)", "2 * relu", "2 * unit"])
STEP = st.recursive(SIMPLE, larger, max_leaves=6)
LABEL = st.sampled_from(["relu", "relu1", "relu2", "conv1", "branch1", "body", "a", "unit", "relu1_"])


@given(st.dictionaries(LABEL, STEP, max_size=5), st.lists(STEP, min_size=1, max_size=3), st.randoms())
def test_names_are_unique_always(labelled, plain, random):
    lines = [f"- {label}: {text}" for label, text in labelled.items()] + [f"- {text}" for text in plain]
    random.shuffle(lines)
    made = names("\n".join(lines), HEAD + UNIT)
    assert len(set(made)) == len(made)
    assert all(part for name in made for part in name.split("."))


# The two forms


@pytest.mark.parametrize(
    ("yaml", "expression"),
    [
        ("- relu\n- conv(8, 1)\n- tanh", "- relu | conv(8, 1) | tanh"),
        ("- add: {body: 'conv(8, 1)', skip: identity}", "- add(body=conv(8, 1), skip=identity)"),
        ("- concat: [relu, tanh, identity]", "- concat(relu, tanh, identity)"),
        ("- concat:\n    a:\n      - relu\n      - tanh\n    b: identity", "- concat(a=relu | tanh, b=identity)"),
        ("- add: {a: {multiply: [relu, tanh]}, b: identity}", "- add(a=multiply(relu, tanh), b=identity)"),
        ("- [relu, [tanh, relu]]", "- chain(relu, tanh, relu)"),
        ("- >\n  relu\n  | tanh", "- relu | tanh"),
        ("- |\n  relu\n  | tanh\n", "- 'relu | tanh'"),
        ('- "conv(8, 1) | relu"', "- 'conv(8,\n  1) | relu'"),
        ("- chain(conv(i, 1) for i in [4, 8])", "- conv(4, 1) | conv(8, 1)"),
        ("- concat(conv(i, 1) for i in range(1, 4))", "- concat(conv(1, 1), conv(2, 1), conv(3, 1))"),
        ("- 3 * (relu | tanh)", "- relu | tanh | relu | tanh | relu | tanh"),
        ("- 2 * 2 * relu", "- 4 * relu"),
    ],
)
def test_yaml_form_and_expression_form_are_one(yaml, expression):
    one, two = graph(yaml), graph(expression)
    assert shape(one) == shape(two)


def test_generator_in_a_chain_sees_its_index():
    made = graph("- chain(droppath(l / 10) if l > 1 else relu for l in range(1, 4))")
    assert [getattr(node.op, "p", None) for node in made.nodes[1:]] == [None, 0.2, 0.3]


def test_nested_generator_goes_through_pairs():
    made = ops("- chain(conv(c, k, padding=k // 2) for c, k in [[4, 3], [6, 5]])")
    assert made == [("conv", (4, 16, 16)), ("conv", (6, 16, 16))]


# Repeats, choices, dimensions


@pytest.mark.parametrize(("count", "layers"), [("0", 0), ("3", 3), ("n", 2), ("(n - 1)", 1), ("len([1, 2])", 2)])
def test_repeat(count, layers):
    assert len(names(f"- {count} * relu\n- tanh", HEAD + "params: {n: 2}\n")) == layers + 1


def test_choice_by_the_input():
    head = HEAD + "blocks:\n  fit(c):\n    - identity if in_channels == c else conv(c, 1)\n"
    assert [op for op, _ in ops("- fit(8) | fit(4) | fit(4)", head)] == ["identity", "conv", "identity"]


def test_dimensions_are_those_where_the_expression_stands():
    made = ops("- conv(2 * in_channels, 1) | conv(2 * in_channels, 1) | maxpool(in_height) | conv(in_width, 1)")
    assert [output for _, output in made] == [(16, 16, 16), (32, 16, 16), (32, 1, 1), (1, 1, 1)]


def test_dimensions_within_branches_are_the_joins_input():
    made = ops("- concat(conv(in_channels // 2, 1), relu | conv(in_channels // 4, 1))")
    assert made[-1] == ("concat", (6, 16, 16))


@pytest.mark.parametrize(
    ("written", "key", "branches"),
    [
        ("concat(relu, identity, axis=end)", "concat(axis=end)", "[relu, identity]"),
        ("mean(a=relu, b=identity, p=0.5)", "mean(0.5)", "{a: relu, b: identity}"),
        ("concat((conv(n, 1) for n in [4, 8]), axis='C')", "concat(axis='C')", '["conv(4, 1)", "conv(8, 1)"]'),
    ],
)
def test_a_joins_own_argument_is_a_keyword_in_an_expression(written, key, branches):
    head = HEAD + """params: {end: "'H'"}\n"""
    inline = graph(f"  - {written}\n", head)
    assert shape(inline) == shape(graph(f"  - {key}: {branches}\n", head))


# Blocks


def test_defaults_may_mention_earlier_parameters_params_and_dimensions():
    head = HEAD + "params: {k: 3}\nblocks:\n  b(c, d=2 * c, e=d + k + in_channels):\n    - conv(e, 1)\n"
    assert ops("- b(4)", head) == [("conv", (19, 16, 16))]
    assert ops("- b(4, e=5)", head) == [("conv", (5, 16, 16))]


def test_block_sees_params_but_not_its_callers_arguments():
    head = HEAD + "blocks:\n  inner:\n    - conv(width, 1)\n  outer(width):\n    - inner\n"
    with pytest.raises(SpecError, match="unknown name width"):
        graph("- outer(3)", head)


def test_blocks_and_operators_are_values():
    head = HEAD + "params: {act: relu, unit: wide}\nblocks:\n  wide(a):\n    - conv(9, 1) | a\n  both(f, g): [f(g)]\n"
    made = [op for op, _ in ops("- act | unit(act) | both(unit, tanh)", head)]
    assert made == ["relu", "conv", "relu", "conv", "tanh"]


def test_fractal_block_calls_itself():
    head = HEAD + (
        "blocks:\n  fractal(n):\n    - conv(8, 1) if n == 1 else mean(conv(8, 1), fractal(n - 1) | fractal(n - 1))\n"
    )
    made = graph("- fractal(4)", head)
    assert sum(node.op.name == "conv" for node in made.nodes) == 2**4 - 1
    assert len({node.name for node in made.nodes}) == len(made.nodes)


def test_recursion_ends_at_a_bound():
    head = HEAD + "blocks:\n  down(n):\n    - relu if n == 0 else down(n - 1)\n"
    assert names("- down(39)", head) == ["relu"]
    with pytest.raises(SpecError, match="more than 40 nested"):
        graph("- down(40)", head)


def test_deep_expressions_within_deep_blocks_are_an_error_with_a_place():
    deep = "chain(" * 50 + "b(n - 1)" + ")" * 50
    text = f"{HEAD}blocks:\n  b(n):\n    - relu if n == 0 else {deep}\nlayers:\n  - b(39)\n"
    with pytest.raises(SpecError, match="layers nested too deeply") as caught:
        parse(text)
    assert caught.value.place.line == 5
    assert "more calls" in str(caught.value)


# Params and variants


def test_params_refer_to_those_above():
    assert parse(HEAD + "params: {a: 2, b: 3 * a, c: [a, b]}\nlayers:\n  - c[1] * relu\n").nodes[-1].name == "relu6"


def test_variants_and_overrides():
    text = HEAD + "params: {n: 1, m: 10 * n}\nvariants: {small: {}, large: {n: 3, k: n + m}}\nlayers:\n  - m * relu\n"
    spec = parse_spec(text)
    assert spec.networks() == ("small", "large")
    assert [len(expand(spec, name).nodes) - 1 for name in spec.networks()] == [10, 30]
    assert len(parse(text, "large", n=2).nodes) == 21
    assert len(parse(text, "large", n="1 + 1").nodes) == 21
    assert len(parse(text, "small", m=4).nodes) == 5
    with pytest.raises(ArchcalcError, match="no param 'widht'"):
        parse(text, "small", widht=4)
    with pytest.raises(ArchcalcError, match="select one"):
        parse(text)


def test_override_as_expression_sees_other_params_and_blocks():
    text = HEAD + "params: {n: 2, block: relu}\nblocks: {own: [tanh | tanh]}\nlayers: [n * block]\n"
    assert [node.op.name for node in parse(text, block="own", n=1).nodes[1:]] == ["tanh", "tanh"]
    with pytest.raises(SpecError, match="--set n:1:5: unknown name m"):
        parse(text, n="2 * m")


def test_input_override_replaces_the_specs_input():
    assert graph("- conv(in_channels, 1)", input=(5, 4, 4)).nodes[-1].output == (5, 4, 4)
    with pytest.raises(ArchcalcError, match="input needs a whole number"):
        graph("- relu", input=(3, 0, 4))


def test_unused_params_and_blocks_are_known():
    spec = parse_spec(HEAD + "params: {a: 1, b: a, c: 2}\nblocks: {x: [relu], y(n): [n * relu]}\nlayers: [y(b)]\n")
    assert [(what, place.line) for what, place in spec.unused] == [("param c", 3), ("block x", 4)]


def test_a_block_that_set_can_choose_is_no_unused_one():
    """A param is a block: another block with as many parameters may take its place; one with others may not."""
    spec = parse_spec(
        HEAD + "params: {layer: x}\nblocks: {x(n): [n * relu], y(n): [n * tanh], z: [relu]}\nlayers: [layer(2)]\n"
    )
    assert [what for what, _ in spec.unused] == ["block z"]


# Long skips and side outputs

UNET = """
name: unet
input: [3, 32, 32]
params: {depth: 3, width: 8}
blocks:
  double(c):
    - 2 * (conv(c, 3, padding=1) | relu)
  level(n, c):
    - down: double(c)
    - maxpool(2)
    - level(n - 1, 2 * c) if n > 1 else double(2 * c)
    - conv_transpose(c, 2, stride=2)
    - concat: {skip: use(down), up: identity}
    - up: double(c)
layers:
  - level(depth, width)
  - out: conv(1, 1)
"""


def test_unet():
    made = parse(UNET)
    assert made.nodes[made.result].output == (1, 32, 32)
    position = {node.name: i for i, node in enumerate(made.nodes)}
    joins = {node.name: [made.nodes[i].name for i in node.inputs] for node in made.nodes if node.op.name == "concat"}
    assert len(joins) == 3
    for name, (skip, _) in joins.items():
        assert skip == name.removesuffix("concat") + "down.relu2"
        assert position[skip] < position[name]


def test_use_finds_the_nearest_label_around():
    made = graph("- a: relu\n- b:\n  - a: tanh\n  - add(use(a), relu)\n- add(use(a), use(b))")
    by = {node.name: [made.nodes[i].name for i in node.inputs] for node in made.nodes}
    assert by["b.add"] == ["b.a", "b.branch2"]
    assert by["add"] == ["a", "b.add"]


def test_use_of_a_label_in_quotes():
    assert graph("- a-1: relu\n- concat(tanh, use('a-1'))").nodes[-1].inputs == (2, 1)


def test_a_layer_that_nobody_reads_is_refused():
    with pytest.raises(SpecError, match="nothing uses the output of this tanh"):
        graph("- a: relu\n- tanh\n- use(a)")


SIDES = "- stem: relu\n- side: {head: flatten | linear(10)}\n- tail: tanh\n- side: [flatten]\n"


def test_side_outputs_exist_only_in_training():
    made = graph(SIDES)
    assert [node.name for node in made.nodes] == ["input", "stem", "head.flatten", "head.linear", "tail", "side"]
    assert [node.name for node in made.nodes if node.side] == ["head.flatten", "head.linear", "side"]
    assert made.nodes[made.result].name == "tail"
    kept = made.without_sides()
    assert [node.name for node in kept.nodes] == ["input", "stem", "tail"]
    assert [node.inputs for node in kept.nodes] == [(), (0,), (1,)]
    assert kept.nodes[kept.result].name == "tail"
    assert kept.without_sides() is kept


def test_main_path_cannot_see_into_a_side_branch():
    with pytest.raises(SpecError, match="no earlier step"):
        graph("- side: {head: [inner: flatten, relu]}\n- use(inner)")


def test_a_side_branch_may_use_the_main_path():
    made = graph("- a: relu\n- tanh\n- side: {head: use(a) | flatten}\n- relu")
    assert made.nodes[3].name == "head"
    assert made.nodes[3].inputs == (1,)


HEAD_TOO_LARGE = "- conv(4, 3)\n- side: {head: 'conv(2, 15) | global_avgpool'}\n- conv(2, 3)"


def test_a_side_output_that_does_not_fit_is_missed_in_training_only():
    made = graph(HEAD_TOO_LARGE)
    whole = graph(HEAD_TOO_LARGE.replace("conv(2, 15)", "conv(2, 13)"))
    assert [node.name for node in made.nodes] == ["input", "conv1", "conv2"]
    assert analyze(made).totals.figures() == analyze(whole).totals.figures() | {
        "saved_bytes": None,
        "peak_training_bytes": None,
    }  # those of training
    with pytest.raises(SpecError, match="conv: kernel 15×15 is larger than the padded input 14×14"):
        analyze(made, mode="train")


def test_what_is_wrong_in_a_side_output_otherwise_is_an_error_at_once():
    with pytest.raises(SpecError, match="unknown operator or block conf"):
        graph(HEAD_TOO_LARGE.replace("conv(2, 15)", "conf(2, 15)"))


def test_an_operator_that_is_added_later_is_known(monkeypatch):
    """The language asks which operators there are when it reads a spec."""
    text = "name: t\ninput: [4, 8, 8]\nlayers: ['total(relu, tanh)']"
    with pytest.raises(SpecError, match="unknown operator or block total"):
        parse(text + " # before")
    monkeypatch.setitem(REGISTRY, "total", type("Total", (REGISTRY["add"],), {"name": "total"}))
    assert [node.op.name for node in parse(text).nodes] == ["input", "relu", "tanh", "total"]
    steps = parse(text.replace("'total(relu, tanh)'", "total: [relu, tanh]"))
    assert [node.op.name for node in steps.nodes] == ["input", "relu", "tanh", "total"]
