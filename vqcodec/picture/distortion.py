"""What a transform is tuned for: distortions f32[B] of pixels f32[B,3,H,W] in 0..1, weighed against bits per
pixel by λ. Differentiable; for training and for the encoder's search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from . import ssimulacra2
from .config import MS_SSIM_SIDE
from .transform import PATCH

MS_SSIM_UNIT = 1000.0  # brings 1 - MS-SSIM to the size of the MSE, so that the same λ give about the same rates
MSE_SHARE = 0.02  # MS-SSIM hardly sees a small shift of a whole region's colour; the MSE does
SSIMULACRA2_UNIT = 2.2  # of the sum of SSIMULACRA2's error norms, which is about a tenth of the MSE: with these four shares
SSIMULACRA2_MSE_SHARE = 0.8  # PSNR, MS-SSIM and SSIMULACRA2 are each near to what a model tuned for it alone has
SSIMULACRA2_MS_SSIM_UNIT = 800.0
CHROMA_SHARE = 0.5  # of the squared error of colour without luma: red surfaces and faces lose theirs first
LUMA = (0.299, 0.587, 0.114)
FLAT_SHARE = 2.0  # of the squared error of the means of flat blocks: neither metric minds a small tint, people do
FLAT_VARIANCE = 1.0  # of 8-bit samples: blocks of this variance count half
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
SPACING = (2, 2, 1, 1, 1)  # pixels between windows at each scale, of both metrics, where time counts; of small ones none can be spared
C1, C2 = 0.01**2, 0.03**2


def gaussian() -> torch.Tensor:
    """f32[WINDOW]: weights of the Gaussian window."""
    offset = torch.arange(WINDOW, dtype=torch.float32) - WINDOW // 2
    line = torch.exp(-offset.square() / (2 * SIGMA**2))
    return line / line.sum()


def mse(decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Mean squared error in units of 8-bit samples."""
    return F.mse_loss(decoded, pixels, reduction="none").mean((1, 2, 3)) * 255**2


@dataclass(frozen=True)
class Scale:
    """What MS-SSIM needs of the original at one scale: pixels f32[B,C,H,W], means and variances of the windows, each
    f32[B,C,h,w], that lie `spacing` pixels apart."""

    pixels: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor
    spacing: int


def scales(pixels: torch.Tensor, edges: bool = False, spacing: Sequence[int] = (1,) * len(SCALE_WEIGHTS)) -> list[Scale]:
    """Of f32[B,3,H,W]; `edges` as in `similarity`; spacing of the windows at each scale."""
    result = []
    with torch.no_grad():
        for y, apart in zip(pyramid(pixels, edges), spacing, strict=True):
            means, squares = blur_together(apart, y, y * y)
            result.append(Scale(y, means, squares.addcmul_(means, means, value=-1), apart))
    return result


