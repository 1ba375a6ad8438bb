"""EXIF, XMP, ICC and density of picture files: kept, made true for upright sRGB samples, written again, never in the way."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from helpers import time_limit
from image_files import chunk, directory, encoded, png_of, png_with, skip_before, skip_without, tiff
from PIL import Image, ImageCms

from vqcodec.errors import InputError, VqcodecWarning
from vqcodec.metadata import MAX_SIZE, Metadata
from vqcodec.picture.file import Picture, read_metadata, read_picture, write_picture
from vqcodec.picture.formats.ifd import TiffStructure
from vqcodec.picture.formats.metadata import without_gps

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
PNG = png_of(RGB)
XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:drone="http://drone/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 tiff:Orientation="6" exif:GPSLatitude="52,30.5N" exif:GPSLongitude='13,22.1E' drone:GpsAltitude="71.3"
 exif:ColorSpace="65535"><exif:GPSDateStamp>2026-11-28</exif:GPSDateStamp><exif:GPSAreas><rdf:Seq><rdf:li>Place</rdf:li></rdf:Seq>
</exif:GPSAreas><xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails><tiff:Artist>A. Painter</tiff:Artist>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
THUMBNAIL = encoded(Image.new("RGB", (16, 12), "red"), "JPEG")


@pytest.fixture(autouse=True)
def _unexpected_warnings_fail():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def exif_data(orientation: int = 6, order: str = "<", thumbnail: bytes = THUMBNAIL) -> bytes:
    """EXIF as cameras write it: orientation, sizes, a maker's note, a place, a thumbnail at the end."""
    e = {"<": "little", ">": "big"}[order]
    parts = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order] + (8).to_bytes(4, e))

    def entry(tag, kind, count, value):
        value = value if isinstance(value, bytes) else value.to_bytes(2 if kind == 3 else 4, e)
        return struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")

    main, exif, gps = 8, 8 + 2 + 12 * 5 + 4, 8 + 2 + 12 * 5 + 4 + 2 + 12 * 4 + 4
    values = gps + 2 + 12 * 3 + 4
    second = values + 64
    parts += struct.pack(order + "H", 5) + entry(0x010F, 2, 8, values) + entry(0x0112, 3, 1, orientation)
    parts += entry(0x8769, 4, 1, exif) + entry(0x8825, 4, 1, gps) + entry(0x9999, 4, 1, 77) + second.to_bytes(4, e)
    assert len(parts) == exif
    parts += struct.pack(order + "H", 4) + entry(0x927C, 7, 16, values + 8) + entry(0xA001, 3, 1, 0xFFFF)
    parts += entry(0xA002, 4, 1, 32) + entry(0xA003, 4, 1, 24) + bytes(4)
    parts += struct.pack(order + "H", 3) + entry(1, 2, 2, b"N\0") + entry(2, 5, 3, values + 24) + entry(3, 2, 2, b"E\0") + bytes(4)
    assert len(parts) == values
    parts += b"Painter\0" + b"a maker's note.." + struct.pack(order + "6I", 52, 1, 30, 1, 5, 1) + bytes(16)
    assert len(parts) == second
    parts += struct.pack(order + "H", 2) + entry(0x0201, 4, 1, second + 30) + entry(0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return bytes(parts + thumbnail)


def tags(exif: bytes) -> tuple[dict, dict, dict]:
    image = Image.Exif()
    image.load(exif)
    return dict(image), image.get_ifd(0x8769), image.get_ifd(0x8825)


def check_exif(exif: bytes, swapped: bool) -> None:
    main, below, gps = tags(exif)
    assert main.get(0x0112, 1) == 1 and main[0x010F] == "Painter" and main[0x9999] == 77
    assert below[0xA001] == 1 and (below[0xA002], below[0xA003]) == ((24, 32) if swapped else (32, 24))
    assert below[0x927C] == b"a maker's note.." and gps[2] == (52, 30, 5)


# reading


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_exif_is_kept_and_says_what_samples_are(format, order):
    exif = exif_data(order=order)
    data = png_with(PNG, chunk(b"eXIf", exif)) if format == "PNG" else encoded(
        Image.fromarray(RGB), format, exif=b"Exif\0\0" + exif)
    kept = read_picture(data).metadata.exif
    check_exif(kept, swapped=True)
    assert len(kept) == len(exif) - len(THUMBNAIL) and b"\xff\xd8" not in kept
    assert kept == read_metadata(data).exif
    maker = exif.index(b"a maker's note")
    assert kept.index(b"a maker's note") == maker  # notes point at themselves by offset


def test_exif_as_imagemagick_writes_it():
    exif = b"Exif\0\0" + exif_data(6)
    lines = exif.hex().encode()
    content = b"\nexif\n%8d\n" % len(exif) + b"\n".join(lines[at : at + 72] for at in range(0, len(lines), 72))
    for kind, data in ((b"zTXt", b"\0" + zlib.compress(content)), (b"tEXt", content)):
        picture = read_picture(png_with(PNG, chunk(kind, b"Raw profile type exif\0" + data)))
        assert np.array_equal(picture.rgb, np.rot90(RGB, -1))
        check_exif(picture.metadata.exif, swapped=True)


def test_exif_of_avif_and_tiff():
    data = encoded(Image.fromarray(RGB), "AVIF", exif=b"Exif\0\0" + exif_data(1))
    check_exif(read_picture(data).metadata.exif, swapped=False)
    exif = Image.Exif()
    exif.load(exif_data(6))
    data = encoded(Image.fromarray(RGB), "TIFF", exif=exif)
    picture = read_picture(data)
    check_exif(picture.metadata.exif, swapped=True)
    main = tags(picture.metadata.exif)[0]
    assert picture.rgb.shape == (32, 24, 3) and not {256, 257, 258, 273, 277} & set(main)


def test_tags_of_a_dng_come_from_its_first_directory():
    full = directory(RGB.tobytes(), 32, 24, (8,) * 3, 2)
    small = directory(RGB[::4, ::4].tobytes(), 8, 6, (8,) * 3, 2, t254=1, t330=[full], t271=(2, b"Painter\0"),
                      t700=(1, XMP))
    picture = read_picture(tiff(small))
    assert np.array_equal(picture.rgb, RGB)
    assert tags(picture.metadata.exif)[0][271] == "Painter" and b"A. Painter" in picture.metadata.xmp


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_xmp_is_kept_and_says_what_samples_are(format):
    xmp = XMP.replace(b'Orientation="6"', b'Orientation="1"')
    if format == "PNG":
        data = png_with(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    elif format == "TIFF":
        data = tiff(directory(RGB.tobytes(), 32, 24, (8,) * 3, 2, t700=(1, xmp)))
    else:
        if format == "JPEG":
            skip_before(11)
        data = encoded(Image.fromarray(RGB), format, xmp=xmp)
    kept = read_picture(data).metadata.xmp
    assert b'tiff:Orientation="1"' in kept and b'exif:ColorSpace="1"' in kept and b"Thumbnails" not in kept
    assert b'GPSLatitude="52,30.5N"' in kept and b"A. Painter" in kept and kept.endswith(b'<?xpacket end="w"?>')


def test_orientation_of_xmp_turns_and_is_then_gone():
    for packet in (XMP, XMP.replace(b' tiff:Orientation="6"', b"").replace(
            b"<tiff:Artist>", b"<tiff:Orientation>6</tiff:Orientation><tiff:Artist>")):
        picture = read_picture(png_with(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)))
        assert np.array_equal(picture.rgb, np.rot90(RGB, -1))
        assert b"6</tiff:Orientation" not in picture.metadata.xmp and b'Orientation="6"' not in picture.metadata.xmp


def test_density():
    assert read_metadata(png_with(PNG, chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1)))).density == (11811, 5906)
    assert read_metadata(png_with(PNG, chunk(b"pHYs", struct.pack(">IIB", 3, 2, 0)))) is None
    assert read_metadata(encoded(Image.fromarray(RGB), "JPEG", dpi=(300, 150))).density == (11811, 5906)
    assert read_metadata(encoded(Image.fromarray(RGB), "TIFF", dpi=(300, 150))).density == (11811, 5906)
    assert read_metadata(encoded(Image.fromarray(RGB), "TIFF")) is None
    turned = png_with(PNG, chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1)), chunk(b"eXIf", exif_data(6)))
    assert read_picture(turned).metadata.density == (5906, 11811)


