"""CIFs that are written in other ways are read the same; damaged ones are read the same, or left out with a reason."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

import numpy as np
import pytest
from cif_texts import read
from hypothesis import given, settings
from hypothesis import strategies as st


@dataclass(frozen=True)
class Block:
    """A data block: items (name, value) and loops (names, rows), values without quotes."""

    items: tuple[tuple[str, str], ...]
    loops: tuple[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], ...]


CELL = tuple(
    f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
SITE = ("_atom_site_label", "_atom_site_type_symbol", *(f"_atom_site_fract_{k}" for k in "xyz"), "_atom_site_occupancy")
PERPENDICULAR = ("x,y,z", "-x,y+1/2,-z+1/2", "-x,-y,-z", "x,-y+1/2,z+1/2")
TETRAGONAL = ("x,y,z", "-y,x,z", "-x,-y,z", "y,-x,z", "-x,-y,-z", "y,-x,-z", "x,y,-z", "-y,x,-z")


def _block(cell, sites, formula, units, said, operations=(), name="_space_group_symop_operation_xyz"):
    content = ("_chemical_formula_sum", formula), ("_cell_formula_units_Z", units)
    items = (*content, *zip(CELL, cell, strict=True), *said)
    rows = tuple((label, label.rstrip("0123456789"), *xyz, "1") for label, *xyz in sites)
    loops = (((name,), tuple((text,) for text in operations)),) if operations else ()
    return Block(items, (*loops, (SITE, rows)))


BLOCKS = {
    "P1": _block(
        ("5.13", "6.24", "7.35", "82.1", "95.2", "101.3"),
        [("Li1", "0.11", "0.22", "0.34"), ("F1", "0.62", "0.47", "0.85"), ("F2", "0.31", "0.91", "0.55")],
        "Li F2",
        "1",
        [("_symmetry_space_group_name_H-M", "P 1"), ("_symmetry_Int_Tables_number", "1")],
    ),
    "operations": _block(
        ("5.13", "8.24", "7.35", "90", "98.4", "90"),
        [("Na1", "0.11", "0.22", "0.34"), ("Cl1", "0.62", "0.47", "0.85")],
        "Na Cl",
        "4",
        [("_symmetry_space_group_name_H-M", "P 1 21/c 1")],
        PERPENDICULAR,
    ),
    "operations alone": _block(
        ("6.13", "6.13", "7.35", "90", "90", "90"),
        [("Sr1", "0", "0", "0.25"), ("O1", "0.21", "0.37", "0")],
        "Sr O2",
        "2",
        [("_journal_name_full", "A journal of crystals")],
        TETRAGONAL,
        "_symmetry_equiv_pos_as_xyz",
    ),
    "symbol": _block(
        ("5.66", "5.66", "5.66", "90", "90", "90"),
        [("Ge1", "0.125", "0.125", "0.125")],
        "Ge",
        "8",
        [("_space_group_name_H-M_alt", "F d -3 m :2"), ("_space_group_IT_number", "227")],
    ),
    "rounded": _block(
        ("3.21", "3.21", "5.14", "90", "90", "120"),
        [("Zn1", "0.333", "0.667", "0"), ("O1", "0.333", "0.667", "0.382")],
        "Zn O",
        "2",
        [("_symmetry_space_group_name_H-M", "P 63 m c"), ("_symmetry_space_group_name_Hall", "P 6c -2c")],
    ),
}
HARMLESS = (("_journal_year", "1999"), ("_publ_section_title", "O'Malley's list of H-M symbols"), ("_cell_volume", "?"))


def plainly(block):
    """The text of a block, an item a line."""
    lines = ["data_x", *(f"{name} {_quoted(value)}" for name, value in block.items)]
    for names, rows in block.loops:
        lines += ["loop_", *names, *(" ".join(map(_quoted, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def otherwise(block, rng):
    """The text of a block in other words: case, order, blanks, quotes, comments and names of other dictionaries."""
    parts = [[_respelled(name, rng), _requoted(value, rng)] for name, value in (*block.items, *rng.sample(HARMLESS, 2))]
    for names, rows in block.loops:
        order = rng.sample(range(len(names)), len(names))
        rows = rng.sample(rows, len(rows))
        parts.append(
            ["loop_" if rng.random() < 0.5 else "LOOP_", *(_respelled(names[k], rng) for k in order)]
            + [_requoted(row[k], rng) for row in rows for k in order]
        )
    rng.shuffle(parts)
    text = rng.choice(["", "# made by hand\n", "\ufeff"]) + "data_x"
    for token in (token for part in parts for token in part):
        before = (
            "\n" if token.startswith(";") else rng.choice([" ", "\n", "  \t", "\n\n", "\r\n", " # it's a comment\n"])
        )
        text += before + token
    return text + rng.choice(["", "\n", "\n# the end", " \n\n"])


def same(crystal, expected):
    """Whether two crystals have the same cell and the same sites, in any order."""
    if crystal.numbers.shape != expected.numbers.shape or not np.allclose(crystal.lattice, expected.lattice, atol=1e-6):
        return False
    apart = crystal.frac_coords[:, None] - expected.frac_coords
    close = np.abs(apart - np.round(apart)).max(axis=2) < 1e-6
    return bool((close & (crystal.numbers[:, None] == expected.numbers)).any(axis=1).all())


def _quoted(value):
    return f"'{value}'" if re.search(r"\s|^['\"_#$\[]", value) else value


def _requoted(value, rng):
    forms = [f";{value}\n;\n"]
    forms += [f'"{value}"'] * (value not in ("?", "."))
    forms += [f"'{value}'"] * (value not in ("?", ".") and "' " not in value)
    forms += [value] * 3 if not re.search(r"\s", value) else []
    return value if value in ("?", ".") else rng.choice(forms)


def _respelled(name, rng):
    for category in (
        "_atom_site",
        "_space_group_symop",
        "_cell",
        "_symmetry_equiv",
        "_chemical_formula",
        "_space_group",
    ):
        if name.startswith(f"{category}_") and rng.random() < 0.3:
            name = f"{category}.{name.removeprefix(f'{category}_')}"
            break
    return rng.choice([name, name, name.upper(), name.lower(), name.title()])


@pytest.mark.parametrize("name", BLOCKS)
@settings(deadline=None, max_examples=60)
@given(st.randoms(use_true_random=False))
def test_the_same_in_other_words(name, rng):
    (expected,) = read(plainly(BLOCKS[name]))
    text = otherwise(BLOCKS[name], rng)
    (crystal,) = read(text)
    assert (crystal.fault, crystal.doubts) == (None, ()), text
    assert same(crystal, expected), text


def _cut(text, rng):
    return text[: rng.randrange(len(text))]


def _drop_line(text, rng):
    lines = text.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return "".join(lines)


def _drop_lines(text, rng):
    lines = text.splitlines(keepends=True)
    start = rng.randrange(len(lines))
    return "".join(lines[:start] + lines[start + rng.randint(2, 6) :])


def _repeat_line(text, rng):
    lines = text.splitlines(keepends=True)
    k = rng.randrange(len(lines))
    return "".join([*lines[:k], lines[k], *lines[k:]])


def _join_lines(text, rng):
    lines = text.splitlines(keepends=True)
    k = rng.randrange(len(lines) - 1)
    return "".join([*lines[:k], lines[k].rstrip("\n"), *lines[k + 1 :]])


def _at_a_token(change):
    def changed(text, rng):
        tokens = list(re.finditer(r"\S+", text))
        token = rng.choice(tokens)
        return text[: token.start()] + change(token[0], rng) + text[token.end() :]

    return changed


def _damaged_word(word, rng):
    """A word with another character in it; numbers that stay numbers would be other crystals, and nobody could tell."""
    k = rng.randrange(len(word))
    found = word[:k] + rng.choice("abQ_#;'\"$&*\u2212\u00e9?~,/(") + word[k + 1 :]
    return word if _is_number(word) and _is_number(found) else found


def _is_number(word):
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(\(\d*\)?)?", word.replace("\u2212", "-")) is not None


def _another_operation(text, rng):
    found = list(re.finditer(r"-?[xyz](?=[,+\n'-])", text))
    if not found:
        return text
    part = rng.choice(found)
    new = rng.choice(["x", "-x", "y", "-y", "z", "-z"])
    return text[: part.start()] + new + text[part.end() :]


def _another_element(text, rng):
    return re.sub(r"(?<=\d )(Li|Na|Sr|Ge|Zn)(?= )", rng.choice(["K", "Nb,Zr", "Xx", "Fe/Mg", "D", "H", "."]), text)


def _another_symbol(text, rng):
    symbols = ["P -1", "F m -3 m", "P 21/m", "I 4/m", "P 63/m m c", "C 2/c", "F d -3 z", "R -3 m", "P 1", "Q 4"]
    return re.sub(r"(H-M\S* )'[^']*'", lambda match: f"{match[1]}'{rng.choice(symbols)}'", text)


DAMAGE = (
    _cut,
    _drop_line,
    _drop_lines,
    _repeat_line,
    _join_lines,
    _another_operation,
    _another_element,
    _another_symbol,
    _at_a_token(lambda word, rng: ""),
    _at_a_token(lambda word, rng: f"{word} {word}"),
    _at_a_token(lambda word, rng: rng.choice(["?", ".", "abc", "1.2.3", "0,25", "nan", "data_y", "loop_", "_x", "''"])),
    _at_a_token(_damaged_word),
)


def _judge(name, seed):
    rng = random.Random(f"{name} {seed}")
    (expected,) = read(plainly(BLOCKS[name]))
    text = plainly(BLOCKS[name])
    text = rng.choice(DAMAGE)(text, rng)
    found = read(text)
    assert found
    for crystal in found:
        assert crystal.fault or same(crystal, expected), (crystal, text)
        assert crystal.fault is None or len(crystal.fault) > 20


@pytest.mark.parametrize("name", BLOCKS)
def test_damage_is_told(name):
    for seed in range(60):
        _judge(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_much_damage_is_told(name):
    for seed in range(60, 1060):
        _judge(name, seed)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(list(BLOCKS)), st.integers(0, 2000), st.integers(0, 40), st.text(max_size=6))
def test_whatever_a_cif_holds_there_is_no_traceback(name, start, length, patch):
    text = plainly(BLOCKS[name])
    start %= len(text)
    for crystal in read(text[:start] + patch + text[start + length :]):
        assert (crystal.fault is None) == (len(crystal.numbers) > 0)
