"""Colours and type of reports and charts: those of the server's page. A test holds them to serving/page/look.css."""

# By their name there: in light, in dark.
COLOURS = {
    "paper": ("#f6f5f0", "#121412"),
    "sheet": ("#fffefb", "#1a1d1a"),
    "ink": ("#1c1f1c", "#e8e8e0"),
    "soft": ("#5a5f58", "#a2a89e"),
    "line": ("#dbd9cf", "#30352f"),
    "accent": ("#14614f", "#7fd1b5"),
    "unsure": ("#875000", "#e8b566"),
}
FONTS = {
    "serif": '"Iowan Old Style", "Palatino Linotype", Palatino, P052, "URW Palladio L", Charter, Georgia, serif',
    "sans": 'Inter, system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif',
}


def properties() -> str:
    """CSS custom properties, for light and dark."""
    colours = (f"--{name}: light-dark({light}, {dark});" for name, (light, dark) in COLOURS.items())
    return "\n".join((*colours, *(f"--{name}: {families};" for name, families in FONTS.items())))


def light(name: str) -> str:
    """A colour, for a picture that cannot know what is around it."""
    return COLOURS[name][0]
