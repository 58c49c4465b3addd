"""docs/reference/json.md lists every key that commands print as JSON, with its type, and no other."""

import json
import re
from functools import cache

import pytest
from support.made_parts import MADE
from support.pages import PIECE, ROOT, in_process

SAMPLES = {  # section → commands whose output together has every key, and null where the page says so
    "summarize": [
        "summarize resnet18 --fold-bn", "summarize googlenet --mode train --batch 2", "summarize googlenet --input 64",
        "summarize stochastic-depth-110 --depth 1", "summarize odd.yaml", "summarize lenet5 --convention macs",
        "summarize twins.yaml",
    ],
    "compare": [
        "compare lenet5 --mode train", "compare vgg16 odd.yaml plain.yaml --relative-to vgg16",
        "compare plain.yaml vgg16 --relative-to plain",
    ],
    "compare --by": ["compare alexnet vgg11 --by stage", "compare odd.yaml plain.yaml --by layer"],
    "memory": [
        "memory vgg16 --batch 4 --gpu t4", "memory vgg16 --batch 256 --gpu l4",
        "memory lenet5 --mode infer --device cpu", "memory lenet5 --optimizer adam",
    ],
    "explain": ["explain vgg16 stage3.conv1", "explain odd.yaml stem --mode infer", "explain odd.yaml add1"],
    "explain --symbolic": ["explain lenet5 --symbolic height"],
    "sweep": ["sweep vgg16 --over size=31,32"],
    "search": ["search vgg16 --over size=32:64 --under params<1G --maximize size"],
    "fit": [
        "fit lenet5 --memory 256MiB", "fit squeezenet1.0 --gpu t4 --mode infer --vary size",
        "fit squeezenet1.0 --memory 1MB --device cpu --vary size --batch 10",
    ],
    "list": ["list --family resnet"],
    "show": ["show lenet5", "show torchvision/resnet50", "show odd.yaml", "show twins.yaml"],
    "audit": ["audit googlenet lenet5 stochastic-depth-110"],
    "audit FILE": ["audit paper.csv"],
    "ops": ["ops"],
    "ops NAME": ["ops conv"],
    "conventions": ["conventions"],
    "conventions NAME": ["conventions vit-b-16"],
}  # fmt: skip
SPECS = {
    "odd.yaml": """
name: odd
input: [3, 32, 32]
layers:
  - stem: conv(8, 3, stride=2) | relu
  - chain(add(body=conv(8, 3, padding=1) | droppath(0.2), skip=identity) for i in range(2))
  - add(up=conv(8, 3, padding=1), down=maxpool(2) | upsample([15, 15]))
  - head: global_avgpool | flatten | linear(10)
""",
    "twins.yaml": """
name: twins
input: {left: [3, 8, 8], right: [3, 8, 8]}
layers:
  - filter: conv(2, 3)
  - outputs: {first: identity, second: use(right) | again(filter)}
""",
    "paper.csv": "name,params,flops\nLeNet-5,60K,0.6M\nOurs,1M,\n,1M,x\n",
    "plain.yaml": "name: plain\ninput: [3, 8, 8]\nlayers: [identity]\n",
}
TYPES = {
    "whole number": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "text": lambda v: type(v) is str,
    "true or false": lambda v: type(v) is bool,
    "null": lambda v: v is None,
    "whole numbers": lambda v: type(v) is list and all(type(item) is int or item is None for item in v),
    "texts": lambda v: type(v) is list and all(type(item) is str or item is None for item in v),
    "pairs": lambda v: type(v) is list and all(TYPES["whole numbers"](item) for item in v),
    "object": lambda v: type(v) is dict,
    "list of objects": lambda v: type(v) is list and all(type(item) is dict for item in v),
    "anything": lambda v: True,
}
NEEDS_TORCH = {
    "validate": ["validate lenet5 --device meta", "validate plain.yaml --device cpu --memory --mode infer --amp"],
}
NEVER_SEEN = {  # what no network on images shows (recurrent layers), or no small one: too many positions that differ
    "peak_inference_bytes",
    "receptive_field", "field_min", "field_seen", "field_seen_min", "local_field", "local_field_min",
    "effective_stride", "effective_padding", "field_period", "saved_bytes", "year", "by", "figure",
}  # fmt: skip


