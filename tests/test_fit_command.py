"""The command `fit`: its table, data, exit codes and errors."""

import json

import pytest
from support.pages import in_process

from archcalc import load
from archcalc.analysis.fit import STEPS, Fit, Space, batches, largest, needed
from archcalc.analysis.recipe import Recipe


def fit(*arguments):
    return in_process(["fit", *arguments])


def data(*arguments):
    code, printed = fit(*arguments, "--format", "json")
    return code, json.loads(printed)


def memory_of(found):
    return found["memory_bytes_least"], found["memory_bytes_most"]


def test_rows_are_what_the_library_finds():
    code, found = data("lenet5", "--memory", "64MiB", "--optimizer", "adamw")
    space = Space(64 * 2**20, 64 * 2**20)
    assert (code, found["batch"], found["vary"], *memory_of(found)) == (0, None, "batch", *space[:2])
    rows = {row.pop("change"): tuple(row.values()) for row in found["rows"]}
    own = Recipe("adamw", device="cuda")
    expected = {None: own, "--optimizer sgd": own._replace(optimizer="sgd")}
    for change, recipe in expected.items():
        assert rows[change] == largest(batches(load("lenet5"), recipe), space)
    assert [*rows][:3] == [None, "--optimizer momentum", "--optimizer sgd"]


@pytest.mark.parametrize(
    ("size", "count"), [("1GB", 10**9), ("1GiB", 2**30), ("1.5 gib", 3 * 2**29), ("2TB", 2 * 10**12)]
)
def test_sizes(size, count):
    assert data("lenet5", "--memory", size, "--device", "cpu")[1]["memory_bytes_most"] == count


def test_a_card_has_its_memory_without_the_context():
    _, found = data("lenet5", "--gpu", "t4", "--mode", "infer")
    memory = 14_930 * 2**20
    assert memory_of(found) == (memory - 10**9, memory - 2 * 10**8)
    assert [row["change"] for row in found["rows"]] == [None, "--dtype float16"]


def test_nothing_fits():
    code, printed = fit("vgg16", "--memory", "1GB")
    assert code == 1
    assert "nothing fits  the smallest needs 723.00 MB more, 169.57 MB more with --optimizer sgd" in printed
    assert "nothing is guaranteed  with " in fit("vgg16", "--memory", "1.8GB")[1]
    code, found = data("vgg16", "--memory", "1GB")
    lacking = needed(batches(load("vgg16"), Recipe("momentum", device="cuda"))(1, STEPS)) - 10**9
    assert (code, found["rows"][0]["bound"], found["rows"][0]["lacking_bytes"]) == (1, 0, lacking)
    assert found["rows"][-1]["bound"] > 0  # with --dtype bfloat16
    assert "with --dtype bfloat16" not in printed.partition("nothing fits")[2]


def test_sizes_of_images():
    code, found = data("squeezenet1.0", "--memory", "200MB", "--vary", "size", "--batch", "2")
    row = found["rows"][0]
    assert (code, found["batch"], found["vary"]) == (0, 2, "size")
    assert row["guaranteed"] <= row["likely"] <= row["bound"]
    assert (row["bound"][0], row["bound"][1]) == (3, row["bound"][2])
    code, found = data("squeezenet1.0", "--memory", "1MB", "--vary", "size")
    assert (code, found["rows"][0]["bound"]) == (1, None)


def test_one_image_that_pytorch_does_not_train(tmp_path):
    path = tmp_path / "t.yaml"
    text = "name: t\ninput: [3, 64, 64]\nlayers:\n  - conv(4, 3) | global_avgpool\n  - norm: batchnorm\n  - flatten\n"
    path.write_text(text)
    said = "PyTorch does not train it: norm has one value per channel; use two images or more"
    for options, shown in {"0.2MB": True, "24MB": False, "0.2MB --mode infer": False}.items():
        _, printed = fit(str(path), *f"--device cpu --memory {options}".split())
        assert (said in " ".join(printed.split())) is shown, printed


def test_on_the_cpu_there_is_one_number():
    _, printed = fit("lenet5", "--memory", "64MB", "--device", "cpu")
    assert "At most" in printed
    assert "Guaranteed" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("vgg16 --memory 24", "24 has no unit; write e.g. 24GB or 16GiB"),
        ("vgg16 --memory 1e99TB", "no memory has 1e99TB; write e.g. 24GB or 16GiB"),
        ("vgg16 --memory 24Gb", "cannot read the number '24Gb'; write 96MB, 58.1 MiB or 896 B"),
        ("vgg16 --memory -1GB", "cannot read the number '-1GB'; write 96MB, 58.1 MiB or 896 B"),
        ("vgg16 --memory ~1GB", "'~1GB' is not one number; write it alone"),
        ("vgg16 --memory 0GiB", "no memory has 0GiB; write e.g. 24GB or 16GiB"),
        ("vgg16", "write either --memory, e.g. 24GB, or --gpu, e.g. a100-40"),
        ("vgg16 --memory 24GB --gpu t4", "write either --memory, e.g. 24GB, or --gpu, e.g. a100-40"),
        ("vgg16 --memory 24GB --batch 8", "fit finds the batch; omit --batch, or use --vary size"),
        ("vgg16 --gpu a100", "card 'a100' is not exact; type a100-80 or a100-40"),
        ("vgg16 --memory 24GB --vary size --batch 0", "0 is not in the range"),
        ("lenet5 --memory 24GB --checkpoint zz", "lenet5 has no part 'zz'"),
        ("vgg16 --memory 24GB --optimizer adm", "did you mean adam or adamw?"),
        ("vgg16 --memory 24GB --vary size", "the weights of fc6.linear depend on the size; use --vary batch"),
        ("vgg61 --memory 24GB", "no network is called 'vgg61'; did you mean"),
    ],
)
def test_wrong_requests(arguments, message):
    code, printed = fit(*arguments.split())
    assert code == 2
    assert message in printed


def test_a_change_that_does_not_help_is_omitted():
    asked, better, worse = Fit(8, 16, 20), Fit(8, 15, 21), Fit(7, 16, 20)
    assert [fit.helps(asked) for fit in (asked, better, worse)] == [False, True, False]
    assert [Fit(0, 0, 0, lacking).helps(Fit(0, 0, 0, 200)) for lacking in (100, 200)] == [True, False]
    rows = data("lenet5", "--memory", "24GB")[1]["rows"]
    assert all(max(row[key] - rows[0][key] for key in ("guaranteed", "likely", "bound")) > 0 for row in rows[1:])
