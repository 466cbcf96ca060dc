"""Text, words and masks of the ALBERT example."""

import numpy as np
import pytest
from albert_parts import classification, pretraining
from albert_parts.batches import (
    all_windows,
    mask_words,
    num_predictions,
    passage_batch,
    pretraining_batch,
    random_windows,
)
from albert_parts.corpus import (
    CLS,
    MASK,
    PADDING,
    SEP,
    SPECIAL_WORDS,
    UNKNOWN,
    Corpus,
    Span,
    Vocabulary,
    load_corpus,
    read_text,
    sentences,
)

LENGTH = 16
FIRST_WORD = len(SPECIAL_WORDS)
VOCABULARY_SIZE = 1000


def span(first, last):
    """A text whose words count up, with a sentence every five words."""
    ids = np.arange(first, last, dtype="int32")
    return Span(ids, np.arange(0, len(ids), 5))


def windows(count, size=LENGTH - 3):
    spans = (span(10, 200), span(500, 900))
    return random_windows(spans, size, count, np.random.default_rng(0))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "vocabulary.txt"
    return load_corpus(read_text(), 4, 500, LENGTH, file)


def test_repeated_paragraphs_are_dropped():
    text = "One two. Three?\n\nFour\nfive.\n\n---\n\nOne  two. Three?\n\nSix."
    assert sentences(text) == ["One two.", "Three?", "Four five.", "Six."]


def test_vocabulary(tmp_path):
    vocabulary = Vocabulary.learn(["The cat, the CAT and the dog.", "A dog"], size=8)
    assert vocabulary.words == (*SPECIAL_WORDS, "the", "dog", "cat")
    [ids, empty] = vocabulary.encode(["The [MASK] and dog's the Dog!", "..."])
    assert ids.tolist() == [5, MASK, UNKNOWN, UNKNOWN, 5, 6] and len(empty) == 0
    assert vocabulary.decode(ids) == "the [MASK] [UNK] [UNK] the dog"
    vocabulary.save(tmp_path / "words.txt")
    assert Vocabulary.load(tmp_path / "words.txt").words == vocabulary.words


def test_the_split_is_by_position(tmp_path):
    """Each word occurs once, so that none may be known from what is held out."""
    words = [f"w{i}" for i in range(160)]
    lines = "\n\n".join(f"{w} {w}x." for w in words)
    corpus = load_corpus(lines, 2, 10_000, 4, tmp_path / "vocabulary.txt")
    trained = [*words[:70], *words[80:150]]
    expected = {w for word in trained for w in (word, f"{word}x")}
    assert set(corpus.vocabulary.words[FIRST_WORD:]) == expected
    for part, side in enumerate(corpus.train):
        text = corpus.vocabulary.decode(side.ids).split()
        assert text[::2] == trained[70 * part : 70 * (part + 1)]
        assert side.begins.tolist() == list(range(0, 140, 2))
    assert [side.ids.tolist() for side in corpus.test] == [[UNKNOWN] * 20] * 2


def test_a_short_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"have at least 16 words\. Received: 0"):
        load_corpus("One.\n\nTwo.\n\nThree.", 2, 100, 16, tmp_path / "words.txt")


def test_no_window_leaves_its_part(corpus):
    """Nor does any batch of training show a word that only held-out text has."""
    train = tuple(span(100 * i, 100 * i + 70) for i in range(1, 4))
    test = tuple(span(100 * i + 70, 100 * i + 100) for i in range(1, 4))
    allowed = np.concatenate([side.ids for side in train])
    ours = Corpus(train, test, corpus.vocabulary)
    for step in range(40):
        x = classification.training_batch(ours, LENGTH, 8, 0, step).x["token_ids"]
        assert np.isin(x[x >= FIRST_WORD], allowed).all()
    for part, ids, _ in all_windows(test, 7):
        assert ids.tolist() == list(range(ids[0], ids[0] + 7))
        assert ids[0] // 100 == ids[-1] // 100 == part + 1
    held_out = [ids for _, ids, _ in all_windows(test, 10)]
    assert sorted(np.concatenate(held_out)) == [i for side in test for i in side.ids]


def test_every_window_is_drawn():
    drawn = random_windows(
        (span(0, 10), span(20, 26)), 5, 3000, np.random.default_rng(0)
    )
    firsts = np.array([ids[0] for _, ids, _ in drawn if len(ids) == 5])
    places, counts = np.unique(firsts, return_counts=True)
    assert places.tolist() == [0, 1, 2, 3, 4, 5, 20, 21]
    assert counts.min() > 0.8 * counts.max()
    assert 0.87 < len(firsts) / 3000 < 0.93


