"""A second decoder of streams of text, in plain Python after bitstream_spec.md, section 15: one number at a time. It imports nothing
of vqcodec but the checks of safetensors files are left to safetensors."""

from __future__ import annotations

import lzma
import zlib

from reference_sampling import philox, symbol

M = 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def finish(h):
    h ^= h >> 15
    h = h * 0x2C1B3C6D & M
    h ^= h >> 12
    h = h * 0x297A2D39 & M
    return h ^ h >> 15


class Model:
    def __init__(self, tensors):
        unpacked = {k: lzma.decompress(tensors[k].tobytes()) for k in ("gaps", "extras", "nodes")}
        self.rows, key, number = {}, 0, 0
        for gap in unpacked["gaps"]:
            key += gap
            if gap < 255:
                self.rows[key << 3 | unpacked["extras"][number]] = unpacked["nodes"][16 * number : 16 * number + 16]
                number += 1
        self.t = {k: v.tolist() for k, v in tensors.items() if k not in unpacked}
        self.states = len(self.t["next"])

    def row(self, h):
        return self.rows.get(h >> 3, bytes(16))


class Coder:
    """One lane's segment: section 4, for alphabets of two."""

    def __init__(self, data):
        self.bits = "".join(f"{b:08b}" for b in data)
        self.low, self.high, self.at = 0, M, 32
        self.value = int(self.bits[:32].ljust(32, "0"), 2)

    def bit(self, one):
        span = self.high - self.low + 1
        middle = span * (65536 - one) >> 16
        y = int(self.value - self.low >= middle)
        self.low, self.high = (self.low + middle, self.high) if y else (self.low, self.low + middle - 1)
        while True:
            if self.high < 1 << 31 or self.low >= 1 << 31:
                less = (1 << 31) * (self.low >= 1 << 31)
            elif self.low >= 1 << 30 and self.high < 3 << 30:
                less = 1 << 30
            else:
                return y
            self.low, self.high = 2 * (self.low - less), 2 * (self.high - less) + 1
            new = int(self.bits[self.at]) if self.at < len(self.bits) else 0
            self.value, self.at = 2 * (self.value - less) + new, self.at + 1


class Known:
    """A lane whose bytes are known, and then drawn (section 13.4), where there is a seed."""

    def __init__(self, known, drawn=0, place=0, seed=0, item=0, inverse=4096, characters=True):
        self.known, self.left, self.place, self.bits, self.byte = known, drawn, place, [], 1
        self.seed, self.item, self.inverse, self.begun = seed, item, inverse, b"" if characters else None

    def bit(self, one):
        number = self.byte.bit_length() - 1
        if self.known:
            y = self.known[0] >> 7 - number & 1
        else:
            c = self.place % 2**32, self.place >> 32, number // 4, self.item
            word = philox(list(c), [self.seed % 2**32, self.seed >> 32])[number % 4]
            goes = [y for y in (0, 1) if self.begun is None or self.leads(2 * self.byte + y, 7 - number)]
            y = goes[0] if len(goes) == 1 else symbol([0, 65536 - one, 65536], word, self.inverse)
        self.byte = 2 * self.byte + y
        if number == 7:
            self.next(self.byte - 256)
        return y

    def leads(self, node, missing):
        return any(self.fits(bytes([(node << missing | rest) - 256])) for rest in range(1 << missing))

    def fits(self, byte):
        """Whether characters of UTF-8 can go on so, and end."""
        for more in range(min(4, self.left)):
            for filler in (0x80, 0x90, 0xA0):  # what can be second after any first byte
                try:
                    found = (self.begun + byte + bytes([filler] * more)).decode()
                    return len(found) == 1 and (found in "\t\n\r" or ord(found) > 31 and found != "\x7f")
                except UnicodeDecodeError:
                    pass
        return False

    def next(self, byte):
        self.byte = 1
        if self.known:
            self.known = self.known[1:]
            return
        self.place, self.left = self.place + 1, self.left - 1
        if self.begun is not None:
            self.begun += bytes([byte])
            try:
                self.begun.decode()
                self.begun = b""
            except UnicodeDecodeError:
                pass


class Lane:
    def __init__(self, start, length, coder):
        self.start, self.length, self.at, self.coder = start, length, start, coder
        self.last = self.before = self.word = self.word_before = 0
        self.line, self.line_before, self.pointer, self.matched = start - 1, -1, -1, 0


