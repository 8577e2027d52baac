"""The header of any raw file of a semester: those of both arms' simulators, retold for modes that they do not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from archive_proc.simulate import headers as irdis
from archive_proc.simulate.ifs import headers as ifs
from archive_proc.simulate.ifs.facts import mode_named
from archive_proc.simulate.ifs.schedule import IfsExposure
from archive_proc.simulate.raw_file import Card, CardValue
from archive_proc.simulate.semester.exposures import RawFile

_POLARISERS = {"BB_H": "DP_0_BB_H", "BB_J": "DP_0_BB_J", "BB_Ks": "DP_0_BB_Ks"}
_ZIMPOL: Mapping[str, CardValue | None] = {
    # Pixels of the two cameras are extensions behind an empty primary unit.
    "BITPIX": 8,
    "NAXIS": 0,
    "NAXIS1": None,
    "NAXIS2": None,
    "NAXIS3": None,
    "DPR TECH": "POLARIMETRY",
    "SEQ ARM": "ZIMPOL",
    "DET ID": "ZIMPOL",
    "DET NAME": "ZIMPOL",
    "DET READ CURNAME": "FastPolarimetry",
    "INS3 MODE": "POLARIMETRY",
    "INS3 OPTI2 NAME": "CLEAR",
    "INS3 OPTI5 NAME": "N_R",
    "INS3 OPTI6 NAME": "N_I",
    "INS COMB ICOR": None,
    "INS COMB VCOR": "V_CLC_M_WF",
    "INS4 MODE": "ZIMPOL",
    "TPL ID": "SPHERE_zimpol_obs",
}
_LONG_SLIT: Mapping[str, CardValue | None] = {
    "DPR TECH": "SPECTRUM,CORONOGRAPHY",
    "INS COMB ICOR": "N_S_LR_WL",
    "INS COMB IFLT": "S_LR",
    "INS1 OPTI2 NAME": "P_LR",
    "TPL ID": "SPHERE_irdis_lss_obs",
}
_APERTURE_MASK: Mapping[str, CardValue | None] = {
    "DPR TECH": "IMAGE,DUAL",
    "INS COMB ICOR": "N_NS_CLEAR",
    "INS1 OPTI1 NAME": "ST_SAM_7",
    "TPL ID": "SPHERE_irdis_sam_obs",
}


def cards_of(file: RawFile, rng: np.random.Generator, counter: int) -> list[Card]:
    """All cards of a raw file; `counter` numbers ORIGFILE."""
    exposure, changes = file.exposure, dict[str, CardValue | None]()
    if isinstance(exposure, IfsExposure):
        cards = ifs.cards_of(exposure, mode_named(file.mode), file.observation, counter)
        if file.block is not None:
            changes |= _conditions(file)
            changes["INS COMB IFLT"] = file.block.filter
    else:
        cards = irdis.cards_of(exposure, file.sequence, rng, counter)
    if file.planes != exposure.ndit:
        changes["NAXIS3"] = file.planes
    block = file.block
    if block is not None and block.kind == "dpi":
        changes |= {
            "DPR TECH": "POLARIMETRY,CORONOGRAPHY" if exposure.dpr_type != "SKY" else "POLARIMETRY",
            "INS COMB POLA": _POLARISERS[block.filter],
            "INS1 OPTI2 NAME": "P0-90",
            "TPL ID": "SPHERE_irdis_dpi_obs",
        }
    elif block is not None and block.kind == "long_slit":
        changes |= _LONG_SLIT
    elif block is not None and block.kind == "aperture_mask":
        changes |= _APERTURE_MASK
    elif block is not None and block.kind == "zimpol":
        changes |= _ZIMPOL
    return retold(cards, changes)


def _conditions(file: RawFile) -> dict[str, CardValue | None]:
    """The IFS simulator knows one night's air only."""
    assert file.block is not None
    weather = file.block.weather
    return {
        "TEL AMBI FWHM START": weather.seeing_arcsec,
        "TEL AMBI FWHM END": weather.seeing_arcsec,
        "TEL AMBI TAU0": weather.tau0_s,
        "TEL IA FWHM": round(1.05 * weather.seeing_arcsec, 2),
        "INS4 COMB ROT": file.block.rot_mode,
    }


def retold(cards: Sequence[Card], changes: Mapping[str, CardValue | None]) -> list[Card]:
    """The cards with other values; None takes one out, what was not there comes last.

    >>> [one.value for one in retold([Card("A", 1), Card("B", 2)], {"A": 3, "B": None, "C": 4})]
    [3, 4]
    """
    if not changes:
        return list(cards)
    found = []
    for card in cards:
        if card.key not in changes:
            found.append(card)
        elif (value := changes[card.key]) is not None:
            found.append(Card(card.key, value, card.comment))
    known = {card.key for card in cards}
    return found + [Card(key, value) for key, value in changes.items() if value is not None and key not in known]
