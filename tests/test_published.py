"""Verdicts on published figures are computed, and can come out either way."""

import pytest

from archcalc import SpecError, analyze, figures, load, parse
from archcalc.check import check_spec
from archcalc.figures import Figures
from archcalc.language.values import Fault
from archcalc.published import audit, unit_of

SPEC = """
name: t
input: [3, 8, 8]
layers:
  - a: conv(4, 1)
  - b: conv(4, 1)
published:
  - {{figure: {figure}, printed: "{printed}", source: nowhere{more}}}
"""  # a: 3·4 + 4 = 16 params, 768 MACs; b: 20 params, 1,024 MACs


def numbers(report):
    return Figures(report).numbers


def verdict(figure, printed, more=""):
    return audit(parse(SPEC.format(figure=figure, printed=printed, more=more)))[0]


@pytest.mark.parametrize(
    ("figure", "printed", "expected"),
    [
        ("params", "36", "exact"),
        ("params", "35", "contradicted"),
        ("params", "37", "contradicted"),
        ("macs", "1,792", "exact"),
        ("macs", "1.8K", "rounds"),
        ("macs", "1.79K", "rounds"),
        ("macs", "1.7K", "truncates"),
        ("macs", "1.6K", "contradicted"),
        ("macs", "2 thousand", "rounds"),
        ("depth", "2", "exact"),
        ("param_bytes", "144", "exact"),
        ("activation_bytes", "2.8KB", "rounds"),
        ("activation_bytes", "2.75KiB", "exact"),
        ("activation_bytes", "2.75KB", "explained"),
        ("param_bytes", "144B", "exact"),
        ("params", "0K", "rounds"),
        ("params", "0", "contradicted"),
    ],
)
def test_verdicts(figure, printed, expected):
    assert verdict(figure, printed).verdict == expected


def test_an_accounting_explains_only_what_it_computes():
    twice = ", explained_by: {text: the row b twice, value: \"macs + macs['b']\"}"
    explained = verdict("macs", "2,816", twice)
    assert (explained.verdict, explained.accounting, explained.explained) == ("explained", "the row b twice", 2816)
    assert verdict("macs", "2,815", twice).verdict == "contradicted"


def test_an_accounting_of_a_row_that_is_not_there():
    with pytest.raises(SpecError, match="no layer or block 'c'; known: a, b, input"):
        verdict("macs", "5", ", explained_by: {text: x, value: \"macs['c']\"}")


def test_a_figure_takes_whole_names_only():
    figure = numbers(analyze(parse(SPEC.format(figure="params", printed="36", more=""))))["params"]
    assert (figure, figure["a"], figure["b"], figure["op:conv"]) == (36, 16, 20, 36)
    with pytest.raises(Fault, match="no layer or block 'ab'"):
        figure["ab"]


@pytest.mark.parametrize(
    ("figure", "printed", "value", "expected"),
    [
        ("param_bytes", "64", "param_bytes['a']", "explained"),
        ("param_bytes", "0", "param_bytes['a']", "contradicted"),
        ("activation_bytes", "1,024", "activation_bytes['a']", "explained"),
        ("macs", "896.5", "macs / 2 + 0.5", "explained"),
    ],
)
def test_parts_of_a_figure_are_in_its_unit(figure, printed, value, expected):
    assert verdict(figure, printed, f', explained_by: {{text: x, value: "{value}"}}').verdict == expected


def test_depth_of_a_part_is_its_own():
    assert verdict("depth", "1", ", explained_by: {text: x, value: \"depth['a']\"}").verdict == "explained"


def test_an_accounting_that_gives_no_number():
    with pytest.raises(SpecError, match="'x' gives no number"):
        verdict("macs", "5", ", explained_by: {text: x, value: [macs]}")


