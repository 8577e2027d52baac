"""The header of a simulated IFS frame: the keywords and traps of real ones (notes/ifs.md section 2).

`INS COMB IFLT` is the other arm's filter; `INS2 CAL` is OFF while lasers burn; calibrations have no pointing, but their
derotator claims one; the coronagraph's name means nothing by day; detector flats of two DITs differ in their DIT only.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from archive_proc.simulate import celestial
from archive_proc.simulate.facts import ELEVATION_M, LATITUDE_DEG, LONGITUDE_DEG
from archive_proc.simulate.headers import SKY_OFFSET_DEG, stamp
from archive_proc.simulate.ifs.facts import DITDELAY_S, GAIN, READ_S, SIZE, Mode, real_dit_s, samples
from archive_proc.simulate.ifs.schedule import DAY_TEMPLATES, IfsExposure
from archive_proc.simulate.ifs.spec import IfsObservation
from archive_proc.simulate.raw_file import Card

CORONAGRAPH = "N_ALC_YJH_S"
IRDIS_FILTERS = {"DB_H23": ("B_H", "FILT_BBF_H", "D_H23"), "DB_K12": ("B_Ks", "FILT_BBF_Ks", "D_K12")}
SEEING_ARCSEC = 0.7


@dataclass(frozen=True, slots=True)
class Stage:
    """Where movable parts stood: the same in calibrations and science, or the grid is moved."""

    pac_um: tuple[float, float] = (198.292, 5.765)
    """`INS2 PAC X`, `Y`."""
    focus_mm: float = -15.7
    """`INS2 POS POS`."""


@dataclass(frozen=True, slots=True)
class Sky:
    """Where the telescope looks during one exposure."""

    place: celestial.Place
    start: celestial.Pointing
    end: celestial.Pointing


def sky_of(exposure: IfsExposure, observation: IfsObservation) -> Sky:
    """Apparent place and directions at the start and end of an exposure."""
    star = observation.target
    place = celestial.apparent_place(star.ra_deg, star.dec_deg, star.pm_ra_mas, star.pm_dec_mas, exposure.mjd)
    end = exposure.mjd + exposure.exposure_time_s / 86400.0
    return Sky(place, celestial.pointing(place, exposure.mjd), celestial.pointing(place, end))


def cards_of(
    exposure: IfsExposure,
    mode: Mode,
    observation: IfsObservation | None,
    counter: int,
    *,
    stage: Stage = Stage(),
    dark_lasers: tuple[str, ...] = (),
) -> list[Card]:
    """All cards of one file. `observation` is None for calibrations; `counter` numbers ORIGFILE.

    `dark_lasers` are said to be off.
    """
    sky = None if observation is None else sky_of(exposure, observation)
    cards = _primary(exposure, observation, counter)
    cards += _loops(exposure)
    cards += _detector(exposure)
    cards += _template(exposure, observation)
    cards += _other_arm(exposure, mode, observation)
    cards += _instrument(exposure, mode, stage)
    cards += _common_path(exposure, mode, sky)
    cards += _lamps(exposure, mode, dark_lasers)
    cards += _telescope(sky, observation)
    cards += [Card("PIXSCAL", 7.46, "[mas/pixel] IFS pixel scale")]
    return [*cards, Card("ARCFILE", f"{exposure.file_id}.fits", "Archive File Name")]


def _primary(exposure: IfsExposure, observation: IfsObservation | None, counter: int) -> list[Card]:
    start = exposure.start
    closed = start + dt.timedelta(seconds=exposure.exposure_time_s + 0.69)
    cards = [
        Card("SIMPLE", True, "Standard FITS"),
        Card("BITPIX", -32, "# of bits per pix value"),
        Card("NAXIS", 3, "# of axes in data array"),
        Card("NAXIS1", SIZE, "# of pixels in axis1"),
        Card("NAXIS2", SIZE, "# of pixels in axis2"),
        Card("NAXIS3", exposure.ndit, "# of pixels in axis3"),
        Card("EXTEND", True, "FITS Extension may be present"),
        Card("BZERO", 0.0, "Pixel=FITS*BSCALE+BZERO"),
        Card("BSCALE", 1.0, "Pixel=FITS*BSCALE+BZERO"),
        Card("ORIGIN", "ESO-PARANAL", "European Southern Observatory"),
        Card("DATE", stamp(closed), "Date the file was written"),
        Card("TELESCOP", "ESO-VLT-U3", "ESO <TEL>"),
        Card("INSTRUME", "SPHERE", "Instrument used."),
        Card("OBJECT", exposure.dpr_type if observation is None else observation.target.name, "Original target."),
    ]
    if observation is not None:
        offset = SKY_OFFSET_DEG if exposure.kind == "S" else 0.0
        cards += [
            Card("RA", round(observation.target.ra_deg, 6), "[deg] RA (J2000) pointing"),
            Card("DEC", round(observation.target.dec_deg + offset, 5), "[deg] DEC (J2000) pointing"),
            Card("EQUINOX", 2000.0, "Standard FK5"),
            Card("RADECSYS", "FK5", "Coordinate system"),
        ]
    cards += [
        Card("EXPTIME", exposure.dit_s, "Integration time"),
        Card("MJD-OBS", round(exposure.mjd, 8), stamp(start)),
        Card("DATE-OBS", stamp(start), "Observing date"),
    ]
    if observation is not None:
        earlier = start - dt.timedelta(seconds=1.3)
        utc = earlier.hour * 3600 + earlier.minute * 60 + earlier.second
        cards += [
            Card("UTC", float(utc), "[s] UTC"),
            Card("LST", round(celestial.sidereal_deg(int(exposure.mjd) + utc / 86400.0) * 240.0, 3), "[s] LST"),
            Card("OBSERVER", "UNKNOWN", "Name of observer."),
        ]
    name = "OBS" if exposure.science else f"CAL_{exposure.kind.upper()}"
    return [
        *cards,
        Card("PI-COI", "UNKNOWN", "PI-COI name."),
        Card("CTYPE1", "PIXEL", "Pixel coordinate system"),
        Card("CTYPE2", "PIXEL", "Pixel coordinate system"),
        Card("ORIGFILE", f"SPHERE_IRDIFS_IFS_{name}{start:%j}_{counter:04d}.fits", "Original File Name"),
        Card("BUNIT", "adu", "Physical Unit"),
    ]


def _loops(exposure: IfsExposure) -> list[Card]:
    on = "CLOSED_LOOP" if exposure.science else "IDLE"
    if exposure.kind == "S":
        on = "OPEN_LOOP"
    # The differential tip-tilt sensor loses the star when it leaves the mask.
    infrared = "OPEN_LOOP" if exposure.kind == "F" else on
    return [
        Card("AOS HOLOOP STATE", on, "State of Visible High Order Loop"),
        Card("AOS IRLOOP STATE", infrared, "State of IR Differential Tip Tilt"),
        Card("AOS IRWFS MODE", "DTTS3", "SPARTA Infrared WFS detector mode"),
        Card("AOS PUPLOOP STATE", on, "State of Pupil Loop"),
        Card("AOS TTLOOP STATE", on, "State of Image Tip Tilt Loop"),
        Card("AOS VISWFS MODE", "GAIN_1000_FREQ_1200Hz", "SPARTA Visible WFS detector mode"),
    ]


def _detector(exposure: IfsExposure) -> list[Card]:
    reads = samples(exposure.dit_s)
    # The file is closed 0.69 s after the last cycle, as in eight real headers.
    closed = exposure.start + dt.timedelta(seconds=exposure.exposure_time_s + 0.69)
    return [
        Card("DET CHIP1 GAIN", GAIN, "Gain in e-/ADU"),
        Card("DET CHIP1 ID", "ESO-Hawaii2RG", "Detector chip identification"),
        Card("DET CHIP1 NX", SIZE, "number of pixels along x"),
        Card("DET CHIP1 NY", SIZE, "number of pixels along y"),
        Card("DET CHIP1 RON", 0.0, "Read-out noise in e-"),
        Card("DET DITDELAY", DITDELAY_S, "[s] Delay before integration"),
        Card("DET EXP NO", exposure.exposure_number, "Exposure number"),
        Card("DET FRAM FORMAT", "cube", "FITS file format"),
        Card("DET FRAM NO", exposure.ndit, "Frame number"),
        Card("DET FRAM TYPE", "DIT", "Frame type"),
        Card("DET FRAM UTC", stamp(closed), "File Creation Time"),
        Card("DET ID", "IFS", "Detector system Id"),
        Card("DET NAME", "IFS", "Name of detector system"),
        Card("DET NDIT", exposure.ndit, "Number of Sub-Integrations"),
        Card("DET NDITSKIP", 0, "DITs skipped at 1st.INT"),
        Card("DET NDSAMPLES", reads, "Number of Non-Destructive Samples"),
        Card("DET READ CURID", 4, "Used readout mode id"),
        Card("DET READ CURNAME", "Nondest", "Used readout mode name"),
        Card("DET SEQ UTC", stamp(exposure.start), "Sequencer Start Time"),
        Card("DET SEQ1 DIT", exposure.dit_s, "[s] Integration time"),
        Card("DET SEQ1 EXPTIME", round(exposure.exposure_time_s, 6), "[s] Exposure Sequence Time"),
        Card("DET SEQ1 MINDIT", round((reads - 1) * READ_S, 6), "[s] Minimum DIT"),
        Card("DET SEQ1 REALDIT", round(real_dit_s(exposure.dit_s), 6), "[s] Actual integration time"),
    ]


def _template(exposure: IfsExposure, observation: IfsObservation | None) -> list[Card]:
    on_detector = exposure.kind in ("dark", "background", "detector_flat")
    template, name = (
        ("SPHERE_irdifs_obs", "IFS and IRDIS observations") if exposure.science else DAY_TEMPLATES[exposure.kind]
    )
    cards = [
        Card("DPR CATG", "SCIENCE" if exposure.science else "CALIB", "Observation category"),
        Card("DPR TECH", "IMAGE" if on_detector else "IFU", "Observation technique"),
        Card("DPR TYPE", exposure.dpr_type, "Observation type"),
        Card("OBS ID", exposure.ob_id, "Observation block ID"),
        Card("OBS NAME", exposure.ob_name, "OB name"),
        Card("OBS PI-COI NAME", "UNKNOWN", "PI-COI name"),
        Card("OBS PROG ID", exposure.program, "ESO program identification"),
        Card("OBS START", stamp(exposure.ob_start, -1), "OB start time"),
        Card("OBS TPLNO", exposure.template_number, "Template number within OB"),
        Card(
            "OCS DET1 IMGNAME",
            "SPHERE_IRDIFS_IFS_OBS" if exposure.science else "SPHERE_IRDIFS_IFS_CAL",
            "Data File Name.",
        ),
        Card("SEQ ARM", "IFS", "Name of the sub-system."),
        Card("TPL EXPNO", exposure.exposure_number, "Exposure number within template"),
        Card("TPL ID", template, "Template signature ID"),
        Card("TPL NAME", name, "Template name"),
        Card("TPL NEXP", exposure.exposures, "Number of exposures within template"),
        Card("TPL START", stamp(exposure.template_start, -1), "TPL start time"),
    ]
    if observation is not None:
        cards += [
            Card("OBS CONTAINER ID", -999, "Scheduling container ID"),
            Card("OBS EXECTIME", 3485, "Expected execution time"),
            Card("OBS TARG NAME", observation.target.name, "OB target name"),
            Card("OCS OBSTYPE LIST", exposure.obstype_list, "User defined list of observ. types"),
            Card("OCS WAFFLE AMPL", 0.05, "User defined waffle amplitude"),
            Card("OCS WAFFLE ORIENT", "x", "User defined waffle orientation"),
        ]
    return cards


def _other_arm(exposure: IfsExposure, mode: Mode, observation: IfsObservation | None) -> list[Card]:
    broad, identity, dual = IRDIS_FILTERS[mode.irdis_filter]
    lit = exposure.kind in ("detector_flat", "ifu_flat", "specpos")
    # Scenes that fill all lenslets are looked at without a mask: they have no centre.
    starlit = observation is not None and observation.scene in ("star", "disc")
    clear = "N_NS_CLEAR" if lit or exposure.science else "N_NS_OPAQUE"
    return [
        Card("INS COMB ICOR", CORONAGRAPH if starlit else clear, "Infra-Red coronograph combination name."),
        Card("INS COMB IFLT", mode.irdis_filter, "Infra-Red filter combination name."),
        Card("INS COMB POLA", "", "Polarisation combination name."),
        Card("INS COMB VCOR", "V_NC_WF", "Visible coronograph combination name."),
        Card("INS1 DITH POSX", 0.0, "X Position for dithering"),
        Card("INS1 DITH POSY", 0.0, "Y Position for dithering"),
        Card("INS1 FILT ID", identity, "IRDIS filter unique id."),
        Card("INS1 FILT NAME", broad, "IRDIS filter name."),
        Card("INS1 MODE", "NIROBS", "Instrument mode used."),
        Card("INS1 OPTI1 NAME", "ST_ALC2" if exposure.science else "CLOSED", "IRDIS Lyot stop."),
        Card("INS1 OPTI2 NAME", dual, "IRDIS Dual Filter."),
        Card("INS1 PAC X", -0.152, "[um] X-Axis absolute position"),
        Card("INS1 PAC Y", -0.001, "[um] Y-Axis absolute position"),
    ]


def _instrument(exposure: IfsExposure, mode: Mode, stage: Stage) -> list[Card]:
    cards = [
        # OFF in laser frames too: the lasers are lamps of the common path.
        Card("INS2 CAL", "OFF", "Calibration lamps"),
        Card("INS2 COMB IFS", exposure.comb, "IFS device combination"),
        Card("INS2 DITH POSX", 0.0, "X Position for dithering"),
        Card("INS2 DITH POSY", 0.0, "Y Position for dithering"),
        Card("INS2 FILT NAME", "OPEN", "Name of the IFS ND filter."),
        Card("INS2 ID", "IFS/176642", "Instrument ID."),
        Card("INS2 MODE", "NIROBS" if exposure.science else mode.mode_keyword, "Instrument mode used."),
        Card("INS2 OPTI1 NAME", "OPEN", "IFS calibration pickup mirror."),
        Card("INS2 OPTI2 ID", mode.prism_id, "OPTIi unique ID."),
        Card("INS2 OPTI2 NAME", mode.prism, "IFS disperser selector."),
        Card("INS2 OPTI2 NO", mode.prism_number, "OPTIi slot number."),
        Card("INS2 PAC X", stage.pac_um[0], "[um] X-Axis absolute position on the detector"),
        Card("INS2 PAC Y", stage.pac_um[1], "[um] Y-Axis absolute position on the detector."),
        Card("INS2 POS POS", stage.focus_mm, "[mm] IFS camera focus position."),
        Card("INS2 SHUT ST", exposure.kind not in ("dark", "background"), "Shutter open."),
        Card("INS2 TEMP201 VAL", 82.14, "[K] IFS detector T."),
    ]
    if exposure.kind == "detector_flat":
        lamp = next(one for one in mode.lamps if one.comb == exposure.comb)
        cards += [
            Card(f"INS2 LAMP{lamp.number} ID", lamp.name, "Lamp ID."),
            Card(f"INS2 LAMP{lamp.number} NAME", lamp.name, "Lamp name."),
            Card(f"INS2 LAMP{lamp.number} ST", True, "Lamp activated."),
        ]
    return cards


def _common_path(exposure: IfsExposure, mode: Mode, sky: Sky | None) -> list[Card]:
    name, identity, number = mode.dichroic
    devices = "OBS" if exposure.science else f"SPECTR_ISPH_{DAY_TEMPLATES[exposure.kind][0][14:].upper()}_IFS"
    cards = [
        Card("INS4 COMB CAL", devices, "Calibration devices in common path"),
        Card("INS4 COMB ROT", "PUPIL" if exposure.science else "CAL_ZENITH", "Assembly for derotator and ADC modes"),
        Card("INS4 FILT2 NAME", exposure.nd_filter, "NIR Neutral Density filters."),
        Card("INS4 FILT3 NAME", "OPEN" if exposure.science else "LP_780", "Wavefront sensor spectral filter."),
        Card("INS4 MODE", mode.common_mode, "Instrument mode used."),
        Card("INS4 OPTI13 ID", identity, "OPTIi unique ID."),
        Card("INS4 OPTI13 NAME", name, "IRDIS-IFS selector."),
        Card("INS4 OPTI13 NO", number, "OPTIi slot number."),
        Card("INS4 OPTI22 NAME", "MEDIUM" if exposure.science else "FIELDSTP", "WFS spatial filter."),
        Card("INS4 SHUT ST", exposure.science, "Shutter open [T] or closed [F]."),
    ]
    if sky is None:
        # By day the derotator stands still; RA and DEC are those of the zenith.
        zenith = celestial.sidereal_deg(exposure.mjd)
        angles = [-0.0001, -0.0001, zenith / 15.0, LATITUDE_DEG]
        tracking = "STAT"
    else:
        begin = celestial.derotator_deg(sky.start.altitude_deg, 0.0) + 180.0
        end = celestial.derotator_deg(sky.end.altitude_deg, 0.0) + 180.0
        angles = [begin, end, sky.place.ra_deg / 15.0, sky.place.dec_deg]
        tracking = "ELEV"
    return [
        *cards,
        Card("INS4 DROT2 BEGIN", round(angles[0], 4), "[deg] Position angle at start."),
        Card("INS4 DROT2 DEC", celestial.packed(angles[3], 5), "Telescope desclination."),
        Card("INS4 DROT2 END", round(angles[1], 4), "[deg] Position angle at end."),
        Card("INS4 DROT2 MODE", tracking, "Derotator mode."),
        Card("INS4 DROT2 POSANG", 0.0, "[deg] Position angle."),
        Card("INS4 DROT2 RA", celestial.packed(angles[2], 6), "Telescope right ascension."),
    ]


def _lamps(exposure: IfsExposure, mode: Mode, dark_lasers: tuple[str, ...]) -> list[Card]:
    cards: list[Card] = []
    for laser in mode.lasers if exposure.kind == "wave" else ():
        burns = laser.name not in dark_lasers
        cards += [
            Card(f"INS4 LAMP{laser.lamp} ID", laser.name, "Lamp ID."),
            Card(f"INS4 LAMP{laser.lamp} NAME", laser.name, f"Laser {laser.label}."),
            Card(f"INS4 LAMP{laser.lamp} ST", burns, "Lamp activated."),
            Card(f"INS4 LAMPTCL{laser.loop} ID", f"CBT{laser.loop}", "Laser T control loop ID."),
            Card(f"INS4 LAMPTCL{laser.loop} NAME", f"CBT{laser.loop}", f"Laser {laser.label} T control loop"),
            Card(f"INS4 LAMPTCL{laser.loop} ST", burns, "Laser T control loop state"),
        ]
    if exposure.kind in ("ifu_flat", "specpos"):
        cards += [
            Card("INS4 LAMP2 ID", "QTH1", "Lamp ID."),
            Card("INS4 LAMP2 NAME", "QTH1", "Quartz-Tungsten-Halogen lamp."),
            Card("INS4 LAMP2 ST", True, "Lamp activated."),
        ]
    return cards


def _telescope(sky: Sky | None, observation: IfsObservation | None) -> list[Card]:
    if sky is None or observation is None:
        return []
    star = observation.target
    return [
        Card("TEL AIRM END", round(sky.end.airmass, 3), "Airmass at end"),
        Card("TEL AIRM START", round(sky.start.airmass, 3), "Airmass at start"),
        Card("TEL ALT", round(sky.start.altitude_deg, 3), "[deg] Alt angle at start"),
        Card("TEL AMBI FWHM END", SEEING_ARCSEC, "[arcsec] Observatory Seeing"),
        Card("TEL AMBI FWHM START", SEEING_ARCSEC, "[arcsec] Observatory Seeing"),
        Card("TEL AMBI RHUM", 16.0, "[%] Observatory ambient relative humidity"),
        Card("TEL AMBI TAU0", 0.005, "[s] Average coherence time"),
        Card("TEL AMBI TEMP", 14.31, "[deg C] Observatory ambient temperature"),
        Card("TEL AMBI WINDDIR", 36.5, "[deg] Observatory ambient wind direction"),
        Card("TEL AMBI WINDSP", 9.03, "[m/s] Observatory ambient wind speed"),
        Card("TEL AZ", round(sky.start.azimuth_deg, 3), "[deg] Az angle at start S=0,W=90"),
        Card("TEL GEOELEV", ELEVATION_M, "[m] Elevation above sea level"),
        Card("TEL GEOLAT", LATITUDE_DEG, "[deg] Tel geo latitute (+=North)"),
        Card("TEL GEOLON", LONGITUDE_DEG, "[deg] Tel geo longitude (+=East)"),
        Card("TEL IA FWHM", SEEING_ARCSEC, "[arcsec] Delivered seeing"),
        Card("TEL PARANG END", round(sky.end.parallactic_deg, 3), "[deg] Parallactic angle at end"),
        Card("TEL PARANG START", round(sky.start.parallactic_deg, 3), "[deg] Parallactic angle at start"),
        Card("TEL TARG ALPHA", celestial.packed(star.ra_deg / 15.0, 3), "Alpha coordinate for the target"),
        Card("TEL TARG DELTA", celestial.packed(star.dec_deg, 3), "Delta coordinate for the target"),
        Card("TEL TARG EQUINOX", 2000.0, "[yr] Equinox"),
        Card("TEL TARG PMA", star.pm_ra_mas / 1000.0, "[arcsec/yr] Proper Motion Alpha"),
        Card("TEL TARG PMD", star.pm_dec_mas / 1000.0, "[arcsec/yr] Proper motion Delta"),
    ]
