"""A headless Chromium for the pages to click on and for the book."""

import shutil

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    """The one of this process: a second playwright would find the event loop of the first."""
    programs = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    found = next(filter(None, programs), None)
    if not found:
        pytest.skip("no chromium, such as apt-get install chromium gives")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser):
    """`opened(path)` gives the loaded page, on which nothing may fail or be requested."""
    pages, troubles = [], []

    def load(path, **options):
        page = browser.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-drawn]")
        assert troubles.pop(0) == path.as_uri()
        return page

    yield load
    for page in pages:
        page.close()
    assert troubles == []


@pytest.fixture(scope="session")
def accessibility():
    """`accessibility(page)` lists serious and critical violations with the elements."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def violations(page):
        return [
            (violation["id"], [node["html"] for node in violation["nodes"]])
            for violation in axe.run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
        ]

    return violations