@pytest.mark.parametrize(
    ("figure", "printed", "message"),
    [
        ("parameters", "1", r"<text>:8:14: no figure 'parameters' to compare with"),
        ("params", "many", r"<text>:8:31: cannot read the printed figure 'many'"),
        ("params", "36MB", "cannot read the printed figure '36MB'; write 138M"),
        ("param_bytes", "2 million", "cannot read the printed figure '2 million'; write 96MB"),
        ("params", "9" * 5000, "cannot read the printed figure"),
    ],
)
def test_claims_that_cannot_be_judged(figure, printed, message):
    with pytest.raises(SpecError, match=message):
        verdict(figure, printed)


def test_an_accounting_is_computed_even_where_the_figure_agrees():
    with pytest.raises(SpecError, match="division by zero"):
        verdict("macs", "1,792", ', explained_by: {text: x, value: "macs / 0"}')


def test_another_network_has_no_published_figures():
    assert load("vgg16", classes=10).about.claims == ()
    assert load("vgg16", input=(3, 256, 256)).about.claims == ()
    assert load("vgg16", classes=1000, input=[3, 224, 224]).about.claims
    assert analyze(load("vgg16"), batch=8).graph.about.claims


def verdicts(published, layers="  - a: conv(4, 1)\n  - b: conv(4, 1)\n"):
    return audit(parse(f"name: t\ninput: [3, 8, 8]\nlayers:\n{layers}published:\n{published}"))


TABLE = """
  - source: Table 1
    note: of all cells.
    columns: [output, params, {figure: macs, explained_by: {text: twice, value: 2 * computed}}]
    layers:
      a: [8×8×4, 16, "1,536"]
      b: ["-", {printed: 21, clash: misprinted.}, "1,024"]
      op:conv: ["-", 36, "-"]
"""


def test_a_table_is_its_cells():
    found = verdicts(TABLE)
    assert [(v.claim.layer, v.claim.figure, v.verdict) for v in found] == [
        ("a", "output", "exact"), ("a", "params", "exact"), ("a", "macs", "explained"),
        ("b", "params", "contradicted"), ("b", "macs", "exact"), ("op:conv", "params", "exact"),
    ]  # fmt: skip
    assert all(v.holds and v.claim.source == "Table 1" and v.claim.note == "of all cells." for v in found)
    assert [v.claim.clash for v in found if v.claim.clash] == ["misprinted."]


@pytest.mark.parametrize(
    ("more", "verdict", "holds"),
    [
        ('printed: "36"', "exact", True),
        ('printed: "36", clash: it is not', "exact", False),
        ('printed: "37"', "contradicted", False),
        ('printed: "37", clash: a misprint', "contradicted", True),
        ('printed: "37", explained_by: {text: one more, value: computed + 1}', "explained", True),
        ('printed: "37", clash: it is, explained_by: {text: one more, value: computed + 1}', "explained", False),
    ],
)
def test_a_claim_holds_if_the_spec_says_what_is_the_case(more, verdict, holds):
    (found,) = verdicts(f"  - {{figure: params, source: a, {more}}}\n")
    assert (found.verdict, found.holds) == (verdict, holds)


@pytest.mark.parametrize(
    ("figure", "printed", "setting"),
    [
        ("macs", 15_470_264_320, "network: vgg16"),
        ("params", 13_378_280, "network: googlenet, mode: train"),
        ("params", 11_181_642, "network: resnet18, set: {classes: 10}"),
        ("macs", 333_615_104, "network: resnet18, input: [3, 96, 96]"),
        ("flops", 1_814_073_344, "network: resnet18, convention: macs"),
        ("depth", 17, "network: resnet18, value: 'layers[\"op:conv\"] - 3'"),
    ],
)
def test_accountings_of_other_settings(figure, printed, setting):
    claim = f"{{figure: {figure}, printed: {printed}, source: a, explained_by: {{text: b, {setting}}}}}"
    (found,) = verdicts(f"  - {claim}\n")
    assert (found.verdict, found.explained) == ("explained", printed)


def test_a_setting_of_the_network_itself(tmp_path):
    claim = '{figure: macs, printed: "4,096", source: a, explained_by: {text: wider, set: {n: 16}, input: [4, 8, 8]}}'
    path = tmp_path / "t.yaml"
    head = "name: t\ninput: [3, 8, 8]\nparams: {n: 4}\nlayers:\n  - conv(n, 1)\n"
    path.write_text(f"{head}published:\n  - {claim}\n")
    (found,) = audit(load(path))
    assert (found.verdict, found.explained) == ("explained", 4096)


