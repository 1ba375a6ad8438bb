"""Sections 14.2 to 14.7 of bitstream_spec.md, pixel by pixel in plain Python: slow, and written from the text alone."""

from __future__ import annotations

import math
import zlib

MIX = 0x9E3779B97F4A7C15
MASKS = (("....xxxx", "..xxxxxx", "..xxxxx.", "....x..."),
         ("..xxxxxx", ".xxxxxxx", ".xxxxxxx", ".xxxxxx.", "..xxxx.."),
         ("xxxxxxxx", "xxxxxxxx", "xxxxxxxx", "xxxxxxxx", ".xxxxxxx", ".xxxxxxx", "..xxxxx."))
CLOSE = (".....xxx", "...xxxxx", "....xxx.")
TIP, PATCH = ("......xx", ".....xxx", "....x..."), 5 * ("xxxxxxx.",)
ROUND, ROUND2 = ("........", "..xxx...", ".xxxxx..", "..xxx...", "...x...."), ("........", ".xxxxx..", ".xxxxx..")
HERE, HERE2, BESIDE = ("........", "........", "...x...."), ("........", "...x...."), (".......x", "....x...")
WIDE_MASKS = ((MASKS[0], (), (), ()), (MASKS[1], (), (), ()), (MASKS[2], (), (), ()), (CLOSE, ROUND, (), range(1, 5)),
              (TIP, ROUND, ROUND2, range(10, 18)), (("...xxxxx", "..xxxxx."), PATCH, (), (47, 48)), (TIP, (), (), range(18, 46)),
              ((), HERE, (), (0, 1, 2, 3, 4, 10, 11, 12, 13)), ((), HERE, HERE2, (46, *range(49, 55))), (BESIDE, (), (), range(26, 42)))
AROUND = [(-1, 2), (-1, 3), (-1, 4), *((0, c) for c in range(1, 6)), (1, 2), (1, 3), (1, 4), (2, 3)]


def bits_of(rows) -> int:
    return sum(1 << (8 * r + c) for r, row in enumerate(rows) for c, letter in enumerate(row) if letter == "x")


class Decisions:
    def __init__(self, data: bytes):
        self.data, self.at, self.r = data, 6, 2**48 - 1
        self.v = int.from_bytes((data + bytes(6))[:6], "big")

    def __call__(self, p: int) -> int:
        b = (self.r >> 16) * p
        one = self.v < b
        if one:
            self.r = b
        else:
            self.v, self.r = self.v - b, self.r - b
        while self.r < 2**32:
            two = (self.data[self.at : self.at + 2] + bytes(2))[:2]
            self.v, self.r, self.at = self.v * 65536 + int.from_bytes(two, "big"), self.r * 65536, self.at + 2
        return int(one)


def limited(p: int) -> int:
    return min(max(p, 1), 65535)


