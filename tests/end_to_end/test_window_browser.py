"""The pages in a real Chromium: as a visitor walks them, narrow and wide, light and dark."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

from db_connection import DatabaseSettings
from integration.journal.lock import hold_lock
from sandbox.database import create_database
from tests.support.browser import open_browser
from tests.support.window import ODD_NAMES, Window, fill, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

TOKEN = "a-token-of-the-tests"
PATHS = [
    "/",
    "/page/runs",
    "/page/runs/delivery-2",
    "/page/runs/ingest-1",
    "/page/people/html@example.com",
    "/find?email=user1",
    "/find?email=zzz",
    "/docs",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with open_browser() as running:
        yield running


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """A window with odd names, rejected records and a delivery that stopped."""
    folder = tmp_path_factory.mktemp("window")
    create_database(folder / "shop.db")
    database = DatabaseSettings("sqlite", (), 0, "", "", str(folder / "shop.db"))
    fill(folder, database)
    with serving(folder, database) as running:
        yield running


@contextmanager
def visit(browser: Browser, window: Window, **options: Any) -> Iterator[Page]:
    """A page that may neither complain, nor ask another host, nor meet an error."""
    context = browser.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    yield page
    context.close()
    assert complaints == []
    assert [url for url in requested if not url.startswith(f"{window.url}/")] == []


def test_a_visitor_walks_from_the_verdict_to_a_person(browser: Browser, window: Window) -> None:
    """What to do, a run, its failures, a user; and a search, with the keyboard only."""
    with visit(browser, window) as page:
        page.goto(window.url)
        heading = page.get_by_role("heading", level=1)
        assert "20 users pending" in heading.inner_text()
        assert page.locator(".verdict code").first.inner_text() == "python main.py --resume"
        assert page.locator("svg.bars").count() == 3

        page.get_by_role("link", name="Delivery 2").click()
        assert heading.inner_text() == "Delivery 2: completed"
        assert "users/update: timeout" in page.locator("main").inner_text()
        page.get_by_role("link", name="partial").click()
        assert page.get_by_role("heading", name="Users: partial").is_visible()
        page.get_by_role("link", name="user8@example.com").click()
        assert heading.inner_text() == "user8@example.com"
        assert page.locator(".story h2").all_inner_texts()[-2:] == ["In the list", "Deliveries"]

        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.get_by_label("Person").fill("rtl@example.com")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/page/people/rtl@example.com$"))
        assert ODD_NAMES["rtl@example.com"] in page.locator(".story").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_axe_finds_nothing_and_nothing_is_cut_off(
    browser: Browser, window: Window, scheme: str, width: int
) -> None:
    """On every page; what is wider than the screen scrolls in itself."""
    size = {"width": width, "height": 800}
    with visit(browser, window, viewport=size, color_scheme=scheme) as page:
        for path in PATHS:
            page.goto(f"{window.url}{path}")
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide == width, path
            # The rules of the policy do not hold for the test's own script.
            found = Axe().run(page)
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"


def test_the_page_is_complete_without_javascript(browser: Browser, window: Window) -> None:
    """The script only refreshes."""
    with visit(browser, window, java_script_enabled=False) as page:
        page.goto(window.url)
        assert page.get_by_role("link", name="Ingest 1: crm").is_visible()
        page.get_by_label("Person").fill("user8@example.com")
        page.get_by_role("button", name="Find").click()
        assert page.url.endswith("/page/people/user8@example.com")


def test_a_name_with_a_script_runs_nothing(browser: Browser, window: Window) -> None:
    """It is text on every page that shows it."""
    with visit(browser, window) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        for path in ("/page/people/html@example.com", "/page/runs/delivery-2"):
            page.goto(f"{window.url}{path}")
            assert ODD_NAMES["html@example.com"] in page.locator("main").inner_text()


def test_progress_refreshes_by_itself(browser: Browser, window: Window) -> None:
    """Without loading the page again, and until the run has ended."""
    journal = window.folder / "iterable_journal.db"

    def change(sql: str) -> None:
        with closing(sqlite3.connect(journal)) as connection, connection:
            connection.execute(sql)

    change("UPDATE runs SET status = 'running', finished_at = NULL, successful = NULL WHERE run=3")
    with hold_lock(journal), visit(browser, window) as page:
        page.wait_for_timeout(1100)
        page.goto(window.url)
        bar = page.locator("progress")
        assert bar.get_attribute("value") == "10"
        page.evaluate("document.title = 'not loaded again'")
        change("UPDATE outcomes SET users_update_status = 1, events_track_status = 1 WHERE run = 3")
        page.wait_for_selector("progress[value='30']", timeout=20_000)
        assert page.title() == "not loaded again"
        change("UPDATE runs SET status = 'completed' WHERE run = 3")
        page.wait_for_selector("progress", state="detached", timeout=20_000)


def test_a_browser_signs_in_with_the_token(browser: Browser, window: Window) -> None:
    """As password; styles and script need no second question."""
    with serving(window.folder, window.database, SERVICE_TOKEN=TOKEN) as guarded:
        login = {"username": "me", "password": TOKEN}
        with visit(browser, guarded, http_credentials=login) as page:
            page.goto(guarded.url)
            assert page.get_by_role("heading", name="Sources", exact=True).is_visible()
            assert page.evaluate("document.styleSheets.length") == 1
