"""The built book in a browser: it loads by itself, and axe finds nothing serious.

`pip install -e ".[notebooks]" && sphinx-build -W notebooks build/book` builds it.
"""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pages
import pytest

BUILT = pages.ROOT / "build" / "book"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOWN = ("index.html", "guide/algorithms.html", "api/operators.html")
SCREENS = {"wide": (1280, 900), "narrow": (390, 844)}

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no chromium, such as apt-get install chromium gives"),
    pytest.mark.skipif(not BUILT.exists(), reason="the book is not built in build/book"),
]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address():
    """Where the book is served; opened as files, its styles could not be read by axe."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=BUILT))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_pages_are_accessible_and_need_no_network(browser, address, screen, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    width, height = SCREENS[screen]
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in SHOWN:
        page.goto(f"{address}/{name}", wait_until="load")
        violations = axe.run(page).response["violations"]
        serious = [one["id"] for one in violations if one["impact"] in ("serious", "critical")]
        assert serious == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    context.close()
    assert errors == []
    assert requests and all(url.startswith((address, "data:")) for url in requests)


def test_axe_notices_a_picture_without_a_text(browser, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = browser.new_page()
    page.goto(f"{address}/{SHOWN[0]}", wait_until="load")
    page.evaluate("document.querySelector('article img').removeAttribute('alt')")
    assert "image-alt" in [one["id"] for one in axe.run(page).response["violations"]]


def test_the_search_finds_a_name(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/search.html?q=gradient_guided_sbx", wait_until="load")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    assert "operators" in page.inner_html("#search-results")
