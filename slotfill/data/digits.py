"""Numbers and times of day in words, written in digits.

text2num reads the numbers of most languages, but not Chinese ones, and dateparser reads times only
in digits.
"""

from __future__ import annotations

import re

_CHINESE_DIGITS = dict(zip("零一二三四五六七八九〇两", [*range(10), 0, 2], strict=True))
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_CHINESE_NUMBER = re.compile(f"[{''.join([*_CHINESE_DIGITS, *_CHINESE_UNITS])}]+")
_SIMPLIFIED = str.maketrans("兩萬億點後週個時號鐘頭", "两万亿点后周个时号钟头")
_ENGLISH_TIME = re.compile(r"\b(?:a )?(half|quarter|\d{1,4})( minutes?)? (past|to) (\d{1,4})\b")
_MINUTES = {"half": 30, "quarter": 15}


def number_to_digits(value: str, language: str) -> str:
    """Return `value` with its numbers in digits; raises ValueError for an unknown language."""
    if language != "zh":
        from text_to_num import alpha2digit

        return str(alpha2digit(value.lower(), language, 0))
    value = _CHINESE_NUMBER.sub(_read_chinese, value.translate(_SIMPLIFIED))
    return re.sub(r"(?<=\d)点(?=\d+$)", ".", value)


def _read_chinese(match: re.Match[str]) -> str:
    """Return the digits of a number such as 二百零五, or of digits one by one, as 二五."""
    if len(match[0]) > 100:  # Python refuses to write numbers of thousands of digits.
        return match[0]
    total = section = digit = 0
    for word in match[0]:
        unit = _CHINESE_UNITS.get(word)
        if unit is None:
            digit = 10 * digit + _CHINESE_DIGITS[word]
            continue
        if unit < 10**4:
            section += (digit or 1) * unit
        elif unit == 10**4:
            total, section = total + (section + digit) * unit, 0
        else:
            total, section = (total + section + digit) * unit, 0
        digit = 0
    return str(total + section + digit)


def time_to_digits(value: str, language: str) -> str:
    """Return `value` with times of day as 3:30, and for Chinese also days of a month as 12/24."""
    if language == "en":
        value = value.replace("’", "'").replace("half an hour", "30 minutes")
        value = number_to_digits(value, language)
        value = _ENGLISH_TIME.sub(_clock, value)
        return re.sub(r"\b(\d+) o'clock\b", r"\1:00", value)
    if language == "zh":
        value = value.translate(_SIMPLIFIED).replace("半小时", "三十分钟").replace("钟头", "小时")
        value = re.sub(r"(?<=\d)个", "", _CHINESE_NUMBER.sub(_read_chinese, value))
        value = re.sub(r"(\d+)[点时](?:半|(\d{1,4})分?|[钟整])?", _chinese_clock, value)
        return re.sub(r"^(\d+)月(\d+)[日号]", r"\1/\2 ", value).strip()
    return value


def _clock(match: re.Match[str]) -> str:
    amount, unit, relation, hour = match.groups()
    if relation == "to" and amount.isdecimal() and not unit:
        return match[0]  # 5 to 7 is rather a period.
    minutes = _MINUTES.get(amount) or int(amount)
    if relation == "past":
        return f"{hour}:{minutes:02}"
    return f"{(int(hour) - 2) % 12 + 1}:{60 - minutes:02}"


def _chinese_clock(match: re.Match[str]) -> str:
    return f"{match[1]}:{30 if '半' in match[0] else int(match[2] or 0):02}"