def test_profiles_are_kept_as_they_were():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF"):
        picture = read_picture(encoded(Image.fromarray(RGB), format, icc_profile=profile))
        assert picture.metadata.icc == profile
        assert "icc_profile" not in Image.open(io.BytesIO(write_picture(picture, format))).info


def test_pil_images_and_arrays():
    image = Image.open(io.BytesIO(png_with(PNG, chunk(b"eXIf", exif_data(6)), last=True)))
    check_exif(read_picture(image).metadata.exif, swapped=True)
    assert read_picture(RGB).metadata is None and read_picture(PNG).metadata is None


# without the place


@pytest.mark.parametrize("order", ["<", ">"])
def test_without_gps(order):
    exif = exif_data(1, order)
    metadata = Metadata(exif=exif, xmp=XMP, icc=b"profile", density=(1, 2))
    kept = without_gps(metadata)
    main, below, gps = tags(kept.exif)
    assert not gps and 0x8825 not in main and main[0x9999] == 77 and main[0x010F] == "Painter"
    assert below[0x927C] == b"a maker's note.." and kept.icc == b"profile" and kept.density == (1, 2)
    assert struct.pack(order + "6I", 52, 1, 30, 1, 5, 1) not in kept.exif and len(kept.exif) == len(exif)
    structure = TiffStructure(kept.exif)
    assert structure.directory(structure.first).next == TiffStructure(exif).directory(8).next
    for word in (b"GPS", b"Gps", b"52,30.5N", b"13,22.1E", b"71.3", b"2026-11-28", b"Place"):
        assert word in XMP and word not in kept.xmp
    assert b'tiff:Orientation="6"' in kept.xmp and b"A. Painter" in kept.xmp
    assert kept.xmp.count(b"<rdf:Description") == 1 and kept.xmp.count(b"</rdf:Description>") == 1


