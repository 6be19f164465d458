//! Operations from a grid to a grid: each as lines of a program, and as a function on [`Small`] grids that does the same.

use super::grid::Small;
use super::parts;
use crate::isometry::Isometry;

type Run = Box<dyn Fn(&Small, &mut Small) -> Option<()> + Send + Sync>;

/// An operation.
pub struct Operation {
    name: String,
    lines: Vec<String>,
    run: Run,
}

impl Operation {
    /// A short name: `crop 3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its lines, with `{in}` and `{out}` for the grids and `{a}`, `{b}`, `{c}` for what is between.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Writes the image of a grid; nothing where the lines fail, or give something else than a grid that fits.
    pub fn apply(&self, from: &Small, to: &mut Small) -> Option<()> {
        (self.run)(from, to)
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

fn op(
    name: impl Into<String>,
    lines: &[&str],
    run: impl Fn(&Small, &mut Small) -> Option<()> + Send + Sync + 'static,
) -> Operation {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    Operation { name: name.into(), lines, run: Box::new(run) }
}

/// More than a hundred operations, in the order in which searches try them.
pub fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    turns_and_parts(&mut all);
    sizes(&mut all);
    joined(&mut all);
    objects(&mut all);
    colours(&mut all);
    cuts(&mut all);
    all
}

fn turns_and_parts(all: &mut Vec<Operation>) {
    for isometry in Isometry::ALL.into_iter().skip(1) {
        let line = format!("{{out}} = {}({{in}})", isometry.name());
        all.push(op(isometry.name(), &[&line], move |g, to| {
            let sides = (g.height(), g.width());
            let (h, w) = if isometry.turns() { (sides.1, sides.0) } else { sides };
            isometry.copy(g.cells(), sides, to.reshape(h, w)?.cells_mut());
            Some(())
        }));
    }
    all.push(op("tophalf", &["{out} = tophalf({in})"], |g, to| to.part(g, 0..g.height() / 2, 0..g.width())));
    all.push(op("bottomhalf", &["{out} = bottomhalf({in})"], |g, to| {
        to.part(g, g.height().div_ceil(2)..g.height(), 0..g.width())
    }));
    all.push(op("lefthalf", &["{out} = lefthalf({in})"], |g, to| to.part(g, 0..g.height(), 0..g.width() / 2)));
    all.push(op("righthalf", &["{out} = righthalf({in})"], |g, to| {
        to.part(g, 0..g.height(), g.width().div_ceil(2)..g.width())
    }));
    all.push(op("trim", &["{out} = trim({in})"], |g, to| {
        to.part(g, 1..g.height().max(2) - 1, 1..g.width().max(2) - 1)
    }));
    all.push(op("compress", &["{out} = compress({in})"], parts::compress));
    all.push(op("dedupe rows", &["{out} = dedupe({in})"], |g, to| parts::dedupe(g, to, true)));
    let columns = ["{a} = dmirror({in})", "{b} = dedupe({a})", "{out} = dmirror({b})"];
    all.push(op("dedupe columns", &columns, |g, to| parts::dedupe(g, to, false)));
}

fn sizes(all: &mut Vec<Operation>) {
    for n in 2..=5 {
        all.push(op(format!("upscale {n}"), &[&format!("{{out}} = upscale({{in}}, {n})")], move |g, to| {
            to.build(n * g.height(), n * g.width(), |i, j| g.at(i / n, j / n))
        }));
    }
    for n in 2..=3 {
        all.push(op(format!("downscale {n}"), &[&format!("{{out}} = downscale({{in}}, {n})")], move |g, to| {
            to.build(g.height().div_ceil(n), g.width().div_ceil(n), |i, j| g.at(n * i, n * j))
        }));
        all.push(op(format!("hupscale {n}"), &[&format!("{{out}} = hupscale({{in}}, {n})")], move |g, to| {
            to.build(g.height(), n * g.width(), |i, j| g.at(i, j / n))
        }));
        all.push(op(format!("vupscale {n}"), &[&format!("{{out}} = vupscale({{in}}, {n})")], move |g, to| {
            to.build(n * g.height(), g.width(), |i, j| g.at(i / n, j))
        }));
    }
}

/// The grid beside or above a mirrored copy of itself.
fn joined(all: &mut Vec<Operation>) {
    for (join, place, beside) in [("hconcat", "beside", true), ("vconcat", "below", false)] {
        let (second, third) = (format!("{{a}} = {join}({{in}}, {{in}})"), format!("{{out}} = {join}({{a}}, {{in}})"));
        let repeat = move |n: usize| {
            move |g: &Small, to: &mut Small| {
                let (h, w) = (g.height(), g.width());
                let (rows, columns) = if beside { (h, n * w) } else { (n * h, w) };
                to.build(rows, columns, |i, j| g.at(i % h, j % w))
            }
        };
        all.push(op(format!("2 {place}"), &[&second.replace("{a}", "{out}")], repeat(2)));
        all.push(op(format!("3 {place}"), &[&second, &third], repeat(3)));
    }
    for (mirror, other) in [("vmirror", true), ("hmirror", false)] {
        let line = format!("{{a}} = {mirror}({{in}})");
        let seen = move |g: &Small, i: usize, j: usize| {
            if other { g.at(i, g.width() - 1 - j) } else { g.at(g.height() - 1 - i, j) }
        };
        for beside in [true, false] {
            let join = if beside { "hconcat" } else { "vconcat" };
            for mirror_first in [false, true] {
                let args = if mirror_first { "{a}, {in}" } else { "{in}, {a}" };
                let name = if mirror_first { format!("{mirror} {join} it") } else { format!("it {join} {mirror}") };
                all.push(op(name, &[&line, &format!("{{out}} = {join}({args})")], move |g, to| {
                    let (h, w) = (g.height(), g.width());
                    let (rows, columns) = if beside { (h, 2 * w) } else { (2 * h, w) };
                    to.build(rows, columns, |i, j| {
                        let second = if beside { j >= w } else { i >= h };
                        let (i, j) = (i % h, j % w);
                        if second == mirror_first { g.at(i, j) } else { seen(g, i, j) }
                    })
                }));
            }
        }
    }
}

fn objects(all: &mut Vec<Operation>) {
    for (univalued, diagonal) in [(true, true), (true, false), (false, true), (false, false)] {
        let flag = |on: bool| if on { "T" } else { "F" };
        let line = format!("{{a}} = objects({{in}}, {}, {}, T)", flag(univalued), flag(diagonal));
        for (pick, largest) in [("argmax", true), ("argmin", false)] {
            let lines = [line.as_str(), &format!("{{b}} = {pick}({{a}}, size)"), "{out} = subgrid({b}, {in})"];
            let name = format!("{pick} object {}{}", flag(univalued), flag(diagonal));
            all.push(op(name, &lines, move |g, to| parts::object(g, to, univalued, diagonal, largest)));
        }
        if univalued {
            let lines = [line.as_str(), "{b} = sizefilter({a}, ONE)", "{c} = merge({b})", "{out} = cover({in}, {c})"];
            all.push(op(format!("without single cells {}", flag(diagonal)), &lines, move |g, to| {
                parts::without_singles(g, to, diagonal);
                Some(())
            }));
        }
    }
    let lines = ["{a} = fgpartition({in})", "{b} = merge({a})", "{out} = subgrid({b}, {in})"];
    all.push(op("foreground", &lines, |g, to| {
        let most = g.most();
        parts::crop_where(g, to, |c| c != most)
    }));
}

fn colours(all: &mut Vec<Operation>) {
    let replaced = |from: u8, to: u8| move |c: u8| if c == from { to } else { c };
    for c in 1..=9 {
        all.push(op(format!("{c} to 0"), &[&format!("{{out}} = replace({{in}}, {c}, 0)")], move |g, to| {
            parts::recolour(g, to, replaced(c, 0))
        }));
        all.push(op(format!("0 to {c}"), &[&format!("{{out}} = replace({{in}}, 0, {c})")], move |g, to| {
            parts::recolour(g, to, replaced(0, c))
        }));
        let of = format!("{{a}} = ofcolor({{in}}, {c})");
        let lines =
            [&of, "{b} = shape({in})", "{c} = canvas(ZERO, {b})", &format!("{{out}} = fill({{c}}, {c}, {{a}})")];
        all.push(op(format!("keep {c}"), &lines, move |g, to| {
            parts::recolour(g, to, |cell| if cell == c { c } else { 0 })
        }));
        let lines = [&of, "{b} = backdrop({a})", &format!("{{out}} = fill({{in}}, {c}, {{b}})")];
        all.push(op(format!("box of {c}"), &lines, move |g, to| {
            parts::filled_box(g, to, c);
            Some(())
        }));
    }
    for c in 0..=9 {
        let lines = [&format!("{{a}} = ofcolor({{in}}, {c})"), "{out} = subgrid({a}, {in})"];
        all.push(op(format!("crop {c}"), &lines, move |g, to| parts::crop_where(g, to, |cell| cell == c)));
    }
    all.push(op("most to 0", &["{a} = mostcolor({in})", "{out} = replace({in}, {a}, ZERO)"], move |g, to| {
        parts::recolour(g, to, replaced(g.most(), 0))
    }));
    all.push(op("least to 0", &["{a} = leastcolor({in})", "{out} = replace({in}, {a}, ZERO)"], move |g, to| {
        parts::recolour(g, to, replaced(g.least(), 0))
    }));
    let lines = ["{a} = mostcolor({in})", "{b} = leastcolor({in})", "{out} = switch({in}, {a}, {b})"];
    all.push(op("switch most and least", &lines, |g, to| {
        let (most, least) = (g.most(), g.least());
        parts::recolour(g, to, |c| {
            if c == most {
                least
            } else if c == least {
                most
            } else {
                c
            }
        })
    }));
    let lines = ["{a} = leastcolor({in})", "{b} = ofcolor({in}, {a})", "{out} = subgrid({b}, {in})"];
    all.push(op("crop least", &lines, |g, to| {
        let least = g.least();
        parts::crop_where(g, to, |cell| cell == least)
    }));
    all.push(op("most as one cell", &["{a} = mostcolor({in})", "{out} = canvas({a}, UNITY)"], |g, to| {
        to.build(1, 1, |_, _| g.most())
    }));
    all.push(op("least as one cell", &["{a} = leastcolor({in})", "{out} = canvas({a}, UNITY)"], |g, to| {
        to.build(1, 1, |_, _| g.least())
    }));
    let lines = ["{a} = mostcolor({in})", "{b} = shape({in})", "{out} = canvas({a}, {b})"];
    all.push(op("most everywhere", &lines, |g, to| {
        let most = g.most();
        to.build(g.height(), g.width(), |_, _| most)
    }));
}

fn cuts(all: &mut Vec<Operation>) {
    for (split, columns) in [("hsplit", true), ("vsplit", false)] {
        for n in 2..=4 {
            for (pick, at) in [("first", 0), ("last", n - 1)] {
                let lines = [&format!("{{a}} = {split}({{in}}, {n})"), &*format!("{{out}} = {pick}({{a}})")];
                all.push(op(format!("{pick} of {split} {n}"), &lines, move |g, to| {
                    let side = if columns { g.width() } else { g.height() };
                    let from = (at * (side / n + usize::from(side % n != 0))).min(side);
                    let piece = from..(from + side / n).min(side);
                    if columns { to.part(g, 0..g.height(), piece) } else { to.part(g, piece, 0..g.width()) }
                }));
            }
        }
    }
    // Starts and sizes, and the rows and columns that they are of a grid of at most thirty.
    type Span = fn(usize) -> std::ops::Range<usize>;
    let cuts: [(&str, &str, Span, Span); 11] = [
        ("corner 1", "ORIGIN, UNITY", |_| 0..1, |_| 0..1),
        ("corner 2", "ORIGIN, TWO_BY_TWO", |h| 0..h.min(2), |w| 0..w.min(2)),
        ("corner 3", "ORIGIN, THREE_BY_THREE", |h| 0..h.min(3), |w| 0..w.min(3)),
        ("first row", "ORIGIN, (1, 30)", |_| 0..1, |w| 0..w),
        ("first column", "ORIGIN, (30, 1)", |h| 0..h, |_| 0..1),
        ("last row", "(-1, 0), (31, 30)", |h| h - 1..h, |w| 0..w),
        ("last column", "(0, -1), (30, 31)", |h| 0..h, |w| w - 1..w),
        ("without first row", "(1, 0), (30, 30)", |h| 1..h, |w| 0..w),
        ("without first column", "(0, 1), (30, 30)", |h| 0..h, |w| 1..w),
        ("without last row", "ORIGIN, (-1, 30)", |h| 0..h - 1, |w| 0..w),
        ("without last column", "ORIGIN, (30, -1)", |h| 0..h, |w| 0..w - 1),
    ];
    for (name, args, rows, columns) in cuts {
        all.push(op(name, &[&format!("{{out}} = crop({{in}}, {args})")], move |g, to| {
            to.part(g, rows(g.height()), columns(g.width()))
        }));
    }
    let lines = ["{a} = lefthalf({in})", "{b} = righthalf({in})", "{out} = cellwise({a}, {b}, ZERO)"];
    all.push(op("left and right", &lines, |g, to| {
        let shift = g.width().div_ceil(2);
        to.build(g.height(), g.width() / 2, |i, j| if g.at(i, j) == g.at(i, j + shift) { g.at(i, j) } else { 0 })
    }));
    let lines = ["{a} = tophalf({in})", "{b} = bottomhalf({in})", "{out} = cellwise({a}, {b}, ZERO)"];
    all.push(op("top and bottom", &lines, |g, to| {
        let shift = g.height().div_ceil(2);
        to.build(g.height() / 2, g.width(), |i, j| if g.at(i, j) == g.at(i + shift, j) { g.at(i, j) } else { 0 })
    }));
}
