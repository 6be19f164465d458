"""What the peers of `lockstep align` share: mosaics as pictures that they can correlate, and their ways to a shift.

None of them reads mosaics. Each gets what its users would give it: `gray`, the mosaic interpolated to colours (bilinear,
OpenCV) and averaged, at full size; or `binned`, the mean of each 2 x 2 cell, a quarter of the pixels.
"""

import cv2
import numpy as np
from skimage.registration import phase_cross_correlation

CODES = {"RGGB": cv2.COLOR_BayerRGGB2RGB, "BGGR": cv2.COLOR_BayerBGGR2RGB, "GRBG": cv2.COLOR_BayerGRBG2RGB,
         "GBRG": cv2.COLOR_BayerGBRG2RGB}


def gray(mosaic, pattern, black, white):
    """Colours interpolated and averaged; X-Trans has no such function here, its mosaic is blurred instead."""
    if pattern in CODES:
        picture = cv2.demosaicing(mosaic, CODES[pattern]).astype(np.float32).mean(axis=2)
    else:
        picture = cv2.GaussianBlur(mosaic.astype(np.float32), (0, 0), 1.5)
    return (picture - black) / (white - black)


def binned(mosaic, pattern, black, white):
    """The mean of each cell: 2 x 2, for X-Trans 6 x 6 moved by 3 each way, so that colours keep their weight."""
    size = 2 if pattern in CODES else 3
    h, w = (n // size * size for n in mosaic.shape)
    cells = mosaic[:h, :w].astype(np.float32).reshape(h // size, size, w // size, size).mean(axis=(1, 3))
    return (cells - black) / (white - black), size


def window(shape):
    return cv2.createHanningWindow((shape[1], shape[0]), cv2.CV_32F)


def skimage_phase(gt, noisy):
    """Whitened correlation, to a twentieth of a pixel."""
    return phase_cross_correlation(gt, noisy, upsample_factor=20, normalization="phase")[0]


def skimage_plain(gt, noisy):
    """The same without whitening, which its authors recommend under noise."""
    return phase_cross_correlation(gt, noisy, upsample_factor=20, normalization=None)[0]


def opencv_phase(gt, noisy):
    (x, y), _ = cv2.phaseCorrelate(gt, noisy, window(gt.shape))
    return np.array([-y, -x])


def opencv_ecc(gt, noisy):
    """Maximises the enhanced correlation coefficient from no shift on, translations only."""
    warp = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
    try:
        _, warp = cv2.findTransformECC(noisy, gt, warp, cv2.MOTION_TRANSLATION, criteria, None, 5)
    except cv2.error:
        return np.array([np.nan, np.nan])
    # gt(p + warp) is noisy(p).
    return np.array([warp[1, 2], warp[0, 2]])


def hill_climb(gt, noisy, most=128):
    """The original pipeline's search: the least mean difference among all shifts within 3 pixels, from there again."""
    noisy = noisy * (gt.mean() / noisy.mean())

    def loss(dy, dx):
        h, w = gt.shape
        a = gt[max(dy, 0):h + min(dy, 0), max(dx, 0):w + min(dx, 0)]
        b = noisy[max(-dy, 0):h + min(-dy, 0), max(-dx, 0):w + min(-dx, 0)]
        return float(np.abs(a - b).mean())

    best, seen = (0, 0), {(0, 0): loss(0, 0)}
    while abs(best[0]) + abs(best[1]) < most:
        for dy in range(best[0] - 3, best[0] + 4):
            for dx in range(best[1] - 3, best[1] + 4):
                if (dy, dx) not in seen:
                    seen[dy, dx] = loss(dy, dx)
        new = min(seen, key=seen.get)
        if new == best:
            break
        best = new
    return np.array(best, float)
