"""The walls of the house: who imports whom, what loads when, and that these tests would notice."""

import ast
import os
import pty
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from support.fresh_python import HEAVY, imported_by, own_modules

PACKAGE = Path(__file__).parent.parent / "archcalc"
BELOW_GRAPH = {"errors", "ops"}
BELOW_CATALOG = {*BELOW_GRAPH, "graph", "spec"}
BELOW_RENDER = {
    *BELOW_CATALOG,
    "printed",
    "network_names",
    "importers",
    "catalog",
    "analysis",
    "auditing",
    "comparing",
    "codegen",
}
ALLOWED = {  # package → what it may import, also inside functions and for types
    "errors": set(),
    "shown": set(),
    "ops": {"errors"},
    "graph": {*BELOW_GRAPH, "shown"},
    "spec": {*BELOW_GRAPH, "graph"},
    "analysis": {*BELOW_GRAPH, "shown", "graph"},
    "spec_files": {"errors", "spec"},
    "network_names": set(),
    "printed": BELOW_GRAPH,
    "importers": {*BELOW_GRAPH, "graph", "spec"},
    "spec_reading": {"errors", "spec", "spec_files", "importers"},
    "catalog": {*BELOW_CATALOG, "spec_files", "spec_reading", "network_names", "importers"},
    "symbolic": {*BELOW_CATALOG, "catalog", "analysis"},
    "engines": {"errors"},
    "sweep_rows": {"errors", "sweep_grid"},
    "sweep_grid": {*BELOW_CATALOG, "symbolic"},
    "sweeping": {"", *BELOW_CATALOG, "catalog", "analysis", "symbolic", "engines", "sweep_grid", "sweep_rows"},
    "searching": {*BELOW_CATALOG, "printed", "analysis", "sweep_grid", "sweeping"},
    "auditing": {*BELOW_CATALOG, "printed", "spec_files", "network_names", "importers", "catalog", "analysis"},
    "comparing": {*BELOW_CATALOG, "shown", "catalog", "analysis", "auditing"},
    "lock_file": {*BELOW_CATALOG, "printed", "analysis", "writing"},
    "lock": {*BELOW_CATALOG, "catalog", "analysis", "comparing", "lock_file"},
    "codegen": {"", *BELOW_CATALOG, "catalog", "analysis"},
    "writing": {*BELOW_GRAPH, "graph", "spec", "analysis"},
    "pytorch": {*BELOW_GRAPH, "graph", "analysis"},
    "render": {"", *BELOW_GRAPH, "printed", "graph", "analysis", "auditing", "comparing", "lock"},
    "cli": {
        *BELOW_RENDER,
        "",
        "render",
        "pytorch",
        "symbolic",
        "sweeping",
        "searching",
        "writing",
        "lock",
        "lock_file",
    },
    "__main__": {"cli"},
    "notebook": {*BELOW_GRAPH, "graph", "analysis", "comparing", "render"},
    "": {
        "errors",
        "shown",
        "graph",
        "importers",
        "catalog",
        "analysis",
        "auditing",
        "comparing",
        "notebook",
        "sweeping",
        "searching",
    },
}
HOME = {
    "yaml": {"spec/yaml.py"},
    "click": {"cli"},
    "rich": {"render/forms/terminal.py"},
    "torch": {"pytorch", "importers/torch"},
    "onnx": {"importers/onnx_file.py"},
    "matplotlib": {"render/pictures"},
    "pygraphviz": {"render/pictures"},
    "pandas": {"notebook.py"},
    "dask": {"engines.py"},
    "distributed": {"engines.py"},
}


def tree_of(path):
    return parsed(path.read_text())


parsed = cache(ast.parse)  # several tests read each file


def imports(path):
    """Modules that a file imports: as it loads, inside functions and for types."""
    nodes = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Import | ast.ImportFrom)]
    return [name for n in nodes for name in ([a.name for a in n.names] if isinstance(n, ast.Import) else [n.module])]


