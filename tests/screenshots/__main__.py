"""Makes the pictures of docs/pages.md: `make screenshots`.

The pages are those of the real service, on the embedded queue; only the hour before it
was started is made up (past.py).
"""

from gevent import monkey

monkey.patch_all()

import sys
import tempfile
from pathlib import Path

from tests.screenshots import day
from tests.support.browser import PHONE, Browser, browsing, missing
from tests.support.process import MspcProcess
from tests.support.target import Target

PAST = Path(__file__).with_name("past.py")
DOCS = Path(__file__).resolve().parents[2] / "docs"


def main(folder: Path) -> int:
    absent = missing(axe=False)
    if absent:
        print(f"Not installed: {absent}.", file=sys.stderr)
        return 1
    target = Target()
    target.port = day.PORT
    target.start()
    with tempfile.TemporaryDirectory() as work:
        mspc = MspcProcess(
            Path(work) / "mspc", day.SETTINGS, prefix=(sys.executable, str(PAST))
        )
        mspc.start()
        try:
            mspc.wait_ready()
            day.play(mspc, target)
            with browsing() as browser:
                take(browser, mspc, folder)
        finally:
            mspc.kill()
            target.stop()
    return 0


def take(browser: Browser, mspc: MspcProcess, folder: Path) -> None:
    root = f"http://127.0.0.1:{mspc.admin_port}/"
    browser.place("en-GB", "Europe/London")
    browser.open(f"{root}login")
    browser.fill("key", day.KEY)
    browser.button("Log in").click()
    browser.wait_for("Overview")
    for name, path, scheme, size in PICTURES:
        browser.scheme(scheme)
        browser.size(size)
        browser.open(root + path)
        if name == "call":
            browser.one("tbody a").click()
            browser.wait_for("Attempts")
        height = browser.driver.execute_script("return document.body.scrollHeight")
        browser.size((size[0], max(200, min(height, size[1]))))
        (folder / f"pages-{name}.png").write_bytes(
            browser.driver.get_screenshot_as_png()
        )


DESK = (1180, 900)
PICTURES = (
    ("overview-light", "", "light", DESK),
    ("overview-dark", "", "dark", DESK),
    ("calls", "calls", "light", (DESK[0], 620)),
    ("call", "calls?error=bad_status&state=waiting", "light", DESK),
    ("dead", "dead", "light", DESK),
    ("destinations", "destinations", "dark", DESK),
    ("phone-overview", "", "light", PHONE),
    ("phone-calls", "calls", "dark", PHONE),
)

if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS))