def test_masking_rates():
    rng = np.random.default_rng(0)
    tokens = rng.integers(FIRST_WORD, VOCABULARY_SIZE, (2000, 64)).astype("int32")
    tokens[:, 0], tokens[:, 30], tokens[:, 40:50], tokens[:, 60:] = CLS, SEP, UNKNOWN, 0
    masked, positions, words, weights = mask_words(tokens, VOCABULARY_SIZE, rng)
    rows = np.arange(len(tokens))[:, None]
    chosen = weights == 1
    count = round(0.15 * 48)
    assert (weights.sum(axis=1) == count).all() and num_predictions(64) >= count
    assert (words == tokens[rows, positions])[chosen].all()
    assert (words[chosen] >= FIRST_WORD).all() and not words[~chosen].any()
    assert all(len(set(row[:count])) == count for row in positions)

    now = masked[rows, positions][chosen]
    masks, kept = now == MASK, now == words[chosen]
    np.testing.assert_allclose(masks.mean(), 0.8, atol=0.02)
    np.testing.assert_allclose(kept.mean(), 0.1, atol=0.02)
    assert (now[~masks] >= FIRST_WORD).all()
    # What is not to be predicted is as it was.
    untouched = np.ones(tokens.shape, bool)
    untouched[rows.repeat(positions.shape[1], 1)[chosen], positions[chosen]] = False
    np.testing.assert_array_equal(masked[untouched], tokens[untouched])


def test_nothing_to_mask():
    tokens = np.array([[CLS, UNKNOWN, SEP, 0]], "int32")
    masked, _, _, weights = mask_words(tokens, 10, np.random.default_rng(0))
    assert masked.tolist() == tokens.tolist() and not weights.any()


def test_segments_and_their_order():
    batch = pretraining_batch(
        windows(300), LENGTH, VOCABULARY_SIZE, np.random.default_rng(1)
    )
    tokens = batch.x["token_ids"].copy()
    rows, columns = np.nonzero(batch.sample_weight["words"])
    places = batch.x["masked_positions"][rows, columns]
    tokens[rows, places] = batch.y["words"][rows, columns]
    at_begin = 0
    for row, segment, order in zip(
        tokens, batch.x["segment_ids"], batch.y["order"], strict=True
    ):
        first_end, second_end = np.flatnonzero(row == SEP)
        first, second = row[1:first_end], row[first_end + 1 : second_end]
        assert row[0] == CLS and len(first) and len(second)
        assert not row[second_end + 1 :].any()
        np.testing.assert_array_equal(
            segment, (np.arange(LENGTH) > first_end) & (np.arange(LENGTH) <= second_end)
        )
        text = np.concatenate([first, second] if order else [second, first])
        np.testing.assert_array_equal(np.diff(text), 1)
        at_begin += (second if order else first)[0] % 5 == 0
    assert at_begin == 300  # these texts have a sentence every five words
    assert 0.4 < batch.y["order"].mean() < 0.6
    assert batch.x["segment_ids"].any() and (tokens == PADDING).any()


def test_passages_are_labeled_by_part():
    batch = passage_batch(windows(50, LENGTH - 2), LENGTH)
    tokens, parts = batch.x["token_ids"], batch.y["part"]
    assert (tokens[:, 0] == CLS).all() and set(parts) == {0, 1}
    np.testing.assert_array_equal(tokens[:, 1] >= 500, parts)
    assert not batch.x["segment_ids"].any()


def test_a_step_always_has_the_same_batch(corpus):
    for make in (pretraining.training_batch, classification.training_batch):
        one, same = (make(corpus, LENGTH, 4, 3, 17) for _ in range(2))
        other, seed = make(corpus, LENGTH, 4, 3, 18), make(corpus, LENGTH, 4, 4, 17)
        for name, array in one.x.items():
            np.testing.assert_array_equal(array, same.x[name])
        for batch in (other, seed):
            assert (batch.x["token_ids"] != one.x["token_ids"]).any()


def test_test_text_is_the_same_in_every_run(corpus):
    one, same = (pretraining.test_batch(corpus, LENGTH) for _ in range(2))
    np.testing.assert_array_equal(one.x["token_ids"], same.x["token_ids"])
    held_out = sum(len(s) // (LENGTH - 3) for s in corpus.test)
    assert len(one.x["token_ids"]) == 4 * held_out
