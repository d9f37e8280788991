#!/usr/bin/env python3
"""Scores Python's nameparser on the names of crates/domain/src/people/name/shapes.tsv, beside which ours is tested.

Not part of any suite. To run: python3 -m venv /tmp/v && /tmp/v/bin/pip install nameparser==2.6.0 &&
/tmp/v/bin/python tests/names/nameparser_score.py [--wrong] [shapes.tsv]
A name that must not be split counts as right where nameparser leaves the given or the family name empty.
"""
import collections
import pathlib
import re
import sys
import unicodedata

from nameparser import parse

arguments = [a for a in sys.argv[1:] if a != "--wrong"]
here = pathlib.Path(__file__).resolve().parent
path = pathlib.Path(arguments[0]) if arguments else here.parents[1] / "crates/domain/src/people/name/shapes.tsv"
right, total, split_right, split_total, sent = (collections.Counter() for _ in range(5))
for line in path.read_text(encoding="utf-8").splitlines():
    if line.startswith("#"):
        continue
    group, _, full, first, last = line.split("\t")
    full = re.sub(r"\\u\{([0-9a-f]+)\}", lambda m: chr(int(m[1], 16)), full)
    name = parse(full)
    got = tuple(unicodedata.normalize("NFC", part) for part in (name.given, name.family))
    ok = got == (first, last) if first else not all(got)
    total[group] += 1
    right[group] += ok
    split_total[group] += bool(first)
    split_right[group] += bool(first) and ok
    sent[group] += not ok and all(got)
    if not ok and "--wrong" in sys.argv:
        print(f"{full!r}: {got} instead of {(first, last) if first else None}")
print(f"{'group':36} right of all | to be split | not to be split | wrong names sent")
for group in [*total, None]:
    of = (lambda c: c[group]) if group else (lambda c: sum(c.values()))
    none = (of(right) - of(split_right), of(total) - of(split_total))
    print(f"{group or 'all':36} {of(right):4} {of(total):4} | {of(split_right):4} {of(split_total):4} | {none[0]:4} {none[1]:4} | {of(sent):4}")
