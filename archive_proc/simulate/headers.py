"""The header of a simulated raw frame: the keywords of real IRDIS headers, values in their forms."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from archive_proc.simulate import celestial
from archive_proc.simulate.facts import (
    DITDELAY_S,
    ELEVATION_M,
    GAIN,
    HALF,
    LATITUDE_DEG,
    LONGITUDE_DEG,
    SHORTEST_DIT_S,
    FilterSetup,
    filter_setup,
    real_dit_s,
)
from archive_proc.simulate.raw_file import Card
from archive_proc.simulate.spec import SequenceSpec
from archive_proc.simulate.timeline import Exposure, to_mjd

DROT_RENAMED = dt.datetime(2021, 6, 1)
"""From about here `INS4 DROT2 BEGIN` is called START."""
SKY_OFFSET_DEG = 11.0 / 3600.0
WAFFLE_UM = 0.04


@dataclass(frozen=True, slots=True)
class Sky:
    """Where the telescope looks during one exposure."""

    place: celestial.Place
    start: celestial.Pointing
    end: celestial.Pointing
    fault_start_deg: float
    fault_end_deg: float


def sky_of(exposure: Exposure, sequence: SequenceSpec) -> Sky:
    """Apparent place and directions at the start and end of an exposure."""
    star = sequence.star
    place = celestial.apparent_place(star.ra_deg, star.dec_deg, star.pm_ra_mas, star.pm_dec_mas, exposure.mjd)
    end = exposure.mjd + exposure.exposure_time_s / 86400.0
    return Sky(
        place,
        celestial.pointing(place, exposure.mjd),
        celestial.pointing(place, end),
        fault(exposure.mjd, sequence),
        fault(end, sequence),
    )


def fault(mjd: float, sequence: SequenceSpec) -> float:
    """The derotator's error at a time, deg; 0 in field tracking, where it is not defined."""
    if sequence.rot_mode != "PUPIL":
        return 0.0
    return celestial.derotator_fault_deg(
        mjd, sequence.derotator_fault_deg, sequence.derotator_fault_deg_per_hour, to_mjd(sequence.start)
    )


