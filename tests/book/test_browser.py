"""The built book in a browser: it loads by itself, and axe finds nothing serious.

`pip install -e ".[notebooks]" && sphinx-build -W notebooks build/book` builds it.
"""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pages
import pytest

BUILT = pages.ROOT / "build" / "book"
SHOWN = ("index.html", "guide/algorithms.html", "api/operators.html")
SCREENS = {"wide": (1280, 900), "narrow": (390, 844)}

pytestmark = pytest.mark.skipif(not BUILT.exists(), reason="the book is not built in build/book")


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


@pytest.fixture
def page(browser):
    with browser.new_page() as page:
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_pages_are_accessible_and_need_no_network(browser, accessibility, address, screen, scheme):
    width, height = SCREENS[screen]
    size = {"width": width, "height": height}
    requests, errors = [], []
    with browser.new_page(color_scheme=scheme, viewport=size) as page:
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name in SHOWN:
            page.goto(f"{address}/{name}", wait_until="load")
            assert accessibility(page) == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    assert errors == []
    assert requests and all(url.startswith((address, "data:")) for url in requests)


def test_axe_notices_a_picture_without_a_text(page, accessibility, address):
    page.goto(f"{address}/{SHOWN[0]}", wait_until="load")
    page.evaluate("document.querySelector('article img').removeAttribute('alt')")
    assert "image-alt" in [name for name, _ in accessibility(page)]


def test_the_search_finds_a_name(page, address):
    page.goto(f"{address}/search.html?q=gradient_guided_sbx", wait_until="load")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    assert "operators" in page.inner_html("#search-results")