@pytest.mark.parametrize(
    ("printed", "value", "verdict"),
    [
        ("12×", 'against["params"] / params * 7.0831e-6', "contradicted"),
        ("43%", 'macs["a"] / macs', "rounds"),
        ("0.5", "macs / (macs + macs)", "exact"),
        ("2.5×", 'against["depth"] / (depth * 3.2)', "exact"),
    ],
)
def test_ratios(printed, value, verdict):
    claim = f"{{what: ratio, value: '{value}', against: vgg16, printed: {printed}, source: a}}"
    (found,) = verdicts(f"  - {claim}\n")
    assert (found.verdict, unit_of(found.claim)) == (verdict, "ratio")


def test_what_says_its_unit_has_it():
    claim = "{what: neurons, unit: values, value: 'activations[\"op:conv\"]', printed: 512, source: a}"
    (found,) = verdicts(f"  - {claim}\n")
    assert (found.verdict, unit_of(found.claim)) == ("exact", "values")


def test_figures_of_parts():
    layers = "  - a: conv(4, 1) | add(conv(4, 1), identity)\n  - b: conv(4, 1) | global_avgpool\n"
    figures = {"depth": 2, "layers": 4, "receptive_field": 1, "effective_stride": 1, "effective_padding": 0}
    for figure, count in figures.items():
        (found,) = verdicts(f"  - {{figure: {figure}, layer: a, printed: {count}, source: s}}\n", layers)
        assert found.verdict == "exact", figure
    (found,) = verdicts("  - {figure: input, layer: b, printed: 8×8×4, source: s}\n", layers)
    assert found.verdict == "exact"


def test_bounds_and_what_is_rounded_further():
    found = verdicts(
        '  - {figure: macs, printed: "< 2K", source: a}\n  - {figure: macs, printed: 2K, to: 1K, source: a}\n'
    )
    assert [v.verdict for v in found] == ["within", "rounds"]
    (found,) = verdicts('  - {figure: macs, printed: "> 2K", source: a}\n')
    assert (found.verdict, found.holds) == ("contradicted", False)


def test_an_accounting_that_rounds_comes_before_cutting_off():
    layers = "  - a: conv(4, 1)\n  - b: conv(4, 1)\n"
    way = ", explained_by: {text: 36 more, value: computed - 36}"
    (cut,) = verdicts("  - {figure: macs, printed: 1.7K, source: s}\n", layers)
    assert cut.verdict == "truncates"
    (found,) = verdicts(f"  - {{figure: macs, printed: 1.7K, source: s{way.replace('36', '72')}}}\n", layers)
    assert (found.verdict, found.explained) == ("explained", 1720)
    (found,) = verdicts(f"  - {{figure: macs, printed: 1.8K, source: s{way}}}\n", layers)
    assert found.verdict == "rounds"


def test_bytes_are_read_in_units_of_1024_too_after_what_the_spec_says():
    layers = "  - conv(1000, 1, bias=False)\n"  # 12,000 B of weights
    (bare,) = verdicts("  - {figure: param_bytes, printed: 11.7 KB, source: s}\n", layers)
    assert (bare.verdict, bare.accounting) == ("explained", "its units are of 1,024")
    way = "explained_by: {text: less, value: computed - 12}"
    (said,) = verdicts(f"  - {{figure: param_bytes, printed: 11.7 KB, source: s, {way}}}\n", layers)
    assert said.accounting == "less, its units are of 1,024"


def test_an_absent_operator_has_nothing_and_an_unknown_one_is_an_error():
    figures = numbers(analyze(parse(SPEC.format(figure="params", printed="36", more=""))))
    assert (figures["macs"]["op:linear"], figures["layers"]["op:linear"]) == (0, 0)
    with pytest.raises(Fault, match="no operator 'lineal'; did you mean linear"):
        figures["macs"]["op:lineal"]
    with pytest.raises(Fault, match="the layers of an operator have no depth together"):
        figures["depth"]["op:conv"]


