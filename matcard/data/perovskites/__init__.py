"""The embedded data set: synthetic perovskites in five phases, made from what pymatgen knows of ions."""

from matcard.data.perovskites.table import perovskite_phases as perovskite_phases