def part(module):
    """`archcalc.ops.base` → `ops`; the package itself → ``."""
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path):
    relative = path.relative_to(PACKAGE)
    own = "" if relative.name == "__init__.py" and len(relative.parts) == 1 else relative.parts[0].removesuffix(".py")
    for module in imports(path):
        if module.split(".")[0] == "archcalc":
            assert part(module) in ALLOWED[own] | {own}, f"{relative} imports {module}"
        for library, homes in HOME.items():
            if module.split(".")[0] == library:
                assert any(relative.is_relative_to(home) for home in homes), f"{relative} imports {module}"


SHOWN = {  # all that `render` may import from packages that compute: results, their words, and sums over a row's layers
    "archcalc": {"__version__"},
    "archcalc.analysis.at_least": {"AtLeast", "AtLeastRatio", "add_known", "bounded", "change", "ratio"},
    "archcalc.analysis.conventions": {"CONVENTIONS", "Convention"},
    "archcalc.analysis.ledger": {"Ledger"},
    "archcalc.analysis.explanation": {"Line"},
    "archcalc.analysis.measured": {"Check", "PhaseMemory", "Validation"},
    "archcalc.analysis.memory_trace": {"KINDS"},
    "archcalc.analysis.field_figures": {"FIXED", "VARIES", "WHOLE", "by_axis", "by_key"},
    "archcalc.analysis.figures": {"END", "FIGURES", "SMALL_COUNTS", "numbers", "summed"},
    "archcalc.analysis.fit": {"Fit", "Space"},
    "archcalc.analysis.needed_memory": {"Needs", "PhaseNeeds"},
    "archcalc.analysis.parts": {"Sums", "blocks", "end", "sums_of", "total", "within"},
    "archcalc.analysis.receptive_field": {"Axes", "image_lengths"},
    "archcalc.analysis.recipe": {"BATCHES", "Recipe"},
    "archcalc.analysis.report": {"Layer", "Report", "Totals"},
    "archcalc.auditing.claims": {"Accuracy", "Claim"},
    "archcalc.auditing.paper": {"Audited"},
    "archcalc.printed": {"read_dimensions"},
    "archcalc.auditing.verdicts": {"VERDICTS", "Verdict", "unit_of"},
    "archcalc.comparing.accuracy": {"DATASET", "Errors", "Point", "frontier"},
    "archcalc.comparing.alignment": {"Alignment", "Change"},
    "archcalc.comparing.pairing": {"Match"},
    "archcalc.comparing.totals": {"Comparison", "Entry"},
    "archcalc.lock": {"Difference", "Excess", "Findings"},
}
FREE = {"errors", "ops", "graph", "render"}  # render may import all of these


def taken(path):
    """What a file imports of archcalc outside FREE, as module → names; a module as a whole has the name ""."""
    found = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            found.setdefault(node.module, set()).update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            found |= {alias.name: {""} for alias in node.names}
    own = {module: names for module, names in found.items() if module.split(".")[0] == "archcalc"}
    return {module: names for module, names in own.items() if part(module) not in FREE}


def test_the_page_of_the_architecture_has_a_row_for_each_part():
    page = (PACKAGE.parent / "docs/architecture.md").read_text().partition("## Who imports whom")[0]
    parts = {path.name for path in PACKAGE.iterdir() if not path.name.startswith("_") and path.suffix != ".typed"}
    assert {name for name in parts if f"`{name}`" not in page} == set()


def test_what_render_imports_is_listed():
    used = {}
    for path in sorted((PACKAGE / "render").rglob("*.py")):
        for module, names in taken(path).items():
            assert names <= SHOWN.get(module, set()), path
            used.setdefault(module, set()).update(names)
    assert used == SHOWN  # what nobody imports goes from the list


def test_the_test_above_finds_what_computes(tmp_path):
    assert taken(PACKAGE / "comparing/accuracy.py")["archcalc.analysis.report"] == {"analyze"}
    (tmp_path / "a.py").write_text(
        "import json\nfrom archcalc import load\n\ndef f():\n    import archcalc.analysis.report\n"
        "    from archcalc.analysis import report\n    from archcalc.ops.base import operator\n"
    )
    expected = {"archcalc": {"load"}, "archcalc.analysis.report": {""}, "archcalc.analysis": {"report"}}
    assert taken(tmp_path / "a.py") == expected


PUBLISHED = re.compile("claim|printed|published|accurac|recipe|verdict|clash", re.IGNORECASE)


