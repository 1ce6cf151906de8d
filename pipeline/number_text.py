"""Numbers as people write them, read by one SQL expression wherever values are read.

Read without being told: signs before and behind (`12.50-`), parentheses for a negative amount,
currencies, percent (a hundredth: `12%` is 0.12), blanks and apostrophes between thousands. What
point and comma mean is never guessed from one value: `1.234` is two numbers, and the configuration
says which. A text that is not written as it says is no number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """What point and comma mean in a column.

    Attributes:
        decimal: stands before the fraction, `.` or `,`.
        thousands: stands between thousands: `.`, `,`, or neither (blanks and apostrophes may
            always do).
    """

    decimal: str = "."
    thousands: str = ""

    @property
    def example(self) -> str:
        """A number written so, as in `data.number_formats`."""
        return f"1{self.thousands}234{self.decimal}50"


#: Numbers by which `data.number_formats` says how a column is written.
EXAMPLE = r"^1[ ,.']?234[.,]50$"


#: A decimal point and no thousands.
PLAIN = Format()


def of_example(text: str) -> Format:
    """The format in which 1234.5 is written as `text`.

    Raises:
        ValueError: it is no such number.
    """
    if not re.match(EXAMPLE, text) or text.count(text[-3]) > 1:
        raise ValueError(
            'must be 1234.5 as the column would write it, such as "1.234,50" or "1234.50"'
        )
    return Format(text[-3], "" if text[1] == "2" else text[1])


#: No-break, thin and figure spaces, tabs, signs and apostrophes of typographers → plain ones.
_FANCY = "\u00a0\u202f\u2009\u2007\t\u2212\u2013\u2019"
_ORDINARY = "     --'"

_CODES = (
    "USD EUR GBP JPY CHF CAD AUD NZD CNY RMB INR SEK NOK DKK ISK PLN CZK HUF RON BGN TRY RUB UAH "
    "ILS ZAR BRL MXN ARS CLP COP PEN KRW SGD HKD TWD THB IDR MYR PHP VND AED SAR QAR EGP MAD NGN "
    "KES PKR BDT LKR"
).split()
_SYMBOLS = "$€£¥₹₩₽₺₴₪฿₫₱₦₡₲₵₸₾"
#: Longer ones first: `R$` is not an R before a dollar.
_CURRENCY = (
    rf"(?:(?:US|CA|AU|NZ|HK|A|C|R|S)\$|[{_SYMBOLS}]|(?i:{'|'.join(_CODES)})"
    r"|kr\.?|zł|Kč|Ft|Fr\.|Rs\.?)"
)


def currency(value: str) -> str:
    """SQL: the currency that stands in a text, `''` if none."""
    return f"regexp_extract({value}, {_literal(_CURRENCY)})"


def is_percent(value: str) -> str:
    """SQL: whether a text is a percentage, if it is a number."""
    return f"contains({value}, '%')"


def plain(value: str, form: Format) -> str:
    """SQL: a text's number as `-1234.5`, still without the hundredth of a percentage.

    Args:
        value: SQL of a text.
        form: what point and comma mean.

    Returns:
        A text that casts to a number, or `''` or something that does not cast.
    """
    text = f"trim(translate({value}, {_literal(_FANCY)}, {_literal(_ORDINARY)}))"
    for pattern, made in _STEPS:
        text = f"regexp_replace({text}, {_literal(pattern)}, {_literal(made)})"
    text = f"regexp_extract({text}, {_literal(_body(form))}, 1)"
    removed = " '" + form.thousands.strip(" '")
    text = f"translate({text}, {_literal(removed)}, '')"
    return f"replace({text}, ',', '.')" if form.decimal == "," else text


#: One after the other: currency before, currency and percent behind (with the parenthesis or minus
#: that may stand there), parentheses, minus behind, a blank behind the sign.
_STEPS = (
    (rf"^([-+(]*) *{_CURRENCY} *", r"\1"),
    (rf" *{_CURRENCY}([-)]*)$", r"\1"),
    (r" *% *([-)]*)$", r"\1"),
    (r"^\((.*)\)$", r"-\1"),
    (r"^([0-9., ']+) *-$", r"-\1"),
    (r"^([-+]) +", r"\1"),
)


def _body(form: Format) -> str:
    """A pattern of the whole number: sign, digits, fraction, exponent."""
    # A group before which a lone 0 stands is a fraction, not thousands.
    grouped = [r"[1-9]\d{0,2}(?: \d{3})+", r"[1-9]\d{0,2}(?:'\d{3})+"]
    if form.thousands == ",":  # by twos in India
        grouped.append(r"[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}")
    elif form.thousands == ".":
        grouped.append(r"[1-9]\d{0,2}(?:\.\d{3})+")
    mark = re.escape(form.decimal)
    whole = rf"(?:{'|'.join(grouped)}|\d+)"
    return rf"^([-+]?(?:{whole}(?:{mark}\d*)?|{mark}\d+)(?:[eE][-+]?\d+)?)$"


def number(value: str, form: Format) -> str:
    """SQL: a text's number as DOUBLE; NULL if it is none, NaN for a text that says NaN."""
    written = plain(value, form)
    read = f"TRY_CAST({written} AS DOUBLE) / CASE WHEN {is_percent(value)} THEN 100 ELSE 1 END"
    # Most numbers are plain, and reading them so takes a tenth of the time.
    return _unless_plain(value, form, f"TRY_CAST({value} AS DOUBLE)", read)


def whole(value: str, form: Format) -> str:
    """SQL: a text's number as BIGINT, to the last digit; NULL if it is no whole number."""
    written = plain(value, form)
    read = (
        f"CASE WHEN NOT {is_percent(value)} THEN {_whole(written)} "
        f"ELSE {_of_double(number(value, form))} END"
    )
    return _unless_plain(value, form, _whole(value), read)


def _whole(value: str) -> str:
    # A cast to BIGINT rounds, and a DOUBLE does not hold all digits that would tell.
    fraction = f"regexp_matches({value}, '^[^eE]*[.][0-9]*[1-9][0-9]*$')"
    double = f"TRY_CAST({value} AS DOUBLE)"
    return (
        f"CASE WHEN {double} = trunc({double}) AND NOT {fraction} "
        f"THEN TRY_CAST({value} AS BIGINT) END"
    )


def _of_double(value: str) -> str:
    return f"CASE WHEN {value} = trunc({value}) THEN TRY_CAST({value} AS BIGINT) END"


def _unless_plain(value: str, form: Format, cast: str, read: str) -> str:
    likely = f"CASE WHEN regexp_matches({value}, {_literal(_LIKELY)}) THEN {read} END"
    if form.decimal == ".":
        return f"coalesce({cast}, {likely})"
    is_plain = f"NOT contains({value}, '.') AND NOT contains({value}, ',')"
    return f"coalesce(CASE WHEN {is_plain} THEN {cast} END, {likely})"


#: One look at a text that is no number mostly spares the others: from the first digit to the last
#: there is nothing but what stands in numbers.
_LIKELY = rf"^[^0-9]*[0-9][-+0-9., 'eE{_FANCY}]*[^0-9]*$"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
