"""Links between pages: both ways, relative, and only where both pages exist."""

from __future__ import annotations

from pathlib import Path

from radgaze.reporting.links import BEGIN, END, Link, link_back, navigation, relative
from tests.reporting.pages import Page


def write(page: Path, *links: Link, words: str = "this") -> Path:
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"<header>{navigation(page, links)}</header>", encoding="utf-8")
    link_back(page, words, links)
    return page


def hrefs(page: Path) -> list[str]:
    return [a["href"] or "" for tag, a in Page(page.read_text(encoding="utf-8")).tags if tag == "a"]


def test_pages_link_to_each_other_and_say_nothing_of_one_that_is_missing(tmp_path: Path) -> None:
    report = write(tmp_path / "runs" / "a" / "report.html")
    gone = Link("gone", tmp_path / "runs" / "b" / "report.html")
    other = write(tmp_path / "comparison" / "index.html", Link("a", report), gone, words="both")
    assert hrefs(other) == ["../runs/a/report.html"]
    assert hrefs(report) == ["../../comparison/index.html"]
    for page in (report, other):
        for href in hrefs(page):
            assert (page.parent / href).is_file()
    assert "gone" not in other.read_text(encoding="utf-8")


def test_a_page_that_is_written_again_keeps_the_links_to_pages_that_still_exist(tmp_path: Path) -> None:
    report = write(tmp_path / "a" / "report.html")
    other = write(tmp_path / "comparison" / "index.html", Link("a", report))
    before = report.read_text(encoding="utf-8")
    write(report)
    assert report.read_text(encoding="utf-8") == before
    other.unlink()
    write(report)
    assert hrefs(report) == []


def test_a_link_names_no_folder_far_away_and_no_scheme(tmp_path: Path) -> None:
    page = tmp_path / "a" / "b" / "c" / "report.html"
    assert relative(tmp_path / "private archive" / "index.html", page) is None
    assert relative(tmp_path / "a" / "out" / "index.html", page) == "../../out/index.html"
    hostile = f'{BEGIN}<a href="javascript:alert(1)">x</a> <a href="/etc/x.html">y</a>{END}'
    page.parent.mkdir(parents=True)
    page.write_text(hostile, encoding="utf-8")
    assert navigation(page, []) == BEGIN + END


def test_names_are_escaped_and_foreign_files_stay_as_they_are(tmp_path: Path) -> None:
    evil = 'x"><script>'
    folder = tmp_path / "a b&c"
    report = write(folder / "report.html")
    foreign = tmp_path / "foreign.html"
    foreign.write_text("<p>not ours</p>", encoding="utf-8")
    page = write(tmp_path / "out" / "index.html", Link(evil, report), Link("foreign", foreign), words=evil)
    for written in (page, report):
        assert "<script" not in written.read_text(encoding="utf-8")
    assert hrefs(page) == ["../a%20b%26c/report.html", "../foreign.html"]
    assert foreign.read_text(encoding="utf-8") == "<p>not ours</p>"