def test_without_gps_leaves_exif_out_where_the_place_cannot_be_told_apart():
    exif = exif_data(1)
    at = exif.index(struct.pack("<HHI", 0x8825, 4, 1)) + 8
    broken = exif[:at] + struct.pack("<I", 0xFFFFFF) + exif[at + 4 :]
    assert without_gps(Metadata(exif=broken)) == Metadata()
    assert without_gps(Metadata(exif=b"nothing of the kind")) == Metadata()
    assert without_gps(Metadata()) == Metadata()


def test_packets_that_are_hard_to_read_take_no_time():
    for packet in (b"<a>" + b" " * 1_000_000, b"<a:gps>" * 120_000, b'<a "' * 200_000, b"<a b" + b"c" * 1_000_000 + b">",
                   b"<a " + b"gps:x = " * 100_000 + b">", b"<!--" * 200_000, b"<a" + b" \n" * 500_000):
        with time_limit(20):
            without_gps(Metadata(xmp=packet))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VqcodecWarning)
                read_metadata(png_with(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)))


def test_names_of_other_vocabularies_for_the_place():
    packet = (b'<r xmlns:gps="http://gps/" xmlns:x="y" gps:Lat="1" x:a=\'<>\' x:GpsAlt="2"/><!-- gps:Lat="1" > -->'
              b'<gps:Area><b gps:c="<"/></gps:Area><x:d>e</x:d>')
    kept = without_gps(Metadata(xmp=packet)).xmp
    assert kept == b'<r xmlns:gps="http://gps/" xmlns:x="y"  x:a=\'<>\' /><!-- gps:Lat="1" > --><x:d>e</x:d>'


# writing


METADATA = Metadata(exif=exif_data(1, thumbnail=b""), xmp=XMP.replace(b'Orientation="6"', b'Orientation="1"'), icc=b"old",
                    density=(11811, 11811))


