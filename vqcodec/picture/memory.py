"""How much memory a picture takes, by its width and height, so that not too many big ones are worked on at once.

Measured with one thread (peak of the process above what the loaded model takes). Encoding at quality 8 with photo-3: at effort 2
147 MiB for 0.39 megapixels, 436 for 1.5, 928 for 3.8, at effort 1 2274 for 12; where the search remembers nothing, 1567 for 12.6,
1767 for 25; with photo-ssim-1 195, 528, 1104, 2344, 1811 and 1930; with photo-4
224, 671, 1517, 2142 for the first four. 131072 × 544 take 3783 MiB at effort 0: very wide pictures are worked on in wide
strips.

Decoding, in NumPy: with photo-3 23 MiB for 0.39 megapixels, 185 for 3, 354 for 12, 834 for 71, 720 for 32768 × 544; with photo-4,
whose index grids are more than twice as large, 215 for 3, 1128 for 71; in integers, with photo-3e, whose rows go through the
network as they come, in tiles of columns, 52 for 0.39 and 102 for 3 (pixels alone), a whole process with two threads 304 above the
model for 12; pixels alone of 32768 × 544 259. Reading the index grids took 248 for 2.4 megapixels, 444 for 4.2 (one band), when
decoders made whole tables of frequencies, as those in torch do; less where few slices are coded.
"""

from __future__ import annotations

from .config import REMEMBERED_PIXELS

MIB = 1 << 20
_SLACK = 1.1
_PATCH, _REACH = 16, 11  # pixels of a latent's side; latent rows on each side of a strip that the published decoders look at
# MiB that decoding takes: in any case; of a megapixel for index grids (of photo-4) and pixels; of a megapixel of those that are
# worked on at once, in strips by floats and in so many rows by integers, and of further ones
_DECODING, _GRIDS, _FIRST, _ROWS = 20, 13, 4, 512
_POSITION, _BAND = 0.027, 1 << 14  # MiB of a position while its band is read, positions of a band
_STRIP, _FURTHER, _INTEGERS = 72, 40, 125
_TILE = 8544  # pixels that a tile of columns is wide at most, with what it looks at beside it


def needed(width: int, height: int, command: str = "encode") -> int:
    """Bytes that a picture adds to its process while it is encoded, or decoded with "decode": an upper estimate. The search,
    whose memory goes by pixels, and the networks, whose goes by strips as wide as the picture, do not work at the same
    time; encoding decodes too, where it verifies or aims at a PSNR."""
    pixels = width * height
    mega, strip = pixels / 1e6, strip_pixels(width, height) / 1e6
    columns, rows = -(-width // _PATCH), min(width, _TILE) * min(height, _ROWS) / 1e6
    band = min(columns * -(-height // _PATCH), max(_BAND, 2 * columns))
    most = _DECODING + _GRIDS * mega + max(_POSITION * band, _STRIP * min(strip, _FIRST) + _FURTHER * max(0.0, strip - _FIRST),
                                           _INTEGERS * rows)
    if command != "decode":  # networks in torch take more of wide strips
        search = min(800 * mega, 320 + 300 * mega, 1000 + 130 * mega) if pixels <= REMEMBERED_PIXELS else 1300 + 32 * mega
        most = max(most, search, 12 * mega + 72 * strip)
    return int(_SLACK * MIB * most)


def strip_pixels(width: int, height: int) -> int:
    """Pixels of the largest strip that the decoder works on at once, what it looks at beside it included (the encoder's
    are smaller): the arithmetic of `codec.strips`, without torch."""
    rows, columns = -(-height // _PATCH), -(-width // _PATCH)
    own = max(8, (1 << 21) // (_PATCH * _PATCH * max(1, columns)))
    return min(rows, own + 2 * _REACH) * columns * _PATCH * _PATCH