def names_of_published(path):
    """Names in a file's code that are of what is published."""
    nodes = list(ast.walk(tree_of(path)))
    names = [getattr(n, "id", None) or getattr(n, "attr", None) or getattr(n, "name", None) or "" for n in nodes]
    return {name for name in names if isinstance(name, str) and PUBLISHED.search(name)}


def test_specs_and_graphs_know_nothing_of_what_is_published():
    for part_ in ("ops", "graph", "spec"):
        for path in sorted((PACKAGE / part_).rglob("*.py")):
            assert not names_of_published(path), path


def test_the_test_above_finds_who_does():
    assert {"claims", "Accuracy"} <= names_of_published(PACKAGE / "auditing/claims.py")


@pytest.mark.parametrize(
    "arguments",
    [
        ["summarize", "vgg16"],
        ["summarize", "lenet5", "--format", "json"],
        ["list"],
        ["ops", "conv"],
        ["compare", "vgg16", "resnet18"],
        ["compare", "vgg16", "resnet18", "--by", "layer"],
        ["export", "lenet5", "--format", "latex"],
        ["export", "lenet5", "--format", "html", "--table", "audit"],
        ["export", "lenet5", "--format", "pytorch"],
        ["graph", "resnet18"],
        ["summarize", "vgg16", "--bars"],
        ["memory", "lenet5", "--gpu", "t4"],
        ["import", "lenet5"],
        ["lock", "lenet5", "--output", "-"],
        ["explain", "lenet5", "c1"],
        ["explore", "lenet5", "--output", "-"],
        ["explain", "lenet5", "--symbolic", "height"],
        ["plot", "profile", "--help"],  # Click itself imports difflib for every short option, as -h
    ],
)
def test_commands_leave_torch_alone(arguments):
    call = f"CliRunner().invoke(cli, {arguments!r}, catch_exceptions=False)"
    assert imported_by(f"from click.testing import CliRunner\nfrom archcalc.cli import cli\n{call}") == []


def test_the_test_above_would_notice():
    pytest.importorskip("torch")
    assert "torch" in imported_by("import archcalc.pytorch")


@pytest.mark.parametrize("path", sorted((PACKAGE / "ops").rglob("*.py")), ids=lambda path: path.name)
def test_operators_never_import_torch(path):
    nodes = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = [name for n in nodes for name in ([a.name for a in n.names] if isinstance(n, ast.Import) else [n.module])]
    assert not [name for name in names if name.split(".")[0] == "torch" or name.startswith("archcalc.pytorch")]


def imported_for(stdout, *arguments):
    """The packages that a command imports, while its output goes to a file descriptor."""
    command = [sys.executable, "-X", "importtime", "-m", "archcalc", *arguments]
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")} | {"TERM": "xterm"}
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=True, env=env)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


def test_rich_is_left_alone_where_no_terminal_is_written_to():
    found = imported_for(subprocess.DEVNULL, "summarize", "vgg16")
    assert {"yaml", "click"} <= found
    assert not found & {"rich", *HEAVY}


def test_the_test_of_rich_would_notice():
    ours, terminal = pty.openpty()  # holds 4 KiB that nobody reads, so a small table
    try:
        assert "rich" in imported_for(terminal, "audit", "lenet5", "--only", "exact")
    finally:
        os.close(terminal)
        os.close(ours)


@pytest.mark.parametrize("argument", ["--version", "--help", "-h"])
def test_help_and_version_load_no_command(argument):
    code = f"from archcalc.cli import cli\ncli.main([{argument!r}], standalone_mode=False)"
    assert own_modules(code) == [
        "archcalc",
        "archcalc.cli",
        "archcalc.cli.commands",
        "archcalc.errors",
        "archcalc.shown",
        "archcalc.spec",
        "archcalc.spec.limits",
    ]


def test_the_package_loads_what_is_asked_for():
    assert own_modules("import archcalc") == ["archcalc", "archcalc.shown"]
    assert own_modules("import archcalc; archcalc.SpecError") == ["archcalc", "archcalc.errors", "archcalc.shown"]


