"""The page of `archcalc explore` in a browser: what is drawn, clicked and pressed. Needs Chromium."""

import re
import shutil
import time
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from support.page_checks import LOW_CONTRAST, OVERLAPS
from test_explore import HOSTILE, SPEC, data, hostile_page, layers

from archcalc.cli import cli

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"), pytest.mark.slow]
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PAIR = "resnet50 torchvision/resnet50"
OWN = SPEC.replace("{title}", "My own")
SHOWN = "[...document.querySelectorAll('{}')].map(own => own.textContent)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A function that writes the page of some networks once, and returns its file."""
    folder, made = tmp_path_factory.mktemp("pages"), {}
    (folder / "own.yaml").write_text(OWN)

    def page(names):
        if names not in made:
            made[names] = folder / f"{len(made)}.html"
            if names == HOSTILE:
                made[names].write_text(hostile_page())
                return made[names]
            given = [str(folder / name) if name.endswith(".yaml") else name for name in names.split()]
            done = CliRunner().invoke(cli, ["explore", *given, "-o", str(made[names])], catch_exceptions=False)
            assert done.exit_code == 0, done.output
        return made[names]

    return page


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as own:
        yield own.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def opened(browser, pages):
    """A context that opens a page, and at its end checks that nothing failed and nothing left the file."""

    @contextmanager
    def show(names, size=WIDE, **options):
        faults, file = [], pages(names)
        page = browser.new_page(viewport=size, **options)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: request.url == file.as_uri() or faults.append(request.url))
        page.goto(file.as_uri())
        yield page
        page.close()
        assert faults == []

    return show


def boxes(page):
    return page.locator("[role=treeitem]").count()


def rows(page):
    return page.evaluate(SHOWN.format("tbody tr > th"))


def column(page, title):
    """The texts of a column of the table."""
    titles = page.evaluate(SHOWN.format("thead button"))
    i = min(range(len(titles)), key=lambda i: (not titles[i].startswith(title), len(titles[i]))) + 1
    return page.evaluate(SHOWN.format(f"tbody tr > :nth-child({i})"))


NETWORKS = ["vgg16", "googlenet", "resnet152", "unet", "vit-b-16", "own.yaml", PAIR, "char-rnn", "densenet264"]


CASES = [(names, WIDE) for names in NETWORKS] + [(names, NARROW) for names in ("googlenet", "unet", PAIR)]


@pytest.mark.parametrize(("names", "size"), CASES, ids=[f"{names} {size['width']}" for names, size in CASES])
def test_blocks_open_and_close(opened, pages, names, size):
    networks = data(pages(names).read_text())["networks"]
    with opened(names, size) as page:
        closed, listed = boxes(page), rows(page)
        assert closed == sum(len(network["parts"]) for network in networks)
        page.click("#open")
        parts = [boxes(page), page.evaluate("state.sides.flatMap(net => net.all).length")]
        assert parts[0] == parts[1]
        assert page.evaluate(OVERLAPS) == []
        ends = page.evaluate("state.sides.map(net => net.paths.length)")
        inputs = [enumerate(own["inputs"] for own in layers(network["parts"])) for network in networks]
        arrows = [len({(i, k) for i, own in each for k in own}) for each in inputs]
        assert ends == arrows[: len(ends)]
        page.click("#close")
        assert (boxes(page), rows(page)) == (closed, listed)
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]


def test_a_click_opens_a_block_in_graph_and_table(opened):
    with opened("googlenet") as page:
        page.click("[role=treeitem]:has-text('3a')")
        assert page.evaluate("document.activeElement.textContent").startswith("▾ 3a")
        assert [row.strip("▸▾") for row in rows(page)][7:13] == ["3a", "1x1", "3x3", "5x5", "pool", "concat"]
        assert "163,696" in page.inner_text("#details")
        assert "12,352 + 129,248 + 15,920 + 6,176" in page.inner_text("#details")
        page.click("tbody tr:has-text('1x1')")
        page.click("tbody tr[aria-level='3']:has-text('conv')")
        assert page.locator(".box.chosen").inner_text().startswith("conv")
        assert "(1·1·192)·64" in page.inner_text("#details")
        headings = page.evaluate(SHOWN.format("#details h3"))
        assert headings == ["Shape", "Costs", "Sees", "Writes and keeps"]
        page.click("tbody tr:has-text('3a')")
        assert "1x1" not in "".join(rows(page))


