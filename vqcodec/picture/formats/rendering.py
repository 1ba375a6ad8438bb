"""Samples of a colour space given by curves and primaries → 8-bit sRGB, by tables and one matrix, in NumPy.

    samples ─ table per channel → light ─ matrix → light of sRGB's primaries ─ clip ─ table → uint8

For colour that Pillow's ICC engine cannot be given (gAMA, cHRM, cICP, nclx), and for 16-bit samples, of which it would
take 8 bits: a table of a curve has an entry for each value that a sample may have, so that only the result is rounded.
Sources: ITU-T H.273 (code points), BT.2100 (PQ, HLG), BT.2408 (203 cd/m² as reference white), PNG third edition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
SRGB = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x and y of white, red, green, blue
ADOBE_RGB = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_PRIMARIES = {  # of H.273
    1: SRGB, 4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08), 5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070), 7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049), 9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060), 22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077)}
_UNSPECIFIED, _PQ, _HLG = 2, 16, 18
_WHITE = 203.0  # cd/m² that become 255 from PQ and HLG
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def srgb_to_light(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0) + 0.055) / 1.055) ** 2.4)


def light_to_srgb(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * np.maximum(v, 0.0031308) ** (1 / 2.4) - 0.055)


_LIGHT = np.round(light_to_srgb(np.arange(65536) / 65535) * 255).astype(np.uint8)  # a step of 255 is 19 of these or more


@dataclass(frozen=True)
class Rendering:
    """curves: from samples (0…1) to light (0…1 is what sRGB can show), for red, green and blue; matrix f64[3,3]: from the
    light of the file's primaries to that of sRGB's; luminance f64[3]: weights for HLG's brightness (None: no HLG).

    Thread-safe: nothing changes."""

    curves: tuple
    matrix: np.ndarray
    luminance: np.ndarray | None = None

    def tables(self, depth: int) -> np.ndarray:
        """f64[3, 2^depth]: light of each value of a sample."""
        values = np.arange(1 << depth) / ((1 << depth) - 1)
        return np.stack([curve(values) for curve in self.curves])

    def converter(self, depth: int, grey: bool):
        """Function uint8 or uint16 [h,w] (grey) or [h,w,3] → uint8 of that shape; None where that would move no colour by
        more than a step. depth: 8 or 16."""
        tables = self.tables(depth)
        if grey:
            light = tables[1] if self.luminance is None else _hlg(tables[[1, 1, 1]].T, self.luminance)[:, 1]
            table = np.round(light_to_srgb(np.clip(light, 0, 1)) * 255).astype(np.uint8)
            plain = _rounded(np.arange(1 << depth), depth)
            return None if np.abs(table.astype(int) - plain).max() <= 1 else lambda samples: table[samples]

        tables = tables.astype(np.float32)

        def convert(samples: np.ndarray) -> np.ndarray:
            light = np.empty(samples.shape, np.float32)
            for channel in range(3):
                np.take(tables[channel], samples[..., channel], out=light[..., channel])
            if self.luminance is not None:
                light = _hlg(light, self.luminance)
            return _encoded(light @ self.matrix.T.astype(np.float32))

        steps = np.arange(0, 256, 15, dtype=np.uint16)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
        moved = convert(probe if depth == 8 else probe * np.uint16(257))
        return None if np.abs(moved.astype(int) - probe).max() <= 1 else convert


def _encoded(light: np.ndarray) -> np.ndarray:
    """uint8 sRGB of light f32, clipped to 0…1."""
    return _LIGHT[np.rint(np.clip(light, 0, 1) * np.float32(65535)).astype(np.uint16)]


def _rounded(samples: np.ndarray, depth: int) -> np.ndarray:
    """uint8 of samples of 8 or 16 bits."""
    return samples if depth == 8 else ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def eight_bits(samples: np.ndarray) -> np.ndarray:
    """uint16 → uint8, rounded."""
    return _rounded(samples, 16)


def to_xyz(chromaticities: tuple[float, ...]) -> np.ndarray:
    """f64[3,3] from light to XYZ, white at Y = 1. Raises ValueError for senseless primaries."""
    points = np.array(chromaticities, float).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] <= 0).any() or np.abs(points).max() > 2:
        raise ValueError("chromaticities outside of what can be")
    xyz = np.column_stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]]).T  # [3, w r g b]
    if abs(np.linalg.det(xyz[:, 1:])) < 1e-4:
        raise ValueError("chromaticities of primaries in one line")
    scale = np.linalg.solve(xyz[:, 1:], xyz[:, 0])
    if (scale <= 0).any():
        raise ValueError("white outside of the primaries")
    return xyz[:, 1:] * scale


def adaptation(white: tuple[float, float], to: tuple[float, float]) -> np.ndarray:
    """f64[3,3] on XYZ that takes one white (x, y) to another, by Bradford's cones. Raises ValueError for no white at all."""
    source, target = (_BRADFORD @ np.array([x / y, 1, (1 - x - y) / y]) for x, y in (white, to))
    if source.min() <= 0:
        raise ValueError("chromaticities of white outside of what can be")
    return np.linalg.inv(_BRADFORD) @ np.diag(target / source) @ _BRADFORD


