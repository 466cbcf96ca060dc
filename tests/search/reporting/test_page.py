"""The HTML report: whole, without a network, and harmless."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import synthetic_search as synthetic

from keras_share import SharingPattern
from keras_share.search import SearchResults
from keras_share.search.reporting import page

_VOID = {"meta", "img"}
EVIL = "<script>alert('&')</script>$x^$"


class Outline(HTMLParser):
    """The tags, attributes and texts of a page; checks that what opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_page():
    results = synthetic.with_failures(
        synthetic.search(trials=60), "FAILED", "FAILED", "REJECTED", "PRUNED"
    )
    text = page.render_page(results)
    outline = Outline(text)
    assert outline.tags.count("h2") == 6
    # Front, scores, pairs, importance.
    assert outline.tags.count("img") == 4
    assert "60 done, 2 failed, 1 rejected, 1 stopped early" in outline.texts
    assert "... and 14 more" in outline.texts
    front = results.pareto_front()
    strips = 50 + len(front) + 4
    assert outline.attributes.count(("class", "strip")) == strips
    assert text.count('<tr class="knee">') == 1
    # In the front as among all trials: what tells two of one pattern apart.
    assert outline.texts.count("units") == 2
    (failures,) = re.findall("<summary>(2 failed.*?)</summary>", text)
    assert "ValueError: no such &lt;b&gt;weights" in failures
    assert "Trials 060, 061" in outline.texts
    assert "--winner model.tflite" in text


@pytest.fixture(scope="module")
def hostile():
    """A page in which all that a user names is made to break it."""
    objectives = {EVIL: "max"}
    records = [
        replace(
            record,
            trial_id=f"{EVIL}{i}",
            patterns={EVIL: SharingPattern([EVIL, EVIL + "ab"[i % 2]])},
            worker=EVIL,
            hyperparameters={EVIL + "u": i, "choice": EVIL + str(i % 2)},
            measures={EVIL + "_bytes": i, "exported_bytes": i * 10},
        )
        for i, record in enumerate(synthetic.search(trials=12).records)
    ]
    records[5] = replace(records[5], status="FAILED", score=None, message=EVIL)
    evil = f"x\n</pre>{EVIL}"
    records[6] = replace(records[6], status=EVIL, score=None, message=evil)
    return page.render_page(SearchResults(tuple(records), objectives))


def test_it_loads_nothing(hostile):
    outline = Outline(hostile)
    loading = {"src", "href", "srcset", "action", "data", "background"}
    sources = [value for name, value in outline.attributes if name in loading]
    assert len(sources) >= 3
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    styles = [value for name, value in outline.attributes if name == "style"]
    colors = re.compile(r"background: #\w{6}; color: #\w{6}")
    assert styles and all(map(colors.fullmatch, styles))
    assert "url(" not in hostile and "@import" not in hostile
    assert "default-src 'none'" in hostile
    assert not any(name.startswith("on") for name, _ in outline.attributes)
    assert not {"script", "iframe", "object", "link"} & set(outline.tags)


def test_everything_is_escaped(hostile):
    outline = Outline(hostile)
    assert "script" not in outline.tags and "<script" not in hostile
    assert sum("<script>alert('&')" in found for found in outline.texts) > 20


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_few_trials(trials, tmp_path):
    results = synthetic.with_failures(synthetic.search(trials=trials), "FAILED")
    results.to_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and text.endswith("</html>\n")
    outline = Outline(text)
    assert outline.tags.count("img") == [0, 2, 2][trials]
    assert any("10 completed trials" in found for found in outline.texts)


def test_three_objectives_of_48_sites():
    objectives = {**synthetic.OBJECTIVES, "latency_ms": "min"}
    results = synthetic.search(trials=12, sites=48, objectives=objectives)
    outline = Outline(page.render_page(results))
    assert outline.tags.count("img") == 3 + 1 + 2
    assert outline.tags.count("i") >= 12 * 48


def test_summary():
    results = synthetic.with_failures(
        synthetic.search(trials=20), "FAILED", "REJECTED", "PRUNED", "PRUNED"
    )
    found = page._summary(results)
    assert found["trials"] == "20 done, 2 stopped early, 1 failed, 1 rejected"
    best = max(results.records[:20], key=lambda row: row.score)
    assert found["best val_accuracy"].endswith(f"(trial {best.trial_id})")
    assert results.knee()["trial_id"] in found["knee of the front"]
    # Trials start every 20 seconds and take 15.
    assert found["time"].endswith("8 min from the first start to the last end")


def test_records_that_do_not_say_when_they_ran():
    record = replace(synthetic.unscored(0), started=None, ended=None)
    results = SearchResults((record,), synthetic.ONE)
    found = page._summary(results)
    assert list(found) == ["trials", "time"]
    assert found["time"] == "14 s of trials"


@pytest.mark.parametrize("values", [["nan", "nan"], ["inf", "nan"]])
def test_scores_of_which_none_is_finite(values):
    records = [
        replace(one, score=float(value), metrics={"val_accuracy": float(value)})
        for one, value in zip(synthetic.search(trials=2).records, values, strict=True)
    ]
    results = SearchResults(tuple(records), {"val_accuracy": "max"})
    Outline(page.render_page(results))
