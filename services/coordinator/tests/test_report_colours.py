"""Colours that readers without one kind of cone can still tell apart.

Dichromacy is simulated in linear RGB with the matrices of Machado, Oliveira and Fernandes (2009,
"A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.0); the
distance is CIE 1976 in L*a*b*, of which about 2.3 is the least that can be seen side by side.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from assay_coordinator.report.drawing import ANSWERS
from assay_coordinator.report.figures import STYLES

LEAST = 15.0
SIGHT = {
    "every cone": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no long": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no medium": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Linear sRGB to XYZ (IEC 61966-2-1), and the white of D65.
XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
WHITE = [0.95047, 1.0, 1.08883]

Vector = npt.NDArray[np.float64]


def linear(colour: str) -> Vector:
    coded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def lab(colour: str, sight: str) -> Vector:
    seen = np.clip(np.array(SIGHT[sight]) @ linear(colour), 0, 1)
    xyz = np.array(XYZ) @ seen / np.array(WHITE)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, sight: str) -> float:
    return float(np.linalg.norm(lab(one, sight) - lab(other, sight)))


def test_the_distance_is_the_one_of_cie_1976():
    assert distance("#000000", "#ffffff", "every cone") == pytest.approx(100, abs=0.01)
    # The a* and b* of sRGB red, as every converter gives them.
    assert lab("#ff0000", "every cone") == pytest.approx([53.24, 80.09, 67.20], abs=0.02)


def test_who_lacks_a_cone_takes_some_colours_for_one():
    red, brown = "#d55e00", "#a37b00"
    assert distance(red, brown, "every cone") > 2 * LEAST
    assert distance(red, brown, "no medium") < LEAST / 2


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(
    "colours",
    [
        {method: colour for method, (_, colour) in STYLES.items()},
        {answer: colour for answer, colour, _ in ANSWERS},
    ],
    ids=["methods", "answers"],
)
def test_no_two_colours_of_a_picture_are_taken_for_one(colours: dict[str, str], sight: str):
    near = {
        (one, other): round(distance(colours[one], colours[other], sight))
        for one, other in combinations(colours, 2)
        if distance(colours[one], colours[other], sight) < LEAST
    }
    assert near == {}


def test_no_two_methods_share_a_marker_and_no_two_answers_a_hatch():
    assert len({marker for marker, _ in STYLES.values()}) == len(STYLES)
    assert len({hatch for _, _, hatch in ANSWERS}) == len(ANSWERS)