@pytest.mark.parametrize("alpha", [None, np.full((24, 32), 9, np.uint8)])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_what_is_written_is_read_again(format, alpha):
    if format == "JPEG" and alpha is not None:
        return
    skip_without(format)
    data = write_picture(Picture(RGB, alpha), format, METADATA)
    picture = read_picture(data)
    back = picture.metadata
    check_exif(back.exif, swapped=False)
    assert b"A. Painter" in back.xmp and b"GPSLatitude" in back.xmp and back.icc is None
    assert picture.rgb.shape == RGB.shape and (picture.alpha is None) == (alpha is None)
    if format in ("PNG", "JPEG", "TIFF"):
        assert back.density == (11811, 11811)
    if format in ("PNG", "TIFF"):
        assert np.array_equal(picture.rgb, RGB)


def test_the_picture_s_own_metadata_are_written_unless_others_are_given():
    picture = Picture(RGB, metadata=Metadata(density=(100, 200)))
    assert read_metadata(write_picture(picture)).density == (100, 200)
    assert read_metadata(write_picture(picture, metadata=Metadata(density=(5, 5)))).density == (5, 5)
    assert read_metadata(write_picture(picture, metadata=Metadata())) is None
    write_picture(picture, "BMP")


def test_what_a_format_has_no_room_for_is_left_out_with_a_warning():
    large = Metadata(exif=exif_data(1, thumbnail=bytes(70000)), xmp=XMP, density=(100, 100))
    with pytest.warns(VqcodecWarning, match="metadata left out of the JPEG file \\(exif\\)"):
        back = read_metadata(write_picture(Picture(RGB), "JPEG", large))
    assert back.exif is None and back.xmp
    with pytest.warns(VqcodecWarning, match="metadata left out of the JPEG file \\(xmp\\)"):
        back = read_metadata(write_picture(Picture(RGB), "JPEG", Metadata(xmp=XMP + b" " * 70000)))
    with pytest.warns(VqcodecWarning, match="metadata left out of the TIFF file"):
        assert read_picture(write_picture(Picture(RGB), "TIFF", Metadata(exif=b"none"))).rgb.shape == RGB.shape


# metadata never stop a picture


def text(kind: bytes, size: int) -> bytes:
    content = zlib.compress(bytes(size), 9)
    return {b"zTXt": b"Comment\0\0" + content, b"iTXt": b"Comment\0\1\0\0\0" + content, b"iCCP": b"name\0\0" + content,
            b"tEXt": b"Comment\0" + bytes(size)}[kind]


ODD_CHUNKS = {
    "large zTXt": chunk(b"zTXt", text(b"zTXt", 1 << 21)),
    "large iTXt": chunk(b"iTXt", text(b"iTXt", 1 << 21)),
    "much text": chunk(b"tEXt", text(b"tEXt", 1 << 21)) * 40,
    "unknown method": chunk(b"zTXt", b"Comment\0\7" + zlib.compress(b"x")),
    "unknown chunk": chunk(b"abCd", b"12"),
}
IGNORED_CHUNKS = {
    "large XMP": (chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(1 << 23))), "iTXt .*4 MiB"),
    "large iCCP": (chunk(b"iCCP", text(b"iCCP", 1 << 26)), "iCCP .*32 MiB"),
    "broken iCCP": (chunk(b"iCCP", b"name\0\0no zlib stream"), "iCCP"),
    "checksum": (chunk(b"tEXt", b"Comment\0text", crc=5), "tEXt chunk .wrong checksum"),
    "short gAMA": (chunk(b"gAMA", b"\1"), "gAMA"),
    "short cHRM": (chunk(b"cHRM", bytes(31)), "cHRM"),
    "short pHYs": (chunk(b"pHYs", bytes(8)), "pHYs"),
    "raw profile": (chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nno hex"), "tEXt"),
    "broken EXIF": (chunk(b"eXIf", b"nothing"), "EXIF"),
    "broken XMP": (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0\xff\xfe\xfd"), "XMP"),
    "short acTL": (chunk(b"acTL", b"\0"), "acTL"),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", ODD_CHUNKS)
def test_odd_chunks_are_passed_over(name, last):
    assert np.array_equal(read_picture(png_with(PNG, ODD_CHUNKS[name], last=last)).rgb, RGB)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", IGNORED_CHUNKS)
def test_broken_chunks_are_ignored_with_a_warning(name, last):
    data, match = IGNORED_CHUNKS[name]
    with pytest.warns(VqcodecWarning, match=f"photo: .*{match}"):
        assert np.array_equal(read_picture(png_with(PNG, data, last=last), "photo").rgb, RGB)


def test_large_profiles_are_followed():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = struct.pack(">I", 2 << 20) + profile[4:].ljust((2 << 20) - 4, b"\0")
    picture = read_picture(png_with(PNG, chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))))
    assert np.array_equal(picture.rgb, RGB) and picture.metadata.icc == profile


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS"])
def test_damage_to_pixels_is_an_error(kind):
    data = png_with(PNG, chunk(b"tRNS", bytes(6)), chunk(b"PLTE", bytes(6)))
    at = data.index(kind)
    size = int.from_bytes(data[at - 4 : at], "big")
    with pytest.raises(InputError):
        read_picture(data[: at + 4 + size] + bytes(4) + data[at + 8 + size :])