def test_conventions_are_told_apart():
    two = "explained_by: [{text: a, convention: all, value: flops + 1}, {text: b, convention: macs, value: flops + 1}]"
    (found,) = verdicts(f'  - {{figure: macs, printed: "1,793", source: s, {two}}}\n')
    assert (found.verdict, found.accounting) == ("explained", "b")


def test_the_input_of_a_join_is_that_of_its_first_branch():
    layers = "  - a: concat(conv(4, 1), conv(5, 1))\n"
    (found,) = verdicts("  - {figure: input, layer: a.concat, printed: 8×8×4, source: s}\n", layers)
    assert found.verdict == "exact"
    (found,) = verdicts("  - {figure: input, printed: 8×8×3, source: s}\n", layers)
    assert found.verdict == "exact"


OWN = """
name: resnet50
input: [3, 8, 8]
params: {n: 4}
variants:
  resnet50: {}
  thin: {n: 2}
layers:
  - conv(n, 1)
published:
  - of: resnet50
    figure: params
    printed: "24"
    source: a
    explained_by: [{text: its own, set: {n: 6}}, {text: a sibling, network: thin}]
  - {of: thin, what: ratio, value: 'params / against["params"]', against: resnet50, printed: "0.5", source: a}
"""


def test_a_setting_is_of_the_network_itself_whatever_others_bear_its_name():
    (found,) = audit(parse(OWN, "resnet50"))
    assert (found.verdict, found.explained) == ("explained", 24)  # 3·6 + 6


def test_a_sibling_in_the_same_file_is_found(tmp_path):
    text = OWN.replace("set: {n: 6}", "set: {n: 5}").replace('"24"', '"8"')
    (found,) = audit(parse(text, "resnet50"))
    assert (found.accounting, found.explained) == ("a sibling", 8)
    path = tmp_path / "own.yaml"
    path.write_text(text)
    assert check_spec(str(path))[1] == ("resnet50", "thin")
    assert audit(load(f"{path}:resnet50"))[0].explained == 8


def test_against_is_taken_in_the_setting_too(tmp_path):
    path = tmp_path / "t.yaml"
    head = "name: t\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 1)\n"
    way = "explained_by: {text: counted once in both, convention: macs}"
    claim = f"""{{what: x, value: 'flops / against["flops"]', against: t.yaml, printed: "0.48", source: a, {way}}}"""
    path.write_text(f"{head}published:\n  - {claim}\n")
    (found,) = audit(load(path))
    assert (found.computed, found.verdict) == (1, "contradicted")


def test_paths_in_a_spec_are_from_where_it_lies(tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text("name: a\ninput: [3, 8, 8]\nlayers:\n  - conv(4, 1)\n")
    claim = '{figure: params, printed: "16", source: s, explained_by: {text: that of a, network: a.yaml}}'
    (tmp_path / "b.yaml").write_text(f"name: b\ninput: [3, 8, 8]\nlayers:\n  - conv(2, 1)\npublished:\n  - {claim}\n")
    monkeypatch.chdir(tmp_path.parent)
    assert audit(load(f"{tmp_path.name}/b.yaml"))[0].verdict == "explained"


def test_figures_of_a_part_are_computed_once(monkeypatch):
    seen = []
    summed = figures._of_layers
    monkeypatch.setattr(figures, "_of_layers", lambda *arguments: seen.append(1) or summed(*arguments))
    layers = "  - 200 * relu\n"
    claim = "{what: x, unit: operations, value: 'sum([macs[\"op:relu\"] for i in range(2000)])', printed: 0, source: s}"
    assert verdicts(f"  - {claim}\n" * 3, layers)[0].verdict == "exact"
    assert len(seen) < 100


@pytest.mark.parametrize("index", ['""', "0", "False", "[1]"])
def test_a_part_is_named_by_a_text(index):
    with pytest.raises(SpecError, match="a part is named by a text"):
        verdicts(f"  - {{what: x, value: 'macs[{index}]', printed: 0, source: s}}\n")
