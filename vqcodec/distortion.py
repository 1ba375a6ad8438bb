"""What a transform is tuned for: distortions f32[B] of pixels f32[B,3,H,W] in 0..1, weighed against bits per
pixel by λ. Differentiable; for training and for the encoder's search."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

MS_SSIM_UNIT = 1000.0  # brings 1 - MS-SSIM to the size of the MSE, so that the same λ give about the same rates
MSE_SHARE = 0.02  # MS-SSIM hardly sees a small shift of a whole region's colour; the MSE does
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5


def mse(decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Mean squared error in units of 8-bit samples."""
    return ((decoded - pixels) * 255).square().mean((1, 2, 3))


def similarity(decoded: torch.Tensor, pixels: torch.Tensor, edges: bool = False) -> torch.Tensor:
    """MS-SSIM (Wang et al., 2003), f32[B]: mean over the colour channels; sides of config.MS_SSIM_SIDE or more.

    As it is defined all windows lie inside of the picture: those of the coarsest scale have their centres in the middle
    36th of a crop of 192². With `edges` pictures go on beyond their edges by reflection, and every pixel counts alike."""
    x, y = decoded.float(), pixels
    offsets = torch.arange(WINDOW, dtype=torch.float32) - WINDOW // 2
    line = torch.exp(-offsets.square() / (2 * SIGMA**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, WINDOW)

    def blur(z):
        return F.conv2d(F.conv2d(z, line, groups=len(line)), line.mT, groups=len(line))

    result = 1.0
    for i, weight in enumerate(SCALE_WEIGHTS):
        if i:
            x, y = (F.avg_pool2d(z, 2, padding=[s % 2 for s in z.shape[2:]]) for z in (x, y))
        wx, wy = (F.pad(z, (WINDOW // 2,) * 4, mode="reflect") if edges else z for z in (x, y))
        mx, my = blur(wx), blur(wy)
        vx, vy, cov = blur(wx * wx) - mx * mx, blur(wy * wy) - my * my, blur(wx * wy) - mx * my
        term = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
        if i == len(SCALE_WEIGHTS) - 1:
            term = term * (2 * mx * my + 0.01**2) / (mx * mx + my * my + 0.01**2)
        result = result * F.relu(term.mean((2, 3))) ** weight
    return result.mean(1)


def ms_ssim(decoded: torch.Tensor, pixels: torch.Tensor, edges: bool = False) -> torch.Tensor:
    """1000·(1 - MS-SSIM) + 0.02·MSE."""
    return MS_SSIM_UNIT * (1 - similarity(decoded, pixels, edges)) + MSE_SHARE * mse(decoded, pixels)


KINDS = {"mse": mse, "ms-ssim": ms_ssim}
KINDS_OF_CROPS = {"mse": mse, "ms-ssim": partial(ms_ssim, edges=True)}
