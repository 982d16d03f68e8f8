"""Pictures of things, drawn by a few formulas: what a browser can be given, and screenshots may show."""

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter

SIZE = 320  # pixels, of the shorter side
Draw = Callable[[ImageDraw.ImageDraw], None]


def scene(sky: str, ground: str, horizon: float, paint: Draw, width: int = SIZE) -> Image.Image:
    """What `paint` draws on a square of SIZE, in the middle of a landscape `width` pixels wide."""
    picture = Image.new("RGB", (SIZE, SIZE), sky)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, horizon * SIZE, SIZE, SIZE), fill=ground)
    paint(draw)
    wide = picture.resize((width, SIZE)) if width < SIZE else Image.new("RGB", (width, SIZE), sky)
    ImageDraw.Draw(wide).rectangle((0, horizon * SIZE, width, SIZE), fill=ground)
    wide.paste(picture, ((width - SIZE) // 2, 0))
    return wide.filter(ImageFilter.GaussianBlur(1.5))


def truck(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((40, 90, 200, 215), fill="#e9e4d8")
    draw.polygon([(205, 130), (255, 130), (285, 175), (285, 215), (205, 215)], fill="#b8322a")
    draw.polygon([(222, 140), (250, 140), (268, 170), (222, 170)], fill="#bcd8e8")
    for x in (85, 240):
        draw.ellipse((x - 28, 190, x + 28, 246), fill="#1d1d1f")
        draw.ellipse((x - 11, 207, x + 11, 229), fill="#a9a9a4")


def automobile(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(95, 165), (125, 115), (205, 115), (245, 165)], fill="#a81f25")
    draw.polygon([(110, 162), (132, 125), (160, 125), (160, 162)], fill="#cfe2ec")
    draw.polygon([(170, 162), (170, 125), (200, 125), (228, 162)], fill="#cfe2ec")
    draw.rounded_rectangle((35, 160, 290, 215), 22, fill="#c2272d")
    for x in (95, 230):
        draw.ellipse((x - 27, 186, x + 27, 240), fill="#1d1d1f")
        draw.ellipse((x - 12, 201, x + 12, 225), fill="#c9c9c4")


def airplane(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(140, 165), (200, 165), (120, 265), (92, 265)], fill="#aab4be")
    draw.polygon([(150, 150), (200, 150), (150, 75), (128, 75)], fill="#c3ccd4")
    draw.polygon([(35, 95), (62, 95), (95, 150), (50, 150)], fill="#2f5f9e")
    draw.ellipse((30, 138, 292, 184), fill="#eef1f3")
    draw.polygon([(262, 148), (280, 154), (262, 162)], fill="#38424c")


def ship(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(30, 180), (292, 180), (258, 232), (62, 232)], fill="#3d2b2f")
    draw.rectangle((85, 138, 225, 180), fill="#f4f4f0")
    draw.rectangle((110, 106, 200, 138), fill="#dfe1df")
    draw.rectangle((140, 64, 168, 106), fill="#8c2f2a")


def frog(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((70, 130, 250, 255), fill="#4f8a34")
    draw.ellipse((100, 165, 220, 262), fill="#a9c36a")
    for x in (112, 208):
        draw.ellipse((x - 30, 88, x + 30, 148), fill="#4f8a34")
        draw.ellipse((x - 17, 100, x + 17, 134), fill="#f2eecb")
        draw.ellipse((x - 8, 109, x + 8, 125), fill="#151510")
    draw.arc((112, 150, 208, 205), 20, 160, fill="#21401a", width=6)
    for x in (62, 258):
        draw.ellipse((x - 42, 215, x + 42, 270), fill="#3f7429")


def cat(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(82, 150), (92, 52), (150, 106)], fill="#c98b4a")
    draw.polygon([(238, 150), (228, 52), (170, 106)], fill="#c98b4a")
    draw.ellipse((72, 85, 248, 255), fill="#d69a58")
    for x in (124, 196):
        draw.ellipse((x - 20, 138, x + 20, 176), fill="#e9e3a8")
        draw.ellipse((x - 6, 140, x + 6, 174), fill="#151510")
    draw.polygon([(148, 192), (172, 192), (160, 206)], fill="#8f4a45")
    for y in (200, 214):
        draw.line((40, y - 8, 130, y), fill="#f5ead8", width=3)
        draw.line((280, y - 8, 190, y), fill="#f5ead8", width=3)


DRAWINGS = {
    "harbour.jpg": lambda: scene("#9cc3e6", "#2c5a86", 0.66, ship, 480),
    "van.png": lambda: scene("#c5d6de", "#6d6c69", 0.66, truck, 400),
    "red car.png": lambda: scene("#b9cfd9", "#7a7a78", 0.62, automobile, 426),
    "departure.jpg": lambda: scene("#7fb0e2", "#7fb0e2", 0.9, airplane, 480),
    "pond.png": lambda: scene("#b7c79a", "#6d8a5c", 0.55, frog),
    "tom.png": lambda: scene("#8fa7a0", "#7b6f66", 0.8, cat),
}


def drawing(name: str) -> bytes:
    """One of DRAWINGS, encoded as its name says."""
    file = io.BytesIO()
    DRAWINGS[name]().save(file, "JPEG" if name.endswith(".jpg") else "PNG")
    return file.getvalue()