def test_branches_stand_side_by_side_and_below_what_they_read(opened):
    with opened("googlenet") as page:
        page.click("[role=treeitem]:has-text('3a')")
        tops = {
            name: page.locator(f"[aria-level='2']:has-text('{name}')").first.bounding_box()["y"]
            for name in ("1x1", "3x3", "5x5", "pool", "concat")
        }
        assert len({tops[name] for name in ("1x1", "3x3", "5x5", "pool")}) == 1
        assert tops["concat"] > tops["pool"]
    with opened("unet") as page:  # its long skips run along lanes of their own
        lanes = page.evaluate("state.view.all.flatMap(part => [...part.lanes?.values() ?? []])")
        assert sorted(lanes) == [0, 1, 2, 3]


def test_sorting_lists_layers_by_a_figure_and_ends_at_the_third_click(opened):
    with opened("vgg16") as page:
        before = rows(page)
        page.click("thead button:has-text('MACs')")
        counts = [int(text.replace(",", "")) for text in column(page, "MACs")]
        assert counts == sorted(counts, reverse=True)
        assert page.inner_text("th[aria-sort=descending]").startswith("MACs")
        assert rows(page)[0] == "stage1.conv2"
        page.click("thead button:has-text('MACs')")
        assert [int(text.replace(",", "")) for text in column(page, "MACs")] == counts[::-1]
        page.click("thead button:has-text('MACs')")
        assert rows(page) == before
        page.click("thead button:has-text('Part')")
        assert rows(page) == sorted(rows(page))


def test_searching_lists_the_layers_that_match(opened):
    with opened("resnet152") as page:
        page.fill("#search", "conv 3×3")
        assert len(rows(page)) == 50
        assert "50 found" in page.inner_text("thead")
        page.fill("#search", "no such layer")
        assert rows(page) == []
        page.fill("#search", "")
        assert rows(page)[1] == "▸stem"


def test_units_columns_and_bars(opened):
    with opened("vgg16") as page:
        assert column(page, "Params")[7] == "102,764,544"
        page.select_option("#units", "si")
        assert column(page, "Params")[7] == "103 M"
        assert "138 M" in page.inner_text("#about")
        assert column(page, "Output")[6] == "25088"  # a shape is no figure
        page.click("#columns summary")
        page.click("#columns label:has-text('FLOPs') >> nth=0")
        assert column(page, "FLOPs")[7].endswith("M")
        shares = "[...document.querySelectorAll('tbody .figure')].map(own => own.style.getPropertyValue('--share'))"
        drawn = [float(share) for share in page.evaluate(shares) if share]
        assert len(drawn) == sum(text != "0" for text in column(page, "MACs"))
        assert max(drawn) == 1
        page.select_option("#bars", "none")
        assert not any(page.evaluate(shares))


def test_many_rows_are_drawn_as_the_reader_scrolls(opened):
    with opened("densenet264") as page:
        page.click("#open")
        assert len(rows(page)) < 500
        for _ in range(8):
            page.evaluate("document.getElementById('rows').scrollTop = 1e9")
            page.wait_for_timeout(50)
        assert len(rows(page)) == page.evaluate("state.view.all.length")
        assert rows(page)[-1] == "linear"
        page.click("#close")
        page.click("#open")
        page.click("[role=treeitem] >> nth=-1")  # in the graph: its row is drawn, too
        assert page.inner_text("tr.chosen th") == "linear"
        page.click("#close")
        assert page.inner_text(".box.chosen").startswith("▸ head")  # the block that hides it
        page.focus("tbody tr >> nth=0")
        page.click("#open")
        for _ in range(310):
            page.keyboard.press("ArrowDown")
        assert page.evaluate("state.view.all.indexOf(state.chosen)") > 300  # the focus stays while rows come


def test_the_pointer_shows_formulas(opened):
    with opened("vgg16") as page:
        page.click("#open")
        page.hover("tbody tr:has-text('conv1') td:nth-child(4)")
        lines = page.evaluate(SHOWN.format("#tip p"))
        assert lines == ["stage1.conv1: conv(64, 3, padding=1)", "params: 1,728 + 64 = 1,792"]
        page.hover("[role=treeitem]:has-text('conv2')")
        assert "MACs: 64·224·224·(3·3·64) = 1,849,688,064" in page.inner_text("#tip")
        page.keyboard.press("Escape")
        assert page.is_hidden("#tip")
        page.hover("[role=treeitem]:has-text('conv1')")
        assert page.is_visible("#tip")
        page.hover("#memory h2")
        assert page.is_hidden("#tip")


