#!/bin/bash
# A masked telephone number becomes a complete one that passes for valid.
#
# Seen with: phonenumbers 9.0.19 (PyPI; the Python port of libphonenumber).
# Data vendors hide the digits of a number behind X until it is paid for. The library takes X for the letter on the
# key 9, as in 1-800-FLOWERS, so `parse` turns the mask into nines without an error, and `is_valid_number` is true.
# Output seen: "+1 (212) XXX-XXXX" -> +12129999999, possible, valid; the same for +61 and +49. Asterisks are not read so.
# What it means for users: test for a mask before parsing; a valid number is no sign that a vendor has told one.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check phonenumbers==9.0.19
"$dir/venv/bin/python" - <<'PY'
import phonenumbers as p

for masked, read_as in [
    ("+1 (212) XXX-XXXX", "+12129999999"),
    ("+61 4XX XXX XXX", "+61499999999"),
    ("+49 30 XXXXXXX", "+49309999999"),
]:
    number = p.parse(masked, None)
    seen = (p.format_number(number, p.PhoneNumberFormat.E164), p.is_possible_number(number), p.is_valid_number(number))
    print(f"{masked!r}: {seen}")
    assert seen == (read_as, True, True), seen

number = p.parse("+1 212 555 ****", None)
seen = (p.format_number(number, p.PhoneNumberFormat.E164), p.is_valid_number(number))
print(f"'+1 212 555 ****': {seen}")
assert seen == ("+1212555", False), seen
print("as described")
PY
