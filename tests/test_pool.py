"""One command's networks take their steps from one pool; counted in steps, layers and expansions, not in seconds."""

import pytest
from click.testing import CliRunner

from archcalc import ArchcalcError, audit, cli, parse
from archcalc.auditing import verdicts
from archcalc.auditing.claims import claims_of
from archcalc.spec.expansion import Expansion
from archcalc.spec.functions import Budget, Fault
from archcalc.spec.limits import shared

SETTINGS = """name: x
input: [4, 16, 16]
params: {{n: 1}}
layers: ["n * relu"]
published:
  - figure: flops
    printed: "5"
    source: s
    clash: c
    explained_by: [{settings}]
"""


def accountings(*counts):
    """A spec whose one figure has an accounting for each count of layers."""
    return SETTINGS.format(settings=", ".join(f"{{text: t{n}, set: {{n: {n}}}}}" for n in counts))


@pytest.fixture
def made(monkeypatch):
    """How many layers each expansion made, as they end."""
    counts = []
    plain = Expansion.graph

    def graph(self, *arguments):
        try:
            return plain(self, *arguments)
        finally:
            counts.append(len(self.made))

    monkeypatch.setattr(Expansion, "graph", graph)
    return counts


def spent(budget, steps):
    budget.spend(steps)
    budget.close(0)


def test_budgets_are_drawn_from_the_pools_they_are_in():
    with shared(100, "all"):
        spent(Budget(50), 40)
        with pytest.raises(Fault, match=r"than the 60 steps left for all \(of 100\)"):
            spent(Budget(), 61)
    with shared(100, "all"):
        with shared(90, "some"):
            spent(Budget(), 80)
        with shared(90, "others"), pytest.raises(Fault, match="20 steps left for all"):
            Budget().spend(21)
    assert Budget(50).left == 50


def test_what_is_no_step_is_taken_too():
    with shared(100, "all"):
        for _ in range(9):
            Budget().close(10)
        assert Budget().left == 10


def test_the_accountings_of_a_network_are_bounded_together(made):
    with pytest.raises(ArchcalcError, match=r"t60000|steps left for the accountings of published figures"):
        audit(parse(accountings(*range(60_000, 60_200))))
    assert len(made) == 3  # the network, one accounting whole, one up to the bound
    assert sum(made) < verdicts.MAX_STEPS + 10


def test_expressions_over_figures_are_bounded_together(monkeypatch):
    monkeypatch.setattr(verdicts, "MAX_STEPS", 1_000)
    text = SETTINGS.format(settings="{text: t, value: flops + sum(i for i in range(60))}")
    (verdict,) = audit(parse(text))
    assert verdict.verdict == "contradicted"
    with pytest.raises(ArchcalcError, match=r"steps left for the accountings of published figures"):
        audit(parse(text + text.split("published:\n")[1] * 5))


def test_figures_of_settings_are_dropped_after_use(monkeypatch):
    monkeypatch.setattr(verdicts, "MAX_KEPT", 100)
    judge = verdicts._Judge(parse(accountings(*range(30, 60))))
    judge.placed(claims_of(judge.graph.origin)[0])
    sizes = [len(figures.report.layers) for figures in judge.settings.values()]
    assert sizes == [2, 60]  # the network's own, and the last that there is room for


def test_a_setting_that_is_kept_is_expanded_once(made):
    column = "{figure: flops, explained_by: [{text: t, set: {n: 7}}]}"
    rows = "networks: {x: [5]}, layers: {'op:relu': [5]}"
    text = accountings(7).partition("published:")[0]
    audit(parse(f"{text}published: [{{source: s, columns: [{column}], {rows}}}]\n"))
    assert made == [2, 8]


def test_the_networks_of_a_command_are_bounded_together(made, monkeypatch, tmp_path):
    """A short text with many huge variants: after the bound the rest are refused without a step."""
    monkeypatch.setattr(cli, "MAX_STEPS", 50_000)
    variants = "\n".join(f"  v{n}: {{n: {20_000 + n}}}" for n in range(40))
    (tmp_path / "many.yaml").write_text(
        f"name: many\nfamily: many\ninput: [4, 8, 8]\nparams: {{n: 1}}\nvariants:\n{variants}\nlayers: [n * relu]\n"
    )
    monkeypatch.setenv("ARCHCALC_PATH", str(tmp_path))
    result = CliRunner().invoke(cli.cli, ["list", "--family", "many"])
    assert sum(made) < 51_000
    assert [len(text.split("v0 ")) for text in (result.output,)] == [2]
    assert "steps left for one command (of 50,000)" in result.output


def test_the_whole_zoo_is_far_below_the_bound(monkeypatch):
    """Half of what is allowed is enough for the command that expands most."""
    monkeypatch.setattr(cli, "MAX_STEPS", cli.MAX_STEPS // 2)
    result = CliRunner().invoke(cli.cli, ["audit"])
    assert result.exit_code == 0
    assert "skipped" not in result.output


def test_comparing_part_by_part_is_bounded_for_both_networks(made, tmp_path):
    spec = tmp_path / "a.yaml"
    spec.write_text("name: a\ninput: [4, 8, 8]\nlayers: ['20000 * (conv(4, 1) | relu)']\n")
    result = CliRunner().invoke(cli.cli, ["compare", "--by", "layer", str(spec), str(spec)])
    assert isinstance(result.exception, ArchcalcError)
    assert "steps left for comparing two networks part by part (of 100,000)" in str(result.exception)
    assert sum(made) < 100_000


def test_names_are_bounded():
    """Labels in labels: the names would take gigabytes."""
    label = "L" * 90
    nest = f"blocks:\n  b(n):\n    - {label}: b(n - 1) if n > 0 else 40 * relu\nlayers: [b({{}})]\n"
    head = "name: x\ninput: [4, 16, 16]\n"
    assert max(len(node.name) for node in parse(head + nest.format(1)).nodes) == 188
    with pytest.raises(ArchcalcError, match="the name of a layer has more than 250 characters"):
        parse(head + nest.format(2))