def page(name):
    """A page's text, with the parts that are made from the code as they are now."""
    text = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
    return PIECE.sub(lambda m: MADE[m["name"]]() if m["name"] else m[0], text)


@cache
def sections():
    """The text under each heading of the page, by its title in lower case."""
    pieces = re.split(r"^##+ (.+)$", page("json.md"), flags=re.MULTILINE)[1:]
    return {title.lower(): text for title, text in zip(pieces[::2], pieces[1::2], strict=True)}


def documented(title):
    """The keys of a section, with their types."""
    text = sections()[title.lower()]
    keys = {
        key: kind
        for names, kind in re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", text, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", names)
    }
    if said := re.search(r"^Has the conditions ([^:]+?), and:", text, re.MULTILINE):
        keys |= {key: documented("conditions")[key] for key in re.findall(r"`(\w+)`", said[1])}
    for other in re.findall(r"^Has (?:all|the keys of) \[(\w+)\]", text, re.MULTILINE):
        keys |= documented(other)
    return keys


def problems(found, title, seen):
    """What an object has otherwise than a section says; `seen` collects its keys with whether they were null."""
    keys = documented(title)
    for key, value in found.items():
        seen.setdefault(title.lower(), set()).update({key, (key, value is None)})
        if key not in keys:
            yield f"{title}: {key} is not documented"
        elif link := re.fullmatch(r"(list of )?\[([\w ]+)\]\(#[\w-]+\)", keys[key]):
            for item in value if link[1] else [value]:
                yield from problems(item, link[2], seen)
        elif not any(TYPES[kind](value) for kind in kinds(keys[key])):
            yield f"{title}: {key} is {value!r}, not {keys[key]}"


def kinds(text):
    return [text] if text in TYPES else re.split(" or (?!false)", text)


def check(title, commands, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in SPECS.items():
        (tmp_path / name).write_text(text)
    seen = {}
    for command in commands:
        code, printed = in_process([*command.split(), "--format", "json"])
        assert code in (0, 1), printed  # 1: nothing fits
        assert not list(problems(json.loads(printed), title, seen)), command
    for section, keys in seen.items():
        assert not documented(section).keys() - keys, f"{section}: documented, but no command prints it"
        nullable = {key for key, kind in documented(section).items() if "null" in kinds(kind)}
        shared = NEVER_SEEN if section != "verdicts" else {key for key, kind in documented(section).items()}
        assert not {key for key in nullable if (key, True) not in keys} - shared, f"{section}: never null"


@pytest.mark.parametrize("title", SAMPLES)
def test_keys_and_types(title, tmp_path, monkeypatch):
    check(title, SAMPLES[title], tmp_path, monkeypatch)


def test_keys_and_types_of_validate(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    check("validate", NEEDS_TORCH["validate"], tmp_path, monkeypatch)


def test_every_command_with_json_has_a_section():
    from archcalc.cli import cli

    commands = {name: cli.get_command(None, name) for name in cli.list_commands(None)}
    formats = {name: [o.type.choices for o in command.params if o.name == "form"] for name, command in commands.items()}
    with_json = {name for name, choices in formats.items() if choices and "json" in choices[0]}
    assert with_json - {"export"} == {title.split()[0] for title in {**SAMPLES, **NEEDS_TORCH}}


def test_what_is_undocumented_or_of_another_type_is_noticed():
    assert list(problems({"name": "a", "new": 1}, "conditions", {})) == ["conditions: new is not documented"]
    assert list(problems({"batch": 1.0, "input": [3, "8"]}, "conditions", {})) == [
        "conditions: batch is 1.0, not whole number",
        "conditions: input is [3, '8'], not whole numbers",
    ]


def test_exported_json_is_a_list_of_the_same():
    _, several = in_process(["export", "lenet5", "vgg11", "--format", "json"])
    _, one = in_process(["summarize", "lenet5", "--format", "json"])
    assert json.loads(several)[0] == json.loads(one)


def test_the_page_of_figures_defines_what_totals_have():
    defined = set(re.findall(r"^\| `(\w+)` \|", page("figures.md"), re.MULTILINE))
    assert defined == set(documented("totals"))
