"""Structures that are cut short anywhere: each is read, or has a reason that says what is wrong with the file."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from matcard.crystals import decode
from matcard.crystals.decode import decode_some

SALT = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
HEAD, SITES = re.split(r"(?=loop_\n _atom_site_type_symbol)", str(CifWriter(SALT)))
CELL = HEAD.split("data_CsCl\n")[1].split("loop_")[0]
FOUR = "  1  'x, y, z'\n  2  '-x, -y, -z'\n  3  'y, x, z'\n  4  '-y, -x, -z'"
TEXTS = {
    "plain": HEAD + SITES,
    "symmetric": (HEAD + SITES).replace(
        "  1  'x, y, z'", "  1  'x, y, z'\n  2  '-x, -y, -z'\n  3  'y, x, z'\n  4  '-y, -x, -z'"
    ),
    "cell last": f"data_CsCl\n{SITES}{CELL}",
    "with texts": f"data_CsCl\n_title\n;\n It's 'a quote\n of two lines\n;\n_name 'some name'\n{CELL}{SITES}",
}
POSCAR = "salt\n1.0\n4.1 0 0\n0 4.1 0\n0 0 4.1\nCs Cl\n1 1\ndirect\n0 0 0 Cs\n0.5 0.5 0.5 Cl\n"
UNHELPFUL = re.compile(r"ZeroDivision|zip\(\)|len\(items\)|reshape|convert string|\w+Error\)?: *\)|\bNone\b")
NAMES_WHAT_IS_WRONG = re.compile(
    r"no atom sites|structure is missing|no structure;|no CIF|sites or operations are missing|are no group|"
    r"cut short|has no cell|is missing or empty|zero-volume|has no coordinate|unknown element|"
    r"gives no structure|is not understood"
)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_cif_cut_at_any_byte_is_read_or_says_what_is_wrong(text):
    cuts = [*range(0, len(text), 3), len(text)]
    for cut, (crystal,) in zip(cuts, decode_some([text[:cut] for cut in cuts]), strict=True):
        if (found := crystal.fault) is not None:
            assert NAMES_WHAT_IS_WRONG.search(found), (cut, found)
            assert not UNHELPFUL.search(found), (cut, found)
            assert cut < len(text)


@pytest.mark.parametrize("header", ["_atom_site_typ", "_atom_site_type_symbol", "_atom_site_fract_x"])
def test_within_the_names_of_the_sites_the_last_line_is_shown(header):
    text = TEXTS["plain"]
    ((crystal,),) = decode_some([text[: text.index(header) + len(header)]])
    found = crystal.fault
    assert found.startswith("the CIF is cut short or damaged at line")
    assert header[:10] in found


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(TEXTS)), st.data())
def test_a_line_lost_from_the_middle(name, data):
    lines = TEXTS[name].split("\n")
    k = data.draw(st.integers(0, len(lines) - 1))
    ((crystal,),) = decode_some(["\n".join(lines[:k] + lines[k + 1 :])])
    assert not UNHELPFUL.search(crystal.fault or ""), crystal.fault


def test_json_and_poscar_cut_at_any_byte():
    for text in (json.dumps(SALT.as_dict()), POSCAR):
        for (crystal,) in decode_some([text[:cut] for cut in range(0, len(text), 5)]):
            found = crystal.fault
            assert found is None or len(found) > 20
            if found is not None and re.search(r"\((Index|Key|Type|Attribute|ZeroDivision)Error", found):
                assert "as where a file is cut short" in found


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(), r"\(ValueError\): something that belongs to it is missing .* cut short; mend it"),
        (ZeroDivisionError("division by zero"), "as where a file is cut short"),
        (IndexError("list index out of range"), "as where a file is cut short"),
        (StopIteration(), "as where a file is cut short"),
        (ValueError("7 atoms, 6 names"), r"^malformed structure \(ValueError: 7 atoms, 6 names\); mend it or"),
    ],
)
def test_what_a_parser_raises_becomes_a_reason(error, said, monkeypatch):
    def raising(*_):
        raise error

    monkeypatch.setattr(decode, "from_text", raising)
    ((found,),) = decode_some(["text"])
    assert re.search(said, found.fault)