def stamp(when: dt.datetime, digits: int = 4) -> str:
    """ISO time with this many decimals, cut."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond:06d}"[: 20 + digits]


def cards_of(
    exposure: Exposure, sequence: SequenceSpec | None, rng: np.random.Generator, counter: int, binning: int = 1
) -> list[Card]:
    """All cards of one file. `sequence` is None for calibrations; `counter` numbers ORIGFILE."""
    setup = filter_setup(exposure.filter)
    sky = None if sequence is None else sky_of(exposure, sequence)
    cards = _primary(exposure, sequence, counter, binning)
    cards += _template(exposure, sequence)
    cards += _telescope(sky, sequence)
    cards += _instrument(exposure, setup, sky, sequence, rng)
    cards += _detector(exposure, rng)
    cards += _loops(exposure, sequence)
    if binning > 1:
        cards += [Card(f"DET WIN1 BIN{axis}", binning, f"Binning factor along {axis}") for axis in "XY"]
    return cards


def _primary(exposure: Exposure, sequence: SequenceSpec | None, counter: int, binning: int) -> list[Card]:
    start = exposure.start
    earlier = start - dt.timedelta(seconds=1.3)
    utc = earlier.hour * 3600 + earlier.minute * 60 + earlier.second
    utc_mjd = int(exposure.mjd) + utc / 86400.0
    cards = [
        Card("SIMPLE", True, "Standard FITS"),
        Card("BITPIX", -32, "# of bits storing pix values"),
        Card("NAXIS", 3, "# of axes in frame"),
        Card("NAXIS1", 2 * HALF // binning, "# of pixels/row"),
        Card("NAXIS2", HALF // binning, "# of rows (also # of scan lines)"),
        Card("NAXIS3", exposure.ndit, "# of planes"),
        Card("ORIGIN", "ESO-PARANAL", "European Southern Observatory"),
        Card(
            "DATE", stamp(start + dt.timedelta(seconds=exposure.exposure_time_s + 1), 4), "Date this file was written"
        ),
        Card("TELESCOP", "ESO-VLT-U3", "ESO <TEL>"),
        Card("INSTRUME", "SPHERE", "Instrument used."),
        Card("OBJECT", exposure.dpr_type if sequence is None else sequence.star.name, "Original target."),
    ]
    if sequence is not None:
        offset = SKY_OFFSET_DEG if exposure.dpr_type == "SKY" else 0.0
        cards += [
            Card("RA", round(sequence.star.ra_deg, 6), "[deg] RA (J2000) pointing"),
            Card("DEC", round(sequence.star.dec_deg + offset, 5), "[deg] DEC (J2000) pointing"),
            Card("EQUINOX", 2000.0, "Standard FK5"),
            Card("RADECSYS", "FK5", "Coordinate system"),
        ]
    return [
        *cards,
        Card("EXPTIME", exposure.dit_s, "Integration time"),
        Card("MJD-OBS", round(exposure.mjd, 8), stamp(start)),
        Card("DATE-OBS", stamp(start), "Observing date"),
        Card("UTC", float(utc), "[s] UTC"),
        Card("LST", round(celestial.sidereal_deg(utc_mjd) * 240.0, 3), "[s] LST"),
        Card("PI-COI", "UNKNOWN", "PI-COI name."),
        Card("OBSERVER", "UNKNOWN", "Name of observer."),
        Card("ORIGFILE", f"SPHERE_IRDIS_OBS{start:%j}_{counter:04d}.fits", "Original File Name"),
        Card("BUNIT", "adu", "Physical Unit"),
        Card("ARCFILE", f"{exposure.file_id}.fits", "Archive File Name"),
    ]


def _template(exposure: Exposure, sequence: SequenceSpec | None) -> list[Card]:
    setup = filter_setup(exposure.filter)
    science = exposure.letter != ""
    technique = (
        ("IMAGE,DUAL,CORONOGRAPHY" if setup.dual_band else "IMAGE,CLASSICAL,CORONOGRAPHY") if science else "IMAGE"
    )
    cards = [
        Card("DPR CATG", "SCIENCE" if science else "CALIB", "Observation category"),
        Card("DPR TECH", technique, "Observation technique"),
        Card("DPR TYPE", exposure.dpr_type, "Observation type"),
        Card("OBS CONTAINER ID", -999, "Scheduling container ID"),
        Card("OBS EXECTIME", 4200 if science else 0, "Expected execution time"),
        Card("OBS ID", exposure.ob_id, "Observation block ID"),
        Card("OBS NAME", exposure.ob_name, "OB name"),
        Card("OBS PI-COI NAME", "UNKNOWN", "PI-COI name"),
        Card("OBS PROG ID", exposure.program, "ESO program identification"),
        Card("OBS START", stamp(exposure.ob_start, -1), "OB start time"),
        Card("OBS TPLNO", exposure.template_number, "Template number within OB"),
        Card("TPL EXPNO", exposure.exposure_number, "Exposure number within template"),
        Card("TPL ID", exposure.template, "Template signature ID"),
        Card("TPL NEXP", exposure.exposures, "Number of exposures within template"),
        Card("TPL START", stamp(exposure.template_start, -1), "TPL start time"),
    ]
    if sequence is not None:
        cards += [
            Card("OBS TARG NAME", sequence.star.name, "OB target name"),
            Card("OCS OBSTYPE LIST", exposure.obstype_list, "User defined list of observ. types"),
            Card("OCS WAFFLE AMPL", WAFFLE_UM, "User defined waffle amplitude"),
            Card("OCS WAFFLE ORIENT", "x", "User defined waffle orientation"),
        ]
    return [*cards, Card("SEQ ARM", "IRDIS", "Name of the sub-system.")]


def _telescope(sky: Sky | None, sequence: SequenceSpec | None) -> list[Card]:
    cards = [
        Card("TEL GEOELEV", ELEVATION_M, "[m] Elevation above sea level"),
        Card("TEL GEOLAT", LATITUDE_DEG, "[deg] Tel geo latitute (+=North)"),
        Card("TEL GEOLON", LONGITUDE_DEG, "[deg] Tel geo longitude (+=East)"),
    ]
    if sky is None or sequence is None:
        return cards
    weather, star = sequence.weather, sequence.star
    return [
        *cards,
        Card("TEL AIRM END", round(sky.end.airmass, 3), "Airmass at end"),
        Card("TEL AIRM START", round(sky.start.airmass, 3), "Airmass at start"),
        Card("TEL ALT", round(sky.start.altitude_deg, 3), "[deg] Alt angle at start"),
        Card("TEL AMBI FWHM END", weather.seeing_arcsec + 0.05, "[arcsec] Observatory Seeing"),
        Card("TEL AMBI FWHM START", weather.seeing_arcsec, "[arcsec] Observatory Seeing"),
        Card("TEL AMBI RHUM", 12.5, "[%] Observatory ambient relative humidity"),
        Card("TEL AMBI TAU0", weather.tau0_s, "[s] Average coherence time"),
        Card("TEL AMBI TEMP", 10.62, "[deg C] Observatory ambient temperature"),
        Card("TEL AMBI WINDDIR", weather.wind_position_angle_deg, "[deg] Observatory ambient wind direction"),
        Card("TEL AMBI WINDSP", 9.38, "[m/s] Observatory ambient wind speed"),
        Card("TEL AZ", round(sky.start.azimuth_deg, 3), "[deg] Az angle at start S=0,W=90"),
        Card("TEL IA FWHM", round(weather.seeing_arcsec * 1.05, 2), "[arcsec] Delivered seeing"),
        Card("TEL PARANG END", round(sky.end.parallactic_deg, 3), "[deg] Parallactic angle at end"),
        Card("TEL PARANG START", round(sky.start.parallactic_deg, 3), "[deg] Parallactic angle at start"),
        Card("TEL TARG ALPHA", celestial.packed(star.ra_deg / 15.0, 3), "Alpha coordinate for the target"),
        Card("TEL TARG DELTA", celestial.packed(star.dec_deg, 3), "Delta coordinate for the target"),
        Card("TEL TARG EQUINOX", 2000.0, "[yr] Equinox"),
        Card("TEL TARG PMA", star.pm_ra_mas / 1000.0, "[arcsec/yr] Proper Motion Alpha"),
        Card("TEL TARG PMD", star.pm_dec_mas / 1000.0, "[arcsec/yr] Proper motion Delta"),
    ]


def _instrument(
    exposure: Exposure,
    setup: FilterSetup,
    sky: Sky | None,
    sequence: SequenceSpec | None,
    rng: np.random.Generator,
) -> list[Card]:
    dark = exposure.dpr_type == "DARK"
    # The dither stage settles within 0.2 um.
    scatter = rng.normal(0.0, 0.1, 2)
    stage = [18.0 * step + float(wrong) for step, wrong in zip(exposure.dither, scatter, strict=True)]
    cards = [
        Card("INS COMB ICOR", setup.coronagraph, "Infra-Red coronograph combination name."),
        Card("INS COMB IFLT", setup.name, "Infra-Red filter combination name."),
        Card("INS COMB POLA", "", "Polarisation combination name."),
        Card("INS COMB VCOR", "V_NC_WF", "Visible coronograph combination name."),
        Card("INS1 DITH POSX", float(exposure.dither[0]), "X Position for dithering"),
        Card("INS1 DITH POSY", float(exposure.dither[1]), "Y Position for dithering"),
        Card("INS1 FILT ID", f"FILT_BBF_{setup.broad_band[2:]}", "IRDIS filter unique id."),
        Card("INS1 FILT NAME", setup.broad_band, "IRDIS filter name."),
        Card("INS1 MODE", "NIROBS", "Instrument mode used."),
        Card("INS1 OPTI1 NAME", "CLOSED" if dark else setup.lyot_stop, "IRDIS Lyot stop."),
        Card("INS1 OPTI2 ID", "CLEAR" if setup.dual == "CLEAR" else f"FILT_DBF_{setup.dual[2:]}", "OPTIi unique ID."),
        Card("INS1 OPTI2 NAME", setup.dual, "IRDIS Dual Filter."),
        Card("INS1 PAC X", round(stage[0], 3), "[um] X-Axis absolute position"),
        Card("INS1 PAC Y", round(stage[1], 3), "[um] Y-Axis absolute position"),
        Card("INS4 COMB ROT", "PUPIL" if sequence is None else sequence.rot_mode, "Derotator and ADC modes"),
        Card("INS4 FILT2 NAME", exposure.nd_filter, "NIR Neutral Density filters."),
        Card("INS4 FILT3 NAME", "LP_780", "Wavefront sensor spectral filter."),
        Card("INS4 LAMP2 ST", exposure.dpr_type == "FLAT,LAMP", "Lamp on"),
        Card("INS4 MODE", "IRDIS", "Instrument mode used."),
        Card("INS4 OPTI22 NAME", "SMALL", "WFS spatial filter."),
        Card("INS4 SHUT ST", sequence is not None, "Shutter open [T] or closed [F]."),
    ]
    if sky is None or sequence is None:
        return [*cards, Card("INS4 DROT2 MODE", "STAT", "Derotator mode.")]
    begin = celestial.derotator_deg(sky.start.altitude_deg, sky.fault_start_deg)
    end = celestial.derotator_deg(sky.end.altitude_deg, sky.fault_end_deg)
    name = "START" if exposure.start >= DROT_RENAMED else "BEGIN"
    return [
        *cards,
        Card(f"INS4 DROT2 {name}", round(begin, 4), "[deg] Position angle at start."),
        Card("INS4 DROT2 DEC", celestial.packed(sky.place.dec_deg, 5), "Telescope desclination."),
        Card("INS4 DROT2 END", round(end, 4), "[deg] Position angle at end."),
        Card("INS4 DROT2 MODE", "ELEV" if sequence.rot_mode == "PUPIL" else "SKY", "Derotator mode."),
        Card("INS4 DROT2 POSANG", 0.0, "[deg] Position angle."),
        Card("INS4 DROT2 RA", celestial.packed(sky.place.ra_deg / 15.0, 6), "Telescope right ascension."),
    ]


def _detector(exposure: Exposure, rng: np.random.Generator) -> list[Card]:
    reads = max(int(exposure.dit_s / SHORTEST_DIT_S + 1e-6), 1)
    # The file is closed a moment after the last read.
    closed = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s + float(rng.uniform(0.2, 0.7)))
    return [
        Card("DET CHIP1 GAIN", GAIN, "Gain in e-/ADU"),
        Card("DET CHIP1 ID", "ESO-Hawaii2RG", "Detector chip identification"),
        Card("DET CHIP1 NX", 2 * HALF, "number of pixels along x"),
        Card("DET CHIP1 NY", HALF, "number of pixels along y"),
        Card("DET CHIP1 RON", 0.0, "Read-out noise in e-"),
        Card("DET DITDELAY", DITDELAY_S, "[s] Delay before integration"),
        Card("DET EXP NO", exposure.exposure_number, "Exposure number"),
        Card("DET FRAM FORMAT", "cube", "FITS file format"),
        Card("DET FRAM NO", exposure.ndit, "Frame number"),
        Card("DET FRAM UTC", stamp(closed), "File Creation Time"),
        Card("DET ID", "IRDIS", "Detector system Id"),
        Card("DET NAME", "IRDIS", "Name of detector system"),
        Card("DET NDIT", exposure.ndit, "Number of Sub-Integrations"),
        Card("DET NDSAMPLES", min(reads + 1, 20), "Number of Non-Destructive Samples"),
        Card("DET READ CURNAME", "Nondest", "Used readout mode name"),
        Card("DET SEQ UTC", stamp(exposure.start), "Sequencer Start Time"),
        Card("DET SEQ1 DIT", exposure.dit_s, "[s] Integration time"),
        Card("DET SEQ1 EXPTIME", round(exposure.exposure_time_s, 6), "[s] Exposure Sequence Time"),
        Card("DET SEQ1 MINDIT", round(reads * SHORTEST_DIT_S, 6), "[s] Minimum DIT"),
        Card("DET SEQ1 REALDIT", round(real_dit_s(exposure.dit_s), 6), "[s] Actual integration time"),
    ]


def _loops(exposure: Exposure, sequence: SequenceSpec | None) -> list[Card]:
    if sequence is None:
        return []
    on = "OPEN_LOOP" if exposure.dpr_type == "SKY" else "CLOSED_LOOP"
    # The differential tip-tilt sensor loses the star when it leaves the mask: open in FLUX is normal.
    infrared = "OPEN_LOOP" if exposure.letter == "F" or sequence.tip_tilt_open else on
    return [
        Card("AOS HOLOOP STATE", on, "State of Visible High Order Loop"),
        Card("AOS IRLOOP STATE", infrared, "State of IR Differential Tip Tilt"),
        Card("AOS PUPLOOP STATE", on, "State of Pupil Loop"),
        Card("AOS TTLOOP STATE", on, "State of Image Tip Tilt Loop"),
        Card("AOS VISWFS MODE", "GAIN_1000_FREQ_1200Hz", "SPARTA Visible WFS detector mode"),
    ]
