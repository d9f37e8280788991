#!/usr/bin/env python3
"""People who do not exist, as CSV: id, name, email, score. Usage: people.py FIRST LAST

Each of the four parts in which the example loads and enriches them begins with thirty people who cannot be enriched:
ten of whom no vendor knows anything, eight with a name alone, seven who have objected, five whom vendors mix up.
"""

import sys

FIRST = "Ada Ben Cleo Dora Elif Finn Gita Hugo Iris Jonas Kaja Leon Mira Nils Olga Piet Runa Sven Tilda Vera".split()
LAST = "Abbott Birch Calder Dunne Elster Falk Grieve Holt Ibsen Jarvis Kerr Lunde Marsh Norell Oakes Pryce Quill Roth Stone Thorne".split()
PARTS = [1, 1401, 1701, 1801]


def person(n):
    name = f"{FIRST[n % 20]} {LAST[n // 20 % 20]}"
    place = n - max(part for part in PARTS if part <= n)
    if 10 <= place < 18:
        return n, name, "", n % 97
    domain = "acme.example"
    if place < 10:
        domain = "quiet.example"
    elif place < 25:
        domain = "optout.example"
    elif place < 30:
        domain = "mixup.example"
    return n, name, f"{name.lower().replace(' ', '.')}.{n}@{domain}", n % 97


if __name__ == "__main__":
    for n in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
        print(*person(n), sep=",")