class Run:
    def __init__(self, c: int):
        self.level, self.u = c, 8
        self.a = 8 * 2**32 // self.p(c)
        self.ahead: list[int] = []

    @staticmethod
    def p(level: int) -> int:
        return round(2**32 / (1 + math.exp((level + 0.5) / 4)))

    @staticmethod
    def between(level: int) -> int:
        return round(2**32 / (1 + math.exp((level + 1) / 4)))

    def next(self, decide: Decisions) -> int:
        if not self.ahead:
            w = [2**32 - self.p(self.level)]
            for _ in range(16):
                w.append(w[-1] ** 2 >> 32)
            j = max([i for i in range(17) if w[i] > 2**31], default=0)
            if decide(limited(w[j] >> 16)):
                self.ahead = [0] * 2**j
                self.a += 2**j
            else:
                t = 0
                for i in reversed(range(j)):
                    t |= (not decide(limited((2**64 // (2**32 + w[i])) >> 16))) << i
                self.ahead = [0] * t + [1]
                self.a, self.u = self.a + t + 1, self.u + 1
            if self.u > 255:
                self.u, self.a = self.u // 2, self.a // 2
            if self.level < 55 and self.u * 2**32 < self.a * self.between(self.level):
                self.level += 1
            elif self.level and self.u * 2**32 > self.a * self.between(self.level - 1):
                self.level -= 1
        return self.ahead.pop(0)


def tiles(data: bytes, rows: int, columns: int):
    decide, busy, black = Decisions(data), {}, {}
    tables = [([32768] * 256, [1] * 256) for _ in range(2)]

    def decided(kind: int, context: int) -> int:
        v, s = (table for table in tables[kind])
        bit = decide(min(max(v[context], 64), 65472))
        v[context] += ((65535 if bit else 1) - v[context]) >> s[context]
        s[context] += s[context] < 5
        return bit

    for y in range(rows):
        for x in range(columns):
            near = ((y, x - 1), (y, x - 2), (y - 1, x + 1), (y - 1, x), (y - 1, x - 1), (y - 2, x))
            around = [busy.get(place, 0) for place in near] + [black.get((y, x - 1), 0), black.get((y - 1, x), 0)]
            context = int("".join(map(str, around)), 2)
            busy[y, x] = decided(0, context)
            black[y, x] = 0 if busy[y, x] else decided(1, context)
    return busy, black


def decode(data: bytes, height: int, width: int, tensors) -> list[list[int]]:
    """Rows of bits. tensors: of prior.safetensors."""
    length, i = 0, 0
    while True:
        length |= (data[i] & 127) << 7 * i
        i += 1
        if data[i - 1] < 128:
            break
    busy, black = tiles(data[i : i + length], -(-height // 32), -(-width // 32))
    decide, runs = Decisions(data[i + length : -4]), [Run(c) for c in range(56)]
    kind = {144: Page, 194: WidePage}[len(tensors["a.weight"])]
    page = kind(height, width, {name: tensor.astype(int).tolist() for name, tensor in tensors.items()})
    for (y, x) in [(y, x) for y in range(height) for x in range(width) if black[y // 32, x // 32]]:
        page.pixels[page.place(y, x)] = 1
    n = -(-height * width // (10 * 2**20))
    rows, before = 32 * -(-(-(-height // n)) // 32), 0
    for top in range(0, height, rows):
        part = range(top, min(top + rows, height))
        for turn in range(width + 3 * len(part)):
            step = [(y, turn - 3 * (y - top)) for y in part if 0 <= turn - 3 * (y - top) < width]
            step = [page.place(y, x) for y, x in step if busy[y // 32, x // 32]]
            odds = page.look(step, before + turn)
            sure = [min(55, abs(z) >> 12) for z in odds]
            bits = [0] * len(step)
            for c in range(56):
                for k in [k for k in range(len(step)) if sure[k] == c]:
                    bits[k] = (odds[k] > 0) ^ runs[c].next(decide)
            page.learn(step, bits)
        before += width + 3 * len(part) + 11
    found = [[page.pixels[page.place(y, x)] for x in range(width)] for y in range(height)]
    size = -(-width // 8)
    packed = b"".join(int("".join(map(str, row)).ljust(8 * size, "0"), 2).to_bytes(size, "big") for row in found)
    assert zlib.crc32(packed) == int.from_bytes(data[-4:], "little")
    return found


class Page:
    def __init__(self, height: int, width: int, tensors):
        self.t, self.tensors = width + 16, tensors
        self.pixels = [0] * ((height + 11) * self.t + 8)
        self.s, self.moves = {}, {}
        self.least, self.most = 8 * self.t, (height + 8) * self.t - 8
        self.tables, self.places = [{} for _ in range(4)], [{} for _ in range(2)]

    def place(self, y: int, x: int) -> int:
        return (y + 8) * self.t + x + 8

    def own(self, step: list[int]) -> dict[int, list[int]]:
        """The 64 pixels before each one; as a number they are kept in `s`."""
        found = {p: [self.pixels[p - r * self.t + b + k] for r, b in enumerate((-8, -5, -4, -4, -4, -4, -4, -4)) for k in range(8)]
                 for p in step}
        for p in step:
            self.s[p] = sum(bit << k for k, bit in enumerate(found[p]))
        return found

    def look(self, step: list[int], time: int) -> list[int]:
        own = self.own(step)
        odds, self.entries, moved, placed = [], [], {}, {}
        for p in step:
            h = [((self.s[p] & bits_of(m)) * MIX) % 2**64 for m in MASKS]
            known = [self.moves.get(q, (-19, -19)) for q in (p - 1, p - self.t, p - self.t + 2)]
            candidates = [known[0][0], known[1][0], known[2][0], known[0][1]]
            for i in (1, 2):
                place, when = self.places[i - 1].get(h[i] >> 46, (self.least, 0))
                candidates.append(place - p if when + 11 <= time else -19)
                placed[i - 1, h[i] >> 46] = (p, time)
            led = [min(max(p + c, self.least), self.most) for c in candidates]
            differ = [(self.s.get(q, 0) ^ self.s[p]).bit_count() for q in led]
            first = differ.index(min(differ))
            a, da = led[first], differ[first]
            others = [99 if q == a else d for q, d in zip(led, differ)]
            second = others.index(min(others))
            b, db = led[second], others[second]
            moved[p] = candidates[first], candidates[second]

            def at(q: int, row: int, column: int) -> int:
                return self.pixels[q + row * self.t - 3 + column]

            key = self.s[p] & bits_of(CLOSE)
            key |= sum(at(a, *spot) << 24 + k for k, spot in enumerate(AROUND)) | min(7, da >> 1) << 36
            entries = [h[0] >> 44, h[1] >> 44, h[2] >> 44, (key * MIX % 2**64) >> 44]
            self.entries.append(entries)
            values = [self.tables[i].get(entry, (32768, 0)) for i, entry in enumerate(entries)]
            stretched = [max(-127, min(127, round(16 * math.log(((v >> 4) + 0.5) / (4095.5 - (v >> 4)))))) for v, _ in values]
            inputs = own[p] + [at(a, r, c) for r in range(-2, 3) for c in range(8)]
            inputs += [at(b, r, c) for r in range(-1, 2) for c in range(8)]
            inputs += [min(d, most) for d in (da, db) for most in (2, 6, 14, 30)]
            inputs += [z * (512 * n // (2 * n + 1)) >> 8 for z, (_, n) in zip(stretched, values)]
            inputs += [z * (256 * n // (n + 12)) >> 8 for z, (_, n) in zip(stretched, values)]
            odds.append(self.network(inputs))
        self.moves |= moved
        for (i, entry), value in placed.items():
            self.places[i][entry] = value
        return odds

    def network(self, inputs: list[int]) -> int:
        def layer(name: str, values: list[int]) -> list[int]:
            weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
            return [sum(v * row[o] for v, row in zip(values, weight)) + bias[o] for o in range(len(bias))]

        u = layer("a", inputs)
        f = [min(max(value >> 6, 0), 511) for value in u[:-1]]
        e = [min(max(value >> 8, 0), 511) for value in layer("b", f)]
        return layer("c", e)[0] + (u[-1] << 2)

    def learn(self, step: list[int], bits: list[int]) -> None:
        old = [[self.tables[i].get(entry, (32768, 0)) for i, entry in enumerate(entries)] for entries in self.entries]
        for p, bit, entries, values in zip(step, bits, self.entries, old):
            self.pixels[p] = bit
            for i, (entry, (v, n)) in enumerate(zip(entries, values)):
                self.tables[i][entry] = v + ((65535 * bit - v) * (131072 // (2 * n + 3)) >> 16), min(n, 254) + 1


class WidePage(Page):
    """Section 14.7."""

    def __init__(self, height: int, width: int, tensors):
        super().__init__(height, width, tensors)
        self.height, self.least, self.ink = height, 8 * self.t + 8, {}
        self.tables, self.places = [{} for _ in range(10)], [{} for _ in range(3)]

    def look(self, step: list[int], time: int) -> list[int]:
        own = self.own(step)
        odds, self.entries, moved, placed = [], [], {}, {}
        for p in step:
            def led(c: int, p=p) -> int:
                return min(max(p + c, self.least), self.most)

            def differ(q: int, offsets, p=p) -> int:
                return sum((self.s.get(p + k, 0) ^ self.s.get(q + k, 0)).bit_count() for k in offsets)

            def moves(q: int):
                return self.moves.get(q, (-19, -19, -19))

            g = (self.s[p] * MIX + (self.s.get(p - 8 * self.t, 0) & 0xFFFFFFFF) * 0xD6E8FEB86659FD93) % 2**64
            found = [(self.s[p] & bits_of(m)) * MIX % 2**64 >> 46 for m in MASKS[1:]] + [g >> 46]
            candidates = [moves(p - 1)[0], moves(p - self.t)[0], moves(p - self.t + 2)[0], *moves(p - 1)[1:]]
            for i, entry in enumerate(found):
                place, when = self.places[i].get(entry, (self.least, 0))
                candidates.append(place - p if when + 11 <= time else -19)
                placed[i, entry] = (p, time)
            candidates += [c + moves(led(c))[0] for c in (candidates[0], candidates[7])]
            places = [led(c) for c in candidates]
            near = [differ(q, (0,)) for q in places]
            far = [differ(q, (-8, -8 * self.t, 7 - 4 * self.t)) for q in places]
            chosen = []
            for _ in range(3):
                left = [k for k in range(10) if places[k] not in [places[j] for j in chosen]]
                chosen.append(min(left, key=lambda k: 4 * near[k] + far[k], default=0))
            moved[p] = tuple(candidates[k] for k in chosen)
            a, b, c = (places[k] for k in chosen)
            near, far = [near[k] for k in chosen], [far[k] for k in chosen]

            def around(q: int, rows) -> list[int]:
                return [self.pixels[q + r * self.t - 3 + k] for r in rows for k in range(8)]

            y, x = p // self.t - 8, p % self.t - 8
            sizes = [min(max(x - self.ink.get(y + k, -263), 0), 255).bit_length() for k in range(-3, 4)]
            e, at = 0, 0
            for value, bits in [(min(31, near[0]), 5), (min(31, near[1]), 5), (far[0].bit_length(), 4), (far[1].bit_length(), 4),
                                *((size, 4) for size in sizes), (self.pixels[c], 1), (min(3, near[0]), 2),
                                (near[0].bit_length(), 3), (near[1].bit_length(), 3)]:
                e, at = e | value << at, at + bits
            shown = [own[p], around(a, range(-2, 3)), around(b, range(-1, 2)), around(c, (0,))]
            words = [sum(bit << k for k, bit in enumerate(pixels)) for pixels in shown[:3]]
            entries = []
            for s_, a_, b_, e_ in WIDE_MASKS:
                total = (words[0] & bits_of(s_)) * MIX + (words[1] & bits_of(a_)) * 0xA0761D6478BD642F
                total += (words[2] & bits_of(b_)) * 0xE7037ED1A0B428DB + (e & sum(1 << k for k in e_)) * 0x8EBC6AF09C88C6E3
                entries.append(total % 2**64 >> 44)
            self.entries.append(entries)
            values = [self.tables[i].get(entry, (32768, 0)) for i, entry in enumerate(entries)]
            stretched = [max(-127, min(127, round(16 * math.log(((v >> 4) + 0.5) / (4095.5 - (v >> 4)))))) for v, _ in values]
            inputs = [bit for pixels in shown for bit in pixels]
            for k in range(3):
                inputs += [min(near[k], most) for most in (2, 6, 14, 30)] + [min(far[k], most) for most in (4, 14, 40, 110)]
            inputs += [z * (512 * n // (2 * n + 1)) >> 8 for z, (_, n) in zip(stretched, values)]
            inputs += [z * (256 * n // (n + 12)) >> 8 for z, (_, n) in zip(stretched, values)]
            for size in sizes:
                inputs += [min(size, 3), size]
            odds.append(self.network(inputs))
        self.moves |= moved
        for (i, entry), value in placed.items():
            self.places[i][entry] = value
        return odds

    def learn(self, step: list[int], bits: list[int]) -> None:
        super().learn(step, bits)
        for p, bit in zip(step, bits):
            if bit:
                self.ink[p // self.t - 8] = p % self.t - 8
