"""The PDF for a regulator: printed from the page for examination, hostile text inert."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.store import Store
from pipelines.command.main import run
from pipelines.export import pdf
from pipelines.export.dossier import gathered, opened
from pipelines.export.pdf import PdfError
from pipelines.export.writing import write
from tests.pipelines.ledgers import changes
from tests.pipelines.test_export import fill

printed = pytest.mark.skipif(
    pdf.browser() is None or shutil.which("pdftotext") is None,
    reason="needs chromium and pdftotext on the path",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with Store.open(tmp_path / "foreshock.db") as store:
        fill(store)
        return store


def text(file: Path) -> str:
    done = subprocess.run(["pdftotext", "-layout", file, "-"], capture_output=True, check=True)
    return " ".join(done.stdout.decode().split())


@printed
def test_a_range_is_printed_with_its_place_in_the_ledger_on_each_page(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "quarter.pdf"
    with gathered(store, opened(None, None)) as dossier:
        write(dossier, "pdf", file)
        end = dossier.end
    said = text(file)
    assert "2 alerts for examination" in said
    pages = said.count(f"Ledger up to row {end.sequence}, {end.hash[:16]}")
    assert pages > 2
    assert f"{pages} of {pages}" in said
    for change in changes():
        assert change.alert_id in said
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".tmp", ".pdf")] == [
        "quarter.pdf"
    ]


@printed
def test_hostile_text_does_nothing_in_it(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "one.pdf"
    with gathered(store, opened(None, None)) as dossier:
        write(dossier, "pdf", file)
    said = text(file)
    assert "<script>alert(1)</script> ⟦U+202E⟧" in said
    assert "onerror=alert(2)" in said
    content = file.read_bytes()
    for active in (b"/JavaScript", b"/JS", b"/Launch", b"/URI", b"/EmbeddedFile", b"/AcroForm"):
        assert active not in content


@printed
def test_the_command_prints_one_alert(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("alerts", "export", changes()[0].alert_id, "--format", "pdf", "--out", "one.pdf")
    monkeypatch.setattr(sys, "argv", ["foreshock", *words])
    with pytest.raises(SystemExit) as ended:
        run()
    assert not ended.value.code
    assert "1 alert for examination" in text(tmp_path / "one.pdf")


def test_where_nothing_can_print_it_says_what_to_do_and_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_BROWSER", "no-such-browser")
    with (
        gathered(store, opened(None, None)) as dossier,
        pytest.raises(PdfError, match="take --format html, open it in a browser and print it"),
    ):
        write(dossier, "pdf", tmp_path / "none.pdf")
    assert not (tmp_path / "none.pdf").exists()


def test_a_browser_that_fails_is_named_and_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "browser"
    broken.write_text("#!/bin/sh\necho out of memory >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("FORESHOCK_BROWSER", str(broken))
    with (
        gathered(store, opened(None, None)) as dossier,
        pytest.raises(PdfError, match="did not print: out of memory"),
    ):
        write(dossier, "pdf", tmp_path / "none.pdf")
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"browser", "foreshock"}