def contexts(lane, text):
    above, place = 0, lane.line_before + lane.at - lane.line
    if lane.line_before >= lane.start - 1 and lane.start <= place < lane.line:
        above = text[place]
    c, b = lane.last, lane.before
    pairs = [(c & 255, 0), (c & 0xFFFF, 0), (c & 0xFFFFFF, 0), (c, 0), (c, b & 255), (c, b & 0xFFFF), (lane.word, c & 255),
             (lane.word, lane.word_before), (c & 0xFFFF00, 0), (above << 8 | c & 255, 0)]
    found = []
    for i, (first, second) in enumerate(pairs):
        h = first * 0x9E3779B1 + (i + 1) * 0x85EBCA77 & M
        h ^= h >> 15
        found.append((h + second) * 0xC2B2AE3D & M)
    return found


def block(model, coders, length, lengths=None):
    """lengths: of lanes, where they are not those of a block that is coded."""
    t, n = model.t, len(coders)
    text = [-1] * length
    lengths = lengths or [length // n + (i < length % n) for i in range(n)]
    lanes = [Lane(sum(lengths[:i]), lengths[i], coder) for i, coder in enumerate(coders)]
    bits = min(19, max(10, (length - 1).bit_length()))
    groups = [[bytearray(16) for _ in range(1 << bits)] for _ in range(10)]
    histories = [[list(level) for level in c] for c in t["histories"]]
    match, mix, refine = list(t["match"]), [[list(w) for w in m] for m in t["mix"]], [[list(r) for r in c] for c in t["refine"]]
    seen = {}
    for step in range(max(lengths)):
        lanes = [lane for lane in lanes if lane.length > step]
        for lane in lanes:
            lane.hashes, lane.node = contexts(lane, text), 1
            lane.kind = t["classes"][lane.last & 255]
            lane.key = finish(lane.last * 0x9E3779B1 + (lane.before & 0xFFFF) * 0x85EBCA77 & M) >> 14
        if step >= 6:
            for lane in lanes:
                found = seen.get(lane.key, -1)
                if lane.pointer < 0 <= found:
                    size = 0
                    while size < min(step, 32) and found - 1 - size >= 0 and text[found - 1 - size] == text[lane.at - 1 - size]:
                        size += 1
                    if size >= 5:
                        lane.pointer, lane.matched = found, size
            for lane in lanes:
                seen[lane.key] = lane.at
        for lane in lanes:
            expected = text[lane.pointer] if 0 <= lane.pointer < length else -1
            lane.expected = expected + 256 if expected >= 0 else 0
            if expected < 0:
                lane.pointer, lane.matched = -1, 0
        for bit in range(8):
            if bit in (0, 4):
                find_groups(model, lanes, groups, bit, bits)
            for lane in lanes:
                predict(lane, t, bit, histories, match, mix[bit], refine)
            for lane in lanes:
                lane.y = lane.coder.bit(lane.p)
            changes = {}
            for lane in lanes:
                update(lane, t, histories, match, mix[bit], refine, changes)
                lane.node = lane.node * 2 + lane.y
            for (row, i), change in changes.items():
                mix[bit][row][i] = max(-(1 << 21), min(1 << 21, mix[bit][row][i] + change))
        for lane in lanes:
            end(lane, text)
    return bytes(text)


def find_groups(model, lanes, groups, bit, bits):
    for lane in lanes:
        lane.found, lane.learnt = [], []
        for c in range(10):
            h = finish(lane.hashes[c] + (lane.node * 0x27D4EB2F if bit else 0) & M)
            if c < 8:
                lane.learnt.append(model.row(h))
            i, check, table = h >> 8 & (1 << bits) - 1, h & 255, groups[c]
            here, there = table[i][0] == check, table[i ^ 1][0] == check
            younger = table[i ^ 1][1] < table[i][1]
            lane.found.append((i if here or not there and not younger else i ^ 1, here or there, check))
    for clear in (True, False):
        for c in range(10):
            for lane in lanes:
                i, known, check = lane.found[c]
                if not known:
                    groups[c][i][:] = bytes(16) if clear else bytes([check]) + groups[c][i][1:]
    for lane in lanes:
        lane.groups = [groups[c][lane.found[c][0]] for c in range(10)]


def predict(lane, t, bit, histories, match, mix, refine):
    node = lane.node
    small = node if bit < 4 else node & (1 << bit - 4) - 1 | 1 << bit - 4
    lane.small = small
    lane.states = [group[small] for group in lane.groups]
    lane.levels = [row[small] for row in lane.learnt] + [0, 0]
    lane.was = [histories[c][lane.levels[c]][lane.states[c]] for c in range(10)]
    x = [t["stretch"][p >> 4] for p in lane.was]
    orders = 4 * sum(1 for c in range(1, 6) if lane.states[c] or lane.levels[c])
    lane.match = None
    if lane.expected >> 8 - bit == node:
        size = lane.matched
        slot = size if size < 16 else min(15 + (size - 16 >> 3), 23)
        lane.match = 2 * slot + (lane.expected >> 7 - bit & 1)
        orders += 1 + (size >= 10) + (size >= 20)
        lane.match_was = match[lane.match]
    x += [0 if lane.match is None else t["stretch"][match[lane.match] >> 4], 256]
    lane.x, lane.rows = x, (node - (1 << bit), 128 + orders, 152 + lane.kind)
    dot = sum(xi * sum(mix[row][i] for row in lane.rows) for i, xi in enumerate(x)) >> 16
    domain = max(-2047, min(2047, dot)) + 2048
    lane.mixed = t["squash"][domain]
    place, part = domain * 23 >> 12, domain * 23 & 4095
    curve = refine[lane.kind][node]
    refined = curve[place] * (4096 - part) + curve[place + 1] * part >> 12
    lane.curve, lane.place = curve, place + (part >> 11)
    lane.curve_was = curve[lane.place]
    lane.p = max(32, min(65504, lane.mixed + refined >> 1))


def update(lane, t, histories, match, mix, refine, changes):
    y, target = lane.y, 65535 * lane.y
    for c in range(10):
        lane.groups[c][lane.small] = t["next"][lane.states[c]][y]
        histories[c][lane.levels[c]][lane.states[c]] = lane.was[c] + (target - lane.was[c] >> 7)
    if lane.match is not None:
        match[lane.match] = lane.match_was + (target - lane.match_was >> 7)
    lane.curve[lane.place] = lane.curve_was + (target - lane.curve_was >> 6)
    error = 65536 * y - lane.mixed
    for i, x in enumerate(lane.x):
        for row in lane.rows:
            changes[row, i] = changes.get((row, i), 0) + (2 * x * error + (1 << 17) >> 18)


def end(lane, text):
    byte = lane.node & 255
    text[lane.at] = byte
    lane.before, lane.last = lane.before << 8 & M | lane.last >> 24, lane.last << 8 & M | byte
    lower = byte + 32 if 65 <= byte <= 90 else byte
    if 97 <= lower <= 122 or lower >= 128:
        lane.word = (lane.word + lower + 1) * 0x2F0B4C47 & M
    else:
        if lane.word:
            lane.word_before = lane.word
        lane.word = 0
    if byte == 10:
        lane.line_before, lane.line = lane.line, lane.at
    if lane.expected == byte + 256:
        lane.pointer, lane.matched = lane.pointer + 1, min(lane.matched + 1, 400)
    else:
        lane.pointer, lane.matched = -1, 0
    lane.at += 1


def lane_count(n):
    return max(1, min(4, n // 2048), min(256, n // 4096))


def draw(tensors, count, kept=b"", **how):
    """Text of so many bytes behind another, which is of whole characters; how: as `Known` takes it."""
    read = kept[-(1 << 20) + (1 << 18) :]
    n = lane_count(len(read))
    read = read[len(read) % n :]
    size = len(read) // n
    lanes = [Known(read[i * size : i * size + size]) for i in range(n - 1)]
    lanes.append(Known(read[(n - 1) * size :], count, len(kept), **how))
    lengths = [size] * (n - 1) + [size + count]
    return block(Model(tensors), lanes, len(read) + count, lengths)[len(read) :]


def decode(data, tensors):
    """(text, model's number)."""
    assert data[:4] == b"VQ\x01\x02" or data[:4] == b"VQ\x01\x42"
    model_id, at = varint(data, 4)
    length, at = varint(data, at + 5)
    size = 0
    if data[3] & 0x40:
        size, at = varint(data, at)
        at += 4
    at += 2
    checksum, at, out, model = zlib.crc32(data[:at]), at + size, b"", None
    while len(out) < length:
        n = min(1 << 20, length - len(out))
        method, wanted, at = data[at], int.from_bytes(data[at + 1 : at + 5], "little"), at + 5
        sizes = [n]
        if method:
            sizes = []
            for _ in range(lane_count(n) if method == 2 else 1):
                size, at = varint(data, at)
                sizes.append(size)
        parts = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        if method == 2:
            model = model or Model(tensors)
            text = block(model, [Coder(part) for part in parts], n)
        else:
            text = parts[0] if method == 0 else zlib.decompress(parts[0], -15)
        checksum = zlib.crc32(text, checksum)
        assert (checksum, len(text)) == (wanted, n)
        out += text
    assert at == len(data)
    return out, model_id