def to_srgb_light(chromaticities: tuple[float, ...]) -> np.ndarray:
    """f64[3,3] from the light of primaries to that of sRGB's, white to white. Raises ValueError."""
    own = to_xyz(chromaticities)
    return np.linalg.inv(to_xyz(SRGB)) @ adaptation(chromaticities[:2], D65) @ own


def by_gamma(gamma: float | None, chromaticities: tuple[float, ...] | None) -> Rendering:
    """PNG's gAMA and cHRM; what is missing is sRGB's. A gamma of 1/2.2 stands for sRGB's curve, as PNG has it written
    beside or for sRGB. Raises ValueError for senseless values."""
    if gamma is not None and not 0.01 <= gamma <= 10:
        raise ValueError(f"a gamma of {gamma:g}")
    plain = gamma is None or abs(gamma * 2.2 - 1) < 0.02
    curve = srgb_to_light if plain else lambda v: v ** (1 / gamma)
    return Rendering((curve,) * 3, to_srgb_light(chromaticities or SRGB))


def by_code_points(primaries: int, transfer: int, full: bool) -> tuple[Rendering, str | None]:
    """Code points of H.273, with a warning for what sRGB cannot show. The curves of SDR television (1, 6, 14, 15 …) are
    taken as sRGB's, as browsers do: they describe cameras, pictures are made on screens. Raises ValueError."""
    points = SRGB if primaries == _UNSPECIFIED else _PRIMARIES.get(primaries)
    curve = _CURVES.get(transfer)
    if points is None or curve is None:
        raise ValueError(f"colour primaries {primaries} with transfer {transfer} are not known")
    expanded = curve if full else lambda v: curve(np.clip((v * 255 - 16) / 219, 0, 1))
    note = {_PQ: "PQ", _HLG: "HLG"}.get(transfer)
    luminance = to_xyz(points)[1] if transfer == _HLG else None
    if note:
        note = f"high dynamic range ({note}): there is no tone mapping, what is brighter than {_WHITE:g} cd/m² is clipped"
    return Rendering((expanded,) * 3, to_srgb_light(points), luminance), note


def _pq(v: np.ndarray) -> np.ndarray:
    """BT.2100, table 4: the display's light, in units of the reference white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = v ** (1 / m2)
    return 10000 / _WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def _hlg_scene(v: np.ndarray) -> np.ndarray:
    """BT.2100, table 5: the scene's light, 0…1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(v <= 0.5, v * v / 3, (np.exp((v - c) / a) + b) / 12)


def _hlg(light: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """The scene's light f32[...,3] → that of a display of 1000 cd/m², in units of the reference white."""
    brightness = light @ luminance.astype(np.float32)
    return light * (np.maximum(brightness, 1e-9) ** np.float32(0.2) * np.float32(1000 / _WHITE))[..., None]


def _power(exponent: float):
    return lambda v: v**exponent


_CURVES = dict.fromkeys((1, 2, 6, 7, 11, 12, 13, 14, 15), srgb_to_light) | {
    4: _power(2.2), 5: _power(2.8), 8: _power(1.0), _PQ: _pq, 17: lambda v: v**2.6 * (52.37 / 48), _HLG: _hlg_scene}
