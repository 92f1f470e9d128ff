"""A browser for the tests of the report's pages."""

import shutil
from pathlib import Path

import pytest

from tests.pipeline.report.runs import EVIL, make_run, report_on


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """Return the page of a report on a whole run, `../run`; do not change it: drawing takes seconds."""
    folder = tmp_path_factory.mktemp("whole")
    return report_on(make_run(folder), folder / "report")


@pytest.fixture(scope="session")
def evil(tmp_path_factory) -> Path:
    """Return the page of a report on a run whose names are markup."""
    folder = tmp_path_factory.mktemp("evil")
    return report_on(make_run(folder, label=EVIL), folder / "report")


@pytest.fixture(scope="session")
def browser():
    """Yield headless Chromium; skip without playwright or a browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Open a page from disk; collect its console messages, errors, and requests to anything but files."""
    pages = []

    def open_page(file: Path, width: int = 1200, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else page.said.append(request.url),
        )
        page.goto(file.resolve().as_uri())
        page.wait_for_selector("#axis span")
        return page

    yield open_page
    for page in pages:
        page.close()