def pyramid(pixels: torch.Tensor, edges: bool) -> Iterator[torch.Tensor]:
    """Pictures f32[B,3,H,W] at each scale."""
    x = pixels.float().contiguous(memory_format=torch.channels_last)
    quarter = x.new_full((x.shape[1], 1, 2, 2), 0.25)
    for i in range(len(SCALE_WEIGHTS)):
        if i:  # average pooling, which takes much longer by its name
            x = F.conv2d(x, quarter, groups=len(quarter), stride=2, padding=[s % 2 for s in x.shape[2:]])
        yield F.pad(x, (WINDOW // 2,) * 4, mode="reflect") if edges else x


def similarity(decoded: torch.Tensor, pixels: torch.Tensor, edges: bool = False, original: list[Scale] | None = None):
    """MS-SSIM (Wang et al., 2003), f32[B]: mean over the colour channels; sides of config.MS_SSIM_SIDE or more. Its gradient
    is by `decoded` alone. original: `scales` of the pixels, where they are known.

    As it is defined all windows lie inside of the picture: those of the coarsest scale have their centres in the middle
    36th of a crop of 192². With `edges` pictures go on beyond their edges by reflection, and every pixel counts alike."""
    result = 1.0
    original = original or scales(pixels, edges)
    for i, (x, y, weight) in enumerate(zip(pyramid(decoded, edges), original, SCALE_WEIGHTS, strict=True)):
        alike = ScaleSimilarity.apply(x, y.pixels, y.means, y.variances, y.spacing, i == len(SCALE_WEIGHTS) - 1)
        result = result * F.relu(alike) ** weight
    return result.mean(1)


class ScaleSimilarity(torch.autograd.Function):
    """Similarity [B,C] of x and y [B,C,H,W] at one scale: mean over the windows, `spacing` pixels apart, of contrast ·
    structure, in the `last` scale times luminance; my and vy: means and variances of y. The gradient by x is written out:
    what autograd makes of it takes several times as long, and a search comes here at each of its steps."""

    @staticmethod
    def forward(ctx, x, y, my, vy, spacing: int, last: bool):
        mx, variances, alike = blur_together(spacing, x, x * x, x * y)
        variances.addcmul_(mx, mx, value=-1).add_(vy).add_(C2)
        alike.addcmul_(mx, my, value=-1).mul_(2).add_(C2).div_(variances)
        squares = luminance = None
        if last:
            squares = (mx * mx).addcmul_(my, my).add_(C1)
            luminance = (mx * my).mul_(2).add_(C1).div_(squares)
        ctx.save_for_backward(x, y, mx, my, variances, alike, squares, luminance)
        ctx.spacing = spacing
        return (alike * luminance if last else alike).mean((2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        """With a, b/2 and c the gradients by the means of x, x² and x·y of each window: blurᵀ(a) + x·blurᵀ(b) + y·blurᵀ(c)."""
        x, y, mx, my, variances, alike, squares, luminance = ctx.saved_tensors
        share = (2 * gradient / (alike.shape[2] * alike.shape[3]))[:, :, None, None]
        a, c = 0.0, share / variances
        if luminance is not None:
            a = (my - luminance * mx).mul_(alike).div_(squares).mul_(share)
            c.mul_(luminance)
        b = -alike * c
        a = a - (b * mx).addcmul_(my, c)
        a, b, c = blur_back(torch.cat([a, b, c], 1), x.shape[2:], ctx.spacing).chunk(3, 1)
        return (x * b).add_(a).addcmul_(y, c), None, None, None, None, None


def blur(x: torch.Tensor, spacing: int = 1) -> torch.Tensor:
    """Means [B,C,h,w] of the Gaussian windows, `spacing` pixels apart, that lie inside of [B,C,H,W]."""
    line = gaussian().to(x).expand(x.shape[1], 1, 1, WINDOW)
    rows = F.conv2d(x, line, groups=len(line), stride=(1, spacing))
    return F.conv2d(rows, line.mT, groups=len(line), stride=(spacing, 1))


def blur_together(spacing: int, *x: torch.Tensor) -> list[torch.Tensor]:
    """`blur` of each. Nine channels take convolutions hardly longer than three."""
    return [part.contiguous(memory_format=torch.channels_last) for part in blur(torch.cat(x, 1), spacing).chunk(len(x), 1)]


def blur_back(x: torch.Tensor, size: torch.Size, spacing: int = 1) -> torch.Tensor:
    """The transpose of `blur`: [B,C,h,w] → [B,C,H,W] of `size`."""
    line = gaussian().to(x).expand(x.shape[1], 1, 1, WINDOW)
    over = [(side - WINDOW) % spacing for side in size]
    columns = F.conv_transpose2d(x, line.mT, groups=len(line), stride=(spacing, 1), output_padding=(over[0], 0))
    return F.conv_transpose2d(columns, line, groups=len(line), stride=(1, spacing), output_padding=(0, over[1]))


def ms_ssim(decoded: torch.Tensor, pixels: torch.Tensor, edges: bool = False, original: list[Scale] | None = None):
    """1000·(1 - MS-SSIM) + 0.02·MSE."""
    return MS_SSIM_UNIT * (1 - similarity(decoded, pixels, edges, original)) + MSE_SHARE * mse(decoded, pixels)


def flat_error(decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Squared error f32[B] of the mean colours of whole blocks of PATCH pixels, those counted that are flat, as a part of all
    blocks; in units of 8-bit samples."""
    if min(pixels.shape[2:]) < PATCH:
        return mse(decoded, pixels)
    y = pixels.float() * 255
    means = F.avg_pool2d(y, PATCH)
    variances = (F.avg_pool2d(y * y, PATCH) - means.square()).mean(1).clamp_min(0)
    error = (F.avg_pool2d(decoded.float() * 255, PATCH) - means).square().mean(1)
    return (error * FLAT_VARIANCE / (FLAT_VARIANCE + variances)).mean((1, 2))


def chroma_error(decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Mean squared error f32[B] of what is left of RGB without luma, in units of 8-bit samples."""
    error = decoded.float() - pixels.float()
    error = error - (error * error.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return error.square().mean((1, 2, 3)) * 255**2


@dataclass(frozen=True)
class Originals:
    """What `mixed` needs of the original. Pictures too small for MS-SSIM go without it."""

    ssimulacra2: list[ssimulacra2.Scale]
    ms_ssim: list[Scale] | None

    @classmethod
    def of(cls, pixels: torch.Tensor, edges: bool = False, spacing: Sequence[int] = (1,) * len(SCALE_WEIGHTS)) -> Originals:
        large = min(pixels.shape[2:]) >= MS_SSIM_SIDE
        return cls(ssimulacra2.scales(pixels, edges, spacing), scales(pixels, edges, spacing) if large else None)


def mixed(decoded: torch.Tensor, pixels: torch.Tensor, edges: bool = False, original: Originals | None = None):
    """The errors that SSIMULACRA2 counts, the MSE, what MS-SSIM misses, colour once more, and the tint of flat blocks."""
    known = original or Originals.of(pixels, edges)
    total = (SSIMULACRA2_UNIT * ssimulacra2.error(decoded, pixels, edges, known.ssimulacra2)
             + SSIMULACRA2_MSE_SHARE * mse(decoded, pixels)
             + CHROMA_SHARE * chroma_error(decoded, pixels) + FLAT_SHARE * flat_error(decoded, pixels))
    if known.ms_ssim is None:
        return total
    return total + SSIMULACRA2_MS_SSIM_UNIT * (1 - similarity(decoded, pixels, edges, known.ms_ssim))


KINDS = {"mse": mse, "ms-ssim": ms_ssim, "ssimulacra2": mixed}
KINDS_OF_CROPS = {"mse": mse, "ms-ssim": partial(ms_ssim, edges=True), "ssimulacra2": partial(mixed, edges=True)}


def against(kind: str, pixels: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """A distortion from pixels f32[B,3,H,W]: of decoded ones, same, f32[B]. What it needs of the pixels is made once, and MS-SSIM's
    windows are `SPACING` apart: the gradient is the same within 2 %, in half the time."""
    known = {}
    if kind == "ms-ssim":
        known["original"] = scales(pixels, spacing=SPACING)
    elif kind == "ssimulacra2":
        known["original"] = Originals.of(pixels, spacing=SPACING)
    return partial(KINDS[kind], pixels=pixels, **known)