@pytest.mark.parametrize("area", ["graph", "table"])
def test_keys_walk_the_tree(opened, area):
    with opened("vgg16") as page:
        page.focus("[role=treeitem][tabindex='0']" if area == "graph" else "tbody tr[tabindex='0']")

        def press(*keys):
            for key in keys:
                page.keyboard.press(key)
            return page.evaluate("partAt(document.activeElement)?.name")

        assert press("ArrowDown") == "stage1"
        assert press("ArrowRight", "ArrowRight") == "stage1.conv1"
        assert "(3·3·3)·64" in page.inner_text("#details")
        assert press("End") == "fc8"
        assert press("Home", "ArrowDown", "ArrowDown", "ArrowLeft") == "stage1"
        assert press("ArrowLeft", "ArrowDown") == "stage2"
        assert press("Enter", "ArrowDown") == "stage2.conv1"
        assert press("ArrowLeft", "*") == "stage2"
        assert page.evaluate("state.view.all.filter(part => part.parts).every(part => part.open)")
        assert page.locator("[tabindex='0'][data-id]").count() == 2  # one stop of the tab key each


def test_the_memory_curve_says_what_is_held(opened):
    with opened("vgg16") as page:
        assert "Peak 1,723.00 MB in backward at stage3.relu3" in page.inner_text("#memory")
        assert "1.72 GB held" in page.inner_text("#memory")
        page.focus("#memory input")
        page.keyboard.press("Home")
        assert page.get_attribute("#memory input", "aria-valuetext").startswith("forward: ")
        page.mouse.move(*[page.locator(".chart").bounding_box()[key] + 60 for key in "xy"])
        assert page.input_value("#memory input") != "0"


def test_two_networks_side_by_side(opened):
    with opened(PAIR) as page:
        assert page.evaluate(SHOWN.format("nav button")) == ["resnet50 ↔ torchvision/resnet50", *PAIR.split()]
        assert rows(page)[:4] == ["input", "▸stem", "▸stage1", "▸≠ stage2"]
        shares = "[...document.querySelectorAll('{}')].map(own => Number(own.style.getPropertyValue('--share')))"
        macs = [[int(text.replace(",", "")) for text in column(page, f"MACs{side}")] for side in ("A", "B")]
        for part in ("td", ".box"):  # both networks are drawn on one scale
            drawn = page.evaluate(shares.format(part))
            assert max(drawn) == 1
            assert drawn.count(1) == 1 == sum(counts.count(max(map(max, macs))) for counts in macs)
        page.click("tbody tr:has-text('stage2')")
        assert page.locator(".box.chosen").count() == 2  # in both graphs
        page.click("tbody tr[aria-level='2']:has-text('≠ 0')")
        page.click("tbody tr[aria-level='3']:has-text('≠ body')")
        assert "stride 2 → 1" in page.inner_text("tbody tr:has-text('≠ conv1') td")
        page.click("tbody tr:has-text('≠ conv1')")
        assert page.locator("#details > div").count() == 2
        assert column(page, "MACsB − A")[0] == "0"
        assert page.locator("#memory .chart").count() == 2
        page.click("nav button >> nth=2")
        assert "torchvision/resnet50" in page.inner_text("h1")
        assert page.locator(".graph").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(opened, scheme):
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened("vgg16", color_scheme=scheme) as page:
        first = page.evaluate(ground)
        page.select_option("#theme", {"light": "dark", "dark": "light"}[scheme])
        second = page.evaluate(ground)
        assert sorted([first, second]) == ["rgb(20, 23, 26)", "rgb(250, 250, 249)"]
        assert (first == "rgb(20, 23, 26)") == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("names", ["googlenet", PAIR])
def test_texts_have_enough_contrast(opened, names, scheme):
    with opened(names, color_scheme=scheme) as page:
        page.click("tbody tr:has-text('▸') >> nth=2")
        assert page.evaluate(LOW_CONTRAST) == []
        page.evaluate("document.documentElement.style.setProperty('--soft', 'gray')")
        assert page.evaluate(LOW_CONTRAST)  # the test would notice


def test_hostile_names_are_texts(opened):
    with opened(HOSTILE) as page:
        page.click("#open")
        page.click(".box:has-text('img') >> nth=0")
        assert page.locator("img").count() == 0
        assert page.inner_text("#about").count(HOSTILE) == 2
        for panel in ("#details", "#memory", "#rows", "#graphs"):
            assert HOSTILE in page.inner_text(panel)
        assert page.title() == f"{HOSTILE} – archcalc"


def test_densenet264_opens_without_a_hitch(opened):
    """No time is asserted; what it took is in the test's output."""
    with opened("densenet264") as page:
        start = time.perf_counter()
        page.click("#open")
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        print(f"all blocks open after {time.perf_counter() - start:.2f} s")
        assert boxes(page) > 1062
        assert re.search(r"▾ block4", page.inner_text(".graph"))
