"""Faults of the data: what upstream systems, clocks, people and retries do to a span."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.config import HighCardinality
from pipeline import sql
from pipeline.audit.fault import Fault, NotApplicableError, Spoil
from pipeline.audit.scene import Scene


def _scaled(factor: float, which: int) -> Spoil:
    def spoil(scene: Scene) -> None:
        number = scene.numbers(which + 1)[which]
        scene.replace(**{number: f"{sql.quote(number)} * {factor}"})

    return spoil


def _negated(share: float) -> Spoil:
    def spoil(scene: Scene) -> None:
        (number, *_) = scene.numbers()
        scene.replace(scene.chance(share), **{number: f"-{sql.quote(number)} - 1"})

    return spoil


def _swapped(scene: Scene) -> None:
    first, second = scene.numbers(2)[:2]
    scene.replace(**{first: sql.quote(second), second: sql.quote(first)})


def _constant(scene: Scene) -> None:
    (number, *_) = scene.numbers()
    scene.replace(**{number: f"(SELECT median({sql.quote(number)}) FROM rows)"})


def _rounded(scene: Scene) -> None:
    (number, *_) = scene.numbers()
    scene.replace(**{number: f"round({sql.quote(number)})"})


def _sentinels(scene: Scene) -> None:
    (number, *_) = scene.numbers()
    scene.replace(scene.chance(0.3), **{number: "0"})


def _text_in_numbers(scene: Scene) -> None:
    (number, *_) = scene.numbers()
    name = sql.quote(number)
    text = f"CASE WHEN {scene.chance(0.1)} THEN '12,5 km' ELSE CAST({name} AS VARCHAR) END"
    scene.save(scene.query(f"SELECT * REPLACE ({text} AS {name}) FROM rows"))


def _nulls(scene: Scene) -> None:
    scene.replace(scene.chance(0.4), **{scene.category(): "NULL"})


def _all_null(scene: Scene) -> None:
    (number, *_) = scene.numbers()
    scene.replace(**{number: "NULL"})


def _renamed_categories(scene: Scene) -> None:
    category = scene.category()
    name = sql.quote(category)
    is_text = isinstance(scene.values(category)[0], str)
    scene.replace(**{category: f"'code ' || {name}" if is_text else f"{name} + 1000"})


def _mojibake(scene: Scene) -> None:
    category = scene.category(text=True)
    scene.replace(**{category: f"{sql.quote(category)} || 'Ã¼'"})


def _shifted_clock(share: float) -> Spoil:
    def spoil(scene: Scene) -> None:
        later = {name: f"{sql.quote(name)} + INTERVAL 5 HOUR" for name in scene.times()}
        scene.replace(scene.chance(share), **later)

    return spoil


def _wrong_year(scene: Scene) -> None:
    if scene.config.data.time_column is None:
        raise NotApplicableError("data.time_column")
    earlier = {name: f"{sql.quote(name)} - INTERVAL 1 YEAR" for name in scene.times()}
    scene.replace(**earlier)


def _saved_again(scene: Scene) -> None:
    before = scene.before()
    if scene.config.data.time_column is None:
        raise NotApplicableError("data.time_column")
    scene.save(scene.query("SELECT * FROM rows ORDER BY hash(rowid)", before))


def _cut_short(scene: Scene) -> None:
    scene.before()  # what a whole span is can only be told from others
    scene.keep("rowid < 0.04 * (SELECT count(*) FROM rows)")


def _half_missing(scene: Scene) -> None:
    scene.keep("rowid % 2 = 0")


def _one_category(scene: Scene) -> None:
    category = scene.category()
    value = scene.values(category)[1]
    wanted = sql.text(value) if isinstance(value, str) else str(value)
    scene.keep(f"{sql.quote(category)} = {wanted}")


def _sorted_and_cut(scene: Scene) -> None:
    (number, *_) = scene.numbers()
    name = sql.quote(number)
    scene.keep(f"{name} <= (SELECT median({name}) FROM rows)")


def _duplicated(scene: Scene) -> None:
    scene.save(scene.query("SELECT * FROM rows UNION ALL SELECT * FROM rows"))


def _new_ids(scene: Scene) -> None:
    """Every id that is an id of the same kind gets another's number."""
    name = scene.ids()
    kind = scene.config.features[name]
    assert isinstance(kind, HighCardinality)
    values = scene.values(name)
    table = scene.query("SELECT * FROM rows")
    order = scene.random().permutation(len(values))
    new = {value: values[position] for value, position in zip(values, order, strict=True)}
    column = [None if value is None else new[value] for value in table.column(name).to_pylist()]
    position = table.column_names.index(name)
    scene.save(table.set_column(position, table.schema.field(name), [column]))


