"""Documents from files and to files: TIFF, PNG, PDF."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

import vqcodec
from vqcodec import medium
from vqcodec.cli import main
from vqcodec.document import pages, recognise, stream
from vqcodec.document.inspection import inspect
from vqcodec.errors import CorruptStreamError, InputError, UsageError

pikepdf = pytest.importorskip("pikepdf")


def print_of(text: str, width: int = 220, height: int = 60) -> Image.Image:
    image = Image.new("1", (width, height), 1)
    ImageDraw.Draw(image).multiline_text((5, 4), text, fill=0, font_size=16)
    return image


PAGES = [print_of("Invoice 1986\nTotal 3,468.00"), print_of("Page 2 of 3", 180, 48), print_of("6 or 8?\nb or h?")]


def tiff_of(images, **options) -> bytes:
    out = io.BytesIO()
    images[0].save(out, "TIFF", save_all=True, append_images=images[1:], **options)
    return out.getvalue()


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def same(first: Image.Image, second: Image.Image) -> bool:
    return first.size == second.size and bool((np.asarray(first.convert("L")) == np.asarray(second.convert("L"))).all())


# --- what is a document? ---------------------------------------------------------------------------------------------


def test_documents_are_recognised_by_content(tmp_path):
    png, grey = io.BytesIO(), io.BytesIO()
    PAGES[0].save(png, "PNG")
    PAGES[0].convert("L").save(grey, "PNG")
    yes = (tiff_of(PAGES), tiff_of(PAGES[:1]), tiff_of([page.convert("L") for page in PAGES]), png.getvalue(), b"%PDF-1.7\n%")
    no = (tiff_of([PAGES[0].convert("RGB")]), grey.getvalue(), b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"RIFF....WAVE")
    assert [recognise.is_document(data) for data in yes] == [True] * 5
    assert [recognise.is_document(data) for data in no] == [False] * 5
    large = tiff_of([print_of("x", 1500, 1200) for _ in range(2)], compression=None)
    path = tmp_path / "a.tif"
    path.write_bytes(large)
    assert recognise.is_document(large[: 1 << 16], str(path))  # whose second directory is further behind


def test_a_named_model_decides_between_picture_and_document(tmp_path):
    path, out = tmp_path / "a.png", tmp_path / "a.vq"
    PAGES[0].save(path)
    assert run("encode", path, out).exit_code == 0 and out.read_bytes()[3] & 7 == stream.CODE
    assert run("encode", path, out, "-f", "--model", "photo-3", "--effort", "0").exit_code == 0
    assert out.read_bytes()[3] & 7 == 0
    PAGES[0].convert("RGB").save(path)
    assert run("encode", path, out, "-f", "--model", "pages-1").exit_code == 0
    assert out.read_bytes()[3] & 7 == stream.CODE and inspect(out.read_bytes()).pages[0].kind == "bilevel"
    found = run("encode", path, out, "-f", "--mask", "clean")
    assert found.exit_code == 2 and "--mask is for documents, not for images" in found.output


# --- two levels, without loss ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    return vqcodec.encode(tiff_of(PAGES, dpi=(200, 200), compression="group4"))


def test_pages_come_back_bit_by_bit(data):
    decoded = vqcodec.decode(data)
    assert [image.mode for image in decoded] == ["1"] * 3
    assert all(map(same, decoded, PAGES))
    assert vqcodec.decode(vqcodec.encode(PAGES)) and all(map(same, vqcodec.decode(vqcodec.encode(PAGES)), PAGES))


def test_white_on_black_comes_back_and_costs_no_more():
    turned = [Image.fromarray(~np.asarray(page)) for page in PAGES]
    data = vqcodec.encode(tiff_of(turned))
    assert all(map(same, vqcodec.decode(data), turned))
    assert len(data) == len(vqcodec.encode(tiff_of(PAGES)))


@pytest.mark.parametrize("extension", ("tiff", "pdf"))
def test_files_of_several_pages(extension, data, tmp_path):
    source, out = tmp_path / "a.vq", tmp_path / f"a.{extension}"
    source.write_bytes(data)
    assert run("decode", source, out).exit_code == 0
    if extension == "pdf":
        pypdfium2 = pytest.importorskip("pypdfium2")
        document = pypdfium2.PdfDocument(out)
        assert len(document) == 3 and document[0].get_size() == pytest.approx((220 * 72 / 200, 60 * 72 / 200), abs=0.01)
        for number, page in enumerate(PAGES):
            image, = document[number].get_objects()
            assert same(image.get_bitmap().to_pil(), page)
    else:
        with Image.open(out) as image:
            assert image.n_frames == 3 and image.info["dpi"] == (200, 200) and image.info["compression"] == "group4"
            for number, page in enumerate(PAGES):
                image.seek(number)
                assert same(image, page)
        assert all(map(same, vqcodec.decode(vqcodec.encode(out)), PAGES))


def test_some_pages(data, tmp_path):
    source, out = tmp_path / "a.vq", tmp_path / "a.png"
    source.write_bytes(data)
    found = run("decode", source, out)
    assert found.exit_code == 2 and "PNG holds one page" in found.output
    assert run("decode", source, out, "--pages", "2").exit_code == 0 and same(Image.open(out), PAGES[1])
    tiff = tmp_path / "in.tif"
    tiff.write_bytes(tiff_of(PAGES))
    assert run("encode", tiff, source, "-f", "--pages", "1,3").exit_code == 0
    assert all(map(same, vqcodec.decode(source), [PAGES[0], PAGES[2]]))
    assert run("encode", tiff, source, "-f", "--pages", "4").exit_code == 2
    assert run("encode", tiff, source, "-f", "--pages", "x").exit_code == 2


def test_page_lists():
    assert pages.chosen("1-3,7", 9) == [0, 1, 2, 6] and pages.chosen("-2,8-", 9) == [0, 1, 7, 8]
    assert pages.chosen(None, 2) == [0, 1]
    for wrong in ("0", "3-2", "10", "1;2", "-"):
        with pytest.raises(UsageError):
            pages.chosen(wrong, 9 if wrong != "-" else 0)


def test_tokens_are_the_masks(data):
    grids = vqcodec.tokens(data)
    assert [grid.shape for grid in grids] == [(1, 60, 220), (1, 48, 180), (1, 60, 220)]
    assert (grids[1][0] == ~np.asarray(PAGES[1])).all()
    assert all(map(same, vqcodec.decode(vqcodec.from_tokens(grids, vqcodec.inspect(data))), PAGES))
    with pytest.raises(UsageError, match="3 pages"):
        vqcodec.from_tokens(grids[:1], vqcodec.inspect(data))


def test_inspection_and_verification(data, tmp_path):
    source = tmp_path / "a.vq"
    source.write_bytes(data)
    drawings = "--grids", tmp_path / "g.png", "--bits", tmp_path / "b.png"
    facts = json.loads(run("inspect", source, "--json", *drawings, "--segments").stdout)
    assert [page["width"] for page in facts["pages"]] == [220, 180, 220] and facts["pages"][0]["dpi"] == [200, 200]
    assert facts["model"] == "pages-2" and len(facts["page_bytes"]) == 3
    assert sum(facts["page_bytes"]) + facts["header_bytes"] + 3 * 7 <= facts["bytes"] <= sum(facts["page_bytes"]) + 60
    assert Image.open(tmp_path / "g.png").size == Image.open(tmp_path / "b.png").size == (220, 60)
    assert "document   3 pages" in run("inspect", source).output
    assert run("verify", source).exit_code == 0


def test_damage_anywhere_is_found(data):
    random = np.random.default_rng(0)
    for place in [0, 3, 5, len(data) - 1, *random.integers(4, len(data), 12).tolist()]:
        broken = bytearray(data)
        broken[place] ^= 1 << int(random.integers(8))
        with pytest.raises(vqcodec.VqcodecError):
            vqcodec.decode(bytes(broken))
    for cut in (data[:20], data[:-1], data + b"\0"):
        with pytest.raises(CorruptStreamError):
            vqcodec.decode(cut)


def test_pages_larger_than_announced_are_refused(data):
    header, sealed = stream.peek(data)
    bodies = [body for _, body in stream.records(io.BytesIO(data), header, sealed)]
    small = stream.pack_header(stream.DocumentHeader(**{**vars(header), "largest": 100, "pixels": 300}))
    forged = small + b"".join(stream.pack_record(n, body, stream.peek(small)[1]) for n, body in enumerate(bodies))
    with pytest.raises(CorruptStreamError, match="larger than the header says"):
        vqcodec.decode(forged)
    with pytest.raises(vqcodec.LimitError):
        vqcodec.decode(data, limits=vqcodec.Limits(pixels=1000))


# --- PDF -------------------------------------------------------------------------------------------------------------


def pdf_of(images, texts=None, **streams) -> bytes:
    """Scans with an invisible text layer, labels, an outline and a link."""
    pdf = pikepdf.new()
    for number, image in enumerate(images):
        page = pdf.add_blank_page(page_size=(612, 792))
        raw = pdf.make_stream(np.packbits(np.asarray(image), axis=1).tobytes())
        raw.Type, raw.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
        raw.Width, raw.Height, raw.BitsPerComponent, raw.ColorSpace = *image.size, 1, pikepdf.Name.DeviceGray
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Scan=raw), Font=pikepdf.Dictionary(F=font))
        page.Contents = pdf.make_stream(b"q 612 0 0 792 0 0 cm /Scan Do Q BT 3 Tr /F 12 Tf 72 700 Td (found %d) Tj ET" % number)
    pdf.Root.PageLabels = pikepdf.Dictionary(Nums=pikepdf.Array([0, pikepdf.Dictionary(S=pikepdf.Name.r)]))
    with pdf.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("Second", 1))
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


def test_pdfs_keep_all_but_the_coding_of_their_images(tmp_path):
    pypdfium2 = pytest.importorskip("pypdfium2")
    scans = [print_of("\n".join(f"{n}: {n * 7919 % 1000} of {n * 104729}" for n in range(k, k + 30)), 612, 792) for k in (1, 40)]
    source, coded, out = tmp_path / "a.pdf", tmp_path / "a.vq", tmp_path / "b.pdf"
    source.write_bytes(pdf_of(scans))
    assert run("encode", source, coded, "--verify").exit_code == 0
    assert coded.stat().st_size < 0.6 * source.stat().st_size
    assert run("decode", coded, out).exit_code == 0
    before, after = (pypdfium2.PdfDocument(path) for path in (source, out))
    for number in range(2):
        texts = [document[number].get_textpage().get_text_bounded() for document in (before, after)]
        assert texts[0] == texts[1] == f"found {number}"
        assert same(*(document[number].render().to_pil() for document in (before, after)))
    with pikepdf.open(out) as pdf:
        assert pdf.Root.PageLabels.Nums[1].S == "/r" and pdf.open_outline().root[0].title == "Second"
        assert not [thing for thing in pdf.objects if isinstance(thing, pikepdf.Stream) and "/VqPage" in thing]
    assert run("decode", coded, tmp_path / "c.pdf", "--pages", "2").exit_code == 0
    assert len(pypdfium2.PdfDocument(tmp_path / "c.pdf")) == 1
    assert run("decode", coded, tmp_path / "c.tiff", "--dpi", "72").exit_code == 0
    with Image.open(tmp_path / "c.tiff") as image:
        assert image.n_frames == 2 and image.size == (612, 792)


@pytest.mark.parametrize("black_is_1", (False, True))
def test_fax_codings_of_pdfs_are_read(black_is_1):
    from vqcodec.document.pdf import _bits
    from vqcodec.document.pdf_writing import _group4

    black = ~np.asarray(PAGES[0])
    pdf = pikepdf.new()
    image = pdf.make_stream(b"")
    image.Type, image.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
    image.Width, image.Height, image.BitsPerComponent, image.ColorSpace = 220, 60, 1, pikepdf.Name.DeviceGray
    image.write(_group4(black), filter=pikepdf.Name.CCITTFaxDecode,
                decode_parms=pikepdf.Dictionary(K=-1, Columns=220, Rows=60, BlackIs1=black_is_1))
    np.testing.assert_array_equal(_bits(image), black if black_is_1 else ~black)  # black is 0, if not said otherwise
    page = pdf.add_blank_page(page_size=(220, 60))
    page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im=image))
    page.Contents = pdf.make_stream(b"q 220 0 0 60 0 0 cm /Im Do Q")
    out = io.BytesIO()
    pdf.save(out)
    shown = pytest.importorskip("pypdfium2").PdfDocument(out.getvalue())[0].render().to_pil()
    assert same(shown, Image.fromarray(_bits(image)))


def test_pdfs_without_scans_are_refused_with_the_reason(tmp_path):
    pdf = pikepdf.new()
    pdf.add_blank_page()
    path, out = tmp_path / "a.pdf", tmp_path / "a.vq"
    pdf.save(path)
    found = run("encode", path, out)
    assert found.exit_code == 1 and "it has no scans, only text and vectors" in found.output and not out.exists()
    path.write_bytes(b"%PDF-1.7 and nothing else")
    found = run("encode", path, out)
    assert found.exit_code == 1 and "not a PDF, or damaged" in found.output


def test_limits_and_kinds_of_outputs():
    kind = medium.of_modality("document")
    with pytest.raises(UsageError, match="decoded to .pdf, .tiff or .png"):
        kind.format_for("a.jpg")
    with pytest.raises(InputError):
        pages.check_page(70000, 1, "a")


def test_pdfs_whose_images_make_no_sense_are_one_line(tmp_path):
    data = pdf_of([print_of("one line", 612, 792)] * 2)
    assert data.count(b"/Width 612") == 2
    path = tmp_path / "a.pdf"
    path.write_bytes(data.replace(b"/Width 612", b"/Width /aa"))
    found = run("encode", path, tmp_path / "a.vq")
    assert found.exit_code == 1 and "the PDF is damaged" in found.output and not (tmp_path / "a.vq").exists()
