"""What aiming costs: encodes to targets, in units of one encode of the same file at the quality that was found.

    python benchmarks/targets.py FILE... [--model photo-3e] [--target psnr]... [--quality 2.5]... [--effort 2] [--seconds 1]

A FILE is a picture, a recording or a clip. Each is encoded at each quality (2.5, 4.3 and 6.8 unless given; parts of the way along
the model's scale if it has other than eight), and then to the targets (all that the medium has, unless given) of what that gave, so
that they can be met. Printed: CPU seconds of all threads relative to that encode's, and what no busy machine can disturb: the encodes
begun, and latent positions whose codewords were chosen, and whose gradients were taken, relative to that encode's; how near the
result is to its target. --seconds: the first of a recording or clip only.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time

CAP = 2.5  # encodes' time that no target may take


class Count:
    """Positions that pass through the encoder's two costliest stages."""

    def __init__(self):
        from vqcodec.indices.choosing import GridCoder
        from vqcodec.picture.search import DistortionGradient

        self.positions = {"choices": 0, "gradients": 0}
        GridCoder._choose = self._counting("choices", GridCoder._choose)
        DistortionGradient.__call__ = self._counting("gradients", DistortionGradient.__call__)

    def _counting(self, name: str, inner):
        def counted(owner, latents, *more, **options):
            self.positions[name] += latents.shape[-1] * latents.shape[-2]
            return inner(owner, latents, *more, **options)

        return counted


def encoded(medium, codec, samples, request, count: Count) -> dict:
    tried, parts = [], []

    def progress(text: str) -> None:
        found = re.match(r"trying quality ([0-9.]+)$", text)
        if found:
            tried.append(float(found[1]))

    count.positions = dict.fromkeys(count.positions, 0)
    before = time.process_time()
    made = medium.encode(codec, samples, request, parts.append, progress)
    return {"cpu": time.process_time() - before, **count.positions, "tried": tried, "facts": made.facts, "data": b"".join(parts),
            "bytes": sum(map(len, parts))}


def value_of(name: str, one: dict, medium, codec, samples) -> float:
    if name == "psnr":
        from vqcodec.picture.psnr import psnr

        return psnr(samples.rgb, codec.decode(one["data"]).rgb)
    if name == "size":
        return one["bytes"]
    facts = one["facts"]
    return facts[name] if name in facts else 8 * one["bytes"] / facts["duration"] / 1000


def measured(path: str, options, count: Count) -> list[dict]:
    from vqcodec import medium as media
    from vqcodec.fileio import Source
    from vqcodec.medium import Request
    from vqcodec.zoo import registry

    source, rows = Source.open(path), []
    medium = media.of_head(source.head, path)
    codec = medium.open(registry.find_by_name(options.model, None, medium.modality), encoder=True)
    cut = {"duration": options.seconds, "track": "none"} if medium.modality == "video" else {}
    samples = medium.read(source, Request(**cut))
    if medium.modality == "audio" and options.seconds:
        from vqcodec.sound.file import Sound

        rate, length = samples.rate, round(options.seconds * samples.rate)
        import numpy as np

        samples = medium.read(Sound(np.concatenate(list(samples.blocks(1 << 16)))[:length], rate), Request())
    common = {"effort": options.effort, **cut}
    qualities = [1 + round(16 * (part - 1) / 7 * (codec.qualities - 1)) / 16 for part in options.quality]
    encoded(medium, codec, samples, Request(quality=qualities[0], **common), count)  # warm
    for quality in qualities:
        reference = encoded(medium, codec, samples, Request(quality=quality, **common), count)
        for target in medium.targets:
            if options.target and target.name not in options.target:
                continue
            wanted = value_of(target.name, reference, medium, codec, samples)
            wanted = round(wanted * 1.005) if target.whole else wanted
            one = encoded(medium, codec, samples, Request(target=(target.name, wanted), **common), count)
            alone = reference
            if one["facts"]["quality"] != quality:
                alone = encoded(medium, codec, samples, Request(quality=one["facts"]["quality"], **common), count)
            reached = value_of(target.name, one, medium, codec, samples)
            rows.append({
                "file": path.rpartition("/")[2], "target": target.name, "quality": quality, "wanted": round(wanted, 4),
                "off": round(reached - wanted, 3) if target.name == "psnr" else round(100 * (reached / wanted - 1), 2),
                "unit": "dB" if target.name == "psnr" else "%", "tried": one["tried"],
                "gradients": round(one["gradients"] / alone["gradients"], 2) if alone["gradients"] else None,
                "choices": round(one["choices"] / alone["choices"], 2) if alone["choices"] else None,
                "times": round(one["cpu"] / alone["cpu"], 2), "cpu": round(one["cpu"], 2), "alone": round(alone["cpu"], 2)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--model")
    parser.add_argument("--target", action="append")
    parser.add_argument("--quality", action="append", type=float)
    parser.add_argument("--effort", type=int)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args()
    options.quality = options.quality or [2.5, 4.3, 6.8]
    count, rows = Count(), []
    for path in options.files:
        rows += measured(path, options, count)
    worst = 0.0
    for name in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in rows if row["target"] == name]
        times, off = [row["times"] for row in own], [abs(row["off"]) for row in own]
        tried = [len(row["tried"]) for row in own]
        worst = max(worst, *times)
        print(f"{name}: {len(own)} targets, {statistics.mean(times):.2f} encodes' time in the mean, {max(times):.2f} at most; "
              f"encodes {statistics.mean(tried):.2f}, {max(tried)} at most; off by {statistics.mean(off):.2f} {own[0]['unit']} "
              f"in the mean, {max(off):.2f} at most; above {sum(row['off'] > 0 for row in own)}")
    return int(worst > CAP)


if __name__ == "__main__":
    sys.exit(main())
