//! Grids and curves as SVG, inside of a page.

use std::fmt::Write as _;

use grid_dsl::{Value, draw::ARC};

use crate::report::escape;

/// A grid in the colours of the ARC. Other numbers are white with the number in them.
pub(crate) fn grid(value: &Value) -> Option<String> {
    let rows = value.to_rows().filter(|rows| rows.first().is_some_and(|row| !row.is_empty()))?;
    let (h, w) = (rows.len(), rows[0].len());
    let scale = (150 / h.max(w)).clamp(4, 24);
    let mut svg = format!(
        "<svg class=\"grid\" role=\"img\" aria-label=\"grid of {h} rows and {w} columns\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {w} {h}\" shape-rendering=\"crispEdges\">",
        w * scale,
        h * scale
    );
    for (i, row) in rows.iter().enumerate() {
        let mut j = 0;
        // Equal cells beside each other are one rectangle.
        while j < w {
            let run = row[j..].iter().take_while(|&&c| c == row[j]).count();
            let known = usize::try_from(row[j]).ok().and_then(|c| ARC.get(c));
            let [r, g, b] = known.copied().unwrap_or([255; 3]);
            // Writing to a string cannot fail.
            let _ =
                write!(svg, "<rect x=\"{j}\" y=\"{i}\" width=\"{run}\" height=\"1\" fill=\"#{r:02x}{g:02x}{b:02x}\"/>");
            if known.is_none() {
                let at = (j as f64 + run as f64 / 2.0, i as f64 + 0.75);
                let _ = write!(
                    svg,
                    "<text x=\"{}\" y=\"{}\" font-size=\"0.7\" text-anchor=\"middle\" fill=\"#000\">{}</text>",
                    at.0, at.1, row[j]
                );
            }
            j += run;
        }
    }
    let lines = |n: usize, line: fn(usize, usize) -> String, other: usize| -> String {
        (1..n).map(|at| line(at, other)).collect()
    };
    let vertical = lines(w, |x, h| format!("M{x} 0V{h}"), h);
    let horizontal = lines(h, |y, w| format!("M0 {y}H{w}"), w);
    let _ =
        write!(svg, "<path d=\"{vertical}{horizontal}\" stroke=\"#555\" stroke-width=\"0.05\" fill=\"none\"/></svg>");
    Some(svg)
}

/// Grids beside each other, each with a caption below, under a title.
pub(crate) fn figure(title: &str, parts: &[(&str, String)]) -> String {
    let mut html = "<figure class=\"grids\"><div>".to_owned();
    for (caption, svg) in parts {
        let _ = write!(html, "<div>{svg}<small>{}</small></div>", escape(caption));
    }
    let _ = writeln!(html, "</div><figcaption><b>{}</b></figcaption></figure>", escape(title));
    html
}

/// A curve over time: points, the words at the axes.
pub(crate) fn curve(points: &[(f64, f64)], below: &str, beside: &str) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 180.0;
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(1e-12, f64::max);
    let (right, top) = (most(|p| p.0), most(|p| p.1));
    let place = |&(x, y): &(f64, f64)| format!("{:.1},{:.1}", WIDTH * x / right, HEIGHT * (1.0 - y / top));
    let peak = if top < 10.0 { format!("{top:.2}") } else { format!("{top:.0}") };
    let line = points.iter().map(place).collect::<Vec<_>>().join(" ");
    format!(
        "<svg class=\"curve\" role=\"img\" aria-label=\"{beside} over {below}\" viewBox=\"-64 -14 {} {}\">\
         <path d=\"M0 0V{HEIGHT}H{WIDTH}\" stroke=\"currentColor\" fill=\"none\" opacity=\".4\"/>\
         <polyline points=\"{line}\" fill=\"none\" stroke=\"var(--accent)\" stroke-width=\"2\"/>\
         <text x=\"-6\" y=\"5\" text-anchor=\"end\">{peak}</text><text x=\"-6\" y=\"{HEIGHT}\" text-anchor=\"end\">0</text>\
         <text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{right:.2} {}</text><text x=\"0\" y=\"{}\">{}</text></svg>\n",
        WIDTH + 80.0,
        HEIGHT + 40.0,
        HEIGHT + 18.0,
        escape(below),
        HEIGHT + 18.0,
        escape(beside)
    )
}

/// What these drawings need of a page.
pub(crate) const STYLE: &str = "<style>
.drawings { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); margin: 1.25rem 0; align-items: start; }
figure.grids > div { display: flex; flex-wrap: wrap; gap: 1rem; padding: 1rem; align-items: flex-end; }
figure.grids small { display: block; color: var(--soft); }
svg.grid { display: block; max-width: 100%; height: auto; border: 1px solid #555; }
svg.curve { width: 100%; max-width: 800px; color: var(--soft); font-size: 12px; } svg.curve text { fill: currentColor; }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin: 1.5rem 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.tiles b { display: block; font-size: 1.35rem; } .tiles span { color: var(--soft); font-size: .9rem; }
</style>
";

/// Figures in words, large.
pub(crate) fn tiles(all: &[(String, &str)]) -> String {
    let tile = |(figure, words): &(String, &str)| {
        format!("<div><b>{}</b><span>{}</span></div>", escape(figure), escape(words))
    };
    format!("<div class=\"tiles\">{}</div>\n", all.iter().map(tile).collect::<String>())
}