def _new_column(scene: Scene) -> None:
    scene.save(scene.query("SELECT *, 1.5 AS surcharge_of_2031 FROM rows"))


def _missing_column(scene: Scene) -> None:
    (number, *_) = scene.numbers()
    scene.save(scene.query(f"SELECT * EXCLUDE ({sql.quote(number)}) FROM rows"))


def _one_class(scene: Scene) -> None:
    table = scene.query("SELECT * FROM rows")
    scene.save(table.filter(scene.labels() == 0))


def _prior(scene: Scene) -> None:
    table, labels = scene.query("SELECT * FROM rows"), scene.labels()
    lost = (labels == 1) & (scene.random().random(len(labels)) < 0.6)
    scene.save(table.filter(~lost))


def _in_slice(scene: Scene, span: str | None = None) -> npt.NDArray[np.bool_]:
    """Rows of the most frequent value of the category."""
    category = scene.category()
    value = scene.values(category)[0]
    column = scene.query("SELECT * FROM rows", span).column(category).to_pylist()
    return np.array([item == value for item in column])


def _flipped_in_slice(scene: Scene) -> None:
    scene.turn_labels(_in_slice(scene))


def _poisoned(scene: Scene) -> None:
    scene.before()
    for span in scene.spans[:-1]:
        rows = _in_slice(scene, span) & (scene.labels(span) == 0)
        scene.turn_labels(rows, span)


def _flipped_at_random(scene: Scene) -> None:
    scene.before()
    for span in scene.spans[:-1]:
        labels = scene.labels(span)
        scene.turn_labels(scene.random().random(len(labels)) < 0.4, span)


def _inverted_label(scene: Scene) -> None:
    label = scene.config.label
    inverted = label.model_copy(update={"expression": f"NOT ({label.expression}\n)"})
    scene.configure(label=inverted)


def _leak(scene: Scene) -> None:
    number = scene.numbers()[0]
    for span in scene.spans:
        table = scene.query("SELECT * FROM rows", span)
        position = table.column_names.index(number)
        scene.save(table.set_column(position, number, [scene.labels(span)]), span)