def test_chunks_that_are_cut_off_are_errors():
    data = png_with(PNG, chunk(b"tEXt", b"Comment\0" + bytes(500)))
    for length in (40, 200, 500, 600, len(data) - 300):
        with pytest.raises(InputError):
            read_picture(data[:length])


@pytest.mark.parametrize("segment", [b"\xff\xe0\0\x08JFIF\0\1", b"\xff\xee\0\x08Adobe\0", b"\xff\xe1\0\x0aExif\0\0II",
                                     b"\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\xff", b"\xff\xe2\0\x12ICC_PROFILE\0\1\2ab",
                                     b"\xff\xed\0\x18Photoshop 3.0\x008BIM\4\x0c"])
def test_broken_segments_do_not_stop_a_jpeg(segment):
    data = encoded(Image.fromarray(RGB), "JPEG", quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VqcodecWarning)
        picture = read_picture(data[:2] + segment + data[2:])
    assert np.array_equal(picture.rgb, read_picture(data).rgb)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_broken_exif_does_not_stop_a_picture(format, exif):
    data = encoded(Image.fromarray(RGB), format)
    if format == "AVIF":  # whose writer reads it
        data = encoded(Image.fromarray(RGB), format, exif=b"Exif\0\0" + exif_data(1, thumbnail=b""))
        at = data.index(b"II*\0")
        data = data[: at + 4] + b"\xff\xff\xff\x7f" + data[at + 8 :]
    else:
        data = encoded(Image.fromarray(RGB), format, exif=exif)
    with pytest.warns(VqcodecWarning, match="EXIF data ignored"):
        picture = read_picture(data)
    assert picture.rgb.shape == RGB.shape and picture.metadata is None


def test_metadata_of_more_bytes_than_streams_take_are_left_out():
    data = png_with(PNG, chunk(b"eXIf", exif_data(1, thumbnail=b"")), chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP + b" " * MAX_SIZE))
    with pytest.warns(VqcodecWarning, match="XMP ignored .*more than streams take"):
        metadata = read_picture(data).metadata
    assert metadata.xmp is None
    check_exif(metadata.exif, swapped=False)


def test_noise_in_exif_never_escapes():
    rng = np.random.default_rng(2)
    exif = exif_data(6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VqcodecWarning)
        for _ in range(300):
            noisy = np.frombuffer(exif, np.uint8).copy()
            places = rng.integers(0, 200, 5)
            noisy[places] = rng.integers(0, 256, 5)
            metadata = read_metadata(png_with(PNG, chunk(b"eXIf", noisy.tobytes())))
            if metadata and metadata.exif:
                without_gps(metadata)
