"""The results as a picture: four diagrams, as SVG."""

import math

COLOURS = {
    "queue": "#666666",
    "mmap": "#0072b2",
    "inline": "#56b4e9",
    "shm": "#e69f00",
    "unixfd": "#009e73",
    "gdp": "#cc79a7",
    "pipewire": "#d55e00",
}
SIZES = [("1k", "1 KiB"), ("64k", "64 KiB"), ("1080p", "1080p"), ("4k", "4K"),
         ("1080p-touched", "1080p,\ntouched"), ("4k-touched", "4K,\ntouched")]
READERS = (1, 4, 16)
WIDTH, HEIGHT = 980, 715
STYLE = "font-family: sans-serif; font-size: 12px; fill: #222"


def short(value):
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {letter}"
    return f"{value:.3g}"


class Panel:
    """A diagram with a logarithmic scale upwards, at a place in the picture."""

    def __init__(self, left, top, title, values):
        self.left, self.top, self.width, self.height = left, top, 400, 230
        values = [value for value in values if value and value > 0]
        self.low = 10 ** math.floor(math.log10(min(values, default=1)))
        self.high = 10 ** math.ceil(math.log10(max(values, default=10) * 1.01))
        self.parts = [f'<text x="{left}" y="{top - 14}" font-weight="bold">{title}</text>']
        decade = self.low
        while decade <= self.high * 1.001:
            y = self.y(decade)
            self.parts.append(f'<line x1="{left}" x2="{left + self.width}" y1="{y:.1f}" '
                              f'y2="{y:.1f}" stroke="#ddd"/>')
            self.text(left - 6, y + 4, short(decade), "end")
            decade *= 10

    def y(self, value):
        share = math.log10(value / self.low) / math.log10(self.high / self.low)
        return self.top + self.height * (1 - share)

    def text(self, x, y, text, anchor="middle"):
        for number, line in enumerate(text.split("\n")):
            self.parts.append(f'<text x="{x:.1f}" y="{y + 14 * number:.1f}" '
                              f'text-anchor="{anchor}">{line}</text>')

    def bars(self, groups):
        """Of (label, [(transport, value, value of a mark above it or None)])."""
        width = self.width / max(len(groups), 1)
        for number, (label, bars) in enumerate(groups):
            left = self.left + number * width
            self.text(left + width / 2, self.top + self.height + 18, label)
            bar = width * 0.84 / max(len(bars), 1)
            for index, (transport, value, mark) in enumerate(bars):
                x, y = left + width * 0.08 + index * bar, self.y(value)
                colour = COLOURS[transport]
                self.parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.9:.1f}" '
                    f'height="{self.top + self.height - y:.1f}" fill="{colour}">'
                    f"<title>{transport}: {short(value)}</title></rect>")
                if mark:
                    middle = x + bar * 0.45
                    self.parts.append(
                        f'<path d="M{middle:.1f} {y:.1f}V{self.y(mark):.1f}m-4 0h8" '
                        f'stroke="{colour}" fill="none"><title>{transport}: {short(mark)}</title>'
                        "</path>")

    def lines(self, labels, series):
        """Of (transport, dashed, values): one for each label, None where there is none."""
        step = self.width / max(len(labels), 1)
        for number, label in enumerate(labels):
            self.text(self.left + (number + 0.5) * step, self.top + self.height + 18, label)
        for transport, dashed, values in series:
            points = [(self.left + (number + 0.5) * step, self.y(value))
                      for number, value in enumerate(values) if value]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            dash = ' stroke-dasharray="5 4"' if dashed else ""
            colour = COLOURS[transport]
            self.parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" '
                              f'stroke-width="2"{dash}/>')
            for x, y in points:
                self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')


def bar_panel(results, left, top, title, suffix, key, mark=None):
    groups = []
    for size, label in SIZES:
        case = size + suffix
        bars = [(transport, results.median(case, transport, key),
                 mark and results.median(case, transport, mark))
                for transport in COLOURS if results.median(case, transport, key)]
        if bars:
            groups.append((label, bars))
    values = [value for _, bars in groups for _, *pair in bars for value in pair if value]
    panel = Panel(left, top, title, values)
    panel.bars(groups)
    return panel.parts


def fan_out_panel(results, left, top):
    series = []
    for transport in COLOURS:
        for suffix in ("", "-paced"):
            values = [results.median(f"fan-out-{n}-1080p{suffix}", transport, "cpu_us")
                      for n in READERS]
            if any(values):
                series.append((transport, bool(suffix), values))
    panel = Panel(left, top, "fan-out of 1080p: CPU µs/frame (dashed: at 60 frames/s)",
                  [value for _, _, values in series for value in values])
    panel.lines([f"{n} reader{'s' * (n > 1)}" for n in READERS], series)
    return panel.parts


def svg(results):
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             f'width="{WIDTH}" height="{HEIGHT}" style="{STYLE}">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    shown = [t for t in COLOURS if any(runs.get(t) for runs in results.runs.values())]
    for number, transport in enumerate(shown):
        x = 60 + 110 * number
        parts.append(f'<rect x="{x}" y="16" width="14" height="14" fill="{COLOURS[transport]}"/>'
                     f'<text x="{x + 20}" y="28">{transport}</text>')
    parts += bar_panel(results, 60, 75, "unpaced: frames/s", "", "fps")
    parts += bar_panel(results, 560, 75, "unpaced: CPU µs/frame, all processes", "", "cpu_us")
    parts += bar_panel(results, 60, 430, "at 60 frames/s: latency p50, and up to p99, µs",
                       "-paced", "p50_us", "p99_us")
    parts += fan_out_panel(results, 560, 430)
    return "\n".join(parts) + "\n</svg>\n"
