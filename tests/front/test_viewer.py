"""The page of a front in a headless Chromium."""

import base64
import gzip
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gajax
from experiments.front import export as front_export
from experiments.front import report as front_report
from experiments.front import view
from experiments.front.recorder import MOST_KEPT
from experiments.running import model_files
from experiments.running.cli import InputError

BYTES = 6e6


@pytest.fixture(scope="module")
def front_page(front_run, tmp_path_factory):
    """The page of the shared run, in a copy."""
    run = shutil.copytree(front_run, tmp_path_factory.mktemp("view") / "run")
    view.main(["--run", str(run)])
    return run / "front.html"


@pytest.fixture(scope="module")
def front(front_run):
    return front_report.load_front(front_run / "front.csv")


def shown(page):
    names, values = (page.locator(f"#numbers {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def is_shown(page, front, index):
    name = f"Network {index + 1} of {len(front.density)}"
    page.wait_for_function(f"document.getElementById('name').textContent === '{name}'")
    numbers = shown(page)
    assert float(numbers["density"]) == pytest.approx(front.density[index], rel=1e-3)
    loss = float(numbers["MSE on test images"])
    assert loss == pytest.approx(front.test_loss[index], rel=1e-3)
    command = page.locator("#command").inner_text()
    assert f"--density {front.density[index]} " in command


def test_clicks_and_keys_select_networks(front_page, front, opened):
    page = opened(front_page, viewport={"width": 1300, "height": 1000})
    assert front_page.stat().st_size < BYTES
    last = len(front.density) - 1
    dots = page.locator("#chart .trace:not(:has(title)) .points path")
    for index in (0, last):
        # The points of the front come before the ring and the population.
        dots.nth(index).hover(force=True)
        hovered = f"document.getElementById('chart')._hoverdata?.[0].pointNumber === {index}"
        page.wait_for_function(hovered)  # plotly looks where the mouse is only every so often
        dots.nth(index).click(force=True)
        is_shown(page, front, index)
    page.locator("#chart").focus()
    page.keyboard.press("ArrowLeft")
    is_shown(page, front, last - 1)
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    is_shown(page, front, last)
    page.keyboard.press("Home")
    is_shown(page, front, 0)
    page.locator("#next").click()
    is_shown(page, front, 1)
    page.locator("#previous").click()
    is_shown(page, front, 0)


def test_the_command_of_a_network_exports_it(front_page, front, opened, tmp_path):
    page = opened(front_page)
    page.locator("#chart").press("Home")
    page.locator("#chart").press("ArrowRight")
    words = page.locator("#command").inner_text().split()[4:-1]
    target = tmp_path / "network.safetensors"
    front_export.main([*words, str(target), "--format", "sparse"])
    assert shown(page)["bytes, sparse"] == f"{target.stat().st_size:,}"
    front_export.main([*words, str(target)])
    assert shown(page)["bytes, dense"] == f"{target.stat().st_size:,}"
    stored = model_files.load_network(front_page.parent / "population.safetensors", 1)
    kept = front_export.choose(front, density=float(words[words.index("--density") + 1]))
    assert kept == 1 and len(stored)


def test_the_slider_shows_a_population(front_page, opened):
    page = opened(front_page)
    kept = json.loads((front_page.parent / "populations.json").read_text())["populations"]
    page.locator("#generation").fill("1")
    assert page.locator("#shown").inner_text() == str(kept[1]["generation"])
    drawn = page.evaluate("document.getElementById('chart').data.at(-1)")
    assert drawn["x"] == kept[1]["density"] and drawn["y"] == kept[1]["loss"]
    page.locator("#generation").fill(str(len(kept)))
    assert page.locator("#shown").inner_text() == "final front"
    assert page.evaluate("document.getElementById('chart').data.at(-1).name") == "selected"


@pytest.mark.parametrize(("width", "scheme"), [(1300, "light"), (390, "dark")])
def test_pages_are_accessible_and_fit_their_width(front_page, opened, accessibility, width, scheme):
    size = {"width": width, "height": 900}
    page = opened(front_page, viewport=size, color_scheme=scheme)
    assert accessibility(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_populations_of_a_run_are_few_and_end_with_the_last(front_run):
    kept = json.loads((front_run / "populations.json").read_text())["populations"]
    generations = [one["generation"] for one in kept]
    assert generations[0] == 0 and generations == sorted(generations)
    assert sum(len(one["density"]) for one in kept) <= MOST_KEPT + 20
    rows = (front_run / "metrics.csv").read_text().splitlines()
    assert generations[-1] == int(float(rows[-1].split(",")[0]))


def test_damaged_runs_are_refused(front_run, tmp_path):
    run = shutil.copytree(front_run, tmp_path / "run")
    (run / "populations.json").write_text('{"populations": [{"generation": 1}]}')
    with pytest.raises(InputError, match="damaged populations.json"):
        view.main(["--run", str(run)])
    with pytest.raises(InputError, match="--run must be the directory of a finished run"):
        view.main(["--run", str(tmp_path)])


def small_front():
    state = gajax.FrontState(**dict.fromkeys(gajax.FrontState._fields))
    kernel = jnp.arange(24.0).reshape(3, 4, 2)
    return gajax.front(
        state._replace(params={"kernel": kernel}, loss=jnp.array([3.0, 2.0, 1.0]), metrics={}),
        {"density": jnp.array([0.1, 0.5, 1.0])},
    )


def test_a_front_of_the_library_is_a_page(tmp_path, opened):
    made = small_front().show()
    assert "srcdoc" in made._repr_html_()
    (tmp_path / "front.html").write_text(made.text)
    page = opened(tmp_path / "front.html")
    page.locator("#chart").press("End")
    assert shown(page) == {"density": "1", "loss": "1", "nonzero weights": "8"}
    assert page.locator("h3", has_text="Weights of kernel").is_visible()
    assert not page.locator("#evolution").is_visible()


@pytest.mark.parametrize(
    ("individuals", "shown_name"),
    [
        ({"out": {"kernel": np.ones((3, 2, 2))}, "in": {"bias": np.ones((3, 9))}}, "out/kernel"),
        ({"narrow": np.ones((3, 2, 2)), "large": np.ones((3, 5, 4))}, "large"),
        ((np.ones((3, 2)), [np.ones((3, 4, 2)), np.ones((3, 2, 3, 3, 1))]), "1/0"),
        (np.ones((3, 4, 2)), ""),
        ({"filters": {"kernel": np.ones((3, 3, 3, 1, 2))}}, None),
    ],
)
def test_any_tree_is_shown(individuals, shown_name):
    objectives = {"density": np.array([0.1, 0.5, 1.0]), "loss": np.array([3.0, 2.0, 1.0])}
    page = gajax.Front(individuals, objectives, metrics={}).show()
    packed = re.search('id="data">([^<]*)<', page.text)[1]
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    genes = sum(leaf.size // 3 for leaf in jax.tree.leaves(individuals))
    assert data["columns"]["nonzero weights"] == [genes] * 3
    names = [one["name"] for one in data.get("weights", [])]
    assert names == ([] if shown_name is None else [shown_name] * 3)


@pytest.mark.parametrize("is_light", [True, False])
def test_two_fronts_in_a_notebook_follow_its_theme(tmp_path, browser, is_light):
    shown = small_front().show()
    cells = 2 * shown._repr_html_()
    (tmp_path / "notebook.html").write_text(
        f'<body data-jp-theme-light="{json.dumps(is_light)}">{cells}</body>'
    )
    page = browser.new_page(color_scheme="null")
    page.goto((tmp_path / "notebook.html").as_uri())
    for index, frame in enumerate(page.frames[1:]):
        frame.wait_for_selector("body[data-drawn]")
        assert frame.evaluate("dark.matches") is not is_light
        for _ in range(2):
            frame.locator("#previous").click()
        for _ in range(index):
            frame.locator("#next").click()
    names = [frame.locator("#name").inner_text() for frame in page.frames[1:]]
    assert names == ["Network 1 of 3", "Network 2 of 3"]
    page.close()
    assert repr(shown).startswith("<page of ")


def test_without_plotly_the_error_says_what_to_install(hide_package):
    hide_package("plotly")
    with pytest.raises(ImportError, match="pip install plotly"):
        small_front().show()


def test_numbers_that_json_lacks_are_null():
    page = gajax.viewing.front_page("x", {"density": np.ones(1), "loss": np.array([np.nan])})
    assert re.search("{{", page.text) is None
