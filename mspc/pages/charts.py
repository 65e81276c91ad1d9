"""Small charts, drawn by the server: SVG without a script or a style of its own."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 360, 60
GAP = 1


_UNITS = {"min": "a minute", "h": "an hour"}


def bars(
    name: str, layers: Sequence[tuple[str, str, Sequence[int]]], unit: str = "min"
) -> Markup:
    """Stacked bars, one a minute or an hour, the oldest on the left.

    Args:
        name: what is shown, for those who cannot see it.
        layers: from the bottom: a class of the style sheet, what it is, and its values.
        unit: `min` or `h`.
    """
    each = _UNITS[unit]
    totals = [
        sum(column) for column in zip(*(layer[2] for layer in layers), strict=True)
    ]
    most = max(totals, default=0)
    width = WIDTH / max(1, len(totals))
    drawn = []
    for index, total in enumerate(totals):
        if not total:
            continue
        top = float(HEIGHT)
        ago = len(totals) - index
        said = ", ".join(f"{values[index]:,} {what}" for _, what, values in layers)
        parts = []
        for kind, _, values in layers:
            height = values[index] / most * HEIGHT
            top -= height
            parts.append(
                f'<rect class="{kind}" x="{index * width:.1f}" y="{top:.1f}"'
                f' width="{width - GAP:.1f}" height="{height:.1f}"/>'
            )
        title = f"<title>{ago} {unit} ago: {said}</title>"
        drawn.append(f"<g>{title}{''.join(parts)}</g>")
    legend = "".join(
        f'<span class="legend {kind}">{what}</span>' for kind, what, _ in layers
    )
    # The names are the program's own; nothing here comes from outside.
    return Markup(  # noqa: S704
        f'<figure class="chart"><span class="most num">{most:,} {each}</span>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{name}: at most {most:,} {each}">{"".join(drawn)}</svg>'
        f"<figcaption><span>{len(totals)} {unit} ago</span><span>{legend}</span>"
        "<span>now</span>"
        "</figcaption></figure>"
    )