def test_a_network_loads_only_the_families_of_its_operators():
    loaded = own_modules("from archcalc import analyze, load; analyze(load('vgg16'))")
    assert {"archcalc.ops.convolution", "archcalc.ops.pooling"} <= {*loaded}
    assert not {"archcalc.ops.attention", "archcalc.ops.sequence", "archcalc.ops.upsampling"} & {*loaded}
    assert "archcalc.ops.attention" in own_modules("from archcalc import load; load('torchvision/vit_b_16')")


# Names and sizes


def modules(package):
    """Each module and package below a package, by dotted name, as (path, tree)."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path, tree_of(path)
    return found


def top(tree):
    """What runs as a module loads, or is there for types."""
    return [inner for node in tree.body for inner in (node.body if isinstance(node, ast.If) else [node])]


def functions_in(tree):
    return {node.name for node in top(tree) if isinstance(node, ast.FunctionDef)}


def hidden(package):
    """Modules that have the name of something that their package exports, or of a function in them."""
    every, found = modules(package), []
    for name, (path, tree) in every.items():
        above, _, own = name.rpartition(".")
        nodes = [node for node in top(every[above][1]) if isinstance(node, ast.ImportFrom)] if above else []
        exported = {a.asname or a.name for node in nodes for a in node.names if f"{node.module}.{a.name}" not in every}
        exported |= functions_in(every[above][1]) if above else set()
        if own in exported or (path.name != "__init__.py" and own in functions_in(tree)):
            found.append(path.relative_to(package).as_posix())
    return found


def test_no_module_has_the_name_of_a_function():
    assert hidden(PACKAGE) == []


def test_the_test_above_finds_such_modules(tmp_path):
    for name, text in {
        "a/__init__.py": "from a import b\nfrom a.b import c\nif TYPE_CHECKING:\n    from a.b import e\ndef f(): ...",
        "a/b.py": "class C:\n    def b(self): ...",
        "a/c.py": "",
        "a/d.py": "def d(): ...",
        "a/e/__init__.py": "",
        "a/f.py": "class F: ...",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert hidden(tmp_path / "a") == ["c.py", "d.py", "e/__init__.py", "f.py"]


def length(function, lines):
    """Its lines of code: without blank ones, comments and docstrings."""
    texts = [n for n in ast.walk(function) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    docstrings = {number for text in texts for number in range(text.lineno, text.end_lineno + 1)}
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    numbers = set(range(first, function.end_lineno + 1)) - docstrings
    return sum(bool(text) and text[0] != "#" for text in (lines[number - 1].strip() for number in numbers))


def lengths(path):
    """The lines of a file, and those of its functions."""
    lines = path.read_text().splitlines()
    functions = [n for n in ast.walk(ast.parse("\n".join(lines))) if isinstance(n, ast.FunctionDef)]
    return len(lines), [(length(function, lines), function.name) for function in functions]


def test_files_and_functions_are_short():
    for path in PACKAGE.rglob("*.py"):
        lines, functions = lengths(path)
        assert lines <= 400, path
        assert max(functions, default=(0, ""))[0] <= 40, (path, max(functions))


def test_lines_are_counted_as_they_should(tmp_path):
    (tmp_path / "a.py").write_text(
        '@one\n@two(\n    3)\ndef f():\n    """A\n\n    text."""\n    # and\n\n    return 1\n'
    )
    assert lengths(tmp_path / "a.py") == (10, [(5, "f")])


def edges():
    """The modules that each module imports, inside functions and for types too; packages are left out."""
    every = modules(PACKAGE)
    plain = {name for name, (path, _) in every.items() if path.name != "__init__.py"}
    found = {}
    for name in plain:
        nodes = [node for node in ast.walk(every[name][1]) if isinstance(node, ast.ImportFrom)]
        targets = {target for node in nodes for a in node.names for target in (node.module, f"{node.module}.{a.name}")}
        found[name] = targets & plain
    return found


def circle(imported):
    """Modules that import each other, and those between."""
    left = dict(imported)
    while done := [name for name, others in left.items() if not others & left.keys()]:
        for name in done:
            del left[name]
    return set(left)


def test_no_modules_import_each_other():
    assert circle(edges()) == set()


def test_the_test_above_finds_a_circle():
    found = edges()
    found["archcalc.errors"].add("archcalc.graph.graph")
    assert {"archcalc.errors", "archcalc.graph.graph"} <= circle(found)