DATA_FAULTS = (
    Fault(
        "span-cut-short",
        "The upload stopped after four per cent of the newest span.",
        ("rows",),
        spoil=_cut_short,
    ),
    Fault(
        "wrong-year",
        "The newest span was exported with last year's dates.",
        ("quarantine",),
        spoil=_wrong_year,
    ),
    Fault(
        "span-saved-again",
        "The span before was saved once more under the newest span's name, its rows shuffled.",
        ("quarantine",),
        spoil=_saved_again,
    ),
    Fault(
        "negative-values",
        "A tenth of one number's values turned negative, as refunds or a sensor do.",
        ("quarantine", "schema", "drift"),
        spoil=_negated(0.1),
    ),
    Fault(
        "sign-flipped",
        "One number has the other sign, throughout.",
        ("ingestion", "quarantine", "schema", "drift"),
        spoil=_negated(1.0),
    ),
    Fault(
        "text-in-a-number",
        "Ten per cent of one number's values came as text with a unit.",
        ("quarantine",),
        spoil=_text_in_numbers,
    ),
    Fault(
        "new-column",
        "The files have a column that nobody announced.",
        ("schema",),
        spoil=_new_column,
    ),
    Fault(
        "missing-column",
        "The files lack a column.",
        ("ingestion",),
        spoil=_missing_column,
    ),
    Fault(
        "categories-renamed",
        "All codes of one category were renamed.",
        ("schema", "drift"),
        spoil=_renamed_categories,
    ),
    Fault(
        "mojibake",
        "One category's text was decoded with the wrong encoding.",
        ("schema", "drift"),
        spoil=_mojibake,
    ),
    Fault(
        "null-burst",
        "Forty per cent of one category's values are missing.",
        ("schema", "drift"),
        spoil=_nulls,
    ),
    Fault(
        "column-went-empty",
        "One number has no value any more.",
        ("schema", "drift"),
        spoil=_all_null,
    ),
    Fault(
        "miles-to-kilometres",
        "One number comes in another unit: 1.6 times as large.",
        ("drift",),
        spoil=_scaled(1.609344, 0),
    ),
    Fault(
        "dollars-to-cents",
        "Another number comes in hundredths.",
        ("quarantine", "schema", "drift", "label"),
        spoil=_scaled(100, 1),
    ),
    Fault(
        "columns-swapped",
        "Two numbers stand in each other's column.",
        ("schema", "drift", "label"),
        spoil=_swapped,
    ),
    Fault(
        "constant-column",
        "One number is the same in every row.",
        ("drift",),
        spoil=_constant,
    ),
    Fault(
        "rounded",
        "One number lost its decimals.",
        ("drift",),
        spoil=_rounded,
    ),
    Fault(
        "zeros-for-missing",
        "In thirty per cent of the rows one number is 0, which means that it is not known.",
        ("drift",),
        spoil=_sentinels,
    ),
    Fault(
        "clock-shifted",
        "All clocks are five hours ahead: local time was written as UTC.",
        ("drift",),
        spoil=_shifted_clock(1.0),
    ),
    Fault(
        "time-zones-mixed",
        "Half of the rows are five hours ahead of the others.",
        ("drift",),
        spoil=_shifted_clock(0.5),
    ),
    Fault(
        "one-source-only",
        "Only one category's rows arrived: the other sources' shards are missing.",
        ("ingestion", "rows", "drift"),
        spoil=_one_category,
    ),
    Fault(
        "sorted-and-cut",
        "The export was sorted by one number and cut in the middle.",
        ("drift",),
        spoil=_sorted_and_cut,
    ),
    Fault(
        "ids-reassigned",
        "A new system gave all ids to other things than before.",
        ("drift", "prediction", "evaluation"),
        spoil=_new_ids,
    ),
    Fault(
        "one-class",
        "Every row of the newest span has the same label: the events of the other kind are lost.",
        ("ingestion",),
        spoil=_one_class,
    ),
    Fault(
        "prior-shifted",
        "Sixty per cent of the positive rows were lost on the way.",
        ("label", "drift", "evaluation"),
        spoil=_prior,
    ),
    Fault(
        "labels-flipped-in-slice",
        "In the largest slice of the newest span the label is the wrong way round.",
        ("label", "prediction", "evaluation"),
        spoil=_flipped_in_slice,
    ),
    Fault(
        "poisoned-slice",
        "In the training spans every row of the largest slice was made positive.",
        ("label", "evaluation"),
        spoil=_poisoned,
    ),
    Fault(
        "noisy-labels",
        "Forty per cent of the training spans' labels are wrong, at random.",
        ("evaluation",),
        spoil=_flipped_at_random,
    ),
    Fault(
        "label-inverted",
        "Somebody turned the label expression round, for all spans alike.",
        ("label", "prediction", "evaluation"),
        spoil=_inverted_label,
    ),
    Fault(
        "leaking-column",
        "One feature has become the label itself, in all spans.",
        ("evaluation",),
        escapes="It is so in every span, so nothing drifts, and every metric becomes better: only "
        "a bar on how good a model may be finds it, evaluation.bars.auc_max.",
        spoil=_leak,
    ),
    Fault(
        "half-missing",
        "Every second row of the newest span is missing.",
        (),
        escapes="A random half of a span looks like the whole in every distribution. "
        "window.min_rows_share = 0.6 would find it, where spans are that regular.",
        spoil=_half_missing,
    ),
    Fault(
        "events-duplicated",
        "A retry delivered every event of the newest span twice.",
        ("rows",),
        spoil=_duplicated,
    ),
)
