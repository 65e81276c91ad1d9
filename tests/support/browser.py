"""A real browser without a window: Debian's Chromium, driven by WebDriver."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / ".venv" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
WAIT_SECONDS = 15
DESKTOP, PHONE = (1280, 900), (360, 740)
# Of axe's findings, what keeps somebody from using a page.
SERIOUS = ("serious", "critical")
# A page that is being replaced.
_GONE = (StaleElementReferenceException, NoSuchElementException)
# The same, as chromedriver says it at times: SeleniumHQ/selenium issue 15401.
_GONE_TOO = "Node with given id does not belong to the document"


def missing(*, axe: bool = True) -> str | None:
    """What there is not of a browser, and of axe-core; None when all is there."""
    programs = ("chromium", "chromedriver")
    absent = [one for one in programs if shutil.which(one) is None]
    if axe and not AXE.exists():
        absent.append("axe-core")
    return ", ".join(absent) or None


class Browser:
    """One browser window; its profile is new."""

    def __init__(self, *, script: bool = True) -> None:
        """`script`: whether pages may run theirs."""
        options = webdriver.ChromeOptions()
        arguments = [
            *("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--hide-scrollbars", "--disable-extensions", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update"),
        ]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        for argument in arguments:
            options.add_argument(argument)
        options.page_load_strategy = (
            "eager"  # scripts have run, pictures may be missing
        )
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not script:
            preferences = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", preferences)
        options.binary_location = shutil.which("chromium") or "chromium"
        service = Service(shutil.which("chromedriver") or "chromedriver")
        self.driver = webdriver.Chrome(options=options, service=service)
        self.size(DESKTOP)

    def close(self) -> None:
        self.driver.quit()

    def size(self, size: tuple[int, int]) -> None:
        """Width and height of what is shown, in CSS pixels."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def scheme(self, name: str) -> None:
        """`light` or `dark`, as the system would say."""
        features = [
            {"name": "prefers-color-scheme", "value": name},
            # What fades in has other colours for a moment.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": features}
        )

    def place(self, locale: str, timezone: str) -> None:
        """Where its user sits: `en-GB`, `Europe/Zurich`."""
        self.driver.execute_cdp_cmd("Emulation.setLocaleOverride", {"locale": locale})
        self.driver.execute_cdp_cmd(
            "Emulation.setTimezoneOverride", {"timezoneId": timezone}
        )

    def open(self, url: str) -> None:
        self.driver.get(url)

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return self.one("body").text

    @property
    def path(self) -> str:
        found: str = self.driver.execute_script("return location.pathname")
        return found

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def link(self, text: str) -> WebElement:
        return self.driver.find_element(By.LINK_TEXT, text)

    def button(self, text: str) -> WebElement:
        """The first button that says exactly this and can be seen."""
        for found in self.all("button"):
            if found.text == text and found.is_displayed():
                return found
        raise AssertionError(f"no button {text!r} in:\n{self.text}")

    def press(self, text: str) -> None:
        """A button, also when the page is refreshed just then: it was not clicked if
        it was gone.
        """

        def pressed(_: Any) -> bool:
            self.button(text).click()
            return True

        WebDriverWait(self.driver, WAIT_SECONDS, 0.1, ignored_exceptions=_GONE).until(
            pressed, f"no button {text!r} on {self.driver.current_url}"
        )

    def tick(self, name: str, value: str) -> None:
        """A box, also when the page is refreshed just then."""

        def ticked(_: Any) -> bool:
            box = self.one(f"[name={name}][value='{value}']")
            if not box.is_selected():
                box.click()
            return box.is_selected()

        WebDriverWait(
            self.driver, WAIT_SECONDS, 0.1, ignored_exceptions=[WebDriverException]
        ).until(ticked, f"no box {value} to be ticked")

    def fill(self, name: str, text: str) -> None:
        """A field, as soon as there is one: its page may be on its way."""
        field = WebDriverWait(self.driver, WAIT_SECONDS, 0.1).until(
            lambda _: self.one(f"[name={name}]"),
            f"no field {name!r} on {self.driver.current_url}",
        )
        field.clear()
        field.click()
        # At once, as a paste is: each key that is pressed takes a while.
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def keys(self, *keys: str) -> None:
        """Typed into the page, not into a field."""
        self.one("body").send_keys(*keys)

    def wait_for(self, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Until the page says so."""

        def says(_: Any) -> bool:
            try:
                return text in self.text
            except WebDriverException as exc:
                if _GONE_TOO in str(exc):
                    return False
                raise

        WebDriverWait(self.driver, seconds, 0.1, ignored_exceptions=_GONE).until(
            says, f"no {text!r} on {self.driver.current_url}"
        )

    def look_again(self) -> None:
        """As when its user comes back to the window: what is live is fetched."""
        self.driver.execute_script("dispatchEvent(new Event('focus'))")

    def complaints(self) -> list[str]:
        """What the console has said since the last question: errors, violations."""
        said: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in said if entry["level"] == "SEVERE"]

    def findings(self, *rules: str) -> list[str]:
        """What axe-core finds serious about the page, by all rules or by these."""
        if not self.driver.execute_script("return 'axe' in window"):
            self.driver.execute_script(AXE.read_text())
        only = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
        found = self.driver.execute_async_script(
            "const [only, done] = arguments;"
            " axe.run(document, only).then((found) => done(found.violations))",
            only,
        )
        return [
            f"{one['id']}: {one['help']} ({one['nodes'][0]['html']})"
            for one in found
            if one["impact"] in SERIOUS
        ]

    def too_wide(self) -> int:
        """By how many pixels the page is wider than its window."""
        wider: int = self.driver.execute_script(
            "return document.documentElement.scrollWidth - innerWidth"
        )
        return max(0, wider)


@contextmanager
def browsing(*, script: bool = True) -> Iterator[Browser]:
    browser = Browser(script=script)
    try:
        yield browser
    finally:
        browser.close()
